//! Copies, known keys, refusals, and what an admission sees.

use sequencer::{Admission, Entry, Fatal, History, Log, MemoryStore, Refusal};
use tlog::TreeHead;

use crate::support::{Naive, append, entries, entry, key_of, keyed, memory_log, signing_key, text};

/// Refuses what begins with "bad", and checks that it is asked in log order with the whole log
/// before it at hand.
#[derive(Default)]
struct Checking {
    naive: Naive,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused as leaf {0}")]
struct Bad(u64);

impl Admission for Checking {
    type Content = ();
    type Refused = Bad;

    fn admit(&mut self, index: u64, entry: &Entry, history: &dyn History) -> Result<(), Bad> {
        assert_eq!((index, history.size()), (self.naive.size(), index));
        assert_eq!(history.index_of_leaf(&entry.leaf().hash()), Ok(None));
        assert_eq!(history.index_of_key(&entry.key()), Ok(None));
        assert_eq!(history.entry(index), Ok(None), "nothing beyond the history");
        assert_eq!(history.root_at(index + 1), Ok(None), "nothing beyond the history");
        for earlier in [0, index / 2, index.saturating_sub(1)] {
            if earlier < index {
                let bytes = history.entry(earlier).unwrap().unwrap();
                assert_eq!(bytes, self.naive.entries[earlier as usize]);
                let leaf = tlog::leaf_hash(&bytes);
                assert_eq!(history.index_of_leaf(&leaf), Ok(Some(earlier)));
            }
            let TreeHead { size, root } = self.naive.head(earlier);
            assert_eq!(history.root_at(size), Ok(Some(root)));
        }
        if entry.bytes().starts_with(b"bad") {
            return Err(Bad(index));
        }
        self.naive.push(entry.bytes());
        Ok(())
    }
}

#[test]
fn refusal_in_the_middle_of_a_batch_leaves_the_others_correct() {
    let mut log = memory_log().with_admission(Checking::default());
    let mut expected = Naive::default();
    for round in 0..3 {
        let first = round * 1000;
        let mut batch = entries(first..first + 150);
        for place in [0, 70, 71, 149] {
            batch[place] = keyed(&format!("bad {round} {place}"), first + place as u64);
        }
        let answers = log.step(&batch).unwrap();
        for (place, (answer, entry)) in answers.iter().zip(&batch).enumerate() {
            match answer {
                Ok(answer) => {
                    assert_eq!(answer.index, expected.size());
                    expected.push(entry.bytes());
                }
                Err(Refusal::Admission(Bad(index))) => {
                    assert!([0, 70, 71, 149].contains(&place));
                    assert_eq!(*index, expected.size(), "the index is free for the next one");
                }
                Err(refusal) => panic!("{refusal}"),
            }
        }
        expected.assert_equals(&log.reader().snapshot(), 20);
        for answer in answers.into_iter().flatten() {
            let head = log.reader().head();
            tlog::verify_inclusion(&answer.leaf, answer.index, &head, &answer.proof).unwrap();
        }
    }
}

#[test]
fn refused_entry_may_come_again_and_its_key_stays_free() {
    let mut log = memory_log().with_admission(Checking::default());
    let bad = keyed("bad", 5);
    let answers = log.step(&[bad.clone(), bad.clone(), keyed("good", 5)]).unwrap();
    assert!(matches!(answers[0], Err(Refusal::Admission(Bad(0)))));
    assert!(matches!(answers[1], Err(Refusal::Admission(Bad(0)))));
    assert_eq!(answers[2].as_ref().unwrap().index, 0);
    let answers = log.step(&[bad]).unwrap();
    assert!(matches!(answers[0], Err(Refusal::KeyExists { index: 0 })));
}

#[test]
fn batch_of_refusals_publishes_no_head() {
    let mut log = memory_log().with_admission(Checking::default());
    let (sender, heads) = std::sync::mpsc::channel();
    log.reader().on_publish(Box::new(move |head| sender.send(head.size).unwrap()));
    log.step(&[keyed("bad", 1), keyed("bad", 2)]).unwrap();
    log.step(&[]).unwrap();
    log.step(&entries(3..5)).unwrap();
    log.step(&entries(3..5)).unwrap();
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn copy_gets_its_old_index_and_a_proof_in_the_newest_head() {
    let mut log = memory_log();
    append(&mut log, &entries(0..600));
    // In the store, twice in the batch, and in a bundle that is on disk already.
    let answers = append(&mut log, &[entry(3), entry(600), entry(600), entry(599)]);
    let naive = Naive::of(0..601);
    let head = naive.head(601);
    let places: Vec<_> = answers.iter().map(|answer| (answer.index, answer.duplicate)).collect();
    assert_eq!(places, [(3, true), (600, false), (600, true), (599, true)]);
    for answer in &answers {
        assert_eq!(answer.head, head);
        tlog::verify_inclusion(&answer.leaf, answer.index, &head, &answer.proof).unwrap();
    }
    naive.assert_equals(&log.reader().snapshot(), 20);
}

#[test]
fn other_entry_with_a_known_key_is_refused_with_the_index_of_the_first() {
    let mut log = memory_log();
    append(&mut log, &entries(0..5));
    let answers = log.step(&[keyed("x", 3), keyed("y", 9), keyed("z", 9), entry(3)]).unwrap();
    assert!(matches!(answers[0], Err(Refusal::KeyExists { index: 3 })));
    assert_eq!(answers[1].as_ref().unwrap().index, 5);
    assert!(matches!(answers[2], Err(Refusal::KeyExists { index: 5 })));
    assert_eq!(answers[3].as_ref().unwrap().index, 3);
    assert_eq!(log.reader().index_of_key(&key_of(9)).unwrap(), Some(5));
    assert_eq!(log.reader().index_of_key(&key_of(10)).unwrap(), None);
}

#[test]
fn same_bytes_under_another_key_are_a_copy() {
    let mut log = memory_log();
    append(&mut log, &entries(0..5));
    let answers = append(&mut log, &[keyed(&text(2), 77)]);
    assert_eq!((answers[0].index, answers[0].duplicate), (2, true));
    assert_eq!(log.reader().index_of_key(&key_of(77)).unwrap(), None);
}

#[test]
fn entries_have_a_largest_length() {
    let key = key_of(0);
    Entry::new(vec![0; tlog::MAX_ENTRY], key).unwrap();
    let error = Entry::new(vec![0; tlog::MAX_ENTRY + 1], key).unwrap_err();
    assert_eq!(error.length, 65_536);
}

#[test]
fn log_stops_after_a_panic_of_its_admission() {
    struct Panicking;
    impl Admission for Panicking {
        type Content = ();
        type Refused = Bad;
        fn admit(&mut self, index: u64, _: &Entry, _: &dyn History) -> Result<(), Bad> {
            if index == 2 { panic!("bug") } else { Ok(()) }
        }
    }
    let store = MemoryStore::new();
    let mut log = Log::create(store.clone(), signing_key()).unwrap().with_admission(Panicking);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        log.step(&entries(0..5)).map(|_| ())
    }));
    panicked.unwrap_err();
    assert!(matches!(log.step(&entries(0..1)), Err(Fatal::Stopped)));
    let log = Log::open(store, signing_key()).unwrap();
    assert_eq!(log.reader().head(), TreeHead::EMPTY);
}

#[test]
fn content_reaches_the_admission() {
    struct Sum(u64);
    impl Admission for Sum {
        type Content = u64;
        type Refused = Bad;
        fn admit(&mut self, index: u64, entry: &Entry<u64>, _: &dyn History) -> Result<(), Bad> {
            self.0 += entry.content();
            if self.0 > 5 { Err(Bad(index)) } else { Ok(()) }
        }
    }
    let mut log = memory_log().with_admission(Sum(0));
    let entry = |n: u64| Entry::with_content(text(n).into_bytes(), key_of(n), n).unwrap();
    let answers = log.step(&[entry(2), entry(3), entry(1)]).unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
}
