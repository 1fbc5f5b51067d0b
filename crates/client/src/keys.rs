//! Key files: `NAME.key` holds a private key (PKCS#8 PEM, RFC 8410, mode 0600), and `NAME.vkey`
//! beside it the public key under the party's name, as a C2SP verifier key.
//!
//! A private key may be under a passphrase (PKCS#8 `ENCRYPTED PRIVATE KEY`: PBES2 of RFC 8018 with
//! scrypt and AES-256-CBC), in the form that `openssl pkey` reads and writes as well. That form has
//! no authentication of its own; the public half beside it decides whether what comes out is the
//! key that went in.

pub(crate) mod pem;

use std::path::{Path, PathBuf};

use pkcs8::EncryptedPrivateKeyInfoOwned;
use tlog::{KeyKind, KeyName, SigningKey, VerifierKey};
use zeroize::Zeroizing;

use crate::Entropy;
use crate::files::{self, Access, FileError, with_ending};

/// A PEM file with one key has some 120 bytes, 450 under a passphrase, a vkey file some 200.
const MAX_KEY_FILE: u64 = 16 << 10;

/// Writes `PATH.key` and `PATH.vkey`; neither may exist. Returns the two paths.
pub fn write_pair(stem: &Path, key: &SigningKey) -> Result<(PathBuf, PathBuf), FileError> {
    write_pair_as(stem, key, KeyKind::Ed25519, &pem::plain(key))
}

/// As [`write_pair`], for a witness: its public half is a key of type 04.
pub fn write_cosigner(stem: &Path, key: &SigningKey) -> Result<(PathBuf, PathBuf), FileError> {
    write_pair_as(stem, key, KeyKind::Cosignature, &pem::plain(key))
}

/// As [`write_pair`], with the private key under a passphrase.
pub fn write_protected_pair(
    stem: &Path,
    key: &SigningKey,
    passphrase: &str,
    entropy: &mut impl Entropy,
) -> Result<(PathBuf, PathBuf), FileError> {
    let pem = pem::protected(key, passphrase, entropy);
    write_pair_as(stem, key, KeyKind::Ed25519, &pem)
}

fn write_pair_as(
    stem: &Path,
    key: &SigningKey,
    kind: KeyKind,
    pem: &str,
) -> Result<(PathBuf, PathBuf), FileError> {
    let (private, public) = (with_ending(stem, ".key"), with_ending(stem, ".vkey"));
    for path in [&private, &public] {
        if files::is_there(path)? {
            return Err(FileError::new(path, "exists already and is not overwritten"));
        }
    }
    // The public half first: alone it is nothing, while a private one without it has no name.
    let vkey = format!("{}\n", key.verifier(kind));
    files::write_new(&public, vkey.as_bytes(), Access::Shared)?;
    files::write_new(&private, pem.as_bytes(), Access::Private)?;
    Ok((private, public))
}

/// Puts a private key file into another form: under a passphrase, or without one. The old file
/// stands until the new one is durable.
pub fn rewrite(
    path: &Path,
    key: &SigningKey,
    passphrase: Option<&str>,
    entropy: &mut impl Entropy,
) -> Result<(), FileError> {
    let pem = match passphrase {
        Some(passphrase) => pem::protected(key, passphrase, entropy),
        None => pem::plain(key),
    };
    files::write(path, pem.as_bytes(), Access::Private)
}

/// A private key file that was read.
#[derive(Debug)]
pub enum KeyFile {
    /// It is not under a passphrase.
    Open(SigningKey),
    /// It takes a passphrase.
    Protected(ProtectedKey),
}

impl KeyFile {
    /// Reads a private key file, and its name from the `.vkey` file beside it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = Zeroizing::new(files::read_private(path, MAX_KEY_FILE)?);
        let found = pem::parse(&bytes).map_err(|problem| FileError::new(path, problem))?;
        let public_path = path.with_extension("vkey");
        let public = read_vkey(&public_path).map_err(|error| {
            let problem =
                format!("{}; a private key takes its name from the .vkey beside it", error.problem);
            FileError::new(&error.path, problem)
        })?;
        match found {
            pem::Found::Seed(seed) => {
                let key = SigningKey::from_seed(public.name().clone(), &seed);
                if key.public() != *public.public() {
                    let other = public_path.display();
                    let problem = format!(
                        "does not belong to {other}: the public keys differ; \
                         restore both from your backup"
                    );
                    return Err(FileError::new(path, problem));
                }
                Ok(Self::Open(key))
            }
            pem::Found::Protected(document) => {
                Ok(Self::Protected(ProtectedKey { path: path.to_owned(), public, document }))
            }
        }
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        match self {
            Self::Open(key) => key.verifier(KeyKind::Ed25519),
            Self::Protected(key) => key.public.clone(),
        }
    }
}

/// A private key under a passphrase.
pub struct ProtectedKey {
    path: PathBuf,
    public: VerifierKey,
    document: EncryptedPrivateKeyInfoOwned,
}

impl ProtectedKey {
    /// Opens it. Slow on purpose.
    pub fn open(&self, passphrase: &str) -> Result<SigningKey, FileError> {
        let wrong = || {
            let problem = "does not open: wrong passphrase, or the file was changed; try again, or \
                           restore it from your backup";
            FileError::new(&self.path, problem)
        };
        let seed = pem::unlock(&self.document, passphrase).ok_or_else(wrong)?;
        let key = SigningKey::from_seed(self.public.name().clone(), &seed);
        // Where a wrong passphrase leads to something that looks like a key, this tells.
        if key.public() == *self.public.public() { Ok(key) } else { Err(wrong()) }
    }
}

impl std::fmt::Debug for ProtectedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProtectedKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Reads a private key that is not under a passphrase, and its name from the `.vkey` file beside
/// it.
pub fn read_signing(path: &Path) -> Result<SigningKey, FileError> {
    match KeyFile::read(path)? {
        KeyFile::Open(key) => Ok(key),
        KeyFile::Protected(_) => {
            let problem = "is under a passphrase, which nobody can be asked for here; remove it \
                           with: countersign key passwd --remove";
            Err(FileError::new(path, problem))
        }
    }
}

/// True if the file holds this key just as [`write_pair`] writes it, byte for byte. One under a
/// passphrase has no single spelling.
pub fn is_as_written(path: &Path, key: &SigningKey) -> Result<bool, FileError> {
    let bytes = Zeroizing::new(files::read_private(path, MAX_KEY_FILE)?);
    Ok(*bytes == pem::plain(key).as_bytes())
}

/// Reads a `.vkey` file: one verifier key, with or without a final newline.
pub fn read_vkey(path: &Path) -> Result<VerifierKey, FileError> {
    let bytes = files::read(path, MAX_KEY_FILE)?;
    if bytes.is_empty() {
        let problem = "is empty: its writing was interrupted; restore it from your backup";
        return Err(FileError::new(path, problem));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| FileError::new(path, "is not text; a .vkey file was expected"))?;
    if text.starts_with("-----BEGIN ") {
        return Err(FileError::new(path, "is a private key; name the .vkey file beside it"));
    }
    VerifierKey::parse(text.strip_suffix('\n').unwrap_or(text)).map_err(|e| {
        let problem = format!("is not a verifier key: {e}; get it again from whoever made it");
        FileError::new(path, problem)
    })
}

/// A name for a file without folders: what a path can't hold becomes `_`.
pub fn file_stem(name: &KeyName) -> String {
    name.as_str().replace(['/', '\\', '\0'], "_")
}
