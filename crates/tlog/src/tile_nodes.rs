//! Proofs out of tiles: finds each node in its tile and, for tiles from a stranger, checks every
//! tile against the tree head before a hash of it is used (C2SP tlog-tiles; the model is
//! `TileHashReader` of `golang.org/x/mod/sumdb/tlog`).
//!
//! Why that suffices: the partial tiles hold exactly the complete subtrees that the root is
//! computed from, so the root vouches for them; and the root of each full tile is a hash in the
//! tile above it, up to a partial one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tile::hashes_at;
use crate::{
    CompactRange, Hash, NodeReader, TILE_WIDTH, TileError, TileKind, TilePath, TreeHead,
    parse_hash_tile, partial_width, root_at,
};

/// Where tiles come from: a folder, an HTTP client, a map.
pub trait TileSource {
    /// Why a tile could not be had.
    type Error;

    /// The bytes of a tile of hashes.
    fn tile(&self, path: &TilePath) -> Result<Vec<u8>, Self::Error>;
}

impl<S: TileSource + ?Sized> TileSource for &S {
    type Error = S::Error;

    fn tile(&self, path: &TilePath) -> Result<Vec<u8>, Self::Error> {
        (**self).tile(path)
    }
}

/// Why a node could not be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// The source does not give the tile, nor the full tile in its place.
    #[error("{path} is not to be had: {error}")]
    Source {
        /// The tile.
        path: TilePath,
        /// What the source says.
        error: E,
    },
    /// The tile has the wrong length.
    #[error("{path}: {error}")]
    Malformed {
        /// The tile.
        path: TilePath,
        /// What is wrong with it.
        error: TileError,
    },
    /// The tile does not belong to the tree: the tile above it has another hash.
    #[error("{path} does not hash to what the tile above it says")]
    Foreign {
        /// The tile.
        path: TilePath,
    },
    /// The tiles at the right edge do not give the root of the tree head.
    #[error("the tiles of size {} have another root than {}", head.size, head.root)]
    Root {
        /// The head that they should have.
        head: TreeHead,
    },
    /// The tree has no such complete subtree.
    #[error("a tree of size {size} has no complete subtree {index} of height {height}")]
    Beyond {
        /// Height asked for.
        height: u8,
        /// Index asked for.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
}

/// Reads the nodes of a tree of one size from its tiles. What was read, and checked where it has
/// to be, is kept, so make one for a piece of work and drop it.
#[derive(Debug)]
pub struct TileNodes<S> {
    source: S,
    size: u64,
    trust: Trust,
    /// Tiles by level and index, in the width that this size calls for.
    tiles: Mutex<Tiles>,
}

type Tiles = BTreeMap<(u8, u64), Arc<[Hash]>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The caller's own tiles: hashes are used as they are.
    Source,
    /// Nothing is used before the tree head vouches for it.
    Head,
}

impl<S: TileSource> TileNodes<S> {
    /// Reads tiles that are the caller's own, without checking them.
    pub fn trusting(source: S, size: u64) -> Self {
        Self { source, size, trust: Trust::Source, tiles: Mutex::default() }
    }

    /// Reads tiles that anyone may have made up: the right edge is fetched and checked against
    /// the head here, every other tile when it is first needed.
    pub fn authenticated(source: S, head: &TreeHead) -> Result<Self, TileReadError<S::Error>> {
        let nodes = Self { source, size: head.size, trust: Trust::Head, tiles: Mutex::default() };
        // Only partial tiles are read here, which nothing but the root vouches for.
        if root_at(&nodes, head.size)? == head.root {
            Ok(nodes)
        } else {
            Err(TileReadError::Root { head: *head })
        }
    }

    /// Number of leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of one tile, in the width that the size calls for: for level 0 the leaf hashes,
    /// which authenticate an entry bundle.
    pub fn hashes(&self, level: u8, index: u64) -> Result<Arc<[Hash]>, TileReadError<S::Error>> {
        let hashes = hashes_at(self.size, level);
        let beyond = TileReadError::Beyond {
            height: level.saturating_mul(8),
            index: index.saturating_mul(TILE_WIDTH),
            size: self.size,
        };
        let width = if index < hashes / TILE_WIDTH {
            TILE_WIDTH as u16
        } else if index == hashes / TILE_WIDTH {
            partial_width(self.size, level)
        } else {
            0
        };
        let path = TilePath::new(TileKind::Hashes { level }, index, width).ok_or(beyond)?;
        if let Some(known) = self.known().get(&(level, index)) {
            return Ok(Arc::clone(known));
        }
        let tile: Arc<[Hash]> = self.fetch(path)?.into();
        if path.is_full() && self.trust == Trust::Head {
            // A full tile always has one above it; that recursion ends at a partial tile, at the
            // latest at level 7, and `authenticated` has checked those.
            let above = self.hashes(level + 1, index / TILE_WIDTH)?;
            let expected = above[(index % TILE_WIDTH) as usize];
            if subtree_root(&tile) != expected {
                return Err(TileReadError::Foreign { path });
            }
        }
        self.known().insert((level, index), Arc::clone(&tile));
        Ok(tile)
    }

    /// A partial tile may be gone once the full one exists, of which it is a prefix.
    fn fetch(&self, path: TilePath) -> Result<Vec<Hash>, TileReadError<S::Error>> {
        let malformed = |path| move |error| TileReadError::Malformed { path, error };
        match self.source.tile(&path) {
            Ok(bytes) => parse_hash_tile(&bytes, path.width()).map_err(malformed(path)),
            Err(error) if path.is_full() => Err(TileReadError::Source { path, error }),
            Err(error) => {
                let full = path.full();
                let bytes =
                    self.source.tile(&full).map_err(|_| TileReadError::Source { path, error })?;
                let mut hashes = parse_hash_tile(&bytes, full.width()).map_err(malformed(full))?;
                hashes.truncate(usize::from(path.width()));
                Ok(hashes)
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Tiles> {
        // Tiles are inserted whole, so a panic elsewhere cannot have left half of one.
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: TileSource> NodeReader for TileNodes<S> {
    type Error = TileReadError<S::Error>;

    fn node(&self, height: u8, index: u64) -> Result<Hash, Self::Error> {
        let beyond = TileReadError::Beyond { height, index, size: self.size };
        let complete = self.size.checked_shr(u32::from(height)).unwrap_or(0);
        if index >= complete {
            return Err(beyond);
        }
        let (level, within) = (height / 8, height % 8);
        let first = index << within;
        let tile = self.hashes(level, first / TILE_WIDTH)?;
        let start = (first % TILE_WIDTH) as usize;
        // The subtree is complete, so all its hashes are within the width of the tile.
        let hashes = tile.get(start..start + (1 << within)).ok_or(beyond)?;
        Ok(subtree_root(hashes))
    }
}

/// The root over hashes of one height.
fn subtree_root(hashes: &[Hash]) -> Hash {
    hashes.iter().copied().collect::<CompactRange>().root()
}

/// Full levels of a tree in memory: the simplest [`NodeReader`], for tests and small trees.
#[derive(Debug, Clone, Default)]
pub struct MemoryNodes {
    /// Complete subtree roots by height.
    levels: Vec<Vec<Hash>>,
}

impl MemoryNodes {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf by its [`leaf_hash`](crate::leaf_hash).
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let level = &mut self.levels[height];
            level.push(hash);
            let [.., left, right] = level.as_slice() else { return };
            if level.len() % 2 == 1 {
                return;
            }
            hash = crate::node_hash(left, right);
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        let size = self.size();
        let Ok(root) = root_at(self, size);
        TreeHead { size, root }
    }
}

impl FromIterator<Hash> for MemoryNodes {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut nodes = Self::new();
        for leaf in leaves {
            nodes.append(leaf);
        }
        nodes
    }
}

impl NodeReader for MemoryNodes {
    type Error = Infallible;

    /// # Panics
    ///
    /// If the tree has no such complete subtree.
    fn node(&self, height: u8, index: u64) -> Result<Hash, Self::Error> {
        Ok(self.levels[usize::from(height)][index as usize])
    }
}
