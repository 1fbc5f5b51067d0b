//! Key files: both forms, wrong passphrases, damage, greed, and silence about secrets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use client::keys::{self, KeyFile};
use client::{FileError, SystemEntropy};
use pkcs8::EncryptedPrivateKeyInfoOwned;
use pkcs8::der::asn1::OctetString;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode as _, EncodePem as _};
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use tlog::{KeyName, SigningKey};

use crate::support::{files_below, folder, mode, says, set_mode};

const PASSPHRASE: &str = "canary-passphrase of six words";
const SEED: [u8; 32] = [0xca; 32];

fn key() -> SigningKey {
    SigningKey::from_seed(KeyName::parse("lab-a.example").unwrap(), &SEED)
}

fn plain(folder: &Path) -> PathBuf {
    keys::write_pair(&folder.join("lab-a.example"), &key()).unwrap().0
}

fn protected(folder: &Path) -> PathBuf {
    let stem = folder.join("lab-a.example");
    keys::write_protected_pair(&stem, &key(), PASSPHRASE, &mut SystemEntropy).unwrap().0
}

/// Reads a key file and opens it if need be.
fn open(path: &Path, passphrase: &str) -> Result<SigningKey, FileError> {
    match KeyFile::read(path)? {
        KeyFile::Open(key) => Ok(key),
        KeyFile::Protected(key) => key.open(passphrase),
    }
}

/// The error names its file and nothing secret.
#[track_caller]
fn proper(error: &FileError, words: &[&str]) {
    says(error, words);
    says(error, &["lab-a.example."]);
    silent(&format!("{error} {error:?}"));
}

#[track_caller]
fn silent(text: &str) {
    for secret in ["canary", "cacaca", "202, 202", "ysrKysr"] {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{text} shows {secret}");
    }
}

#[test]
fn a_key_is_read_as_it_was_written() {
    for write in [plain, protected] {
        let folder = folder();
        let path = write(folder.path());
        let read = open(&path, PASSPHRASE).unwrap();
        assert_eq!(
            (read.public(), *read.seed(), read.name()),
            (key().public(), SEED, key().name())
        );
        assert_eq!(mode(&path), 0o600);
        assert_eq!(files_below(folder.path()).len(), 2);
        assert_eq!(
            KeyFile::read(&path).unwrap().verifier(),
            key().verifier(tlog::KeyKind::Ed25519)
        );
        let again = keys::write_pair(&folder.path().join("lab-a.example"), &key()).unwrap_err();
        proper(&again, &["exists already and is not overwritten"]);
    }
}

#[test]
fn a_protected_key_has_a_salt_of_its_own_and_shows_no_secret() {
    let (one, other) = (folder(), folder());
    let [one, other] =
        [protected(one.path()), protected(other.path())].map(|path| fs::read(path).unwrap());
    assert_ne!(one, other);
    silent(std::str::from_utf8(&one).unwrap());
    let folder = folder();
    let path = plain(folder.path());
    assert!(fs::read_to_string(path).unwrap().contains("ysrKysr"), "the canary would be seen");
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_nothing_else() {
    let folder = folder();
    let path = protected(folder.path());
    for wrong in ["", "canary-passphrase of six word", "Canary-passphrase of six words", "x"] {
        proper(
            &open(&path, wrong).unwrap_err(),
            &["wrong passphrase, or the file was changed", "backup"],
        );
    }
    let error = keys::read_signing(&path).unwrap_err();
    proper(&error, &["is under a passphrase", "countersign key passwd --remove"]);
    assert_eq!(*open(&path, PASSPHRASE).unwrap().seed(), SEED);
}

#[test]
fn a_new_passphrase_takes_the_place_of_the_old_one_in_one_step() {
    let folder = folder();
    let path = plain(folder.path());
    let steps = [Some("first new passphrase"), Some("second new passphrase"), None];
    let mut before = String::new();
    for passphrase in steps {
        keys::rewrite(&path, &key(), passphrase, &mut SystemEntropy).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(*open(&path, passphrase.unwrap_or_default()).unwrap().seed(), SEED);
        if passphrase.is_some() {
            open(&path, &before).unwrap_err();
        }
        assert_eq!(matches!(KeyFile::read(&path).unwrap(), KeyFile::Open(_)), passphrase.is_none());
        before = passphrase.unwrap_or_default().to_owned();
    }
    assert!(keys::is_as_written(&path, &key()).unwrap());
    assert_eq!(files_below(folder.path()).len(), 2);
    // Behind a link the old key would stay where it is, in its old form.
    let link = folder.path().join("link.key");
    symlink(&path, &link).unwrap();
    let error =
        keys::rewrite(&link, &key(), Some("another passphrase"), &mut SystemEntropy).unwrap_err();
    says(&error, &["link.key: is a symbolic link"]);
}

#[test]
fn debug_shows_no_secret() {
    for write in [plain, protected] {
        let folder = folder();
        let read = KeyFile::read(&write(folder.path())).unwrap();
        let text = format!("{read:?} {read:#?}");
        assert!(text.contains("lab-a.example"), "{text}");
        silent(&text);
    }
}

#[test]
fn every_cut_of_a_key_file_is_named() {
    for write in [plain, protected] {
        let folder = folder();
        let path = write(folder.path());
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() - 1 {
            fs::write(&path, &whole[..length]).unwrap();
            let error = open(&path, PASSPHRASE).unwrap_err();
            proper(&error, &["restore"]);
            let word = if length == 0 { "is empty" } else { "is cut short" };
            proper(&error, &[word]);
        }
        // The line's end alone says nothing.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        open(&path, PASSPHRASE).unwrap();
    }
}

#[test]
fn no_flipped_bit_leads_to_another_key() {
    for (write, step) in [(plain as fn(&Path) -> PathBuf, 1), (protected, 67)] {
        let folder = folder();
        let path = write(folder.path());
        let whole = fs::read(&path).unwrap();
        let mut refused = 0;
        for bit in (0..8 * whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            match open(&path, PASSPHRASE) {
                // White space at an end of a line.
                Ok(key) => assert_eq!(*key.seed(), SEED, "bit {bit}"),
                Err(error) => {
                    proper(&error, &[]);
                    refused += 1;
                }
            }
        }
        assert!(refused * step > 8 * whole.len() * 9 / 10, "only {refused} were refused");
    }
}

#[test]
fn a_key_that_is_not_that_of_its_vkey_is_refused() {
    let folder = folder();
    let path = plain(folder.path());
    let other = SigningKey::from_seed(KeyName::parse("lab-a.example").unwrap(), &[1; 32]);
    let vkey = path.with_extension("vkey");
    fs::write(&vkey, other.verifier(tlog::KeyKind::Ed25519).to_string()).unwrap();
    proper(&open(&path, "").unwrap_err(), &["does not belong to", "public keys differ", "restore"]);
    for (content, words) in [
        ("", &["vkey: is empty", "backup"][..]),
        ("nonsense", &["vkey: is not a verifier key", "takes its name from the .vkey"]),
    ] {
        fs::write(&vkey, content).unwrap();
        proper(&open(&path, "").unwrap_err(), words);
    }
    fs::remove_file(&vkey).unwrap();
    proper(&open(&path, "").unwrap_err(), &["vkey: No such file", "takes its name from the .vkey"]);
}

#[test]
fn files_that_are_something_else_are_called_what_they_are() {
    let folder = folder();
    let path = plain(folder.path());
    let vkey = fs::read(path.with_extension("vkey")).unwrap();
    for (content, words) in [
        (vkey.as_slice(), "is a public key; name the private .key file"),
        (&[7; 32], "as the key file of a vault does"),
        (b"hello", "is not an Ed25519 private key in PKCS#8 PEM"),
        (b"\xff\xfe\0", "is not an Ed25519 private key in PKCS#8 PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "holds a public key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n", "another type (RSA PRIVATE KEY)"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            "is a damaged key file",
        ),
        (
            // X25519 of RFC 8410's object identifier, otherwise as ours.
            b"-----BEGIN PRIVATE KEY-----\n\
              MC4CAQAwBQYDK2VuBCIEIMrKysrKysrKysrKysrKysrKysrKysrKysrKysrKysrK\n\
              -----END PRIVATE KEY-----\n",
            "another type (X25519), not Ed25519",
        ),
    ] {
        fs::write(&path, content).unwrap();
        proper(&open(&path, "").unwrap_err(), &[words]);
    }
    fs::write(&path, vec![b'-'; 20_000]).unwrap();
    proper(&open(&path, "").unwrap_err(), &["is larger than 16384 bytes"]);
    set_mode(&path, 0o640);
    proper(&open(&path, "").unwrap_err(), &["others may access it", "chmod 600"]);
}

/// An encrypted key file with these parameters; what it holds is never reached.
fn greedy(path: &Path, kdf: pbes2::Kdf) {
    let whole = fs::read_to_string(path).unwrap();
    let (_, document) = pkcs8::SecretDocument::from_pem(&whole).unwrap();
    let mut document = EncryptedPrivateKeyInfoOwned::from_der(document.as_bytes()).unwrap();
    let encryption = document.encryption_algorithm.pbes2().unwrap().encryption;
    document.encryption_algorithm = EncryptionScheme::Pbes2(pbes2::Parameters { kdf, encryption });
    document.encrypted_data = OctetString::new(vec![0; 64]).unwrap();
    fs::write(path, document.to_pem(LineEnding::LF).unwrap()).unwrap();
}

#[test]
fn greedy_parameters_are_refused_before_any_passphrase() {
    let salt = || pbes2::Salt::new([0; 16]).unwrap();
    let scrypt = |cost, block_size, parallelization| {
        pbes2::Kdf::Scrypt(pbes2::ScryptParams {
            salt: salt(),
            cost_parameter: cost,
            block_size,
            parallelization,
            key_length: None,
        })
    };
    let pbkdf2 = |iteration_count| {
        pbes2::Kdf::Pbkdf2(pbes2::Pbkdf2Params {
            salt: salt(),
            iteration_count,
            key_length: None,
            prf: pbes2::Pbkdf2Prf::HmacWithSha256,
        })
    };
    let folder = folder();
    let path = protected(folder.path());
    let whole = fs::read(&path).unwrap();
    for (kdf, words) in [
        (scrypt(1 << 21, 8, 1), "bytes of memory = 2147483648, more than the limit of 1073741824"),
        (scrypt(1 << 20, 9, 1), "bytes of memory = 1207959552"),
        (scrypt(1 << 63, u16::MAX, 1), "more than the limit of 1073741824"),
        (scrypt(1 << 14, 8, 17), "lanes = 17, more than the limit of 16"),
        (pbkdf2(10_000_001), "rounds = 10000001, more than the limit of 10000000"),
    ] {
        fs::write(&path, &whole).unwrap();
        greedy(&path, kdf);
        proper(&KeyFile::read(&path).unwrap_err(), &["asks for", words]);
    }
    // N is greater than 1 and a power of 2 (RFC 7914, section 2).
    for cost in [0, 1, 3 << 12] {
        fs::write(&path, &whole).unwrap();
        greedy(&path, scrypt(cost, 8, 1));
        proper(&KeyFile::read(&path).unwrap_err(), &["is damaged, or its passphrase"]);
    }
    for within in [scrypt(1 << 20, 8, 16), pbkdf2(10_000_000)] {
        fs::write(&path, &whole).unwrap();
        greedy(&path, within);
        assert!(matches!(KeyFile::read(&path).unwrap(), KeyFile::Protected(_)));
    }
}
