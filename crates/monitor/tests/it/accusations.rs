//! What convicts parties and witnesses, and what convicts nobody.

use std::fs;

use exchange::evidence;
use monitor::{Code, Pass, View};
use tempfile::TempDir;
use tlog::evidence::{Evidence, Kind, KnownKeys, Role};
use tlog::{KeyKind, Policy, SignedCheckpoint, cosign};

use crate::log::{Files, Log, key};
use crate::passes::{NOW, codes, open, pass, seeing, settings};

/// What the one finding with this code proves, to somebody who knows these keys.
fn judged(pass: &Pass, code: Code, known: &KnownKeys) -> (Kind, Vec<String>) {
    let found: Vec<_> = pass.findings.list().iter().filter(|f| f.code == code).collect();
    let [finding] = found.as_slice() else { panic!("{:?}", pass.findings) };
    let file = fs::read(finding.evidence.as_ref().unwrap()).unwrap();
    let judgement = evidence::judge(&Evidence::parse(&file).unwrap(), known).unwrap();
    let guilty = judgement.guilty().map(|(_, name)| name.to_string()).collect();
    (judgement.kind(), guilty)
}

#[test]
fn a_number_used_twice_convicts_the_party() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(300);
    log.say_again();
    let first = pass(&mut open(folder.path(), &log), &log.files(301));
    let lab = key("lab-a.example").verifier(KeyKind::Ed25519);
    let known = KnownKeys::default().with(Role::Party, lab);
    let (kind, guilty) = judged(&first, Code::StatementFork, &known);
    assert_eq!((kind, guilty), (Kind::StatementFork, vec!["lab-a.example".to_owned()]));
    assert_eq!(codes(&first), [Code::Entry, Code::StatementFork], "the log took it, too");
    // Whoever does not know the party accuses nobody.
    let stranger = KnownKeys::default().with(Role::Party, key("x").verifier(KeyKind::Ed25519));
    assert_eq!(judged(&first, Code::StatementFork, &stranger).1, Vec::<String>::new());
}

/// A log with one witness, seen by a monitor that knows it.
struct Witnessed {
    folder: TempDir,
    log: Log,
}

const WITNESS: &str = "witness.example";

impl Witnessed {
    fn new() -> Self {
        let mut log = Log::new();
        log.grow(20);
        Self { folder: TempDir::new().unwrap(), log }
    }

    fn known() -> KnownKeys {
        KnownKeys::default().with(Role::Witness, key(WITNESS).verifier(KeyKind::Cosignature))
    }

    fn cosigned(log: &Log, size: u64, time: u64) -> SignedCheckpoint {
        let signed = log.checkpoint(size);
        let line = cosign(signed.checkpoint(), &key(WITNESS), time).unwrap();
        signed.with_cosignature(line, &key(WITNESS).verifier(KeyKind::Cosignature)).unwrap()
    }

    fn files(log: &Log, size: u64, time: u64) -> Files {
        let mut files = log.files(size);
        let note = Self::cosigned(log, size, time).as_bytes().to_vec();
        files.files.insert("checkpoint".to_owned(), note);
        files
    }

    /// One pass of a new process over the same folder.
    fn pass(&self, files: &Files, views: &[View]) -> Pass {
        let witness = key(WITNESS).verifier(KeyKind::Cosignature);
        let policy = format!("log {}\nwitness w {witness}\nquorum w\n", self.log.vkey());
        let policy = Some(Policy::parse(policy.as_bytes()).unwrap());
        let settings = monitor::Settings { policy, ..settings(&self.log) };
        let mut monitor = monitor::Monitor::open(self.folder.path(), settings, &|_| {}).unwrap();
        seeing(&mut monitor, files, views, NOW)
    }
}

fn view(checkpoint: &SignedCheckpoint) -> View {
    View { place: "lab B".to_owned(), note: checkpoint.as_bytes().to_vec() }
}

#[test]
fn a_witness_that_goes_back_is_convicted_across_restarts() {
    let scene = Witnessed::new();
    let files = |size, time| Witnessed::files(&scene.log, size, time);
    assert_eq!(codes(&scene.pass(&files(20, NOW - 500), &[])), []);
    let later = Witnessed::cosigned(&scene.log, 7, NOW - 400);
    let found = scene.pass(&files(20, NOW - 500), &[view(&later)]);
    assert_eq!(codes(&found), [Code::WitnessRollback]);
    let (kind, guilty) = judged(&found, Code::WitnessRollback, &Witnessed::known());
    assert_eq!((kind, guilty), (Kind::WitnessRollback, vec![WITNESS.to_owned()]));
}

/// An old cosignature that turns up late, and one within the slack of clocks.
#[test]
fn a_witness_whose_old_cosignatures_turn_up_is_not_accused() {
    let scene = Witnessed::new();
    let files = |size, time| Witnessed::files(&scene.log, size, time);
    assert_eq!(codes(&scene.pass(&files(20, NOW - 500), &[])), []);
    for time in [NOW - 10_000, NOW - 501, NOW - 440] {
        let old = Witnessed::cosigned(&scene.log, 7, time);
        assert_eq!(codes(&scene.pass(&files(20, NOW - 500), &[view(&old)])), [], "{time}");
    }
}

#[test]
fn a_witness_that_cosigned_both_sides_of_a_fork_is_convicted_with_the_log() {
    let scene = Witnessed::new();
    let mut other = Log::new().fork();
    other.grow(20);
    assert_eq!(codes(&scene.pass(&Witnessed::files(&scene.log, 20, NOW - 9), &[])), []);
    let split = Witnessed::cosigned(&other, 15, NOW - 8);
    let found = scene.pass(&Witnessed::files(&scene.log, 20, NOW - 9), &[view(&split)]);
    let log = KnownKeys::default().with(Role::Log, scene.log.vkey());
    let known = log.with(Role::Witness, key(WITNESS).verifier(KeyKind::Cosignature));
    let all: Vec<_> = found.findings.list().iter().map(|f| f.evidence.as_ref().unwrap()).collect();
    assert!(!all.is_empty());
    for path in all {
        let file = Evidence::parse(&fs::read(path).unwrap()).unwrap();
        let judgement = evidence::judge(&file, &known).unwrap();
        assert_eq!(judgement.kind(), Kind::WitnessDoubleSign);
        assert!(judgement.guilty().any(|(_, name)| name.as_str() == WITNESS));
    }
}

/// One who is shown less than others learns it once that has lasted as long as heads may.
#[test]
fn being_held_back_is_found_after_a_while_and_accuses_nobody() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(20);
    let mut monitor = open(folder.path(), &log);
    let peer = [view(&log.checkpoint(20))];
    for (now, expected) in [(NOW, vec![]), (NOW + 600, vec![]), (NOW + 601, vec![Code::Behind])] {
        let pass = seeing(&mut monitor, &log.files(10), &peer, now);
        assert_eq!(codes(&pass), expected, "{now}");
        assert_eq!(pass.standing, 0);
    }
    let pass = seeing(&mut monitor, &log.files(20), &peer, NOW + 700);
    assert_eq!(codes(&pass), []);
    let pass = seeing(&mut monitor, &log.files(20), &[view(&log.checkpoint(20))], NOW + 9_000);
    assert_eq!(codes(&pass), []);
}

/// A log can sign as much nonsense as it likes; what a monitor keeps of it is bounded.
#[test]
fn endless_nonsense_is_counted_and_not_kept() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    for index in 0..3_000 {
        log.push(format!("nonsense {index}").into_bytes());
    }
    let pass = pass(&mut open(folder.path(), &log), &log.files(3_001));
    assert_eq!(pass.findings.count(), 3_000);
    assert_eq!((pass.findings.list().len(), pass.findings.more()), (1_000, 2_000));
    assert_eq!(pass.standing, 1_000);
    assert_eq!(pass.head, log.head(3_001));
}

#[test]
fn a_log_that_claims_to_be_enormous_is_not_followed() {
    let folder = TempDir::new().unwrap();
    let mut log = Log::new();
    log.grow(3);
    let mut monitor = open(folder.path(), &log);
    let mut files = log.files(3);
    let root = log.head(3).root;
    for size in [1_000_001, (1 << 63) - 1] {
        let head = SignedCheckpoint::sign(&log.key, tlog::TreeHead { size, root });
        files.files.insert("checkpoint".to_owned(), head.as_bytes().to_vec());
        let sources = crate::passes::sources(&files, &[]);
        let error = monitor.pass(&sources, NOW, &|_| {}).unwrap_err();
        assert!(matches!(error, monitor::MonitorError::TooLarge { .. }), "{error}");
        assert_eq!(files.fetched.take(), ["checkpoint"]);
    }
}
