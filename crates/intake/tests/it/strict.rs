//! Documents that are not what Inspect writes: refused, with the place and without quotes.

use intake::Code;

use crate::archive::Log;
use crate::fixtures::{
    assert_flags, assert_refused, bytes, document, import_bytes, refusal, remove, set, value,
};

const SINGLE: &str = "inspect-converted/arithmetic_match.converted.json";
const HEADER: &str = "header.json";

fn arithmetic() -> Log {
    Log::open(&bytes("inspect-converted/arithmetic_match.original.eval"))
}

fn q(number: usize) -> String {
    format!("samples/q{number:03}_epoch_1.json")
}

#[test]
fn only_version_2_is_read() {
    for version in ["1", "3", "2.0", "\"2\"", "null"] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| set(header, &["version"], value(version)));
        assert_refused(&import_bytes(&log.bytes()), Code::LogVersion);
        let mut single = document(SINGLE);
        set(&mut single, &["version"], value(version));
        assert_refused(&import_bytes(single.to_text().as_bytes()), Code::LogVersion);
    }
    let mut single = document(SINGLE);
    remove(&mut single, &[], "version");
    assert_refused(&import_bytes(single.to_text().as_bytes()), Code::LogVersion);
}

#[test]
fn json_is_read_strictly() {
    let header_and_item = [HEADER.to_owned(), q(7), "summaries.json".to_owned()];
    for name in &header_and_item {
        let mut log = arithmetic();
        let content = log.members[log.at(name)].content();
        for (what, damaged, code) in [
            ("cut", content[..content.len() - 2].to_vec(), Code::JsonSyntax),
            ("more", [&content[..], b"x"].concat(), Code::JsonSyntax),
            ("mark", [b"\xef\xbb\xbf", &content[..]].concat(), Code::JsonEncoding),
            ("empty", Vec::new(), Code::JsonSyntax),
        ] {
            log.replace(name, &damaged);
            let import = import_bytes(&log.bytes());
            assert_eq!(refusal(&import).code, code, "{what} in {name}");
            assert_eq!(refusal(&import).member.as_deref(), Some(name.as_str()), "{what}");
        }
    }
    for (from, to, code) in [
        ("\"epoch\":", "\"id\":\"q007\",\"epoch\":", Code::JsonDuplicateKey),
        ("\"epoch\":", "\"x\":{\"a\":1,\"a\":1},\"epoch\":", Code::JsonDuplicateKey),
        ("\"epoch\":", "\"events\":[{\"a\":1,\"a\":1}],\"epoch2\":", Code::JsonDuplicateKey),
        ("\"epoch\":", "\"x\":\"\\ud800\",\"epoch\":", Code::JsonEncoding),
        ("\"epoch\":", "\"x\":NaN,\"epoch\":", Code::JsonNonFinite),
        ("\"epoch\":", "\"uuid2\":-Infinity,\"epoch\":", Code::JsonNonFinite),
        ("\"metadata\":{", "\"metadata\":{\"x\":[NaN],", Code::JsonNonFinite),
        ("\"epoch\":", "\"limit\":{\"limit\":Infinity},\"epoch\":", Code::JsonNonFinite),
        ("\"epoch\":", "\"choices\":[NaN],\"epoch\":", Code::JsonNonFinite),
        ("\"answer\":", "\"reason\":NaN,\"answer\":", Code::JsonNonFinite),
    ] {
        let mut log = arithmetic();
        let mut sample = log.members[log.at(&q(7))].json();
        remove(&mut sample, &[], "events");
        log.replace(&q(7), sample.to_text().as_bytes());
        log.substitute(&q(7), from, to);
        let import = import_bytes(&log.bytes());
        assert_eq!(refusal(&import).code, code, "{to}: {:?}", refusal(&import));
    }
    let mut log = arithmetic();
    let mut content = log.members[log.at(&q(7))].content();
    let at = content.windows(9).position(|w| w == b"\"target\":").unwrap();
    content.splice(at..at, b"\"x\":\"\xff\",".iter().copied());
    log.replace(&q(7), &content);
    assert_refused(&import_bytes(&log.bytes()), Code::JsonEncoding);

    let text = String::from_utf8(bytes(SINGLE)).unwrap();
    for (damaged, code) in [
        (format!("\u{feff}{text}").into_bytes(), Code::JsonEncoding),
        (text.encode_utf16().flat_map(u16::to_le_bytes).collect(), Code::JsonSyntax),
        (
            text.replacen("\"version\"", "\"status\":1,\"version\"", 1).into_bytes(),
            Code::JsonDuplicateKey,
        ),
        (text[..text.len() / 2].to_owned().into_bytes(), Code::JsonSyntax),
        (format!("{text}{{}}").into_bytes(), Code::JsonSyntax),
    ] {
        assert_refused(&import_bytes(&damaged), code);
    }
}

#[test]
fn an_id_is_a_string_or_an_integer() {
    for (id, code) in [
        ("NaN", Code::JsonNonFinite),
        ("1.0", Code::LogShape),
        ("1e3", Code::LogShape),
        ("true", Code::LogShape),
        ("null", Code::LogShape),
        ("[1]", Code::LogShape),
    ] {
        let mut log = arithmetic();
        log.edit(&q(7), |sample| set(sample, &["id"], value(id)));
        let import = import_bytes(&log.bytes());
        assert_refused(&import, code);
        assert_eq!(refusal(&import).pointer.as_deref(), Some("/id"), "{id}");
    }
    for epoch in ["0", "-1", "1.5", "\"1\"", "null"] {
        let mut log = arithmetic();
        log.edit(&q(7), |sample| set(sample, &["epoch"], value(epoch)));
        assert_refused(&import_bytes(&log.bytes()), Code::LogShape);
    }
}

#[test]
fn what_is_skipped_may_hold_nan() {
    // A score event repeats a NaN score; a store holds whatever a tool returned.
    let mut log = arithmetic();
    for name in ["events", "store", "attachments", "messages", "error_retries"] {
        log.edit(&q(7), |sample| set(sample, &[name], value("[NaN,{\"x\":-Infinity}]")));
    }
    assert_flags(&import_bytes(&log.bytes()), &[], 0);
}

#[test]
fn wrong_shapes_are_refused_with_their_place() {
    for (path, new, pointer) in [
        (vec!["eval"], "[]", "/eval"),
        (vec!["eval", "task"], "7", "/eval/task"),
        (vec!["eval", "dataset", "sample_ids", "3"], "1.5", "/eval/dataset/sample_ids/3"),
        (vec!["results", "scores", "0"], "{}", "/results/scores/0"),
    ] {
        let mut log = arithmetic();
        log.edit(HEADER, |header| set(header, &path, value(new)));
        let import = import_bytes(&log.bytes());
        assert_refused(&import, Code::LogShape);
        assert_eq!(refusal(&import).pointer.as_deref(), Some(pointer));
        assert_eq!(refusal(&import).member.as_deref(), Some(HEADER));
    }
    for (name, new) in [("scores", "[]"), ("scores", "{\"match\":1}")] {
        let mut log = arithmetic();
        log.edit(&q(3), |sample| set(sample, &[name], value(new)));
        assert_refused(&import_bytes(&log.bytes()), Code::LogShape);
    }
}

#[test]
fn other_documents_are_no_logs() {
    for (text, code) in [
        ("{}", Code::LogFormat),
        ("[]", Code::LogFormat),
        ("7", Code::LogFormat),
        ("{\"results\":{}}", Code::LogFormat),
        ("hello", Code::JsonSyntax),
        ("{\"a\":1,\"a\":2}", Code::JsonDuplicateKey),
        ("{\"schema_version\":\"0.3.0\",\"evaluation_id\":\"x\"}", Code::LogNoItems),
    ] {
        let import = import_bytes(text.as_bytes());
        assert_eq!(refusal(&import).code, code, "{text}");
    }
}

#[test]
fn refusals_quote_neither_texts_nor_free_form_names() {
    let mut log = arithmetic();
    log.substitute(&q(7), "\"metadata\":", "\"metadata\":{\"secret\":{\"deep\":NaN}},\"m\":");
    let import = import_bytes(&log.bytes());
    assert_refused(&import, Code::JsonNonFinite);
    assert_eq!(refusal(&import).pointer.as_deref(), Some("/metadata"));
    let mut log = arithmetic();
    log.substitute(&q(7), "\"metadata\":", "\"metadata\":{\"secret\":1,\"secret\":2},\"m\":");
    let import = import_bytes(&log.bytes());
    assert_refused(&import, Code::JsonDuplicateKey);
    assert!(!import.to_json().to_text().contains("secret"));
}

#[test]
fn logs_without_items_are_refused() {
    let mut log = arithmetic();
    for number in 1..=20 {
        log.remove(&q(number));
    }
    let import = import_bytes(&log.bytes());
    assert_refused(&import, Code::LogNoItems);
    assert_eq!(refusal(&import).evaluation.as_deref(), Some("arithmetic_match"));
}
