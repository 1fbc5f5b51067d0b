//! The vault: a folder with everything a party must keep and nobody else may see.
//!
//! ```text
//! NAME.vault/
//!   party.vault              sealing key, and the recovery key's public half
//!   scopes/<origin-and-exchange>.vault    the last number used, and a payload not yet answered
//!   records/<intent>.vault   what opens one record
//!   trust/<origin>.checkpoint             the newest head verified (signed, no secret)
//! ```
//!
//! Losing the vault loses only the ability to open records; deleting one file of `records`
//! shreds that record.

mod container;
mod documents;

use std::fs;
use std::path::{Path, PathBuf};

use tlog::{Hash, KeyName};

pub use container::{ContainerError, VaultKey};
pub use documents::{DocumentError, Party, Scope, VaultItem, VaultRecord};

use crate::Entropy;
use crate::files::{self, Access, FileError};
use container::{open, seal};

/// 1 GiB: the values of the largest evaluation that is kept by value.
const MAX_FILE: u64 = 1 << 30;

/// A vault could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is there but doesn't open.
    #[error("{path}: {cause}", path = path.display())]
    Container {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: ContainerError,
    },
    /// A file opens, but doesn't hold what it should.
    #[error("{path}: {cause}", path = path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: DocumentError,
    },
}

/// One party's vault, and the key that opens it.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    key: VaultKey,
}

impl Vault {
    /// Makes a new vault; its folder must not exist.
    pub fn create(
        folder: &Path,
        key: VaultKey,
        party: &Party,
        entropy: &mut impl Entropy,
    ) -> Result<Self, VaultError> {
        if folder.exists() {
            return Err(FileError::new(folder, "exists already and is not overwritten").into());
        }
        for part in ["scopes", "records", "trust"] {
            let path = folder.join(part);
            make_private_folder(&path).map_err(|e| FileError::new(&path, e))?;
        }
        let vault = Self { folder: folder.to_owned(), key };
        vault.write(&vault.folder.join("party.vault"), party.to_text().as_bytes(), entropy)?;
        Ok(vault)
    }

    /// Opens a vault and checks that the key fits it.
    pub fn open(folder: &Path, key: VaultKey) -> Result<Self, VaultError> {
        let vault = Self { folder: folder.to_owned(), key };
        vault.party()?;
        Ok(vault)
    }

    /// Whose vault this is.
    pub fn party(&self) -> Result<Party, VaultError> {
        let path = self.folder.join("party.vault");
        if !path.exists() {
            let problem = "is not there; a vault is made by: countersign keygen NAME";
            return Err(FileError::new(&path, problem).into());
        }
        self.read(&path, Party::parse)
    }

    /// The scope of standalone statements (`exchange` all zeros) or of one exchange.
    pub fn scope(&self, origin: &KeyName, exchange: &Hash) -> Result<Option<Scope>, VaultError> {
        let path = self.scope_path(origin, exchange);
        if !path.exists() {
            return Ok(None);
        }
        self.read(&path, Scope::parse).map(Some)
    }

    /// Durable on return: what a client signs must be on disk before it is signed.
    pub fn put_scope(&self, scope: &Scope, entropy: &mut impl Entropy) -> Result<(), VaultError> {
        let path = self.scope_path(&scope.origin, &scope.exchange);
        self.write(&path, scope.to_text().as_bytes(), entropy)
    }

    /// Durable on return.
    pub fn put_record(
        &self,
        record: &VaultRecord,
        entropy: &mut impl Entropy,
    ) -> Result<(), VaultError> {
        let path = self.folder.join("records").join(format!("{}.vault", record.intent));
        self.write(&path, record.to_text().as_bytes(), entropy)
    }

    /// What opens the record that this statement attests.
    pub fn record(&self, id: &Hash) -> Result<Option<VaultRecord>, VaultError> {
        Ok(self.records()?.into_iter().find(|r| r.record == Some(*id)))
    }

    /// All records, in no particular order.
    pub fn records(&self) -> Result<Vec<VaultRecord>, VaultError> {
        let folder = self.folder.join("records");
        let wrong = |e: std::io::Error| FileError::new(&folder, e);
        let mut records = Vec::new();
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.extension().is_some_and(|e| e == "vault") {
                records.push(self.read(&path, VaultRecord::parse)?);
            }
        }
        Ok(records)
    }

    /// The newest checkpoint of this log that was verified, byte for byte.
    pub fn trusted_checkpoint(&self, origin: &KeyName) -> Result<Option<Vec<u8>>, VaultError> {
        let path = self.trust_path(origin);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(files::read(&path, MAX_FILE)?))
    }

    /// Durable on return. The caller has verified it, and its consistency with the last one.
    pub fn put_trusted_checkpoint(&self, origin: &KeyName, note: &[u8]) -> Result<(), VaultError> {
        Ok(files::write(&self.trust_path(origin), note, Access::Private)?)
    }

    fn scope_path(&self, origin: &KeyName, exchange: &Hash) -> PathBuf {
        let name = Hash::of(&[origin.as_str().as_bytes(), &[0], exchange.as_bytes()]);
        self.folder.join("scopes").join(format!("{name}.vault"))
    }

    fn trust_path(&self, origin: &KeyName) -> PathBuf {
        let name = Hash::of(&[origin.as_str().as_bytes()]);
        self.folder.join("trust").join(format!("{name}.checkpoint"))
    }

    fn read<T>(
        &self,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> Result<T, DocumentError>,
    ) -> Result<T, VaultError> {
        let sealed = files::read_private(path, MAX_FILE)?;
        let plain = open(&sealed, &self.key)
            .map_err(|cause| VaultError::Container { path: path.to_owned(), cause })?;
        parse(&plain).map_err(|cause| VaultError::Document { path: path.to_owned(), cause })
    }

    fn write(
        &self,
        path: &Path,
        plain: &[u8],
        entropy: &mut impl Entropy,
    ) -> Result<(), VaultError> {
        let sealed = seal(plain, &self.key, entropy);
        Ok(files::write(path, &sealed, Access::Private)?)
    }
}

#[cfg(unix)]
fn make_private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private_folder(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
}
