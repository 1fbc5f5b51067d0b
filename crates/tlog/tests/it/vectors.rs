//! Access to `tests/vectors/tlog.json` and the keys of its example.

use std::sync::LazyLock;

use json::{Rules, Value};
use tlog::{Hash, KeyKind, KeyName, SigningKey, TreeHead, VerifierKey, leaf_hash};

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/tlog.json");
    json::parse(&std::fs::read(path).unwrap(), Rules::LOG).unwrap()
});

/// The file.
pub(crate) fn whole() -> &'static Value {
    &VECTORS
}

/// A member of the file.
pub(crate) fn vectors(name: &str) -> &'static Value {
    VECTORS.get(name).unwrap_or_else(|| panic!("the vectors have no {name}"))
}

/// The elements of a list of the file, of which there are exactly `count`.
pub(crate) fn list(name: &str, count: usize) -> &'static [Value] {
    let list = vectors(name).as_array().unwrap();
    assert_eq!(list.len(), count, "{name}");
    list
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {name}"))
}

pub(crate) fn uint(value: &Value, name: &str) -> u64 {
    let number = value.get(name).and_then(Value::as_number);
    number.and_then(json::Number::as_u64).unwrap_or_else(|| panic!("no number {name}"))
}

pub(crate) fn hash(value: &Value, name: &str) -> Hash {
    Hash::from_base64(text(value, name)).unwrap()
}

pub(crate) fn hashes(value: &Value, name: &str) -> Vec<Hash> {
    let texts = value.get(name).and_then(Value::as_array).unwrap();
    texts.iter().map(|text| Hash::from_base64(text.as_str().unwrap()).unwrap()).collect()
}

pub(crate) fn why(value: &Value) -> &str {
    text(value, "why")
}

/// A text of the worked example.
pub(crate) fn example(name: &str) -> &'static str {
    text(vectors("example"), name)
}

/// Asserts that an error is of the variant that the vector's reason calls for.
pub(crate) fn assert_variant(error: &impl std::fmt::Debug, reasons: &[(&str, &str)], why: &str) {
    let (_, variant) = reasons
        .iter()
        .find(|(reason, _)| *reason == why)
        .unwrap_or_else(|| panic!("no error is expected for {why:?}"));
    let shown = format!("{error:?}");
    let found = shown.split(['(', ' ']).next().unwrap();
    assert_eq!(found, *variant, "{why}: {shown}");
}

pub(crate) fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
}

/// The log of the example.
pub(crate) fn log_key() -> SigningKey {
    key("evallog.example/ab", 0x11)
}

/// The witness of the example.
pub(crate) fn witness_key() -> SigningKey {
    key("witness.example/w1", 0x22)
}

pub(crate) fn log() -> VerifierKey {
    log_key().verifier(KeyKind::Ed25519)
}

pub(crate) fn witness() -> VerifierKey {
    witness_key().verifier(KeyKind::Cosignature)
}

/// Leaf hashes of the numbered tree, in which leaf i is the text `leaf-<i>`.
pub(crate) fn numbered(size: u64) -> impl Iterator<Item = Hash> {
    (0..size).map(|index| leaf_hash(format!("leaf-{index}").as_bytes()))
}

/// The head of the example's log after its first `size` entries.
pub(crate) fn example_head(size: usize) -> TreeHead {
    let entries = ["a", "bb", "ccc", "dddd", "eeeee"];
    let leaves = entries[..size].iter().map(|entry| leaf_hash(entry.as_bytes()));
    leaves.collect::<tlog::CompactRange>().head()
}
