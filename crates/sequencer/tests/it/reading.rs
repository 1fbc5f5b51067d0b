//! Readers beside the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sequencer::{FileStore, Log, ReadError, Reader};
use tlog::{SignedCheckpoint, TileKind, TilePath, tiles_of};

use crate::support::{Naive, append, entries, entry, key_of, memory_log, signing_key, verifier};

fn path(text: &str) -> TilePath {
    TilePath::parse(text).unwrap()
}

#[test]
fn cuts_partial_tiles_of_any_width_from_memory_and_from_full_tiles() {
    let mut log = memory_log();
    append(&mut log, &entries(0..600));
    let naive = Naive::of(0..600);
    let snapshot = log.reader().snapshot();
    for index in 0..3 {
        for kind in [TileKind::Hashes { level: 0 }, TileKind::Entries] {
            for width in 1..=256 {
                let path = TilePath::new(kind, index, width).unwrap();
                let there = 256 * index + u64::from(width) <= 600;
                let expected = there.then(|| naive.tile(&path));
                assert_eq!(snapshot.tile(&path).unwrap(), expected, "{path}");
            }
        }
    }
}

#[test]
fn serves_nothing_beyond_the_published_size() {
    let mut log = memory_log();
    append(&mut log, &entries(0..600));
    let old = log.reader().snapshot();
    append(&mut log, &entries(600..1000));
    for beyond in [
        "tile/0/002.p/89",
        "tile/0/002",
        "tile/0/003.p/1",
        "tile/1/000.p/3",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/entries/002.p/89",
        "tile/entries/003.p/1",
        "tile/entries/x999/x999/x999/x999/999",
    ] {
        assert_eq!(old.tile(&path(beyond)).unwrap(), None, "{beyond}");
    }
    let late = entry(700);
    assert_eq!(old.index_of_leaf(&late.leaf().hash()).unwrap(), None);
    assert_eq!(old.index_of_key(&key_of(700)).unwrap(), None);
    assert_eq!(log.reader().index_of_key(&key_of(700)).unwrap(), Some(700));
    let beyond = |result: Result<(), ReadError>| {
        assert!(matches!(result, Err(ReadError::Beyond { size: 600 })), "{result:?}");
    };
    beyond(old.entry(600).map(drop));
    beyond(old.entry(u64::MAX).map(drop));
    beyond(old.leaf(600).map(drop));
    beyond(old.entries(0..601).map(drop));
    beyond(old.inclusion(0, 601).map(drop));
    beyond(old.inclusion(600, 600).map(drop));
    beyond(old.inclusion(7, 7).map(drop));
    beyond(old.consistency(0, 601).map(drop));
    beyond(old.consistency(9, 8).map(drop));
    beyond(old.root_at(601).map(drop));
    Naive::of(0..600).assert_equals(&old, 30);
}

#[test]
fn proves_between_any_two_sizes() {
    let mut log = memory_log();
    append(&mut log, &entries(0..530));
    let naive = Naive::of(0..530);
    let snapshot = log.reader().snapshot();
    for new in (0..=530).step_by(53).chain([255, 256, 257, 511, 512, 513]) {
        for old in (0..=new).step_by(17) {
            let proof = snapshot.consistency(old, new).unwrap();
            tlog::verify_consistency(&naive.head(old), &naive.head(new), &proof).unwrap();
            if old < new {
                let proof = snapshot.inclusion(old, new).unwrap();
                let (leaf, head) = (naive.leaf(old), naive.head(new));
                tlog::verify_inclusion(&leaf, old, &head, &proof).unwrap();
            }
        }
    }
}

#[test]
fn ranges_of_entries_are_read_in_order_and_lazily() {
    let mut log = memory_log();
    append(&mut log, &entries(0..600));
    let naive = Naive::of(0..600);
    let read =
        |range| -> Vec<_> { log.reader().entries(range).unwrap().map(Result::unwrap).collect() };
    assert_eq!(read(250..520), naive.entries[250..520]);
    assert_eq!(read(0..0).len(), 0);
    assert_eq!(log.reader().entries(7..600).unwrap().size_hint(), (593, Some(593)));
}

/// Looks at the log again and again; every look must be whole.
fn watch(reader: &Reader, naive: &Naive, done: &AtomicBool) -> u64 {
    let (mut looks, mut last) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let snapshot = reader.snapshot();
        let size = snapshot.size();
        assert!(size >= last, "heads only grow");
        last = size;
        let signed = SignedCheckpoint::open(&snapshot.checkpoint(), &verifier()).unwrap();
        assert_eq!(*signed.head(), snapshot.head());
        if size == 0 {
            continue;
        }
        let index = looks * 7919 % size;
        assert_eq!(snapshot.entry(index).unwrap(), naive.entries[index as usize]);
        let proof = snapshot.inclusion(index, size).unwrap();
        tlog::verify_inclusion(&naive.leaf(index), index, &snapshot.head(), &proof).unwrap();
        assert_eq!(snapshot.index_of_leaf(&naive.leaf(index)).unwrap(), Some(index));
        if let Some(late) = naive.entries.get(size as usize) {
            let late = tlog::leaf_hash(late);
            assert_eq!(snapshot.index_of_leaf(&late).unwrap(), None, "beyond the snapshot");
        }
        let tiles: Vec<_> = tiles_of(size).collect();
        let tile = tiles[looks as usize % tiles.len()];
        assert_eq!(snapshot.tile(&tile).unwrap(), Some(naive.tile(&tile)));
        looks += 1;
    }
    looks
}

#[test]
fn readers_see_whole_heads_while_the_writer_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(FileStore::create(folder.path()).unwrap(), signing_key()).unwrap();
    let naive = Naive::of(0..2000);
    let done = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let watchers: Vec<_> = (0..3)
            .map(|_| {
                let (reader, naive, done) = (log.reader(), &naive, Arc::clone(&done));
                scope.spawn(move || watch(&reader, naive, &done))
            })
            .collect();
        let mut size = 0;
        for batch in [1, 13, 100, 256, 3, 77].into_iter().cycle() {
            let next = 2000.min(size + batch);
            append(&mut log, &entries(size..next));
            size = next;
            if size == 2000 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        for watcher in watchers {
            println!("{} looks", watcher.join().unwrap());
        }
    });
    naive.assert_equals(&log.reader().snapshot(), 20);
}
