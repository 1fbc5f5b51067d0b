//! The vault: a folder with everything a party must keep and nobody else may see.
//!
//! ```text
//! NAME.vault/
//!   party.vault              sealing key, and the recovery key's public half
//!   scopes/<origin-and-exchange>.vault    the last number used, and a payload not yet answered
//!   records/<intent>.vault   what opens one record
//!   records/<intent>.shredded    says that a record was here and was destroyed
//!   trust/<origin>.checkpoint             the newest head verified (signed, no secret)
//!   agreements/<id>.vault    item key and items file of an agreement; made with the first
//! ```
//!
//! Losing the vault loses only the ability to open records; deleting one file of `records`
//! shreds that record.
//!
//! Whoever has a vault open holds a shared lock on its folder; changing its key takes it alone.
//! Whoever signs holds the folder `scopes` alone: two that sign at once could use one number
//! twice, which is evidence against the party.

mod container;
mod documents;
mod kept;
mod rekey;
mod shred;
mod transfer;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tlog::{Hash, KeyName};

pub use container::{ContainerError, VaultKey, VaultKind};
pub use documents::{
    DocumentError, Party, Scope, Shredded, VaultAgreement, VaultItem, VaultRecord,
};
pub use kept::{item_values, vault_item};
pub use rekey::Rekeyed;
pub use transfer::Imported;

use crate::Entropy;
use crate::files::{self, Access, FileError, parent_of};
use container::Keyring;

/// 1 GiB: the values of the largest evaluation that is kept by value.
const MAX_FILE: u64 = 1 << 30;

/// The folders in a vault.
const PARTS: [&str; 3] = ["scopes", "records", "trust"];

/// The folder that vaults have once there is an agreement.
const AGREEMENTS: &str = "agreements";

/// Endings of the files that are sealed.
const SEALED: [&str; 2] = ["vault", "shredded"];

/// The parsers behind the files, without files: for fuzzing, and no promise.
#[doc(hidden)]
pub(crate) mod parsers {
    use super::{
        ContainerError, DocumentError, Entropy, Keyring, Party, Scope, VaultAgreement, VaultKey,
        VaultRecord,
    };
    use zeroize::Zeroizing;

    pub fn seal(plain: &[u8], key: &VaultKey, entropy: &mut impl Entropy) -> Vec<u8> {
        Keyring::new(key.clone()).seal(plain, entropy).expect("a small vault needs 64 MiB")
    }

    pub fn open(bytes: &[u8], key: &VaultKey) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        Keyring::new(key.clone()).open(bytes)
    }

    /// Each reads a document and writes it again.
    pub fn party(bytes: &[u8]) -> Result<Zeroizing<String>, DocumentError> {
        Party::parse(bytes).map(|party| party.to_text())
    }

    pub fn scope(bytes: &[u8]) -> Result<Zeroizing<String>, DocumentError> {
        Scope::parse(bytes).map(|scope| Zeroizing::new(scope.to_text()))
    }

    pub fn agreement(bytes: &[u8]) -> Result<Zeroizing<String>, DocumentError> {
        VaultAgreement::parse(bytes).map(|agreement| agreement.to_text())
    }

    pub fn record(bytes: &[u8]) -> Result<Zeroizing<String>, DocumentError> {
        VaultRecord::parse(bytes).map(|record| record.to_text())
    }
}

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
    #[error("{path}: opens, but is no document of this kind: {cause}; restore it from your backup",
        path = path.display())]
    Document {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: DocumentError,
    },
    /// Another command has the vault open, or is changing its key.
    #[error("{} is in use by another command; run this again when it has ended", .path.display())]
    Busy {
        /// The vault.
        path: PathBuf,
    },
    /// A record of another party, or another record of the same run.
    #[error("{problem}")]
    Unfit {
        /// Why it can't be taken in.
        problem: String,
    },
}

/// One party's vault, and the key that opens it.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    keys: Keyring,
    /// Held for as long as the vault is open.
    _lock: Option<File>,
}

/// While it is held, nobody else signs with the same vault.
#[derive(Debug)]
pub struct Signing {
    _lock: Option<File>,
}

impl Vault {
    /// Makes a new vault; its folder must not exist.
    pub fn create(
        folder: &Path,
        key: VaultKey,
        party: &Party,
        entropy: &mut impl Entropy,
    ) -> Result<Self, VaultError> {
        if files::is_there(folder)? {
            return Err(FileError::new(folder, "exists already and is not overwritten").into());
        }
        for part in PARTS {
            let path = folder.join(part);
            make_private_folder(&path).map_err(|e| FileError::new(&path, e))?;
        }
        let lock = lock(folder, File::try_lock_shared)?;
        let vault = Self { folder: folder.to_owned(), keys: Keyring::new(key), _lock: lock };
        vault.write(&vault.folder.join("party.vault"), party.to_text().as_bytes(), entropy)?;
        files::sync_folder(parent_of(folder))?;
        Ok(vault)
    }

    /// Opens a vault and checks that the key fits it, and that nobody else may look into it.
    pub fn open(folder: &Path, key: VaultKey) -> Result<Self, VaultError> {
        check_there(folder)?;
        let lock = lock(folder, File::try_lock_shared)?;
        let vault = Self { folder: folder.to_owned(), keys: Keyring::new(key), _lock: lock };
        vault.party()?;
        Ok(vault)
    }

    /// What it takes to open the vault in this folder.
    pub fn kind(folder: &Path) -> Result<VaultKind, VaultError> {
        check_there(folder)?;
        let path = folder.join("party.vault");
        let sealed = files::read_own(&path, MAX_FILE)?;
        container::kind(&sealed).map_err(|cause| VaultError::Container { path, cause })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whose vault this is.
    pub fn party(&self) -> Result<Party, VaultError> {
        let path = self.folder.join("party.vault");
        self.read(&path, Party::parse)
    }

    /// The right to sign, which one command at a time has; given back when dropped.
    pub fn sign_alone(&self) -> Result<Signing, VaultError> {
        let lock = lock(&self.folder.join("scopes"), File::try_lock).map_err(|e| match e {
            VaultError::Busy { .. } => VaultError::Busy { path: self.folder.clone() },
            other => other,
        })?;
        Ok(Signing { _lock: lock })
    }

    /// The scope of standalone statements (`exchange` all zeros) or of one exchange.
    pub fn scope(&self, origin: &KeyName, exchange: &Hash) -> Result<Option<Scope>, VaultError> {
        let path = self.scope_path(origin, exchange);
        if !files::is_there(&path)? {
            return Ok(None);
        }
        self.read(&path, Scope::parse).map(Some)
    }

    /// All scopes of a log in which something was said.
    pub fn scopes(&self, origin: &KeyName) -> Result<Vec<Scope>, VaultError> {
        let mut paths = list(&self.folder.join("scopes"))?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "vault"));
        let mut scopes = Vec::new();
        for path in paths {
            scopes.push(self.read(&path, Scope::parse)?);
        }
        scopes.retain(|scope| scope.origin == *origin);
        Ok(scopes)
    }

    /// Durable on return: what a client signs must be on disk before it is signed.
    pub fn put_scope(&self, scope: &Scope, entropy: &mut impl Entropy) -> Result<(), VaultError> {
        let path = self.scope_path(&scope.origin, &scope.exchange);
        self.write(&path, scope.to_text().as_bytes(), entropy)
    }

    /// What this party holds of an agreement; `None` if it has neither proposed nor accepted it
    /// with this vault.
    pub fn agreement(&self, id: &Hash) -> Result<Option<VaultAgreement>, VaultError> {
        let path = self.agreement_path(id);
        if !files::is_there(&path)? {
            return Ok(None);
        }
        self.read(&path, VaultAgreement::parse).map(Some)
    }

    /// Durable on return.
    pub fn put_agreement(
        &self,
        agreement: &VaultAgreement,
        entropy: &mut impl Entropy,
    ) -> Result<(), VaultError> {
        let folder = self.folder.join(AGREEMENTS);
        if !folder.exists() {
            make_private_folder(&folder).map_err(|e| FileError::new(&folder, e))?;
            files::sync_folder(&self.folder)?;
        }
        files::check_private_folder(&folder)?;
        let path = self.agreement_path(&agreement.agreement);
        self.write(&path, agreement.to_text().as_bytes(), entropy)
    }

    /// Durable on return.
    pub fn put_record(
        &self,
        record: &VaultRecord,
        entropy: &mut impl Entropy,
    ) -> Result<(), VaultError> {
        self.write(&self.record_path(&record.intent), record.to_text().as_bytes(), entropy)
    }

    /// What opens the record that this statement attests. A file that doesn't open is an error
    /// only if none of the others is the one.
    pub fn record(&self, id: &Hash) -> Result<Option<VaultRecord>, VaultError> {
        let mut failure = None;
        for path in self.record_files()? {
            match self.read_record(&path) {
                Ok(record) if record.record == Some(*id) => return Ok(Some(record)),
                Ok(_) => {}
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// All records, in the order of their intents.
    pub fn records(&self) -> Result<Vec<VaultRecord>, VaultError> {
        self.record_files()?.iter().map(|path| self.read_record(path)).collect()
    }

    /// The files that hold records, sorted; each is named by its intent.
    pub fn record_files(&self) -> Result<Vec<PathBuf>, VaultError> {
        let mut paths = list(&self.folder.join("records"))?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "vault"));
        Ok(paths)
    }

    /// One of [`record_files`](Self::record_files).
    pub fn read_record(&self, path: &Path) -> Result<VaultRecord, VaultError> {
        self.read(path, VaultRecord::parse)
    }

    /// What interrupted commands left behind. None of it is ever read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>, VaultError> {
        let mut found = list(&self.folder)?;
        for part in PARTS {
            found.extend(list(&self.folder.join(part))?);
        }
        let agreements = self.folder.join(AGREEMENTS);
        if agreements.exists() {
            found.extend(list(&agreements)?);
        }
        found.retain(|path| path.extension().is_some_and(|e| e == "tmp"));
        found.extend(rekey::leftovers(&self.folder));
        Ok(found)
    }

    /// The newest checkpoint of this log that was verified, byte for byte.
    pub fn trusted_checkpoint(&self, origin: &KeyName) -> Result<Option<Vec<u8>>, VaultError> {
        let path = self.trust_path(origin);
        if !files::is_there(&path)? {
            return Ok(None);
        }
        Ok(Some(files::read_own(&path, MAX_FILE)?))
    }

    /// Durable on return. The caller has verified it, and its consistency with the last one.
    pub fn put_trusted_checkpoint(&self, origin: &KeyName, note: &[u8]) -> Result<(), VaultError> {
        Ok(files::write(&self.trust_path(origin), note, Access::Private)?)
    }

    fn record_path(&self, intent: &Hash) -> PathBuf {
        self.folder.join("records").join(format!("{intent}.vault"))
    }

    fn agreement_path(&self, id: &Hash) -> PathBuf {
        self.folder.join(AGREEMENTS).join(format!("{id}.vault"))
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
        let sealed = files::read_own(path, MAX_FILE)?;
        let plain = self
            .keys
            .open(&sealed)
            .map_err(|cause| VaultError::Container { path: path.to_owned(), cause })?;
        parse(&plain).map_err(|cause| VaultError::Document { path: path.to_owned(), cause })
    }

    fn write(
        &self,
        path: &Path,
        plain: &[u8],
        entropy: &mut impl Entropy,
    ) -> Result<(), VaultError> {
        let sealed = self
            .keys
            .seal(plain, entropy)
            .map_err(|cause| VaultError::Container { path: path.to_owned(), cause })?;
        Ok(files::write(path, &sealed, Access::Private)?)
    }
}

/// The folder is a vault that nobody else may look into.
fn check_there(folder: &Path) -> Result<(), VaultError> {
    if !folder.exists() {
        let problem = match rekey::leftovers(folder).as_slice() {
            [] => "is not there; a vault is made by: countersign keygen NAME".to_owned(),
            left => format!(
                "is not there, but {}: changing its key was interrupted; give that folder its \
                 name back",
                left[0].display()
            ),
        };
        return Err(FileError::new(folder, problem).into());
    }
    files::check_private_folder(folder)?;
    for part in PARTS {
        let path = folder.join(part);
        if !path.exists() {
            let problem = format!(
                "is missing; restore it from your backup, or if it was empty run: mkdir -m 700 {}",
                path.display()
            );
            return Err(FileError::new(&path, problem).into());
        }
        files::check_private_folder(&path)?;
    }
    let path = folder.join("party.vault");
    if !path.exists() && !files::with_ending(&path, ".tmp").exists() {
        let problem = "is not there; restore it from your backup, or make a new vault with: \
                       countersign keygen NAME";
        return Err(FileError::new(&path, problem).into());
    }
    Ok(())
}

/// Locks the folder itself, so that no file of its own is needed. Where the system has no locks
/// on folders there is none.
fn lock(
    folder: &Path,
    take: fn(&File) -> Result<(), TryLockError>,
) -> Result<Option<File>, VaultError> {
    let Ok(file) = File::open(folder) else { return Ok(None) };
    match take(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(VaultError::Busy { path: folder.to_owned() }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// What is in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let wrong = |e: std::io::Error| FileError::new(folder, e);
    let mut paths = fs::read_dir(folder)
        .map_err(wrong)?
        .map(|entry| Ok(entry.map_err(wrong)?.path()))
        .collect::<Result<Vec<_>, FileError>>()?;
    paths.sort();
    Ok(paths)
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
