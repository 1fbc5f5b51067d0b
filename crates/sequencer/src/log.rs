//! The writer's core: one synchronous step from a batch of entries to their answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use tlog::{
    CheckpointError, Hash, KeyKind, SignedCheckpoint, SigningKey, TILE_WIDTH, TileKind, TilePath,
    TreeHead,
};

use crate::admission::{Admission, AdmitAll, History, Unreadable};
use crate::entry::{Entry, Leaf, StatementKey};
use crate::reader::Reader;
use crate::snapshot::{ReadError, Snapshot};
use crate::store::{Commit, Store, StoreError};
use crate::tail::{Tail, apply, full_tile, replay};
use crate::tiles::{Tiles, View};

/// A log, opened by its one writer. It has no threads: [`Sequencer`](crate::Sequencer) gives it
/// one, a simulation calls [`Log::step`] itself.
#[derive(Debug)]
pub struct Log<S, A = AdmitAll> {
    store: S,
    key: SigningKey,
    admission: A,
    epoch: u64,
    reader: Reader,
    /// True while a step runs and for ever after one that did not end well.
    stopped: bool,
}

/// What the caller of an entry that is in the log gets. All of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Index of the entry.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The head that the proof leads to: the newest one.
    pub head: TreeHead,
    /// Inclusion proof, the leaf's sibling first.
    pub proof: Vec<Hash>,
    /// The checkpoint over the head, a signed note.
    pub checkpoint: Arc<[u8]>,
    /// True if the entry was in the log already, or twice in one batch.
    pub duplicate: bool,
}

/// Why one entry is not in the log. The others of its batch are not touched.
#[derive(Debug, thiserror::Error)]
pub enum Refusal<R: Error + 'static> {
    /// Another entry has the statement key.
    #[error("another entry with this statement key is at index {index}")]
    KeyExists {
        /// Index of that entry.
        index: u64,
    },
    /// The admission said no.
    #[error(transparent)]
    Admission(R),
}

/// The state is unknown. Nobody of the batch may be told anything but "stopped"; the process
/// drops the log and opens it again.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Storage failed, or another writer has taken over.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored could not be read, or is not what was signed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An earlier step failed.
    #[error("the log stopped after an earlier error")]
    Stopped,
}

/// Why a log was not opened. Starting anyway could sign a head that contradicts an earlier one.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Storage failed, is in use, or contradicts itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored checkpoint is not one that this key signed for this origin.
    #[error("stored checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Head row and checkpoint disagree.
    #[error(
        "the head has size {} and root {}, its checkpoint size {} and root {}: refusing to start",
        head.size, head.root, checkpoint.size, checkpoint.root
    )]
    Mismatch {
        /// The head row.
        head: TreeHead,
        /// What the checkpoint says.
        checkpoint: TreeHead,
    },
    /// A tile exists that only a larger tree has: the database is older than what lies beside it,
    /// and heads that this one contradicts may have been signed.
    #[error(
        "{tile} is beyond the head of size {size}: the store was rolled back, refusing to start"
    )]
    RolledBack {
        /// The tile.
        tile: TilePath,
        /// Size of the head.
        size: u64,
    },
    /// The stored entries have another root than the signed one.
    #[error(
        "the stored entries of size {} have root {found}, the signed one is {}: refusing to start",
        head.size, head.root
    )]
    Root {
        /// The signed head.
        head: TreeHead,
        /// The root of what is stored.
        found: Hash,
    },
}

impl<S: Store> Log<S> {
    /// Creates the log, with a signed checkpoint of the empty tree, and opens it. The key's name is
    /// the log's origin. Refuses a store that has a head.
    pub fn create(mut store: S, key: SigningKey) -> Result<Self, OpenError> {
        store.create(SignedCheckpoint::sign(&key, TreeHead::EMPTY).as_bytes())?;
        Self::open(store, key)
    }

    /// Takes the log over and brings it to the state of its head: replays the staged batches and
    /// writes what tiles an earlier process left unwritten.
    ///
    /// It admits everything; [`Log::with_admission`] comes next.
    pub fn open(mut store: S, key: SigningKey) -> Result<Self, OpenError> {
        let claim = store.claim()?;
        let signed = SignedCheckpoint::open(&claim.checkpoint, &key.verifier(KeyKind::Ed25519))?;
        if *signed.head() != claim.head {
            return Err(OpenError::Mismatch { head: claim.head, checkpoint: *signed.head() });
        }
        let reads = store.reads();
        let mut tail = replay(&store.staged()?, claim.head.size, &*reads)?;
        let found = tail.head().root;
        if found != claim.head.root {
            return Err(OpenError::Root { head: claim.head, found });
        }
        for kind in [TileKind::Entries, TileKind::Hashes { level: 0 }] {
            // Tiles are written after the commit that fills them, in order: this one comes next.
            let tile = full_tile(kind, claim.head.size / TILE_WIDTH);
            if reads.tile(&tile)?.is_some() {
                return Err(OpenError::RolledBack { tile, size: claim.head.size });
            }
        }
        apply(&mut store, &mut tail)?;
        let tiles = Arc::new(Tiles::new(reads));
        let reader = Reader::new(Snapshot::new(tail, claim.checkpoint.into(), tiles));
        let epoch = claim.epoch;
        Ok(Self { store, key, admission: AdmitAll, epoch, reader, stopped: false })
    }
}

impl<S, A> Log<S, A> {
    /// Puts an admission in charge. It has to know all entries that the log has: read them from
    /// [`Log::reader`] first.
    pub fn with_admission<B>(self, admission: B) -> Log<S, B> {
        let Self { store, key, epoch, reader, stopped, .. } = self;
        Log { store, key, admission, epoch, reader, stopped }
    }

    /// The way to read what is published.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// What decides about entries, as the published ones have left it.
    pub fn admission(&self) -> &A {
        &self.admission
    }

    /// The store, to reach what is kept beside the log.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Lets go of the log, but not of its store.
    pub fn into_store(self) -> S {
        self.store
    }
}

impl<S: Store, A: Admission> Log<S, A> {
    /// Puts a batch into the log and answers each entry in turn. The answers may leave the process
    /// at once: what they say is durable.
    ///
    /// After an error, or a panic of the admission, every further step is [`Fatal::Stopped`].
    pub fn step(&mut self, batch: &[Entry<A::Content>]) -> Result<Answers<A::Refused>, Fatal> {
        if self.stopped {
            return Err(Fatal::Stopped);
        }
        self.stopped = true;
        let before = self.reader.snapshot();
        let mut next = Overlay::over(&before);
        let places = next.place(batch, &mut self.admission)?;
        let after = self.commit(before, next)?;
        let answers = places.into_iter().zip(batch).map(|(place, entry)| {
            Ok(match place {
                Ok(place) => Ok(place.answer(entry.leaf().hash(), &after)?),
                Err(refusal) => Err(refusal),
            })
        });
        let answers = answers.collect::<Result<_, ReadError>>()?;
        self.stopped = false;
        Ok(answers)
    }

    /// Signs the new head, commits, writes full tiles, publishes: in this order, so that nothing
    /// signed is ever seen that is not durable.
    fn commit(&mut self, before: Snapshot, next: Overlay<'_>) -> Result<Snapshot, Fatal> {
        let Overlay { mut tail, leaves, .. } = next;
        if leaves.is_empty() {
            return Ok(before);
        }
        let to = tail.head();
        let signed = SignedCheckpoint::sign(&self.key, to);
        let checkpoint = signed.as_bytes();
        let from = before.head();
        let commit = Commit { epoch: self.epoch, from, to, checkpoint, leaves: &leaves };
        self.store.commit(&commit)?;
        apply(&mut self.store, &mut tail)?;
        let after = Snapshot::new(tail, checkpoint.into(), Arc::clone(before.tiles()));
        self.reader.publish(after.clone());
        Ok(after)
    }
}

/// One answer for each entry of a batch, in its order.
pub type Answers<R> = Vec<Result<Answer, Refusal<R>>>;

type Places<R> = Vec<Result<Place, Refusal<R>>>;

/// Where an entry of the batch is or will be.
struct Place {
    index: u64,
    duplicate: bool,
}

impl Place {
    fn answer(self, leaf: Hash, after: &Snapshot) -> Result<Answer, ReadError> {
        let Self { index, duplicate } = self;
        let head = after.head();
        let proof = after.inclusion(index, head.size)?;
        Ok(Answer { index, leaf, head, proof, checkpoint: after.checkpoint(), duplicate })
    }
}

/// The log with the entries of the batch that are in so far. Nothing of it is durable or seen by
/// anyone but the admission.
struct Overlay<'a> {
    tail: Tail,
    tiles: Arc<Tiles>,
    leaves: Vec<&'a Leaf>,
    by_leaf: BTreeMap<Hash, u64>,
    by_key: BTreeMap<StatementKey, u64>,
    /// The first error that the admission met when it looked into the history.
    failure: RefCell<Option<ReadError>>,
}

impl<'a> Overlay<'a> {
    fn over(before: &Snapshot) -> Self {
        Self {
            tail: before.tail().clone(),
            tiles: Arc::clone(before.tiles()),
            leaves: Vec::new(),
            by_leaf: BTreeMap::new(),
            by_key: BTreeMap::new(),
            failure: RefCell::new(None),
        }
    }

    /// Finds or makes a place for each entry: a copy gets its old index, a known key is refused,
    /// the rest is up to the admission.
    fn place<A: Admission>(
        &mut self,
        batch: &'a [Entry<A::Content>],
        admission: &mut A,
    ) -> Result<Places<A::Refused>, Fatal> {
        let hashes: Vec<_> = batch.iter().map(|entry| entry.leaf().hash()).collect();
        let keys: Vec<_> = batch.iter().map(Entry::key).collect();
        let old_leaves = self.tiles.reads().find_leaves(&hashes)?;
        let old_keys = self.tiles.reads().find_keys(&keys)?;
        let committed = self.tail.size();
        if let Some(index) =
            old_leaves.iter().chain(&old_keys).flatten().find(|index| **index >= committed)
        {
            let what = format!("entry {index} is indexed in a log of {committed} entries");
            return Err(StoreError::damaged(what).into());
        }
        let mut places = Vec::with_capacity(batch.len());
        for ((entry, old_leaf), old_key) in batch.iter().zip(old_leaves).zip(old_keys) {
            let leaf = entry.leaf();
            let index = self.tail.size();
            let copy = old_leaf.or_else(|| self.by_leaf.get(&leaf.hash()).copied());
            let other = old_key.or_else(|| self.by_key.get(&leaf.key()).copied());
            places.push(match (copy, other) {
                (Some(index), _) => Ok(Place { index, duplicate: true }),
                (None, Some(index)) => Err(Refusal::KeyExists { index }),
                (None, None) => {
                    let verdict = admission.admit(index, entry, self);
                    if let Some(error) = self.failure.take() {
                        return Err(error.into());
                    }
                    verdict.map_err(Refusal::Admission).map(|()| {
                        self.append(index, leaf);
                        Place { index, duplicate: false }
                    })
                }
            });
        }
        Ok(places)
    }

    fn append(&mut self, index: u64, leaf: &'a Leaf) {
        self.tail.append(leaf.bytes(), leaf.hash());
        self.leaves.push(leaf);
        self.by_leaf.insert(leaf.hash(), index);
        self.by_key.insert(leaf.key(), index);
    }

    fn view(&self) -> View<'_> {
        View { tail: &self.tail, tiles: &self.tiles }
    }

    /// What is beyond the history is not there; anything else is an error that stops the writer.
    fn look<T>(&self, answer: Result<T, ReadError>) -> Result<Option<T>, Unreadable> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(ReadError::Beyond { .. }) => Ok(None),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                Err(Unreadable)
            }
        }
    }
}

impl History for Overlay<'_> {
    fn size(&self) -> u64 {
        self.tail.size()
    }

    fn entry(&self, index: u64) -> Result<Option<Arc<[u8]>>, Unreadable> {
        self.look(self.view().entry(index))
    }

    fn root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        self.look(self.view().root_at(size))
    }

    fn index_of_leaf(&self, leaf: &Hash) -> Result<Option<u64>, Unreadable> {
        match self.by_leaf.get(leaf) {
            Some(index) => Ok(Some(*index)),
            None => Ok(self.look(self.view().index_of_leaf(leaf))?.flatten()),
        }
    }

    fn index_of_key(&self, key: &StatementKey) -> Result<Option<u64>, Unreadable> {
        match self.by_key.get(key) {
            Some(index) => Ok(Some(*index)),
            None => Ok(self.look(self.view().index_of_key(key))?.flatten()),
        }
    }
}
