//! The one form in which secrets lie on disk: XChaCha20-Poly1305 under a key that comes from a
//! passphrase (Argon2id, RFC 9106) or from a key file.
//!
//! ```text
//! "countersign.v1/vault" 00 ‖ u8 kdf ‖ u32 m ‖ u32 t ‖ u32 p ‖ salt[16] ‖ nonce[24] ‖ ciphertext
//! ```
//!
//! All before the nonce is associated data, so nobody can weaken the key derivation of a file.
//!
//! All files of one vault share a salt, so that its key is derived once and not for each file;
//! the nonce of 192 random bits is what keeps them apart. Nothing depends on it: a file with a salt
//! of its own opens as well.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
const TAG: usize = 16;

/// 64 MiB, three passes, one lane: RFC 9106's second recommended option but for the lanes, which
/// would need threads.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A file may ask for at most 4 GiB, 64 passes and 16 lanes, so that a foreign one cannot
/// exhaust the machine.
const LIMITS: [(&str, u32); 3] = [("memory in KiB", 4 << 20), ("passes", 64), ("lanes", 16)];

/// What opens a vault.
#[derive(Clone)]
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

impl VaultKey {
    fn kind(&self) -> VaultKind {
        match self {
            Self::Passphrase(_) => VaultKind::Passphrase,
            Self::File(_) => VaultKind::KeyFile,
        }
    }
}

/// What a container takes to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VaultKind {
    /// A passphrase.
    Passphrase,
    /// A key file.
    KeyFile,
}

impl VaultKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
        }
    }
}

/// Why a container did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Nothing in it.
    #[error("is empty: its writing was interrupted; restore it from your backup")]
    Empty,
    /// Begins like a container, but ends too soon.
    #[error("is cut short; restore it from your backup")]
    Short,
    /// Not a container.
    #[error("is not a vault file, or was changed; restore it from your backup")]
    Malformed,
    /// The header asks for more work than is reasonable.
    #[error(
        "asks for {what} = {value}, more than the limit of {limit}, which no vault of yours does; \
         restore it from your backup"
    )]
    TooCostly {
        /// The parameter.
        what: &'static str,
        /// Its value in the file.
        value: u32,
        /// The most that is accepted.
        limit: u32,
    },
    /// A key file was given for a passphrase's container, or the other way round.
    #[error(
        "was sealed with a {needed}, not with a {given}: it comes from another vault, or was \
         changed; restore it from your backup"
    )]
    OtherKind {
        /// What it takes.
        needed: &'static str,
        /// What was tried.
        given: &'static str,
    },
    /// Wrong key, or the bytes were changed.
    #[error(
        "does not open: wrong passphrase or key file, or the file was changed; try again, or \
         restore it from your backup"
    )]
    Refused,
    /// The machine does not give as much memory as the header asks for.
    #[error(
        "takes {mib} MiB of memory for its passphrase, which this machine does not give; end \
         other programs, or use another machine"
    )]
    NoMemory {
        /// How much.
        mib: u32,
    },
    /// The bytes were changed: the same key has opened another file.
    #[error("was changed or cut short after it was written; restore it from your backup")]
    Changed,
}

/// All that precedes the nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Header {
    kind: VaultKind,
    /// Memory in KiB, passes, lanes; zeros for a key file.
    costs: [u32; 3],
    salt: [u8; 16],
}

impl Header {
    fn fresh(kind: VaultKind, entropy: &mut impl Entropy) -> Self {
        let costs = match kind {
            VaultKind::Passphrase => [MEMORY_KIB, PASSES, LANES],
            VaultKind::KeyFile => [0; 3],
        };
        Self { kind, costs, salt: entropy.bytes() }
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut out = LABEL.to_vec();
        out.push(match self.kind {
            VaultKind::Passphrase => 1,
            VaultKind::KeyFile => 2,
        });
        for cost in self.costs {
            out.extend_from_slice(&cost.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
        out
    }

    /// Reads and judges a header.
    fn parse(bytes: &[u8]) -> Result<Self, ContainerError> {
        if bytes.is_empty() {
            return Err(ContainerError::Empty);
        }
        let Some(rest) = bytes.strip_prefix(LABEL) else {
            let cut = LABEL.starts_with(bytes);
            return Err(if cut { ContainerError::Short } else { ContainerError::Malformed });
        };
        if bytes.len() < HEADER + NONCE + TAG {
            return Err(ContainerError::Short);
        }
        let cost = |i: usize| {
            let at = 1 + 4 * i;
            u32::from_be_bytes(rest[at..at + 4].try_into().expect("four bytes were cut out"))
        };
        let costs = [cost(0), cost(1), cost(2)];
        let salt = rest[13..29].try_into().expect("16 bytes were cut out");
        match rest[0] {
            1 => {
                for (value, (what, limit)) in costs.into_iter().zip(LIMITS) {
                    if value > limit {
                        return Err(ContainerError::TooCostly { what, value, limit });
                    }
                }
                Ok(Self { kind: VaultKind::Passphrase, costs, salt })
            }
            2 if costs == [0; 3] => Ok(Self { kind: VaultKind::KeyFile, costs, salt }),
            _ => Err(ContainerError::Malformed),
        }
    }
}

/// What a container takes to open, by its header.
pub(super) fn kind(bytes: &[u8]) -> Result<VaultKind, ContainerError> {
    Ok(Header::parse(bytes)?.kind)
}

/// A vault's key and the cipher keys that were derived from it: one for each header met, of which
/// a vault has one.
pub(super) struct Keyring {
    key: VaultKey,
    state: Mutex<Derived>,
}

#[derive(Default)]
struct Derived {
    keys: BTreeMap<Header, CipherKey>,
    /// What new files are sealed under: the header of the first file opened or sealed.
    own: Option<Header>,
}

#[derive(Clone)]
struct CipherKey {
    bytes: Zeroizing<[u8; 32]>,
    /// True once it has opened or sealed a file: then whatever it doesn't open was changed.
    proven: bool,
}

impl Keyring {
    pub(super) fn new(key: VaultKey) -> Self {
        Self { key, state: Mutex::default() }
    }

    /// Seals `plain` under the vault's salt.
    pub(super) fn seal(
        &self,
        plain: &[u8],
        entropy: &mut impl Entropy,
    ) -> Result<Vec<u8>, ContainerError> {
        let own = self.state().own;
        let header = own.unwrap_or_else(|| Header::fresh(self.key.kind(), entropy));
        let key = self.derive(&header)?;
        self.prove(header);
        let nonce: [u8; NONCE] = entropy.bytes();
        let mut out = header.to_bytes();
        let cipher = XChaCha20Poly1305::new((&*key.bytes).into());
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &out })
            .expect("a plain text in memory is shorter than the cipher's 256 GiB");
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens what [`seal`](Self::seal) made.
    pub(super) fn open(&self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let header = Header::parse(bytes)?;
        let given = self.key.kind();
        if header.kind != given {
            let (needed, given) = (header.kind.name(), given.name());
            return Err(ContainerError::OtherKind { needed, given });
        }
        let key = self.derive(&header)?;
        let (aad, rest) = bytes.split_at(HEADER);
        let (nonce, sealed) = rest.split_at(NONCE);
        let nonce: [u8; NONCE] = nonce.try_into().expect("24 bytes were cut out");
        let cipher = XChaCha20Poly1305::new((&*key.bytes).into());
        let plain =
            cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad }).map_err(|_| {
                if key.proven { ContainerError::Changed } else { ContainerError::Refused }
            })?;
        self.prove(header);
        Ok(Zeroizing::new(plain))
    }

    /// The cipher key of a header, derived at the first call. The lock is not held meanwhile: two
    /// threads at worst do the same work.
    fn derive(&self, header: &Header) -> Result<CipherKey, ContainerError> {
        if let Some(key) = self.state().keys.get(header) {
            return Ok(key.clone());
        }
        let bytes = derive(&self.key, header)?;
        Ok(self.state().keys.entry(*header).or_insert(CipherKey { bytes, proven: false }).clone())
    }

    fn prove(&self, header: Header) {
        let mut state = self.state();
        state.own.get_or_insert(header);
        if let Some(key) = state.keys.get_mut(&header) {
            key.proven = true;
        }
    }

    /// The map is never left half changed.
    fn state(&self) -> MutexGuard<'_, Derived> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

fn derive(key: &VaultKey, header: &Header) -> Result<Zeroizing<[u8; 32]>, ContainerError> {
    let mut out = Zeroizing::new([0; 32]);
    match key {
        VaultKey::Passphrase(passphrase) => {
            let [memory, passes, lanes] = header.costs;
            let malformed = |_| ContainerError::Malformed;
            let params = Params::new(memory, passes, lanes, Some(32)).map_err(malformed)?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), &header.salt, &mut *out)
                .map_err(|e| match e {
                    argon2::Error::OutOfMemory => ContainerError::NoMemory { mib: memory >> 10 },
                    _ => ContainerError::Malformed,
                })?;
        }
        VaultKey::File(secret) => {
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&**secret)
                .expect("HMAC takes keys of any length");
            mac.update(KEY_LABEL);
            mac.update(&header.salt);
            out.copy_from_slice(&mac.finalize().into_bytes());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn one_passphrase_is_derived_once_for_any_number_of_files() {
        let key = || VaultKey::Passphrase(Zeroizing::new("a long passphrase".to_owned()));
        let ring = Keyring::new(key());
        let files: Vec<_> =
            (0..50).map(|i| ring.seal(&[i; 9], &mut SystemEntropy).unwrap()).collect();
        let other = Keyring::new(key());
        for (i, file) in (0..).zip(&files) {
            assert_eq!(**other.open(file).unwrap(), [i; 9]);
        }
        let again = other.seal(b"new", &mut SystemEntropy).unwrap();
        assert_eq!(again[..HEADER], files[0][..HEADER]);
        assert_eq!((ring.state().keys.len(), other.state().keys.len()), (1, 1));
        let nonces: std::collections::BTreeSet<_> =
            files.iter().map(|file| file[HEADER..HEADER + NONCE].to_vec()).collect();
        assert_eq!(nonces.len(), files.len(), "each file has a nonce of its own");
    }

    #[test]
    fn file_with_another_salt_opens_and_keeps_the_vaults_own() {
        let secret = || VaultKey::File(Zeroizing::new([7; 32]));
        let (first, second) = (Keyring::new(secret()), Keyring::new(secret()));
        let mine = first.seal(b"mine", &mut SystemEntropy).unwrap();
        let foreign = second.seal(b"foreign", &mut SystemEntropy).unwrap();
        assert_ne!(mine[..HEADER], foreign[..HEADER]);
        assert_eq!(**first.open(&foreign).unwrap(), *b"foreign");
        assert_eq!(first.seal(b"next", &mut SystemEntropy).unwrap()[..HEADER], mine[..HEADER]);
    }

    #[test]
    fn what_a_proven_key_does_not_open_was_changed() {
        let ring = Keyring::new(VaultKey::File(Zeroizing::new([7; 32])));
        let mut file = ring.seal(b"some text", &mut SystemEntropy).unwrap();
        file.pop();
        assert_eq!(ring.open(&file), Err(ContainerError::Changed));
        let wrong = Keyring::new(VaultKey::File(Zeroizing::new([8; 32])));
        assert_eq!(wrong.open(&file), Err(ContainerError::Refused));
        assert_eq!(wrong.open(&file), Err(ContainerError::Refused), "it never proved itself");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let ring = Keyring::new(VaultKey::File(Zeroizing::new([7; 32])));
        let file = ring.seal(b"some text", &mut SystemEntropy).unwrap();
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.open(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..file.len() {
            let error = ring.open(&file[..length]).unwrap_err();
            let expected = match length {
                0 => ContainerError::Empty,
                _ if length < HEADER + NONCE + TAG => ContainerError::Short,
                _ => ContainerError::Changed,
            };
            assert_eq!(error, expected, "{length} bytes");
        }
    }

    #[test]
    fn greedy_headers_are_refused_before_any_work() {
        let ring = Keyring::new(VaultKey::Passphrase(Zeroizing::new("p".to_owned())));
        let limits = [4 << 20, 64, 16];
        for (place, limit) in (0..).zip(limits) {
            let mut header =
                Header { kind: VaultKind::Passphrase, costs: [8, 1, 1], salt: [0; 16] };
            header.costs[place] = limit + 1;
            let mut file = header.to_bytes();
            file.extend([0; 100]);
            let error = ring.open(&file).unwrap_err();
            let over = limit + 1;
            assert!(
                matches!(error, ContainerError::TooCostly { value, limit: l, .. }
                    if value == over && l == limit),
                "{error}"
            );
        }
        assert!(ring.state().keys.is_empty());
    }
}
