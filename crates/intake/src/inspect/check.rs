//! The parts of an Inspect log compared with its items: Inspect itself never does that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use json::{Located, Reader, Value};

use super::header::{Header, ReportedScore};
use crate::draft::{ColumnKey, Settled, item_id, raw_score};
use crate::fault::{Fault, pointer, public_pointer};
use crate::finding::Findings;
use crate::model::{Metric, item_key};
use crate::recompute::{Figure, Group, Reducer, agree, reduced, to_float};
use crate::stream::{finite, finite_but, member};
use crate::{Code, Finding, Item, ItemId, Limits, RawKind, RawScore};

/// One of `reductions`: reduced values by id, for one scorer and reducer.
pub(super) struct Reduction {
    scorer: String,
    reducer: Option<String>,
    samples: Vec<ReducedSample>,
}

/// An id, and for each key of an object, or once without a key, the value; `None` is `NaN`.
type ReducedSample = (ItemId, Vec<(Option<String>, Option<RawScore>)>);

/// Reads the array of reductions at which `reader` stands; `null` counts as none.
pub(super) fn read_reductions<R: Read>(
    reader: &mut Reader<R>,
    limits: &Limits,
) -> Result<Vec<Reduction>, Fault> {
    let mut reductions = Vec::new();
    if !reader.at_array()? {
        let value = reader.value()?;
        return match value {
            Value::Null => Ok(reductions),
            _ => Err(Fault::shape("reductions must be an array")),
        };
    }
    reader.array(|reader| -> Result<(), Fault> {
        let mut reduction = Reduction { scorer: String::new(), reducer: None, samples: Vec::new() };
        reader.object(|name, reader| -> Result<(), Fault> {
            match name {
                "scorer" => reduction.scorer = text_of(&reader.value()?).unwrap_or_default(),
                "reducer" => reduction.reducer = text_of(&reader.value()?),
                "samples" => reader.array(|reader| -> Result<(), Fault> {
                    reduction.samples.push(reduced_sample(&reader.value()?, limits)?);
                    Ok(())
                })?,
                _ => finite(&reader.value()?)?,
            }
            Ok(())
        })?;
        reductions.push(reduction);
        Ok(())
    })?;
    Ok(reductions)
}

/// As [`read_reductions`], from `results.sample_reductions` of the first versions.
pub(super) fn old_reductions(value: &Value, limits: &Limits) -> Result<Vec<Reduction>, Fault> {
    read_reductions(&mut Reader::new(value.to_text().as_bytes(), limits.rules()), limits)
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn reduced_sample(sample: &Value, limits: &Limits) -> Result<ReducedSample, Fault> {
    finite_but(sample, &|name| matches!(name, "value" | "history"))?;
    let id = member(sample, "sample_id")
        .ok_or_else(|| Fault::shape("a reduced value has no sample_id"))?;
    let id = item_id(id, limits).map_err(|fault| fault.within("sample_id"))?;
    let cell = |value: &Value| raw_score(value).filter(|raw| !raw.is_nan());
    let cells = match sample.get("value") {
        Some(Value::Object(object)) => {
            object.iter().map(|(key, value)| (Some(key.to_owned()), cell(value))).collect()
        }
        Some(value) => vec![(None, cell(value))],
        None => Vec::new(),
    };
    Ok((id, cells))
}

/// True if two scores are the same value, however they are spelled.
fn same_value(a: Option<&RawScore>, b: Option<&RawScore>) -> bool {
    let (a, b) = (a.filter(|raw| !raw.is_nan()), b.filter(|raw| !raw.is_nan()));
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let text = |raw: &RawScore| matches!(raw.kind(), RawKind::Text | RawKind::Structured);
            if text(a) && text(b) {
                a.literal() == b.literal()
            } else {
                agree(to_float(a).number(), to_float(b).number())
            }
        }
        _ => false,
    }
}

/// Compares reductions with the values that the items reduce to.
pub(super) fn reductions(
    reductions: &[Reduction],
    settled: &Settled,
    groups: &[Group],
    place: &str,
    findings: &mut Findings,
) {
    let by_id: BTreeMap<&ItemId, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.iter().map(move |item| (&settled.items[*item].id, at)))
        .collect();
    for (at, reduction) in reductions.iter().enumerate() {
        let add = |findings: &mut Findings, id: Option<&ItemId>, message: &'static str| {
            let mut finding = Finding::new(Code::CrossReductions, message).in_member(place);
            finding = finding.at(format!("/{at}"));
            finding.item = id.map(ItemId::to_string);
            findings.add(finding);
        };
        let Some(reducer) = Reducer::parse(reduction.reducer.as_deref()) else {
            let message = "values of a reducer that is not known here";
            let finding = Finding::new(Code::MetricNotRecomputable, message);
            findings.add(finding.in_member(place).at(format!("/{at}")));
            continue;
        };
        let columns: Vec<usize> = (0..settled.keys.len())
            .filter(|column| settled.keys[*column].scorer == reduction.scorer)
            .collect();
        let values: BTreeMap<usize, BTreeMap<usize, Option<RawScore>>> = columns
            .iter()
            .filter(|column| !settled.irregular[**column])
            .map(|column| {
                let values = reduced(&settled.items, groups, *column, reducer);
                (*column, values.into_iter().collect())
            })
            .collect();

        let mut seen = BTreeSet::new();
        for (id, cells) in &reduction.samples {
            let Some(group) = by_id.get(id) else {
                add(findings, Some(id), "a reduced value of an id that no item has");
                continue;
            };
            if !seen.insert(*group) {
                add(findings, Some(id), "two reduced values of one id");
            }
            let agrees = cells.iter().all(|(key, value)| {
                let column = ColumnKey { scorer: reduction.scorer.clone(), key: key.clone() };
                match settled.find(&column) {
                    None => value.is_none(),
                    Some(column) => values.get(&column).is_none_or(|values| {
                        let own = values.get(group).and_then(Option::as_ref);
                        same_value(own, value.as_ref())
                    }),
                }
            });
            if !agrees {
                add(findings, Some(id), "the reduced value is not that of the items");
            }
        }
        for (group, items) in groups.iter().enumerate() {
            let reduces = values
                .values()
                .any(|values| values.get(&group).is_some_and(|value| value.is_some()));
            if reduces && !seen.contains(&group) {
                let id = items.first().map(|item| &settled.items[*item].id);
                add(findings, id, "the reduced value of an id with scores is missing");
            }
        }
    }
}

/// What a summary, in `summaries.json` or in the journal, is compared with.
pub(super) struct Summaries<'a> {
    pub(super) settled: &'a Settled,
    pub(super) index: &'a BTreeMap<(ItemId, u64), usize>,
    pub(super) limits: &'a Limits,
    /// True if a later summary of an item takes the place of an earlier one.
    pub(super) last_counts: bool,
}

impl Summaries<'_> {
    /// Compares the array at which `reader` stands with the items, and marks those in `seen`.
    pub(super) fn read<R: Read>(
        &self,
        reader: &mut Reader<R>,
        place: &str,
        seen: &mut BTreeMap<usize, Option<&'static str>>,
        findings: &mut Findings,
    ) -> Result<(), Fault> {
        reader.array(|reader| -> Result<(), Fault> {
            let summary = reader.value()?;
            let (id, epoch) = self.key(&summary)?;
            let add = |findings: &mut Findings, message: &'static str| {
                let finding = Finding::new(Code::CrossSummaries, message).in_member(place);
                findings.add(finding.of_item(item_key(&id, epoch)));
            };
            let Some(at) = self.index.get(&(id.clone(), epoch)) else {
                add(findings, "a summary of an item that is not there");
                return Ok(());
            };
            let difference = self.difference(&summary, &self.settled.items[*at]);
            if seen.insert(*at, difference).is_some() && !self.last_counts {
                add(findings, "two summaries of one item");
            }
            Ok(())
        })
    }

    /// Reports what [`read`](Self::read) has seen.
    pub(super) fn report(
        &self,
        seen: &BTreeMap<usize, Option<&'static str>>,
        complete: bool,
        place: &str,
        findings: &mut Findings,
    ) {
        for (at, item) in self.settled.items.iter().enumerate() {
            let message = match seen.get(&at) {
                Some(None) => continue,
                Some(Some(difference)) => *difference,
                None if !complete => continue,
                None => "the item has no summary",
            };
            let finding = Finding::new(Code::CrossSummaries, message).in_member(place);
            findings.add(finding.of_item(item.key()));
        }
    }

    fn key(&self, summary: &Value) -> Result<(ItemId, u64), Fault> {
        let object =
            summary.as_object().ok_or_else(|| Fault::shape("a summary must be an object"))?;
        for (name, value) in object.iter() {
            let check = match name {
                "scores" => finite_but(value, &|name| matches!(name, "value" | "history")),
                _ => finite(value),
            };
            check.map_err(|fault| fault.within(name))?;
        }
        let id = member(summary, "id").ok_or_else(|| Fault::shape("a summary has no id"))?;
        let epoch = member(summary, "epoch").and_then(Value::as_number);
        let epoch = epoch.and_then(json::Number::as_u64);
        Ok((
            item_id(id, self.limits).map_err(|fault| fault.within("id"))?,
            epoch.ok_or_else(|| Fault::shape("a summary has no epoch"))?,
        ))
    }

    /// Values only: texts are trimmed and shortened in summaries.
    fn difference(&self, summary: &Value, item: &Item) -> Option<&'static str> {
        let mut matched = 0;
        let scores = member(summary, "scores").and_then(Value::as_object);
        for (scorer, score) in scores.into_iter().flat_map(json::Object::iter) {
            let cells = match score.get("value") {
                Some(Value::Object(object)) => object
                    .iter()
                    .map(|(key, value)| (ColumnKey::of(scorer, key), raw_score(value)))
                    .collect(),
                Some(value) => vec![(ColumnKey::plain(scorer), raw_score(value))],
                None => Vec::new(),
            };
            for (key, value) in cells
                .into_iter()
                .filter(|(_, value)| value.as_ref().is_some_and(|raw| !raw.is_nan()))
            {
                let own = self.settled.find(&key).and_then(|at| item.scores[at].as_deref());
                if own.is_none_or(RawScore::is_nan) || !same_value(own, value.as_ref()) {
                    return Some("the score in the summary is not the item's");
                }
                matched += 1;
            }
        }
        let own = item.scores.iter().flatten().filter(|raw| !raw.is_nan()).count();
        if matched != own {
            return Some("the summary lacks a score of the item");
        }
        if member(summary, "error").is_some() != item.errored {
            return Some("summary and item disagree on whether there was an error");
        }
        if member(summary, "limit").is_some() != item.limited {
            return Some("summary and item disagree on whether a limit was passed");
        }
        None
    }
}

/// The column that a reported score is about.
pub(super) fn reported_column(
    score: &ReportedScore,
    exists: impl Fn(&ColumnKey) -> bool,
) -> ColumnKey {
    let keyed = ColumnKey::of(&score.scorer, &score.name);
    let plain = ColumnKey::plain(&score.scorer);
    if exists(&keyed) || (score.name != score.scorer && !exists(&plain)) { keyed } else { plain }
}

/// Recomputes every figure of the header.
pub(super) fn metrics(
    header: &Header,
    settled: &Settled,
    groups: &[Group],
    place: Option<&str>,
    findings: &mut Findings,
) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (at, score) in header.scores.iter().enumerate() {
        let key = reported_column(score, |key| settled.find(key).is_some());
        let column = settled.find(&key).filter(|column| !settled.irregular[*column]);
        let reducer = Reducer::parse(score.reducer.as_deref());
        let (mut values, mut firsts) = (Vec::new(), Vec::new());
        if let (Some(column), Some(reducer)) = (column, reducer) {
            for (group, value) in reduced(&settled.items, groups, column, reducer) {
                if let Some(raw) = value {
                    values.push(to_float(&raw).number());
                    firsts.push(groups[group][0]);
                }
            }
        }
        let recomputable = column.is_some() && reducer.is_some();
        let mut add = |code: Code, pointer: String, message: &'static str| {
            let mut finding = Finding::new(code, message).at(public_pointer(&pointer));
            finding.member = place.map(str::to_owned);
            findings.add(finding);
        };
        // A majority or an estimator can be undefined for an id that has scores.
        let counts_ids =
            matches!(reducer, Some(Reducer::Mean | Reducer::Median | Reducer::Max | Reducer::Mode));
        if recomputable && counts_ids && score.scored.is_some_and(|n| n != values.len() as u64) {
            let pointer = format!("/results/scores/{at}/scored_samples");
            add(Code::MetricMismatch, pointer, "the number of scored ids is not that of the items");
        }
        for metric in &score.metrics {
            let figure = Figure::parse(&metric.name, metric.params.as_ref());
            let recomputed = figure.filter(|_| recomputable).and_then(|figure| {
                let clusters = match &figure {
                    Figure::StandardError { cluster: Some(name) } => {
                        clusters(&settled.items, &firsts, name)?
                    }
                    _ => Vec::new(),
                };
                figure.of(&values, &clusters)
            });
            let place = ["results", "scores", &at.to_string(), "metrics", &metric.key, "value"];
            let pointer = pointer(&place);
            match (metric.value, recomputed) {
                (Some(reported), Some(recomputed)) if !agree(reported, recomputed) => {
                    add(Code::MetricMismatch, pointer, "the items yield another figure");
                }
                (None, Some(_)) => {
                    add(Code::MetricMismatch, pointer, "the items yield a figure, the log none");
                }
                (Some(_), None) => {
                    let message = "the items do not yield this figure";
                    add(Code::MetricNotRecomputable, pointer, message);
                }
                _ => {}
            }
            metrics.push(Metric {
                column: key.name(),
                reducer: score.reducer.clone(),
                metric: metric.key.clone(),
                split: None,
                n: values.len() as u64,
                reported: metric.value,
                recomputed,
            });
        }
    }
    metrics
}

/// The value of one member of the sample's metadata for the first item of each id.
fn clusters(items: &[Item], firsts: &[usize], name: &str) -> Option<Vec<String>> {
    let cluster = |at: &usize| {
        let metadata = items[*at].metadata.as_deref()?;
        let metadata = json::parse(metadata.as_bytes(), json::Rules::LOG).ok()?;
        Some(member(metadata.get("metadata")?, name)?.to_text())
    };
    firsts.iter().map(cluster).collect()
}
