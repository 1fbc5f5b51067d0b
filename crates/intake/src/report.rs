//! The machine-readable report of an import: what `import --json` prints.

use json::{Object, Value};

use crate::{Evaluation, Finding, Import, Metric, Moment, Outcome, Refusal};

impl Import {
    /// One object for a single evaluation, an array in the file's order for several. Holds
    /// figures and places, never the text of an item.
    pub fn to_json(&self) -> Value {
        let mut reports: Vec<Value> = self.outcomes.iter().map(outcome).collect();
        match reports.len() {
            1 => reports.remove(0),
            _ => Value::Array(reports),
        }
    }
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Read(read) => evaluation(read),
        Outcome::Refused(refused) => refusal(refused),
    }
}

fn evaluation(read: &Evaluation) -> Value {
    let hour = |moment: &Moment| Value::from(moment.hour());
    let mut report = Object::default();
    report.insert("evaluation", read.name.as_str());
    report.insert("version", read.version.clone());
    report.insert("format", read.format.as_str());
    report.insert(
        "harness",
        json::object([
            ("name", read.harness.name.into()),
            ("version", read.harness.version.clone().into()),
        ]),
    );
    report.insert("started", read.started.as_ref().map_or(Value::Null, hour));
    report.insert("ended", read.ended.as_ref().map_or(Value::Null, hour));
    report.insert("items", read.items.len());
    report.insert("declared", read.declared);
    report.insert(
        "counts",
        json::object(read.counts().iter().rev().map(|(s, n)| (s.as_str(), Value::from(*n)))),
    );
    let columns = read.columns.iter().map(|column| {
        let higher = column.higher_is_better.map_or(Value::Null, Value::from);
        json::object([
            ("name", Value::from(column.name.as_str())),
            ("values", column.values.as_str().into()),
            ("higher_is_better", higher),
        ])
    });
    report.insert("columns", json::array(columns));
    report.insert("metrics", json::array(read.metrics.iter().map(metric)));
    report.insert("flags", json::array(read.flags.keys().map(|code| code.as_str())));
    report.insert(
        "flag_counts",
        json::object(read.flags.iter().map(|(code, n)| (code.as_str(), Value::from(*n)))),
    );
    report.insert("findings", json::array(read.findings.iter().map(finding)));
    report.into()
}

fn metric(metric: &Metric) -> Value {
    let mut report = Object::default();
    report.insert("column", metric.column.as_str());
    report.insert("reducer", metric.reducer.clone());
    report.insert("metric", metric.metric.as_str());
    if let Some(split) = &metric.split {
        report.insert("split", split.as_str());
    }
    report.insert("n", metric.n);
    report.insert("reported", metric.reported);
    report.insert("recomputed", metric.recomputed);
    report.into()
}

impl Finding {
    /// The finding as an object; absent parts are left out.
    pub fn to_json(&self) -> Value {
        finding(self)
    }
}

fn finding(finding: &Finding) -> Value {
    let mut report = Object::default();
    report.insert("code", finding.code.as_str());
    for (name, part) in
        [("member", &finding.member), ("item", &finding.item), ("pointer", &finding.pointer)]
    {
        if let Some(text) = part {
            report.insert(name, text.as_str());
        }
    }
    report.insert("message", &*finding.message);
    report.into()
}

fn refusal(refused: &Refusal) -> Value {
    let mut report = Object::default();
    if let Some(name) = &refused.evaluation {
        report.insert("evaluation", name.as_str());
    }
    report.insert("refused", refused.code.as_str());
    report.insert("flags", json::array([refused.code.as_str()]));
    for (name, part) in [("member", &refused.member), ("pointer", &refused.pointer)] {
        if let Some(text) = part {
            report.insert(name, text.as_str());
        }
    }
    report.insert("message", &*refused.message);
    report.insert("advice", refused.code.advice());
    report.into()
}
