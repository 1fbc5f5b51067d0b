//! Openings: against a record that was honestly made, and against one that a dishonest party made
//! to fit just this opening.

use std::sync::OnceLock;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable};
use curve25519_dalek::scalar::Scalar;
use exchange::StatementId;
use record::column::Column;
use record::context::Context;
use record::header::{Header, HeaderColumn};
use record::items::ItemKey;
use record::opening::{Against, Body, BodyItem, Cell, Disclosure, Scope, ScoreCell};
use record::subject::{SUBJECTS, Status, subject};
use record::total::TotalProof;
use tlog::{CompactRange, Hash, leaf_hash};

use crate::fixtures::made;
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

const TOKENS: &[&[u8]] = &[
    b"countersign/openings/v1",
    b"\"items\":[",
    b"\"fields\":[",
    b"\"scores\":[",
    b"\"salt\":\"",
    b"\"value\":\"AA==\"",
    b"{\"c\":\"",
    b"{\"C\":\"",
    b"{\"s\":1,\"r\":\"",
    b"\"row\":{",
    b"\"totals\":[",
    b"\"subjects\":[",
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
    vec![
        target("opening", opening),
        target("opening-of-a-cheat", cheat),
        Target { shape: Shape::Lines, seeds: references, ..target("values", values) },
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let made = made();
    let bodies = [
        made.open_all(),
        made.open(&[1], &["status"], false),
        made.open(&[0, 3], &["status", "score:accuracy"], false),
        made.open(&[], &[], false),
        made.open(&[2], &["output", "status"], true),
    ];
    let bodies = bodies.iter().map(|body| body.to_bytes().expect("it is short"));
    bodies.collect()
}

fn opening(input: &[u8]) -> Verdict {
    let Ok(body) = Body::parse(input) else { return Verdict::Refused };
    let written = body.to_bytes().expect("it was short");
    assert!(Body::parse(&written).as_ref() == Ok(&body), "read again");
    let made = made();
    let Ok(proved) = body.verify(&made.against()) else { return Verdict::Refused };

    // Whatever an opening proves is what the honest opening of everything proves.
    let truth = made.truth();
    for item in &proved.items {
        let honest = truth.items.iter().find(|other| other.index == item.index);
        let honest = honest.expect("there is such an item");
        assert!(item.tag == honest.tag && item.epoch == honest.epoch, "another item");
        assert!(item.status.is_none_or(|status| Some(status) == honest.status), "another status");
        assert!(item.fields.iter().all(|field| honest.fields.contains(field)), "another value");
        assert!(item.scores.iter().all(|score| honest.scores.contains(score)), "another score");
        assert!(item.row.is_none() || item.row == honest.row, "another row");
    }
    assert!(proved.totals.iter().all(|total| truth.totals.contains(total)), "another total");
    assert!(proved.subjects.iter().all(|s| truth.subjects.contains(s)), "another subject");

    // What is declared exactly is accepted, and nothing declared means nothing opened.
    let without_key = Against { item_key: None, ..made.against() };
    let rows = proved.items.iter().any(|item| item.row.is_some());
    assert_eq!(body.verify(&without_key).is_err(), rows, "rows need the item key");
    let nothing = Disclosure::default();
    let exactly = Against { scope: Scope::Exactly(&nothing), ..made.against() };
    let empty = proved.items.is_empty() && proved.totals.is_empty() && proved.subjects.is_empty();
    assert_eq!(body.verify(&exactly).is_ok(), empty, "nothing was declared");
    Verdict::Accepted
}

/// The record whose party commits to what the input opens, formulas after `docs/protocol.md` and
/// shared with no other code. Only what no commitment can hide is refused then.
fn cheat(input: &[u8]) -> Verdict {
    let Ok(mut body) = Body::parse(input) else { return Verdict::Refused };
    let made = made();
    let honest = made.record.header();
    let items = body.items.len().max(1) as u64;
    body.items.sort_by_key(|item| item.index);
    for (index, item) in (0..).zip(&mut body.items) {
        item.index = index;
        item.row = None;
    }
    (body.record_proof, body.items_proof) = (Vec::new(), Vec::new());

    let layout = honest.layout();
    let fields: Vec<&str> = layout.fields().iter().map(String::as_str).collect();
    let record_root = root(body.items.iter().map(|item| {
        let mut entry = item_hash(&made.context, item, &fields).as_bytes().to_vec();
        item.scores.iter().for_each(|cell| entry.extend(score_point(cell)));
        leaf_hash(&entry)
    }));
    let items_root = root(body.items.iter().map(|item| leaf_hash(&tag_and_epoch(item))));
    let column = &honest.columns()[0];
    let total = body.totals.first().and_then(|t| commit(t.total, t.blind));
    let header_column = HeaderColumn {
        column: column.column.clone(),
        total: total.unwrap_or(column.total),
        proof: TotalProof::new(*column.proof.as_bytes()),
    };
    let mut subjects: [Hash; 28] = honest.subjects().try_into().expect("there are 28 subjects");
    for opened in &body.subjects {
        if let Some(place) = subject(&opened.name) {
            let value = [&[1], opened.value.as_bytes()].concat();
            subjects[place] = named(&made.context, b"subject", &opened.name, &opened.salt, &value);
        }
    }
    let roots = [items_root, record_root, *honest.vector()];
    let header = Header::from_parts(items, roots, vec![header_column], subjects);
    let header = header.expect("few items with one column fit");
    let against = Against { header: &header, item_key: None, ..made.against() };
    body.record = *against.record;
    let Ok(proved) = body.verify(&against) else { return Verdict::Refused };

    for item in &proved.items {
        check_item(item, &column.column);
    }
    for total in &proved.totals {
        assert!(total.total <= items * column.column.max(), "a total beyond the scale");
    }
    let counts = proved.subjects.iter().filter(|subject| subject.name.starts_with("count:"));
    let counts: Vec<u128> =
        counts.map(|subject| subject.value.parse().expect("counts are numbers")).collect();
    let sum: u128 = counts.iter().sum();
    assert!(sum <= items.into(), "more items counted than there are");
    assert!(counts.len() < 6 || sum == items.into(), "all counts do not add up");
    Verdict::Accepted
}

/// No record can hold an item that says this; the rules are those of the protocol's "Openings".
fn check_item(item: &record::opening::ProvedItem, column: &Column) {
    let raw = item.fields.iter().find(|(field, _)| field == "score:accuracy");
    let value = raw.and_then(|(_, raw)| raw.as_deref());
    let integer = value.and_then(|raw| column.convert(raw).ok().flatten());
    for (_, score) in &item.scores {
        let status = item.status.expect("a score comes with its status");
        assert!(raw.is_some(), "a score comes with its raw score");
        match status {
            Status::Scored => assert_eq!(integer.map(|c| c.integer), Some(*score), "{value:?}"),
            _ => assert_eq!(*score, 0, "only scored items have a score"),
        }
    }
    if item.status == Some(Status::Missing) {
        assert!(item.fields.iter().all(|(_, value)| value.is_none()), "a missing item has values");
    }
    if matches!(item.status, Some(Status::Limited | Status::Unscored)) {
        assert!(integer.is_none(), "an unscored item has a score");
    }
}

fn root(leaves: impl Iterator<Item = Hash>) -> Hash {
    leaves.collect::<CompactRange>().root()
}

/// `L(name) ‖ ctx ‖ u16 length ‖ what ‖ salt ‖ value`.
fn named(context: &Context, label: &[u8], what: &str, salt: &[u8; 32], value: &[u8]) -> Hash {
    let length = (what.len() as u16).to_be_bytes();
    let parts: [&[u8]; 8] = [
        b"countersign.v1/",
        label,
        b"\0",
        context.as_bytes(),
        &length,
        what.as_bytes(),
        salt,
        value,
    ];
    Hash::of(&parts)
}

fn item_hash(context: &Context, item: &BodyItem, fields: &[&str]) -> Hash {
    let index = item.index.to_be_bytes();
    let mut whole = [b"countersign.v1/item\0", context.as_bytes().as_slice(), &index].concat();
    for (cell, field) in item.fields.iter().zip(fields) {
        let commitment = match cell {
            Cell::Closed(commitment) => *commitment,
            Cell::Open { salt, value } => {
                let length = (field.len() as u16).to_be_bytes();
                let parts: [&[u8]; 7] = [
                    b"countersign.v1/field\0",
                    context.as_bytes(),
                    &index,
                    &length,
                    field.as_bytes(),
                    salt,
                    value,
                ];
                Hash::of(&parts)
            }
        };
        whole.extend(commitment.as_bytes());
    }
    Hash::of(&[&whole])
}

fn score_point(cell: &ScoreCell) -> [u8; 32] {
    match cell {
        ScoreCell::Closed(point) => *point,
        ScoreCell::Open { integer, blind } => commit(*integer, *blind).unwrap_or([0; 32]),
    }
}

/// s·G + r·H, as the protocol's "Record" has it.
fn commit(integer: u64, blind: [u8; 32]) -> Option<[u8; 32]> {
    static BASE: OnceLock<RistrettoBasepointTable> = OnceLock::new();
    let blinding = BASE.get_or_init(|| {
        let point = CompressedRistretto(record::generator()).decompress();
        RistrettoBasepointTable::create(&point.expect("the generator is a point"))
    });
    let blind: Scalar = Option::from(Scalar::from_canonical_bytes(blind))?;
    let point = RISTRETTO_BASEPOINT_TABLE * &Scalar::from(integer) + blinding * &blind;
    Some(point.compress().to_bytes())
}

/// Tag and epoch as they stand in the leaf of the items root; zeros if they are closed.
fn tag_and_epoch(item: &BodyItem) -> [u8; 40] {
    let mut leaf = [0; 40];
    let value = |place: usize| match item.fields.get(place) {
        Some(Cell::Open { value, .. }) => value.get(1..).unwrap_or_default(),
        _ => &[],
    };
    let (tag, epoch) = (value(0), value(1));
    if tag.len() == 32 && epoch.len() == 8 {
        leaf[..32].copy_from_slice(tag);
        leaf[32..].copy_from_slice(epoch);
    }
    leaf
}

fn references() -> Vec<Vec<u8>> {
    let id = StatementId::of(b"").to_string();
    let mut seeds: Vec<Vec<u8>> = [
        "2026-03-02T11:00:00Z",
        "2024-02-29T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "score:accuracy",
        "output",
        "count:scored",
        "flag:items.count",
        "model",
        "accuracy",
        "word-1",
        "AA:bb:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd",
        &id,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    seeds.extend(SUBJECTS.iter().map(|subject| subject.as_bytes().to_vec()));
    seeds
}

/// The small values that statements are made of; each has one spelling.
fn values(input: &[u8]) -> Verdict {
    use exchange::{ColumnName, Field, Subject, Timestamp, Word};
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let spelled = [
        StatementId::from_hex(text).ok().map(|value| value.to_string()),
        Timestamp::parse(text).ok().map(|value| value.to_string()),
        Word::parse(text).ok().map(|value| value.to_string()),
        ColumnName::parse(text).ok().map(|value| value.to_string()),
        Field::parse(text).ok().map(|value| value.to_string()),
        Subject::parse(text).ok().map(|value| value.as_str().to_owned()),
        Hash::from_hex(text).ok().map(|value| value.to_string()),
        Hash::from_base64(text).ok().map(|value| value.to_base64()),
        record::subject::decimal(text).map(|value| value.to_string()),
        Status::from_word(text).map(|value| value.as_str().to_owned()),
    ];
    if let Ok(fingerprint) = text.parse::<transport::Fingerprint>() {
        let shown = fingerprint.to_string();
        assert_eq!(shown.parse(), Ok(fingerprint), "a fingerprint is read as it is shown");
    }
    static KEY: OnceLock<ItemKey> = OnceLock::new();
    let key = KEY.get_or_init(|| ItemKey::new([1; 32]));
    let _ = (key.benchmark(text), key.elicitation(text));
    let mut verdict = Verdict::Refused;
    for spelling in spelled.into_iter().flatten() {
        assert_eq!(spelling, text, "a value has one spelling");
        verdict = Verdict::Accepted;
    }
    verdict
}
