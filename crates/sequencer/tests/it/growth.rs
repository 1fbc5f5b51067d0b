//! The log equals the naive log at every size that matters, in every store, after every reopen.

use proptest::prelude::*;
use sequencer::conformance::Subject;
use sequencer::{Log, MemoryStore, Refusal};

use crate::support::{
    InFiles, InMemory, Naive, append, entries, entry, keyed, memory_log, signing_key, text,
};

/// Grows through the sizes around full tiles, reopening at each.
fn grows<T: Subject>(subject: &mut T) {
    let mut log = Log::create(subject.fresh(), signing_key()).unwrap();
    let mut size = 0;
    for next in [0, 1, 255, 256, 257, 511, 512, 513, 900] {
        let answers = append(&mut log, &entries(size..next));
        let naive = Naive::of(0..next);
        let head = naive.head(next);
        for (index, answer) in (size..next).zip(answers) {
            assert_eq!((answer.index, answer.head, answer.duplicate), (index, head, false));
            tlog::verify_inclusion(&answer.leaf, index, &head, &answer.proof).unwrap();
        }
        naive.assert_equals(&log.reader().snapshot(), 30);
        size = next;
    }
}

/// Stops and starts at every size around full tiles.
fn reopens<T: Subject>(subject: &mut T) {
    let mut store = Some(subject.fresh());
    let mut log = Log::create(store.take().unwrap(), signing_key()).unwrap();
    let mut size = 0;
    for next in [0, 1, 100, 255, 256, 257, 300, 511, 512, 513, 768] {
        append(&mut log, &entries(size..next));
        size = next;
        let store = subject.reopen(log.into_store());
        log = Log::open(store, signing_key()).unwrap();
        Naive::of(0..size).assert_equals(&log.reader().snapshot(), 5);
    }
}

#[test]
fn equals_the_naive_log_in_memory() {
    grows(&mut InMemory);
}

#[test]
fn equals_the_naive_log_in_files() {
    grows(&mut InFiles::default());
}

#[test]
fn equals_the_naive_log_after_each_reopen_in_memory() {
    reopens(&mut InMemory);
}

#[test]
fn equals_the_naive_log_after_each_reopen_in_files() {
    reopens(&mut InFiles::default());
}

#[test]
fn equals_the_naive_log_with_three_levels_of_tiles() {
    let store = MemoryStore::new();
    let mut log = Log::create(store.clone(), signing_key()).unwrap();
    let mut size = 0;
    for batch in [1, 255, 3000, 17, 4096, 256, 513].into_iter().cycle() {
        let next = 70_000.min(size + batch);
        append(&mut log, &entries(size..next));
        size = next;
        if size == 70_000 {
            break;
        }
    }
    let naive = Naive::of(0..size);
    naive.assert_equals(&log.reader().snapshot(), 3);
    drop(log);
    let log = Log::open(store, signing_key()).unwrap();
    assert_eq!(log.reader().head(), naive.head(size));
    log.reader().inclusion(0, size).unwrap();
}

#[test]
fn reopens_around_the_first_full_tile_of_level_1() {
    let store = MemoryStore::new();
    let mut log = Log::create(store.clone(), signing_key()).unwrap();
    let naive = Naive::of(0..65_537);
    append(&mut log, &entries(0..65_500));
    for (from, to) in [(65_500, 65_535), (65_535, 65_536), (65_536, 65_537)] {
        append(&mut log, &entries(from..to));
        log = Log::open(store.clone(), signing_key()).unwrap();
        assert_eq!(log.reader().head(), naive.head(to));
        let proof = log.reader().inclusion(0, to).unwrap();
        tlog::verify_inclusion(&naive.leaf(0), 0, &naive.head(to), &proof).unwrap();
    }
}

/// What a caller sends: an entry of a small set, so that copies and known keys come up.
#[derive(Debug, Clone)]
enum Sent {
    New,
    Copy(u64),
    OtherWithKey(u64),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        8 => Just(Sent::New),
        1 => any::<u64>().prop_map(Sent::Copy),
        1 => any::<u64>().prop_map(Sent::OtherWithKey),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_batches_equal_the_naive_log(
        batches in prop::collection::vec(
            (prop::collection::vec(sent(), 0..130), any::<bool>()), 1..8,
        ),
    ) {
        let store = MemoryStore::new();
        let mut log = Log::create(store.clone(), signing_key()).unwrap();
        let mut naive = Naive::default();
        for (sent, reopen) in batches {
            // Numbers are handed out in order, so entry `n` is at index `n`.
            let (mut next, mut batch, mut expected) = (naive.size(), Vec::new(), Vec::new());
            for sent in sent {
                match sent {
                    Sent::New => {
                        batch.push(entry(next));
                        expected.push(Ok((next, false)));
                        naive.push(text(next).as_bytes());
                        next += 1;
                    }
                    Sent::Copy(which) if next > 0 => {
                        batch.push(entry(which % next));
                        expected.push(Ok((which % next, true)));
                    }
                    Sent::OtherWithKey(which) if next > 0 => {
                        batch.push(keyed("other bytes", which % next));
                        expected.push(Err(which % next));
                    }
                    _ => {}
                }
            }
            let head = naive.head(next);
            let answers = log.step(&batch).unwrap();
            prop_assert_eq!(answers.len(), expected.len());
            for (answer, expected) in answers.into_iter().zip(expected) {
                match answer {
                    Ok(answer) => {
                        prop_assert_eq!(Ok((answer.index, answer.duplicate)), expected);
                        prop_assert_eq!(answer.head, head);
                        let leaf = naive.leaf(answer.index);
                        prop_assert_eq!(answer.leaf, leaf);
                        tlog::verify_inclusion(&leaf, answer.index, &head, &answer.proof).unwrap();
                    }
                    Err(Refusal::KeyExists { index }) => prop_assert_eq!(Err(index), expected),
                    Err(Refusal::Admission(never)) => match never {},
                }
            }
            if reopen {
                log = Log::open(store.clone(), signing_key()).unwrap();
            }
            naive.assert_equals(&log.reader().snapshot(), 4);
        }
    }
}

#[test]
fn empty_log_has_no_tiles_and_a_signed_checkpoint() {
    let log = memory_log();
    let snapshot = log.reader().snapshot();
    Naive::default().assert_equals(&snapshot, 1);
    for path in ["tile/0/000", "tile/0/000.p/1", "tile/entries/000.p/1", "tile/7/000.p/1"] {
        assert_eq!(snapshot.tile(&tlog::TilePath::parse(path).unwrap()).unwrap(), None);
    }
}
