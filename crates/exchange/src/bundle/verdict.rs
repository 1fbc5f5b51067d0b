//! What a bundle proves.

use std::collections::BTreeMap;

use record::column::LayoutError;
use record::context::Context;
use record::header::Header;
use record::opening::{Against, Body, BodyError, OpeningError, Proved, Scope};
use record::vector::{VectorError, verify_vector};
use tlog::{
    CheckpointError, EMPTY_ROOT, Hash, KeyName, ProofError, PublicKey, SignedCheckpoint, TreeHead,
    VerifierKey, verify_consistency, verify_inclusion,
};

use super::document::{Bundle, BundleLeaf};
use crate::predicate::Predicate;
use crate::reason::Refusal;
use crate::registry::{Registry, VerifiedStatement};
use crate::statement::SignedStatement;
use crate::values::StatementId;

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
    /// The checkpoint is not signed by the log.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A statement is malformed, or not signed by a current key of its signer.
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
    /// A statement has seen a head that is not a prefix of the signed tree.
    #[error("entry {index} has seen a head of size {size} that is not in this history: {cause}")]
    Seen {
        /// Which entry.
        index: u64,
        /// Size of the head.
        size: u64,
        /// What fails.
        cause: ProofError,
    },
    /// The proof for a head that a statement has seen is not here.
    #[error("the bundle lacks the proof for the head of size {size} that entry {index} has seen")]
    SeenUnproved {
        /// Which entry.
        index: u64,
        /// Size of the head.
        size: u64,
    },
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
    /// Leaves are missing that the bundle promises.
    #[error("the bundle promises every entry from {from} on, but entry {missing} is not in it")]
    Incomplete {
        /// Where the promise begins.
        from: u64,
        /// The first that is missing.
        missing: u64,
    },
}

/// Whether the commitments of a record are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorState {
    /// They rebuild the record root and add up to the totals, and the party knows what those
    /// open to.
    Holds,
    /// They are not in the bundle.
    Absent,
}

/// One attestation that is where it is said to be.
#[derive(Debug, Clone)]
pub struct Attested {
    /// Its place.
    pub index: u64,
    /// The statement's id, which is the record's.
    pub record: StatementId,
    /// Whose it is.
    pub signer: KeyName,
    /// The key that signed it.
    pub key: PublicKey,
    /// What the statement says of the record.
    pub header: Header,
    /// What all its commitments are bound to.
    pub context: Context,
    /// Whether its commitments were checked.
    pub vector: VectorState,
}

/// One opening that matches its record.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The record.
    pub record: StatementId,
    /// Whose it is.
    pub signer: KeyName,
    /// What is proved.
    pub proved: Proved,
}

/// What holds.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The head that the log signed.
    pub head: TreeHead,
    /// All statements with their places.
    pub statements: Vec<(u64, VerifiedStatement)>,
    /// Attestations among them.
    pub attested: Vec<Attested>,
    /// Openings, those of the bundle first.
    pub opened: Vec<Opened>,
}

impl Bundle {
    /// Checks everything, under the log's key that the reader has pinned. `openings` are bodies
    /// that came beside the bundle; they may be about any record in it.
    pub fn verify(&self, log: &VerifierKey, openings: &[&[u8]]) -> Result<Verdict, BundleFault> {
        if self.origin != *log.name() {
            let (found, expected) = (self.origin.clone(), log.name().clone());
            return Err(BundleFault::OtherLog { found, expected });
        }
        let checkpoint = SignedCheckpoint::open(self.checkpoint.as_bytes(), log)?;
        let head = *checkpoint.head();
        let mut registry = Registry::new(log.name().clone());
        let mut statements = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            let verified = self.verify_leaf(leaf, &head, &registry)?;
            registry.apply(leaf.index, &verified);
            statements.push((leaf.index, verified));
        }
        self.check_complete(head.size)?;
        let attested = self.attested(&statements)?;
        let bodies = self.openings.iter().map(Vec::as_slice).chain(openings.iter().copied());
        let opened =
            bodies.map(|body| verify_opening(body, &attested)).collect::<Result<_, _>>()?;
        Ok(Verdict { head, statements, attested, opened })
    }

    fn verify_leaf(
        &self,
        leaf: &BundleLeaf,
        head: &TreeHead,
        registry: &Registry,
    ) -> Result<VerifiedStatement, BundleFault> {
        let index = leaf.index;
        let hash = tlog::leaf_hash(&leaf.envelope);
        verify_inclusion(&hash, index, head, &leaf.proof)
            .map_err(|cause| BundleFault::Inclusion { index, cause })?;
        let verified = SignedStatement::parse(&leaf.envelope)
            .and_then(|signed| registry.verify(signed))
            .map_err(|refusal| BundleFault::Statement { index, refusal })?;
        let seen = verified.statement().common().seen;
        let wrong = |cause| BundleFault::Seen { index, size: seen.size, cause };
        if seen.size > index {
            return Err(wrong(ProofError::Shrank { old: seen.size, new: index }));
        }
        if seen.size == 0 {
            if seen.root != EMPTY_ROOT {
                return Err(wrong(ProofError::OldRootMismatch { root: EMPTY_ROOT }));
            }
            return Ok(verified);
        }
        let proof = self
            .heads
            .get(&seen.size)
            .ok_or(BundleFault::SeenUnproved { index, size: seen.size })?;
        verify_consistency(&seen, head, proof).map_err(wrong)?;
        Ok(verified)
    }

    fn check_complete(&self, size: u64) -> Result<(), BundleFault> {
        let from = self.complete_from;
        let mut next = from;
        for leaf in self.leaves.iter().filter(|leaf| leaf.index >= from) {
            if leaf.index != next {
                break;
            }
            next += 1;
        }
        if next < size {
            return Err(BundleFault::Incomplete { from, missing: next });
        }
        Ok(())
    }

    fn attested(
        &self,
        statements: &[(u64, VerifiedStatement)],
    ) -> Result<Vec<Attested>, BundleFault> {
        let mut nonces = BTreeMap::new();
        let mut attested = Vec::new();
        for (index, verified) in statements {
            let index = *index;
            let common = verified.statement().common();
            match verified.statement().predicate() {
                Predicate::Intent(intent) => {
                    nonces.insert(verified.id(), (common.signer.clone(), intent.nonce));
                }
                Predicate::Evaluation(evaluation) => {
                    let nonce = nonces
                        .get(&evaluation.intent)
                        .filter(|(signer, _)| *signer == common.signer)
                        .map(|(_, nonce)| nonce)
                        .ok_or(BundleFault::Intent { index })?;
                    let agreement = common.exchange.map(|id| id.hash());
                    let context = Context::new(
                        common.origin.as_str(),
                        agreement.as_ref(),
                        common.signer.as_str(),
                        nonce,
                    )
                    .expect("names of at most 128 bytes fit a length prefix");
                    let header = evaluation
                        .header()
                        .map_err(|cause| BundleFault::Header { index, cause })?;
                    attested.push(Attested {
                        index,
                        record: verified.id(),
                        signer: common.signer.clone(),
                        key: *verified.key(),
                        vector: self.check_vector(index, &header, &context)?,
                        header,
                        context,
                    });
                }
                _ => {}
            }
        }
        Ok(attested)
    }

    fn check_vector(
        &self,
        index: u64,
        header: &Header,
        context: &Context,
    ) -> Result<VectorState, BundleFault> {
        let Some(bytes) = self.artifacts.get(header.vector()) else {
            return Ok(VectorState::Absent);
        };
        verify_vector(header, context, bytes)
            .map_err(|cause| BundleFault::Vector { index, cause })?;
        Ok(VectorState::Holds)
    }
}

fn verify_opening(body: &[u8], attested: &[Attested]) -> Result<Opened, BundleFault> {
    let body = Body::parse(body)?;
    let record = attested
        .iter()
        .find(|attested| attested.record.hash() == body.record)
        .ok_or(BundleFault::OpeningRecord(body.record))?;
    let proved = body.verify(&Against {
        record: &body.record,
        header: &record.header,
        context: &record.context,
        item_key: None,
        scope: Scope::Anything,
    })?;
    Ok(Opened { record: record.record, signer: record.signer.clone(), proved })
}
