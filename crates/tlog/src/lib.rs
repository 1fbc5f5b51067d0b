//! C2SP transparency-log formats: tree, proofs, tiles, notes, checkpoints, policies, receipts.

mod hash;
mod tree;

pub use hash::{EMPTY_ROOT, Hash, InvalidHash, leaf_hash, node_hash};
pub use tree::{CompactRange, TreeHead};
