//! Names and keys as C2SP signed-note has them, and the one Ed25519 rule of this project.
//!
//! A public key is accepted only if its 32 bytes are the canonical encoding of a point that is
//! neither of small order nor mixed with torsion; a signature only by `verify_strict`. The lenient
//! `verify` and batch verification are different predicates: two parties that used different ones
//! would disagree about what is in the log.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use zeroize::Zeroizing;

use crate::Hash;

/// Longest name of a key in bytes.
const MAX_NAME: usize = 128;

/// The name of a key: not empty, at most 128 bytes, no `+`, no white space, no control
/// characters, bidirectional ones included. Names are compared as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

/// Why a text is no key, or bytes are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name breaks a rule of [`KeyName`].
    #[error("not a key name: 1 to 128 bytes without '+', white space or control characters")]
    Name,
    /// Not `name+hhhhhhhh+base64`.
    #[error("not a verifier key: must be name+8 lower-case hex digits+padded base64")]
    Spelling,
    /// The id is computed from name, type and key, and this is another one.
    #[error("verifier key has the id {found}, but its name and key give {expected}")]
    Id {
        /// The id as computed.
        expected: KeyId,
        /// The id as written.
        found: KeyId,
    },
    /// A type of key that this program cannot verify with, such as 06, ML-DSA-44.
    #[error("keys of type {0:02x} are not supported")]
    Type(u8),
    /// An Ed25519 public key has 32 bytes.
    #[error("Ed25519 public key has {0} bytes, must have 32")]
    Length(usize),
    /// The bytes are no point of the curve, or one in another encoding.
    #[error("Ed25519 public key is not the canonical encoding of a point")]
    NotCanonical,
    /// One of the eight points under which nearly any signature can be made valid.
    #[error("Ed25519 public key is of small order")]
    SmallOrder,
    /// A point outside the prime-order subgroup, for which verification rules disagree.
    #[error("Ed25519 public key has a torsion component")]
    Torsion,
}

/// A signature that is not by this key over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

impl KeyName {
    /// Takes a text that obeys the rules of a key name.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let forbidden = |c: char| c == '+' || c.is_whitespace() || c.is_control() || is_bidi(c);
        if text.is_empty() || text.len() > MAX_NAME || text.contains(forbidden) {
            return Err(KeyError::Name);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that reorder what is displayed (UAX #9): names with them look like other names.
fn is_bidi(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for KeyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// An Ed25519 public key that passed the acceptance rule of this module.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Accepts 32 bytes that are a canonical, torsion-free point of large order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotCanonical)?;
        let point = key.to_edwards();
        if point.compress().as_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion);
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// `verify_strict`, the only rule.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The first four bytes of SHA-256(name ‖ 0a ‖ type ‖ public key): a hint which key to try. Anyone
/// can find a key with a given id, so it decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The id of a key of any type, also of those that this program cannot verify with.
    pub fn of(name: &KeyName, type_byte: u8, key: &[u8]) -> Self {
        let digest = Hash::of(&[name.as_str().as_bytes(), &[b'\n', type_byte], key]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self([a, b, c, d])
    }

    /// Wraps the four bytes that stand before a signature.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// Reads 8 lower-case hexadecimal digits.
    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 4];
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Type 01: the text of a note. Logs sign checkpoints with it.
    Ed25519,
    /// Type 04: the text and a time (C2SP tlog-cosignature). Witnesses sign with it.
    Cosignature,
}

impl KeyKind {
    /// The type byte of C2SP signed-note.
    pub const fn type_byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }

    fn of_type_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            1 => Ok(Self::Ed25519),
            4 => Ok(Self::Cosignature),
            other => Err(KeyError::Type(other)),
        }
    }
}

/// A named public key and what it signs. `Display` writes the vkey,
/// `name+hhhhhhhh+base64(type ‖ public key)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    kind: KeyKind,
    public: PublicKey,
}

impl VerifierKey {
    /// Names a public key. One key under two kinds has two ids.
    pub fn new(name: KeyName, kind: KeyKind, public: PublicKey) -> Self {
        let id = KeyId::of(&name, kind.type_byte(), public.as_bytes());
        Self { name, id, kind, public }
    }

    /// Reads a vkey and recomputes its id.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        // The name has no `+`, the base64 may have some.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Spelling);
        };
        let name = KeyName::parse(name)?;
        let found = KeyId::from_hex(id).ok_or(KeyError::Spelling)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Spelling)?;
        let Some((type_byte, key)) = key.split_first() else { return Err(KeyError::Spelling) };
        let expected = KeyId::of(&name, *type_byte, key);
        if expected != found {
            return Err(KeyError::Id { expected, found });
        }
        let kind = KeyKind::of_type_byte(*type_byte)?;
        let bytes = key.try_into().map_err(|_| KeyError::Length(key.len()))?;
        Ok(Self { name, id: found, kind, public: PublicKey::from_bytes(bytes)? })
    }

    /// The name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id that stands before this key's signatures in a note.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// `name+hhhhhhhh`, which names the key without carrying it.
    pub fn keyid(&self) -> String {
        format!("{}+{}", self.name, self.id)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.type_byte()];
        key.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A named Ed25519 key pair. `Debug` shows the public half only; the secret is wiped on drop.
#[derive(Clone)]
pub struct SigningKey {
    name: KeyName,
    pair: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key pair of a 32-byte seed (RFC 8032 section 5.1.5).
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        Self { name, pair: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// The name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The public half. It needs no acceptance test: a multiple of the base point by a clamped
    /// scalar is in the prime-order subgroup and not its identity.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair.verifying_key())
    }

    /// The seed, for writing the key to a file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.pair.to_bytes())
    }

    /// Signs bytes as they are (RFC 8032 Ed25519).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).to_bytes()
    }

    /// The public half under this key's name.
    pub fn verifier(&self, kind: KeyKind) -> VerifierKey {
        VerifierKey::new(self.name.clone(), kind, self.public())
    }

    /// `name+hhhhhhhh` with the id of type 01: how envelopes name their signer.
    pub fn keyid(&self) -> String {
        self.verifier(KeyKind::Ed25519).keyid()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("name", &self.name)
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}
