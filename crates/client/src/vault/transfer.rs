//! Records on their way from one vault to another: one record in one file, in the form of all
//! vault files, under a passphrase of its own.

use tlog::Hash;

use super::container::Keyring;
use super::{ContainerError, MAX_FILE, Vault, VaultError, VaultKey, VaultRecord};
use crate::Entropy;
use crate::files;
use std::path::Path;

/// What became of an imported record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is in the vault now.
    New,
    /// The vault had it, just as it is.
    Known,
}

impl Vault {
    /// The record as a file for another vault of the same party.
    pub fn export(
        record: &VaultRecord,
        key: VaultKey,
        entropy: &mut impl Entropy,
    ) -> Result<Vec<u8>, ContainerError> {
        Keyring::new(key).seal(record.to_text().as_bytes(), entropy)
    }

    /// Reads what [`export`](Self::export) made.
    pub fn read_export(path: &Path, key: VaultKey) -> Result<VaultRecord, VaultError> {
        let sealed = files::read(path, MAX_FILE)?;
        let plain = Keyring::new(key)
            .open(&sealed)
            .map_err(|cause| VaultError::Container { path: path.to_owned(), cause })?;
        VaultRecord::parse(&plain)
            .map_err(|cause| VaultError::Document { path: path.to_owned(), cause })
    }

    /// Takes a record in, durable on return. Refuses one of another party, and one that would
    /// replace another record of the same run.
    pub fn import(
        &self,
        record: &VaultRecord,
        entropy: &mut impl Entropy,
    ) -> Result<Imported, VaultError> {
        let owner = self.party()?.name;
        if record.party != owner {
            let problem = format!("the record belongs to {}, the vault to {owner}", record.party);
            return Err(VaultError::Unfit { problem });
        }
        let path = self.record_path(&record.intent);
        if files::is_there(&path)? {
            if self.read_record(&path)?.to_text() == record.to_text() {
                return Ok(Imported::Known);
            }
            let problem = format!(
                "{} holds another record of the same run; shred one of them first",
                path.display()
            );
            return Err(VaultError::Unfit { problem });
        }
        self.put_record(record, entropy)?;
        Ok(Imported::New)
    }
}

impl VaultRecord {
    /// Names that a person may call the record by: that of its attestation, that of its intent.
    pub fn ids(&self) -> impl Iterator<Item = Hash> {
        self.record.into_iter().chain([self.intent])
    }
}
