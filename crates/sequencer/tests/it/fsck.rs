//! A stopped log's folder: every flipped bit of every file is found, and said where it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rusqlite::Connection;
use sequencer::fault::{Failpoints, Fault};
use sequencer::{
    Artifacts, Checked, FileStore, FolderFinding, Inspector, Log, Objection, Remedy, StatementKey,
    StoppedLog, Store as _, StoreError, Weight,
};
use tempfile::TempDir;
use tlog::{Hash, TILE_WIDTH};

use crate::support::{
    append, copy_folder, entries, entry, files_below, key_of, signing_key, verifier,
};

/// Collects what is found. Has something against entries that begin with "bad".
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

    fn entry(&mut self, index: u64, entry: &[u8], artifacts: &Artifacts) -> Vec<Objection> {
        self.seen.push(index);
        let digest = Hash::of(&[b"an artifact"]);
        let bytes = artifacts.read(&digest, 11).unwrap().filter(|_| index == 1);
        let about = |artifact, problem: &str| {
            let (problem, remedy) = (problem.to_owned(), Remedy::Tell);
            Objection { artifact, problem, remedy }
        };
        let own = entry.starts_with(b"bad").then(|| about(None, "is bad"));
        let named = bytes.is_some_and(|bytes| bytes != b"an artifact");
        own.into_iter().chain(named.then(|| about(Some(digest), "is another"))).collect()
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

pub(crate) fn findings(folder: &Path) -> Vec<FolderFinding> {
    check(&StoppedLog::open(folder).unwrap()).0
}

/// What is damaged, without what a killed process may leave.
pub(crate) fn damage(folder: &Path) -> Vec<String> {
    let damage = findings(folder).into_iter().filter(|f| f.weight == Weight::Damage);
    damage.map(|finding| finding.to_string()).collect()
}

/// A log of this size, written in batches of 50, or of 1,024 if it is large; closed.
fn log_without_artifacts(size: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    let batch = if size > 10_000 { 1_024 } else { 50 };
    for first in (0..size).step_by(batch as usize) {
        append(&mut log, &entries(first..size.min(first + batch)));
    }
    folder
}

/// The same with two artifacts.
fn log_of(size: u64) -> TempDir {
    let folder = log_without_artifacts(size);
    let store = FileStore::open(folder.path()).unwrap();
    store.artifacts().put(b"an artifact").unwrap();
    store.artifacts().put(b"").unwrap();
    drop(store);
    folder
}

/// A file of which one bit at a time is the wrong way round.
struct Flipped {
    file: File,
    bytes: Vec<u8>,
}

impl Flipped {
    fn open(path: &Path) -> Self {
        let file = File::options().write(true).open(path).unwrap();
        Self { file, bytes: fs::read(path).unwrap() }
    }

    fn bits(&self) -> u64 {
        8 * self.bytes.len() as u64
    }

    fn flip(&mut self, bit: u64) {
        let byte = &mut self.bytes[(bit / 8) as usize];
        *byte ^= 1 << (bit % 8);
        self.file.seek(SeekFrom::Start(bit / 8)).unwrap();
        self.file.write_all(&[*byte]).unwrap();
    }
}

fn flip(path: &Path, bit: u64) {
    Flipped::open(path).flip(bit);
}

/// Flips each of these bits of a file and back again, and calls `check` between with the folder,
/// the database in it as it was read before the flip, and the bit. All cores share the work, each
/// on a copy of the folder. Returns how many bits there were.
fn each_flip(
    folder: &Path,
    name: &str,
    bits: impl Fn(u64) -> Box<dyn Iterator<Item = u64>> + Sync,
    check: impl Fn(&Path, &StoppedLog, u64) + Sync,
) -> u64 {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let flipped = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (bits, check, flipped) = (&bits, &check, &flipped);
            scope.spawn(move || {
                let copy = tempfile::tempdir().unwrap();
                copy_folder(folder, copy.path());
                let stopped = StoppedLog::open(copy.path()).unwrap();
                let mut file = Flipped::open(&copy.path().join(name));
                for bit in bits(file.bits()).skip(worker).step_by(workers) {
                    file.flip(bit);
                    check(copy.path(), &stopped, bit);
                    file.flip(bit);
                    flipped.fetch_add(1, Ordering::Relaxed);
                }
                let after = findings(copy.path());
                assert!(after.iter().all(|f| f.weight == Weight::Leftover), "{after:#?}");
            });
        }
    });
    flipped.into_inner()
}

fn all(bits: u64) -> Box<dyn Iterator<Item = u64>> {
    Box::new(0..bits)
}

/// What a flip must lead to: damage, in this file and no other.
fn assert_found(found: &[FolderFinding], file: &str, bit: u64) {
    let damage: Vec<_> = found.iter().filter(|f| f.weight == Weight::Damage).collect();
    assert!(!damage.is_empty(), "bit {bit} of {file} is not found");
    for finding in damage {
        assert_eq!(finding.file, file, "bit {bit} (byte {:#x}): {finding}", bit / 8);
    }
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
        assert_eq!(checked.artifacts.digests().len(), 2);
        assert_eq!(state_of(folder.path()), before, "size {size}");
    }
}

#[test]
fn every_flipped_bit_of_tiles_and_bundles_is_found_in_its_file() {
    let folder = log_without_artifacts(256);
    for name in ["tile/0/000", "tile/entries/000"] {
        let bits = each_flip(folder.path(), name, all, |_, stopped, bit| {
            assert_found(&check(stopped).0, name, bit);
        });
        println!("{name}: {bits} bits, all found");
        assert!(bits > 20_000, "{name} has {bits} bits");
    }
}

#[test]
fn every_flipped_bit_of_an_artifact_is_found_in_its_file() {
    let folder = log_of(3);
    let name = Artifacts::name(&Hash::of(&[b"an artifact"]));
    let bits = each_flip(folder.path(), &name, all, |_, stopped, bit| {
        assert_found(&check(stopped).0, &name, bit);
    });
    assert_eq!(bits, 88);
}

#[test]
fn flipped_or_missing_tile_of_an_upper_level_is_named() {
    let folder = log_without_artifacts(65_536);
    assert_eq!(findings(folder.path()), []);
    let path = folder.path().join("tile/1/000");
    flip(&path, 8 * 32 * 9 + 3);
    let found = damage(folder.path());
    let expected = "tile/1/000 (hash 9, bytes 288 to 319): is not the root of the tile below";
    assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{found:?}");
    flip(&path, 8 * 32 * 9 + 3);
    // Whoever believes the tile above must not believe a flipped one below.
    flip(&folder.path().join("tile/0/200"), 77);
    let found = damage(folder.path());
    assert!(matches!(&found[..], [one] if one.starts_with("tile/0/200 (entry 51200")), "{found:?}");
    flip(&folder.path().join("tile/0/200"), 77);
    fs::remove_file(&path).unwrap();
    assert_eq!(damage(folder.path()), ["tile/1/000: is missing"]);
}

#[test]
fn every_flipped_bit_of_the_sums_is_found_in_them() {
    let folder = log_of(300);
    let bits = each_flip(folder.path(), "log.sums", all, |folder, _, bit| {
        assert_found(&findings(folder), "log.sums", bit);
    });
    println!("log.sums: {bits} bits, all found");
}

#[test]
fn flipped_hash_names_its_entry() {
    let folder = log_of(300);
    flip(&folder.path().join("tile/0/000"), 8 * 32 * 17);
    let found = damage(folder.path());
    let expected = "tile/0/000 (entry 17, bytes 544 to 575): was changed: expected leaf hash ";
    assert!(found[0].starts_with(expected), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn some_thousand_flipped_bits_of_the_database_are_found_in_it() {
    let folder = log_of(300);
    let some = |bits| -> Box<dyn Iterator<Item = u64>> { Box::new((5..bits).step_by(199)) };
    let bits = each_flip(folder.path(), "log.db", some, |folder, _, bit| {
        assert_found(&findings(folder), "log.db", bit);
    });
    println!("log.db: {bits} bits, all found");
    assert!(bits > 2_000);
}

#[test]
#[ignore = "an hour: every single bit of the database, by a check of its own"]
fn every_flipped_bit_of_the_database_is_found_in_it() {
    let folder = log_of(300);
    let bits = each_flip(folder.path(), "log.db", all, |folder, _, bit| {
        assert_found(&findings(folder), "log.db", bit);
    });
    println!("log.db: {bits} bits, all found");
}

/// Where the database holds these bytes.
fn places(folder: &Path, needle: &[u8]) -> Vec<u64> {
    let bytes = fs::read(folder.join("log.db")).unwrap();
    let found = bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle);
    found.map(|(at, _)| at as u64).collect()
}

#[test]
fn flipped_bit_in_a_row_is_found_with_its_row_and_its_page() {
    let folder = log_of(300);
    let path = folder.path().join("log.db");
    let connection = Connection::open(&path).unwrap();
    let blob = |query: &str| -> Vec<u8> { connection.query_row(query, [], |r| r.get(0)).unwrap() };
    let rows = [
        (blob("SELECT checkpoint FROM head"), "head"),
        (blob("SELECT root FROM head"), "head"),
        (blob("SELECT entries FROM staged"), "staged batch at 250"),
        (blob("SELECT hash FROM leaf WHERE position = 99"), "leaf of entry 99"),
        (blob("SELECT key FROM statement WHERE position = 299"), "statement of entry 299"),
    ];
    drop(connection);
    for (needle, row) in rows {
        // The live cell is the last to be written; a page may hold an older copy.
        let mut live = 0;
        for start in places(folder.path(), &needle) {
            let bits = 8 * start..8 * (start + needle.len() as u64);
            let bits = |_| -> Box<dyn Iterator<Item = u64>> { Box::new(bits.clone().step_by(37)) };
            let named = AtomicU64::new(0);
            let flipped = each_flip(folder.path(), "log.db", bits, |folder, _, bit| {
                let found = findings(folder);
                assert_found(&found, "log.db", bit);
                let page = format!("page {}, ", 1 + bit / 8 / 4096);
                let at = |place: &str| {
                    let at = |f: &FolderFinding| f.place.as_deref().unwrap().starts_with(place);
                    found.iter().any(at)
                };
                assert!(at(&page), "bit {bit} of {row}: {found:#?}");
                named.fetch_add(u64::from(at(row)), Ordering::Relaxed);
            });
            live += u64::from(named.into_inner() == flipped);
        }
        assert!(live >= 1, "no flip in the live cell of {row} was named");
    }
}

#[test]
fn database_that_was_cut_short_or_has_foreign_pages_is_found() {
    let folder = log_of(300);
    let path = folder.path().join("log.db");
    let sound = fs::read(&path).unwrap();
    let last = sound.len() / 4096;
    fs::write(&path, &sound[..sound.len() - 4096]).unwrap();
    let found = damage(folder.path());
    let cut = format!("log.db (page {last}, bytes {} to {})", sound.len() - 4096, sound.len() - 1);
    assert!(found.iter().any(|f| f.starts_with(&format!("{cut}: is not there"))), "{found:#?}");
    let swapped = [&sound[..4096], &sound[8192..12288], &sound[4096..8192], &sound[12288..]];
    fs::write(&path, swapped.concat()).unwrap();
    let found = damage(folder.path());
    for page in ["log.db (page 2, ", "log.db (page 3, "] {
        assert!(found.iter().any(|f| f.starts_with(page)), "{found:#?}");
    }
    fs::write(&path, [&sound[..], b"x"].concat()).unwrap();
    let found = damage(folder.path());
    assert!(found.iter().any(|f| f.contains("are less than a page")), "{found:#?}");
    fs::write(&path, &sound).unwrap();
    assert_eq!(findings(folder.path()), []);
}

#[test]
fn database_without_sums_is_checked_by_its_rows_and_gets_them_at_the_next_start() {
    let folder = log_of(300);
    let sums = folder.path().join("log.sums");
    let before = fs::read(&sums).unwrap();
    fs::remove_file(&sums).unwrap();
    let found = findings(folder.path());
    assert_eq!((found.len(), found[0].weight), (1, Weight::Leftover), "{found:?}");
    assert!(found[0].to_string().starts_with("log.sums: is not there"), "{found:?}");
    drop(FileStore::open(folder.path()).unwrap());
    assert_eq!(fs::read(&sums).unwrap(), before, "nothing was written since");
    assert_eq!(findings(folder.path()), []);
    fs::write(&sums, &before[1..]).unwrap();
    let refused = FileStore::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("log.sums: its first 24 bytes"), "{refused}");
}

#[test]
fn rows_that_were_changed_added_or_removed_are_named() {
    let leaf = |n: u64| format!("(SELECT hash FROM leaf WHERE position = {n})");
    let changes = [
        ("UPDATE head SET size = 299".to_owned(), "log.db (head): differs from its own checkpoint"),
        ("UPDATE head SET root = zeroblob(32)".to_owned(), "found size 300 and root 00000000"),
        ("UPDATE head SET epoch = 0".to_owned(), "log.db (head): epoch 0"),
        ("DELETE FROM head".to_owned(), "log.db (head): is not there"),
        ("DELETE FROM staged".to_owned(), "entries 256 to 299 are neither staged nor in a bundle"),
        ("UPDATE staged SET start = 249".to_owned(), "log.db (staged): entries 299 to 299"),
        (
            "UPDATE staged SET start = 251".to_owned(),
            "ends beyond the log: expected 300, found 301",
        ),
        ("UPDATE staged SET count = 49".to_owned(), "it says 49 entries, and holds 50"),
        (
            "DELETE FROM leaf WHERE position = 7".to_owned(),
            "log.db (leaf of entry 7): is not there",
        ),
        (
            "DELETE FROM statement WHERE position = 299".to_owned(),
            "log.db (statement of entry 299): is not there",
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
            "log.db (statement of entry 10): is not the key of the statement: expected ",
        ),
        ("CREATE TABLE extra (x)".to_owned(), "its tables are not those of a log"),
        (
            "CREATE TRIGGER t AFTER INSERT ON leaf BEGIN SELECT 1; END".to_owned(),
            "its tables are not those of a log",
        ),
        ("PRAGMA user_version = 2".to_owned(), "its schema version cannot be right"),
        ("PRAGMA journal_mode = DELETE".to_owned(), "its write and read version cannot be right"),
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
        ("artifacts/00/", Weight::Foreign, "is no part of a log"),
        ("artifacts/ab", Weight::Foreign, "is no part of a log"),
        ("artifacts/incoming/0", Weight::Leftover, "is an upload"),
        ("link", Weight::Foreign, "is neither file nor folder"),
        ("lock", Weight::Damage, "is always empty"),
        ("log.db-journal", Weight::Damage, "is a rollback journal"),
        ("notes.txt", Weight::Foreign, "is no part of a log"),
        ("tile/0/001.tmp", Weight::Leftover, "is a file that"),
        ("tile/0/002.p/88", Weight::Foreign, "is a partial tile"),
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
    assert!(found.starts_with("log.db (head): its checkpoint does not hold under "), "{found}");
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
        let left: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(
            matches!(&left[..], [shm] if shm.starts_with("log.db-shm: holds nothing")),
            "{left:?}"
        );
        assert_eq!(found[0].weight, Weight::Leftover);
        assert_eq!(checked.head.unwrap().size, size, "what is in the write-ahead log counts");
        drop(stopped);
        assert_eq!(state_of(folder.path()), before);
    }
}

#[test]
fn flipped_bits_of_the_write_ahead_log_are_found_in_it() {
    let folder = killed(300);
    let some = |bits| -> Box<dyn Iterator<Item = u64>> {
        // Every bit of the header and of the first frame's, then some of all.
        Box::new((0..8 * (32 + 24)).chain((999..bits).step_by(6_007)))
    };
    let bits = each_flip(folder.path(), "log.db-wal", some, |folder, _, bit| {
        let found = findings(folder);
        let named = found.iter().any(|f| f.file == "log.db-wal" && f.weight == Weight::Damage);
        assert!(named, "bit {bit}: {found:?}");
    });
    println!("log.db-wal: {bits} bits, all found");
    assert!(bits > 500);
}

#[test]
fn frame_that_a_kill_cut_short_is_no_damage() {
    let folder = killed(300);
    let wal = folder.path().join("log.db-wal");
    let whole = fs::read(&wal).unwrap();
    let frame = 24 + 4096;
    let last = whole.len() - frame;
    // SQLite writes a frame's header, then its page; an earlier page may stand in that place.
    for written in [24, 25, 1_000, 4_000] {
        let mut torn = whole.clone();
        let earlier = whole[last - frame + written..last].to_vec();
        torn[last + written..].copy_from_slice(&earlier);
        if torn == whole {
            continue;
        }
        fs::write(&wal, &torn).unwrap();
        let found = findings(folder.path());
        // (This one was acknowledged, so other files tell of what it held.)
        let named: Vec<_> = found.iter().filter(|f| f.file == "log.db-wal").collect();
        assert!(
            matches!(&named[..], [rest] if rest.problem.starts_with("hold nothing")),
            "{found:?}"
        );
        assert_eq!(named[0].weight, Weight::Leftover);
    }
}

#[test]
fn frames_that_nobody_committed_are_no_damage_and_those_with_a_commit_after_them_are() {
    let folder = killed(300);
    let wal = folder.path().join("log.db-wal");
    let whole = fs::read(&wal).unwrap();
    let frames: Vec<_> = whole[32..].chunks(24 + 4096).collect();
    let commits: Vec<_> = (0..frames.len()).filter(|i| frames[*i][4..8] != [0; 4]).collect();
    assert!(commits.len() > 4 && commits.last() == Some(&(frames.len() - 1)));
    let written = |frames: &[&[u8]]| {
        fs::write(&wal, [&whole[..32], &frames.concat()].concat()).unwrap();
        let found = findings(folder.path());
        found.into_iter().filter(|f| f.file == "log.db-wal").collect::<Vec<_>>()
    };
    // Killed within the last transaction; the next process wrote one frame, and was killed too.
    let (start, end) = (commits[commits.len() - 2] + 1, frames.len() - 1);
    assert!(end - start >= 2, "the transaction has {} frames", end - start);
    let mut left = frames[..end].to_vec();
    let other: Vec<u8> = frames[start].iter().map(|byte| byte.wrapping_add(1)).collect();
    let other = [&other[..8], &frames[start][8..16], &other[16..]].concat();
    left[start] = &other;
    let found = written(&left);
    assert!(matches!(&found[..], [rest] if rest.weight == Weight::Leftover), "{found:?}");
    // The same within an earlier transaction is damage, though it is far from one bit.
    for place in [0, 7, commits[1], commits[2] - 1] {
        let mut damaged = frames.clone();
        let other: Vec<u8> = frames[place].iter().map(|byte| byte.wrapping_add(1)).collect();
        let other = [&other[..8], &frames[place][8..24], &other[24..]].concat();
        damaged[place] = &other;
        let found = written(&damaged);
        let of_it = format!("frame {},", place + 1);
        assert!(
            found.iter().any(|f| f.weight == Weight::Damage
                && f.place.as_deref().is_some_and(|at| at.starts_with(&of_it))),
            "{found:?}"
        );
    }
}

/// A folder whose write-ahead log was copied back while it was written, then killed.
fn killed_after_folding() -> TempDir {
    let live = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(live.path()).unwrap(), signing_key()).unwrap();
    let longest = 32 << 20;
    let mut next = 0;
    let wal = live.path().join("log.db-wal");
    // It is written from its beginning again once it was copied back, and does not become shorter.
    let length = || fs::metadata(&wal).unwrap().len();
    let generation = || fs::read(&wal).unwrap()[16..24].to_vec();
    let first = generation();
    while length() < longest || generation() == first {
        append(&mut log, &entries(next..next + 900));
        next += 900;
        assert!(next < 200_000, "it is never copied back");
    }
    append(&mut log, &[entry(next)]);
    let folder = tempfile::tempdir().unwrap();
    copy_folder(live.path(), folder.path());
    folder
}

#[test]
fn pages_copied_back_under_load_have_their_sums_and_what_is_left_of_them_is_named() {
    let folder = killed_after_folding();
    let before = state_of(folder.path());
    let found = findings(folder.path());
    assert!(found.iter().all(|f| f.weight == Weight::Leftover), "{found:#?}");
    let wal = folder.path().join("log.db-wal");
    let length = fs::metadata(&wal).unwrap().len();
    let rest = found.iter().find(|f| f.file == "log.db-wal").unwrap();
    let place = rest.place.as_deref().unwrap().strip_prefix("bytes ").unwrap();
    let (first, last) = place.split_once(" to ").unwrap();
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    assert_eq!(last, length - 1);
    assert!(rest.problem.starts_with("hold nothing"), "{rest}");
    // Just before it every bit counts, from there on none.
    for bit in [8 * first - 1, 8 * first - 70, 8 * (first - 4000)] {
        flip(&wal, bit);
        assert!(!damage(folder.path()).is_empty(), "bit {bit}");
        flip(&wal, bit);
    }
    for bit in [8 * first, 8 * first + 77, 8 * last + 7] {
        flip(&wal, bit);
        assert_eq!(damage(folder.path()), [""; 0], "bit {bit}");
        flip(&wal, bit);
    }
    // And a page that only the database has.
    let database = folder.path().join("log.db");
    let middle = 4 * fs::metadata(&database).unwrap().len() + 5;
    flip(&database, middle);
    let found = damage(folder.path());
    let page = format!("log.db (page {}, ", 1 + middle / 8 / 4096);
    assert!(found.iter().any(|f| f.starts_with(&page)), "{found:#?}");
    flip(&database, middle);
    let after = state_of(folder.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    drop(Log::open(FileStore::open(folder.path()).unwrap(), signing_key()).unwrap());
    assert_eq!(findings(folder.path()), [], "the next start leaves nothing");
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
