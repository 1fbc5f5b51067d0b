//! Key files: `NAME.key` holds a private key (PKCS#8 PEM, RFC 8410, mode 0600), and `NAME.vkey`
//! beside it the public key under the party's name, as a C2SP verifier key.

use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use tlog::{KeyKind, KeyName, SigningKey, VerifierKey};
use zeroize::Zeroizing;

use crate::files::{self, Access, FileError};

/// A PEM file with one key has some 120 bytes, a vkey file some 200.
const MAX_KEY_FILE: u64 = 16 << 10;

/// Writes `PATH.key` and `PATH.vkey`; neither may exist. Returns the two paths.
pub fn write_pair(stem: &Path, key: &SigningKey) -> Result<(PathBuf, PathBuf), FileError> {
    let (private, public) = (with_suffix(stem, "key"), with_suffix(stem, "vkey"));
    for path in [&private, &public] {
        if path.exists() {
            return Err(FileError::new(path, "exists already and is not overwritten"));
        }
    }
    files::write_new(&private, to_pem(key).as_bytes(), Access::Private)?;
    let vkey = format!("{}\n", key.verifier(KeyKind::Ed25519));
    files::write_new(&public, vkey.as_bytes(), Access::Shared)?;
    Ok((private, public))
}

/// Reads a private key, and its name from the `.vkey` file beside it.
pub fn read_signing(path: &Path) -> Result<SigningKey, FileError> {
    let pem = Zeroizing::new(files::read_private(path, MAX_KEY_FILE)?);
    let pair = std::str::from_utf8(&pem)
        .ok()
        .and_then(|pem| KeypairBytes::from_pkcs8_pem(pem).ok())
        .ok_or_else(|| {
            FileError::new(path, "is not an Ed25519 private key in PKCS#8 PEM; see: keygen --help")
        })?;
    let secret = Zeroizing::new(pair.secret_key);
    let public = path.with_extension("vkey");
    let vkey = read_vkey(&public)?;
    let key = SigningKey::from_seed(vkey.name().clone(), &secret);
    if key.public() != *vkey.public() {
        let problem = format!("does not belong to {}: the public keys differ", public.display());
        return Err(FileError::new(path, problem));
    }
    Ok(key)
}

/// Reads a `.vkey` file: one verifier key, with or without a final newline.
pub fn read_vkey(path: &Path) -> Result<VerifierKey, FileError> {
    let bytes = files::read(path, MAX_KEY_FILE)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| FileError::new(path, "is not text; a .vkey file was expected"))?;
    VerifierKey::parse(text.strip_suffix('\n').unwrap_or(text))
        .map_err(|e| FileError::new(path, format!("is not a verifier key: {e}")))
}

/// A name for a file without folders: what a path can't hold becomes `_`.
pub fn file_stem(name: &KeyName) -> String {
    name.as_str().replace(['/', '\\', '\0'], "_")
}

fn to_pem(key: &SigningKey) -> Zeroizing<String> {
    // Without the public key, which makes it the older form of PKCS#8 that every tool reads.
    let pair = KeypairBytes { secret_key: *key.seed(), public_key: None };
    pair.to_pkcs8_pem(LineEnding::LF).expect("a PKCS#8 document of 48 bytes can be written")
}

/// `stem` with `.suffix` added, whatever dots it holds.
fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    PathBuf::from(path)
}
