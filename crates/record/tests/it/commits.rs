//! Making records: statuses, counts, refusals, and what binds a commitment vector to its record.

use std::cell::RefCell;
use std::collections::BTreeSet;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::CompressedRistretto;
use json::{Node, Value, array, object};
use record::column::{Better, Column, LayoutError, ScoreError};
use record::commit::{CommitError, Declared, ItemValues, Record, RecordBuilder};
use record::context::{Context, TooLong, label, length_prefixed};
use record::header::Header;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::secret::RecordSecret;
use record::subject::{Flag, Flags, Status};
use record::total::{TotalError, TotalProof};
use record::vector::{Vector, VectorError, verify_vector};

use crate::support::{Made, made, made_with};

fn rows(count: usize) -> AgreedItems {
    let rows = (0..count).map(|i| (i.to_string(), format!("question {i}"), None));
    ItemsFile::from_rows(rows).unwrap().agree(&ItemKey::new([1; 32]), 1).unwrap()
}

fn context(nonce: u8) -> Context {
    Context::new("log.example/one", None, "lab-a.example", &[nonce; 32]).unwrap()
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("accuracy", 1, 1, Better::Higher).unwrap(),
        Column::new("grade", 2, 1, Better::Higher).unwrap(),
    ]
}

fn scores(values: [Option<&str>; 2]) -> ItemValues {
    let scores = values.map(|v| v.map(str::to_owned)).to_vec();
    ItemValues { scores, ..ItemValues::default() }
}

fn build(items: &[Option<ItemValues>]) -> Result<Record, CommitError> {
    let (context, secret, agreed) = (context(1), RecordSecret::new([2; 32]), rows(items.len()));
    let mut builder = RecordBuilder::new(&context, &secret, &agreed, columns())?;
    builder.extend(items.iter().cloned())?;
    builder.finish(Declared::default(), &[3; 32])
}

#[test]
fn status_is_the_first_that_holds() {
    let value = |invalidated, errored, limited, values| {
        Some(ItemValues { invalidated, errored, limited, ..scores(values) })
    };
    let (both, half, none) =
        ([Some("1"), Some("C")], [Some("1"), Some("NaN")], [None::<&str>, None]);
    for (item, status, total) in [
        (None, Status::Missing, 0),
        (value(true, true, true, both), Status::Invalidated, 0),
        (value(false, true, true, both), Status::Errored, 0),
        (value(false, true, false, none), Status::Errored, 0),
        (value(false, false, true, half), Status::Limited, 0),
        (value(false, false, true, none), Status::Limited, 0),
        (value(false, false, true, both), Status::Scored, 1),
        (value(false, false, false, half), Status::Unscored, 0),
        (value(false, false, false, [None, Some("C")]), Status::Unscored, 0),
        (value(false, false, false, both), Status::Scored, 1),
    ] {
        let record = build(&[item]).unwrap();
        assert_eq!(record.counts().of(status), 1, "{status:?}");
        assert_eq!(record.totals()[0].sum(), total, "{status:?}");
    }
}

#[test]
fn counts_and_counted_flags_follow_from_the_items() {
    let errored = ItemValues { errored: true, ..scores([None, None]) };
    let limited = ItemValues { limited: true, ..scores([None, None]) };
    let inexact = scores([Some("0.4"), Some("0.3")]);
    let record = build(&[
        None,
        Some(errored),
        Some(limited),
        Some(scores([None, Some("1")])),
        Some(inexact),
        None,
    ])
    .unwrap();
    let counts = Status::ALL.map(|status| record.counts().of(status));
    assert_eq!(counts, [2, 0, 1, 1, 1, 1]);
    for (flag, count) in [
        (Flag::ItemsMissing, 2),
        (Flag::ItemsErrored, 1),
        (Flag::ItemsLimited, 1),
        (Flag::ItemsUnscored, 1),
        (Flag::ScoresInexact, 2),
        (Flag::ItemsEdited, 0),
    ] {
        assert_eq!(record.flags().of(flag), count, "{}", flag.code());
    }
}

#[test]
fn refuses_items_that_are_not_the_agreed_ones() {
    let good = || Some(scores([Some("1"), Some("C")]));
    let (context, secret, agreed) = (context(1), RecordSecret::new([2; 32]), rows(2));
    let builder = || RecordBuilder::new(&context, &secret, &agreed, columns()).unwrap();

    let mut few = builder();
    few.push(good()).unwrap();
    let error = few.finish(Declared::default(), &[0; 32]).err();
    assert_eq!(error, Some(CommitError::TooFew { pushed: 1, items: 2 }));

    let mut many = builder();
    many.extend([good(), None]).unwrap();
    assert_eq!(many.push(good()), Err(CommitError::TooMany { items: 2 }));

    let mut flags = Flags::default();
    flags.set(Flag::ItemsMissing, 1);
    let mut counted = builder();
    counted.extend([good(), good()]).unwrap();
    let declared = Declared { flags, ..Declared::default() };
    assert_eq!(
        counted.finish(declared, &[0; 32]).err(),
        Some(CommitError::CountedFlag(Flag::ItemsMissing))
    );

    let mut short = builder();
    short.extend([good(), Some(ItemValues::default())]).unwrap();
    assert_eq!(
        short.finish(Declared::default(), &[0; 32]).err(),
        Some(CommitError::Scores { index: 1, found: 0, columns: 2 })
    );
    for (raw, source) in [("2", ScoreError::OutsideScale), ("True", ScoreError::NotANumber)] {
        let mut wrong = builder();
        wrong.extend([good(), Some(scores([Some(raw), None]))]).unwrap();
        let column = "accuracy".to_owned();
        assert_eq!(
            wrong.finish(Declared::default(), &[0; 32]).err(),
            Some(CommitError::Score { index: 1, column, source })
        );
    }
}

#[test]
fn a_refused_item_ends_the_record() {
    let (context, secret, agreed) = (context(1), RecordSecret::new([2; 32]), rows(3_000));
    let mut builder = RecordBuilder::new(&context, &secret, &agreed, columns()).unwrap();
    builder.push(Some(scores([Some("9"), None]))).unwrap();
    let error = (1..3_000).find_map(|_| builder.push(None).err());
    assert!(matches!(error, Some(CommitError::Score { index: 0, .. })), "{error:?}");
    assert_eq!(builder.push(None), Err(CommitError::Poisoned));
    let error = builder.finish(Declared::default(), &[0; 32]).err();
    assert_eq!(error, Some(CommitError::Poisoned));
}

#[test]
fn refuses_layouts_beyond_the_limits() {
    let column = |name: &str, max| Column::new(name, max, 1, Better::Lower).unwrap();
    let layout = |n, columns| record::column::Layout::new(n, columns).err();
    let one = || vec![column("x", 1)];
    assert_eq!(layout(0, one()), Some(LayoutError::Items(0)));
    assert_eq!(layout((1 << 20) + 1, one()), Some(LayoutError::Items((1 << 20) + 1)));
    assert_eq!(layout(1, vec![]), Some(LayoutError::Columns(0)));
    let many = |count| (0..count).map(|i| column(&i.to_string(), 1)).collect::<Vec<_>>();
    assert_eq!(layout(1, many(65)), Some(LayoutError::Columns(65)));
    assert_eq!(layout(1, many(64)), None);
    let twice = vec![column("x", 1), column("x", 2)];
    assert_eq!(layout(1, twice), Some(LayoutError::Twice("x".to_owned())));
    let total = |items, max| Some(LayoutError::Total { items, column: "x".to_owned(), max });
    assert_eq!(layout(1 << 20, vec![column("x", 1 << 11)]), total(1 << 20, 1 << 11));
    assert_eq!(layout(1 << 20, vec![column("x", (1 << 11) - 1)]), None);
    assert_eq!(layout(4, vec![column("x", (1 << 53) - 1)]), total(4, (1 << 53) - 1));
    for name in ["", " x", "x ", "a\u{202e}b", "a\nb", "\u{2069}", &"x".repeat(129)] {
        assert!(Column::new(name, 1, 1, Better::Higher).is_err(), "{name:?}");
    }
    for name in ["x", "a b", "é+é", "exact_match,none", &"x".repeat(128)] {
        assert!(Column::new(name, 1, 1, Better::Higher).is_ok(), "{name:?}");
    }
    for (max, raw_max) in [(0, 1), (1, 0), (1 << 53, 1), (1, 1 << 53)] {
        assert!(Column::new("x", max, raw_max, Better::Higher).is_err());
    }
}

#[test]
fn chunks_and_progress_do_not_change_the_record() {
    let agreed = rows(2_500);
    let (context, secret) = (context(1), RecordSecret::new([2; 32]));
    let columns = vec![Column::new("accuracy", 1, 1, Better::Higher).unwrap()];
    let seen = RefCell::new(Vec::new());
    let progress = |done| seen.borrow_mut().push(done);
    let item = |i: usize, output: &str| {
        let score = if i.is_multiple_of(3) { "1" } else { "0" };
        let (output, scores) = (Some(output.to_owned()), vec![Some(score.to_owned())]);
        Some(ItemValues { output, scores, ..ItemValues::default() })
    };
    let mut builder = RecordBuilder::new(&context, &secret, &agreed, columns.clone())
        .unwrap()
        .with_progress(&progress);
    builder.extend((0..2_500).map(|i| item(i, "same"))).unwrap();
    let record = builder.finish(Declared::default(), &[3; 32]).unwrap();
    assert_eq!(*seen.borrow(), [1_024, 2_048, 2_500]);
    assert_eq!(record.totals()[0].sum(), 834);
    verify_vector(record.header(), &context, record.vector()).unwrap();

    // One long text closes a chunk early; items before and after it stay what they were.
    let long = "x".repeat(17 << 20);
    let mut builder = RecordBuilder::new(&context, &secret, &agreed, columns).unwrap();
    builder.extend((0..2_500).map(|i| item(i, if i == 5 { &long } else { "same" }))).unwrap();
    let other = builder.finish(Declared::default(), &[3; 32]).unwrap();
    let stride = record.header().layout().stride();
    let (a, b) = (record.vector().chunks(stride), other.vector().chunks(stride));
    let different: Vec<usize> =
        a.zip(b).enumerate().filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
    assert_eq!(different, [5]);
}

#[test]
fn two_records_share_no_salt_blind_or_commitment() {
    let first = made("a");
    let second = made_with("a", RecordSecret::new([7; 32]), [8; 32]);
    let fields = first.record.header().layout().fields();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for made in [&first, &second] {
        for field in fields {
            let key = made.secret.field_key(field);
            for index in 0..made.items.count() {
                seen.insert(*key.salt(index).as_bytes());
                seen.insert(key.blind(index).to_bytes());
                count += 2;
            }
        }
        for name in record::subject::SUBJECTS {
            seen.insert(*made.secret.subject_salt(name).as_bytes());
            count += 1;
        }
    }
    assert_eq!(seen.len(), count);
    let parts = |made: &Made| -> BTreeSet<Vec<u8>> {
        made.record.vector().chunks(32).map(<[u8]>::to_vec).collect()
    };
    assert!(parts(&first).is_disjoint(&parts(&second)));
}

#[test]
fn secrets_and_values_do_not_show_in_debug() {
    let made = made("a");
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        made.secret,
        made.secret.field_key("output"),
        made.secret.field_key("output").salt(0),
        made.secret.field_key("score:grade").blind(0),
        made.record,
        made.record.totals(),
        made.values,
    );
    assert!(shown.starts_with("RecordSecret(redacted) FieldKey(redacted)"));
    assert!(!shown.contains("answer") && !shown.bytes().any(|b| b.is_ascii_digit()), "{shown}");
}

#[test]
fn labels_and_lengths_are_unambiguous() {
    assert_eq!(label("x"), b"countersign.v1/x\0");
    assert_eq!(length_prefixed(&[7; 3]), Ok(vec![0, 3, 7, 7, 7]));
    assert_eq!(length_prefixed(&vec![0; 65_535]).map(|b| b.len()), Ok(65_537));
    assert_eq!(length_prefixed(&vec![0; 65_536]), Err(TooLong(65_536)));
    let long = "x".repeat(65_536);
    assert_eq!(Context::new(&long, None, "p", &[0; 32]), Err(TooLong(65_536)));
    assert_eq!(Context::new("o", None, &long, &[0; 32]), Err(TooLong(65_536)));
    let a = Context::new("ab", None, "c", &[0; 32]).unwrap();
    let b = Context::new("a", None, "bc", &[0; 32]).unwrap();
    assert_ne!(a, b);
}

/// The header with some members replaced.
fn forged(header: &Header, members: Vec<(&'static str, Value)>) -> Header {
    let mut value = header.members();
    for (name, replacement) in members {
        value.iter_mut().find(|(n, _)| *n == name).unwrap().1 = replacement;
    }
    let value = object(value);
    Header::from_fields(&mut Node::root(&value).fields().unwrap()).unwrap()
}

/// The header over other vector bytes: everything follows from them but totals and proofs.
fn over(header: &Header, vector: &[u8], columns: Option<Value>) -> Header {
    let root = Vector::new(header.layout(), vector).unwrap().root().to_string();
    let digest = tlog::Hash::of(&[vector]).to_string();
    let mut members = vec![("record_root", root.into()), ("vector", digest.into())];
    members.extend(columns.map(|columns| ("columns", columns)));
    forged(header, members)
}

fn with_totals(header: &Header, totals: &[[u8; 32]], proofs: &[TotalProof]) -> Value {
    array(header.columns().iter().zip(totals).zip(proofs).map(|((column, total), proof)| {
        let mut members = column.column.members();
        members.push(("total", hex::encode(total).into()));
        members.push(("proof", hex::encode(proof.as_bytes()).into()));
        object(members)
    }))
}

fn proofs(header: &Header) -> Vec<TotalProof> {
    header.columns().iter().map(|column| column.proof).collect()
}

fn totals(header: &Header) -> Vec<[u8; 32]> {
    header.columns().iter().map(|column| column.total).collect()
}

#[test]
fn refuses_vectors_that_do_not_belong_to_the_header() {
    let made = made("a");
    let (header, vector) = (made.record.header(), made.record.vector());
    let check = |header: &Header, vector: &[u8]| {
        verify_vector(header, &made.context, vector).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(check(header, vector), Ok(()));
    for length in [0, 1, vector.len() - 1, vector.len() + 1, vector.len() + 96] {
        let mut bytes = vector.to_vec();
        bytes.resize(length, 0);
        let expected = vector.len() as u64;
        let found = length as u64;
        assert_eq!(check(header, &bytes), Err(VectorError::Length { found, expected }.to_string()));
    }
    for at in 0..vector.len() {
        let mut bytes = vector.to_vec();
        bytes[at] ^= 1;
        assert_eq!(check(header, &bytes), Err(VectorError::Digest.to_string()), "byte {at}");
    }
    // A header that names the changed bytes, but not their root.
    let mut bytes = vector.to_vec();
    bytes[0] ^= 1;
    let digest = tlog::Hash::of(&[&bytes]).to_string();
    let same_root = forged(header, vec![("vector", digest.into())]);
    assert_eq!(check(&same_root, &bytes), Err(VectorError::Root.to_string()));
    // With the root, the proof still speaks of another one.
    let rooted = over(header, &bytes, None);
    let source = TotalError::Equation;
    let error = VectorError::Total { column: "accuracy".to_owned(), source };
    assert_eq!(check(&rooted, &bytes), Err(error.to_string()));
    // Bytes that are no point, named with their place.
    let mut bytes = vector.to_vec();
    let at = header.layout().stride() * 2 + 64;
    bytes[at..at + 32].fill(0xff);
    let error = VectorError::Point { index: 2, column: "grade".to_owned() };
    assert_eq!(check(&over(header, &bytes, None), &bytes), Err(error.to_string()));
    // Two items exchanged between columns keep neither sum.
    let mut bytes = vector.to_vec();
    let (left, right) = bytes.split_at_mut(64);
    left[32..].swap_with_slice(&mut right[..32]);
    let error = VectorError::Sum { column: "accuracy".to_owned() };
    assert_eq!(check(&over(header, &bytes, None), &bytes), Err(error.to_string()));
}

#[test]
fn the_identity_is_a_valid_commitment_that_nobody_makes() {
    let made = made("a");
    let header = made.record.header();
    let mut bytes = made.record.vector().to_vec();
    bytes[32..64].fill(0);
    let error = verify_vector(&over(header, &bytes, None), &made.context, &bytes).err();
    // It decodes; the sum is what fails.
    assert_eq!(error, Some(VectorError::Sum { column: "accuracy".to_owned() }));
}

#[test]
fn a_copied_or_shifted_vector_has_no_proof() {
    let made = made("a");
    let (header, vector) = (made.record.header(), made.record.vector());
    // Copied into another run: everything the same but the context.
    let other = Context::new("log.example/one", None, "lab-b.example", &[1; 32]).unwrap();
    let error = verify_vector(header, &other, vector).map(|_| ()).unwrap_err();
    assert!(matches!(error, VectorError::Total { source: TotalError::Equation, .. }), "{error}");

    // Shifted by a known amount: the sums are made to fit, the proof can't be.
    let mut bytes = vector.to_vec();
    let point = CompressedRistretto::from_slice(&bytes[32..64]).unwrap().decompress().unwrap();
    let moved = (point + RISTRETTO_BASEPOINT_POINT).compress();
    bytes[32..64].copy_from_slice(moved.as_bytes());
    let mut sums = totals(header);
    let total = CompressedRistretto(sums[0]).decompress().unwrap();
    sums[0] = (total + RISTRETTO_BASEPOINT_POINT).compress().to_bytes();
    let columns = with_totals(header, &sums, &proofs(header));
    let shifted = over(header, &bytes, Some(columns));
    let error = verify_vector(&shifted, &made.context, &bytes).map(|_| ()).unwrap_err();
    assert!(matches!(error, VectorError::Total { source: TotalError::Equation, .. }), "{error}");
}

#[test]
fn a_proof_of_a_total_holds_for_its_statement_only() {
    let made = made("a");
    let (header, context) = (made.record.header(), &made.context);
    let column = &header.columns()[0];
    let statement = header.total_statement(context, column);
    let proof = &column.proof;
    statement.verify(proof).unwrap();
    for at in 0..96 {
        let mut bytes = *proof.as_bytes();
        bytes[at] ^= 1;
        assert!(statement.verify(&TotalProof::new(bytes)).is_err(), "byte {at}");
    }
    let mut large = *proof.as_bytes();
    large[32..64].fill(0xff);
    assert_eq!(statement.verify(&TotalProof::new(large)), Err(TotalError::Response));
    let mut no_point = *proof.as_bytes();
    no_point[..32].fill(0xff);
    assert_eq!(statement.verify(&TotalProof::new(no_point)), Err(TotalError::Announcement));

    let other_context = Context::new("x", None, "y", &[0; 32]).unwrap();
    let hash = tlog::Hash::new([9; 32]);
    let renamed = Column::new("accuracz", 1, 1, Better::Higher).unwrap();
    let rescaled = Column::new("accuracy", 2, 1, Better::Higher).unwrap();
    let wrong = Err(TotalError::Equation);
    let s = statement;
    use record::total::TotalStatement as S;
    assert_eq!(S { context: &other_context, ..s }.verify(proof), wrong);
    assert_eq!(S { column: &renamed, ..s }.verify(proof), wrong);
    assert_eq!(S { column: &rescaled, ..s }.verify(proof), wrong);
    assert_eq!(S { items: 5, ..s }.verify(proof), wrong);
    assert_eq!(S { record_root: &hash, ..s }.verify(proof), wrong);
    assert_eq!(S { vector: &hash, ..s }.verify(proof), wrong);
    assert_eq!(S { total: &header.columns()[1].total, ..s }.verify(proof), wrong);
    assert_eq!(S { total: &[0xff; 32], ..s }.verify(proof), Err(TotalError::Total));
    assert_eq!(s.verify(&header.columns()[1].proof), wrong);

    // Other entropy gives another proof of the same.
    let opening = &made.record.totals()[0];
    let again = statement.prove(&made.secret, &[5; 32], opening);
    assert_ne!(again, *proof);
    statement.verify(&again).unwrap();
}
