//! Which artifacts a statement names, so that a server can ask for them before it admits it.

use tlog::Hash;

use crate::bytes::label_length;
use crate::predicate::{Claim, Evaluation, Ground, Predicate, RevealContent, SealedEnvelope};
use crate::statement::Statement;
use crate::values::StatementId;

/// An artifact that must be stored before the statement is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactNeed {
    /// SHA-256 of its bytes.
    pub digest: Hash,
    /// What it is.
    pub kind: ArtifactKind,
    /// How many bytes it has.
    pub length: ArtifactLength,
}

/// The kinds of artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArtifactKind {
    /// All commitments of a record.
    Vector,
    /// Proof that every score of a column is in its range.
    ItemsProof,
    /// Proof of a claim.
    ClaimProof,
    /// Openings or indices, sealed to one reader.
    Envelope,
}

/// What a statement tells about an artifact's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactLength {
    /// This many bytes.
    Exact(u64),
    /// One of two, by the suite of the reader's sealing key (1, 2).
    BySuite([u64; 2]),
    /// It follows from the items and the largest score of the record that the statement names.
    ByRecord,
}

impl ArtifactLength {
    /// False if an artifact of this length cannot be the one that is named.
    pub fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Exact(length) => bytes == length,
            Self::BySuite(lengths) => lengths.contains(&bytes),
            Self::ByRecord => true,
        }
    }

    /// How many bytes it has at the most, if the statement tells.
    pub fn most(self) -> Option<u64> {
        match self {
            Self::Exact(length) => Some(length),
            Self::BySuite([a, b]) => Some(a.max(b)),
            Self::ByRecord => None,
        }
    }
}

/// The artifacts that a statement names, in its own order, each digest once.
pub fn artifacts(statement: &Statement) -> Vec<ArtifactNeed> {
    let mut needs = Vec::new();
    if let Predicate::Evaluation(evaluation) = statement.predicate() {
        needs.push(vector_need(evaluation));
    }
    needs.extend(sealed_in(statement).map(|(_, envelope)| envelope_need(statement, envelope)));
    match statement.predicate() {
        Predicate::Reveal(reveal) => {
            needs.extend(reveal.items_proofs.iter().map(|proof| items_proof_need(proof.digest)));
        }
        Predicate::Claim(claim) => {
            needs.extend(claim.items_proofs.iter().copied().map(items_proof_need));
            needs.push(claim_proof_need(claim));
        }
        _ => {}
    }
    let mut named = Vec::new();
    needs.retain(|need| {
        let first = !named.contains(&need.digest);
        named.push(need.digest);
        first
    });
    needs
}

/// The envelope that a statement names, and the record id of its associated data: the record that
/// is opened; of a dispute, what is disputed; zeros for an escrow, since no statement can name its
/// own id.
pub fn sealed_in(statement: &Statement) -> Option<(StatementId, &SealedEnvelope)> {
    match statement.predicate() {
        Predicate::Evaluation(evaluation) => {
            evaluation.escrow.as_ref().map(|envelope| (StatementId::ZERO, envelope))
        }
        Predicate::Reveal(reveal) => match &reveal.content {
            RevealContent::Envelope(envelope) => Some((reveal.record, envelope)),
            RevealContent::Open { .. } => None,
        },
        Predicate::Opening(opening) => Some((opening.record, &opening.envelope)),
        Predicate::Dispute(dispute) => match &dispute.ground {
            Ground::Items { envelope, .. } => Some((dispute.about, envelope)),
            Ground::Unopenable => None,
        },
        _ => None,
    }
}

/// h ‖ C_1 ‖ … ‖ C_M of each item, 32 bytes each.
fn vector_need(evaluation: &Evaluation) -> ArtifactNeed {
    let length = evaluation.items * 32 * (1 + evaluation.columns.len() as u64);
    ArtifactNeed {
        digest: evaluation.vector,
        kind: ArtifactKind::Vector,
        length: ArtifactLength::Exact(length),
    }
}

fn items_proof_need(digest: Hash) -> ArtifactNeed {
    ArtifactNeed { digest, kind: ArtifactKind::ItemsProof, length: ArtifactLength::ByRecord }
}

/// L(claim-proof) ‖ proof. An aggregate of one 32-bit range has 513 bytes, one of two has 577:
/// 1 + 32 · (6 + 2 · log2(32 · forms)).
fn claim_proof_need(claim: &Claim) -> ArtifactNeed {
    let rounds = if claim.bound.forms() == 1 { 5 } else { 6 };
    let length = label_length("claim-proof") + 1 + 32 * (6 + 2 * rounds);
    ArtifactNeed {
        digest: claim.proof,
        kind: ArtifactKind::ClaimProof,
        length: ArtifactLength::Exact(length),
    }
}

/// aad ‖ lp(enc) ‖ u32 length ‖ ct, where the suite decides the length of enc: 32 bytes for
/// X25519, 1,120 for X-Wing. The cipher adds a tag of 16 bytes.
fn envelope_need(statement: &Statement, envelope: &SealedEnvelope) -> ArtifactNeed {
    let common = statement.common();
    let prefixed = |length: usize| 2 + length as u64;
    let aad = label_length("envelope")
        + 1
        + prefixed(common.origin.as_str().len())
        + 32
        + 32
        + prefixed(common.signer.as_str().len())
        + prefixed(envelope.reader.as_str().len())
        + prefixed(16)
        + 4;
    let with_enc = |enc| aad + prefixed(enc) + 4 + envelope.padded + 16;
    ArtifactNeed {
        digest: envelope.digest,
        kind: ArtifactKind::Envelope,
        length: ArtifactLength::BySuite([with_enc(32), with_enc(1120)]),
    }
}
