//! Keys, entries and the naive log that everything is compared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sequencer::conformance::Subject;
use sequencer::{Entry, FileStore, Log, MemoryStore, Snapshot, StatementKey, Store};
use tempfile::TempDir;
use tlog::{
    EMPTY_ROOT, Hash, KeyKind, KeyName, SignedCheckpoint, SigningKey, TileKind, TilePath, TreeHead,
    VerifierKey, leaf_hash, node_hash, tiles_of,
};

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed(KeyName::parse("log.example/test").unwrap(), &[7; 32])
}

pub(crate) fn verifier() -> VerifierKey {
    signing_key().verifier(KeyKind::Ed25519)
}

/// Entry `number`, of a length that varies; its key is not its leaf hash.
pub(crate) fn entry(number: u64) -> Entry {
    keyed(&text(number), number)
}

pub(crate) fn text(number: u64) -> String {
    format!("entry {number} {}", "x".repeat((number % 7) as usize))
}

/// An entry with a key of the caller's choice.
pub(crate) fn keyed(bytes: &str, key: u64) -> Entry {
    Entry::new(bytes.as_bytes(), key_of(key)).unwrap()
}

pub(crate) fn key_of(number: u64) -> StatementKey {
    StatementKey::from(Hash::of(&[b"key", &number.to_be_bytes()]))
}

pub(crate) fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    numbers.map(entry).collect()
}

pub(crate) fn memory_log() -> Log<MemoryStore> {
    Log::create(MemoryStore::new(), signing_key()).unwrap()
}

/// Steps that must go well for every entry.
pub(crate) fn append<S: Store>(log: &mut Log<S>, batch: &[Entry]) -> Vec<sequencer::Answer> {
    log.step(batch).unwrap().into_iter().map(Result::unwrap).collect()
}

/// The log as RFC 6962 defines it: a list of entries and a recursion.
#[derive(Debug, Default)]
pub(crate) struct Naive {
    pub(crate) entries: Vec<Arc<[u8]>>,
    leaves: Vec<Hash>,
    /// Roots by size, since tests ask for the same ones again and again.
    roots: Mutex<BTreeMap<u64, Hash>>,
}

impl Naive {
    pub(crate) fn of(numbers: std::ops::Range<u64>) -> Self {
        let mut naive = Self::default();
        for number in numbers {
            naive.push(text(number).as_bytes());
        }
        naive
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.entries.push(bytes.into());
        self.leaves.push(leaf_hash(bytes));
    }

    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn leaf(&self, index: u64) -> Hash {
        self.leaves[index as usize]
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        let mut roots = self.roots.lock().unwrap();
        let root = *roots.entry(size).or_insert_with(|| root(&self.leaves[..size as usize]));
        TreeHead { size, root }
    }

    /// A tile by its definition in C2SP tlog-tiles.
    pub(crate) fn tile(&self, path: &TilePath) -> Vec<u8> {
        let first = 256 * path.index() as usize;
        let places = first..first + usize::from(path.width());
        match path.kind() {
            TileKind::Entries => places
                .flat_map(|place| {
                    let entry = &self.entries[place];
                    [&(entry.len() as u16).to_be_bytes(), &**entry].concat()
                })
                .collect(),
            TileKind::Hashes { level } => places
                .flat_map(|place| {
                    let width = 256usize.pow(level.into());
                    *root(&self.leaves[place * width..(place + 1) * width]).as_bytes()
                })
                .collect(),
        }
    }

    /// Everything that a snapshot answers, compared with the definition. `proofs` says of how many
    /// entries and sizes, spread evenly.
    pub(crate) fn assert_equals(&self, snapshot: &Snapshot, proofs: u64) {
        let size = self.size();
        let head = self.head(size);
        assert_eq!(snapshot.head(), head);
        let signed = SignedCheckpoint::open(&snapshot.checkpoint(), &verifier()).unwrap();
        assert_eq!(*signed.head(), head);
        for path in tiles_of(size) {
            assert_eq!(snapshot.tile(&path).unwrap(), Some(self.tile(&path)), "{path}");
        }
        for (read, entry) in snapshot.entries(0..size).unwrap().zip(&self.entries) {
            assert_eq!(read.unwrap(), *entry);
        }
        let step = (size / proofs.max(1)).max(1);
        for index in (0..size).step_by(step as usize).chain(size.checked_sub(1)) {
            let leaf = self.leaves[index as usize];
            let proof = snapshot.inclusion(index, size).unwrap();
            tlog::verify_inclusion(&leaf, index, &head, &proof).unwrap();
            assert_eq!(snapshot.index_of_leaf(&leaf).unwrap(), Some(index));
            let old = self.head(index);
            assert_eq!(snapshot.root_at(index).unwrap(), old.root);
            let proof = snapshot.consistency(index, size).unwrap();
            tlog::verify_consistency(&old, &head, &proof).unwrap();
        }
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// Memory stores for the conformance suite.
pub(crate) struct InMemory;

impl Subject for InMemory {
    type Store = MemoryStore;

    fn fresh(&mut self) -> MemoryStore {
        MemoryStore::new()
    }

    fn reopen(&mut self, store: MemoryStore) -> MemoryStore {
        store.copy()
    }
}

/// File stores for the conformance suite, each in a folder of its own.
#[derive(Default)]
pub(crate) struct InFiles {
    folders: Vec<TempDir>,
}

impl Subject for InFiles {
    type Store = FileStore;

    fn fresh(&mut self) -> FileStore {
        self.folders.push(tempfile::tempdir().unwrap());
        FileStore::create(self.folder()).unwrap()
    }

    fn reopen(&mut self, store: FileStore) -> FileStore {
        drop(store);
        FileStore::open(self.folder()).unwrap()
    }
}

impl InFiles {
    fn folder(&self) -> &Path {
        self.folders.last().unwrap().path()
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_folder(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let item = item.unwrap();
        if item.file_type().unwrap().is_dir() {
            files.extend(files_below(&item.path()));
        } else {
            files.push(item.path());
        }
    }
    files.sort();
    files
}
