//! The conformance suite, and what only a folder can get wrong.

use std::fs;

use rusqlite::Connection;
use sequencer::{
    ArtifactError, Fatal, FileStore, Log, MemoryStore, OpenError, Store as _, StoreError,
    conformance,
};
use tlog::{Hash, KeyName, SignedCheckpoint, SigningKey, TreeHead};

use crate::support::{
    InFiles, InMemory, Naive, append, copy_folder, entries, entry, files_below, signing_key,
};

#[test]
fn memory_store_conforms() {
    conformance::run(&mut InMemory);
}

#[test]
fn file_store_conforms() {
    conformance::run(&mut InFiles::default());
}

#[test]
fn keeps_full_tiles_only_and_leaves_no_temporary_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::create(folder.path()).unwrap();
    let mut log = Log::create(store, signing_key()).unwrap();
    append(&mut log, &entries(0..700));
    log.store().artifacts().put(b"artifact").unwrap();
    drop(log);
    let digest = Hash::of(&[b"artifact"]).to_string();
    let mut expected = vec![format!("artifacts/{}/{digest}", &digest[..2])];
    expected.extend(["lock", "log.db", "log.sums"].map(String::from));
    for kind in ["0", "entries"] {
        expected.extend(["000", "001"].map(|index| format!("tile/{kind}/{index}")));
    }
    expected.sort();
    let found: Vec<_> = files_below(folder.path())
        .iter()
        .map(|file| file.strip_prefix(folder.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn second_writer_of_a_folder_is_locked_out() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    let second = FileStore::open(folder.path()).unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("in use by another writer"));
    drop(log);
    FileStore::open(folder.path()).unwrap();
}

#[test]
fn readers_do_not_hold_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    append(&mut log, &entries(0..3));
    let reader = log.reader();
    drop(log);
    let mut log = Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap();
    append(&mut log, &entries(3..300));
    Naive::of(0..3).assert_equals(&reader.snapshot(), 3);
}

#[test]
fn writer_whose_epoch_was_raised_stops_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    append(&mut log, &entries(0..3));
    let before = log.reader().checkpoint();
    // Another machine opens the folder where the lock does not reach.
    let other = Connection::open(folder.path().join("log.db")).unwrap();
    other.execute("UPDATE head SET epoch = epoch + 1", []).unwrap();
    let error = log.step(&entries(3..4)).unwrap_err();
    assert!(matches!(error, Fatal::Store(StoreError::Fenced { epoch: 1, size: 3 })), "{error}");
    assert!(matches!(log.step(&entries(0..1)), Err(Fatal::Stopped)));
    assert_eq!(log.reader().checkpoint(), before, "nothing signed leaves");
    drop(log);
    let log = Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap();
    assert_eq!(log.reader().head().size, 3);
}

#[test]
fn later_writer_of_one_memory_fences_the_earlier_one() {
    let store = MemoryStore::new();
    let mut old = Log::create(store.clone(), signing_key()).unwrap();
    append(&mut old, &entries(0..3));
    let mut new = Log::open(store, signing_key()).unwrap();
    append(&mut new, &entries(3..5));
    let error = old.step(&entries(7..8)).unwrap_err();
    assert!(matches!(error, Fatal::Store(StoreError::Fenced { .. })), "{error}");
    append(&mut new, &entries(5..6));
    Naive::of(0..6).assert_equals(&new.reader().snapshot(), 6);
}

#[test]
fn refuses_to_create_over_a_log_and_to_open_none() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = FileStore::open(folder.path()).unwrap_err();
    assert!(matches!(nothing, StoreError::Absent { .. }), "{nothing}");
    assert!(files_below(folder.path()).is_empty(), "a refused open leaves nothing behind");

    let below = folder.path().join("new/folders");
    let headless = Log::open(FileStore::create(&below).unwrap(), signing_key()).unwrap_err();
    assert!(matches!(headless, OpenError::Store(StoreError::Headless)), "{headless}");
    let mut log = Log::create(FileStore::create(&below).unwrap(), signing_key()).unwrap();
    append(&mut log, &entries(0..3));
    drop(log);
    let again = Log::create(FileStore::create(&below).unwrap(), signing_key()).unwrap_err();
    assert!(matches!(again, OpenError::Store(StoreError::Exists)), "{again}");
    let log = Log::open(FileStore::open(&below).unwrap(), signing_key()).unwrap();
    Naive::of(0..3).assert_equals(&log.reader().snapshot(), 3);
}

/// A log of 600 entries in a folder, for tests that tamper with it.
fn folder_of_600() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    for from in [0, 200, 400] {
        append(&mut log, &entries(from..from + 200));
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Log<FileStore>, OpenError> {
    Log::open(FileStore::open(folder.path())?, signing_key())
}

#[test]
fn refuses_to_start_when_what_is_stored_contradicts_itself() {
    let signed = |size, key: &SigningKey| {
        let head = TreeHead { size, root: Hash::of(&[b"other"]) };
        SignedCheckpoint::sign(key, head).as_bytes().to_vec()
    };
    let stranger = SigningKey::from_seed(KeyName::parse("log.example/test").unwrap(), &[8; 32]);
    let other_origin =
        SigningKey::from_seed(KeyName::parse("log.example/other").unwrap(), &[7; 32]);
    let cases: [(&str, &str, Vec<u8>); 10] = [
        ("root of another size", "UPDATE head SET checkpoint = ?1", signed(599, &signing_key())),
        ("other root of this size", "UPDATE head SET checkpoint = ?1", signed(600, &signing_key())),
        ("signature of another key", "UPDATE head SET checkpoint = ?1", signed(600, &stranger)),
        ("other origin", "UPDATE head SET checkpoint = ?1", signed(600, &other_origin)),
        ("head row behind", "UPDATE head SET size = 599 WHERE ?1 = ?1", vec![]),
        ("tail is gone", "DELETE FROM staged WHERE ?1 = ?1", vec![]),
        (
            "staged batch of the middle is gone",
            "DELETE FROM staged WHERE start = 400 AND ?1 = ?1",
            vec![],
        ),
        (
            "staged entry changed",
            "UPDATE staged SET entries = replace(entries, 'entry 599', 'entry 699') WHERE ?1 = ?1",
            vec![],
        ),
        (
            "staged batch cut",
            "UPDATE staged SET entries = substr(entries, 1, 9) WHERE ?1 = ?1",
            vec![],
        ),
        ("foreign database", "PRAGMA user_version = 9", vec![]),
    ];
    let original = folder_of_600();
    for (name, sql, value) in cases {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(original.path(), folder.path());
        let database = Connection::open(folder.path().join("log.db")).unwrap();
        if sql.starts_with("PRAGMA") {
            database.execute_batch(sql).unwrap();
        } else if sql.contains("replace") {
            // Text functions make text of a blob, which a strict table does not take.
            let sql = sql.replace("replace(entries", "CAST(replace(CAST(entries AS TEXT)");
            let sql = sql.replace("'entry 699')", "'entry 699') AS BLOB)");
            assert_ne!(database.execute(&sql, [value]).unwrap(), 0, "{name}");
        } else {
            assert_ne!(database.execute(sql, [value]).unwrap(), 0, "{name}");
        }
        drop(database);
        let error = open(&folder).expect_err(name);
        println!("{name}: {error}");
    }
    open(&original).unwrap();
}

#[test]
fn refuses_a_database_older_than_the_tiles_beside_it() {
    let folder = folder_of_600();
    let backup = fs::read(folder.path().join("log.db")).unwrap();
    let mut log = open(&folder).unwrap();
    append(&mut log, &entries(600..800));
    drop(log);
    fs::write(folder.path().join("log.db"), backup).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, OpenError::RolledBack { size: 600, .. }), "{error}");
}

#[test]
fn other_bytes_under_the_name_of_a_tile_stop_the_writer() {
    let folder = folder_of_600();
    let mut log = open(&folder).unwrap();
    fs::write(folder.path().join("tile/0/002"), b"other").unwrap();
    let error = log.step(&entries(600..800)).unwrap_err();
    assert!(matches!(error, Fatal::Store(StoreError::Conflict { .. })), "{error}");
    assert_eq!(log.reader().head().size, 600);
}

#[test]
fn damaged_database_is_found_at_open() {
    let folder = folder_of_600();
    let file = folder.path().join("log.db");
    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    // The header of each page behind the first, which no free page can hide in so small a file.
    for page in (4096..length).step_by(4096) {
        bytes[page..page + 8].fill(0xff);
    }
    fs::write(&file, bytes).unwrap();
    let error = open(&folder).unwrap_err();
    println!("{error}");
}

#[test]
fn damaged_artifact_is_not_given_out_and_is_healed_by_sending_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::create(folder.path()).unwrap();
    let artifacts = store.artifacts();
    let stored = artifacts.put(b"some artifact").unwrap();
    let file = files_below(&folder.path().join("artifacts")).remove(0);
    fs::write(file, b"some artefact").unwrap();
    let damaged = artifacts.get(&stored.digest, 99).unwrap_err();
    assert!(matches!(damaged, ArtifactError::Damaged { .. }), "{damaged}");
    artifacts.put(b"some artifact").unwrap();
    assert_eq!(artifacts.get(&stored.digest, 99).unwrap().unwrap(), b"some artifact");
}

#[test]
fn uploads_of_a_dead_process_are_cleared_at_open() {
    let folder = tempfile::tempdir().unwrap();
    drop(FileStore::create(folder.path()).unwrap());
    let left = folder.path().join("artifacts/incoming/17");
    fs::write(&left, b"half").unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    assert!(!left.exists());
    store.artifacts().put(b"whole").unwrap();
}

#[test]
fn same_tile_left_by_a_dead_process_is_taken() {
    let folder = folder_of_600();
    let naive = Naive::of(0..800);
    let path = tlog::TilePath::parse("tile/entries/002").unwrap();
    let mut log = open(&folder).unwrap();
    fs::write(folder.path().join(path.to_string()), naive.tile(&path)).unwrap();
    append(&mut log, &entries(600..800));
    naive.assert_equals(&log.reader().snapshot(), 20);
    append(&mut log, &[entry(800)]);
}
