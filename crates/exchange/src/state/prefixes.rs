//! The history of a log that is read from its first leaf on.

use tlog::{CompactRange, EMPTY_ROOT, Hash, TreeHead, leaf_hash};

use super::History;

/// The roots of all prefixes of a log that is there from its first leaf on: 32 bytes for each.
#[derive(Debug, Clone)]
pub struct Prefixes {
    tree: CompactRange,
    roots: Vec<Hash>,
}

impl Prefixes {
    /// Of a log without leaves.
    pub fn new() -> Self {
        Self { tree: CompactRange::new(), roots: vec![EMPTY_ROOT] }
    }

    /// Adds the next leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        self.tree.append(leaf_hash(leaf));
        self.roots.push(self.tree.root());
    }

    /// Size and root of all.
    pub fn head(&self) -> TreeHead {
        self.tree.head()
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self::new()
    }
}

impl History for Prefixes {
    fn root(&self, size: u64) -> Option<Hash> {
        self.roots.get(usize::try_from(size).ok()?).copied()
    }
}
