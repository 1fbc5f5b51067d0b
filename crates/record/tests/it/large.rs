//! Records of the size of real benchmarks.

use std::time::Instant;

use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, RecordBuilder};
use record::context::Context;
use record::items::{ItemKey, ItemsFile};
use record::multiproof::{Indices, prove, verify};
use record::secret::RecordSecret;
use record::vector::verify_vector;
use tlog::Hash;

/// Highest resident size of this process in MiB, on Linux.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kib| kib.trim().split(' ').next()?.parse().ok()).unwrap_or(0_u64) / 1_024
}

/// `cargo test --release -p countersign-record -- --ignored --nocapture measures`
#[test]
#[ignore = "a measurement, for release builds"]
fn measures_a_hundred_thousand_items() {
    let n: u64 = 100_000;
    let rows = (0..n).map(|i| (i.to_string(), format!("question {i}"), Some(i.to_string())));
    let start = Instant::now();
    let file = ItemsFile::from_rows(rows).unwrap();
    let key = ItemKey::new([1; 32]);
    let items = file.agree(&key, 1).unwrap();
    println!("items file and order: {:?}, peak {} MiB", start.elapsed(), peak());

    let context = Context::new("log.example/one", None, "lab-a.example", &[1; 32]).unwrap();
    let secret = RecordSecret::new([2; 32]);
    let columns = vec![Column::new("accuracy", 1, 1, Better::Higher).unwrap()];
    let before = peak();
    let start = Instant::now();
    let mut builder = RecordBuilder::new(&context, &secret, &items, columns).unwrap();
    // 20 kB of text for each item: 2 GB go through.
    let text = "word ".repeat(4_000);
    for i in 0..n {
        let score = if i % 3 == 0 { "1" } else { "0" };
        let (output, scores) = (Some(text.clone()), vec![Some(score.to_owned())]);
        builder.push(Some(ItemValues { output, scores, ..ItemValues::default() })).unwrap();
    }
    let record = builder.finish(Declared::default(), &[3; 32]).unwrap();
    println!("commit, 20 kB each: {:?}, peak {} -> {} MiB", start.elapsed(), before, peak());
    assert!(peak() - before < 200, "items must not be kept");

    let columns = vec![Column::new("accuracy", 1, 1, Better::Higher).unwrap()];
    let start = Instant::now();
    let mut builder = RecordBuilder::new(&context, &secret, &items, columns).unwrap();
    for _ in 0..n {
        let (output, scores) = (Some("42".to_owned()), vec![Some("1".to_owned())]);
        builder.push(Some(ItemValues { output, scores, ..ItemValues::default() })).unwrap();
    }
    builder.finish(Declared::default(), &[3; 32]).unwrap();
    println!("commit, short texts: {:?}", start.elapsed());

    let start = Instant::now();
    let verified = verify_vector(record.header(), &context, record.vector()).unwrap();
    println!("verify vector: {:?}", start.elapsed());

    let leaves = verified.vector().leaves();
    for step in [2_000, 20, 2] {
        let chosen: Vec<u64> = (0..n).step_by(step).collect();
        let indices = Indices::new(&chosen, n).unwrap();
        let start = Instant::now();
        let proof = prove(&leaves, &indices).unwrap();
        let built = start.elapsed();
        let opened: Vec<Hash> =
            chosen.iter().map(|i| leaves[usize::try_from(*i).unwrap()]).collect();
        let start = Instant::now();
        verify(record.header().record_root(), &indices, &opened, &proof).unwrap();
        println!("multiproof of {}: {built:?}, verify {:?}", chosen.len(), start.elapsed());
    }
}
