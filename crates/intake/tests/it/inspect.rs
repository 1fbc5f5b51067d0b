//! Inspect logs whose parts contradict each other, or that hold what no honest run writes.

use intake::{Code, Options, RawKind, Status};
use json::Value;

use crate::archive::{Log, Member};
use crate::fixtures::{
    assert_flags, assert_refused, bytes, edit, evaluation, import_bytes, import_path, import_with,
    only, set, value,
};

const ARITHMETIC: &str = "inspect-converted/arithmetic_match.original.eval";
const EPOCHS: &str = "inspect-converted/mcq_choice_epochs.original.eval";
const SINGLE: &str = "inspect-converted/arithmetic_match.converted.json";
const HEADER: &str = "header.json";

fn arithmetic() -> Log {
    Log::open(&bytes(ARITHMETIC))
}

fn q(number: usize) -> String {
    format!("samples/q{number:03}_epoch_1.json")
}

fn mismatch_may_be_flagged(archive: &[u8], flags: &[&str]) {
    assert_flags(&import_bytes(archive), flags, 1);
    let options = Options { flag_mismatch: true, ..Options::default() };
    assert_flags(&import_with(archive, &options), flags, 0);
}

fn contradicts(archive: &[u8], flags: &[&str]) {
    assert_flags(&import_bytes(archive), flags, 1);
    let options = Options { flag_mismatch: true, ..Options::default() };
    assert_flags(&import_with(archive, &options), flags, 1);
}

/// Changes the first score of a sample, and of its summaries, to `raw`.
fn rescore(log: &mut Log, number: usize, raw: &str) {
    let change = |row: &mut Value| set(row, &["scores", "match", "value"], value(raw));
    log.edit(&q(number), change);
    log.edit_summaries(&format!("q{number:03}").into(), change);
}

fn rereduce(log: &mut Log, number: usize, reduced: &str) {
    let at = (number - 1).to_string();
    log.edit("reductions.json", |all| {
        set(all, &["0", "samples", &at, "value"], value(reduced));
    });
}

/// Removes a sample and everything that mentions it but the header.
fn forget(log: &mut Log, number: usize) {
    let id = Value::from(format!("q{number:03}"));
    log.remove(&q(number));
    let names: Vec<String> = log.members.iter().map(|member| member.name().to_owned()).collect();
    for name in names.iter().filter(|name| name.contains("summaries")) {
        log.edit(name, |rows| {
            let Value::Array(rows) = rows else { panic!() };
            rows.retain(|row| row.get("id") != Some(&id));
        });
    }
    log.edit("reductions.json", |all| {
        edit(all, &["0", "samples"], |samples| {
            let Value::Array(samples) = samples else { panic!() };
            samples.retain(|sample| sample.get("sample_id") != Some(&id));
        });
    });
}

/// Figures of the header for `scores` of the 20 items.
fn report(log: &mut Log, accuracy: f64, stderr: f64, n: u64) {
    log.edit(HEADER, |header| {
        let score = ["results", "scores", "0"];
        let metric = |name| [&score[..], &["metrics", name, "value"]].concat();
        set(header, &metric("accuracy"), accuracy);
        set(header, &metric("stderr"), stderr);
        set(header, &[&score[..], &["scored_samples"]].concat(), n);
    });
}

#[test]
fn a_changed_figure_of_the_header_is_seen() {
    for (name, changed) in [("accuracy", 0.66), ("stderr", 0.109_424_332), ("accuracy", f64::NAN)] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| {
            let new = if changed.is_nan() { value("NaN") } else { changed.into() };
            set(header, &["results", "scores", "0", "metrics", name, "value"], new);
        });
        mismatch_may_be_flagged(&log.bytes(), &["metric.mismatch"]);
    }
    let mut log = arithmetic();
    log.edit(HEADER, |header| {
        set(header, &["results", "scores", "0", "scored_samples"], 19_u64);
    });
    mismatch_may_be_flagged(&log.bytes(), &["metric.mismatch"]);
    // Rounding in the last digits is none of our business.
    let mut log = arithmetic();
    report(&mut log, 0.650_000_000_000_1, 0.109_424_330_980_5, 20);
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
}

#[test]
fn a_finding_names_the_place() {
    let mut log = arithmetic();
    report(&mut log, 0.7, 0.109_424_330_980_483_1, 20);
    let import = import_bytes(&log.bytes());
    let finding = &evaluation(&import).findings[0];
    assert_eq!(finding.member.as_deref(), Some(HEADER));
    assert_eq!(finding.pointer.as_deref(), Some("/results/scores/0/metrics/accuracy/value"));
    assert!(import.to_json().to_text().contains("/results/scores/0/metrics/accuracy/value"));
}

#[test]
fn a_changed_item_contradicts_summaries_reductions_and_figures() {
    let mut log = arithmetic();
    log.edit(&q(1), |sample| {
        let old = sample.get("scores").unwrap().get("match").unwrap().get("value").unwrap().clone();
        let new = if old.as_str() == Some("C") { "I" } else { "C" };
        set(sample, &["scores", "match", "value"], new);
    });
    contradicts(&log.bytes(), &["cross.reductions", "cross.summaries", "metric.mismatch"]);
    let import = import_bytes(&log.bytes());
    let read = evaluation(&import);
    // Both kinds of summaries.
    assert_eq!(read.flags[&Code::CrossSummaries], 2);
    assert!(read.findings.iter().any(|f| f.item.as_deref() == Some("\"q001\" epoch 1")));
}

#[test]
fn a_changed_summary_is_seen_in_both_kinds() {
    let journal = arithmetic();
    let pieces: Vec<String> = journal.members.iter().map(|m| m.name().to_owned()).collect();
    for name in pieces.iter().filter(|name| name.contains("summaries")) {
        for (what, change) in [
            ("score", (|row| set(row, &["scores", "match", "value"], 2_u64)) as fn(&mut Value)),
            ("NaN", |row| set(row, &["scores", "match", "value"], value("NaN"))),
            ("no score", |row| set(row, &["scores"], value("{}"))),
            ("scorer", |row| set(row, &["scores", "other"], value(r#"{"value":1}"#))),
            ("error", |row| set(row, &["error"], "boom")),
            ("limit", |row| set(row, &["limit"], "token")),
            ("id", |row| set(row, &["id"], "q999")),
            ("id type", |row| set(row, &["id"], 1_u64)),
            ("epoch", |row| set(row, &["epoch"], 2_u64)),
        ] {
            let mut log = arithmetic();
            log.edit(name, |rows| edit(rows, &["0"], change));
            let import = import_bytes(&log.bytes());
            assert_eq!(import.exit(), 1, "{what} in {name}");
            let flags: Vec<_> = evaluation(&import).flags.keys().map(|c| c.as_str()).collect();
            assert_eq!(flags, ["cross.summaries"], "{what} in {name}");
        }
        let mut log = arithmetic();
        log.edit(name, |rows| {
            let Value::Array(rows) = rows else { panic!() };
            rows.pop();
        });
        contradicts(&log.bytes(), &["cross.summaries"]);
        let mut log = arithmetic();
        log.edit(name, |rows| {
            let Value::Array(rows) = rows else { panic!() };
            rows.push(rows[0].clone());
        });
        contradicts(&log.bytes(), &["cross.summaries"]);
    }
    // Texts are trimmed and shortened there, so they say nothing.
    let mut log = arithmetic();
    log.edit("summaries.json", |rows| set(rows, &["0", "input"], "…"));
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
}

#[test]
fn changed_reductions_are_seen() {
    for (what, change) in [
        ("value", (|all| set(all, &["0", "samples", "3", "value"], 0.5)) as fn(&mut Value)),
        ("NaN", |all| set(all, &["0", "samples", "3", "value"], value("NaN"))),
        ("id", |all| set(all, &["0", "samples", "3", "sample_id"], "q999")),
        ("id twice", |all| set(all, &["0", "samples", "3", "sample_id"], "q001")),
        ("object", |all| set(all, &["0", "samples", "3", "value"], value(r#"{"a":1}"#))),
        ("less", |all| {
            edit(all, &["0", "samples"], |samples| {
                let Value::Array(samples) = samples else { panic!() };
                samples.pop();
            });
        }),
    ] {
        let mut log = arithmetic();
        log.edit("reductions.json", change);
        assert_eq!(import_bytes(&log.bytes()).exit(), 1, "{what}");
        contradicts(&log.bytes(), &["cross.reductions"]);
    }
    for (reduction, new) in [("0", value("0.34")), ("1", value("\"C\""))] {
        let mut log = Log::open(&bytes(EPOCHS));
        log.edit("reductions.json", |all| set(all, &[reduction, "samples", "0", "value"], new));
        contradicts(&log.bytes(), &["cross.reductions"]);
    }
    let mut single = crate::fixtures::document(SINGLE);
    set(&mut single, &["reductions", "0", "samples", "0", "value"], 0.5);
    contradicts(single.to_text().as_bytes(), &["cross.reductions"]);
    let mut old = crate::fixtures::document("real/inspect_ai-repo/log_formats.json");
    set(&mut old, &["results", "sample_reductions", "0", "samples", "0", "value"], 1_u64);
    contradicts(old.to_text().as_bytes(), &["cross.reductions"]);
}

#[test]
fn a_removed_item_is_missed() {
    // Only the member: summaries and reductions still name it.
    let mut log = arithmetic();
    log.remove(&q(20));
    let flags = ["cross.reductions", "cross.summaries", "items.count", "metric.mismatch"];
    contradicts(&log.bytes(), &flags);
    // Everything but the header, with figures made to fit: q020 was C, so 12 of 19.
    let mut log = arithmetic();
    forget(&mut log, 20);
    let was_right = arithmetic().members[arithmetic().at(&q(20))]
        .json()
        .get("scores")
        .and_then(|s| s.get("match")?.get("value")?.as_str().map(|v| v == "C"))
        .unwrap();
    let right = if was_right { 12.0 } else { 13.0 };
    let p: f64 = right / 19.0;
    report(&mut log, p, (p * (1.0 - p) / 18.0).sqrt(), 19);
    mismatch_may_be_flagged(&log.bytes(), &["items.count"]);
    let import = import_bytes(&log.bytes());
    let read = evaluation(&import);
    assert_eq!((read.declared, read.counts()[&Status::Missing]), (Some(20), 1));
    // A run that did not end well may lack items.
    log.edit(HEADER, |header| set(header, &["status"], "cancelled"));
    assert_flags(&import_bytes(&log.bytes()), &["items.count", "log.status"], 0);
}

#[test]
fn an_added_item_is_seen() {
    let mut log = arithmetic();
    let mut sample = log.members[log.at(&q(1))].json();
    set(&mut sample, &["id"], "q021");
    log.members.push(Member::zstd(&q(21), &[sample.to_text().as_bytes()]));
    let import = import_bytes(&log.bytes());
    let flags: Vec<_> = evaluation(&import).flags.keys().map(|code| code.as_str()).collect();
    let expected = [
        "cross.reductions",
        "cross.summaries",
        "items.count",
        "items.unexpected",
        "metric.mismatch",
    ];
    assert_eq!(flags, expected);
    assert_eq!(import.exit(), 1);
}

#[test]
fn ids_come_from_the_content_and_must_be_those_of_the_name() {
    let mut log = arithmetic();
    let at = log.at(&q(2));
    log.members[at].name = b"samples/q002_epoch_2.json".to_vec();
    contradicts(&log.bytes(), &["items.name"]);
    let import = import_bytes(&log.bytes());
    let finding = &evaluation(&import).findings[0];
    assert_eq!(finding.member.as_deref(), Some("samples/q002_epoch_2.json"));
    assert_eq!(finding.item.as_deref(), Some("\"q002\" epoch 1"));
}

#[test]
fn one_item_twice_is_seen_however_the_members_are_called() {
    let mut log = arithmetic();
    let sample = log.members[log.at(&q(2))].content();
    log.members.push(Member::zstd("samples/q002_epoch_1 .json", &[&sample]));
    let import = import_bytes(&log.bytes());
    let flags = &evaluation(&import).flags;
    assert_eq!(flags[&Code::ItemsDuplicate], 1);
    assert!(flags.contains_key(&Code::ItemsName) && flags.contains_key(&Code::ItemsCount));
    assert_eq!(import.exit(), 1);

    let mut single = crate::fixtures::document(SINGLE);
    edit(&mut single, &["samples"], |samples| {
        let Value::Array(samples) = samples else { panic!() };
        samples.push(samples[1].clone());
    });
    let import = import_bytes(single.to_text().as_bytes());
    assert_eq!(evaluation(&import).flags[&Code::ItemsDuplicate], 1);
}

#[test]
fn ids_that_are_equal_only_as_text_collide() {
    let mut single = crate::fixtures::document(SINGLE);
    set(&mut single, &["samples", "0", "id"], 7_u64);
    set(&mut single, &["samples", "1", "id"], "7");
    set(&mut single, &["eval", "dataset", "sample_ids", "0"], 7_u64);
    set(&mut single, &["eval", "dataset", "sample_ids", "1"], "7");
    set(&mut single, &["reductions", "0", "samples", "0", "sample_id"], 7_u64);
    set(&mut single, &["reductions", "0", "samples", "1", "sample_id"], "7");
    let import = import_bytes(single.to_text().as_bytes());
    let read = evaluation(&import);
    assert!(read.flags.contains_key(&Code::ItemsColliding));
    assert!(!read.flags.contains_key(&Code::ItemsUnexpected));
    assert!(!read.flags.contains_key(&Code::ItemsDuplicate), "1 and \"1\" are two ids");
    assert_eq!(import.exit(), 1);
}

#[test]
fn ids_are_typed_and_never_normalised() {
    // sample_ids has "q001"; an item 1 or an NFD spelling is another one.
    for (old, new) in [("\"q001\"", "1"), ("\"q001\"", "\"Q001\""), ("\"q001\"", "\"q001 \"")] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| {
            assert_eq!(
                header
                    .get("eval")
                    .unwrap()
                    .get("dataset")
                    .unwrap()
                    .get("sample_ids")
                    .unwrap()
                    .as_array()
                    .unwrap()[0],
                value(old)
            );
            set(header, &["eval", "dataset", "sample_ids", "0"], value(new));
        });
        contradicts(&log.bytes(), &["items.unexpected"]);
    }
    let mut log = Log::open(&bytes(EPOCHS));
    log.edit(HEADER, |header| set(header, &["eval", "config", "epochs"], 2_u64));
    contradicts(&log.bytes(), &["items.count", "items.unexpected"]);
}

#[test]
fn integers_beyond_64_bits_are_ids() {
    let long = "123456789012345678901234567890";
    let mut log = arithmetic();
    let names: Vec<String> = log.members.iter().map(|member| member.name().to_owned()).collect();
    for name in names {
        let at = log.at(&name);
        let text = String::from_utf8(log.members[at].content()).unwrap();
        let mut new = Member::zstd(&name, &[text.replace("\"q001\"", long).as_bytes()]);
        if name == q(1) {
            new.name = format!("samples/{long}_epoch_1.json").into_bytes();
        }
        log.members[at] = new;
    }
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &[], 0);
    assert_eq!(evaluation(&import).items[0].key(), format!("{long} epoch 1"));
}

#[test]
fn statuses_and_flags_of_items_follow_their_precedence() {
    let mut log = arithmetic();
    let update = |log: &mut Log, number: usize, name: &'static str, new: &'static str| {
        log.edit(&q(number), |sample| set(sample, &[name], value(new)));
        let short = match name {
            "error" => Some("boom"),
            "limit" => Some("token"),
            _ => None,
        };
        if let Some(short) = short {
            log.edit_summaries(&format!("q{number:03}").into(), |row| set(row, &[name], short));
        }
    };
    let limit = r#"{"type":"token","limit":100}"#;
    // An error with a score, a limit with a score, a limit without, an invalidated error.
    update(&mut log, 1, "error", r#"{"message":"boom","traceback":"src/x.py"}"#);
    update(&mut log, 2, "limit", limit);
    update(&mut log, 3, "limit", limit);
    rescore(&mut log, 3, "NaN");
    update(&mut log, 4, "error", r#"{"message":"boom"}"#);
    update(&mut log, 4, "invalidation", r#"{"author":"a","reason":"r"}"#);
    rescore(&mut log, 5, "NaN");
    log.edit(&q(6), |sample| {
        set(sample, &["scores", "match", "history"], value(r#"[{"value":"I"}]"#));
    });
    let import = import_bytes(&log.bytes());
    let read = evaluation(&import);
    for (number, status) in [
        (1, Status::Errored),
        (2, Status::Scored),
        (3, Status::Limited),
        (4, Status::Invalidated),
        (5, Status::Unscored),
        (6, Status::Scored),
    ] {
        assert_eq!(read.items[number - 1].status(), status, "q{number:03}");
    }
    let count = |code| read.flags.get(&code).copied();
    assert_eq!(count(Code::ItemsErrored), Some(2));
    assert_eq!(count(Code::ItemsLimited), Some(2));
    assert_eq!(count(Code::ItemsUnscored), Some(1));
    assert_eq!(count(Code::ItemsEdited), Some(1));
    assert_eq!(count(Code::LogInvalidated), Some(1));
    // The error's message is committed to, its traceback is not.
    let metadata = read.items[0].metadata.as_deref().unwrap();
    assert!(metadata.ends_with(r#""error":"boom"}"#), "{metadata}");
    let explanation = read.items[5].explanation.as_deref().unwrap();
    assert!(explanation.contains(r#""history":[{"value":"I"}]"#), "{explanation}");
}

#[test]
fn nan_leaves_the_denominator_and_shows() {
    let was = |number: usize| {
        let log = arithmetic();
        let sample = log.members[log.at(&q(number))].json();
        f64::from(u8::from(
            sample.get("scores").unwrap().get("match").unwrap().get("value").unwrap().as_str()
                == Some("C"),
        ))
    };
    let mut log = arithmetic();
    rescore(&mut log, 9, "NaN");
    rereduce(&mut log, 9, "NaN");
    let p = (13.0 - was(9)) / 19.0;
    report(&mut log, p, (p * (1.0 - p) / 18.0_f64).sqrt(), 19);
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &["items.unscored"], 0);
    assert_eq!(evaluation(&import).metrics[0].n, 19);
    // The same id left out of the reductions says the same.
    log.edit("reductions.json", |all| {
        edit(all, &["0", "samples"], |samples| {
            let Value::Array(samples) = samples else { panic!() };
            samples.remove(8);
        });
    });
    assert_flags(&import_bytes(&log.bytes()), &["items.unscored"], 0);
}

#[test]
fn nan_in_place_of_an_object_is_nan_in_each_of_its_columns() {
    let name = only("inspect/safety_refusal_200", ".eval");
    let mut log = Log::open(&bytes(&name));
    let change = |row: &mut Value| set(row, &["scores", "rich_scorer", "value"], value("NaN"));
    log.edit("samples/item-0004_epoch_1.json", change);
    log.edit_summaries(&"item-0004".into(), change);
    log.edit("reductions.json", |all| {
        set(all, &["0", "samples", "4", "value"], value("NaN"));
    });
    let import = import_bytes(&log.bytes());
    let read = evaluation(&import);
    let names: Vec<&str> = read.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names,
        ["rich_scorer/correct", "rich_scorer/refused", "rich_scorer/length", "includes"]
    );
    assert_eq!(read.counts()[&Status::Unscored], 1);
    assert_eq!(read.metrics[0].n, 199);
    assert!(!read.flags.contains_key(&Code::CrossReductions));
    assert!(!read.flags.contains_key(&Code::CrossSummaries));
}

#[test]
fn metrics_that_are_not_implemented_are_never_fine() {
    for (what, change) in [
        ("bootstrap", (|m| set(m, &["name"], "bootstrap_stderr")) as fn(&mut Value)),
        ("own mapping", |m| set(m, &["params"], value(r#"{"to_float":"f"}"#))),
        ("own options", |m| set(m, &["params"], value(r#"{"cluster":"nowhere"}"#))),
    ] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| {
            edit(header, &["results", "scores", "0", "metrics", "stderr"], change);
        });
        let import = import_bytes(&log.bytes());
        assert_eq!(evaluation(&import).metrics[1].recomputed, None, "{what}");
        assert_flags(&import, &["metric.not_recomputable"], 0);
    }
    let mut log = Log::open(&bytes(EPOCHS));
    log.edit(HEADER, |header| set(header, &["results", "scores", "0", "reducer"], "collect"));
    log.edit("reductions.json", |all| set(all, &["0", "reducer"], "collect"));
    assert_flags(&import_bytes(&log.bytes()), &["metric.not_recomputable"], 0);
    // Lists and null can't be reduced here, and are no zeros.
    for raw in ["[1,2]", "null", "{\"a\":[1]}"] {
        let mut log = arithmetic();
        rescore(&mut log, 1, raw);
        let import = import_bytes(&log.bytes());
        let flags = &evaluation(&import).flags;
        assert!(
            flags.contains_key(&Code::MetricNotRecomputable)
                || flags.contains_key(&Code::MetricMismatch),
            "{raw}"
        );
        assert!(evaluation(&import).metrics.iter().all(|m| m.recomputed != m.reported), "{raw}");
    }
}

#[test]
fn standard_errors_can_be_clustered() {
    let mut log = arithmetic();
    let mut scores = Vec::new();
    for number in 1..=20 {
        log.edit(&q(number), |sample| {
            let right = sample.get("scores").unwrap().get("match").unwrap().get("value").unwrap();
            scores.push(f64::from(u8::from(right.as_str() == Some("C"))));
            set(sample, &["metadata"], json::object([("group", Value::from(number as u64 / 4))]));
        });
    }
    let center = scores.iter().sum::<f64>() / 20.0;
    let mut sums = [0.0; 6];
    for (at, score) in scores.iter().enumerate() {
        sums[(at + 1) / 4] += score - center;
    }
    let squares: f64 = sums.iter().map(|sum: &f64| sum * sum).sum();
    let expected = (squares * 6.0 / 5.0).sqrt() / 20.0;
    log.edit(HEADER, |header| {
        let metric = ["results", "scores", "0", "metrics", "stderr"];
        set(header, &[&metric[..], &["params"]].concat(), value(r#"{"cluster":"group"}"#));
        set(header, &[&metric[..], &["value"]].concat(), expected);
    });
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &[], 0);
    assert!((evaluation(&import).metrics[1].recomputed.unwrap() - expected).abs() < 1e-12);
}

#[test]
fn headers_say_how_the_run_ended() {
    let mut log = arithmetic();
    log.edit(HEADER, |header| {
        set(header, &["status"], "error");
        set(header, &["invalidated"], true);
        set(header, &["log_updates"], value(r#"[{"edits":[]},{"edits":[]}]"#));
    });
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &["log.invalidated", "log.status", "log.updated"], 0);
    assert_eq!(evaluation(&import).flags[&Code::LogUpdated], 2);
    assert!(evaluation(&import).incomplete());

    // A crashed run: the journal is all there is, and its summaries may lag behind.
    let mut log = arithmetic();
    for name in [HEADER, "summaries.json", "reductions.json", "_journal/summaries/4.json"] {
        log.remove(name);
    }
    let import = import_bytes(&log.bytes());
    assert_flags(&import, &["log.no_header", "log.no_results", "log.status"], 0);
    assert_eq!(evaluation(&import).name, "arithmetic_match");
    log.remove(&q(20));
    let flags = ["items.count", "log.no_header", "log.no_results", "log.status"];
    assert_flags(&import_bytes(&log.bytes()), &flags, 0);

    log.remove("_journal/start.json");
    assert_refused(&import_bytes(&log.bytes()), Code::LogFormat);
}

#[test]
fn header_and_journal_must_name_one_run() {
    for key in ["eval_id", "run_id", "task_id"] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| set(header, &["eval", key], "another"));
        contradicts(&log.bytes(), &["cross.start"]);
    }
}

#[test]
fn the_first_versions_unnamed_score_is_that_of_the_header() {
    let mut old = crate::fixtures::document("real/inspect_ai-repo/log_formats.json");
    edit(&mut old, &["samples", "0"], |sample| {
        let Value::Object(sample) = sample else { panic!() };
        let mut scores = sample.remove("scores").unwrap();
        let Value::Object(scores) = &mut scores else { panic!() };
        sample.insert("score", scores.remove("match").unwrap());
    });
    let import = import_bytes(old.to_text().as_bytes());
    assert_flags(&import, &[], 0);
    assert_eq!(evaluation(&import).columns[0].name, "match");
    assert_eq!(evaluation(&import).metrics[0].n, 1);
}

#[test]
fn raw_scores_keep_their_spelling_and_type() {
    for (raw, literal, kind) in [
        ("\"C\"", "C", RawKind::Text),
        ("1", "1", RawKind::Number),
        ("1.0", "1.0", RawKind::Number),
        ("1e0", "1e0", RawKind::Number),
        ("0.10000000000000000000000001", "0.10000000000000000000000001", RawKind::Number),
        ("true", "true", RawKind::Bool),
        ("[1, 2]", "[1,2]", RawKind::Structured),
    ] {
        let mut log = arithmetic();
        rescore(&mut log, 1, raw);
        let import = import_bytes(&log.bytes());
        let score = evaluation(&import).items[0].scores[0].as_deref().unwrap().clone();
        assert_eq!((score.literal(), score.kind()), (literal, kind), "{raw}");
    }
}

#[test]
fn a_consistent_forgery_passes() {
    // Intake says what a log contradicts in itself, not whether the run was honest.
    let import = import_path("rivals/lab-b-inflated.eval", &Options::default());
    assert_flags(&import, &["items.errored"], 0);
}
