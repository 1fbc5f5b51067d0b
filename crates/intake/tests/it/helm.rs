//! Run folders of HELM, and changed copies.

use std::collections::BTreeMap;
use std::io::Cursor;

use intake::{Code, Import, NoFolder, Options, Status, import, import_folder};
use json::{Rules, Value};

use crate::fixtures::{assert_flags, assert_refused, edit, evaluation, folder, set, value};

const RUN: &str = "real/every_eval_ever-repo/helm/\
                   mmlu-subject=philosophy,method=multiple_choice_joint,model=openai_gpt2";
const STATE: &str = "scenario_state.json";
const STATS: &str = "stats.json";
const INSTANCES: &str = "per_instance_stats.json";

struct Run(BTreeMap<String, Vec<u8>>);

impl Run {
    fn open() -> Self {
        Self(folder(RUN))
    }

    fn edit(&mut self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut value = json::parse(&self.0[file], Rules::LOG).unwrap();
        change(&mut value);
        self.0.insert(file.to_owned(), value.to_text().into_bytes());
    }

    fn import(&self) -> Import {
        import_folder(&self.0, &Options::default())
    }
}

/// Changes every entry of a list that has this stat's name and split and is not derived.
fn stat(list: &mut Value, name: &str, split: &str, change: impl Fn(&mut Value)) {
    let Value::Array(stats) = list else { panic!() };
    for stat in stats {
        let own = stat.get("name").unwrap();
        let is = |key: &str, text: &str| own.get(key).and_then(Value::as_str) == Some(text);
        if is("name", name) && is("split", split) && own.get("perturbation").is_none() {
            change(stat);
        }
    }
}

#[test]
fn items_are_instances_with_their_prompts() {
    let import = Run::open().import();
    let read = evaluation(&import);
    let item = read.items.iter().find(|item| item.id.as_text() == "id147").unwrap();
    assert!(item.input.as_deref().unwrap().starts_with("The following are multiple choice"));
    assert_eq!(item.target.as_deref(), Some("internalmeaning"));
    assert_eq!(item.output.as_deref(), Some(" D"));
    assert_eq!(read.declared, Some(10));
    assert_eq!(read.model, r#"{"model":"openai/gpt2","model_deployment":"huggingface/gpt2"}"#);
    assert_eq!(read.started.unwrap().hour(), "2025-11-05T15:00:00Z");
    assert!(read.ended >= read.started);
    assert_eq!((read.harness.name, &read.harness.version), ("helm", &None));
}

#[test]
fn the_run_spec_alone_finds_its_folder() {
    let run = Run::open();
    let spec = Cursor::new(&run.0["run_spec.json"]);
    let import = import(spec, "run_spec.json", &run.0, &Options::default());
    assert_eq!(evaluation(&import).items.len(), 10);
    let spec = Cursor::new(&run.0["run_spec.json"]);
    let alone = intake::import(spec, "run_spec.json", &NoFolder, &Options::default());
    assert_refused(&alone, Code::LogNoItems);
}

#[test]
fn changed_figures_are_seen() {
    let mut run = Run::open();
    run.edit(STATS, |stats| stat(stats, "exact_match", "test", |s| set(s, &["mean"], 0.2)));
    assert_flags(&run.import(), &["metric.mismatch"], 1);
    let mut run = Run::open();
    run.edit(STATS, |stats| {
        stat(stats, "exact_match", "test", |s| set(s, &["mean"], value("NaN")));
    });
    assert_flags(&run.import(), &["metric.mismatch"], 1);
    let mut run = Run::open();
    run.edit(INSTANCES, |all| {
        edit(all, &["0", "stats"], |stats| {
            stat(stats, "exact_match", "test", |s| set(s, &["sum"], 1.0));
        });
    });
    let import = run.import();
    let raised = evaluation(&import).flags.contains_key(&Code::MetricMismatch);
    // One instance is right; it may be this one.
    let first = &evaluation(&Run::open().import()).items[0].scores[0].clone();
    assert!(raised || first.as_deref().unwrap().literal() != "0");
    // Stats that the run does not name are no results.
    let mut run = Run::open();
    run.edit(STATS, |stats| stat(stats, "perplexity", "test", |s| set(s, &["mean"], 0.2)));
    assert_flags(&run.import(), &[], 0);
}

#[test]
fn instances_must_be_those_that_are_declared_and_requested() {
    let mut run = Run::open();
    run.edit(STATS, |stats| stat(stats, "num_instances", "test", |s| set(s, &["mean"], 90.0)));
    let import = run.import();
    assert_flags(&import, &["items.count"], 1);
    assert_eq!(evaluation(&import).counts()[&Status::Missing], 81);

    let mut run = Run::open();
    run.edit(INSTANCES, |all| set(all, &["2", "instance_id"], "id9999"));
    let import = run.import();
    let flags = &evaluation(&import).flags;
    assert!(flags.contains_key(&Code::ItemsUnexpected) && flags.contains_key(&Code::ItemsUnscored));
    assert_eq!(import.exit(), 1);

    let mut run = Run::open();
    run.edit(STATE, |state| {
        let first = state.get("request_states").unwrap().as_array().unwrap()[0].clone();
        edit(state, &["request_states"], |states| {
            let Value::Array(states) = states else { panic!() };
            states.push(first);
        });
    });
    assert_flags(&run.import(), &["items.duplicate"], 1);

    let mut run = Run::open();
    run.edit(STATE, |state| set(state, &["adapter_spec", "temperature"], 1.0));
    assert_flags(&run.import(), &["cross.start"], 1);
}

#[test]
fn failed_requests_are_errors() {
    for success in ["false", "null"] {
        let mut run = Run::open();
        run.edit(STATE, |state| {
            set(state, &["request_states", "3", "result", "success"], value(success));
        });
        let import = run.import();
        assert_flags(&import, &["items.errored"], 0);
        assert_eq!(evaluation(&import).counts()[&Status::Errored], 1);
    }
}

#[test]
fn trials_are_epochs_and_perturbed_instances_are_no_items() {
    let mut run = Run::open();
    run.edit(STATE, |state| {
        edit(state, &["request_states"], |states| {
            let Value::Array(states) = states else { panic!() };
            let mut second = states.clone();
            second.iter_mut().for_each(|s| set(s, &["train_trial_index"], 1_u64));
            let mut perturbed = states[0].clone();
            set(&mut perturbed, &["instance", "perturbation"], value(r#"{"name":"typos"}"#));
            states.extend(second);
            states.push(perturbed);
        });
    });
    run.edit(INSTANCES, |all| {
        let Value::Array(all) = all else { panic!() };
        let mut second = all.clone();
        second.iter_mut().for_each(|s| set(s, &["train_trial_index"], 1_u64));
        all.extend(second);
    });
    run.edit(STATS, |stats| {
        let Value::Array(stats) = stats else { panic!() };
        for stat in stats {
            set(stat, &["count"], 2_u64);
        }
    });
    let import = run.import();
    assert_flags(&import, &["helm.perturbed", "helm.trials"], 0);
    let read = evaluation(&import);
    assert_eq!((read.items.len(), read.epochs, read.declared), (20, Some(2), Some(20)));
    assert_eq!(read.flags[&Code::HelmTrials], 2);
    assert_eq!(read.metrics[0].n, 9);
}

#[test]
fn one_request_for_each_reference_is_one_item() {
    let mut run = Run::open();
    run.edit(STATE, |state| {
        edit(state, &["request_states"], |states| {
            let Value::Array(states) = states else { panic!() };
            let first = states[0].clone();
            for index in 0..3_u64 {
                let mut state = first.clone();
                set(&mut state, &["reference_index"], index);
                set(&mut state, &["request", "prompt"], format!("prompt {index}"));
                if index == 0 { states[0] = state } else { states.push(state) }
            }
        });
    });
    let import = run.import();
    assert_flags(&import, &[], 0);
    let item = evaluation(&import).items.iter().find(|item| item.id.as_text() == "id147").unwrap();
    assert_eq!(item.input.as_deref(), Some(r#"["prompt 0","prompt 1","prompt 2"]"#));
    assert_eq!(item.output.as_deref(), Some(r#"[" D"," D"," D"]"#));
}

#[test]
fn missing_and_malformed_files_are_told_apart() {
    let mut run = Run::open();
    run.0.remove(STATE);
    assert_refused(&run.import(), Code::LogNoItems);
    let mut run = Run::open();
    run.0.remove(STATS);
    assert_flags(&run.import(), &["log.no_results"], 0);
    let mut run = Run::open();
    run.0.remove(INSTANCES);
    assert_flags(&run.import(), &["items.unscored", "metric.not_recomputable"], 0);
    for (file, path, new, code) in [
        (STATE, &["request_states", "0", "instance", "id"][..], "NaN", Code::JsonNonFinite),
        (STATE, &["request_states", "0", "train_trial_index"], "-1", Code::LogShape),
        (STATS, &["0", "name"], "7", Code::LogShape),
        (STATS, &["0", "count"], "NaN", Code::JsonNonFinite),
        (INSTANCES, &["0", "instance_id"], "1.5", Code::LogShape),
        ("run_spec.json", &["name"], "7", Code::LogShape),
    ] {
        let mut run = Run::open();
        run.edit(file, |document| set(document, path, value(new)));
        assert_refused(&run.import(), code);
    }
    for file in [STATE, STATS, INSTANCES, "run_spec.json"] {
        let mut run = Run::open();
        let content = run.0.get_mut(file).unwrap();
        content.truncate(content.len() / 2);
        let import = run.import();
        assert_refused(&import, Code::JsonSyntax);
        assert_eq!(crate::fixtures::refusal(&import).member.as_deref(), Some(file));
    }
    let empty: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    assert_refused(&import_folder(&empty, &Options::default()), Code::LogFormat);
}
