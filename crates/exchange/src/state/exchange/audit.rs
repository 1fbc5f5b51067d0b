//! Names and coins of audits (`docs/protocol.md`, "Audits").

use tlog::{Hash, KeyName};

use crate::bytes::{label, push_prefixed};
use crate::values::StatementId;

/// SHA-256(L(audit) ‖ agreement id ‖ record id ‖ lp(auditor's name) ‖ u32 attempt).
pub(super) fn audit_id(
    agreement: &StatementId,
    record: &StatementId,
    auditor: &KeyName,
    attempt: u64,
) -> Hash {
    let mut bytes = label("audit");
    bytes.extend_from_slice(agreement.as_bytes());
    bytes.extend_from_slice(record.as_bytes());
    push_prefixed(&mut bytes, auditor.as_str());
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&attempt.to_be_bytes());
    Hash::of(&[&bytes])
}

/// SHA-256(L(coin) ‖ audit id ‖ lp(party) ‖ coin[32]): what a party commits to.
pub(super) fn coin_commitment(audit: &Hash, party: &KeyName, coin: &[u8; 32]) -> Hash {
    let mut bytes = label("coin");
    bytes.extend_from_slice(audit.as_bytes());
    push_prefixed(&mut bytes, party.as_str());
    bytes.extend_from_slice(coin);
    Hash::of(&[&bytes])
}
