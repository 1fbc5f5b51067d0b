//! Another key for a whole vault: all of it is sealed again in a new folder, which then takes the
//! place of the old one. Until then the old one stands, untouched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::container::Keyring;
use super::{MAX_FILE, SEALED, Vault, VaultError, VaultKey, list, lock, make_private_folder};
use crate::Entropy;
use crate::files::{self, Access, FileError, parent_of, with_ending};

/// The new vault until it takes the place of the old one; then, until it is gone, the old one.
const NEW: &str = ".rekeying";
/// Where the old one waits if the system can't exchange two folders in one step.
const OLD: &str = ".rekeyed";

/// A vault under its new key.
#[derive(Debug)]
pub struct Rekeyed {
    /// The vault.
    pub vault: Vault,
    /// Why the old one, which still opens with the old key, could not be removed.
    pub left: Option<FileError>,
}

impl Vault {
    /// Seals the vault under another key, and gives the old files up. Fails without any change if
    /// another command has the vault open, or if a file doesn't open. After any other error the
    /// vault opens with one of the two keys.
    pub fn rekey(self, key: VaultKey, entropy: &mut impl Entropy) -> Result<Rekeyed, VaultError> {
        let Self { folder: named, keys, _lock: shared } = self;
        // Where a link leads to is where the new vault must be.
        let folder = fs::canonicalize(&named).map_err(|e| FileError::new(&named, e))?;
        drop(shared);
        let alone = lock(&folder, File::try_lock)?;
        let staging = with_ending(&folder, NEW);
        remove(&staging, entropy)?;
        let new_keys = Keyring::new(key);
        let copy = Copy { keys: &keys, new_keys: &new_keys };
        if let Err(error) = copy.folder(&folder, &staging, entropy) {
            // Tried again at the next call; what matters is the cause.
            let _ = remove(&staging, entropy);
            return Err(error);
        }
        let lock = lock(&staging, File::try_lock_shared)?;
        let old = exchange(&staging, &folder).map_err(|e| FileError::new(&folder, e))?;
        files::sync_folder(parent_of(&folder))?;
        let left = remove(&old, entropy).err();
        drop(alone);
        Ok(Rekeyed { vault: Self { folder: named, keys: new_keys, _lock: lock }, left })
    }
}

/// What an interrupted change of the key left beside the vault.
pub(super) fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    [OLD, NEW]
        .map(|ending| with_ending(&folder, ending))
        .into_iter()
        .filter(|p| p.exists())
        .collect()
}

struct Copy<'a> {
    keys: &'a Keyring,
    new_keys: &'a Keyring,
}

impl Copy<'_> {
    /// Everything but leftovers: what is no vault file is copied as it is. Durable on return, but
    /// for the name of `to` itself.
    fn folder(&self, from: &Path, to: &Path, entropy: &mut impl Entropy) -> Result<(), VaultError> {
        make_private_folder(to).map_err(|e| FileError::new(to, e))?;
        let mut paths = list(from)?;
        // First, since what new files are sealed under follows from it.
        paths.sort_by_key(|path| path.is_dir());
        for path in paths {
            let Some(name) = path.file_name() else { continue };
            let target = to.join(name);
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            files::refuse_link(&path)?;
            if path.is_dir() {
                self.folder(&path, &target, entropy)?;
            } else if SEALED.contains(&ending) {
                let wrong = |cause| VaultError::Container { path: path.clone(), cause };
                let plain = self.keys.open(&files::read_own(&path, MAX_FILE)?).map_err(wrong)?;
                let sealed = self.new_keys.seal(&plain, entropy).map_err(wrong)?;
                files::write(&target, &sealed, Access::Private)?;
            } else if ending != "tmp" {
                files::write(&target, &files::read(&path, MAX_FILE)?, Access::Private)?;
            }
        }
        Ok(files::sync_folder(to)?)
    }
}

/// Puts the new folder in the old one's place and says where the old one is now.
fn exchange(new: &Path, old: &Path) -> std::io::Result<PathBuf> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(new.to_owned());
        }
    }
    // Not in one step here: between the two there is no vault, and its absence says so.
    let aside = with_ending(old, OLD);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    Ok(aside)
}

/// Overwrites and removes a folder of ours, if it is there.
fn remove(folder: &Path, entropy: &mut impl Entropy) -> Result<(), FileError> {
    if !files::is_there(folder)? {
        return Ok(());
    }
    files::refuse_link(folder)?;
    for path in list(folder)? {
        if path.is_dir() && !path.is_symlink() {
            remove(&path, entropy)?;
        } else {
            files::shred(&path, entropy)?;
        }
    }
    fs::remove_dir(folder).map_err(|e| FileError::new(folder, e))
}
