//! Findings: facts about statements that accuse nobody.
//!
//! A statement that the log took long after the time that it claims may have been handed in late,
//! or kept waiting by the log. Salts that repeat may be a broken generator or a trick. Readers are
//! told, and nobody is named.

use tlog::evidence::{Evidence, Kind, KnownKeys, Role};
use tlog::{KeyName, Note, Receipt, SignedCheckpoint, VerifierKey};

use super::opening::{self, Record, SignedOpening};
use super::{BuildError, Fault, signed_by_known, statement};
use crate::envelope::Envelope;
use crate::predicate::Predicate;
use crate::statement::Statement;
use crate::time::Timestamp;

/// Seconds by which a statement may be later than its claimed time before a finding says so:
/// times of evaluations are rounded down to the hour, and clocks differ by a minute.
pub const LATE_SLACK: u64 = 3_600 + 60;

/// Makes a finding if a known witness cosigned the log *without* the statement more than
/// [`LATE_SLACK`] after the time that the statement claims: `proof` is its receipt, and
/// `checkpoint` a cosigned note whose size is at most its index. `None` if it was in time.
pub fn late_statement(
    known: &KnownKeys,
    envelope: &Envelope,
    proof: &Receipt,
    checkpoint: &Note,
) -> Result<Option<Evidence>, BuildError> {
    let parts = [
        ("envelope", envelope.as_bytes().to_vec()),
        ("proof", proof.to_bytes()),
        ("checkpoint", checkpoint.as_bytes().to_vec()),
    ];
    let evidence = Evidence::new(Kind::LateStatement, Vec::new(), Vec::new(), parts)?;
    found(judge_late(&evidence, known), evidence)
}

/// Makes a finding if an opening that matches its record repeats salts. `None` if it doesn't.
pub fn weak_salt(
    known: &KnownKeys,
    attestation: &Envelope,
    intent: &Envelope,
    opening: &SignedOpening<'_>,
) -> Result<Option<Evidence>, BuildError> {
    let parts = opening::parts(attestation, intent, opening);
    let evidence = Evidence::new(Kind::WeakSalt, Vec::new(), Vec::new(), parts)?;
    found(judge_salts(&evidence, known), evidence)
}

fn found(
    judged: Result<String, Fault>,
    evidence: Evidence,
) -> Result<Option<Evidence>, BuildError> {
    match judged {
        Ok(_) => Ok(Some(evidence)),
        Err(Fault::Compatible | Fault::NotLate) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

pub(super) fn judge_late(evidence: &Evidence, known: &KnownKeys) -> Result<String, Fault> {
    let signed = statement(evidence, "envelope")?;
    signed_by_known(known, None, "envelope", &signed)?;
    let claimed = claimed_time(signed.statement())
        .ok_or(Fault::Wrong { part: "envelope", expected: "a statement that claims a time" })?;
    let origin = &signed.statement().common().origin;
    let log = log_of(known, origin)?;
    let receipt = Receipt::parse(evidence.part("proof"))?;
    receipt.verify(signed.envelope().as_bytes(), log)?;
    let note = Note::parse(evidence.part("checkpoint"))?;
    let before =
        SignedCheckpoint::of_note(note, log).map_err(|cause| Fault::Receipt(cause.into()))?;
    if before.head().size > receipt.index() {
        return Err(Fault::Wrong { part: "checkpoint", expected: "of a log without it" });
    }
    let (witness, time) = latest(known, before.note())?;
    if time <= claimed.unix().saturating_add(LATE_SLACK) {
        return Err(Fault::NotLate);
    }
    let seen = Timestamp::from_unix(time).map_or_else(|_| time.to_string(), |t| t.to_string());
    Ok(format!(
        "{} {} of {} claims the time {claimed}, and {witness} saw the log without it at {seen}",
        signed.statement().kind(),
        signed.id(),
        signed.statement().common().signer
    ))
}

/// The time that a statement gives for what it is about.
fn claimed_time(statement: &Statement) -> Option<Timestamp> {
    match statement.predicate() {
        Predicate::Evaluation(evaluation) => Some(evaluation.ended),
        Predicate::Outcome(outcome) => Some(outcome.time_verified),
        _ => None,
    }
}

fn log_of<'k>(known: &'k KnownKeys, origin: &KeyName) -> Result<&'k VerifierKey, Fault> {
    let log = known.of(Role::Log).iter().find(|log| log.name() == origin);
    log.ok_or_else(|| Fault::UnknownSigner { part: "proof", signer: origin.clone() })
}

/// The known witness that cosigned a note last, and when.
fn latest<'k>(known: &'k KnownKeys, note: &Note) -> Result<(&'k KeyName, u64), Fault> {
    let witnesses: Vec<&VerifierKey> = known.of(Role::Witness).iter().collect();
    let verified = note.verify(&witnesses).map_err(|error| match error {
        tlog::NoteError::Unsigned => Fault::NotLate,
        other => Fault::Note(other),
    })?;
    let times = verified.iter().filter_map(|signature| Some((signature.key, signature.time?)));
    times.max_by_key(|(_, time)| *time).map(|(key, time)| (key.name(), time)).ok_or(Fault::NotLate)
}

pub(super) fn judge_salts(evidence: &Evidence, known: &KnownKeys) -> Result<String, Fault> {
    let record = Record::read(evidence, known, None)?;
    let body = record.opening(evidence, known.of(Role::Party))?;
    if body.contradiction(&record.header, &record.context)?.is_some() {
        return Err(Fault::Wrong { part: "body", expected: "an opening that matches its record" });
    }
    if !body.repeats_salts() {
        return Err(Fault::Compatible);
    }
    Ok(format!(
        "an opening of the record {} of {} repeats salts, so that values can be guessed from each \
         other",
        record.id, record.common.signer
    ))
}
