//! Stores that somebody put back: the witness finds out at its start from what it published, and
//! later from any cosignature of its own that comes by.

use std::fs;
use std::path::Path;

use tlog::Note;
use tlog::evidence::{Evidence, Kind, KnownKeys, Role, accuse_heads_by};
use witness::store::Store as _;
use witness::{StoreError, check_shown};

use crate::support::{Hands, Log, Running, logs, open, own};

fn copy(from: &Path, to: &Path) {
    for name in ["witness.db", "witness.db-wal"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// A witness that cosigned size 5, was copied, and then cosigned size 9. Returns the note that it
/// published of the latter.
fn restored(log: &Log, folder: &Path) -> Vec<u8> {
    let hands = Hands::new();
    let running = Running::start(folder, logs([log]), &hands);
    assert_eq!(running.add(&log.request(0, 5)).status, 200);
    running.stop();
    let backup = tempfile::tempdir().unwrap();
    copy(folder, backup.path());
    // Within the same second, by the clock.
    let running = Running::start(folder, logs([log]), &hands);
    assert_eq!(running.add(&log.request(5, 9)).status, 200);
    let place = tlog::Hash::of(&[log.name().as_bytes()]).to_string();
    let published = running.get(&format!("/{place}/checkpoint")).body;
    running.stop();
    let file = fs::read(folder.join("published").join(place).join("checkpoint")).unwrap();
    assert_eq!(published.as_bytes(), file, "what is served is what stands in the folder");
    copy(backup.path(), folder);
    file
}

#[test]
fn a_store_behind_its_own_published_head_is_told_at_the_start() {
    let log = Log::new("log.example/one").grown(20, "a");
    let folder = tempfile::tempdir().unwrap();
    let published = restored(&log, folder.path());
    let state = open(folder.path()).load().unwrap();
    let refused = check_shown(&published, &state, &own().verifier).unwrap_err();
    assert!(refused.to_string().contains("size 9"), "{refused}");
    // What it did not cosign says nothing, and neither does what is no note at all.
    for nothing in [log.checkpoint(9).as_bytes(), b"", b"half a no", &published[..60]] {
        check_shown(nothing, &state, &own().verifier).unwrap();
    }
}

#[test]
fn a_witness_that_meets_a_cosignature_it_has_no_record_of_halts_for_good() {
    let log = Log::new("log.example/one").grown(20, "a");
    let other = Log::new("log.example/two").grown(20, "a");
    let forked = Log::new("log.example/one").grown(5, "a").grown(20, "b");
    let folder = tempfile::tempdir().unwrap();
    let published = restored(&log, folder.path());
    let hands = Hands::new();
    hands.set(hands.now() + 100);
    let running = Running::start(folder.path(), logs([&log, &other]), &hands);
    assert_eq!(running.add(&other.request(0, 3)).status, 200, "nobody knows yet");
    let shown = [b"old 5\n\n", published.as_slice()].concat();
    let halted = running.post(&shown);
    assert_eq!(halted.status, 503, "{halted:?}");
    for request in [log.request(5, 9), forked.request(5, 9), other.request(3, 4)] {
        assert_eq!(running.add(&request).status, 503);
    }
    assert_eq!(running.get("/healthz").status, 503);
    running.stop();
    let opened = witness::SqliteStore::open(folder.path(), &own().verifier);
    assert!(matches!(opened, Err(StoreError::Halted { .. })), "{opened:?}");
}

/// It cosigned nine entries, was put back, and cosigns seven of them later: its two signatures
/// convict it, unless they are so close in time that clocks could be to blame.
#[test]
fn a_witness_whose_store_was_put_back_convicts_itself() {
    let log = Log::new("log.example/one").grown(20, "a");
    for (later, expected) in [(100, Some(Kind::WitnessRollback)), (30, None)] {
        let folder = tempfile::tempdir().unwrap();
        let larger = restored(&log, folder.path());
        let hands = Hands::new();
        hands.set(hands.now() + later);
        let running = Running::start(folder.path(), logs([&log]), &hands);
        assert_eq!(running.add(&log.request(5, 7)).status, 200);
        let place = tlog::Hash::of(&[log.name().as_bytes()]).to_string();
        let smaller = running.get(&format!("/{place}/checkpoint")).body;
        running.stop();
        let known = KnownKeys::default().with(Role::Witness, own().verifier);
        let (larger, smaller) = (Note::parse(&larger).unwrap(), Note::parse(smaller.as_bytes()));
        // Seven is no power of two, so that the consistency proof is all that is asked for.
        let nodes = |old, new| Ok::<_, std::convert::Infallible>(log.proof(old, new));
        let made = accuse_heads_by(&known, &larger, &smaller.unwrap(), nodes).unwrap();
        assert_eq!(made.as_ref().map(Evidence::kind), expected, "{later} s later");
        if let Some(evidence) = made {
            let read = Evidence::parse(&evidence.to_bytes()).unwrap();
            let judgement = read.judge(&known).unwrap();
            let guilty: Vec<_> = judgement.guilty().map(|(_, name)| name.clone()).collect();
            assert_eq!(guilty, [own().key.name().clone()]);
        }
    }
}
