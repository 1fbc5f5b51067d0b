//! Private keys as text: PKCS#8 in PEM (RFC 7468), plain or under a passphrase.

use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use pkcs8::der::Decode as _;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoOwned, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use tlog::{SigningKey, VerifierKey};
use zeroize::Zeroizing;

use crate::Entropy;

const BEGIN: &str = "-----BEGIN ";
const PLAIN: &str = "PRIVATE KEY";
const PROTECTED: &str = "ENCRYPTED PRIVATE KEY";
/// id-Ed25519, RFC 8410.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// scrypt with N = 2^14, r = 8, p = 5: 16 MiB, the most that OpenSSL reads by default, and as many
/// lanes as OWASP asks for at this N.
const SCRYPT: (u8, u32, u32) = (14, 8, 5);

/// 128 · N · r bytes; a foreign file may ask for this much memory and no more.
const MAX_SCRYPT_MEMORY: u64 = 1 << 30;
const MAX_SCRYPT_LANES: u16 = 16;
/// Some seconds on any machine.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// What a key file holds.
pub(crate) enum Found {
    /// The 32 bytes that an Ed25519 key follows from.
    Seed(Zeroizing<[u8; 32]>),
    /// A document under a passphrase, within our limits.
    Protected(EncryptedPrivateKeyInfoOwned),
}

/// Reads a key file, or says in words why it is none and what to do.
pub(crate) fn parse(bytes: &[u8]) -> Result<Found, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let label = text.strip_prefix(BEGIN).and_then(|rest| rest.split_once("-----"));
    let Some((label, _)) = label else { return Err(no_pem(bytes, text)) };
    let broken = || "is a damaged key file; restore it from your backup".to_owned();
    let whole = text.trim_end().ends_with(&format!("-----END {label}-----"));
    match label {
        PLAIN | PROTECTED if !whole => {
            Err("is cut short: its last line is missing; restore it from your backup".to_owned())
        }
        PLAIN => {
            let (_, document) = SecretDocument::from_pem(text).map_err(|_| broken())?;
            seed_of(&document).map(Found::Seed).map_err(|problem| problem.unwrap_or_else(broken))
        }
        PROTECTED => {
            let (_, document) = SecretDocument::from_pem(text).map_err(|_| broken())?;
            let document = EncryptedPrivateKeyInfoOwned::from_der(document.as_bytes())
                .map_err(|_| broken_or_unknown())?;
            check_costs(&document)?;
            Ok(Found::Protected(document))
        }
        "PUBLIC KEY" => Err("holds a public key; name the private one".to_owned()),
        other => Err(format!(
            "holds a key of another type ({}), not an Ed25519 private key in PKCS#8; see: \
             countersign keygen --help",
            shown(other)
        )),
    }
}

/// The key that a passphrase leads to; `None` if it leads to something else.
pub(crate) fn unlock(
    document: &EncryptedPrivateKeyInfoOwned,
    passphrase: &str,
) -> Option<Zeroizing<[u8; 32]>> {
    seed_of(&document.decrypt(passphrase).ok()?).ok()
}

/// The key as every tool reads it: without the public half, in the older form of PKCS#8.
pub(crate) fn plain(key: &SigningKey) -> Zeroizing<String> {
    document(key).to_pem(PLAIN, LineEnding::LF).expect("a document of 48 bytes has a PEM form")
}

/// The key under a passphrase.
pub(crate) fn protected(
    key: &SigningKey,
    passphrase: &str,
    entropy: &mut impl Entropy,
) -> Zeroizing<String> {
    let (log_n, r, p) = SCRYPT;
    let costs = scrypt::Params::new(log_n, r, p).expect("these costs are within scrypt's limits");
    let salt: [u8; 16] = entropy.bytes();
    let parameters =
        pbes2::Parameters::generate_scrypt_aes256cbc(costs, &salt, entropy.bytes::<16>())
            .expect("a salt of 16 bytes is within PBES2's limits");
    let document = document(key);
    PrivateKeyInfoRef::try_from(document.as_bytes())
        .and_then(|info| info.encrypt_with_params(parameters, passphrase))
        .and_then(|sealed| Ok(sealed.to_pem(PROTECTED, LineEnding::LF)?))
        .expect("a document of 48 bytes can be encrypted and written")
}

fn document(key: &SigningKey) -> SecretDocument {
    let pair = KeypairBytes { secret_key: *key.seed(), public_key: None };
    pair.to_pkcs8_der().expect("a PKCS#8 document of 48 bytes can be written")
}

/// The seed of an Ed25519 document; why not, where more can be said than "damaged".
fn seed_of(document: &SecretDocument) -> Result<Zeroizing<[u8; 32]>, Option<String>> {
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| None)?;
    if info.algorithm.oid != ED25519 {
        let kind = match info.algorithm.oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => "RSA".to_owned(),
            "1.2.840.10045.2.1" => "ECDSA".to_owned(),
            "1.3.101.110" => "X25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => other.to_owned(),
        };
        return Err(Some(format!(
            "holds a key of another type ({kind}), not Ed25519; see: countersign keygen --help"
        )));
    }
    let pair = KeypairBytes::try_from(info).map_err(|_| None)?;
    let seed = Zeroizing::new(pair.secret_key);
    if let Some(public) = pair.public_key {
        let derived = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
        if derived.as_bytes() != &public.to_bytes() {
            return Err(None);
        }
    }
    Ok(seed)
}

/// What a file without PEM may be.
fn no_pem(bytes: &[u8], text: &str) -> String {
    if bytes.is_empty() {
        return "is empty: its writing was interrupted; restore it from your backup".to_owned();
    }
    if VerifierKey::parse(text.trim_end()).is_ok() {
        return "is a public key; name the private .key file beside it".to_owned();
    }
    if BEGIN.as_bytes().starts_with(&bytes[..bytes.len().min(BEGIN.len())]) {
        return "is cut short: its writing was interrupted; restore it from your backup".to_owned();
    }
    if bytes.len() == 32 {
        return "holds 32 raw bytes, as the key file of a vault does; name the signing key, \
                NAME.key"
            .to_owned();
    }
    "is not an Ed25519 private key in PKCS#8 PEM; see: countersign keygen --help".to_owned()
}

fn broken_or_unknown() -> String {
    "is damaged, or its passphrase is applied in a way that is not PBES2 with scrypt or PBKDF2 and \
     AES; restore it from your backup"
        .to_owned()
}

/// Bytes that deriving the key hashes, by and large; everything if that can't be told.
pub(crate) fn work(document: &EncryptedPrivateKeyInfoOwned) -> u64 {
    let Some(parameters) = document.encryption_algorithm.pbes2() else { return u64::MAX };
    if let Some(scrypt) = parameters.kdf.scrypt() {
        let lanes = u64::from(scrypt.parallelization).saturating_mul(128);
        let block = u64::from(scrypt.block_size).saturating_mul(lanes);
        return scrypt.cost_parameter.saturating_mul(block);
    }
    parameters.kdf.pbkdf2().map_or(u64::MAX, |pbkdf2| 128 * u64::from(pbkdf2.iteration_count))
}

/// A foreign file must not exhaust the machine.
fn check_costs(document: &EncryptedPrivateKeyInfoOwned) -> Result<(), String> {
    let Some(parameters) = document.encryption_algorithm.pbes2() else {
        return Err(broken_or_unknown());
    };
    let too_costly = |what: &str, value: u64, limit: u64| {
        Err(format!(
            "asks for {what} = {value}, more than the limit of {limit}; a key of yours would not"
        ))
    };
    if let Some(scrypt) = parameters.kdf.scrypt() {
        // RFC 7914, section 2: larger than 1 and a power of 2. The library takes its logarithm.
        if scrypt.cost_parameter < 2 || !scrypt.cost_parameter.is_power_of_two() {
            return Err(broken_or_unknown());
        }
        let memory =
            scrypt.cost_parameter.saturating_mul(128).saturating_mul(u64::from(scrypt.block_size));
        if memory > MAX_SCRYPT_MEMORY {
            return too_costly("bytes of memory", memory, MAX_SCRYPT_MEMORY);
        }
        if scrypt.parallelization > MAX_SCRYPT_LANES {
            let lanes = u64::from(scrypt.parallelization);
            return too_costly("lanes", lanes, u64::from(MAX_SCRYPT_LANES));
        }
    }
    if let Some(pbkdf2) = parameters.kdf.pbkdf2()
        && pbkdf2.iteration_count > MAX_PBKDF2_ROUNDS
    {
        let rounds = u64::from(pbkdf2.iteration_count);
        return too_costly("rounds", rounds, u64::from(MAX_PBKDF2_ROUNDS));
    }
    Ok(())
}

/// A label from a foreign file, safe to print.
fn shown(label: &str) -> String {
    label.chars().take(40).map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect()
}
