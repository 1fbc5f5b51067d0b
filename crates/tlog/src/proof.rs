//! Inclusion and consistency proofs: made after RFC 6962 section 2.1, checked after RFC 9162
//! sections 2.1.3 and 2.1.4.
//!
//! A proof does not prove the size: one made for eight leaves is accepted under sizes five to
//! seven too. That is why the checks take a [`TreeHead`], which comes whole from one signed
//! checkpoint, and never a size and a root of different origin.

use crate::decimal::LIMIT;
use crate::{CompactRange, EMPTY_ROOT, Hash, TreeHead, node_hash};

/// Most hashes that a proof on the wire may have (C2SP tlog-witness, tlog-proof). Consistency
/// proofs can exceed it only in trees of more than 2^62 leaves.
pub const MAX_PROOF: usize = 63;

/// Why a proof shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no leaf of that index.
    #[error("index {index} is not in a tree of size {size}")]
    IndexBeyondSize {
        /// The index asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The newer tree is the smaller one.
    #[error("a tree of size {new} cannot continue one of size {old}")]
    Shrank {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// Sizes stay below 2^63.
    #[error("size {size} is not below 2^63")]
    TooLarge {
        /// The size.
        size: u64,
    },
    /// The number of hashes follows from the sizes, and this one does not.
    #[error("proof has {found} hashes, must have {expected}")]
    Length {
        /// Number of hashes that a proof for these sizes has.
        expected: usize,
        /// Number of hashes given.
        found: usize,
    },
    /// The recomputed root is not the root of the (newer) tree.
    #[error("proof does not lead to the root {root}")]
    RootMismatch {
        /// The root that was to be reached.
        root: Hash,
    },
    /// The recomputed root of the older tree is not the one that was known.
    #[error("proof does not lead to the older root {root}")]
    OldRootMismatch {
        /// The older root that was to be reached.
        root: Hash,
    },
}

/// Roots of complete subtrees: the node of `height` and `index` is the RFC 6962 tree hash of the
/// leaves `index · 2^height` to `(index + 1) · 2^height − 1`. Leaves have height 0.
pub trait NodeReader {
    /// Why a node could not be read.
    type Error;

    /// Reads one node. The caller asks only for subtrees that are complete in its tree.
    fn node(&self, height: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    type Error = R::Error;

    fn node(&self, height: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(height, index)
    }
}

/// Checks that `leaf` (a [`leaf_hash`](crate::leaf_hash)) is at `index` in the tree of `head`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    head: &TreeHead,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if inclusion_root(leaf, index, head.size, proof)? != head.root {
        return Err(ProofError::RootMismatch { root: head.root });
    }
    Ok(())
}

/// The root to which an inclusion proof leads. It is worth nothing by itself: only where it is one
/// that was signed for this size does the proof show anything.
pub fn inclusion_root(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    check_size(size)?;
    if index >= size {
        return Err(ProofError::IndexBeyondSize { index, size });
    }
    let route = Route::new(0, index, size);
    check_length(route.len(), proof.len())?;
    Ok(proof.iter().enumerate().fold(*leaf, |hash, (step, sibling)| {
        if route.is_left(step) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
    }))
}

/// Checks that the tree of `new` begins with the leaves of the tree of `old`.
///
/// An empty old tree needs no proof but must have the root of nothing; equal sizes need no proof
/// but equal roots.
pub fn verify_consistency(
    old: &TreeHead,
    new: &TreeHead,
    proof: &[Hash],
) -> Result<(), ProofError> {
    check_size(new.size)?;
    if old.size > new.size {
        return Err(ProofError::Shrank { old: old.size, new: new.size });
    }
    if old.size == 0 || old.size == new.size {
        check_length(0, proof.len())?;
        if old.size == 0 && old.root != EMPTY_ROOT {
            return Err(ProofError::OldRootMismatch { root: old.root });
        }
        if old.size == new.size && old.root != new.root {
            return Err(ProofError::RootMismatch { root: new.root });
        }
        return Ok(());
    }
    let (route, seeded) = consistency_route(old.size, new.size);
    check_length(route.len() + usize::from(seeded), proof.len())?;
    let (seed, rest) = match proof.split_first() {
        Some((seed, rest)) if seeded => (*seed, rest),
        _ => (old.root, proof),
    };
    let (older, newer) = route.climb(seed, rest);
    if older != old.root {
        return Err(ProofError::OldRootMismatch { root: old.root });
    }
    if newer != new.root {
        return Err(ProofError::RootMismatch { root: new.root });
    }
    Ok(())
}

/// The roots of the trees of `old` and `new` leaves that follow from nodes of the *newer* tree, as
/// [`prove_prefix`] lists them: 1 ≤ old < new < 2^63, and exactly as many nodes as the sizes call
/// for (RFC 9162 section 2.1.4.2, begun from a node of the newer tree).
///
/// By the collision resistance of SHA-256 only the tree's own nodes lead to the newer root, so
/// where that is the root that a log signed, the older one is what its first `old` leaves hash to.
pub fn prefix_roots(old: u64, new: u64, nodes: &[Hash]) -> Result<(Hash, Hash), ProofError> {
    check_size(new)?;
    if old >= new || old == 0 {
        return Err(ProofError::Shrank { old, new });
    }
    let (route, _) = consistency_route(old, new);
    check_length(route.len() + 1, nodes.len())?;
    let (seed, rest) = nodes.split_first().ok_or(ProofError::Length { expected: 1, found: 0 })?;
    Ok(route.climb(*seed, rest))
}

/// The nodes of a tree of `new` leaves from which [`prefix_roots`] follow. It is the consistency
/// proof, except that for a power of two it begins with the root of the first `old` leaves, which
/// the proof leaves out. The caller guarantees `1 <= old < new < 2^63`.
pub fn prove_prefix<R: NodeReader>(nodes: &R, old: u64, new: u64) -> Result<Vec<Hash>, R::Error> {
    debug_assert!(1 <= old && old < new && new < LIMIT);
    let (route, _) = consistency_route(old, new);
    route.nodes(nodes, true)
}

/// The inclusion proof of the leaf at `index` in the tree of the first `size` leaves. The caller
/// guarantees `index < size < 2^63`.
pub fn prove_inclusion<R: NodeReader>(
    nodes: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, R::Error> {
    debug_assert!(index < size && size < LIMIT);
    Route::new(0, index, size).siblings(nodes)
}

/// The consistency proof between the trees of the first `old` and the first `new` leaves. The
/// caller guarantees `old <= new < 2^63`.
pub fn prove_consistency<R: NodeReader>(
    nodes: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, R::Error> {
    debug_assert!(old <= new && new < LIMIT);
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (route, seeded) = consistency_route(old, new);
    route.nodes(nodes, seeded)
}

/// The root of the tree of the first `size` leaves.
pub fn root_at<R: NodeReader>(nodes: &R, size: u64) -> Result<Hash, R::Error> {
    Ok(compact_range_at(nodes, size)?.root())
}

/// The roots of the complete subtrees of the first `size` leaves: all that appending needs.
pub fn compact_range_at<R: NodeReader>(nodes: &R, size: u64) -> Result<CompactRange, R::Error> {
    let hashes = complete_subtrees(nodes, 0, size)?;
    Ok(CompactRange::from_hashes(size, hashes).expect("one subtree for each set bit of the size"))
}

fn check_size(size: u64) -> Result<(), ProofError> {
    if size >= LIMIT { Err(ProofError::TooLarge { size }) } else { Ok(()) }
}

fn check_length(expected: usize, found: usize) -> Result<(), ProofError> {
    if expected == found { Ok(()) } else { Err(ProofError::Length { expected, found }) }
}

/// The route of a consistency proof: from the last complete subtree of the old tree upwards. True
/// if that subtree is smaller than the old tree, so that the proof begins with its root.
fn consistency_route(old: u64, new: u64) -> (Route, bool) {
    let height = old.trailing_zeros();
    (Route::new(height as u8, (old - 1) >> height, new), !old.is_power_of_two())
}

/// The way from a complete subtree up to the root of a tree.
struct Route {
    height: u8,
    index: u64,
    size: u64,
    /// Steps in which the sibling may be on the right; above them all siblings are on the left,
    /// along the right edge of the tree.
    inner: u32,
}

impl Route {
    /// `index` counts subtrees of `height`; there is one of that index in the tree.
    fn new(height: u8, index: u64, size: u64) -> Self {
        let last = (size - 1) >> height;
        Self { height, index, size, inner: u64::BITS - (index ^ last).leading_zeros() }
    }

    /// Number of siblings.
    fn len(&self) -> usize {
        let border = self.index.checked_shr(self.inner).unwrap_or(0).count_ones();
        (self.inner + border) as usize
    }

    /// True if the sibling of this step is the left one.
    fn is_left(&self, step: usize) -> bool {
        step >= self.inner as usize || self.index >> step & 1 == 1
    }

    /// The roots of the older and the newer tree of a consistency proof: only siblings on the left
    /// are in both.
    fn climb(&self, seed: Hash, siblings: &[Hash]) -> (Hash, Hash) {
        siblings.iter().enumerate().fold((seed, seed), |(older, newer), (step, sibling)| {
            if self.is_left(step) {
                (node_hash(sibling, &older), node_hash(sibling, &newer))
            } else {
                (older, node_hash(&newer, sibling))
            }
        })
    }

    /// The siblings, after the subtree itself if it is asked for.
    fn nodes<R: NodeReader>(&self, nodes: &R, itself: bool) -> Result<Vec<Hash>, R::Error> {
        let mut list = Vec::with_capacity(self.len() + 1);
        if itself {
            list.push(nodes.node(self.height, self.index)?);
        }
        list.extend(self.siblings(nodes)?);
        Ok(list)
    }

    /// The siblings, lowest first.
    fn siblings<R: NodeReader>(&self, nodes: &R) -> Result<Vec<Hash>, R::Error> {
        let mut siblings = Vec::with_capacity(self.len());
        for level in 0..u64::BITS - u32::from(self.height) {
            let (height, index) = (self.height + level as u8, self.index >> level);
            if index & 1 == 1 {
                siblings.push(nodes.node(height, index - 1)?);
            } else if level + 1 < self.inner {
                siblings.push(nodes.node(height, index + 1)?);
            } else if level + 1 == self.inner {
                // The topmost right sibling reaches to the end of the tree and may be incomplete.
                let start = (index + 1) << height;
                let hashes = complete_subtrees(nodes, start, self.size)?;
                siblings.push(join(&hashes));
            }
        }
        Ok(siblings)
    }
}

/// The complete subtrees of the leaves `start` to `end − 1`, largest first. `start` is a multiple
/// of a power of two that is at least `end − start`.
fn complete_subtrees<R: NodeReader>(
    nodes: &R,
    start: u64,
    end: u64,
) -> Result<Vec<Hash>, R::Error> {
    let mut hashes = Vec::new();
    let mut next = start;
    while next < end {
        let height = (end - next).ilog2();
        hashes.push(nodes.node(height as u8, next >> height)?);
        next += 1 << height;
    }
    Ok(hashes)
}

/// The root over complete subtrees, largest first.
fn join(hashes: &[Hash]) -> Hash {
    let mut rest = hashes.iter().rev();
    let Some(last) = rest.next() else { return EMPTY_ROOT };
    rest.fold(*last, |right, left| node_hash(left, &right))
}
