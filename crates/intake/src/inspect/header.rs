//! The header of an Inspect log: what the run was, what it declares, what it reports.

use std::collections::BTreeMap;

use json::{Located, Value};

use crate::draft::item_id;
use crate::fault::Fault;
use crate::stream::{finite, finite_but, member, pick, text, text_or_json};
use crate::{Code, ItemId, Limits, Moment, time};

/// The one version of the schema; it stayed the same while the schema changed.
const VERSION: u64 = 2;

/// The header, parsed as far as intake needs it.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) task_version: Option<String>,
    pub(super) harness_version: Option<String>,
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) model: String,
    pub(super) elicitation: String,
    pub(super) environment: String,
    pub(super) started: Option<Moment>,
    pub(super) ended: Option<Moment>,
    /// Place of every id that the log declares; empty if it declares none.
    pub(super) declared_ids: BTreeMap<ItemId, usize>,
    pub(super) epochs: Option<u64>,
    /// Ids × epochs.
    pub(super) declared: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) success: bool,
    pub(super) invalidated: bool,
    pub(super) updates: u64,
    pub(super) scores: Vec<ReportedScore>,
}

/// One of `results.scores`.
pub(super) struct ReportedScore {
    pub(super) name: String,
    pub(super) scorer: String,
    pub(super) reducer: Option<String>,
    pub(super) scored: Option<u64>,
    pub(super) metrics: Vec<ReportedMetric>,
}

/// One figure.
pub(super) struct ReportedMetric {
    /// Its key in the log.
    pub(super) key: String,
    /// The metric's own name.
    pub(super) name: String,
    pub(super) params: Option<Value>,
    /// Nothing for `NaN`.
    pub(super) value: Option<f64>,
}

/// Refuses any version but 2.
pub(super) fn check_version(version: Option<&Value>) -> Result<(), Fault> {
    let number = version.and_then(Value::as_number).and_then(json::Number::as_u64);
    if number == Some(VERSION) {
        return Ok(());
    }
    Err(Fault::new(Code::LogVersion, "not version 2 of Inspect's log").at("/version"))
}

/// Refuses numbers that are not finite outside the values of `results`.
pub(super) fn check_finite(header: &Value) -> Result<(), Fault> {
    let Some(object) = header.as_object() else {
        return Err(Fault::shape("the header must be an object"));
    };
    object.iter().try_for_each(|(name, value)| check_member_finite(name, value))
}

/// As [`check_finite`], for one member of the header.
pub(super) fn check_member_finite(name: &str, value: &Value) -> Result<(), Fault> {
    let check = match name {
        "results" => finite_but(value, &|name| name == "value"),
        // What a run reports about itself may repeat anything.
        "log_updates" => Ok(()),
        _ => finite(value),
    };
    check.map_err(|fault| fault.within(name))
}

fn uint(value: &Value, name: &str) -> Option<u64> {
    member(value, name)?.as_number()?.as_u64()
}

impl Header {
    /// From a document with the members of `header.json`.
    pub(super) fn parse(header: &Value, limits: &Limits) -> Result<Self, Fault> {
        check_version(header.get("version"))?;
        let eval = member(header, "eval")
            .filter(|eval| eval.as_object().is_some())
            .ok_or_else(|| Fault::shape("the header has no eval").at("/eval"))?;
        let name = text(eval, "task")
            .ok_or_else(|| Fault::shape("the task has no name").at("/eval/task"))?;
        let null = Value::Null;
        let config = member(eval, "config").unwrap_or(&null);
        let dataset = member(eval, "dataset").unwrap_or(&null);
        let stats = member(header, "stats").unwrap_or(&null);
        let results = member(header, "results").unwrap_or(&null);

        let mut declared_ids = BTreeMap::new();
        let sample_ids = member(dataset, "sample_ids").and_then(Value::as_array).unwrap_or(&[]);
        for (at, id) in sample_ids.iter().enumerate() {
            let id = item_id(id, limits)
                .map_err(|fault| fault.within(&at.to_string()).at("/eval/dataset/sample_ids"))?;
            declared_ids.entry(id).or_insert(at);
        }
        let epochs = uint(config, "epochs").filter(|epochs| *epochs > 0);
        let ids = sample_ids.len() as u64;
        let declared = (ids > 0).then(|| ids.saturating_mul(epochs.unwrap_or(1)));

        let time = |value: &Value, name: &str| text(value, name).and_then(time::parse);
        let mut elicitation =
            pick(eval, &["solver", "solver_args", "task_args", "sandbox", "approval", "config"]);
        if let Some(plan) = member(header, "plan") {
            elicitation.insert("plan", plan.clone());
        }
        let keys = ["eval_id", "run_id", "task_id", "created"];
        let keys = keys.iter().filter_map(|key| Some((*key, text(eval, key)?.to_owned())));
        let model = pick(
            eval,
            &["model", "model_args", "model_base_url", "model_generate_config", "model_roles"],
        );
        let updates = member(header, "log_updates").and_then(Value::as_array).unwrap_or(&[]);
        let version = member(eval, "task_version").and_then(text_or_json);
        Ok(Self {
            name: name.to_owned(),
            task_version: version.map(String::from),
            harness_version: member(eval, "packages")
                .and_then(|packages| text(packages, "inspect_ai"))
                .map(str::to_owned),
            keys: keys.collect(),
            model: Value::Object(model).to_text(),
            elicitation: Value::Object(elicitation).to_text(),
            environment: Value::Object(pick(eval, &["packages", "revision"])).to_text(),
            started: time(stats, "started_at").or_else(|| time(eval, "created")),
            ended: time(stats, "completed_at"),
            declared_ids,
            epochs,
            declared,
            total: uint(results, "total_samples"),
            success: text(header, "status") == Some("success"),
            invalidated: member(header, "invalidated").and_then(Value::as_bool) == Some(true),
            updates: updates.len() as u64,
            scores: reported_scores(results).map_err(|fault| fault.at("/results/scores"))?,
        })
    }

    /// Members of `eval` that name the run, for comparison with another part of the log.
    pub(super) fn run(header: &Value) -> Vec<(&'static str, Option<String>)> {
        let eval = member(header, "eval").unwrap_or(&Value::Null);
        let name = |key: &'static str| (key, text(eval, key).map(str::to_owned));
        ["eval_id", "run_id", "task_id"].map(name).to_vec()
    }
}

fn reported_scores(results: &Value) -> Result<Vec<ReportedScore>, Fault> {
    let mut reported = Vec::new();
    let scores = member(results, "scores").and_then(Value::as_array).unwrap_or(&[]);
    for (at, score) in scores.iter().enumerate() {
        reported.push(reported_score(score).map_err(|fault| fault.within(&at.to_string()))?);
    }
    Ok(reported)
}

fn reported_score(score: &Value) -> Result<ReportedScore, Fault> {
    let name = text(score, "name").or_else(|| text(score, "scorer"));
    let name = name.ok_or_else(|| Fault::shape("a reported score has no name"))?;
    let mut metrics = Vec::new();
    if let Some(object) = member(score, "metrics").and_then(Value::as_object) {
        for (key, metric) in object.iter() {
            let number = metric.get("value").unwrap_or(metric).as_number();
            metrics.push(ReportedMetric {
                key: key.to_owned(),
                name: text(metric, "name").unwrap_or(key).to_owned(),
                // Called options in versions up to 0.3.41.
                params: member(metric, "params").or_else(|| member(metric, "options")).cloned(),
                value: number.map(json::Number::as_f64).filter(|value| !value.is_nan()),
            });
        }
    }
    Ok(ReportedScore {
        name: name.to_owned(),
        scorer: text(score, "scorer").unwrap_or(name).to_owned(),
        reducer: text(score, "reducer").map(str::to_owned),
        scored: uint(score, "scored_samples"),
        metrics,
    })
}
