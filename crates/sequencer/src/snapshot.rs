//! The log at one published size: what readers see while the writer goes on.

use std::ops::Range;
use std::sync::Arc;

use tlog::{
    Hash, NodeReader as _, TILE_WIDTH, TileKind, TilePath, TreeHead, encode_bundle,
    prove_consistency, prove_inclusion,
};

use crate::entry::StatementKey;
use crate::store::StoreError;
use crate::tail::Tail;
use crate::tiles::{Bundle, Tiles, View};

/// The log at one published size. Cheap to copy, never changes, and holds up nobody: keep one for
/// the answers that must agree with each other. Nothing beyond its size can be had from it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    published: Arc<Published>,
    tiles: Arc<Tiles>,
}

#[derive(Debug)]
struct Published {
    head: TreeHead,
    checkpoint: Arc<[u8]>,
    tail: Tail,
}

/// Why something of a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller asks for more than the log has.
    #[error("the log has {size} entries")]
    Beyond {
        /// Its size.
        size: u64,
    },
    /// A full tile is gone.
    #[error("{path} is missing")]
    Missing {
        /// The tile.
        path: TilePath,
    },
    /// A full tile is not what the signed root says.
    #[error("{path} is damaged: its hash is not in the tree")]
    Damaged {
        /// The tile.
        path: TilePath,
    },
    /// Storage refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Snapshot {
    pub(crate) fn new(tail: Tail, checkpoint: Arc<[u8]>, tiles: Arc<Tiles>) -> Self {
        let published = Arc::new(Published { head: tail.head(), checkpoint, tail });
        Self { published, tiles }
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.published.tail
    }

    pub(crate) fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }

    fn view(&self) -> View<'_> {
        View { tail: &self.published.tail, tiles: &self.tiles }
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.published.head
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.published.head.size
    }

    /// The checkpoint over the head, signed by the log alone, byte for byte.
    pub fn checkpoint(&self) -> Arc<[u8]> {
        Arc::clone(&self.published.checkpoint)
    }

    /// A hash tile or an entry bundle in the width that its path names: cut from memory or from
    /// the full tile. `None` if this size has no such tile.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, ReadError> {
        let width = path.width();
        let (tail, view) = (&self.published.tail, self.view());
        let first = path.index() * TILE_WIDTH;
        let level = if let TileKind::Hashes { level } = path.kind() { level } else { 0 };
        let there = self.size().checked_shr(8 * u32::from(level)).unwrap_or(0);
        if first + u64::from(width) > there {
            return Ok(None);
        }
        let bytes = match path.kind() {
            TileKind::Hashes { level } => match tail.hashes_from(level, first) {
                Some(hashes) => join(&hashes[..usize::from(width)]),
                None => {
                    let hashes = view.tiles.hashes(tail, level, path.index())?;
                    join(&hashes[..usize::from(width)])
                }
            },
            TileKind::Entries => match tail.entries_from(first) {
                Some(entries) => {
                    encode_bundle(entries[..usize::from(width)].iter().map(|entry| &**entry))
                }
                None => view.tiles.bundle(tail, path.index())?.into_prefix(width),
            },
        };
        Ok(Some(bytes))
    }

    /// The bytes of one entry.
    pub fn entry(&self, index: u64) -> Result<Arc<[u8]>, ReadError> {
        self.view().entry(index)
    }

    /// The entries of a range, one after another, each bundle read when it is reached.
    pub fn entries(&self, range: Range<u64>) -> Result<Entries, ReadError> {
        if range.end > self.size() {
            return Err(ReadError::Beyond { size: self.size() });
        }
        Ok(Entries { snapshot: self.clone(), range, bundle: None })
    }

    /// The leaf hash of one entry.
    pub fn leaf(&self, index: u64) -> Result<Hash, ReadError> {
        self.view().node(0, index)
    }

    /// The inclusion proof of an entry in the tree of the first `size` entries.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        if index >= size || size > self.size() {
            return Err(ReadError::Beyond { size: self.size() });
        }
        prove_inclusion(&self.view(), index, size)
    }

    /// The consistency proof between the trees of the first `old` and the first `new` entries.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReadError> {
        if old > new || new > self.size() {
            return Err(ReadError::Beyond { size: self.size() });
        }
        prove_consistency(&self.view(), old, new)
    }

    /// The root of the tree of the first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Hash, ReadError> {
        self.view().root_at(size)
    }

    /// The index of the entry with this leaf hash.
    pub fn index_of_leaf(&self, leaf: &Hash) -> Result<Option<u64>, ReadError> {
        self.view().index_of_leaf(leaf)
    }

    /// The index of the entry with this statement key.
    pub fn index_of_key(&self, key: &StatementKey) -> Result<Option<u64>, ReadError> {
        self.view().index_of_key(key)
    }
}

fn join(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

/// The entries of a range of a snapshot; see [`Snapshot::entries`].
#[derive(Debug)]
pub struct Entries {
    snapshot: Snapshot,
    range: Range<u64>,
    /// The full bundle read last, and its index.
    bundle: Option<(u64, Bundle)>,
}

impl Entries {
    fn entry(&mut self, index: u64) -> Result<Arc<[u8]>, ReadError> {
        let View { tail, tiles } = self.snapshot.view();
        if let Some([entry, ..]) = tail.entries_from(index) {
            return Ok(Arc::clone(entry));
        }
        let wanted = index / TILE_WIDTH;
        let (_, bundle) = match self.bundle.take() {
            Some(kept) if kept.0 == wanted => self.bundle.insert(kept),
            _ => self.bundle.insert((wanted, tiles.bundle(tail, wanted)?)),
        };
        Ok(bundle.entry((index % TILE_WIDTH) as usize))
    }
}

impl Iterator for Entries {
    type Item = Result<Arc<[u8]>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.range.next()?;
        Some(self.entry(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}
