//! The store: what it gives back, whom it refuses, and what is left when it breaks at any step.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tlog::TreeHead;
use witness::store::{Change, Step, Store};
use witness::{SqliteStore, StoreError};

use crate::support::{Book, Hands, Log, Running, START, key, limits, logs, open, own, settings};

fn change(log: &Log, old: u64, size: u64, time: u64) -> Change {
    let state = witness::decision::State::default();
    let cosigned = state.add_checkpoint(&log.vouched(0, size), time).unwrap();
    let before = if old == 0 { TreeHead::EMPTY } else { log.head(old) };
    Change { before, after: Arc::new(cosigned) }
}

#[test]
fn gives_back_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["log.example/one", "log.example/two"].map(|n| Log::new(n).grown(9, "a"));
    let mut store = open(folder.path());
    assert_eq!(store.load().unwrap().all().count(), 0);
    let batch =
        [change(&one, 0, 3, START), change(&two, 0, 9, START + 1), change(&one, 3, 5, START + 1)];
    store.commit(&batch, START + 1).unwrap();
    store.commit(&[], START + 7).unwrap();
    drop(store);
    let state = open(folder.path()).load().unwrap();
    assert_eq!(state.all().count(), 2);
    let last = state.last(one.name()).unwrap();
    assert_eq!((*last.head(), last.time()), (one.head(5), START + 1));
    assert_eq!(last, &batch[2].after);
    assert_eq!(state.last(two.name()).unwrap(), &batch[1].after);
    assert_eq!(state.clock(), START + 7, "a stamp's time is remembered as well");
}

#[test]
fn swaps_only_what_was_there_and_never_an_earlier_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example/one").grown(9, "a");
    let mut store = open(folder.path());
    store.commit(&[change(&log, 0, 5, START)], START).unwrap();
    for (stale, why) in [
        (change(&log, 0, 6, START), "as if it were the first"),
        (change(&log, 3, 6, START), "after another head"),
        (change(&log, 5, 6, START - 1), "at an earlier time"),
    ] {
        let fine = change(&Log::new("log.example/two").grown(2, "a"), 0, 2, START);
        let refused = store.commit(&[fine, stale], START);
        assert!(matches!(refused, Err(StoreError::Fenced)), "{why}: {refused:?}");
    }
    let state = store.load().unwrap();
    assert_eq!(state.all().count(), 1, "nothing of a refused batch is there");
    assert_eq!(state.last(log.name()).unwrap().head(), &log.head(5));
}

#[test]
fn is_made_once_for_one_key_and_held_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let own = own().verifier;
    assert!(matches!(SqliteStore::open(folder.path(), &own), Err(StoreError::Absent { .. })));
    let store = SqliteStore::create(folder.path(), &own).unwrap();
    assert!(matches!(SqliteStore::open(folder.path(), &own), Err(StoreError::Locked { .. })));
    assert!(matches!(SqliteStore::create(folder.path(), &own), Err(StoreError::Locked { .. })));
    drop(store);
    assert!(matches!(SqliteStore::create(folder.path(), &own), Err(StoreError::Exists { .. })));
    let other = key("witness.example/w1", 0x23).verifier(tlog::KeyKind::Cosignature);
    let refused = SqliteStore::open(folder.path(), &other);
    assert!(matches!(refused, Err(StoreError::OtherKey { .. })), "{refused:?}");
    SqliteStore::open(folder.path(), &own).unwrap();
}

#[test]
fn of_two_processes_that_a_lock_does_not_part_the_later_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example/one").grown(9, "a");
    let mut first = open(folder.path());
    // As on a network file system without locks.
    fs::remove_file(folder.path().join("lock")).unwrap();
    let mut second = open(folder.path());
    let refused = first.commit(&[change(&log, 0, 5, START)], START);
    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
    second.commit(&[change(&log, 0, 5, START)], START).unwrap();
}

#[test]
fn half_made_store_is_made_again_and_a_damaged_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("witness.db.new"), b"half of it").unwrap();
    fs::write(folder.path().join("witness.db.new-journal"), b"").unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("witness.db");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    assert!(SqliteStore::open(folder.path(), &own().verifier).is_err());
    fs::write(&path, b"").unwrap();
    let refused = SqliteStore::open(folder.path(), &own().verifier);
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

/// One run: a log grows under a store that breaks at one step of one commit. The log goes on with
/// a new process, and sometimes somebody tries another branch.
fn run(broken_commit: usize, broken_step: Step) {
    let what = format!("commit {broken_commit} breaks at {broken_step:?}");
    let trunk = Log::new("log.example/one").grown(4, "a");
    let (honest, forked) = (trunk.clone().grown(40, "a"), trunk.clone().grown(40, "b"));
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let mut book = Book::default();
    let commits = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&commits);
    let store = open(folder.path()).sabotaged(move |step| {
        let number = match step {
            Step::Begin => seen.fetch_add(1, Ordering::SeqCst),
            _ => seen.load(Ordering::SeqCst) - 1,
        };
        (number, step) == (broken_commit, broken_step)
    });
    let mut running =
        Running::with(store, folder.path(), settings(logs([&trunk])), limits(), &hands);
    let (mut old, mut size) = (0, 4);
    let mut restarts = 0;
    while size < 30 {
        hands.set(hands.now() + 1);
        let answer = running.add(&honest.request(old, size));
        match answer.status {
            200 => {
                book.note(&honest, size, &answer.body);
                (old, size) = (size, size + 3);
            }
            409 => {
                old = answer.body.trim_end().parse().unwrap();
                size = size.max(old);
            }
            503 => {
                // A process that does not know what is durable signs nothing and ends.
                let error = running.ended();
                assert!(matches!(error, witness::ServeError::Store(_)), "{what}: {error}");
                running = Running::start(folder.path(), logs([&trunk]), &hands);
                restarts += 1;
            }
            status => panic!("{what}: {status}: {answer:?}"),
        }
        if old > 4 {
            let refused = running.add(&forked.request(old, size.max(old)));
            assert!([409, 422, 503].contains(&refused.status), "{what}: {refused:?}");
        }
    }
    assert_eq!(restarts, 1, "{what}");
    book.check(&[&honest, &forked]);
    running.stop();
}

#[test]
fn wherever_a_commit_breaks_nothing_is_cosigned_twice_or_taken_back() {
    for commit in 0..4 {
        for step in Step::ALL {
            run(commit, step);
        }
    }
}
