//! What records cost: `cargo bench -p countersign-record`. Against the sum of its primitives a
//! record is measured by `countersign bench record`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::multiproof::{Indices, prove, verify};
use record::opening::{Against, Body, OpeningBuilder, Proved, RecordParts, Scope};
use record::secret::RecordSecret;
use record::vector::verify_vector;
use tlog::Hash;

/// Everything that the party behind a record knows.
struct Made {
    context: Context,
    secret: RecordSecret,
    items: AgreedItems,
    values: Vec<Option<ItemValues>>,
}

impl Made {
    fn of(items: u64) -> Self {
        let rows =
            (0..items).map(|i| (i.to_string(), format!("question {i}"), Some(i.to_string())));
        let file = ItemsFile::from_rows(rows).expect("the rows are short and distinct");
        let value = |index: u64| {
            Some(ItemValues {
                input: Some("word ".repeat(60)),
                target: Some("42.".to_owned()),
                output: Some("word ".repeat(80)),
                explanation: Some("word ".repeat(40)),
                metadata: Some("word ".repeat(12)),
                scores: vec![Some((index % 2).to_string())],
                ..ItemValues::default()
            })
        };
        Self {
            context: Context::new("bench.example/log", None, "lab-a.example", &[4; 32])
                .expect("the names are short"),
            secret: RecordSecret::new([2; 32]),
            items: file.agree(&ItemKey::new([1; 32]), 1).expect("one epoch fits"),
            values: (0..items).map(value).collect(),
        }
    }

    fn record(&self, values: Vec<Option<ItemValues>>) -> Record {
        let column = Column::new("accuracy", 1, 1, Better::Higher).expect("it is a column");
        let mut builder =
            RecordBuilder::new(&self.context, &self.secret, &self.items, vec![column])
                .expect("the items are few");
        builder.extend(values).expect("the scores are on their scale");
        builder.finish(Declared::default(), &[3; 32]).expect("all items came")
    }

    fn opening(&self, record: &Record, indices: &[u64]) -> Body {
        let parts = RecordParts {
            id: Hash::new([9; 32]),
            header: record.header(),
            context: &self.context,
            secret: &self.secret,
            vector: record.vector(),
            items: &self.items,
        };
        let mut opening = OpeningBuilder::new(parts).expect("the parts belong together");
        for index in indices {
            let values = self.values[*index as usize].as_ref();
            let fields = ["status", "output", "score:accuracy"];
            opening.item(*index, values, &fields, None).expect("the values are the committed ones");
        }
        opening.finish().expect("the items are few")
    }

    fn check(&self, record: &Record, opening: &Body) -> Proved {
        let against = Against {
            record: &Hash::new([9; 32]),
            header: record.header(),
            context: &self.context,
            item_key: None,
            scope: Scope::Anything,
        };
        opening.verify(&against).expect("the opening is right")
    }
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20);
    for items in [200, 2_000] {
        let made = Made::of(items);
        group.throughput(Throughput::Elements(items));
        group.bench_function(format!("{items} items"), |b| {
            let values = || made.values.clone();
            b.iter_batched(values, |values| made.record(values), BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn vector(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vector verified");
    group.sample_size(20);
    for items in [200, 2_000] {
        let made = Made::of(items);
        let record = made.record(made.values.clone());
        group.throughput(Throughput::Elements(items));
        group.bench_function(format!("{items} items"), |b| {
            b.iter(|| {
                let vector = verify_vector(record.header(), &made.context, record.vector());
                black_box(vector).expect("the vector is right");
            });
        });
    }
    group.finish();
}

fn openings(criterion: &mut Criterion) {
    let made = Made::of(2_000);
    let record = made.record(made.values.clone());
    let mut group = criterion.benchmark_group("opening of 2,000 items");
    for indices in [vec![3, 17, 42], (0..2_000).step_by(10).collect()] {
        let opening = made.opening(&record, &indices);
        let bytes = opening.to_bytes().expect("it is short");
        let count = indices.len();
        group.bench_function(format!("{count} made"), |b| {
            b.iter(|| made.opening(&record, black_box(&indices)));
        });
        group.bench_function(format!("{count} parsed and checked"), |b| {
            b.iter(|| {
                let opening = Body::parse(black_box(&bytes)).expect("it is one");
                made.check(&record, &opening)
            });
        });
    }
    group.finish();
}

fn multiproofs(criterion: &mut Criterion) {
    const LEAVES: u64 = 100_000;
    let leaves: Vec<Hash> = (0..LEAVES).map(|i| Hash::of(&[&i.to_be_bytes()])).collect();
    let root = leaves.iter().copied().collect::<tlog::CompactRange>().root();
    let mut group = criterion.benchmark_group("multiproof of 100,000 leaves");
    group.sample_size(20);
    for step in [20_000, 100] {
        let chosen: Vec<u64> = (0..LEAVES).step_by(step).collect();
        let indices = Indices::new(&chosen, LEAVES).expect("they increase");
        let opened: Vec<Hash> = chosen.iter().map(|i| leaves[*i as usize]).collect();
        let proof = prove(&leaves, &indices).expect("the indices are in the tree");
        let count = chosen.len();
        group.bench_function(format!("{count} made"), |b| b.iter(|| prove(&leaves, &indices)));
        group.bench_function(format!("{count} checked"), |b| {
            b.iter(|| verify(&root, &indices, black_box(&opened), &proof).expect("it holds"));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for part in [commit, vector, openings, multiproofs] {
        part(&mut criterion);
    }
    criterion.final_summary();
}
