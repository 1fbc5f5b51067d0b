//! What statements and bundles cost: `cargo bench -p countersign-exchange`. The log is that of
//! the tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "what is shared with the tests unwraps, and is not used as a whole"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use exchange::SignedStatement;
use exchange::bundle::Bundle;

#[path = "../tests/it/bundled.rs"]
mod bundled;
#[path = "../tests/it/log.rs"]
mod log;

use bundled::{A, Scene, pinned};
use log::{Log, intent, key};

fn statements(criterion: &mut Criterion) {
    let log = Log::with(&[A]);
    let leaf = log.sign(&key(A), intent(1, 1));
    let parsed = SignedStatement::parse(&leaf).unwrap();
    let verified = log.state.registry().verify(parsed.clone()).unwrap();

    let mut group = criterion.benchmark_group("intent");
    group.bench_function("parsed", |b| b.iter(|| SignedStatement::parse(black_box(&leaf))));
    group.bench_function("signature checked", |b| {
        let verify = |signed| log.state.registry().verify(signed).unwrap();
        b.iter_batched(|| parsed.clone(), verify, BatchSize::SmallInput);
    });
    group.bench_function("admitted by the state", |b| {
        b.iter(|| log.state.check(log.size(), black_box(&verified), &log.roots).unwrap());
    });
    group.finish();
}

fn replays(criterion: &mut Criterion) {
    let mut log = Log::with(&[A]);
    for run in 1..=200 {
        log.say(&key(A), intent(run, run)).unwrap();
    }
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(20);
    group.bench_function("201 statements", |b| {
        b.iter(|| {
            let mut again = Log::new();
            for leaf in &log.leaves {
                black_box(again.replay(leaf));
            }
            again.state.size()
        });
    });
    group.finish();
}

fn bundles(criterion: &mut Criterion) {
    let scene = Scene::honest();
    let mut group = criterion.benchmark_group("bundle");
    for (name, bundle) in [("attestation", scene.bundle()), ("with an opening", scene.whole())] {
        let bytes = bundle.to_bytes();
        group.bench_function(format!("{name}: parsed"), |b| {
            b.iter(|| Bundle::parse(black_box(&bytes)).unwrap());
        });
        group.bench_function(format!("{name}: verified"), |b| {
            b.iter(|| bundle.verify(&pinned(), &[]).unwrap());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for part in [statements, replays, bundles] {
        part(&mut criterion);
    }
    criterion.final_summary();
}
