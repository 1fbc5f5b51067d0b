//! Samples and the rows of an items file.

use std::collections::BTreeMap;

use intake::{
    Code, Evaluation, Import, Mapping, MappingError, MappingRule, MatchBy, Options, Place, Row,
    map_rows, rows_from_log,
};
use json::{Rules, Value};

use crate::archive::Log;
use crate::fixtures::{bytes, document, evaluation, import_bytes, import_path, set, value};

const ITEMS: &str = "rivals/items.jsonl";
const LM_EVAL: &str = "rivals/lab-b-lm-eval/results_2026-11-23T19-45-57.749505.json";

fn rows() -> Vec<Row> {
    let text = String::from_utf8(bytes(ITEMS)).unwrap();
    text.lines()
        .map(|line| {
            let row = json::parse(line.as_bytes(), Rules::LOG).unwrap();
            let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
            Row { id: text("id").unwrap(), input: text("input").unwrap(), target: text("target") }
        })
        .collect()
}

fn import(name: &str) -> Import {
    import_path(name, &Options::default())
}

fn strict(evaluation: &Evaluation, rows: &[Row]) -> Result<Mapping, MappingError> {
    map_rows(evaluation, rows, 1, MappingRule::default())
}

fn codes(error: &MappingError) -> Vec<(&'static str, u64)> {
    error.flags.iter().map(|(code, n)| (code.as_str(), *n)).collect()
}

const BY_CONTENT: MappingRule =
    MappingRule { by: Some(MatchBy::Content), integer_ids: false, structured: false };
const LENIENT: MappingRule = MappingRule { by: None, integer_ids: true, structured: true };

/// What `truth.json` says of a run, as C, I and E by row.
fn truth(run: &str) -> BTreeMap<String, String> {
    let truth = document("rivals/truth.json");
    let items = truth.get("items").and_then(Value::as_object).unwrap();
    let letter = |item: &Value| item.get(run).and_then(Value::as_str).unwrap().to_owned();
    items.iter().map(|(id, item)| (id.to_owned(), letter(item))).collect()
}

#[test]
fn both_labs_map_to_the_items_file_by_id() {
    let rows = rows();
    assert_eq!(rows.len(), 200);
    for name in ["rivals/lab-a.eval", "rivals/lab-a.json", "rivals/lab-b.eval", LM_EVAL] {
        let import = import(name);
        let mapping = strict(evaluation(&import), &rows).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((mapping.by, mapping.places.len()), (MatchBy::Id, 200), "{name}");
        assert!(mapping.flags.is_empty() && mapping.findings.is_empty(), "{name}");
        assert_eq!(mapping.missing().count(), 0);
        let mut seen: Vec<usize> = mapping.places.iter().map(|place| place.row).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>(), "{name}");
        assert!(mapping.summary().starts_with("200 samples matched by id"));
        assert_eq!(mapping.to_json().get("by"), Some(&"id".into()));
    }
}

#[test]
fn mapped_scores_are_those_of_the_truth() {
    let rows = rows();
    for (name, run) in [
        ("rivals/lab-a.eval", "a"),
        ("rivals/lab-b.eval", "b"),
        ("rivals/lab-b-inflated.eval", "b_inflated"),
        (LM_EVAL, "b_lm"),
    ] {
        let import = import(name);
        let read = evaluation(&import);
        let truth = truth(run);
        let mapping = strict(read, &rows).unwrap();
        for (item, place) in read.items.iter().zip(&mapping.places) {
            let score = match item.scores[0].as_deref().map(intake::RawScore::literal) {
                None => "E",
                Some("1.0") => "C",
                Some("0.0") => "I",
                Some(letter) => letter,
            };
            assert_eq!(truth[&rows[place.row].id], score, "{name}: {}", item.key());
        }
    }
}

fn row_of(read: &Evaluation, mapping: &Mapping, rows: &[Row], id: &str) -> String {
    let at = read.items.iter().position(|item| item.id.as_text() == id).unwrap();
    rows[mapping.places[at].row].id.clone()
}

#[test]
fn content_alone_swaps_the_twins_that_lab_b_ran_in_another_order() {
    let rows = rows();
    for (name, swapped) in [("rivals/lab-a.eval", false), ("rivals/lab-b.eval", true)] {
        let import = import(name);
        let read = evaluation(&import);
        let mapping = map_rows(read, &rows, 1, BY_CONTENT).unwrap();
        assert_eq!(mapping.flags[&Code::MapOrder], 2, "{name}");
        let twins = ["mix-094", "mix-177"];
        let found = twins.map(|id| row_of(read, &mapping, &rows, id));
        let expected = if swapped { ["mix-177", "mix-094"] } else { twins };
        assert_eq!(found, expected, "{name}");
        // NFD and NFC of one question are two rows, and nothing normalises them.
        for id in ["mix-058", "mix-119"] {
            assert_eq!(row_of(read, &mapping, &rows, id), id, "{name}");
        }
        let by_id = strict(read, &rows).unwrap();
        for id in twins {
            assert_eq!(row_of(read, &by_id, &rows, id), id, "{name}");
        }
        assert!(mapping.summary().contains("2 samples belong to one of several equal rows"));
    }
}

#[test]
fn content_decides_where_no_id_fits() {
    let mut rows = rows();
    for (at, row) in rows.iter_mut().enumerate() {
        row.id = format!("other-{at}");
    }
    for name in ["rivals/lab-b.eval", LM_EVAL] {
        let import = import(name);
        let mapping = strict(evaluation(&import), &rows).unwrap();
        assert_eq!((mapping.by, mapping.places.len()), (MatchBy::Content, 200), "{name}");
    }
}

#[test]
fn an_id_alone_lets_no_easier_question_in() {
    let import = import("rivals/lab-a.eval");
    let read = evaluation(&import);
    for change in [
        (|row: &mut Row| row.input.push(' ')) as fn(&mut Row),
        |row| row.target = Some("73".to_owned()),
        |row| row.target = None,
        |row| row.target = Some(String::new()),
    ] {
        let mut rows = rows();
        change(&mut rows[7]);
        let error = strict(read, &rows).unwrap_err();
        assert_eq!(codes(&error), [("map.differs", 1)]);
        assert_eq!(error.findings[0].item.as_deref(), Some("\"mix-008\" epoch 1"));
        let row = &rows[7].input;
        assert!(!format!("{error} {:?}", error.findings).contains(row.trim()));
    }
}

#[test]
fn no_sample_is_dropped_and_no_row_forgotten() {
    let import = import("rivals/lab-a.eval");
    let read = evaluation(&import);
    let mut fewer = rows();
    fewer.remove(99);
    let error = strict(read, &fewer).unwrap_err();
    assert_eq!(codes(&error), [("map.foreign", 1)]);
    assert_eq!(error.findings[0].item.as_deref(), Some("\"mix-100\" epoch 1"));
    let error = map_rows(read, &fewer, 1, BY_CONTENT).unwrap_err();
    assert_eq!(codes(&error), [("map.foreign", 1), ("map.order", 2)]);

    let mut more = rows();
    more.insert(3, Row { id: "new".into(), input: "1 + 1?".into(), target: None });
    let mapping = strict(read, &more).unwrap();
    assert_eq!(mapping.missing().collect::<Vec<_>>(), [Place { row: 3, epoch: 1 }]);
    assert_eq!(mapping.flags[&Code::MapMissing], 1);
    assert_eq!(mapping.findings[0].item.as_deref(), Some("\"new\" epoch 1"));
    // Agreed epochs that were not run are missing too; epochs not agreed are foreign.
    let mapping = map_rows(read, &rows(), 3, MappingRule::default()).unwrap();
    assert_eq!(mapping.flags[&Code::MapMissing], 400);
    let error = map_rows(read, &rows(), 0, MappingRule::default()).unwrap_err();
    assert_eq!(codes(&error), [("map.foreign", 200)]);
}

#[test]
fn two_samples_of_one_row_and_epoch_are_refused() {
    let import = import("rivals/lab-a.eval");
    let mut rows = rows();
    // One of the twins goes: the other has two samples now.
    rows.retain(|row| row.id != "mix-177");
    let error = map_rows(evaluation(&import), &rows, 1, BY_CONTENT).unwrap_err();
    assert_eq!(codes(&error), [("items.duplicate", 1)]);

    let mut log = Log::open(&bytes("rivals/lab-a.eval"));
    let original = log.members[log.at("samples/mix-001_epoch_1.json")].content();
    let copy = crate::archive::Member::zstd("samples/copy.json", &[&original]);
    log.members.push(copy);
    let import = import_bytes(&log.bytes());
    let error = strict(evaluation(&import), &self::rows()).unwrap_err();
    assert_eq!(codes(&error), [("items.duplicate", 1)]);
}

#[test]
fn integers_lists_and_choices_fit_only_under_a_named_rule() {
    let import = import("inspect-converted/mcq_choice_epochs.original.eval");
    let read = evaluation(&import);
    let rows = rows_from_log(read).unwrap();
    assert_eq!(rows.len(), 50);
    assert_eq!(rows[0].id, "1");
    assert!(rows[0].input.starts_with("{\"input\":"));
    let mapping = map_rows(read, &rows, 3, LENIENT).unwrap();
    assert_eq!((mapping.by, mapping.places.len()), (MatchBy::Id, 150));
    assert!(mapping.summary().contains("rule: an integer id"));
    assert!(mapping.summary().contains("rule: structured"));
    // An integer id is no text, and choices kept apart are no input.
    let error = map_rows(read, &rows, 3, MappingRule::default()).unwrap_err();
    assert_eq!(codes(&error), [("map.foreign", 150)]);
    let rule = MappingRule { structured: false, ..LENIENT };
    assert_eq!(codes(&map_rows(read, &rows, 3, rule).unwrap_err()), [("map.differs", 150)]);
}

#[test]
fn documents_are_compared_not_rendered_prompts() {
    let import = import(LM_EVAL);
    let read = evaluation(&import);
    assert!(read.items[0].input.as_deref().unwrap().starts_with("Question: "));
    let rows = rows_from_log(read).unwrap();
    assert_eq!(rows, self::rows());
    // Under other member names the document has no row.
    let options = Options {
        row_members: intake::RowMembers {
            id: "id".into(),
            input: "question".into(),
            target: "answer".into(),
        },
        ..Options::default()
    };
    let import = import_path(LM_EVAL, &options);
    let error = strict(evaluation(&import), &rows).unwrap_err();
    assert_eq!(codes(&error), [("map.differs", 200)]);
    // local_gen has these members, and integer ids.
    let import = import_path("lm-eval/i82qcls7/results_2026-11-23T18-00-22.635069.json", &options);
    let local_gen = import.evaluations().nth(1).unwrap();
    let rows = rows_from_log(local_gen).unwrap();
    assert_eq!((rows[1].id.as_str(), rows[1].input.as_str()), ("1", "Say code 1"));
    assert_eq!(rows[1].target.as_deref(), Some("code 1"));
    let mapping = strict(local_gen, &rows).unwrap();
    assert_eq!(mapping.by, MatchBy::Content);
    assert_eq!(map_rows(local_gen, &rows, 1, LENIENT).unwrap().by, MatchBy::Id);
}

#[test]
fn every_log_maps_to_its_own_rows() {
    let all = document("cli-expected.json");
    let mut mapped = 0;
    for (path, _) in all.as_object().unwrap().iter() {
        for read in import(path).evaluations() {
            let rows = rows_from_log(read).unwrap_or_else(|error| panic!("{path}: {error}"));
            let epochs = read.items.iter().map(|item| item.epoch).max().unwrap();
            let mapping = map_rows(read, &rows, epochs, LENIENT);
            let mapping = mapping.unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(mapping.by, MatchBy::Id, "{path}");
            assert!(!mapping.flags.contains_key(&Code::MapOrder));
            mapped += 1;
        }
    }
    assert_eq!(mapped, 33);
}

#[test]
fn rows_of_a_log_are_one_for_each_id() {
    let mut log = Log::open(&bytes("inspect-converted/mcq_choice_epochs.original.eval"));
    log.edit("samples/7_epoch_2.json", |sample| set(sample, &["target"], "Z"));
    let import = import_bytes(&log.bytes());
    let error = rows_from_log(evaluation(&import)).unwrap_err();
    assert_eq!(codes(&error), [("map.differs", 1)]);
    assert_eq!(error.findings[0].item.as_deref(), Some("7 epoch 2"));

    let mut single = document("inspect-converted/arithmetic_match.converted.json");
    set(&mut single, &["samples", "0", "id"], 7_u64);
    set(&mut single, &["samples", "1", "id"], value("\"7\""));
    let import = import_bytes(single.to_text().as_bytes());
    let error = rows_from_log(evaluation(&import)).unwrap_err();
    assert_eq!(codes(&error), [("items.colliding", 1)]);
}
