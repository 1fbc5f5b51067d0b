//! The secret R of a record, and the keys, salts and blinds that follow from it
//! (`docs/protocol.md`, "Record").
//!
//! Disclosure follows columns (a field key), cells (a salt) and scores (a blind); none of them
//! tells anything about the others. Whoever has R has everything, for good. R is made fresh for
//! every record, superseding ones too: two records under one R and one context would show the
//! differences of their scores.

use curve25519_dalek::scalar::Scalar;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha512};
use tlog::Hash;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::context::label;
use crate::group::{Blind, wide};
use crate::redacted;

/// R: 32 random bytes, kept in the vault.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecordSecret([u8; 32]);

/// K_f: opens one field of all items. Low-entropy values can be guessed from it alone, and the key
/// of a score field gives every blind of its column.
#[derive(ZeroizeOnDrop)]
pub struct FieldKey {
    bytes: [u8; 32],
    /// The keyed states, since one key makes a salt for every item. They wipe themselves.
    #[zeroize(skip)]
    salts: Hmac<Sha256>,
    #[zeroize(skip)]
    blinds: Hmac<Sha512>,
}

/// Opens one commitment to a field of an item or to a subject, together with the value.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Salt([u8; 32]);

redacted!(RecordSecret FieldKey Salt);

impl RecordSecret {
    /// Takes 32 bytes that nobody else knows and that were never used for a record before.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the vault.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// K_f of the field of this name.
    pub fn field_key(&self, field: &str) -> FieldKey {
        FieldKey::new(hmac256(&self.0, &[&label("field-key"), field.as_bytes()]))
    }

    /// The salt of the subject of this name.
    pub fn subject_salt(&self, name: &str) -> Salt {
        Salt(hmac256(&self.0, &[&label("subject-salt"), name.as_bytes()]))
    }

    /// A nonce of the proof of a total; it depends on secret, entropy and statement, so that it
    /// repeats only for one statement and one entropy, where the proof repeats too.
    pub(crate) fn total_nonce(&self, which: u8, entropy: &[u8; 32], statement: &[u8]) -> Scalar {
        let mut mac = keyed_512(&self.0);
        for part in [&label("total-nonce"), &[which][..], entropy, statement] {
            mac.update(part);
        }
        finish_512(mac)
    }
}

impl FieldKey {
    fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, salts: keyed_256(&bytes), blinds: keyed_512(&bytes) }
    }

    /// The 32 bytes, for whoever may see the whole column.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The salt of this field of item `index`.
    pub fn salt(&self, index: u64) -> Salt {
        let mut mac = self.salts.clone();
        mac.update(b"countersign.v1/salt\0");
        mac.update(&index.to_be_bytes());
        Salt(mac.finalize().into_bytes().into())
    }

    /// The blind of item `index`, if this is the key of a score field.
    pub fn blind(&self, index: u64) -> Blind {
        let mut mac = self.blinds.clone();
        mac.update(b"countersign.v1/blind\0");
        mac.update(&index.to_be_bytes());
        Blind(finish_512(mac))
    }
}

impl Salt {
    /// Wraps 32 bytes that came with an opening.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// HMAC-SHA256 (RFC 2104) over the parts joined.
pub(crate) fn hmac256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed_256(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// As [`hmac256`], where the result is no secret.
pub(crate) fn hmac256_hash(key: &[u8; 32], parts: &[&[u8]]) -> Hash {
    Hash::new(hmac256(key, parts))
}

fn keyed_256(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn keyed_512(key: &[u8; 32]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn finish_512(mac: Hmac<Sha512>) -> Scalar {
    let mut output = mac.finalize().into_bytes();
    let bytes = Zeroizing::new(<[u8; 64]>::from(output));
    output.as_mut_slice().zeroize();
    wide(&bytes)
}
