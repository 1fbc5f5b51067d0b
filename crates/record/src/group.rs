//! Pedersen commitments on ristretto255 (RFC 9496): `s·B + r·H`.
//!
//! H is hashed to the group, so nobody knows its logarithm to the base B. Points and scalars are
//! decoded only in their one canonical spelling.

use std::sync::OnceLock;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The second generator H, as ristretto255 spells it.
pub fn generator() -> [u8; 32] {
    table().basepoint().compress().to_bytes()
}

/// Multiples of H, some 30 kB: a commitment then takes two fixed-base multiplications, both in
/// constant time.
fn table() -> &'static RistrettoBasepointTable {
    static TABLE: OnceLock<RistrettoBasepointTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let uniform: [u8; 64] = Sha512::digest(b"countersign.v1/generator/H").into();
        RistrettoBasepointTable::create(&RistrettoPoint::from_uniform_bytes(&uniform))
    })
}

/// A scalar that hides a score or a total. It is 32 bytes, little-endian, below the group order.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Blind(pub(crate) Scalar);

crate::redacted!(Blind);

impl Blind {
    /// Reads the canonical spelling; `None` for any other number.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        scalar(bytes).map(Self)
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

/// `value·B + blind·H`.
pub(crate) fn commit(value: u64, blind: &Blind) -> RistrettoPoint {
    combine(&Scalar::from(value), &blind.0)
}

/// `a·B + b·H`.
pub(crate) fn combine(a: &Scalar, b: &Scalar) -> RistrettoPoint {
    a * RISTRETTO_BASEPOINT_TABLE + b * table()
}

/// 64 bytes as a little-endian number modulo the group order.
pub(crate) fn wide(bytes: &[u8; 64]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(bytes)
}

/// A point in its canonical spelling.
pub(crate) fn point(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress()
}

/// A scalar in its canonical spelling.
pub(crate) fn scalar(bytes: [u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes).into()
}
