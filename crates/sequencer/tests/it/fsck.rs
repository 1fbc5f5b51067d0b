//! A stopped log's folder: every flipped bit is found, or nothing that anyone reads has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use sequencer::fault::{Failpoints, Fault};
use sequencer::{
    Checked, FileStore, FolderFinding, Inspector, Log, StatementKey, StoppedLog, Store as _,
    StoreError, Weight,
};
use tempfile::TempDir;
use tlog::{Hash, TILE_WIDTH};

use crate::support::{append, copy_folder, entries, files_below, key_of, signing_key, verifier};

/// Collects what is found and judges nothing.
#[derive(Default)]
struct Collector {
    findings: Vec<FolderFinding>,
    seen: Vec<u64>,
}

impl Inspector for Collector {
    fn key_of(&mut self, entry: &[u8]) -> Option<StatementKey> {
        let text = std::str::from_utf8(entry).ok()?;
        Some(key_of(text.split(' ').nth(1)?.parse().ok()?))
    }

    fn entry(&mut self, index: u64, entry: &[u8]) -> Option<String> {
        self.seen.push(index);
        entry.starts_with(b"bad").then(|| "is bad".to_owned())
    }

    fn found(&mut self, finding: FolderFinding) {
        self.findings.push(finding);
    }
}

fn check(stopped: &StoppedLog) -> (Vec<FolderFinding>, Checked, Vec<u64>) {
    let mut collector = Collector::default();
    let checked = stopped.check(Some(&verifier()), &mut collector).unwrap();
    (collector.findings, checked, collector.seen)
}

fn findings(folder: &Path) -> Vec<FolderFinding> {
    check(&StoppedLog::open(folder).unwrap()).0
}

/// What is damaged, without what a killed process may leave.
fn damage(folder: &Path) -> Vec<String> {
    let damage = findings(folder).into_iter().filter(|f| f.weight == Weight::Damage);
    damage.map(|finding| finding.to_string()).collect()
}

/// A log of this size, written in batches of 50, with two artifacts; closed.
fn log_of(size: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    for first in (0..size).step_by(50) {
        append(&mut log, &entries(first..size.min(first + 50)));
    }
    log.store().artifacts().put(b"an artifact").unwrap();
    log.store().artifacts().put(b"").unwrap();
    folder
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// Every file with its bytes and the time of its last change.
fn state_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let read = |path: PathBuf| {
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, (bytes, changed))
    };
    files_below(folder).into_iter().map(read).collect()
}

#[test]
fn sound_logs_of_all_sizes_have_no_findings_and_are_not_touched() {
    for size in [0, 1, 255, 256, 257, 300, 512, 700] {
        let folder = log_of(size);
        let before = state_of(folder.path());
        let stopped = StoppedLog::open(folder.path()).unwrap();
        let (found, checked, seen) = check(&stopped);
        assert_eq!(found, [], "size {size}");
        assert_eq!(checked.head.unwrap().size, size);
        assert_eq!((checked.judged, seen.len() as u64), (size, size));
        assert_eq!(checked.artifacts.len(), 2);
        assert_eq!(state_of(folder.path()), before, "size {size}");
    }
}

#[test]
fn every_flipped_bit_of_tiles_bundles_and_artifacts_is_found_in_its_file() {
    let folder = log_of(300);
    let stopped = StoppedLog::open(folder.path()).unwrap();
    let digest = Hash::of(&[b"an artifact"]);
    let artifact = stopped.artifact_path(&digest);
    let artifact = artifact.strip_prefix(folder.path()).unwrap().display().to_string();
    for name in ["tile/0/000", "tile/entries/000", &artifact] {
        let path = folder.path().join(name);
        let bits = 8 * fs::metadata(&path).unwrap().len();
        assert!(bits > 80, "{name} has {bits} bits");
        for bit in 0..bits {
            flip(&path, bit);
            let (found, ..) = check(&stopped);
            assert!(!found.is_empty(), "bit {bit} of {name}");
            for finding in &found {
                assert_eq!(finding.file, name, "bit {bit}: {finding}");
                assert_eq!(finding.weight, Weight::Damage);
            }
            flip(&path, bit);
        }
    }
    assert_eq!(check(&stopped).0, []);
}

#[test]
fn flipped_hash_names_its_entry() {
    let folder = log_of(300);
    flip(&folder.path().join("tile/0/000"), 8 * 32 * 17);
    let found = damage(folder.path());
    assert!(found[0].starts_with("tile/0/000 (entry 17): was changed"), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

/// All that a reader can ever get out of the database, but for the epoch.
fn content(path: &Path) -> Option<BTreeMap<String, Vec<Vec<Value>>>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let queries = [
        "SELECT size, root, checkpoint FROM head",
        "SELECT start, count, entries FROM staged",
        "SELECT hash, position FROM leaf ORDER BY hash",
        "SELECT hash, position FROM leaf NOT INDEXED",
        "SELECT key, position FROM statement ORDER BY key",
        "SELECT type, name, tbl_name, sql FROM sqlite_schema",
        "PRAGMA application_id",
        "PRAGMA user_version",
        "PRAGMA journal_mode",
        "PRAGMA encoding",
        "PRAGMA page_size",
        "PRAGMA page_count",
        "PRAGMA auto_vacuum",
    ];
    let mut content = BTreeMap::new();
    for query in queries {
        let mut statement = connection.prepare(query).ok()?;
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())
            .ok()?
            .collect::<Result<Vec<Vec<Value>>, _>>()
            .ok()?;
        content.insert(query.to_owned(), rows);
    }
    Some(content)
}

/// Flips every `step`th bit of the database, in place. Returns how many flips changed nothing.
fn flip_database(folder: &Path, first: u64, step: usize) -> (u64, u64) {
    let path = folder.join("log.db");
    let sound = content(&path).unwrap();
    let bits = 8 * fs::metadata(&path).unwrap().len();
    let (mut found, mut without_effect) = (0, 0);
    for bit in (first..bits).step_by(step) {
        flip(&path, bit);
        let findings = findings(folder);
        if findings.is_empty() {
            let damaged = content(&path);
            assert_eq!(damaged.as_ref(), Some(&sound), "bit {bit} (byte {:#x})", bit / 8);
            without_effect += 1;
        } else {
            assert!(
                findings.iter().all(|f| f.file == "log.db"),
                "bit {bit} (byte {:#x}): {findings:?}",
                bit / 8
            );
            found += 1;
        }
        flip(&path, bit);
    }
    (found, without_effect)
}

#[test]
fn flipped_bit_of_the_database_is_found_or_changes_nothing_that_is_read() {
    let folder = log_of(300);
    let (found, without_effect) = flip_database(folder.path(), 5, 199);
    println!("{found} flips found, {without_effect} without effect");
    assert!(found > without_effect / 4);
    assert_eq!(findings(folder.path()), []);
}

#[test]
#[ignore = "minutes: every single bit of the database"]
fn every_flipped_bit_of_the_database_is_found_or_changes_nothing_that_is_read() {
    let folder = log_of(300);
    let (found, without_effect) = flip_database(folder.path(), 0, 1);
    println!("{found} flips found, {without_effect} without effect");
}

/// Where the database holds these bytes.
fn places(folder: &Path, needle: &[u8]) -> Vec<u64> {
    let bytes = fs::read(folder.join("log.db")).unwrap();
    let found = bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle);
    found.map(|(at, _)| at as u64).collect()
}

#[test]
fn every_flipped_bit_of_checkpoint_and_staged_entries_is_found_with_its_row() {
    let folder = log_of(300);
    let path = folder.path().join("log.db");
    let connection = Connection::open(&path).unwrap();
    let checkpoint: Vec<u8> =
        connection.query_row("SELECT checkpoint FROM head", [], |r| r.get(0)).unwrap();
    let staged: Vec<u8> =
        connection.query_row("SELECT entries FROM staged", [], |r| r.get(0)).unwrap();
    drop(connection);
    for (needle, row) in [(checkpoint, "head"), (staged, "staged batch at 250")] {
        // The live cell is the last to be written; a page may hold an older copy.
        let mut live = 0;
        for start in places(folder.path(), &needle) {
            for bit in 8 * start..8 * (start + needle.len() as u64) {
                flip(&path, bit);
                let found = findings(folder.path());
                flip(&path, bit);
                if found.is_empty() {
                    continue;
                }
                live += 1;
                let named = found.iter().any(|f| f.row.as_deref() == Some(row));
                assert!(named, "bit {bit} of {row}: {found:?}");
            }
        }
        assert_eq!(live, 8 * needle.len(), "{row}");
    }
}

#[test]
fn rows_that_were_changed_added_or_removed_are_named() {
    let leaf = |n: u64| format!("(SELECT hash FROM leaf WHERE position = {n})");
    let changes = [
        ("UPDATE head SET size = 299".to_owned(), "log.db (head): it says size 299"),
        ("UPDATE head SET root = zeroblob(32)".to_owned(), "log.db (head): it says size 300"),
        ("UPDATE head SET epoch = 0".to_owned(), "log.db (head): epoch 0"),
        ("DELETE FROM head".to_owned(), "log.db (head): is not there"),
        ("DELETE FROM staged".to_owned(), "entries 256 to 300 are neither in a bundle nor staged"),
        ("UPDATE staged SET start = 249".to_owned(), "log.db (staged): entries 299 to 300"),
        ("UPDATE staged SET start = 251".to_owned(), "ends at entry 301"),
        ("UPDATE staged SET count = 49".to_owned(), "it says 49 entries, and holds 50"),
        ("DELETE FROM leaf WHERE position = 7".to_owned(), "log.db (leaf): entry 7 has no row"),
        (
            "DELETE FROM statement WHERE position = 299".to_owned(),
            "log.db (statement): entry 299 has no row",
        ),
        (
            "INSERT INTO leaf VALUES (zeroblob(32), 300)".to_owned(),
            "leads to entry 300, beyond the log's end",
        ),
        ("INSERT INTO statement VALUES (zeroblob(32), 8)".to_owned(), "entry 8 has a second row"),
        (
            format!("UPDATE leaf SET hash = zeroblob(32) WHERE hash = {}", leaf(9)),
            "log.db (leaf of entry 9)",
        ),
        (
            "UPDATE statement SET key = zeroblob(32) WHERE position = 10".to_owned(),
            "log.db (statement of entry 10): the statement's key is",
        ),
        ("CREATE TABLE extra (x)".to_owned(), "its tables are not those of a log"),
        (
            "CREATE TRIGGER t AFTER INSERT ON leaf BEGIN SELECT 1; END".to_owned(),
            "its tables are not those of a log",
        ),
        ("PRAGMA user_version = 2".to_owned(), "the schema version in its header"),
        ("PRAGMA journal_mode = DELETE".to_owned(), "the write and read version in its header"),
    ];
    for (change, expected) in changes {
        let folder = log_of(300);
        let connection = Connection::open(folder.path().join("log.db")).unwrap();
        connection.execute_batch(&change).unwrap();
        drop(connection);
        let found = damage(folder.path());
        assert!(found.iter().any(|f| f.contains(expected)), "{change}: {found:#?}");
    }
}

#[test]
fn database_older_than_the_tiles_beside_it_is_found() {
    let folder = log_of(200);
    let old = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), old.path());
    let mut log = Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap();
    append(&mut log, &entries(200..600));
    drop(log);
    fs::copy(old.path().join("log.db"), folder.path().join("log.db")).unwrap();
    let found = damage(folder.path());
    for name in ["tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"] {
        let expected = format!("{name}: is beyond the head of size 200");
        assert!(found.iter().any(|f| f.starts_with(&expected)), "{name}: {found:#?}");
    }
}

#[test]
fn missing_and_foreign_files_are_named() {
    let folder = log_of(600);
    let root = folder.path();
    fs::remove_file(root.join("tile/entries/001")).unwrap();
    fs::remove_file(root.join("tile/0/000")).unwrap();
    fs::write(root.join("lock"), "x").unwrap();
    fs::write(root.join("notes.txt"), "x").unwrap();
    fs::write(root.join("log.db-journal"), "x").unwrap();
    fs::create_dir_all(root.join("tile/0/002.p")).unwrap();
    fs::write(root.join("tile/0/002.p/88"), "x").unwrap();
    fs::write(root.join("artifacts/ab"), "x").unwrap();
    let digest = Hash::of(&[b"x"]).to_string();
    fs::create_dir_all(root.join("artifacts/00")).unwrap();
    fs::write(root.join("artifacts/00").join(&digest), "x").unwrap();
    fs::write(root.join("artifacts/incoming/0"), "half").unwrap();
    fs::write(root.join("tile/0/001.tmp"), "half").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("log.db", root.join("link")).unwrap();
    let found = findings(root);
    let expected = [
        ("artifacts/00/", Weight::Damage, "does not belong here"),
        ("artifacts/ab", Weight::Damage, "does not belong here"),
        ("artifacts/incoming/0", Weight::Leftover, "a killed process left it"),
        ("link", Weight::Damage, "is neither file nor folder"),
        ("lock", Weight::Damage, "is always empty"),
        ("log.db-journal", Weight::Damage, "does not belong here"),
        ("notes.txt", Weight::Damage, "does not belong here"),
        ("tile/0/001.tmp", Weight::Leftover, "a killed process left it"),
        ("tile/0/002.p/88", Weight::Damage, "is a partial tile"),
        ("tile/entries/001", Weight::Damage, "is missing"),
        ("tile/0/000", Weight::Damage, "is missing"),
    ];
    for (file, weight, problem) in expected {
        let named = found.iter().any(|f| {
            f.file.starts_with(file) && f.weight == weight && f.problem.starts_with(problem)
        });
        assert!(named, "{file}: {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn entries_after_a_gap_are_not_judged() {
    let folder = log_of(600);
    fs::remove_file(folder.path().join("tile/entries/001")).unwrap();
    let (_, checked, seen) = check(&StoppedLog::open(folder.path()).unwrap());
    assert_eq!(checked.judged, 256);
    assert_eq!(seen, (0..256).collect::<Vec<_>>());
}

#[test]
fn checkpoint_of_another_log_is_no_head() {
    let folder = log_of(3);
    let other =
        tlog::SigningKey::from_seed(tlog::KeyName::parse("log.example/x").unwrap(), &[8; 32]);
    let mut collector = Collector::default();
    let log = other.verifier(tlog::KeyKind::Ed25519);
    StoppedLog::open(folder.path()).unwrap().check(Some(&log), &mut collector).unwrap();
    let found = collector.findings[0].to_string();
    assert!(found.starts_with("log.db (head): its checkpoint: no known key"), "{found}");
}

#[test]
fn writer_keeps_checks_out_and_a_check_keeps_writers_out() {
    let folder = log_of(3);
    let store = FileStore::open(folder.path()).unwrap();
    let refused = StoppedLog::open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    drop(store);
    let stopped = StoppedLog::open(folder.path()).unwrap();
    let beside = StoppedLog::open(folder.path()).unwrap();
    assert!(matches!(FileStore::open(folder.path()).unwrap_err(), StoreError::Locked { .. }));
    drop((stopped, beside));
    FileStore::open(folder.path()).unwrap();

    let nothing = tempfile::tempdir().unwrap();
    let refused = StoppedLog::open(nothing.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Absent { .. }), "{refused}");
}

/// A folder as a killed process leaves it: copied while its writer lives.
fn killed(size: u64) -> TempDir {
    let live = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(live.path()).unwrap(), signing_key()).unwrap();
    for first in (0..size).step_by(50) {
        append(&mut log, &entries(first..size.min(first + 50)));
    }
    let folder = tempfile::tempdir().unwrap();
    copy_folder(live.path(), folder.path());
    folder
}

#[test]
fn log_of_a_killed_process_is_sound_and_not_touched() {
    for size in [0, 40, 300] {
        let folder = killed(size);
        let before = state_of(folder.path());
        assert!(fs::metadata(folder.path().join("log.db-wal")).unwrap().len() > 0);
        let stopped = StoppedLog::open(folder.path()).unwrap();
        let (found, checked, _) = check(&stopped);
        assert_eq!(found, [], "size {size}");
        assert_eq!(checked.head.unwrap().size, size, "what is in the write-ahead log counts");
        assert_eq!(state_of(folder.path()), before);
    }
}

#[test]
fn flipped_bit_of_the_write_ahead_log_is_found_or_changes_nothing_that_is_read() {
    let folder = killed(300);
    let path = folder.path().join("log.db-wal");
    let bits = 8 * fs::metadata(&path).unwrap().len();
    // Every bit of the header and of the first frame's, then some of all.
    let header = 0..8 * (32 + 24);
    let (mut found, mut last) = (0, 0);
    for bit in header.chain((999..bits).step_by(60_013)) {
        flip(&path, bit);
        let findings = findings(folder.path());
        flip(&path, bit);
        let named = findings.iter().any(|f| f.file == "log.db-wal");
        assert!(named, "bit {bit} of {bits}: {findings:?}");
        found += 1;
        last = bit;
    }
    println!("{found} flips found, the last one of bit {last} of {bits}");
    assert_eq!(findings(folder.path()), []);
}

#[test]
fn tiles_that_the_next_start_writes_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    drop(Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap());
    // As if the process had been killed between the commit and the tiles.
    let points = Failpoints::new(|place| (place == "tile/entries/000:made").then_some(Fault::Fail));
    let store = FileStore::open_with(folder.path(), points).unwrap();
    let mut log = Log::open(store, signing_key()).unwrap();
    log.step(&entries(0..TILE_WIDTH + 10)).unwrap_err();
    drop(log);
    let found = findings(folder.path());
    assert!(found.iter().all(|f| f.weight == Weight::Leftover), "{found:#?}");
    for file in ["tile/entries/000", "tile/0/000", "tile/entries/000.tmp"] {
        assert!(found.iter().any(|f| f.file == file), "{file}: {found:#?}");
    }
    drop(Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap());
    assert_eq!(findings(folder.path()), []);
}
