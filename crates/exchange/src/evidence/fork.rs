//! Two statements under one number: in one log and exchange a party says one thing with each.

use tlog::VerifierKey;
use tlog::evidence::{Accused, Evidence, Kind, KnownKeys, Role};

use super::{BuildError, Fault, accused, signed_by, statement};
use crate::envelope::Envelope;
use crate::statement::SignedStatement;

/// Compares two statements and makes evidence if one known key signed both under one number of
/// one exchange (or outside of all). `None` if whoever signed them may be honest: the same
/// statement twice, for one, is what a client sends again after a timeout.
pub fn statement_fork(
    known: &KnownKeys,
    a: &Envelope,
    b: &Envelope,
) -> Result<Option<Evidence>, BuildError> {
    let parse = |part, envelope: &Envelope| {
        SignedStatement::parse(envelope.as_bytes())
            .map_err(|refusal| Fault::Statement { part, refusal })
    };
    let (a, b) = (parse("envelope-a", a)?, parse("envelope-b", b)?);
    if contradiction(&a, &b).is_err() {
        return Ok(None);
    }
    let both = |key: &&VerifierKey| {
        signed_by(key, "envelope-a", &a).is_ok() && signed_by(key, "envelope-b", &b).is_ok()
    };
    let key = known.of(Role::Party).iter().find(both);
    let Some(accused) = key.and_then(|key| Accused::new(Role::Party, key.clone())) else {
        return Ok(None);
    };
    let bytes = |signed: &SignedStatement| signed.envelope().as_bytes().to_vec();
    let parts = [("envelope-a", bytes(&a)), ("envelope-b", bytes(&b))];
    let evidence = Evidence::new(Kind::StatementFork, vec![accused], Vec::new(), parts)?;
    judge(&evidence)?;
    Ok(Some(evidence))
}

pub(super) fn judge(evidence: &Evidence) -> Result<String, Fault> {
    let key = accused(evidence)?;
    let (a, b) = (statement(evidence, "envelope-a")?, statement(evidence, "envelope-b")?);
    contradiction(&a, &b)?;
    signed_by(key, "envelope-a", &a)?;
    signed_by(key, "envelope-b", &b)?;
    let common = a.statement().common();
    let place = common.exchange.map_or_else(
        || "outside of exchanges".to_owned(),
        |exchange| format!("in the exchange {exchange}"),
    );
    Ok(format!(
        "signed two statements under the number {} {place} of {}, {} {} and {} {}",
        common.number,
        common.origin,
        a.statement().kind(),
        a.id(),
        b.statement().kind(),
        b.id()
    ))
}

/// One place, two payloads. The signature is no part of it: one payload can be signed many times.
fn contradiction(a: &SignedStatement, b: &SignedStatement) -> Result<(), Fault> {
    let scope = |signed: &SignedStatement| {
        let common = signed.statement().common();
        (common.origin.clone(), common.exchange, common.signer.clone())
    };
    if scope(a) != scope(b) {
        return Err(Fault::Scopes);
    }
    let number = |signed: &SignedStatement| signed.statement().common().number;
    let (a_number, b_number) = (number(a), number(b));
    if a_number != b_number {
        return Err(Fault::Numbers { a: a_number, b: b_number });
    }
    if a.envelope().payload() == b.envelope().payload() {
        return Err(Fault::Compatible);
    }
    Ok(())
}
