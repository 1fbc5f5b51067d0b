//! Passes: what is found, what is kept, and where the next one begins.

use std::fs;
use std::path::Path;

use exchange::evidence;
use monitor::{Code, Monitor, MonitorError, Pass, Settings, Sources, View};
use tempfile::TempDir;
use tlog::evidence::{Evidence, KnownKeys, Role};
use tlog::{KeyKind, Policy, SignedCheckpoint, TreeHead, cosign};

use crate::log::{Files, Log, key};

pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn settings(log: &Log) -> Settings {
    let (policy, parties) = (None, Vec::new());
    Settings { log: log.vkey(), policy, max_age: 600, parties, max_entries: 1_000_000 }
}

pub(crate) fn open(folder: &Path, log: &Log) -> Monitor {
    Monitor::open(folder, settings(log), &|_| {}).unwrap()
}

pub(crate) fn pass(monitor: &mut Monitor, files: &Files) -> Pass {
    seeing(monitor, files, &[], NOW)
}

pub(crate) fn seeing(monitor: &mut Monitor, files: &Files, views: &[View], now: u64) -> Pass {
    monitor.pass(&sources(files, views), now, &|_| {}).unwrap()
}

pub(crate) fn sources<'a>(files: &'a Files, views: &'a [View]) -> Sources<'a> {
    Sources { files, place: "the log", artifacts: None, views }
}

pub(crate) fn codes(pass: &Pass) -> Vec<Code> {
    pass.findings.list().iter().map(|finding| finding.code).collect()
}

/// The one who is guilty by the first file of evidence.
fn guilty(pass: &Pass, log: &Log) -> Vec<String> {
    let path = pass.findings.list().iter().find_map(|finding| finding.evidence.as_ref()).unwrap();
    let file = Evidence::parse(&fs::read(path).unwrap()).unwrap();
    let known = KnownKeys::default().with(Role::Log, log.vkey());
    let judgement = evidence::judge(&file, &known).unwrap();
    judgement.guilty().map(|(_, name)| name.to_string()).collect()
}

#[test]
fn an_honest_log_has_no_findings_at_any_size() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(600);
    let mut monitor = open(folder.path(), &log);
    for size in [0, 1, 1, 2, 255, 256, 257, 300, 512, 513, 600] {
        let pass = pass(&mut monitor, &log.files(size));
        assert_eq!(codes(&pass), [], "{size}: {:?}", pass.findings);
        assert_eq!(pass.head, log.head(size));
    }
    assert_eq!(monitor.state().size(), 600);
}

/// What is verified once is neither fetched nor reported again, also after a restart.
#[test]
fn goes_on_where_the_last_pass_ended() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(520);
    for size in [10, 300, 300, 520] {
        let mut monitor = open(folder.path(), &log);
        let files = log.files(size);
        let before = monitor.head().size;
        assert_eq!(pass(&mut monitor, &files).entries, size - before);
        let fetched = files.fetched.borrow().clone();
        let expected = if size == before { 1 } else { 1 + size.div_ceil(256) - before / 256 };
        assert_eq!(fetched.len() as u64, expected, "{fetched:?}");
    }
    assert_eq!(open(folder.path(), &log).head(), log.head(520));
}

/// Killed at any step between two writes: the work is done again, and what was found in it too.
#[test]
fn a_crash_between_any_two_writes_skips_nothing() {
    let mut log = Log::new();
    log.grow(40);
    let before = log.files(40);
    log.push(b"noise".to_vec());
    log.grow(70);
    let after = log.files(70);
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).ok();
    let names = ["checkpoint", "findings.jsonl", "verified"];
    // How many of the writes came to disk before the crash.
    for written in 0..=names.len() {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        pass(&mut open(folder, &log), &before);
        let old = names.map(|name| read(folder, name));
        let first = pass(&mut open(folder, &log), &after);
        assert_eq!(codes(&first).first(), Some(&Code::Entry));
        let whole = names.map(|name| read(folder, name));
        for (name, bytes) in names.into_iter().zip(old).skip(written) {
            match bytes {
                Some(bytes) => fs::write(folder.join(name), bytes).unwrap(),
                None => fs::remove_file(folder.join(name)).unwrap(),
            }
        }
        // The old partial bundle goes last of all.
        fs::write(folder.join("tile/entries/000.p/40"), &before.files["tile/entries/000.p/40"])
            .unwrap();
        let again = pass(&mut open(folder, &log), &after);
        let expected = if written == names.len() { Vec::new() } else { codes(&first) };
        assert_eq!(codes(&again), expected, "after {written} writes");
        assert_eq!((again.head, again.standing), (log.head(70), first.standing));
        assert_eq!(names.map(|name| read(folder, name)), whole, "after {written} writes");
    }
}

/// A line of findings that was cut short is what a crash leaves.
#[test]
fn a_finding_that_was_half_written_is_written_again() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut log = Log::new();
    log.push(b"noise".to_vec());
    log.push(b"more noise".to_vec());
    let standing = pass(&mut open(folder, &log), &log.files(3)).standing;
    assert_eq!(standing, 2);
    let path = folder.join("findings.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    fs::remove_file(folder.join("verified")).unwrap();
    assert_eq!(pass(&mut open(folder, &log), &log.files(3)).standing, 2);
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn one_folder_has_one_monitor() {
    let folder = TempDir::new().unwrap();
    let log = Log::new();
    let first = open(folder.path(), &log);
    let Err(error) = Monitor::open(folder.path(), settings(&log), &|_| {}) else { panic!() };
    assert!(error.to_string().contains("another monitor works here"), "{error}");
    drop(first);
    open(folder.path(), &log);
}

#[test]
fn two_heads_of_one_size_convict_the_log() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(10);
    let mut other = log.fork();
    log.grow(20);
    other.grow(20);
    let mut monitor = open(folder.path(), &log);
    pass(&mut monitor, &log.files(20));
    let pass = pass(&mut monitor, &other.files(20));
    assert_eq!(codes(&pass), [Code::Conflict]);
    assert_eq!(guilty(&pass, &log), ["log.example/monitored"]);
    assert_eq!(pass.head, log.head(20), "what was verified stays");
}

#[test]
fn a_larger_head_of_another_history_convicts_the_log() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(10);
    let mut other = log.fork();
    log.grow(20);
    other.grow(300);
    for held in [16, 20] {
        let folder = folder.path().join(held.to_string());
        let mut monitor = open(&folder, &log);
        pass(&mut monitor, &log.files(held));
        let pass = pass(&mut monitor, &other.files(300));
        assert_eq!(codes(&pass), [Code::Conflict], "{:?}", pass.findings);
        assert_eq!(guilty(&pass, &log), ["log.example/monitored"]);
    }
}

#[test]
fn a_smaller_head_of_the_same_history_is_a_finding_and_no_proof() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(20);
    let mut monitor = open(folder.path(), &log);
    pass(&mut monitor, &log.files(20));
    let pass = pass(&mut monitor, &log.files(7));
    assert_eq!(codes(&pass), [Code::Rollback]);
    assert_eq!(pass.findings.list()[0].evidence, None);
    assert_eq!(pass.head.size, 20);
}

#[test]
fn what_somebody_else_saw_is_compared() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(10);
    let mut other = log.fork();
    log.grow(30);
    other.grow(30);
    let mut monitor = open(folder.path(), &log);
    let view = |checkpoint: SignedCheckpoint| View {
        place: "lab B".to_owned(),
        note: checkpoint.as_bytes().to_vec(),
    };
    let views = [
        view(log.checkpoint(12)),
        view(other.checkpoint(10)),
        view(other.checkpoint(25)),
        view(other.fork().checkpoint(30)),
        View { place: "lab C".to_owned(), note: b"not a note".to_vec() },
    ];
    let pass = seeing(&mut monitor, &log.files(30), &views, NOW);
    assert_eq!(codes(&pass), [Code::Conflict, Code::Conflict, Code::NotSigned]);
    assert_eq!(guilty(&pass, &log), ["log.example/monitored"]);
    assert_eq!(pass.findings.list()[0].place, "lab B");
}

/// Every byte of every file that a pass reads.
#[test]
fn a_changed_byte_anywhere_is_found_and_nothing_moves() {
    let mut log = Log::new();
    log.grow(6);
    let good = log.files(6);
    for (path, bytes) in &good.files {
        for at in 0..bytes.len() {
            let mut files = good.clone();
            files.files.get_mut(path).unwrap()[at] ^= 1;
            let folder = TempDir::new().unwrap();
            let mut monitor = open(folder.path(), &log);
            let pass = pass(&mut monitor, &files);
            let named = matches!(codes(&pass)[..], [Code::NotSigned | Code::WrongBytes]);
            assert!(named, "{path}, byte {at}: {:?}", pass.findings);
            assert_eq!(pass.head, TreeHead::EMPTY, "{path}, byte {at}");
        }
    }
}

#[test]
fn withheld_files_are_a_finding_and_an_absent_log_an_error() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(300);
    let mut monitor = open(folder.path(), &log);
    let mut files = log.files(300);
    files.files.remove("tile/entries/001.p/44");
    let pass = pass(&mut monitor, &files);
    assert_eq!(codes(&pass), [Code::Withheld]);
    assert_eq!(pass.head, TreeHead::EMPTY);
    files.files.clear();
    let error = monitor.pass(&sources(&files, &[]), NOW, &|_| {}).unwrap_err();
    assert!(matches!(error, MonitorError::NoCheckpoint(_)));
}

#[test]
fn an_entry_that_no_honest_log_holds_is_named() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(4);
    log.push(b"{}".to_vec());
    let again = log.leaves[2].clone();
    log.push(again);
    log.grow(8);
    let pass = pass(&mut open(folder.path(), &log), &log.files(8));
    let at: Vec<_> = pass.findings.list().iter().map(|f| (f.code, f.index.unwrap())).collect();
    assert_eq!(at[..2], [(Code::Entry, 4), (Code::Entry, 5)]);
    assert_eq!(pass.head.size, 8, "the log's lies are part of what it signed");
}

#[test]
fn old_heads_and_missing_witnesses_are_findings() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(3);
    let witness = key("witness.example");
    let policy = format!(
        "log {}\nwitness w {}\nquorum w\n",
        log.vkey(),
        witness.verifier(KeyKind::Cosignature)
    );
    let settings =
        || Settings { policy: Some(Policy::parse(policy.as_bytes()).unwrap()), ..settings(&log) };
    let cosigned = |time: u64| {
        let signed = log.checkpoint(3);
        let line = cosign(signed.checkpoint(), &witness, time).unwrap();
        let note = signed.note().with_signature(line).unwrap();
        let mut files = log.files(3);
        files.files.insert("checkpoint".to_owned(), note.as_bytes().to_vec());
        files
    };
    let found = |files: &Files| {
        let folder = folder.path().join(files.files["checkpoint"].len().to_string());
        let _ = fs::remove_dir_all(&folder);
        let mut monitor = Monitor::open(&folder, settings(), &|_| {}).unwrap();
        let pass = pass(&mut monitor, files);
        (codes(&pass), pass.age)
    };
    assert_eq!(found(&cosigned(NOW - 600)), (vec![], Some(600)));
    assert_eq!(found(&cosigned(NOW - 601)), (vec![Code::Stale], Some(601)));
    assert_eq!(found(&cosigned(NOW + 301)).0, [Code::QuorumShort]);
    assert_eq!(found(&log.files(3)), (vec![Code::QuorumShort], None));
}

#[test]
fn a_folder_of_another_log_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(3);
    pass(&mut open(folder.path(), &log), &log.files(3));
    let mut other = Log::new();
    other.key = key("log.example/other");
    assert!(Monitor::open(folder.path(), settings(&other), &|_| {}).is_err());
    // Or one whose copy was changed.
    let path = folder.path().join("tile/entries/000.p/3");
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(Monitor::open(folder.path(), settings(&log), &|_| {}).is_err());
}
