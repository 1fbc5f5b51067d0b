//! Statements and the state machine that replays them.
//!
//! A leaf of the log goes through three doors. [`SignedStatement::parse`] takes what keeps every
//! rule that bytes can keep by themselves; [`Registry::verify`] takes what a registered party
//! signed with its current key; [`State::check`] takes what is in order. [`State::replay`] sends a
//! leaf through all of them and never stops: what does not pass is void or noise.
//!
//! This crate has no I/O, clock or randomness: state is a function of the leaves. It reads no
//! artifacts; [`artifacts`] says which ones a statement names. Formats: `docs/protocol.md`.

mod artifact;
pub mod bundle;
mod bytes;
mod clear;
pub mod draft;
mod envelope;
pub mod evidence;
pub mod ledger;
pub mod named;
pub mod predicate;
pub mod preview;
mod read;
mod reason;
mod registry;
pub mod sealed;
mod state;
mod statement;
mod time;
mod values;

pub use artifact::{ArtifactKind, ArtifactLength, ArtifactNeed, artifacts, sealed_in};
pub use clear::{check_clear, clear_body};
pub use envelope::{
    Envelope, InvalidKeyReference, KeyReference, MAX_PAYLOAD, PAYLOAD_TYPE,
    pre_authentication_encoding,
};
pub use predicate::{Kind, Predicate};
pub use reason::{Code, Reason, Refusal};
pub use registry::{HeldKey, Party, PartyNumber, Registry, Standing, VerifiedStatement};
pub use sealed::{NotTheEnvelope, SealedFor, associated_data, body_message, check_envelope};
pub use state::{
    AwaitedStep, Awaits, Breach, EndedExchange, ExchangeState, ExchangeView, History, Obligation,
    ObligationStage, Prefixes, Replayed, RunEnd, RunView, Side, State, Status,
};
pub use statement::{Common, STATEMENT_TYPE, SignedStatement, Statement};
pub use time::{InvalidTime, Timestamp};
pub use values::{BaseField, ColumnName, Field, InvalidText, SUBJECTS, StatementId, Subject, Word};
