//! Every genuine log against what the reference readers of the harnesses found in it.

use intake::{Code, Evaluation, Format, Import, ItemId, Options, RawKind};
use json::Value;

use crate::fixtures::{document, evaluation, import_path};

fn number(value: Option<&Value>) -> Option<f64> {
    value?.as_number().map(json::Number::as_f64)
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9,
        (None, None) => true,
        _ => false,
    }
}

/// Compares one printed report with one expected object.
fn compare(path: &str, expected: &Value, printed: &Value) {
    for name in ["evaluation", "items", "counts", "refused"] {
        if let Some(value) = expected.get(name) {
            // Counts are objects; the order of their members carries no meaning.
            match value.as_object() {
                None => assert_eq!(printed.get(name), Some(value), "{path}: {name}"),
                Some(object) => {
                    let own = printed.get(name).unwrap();
                    assert_eq!(own.as_object().unwrap().len(), object.len());
                    for (member, value) in object.iter() {
                        assert_eq!(own.get(member), Some(value), "{path}: {name}/{member}");
                    }
                }
            }
        }
    }
    assert_eq!(expected.get("refused").is_some(), printed.get("refused").is_some(), "{path}");
    // Further flags that only inform would be fine; these logs give no reason for any.
    assert_eq!(printed.get("flags"), expected.get("flags"), "{path}: {}", printed.to_text());
    let Some(metrics) = expected.get("metrics").and_then(Value::as_array) else { return };
    let own = printed.get("metrics").and_then(Value::as_array).unwrap();
    assert_eq!(own.len(), metrics.len(), "{path}");
    for (own, metric) in own.iter().zip(metrics) {
        for name in ["column", "reducer", "metric", "split", "n"] {
            assert_eq!(own.get(name), metric.get(name), "{path}: {name} of {}", metric.to_text());
        }
        for name in ["reported", "recomputed"] {
            let (own, metric) = (number(own.get(name)), number(metric.get(name)));
            assert!(same(own, metric), "{path}: {name} {own:?} for {metric:?}");
        }
    }
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |all| all.iter().collect())
}

fn highest(expected: &[&Value], name: &str) -> u64 {
    let exit = |value: &&Value| {
        let own = value.get(name).or_else(|| value.get("exit")).unwrap();
        own.as_number().unwrap().as_u64().unwrap()
    };
    expected.iter().map(exit).max().unwrap()
}

#[test]
fn every_log_gives_the_expected_report_and_exit_status() {
    let all = document("cli-expected.json");
    let mut compared = 0;
    for (path, expected) in all.as_object().unwrap().iter() {
        let expected = list(expected);
        let import = import_path(path, &Options::default());
        let printed = import.to_json();
        let printed = list(&printed);
        assert_eq!(printed.len(), expected.len(), "{path}");
        for (expected, printed) in expected.iter().zip(&printed) {
            compare(path, expected, printed);
            compared += 1;
        }
        assert_eq!(u64::from(import.exit()), highest(&expected, "exit"), "{path}");

        let flagging = Options { flag_mismatch: true, ..Options::default() };
        let exit = u64::from(import_path(path, &flagging).exit());
        assert_eq!(exit, highest(&expected, "with_flag_mismatch"), "{path}");
    }
    assert_eq!(compared, 36);
}

/// The raw value of a scorer, as the log spells it; objects in the spelling of Python's json.
fn spelled(evaluation: &Evaluation, item: usize, scorer: &str) -> Option<String> {
    let item = &evaluation.items[item];
    let spell = |at: usize| {
        let raw = item.scores[at].as_deref()?;
        Some(match raw.kind() {
            RawKind::Text => Value::from(raw.literal()).to_text(),
            _ => raw.literal().to_owned(),
        })
    };
    if let Some(at) = evaluation.column(scorer) {
        return spell(at);
    }
    let members: Vec<String> = (0..evaluation.columns.len())
        .filter_map(|at| {
            let key = evaluation.columns[at].name.strip_prefix(scorer)?.strip_prefix('/')?;
            Some(format!("\"{key}\": {}", spell(at)?))
        })
        .collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(", ")))
}

fn check_inspect(path: &str, facts: &Value, evaluation: &Evaluation) {
    let text = |name: &str| facts.get(name).and_then(Value::as_str);
    let uint = |name: &str| facts.get(name).and_then(|v| v.as_number()?.as_u64());
    assert_eq!(Some(evaluation.name.as_str()), text("task"), "{path}");
    assert_eq!(evaluation.harness.version.as_deref(), text("inspect_ai"), "{path}");
    let version = facts.get("task_version").unwrap();
    let version = version.as_str().map_or_else(|| version.to_text(), str::to_owned);
    assert_eq!(evaluation.version.as_deref(), Some(&*version), "{path}");
    assert_eq!(Some(evaluation.items.len() as u64), uint("sample_rows"), "{path}");
    let mut ids: Vec<&ItemId> = evaluation.items.iter().map(|item| &item.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(Some(ids.len() as u64), uint("unique_sample_ids"), "{path}");
    let errored = evaluation.items.iter().filter(|item| item.errored).count();
    assert_eq!(Some(errored as u64), uint("errored_rows"), "{path}");
    let ends_well = !evaluation.flags.contains_key(&Code::LogStatus);
    assert_eq!(ends_well, text("status") == Some("success"), "{path}");
    let key = |name: &str| {
        evaluation.keys.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    };
    for name in ["run_id", "task_id"] {
        assert_eq!(key(name), text(name), "{path}");
    }
    // A derived id is not the log's own.
    let in_file = facts.get("eval_id_in_file").and_then(Value::as_bool).unwrap_or(true);
    assert_eq!(key("eval_id"), text("eval_id").filter(|_| in_file), "{path}");
    let model = json::parse(evaluation.model.as_bytes(), json::Rules::LOG).unwrap();
    assert_eq!(model.get("model").and_then(Value::as_str), text("model"), "{path}");
    let hour = evaluation.started.unwrap().hour();
    assert_eq!(&hour[13..], ":00:00Z", "{path}");
    // Runs here start within a second of their creation, none of them around a full hour.
    assert_eq!(hour[..13], text("created").unwrap()[..13], "{path}");

    let scorers = facts.get("scores_by_scorer").and_then(Value::as_object).unwrap();
    for (scorer, histogram) in scorers.iter() {
        let mut own = std::collections::BTreeMap::new();
        for item in 0..evaluation.items.len() {
            if let Some(spelling) = spelled(evaluation, item, scorer) {
                *own.entry(spelling).or_insert(0_u64) += 1;
            }
        }
        let histogram = histogram.as_object().unwrap();
        assert_eq!(own.len(), histogram.len(), "{path}: {own:?}");
        for (spelling, count) in histogram.iter() {
            let count = count.as_number().unwrap().as_u64();
            assert_eq!(own.get(spelling).copied(), count, "{path}: {spelling}");
        }
    }
}

#[test]
fn inspect_logs_agree_with_inspects_own_reader() {
    let all = document("expected.json");
    let mut checked = 0;
    for (path, facts) in all.as_object().unwrap().iter() {
        let format = match facts.get("format").and_then(Value::as_str) {
            Some("inspect-eval") => Format::InspectEval,
            Some("inspect-json") => Format::InspectJson,
            _ => continue,
        };
        if facts.get("sample_rows").and_then(|rows| rows.as_number()?.as_u64()) == Some(0) {
            continue;
        }
        let import = import_path(path, &Options::default());
        let evaluation = evaluation(&import);
        assert_eq!(evaluation.format, format, "{path}");
        check_inspect(path, facts, evaluation);
        checked += 1;
    }
    assert_eq!(checked, 28);
}

#[test]
fn lm_eval_runs_agree_with_the_rows() {
    let all = document("expected.json");
    for (path, facts) in all.as_object().unwrap().iter() {
        if facts.get("format").and_then(Value::as_str) != Some("lm-eval") {
            continue;
        }
        let import = import_path(path, &Options::default());
        for evaluation in import.evaluations() {
            let samples = facts.get("samples").unwrap().get(&evaluation.name).unwrap();
            let uint = |name: &str| samples.get(name).and_then(|v| v.as_number()?.as_u64());
            assert_eq!(Some(evaluation.items.len() as u64), uint("unique_doc_ids"));
            let matches = samples.get("task_hash_matches").and_then(Value::as_bool);
            let raised = evaluation.flags.contains_key(&Code::LmTaskHash);
            assert_eq!(Some(!raised), matches, "{path}");
            let means = samples.get("recomputed_means").and_then(Value::as_object).unwrap();
            for (column, value) in means.iter() {
                let own = evaluation.metrics.iter().find(|metric| {
                    metric.column == column && column.starts_with(&format!("{},", metric.metric))
                });
                assert!(same(own.unwrap().recomputed, number(Some(value))), "{path}: {column}");
            }
            assert_eq!(
                evaluation.harness.version.as_deref(),
                facts.get("lm_eval_version").and_then(Value::as_str)
            );
        }
    }
}

/// Everything that a record commits to.
fn projection(import: &Import) -> impl PartialEq + std::fmt::Debug {
    let e = evaluation(import);
    (
        (e.name.clone(), e.version.clone(), e.keys.clone(), e.harness.clone()),
        (e.model.clone(), e.elicitation.clone(), e.environment.clone(), e.started, e.ended),
        (e.columns.clone(), e.items.clone(), e.epochs, e.declared),
        (e.metrics.clone(), e.flags.clone()),
    )
}

#[test]
fn one_run_is_the_same_in_both_containers() {
    for (archive, single) in [
        ("inspect-converted/arithmetic_match.original.eval", "arithmetic_match.converted.json"),
        ("inspect-converted/mcq_choice_epochs.original.eval", "mcq_choice_epochs.converted.json"),
        ("rivals/lab-a.eval", "lab-a.json"),
    ] {
        let (folder, _) = archive.rsplit_once('/').unwrap();
        let archive = import_path(archive, &Options::default());
        let single = import_path(&format!("{folder}/{single}"), &Options::default());
        assert_eq!(projection(&archive), projection(&single), "{folder}");
    }
}

#[test]
fn fields_hold_the_texts_of_the_log() {
    let import = import_path("rivals/lab-a.eval", &Options::default());
    let item = &evaluation(&import).items[0];
    assert_eq!(item.key(), "\"mix-001\" epoch 1");
    assert!(item.input.as_deref().unwrap().starts_with("Continue the sequence: 12, 20, 30"));
    assert_eq!(item.target.as_deref(), Some("72"));
    assert_eq!(item.output.as_deref(), Some("62"));
    assert_eq!(
        item.explanation.as_deref(),
        Some(r#"{"match":{"answer":"62","explanation":"62"}}"#)
    );
    assert!(item.metadata.as_deref().unwrap().starts_with(r#"{"id":"mix-001","uuid":""#));

    let import =
        import_path("inspect-converted/mcq_choice_epochs.original.eval", &Options::default());
    let item = &evaluation(&import).items[0];
    let input = item.input.as_deref().unwrap();
    assert!(input.starts_with(r#"{"input":"[astronomy #1] Which option"#), "{input}");
    assert!(input.ends_with(r#""choices":["D7-0-0","D7-0-1","T7-0","D7-0-3"]}"#), "{input}");
}

#[test]
fn the_report_quotes_no_item() {
    for path in ["rivals/lab-a.eval", "inspect/includes_with_errors"] {
        let path = match path.ends_with(".eval") {
            true => path.to_owned(),
            false => crate::fixtures::only(path, ".eval"),
        };
        let import = import_path(&path, &Options::default());
        let report = import.to_json().to_text();
        for item in &evaluation(&import).items {
            let input = item.input.as_deref().unwrap();
            assert!(!report.contains(input), "{path}: {input}");
        }
    }
}
