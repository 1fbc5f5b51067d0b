//! Envelopes: what is sealed to one reader and stored beside the log (`docs/protocol.md`,
//! "Envelopes").
//!
//! HPKE (RFC 9180) in base mode to the reader's own sealing key, with everything that the
//! statement says as associated data, and the sender's signature inside. That an envelope
//! decrypts proves nothing about what is in it: openings are checked against the record.

mod associated;
mod seal;

pub use associated::{
    MAX_HEADER, NotTheEnvelope, SealedFor, associated_data, body_message, check_envelope,
    check_envelope_start,
};
pub use hpke::rand_core;
pub use seal::{
    MAX_BODY, OpenError, OpenedEnvelope, SealError, Sealed, SealingSecret, open, padded_length,
    seal,
};
