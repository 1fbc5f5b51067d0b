//! Run folders of HELM: `run_spec.json`, `scenario_state.json` with the requests,
//! `stats.json` with the figures, `per_instance_stats.json` with what they were made of.
//!
//! A stat's `count` counts train trials, not instances: `mean` already is a mean over the
//! instances of its split. Perturbed instances and stats are no results.

use std::collections::{BTreeMap, BTreeSet};

use json::{Located, Object, Value};

use crate::draft::{ColumnKey, Draft, DraftItem, Settled, check_ids, flag_items, item_id};
use crate::fault::Fault;
use crate::finding::Findings;
use crate::model::{DocumentRow, ItemRow, Metric};
use crate::recompute::{agree, mean, to_float};
use crate::stream::{document, finite, finite_but, member, pick, text, text_or_json};
use crate::{Code, Evaluation, Finding, Folder, Format, Harness, ItemId, Limits, Options, Outcome};
use crate::{Moment, time};

const STATE: &str = "scenario_state.json";
const STATS: &str = "stats.json";
const INSTANCE_STATS: &str = "per_instance_stats.json";

/// Figures of a stat, which may be `NaN`.
const FIGURES: [&str; 7] = ["sum", "sum_squared", "min", "max", "mean", "variance", "stddev"];

/// Stats that measure the run, not the model: no columns where a run names no metrics.
const SIDE_CHANNELS: [&str; 3] = ["inference_", "training_", "num_"];

/// Reads the run that `spec` (`run_spec.json`) describes.
pub(crate) fn read(spec: &Value, folder: &dyn Folder, options: &Options) -> Outcome {
    match run(spec, folder, options) {
        Ok(evaluation) => Outcome::Read(Box::new(evaluation)),
        Err(fault) => Outcome::Refused(fault.refusal(text(spec, "name").map(str::to_owned))),
    }
}

fn file(
    folder: &dyn Folder,
    name: &str,
    limits: &Limits,
    check: fn(&Value) -> Result<(), Fault>,
) -> Result<Option<Value>, Fault> {
    let Some(input) = folder.open(name) else { return Ok(None) };
    document(input, limits, check).map(Some).map_err(|fault| fault.in_member(name))
}

fn figures_may_be_nan(value: &Value) -> Result<(), Fault> {
    finite_but(value, &|name| FIGURES.contains(&name))
}

fn run(spec: &Value, folder: &dyn Folder, options: &Options) -> Result<Evaluation, Fault> {
    let limits = &options.limits;
    finite(spec)?;
    let name = text(spec, "name").ok_or_else(|| Fault::shape("the run has no name").at("/name"))?;
    let state = file(folder, STATE, limits, finite)?;
    let state = state.ok_or_else(|| {
        Fault::new(Code::LogNoItems, "there is no scenario_state.json beside the run")
    })?;
    let stats = file(folder, STATS, limits, figures_may_be_nan)?;
    let instance_stats = file(folder, INSTANCE_STATS, limits, figures_may_be_nan)?;
    let stats = stats
        .as_ref()
        .map_or(Ok(Vec::new()), |stats| all_stats(stats).map_err(|fault| fault.in_member(STATS)))?;
    let instance_stats = instance_stats.as_ref().unwrap_or(&Value::Null);
    let instance_stats = instance_stats.as_array().unwrap_or(&[]);

    let mut draft = Draft::new(*limits);
    let columns = columns(spec, &stats);
    for column in &columns {
        draft.column(ColumnKey::plain(column))?;
    }
    let mut requests = Requests::default();
    requests.read(&state, &mut draft, limits).map_err(|fault| fault.in_member(STATE))?;
    if draft.items.is_empty() {
        return Err(Fault::new(Code::LogNoItems, "the run has no requests").in_member(STATE));
    }
    for (at, stats) in instance_stats.iter().enumerate() {
        instance(stats, &columns, &requests, &mut draft, limits)
            .map_err(|fault| fault.within(&at.to_string()).in_member(INSTANCE_STATS))?;
    }
    if member(&state, "adapter_spec").is_some_and(|own| Some(own) != member(spec, "adapter_spec")) {
        let message = "the adapter of the requests is not that of the run";
        let finding = Finding::new(Code::CrossStart, message).in_member(STATE);
        draft.findings.add(finding.at("/adapter_spec"));
    }

    let keys: Vec<ColumnKey> = columns.iter().map(|name| ColumnKey::plain(name)).collect();
    let order = requests.by_key.iter().map(|((id, _), at)| (id.clone(), *at)).collect();
    let settled = draft.settle(&keys, &order);
    let mut findings = draft.findings;
    check_ids(&settled.items, &mut findings);
    let metrics = metrics(&stats, &columns, &settled, &requests.splits, &mut findings);
    let epochs = settled.items.iter().map(|item| item.epoch).max().unwrap_or(1);
    let trials = stats.iter().map(|stat| stat.count).max().unwrap_or(0).max(epochs);
    findings.set(Code::HelmTrials, if trials > 1 { trials } else { 0 });
    findings.set(Code::HelmPerturbed, requests.perturbed);
    let declared = declared(&stats, epochs);
    if declared.is_some_and(|declared| declared != settled.items.len() as u64) {
        let message = "num_instances is not the number of instances";
        findings.add(Finding::new(Code::ItemsCount, message).in_member(STATS));
    }
    flag_items(&settled.items, &mut findings);
    findings.set(Code::LogNoResults, u64::from(metrics.is_empty()));

    let adapter = member(spec, "adapter_spec").unwrap_or(&Value::Null);
    Ok(Evaluation {
        format: Format::Helm,
        harness: Harness { name: "helm", version: None },
        name: name.to_owned(),
        version: None,
        keys: vec![("name", name.to_owned())],
        model: Value::Object(pick(adapter, &["model", "model_deployment"])).to_text(),
        elicitation: Value::Object(pick(spec, &["adapter_spec", "data_augmenter_spec"])).to_text(),
        environment: "{}".to_owned(),
        started: requests.started,
        ended: requests.ended,
        columns: settled.columns,
        items: settled.items,
        epochs: Some(epochs),
        declared,
        metrics,
        flags: findings.flags,
        findings: findings.list,
    })
}

/// One entry of `stats.json`, or of an instance's stats.
struct Stat<'a> {
    name: &'a str,
    split: Option<&'a str>,
    /// True for entries about perturbed instances, or about a part of a split.
    derived: bool,
    /// Train trials.
    count: u64,
    entry: &'a Value,
}

impl<'a> Stat<'a> {
    fn parse(entry: &'a Value) -> Result<Self, Fault> {
        let name = member(entry, "name").ok_or_else(|| Fault::shape("a stat has no name"))?;
        Ok(Self {
            name: text(name, "name").ok_or_else(|| Fault::shape("a stat has no name"))?,
            split: text(name, "split"),
            derived: ["perturbation", "sub_split"].iter().any(|part| member(name, part).is_some()),
            count: member(entry, "count")
                .and_then(Value::as_number)
                .and_then(json::Number::as_u64)
                .ok_or_else(|| Fault::shape("a stat has no count"))?,
            entry,
        })
    }

    fn figure(&self, name: &str) -> Option<f64> {
        member(self.entry, name)?.as_number().map(json::Number::as_f64)
    }
}

fn all_stats(stats: &Value) -> Result<Vec<Stat<'_>>, Fault> {
    let entries = stats.as_array().ok_or_else(|| Fault::shape("stats must be an array"))?;
    let stat = |(at, entry)| {
        Stat::parse(entry).map_err(|fault: Fault| fault.within(&usize::to_string(&at)))
    };
    entries.iter().enumerate().map(stat).collect()
}

/// Names of the stats that the run's metrics are about; if it names none, those that do not
/// measure the run itself.
fn columns(spec: &Value, stats: &[Stat<'_>]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !columns.iter().any(|column| column == name) {
            columns.push(name.to_owned());
        }
    };
    let specs = member(spec, "metric_specs").and_then(Value::as_array).unwrap_or(&[]);
    for metric in specs {
        let names = member(metric, "args").and_then(|args| member(args, "names")?.as_array());
        names.unwrap_or(&[]).iter().filter_map(Value::as_str).for_each(&mut add);
    }
    if columns.is_empty() {
        let measures = |name: &str| SIDE_CHANNELS.iter().any(|prefix| name.starts_with(prefix));
        let mut add = |name: &str| {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        };
        let named = stats.iter().filter(|stat| !stat.derived && stat.count > 0);
        named.filter(|stat| !measures(stat.name)).for_each(|stat| add(stat.name));
    }
    columns
}

/// What `scenario_state.json` holds.
#[derive(Default)]
struct Requests {
    /// Place of every instance and trial among the items.
    by_key: BTreeMap<(ItemId, u64), usize>,
    splits: BTreeMap<ItemId, String>,
    perturbed: u64,
    started: Option<Moment>,
    ended: Option<Moment>,
}

impl Requests {
    fn read(&mut self, state: &Value, draft: &mut Draft, limits: &Limits) -> Result<(), Fault> {
        let states = member(state, "request_states").and_then(Value::as_array);
        // Several requests of one instance: one for each of its references.
        let mut parts: Vec<Parts> = Vec::new();
        for (at, state) in states.unwrap_or(&[]).iter().enumerate() {
            self.request(state, &mut parts, draft, limits)
                .map_err(|fault| fault.within(&at.to_string()).at("/request_states"))?;
        }
        for (item, parts) in draft.items.iter_mut().zip(parts) {
            item.item.input = parts.inputs.join();
            item.item.output = parts.outputs.join();
        }
        Ok(())
    }

    fn request(
        &mut self,
        state: &Value,
        parts: &mut Vec<Parts>,
        draft: &mut Draft,
        limits: &Limits,
    ) -> Result<(), Fault> {
        let instance =
            member(state, "instance").ok_or_else(|| Fault::shape("a request has no instance"))?;
        if member(instance, "perturbation").is_some() {
            self.perturbed += 1;
            return Ok(());
        }
        let id = member(instance, "id").ok_or_else(|| Fault::shape("an instance has no id"))?;
        let id = item_id(id, limits)?;
        let key = (id.clone(), trial(state)?);
        let at = match self.by_key.get(&key) {
            Some(at) => {
                if member(state, "reference_index").is_none() {
                    let message = "two requests of one instance and trial";
                    let finding = Finding::new(Code::ItemsDuplicate, message).in_member(STATE);
                    draft.findings.add(finding.of_item(draft.items[*at].item.key()));
                }
                *at
            }
            None => {
                let at = draft.items.len();
                draft.push(item(instance, state, &key))?;
                parts.push(Parts::default());
                self.by_key.insert(key, at);
                at
            }
        };
        if let Some(split) = text(instance, "split") {
            self.splits.insert(id, split.to_owned());
        }
        let request = member(state, "request");
        if let Some(prompt) = request.and_then(|request| member(request, "prompt")) {
            parts[at].inputs.0.push(prompt.clone());
        }
        let result = member(state, "result");
        let success = result.and_then(|result| member(result, "success")?.as_bool());
        draft.items[at].item.errored |= success != Some(true);
        let completions = result.and_then(|result| member(result, "completions")?.as_array());
        let texts = completions.unwrap_or(&[]).iter().filter_map(|one| member(one, "text"));
        parts[at].outputs.0.extend(texts.cloned());
        if let Some(result) = result {
            self.time(result);
        }
        Ok(())
    }

    fn time(&mut self, result: &Value) {
        let number = |name: &str| member(result, name)?.as_number().map(json::Number::as_f64);
        let Some(started) = number("request_datetime") else { return };
        let ended = time::from_seconds(started + number("request_time").unwrap_or(0.0));
        if let Some(started) = time::from_seconds(started) {
            self.started = Some(self.started.map_or(started, |first| first.min(started)));
        }
        self.ended = self.ended.max(ended);
    }
}

#[derive(Default)]
struct Parts {
    inputs: Texts,
    outputs: Texts,
}

/// Texts of one field: one as it is, several as a compact JSON array.
#[derive(Default)]
struct Texts(Vec<Value>);

impl Texts {
    fn join(mut self) -> Option<Box<str>> {
        match self.0.len() {
            0 => None,
            1 => text_or_json(&self.0.remove(0)),
            _ => text_or_json(&Value::Array(self.0)),
        }
    }
}

/// The trial, from 0, as an epoch, from 1.
fn trial(value: &Value) -> Result<u64, Fault> {
    let index = member(value, "train_trial_index").and_then(Value::as_number);
    let index = index.and_then(json::Number::as_u64).filter(|index| *index < u64::MAX);
    index.map(|index| index + 1).ok_or_else(|| Fault::shape("no train_trial_index"))
}

fn item(instance: &Value, state: &Value, key: &(ItemId, u64)) -> DraftItem {
    let mut draft = DraftItem::new(key.0.clone(), key.1);
    let mut correct = Texts::default();
    let references = member(instance, "references").and_then(Value::as_array).unwrap_or(&[]);
    for reference in references {
        let tags = member(reference, "tags").and_then(Value::as_array).unwrap_or(&[]);
        if tags.iter().any(|tag| tag.as_str() == Some("correct")) {
            let output = member(reference, "output").and_then(|output| member(output, "text"));
            correct.0.extend(output.cloned());
        }
    }
    let target = correct.join();
    let input = member(instance, "input").and_then(|input| text(input, "text"));
    let mut metadata: Object = pick(instance, &["id", "split", "references"]);
    if let Some(mapping) = member(state, "output_mapping") {
        metadata.insert("output_mapping", mapping.clone());
    }
    draft.item.target.clone_from(&target);
    draft.item.metadata = text_or_json(&Value::Object(metadata));
    draft.item.row = ItemRow::Document(Box::new(DocumentRow {
        id: Some(key.0.clone()),
        input: input.map(Box::<str>::from),
        target,
    }));
    draft
}

/// Scores of one instance and trial.
fn instance(
    stats: &Value,
    columns: &[String],
    requests: &Requests,
    draft: &mut Draft,
    limits: &Limits,
) -> Result<(), Fault> {
    if member(stats, "perturbation").is_some() {
        return Ok(());
    }
    let id = member(stats, "instance_id").ok_or_else(|| Fault::shape("stats have no instance"))?;
    let key = (item_id(id, limits)?, trial(stats)?);
    let Some(at) = requests.by_key.get(&key) else {
        let message = "stats of an instance that was not requested";
        let finding = Finding::new(Code::ItemsUnexpected, message).in_member(INSTANCE_STATS);
        draft.findings.add(finding.of_item(crate::model::item_key(&key.0, key.1)));
        return Ok(());
    };
    let mut item = std::mem::replace(&mut draft.items[*at], DraftItem::new(key.0.clone(), key.1));
    let mut seen = BTreeSet::new();
    for entry in member(stats, "stats").and_then(Value::as_array).unwrap_or(&[]) {
        let stat = Stat::parse(entry)?;
        let is_column = columns.iter().any(|column| column == stat.name);
        if !is_column || stat.derived || stat.count == 0 {
            continue;
        }
        if !seen.insert(stat.name) {
            let message = "two values of one stat for one instance and trial";
            let finding = Finding::new(Code::ItemsDuplicate, message).in_member(INSTANCE_STATS);
            draft.findings.add(finding.of_item(item.item.key()));
            continue;
        }
        // The sum of one value is the value, as spelled.
        let value = match (stat.count, member(entry, "sum")) {
            (1, Some(sum)) => sum.clone(),
            (count, Some(_)) => Value::from(stat.figure("sum").map(|sum| sum / count as f64)),
            (_, None) => continue,
        };
        draft.cell(&mut item, ColumnKey::plain(stat.name), &value)?;
    }
    draft.items[*at] = item;
    Ok(())
}

fn metrics(
    stats: &[Stat<'_>],
    columns: &[String],
    settled: &Settled,
    splits: &BTreeMap<ItemId, String>,
    findings: &mut Findings,
) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let reported = stats.iter().enumerate().filter(|(_, stat)| {
        !stat.derived && stat.count > 0 && columns.iter().any(|column| column == stat.name)
    });
    for (at, stat) in reported {
        let column = settled.find(&ColumnKey::plain(stat.name));
        // The mean over trials of the means over instances.
        let mut trials: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for item in &settled.items {
            let split = splits.get(&item.id).map(String::as_str);
            let raw = column.and_then(|column| item.scores[column].as_deref());
            if let Some(raw) = raw.filter(|_| split == stat.split) {
                trials.entry(item.epoch).or_default().push(to_float(raw).number());
                ids.insert(&item.id);
            }
        }
        let means: Vec<f64> = trials.values().map(|values| mean(values)).collect();
        let recomputed = Some(means).filter(|means| !means.is_empty()).map(|means| mean(&means));
        let recomputed = recomputed.filter(|value| value.is_finite());
        let reported = stat.figure("mean").filter(|value| !value.is_nan());
        let finding = match (reported, recomputed) {
            (Some(a), Some(b)) if !agree(a, b) => {
                Some((Code::MetricMismatch, "the instances yield another figure"))
            }
            (None, Some(_)) => {
                Some((Code::MetricMismatch, "the instances yield a figure, the stats none"))
            }
            (Some(_), None) => {
                Some((Code::MetricNotRecomputable, "the instances do not yield this figure"))
            }
            _ => None,
        };
        if let Some((code, message)) = finding {
            let finding = Finding::new(code, message).in_member(STATS);
            findings.add(finding.at(format!("/{at}/mean")));
        }
        metrics.push(Metric {
            column: stat.name.to_owned(),
            reducer: None,
            metric: "mean".to_owned(),
            split: stat.split.map(str::to_owned),
            n: ids.len() as u64,
            reported,
            recomputed,
        });
    }
    metrics
}

/// Instances of all splits × trials, by the stat `num_instances`.
fn declared(stats: &[Stat<'_>], epochs: u64) -> Option<u64> {
    let own = stats.iter().filter(|stat| stat.name == "num_instances" && !stat.derived);
    let instances: Vec<f64> = own.filter_map(|stat| stat.figure("mean")).collect();
    let total: f64 = instances.iter().sum();
    let whole = total.fract() == 0.0 && (0.0..9e15).contains(&total);
    (whole && !instances.is_empty()).then(|| (total as u64).saturating_mul(epochs))
}
