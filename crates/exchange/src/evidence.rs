//! Evidence of what parties did wrong, and findings about statements, in the files of
//! [`tlog::evidence`].
//!
//! [`judge`] takes files of every kind; those about logs and witnesses go to the crate `tlog`. As
//! there, guilt is of keys that the reader knows, and honest parties can't be framed: they make a
//! number durable before they sign it, and check every value that they open. A key convicts
//! itself: both statements of a fork are signed by one key, so a stolen key that was replaced
//! accuses nobody but itself.
//!
//! [`statement_fork`], [`false_opening`], [`late_statement`] and [`weak_salt`] make files, judged
//! before they are handed out.

mod finding;
mod fork;
mod opening;

use record::opening::{BodyError, OpeningError};
use tlog::evidence::{Accused, Evidence, FormatError, Judgement, Kind, KnownKeys, Role};
use tlog::{KeyName, NoteError, ReceiptError, VerifierKey};

pub use finding::{LATE_SLACK, late_statement, weak_salt};
pub use fork::statement_fork;
pub use opening::{SignedOpening, false_opening};

use crate::reason::Refusal;
use crate::statement::SignedStatement;

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// About logs and witnesses.
    #[error(transparent)]
    Log(#[from] tlog::evidence::Fault),
    /// A part is not a statement.
    #[error("{part}: {refusal}")]
    Statement {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A statement or opening is not signed by the accused key.
    #[error("{part} is not signed by {key}")]
    NotSigned {
        /// Which part.
        part: &'static str,
        /// The key, as `name+id`.
        key: String,
    },
    /// No key of its signer that the reader knows signed it.
    #[error("{part} is not signed by a key of {signer} that you know; name one with --party")]
    UnknownSigner {
        /// Which part.
        part: &'static str,
        /// Whose statement it says it is.
        signer: KeyName,
    },
    /// The statements are of different logs, exchanges or parties.
    #[error("the two are of different logs, exchanges or parties")]
    Scopes,
    /// The statements have different numbers.
    #[error("the two have different numbers, {a} and {b}")]
    Numbers {
        /// Number of the first.
        a: u64,
        /// Number of the second.
        b: u64,
    },
    /// There is no contradiction: an honest holder of the key can have signed all of it.
    #[error("there is no contradiction in it")]
    Compatible,
    /// A part is a statement of another kind, or about another record, than it must be.
    #[error("{part} is not {expected}")]
    Wrong {
        /// Which part.
        part: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The attestation's header is beyond the limits under which commitments mean anything.
    #[error("attestation: {0}")]
    Header(#[from] record::column::LayoutError),
    /// The body of an opening is none.
    #[error("body: {0}")]
    Body(#[from] BodyError),
    /// The opening does not have the record's shape, so there is nothing to compare.
    #[error("opening: {0}")]
    Opening(#[from] OpeningError),
    /// A receipt is none.
    #[error("proof: {0}")]
    Receipt(#[from] ReceiptError),
    /// A note is none, or a known key is named on it whose signature fails.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// No witness that the reader knows saw the log without the statement so late.
    #[error("no witness that you know saw the log without it more than {LATE_SLACK} s after that")]
    NotLate,
}

/// Why no evidence could be made. That there is nothing to show is no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// What was handed in proves nothing.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It does not fit a file: an opening of many items, for example.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Judges a file of any kind with nothing but keys. An error means that it proves nothing against
/// anybody, be it damaged or made up.
pub fn judge(evidence: &Evidence, known: &KnownKeys) -> Result<Judgement, Fault> {
    let account = match evidence.kind() {
        Kind::StatementFork => fork::judge(evidence)?,
        Kind::FalseOpening => opening::judge(evidence, known)?,
        Kind::LateStatement => finding::judge_late(evidence, known)?,
        Kind::WeakSalt => finding::judge_salts(evidence, known)?,
        _ => return Ok(evidence.judge(known)?),
    };
    Ok(Judgement::new(evidence, known, account))
}

/// The one key that files about parties accuse.
fn accused(evidence: &Evidence) -> Result<&VerifierKey, Fault> {
    let key = evidence.accused().first().map(Accused::key);
    key.ok_or(Fault::Wrong { part: "the file", expected: "an accusation" })
}

/// A part that is a statement, signed by whomever.
fn statement(evidence: &Evidence, part: &'static str) -> Result<SignedStatement, Fault> {
    SignedStatement::parse(evidence.part(part))
        .map_err(|refusal| Fault::Statement { part, refusal })
}

/// A statement by this very key, whose name is its signer.
fn signed_by(key: &VerifierKey, part: &'static str, signed: &SignedStatement) -> Result<(), Fault> {
    let own = signed.statement().common().signer == *key.name();
    if own && signed.envelope().verify(key.public()).is_ok() {
        return Ok(());
    }
    Err(Fault::NotSigned { part, key: key.keyid() })
}

/// A statement by a key that the reader knows as its signer's, or by the accused one.
fn signed_by_known<'k>(
    known: &'k KnownKeys,
    accused: Option<&'k VerifierKey>,
    part: &'static str,
    signed: &SignedStatement,
) -> Result<&'k VerifierKey, Fault> {
    let mut keys = accused.into_iter().chain(known.of(Role::Party));
    keys.find(|key| signed_by(key, part, signed).is_ok()).ok_or_else(|| Fault::UnknownSigner {
        part,
        signer: signed.statement().common().signer.clone(),
    })
}
