//! The growing tree: all that an append needs is one hash for each set bit of the size.

use crate::{EMPTY_ROOT, Hash, node_hash};

/// Size and root of a tree. The two belong together: a proof does not prove the size, so both
/// must come from one signed checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHead {
    /// Number of leaves, below 2^63.
    pub size: u64,
    /// RFC 6962 root of the leaves.
    pub root: Hash,
}

impl TreeHead {
    /// The head of a log without entries.
    pub const EMPTY: Self = Self { size: 0, root: EMPTY_ROOT };
}

/// The roots of the complete subtrees that make up a tree of some size, largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` leaves from the roots of its complete subtrees, largest first; `None` if
    /// their number is not that of the set bits of `size`.
    pub fn from_hashes(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Adds a leaf by its [`leaf_hash`](crate::leaf_hash).
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let left = self.hashes.pop().expect("there is a hash for each set bit of the size");
            hash = node_hash(&left, &hash);
            bits >>= 1;
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The RFC 6962 root.
    pub fn root(&self) -> Hash {
        let mut rest = self.hashes.iter().rev();
        let Some(last) = rest.next() else { return EMPTY_ROOT };
        rest.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}

impl FromIterator<Hash> for CompactRange {
    /// The tree over these leaf hashes.
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut range = Self::new();
        for leaf in leaves {
            range.append(leaf);
        }
        range
    }
}
