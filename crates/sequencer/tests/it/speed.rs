//! How fast the file store takes entries, and where the time goes. Run with
//! `cargo test --release -p countersign-sequencer --test it -- --ignored --nocapture speed`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sequencer::fault::{Failpoints, Faulty};
use sequencer::{Entry, FileStore, Log};

use crate::support::{append, key_of, signing_key};

/// Entries of 1 KiB, as most statements are.
fn kibibyte(number: u64) -> Entry {
    let mut bytes = vec![b'x'; 1024];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Entry::new(bytes, key_of(number)).unwrap()
}

/// Time since the place before, summed by kind of place.
#[derive(Debug, Default)]
struct Laps {
    last: Option<Instant>,
    sums: BTreeMap<String, Duration>,
}

impl Laps {
    fn pass(&mut self, place: &str) {
        let kind = if place.contains("tile/") {
            place.split_once(':').map_or(place, |(when, _)| when).split('/').next().unwrap_or(place)
        } else {
            place
        };
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            *self.sums.entry(format!("to {kind}")).or_default() += now - last;
        }
    }
}

#[test]
#[ignore = "a measurement, for release builds"]
fn appends_per_second() {
    let folder = tempfile::tempdir().unwrap();
    drop(Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap());
    let laps = Arc::new(Mutex::new(Laps::default()));
    let points = Failpoints::new({
        let laps = Arc::clone(&laps);
        move |place| {
            laps.lock().unwrap().pass(place);
            None
        }
    });
    let store = FileStore::open_with(folder.path(), points.clone()).unwrap();
    let mut log = Log::open(Faulty::new(store, points), signing_key()).unwrap();
    let mut size = 0;
    let rounds = [(1, 2000), (16, 8000), (256, 50_000), (1024, 100_000), (1, 2000), (256, 50_000)];
    for (batch, count) in rounds {
        let batches: Vec<Vec<_>> = (size..size + count)
            .step_by(batch as usize)
            .map(|first| (first..first + batch).map(kibibyte).collect())
            .collect();
        let mut times = Vec::with_capacity(batches.len());
        *laps.lock().unwrap() = Laps::default();
        let start = Instant::now();
        for batch in &batches {
            let before = Instant::now();
            append(&mut log, batch);
            times.push(before.elapsed());
        }
        let elapsed = start.elapsed();
        size = log.reader().head().size;
        times.sort();
        let rate = (batches.len() as u64 * batch) as f64 / elapsed.as_secs_f64();
        println!(
            "batch {batch:>4}, log of {size:>6}: {rate:>8.0} entries/s, step p50 {:?}, p99 {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
        for (kind, sum) in &laps.lock().unwrap().sums {
            println!("    {kind}: {:.0} µs a step", sum.as_secs_f64() * 1e6 / times.len() as f64);
        }
    }
    let before = Instant::now();
    drop(log);
    let log = Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap();
    println!("reopened {} entries in {:?}", log.reader().head().size, before.elapsed());
}
