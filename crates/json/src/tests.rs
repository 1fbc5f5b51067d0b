use proptest::prelude::*;

use crate::{Located as _, Node, Problem, Reader, Rules, Value, array, object, parse};

fn signed(text: &str) -> Result<Value, Problem> {
    parse(text.as_bytes(), Rules::SIGNED).map_err(|e| e.problem().clone())
}

fn log(text: &str) -> Result<Value, Problem> {
    parse(text.as_bytes(), Rules::LOG).map_err(|e| e.problem().clone())
}

#[test]
fn keeps_the_spelling_of_numbers() {
    for literal in ["0", "-0", "1.0", "1e0", "0.250", "1E+2", "123456789012345678901234567890"] {
        let value = log(literal).unwrap();
        assert_eq!(value.as_number().unwrap().literal(), literal);
    }
}

#[test]
fn refuses_what_a_signed_document_must_not_hold() {
    let refused = [
        ("null", "null"),
        ("{\"a\":null}", "null"),
        ("1.0", "fraction"),
        ("1e2", "fraction"),
        ("-0", "-0"),
        ("9007199254740992", "2^53"),
        ("-9007199254740992", "2^53"),
        ("99999999999999999999999", "2^53"),
        ("NaN", "NaN"),
        ("-Infinity", "Infinity"),
        ("{\"n\":1,\"n\":2}", "twice"),
        ("{\"n\":1,\"\\u006e\":2}", "twice"),
        ("\"\\ud800\"", "surrogate"),
        ("\"\\ud800\\u0041\"", "surrogate"),
        ("\u{feff}1", "byte order mark"),
        ("1 2", "after the end"),
        ("", "too early"),
        ("[1,]", "value"),
        ("{\"a\":1,}", "name"),
        ("[1", "too early"),
        ("\"a", "inside a string"),
        ("\"\n\"", "control character"),
        ("01", "after the end"),
        ("+1", "value"),
        (".5", "value"),
        ("tru", "too early"),
        ("\"\\x41\"", "escape"),
        ("\"\\u00g0\"", "hexadecimal"),
    ];
    for (text, why) in refused {
        let problem = signed(text).unwrap_err().to_string();
        assert!(problem.contains(why), "{text}: {problem}");
    }
    assert!(signed("9007199254740991").is_ok());
}

#[test]
fn takes_the_non_finite_numbers_only_where_the_rules_say() {
    for (text, finite) in [("NaN", false), ("-Infinity", false), ("Infinity", false), ("1", true)] {
        assert_eq!(log(text).unwrap().as_number().unwrap().is_finite(), finite);
    }
    assert!(log("nan").is_err());
    assert!(log("-NaN").is_err());
    let strict = Rules { non_finite: false, ..Rules::LOG };
    assert!(parse(b"[NaN]", strict).is_err());
}

#[test]
fn stops_at_each_limit() {
    let rules = Rules { depth: 3, string: 4, width: 2, ..Rules::LOG };
    for (text, fits) in [
        ("[[[1]]]", true),
        ("[[[[1]]]]", false),
        ("\"abcd\"", true),
        ("\"abcde\"", false),
        ("\"\\u00e9\\u00e9\"", true),
        ("[1,2]", true),
        ("[1,2,3]", false),
        ("{\"a\":1,\"b\":2,\"c\":3}", false),
        ("12345", false),
    ] {
        assert_eq!(parse(text.as_bytes(), rules).is_ok(), fits, "{text}");
    }
}

#[test]
fn names_of_an_object_that_is_not_held_are_bounded_too() {
    let rules = Rules { width: 2, ..Rules::LOG };
    for (text, fits) in [
        (r#"{"a":1,"b":2}"#, true),
        (r#"{"a":1,"b":2,"c":3}"#, false),
        ("[1,2,3,4]", true),
        (r#"[{"a":1,"b":{"a":1,"b":2,"c":3}}]"#, false),
    ] {
        assert_eq!(Reader::new(text.as_bytes(), rules).skip().is_ok(), fits, "{text}");
    }
}

#[test]
fn names_the_place_of_an_error() {
    let text = r#"{"a":{"b/c":[0,{"~":tru}]}}"#;
    let error = parse(text.as_bytes(), Rules::LOG).unwrap_err();
    assert_eq!(error.pointer(), "/a/b~1c/1/~0");
}

#[test]
fn skipping_checks_as_much_as_reading() {
    for text in [r#"{"a":1,"a":2}"#, r#"[{"x":[1,}]"#, r#""\ud800""#] {
        assert!(Reader::new(text.as_bytes(), Rules::LOG).skip().is_err(), "{text}");
    }
}

#[test]
fn a_member_nobody_asked_for_is_an_error() {
    let value = signed(r#"{"known":1,"other":{"x":1}}"#).unwrap();
    let mut fields = Node::root(&value).fields().unwrap();
    assert_eq!(fields.required("known").unwrap().uint().unwrap(), 1);
    assert_eq!(fields.finish().unwrap_err().pointer, "/other");
    let mut fields = Node::root(&value).fields().unwrap();
    assert_eq!(fields.required("absent").unwrap_err().pointer, "/absent");
}

#[test]
fn writes_compactly_and_in_order() {
    let value = object([("b", 1_u64.into()), ("a", array(["x\n\"\u{1}", "é\u{2028}"]))]);
    assert_eq!(value.to_text(), "{\"b\":1,\"a\":[\"x\\n\\\"\\u0001\",\"é\u{2028}\"]}");
}

#[test]
fn reports_pointers_through_streaming_callbacks() {
    let mut reader = Reader::new(&br#"{"samples":[{"id":1},{"id":}]}"#[..], Rules::LOG);
    let error = reader.object(|_, r| r.array(|r| r.value().map(drop))).unwrap_err().within("file");
    assert_eq!(error.pointer(), "/file/samples/1/id");
}

/// A reader that gives one byte at a time must see the same document.
struct Trickle<'a>(&'a [u8]);

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = 1.min(self.0.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_documents(json in any_json()) {
        let text = json.to_string();
        let ours = parse(text.as_bytes(), Rules::LOG).unwrap();
        let back: serde_json::Value = serde_json::from_str(&ours.to_text()).unwrap();
        prop_assert_eq!(&back, &json);
        let trickled = Reader::new(Trickle(text.as_bytes()), Rules::LOG).value().unwrap();
        prop_assert_eq!(trickled, ours);
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}",:0-9.eE+\-truefalsn\\u d8 \n]{0,24}"#) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = parse(text.as_bytes(), Rules { non_finite: false, ..Rules::LOG });
        match (&ours, &theirs) {
            // What serde_json takes and we don't, by design.
            (Err(e), Ok(_)) => prop_assert!(matches!(e.problem(), Problem::DuplicateKey(_)), "{}", e),
            // Numbers beyond binary64 are numbers to us, since we keep their spelling.
            (Ok(_), Err(e)) => prop_assert!(e.to_string().contains("number out of range"), "{}", e),
            _ => {}
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes, Rules::SIGNED);
        let _ = parse(&bytes, Rules::LOG);
    }
}
