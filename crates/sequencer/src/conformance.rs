//! What every [`Store`] must do, as a program that panics when one does not. Each store of this
//! crate runs it in its tests; so should any other.

use std::iter;
use std::sync::Arc;

use tlog::{Hash, MAX_ENTRY, TileKind, TilePath, TreeHead};

use crate::artifact::{ArtifactError, Stored};
use crate::entry::{Leaf, StatementKey};
use crate::store::{Commit, StagedBatch, Store, StoreError};

/// Makes the stores that are put to the test.
pub trait Subject {
    /// The store.
    type Store: Store;

    /// A store that has never been used.
    fn fresh(&mut self) -> Self::Store;

    /// Lets go of a store and opens it again, as after the end of a process.
    fn reopen(&mut self, store: Self::Store) -> Self::Store;
}

/// Runs all checks.
///
/// # Panics
///
/// At the first thing that a store must do and this one does not.
pub fn run<T: Subject>(subject: &mut T) {
    creates_once(subject);
    commits_all_of_a_batch(subject);
    refuses_a_commit_whole(subject);
    fences_earlier_writers(subject);
    keeps_tiles_unchanged(subject);
    unstages_only_what_lies_below(subject);
    keeps_artifacts(subject);
    lists_and_removes_artifacts(subject);
    refuses_artifacts_whole(subject);
}

const FINE: &str = "a sound store does this";

/// A head of the given size. Stores don't hash, so any root will do.
fn head(size: u64) -> TreeHead {
    match size {
        0 => TreeHead::EMPTY,
        _ => TreeHead { size, root: Hash::of(&[b"root", &size.to_be_bytes()]) },
    }
}

fn leaf(number: u64) -> Leaf {
    let key = StatementKey::from(Hash::of(&[b"key", &number.to_be_bytes()]));
    Leaf::new(format!("leaf-{number}").into_bytes(), key).expect("short")
}

fn commit<S: Store>(
    store: &mut S,
    epoch: u64,
    from: u64,
    leaves: &[Leaf],
) -> Result<(), StoreError> {
    let to = head(from + leaves.len() as u64);
    let checkpoint = format!("checkpoint {}", to.size);
    store.commit(&Commit {
        epoch,
        from: head(from),
        to,
        checkpoint: checkpoint.as_bytes(),
        leaves: &leaves.iter().collect::<Vec<_>>(),
    })
}

fn staged_as(start: u64, leaves: &[Leaf]) -> StagedBatch {
    StagedBatch { start, entries: leaves.iter().map(|leaf| Arc::clone(leaf.bytes())).collect() }
}

fn tile(kind: TileKind, index: u64) -> TilePath {
    TilePath::new(kind, index, 256).expect("small")
}

fn creates_once<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    assert!(matches!(store.claim(), Err(StoreError::Headless)), "no head before create");
    store.create(b"checkpoint 0").expect(FINE);
    assert!(matches!(store.create(b"other"), Err(StoreError::Exists)), "one create");
    let first = store.claim().expect(FINE);
    assert_eq!((first.head, &*first.checkpoint), (head(0), &b"checkpoint 0"[..]));
    assert!(store.staged().expect(FINE).is_empty());

    let mut store = subject.reopen(store);
    assert!(matches!(store.create(b"other"), Err(StoreError::Exists)), "one create, ever");
    let second = store.claim().expect(FINE);
    assert_eq!(second.epoch, first.epoch + 1, "each claim raises the epoch by one");
    assert_eq!((second.head, second.checkpoint), (first.head, first.checkpoint));
}

fn commits_all_of_a_batch<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    store.create(b"checkpoint 0").expect(FINE);
    let epoch = store.claim().expect(FINE).epoch;
    let key = |name: &[u8]| StatementKey::from(Hash::of(&[name]));
    let first = vec![
        Leaf::new(Vec::new(), key(b"empty")).expect("short"),
        Leaf::new(vec![7; MAX_ENTRY], key(b"longest")).expect("not too long"),
        leaf(2),
    ];
    let second: Vec<_> = (3..600).map(leaf).collect();
    commit(&mut store, epoch, 0, &first).expect(FINE);
    let reads = store.reads();
    assert_eq!(reads.find_leaves(&[first[2].hash()]).expect(FINE), [Some(2)]);
    commit(&mut store, epoch, 3, &second).expect(FINE);
    assert_eq!(
        reads.find_leaves(&[second[596].hash()]).expect(FINE),
        [Some(599)],
        "readers opened earlier see later commits"
    );

    let mut store = subject.reopen(store);
    let claim = store.claim().expect(FINE);
    assert_eq!((claim.head, &*claim.checkpoint), (head(600), &b"checkpoint 600"[..]));
    assert_eq!(store.staged().expect(FINE), [staged_as(0, &first), staged_as(3, &second)]);
    let reads = store.reads();
    for (index, leaf) in (0..).zip(first.iter().chain(&second)) {
        let unknown = Hash::of(&[b"unknown", leaf.hash().as_bytes()]);
        let found = reads.find_leaves(&[unknown, leaf.hash()]).expect(FINE);
        assert_eq!(found, [None, Some(index)], "leaf index, in the order of the question");
        let found = reads.find_keys(&[leaf.key(), unknown.into()]).expect(FINE);
        assert_eq!(found, [Some(index), None], "key index, in the order of the question");
    }
    assert!(reads.find_leaves(&[]).expect(FINE).is_empty());
}

fn refuses_a_commit_whole<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    store.create(b"checkpoint 0").expect(FINE);
    let epoch = store.claim().expect(FINE).epoch;
    let first = [leaf(0), leaf(1)];
    commit(&mut store, epoch, 0, &first).expect(FINE);

    let fenced = |result| matches!(result, Err(StoreError::Fenced { .. }));
    assert!(fenced(commit(&mut store, epoch + 1, 2, &[leaf(2)])), "epoch of the future");
    assert!(fenced(commit(&mut store, epoch, 0, &[leaf(2)])), "size of the past");
    let wrong_root = TreeHead { root: head(9).root, ..head(2) };
    let new = leaf(2);
    let leaves = [&new];
    let commit_to = |from| Commit { epoch, from, to: head(3), checkpoint: b"x", leaves: &leaves };
    assert!(fenced(store.commit(&commit_to(wrong_root))), "other root of the same size");

    let mut store = subject.reopen(store);
    let epoch = store.claim().expect(FINE).epoch;
    let same_key = Leaf::new(&b"other bytes"[..], leaf(1).key()).expect("short");
    for again in [leaf(1), same_key] {
        assert!(commit(&mut store, epoch, 2, &[leaf(2), again]).is_err(), "indexed twice");
        store = subject.reopen(store);
        let claim = store.claim().expect(FINE);
        assert_eq!((claim.head, &*claim.checkpoint), (head(2), &b"checkpoint 2"[..]));
        assert_eq!(store.staged().expect(FINE), [staged_as(0, &first)]);
        let found = store.reads().find_leaves(&[leaf(1).hash(), leaf(2).hash()]).expect(FINE);
        assert_eq!(found, [Some(1), None], "a refused commit leaves nothing behind");
        let found = store.reads().find_keys(&[leaf(1).key(), leaf(2).key()]).expect(FINE);
        assert_eq!(found, [Some(1), None], "a refused commit leaves nothing behind");
    }
}

fn fences_earlier_writers<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    store.create(b"checkpoint 0").expect(FINE);
    let old = store.claim().expect(FINE).epoch;
    let new = store.claim().expect(FINE).epoch;
    let refused = commit(&mut store, old, 0, &[leaf(0)]);
    assert!(matches!(refused, Err(StoreError::Fenced { epoch, size: 0 }) if epoch == old));
    commit(&mut store, new, 0, &[leaf(0)]).expect(FINE);
}

fn keeps_tiles_unchanged<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    let far = tile(TileKind::Hashes { level: 2 }, 1_234_067);
    let bundle = tile(TileKind::Entries, 0);
    let hashes = tile(TileKind::Hashes { level: 0 }, 0);
    assert_eq!(store.reads().tile(&far).expect(FINE), None);
    store.put_tile(&far, b"far").expect(FINE);
    store.put_tile(&bundle, b"bundle").expect(FINE);
    store.put_tile(&hashes, b"hashes").expect(FINE);
    store.put_tile(&hashes, b"hashes").expect("the same bytes again are fine");
    let other = store.put_tile(&hashes, b"hashed");
    assert!(matches!(other, Err(StoreError::Conflict { path }) if path == hashes));

    let store = subject.reopen(store);
    for (path, bytes) in [(far, &b"far"[..]), (bundle, b"bundle"), (hashes, b"hashes")] {
        assert_eq!(store.reads().tile(&path).expect(FINE).as_deref(), Some(bytes));
    }
}

fn unstages_only_what_lies_below<T: Subject>(subject: &mut T) {
    let mut store = subject.fresh();
    store.create(b"checkpoint 0").expect(FINE);
    let epoch = store.claim().expect(FINE).epoch;
    let leaves: Vec<_> = (0..9).map(leaf).collect();
    for (from, to) in [(0, 3), (3, 5), (5, 9)] {
        commit(&mut store, epoch, from as u64, &leaves[from..to]).expect(FINE);
    }
    store.unstage(4).expect(FINE);
    let mut store = subject.reopen(store);
    let kept = [staged_as(3, &leaves[3..5]), staged_as(5, &leaves[5..9])];
    assert_eq!(store.staged().expect(FINE), kept, "4 is within the batch of 3 to 5");
    store.unstage(5).expect(FINE);
    assert_eq!(store.staged().expect(FINE), kept[1..]);
    store.unstage(9).expect(FINE);
    assert!(store.staged().expect(FINE).is_empty());
    let found = store.reads().find_leaves(&[leaves[0].hash()]).expect(FINE);
    assert_eq!(found, [Some(0)], "the index stays");
}

fn keeps_artifacts<T: Subject>(subject: &mut T) {
    let store = subject.fresh();
    let artifacts = store.artifacts();
    let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = Hash::of(&[&bytes]);
    assert!(!artifacts.has(&digest).expect(FINE));
    assert_eq!(artifacts.get(&digest, 1 << 20).expect(FINE), None);
    let mut upload = artifacts.begin(bytes.len() as u64).expect(FINE);
    for chunk in bytes.chunks(7_777) {
        upload.write(chunk).expect(FINE);
    }
    assert!(!artifacts.has(&digest).expect(FINE), "not here before it is whole");
    let stored = upload.finish(Some(&digest)).expect(FINE);
    assert_eq!((stored.digest, stored.length), (digest, bytes.len() as u64));
    assert_eq!(artifacts.put(&bytes).expect("an artifact that is here is fine"), stored);
    let empty = artifacts.put(b"").expect(FINE);

    let store = subject.reopen(store);
    let artifacts = store.artifacts();
    assert_eq!(artifacts.length(&digest).expect(FINE), Some(stored.length));
    assert_eq!(artifacts.length(&empty.digest).expect(FINE), Some(0));
    assert_eq!(artifacts.get(&digest, stored.length).expect(FINE), Some(bytes));
    let short = artifacts.get(&digest, stored.length - 1);
    assert!(matches!(short, Err(ArtifactError::TooLong { .. })), "{short:?}");

    let uploads: Vec<_> = iter::repeat_with(|| store.artifacts()).take(4).collect();
    std::thread::scope(|scope| {
        for (number, artifacts) in uploads.into_iter().enumerate() {
            scope.spawn(move || {
                for round in 0..10u8 {
                    // Threads meet on every second artifact.
                    let own = if round % 2 == 0 { number as u8 } else { 99 };
                    let stored = artifacts.put(&[own, round]).expect(FINE);
                    assert!(artifacts.has(&stored.digest).expect(FINE));
                }
            });
        }
    });
}

fn lists_and_removes_artifacts<T: Subject>(subject: &mut T) {
    let store = subject.fresh();
    let artifacts = store.artifacts();
    assert!(artifacts.list().expect(FINE).is_empty());
    let mut kept: Vec<_> =
        [&b"one"[..], b"two!", b""].iter().map(|bytes| artifacts.put(bytes).expect(FINE)).collect();
    let mut unfinished = artifacts.begin(4).expect(FINE);
    unfinished.write(b"half").expect(FINE);
    let sorted = |mut list: Vec<Stored>| {
        list.sort_by_key(|stored| stored.digest);
        list
    };
    let listed = sorted(artifacts.list().expect(FINE));
    assert_eq!(listed, sorted(kept.clone()), "an upload under way is no artifact");
    drop(unfinished);

    let gone = kept.remove(1);
    artifacts.remove(&gone.digest).expect(FINE);
    artifacts.remove(&gone.digest).expect("one that is not here is fine");
    assert!(!artifacts.has(&gone.digest).expect(FINE));
    let store = subject.reopen(store);
    let artifacts = store.artifacts();
    assert_eq!(sorted(artifacts.list().expect(FINE)), sorted(kept));
    assert_eq!(artifacts.put(b"two!").expect("removed is not forbidden"), gone);
}

fn refuses_artifacts_whole<T: Subject>(subject: &mut T) {
    let store = subject.fresh();
    let artifacts = store.artifacts();
    let mut upload = artifacts.begin(4).expect(FINE);
    upload.write(b"four").expect(FINE);
    let more = upload.write(b"!");
    assert!(matches!(more, Err(ArtifactError::TooLong { limit: 4 })), "{more:?}");
    drop(upload);

    let mut upload = artifacts.begin(4).expect(FINE);
    upload.write(b"four").expect(FINE);
    let expected = Hash::of(&[b"five"]);
    let refused = upload.finish(Some(&expected));
    assert!(matches!(refused, Err(ArtifactError::Digest { .. })), "{refused:?}");

    let mut upload = artifacts.begin(4).expect(FINE);
    upload.write(b"half").expect(FINE);
    drop(upload);
    for name in [&b"four"[..], b"five", b"half"] {
        assert!(!artifacts.has(&Hash::of(&[name])).expect(FINE), "nothing is kept");
    }
    assert!(artifacts.open(&expected).expect(FINE).is_none());
}
