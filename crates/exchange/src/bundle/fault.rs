//! What can be wrong with a bundle.

use record::column::LayoutError;
use record::opening::{BodyError, OpeningError};
use record::vector::VectorError;
use tlog::{CheckpointError, Hash, KeyName, PolicyError, ProofError, Untrusted};

use crate::reason::Refusal;

/// Why a bundle proves nothing. One fault is enough: its writer made it, or somebody changed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// It is about another log than the one whose key is pinned.
    #[error("the bundle is about the log {found}, the pinned key is that of {expected}")]
    OtherLog {
        /// What the bundle says.
        found: KeyName,
        /// What the key says.
        expected: KeyName,
    },
    /// The writer's policy is none. The reader's own decides, but whoever copies this one out of
    /// the bundle must get a policy for this log.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// The writer's policy is for other logs.
    #[error("the policy does not name the key of the log {0}")]
    PolicyLog(KeyName),
    /// The reader's policy has no log of the bundle's origin.
    #[error("the policy names no log {0}")]
    UnknownLog(KeyName),
    /// The checkpoint is not one that the reader's policy accepts.
    #[error("checkpoint: {0}")]
    Untrusted(#[from] Untrusted),
    /// The checkpoint is not signed by the log.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A statement is malformed, not signed by a current key of its signer, or a change of keys
    /// that its signer may not make. In a bundle of the whole log, also one that is out of order:
    /// no honest log holds it.
    #[error("entry {index}: {refusal}")]
    Statement {
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A statement is not where it is said to be.
    #[error("entry {index} is not in the signed tree: {cause}")]
    Inclusion {
        /// Which entry.
        index: u64,
        /// What fails.
        cause: ProofError,
    },
    /// A statement has seen, or is a tick of, a head that is not a prefix of the signed tree.
    #[error("entry {index} names a head of size {size} that is not in this history: {cause}")]
    Seen {
        /// Which entry.
        index: u64,
        /// Size of the head.
        size: u64,
        /// What fails.
        cause: ProofError,
    },
    /// The proof for a head that a statement names is not here.
    #[error("the bundle lacks the proof for the head of size {size} that entry {index} names")]
    SeenUnproved {
        /// Which entry.
        index: u64,
        /// Size of the head.
        size: u64,
    },
    /// A proof for a head that no statement names, so nothing vouches for it.
    #[error("the bundle has a proof for a head of size {size} that none of its statements names")]
    HeadUnused {
        /// Size of the head.
        size: u64,
    },
    /// An artifact that no statement names: added, or changed.
    #[error("the bundle has an artifact {0} that none of its statements names")]
    ArtifactUnused(Hash),
    /// The header is beyond the limits under which commitments mean anything.
    #[error("entry {index}: {cause}")]
    Header {
        /// Which entry.
        index: u64,
        /// The limit.
        cause: LayoutError,
    },
    /// An evaluation without the intent that announced it.
    #[error("entry {index}: its intent is not in the bundle, or is not its signer's")]
    Intent {
        /// Which entry.
        index: u64,
    },
    /// The commitments contradict the attestation.
    #[error("entry {index}: the commitment vector does not hold: {cause}")]
    Vector {
        /// Which entry.
        index: u64,
        /// What fails.
        cause: VectorError,
    },
    /// An opening inside the bundle, or handed in with it, is malformed.
    #[error("opening: {0}")]
    OpeningForm(#[from] BodyError),
    /// An opening is of a record that is not in the bundle.
    #[error("opening: its record {0} is not in the bundle")]
    OpeningRecord(Hash),
    /// An opening does not match the record.
    #[error("opening: {0}")]
    Opening(#[from] OpeningError),
    /// A promise about entries that the signed tree does not have.
    #[error("the bundle promises every entry from {from} on, but its checkpoint has {size}")]
    Promise {
        /// Where the promise begins.
        from: u64,
        /// Size of the signed tree.
        size: u64,
    },
    /// Leaves are missing that the bundle promises.
    #[error("the bundle promises every entry from {from} on, but entry {missing} is not in it")]
    Incomplete {
        /// Where the promise begins.
        from: u64,
        /// The first that is missing.
        missing: u64,
    },
}
