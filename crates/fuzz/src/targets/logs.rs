//! Evaluation logs: the ZIP container alone, and the importers of all formats.
//!
//! Two reads of one input agree, whatever it is, and what is read can be reported and mapped.

use std::collections::BTreeMap;
use std::io::Cursor;

use intake::{Import, Limits, MappingRule, Options, import, map_rows, rows_from_log, unpack};

use super::one_in_eight;
use crate::mutate::zip::Archive;
use crate::mutate::{Shape, Tree, pack_folder, unpack_folder};
use crate::{Memory, Target, Verdict};

/// Buffers of the readers, and what zstd may look back in frames of this size.
const MEMORY: Memory = Memory { base: 4 << 20, per_byte: 512 };

const TOKENS: &[&[u8]] = &[
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
    b"PK\x07\x08",
    b"\x28\xb5\x2f\xfd",
    b"\x01\0\x18\0",
    b"NaN",
    b"null",
    b"\"scores\":{",
    b"\"samples\":[",
    b"\"epoch\":",
    b"\"results\":{",
    b"\"metrics\":{",
    b"_stderr",
    b"\"stats\":[",
    b"\"C\"",
];

pub(super) fn targets() -> Vec<Target> {
    let target = |name, shape, seeds, run| Target {
        name,
        shape,
        tokens: TOKENS,
        seeds,
        run,
        memory: MEMORY,
    };
    vec![
        target("zip", Shape::Zip, archives, zip),
        target("inspect-eval", Shape::Zip, eval_logs, |input| read(input, "log.eval")),
        target("inspect-json", Shape::Json, json_logs, |input| read(input, "log.json")),
        target("lm-eval", Shape::Folder, || folder(LM_EVAL), lm_eval),
        target("helm", Shape::Folder, || folder(HELM), helm),
    ]
}

const INSPECT: &str = include_str!("../../seeds/inspect.json");
const INSPECT_EVAL: &str = include_str!("../../seeds/inspect_eval.json");
const LM_EVAL: &str = include_str!("../../seeds/lm_eval.json");
const HELM: &str = include_str!("../../seeds/helm.json");

/// `{name: document}`.
fn documents(text: &str) -> Vec<(String, Tree)> {
    match Tree::parse(text.as_bytes()) {
        Some(Tree::Object(members)) => members,
        _ => panic!("the seeds are an object"),
    }
}

fn archives() -> Vec<Vec<u8>> {
    let small = [("a.json", b"{}".to_vec()), ("b/c.json", vec![b'x'; 600]), ("d", Vec::new())];
    let small = Archive::stored(small);
    vec![
        small.write(),
        small.clone().packed().write(),
        small.clone().zip64().write(),
        small.clone().streamed().write(),
        small.packed().zip64().streamed().write(),
    ]
}

fn zip(input: &[u8]) -> Verdict {
    let limits = Limits { zstd_window: 1 << 20, total: 8 << 20, ..Limits::default() };
    let strict = unpack(input, &limits, false);
    let lenient = unpack(input, &limits, true);
    if let Ok(members) = &strict {
        // Without two members of one name both read the same.
        assert!(lenient.as_ref().is_ok_and(|other| other == members));
        let total: usize = members.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(total as u64 <= limits.total, "{total} bytes came out");
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two members of one name");
        // What is read can be written and is read again.
        let again = Archive::stored(members.iter().map(|(n, bytes)| (n.as_str(), bytes.clone())));
        let again = unpack(&again.write(), &limits, false);
        assert!(again.is_ok_and(|again| again == *members), "not the same when written again");
    }
    Verdict::of(lenient.is_ok())
}

fn eval_logs() -> Vec<Vec<u8>> {
    let members = documents(INSPECT_EVAL);
    let members = members.iter().map(|(name, tree)| (name.as_str(), tree.to_text().into_bytes()));
    let whole = Archive::stored(members);
    let mut no_header = whole.clone();
    no_header.members.retain(|member| member.name != "header.json");
    vec![whole.write(), whole.clone().packed().write(), whole.zip64().write(), no_header.write()]
}

fn json_logs() -> Vec<Vec<u8>> {
    vec![INSPECT.as_bytes().to_vec()]
}

/// `{name: [documents]}`; several are lines.
fn folder(text: &str) -> Vec<Vec<u8>> {
    let files = documents(text).into_iter().map(|(name, tree)| {
        let Tree::List(lines) = tree else { panic!("the seeds have lists") };
        let lines: Vec<String> = lines.iter().map(Tree::to_text).collect();
        (name, lines.join("\n").into_bytes())
    });
    let files: Vec<(String, Vec<u8>)> = files.collect();
    vec![pack_folder(files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))]
}

fn options(allow_superseded: bool) -> Options {
    let limits = Limits { zstd_window: 1 << 20, total: 8 << 20, ..Limits::default() };
    Options { limits, allow_superseded, ..Options::default() }
}

fn read(input: &[u8], name: &str) -> Verdict {
    judge(input, |options| import(Cursor::new(input), name, &intake::NoFolder, options))
}

fn lm_eval(input: &[u8]) -> Verdict {
    let files = unpack_folder(input);
    let results = files.keys().find(|name| name.starts_with("results_")).cloned();
    judge(input, |options| from_folder(&files, results.as_deref(), options))
}

fn helm(input: &[u8]) -> Verdict {
    let files = unpack_folder(input);
    judge(input, |options| from_folder(&files, Some("run_spec.json"), options))
}

fn from_folder(files: &BTreeMap<String, Vec<u8>>, main: Option<&str>, options: &Options) -> Import {
    let whole = intake::import_folder(files, options);
    // The file that a user names instead of the folder; the options that take more read it too.
    if options.allow_superseded
        && let Some((name, bytes)) = main.and_then(|name| Some((name, files.get(name)?)))
    {
        let named = import(Cursor::new(bytes), name, files, options);
        assert!(named.exit() <= 2 && !named.outcomes.is_empty());
    }
    whole
}

fn judge(input: &[u8], read: impl Fn(&Options) -> Import) -> Verdict {
    let strict = read(&options(false));
    let lenient = read(&options(true));
    for import in [&strict, &lenient] {
        assert!(import.exit() <= 2 && !import.outcomes.is_empty());
    }
    let report = lenient.to_json().to_text();
    if one_in_eight(input) {
        assert_eq!(read(&options(true)).to_json().to_text(), report, "two reads of one input");
        assert!(json::parse(report.as_bytes(), json::Rules::LOG).is_ok(), "a report is JSON");
    }
    let count = |import: &Import| import.evaluations().count();
    assert!(count(&strict) <= count(&lenient), "an option to take more takes less");
    for evaluation in lenient.evaluations() {
        let Ok(rows) = rows_from_log(evaluation) else { continue };
        let Ok(mapping) = map_rows(evaluation, &rows, 1, MappingRule::default()) else { continue };
        for place in mapping.places.iter().chain(&mapping.missing().collect::<Vec<_>>()) {
            assert!(place.row < rows.len(), "an item is mapped to a row that is not there");
        }
    }
    Verdict::of(count(&lenient) > 0)
}
