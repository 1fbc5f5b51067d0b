//! Runs of lm-evaluation-harness whose rows are not those of the results.

use std::collections::BTreeMap;
use std::io::Cursor;

use intake::{Code, Folder, Import, Options, Outcome, Refusal, import, import_folder};
use json::{Rules, Value};
use sha2::{Digest as _, Sha256};

use crate::fixtures::{document, folder, remove, set, value};

const FOLDER: &str = "lm-eval/i82qcls7";
const RESULTS: &str = "results_2026-11-23T18-00-22.635069.json";
const GEN: &str = "samples_local_gen_2026-11-23T18-00-22.635069.jsonl";
const MCQ: &str = "samples_local_mcq_2026-11-23T18-00-22.635069.jsonl";

/// A run that can be changed.
struct Run {
    results: Value,
    files: BTreeMap<String, Vec<u8>>,
}

impl Run {
    fn open() -> Self {
        let results = document(&format!("{FOLDER}/{RESULTS}"));
        Self { results, files: folder(FOLDER) }
    }

    fn import_as(&self, name: &str, options: &Options) -> Import {
        import(Cursor::new(self.results.to_text()), name, &self.files, options)
    }

    fn import(&self) -> Import {
        self.import_as(RESULTS, &Options::default())
    }

    fn rows(&self, file: &str) -> Vec<Value> {
        let text = std::str::from_utf8(&self.files[file]).unwrap();
        text.lines().map(|line| json::parse(line.as_bytes(), Rules::LOG).unwrap()).collect()
    }

    fn put(&mut self, file: &str, rows: &[Value]) {
        let lines: Vec<String> = rows.iter().map(Value::to_text).collect();
        self.files.insert(file.to_owned(), (lines.join("\n") + "\n").into_bytes());
    }

    /// Changes rows of `file`; the task's hash is made to fit their declared hashes.
    fn edit(&mut self, file: &str, change: impl FnOnce(&mut Vec<Value>)) {
        let mut rows = self.rows(file);
        change(&mut rows);
        self.put(file, &rows);
        let text =
            |row: &Value, name| row.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let hashes: String = rows
            .iter()
            .flat_map(|row| ["doc_hash", "prompt_hash", "target_hash"].map(|name| text(row, name)))
            .collect();
        let task = if file == GEN { "local_gen" } else { "local_mcq" };
        let hash = hex::encode(Sha256::digest(hashes.as_bytes()));
        set(&mut self.results, &["task_hashes", task], hash);
    }
}

/// Flags of one task, or the code it was refused with.
fn flags(import: &Import, task: usize) -> Vec<&'static str> {
    match &import.outcomes[task] {
        Outcome::Read(read) => read.flags.keys().map(|code| code.as_str()).collect(),
        Outcome::Refused(refusal) => vec![refusal.code.as_str()],
    }
}

const MCQ_TASK: usize = 0;
const GEN_TASK: usize = 1;

#[test]
fn the_hashes_of_all_rows_are_reproduced() {
    let run = Run::open();
    assert_eq!(run.rows(GEN).len() + run.rows(MCQ).len(), 52);
    let import = run.import();
    assert_eq!((flags(&import, 0), flags(&import, 1)), (vec![], vec![]));
    // Leaving the trailing line feed away changes nothing.
    let mut run = Run::open();
    run.files.get_mut(GEN).unwrap().pop();
    assert_eq!(flags(&run.import(), GEN_TASK), Vec::<&str>::new());
}

#[test]
fn a_changed_row_hash_or_row_is_seen() {
    for name in ["doc_hash", "prompt_hash", "target_hash"] {
        let mut run = Run::open();
        let mut rows = run.rows(GEN);
        set(&mut rows[3], &[name], "00".repeat(32));
        run.put(GEN, &rows);
        let import = run.import();
        assert_eq!(flags(&import, GEN_TASK), ["lm.row_hash"], "{name}");
        assert_eq!(import.exit(), 1);
        let read = import.evaluations().nth(GEN_TASK).unwrap();
        let finding = &read.findings[0];
        assert_eq!(finding.item.as_deref(), Some("3 epoch 1"));
        assert_eq!(finding.pointer.as_deref(), Some(&*format!("/{name}")));
    }
    for path in [&["doc", "question"][..], &["target"], &["arguments", "gen_args_0", "arg_0"]] {
        let mut run = Run::open();
        let mut rows = run.rows(GEN);
        set(&mut rows[3], path, "something easier");
        run.put(GEN, &rows);
        let import = run.import();
        assert_eq!(flags(&import, GEN_TASK), ["lm.row_hash", "lm.task_hash"], "{path:?}");
        assert_eq!(
            run.import_as(RESULTS, &flagging()).exit(),
            1,
            "a row hash is no matter of taste"
        );
    }
}

fn flagging() -> Options {
    Options { flag_mismatch: true, ..Options::default() }
}

#[test]
fn repeated_removed_and_reordered_rows_are_seen() {
    let mut run = Run::open();
    let mut rows = run.rows(GEN);
    rows.push(rows[0].clone());
    run.put(GEN, &rows);
    let import = run.import();
    assert_eq!(flags(&import, GEN_TASK), ["items.duplicate", "lm.task_hash"]);
    assert_eq!(import.exit(), 1);

    let mut run = Run::open();
    let mut rows = run.rows(GEN);
    rows.remove(4);
    run.put(GEN, &rows);
    let import = run.import();
    assert_eq!(flags(&import, GEN_TASK), ["items.count", "lm.task_hash", "metric.mismatch"]);
    assert_eq!((import.exit(), run.import_as(RESULTS, &flagging()).exit()), (1, 0));

    let mut run = Run::open();
    let mut rows = run.rows(GEN);
    rows.swap(1, 2);
    run.put(GEN, &rows);
    assert_eq!(flags(&run.import(), GEN_TASK), ["lm.task_hash"]);

    // Another document under a doc_id that is taken.
    let mut run = Run::open();
    run.edit(GEN, |rows| {
        set(&mut rows[5], &["doc_id"], 4_u64);
        set(&mut rows[5], &["filter"], "other");
    });
    let found = flags(&run.import(), GEN_TASK);
    assert!(found.contains(&"items.colliding"), "{found:?}");
}

#[test]
fn a_task_without_its_samples_file_is_refused_alone() {
    let mut run = Run::open();
    run.files.remove(MCQ);
    let import = run.import();
    assert_eq!((flags(&import, 0), flags(&import, 1)), (vec!["lm.no_samples"], vec![]));
    assert_eq!(import.exit(), 2);
    let Outcome::Refused(Refusal { evaluation, .. }) = &import.outcomes[0] else { panic!() };
    assert_eq!(evaluation.as_deref(), Some("local_mcq"));

    // The stamp pairs them: a samples file of another run is none of these results.
    let other = GEN.replace("18-00-22", "19-00-22");
    let content = run.files.remove(GEN).unwrap();
    run.files.insert(other, content.clone());
    assert_eq!(flags(&run.import(), GEN_TASK), ["lm.no_samples"]);
    // Results under a name without a stamp take the only one, but don't choose between two.
    let renamed = run.import_as("renamed.json", &Options::default());
    assert_eq!(flags(&renamed, GEN_TASK), Vec::<&str>::new());
    run.files.insert(GEN.to_owned(), content);
    let renamed = run.import_as("renamed.json", &Options::default());
    assert_eq!(flags(&renamed, GEN_TASK), ["lm.no_samples"]);
}

#[test]
fn a_folder_with_one_results_file_can_be_imported() {
    let run = Run::open();
    let import = import_folder(&run.files, &Options::default());
    assert_eq!(import.evaluations().count(), 2);
    let mut several = run.files.clone();
    several.insert("results_2026-11-24T18-00-22.635069.json".to_owned(), b"{}".to_vec());
    let import = import_folder(&several, &Options::default());
    assert_eq!(flags(&import, 0), ["log.format"]);
    assert!(run.files.names().len() > 2 && run.files.open("nowhere").is_none());
}

#[test]
fn figures_that_are_no_means_are_not_recomputed() {
    for (aggregation, expected) in [
        (Some("f1"), vec!["metric.not_recomputable"]),
        (Some("mean"), vec!["metric.mismatch"]),
        (None, vec!["metric.mismatch"]),
    ] {
        let mut run = Run::open();
        let list = match aggregation {
            Some(name) => format!(r#"[{{"metric":"exact_match","aggregation":"{name}"}}]"#),
            None => "[]".to_owned(),
        };
        set(&mut run.results, &["configs", "local_gen", "metric_list"], value(&list));
        set(&mut run.results, &["results", "local_gen", "exact_match,none"], 0.9);
        assert_eq!(flags(&run.import(), GEN_TASK), expected, "{aggregation:?}");
    }
    // A metric that nothing says is a mean, and that isn't one, proves nothing.
    let mut run = Run::open();
    run.edit(GEN, |rows| rows.iter_mut().for_each(|row| set(row, &["ppl"], 1.5)));
    set(&mut run.results, &["results", "local_gen", "ppl,none"], 7.0);
    assert_eq!(flags(&run.import(), GEN_TASK), ["metric.not_recomputable"]);
    set(&mut run.results, &["results", "local_gen", "ppl,none"], 1.5);
    assert_eq!(flags(&run.import(), GEN_TASK), Vec::<&str>::new());
    // Pairs of label and prediction can't be averaged.
    let mut run = Run::open();
    run.edit(GEN, |rows| rows.iter_mut().for_each(|row| set(row, &["mcc"], value("[1,0]"))));
    set(&mut run.results, &["results", "local_gen", "mcc,none"], 0.5);
    assert_eq!(flags(&run.import(), GEN_TASK), ["metric.not_recomputable"]);
    let import = run.import();
    let read = import.evaluations().nth(GEN_TASK).unwrap();
    let column = read.column("mcc,none").unwrap();
    assert_eq!(read.items[0].scores[column].as_deref().unwrap().literal(), "[1,0]");
}

#[test]
fn a_missing_standard_error_is_no_contradiction() {
    let mut run = Run::open();
    set(&mut run.results, &["results", "local_gen", "exact_match_stderr,none"], "N/A");
    let import = run.import();
    assert_eq!(flags(&import, GEN_TASK), Vec::<&str>::new());
    let metric = &import.evaluations().nth(GEN_TASK).unwrap().metrics[1];
    assert_eq!((metric.reported, metric.recomputed.is_some()), (None, true));
}

#[test]
fn nan_is_a_metric_value_and_nothing_else() {
    let mut run = Run::open();
    run.edit(GEN, |rows| set(&mut rows[0], &["exact_match"], value("NaN")));
    for name in ["exact_match,none", "exact_match_stderr,none"] {
        set(&mut run.results, &["results", "local_gen", name], value("NaN"));
    }
    assert_eq!(flags(&run.import(), GEN_TASK), ["items.unscored"]);
    for path in [&["doc", "answer"][..], &["resps"], &["doc_id"], &["metrics"]] {
        let mut run = Run::open();
        run.edit(GEN, |rows| set(&mut rows[0], path, value("NaN")));
        assert_eq!(flags(&run.import(), GEN_TASK), ["json.non_finite"], "{path:?}");
    }
    // A row can't declare its document a metric.
    let mut run = Run::open();
    run.edit(GEN, |rows| {
        set(&mut rows[0], &["metrics"], value(r#"["exact_match","doc"]"#));
        set(&mut rows[0], &["doc", "answer"], value("NaN"));
    });
    assert_eq!(flags(&run.import(), GEN_TASK), ["json.non_finite"]);
    let mut run = Run::open();
    set(&mut run.results, &["config", "limit"], value("NaN"));
    assert_eq!(flags(&run.import(), 0), ["json.non_finite"]);
}

#[test]
fn filters_are_columns_of_one_item() {
    let mut run = Run::open();
    run.edit(GEN, |rows| {
        let more: Vec<Value> = rows
            .iter()
            .cloned()
            .map(|mut row| {
                set(&mut row, &["filter"], "strict");
                set(&mut row, &["exact_match"], 0.0);
                set(&mut row, &["filtered_resps"], value("[\"other\"]"));
                row
            })
            .collect();
        rows.extend(more);
    });
    set(&mut run.results, &["results", "local_gen", "exact_match,strict"], 0.0);
    set(&mut run.results, &["results", "local_gen", "exact_match_stderr,strict"], 0.0);
    let import = run.import();
    assert_eq!(flags(&import, GEN_TASK), Vec::<&str>::new());
    let read = import.evaluations().nth(GEN_TASK).unwrap();
    assert_eq!(read.items.len(), 12);
    let names: Vec<&str> = read.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["exact_match,none", "exact_match,strict"]);
    assert_eq!(read.columns[1].higher_is_better, Some(true));
    assert_eq!(
        read.items[0].explanation.as_deref(),
        Some(r#"{"none":["lol"],"strict":["other"]}"#)
    );
}

#[test]
fn items_hold_prompt_target_and_reply() {
    let import = Run::open().import();
    let read: Vec<_> = import.evaluations().collect();
    let item = &read[GEN_TASK].items[0];
    assert_eq!(item.input.as_deref(), Some("Say code 0\n"));
    assert_eq!((item.target.as_deref(), item.output.as_deref()), (Some("lol"), Some("lol")));
    let item = &read[MCQ_TASK].items[0];
    // Four requests, one for each choice: all of them are the prompt.
    assert!(item.input.as_deref().unwrap().starts_with(r#"{"gen_args_0":{"arg_0":"Question: "#));
    assert!(item.output.as_deref().unwrap().starts_with(r#"[[["-0.10905784593110368","False"]],"#));
    assert_eq!(read[MCQ_TASK].harness.version.as_deref(), Some("0.4.13"));
    assert_eq!(read[MCQ_TASK].started.unwrap().hour(), "2026-11-23T18:00:00Z");
    assert_eq!(read[MCQ_TASK].ended.unwrap().unix() - read[MCQ_TASK].started.unwrap().unix(), 11);
    let keys = &read[MCQ_TASK].keys;
    assert_eq!(keys[0], ("model_name", "i82qcls7".to_owned()));
    assert_eq!(keys[2], ("stamp", "2026-11-23T18-00-22.635069".to_owned()));
}

#[test]
fn groups_of_tasks_are_no_evaluations() {
    let mut run = Run::open();
    set(&mut run.results, &["groups"], value(r#"{"both":{"acc,none":0.3}}"#));
    set(&mut run.results, &["results", "both"], value(r#"{"acc,none":0.3}"#));
    set(&mut run.results, &["results", "all"], value(r#"{"acc,none":0.3}"#));
    let subtasks = r#"{"all":["local_mcq","local_gen"],"local_gen":[]}"#;
    set(&mut run.results, &["group_subtasks"], value(subtasks));
    let import = run.import();
    let names: Vec<&str> = import.evaluations().map(|read| read.name.as_str()).collect();
    assert_eq!(names, ["local_mcq", "local_gen"]);
}

#[test]
fn rows_are_read_strictly() {
    for (line, code) in [
        (&b"{\"doc_id\":0}"[..], "log.shape"),
        (b"{\"doc\":{}}", "log.shape"),
        (b"[]", "log.shape"),
        (b"", "json.syntax"),
        (b"{", "json.syntax"),
        (b"{\"doc\":{\"a\":1,\"a\":2},\"doc_id\":0}", "json.duplicate_key"),
        (b"{\"doc\":\"\xff\",\"doc_id\":0}", "json.encoding"),
        (b"{\"doc\":{},\"doc_id\":0.5}", "log.shape"),
    ] {
        let mut run = Run::open();
        let file = run.files.get_mut(GEN).unwrap();
        file.extend(line);
        file.push(b'\n');
        let import = run.import();
        assert_eq!(flags(&import, GEN_TASK), [code], "{}", String::from_utf8_lossy(line));
        let Outcome::Refused(refusal) = &import.outcomes[GEN_TASK] else { panic!() };
        assert_eq!(refusal.member.as_deref(), Some(GEN));
        assert!(refusal.pointer.as_deref().unwrap().starts_with("/12"));
    }
    let mut run = Run::open();
    run.files.insert(GEN.to_owned(), Vec::new());
    assert_eq!(flags(&run.import(), GEN_TASK), ["log.no_items"]);

    let mut options = Options::default();
    options.limits.line = 600;
    let import = Run::open().import_as(RESULTS, &options);
    assert_eq!(flags(&import, MCQ_TASK), [Code::ContainerLimit.as_str()]);
    options.limits.line = 2_000;
    assert_eq!(Run::open().import_as(RESULTS, &options).exit(), 0);
}

#[test]
fn results_of_other_shapes_are_refused() {
    let mut run = Run::open();
    set(&mut run.results, &["results"], value("[]"));
    assert_eq!(flags(&run.import(), 0), ["log.shape"]);
    set(&mut run.results, &["results"], value("{}"));
    assert_eq!(flags(&run.import(), 0), ["log.no_items"]);
    let mut run = Run::open();
    set(&mut run.results, &["results", "local_gen"], value("{\"alias\":\"x\"}"));
    assert!(flags(&run.import(), GEN_TASK).contains(&"log.no_results"));
    // Without hashes there is nothing to compare, and the rows still count.
    let mut run = Run::open();
    remove(&mut run.results, &[], "task_hashes");
    let mut rows = run.rows(GEN);
    for row in &mut rows {
        remove(row, &[], "doc_hash");
    }
    run.put(GEN, &rows);
    assert_eq!(flags(&run.import(), GEN_TASK), Vec::<&str>::new());
}
