//! The sealing key: what envelopes to a party are sealed to. X25519 (RFC 7748), never derived
//! from the signing key.

use curve25519_dalek::montgomery::MontgomeryPoint;

/// The public half of a sealing key.
pub(crate) fn public_key(private: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*private).to_bytes()
}
