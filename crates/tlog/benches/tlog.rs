//! What the log's formats cost: `cargo bench -p countersign-tlog`.
//!
//! The log that is measured has 2^20 − 1 entries, so that its tree has an edge of every height.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tlog::{
    CompactRange, Hash, KeyKind, KeyName, MemoryNodes, Receipt, SignedCheckpoint, SigningKey,
    TreeHead, encode_bundle, leaf_hash, node_hash, parse_bundle, prove_consistency,
    prove_inclusion, root_at, verify_consistency, verify_inclusion,
};

const SIZE: u64 = (1 << 20) - 1;

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(KeyName::parse("bench.example/log").expect("it is a name"), &[5; 32])
}

fn hashes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    for length in [256, 1_024, 65_535] {
        let entry = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("leaf of {length} bytes"), |b| {
            b.iter(|| leaf_hash(black_box(&entry)));
        });
    }
    let (left, right) = (leaf(0), leaf(1));
    group.throughput(Throughput::Elements(1));
    group.bench_function("node", |b| b.iter(|| node_hash(black_box(&left), black_box(&right))));
    group.finish();
}

fn tree(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tree");
    let leaves: Vec<Hash> = (0..256).map(leaf).collect();
    let range: CompactRange = (0..SIZE).map(leaf).collect();
    group.throughput(Throughput::Elements(256));
    group.bench_function("256 leaves onto a million, and the root", |b| {
        let onto = |mut range: CompactRange| {
            leaves.iter().for_each(|leaf| range.append(*leaf));
            range.root()
        };
        b.iter_batched(|| range.clone(), onto, BatchSize::SmallInput);
    });
    group.finish();
}

fn proofs(criterion: &mut Criterion) {
    let nodes: MemoryNodes = (0..SIZE).map(leaf).collect();
    let head = nodes.head();
    let index = 0xb_ead5;
    let Ok(inclusion) = prove_inclusion(&nodes, index, SIZE);
    let Ok(root) = root_at(&nodes, index);
    let old = TreeHead { size: index, root };
    let Ok(consistency) = prove_consistency(&nodes, index, SIZE);

    let mut group = criterion.benchmark_group("proof, a million leaves");
    group.bench_function("inclusion made", |b| {
        b.iter(|| prove_inclusion(&nodes, black_box(index), SIZE));
    });
    group.bench_function("inclusion checked", |b| {
        let leaf = leaf(index);
        b.iter(|| verify_inclusion(black_box(&leaf), index, &head, &inclusion).expect("it holds"));
    });
    group.bench_function("consistency made", |b| {
        b.iter(|| prove_consistency(&nodes, black_box(index), SIZE));
    });
    group.bench_function("consistency checked", |b| {
        b.iter(|| verify_consistency(black_box(&old), &head, &consistency).expect("it holds"));
    });
    group.finish();
}

fn signatures(criterion: &mut Criterion) {
    let key = log_key();
    let public = key.public();
    let message = vec![0x5a; 700];
    let signature = key.sign(&message);
    let mut group = criterion.benchmark_group("signature of 700 bytes");
    group.bench_function("made", |b| b.iter(|| key.sign(black_box(&message))));
    group.bench_function("checked", |b| {
        b.iter(|| public.verify(black_box(&message), &signature).expect("it is right"));
    });
    group.finish();
}

fn formats(criterion: &mut Criterion) {
    let key = log_key();
    let verifier = key.verifier(KeyKind::Ed25519);
    let nodes: MemoryNodes = (0..70_000).map(leaf).collect();
    let checkpoint = SignedCheckpoint::sign(&key, nodes.head());
    let Ok(proof) = prove_inclusion(&nodes, 4_711, 70_000);
    let receipt = Receipt::new(4_711, proof, checkpoint.as_bytes()).expect("it is one").to_bytes();
    let entries = vec![vec![0x5a; 700]; 256];
    let bundle = encode_bundle(entries.iter().map(Vec::as_slice));

    let mut group = criterion.benchmark_group("format");
    group.bench_function("checkpoint opened", |b| {
        b.iter(|| SignedCheckpoint::open(black_box(checkpoint.as_bytes()), &verifier));
    });
    group.bench_function("receipt parsed and verified", |b| {
        let entry = 4_711_u64.to_be_bytes();
        b.iter(|| {
            let receipt = Receipt::parse(black_box(&receipt)).expect("it is one");
            receipt.verify(&entry, &verifier).expect("it holds")
        });
    });
    group.throughput(Throughput::Bytes(bundle.len() as u64));
    group.bench_function("bundle of 256 parsed", |b| {
        b.iter(|| parse_bundle(black_box(&bundle), 256).map(|entries| entries.len()));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for part in [hashes, tree, proofs, signatures, formats] {
        part(&mut criterion);
    }
    criterion.final_summary();
}
