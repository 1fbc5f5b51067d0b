//! The strict JSON reader under both sets of rules, whole and in pieces.

use std::io::Read;

use json::{Problem, Reader, Rules, Value, parse};

use crate::mutate::Shape;
use crate::{Memory, Target, Verdict, fixtures};

const TOKENS: &[&[u8]] = &[
    b"null",
    b"true",
    b"false",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"{\"a\":",
    b"[[",
    b"\"a\":1,",
    b"\\u0000",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"\\/",
    b"1.5",
    b"1e5",
    b"-0",
    b"0.0",
    b"9007199254740991",
    b"9007199254740992",
];

pub(super) fn targets() -> Vec<Target> {
    let target = |name, run| Target {
        name,
        shape: Shape::Json,
        tokens: TOKENS,
        seeds,
        run,
        memory: Memory::USUAL,
    };
    let pieces =
        Target { shape: Shape::Bytes, seeds: seeds_in_pieces, ..target("json-stream", in_pieces) };
    vec![target("json-signed", signed), target("json-log", log), pieces]
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "{}",
        "[]",
        "\"\"",
        "0",
        " { \"a\" : [ 1 , -2.5e-3 , true , false , \"\\u00e9\\n\\\"\" ] , \"b\" : { } } ",
        "{\"a\":{\"b\":{\"c\":{\"d\":[[[[1]]]]}}},\"e\":[{},{},[]],\"\":\"\"}",
        "[null,NaN,Infinity,-Infinity,1E+2,0.10]",
        "[9007199254740991,-9007199254740991,\"\\ud83d\\ude00 \\/ \u{202e}\"]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    seeds.push(fixtures::statements()[9].payload.as_bytes().to_vec());
    seeds
}

fn seeds_in_pieces() -> Vec<Vec<u8>> {
    let seeds = seeds().into_iter().enumerate();
    seeds.map(|(at, seed)| [&[(at as u8).wrapping_mul(37)], &*seed].concat()).collect()
}

fn signed(input: &[u8]) -> Verdict {
    let Ok(value) = parse(input, Rules::SIGNED) else { return Verdict::Refused };
    let text = value.to_text();
    assert_eq!(parse(text.as_bytes(), Rules::SIGNED).as_ref(), Ok(&value), "read again");
    // Another reader takes whatever this one takes.
    let other: serde_json::Value = serde_json::from_slice(input).expect("serde_json reads it");
    assert!(same(&value, &other), "serde_json reads another value");
    Verdict::Accepted
}

fn log(input: &[u8]) -> Verdict {
    let ours = parse(input, Rules::LOG);
    let other: Result<serde_json::Value, _> = serde_json::from_slice(input);
    match (&ours, &other) {
        (Ok(value), Ok(other)) => assert!(same(value, other), "serde_json reads another value"),
        // It knows no NaN, no numbers beyond a float's range and not quite as many levels.
        (Ok(value), Err(error)) => {
            assert!(beyond_floats(value) || depth(value) > 100, "serde_json refuses it: {error}")
        }
        // It takes the last of two equal members.
        (Err(error), Ok(_)) => assert!(
            matches!(error.problem(), Problem::DuplicateKey(_) | Problem::Limit { .. }),
            "serde_json takes it: {error}"
        ),
        (Err(_), Err(_)) => {}
    }
    let Ok(value) = ours else { return Verdict::Refused };
    let text = value.to_text();
    assert_eq!(parse(text.as_bytes(), Rules::LOG).as_ref(), Ok(&value), "read again");
    Verdict::Accepted
}

/// The first byte says how large the pieces are and how tight the limits.
fn in_pieces(input: &[u8]) -> Verdict {
    let Some((first, document)) = input.split_first() else { return Verdict::Refused };
    let size = 1 + usize::from(first & 7);
    let rules = match first >> 6 {
        0 => Rules::SIGNED,
        1 => Rules::LOG,
        2 => Rules { depth: 3, string: 5, width: 2, ..Rules::LOG },
        _ => Rules { depth: 2, string: 12, width: 3, ..Rules::SIGNED },
    };
    let whole = parse(document, rules);
    let mut reader = Reader::new(Pieces { rest: document, size }, rules);
    let pieces = reader.value().and_then(|value| reader.end().map(|()| value));
    assert_eq!(whole, pieces, "the same in pieces");

    let mut reader = Reader::new(Pieces { rest: document, size }, rules);
    let skipped = reader.skip().and_then(|()| reader.end());
    match (&whole, &skipped) {
        (Ok(_), Ok(())) => assert_eq!(reader.offset(), document.len() as u64),
        // What is skipped may be as wide as it likes.
        (Err(error), _) if is_width(error.problem()) => {}
        (Err(error), Err(skipped)) => assert_eq!(error, skipped),
        (whole, skipped) => panic!("whole: {whole:?}, skipped: {skipped:?}"),
    }
    Verdict::of(whole.is_ok())
}

fn is_width(problem: &Problem) -> bool {
    matches!(problem, Problem::Limit { what: "members or elements in one value", .. })
}

/// A stream that gives a few bytes at a time.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.size.min(self.rest.len()).min(buffer.len());
        let (piece, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.rest = rest;
        Ok(length)
    }
}

fn same(ours: &Value, other: &serde_json::Value) -> bool {
    use serde_json::Value as Other;
    match (ours, other) {
        (Value::Null, Other::Null) => true,
        (Value::Bool(a), Other::Bool(b)) => a == b,
        (Value::Number(a), Other::Number(b)) => b.as_f64() == Some(a.as_f64()),
        (Value::String(a), Other::String(b)) => a == b,
        (Value::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Other::Object(b)) => {
            let is_same = |(name, a)| b.get(name).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(is_same)
        }
        _ => false,
    }
}

fn beyond_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.as_f64().is_finite(),
        Value::Array(elements) => elements.iter().any(beyond_floats),
        Value::Object(object) => object.iter().any(|(_, value)| beyond_floats(value)),
        _ => false,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
        _ => 0,
    }
}
