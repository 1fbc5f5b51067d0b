//! What is kept of refused requests, and how much of it.

use std::fs;
use std::path::{Path, PathBuf};

use tlog::{AddCheckpoint, Hash, SignedCheckpoint};

use crate::support::{Hands, Log, Running, logs};

fn kept(folder: &Path) -> Vec<PathBuf> {
    let Ok(logs) = fs::read_dir(folder.join("alarms")) else { return Vec::new() };
    let files = logs.flat_map(|log| fs::read_dir(log.unwrap().path()).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_fork_is_kept_with_what_it_contradicts_and_both_are_signed() {
    let honest = Log::new("log.example/one").grown(9, "a");
    let forked = Log::new("log.example/one").grown(9, "b");
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), logs([&honest]), &Hands::new());
    assert_eq!(running.add(&honest.request(0, 7)).status, 200);
    assert!(kept(folder.path()).is_empty());
    let request = forked.request(7, 7);
    assert_eq!(running.add(&request).status, 422);
    let files = kept(folder.path());
    let [cosigned, kept_request] = &files[..] else { panic!("{files:?}") };
    assert_eq!(fs::read(kept_request).unwrap(), request.to_bytes());
    let place = Hash::of(&[honest.name().as_bytes()]);
    assert!(kept_request.starts_with(folder.path().join("alarms").join(place.to_string())));
    assert!(kept_request.to_str().unwrap().contains("/two-heads-7-"));
    let key = honest.key.verifier(tlog::KeyKind::Ed25519);
    let ours = SignedCheckpoint::open(&fs::read(cosigned).unwrap(), &key).unwrap();
    let theirs = AddCheckpoint::parse(&fs::read(kept_request).unwrap()).unwrap();
    assert_eq!(ours.head().size, theirs.checkpoint().size());
    assert_ne!(ours.head().root, *theirs.checkpoint().root());
    running.stop();
}

#[test]
fn bad_proofs_beside_good_checkpoints_fill_no_disk() {
    let log = Log::new("log.example/one").grown(60, "a");
    let forked = Log::new("log.example/one").grown(60, "b");
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), logs([&log]), &Hands::new());
    assert_eq!(running.add(&log.request(0, 7)).status, 200);
    for round in 0..2 {
        for size in 8..30 {
            let bad = AddCheckpoint::new(7, Vec::new(), &log.checkpoint(size));
            assert_eq!(running.add(&bad).status, 422);
            assert_eq!(running.add(&bad).status, 422, "the same again is not kept again");
        }
        assert_eq!(kept(folder.path()).len(), 2 * 8, "round {round}");
        // What an earlier process kept counts.
        running.stop();
        running = Running::start(folder.path(), logs([&log]), &Hands::new());
    }
    assert_eq!(running.add(&forked.request(7, 7)).status, 422);
    assert_eq!(kept(folder.path()).len(), 2 * 9, "a fork has a place of its own");
    running.stop();
}
