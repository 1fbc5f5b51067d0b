//! The way to the log for everybody but the writer.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tlog::{Hash, TilePath, TreeHead};

use crate::entry::StatementKey;
use crate::snapshot::{Entries, ReadError, Snapshot};

type Hook = Box<dyn Fn(&TreeHead) + Send>;

/// Reads the newest published head and all below it. Clones share caches; any thread may have one.
/// Each call looks at the newest head: where two answers must agree, take a [`Snapshot`].
#[derive(Clone)]
pub struct Reader {
    hub: Arc<Hub>,
}

struct Hub {
    /// Replaced by the writer alone; held only to copy it.
    current: RwLock<Snapshot>,
    /// Called by the writer, in the order they were added.
    hooks: Mutex<Vec<Hook>>,
}

impl Reader {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let hub = Hub { current: RwLock::new(snapshot), hooks: Mutex::default() };
        Self { hub: Arc::new(hub) }
    }

    /// Shows a new head to readers, then to the hooks.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let head = snapshot.head();
        *self.hub.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        for hook in &*self.hub.hooks.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(&head);
        }
    }

    /// The log as it is now.
    pub fn snapshot(&self) -> Snapshot {
        // A snapshot is replaced whole, so a panic elsewhere leaves no half of one.
        self.hub.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls `hook` with every head published from now on, on the writer's thread: it must be
    /// short, must not panic, and must not add hooks. To miss none, add it first, then read the
    /// head.
    pub fn on_publish(&self, hook: Box<dyn Fn(&TreeHead) + Send>) {
        self.hub.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// [`Snapshot::head`] of the newest snapshot.
    pub fn head(&self) -> TreeHead {
        self.snapshot().head()
    }

    /// [`Snapshot::checkpoint`] of the newest snapshot.
    pub fn checkpoint(&self) -> Arc<[u8]> {
        self.snapshot().checkpoint()
    }

    /// [`Snapshot::tile`] of the newest snapshot.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, ReadError> {
        self.snapshot().tile(path)
    }

    /// [`Snapshot::entry`] of the newest snapshot.
    pub fn entry(&self, index: u64) -> Result<Arc<[u8]>, ReadError> {
        self.snapshot().entry(index)
    }

    /// [`Snapshot::entries`] of the newest snapshot.
    pub fn entries(&self, range: Range<u64>) -> Result<Entries, ReadError> {
        self.snapshot().entries(range)
    }

    /// [`Snapshot::inclusion`] of the newest snapshot.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        self.snapshot().inclusion(index, size)
    }

    /// [`Snapshot::consistency`] of the newest snapshot.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
        self.snapshot().consistency(old, new)
    }

    /// [`Snapshot::root_at`] of the newest snapshot.
    pub fn root_at(&self, size: u64) -> Result<Hash, ReadError> {
        self.snapshot().root_at(size)
    }

    /// [`Snapshot::index_of_leaf`] of the newest snapshot.
    pub fn index_of_leaf(&self, leaf: &Hash) -> Result<Option<u64>, ReadError> {
        self.snapshot().index_of_leaf(leaf)
    }

    /// [`Snapshot::index_of_key`] of the newest snapshot.
    pub fn index_of_key(&self, key: &StatementKey) -> Result<Option<u64>, ReadError> {
        self.snapshot().index_of_key(key)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("head", &self.head()).finish_non_exhaustive()
    }
}
