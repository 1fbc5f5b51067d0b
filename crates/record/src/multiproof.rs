//! Proofs that several leaves stand at their places under one root (`docs/protocol.md`,
//! "Openings").
//!
//! Siblings are sent level by level, left to right; a lone last node moves up and nothing is sent
//! for it, so the tree is that of RFC 6962. The algebra is the crate `rs_merkle`, which by itself
//! accepts forgeries: doubled indices, a wrong number of leaves, hashes behind the needed ones.
//! Here the number of leaves comes from a signed header, indices are checked when they are made,
//! and a proof of any other than the one possible length is refused before the crate sees it.

use rs_merkle::{Hasher, MerkleProof, MerkleTree};
use tlog::{CompactRange, Hash, node_hash};

use crate::column::MAX_ITEMS;

/// Places of leaves: at least one, strictly increasing, below the number of leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indices {
    leaves: usize,
    indices: Vec<usize>,
}

/// Why there is no proof, or why it doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultiproofError {
    /// Trees have 1 to 2^20 leaves.
    #[error("a tree has 1 to 2^20 leaves, not {0}")]
    Leaves(u64),
    /// No index at all.
    #[error("a proof is about at least one leaf")]
    Empty,
    /// An index is beyond the last leaf.
    #[error("there is no leaf {index} among {leaves}")]
    OutOfRange {
        /// The index.
        index: u64,
        /// Number of leaves.
        leaves: u64,
    },
    /// Indices repeat or fall.
    #[error("the index {0} does not follow the one before")]
    Order(u64),
    /// There are more or fewer leaf hashes than indices or leaves.
    #[error("{found} leaf hashes for {expected} places")]
    LeafHashes {
        /// Hashes there are.
        found: usize,
        /// Hashes there must be.
        expected: usize,
    },
    /// The proof is longer or shorter than the indices ask for.
    #[error("the proof has {found} bytes, {expected} are needed")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there must be.
        expected: usize,
    },
    /// The leaves are not at these places under this root.
    #[error("the leaves do not stand under this root")]
    Root,
}

impl Indices {
    /// Takes `indices` of a tree of `leaves` leaves.
    pub fn new(indices: &[u64], leaves: u64) -> Result<Self, MultiproofError> {
        if !(1..=MAX_ITEMS).contains(&leaves) {
            return Err(MultiproofError::Leaves(leaves));
        }
        if indices.is_empty() {
            return Err(MultiproofError::Empty);
        }
        let mut places: Vec<usize> = Vec::new();
        for index in indices {
            let place = usize::try_from(*index).ok().filter(|_| *index < leaves);
            let place = place.ok_or(MultiproofError::OutOfRange { index: *index, leaves })?;
            if places.last().is_some_and(|last| place <= *last) {
                return Err(MultiproofError::Order(*index));
            }
            places.push(place);
        }
        let leaves = usize::try_from(leaves).expect("it is at most 2^20");
        Ok(Self { leaves, indices: places })
    }

    /// How many hashes a proof of these leaves has.
    pub fn expected(&self) -> usize {
        let (mut known, mut width, mut count) = (self.indices.clone(), self.leaves, 0);
        while width > 1 {
            for (at, place) in known.iter().enumerate() {
                let sibling = place ^ 1;
                // Sorted and distinct, so a known sibling can only be a neighbour in the list.
                let neighbours = [at.checked_sub(1), Some(at + 1)];
                let given =
                    neighbours.into_iter().flatten().any(|n| known.get(n) == Some(&sibling));
                count += usize::from(sibling < width && !given);
            }
            known.iter_mut().for_each(|place| *place /= 2);
            known.dedup();
            width = width.div_ceil(2);
        }
        count
    }

    /// True if these are all leaves: nothing is sent then, and the root follows from them alone.
    fn complete(&self) -> bool {
        self.indices.len() == self.leaves
    }
}

/// Builds the proof of some leaves of a tree, given all of them: hashes joined.
pub fn prove(leaves: &[Hash], indices: &Indices) -> Result<Vec<u8>, MultiproofError> {
    if leaves.len() != indices.leaves {
        let (found, expected) = (leaves.len(), indices.leaves);
        return Err(MultiproofError::LeafHashes { found, expected });
    }
    if indices.complete() {
        return Ok(Vec::new());
    }
    let leaves: Vec<[u8; 32]> = leaves.iter().map(|leaf| *leaf.as_bytes()).collect();
    Ok(MerkleTree::<Sha256Nodes>::from_leaves(&leaves).proof(&indices.indices).to_bytes())
}

/// Checks that `leaves`, recomputed from data by the caller, stand at `indices` under `root`. The
/// root does not say of how many leaves it is: their number must be signed together with it.
pub fn verify(
    root: &Hash,
    indices: &Indices,
    leaves: &[Hash],
    proof: &[u8],
) -> Result<(), MultiproofError> {
    if leaves.len() != indices.indices.len() {
        let (found, expected) = (leaves.len(), indices.indices.len());
        return Err(MultiproofError::LeafHashes { found, expected });
    }
    let (found, expected) = (proof.len(), 32 * indices.expected());
    if found != expected {
        return Err(MultiproofError::Length { found, expected });
    }
    // The crate's work is quadratic in the number of indices; all of them is the usual large case.
    let holds = if indices.complete() {
        leaves.iter().copied().collect::<CompactRange>().root() == *root
    } else {
        let leaves: Vec<[u8; 32]> = leaves.iter().map(|leaf| *leaf.as_bytes()).collect();
        MerkleProof::<Sha256Nodes>::from_bytes(proof).is_ok_and(|proof| {
            proof.verify(*root.as_bytes(), &indices.indices, &leaves, indices.leaves)
        })
    };
    if holds { Ok(()) } else { Err(MultiproofError::Root) }
}

/// RFC 6962 nodes for `rs_merkle`; leaves come hashed already.
#[derive(Clone)]
struct Sha256Nodes;

impl Hasher for Sha256Nodes {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        *tlog::leaf_hash(data).as_bytes()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| *node_hash(&Hash::new(*left), &Hash::new(*right)).as_bytes())
    }
}
