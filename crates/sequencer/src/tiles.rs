//! Full tiles from the store, used only after the tile above has vouched for them. That chain ends
//! in the tail, whose root is signed; so neither a flipped bit nor a foreign file is ever served
//! or proved from.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tlog::{
    Hash, NodeReader, TILE_WIDTH, TileKind, leaf_hash, node_hash, parse_bundle, parse_hash_tile,
    root_at,
};

use crate::cache::Cache;
use crate::entry::StatementKey;
use crate::snapshot::ReadError;
use crate::store::StoreReads;
use crate::tail::{Tail, full_tile};

/// 128 × 16 KiB = 2 MiB: the tiles that proofs of the last 30,000 entries need, and more.
const TREES: usize = 128;

/// 4 MiB: the bundles of some 10,000 small statements, for whoever asks for single entries. Those
/// who go through the log read each bundle once and leave the cache alone.
const BUNDLE_BYTES: usize = 4 << 20;

/// The tiles of one store, with a cache that all readers share.
pub(crate) struct Tiles {
    reads: Arc<dyn StoreReads>,
    trees: Mutex<Cache<(u8, u64), Arc<Tree>>>,
    bundles: Mutex<Cache<u64, Arc<Bundle>>>,
}

/// A full tile and the nodes above its hashes, from 256 down to 1.
struct Tree(Vec<Vec<Hash>>);

/// A full bundle and where its entries end.
#[derive(Debug)]
pub(crate) struct Bundle {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Tiles {
    pub(crate) fn new(reads: Arc<dyn StoreReads>) -> Self {
        let (trees, bundles) = (Cache::new(TREES), Cache::new(BUNDLE_BYTES));
        Self { reads, trees: Mutex::new(trees), bundles: Mutex::new(bundles) }
    }

    pub(crate) fn reads(&self) -> &dyn StoreReads {
        &*self.reads
    }

    /// The hashes of a full tile.
    pub(crate) fn hashes(
        &self,
        tail: &Tail,
        level: u8,
        index: u64,
    ) -> Result<Vec<Hash>, ReadError> {
        Ok(self.tree(tail, level, index)?.0[0].clone())
    }

    fn tree(&self, tail: &Tail, level: u8, index: u64) -> Result<Arc<Tree>, ReadError> {
        if let Some(tree) = lock(&self.trees).find(&(level, index)) {
            return Ok(tree);
        }
        let path = full_tile(TileKind::Hashes { level }, index);
        let bytes = self.reads.tile(&path)?.ok_or(ReadError::Missing { path })?;
        let hashes =
            parse_hash_tile(&bytes, path.width()).map_err(|_| ReadError::Damaged { path })?;
        let tree = Arc::new(Tree::over(hashes));
        // The levels of a tree below 2^63 leaves are below 8, which bounds the recursion.
        let above = View { tail, tiles: self }.node(8 * (level + 1), index)?;
        if tree.root() != above {
            return Err(ReadError::Damaged { path });
        }
        lock(&self.trees).put((level, index), Arc::clone(&tree), 1);
        Ok(tree)
    }

    /// A full bundle for one of its entries: from the cache, or read and kept.
    fn cached_bundle(&self, tail: &Tail, index: u64) -> Result<Arc<Bundle>, ReadError> {
        if let Some(bundle) = lock(&self.bundles).find(&index) {
            return Ok(bundle);
        }
        let bundle = Arc::new(self.bundle(tail, index)?);
        lock(&self.bundles).put(index, Arc::clone(&bundle), bundle.bytes.len());
        Ok(bundle)
    }

    /// Reads a full bundle and checks each entry against its leaf hash.
    pub(crate) fn bundle(&self, tail: &Tail, index: u64) -> Result<Bundle, ReadError> {
        let path = full_tile(TileKind::Entries, index);
        let bytes = self.reads.tile(&path)?.ok_or(ReadError::Missing { path })?;
        let damaged = || ReadError::Damaged { path };
        let entries = parse_bundle(&bytes, path.width()).map_err(|_| damaged())?;
        let tree = self.tree(tail, 0, index)?;
        let mut end = 0;
        let mut ends = Vec::with_capacity(entries.len());
        for (entry, leaf) in entries.iter().zip(&tree.0[0]) {
            if leaf_hash(entry) != *leaf {
                return Err(damaged());
            }
            end += 2 + entry.len();
            ends.push(end);
        }
        Ok(Bundle { bytes, ends })
    }
}

impl Tree {
    fn over(hashes: Vec<Hash>) -> Self {
        let mut rows = vec![hashes];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            let (pairs, _) = row.as_chunks();
            let above = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
            rows.push(above);
        }
        Self(rows)
    }

    fn root(&self) -> Hash {
        self.0[8][0]
    }
}

impl Bundle {
    /// The first `width` entries as the store keeps them.
    pub(crate) fn into_prefix(mut self, width: u16) -> Vec<u8> {
        self.bytes.truncate(self.ends[usize::from(width) - 1]);
        self.bytes
    }

    /// One entry of the 256.
    pub(crate) fn entry(&self, place: usize) -> Arc<[u8]> {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        self.bytes[start + 2..self.ends[place]].into()
    }
}

/// The whole log as a tail ends it: the tail itself, and the tiles before it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) tail: &'a Tail,
    pub(crate) tiles: &'a Tiles,
}

impl View<'_> {
    pub(crate) fn entry(&self, index: u64) -> Result<Arc<[u8]>, ReadError> {
        let size = self.tail.size();
        if index >= size {
            return Err(ReadError::Beyond { size });
        }
        match self.tail.entries_from(index) {
            Some([entry, ..]) => Ok(Arc::clone(entry)),
            _ => {
                let bundle = self.tiles.cached_bundle(self.tail, index / TILE_WIDTH)?;
                Ok(bundle.entry((index % TILE_WIDTH) as usize))
            }
        }
    }

    pub(crate) fn root_at(&self, size: u64) -> Result<Hash, ReadError> {
        if size > self.tail.size() {
            return Err(ReadError::Beyond { size: self.tail.size() });
        }
        root_at(self, size)
    }

    pub(crate) fn index_of_leaf(&self, leaf: &Hash) -> Result<Option<u64>, ReadError> {
        self.within(self.tiles.reads.find_leaves(&[*leaf])?)
    }

    pub(crate) fn index_of_key(&self, key: &StatementKey) -> Result<Option<u64>, ReadError> {
        self.within(self.tiles.reads.find_keys(&[*key])?)
    }

    /// The store's index may be ahead of what is published.
    fn within(&self, found: Vec<Option<u64>>) -> Result<Option<u64>, ReadError> {
        Ok(found.into_iter().flatten().next().filter(|index| *index < self.tail.size()))
    }
}

impl NodeReader for View<'_> {
    type Error = ReadError;

    fn node(&self, height: u8, index: u64) -> Result<Hash, ReadError> {
        let size = self.tail.size();
        if index >= size.checked_shr(u32::from(height)).unwrap_or(0) {
            return Err(ReadError::Beyond { size });
        }
        if let Some(hash) = self.tail.node(height, index) {
            return Ok(hash);
        }
        let (level, within) = (height / 8, height % 8);
        let width = TILE_WIDTH >> within;
        let tree = self.tiles.tree(self.tail, level, index / width)?;
        Ok(tree.0[usize::from(within)][(index % width) as usize])
    }
}

/// Values are put into a cache whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tiles")
    }
}
