//! The parsers behind a party's files, without files: for fuzzing, and no promise.

use zeroize::Zeroizing;

use crate::keys::pem;
pub use crate::vault::parsers::*;

/// The private key in a file, if it can be had: a passphrase is tried only where deriving a key
/// from it hashes no more than `affordable` bytes.
pub fn key_file(
    bytes: &[u8],
    passphrase: &str,
    affordable: u64,
) -> Result<Option<Zeroizing<[u8; 32]>>, String> {
    match pem::parse(bytes)? {
        pem::Found::Seed(seed) => Ok(Some(seed)),
        pem::Found::Protected(document) if pem::work(&document) <= affordable => {
            Ok(pem::unlock(&document, passphrase))
        }
        pem::Found::Protected(_) => Ok(None),
    }
}

/// A private key as a file holds it without a passphrase.
pub fn key_text(key: &tlog::SigningKey) -> Zeroizing<String> {
    pem::plain(key)
}
