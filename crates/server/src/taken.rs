//! What this server looks at beside the state machine: statements that it can't stand for yet, and
//! openings in the clear outside of agreements, whose record the state machine does not keep.

use exchange::predicate::{Bound, Predicate, Reveal, RevealContent};
use exchange::{Reason, Refusal, Statement, StatementId, VerifiedStatement, check_clear};
use record::context::Context;

/// Statements of the log, by id.
pub(crate) trait Logged {
    /// The statement; `None` if the log does not have it.
    fn statement(&self, id: &StatementId) -> Result<Option<Statement>, Refusal>;
}

/// `NO_RULE`, `PROOF_UNCHECKED`: what is not taken whatever the log holds.
pub(crate) fn check_taken(verified: &VerifiedStatement) -> Result<(), Refusal> {
    let statement = verified.statement();
    match statement.predicate() {
        Predicate::Evaluation(evaluation)
            if statement.common().exchange.is_none() && !evaluation.opened.is_empty() =>
        {
            let message = "outside of an agreement nothing is opened with the attestation";
            Err(Refusal::new(Reason::NoRule, message).at("/predicate/opened"))
        }
        // Whoever owes totals for it has to bring an items proof, and would be in default.
        Predicate::Agreement(agreement) => {
            let difference = |bound: Bound| bound.is_difference();
            match agreement.claims.iter().position(|claim| difference(claim.bound)) {
                Some(i) => {
                    let message = "this log can't check proofs about differences yet: leave this \
                                   claim out; revealed totals show the difference";
                    let pointer = format!("/predicate/claims/{i}");
                    Err(Refusal::new(Reason::ProofUnchecked, message).at(pointer))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// True for a reveal that [`check_standalone_reveal`] has to look at.
pub(crate) fn is_standalone_reveal(statement: &Statement) -> bool {
    let in_the_clear = match statement.predicate() {
        Predicate::Reveal(reveal) => matches!(reveal.content, RevealContent::Open { .. }),
        _ => false,
    };
    in_the_clear && statement.common().exchange.is_none()
}

/// `ARTIFACT_INVALID` for openings that are not what the record committed to,
/// `UNKNOWN_STATEMENT` for a record that the log does not have.
pub(crate) fn check_standalone_reveal(
    statement: &Statement,
    log: &dyn Logged,
) -> Result<(), Refusal> {
    let Predicate::Reveal(reveal) = statement.predicate() else { return Ok(()) };
    let Reveal { record, content: RevealContent::Open { totals, subjects }, .. } = reveal.as_ref()
    else {
        return Ok(());
    };
    let unknown = || {
        let message = "is no standalone evaluation of the signer in this log";
        Refusal::new(Reason::UnknownStatement, message).at("/predicate/record")
    };
    let logged = log.statement(record)?.ok_or_else(unknown)?;
    let (attested, common) = (logged.common(), statement.common());
    let Predicate::Evaluation(evaluation) = logged.predicate() else { return Err(unknown()) };
    if attested.exchange.is_some() || attested.signer != common.signer {
        return Err(unknown());
    }
    let intent = log.statement(&evaluation.intent)?.ok_or_else(unknown)?;
    let Predicate::Intent(intent) = intent.predicate() else { return Err(unknown()) };
    let (origin, signer) = (common.origin.as_str(), common.signer.as_str());
    let context = Context::new(origin, None, signer, &intent.nonce)
        .map_err(|e| Refusal::new(Reason::LimitExceeded, e.to_string()))?;
    let opened = (totals.as_slice(), subjects.as_slice());
    check_clear(record.hash(), evaluation, &context, opened, "/predicate/open")
}
