//! `import` through the program: every genuine log beside what `cli-expected.json` says of it, and
//! for every code of the table in `tests/evaldata/README.md` a log that shows it, with file, member,
//! reason and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;

use intake::{Code, Weight};
use json::{Rules, Value};

use crate::archive::{Log, Member};
use crate::support::{Outcome, World, evaldata, list, number, text};

/// Runs `import` on a path, with more arguments.
fn import(world: &World, path: impl AsRef<OsStr>, more: &[&str]) -> Outcome {
    let mut arguments = vec![OsString::from("import"), path.as_ref().to_owned()];
    arguments.extend(more.iter().map(OsString::from));
    world.run(arguments)
}

fn document(path: &str) -> Value {
    json::parse(&fs::read(evaldata(path)).unwrap(), Rules::LOG).unwrap()
}

fn all(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |all| all.iter().collect())
}

fn figure(value: Option<&Value>) -> Option<f64> {
    value?.as_number().map(json::Number::as_f64)
}

/// One printed evaluation against what is expected of it.
fn compare(path: &str, printed: &Value, expected: &Value) {
    for name in ["evaluation", "items", "refused"] {
        let [printed, expected] = [printed, expected].map(|value| value.get(name));
        assert!(expected.is_none() || printed == expected, "{path}: {name} is {printed:?}");
    }
    assert_eq!(printed.get("refused").is_some(), expected.get("refused").is_some(), "{path}");
    let flags = |value| -> BTreeSet<&str> {
        list(value, "flags").iter().map(|flag| flag.as_str().unwrap()).collect()
    };
    assert_eq!(flags(printed), flags(expected), "{path}");
    let Some(counts) = expected.get("counts").and_then(Value::as_object) else { return };
    for (status, count) in counts.iter() {
        assert_eq!(printed.get("counts").unwrap().get(status), Some(count), "{path}: {status}");
    }
    let (own, metrics) = (list(printed, "metrics"), list(expected, "metrics"));
    assert_eq!(own.len(), metrics.len(), "{path}");
    for (own, metric) in own.iter().zip(metrics) {
        for name in ["column", "reducer", "metric", "split", "n"] {
            assert_eq!(own.get(name), metric.get(name), "{path}: {name}");
        }
        for name in ["reported", "recomputed"] {
            let difference = match (figure(own.get(name)), figure(metric.get(name))) {
                (Some(own), Some(metric)) => (own - metric).abs(),
                (None, None) => 0.0,
                _ => f64::INFINITY,
            };
            assert!(difference <= 1e-9, "{path}: {name} of {}", own.to_text());
        }
    }
}

#[test]
fn every_genuine_log_gives_the_expected_report_and_exit_code() {
    let world = World::new();
    let everything = document("cli-expected.json");
    let logs = everything.as_object().unwrap();
    assert_eq!(logs.len(), 34);
    for (path, expected) in logs.iter() {
        let highest = |name: &str| {
            let of = |one: &Value| number(one, if one.get(name).is_some() { name } else { "exit" });
            i32::try_from(all(expected).into_iter().map(of).max().unwrap()).unwrap()
        };
        let outcome = import(&world, evaldata(path), &[]);
        outcome.exits(highest("exit"));
        let printed = outcome.json();
        assert_eq!(all(&printed).len(), all(expected).len(), "{path}");
        for (printed, expected) in all(&printed).into_iter().zip(all(expected)) {
            compare(path, printed, expected);
        }
        let flagged = import(&world, evaldata(path), &["--flag-mismatch"]);
        assert_eq!(flagged.exits(highest("with_flag_mismatch")).json(), printed, "{path}");
    }
    // Several at once: the highest exit code counts.
    let [good, bad, unusable] = [
        "rivals/lab-a.eval",
        "real/inspect_ai-repo/log_tool_call_error.json",
        "real/inspect_ai-repo/2025-05-12T20-28-13-04-00_no-samples.json",
    ]
    .map(|path| evaldata(path).into_os_string());
    let import = OsString::from("import");
    assert_eq!(all(&world.run([&import, &good, &bad]).bad()).len(), 2);
    world.run([&import, &good, &unusable, &bad]).exits(2);
}

const EVAL: &str = "inspect-converted/arithmetic_match.original.eval";
const SINGLE: &str = "inspect-converted/arithmetic_match.converted.json";
const LM: &str = "lm-eval/i82qcls7";
const HELM: &str = "real/every_eval_ever-repo/helm/\
                    mmlu-subject=philosophy,method=multiple_choice_joint,model=openai_gpt2";
const HEADER: &str = "header.json";
const ITEM: &str = "samples/q007_epoch_1.json";

type Files = BTreeMap<String, Vec<u8>>;

/// A damaged copy of a genuine log: how it was damaged, and what must be said of it.
struct Damaged {
    code: Code,
    files: Files,
    /// What is imported: a file of these, or `.` for the folder.
    path: &'static str,
    arguments: &'static [&'static str],
    /// What must be named: the member, a place, the cause.
    says: &'static [&'static str],
}

fn damaged(
    code: Code,
    files: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
    says: &'static [&'static str],
) -> Damaged {
    let files: Files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Damaged { code, files, path: "", arguments: &[], says }
}

/// The archive with a change.
fn eval(change: impl FnOnce(&mut Log)) -> [(&'static str, Vec<u8>); 1] {
    let mut log = Log::open(&fs::read(evaldata(EVAL)).unwrap());
    change(&mut log);
    [("run.eval", log.bytes())]
}

/// Puts a value at a path of member names and indices.
fn set(value: &mut Value, path: &[&str], new: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    match value {
        Value::Object(object) => {
            let mut member = object.get(first).cloned().unwrap_or(Value::Null);
            set(&mut member, rest, new);
            object.insert(*first, member);
        }
        Value::Array(elements) => set(&mut elements[first.parse::<usize>().unwrap()], rest, new),
        _ => panic!("nothing at {first}"),
    }
}

fn parse(text: &str) -> Value {
    json::parse(text.as_bytes(), Rules::LOG).unwrap()
}

fn single(change: impl FnOnce(&mut Value)) -> [(&'static str, Vec<u8>); 1] {
    let mut log = document(SINGLE);
    change(&mut log);
    [("run.json", log.to_text().into_bytes())]
}

/// Changes a list.
fn elements(value: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    let Value::Array(elements) = value else { panic!("no list") };
    change(elements);
}

/// Changes the list of this name in an object.
fn within(value: &mut Value, name: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let mut member = value.get(name).unwrap_or_else(|| panic!("no {name}")).clone();
    elements(&mut member, change);
    set(value, &[name], member);
}

fn folder(path: &str) -> Files {
    let files = fs::read_dir(evaldata(path)).unwrap().map(Result::unwrap);
    files.map(|f| (f.file_name().into_string().unwrap(), fs::read(f.path()).unwrap())).collect()
}

/// Replaces a text that must be in the file.
fn substitute(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    files.insert(name.to_owned(), text.replacen(from, to, 1).into_bytes());
}

fn containers() -> Vec<Damaged> {
    let whole = fs::read(evaldata(EVAL)).unwrap();
    let log = Log::open(&whole);
    let twice = || eval(|log| log.members.push(log.members[log.at(ITEM)].clone()));
    let mut forged = vec![
        damaged(Code::ContainerBroken, [("run.eval", whole[..whole.len() - 9].to_vec())], &[]),
        damaged(Code::ContainerBroken, [("run.eval", whole[..whole.len() / 2].to_vec())], &[]),
        damaged(
            Code::ContainerBroken,
            eval(|log| {
                let at = log.at(ITEM);
                log.members[at].crc ^= 1;
            }),
            &["CRC-32", ITEM],
        ),
        damaged(Code::ContainerDuplicateMember, twice(), &["1 members are superseded"]),
        Damaged {
            arguments: &["--allow-superseded"],
            ..damaged(Code::ContainerDuplicateMember, twice(), &["container.duplicate_member (1)"])
        },
        damaged(
            Code::ContainerMethod,
            eval(|log| {
                let at = log.at(ITEM);
                log.members[at].method = 12;
            }),
            &["compression method 12", ITEM],
        ),
        damaged(
            Code::ContainerLimit,
            eval(|log| log.members.push(Member::deflated("samples/b.json", &[b' '; 8 << 20]))),
            &["limit `ratio`", "200 times", "samples/b.json"],
        ),
        damaged(
            Code::ContainerLimit,
            eval(|log| log.replace(ITEM, format!("{{\"x\":{}", "[".repeat(200)).as_bytes())),
            &["128 levels of nesting", ITEM],
        ),
        damaged(
            Code::ContainerDeadBytes,
            eval(|log| log.members[3].gap = b"an older header".to_vec()),
            &[],
        ),
    ];
    // A count that is not the number of members, in both directions.
    for count in [27, 29] {
        let bytes = crate::archive::write_counting(&log.members, count);
        forged.push(damaged(
            Code::ContainerBroken,
            [("run.eval", bytes)],
            &["members than the end"],
        ));
    }
    forged
}

fn documents() -> Vec<Damaged> {
    let item = |from: &'static str, to: &'static str| eval(|log| log.substitute(ITEM, from, to));
    let twice = r#""x":{"a":1,"a":2},"epoch":"#;
    vec![
        damaged(Code::JsonDuplicateKey, item("\"epoch\":", twice), &[ITEM, "twice"]),
        damaged(
            Code::JsonSyntax,
            eval(|log| {
                let cut = log.members[log.at(HEADER)].content();
                log.replace(HEADER, &cut[..cut.len() - 5]);
            }),
            &[HEADER],
        ),
        damaged(
            Code::JsonEncoding,
            eval(|log| {
                let mut bytes = log.members[log.at(ITEM)].content();
                let at = bytes.windows(5).position(|five| five == b"\"q007").unwrap();
                bytes[at + 1] = 0xff;
                log.replace(ITEM, &bytes);
            }),
            &[ITEM, "UTF-8"],
        ),
        damaged(
            Code::JsonNonFinite,
            item("\"metadata\":", "\"metadata\":{\"x\":NaN},\"m\":"),
            &[ITEM, "/metadata"],
        ),
        damaged(
            Code::LogVersion,
            eval(|log| log.edit(HEADER, |header| set(header, &["version"], 3_u64.into()))),
            &[HEADER],
        ),
    ]
}

/// Logs whose parts contradict each other.
fn contradictions() -> Vec<Damaged> {
    let score = ["results", "scores", "0"];
    let accuracy = [&score[..], &["metrics", "accuracy", "value"]].concat();
    vec![
        damaged(
            Code::MetricMismatch,
            eval(|log| log.edit(HEADER, |header| set(header, &accuracy, 0.7.into()))),
            &[HEADER, "/results/scores/0/metrics/accuracy"],
        ),
        damaged(
            Code::ItemsCount,
            eval(|log| {
                log.edit(HEADER, |header| {
                    set(header, &["eval", "config", "epochs"], 2_u64.into());
                })
            }),
            &["items.count"],
        ),
        damaged(
            Code::ItemsCount,
            single(|log| {
                within(log, "samples", |samples| drop(samples.pop().unwrap()));
            }),
            &["items.count"],
        ),
        damaged(
            Code::CrossSummaries,
            eval(|log| {
                log.edit("summaries.json", |rows| {
                    set(rows, &["0", "scores", "match", "value"], "X".into());
                })
            }),
            &["summaries.json", "\"q001\" epoch 1"],
        ),
        damaged(
            Code::CrossReductions,
            eval(|log| {
                log.edit("reductions.json", |all| {
                    set(all, &["0", "samples", "3", "value"], 0.5.into());
                })
            }),
            &["reductions.json"],
        ),
        damaged(
            Code::ItemsDuplicate,
            single(|log| {
                within(log, "samples", |samples| samples.push(samples[1].clone()));
            }),
            &["\"q002\" epoch 1"],
        ),
        damaged(
            Code::ItemsColliding,
            single(|log| {
                for (at, id) in [("0", Value::from(7_u64)), ("1", "7".into())] {
                    set(log, &["samples", at, "id"], id.clone());
                    set(log, &["eval", "dataset", "sample_ids", at], id.clone());
                    set(log, &["reductions", "0", "samples", at, "sample_id"], id);
                }
            }),
            &["\"7\" epoch 1"],
        ),
        damaged(
            Code::ItemsName,
            eval(|log| {
                let at = log.at(ITEM);
                log.members[at].name = b"samples/q007_epoch_2.json".to_vec();
            }),
            &["samples/q007_epoch_2.json", "\"q007\" epoch 1"],
        ),
        damaged(
            Code::ItemsUnexpected,
            eval(|log| {
                log.edit(HEADER, |header| {
                    set(header, &["eval", "dataset", "sample_ids", "6"], "q999".into());
                })
            }),
            &["\"q007\" epoch 1"],
        ),
    ]
}

/// What is only told.
fn remarks() -> Vec<Damaged> {
    let header = |path: &'static [&'static str], new: &'static str| {
        eval(|log| log.edit(HEADER, |header| set(header, path, parse(new))))
    };
    vec![
        damaged(
            Code::LogStatus,
            header(&["status"], "\"cancelled\""),
            &["commit it as incomplete"],
        ),
        damaged(Code::LogInvalidated, header(&["invalidated"], "true"), &[]),
        damaged(Code::LogUpdated, header(&["log_updates"], "[{\"edits\":[]}]"), &[]),
        damaged(
            Code::LogNoHeader,
            eval(|log| {
                for name in [HEADER, "summaries.json", "reductions.json"] {
                    log.remove(name);
                }
            }),
            &["commit it as incomplete"],
        ),
        damaged(
            Code::ItemsLimited,
            eval(|log| {
                let limit = parse(r#"{"type":"token","limit":100}"#);
                log.edit(ITEM, |sample| set(sample, &["limit"], limit));
                log.edit_summaries(&"q007".into(), |row| set(row, &["limit"], "token".into()));
            }),
            &["items.limited (1)"],
        ),
        damaged(
            Code::ItemsEdited,
            eval(|log| {
                log.edit(ITEM, |sample| {
                    let history = parse(r#"[{"value":"I"}]"#);
                    set(sample, &["scores", "match", "history"], history);
                })
            }),
            &["items.edited (1)"],
        ),
    ]
}

/// Logs of several files.
fn folders() -> Vec<Damaged> {
    const RESULTS: &str = "results_2026-11-23T18-00-22.635069.json";
    const GEN: &str = "samples_local_gen_2026-11-23T18-00-22.635069.jsonl";
    let lm = |code, says, change: &dyn Fn(&mut Files)| {
        let mut files = folder(LM);
        change(&mut files);
        Damaged { files, path: RESULTS, ..damaged(code, [], says) }
    };
    let mut trials = folder(HELM);
    let mut edit = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut value = json::parse(&trials[name], Rules::LOG).unwrap();
        change(&mut value);
        trials.insert(name.to_owned(), value.to_text().into_bytes());
    };
    let again = |entries: &mut Vec<Value>| {
        let mut second = entries.clone();
        second.iter_mut().for_each(|one| set(one, &["train_trial_index"], 1_u64.into()));
        entries.extend(second);
    };
    edit("scenario_state.json", &|state| within(state, "request_states", again));
    edit("per_instance_stats.json", &|stats| elements(stats, again));
    edit("stats.json", &|stats| {
        elements(stats, |all| all.iter_mut().for_each(|one| set(one, &["count"], 2_u64.into())));
    });
    let mut cut = folder(HELM);
    let bytes = cut.get_mut("scenario_state.json").unwrap();
    bytes.truncate(bytes.len() / 2);
    vec![
        lm(Code::LmRowHash, &[GEN, "/doc_hash"], &|files| {
            substitute(files, GEN, "\"doc_hash\": \"", "\"doc_hash\": \"0");
        }),
        lm(Code::LmTaskHash, &["lm.task_hash"], &|files| {
            let text = String::from_utf8(files[GEN].clone()).unwrap();
            let mut lines: Vec<&str> = text.lines().collect();
            lines.swap(1, 2);
            let swapped = lines.join("\n");
            files.insert(GEN.to_owned(), swapped.into_bytes());
        }),
        lm(Code::LmNoSamples, &["local_gen", "--log_samples"], &|files| {
            files.remove(GEN);
        }),
        lm(Code::JsonSyntax, &[GEN, "/12"], &|files| {
            files.get_mut(GEN).unwrap().extend(b"{\"doc_id\": 12, \n");
        }),
        lm(Code::JsonDuplicateKey, &[GEN], &|files| {
            substitute(files, GEN, "{\"doc_id\": 3,", "{\"doc_id\": 3, \"doc_id\": 3,");
        }),
        lm(Code::MetricMismatch, &[RESULTS, "exact_match,none"], &|files| {
            substitute(
                files,
                RESULTS,
                "\"exact_match,none\": 0.3333333333333333",
                "\"exact_match,none\": 0.4",
            );
        }),
        Damaged { files: trials, path: ".", ..damaged(Code::HelmTrials, [], &["helm.trials (2)"]) },
        Damaged {
            files: cut,
            path: ".",
            ..damaged(Code::JsonSyntax, [], &["scenario_state.json"])
        },
    ]
}

fn copies() -> Vec<Damaged> {
    [containers(), documents(), contradictions(), remarks(), folders()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_damaged_copy_is_named_with_its_place_its_reason_and_what_to_do() {
    let world = World::new();
    for (at, copy) in copies().into_iter().enumerate() {
        let Damaged { code, files, path, arguments, says } = copy;
        let what = format!("{at}: {code} {says:?}");
        let folder = format!("copy-{at}");
        for (name, bytes) in &files {
            world.write(&format!("{folder}/{name}"), bytes);
        }
        let path = match (path, files.keys().next()) {
            ("", Some(only)) => format!("{folder}/{only}"),
            (".", _) => folder,
            (path, _) => format!("{folder}/{path}"),
        };
        let outcome = import(&world, &path, arguments);
        let flagged = import(&world, &path, &[arguments, &["--flag-mismatch"]].concat());
        let printed = outcome.json();
        let flags = all(&printed).into_iter().flat_map(|one| list(one, "flags"));
        let flags: BTreeSet<&str> = flags.filter_map(Value::as_str).collect();
        assert!(flags.contains(code.as_str()), "{what}\n{outcome}");
        // Some copies show several codes, of which the heaviest decides.
        let allowed = |code: &Code| {
            *code == Code::ContainerDuplicateMember && arguments.contains(&"--allow-superseded")
        };
        let raised =
            Code::ALL.iter().filter(|code| flags.contains(code.as_str()) && !allowed(code));
        let weights: Vec<Weight> = raised.map(|code| code.weight()).collect();
        let expected = if weights.contains(&Weight::Refuses) {
            [2, 2]
        } else if weights.contains(&Weight::Contradicts) {
            [1, 1]
        } else if weights.contains(&Weight::Negotiable) {
            [1, 0]
        } else {
            [0, 0]
        };
        assert_eq!(outcome.code(), Some(expected[0]), "{what}\n{outcome}");
        assert_eq!(flagged.code(), Some(expected[1]), "{what}\n{flagged}");

        let mut command: Vec<&str> = vec!["import", &path];
        command.extend(arguments);
        let plain = world.run_plain(command);
        plain.says(&[&path, code.as_str(), code.advice()]).says(says);
        assert_eq!(plain.code(), outcome.code(), "{what}");
    }
}

/// Codes by the table in `tests/evaldata/README.md`.
fn table() -> BTreeSet<String> {
    let page = fs::read_to_string(evaldata("README.md")).unwrap();
    let rows =
        page.lines().skip_while(|line| !line.starts_with("| code | meaning | exit |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_code_of_the_table_is_shown_by_a_log_or_by_a_damaged_copy() {
    let mut shown: BTreeSet<String> =
        copies().iter().map(|copy| copy.code.as_str().to_owned()).collect();
    for (_, expected) in document("cli-expected.json").as_object().unwrap().iter() {
        for one in all(expected) {
            shown.extend(list(one, "flags").iter().filter_map(Value::as_str).map(str::to_owned));
        }
    }
    let table = table();
    assert_eq!(table.len(), 33, "{table:?}");
    assert_eq!(table.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(table.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn what_can_not_be_read_at_all_is_said_in_one_line() {
    let world = World::new();
    world.write("empty.eval", "");
    world.write("words.json", "hello");
    world.write("run/notes.txt", "hello");
    for (path, words) in [
        ("absent.eval", &["absent.eval: No such file"][..]),
        ("empty.eval", &["empty.eval", "json.syntax"]),
        ("words.json", &["words.json", "json.syntax", "check that the file is whole"]),
        ("run", &["run", "log.format", "neither a HELM run nor a results file"]),
    ] {
        world.run_plain(["import", path]).exits(2).says(words);
        import(&world, path, &[]).exits(2);
    }
    let said = import(&world, "run", &[]).json();
    assert_eq!(text(&said, "refused"), "log.format");
}

#[test]
fn a_limit_can_be_raised_and_lowered() {
    let world = World::new();
    let spaces = Member::deflated("notes.txt", &[b' '; 8 << 20]);
    let [(name, bytes)] = eval(|log| log.members.push(spaces));
    world.write(name, bytes);
    world.run_plain(["import", name]).exits(2).says(&["limit `ratio`", "--limit"]);
    import(&world, name, &["--limit", "ratio=2000"]).exits(0);
    let low = import(&world, name, &["--limit", "ratio=2000", "--limit", "items=19"]);
    low.exits(2).says(&["limit `items`: more than 19 items"]);
    for wrong in ["ratio", "ratio=", "ratio=-1", "ratio=many", "patience=1"] {
        import(&world, name, &["--limit", wrong]).exits(2).says(&[wrong, "docs/import.md"]);
    }
}

#[test]
fn docs_import_lists_every_code_and_every_limit() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/import.md");
    let page = fs::read_to_string(path).unwrap();
    for code in Code::ALL {
        assert!(page.contains(&format!("`{code}`")), "docs/import.md lacks {code}");
    }
    let limits = format!("{:?}", intake::Limits::default());
    let names = limits.trim_start_matches("Limits {").trim_end_matches('}').split(',');
    for limit in names.map(|part| part.trim()) {
        let (name, value) = limit.split_once(": ").unwrap();
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/import.md lacks the limit {name}"));
        let digits: String = row.chars().filter(char::is_ascii_digit).collect();
        assert!(digits.contains(value), "docs/import.md: {row} for {value}");
    }
}
