//! What a record is made of: items files, score literals, commitment vectors.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use record::column::{Better, Column};
use record::header::{Header, HeaderColumn};
use record::items::{ItemKey, ItemsFile};
use record::total::TotalProof;
use record::vector::{Vector, verify_vector};
use tlog::Hash;

use crate::fixtures::{at, exchange_vectors, made, text};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, shape, seeds, run| Target {
        name,
        shape,
        tokens: &[b"\"id\":\"", b"\"input\":\"", b"\"target\":\"", b"e", b".", b"NaN", b"C", b"P"],
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("items-file", Shape::JsonLines, items_files, items_file),
        target("score", Shape::Lines, scores, score),
        target("vector", Shape::Bytes, vectors, vector),
    ]
}

fn items_files() -> Vec<Vec<u8>> {
    let vectors = exchange_vectors();
    let texts = [
        text(at(vectors, "items/inputs"), "items_file"),
        text(at(vectors, "standalone_items/inputs"), "items_file"),
        "{\"id\":\"a\",\"input\":\"x\"}\n{\"id\":\"b\",\"input\":\"x\"}\n{\"id\":\"c\",\"input\":\"x\",\"target\":\"\"}",
        "{ \"target\" : \"\\u00e9\" , \"id\" : \"1\", \"input\" : \"\\n\" }\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn items_file(input: &[u8]) -> Verdict {
    let Ok(file) = ItemsFile::parse(input) else { return Verdict::Refused };
    assert!(!file.rows().is_empty());
    let written = file.to_jsonl();
    assert!(ItemsFile::parse(written.as_bytes()).as_ref() == Ok(&file), "read again");
    let rows = file.rows().iter().map(|row| {
        let content = row.content();
        (row.id().to_owned(), content.input().to_owned(), content.target().map(str::to_owned))
    });
    assert!(ItemsFile::from_rows(rows).as_ref() == Ok(&file), "made again");
    let key = ItemKey::new([1; 32]);
    let agreed = file.agree(&key, 2).expect("an input has few rows");
    assert_eq!(agreed.count(), 2 * file.rows().len() as u64);
    let order = agreed.items().iter().map(|item| (item.tag, item.epoch));
    assert!(order.clone().zip(order.skip(1)).all(|(a, b)| a < b), "items ascend, none is twice");
    Verdict::Accepted
}

fn scores() -> Vec<Vec<u8>> {
    [
        "1",
        "0",
        "0.5",
        "1e0",
        "-0",
        "-0.0",
        "0.4999999999999999999999999",
        "2.5E-1",
        "C",
        "P",
        "I",
        "N",
        "NaN",
        "true",
        "false",
        "99.5",
        "1e-17",
        "12345678901234567890e-19",
        "0.05",
        "100",
        "50.0000000000000000000000000000001",
        "9007199254740991",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn score(input: &[u8]) -> Verdict {
    let Ok(raw) = std::str::from_utf8(input) else { return Verdict::Refused };
    let scales = [(1, 1), (2, 1), (100, 1), (1, 100), (3, 7), (2_047, 1_000), ((1 << 53) - 1, 3)];
    let mut verdict = Verdict::Refused;
    for (max, raw_max) in scales {
        let column = Column::new("x", max, raw_max, Better::Higher).expect("it is a column");
        let converted = column.convert(raw);
        if let Ok(Some(converted)) = &converted {
            assert!(converted.integer <= max, "{raw:?} is beyond the scale");
            verdict = Verdict::Accepted;
        }
        match (&converted, simple(raw)) {
            (Ok(Some(converted)), Some((digits, places))) => {
                let (integer, exact) = rounded(digits, places, max, raw_max);
                assert_eq!(
                    (i128::from(converted.integer), converted.exact),
                    (integer, exact),
                    "{raw:?} on {max}/{raw_max}"
                );
            }
            (Err(_), Some((digits, places))) => {
                let (integer, _) = rounded(digits, places, max, raw_max);
                assert!(
                    integer < 0 || integer > i128::from(max),
                    "{raw:?} is on the scale {max}/{raw_max}"
                );
            }
            _ => {}
        }
    }
    verdict
}

/// A plain decimal of few digits as an integer over a power of ten: what integers of 128 bits can
/// round without cleverness.
fn simple(raw: &str) -> Option<(i128, u32)> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !whole.is_empty()
        && (whole == "0" || !whole.starts_with('0'))
        && digits.len() <= 12
        && !digits.ends_with('.')
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain {
        return None;
    }
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    let number = if raw.starts_with('-') { -number } else { number };
    Some((number, fraction.len() as u32))
}

/// digits / 10^places · max / raw_max, halves to even, and whether nothing was rounded.
fn rounded(digits: i128, places: u32, max: u64, raw_max: u64) -> (i128, bool) {
    let (above, below) = (digits * i128::from(max), i128::from(raw_max) * 10_i128.pow(places));
    let (quotient, rest) = (above.div_euclid(below), above.rem_euclid(below));
    let up = 2 * rest > below || (2 * rest == below && quotient % 2 != 0);
    (quotient + i128::from(up), rest == 0)
}

fn vectors() -> Vec<Vec<u8>> {
    vec![made().record.vector().to_vec()]
}

/// Against the record, which has one vector, and against a header that a dishonest party makes
/// for just these bytes: digest, root and sums fit them, only the proof of the total can't.
fn vector(input: &[u8]) -> Verdict {
    let made = made();
    let header = made.record.header();
    let honest = verify_vector(header, &made.context, input);
    assert_eq!(honest.is_ok(), input == made.record.vector(), "a record has one vector");
    let Ok(vector) = Vector::new(header.layout(), input) else { return Verdict::Refused };
    let column = &header.columns()[0];
    let total = sum(input).map_or(column.total, |sum| sum.compress().to_bytes());
    let forged = HeaderColumn {
        column: column.column.clone(),
        total,
        proof: TotalProof::new(*column.proof.as_bytes()),
    };
    let roots = [*header.items_root(), vector.root(), Hash::of(&[input])];
    let subjects: [Hash; 28] = header.subjects().try_into().expect("there are 28 subjects");
    let forged = Header::from_parts(header.layout().items(), roots, vec![forged], subjects)
        .expect("the layout is the record's");
    let verified = verify_vector(&forged, &made.context, input);
    assert_eq!(verified.is_ok(), honest.is_ok(), "a total without its proof");
    Verdict::of(honest.is_ok())
}

fn sum(vector: &[u8]) -> Option<RistrettoPoint> {
    let points = vector.as_chunks::<32>().0.iter().skip(1).step_by(2);
    points.map(|bytes| CompressedRistretto(*bytes).decompress()).sum::<Option<_>>()
}
