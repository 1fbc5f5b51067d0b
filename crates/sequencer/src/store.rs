//! What the writer asks of storage. [`crate::conformance`] is the contract in executable form.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::{Hash, TilePath, TreeHead};

use crate::artifact::ArtifactStore;
use crate::entry::{Leaf, StatementKey};

/// Storage of one log. Every method that returns `Ok` has made its effect durable; after an error
/// the state is unknown, and the caller drops the store and opens it again.
pub trait Store {
    /// Ways to read while the writer writes.
    fn reads(&self) -> Arc<dyn StoreReads>;

    /// The blobs kept beside the log.
    fn artifacts(&self) -> Arc<dyn ArtifactStore>;

    /// Writes the first head, of the empty tree, in epoch 0. Refuses with [`StoreError::Exists`]
    /// if there is one.
    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError>;

    /// Takes the log over: raises the epoch by one, which fences every earlier writer, and reads
    /// the head.
    fn claim(&mut self) -> Result<Claim, StoreError>;

    /// The batches whose entries are not all known to be in durable bundles, by start.
    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError>;

    /// Stages the batch, indexes its leaves and swaps the head, all or nothing: **the commit
    /// point**. [`StoreError::Fenced`] if epoch, size or root are not what the caller believes.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError>;

    /// Keeps a full tile. The same bytes again are fine; other bytes are
    /// [`StoreError::Conflict`], since tiles are immutable.
    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError>;

    /// Drops staged batches all of whose entries are below `boundary`. The caller vouches that
    /// the bundles and tiles below it are durable.
    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError>;
}

/// Reading beside the writer. It may see what is committed but not yet published, so callers cut
/// its answers to the size they serve.
pub trait StoreReads: Send + Sync {
    /// The bytes of a full tile, as they were put.
    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreError>;

    /// For each leaf hash the index of its entry.
    fn find_leaves(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError>;

    /// For each statement key the index of its entry.
    fn find_keys(&self, keys: &[StatementKey]) -> Result<Vec<Option<u64>>, StoreError>;
}

/// What a writer gets when it takes a log over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The writer's own epoch; each of its commits names it.
    pub epoch: u64,
    /// The head.
    pub head: TreeHead,
    /// The checkpoint over that head, a signed note.
    pub checkpoint: Vec<u8>,
}

/// One batch and the head it leads to.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The writer's epoch.
    pub epoch: u64,
    /// The head before; its size is the index of the first leaf.
    pub from: TreeHead,
    /// The head after.
    pub to: TreeHead,
    /// The checkpoint over the head after, a signed note.
    pub checkpoint: &'a [u8],
    /// The new leaves in log order, at least one.
    pub leaves: &'a [&'a Leaf],
}

/// Entries that wait for the bundles they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedBatch {
    /// Index of the first entry.
    pub start: u64,
    /// The entries in log order.
    pub entries: Vec<Arc<[u8]>>,
}

impl StagedBatch {
    /// Index after the last entry.
    pub fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }
}

/// Why storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock on the folder.
    #[error("{} is in use by another writer", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There is nothing to open.
    #[error("there is no log in {}", .path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The store was made, but not the log in it.
    #[error("the store has no head: the log was never created")]
    Headless,
    /// A log is not created over another.
    #[error("the store has a head: a log is not created over another")]
    Exists,
    /// Another writer has taken the log over, or moved its head.
    #[error("writer of epoch {epoch} at size {size} is fenced: another one has taken over")]
    Fenced {
        /// The epoch of the writer that was refused.
        epoch: u64,
        /// The size it believed the log to have.
        size: u64,
    },
    /// An immutable name has other bytes.
    #[error("{path} exists with other bytes")]
    Conflict {
        /// Which tile.
        path: TilePath,
    },
    /// What is stored contradicts itself.
    #[error("damaged store: {what}")]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database refused.
    #[error("database: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A test or a simulation asked for it.
    #[error("fault injected at {place}")]
    Injected {
        /// The named place.
        place: String,
    },
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Names the file that the system's error is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}
