//! The right edge of the log: everything that is not in durable full tiles.
//!
//! It is what a batch is appended to, what partial tiles are cut from, and what recovery rebuilds
//! from the staged batches. A copy costs at most two times 8 KiB a level and 255 pointers, so each
//! batch works on one of its own and a published tail never changes.

use std::sync::Arc;

use tlog::{
    EMPTY_ROOT, Hash, TILE_WIDTH, TileKind, TilePath, TreeHead, encode_bundle, leaf_hash,
    node_hash, parse_hash_tile,
};

use crate::store::{StagedBatch, Store, StoreError, StoreReads};

#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    size: u64,
    /// By height: roots of complete subtrees, the leaves at 0. Every eighth row holds what the
    /// tiles of one level hold, the rows between are the inner nodes of these tiles.
    rows: Vec<Row>,
    /// Index of the first entry kept, a multiple of 256.
    start: u64,
    entries: Vec<Arc<[u8]>>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    /// Index of the first node kept: where a tile of the row's level begins.
    start: u64,
    nodes: Vec<Hash>,
}

impl Tail {
    /// The tail of a tree of `boundary` leaves, a multiple of 256, from its full tiles. They are
    /// the writer's own and used as they are; the caller compares the root at the end.
    pub(crate) fn at_boundary(boundary: u64, reads: &dyn StoreReads) -> Result<Self, StoreError> {
        let mut tail = Self { size: boundary, start: boundary, ..Self::default() };
        let heights = 64 - boundary.leading_zeros();
        for height in 0..heights {
            let (level, within) = (height / 8, height % 8);
            let full = (boundary >> (8 * level)) / TILE_WIDTH * TILE_WIDTH;
            tail.rows.push(Row { start: full >> within, nodes: Vec::new() });
        }
        for level in 1..=heights / 8 {
            let nodes = boundary.checked_shr(8 * level).unwrap_or(0);
            for index in nodes / TILE_WIDTH * TILE_WIDTH..nodes {
                let below = TileKind::Hashes { level: level as u8 - 1 };
                tail.push(8 * level as usize, tile_root(&full_tile(below, index), reads)?);
            }
        }
        Ok(tail)
    }

    /// Adds an entry by its bytes and leaf hash.
    pub(crate) fn append(&mut self, bytes: &Arc<[u8]>, leaf: Hash) {
        self.entries.push(Arc::clone(bytes));
        self.push(0, leaf);
        self.size += 1;
    }

    /// Adds a node to a row, and its parent once it has a sibling: one hash for each leaf.
    fn push(&mut self, mut height: usize, mut hash: Hash) {
        loop {
            if self.rows.len() <= height {
                self.rows.resize_with(height + 1, Row::default);
            }
            let row = &mut self.rows[height];
            row.nodes.push(hash);
            // Rows start at an even index, so a node's sibling is kept as long as it is.
            let [.., left, right] = row.nodes.as_slice() else { return };
            if row.nodes.len() % 2 == 1 {
                return;
            }
            hash = node_hash(left, right);
            height += 1;
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn head(&self) -> TreeHead {
        let subtrees = (0..64).filter(|height| self.size >> height & 1 == 1);
        let mut roots = subtrees.map(|height| {
            self.node(height, (self.size >> height) - 1)
                .expect("the last complete subtree of each height is kept")
        });
        let root = match roots.next() {
            None => EMPTY_ROOT,
            Some(last) => roots.fold(last, |right, left| node_hash(&left, &right)),
        };
        TreeHead { size: self.size, root }
    }

    /// The root of a complete subtree; `None` if it is in a durable tile, or not complete.
    pub(crate) fn node(&self, height: u8, index: u64) -> Option<Hash> {
        let row = self.rows.get(usize::from(height))?;
        let place = usize::try_from(index.checked_sub(row.start)?).ok()?;
        row.nodes.get(place).copied()
    }

    /// The hashes of a level from `index` on; `None` if that lies in a durable tile.
    pub(crate) fn hashes_from(&self, level: u8, index: u64) -> Option<&[Hash]> {
        let row = self.rows.get(8 * usize::from(level))?;
        row.nodes.get(usize::try_from(index.checked_sub(row.start)?).ok()?..)
    }

    /// The entries from `index` on; `None` if that lies in a durable bundle.
    pub(crate) fn entries_from(&self, index: u64) -> Option<&[Arc<[u8]>]> {
        self.entries.get(usize::try_from(index.checked_sub(self.start)?).ok()?..)
    }

    /// The bundles and tiles that are full and, as far as the tail knows, not durable.
    fn full_tiles(&self) -> impl Iterator<Item = (TilePath, Vec<u8>)> {
        let bundles = (self.start..).step_by(TILE_WIDTH as usize);
        let bundles = bundles.zip(self.entries.chunks_exact(TILE_WIDTH as usize)).map(
            move |(start, chunk)| {
                (
                    full_tile(TileKind::Entries, start / TILE_WIDTH),
                    encode_bundle(chunk.iter().map(|entry| &**entry)),
                )
            },
        );
        let levels = (0..).zip(self.rows.iter().step_by(8));
        let tiles = levels.flat_map(move |(level, row)| {
            let starts = (row.start..).step_by(TILE_WIDTH as usize);
            starts.zip(row.nodes.chunks_exact(TILE_WIDTH as usize)).map(move |(start, nodes)| {
                let bytes = nodes.iter().flat_map(Hash::as_bytes).copied().collect();
                (full_tile(TileKind::Hashes { level }, start / TILE_WIDTH), bytes)
            })
        });
        bundles.chain(tiles)
    }

    /// Drops what [`Tail::full_tiles`] gave.
    fn drop_full(&mut self) {
        let full = self.entries.len() / TILE_WIDTH as usize * TILE_WIDTH as usize;
        self.entries.drain(..full);
        self.start += full as u64;
        for level in self.rows.chunks_mut(8) {
            let full = level[0].nodes.len() / TILE_WIDTH as usize * TILE_WIDTH as usize;
            for (within, row) in level.iter_mut().enumerate() {
                row.nodes.drain(..full >> within);
                row.start += (full >> within) as u64;
            }
        }
    }
}

/// Makes the tiles that became full durable, then drops the staged batches that they replace.
/// The same after a commit and in recovery; doing it twice changes nothing.
pub(crate) fn apply<S: Store>(store: &mut S, tail: &mut Tail) -> Result<(), StoreError> {
    let before = tail.start;
    for (path, bytes) in tail.full_tiles() {
        store.put_tile(&path, &bytes)?;
    }
    tail.drop_full();
    if tail.start > before {
        store.unstage(tail.start)?;
    }
    Ok(())
}

/// Rebuilds the tail of a tree of `size` leaves. Tiles that became full are still in it, for
/// [`apply`] to write.
pub(crate) fn replay(
    staged: &[StagedBatch],
    size: u64,
    reads: &dyn StoreReads,
) -> Result<Tail, StoreError> {
    // Batches are dropped when all their entries are in durable bundles. So what precedes the
    // first one, up to the end of the bundle that it begins in, is durable.
    let first = staged.first().map_or(size, |batch| batch.start);
    let boundary = first.next_multiple_of(TILE_WIDTH);
    if boundary > size {
        let what = format!("entries {} to {first} are not staged", first - first % TILE_WIDTH);
        return Err(StoreError::damaged(what));
    }
    let mut tail = Tail::at_boundary(boundary, reads)?;
    let mut next = first;
    for batch in staged {
        if batch.start != next || batch.end() > size {
            let what = format!(
                "staged batch of entries {} to {} follows entry {next} of {size}",
                batch.start,
                batch.end()
            );
            return Err(StoreError::damaged(what));
        }
        for (index, entry) in (batch.start..).zip(&batch.entries) {
            if index >= boundary {
                tail.append(entry, leaf_hash(entry));
            }
        }
        next = batch.end();
    }
    if next != size {
        return Err(StoreError::damaged(format!("entries {next} to {size} are not staged")));
    }
    Ok(tail)
}

/// The path of a full tile of a log, whose size is below 2^63.
pub(crate) fn full_tile(kind: TileKind, index: u64) -> TilePath {
    TilePath::new(kind, index, TILE_WIDTH as u16)
        .expect("sizes below 2^63 have levels below 8 and tile indices below 2^55")
}

fn tile_root(path: &TilePath, reads: &dyn StoreReads) -> Result<Hash, StoreError> {
    let bytes =
        reads.tile(path)?.ok_or_else(|| StoreError::damaged(format!("{path} is missing")))?;
    let hashes = parse_hash_tile(&bytes, path.width())
        .map_err(|error| StoreError::damaged(format!("{path}: {error}")))?;
    let tree: tlog::CompactRange = hashes.into_iter().collect();
    Ok(tree.root())
}
