//! What every commitment is bound to: the log, the agreement, the party and the run
//! (`docs/protocol.md`, "Record").
//!
//! Also the two ways in which bytes are kept apart under one hash: labels, which end in 00 and of
//! which none is a prefix of another, and length prefixes.

use std::fmt;

use tlog::Hash;

/// `countersign.v1/<name>` and one byte 00.
pub fn label(name: &str) -> Vec<u8> {
    [b"countersign.v1/", name.as_bytes(), &[0]].concat()
}

/// Something with a 16-bit length prefix is longer than that can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit a length prefix of 16 bits")]
pub struct TooLong(pub usize);

/// `u16 length ‖ bytes`, big-endian. More than 65,535 bytes are an error, never cut.
pub fn length_prefixed(bytes: &[u8]) -> Result<Vec<u8>, TooLong> {
    let length = u16::try_from(bytes.len()).map_err(|_| TooLong(bytes.len()))?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// The context of one record, which stands in the preimage of each of its commitments: a
/// commitment copied into another log, exchange, party or run opens to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Context(Hash);

impl Context {
    /// SHA-256 over log origin, agreement, party and the nonce of the run's intent. A standalone
    /// record has no agreement; 32 zeros stand in its place.
    pub fn new(
        origin: &str,
        agreement: Option<&Hash>,
        party: &str,
        nonce: &[u8; 32],
    ) -> Result<Self, TooLong> {
        let agreement = agreement.map_or([0; 32], |id| *id.as_bytes());
        Ok(Self(Hash::of(&[
            &label("context"),
            &length_prefixed(origin.as_bytes())?,
            &agreement,
            &length_prefixed(party.as_bytes())?,
            nonce,
        ])))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
