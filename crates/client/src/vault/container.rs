//! The one form in which secrets lie on disk: XChaCha20-Poly1305 under a key that comes from a
//! passphrase (Argon2id, RFC 9106) or from a key file.
//!
//! ```text
//! "countersign.v1/vault" 00 ‖ u8 kdf ‖ u32 m ‖ u32 t ‖ u32 p ‖ salt[16] ‖ nonce[24] ‖ ciphertext
//! ```
//!
//! All before the nonce is associated data, so nobody can weaken the key derivation of a file.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Entropy;

const LABEL: &[u8] = b"countersign.v1/vault\0";
const KEY_LABEL: &[u8] = b"countersign.v1/vault-key\0";
const HEADER: usize = LABEL.len() + 1 + 3 * 4 + 16;
const NONCE: usize = 24;

/// 64 MiB, three passes, one lane: RFC 9106's second recommended option but for the lanes, which
/// would need threads.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A file may ask for at most 4 GiB, 64 passes and 16 lanes, so that a foreign one cannot
/// exhaust the machine.
const MAX_MEMORY_KIB: u32 = 4 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// What opens a vault.
pub enum VaultKey {
    /// A passphrase; slow on purpose.
    Passphrase(Zeroizing<String>),
    /// 32 uniform bytes from a file.
    File(Zeroizing<[u8; 32]>),
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "VaultKey::Passphrase(…)",
            Self::File(_) => "VaultKey::File(…)",
        })
    }
}

/// Why a container did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Not a container, or one cut short.
    #[error("is not a vault file, or was cut short")]
    Malformed,
    /// The header asks for more work than is reasonable.
    #[error("asks for {what} = {value}, more than the limit of {limit}")]
    TooCostly {
        /// The parameter.
        what: &'static str,
        /// Its value in the file.
        value: u32,
        /// The most that is accepted.
        limit: u32,
    },
    /// A key file was given for a passphrase's container, or the other way round.
    #[error("was sealed with a {needed}, not with a {given}")]
    OtherKind {
        /// What it takes.
        needed: &'static str,
        /// What was tried.
        given: &'static str,
    },
    /// Wrong key, or the bytes were changed.
    #[error("does not open: wrong passphrase or key file, or the file was changed")]
    Refused,
}

/// Seals `plain` under `key`.
pub(super) fn seal(plain: &[u8], key: &VaultKey, entropy: &mut impl Entropy) -> Vec<u8> {
    let (kdf, costs) = match key {
        VaultKey::Passphrase(_) => (1, [MEMORY_KIB, PASSES, LANES]),
        VaultKey::File(_) => (2, [0; 3]),
    };
    let salt: [u8; 16] = entropy.bytes();
    let nonce: [u8; NONCE] = entropy.bytes();
    let mut out = LABEL.to_vec();
    out.push(kdf);
    for cost in costs {
        out.extend_from_slice(&cost.to_be_bytes());
    }
    out.extend_from_slice(&salt);
    let cipher_key = derive(key, costs, &salt).expect("these costs are within Argon2's limits");
    let cipher = XChaCha20Poly1305::new((&*cipher_key).into());
    let payload = Payload { msg: plain, aad: &out };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .expect("a plain text in memory is shorter than the cipher's 256 GiB");
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    out
}

/// Opens what [`seal`] made.
pub(super) fn open(bytes: &[u8], key: &VaultKey) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
    if bytes.len() < HEADER + NONCE || !bytes.starts_with(LABEL) {
        return Err(ContainerError::Malformed);
    }
    let (header, rest) = bytes.split_at(HEADER);
    let (nonce, sealed) = rest.split_at(NONCE);
    let kdf = header[LABEL.len()];
    let cost = |i: usize| {
        let at = LABEL.len() + 1 + 4 * i;
        u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes were cut out"))
    };
    let costs = [cost(0), cost(1), cost(2)];
    let salt = &header[HEADER - 16..];
    match (kdf, key) {
        (1, VaultKey::Passphrase(_)) => {
            let limits =
                [("memory in KiB", MAX_MEMORY_KIB), ("passes", MAX_PASSES), ("lanes", MAX_LANES)];
            for (value, (what, limit)) in costs.into_iter().zip(limits) {
                if value > limit {
                    return Err(ContainerError::TooCostly { what, value, limit });
                }
            }
        }
        (2, VaultKey::File(_)) if costs == [0; 3] => {}
        (1, VaultKey::File(_)) => {
            return Err(ContainerError::OtherKind { needed: "passphrase", given: "key file" });
        }
        (2, VaultKey::Passphrase(_)) => {
            return Err(ContainerError::OtherKind { needed: "key file", given: "passphrase" });
        }
        _ => return Err(ContainerError::Malformed),
    }
    let cipher_key = derive(key, costs, salt).ok_or(ContainerError::Malformed)?;
    let cipher = XChaCha20Poly1305::new((&*cipher_key).into());
    let nonce: [u8; NONCE] = nonce.try_into().expect("24 bytes were cut out");
    cipher
        .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: header })
        .map(Zeroizing::new)
        .map_err(|_| ContainerError::Refused)
}

fn derive(key: &VaultKey, costs: [u32; 3], salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut out = Zeroizing::new([0; 32]);
    match key {
        VaultKey::Passphrase(passphrase) => {
            let [memory, passes, lanes] = costs;
            let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, &mut *out)
                .ok()?;
        }
        VaultKey::File(secret) => {
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&**secret)
                .expect("HMAC takes keys of any length");
            mac.update(KEY_LABEL);
            mac.update(salt);
            out.copy_from_slice(&mac.finalize().into_bytes());
        }
    }
    Some(out)
}
