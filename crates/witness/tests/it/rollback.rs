//! Stores that somebody put back: the witness finds out at its start from what it published, and
//! later from any cosignature of its own that comes by.

use std::fs;
use std::path::Path;

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
