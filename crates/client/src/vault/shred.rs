//! Shredding a record: what opens it is destroyed, and a note stays behind that says so. The
//! attestation in the log still verifies; nobody can open or prove anything of it again.

use std::path::Path;

use tlog::Hash;

use super::documents::Shredded;
use super::{Vault, VaultError, list};
use crate::Entropy;
use crate::files::{self, with_ending};

impl Vault {
    /// Removes what opens a record, for good: its file in this vault is overwritten and deleted.
    /// Copies of it elsewhere, and what disk or file system keep of old contents, are beyond reach.
    pub fn shred(&self, file: &Path, entropy: &mut impl Entropy) -> Result<(), VaultError> {
        // First: a record that is gone without a word would look like one that never was here.
        // Of a file that doesn't open, its name is known: the id of its intent.
        let by_name = || {
            let bytes: [u8; 32] = hex::decode(file.file_stem()?.to_str()?).ok()?.try_into().ok()?;
            Some(Shredded { record: None, intent: Hash::new(bytes) })
        };
        let note = match self.read_record(file) {
            Ok(record) => Some(Shredded { record: record.record, intent: record.intent }),
            Err(_) => by_name(),
        };
        if let Some(note) = note {
            self.write(&file.with_extension("shredded"), note.to_text().as_bytes(), entropy)?;
        }
        for path in [with_ending(file, ".tmp"), file.to_owned()] {
            if files::is_there(&path)? {
                files::shred(&path, entropy)?;
            }
        }
        Ok(())
    }

    /// What was shredded in this vault and not brought back since, in the order of the intents.
    pub fn shredded(&self) -> Result<Vec<Shredded>, VaultError> {
        let mut paths = list(&self.folder.join("records"))?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "shredded"));
        let mut notes = Vec::new();
        for path in paths {
            if !files::is_there(&path.with_extension("vault"))? {
                notes.push(self.read(&path, Shredded::parse)?);
            }
        }
        Ok(notes)
    }
}
