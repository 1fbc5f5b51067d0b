//! A crash or an error at every durable step, and at every pair of steps.
//!
//! After each, the log is opened again, and must hold every acknowledged entry at its index,
//! extend every signed head that left the process, and have the data of its own head. Then all
//! callers send their entries again; the log must end as if nothing had happened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sequencer::fault::{Failpoints, Fault, Faulty};
use sequencer::{
    Answer, Entry, Fatal, FileStore, Log, MemoryStore, OpenError, Reader, Snapshot, Store,
};
use tempfile::TempDir;
use tlog::{SignedCheckpoint, TreeHead};

use crate::support::{
    Naive, append, copy_folder, entries, entry, files_below, signing_key, verifier,
};

/// What has left the process: answers, each with a signed head, and heads shown to readers.
#[derive(Debug, Clone, Default)]
struct Gone {
    answers: Vec<Answer>,
    heads: BTreeSet<TreeHead>,
}

#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Gone>>);

impl Seen {
    fn add(&self, answers: Vec<Answer>) {
        let mut gone = self.0.lock().unwrap();
        gone.heads.extend(answers.iter().map(|answer| answer.head));
        gone.answers.extend(answers);
    }

    fn watch(&self, reader: &Reader) {
        let seen = self.clone();
        reader.on_publish(Box::new(move |head| {
            seen.0.lock().unwrap().heads.insert(*head);
        }));
    }

    fn copy(&self) -> Gone {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Debug)]
enum Stopped {
    AtOpen,
    InStep,
}

/// The batches of a run over a log that has `base` entries: they fill a bundle, one of them twice
/// over, and repeat some entries.
fn batches(base: u64) -> Vec<Vec<Entry>> {
    let mut next = base;
    let mut fresh = |count| {
        next += count;
        entries(next - count..next)
    };
    vec![
        fresh(2),
        fresh(11),
        [vec![entry(base)], fresh(1), vec![entry(0)]].concat(),
        fresh(520),
        fresh(3),
    ]
}

const NEW: u64 = 2 + 11 + 1 + 520 + 3;

/// Opens the log and sends all batches, until something stops it.
fn run<S: Store>(store: S, base: u64, seen: &Seen) -> Result<(), Stopped> {
    let mut log = match Log::open(store, signing_key()) {
        Ok(log) => log,
        Err(OpenError::Store(_)) => return Err(Stopped::AtOpen),
        Err(error) => panic!("a fault at open is an error of the store, not: {error}"),
    };
    seen.watch(&log.reader());
    for batch in batches(base) {
        match log.step(&batch) {
            Ok(answers) => seen.add(answers.into_iter().map(Result::unwrap).collect()),
            Err(_) => {
                let again = log.step(&batch).unwrap_err();
                assert!(matches!(again, Fatal::Stopped));
                return Err(Stopped::InStep);
            }
        }
    }
    Ok(())
}

/// Nothing acknowledged is lost, nothing signed is contradicted.
fn assert_extends(snapshot: &Snapshot, naive: &Naive, seen: &Gone, place: &str) {
    let head = snapshot.head();
    for answer in &seen.answers {
        assert_eq!(snapshot.leaf(answer.index).unwrap(), answer.leaf, "{place}: lost");
        let signed = SignedCheckpoint::open(&answer.checkpoint, &verifier()).unwrap();
        assert_eq!(*signed.head(), answer.head, "{place}");
        assert_eq!(naive.head(answer.head.size), answer.head, "{place}: signed without its data");
    }
    for old in &seen.heads {
        assert_eq!(naive.head(old.size), *old, "{place}: published without its data");
        assert!(old.size <= head.size, "{place}: a signed head is beyond the log");
        let proof = snapshot.consistency(old.size, head.size).unwrap();
        tlog::verify_consistency(old, &head, &proof).expect(place);
    }
    for index in (0..head.size).rev().take(30) {
        assert_eq!(snapshot.entry(index).unwrap(), naive.entries[index as usize], "{place}");
    }
}

/// Opens what a fault left behind, checks it, sends everything again and checks the end.
fn recover<S: Store>(store: S, base: u64, naive: &Naive, seen: &Gone, place: &str) {
    let mut log =
        Log::open(store, signing_key()).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_extends(&log.reader().snapshot(), naive, seen, place);
    for batch in batches(base) {
        append(&mut log, &batch);
    }
    assert_eq!(log.reader().head(), naive.head(naive.size()), "{place}: order or entries differ");
    assert_extends(&log.reader().snapshot(), naive, seen, place);
}

fn memory_base(size: u64) -> MemoryStore {
    let store = MemoryStore::new();
    let mut log = Log::create(store.clone(), signing_key()).unwrap();
    for first in (0..size).step_by(250) {
        append(&mut log, &entries(first..size.min(first + 250)));
    }
    store
}

/// Runs with a fault at each place in turn; gives the number of places.
fn single_faults(base: u64, fault: Fault) -> usize {
    let (store, naive) = (memory_base(base), Naive::of(0..base + NEW));
    for number in 0.. {
        let (disk, seen) = (store.copy(), Seen::default());
        let faulty = Faulty::new(disk.clone(), Failpoints::at(number, fault));
        if run(faulty, base, &seen).is_ok() {
            return number;
        }
        recover(disk, base, &naive, &seen.copy(), &format!("place {number}"));
    }
    unreachable!()
}

#[test]
fn crash_at_any_step_loses_nothing() {
    let places = single_faults(250, Fault::Crash);
    println!("{places} places");
    assert!(places > 30);
}

#[test]
fn error_at_any_step_loses_nothing() {
    single_faults(250, Fault::Fail);
}

#[test]
fn crash_while_a_tile_of_level_1_becomes_full_loses_nothing() {
    let base = 65_530;
    let (store, naive) = (memory_base(base), Naive::of(0..base + NEW));
    for place in
        ["after:tile/entries/255", "before:tile/1/000", "after:tile/1/000", "after:unstage"]
    {
        let (disk, seen) = (store.copy(), Seen::default());
        let points = Failpoints::new(move |passed| (passed == place).then_some(Fault::Crash));
        let stopped = run(Faulty::new(disk.clone(), points), base, &seen).unwrap_err();
        assert!(matches!(stopped, Stopped::InStep), "{place}");
        recover(disk, base, &naive, &seen.copy(), place);
    }
}

#[test]
fn crash_at_any_two_steps_loses_nothing() {
    // One short run, since the number of pairs is that of places squared.
    let (base, new) = (250, 12);
    let (store, naive) = (memory_base(base), Naive::of(0..base + new));
    let short = |store: Faulty<MemoryStore>, seen: &Seen| -> bool {
        let Ok(mut log) = Log::open(store, signing_key()) else { return false };
        seen.watch(&log.reader());
        for batch in [entries(base..base + 4), entries(base + 4..base + new)] {
            let Ok(answers) = log.step(&batch) else { return false };
            seen.add(answers.into_iter().map(Result::unwrap).collect());
        }
        true
    };
    let mut pairs = 0;
    for first in 0.. {
        let (disk, seen) = (store.copy(), Seen::default());
        let faulty = Faulty::new(disk.clone(), Failpoints::at(first, Fault::Crash));
        if short(faulty, &seen) {
            break;
        }
        for second in 0.. {
            let (disk, seen) = (disk.copy(), Seen(Arc::new(Mutex::new(seen.copy()))));
            let faulty = Faulty::new(disk.clone(), Failpoints::at(second, Fault::Crash));
            let unharmed = short(faulty, &seen);
            let log = Log::open(disk.clone(), signing_key()).unwrap();
            let place = format!("places {first} and {second}");
            assert_extends(&log.reader().snapshot(), &naive, &seen.copy(), &place);
            if unharmed {
                assert_eq!(log.reader().head(), naive.head(base + new), "{place}");
                break;
            }
            pairs += 1;
        }
    }
    println!("{pairs} pairs");
    assert!(pairs > 300);
}

#[test]
fn log_whose_creation_crashed_is_created_or_opened_later() {
    for number in 0..4 {
        let disk = MemoryStore::new();
        let faulty = Faulty::new(disk.clone(), Failpoints::at(number, Fault::Crash));
        Log::create(faulty, signing_key()).unwrap_err();
        let log = match Log::create(disk.clone(), signing_key()) {
            Err(OpenError::Store(sequencer::StoreError::Exists)) => {
                Log::open(disk, signing_key()).unwrap()
            }
            created => created.unwrap(),
        };
        assert_eq!(log.reader().head(), TreeHead::EMPTY);
    }
}

/// A folder as it was when a run passed a place, and what had been acknowledged by then.
struct Image {
    place: String,
    folder: TempDir,
    seen: Gone,
}

fn file_base(base: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::create(folder.path()).unwrap();
    append(&mut Log::create(store, signing_key()).unwrap(), &entries(0..base));
    folder
}

/// One run in a folder, photographed at every place it passes.
fn images(base: u64) -> Vec<Image> {
    let folder = file_base(base);
    let (seen, images) = (Seen::default(), Arc::new(Mutex::new(Vec::new())));
    let points = Failpoints::new({
        let (seen, images, folder) = (seen.clone(), Arc::clone(&images), folder.path().to_owned());
        move |place| {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(&folder, copy.path());
            let image = Image { place: place.to_owned(), folder: copy, seen: seen.copy() };
            images.lock().unwrap().push(image);
            None
        }
    });
    let store = FileStore::open_with(folder.path(), points.clone()).unwrap();
    run(Faulty::new(store, points), base, &seen).unwrap();
    std::mem::take(&mut *images.lock().unwrap())
}

#[test]
fn folder_copied_at_any_step_recovers() {
    let base = 250;
    let naive = Naive::of(0..base + NEW);
    let images = images(base);
    println!("{} images", images.len());
    assert!(images.len() > 60);
    for Image { place, folder, seen } in &images {
        recover(FileStore::open(folder.path()).unwrap(), base, &naive, seen, place);
        let left = files_below(folder.path());
        let left: Vec<_> = left.iter().filter(|file| is_temporary(file)).collect();
        assert!(left.is_empty(), "{place}: {left:?}");
    }
}

#[test]
fn folder_that_lost_everything_unsynced_recovers() {
    let base = 250;
    let naive = Naive::of(0..base + NEW);
    let mut variants = 0;
    for Image { place, folder, seen } in images(base) {
        let folder = folder.path();
        let lost = if let Some(name) = place.strip_suffix(":renamed") {
            // The rename is not durable before its folder is synced.
            fs::remove_file(folder.join(name)).unwrap();
            true
        } else if place.ends_with(":written") && place.starts_with("tile/") {
            // The bytes are not durable before their file is synced.
            let written = files_below(folder).into_iter().find(|file| is_temporary(file));
            fs::write(written.unwrap(), b"").unwrap();
            true
        } else if place == "commit:written" || place == "before:commit" {
            // Pages of a commit under way reached the log's end, but not its last frame.
            use std::io::Write as _;
            let wal = folder.join("log.db-wal");
            let mut wal = fs::File::options().append(true).open(wal).unwrap();
            wal.write_all(&[0x5a; 5000]).unwrap();
            true
        } else {
            false
        };
        if lost {
            variants += 1;
            recover(FileStore::open(folder).unwrap(), base, &naive, &seen, &place);
        }
    }
    println!("{variants} variants");
    assert!(variants > 15);
}

#[test]
fn error_at_any_step_of_the_file_store_stops_it_and_loses_nothing() {
    let base = 250;
    let (original, naive) = (file_base(base), Naive::of(0..base + NEW));
    for number in 0.. {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(original.path(), folder.path());
        let seen = Seen::default();
        let points = Failpoints::at(number, Fault::Fail);
        let store = FileStore::open_with(folder.path(), points).unwrap();
        if run(store, base, &seen).is_ok() {
            assert!(number > 20, "{number} places");
            return;
        }
        let store = FileStore::open(folder.path()).unwrap();
        recover(store, base, &naive, &seen.copy(), &format!("place {number}"));
    }
}

fn is_temporary(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "tmp")
}
