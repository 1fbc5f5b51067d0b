//! Making records, against the sum of the primitives they are made of.

use std::time::Instant;

use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::secret::RecordSecret;

use super::machine::median;
use super::primitives::Primitives;
use super::{Figure, Scale, Table};
use crate::cli::output::Failure;

/// A record takes at most twice the time of its primitives.
const GOAL: f64 = 2.0;

pub(super) fn measure(scale: Scale) -> Result<Table, Failure> {
    let mut lines = Vec::new();
    let mut last = None;
    for size in scale.records() {
        let items = agreed(*size)?;
        let rounds = if *size < 1_000 { scale.pick(25, 25, 1) } else { 3 };
        let mut times = Vec::new();
        let mut ratios = Vec::new();
        let mut bounds = Vec::new();
        // Bound and record alternate, so that whoever shares the machine slows both.
        for _ in 0..scale.pick(5, 3, 1) {
            let primitives = Primitives::measure();
            let bound = primitives.item(&field_bytes(), 1) * *size as f64;
            let mut round = Vec::new();
            for _ in 0..rounds {
                let values = vec![values(); usize::try_from(*size).unwrap_or(0)];
                let start = Instant::now();
                build(&items, values.into_iter())?;
                round.push(start.elapsed().as_secs_f64() * 1e6);
            }
            let time = median(&mut round);
            times.push(time);
            bounds.push(bound);
            ratios.push(time / bound);
            last = Some(primitives);
        }
        let (time, ratio) = (median(&mut times), median(&mut ratios));
        lines.push(vec![
            Figure::count("items", "items", *size),
            Figure::value("ms", "ms", time / 1e3),
            Figure::value("µs an item", "us_per_item", time / *size as f64),
            Figure::value("bound µs", "bound_us_per_item", median(&mut bounds) / *size as f64),
            Figure::value("ratio", "ratio", ratio),
            Figure::words("goal ≤ 2", "goal", if ratio <= GOAL { "met" } else { "missed" }),
        ]);
    }
    Ok(Table {
        name: "record",
        title: format!(
            "record: one column, texts of {} bytes an item; bound: the formulas' primitives, \
             measured in turn, all cores",
            values().input.map_or(0, |t| t.len()) + 3 + OUTPUT + EXPLANATION + METADATA
        ),
        lines,
        notes: last.map(|primitives| primitives.note()).into_iter().collect(),
    })
}

const INPUT: usize = 300;
const OUTPUT: usize = 400;
const EXPLANATION: usize = 200;
const METADATA: usize = 60;

fn values() -> ItemValues {
    let text = |length: usize| Some("word ".repeat(length / 5));
    ItemValues {
        input: text(INPUT),
        target: Some("42.".to_owned()),
        output: text(OUTPUT),
        explanation: text(EXPLANATION),
        metadata: text(METADATA),
        scores: vec![Some("1".to_owned())],
        ..ItemValues::default()
    }
}

/// Bytes that the commitment of each field hashes: label, context, index, name, salt, value.
fn field_bytes() -> Vec<usize> {
    let fields = [
        ("tag", 32),
        ("epoch", 8),
        ("status", "scored".len()),
        ("input", INPUT),
        ("target", 3),
        ("output", OUTPUT),
        ("explanation", EXPLANATION),
        ("metadata", METADATA),
        ("score:accuracy", 1),
    ];
    fields.iter().map(|(name, value)| 21 + 32 + 8 + 2 + name.len() + 32 + 1 + value).collect()
}

fn agreed(items: u64) -> Result<AgreedItems, Failure> {
    let rows = (0..items).map(|i| (i.to_string(), format!("question {i}"), Some(i.to_string())));
    let file = ItemsFile::from_rows(rows).map_err(Failure::new)?;
    file.agree(&ItemKey::new([1; 32]), 1).map_err(Failure::new)
}

fn build(items: &AgreedItems, values: impl Iterator<Item = ItemValues>) -> Result<Record, Failure> {
    let context = Context::new(super::load::ORIGIN, None, super::load::PARTY, &super::load::NONCE)
        .map_err(Failure::new)?;
    let secret = RecordSecret::new([2; 32]);
    let column = Column::new("accuracy", 1, 1, Better::Higher).map_err(Failure::new)?;
    let mut builder =
        RecordBuilder::new(&context, &secret, items, vec![column]).map_err(Failure::new)?;
    builder.extend(values.map(Some)).map_err(Failure::new)?;
    builder.finish(Declared::default(), &[3; 32]).map_err(Failure::new)
}

/// A record of so many items, for those who measure what others do with it.
pub(super) fn made(items: u64) -> Result<Record, Failure> {
    build(&agreed(items)?, (0..items).map(|_| values()))
}
