//! What a statement names must be stored and, where anyone can check it, hold. A server asks
//! before it admits a statement; whoever reads a folder or a log asks again.

use record::context::Context;
use record::vector::verify_vector;
use tlog::Hash;

use crate::artifact::{ArtifactKind, ArtifactNeed, artifacts, sealed_in};
use crate::predicate::Predicate;
use crate::reason::{Reason, Refusal};
use crate::sealed;
use crate::statement::Statement;
use crate::values::StatementId;

/// Where the artifacts are, and what else of the log their check depends on.
pub trait Sources {
    /// The length of an artifact; `None` if it is not stored.
    fn length(&self, digest: &Hash) -> Result<Option<u64>, Refusal>;

    /// The bytes of an artifact; `None` if it is not stored.
    fn bytes(&self, digest: &Hash) -> Result<Option<Vec<u8>>, Refusal>;

    /// The first bytes of an artifact, all of a shorter one; `None` if it is not stored.
    fn start(&self, digest: &Hash, bytes: usize) -> Result<Option<Vec<u8>>, Refusal>;

    /// The nonce of an intent in the log.
    fn nonce(&self, intent: &StatementId) -> Result<Option<[u8; 32]>, Refusal>;
}

/// `ARTIFACT_MISSING`, `ARTIFACT_INVALID`, `PROOF_UNCHECKED`: the first of its artifacts that is not
/// as it must be.
pub fn check_all(statement: &Statement, sources: &dyn Sources) -> Result<(), Refusal> {
    artifacts(statement).iter().try_for_each(|need| check(statement, need, sources))
}

/// The same for one of the artifacts.
pub fn check(
    statement: &Statement,
    need: &ArtifactNeed,
    sources: &dyn Sources,
) -> Result<(), Refusal> {
    let digest = &need.digest;
    let Some(length) = sources.length(digest)? else {
        let message = format!("{digest} is not stored; put it first, then append");
        return Err(Refusal::new(Reason::ArtifactMissing, message).with("digest", digest));
    };
    if !need.length.allows(length) {
        return Err(invalid(format!("{digest} has {length} bytes, which can't be right"), digest));
    }
    match need.kind {
        ArtifactKind::Vector => check_vector(statement, digest, sources),
        ArtifactKind::Envelope => check_envelope(statement, digest, length, sources),
        ArtifactKind::ItemsProof | ArtifactKind::ClaimProof => {
            let message = "this log can't check proofs of claims yet, so it takes none; an agreed \
                           claim can be declined";
            Err(Refusal::new(Reason::ProofUnchecked, message).with("digest", digest))
        }
    }
}

/// The commitment vector rebuilds the record root, its sums are the totals, and the proofs of the
/// totals hold.
fn check_vector(
    statement: &Statement,
    digest: &Hash,
    sources: &dyn Sources,
) -> Result<(), Refusal> {
    let Predicate::Evaluation(evaluation) = statement.predicate() else { return Ok(()) };
    // An intent that is still on its way can't vouch for a context: its author waits for it.
    let Some(nonce) = sources.nonce(&evaluation.intent)? else {
        let message = format!("the log has no intent {}", evaluation.intent);
        return Err(Refusal::new(Reason::UnknownStatement, message).at("/predicate/intent"));
    };
    let common = statement.common();
    let agreement = common.exchange.map(|id| id.hash());
    let (origin, signer) = (common.origin.as_str(), common.signer.as_str());
    let limit = |e: &dyn std::fmt::Display| Refusal::new(Reason::LimitExceeded, e.to_string());
    let context =
        Context::new(origin, agreement.as_ref(), signer, &nonce).map_err(|e| limit(&e))?;
    let bytes = bytes(digest, sources)?;
    let header = evaluation.header().map_err(|e| limit(&e))?;
    verify_vector(&header, &context, &bytes)
        .map_err(|e| invalid(format!("the commitment vector does not hold: {e}"), digest))?;
    Ok(())
}

/// An envelope is sealed for this log, agreement, record, sender and reader, and is as long as it
/// says. What is in it only its reader can check.
fn check_envelope(
    statement: &Statement,
    digest: &Hash,
    length: u64,
    sources: &dyn Sources,
) -> Result<(), Refusal> {
    let named = sealed_in(statement).filter(|(_, envelope)| envelope.digest == *digest);
    let Some((record, envelope)) = named else { return Ok(()) };
    let start = sources.start(digest, sealed::MAX_HEADER)?.ok_or_else(|| gone(digest))?;
    sealed::check_envelope_start(statement.common(), &record, envelope, &start, length)
        .map_err(|e| invalid(e.to_string(), digest))
}

fn bytes(digest: &Hash, sources: &dyn Sources) -> Result<Vec<u8>, Refusal> {
    sources.bytes(digest)?.ok_or_else(|| gone(digest))
}

fn gone(digest: &Hash) -> Refusal {
    invalid(format!("{digest} is gone"), digest)
}

fn invalid(message: String, digest: &Hash) -> Refusal {
    Refusal::new(Reason::ArtifactInvalid, message).with("digest", digest)
}
