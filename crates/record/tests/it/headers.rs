//! Headers as strangers send them.

use json::{Node, Rules, Value};
use record::header::{Header, HeaderError};

use crate::support::made;

fn read(value: &Value) -> Result<Header, HeaderError> {
    Header::from_fields(&mut Node::root(value).fields().unwrap())
}

#[test]
fn refuses_bad_headers_with_pointers() {
    let good = json::object(made("a").record.header().members()).to_text();
    assert!(read(&json::parse(good.as_bytes(), Rules::SIGNED).unwrap()).is_ok());
    let limit = "a record holds 1 to 2^20 items, not 1048577";
    for (from, to, reason) in [
        ("\"items\":4", "\"items\":0", "a record holds 1 to 2^20 items, not 0"),
        ("\"items\":4", "\"items\":1048577", limit),
        ("\"items\":4", "\"items\":\"4\"", "/items: must be an integer"),
        ("\"items\":4,", "", "/items: is missing"),
        ("\"max\":1,", "\"max\":536870912,", "4 items × max 536870912 of the column \"accuracy\""),
        ("\"max\":1,", "\"max\":0,", "/columns/0/max: max is 1 to 2^53 - 1, not 0"),
        ("\"raw_max\":1,", "\"raw_max\":0,", "/columns/0/raw_max: raw_max is 1 to"),
        ("\"higher\"", "\"best\"", "/columns/0/better: must be \"higher\" or \"lower\""),
        ("\"higher\"", "\"highest\"", "/columns/0/better: must be at most 6 bytes"),
        ("\"name\":\"accuracy\"", "\"name\":\" accuracy\"", "/columns/0/name: a column's name"),
        ("\"name\":\"accuracy\"", "\"name\":\"grade\"", "two columns are called \"grade\""),
        ("\"name\":\"accuracy\"", "\"name\":\"x\"", "/fields/8: must be \"score:x\""),
        ("\"total\":\"f", "\"total\":\"F", "/columns/0/total: must be 64 lower-case"),
        ("\"proof\":\"d2", "\"proof\":\"", "/columns/0/proof: must be 192 lower-case"),
        ("\"total\":", "\"sum\":", "/columns/0/total: is missing"),
        ("\"better\":", "\"extra\":1,\"better\":", "/columns/0/extra: is not a member"),
        ("\"tag\",\"epoch\"", "\"epoch\",\"tag\"", "/fields/0: must be \"tag\""),
        (",\"score:grade\"]", "]", "/fields: lacks \"score:grade\""),
        ("\"score:grade\"]", "\"score:grade\",\"x\"]", "/fields: must have at most 10"),
        ("\"name\":\"model\"", "\"name\":\"elicitation\"", "/subjects/0/name: must be \"model\""),
        ("\"commitment\":", "\"value\":", "/subjects/0/commitment: is missing"),
        ("\"subjects\":[", "\"subjects\":[],\"x\":[", "/subjects: must have 28 elements"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = read(&json::parse(bad.as_bytes(), Rules::SIGNED).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{from} -> {to}: {error}");
    }
}
