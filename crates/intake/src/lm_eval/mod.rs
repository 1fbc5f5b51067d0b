//! Runs of lm-evaluation-harness: a results file, and for each task a samples file with one row
//! for each document and filter. One results file gives one evaluation for each task.
//!
//! Groups of tasks are no evaluations. Rows carry hashes of the document, of the prompt and of
//! the target, and the results a hash over those: all are recomputed.

mod rows;

use std::io::Read;

use json::{Located, Object, Value};

use crate::draft::{ColumnKey, Draft, Settled, check_ids, flag_items};
use crate::fault::{Fault, pointer};
use crate::finding::Findings;
use crate::lines::Lines;
use crate::model::Metric;
use crate::recompute::{agree, mean, standard_error, to_float};
use crate::stream::{finite, member, pick, text, text_or_json};
use crate::{
    Code, Evaluation, Finding, Folder, Format, Harness, Moment, Options, Outcome, RawKind, time,
};

use rows::Rows;

/// The stamp in `results_<stamp>.json`, which samples files share.
pub(crate) fn stamp(name: &str) -> Option<&str> {
    name.strip_prefix("results_")?.strip_suffix(".json").filter(|stamp| is_stamp(stamp))
}

/// A date and time, as `2026-11-23T18-00-22.635069`.
fn is_stamp(text: &str) -> bool {
    let form = |b: u8| b.is_ascii_digit() || b"-T.:".contains(&b);
    text.len() >= 10 && text.bytes().all(form) && text.bytes().any(|b| b == b'T')
}

/// Reads every task of `results`.
pub(crate) fn read(
    results: &Value,
    name: &str,
    siblings: &dyn Folder,
    options: &Options,
) -> Result<Vec<Outcome>, Fault> {
    let object = results.as_object().ok_or_else(|| Fault::shape("the results are no object"))?;
    for (member, value) in object.iter().filter(|(name, _)| !["results", "groups"].contains(name)) {
        finite(value).map_err(|fault| fault.within(member))?;
    }
    let tasks = member(results, "results")
        .and_then(Value::as_object)
        .ok_or_else(|| Fault::shape("the results must be an object").at("/results"))?;
    let names = siblings.names();
    let mut outcomes = Vec::new();
    for (task, figures) in tasks.iter().filter(|(task, _)| !is_group(results, task)) {
        let run = Run { results, task, figures, stamp: stamp(name), options };
        outcomes.push(match run.read(&names, siblings) {
            Ok(evaluation) => Outcome::Read(Box::new(evaluation)),
            Err(fault) => Outcome::Refused(fault.refusal(Some(task.to_owned()))),
        });
    }
    if outcomes.is_empty() {
        return Err(Fault::new(Code::LogNoItems, "the results name no task"));
    }
    Ok(outcomes)
}

fn is_group(results: &Value, task: &str) -> bool {
    let subtasks = member(results, "group_subtasks").and_then(|groups| groups.get(task));
    let has_subtasks = subtasks.and_then(Value::as_array).is_some_and(|tasks| !tasks.is_empty());
    has_subtasks || member(results, "groups").is_some_and(|groups| groups.get(task).is_some())
}

/// One task of a results file.
struct Run<'a> {
    results: &'a Value,
    task: &'a str,
    figures: &'a Value,
    stamp: Option<&'a str>,
    options: &'a Options,
}

/// A figure of the results: `metric,filter`, or `metric_stderr,filter`.
struct Reported<'a> {
    metric: &'a str,
    /// The metric that has the column: without `_stderr`.
    base: &'a str,
    filter: &'a str,
    value: &'a Value,
}

impl Reported<'_> {
    fn column(&self) -> String {
        format!("{},{}", self.base, self.filter)
    }
}

impl<'a> Run<'a> {
    fn read(&self, names: &[String], siblings: &dyn Folder) -> Result<Evaluation, Fault> {
        let missing = || {
            let message = "there is no samples file for the task with the stamp of the results";
            Fault::new(Code::LmNoSamples, message)
        };
        let file = self.samples_file(names).ok_or_else(missing)?;
        let input = siblings.open(&file).ok_or_else(missing)?;
        self.import(input, &file).map_err(|fault| fault.in_member(&file))
    }

    /// `samples_<task>_<stamp>.jsonl`; if the results have no stamp in their name, the only one
    /// that the task has. Newer versions replace what is no word character in a task's name.
    fn samples_file(&self, names: &[String]) -> Option<String> {
        let plain = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '_' };
        let sanitized: String = self.task.chars().map(plain).collect();
        for task in [self.task, &sanitized] {
            let mut files = names.iter().filter(|name| {
                let stamp = name
                    .strip_prefix("samples_")
                    .and_then(|rest| rest.strip_prefix(task))
                    .and_then(|rest| rest.strip_prefix('_'))
                    .and_then(|rest| rest.strip_suffix(".jsonl"));
                stamp.is_some_and(|own| match self.stamp {
                    Some(stamp) => stamp == own,
                    None => is_stamp(own),
                })
            });
            if let (Some(only), None) = (files.next(), files.next()) {
                return Some(only.clone());
            }
        }
        None
    }

    /// A part of the results that has a member for each task.
    fn of_task(&self, part: &str) -> Option<&'a Value> {
        member(member(self.results, part)?, self.task)
    }

    fn reported(&self) -> Vec<Reported<'a>> {
        let mut reported = Vec::new();
        for (key, value) in self.figures.as_object().into_iter().flat_map(Object::iter) {
            let Some((metric, filter)) = key.split_once(',') else { continue };
            let of = |base: &str| self.figures.get(&format!("{base},{filter}")).is_some();
            let base = metric.strip_suffix("_stderr").filter(|base| of(base)).unwrap_or(metric);
            reported.push(Reported { metric, base, filter, value });
        }
        reported
    }

    fn import(&self, input: impl Read, file: &str) -> Result<Evaluation, Fault> {
        let limits = &self.options.limits;
        let reported = self.reported();
        let mut draft = Draft::new(*limits);
        let mut columns = Vec::new();
        for figure in &reported {
            let key = ColumnKey::plain(&figure.column());
            draft.column(key.clone())?;
            columns.push(key);
        }
        let mut rows = Rows::new(file, &reported, self.options);
        let mut lines = Lines::new(input, limits.line);
        while let Some((index, line)) = lines.next_line()? {
            let row = json::parse(line, limits.rules()).map_err(Fault::from);
            row.and_then(|row| rows.row(&row, &mut draft))
                .map_err(|fault| fault.within(&index.to_string()))?;
        }
        if draft.items.is_empty() {
            return Err(Fault::new(Code::LogNoItems, "the samples file has no rows"));
        }
        let (order, hash) = rows.finish(&mut draft);
        let mut settled = draft.settle(&columns, &order);
        let mut findings = draft.findings;
        check_ids(&settled.items, &mut findings);
        self.check_task(&hash, settled.items.len() as u64, &mut findings);
        let better = self.of_task("higher_is_better");
        for (column, key) in settled.columns.iter_mut().zip(&settled.keys) {
            let metric = key.scorer.split_once(',').map_or(&*key.scorer, |(metric, _)| metric);
            column.higher_is_better = better.and_then(|b| b.get(metric)?.as_bool());
        }
        let metrics = self.metrics(&reported, &settled, &mut findings);
        flag_items(&settled.items, &mut findings);
        findings.set(Code::LogNoResults, u64::from(reported.is_empty()));
        Ok(self.evaluation(settled, metrics, findings))
    }

    fn declared(&self) -> Option<u64> {
        self.of_task("n-samples")?.get("effective")?.as_number()?.as_u64()
    }

    /// Number and hash of the rows, as the results name them.
    fn check_task(&self, own_hash: &str, items: u64, findings: &mut Findings) {
        if self.declared().is_some_and(|declared| declared != items) {
            let message = "the results declare another number of documents";
            let pointer = pointer(&["n-samples", self.task, "effective"]);
            findings.add(Finding::new(Code::ItemsCount, message).at(pointer));
        }
        let hash = self.of_task("task_hashes").and_then(Value::as_str);
        if hash.is_some_and(|hash| hash != own_hash) {
            let message = "the rows are not those that the results name";
            let pointer = pointer(&["task_hashes", self.task]);
            findings.add(Finding::new(Code::LmTaskHash, message).at(pointer));
        }
    }

    /// How the task's configuration aggregates a metric.
    fn aggregation(&self, metric: &str) -> Option<&'a str> {
        let list = member(self.of_task("configs")?, "metric_list")?.as_array()?;
        let own = list.iter().find(|entry| text(entry, "metric") == Some(metric))?;
        text(own, "aggregation")
    }

    fn metrics(
        &self,
        reported: &[Reported<'_>],
        settled: &Settled,
        findings: &mut Findings,
    ) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for figure in reported {
            let column = settled.find(&ColumnKey::plain(&figure.column()));
            let cells =
                column.map(|at| settled.items.iter().filter_map(move |i| i.scores[at].as_deref()));
            let mut cells: Vec<_> = cells.into_iter().flatten().collect();
            let aggregation = self.aggregation(figure.base);
            if aggregation == Some("nanmean") {
                cells.retain(|raw| !raw.is_nan());
            }
            let numbers = cells.iter().all(|r| matches!(r.kind(), RawKind::Number | RawKind::Bool));
            let values: Vec<f64> = cells.iter().map(|raw| to_float(raw).number()).collect();
            let is_mean = match aggregation {
                Some(name) => name == "mean" || name == "nanmean",
                None => true,
            };
            let value = figure.value.as_number().map(json::Number::as_f64);
            let reported = value.filter(|value| !value.is_nan());
            let recomputed = match values.as_slice() {
                [] => None,
                _ if !numbers || !is_mean => None,
                values if figure.metric == figure.base => Some(mean(values)),
                [_] => None,
                values => Some(standard_error(values)),
            };
            let mut recomputed = recomputed.filter(|value| value.is_finite());
            let agrees = reported.zip(recomputed).is_none_or(|(a, b)| agree(a, b));
            // Where nothing says that the figure is a mean, one that is none proves nothing.
            if !agrees && aggregation.is_none() && !MEANS.contains(&figure.base) {
                recomputed = None;
            }
            let finding = match (reported, recomputed) {
                (Some(_), Some(_)) if !agrees => {
                    Some((Code::MetricMismatch, "the rows yield another figure"))
                }
                (None, Some(_)) if value.is_some() => {
                    Some((Code::MetricMismatch, "the rows yield a figure, the results NaN"))
                }
                (Some(_), None) => {
                    Some((Code::MetricNotRecomputable, "the rows do not yield this figure"))
                }
                _ => None,
            };
            if let Some((code, message)) = finding {
                let key = format!("{},{}", figure.metric, figure.filter);
                let pointer = pointer(&["results", self.task, &key]);
                findings.add(Finding::new(code, message).at(pointer));
            }
            metrics.push(Metric {
                column: figure.column(),
                reducer: None,
                metric: figure.metric.to_owned(),
                split: None,
                n: cells.iter().filter(|raw| !raw.is_nan()).count() as u64,
                reported,
                recomputed,
            });
        }
        metrics
    }

    fn times(&self) -> (Option<Moment>, Option<Moment>) {
        let number = |value: &Value| match value {
            Value::Number(number) => Some(number.as_f64()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let date = member(self.results, "date").and_then(number);
        let took = member(self.results, "total_evaluation_time_seconds").and_then(number);
        let ended = date.zip(took).map(|(date, took)| date + took);
        (date.and_then(time::from_seconds), ended.and_then(time::from_seconds))
    }

    fn evaluation(&self, settled: Settled, metrics: Vec<Metric>, findings: Findings) -> Evaluation {
        let results = self.results;
        let null = Value::Null;
        let config = member(results, "config").unwrap_or(&null);
        let mut model =
            pick(results, &["model_source", "model_name", "chat_template_sha", "max_length"]);
        let names = ["model", "model_args", "model_revision", "model_sha", "model_dtype"];
        for (name, value) in pick(config, &names).iter() {
            model.insert(name, value.clone());
        }
        let mut elicitation =
            pick(results, &["system_instruction", "chat_template", "fewshot_as_multiturn"]);
        let task_parts = [("config", "configs"), ("n_shot", "n-shot"), ("version", "versions")];
        for (name, part) in task_parts {
            if let Some(value) = self.of_task(part) {
                elicitation.insert(name, value.clone());
            }
        }
        let names = [
            "gen_kwargs",
            "limit",
            "random_seed",
            "numpy_seed",
            "torch_seed",
            "fewshot_seed",
            "bootstrap_iters",
        ];
        for (name, value) in pick(config, &names).iter() {
            elicitation.insert(name, value.clone());
        }
        let mut environment = pick(
            results,
            &["lm_eval_version", "transformers_version", "git_hash", "pretty_env_info"],
        );
        for (name, value) in pick(config, &["device", "batch_size"]).iter() {
            environment.insert(name, value.clone());
        }
        let (started, ended) = self.times();
        let mut keys = Vec::new();
        if let Some(name) = text(results, "model_name") {
            keys.push(("model_name", name.to_owned()));
        }
        keys.push(("task", self.task.to_owned()));
        if let Some(stamp) = self.stamp {
            keys.push(("stamp", stamp.to_owned()));
        }
        let version = self.of_task("versions").and_then(text_or_json).map(String::from);
        Evaluation {
            format: Format::LmEval,
            harness: Harness {
                name: "lm_eval",
                version: text(results, "lm_eval_version").map(str::to_owned),
            },
            name: self.task.to_owned(),
            version,
            keys,
            model: Value::Object(model).to_text(),
            elicitation: Value::Object(elicitation).to_text(),
            environment: Value::Object(environment).to_text(),
            started,
            ended,
            columns: settled.columns,
            items: settled.items,
            epochs: None,
            declared: self.declared(),
            metrics,
            flags: findings.flags,
            findings: findings.list,
        }
    }
}

/// Metrics that are means wherever a task does not say otherwise.
const MEANS: [&str; 5] = ["acc", "acc_norm", "acc_mutual_info", "exact_match", "em"];
