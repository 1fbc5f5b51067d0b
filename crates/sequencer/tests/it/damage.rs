//! Bytes that changed on disk are found before they are served, proved from or signed over.

use sequencer::{Finding, Log, MemoryStore, ReadError, StoreError, check};
use tlog::{TilePath, tiles_of};

use crate::support::{Naive, append, entries, key_of, memory_log, signing_key};

fn number(entry: &[u8]) -> u64 {
    std::str::from_utf8(entry).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

fn findings(log: &Log<MemoryStore>) -> Vec<String> {
    let mut found = Vec::new();
    let key = |entry: &[u8]| Some(key_of(number(entry)));
    check(&log.reader().snapshot(), &key, &mut |finding: Finding| found.push(finding.to_string()));
    found
}

fn stored(size: u64) -> MemoryStore {
    let store = MemoryStore::new();
    let mut log = Log::create(store.clone(), signing_key()).unwrap();
    // Small batches, so that none is staged whose tiles could be written from it again.
    for first in (0..size).step_by(64) {
        append(&mut log, &entries(first..size.min(first + 64)));
    }
    store
}

#[test]
fn sound_log_has_no_findings() {
    let store = stored(1000);
    let log = Log::open(store, signing_key()).unwrap();
    assert_eq!(findings(&log), [""; 0]);
    let mut none = |finding| panic!("{finding}");
    let tiles = check(&log.reader().snapshot(), &|_| None, &mut none);
    assert_eq!(tiles, tiles_of(1000).count() as u64);
}

#[test]
fn flipped_bit_of_any_tile_is_found() {
    let naive = Naive::of(0..1000);
    let store = stored(1000);
    for path in tiles_of(1000).filter(TilePath::is_full) {
        let sound = naive.tile(&path);
        for bit in (0..8 * sound.len()).step_by(8 * 331 + 3) {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            store.damage_tile(&path, Some(bytes));
            match Log::open(store.clone(), signing_key()) {
                // The right edge is hashed at open.
                Err(error) => assert!(error.to_string().contains("refusing to start"), "{error}"),
                Ok(log) => {
                    let found = findings(&log);
                    assert!(!found.is_empty(), "bit {bit} of {path}");
                    assert!(found[0].contains(&path.to_string()), "{found:?}");
                    let read = log.reader().tile(&path);
                    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
                }
            }
        }
        store.damage_tile(&path, Some(sound));
    }
    assert_eq!(findings(&Log::open(store, signing_key()).unwrap()), [""; 0]);
}

#[test]
fn missing_bundle_is_named() {
    let store = stored(1000);
    let path = TilePath::parse("tile/entries/001").unwrap();
    store.damage_tile(&path, None);
    let log = Log::open(store, signing_key()).unwrap();
    let error = log.reader().entry(256).unwrap_err();
    assert!(matches!(error, ReadError::Missing { path: missing } if missing == path), "{error}");
    assert_eq!(log.reader().entries(0..1000).unwrap().filter(Result::is_err).count(), 256);
    // Proofs need the hashes only.
    let proof = log.reader().inclusion(300, 1000).unwrap();
    let naive = Naive::of(0..1000);
    tlog::verify_inclusion(&naive.leaf(300), 300, &naive.head(1000), &proof).unwrap();
}

#[test]
fn missing_hash_tile_is_named_at_open() {
    let store = stored(1000);
    store.damage_tile(&TilePath::parse("tile/0/002").unwrap(), None);
    let error = Log::open(store, signing_key()).unwrap_err();
    assert!(error.to_string().contains("tile/0/002 is missing"), "{error}");
}

#[test]
fn damage_met_in_a_step_stops_the_writer() {
    let store = stored(1000);
    let mut log = Log::open(store.clone(), signing_key()).unwrap();
    store.damage_tile(&TilePath::parse("tile/0/001").unwrap(), Some(vec![7; 8192]));
    // A copy of an old entry needs a proof through the damaged tile.
    let error = log.step(&entries(300..301)).unwrap_err();
    assert!(error.to_string().contains("tile/0/001 is damaged"), "{error}");
    assert!(matches!(log.step(&[]), Err(sequencer::Fatal::Stopped)));
}

#[test]
fn index_that_leads_elsewhere_is_found() {
    let log = memory_log();
    let key = |_: &[u8]| Some(key_of(1));
    assert_eq!(check(&log.reader().snapshot(), &key, &mut |_| panic!()), 0);
    let mut log = log;
    append(&mut log, &entries(0..2));
    let mut found = Vec::new();
    check(&log.reader().snapshot(), &key, &mut |finding| found.push(finding));
    assert!(
        matches!(&found[..], [Finding::Index { index_of: "keys", entry: 0, found: Some(1) }]),
        "{found:?}"
    );
}

#[test]
fn history_that_cannot_be_read_stops_the_writer_whatever_the_admission_says() {
    use sequencer::{Admission, Entry, Fatal, History, Unreadable};
    struct Careless;
    impl Admission for Careless {
        type Content = ();
        type Refused = std::convert::Infallible;
        fn admit(&mut self, _: u64, _: &Entry, history: &dyn History) -> Result<(), Self::Refused> {
            assert_eq!(history.entry(5), Err(Unreadable));
            Ok(())
        }
    }
    let store = stored(300);
    let mut log = Log::open(store.clone(), signing_key()).unwrap().with_admission(Careless);
    store.damage_tile(&TilePath::parse("tile/entries/000").unwrap(), None);
    let error = log.step(&entries(300..301)).unwrap_err();
    assert!(matches!(error, Fatal::Read(ReadError::Missing { .. })), "{error}");
    assert_eq!(log.reader().head().size, 300);
}

#[test]
fn store_errors_say_which_place() {
    let error = StoreError::Injected { place: "before:commit".into() };
    assert_eq!(error.to_string(), "fault injected at before:commit");
}
