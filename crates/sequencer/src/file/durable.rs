//! Files and folders that a power cut can no longer take away.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::fault::Failpoints;
use crate::store::StoreError;

/// Makes the data folder and those above it, each durable in its parent. Nobody but its owner may
/// look into it.
pub(super) fn make_root(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_root(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(StoreError::io(folder))?;
    sync_parent(folder)
}

/// Makes the entry of a file or folder in its parent durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(StoreError::io(parent))
}

/// The folders below the root, each made durable once in the life of the process: one that a
/// killed process left behind may not be durable yet.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { durable: Mutex::new(BTreeSet::from([root.clone()])), root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns once the folder exists and is durable.
    pub(super) fn make(&self, folder: &Path) -> Result<(), StoreError> {
        // A set of paths is never left half changed.
        let known = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(folder) {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.make(parent)?;
        }
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(StoreError::Io { path: folder.to_owned(), source }),
        }
        sync_parent(folder)?;
        known().insert(folder.to_owned());
        Ok(())
    }

    /// Returns once a power cut can no longer lose the new file. After an error the state is
    /// unknown: a repeated sync may report success for pages that are lost.
    pub(super) fn publish(
        &self,
        path: &Path,
        bytes: &[u8],
        points: &Failpoints,
    ) -> Result<(), StoreError> {
        let Some(folder) = path.parent() else {
            return Err(StoreError::damaged(format!("{} is not a file", path.display())));
        };
        self.make(folder)?;
        let place = path.strip_prefix(&self.root).unwrap_or(path).display();
        let temp = path.with_extension("tmp");
        // Held open from before the rename, so that an error of writing it back is not lost.
        let parent = File::open(folder).map_err(StoreError::io(folder))?;
        let mut file = File::create(&temp).map_err(StoreError::io(&temp))?;
        points.pass(format_args!("{place}:made"))?;
        file.write_all(bytes).map_err(StoreError::io(&temp))?;
        points.pass(format_args!("{place}:written"))?;
        file.sync_all().map_err(StoreError::io(&temp))?;
        points.pass(format_args!("{place}:synced"))?;
        fs::rename(&temp, path).map_err(StoreError::io(path))?;
        points.pass(format_args!("{place}:renamed"))?;
        parent.sync_all().map_err(StoreError::io(folder))
    }

    /// Makes a file durable that a killed process may have left renamed, but not synced.
    pub(super) fn sync_file(&self, path: &Path) -> Result<(), StoreError> {
        if let Some(folder) = path.parent() {
            self.make(folder)?;
        }
        File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io(path))?;
        sync_parent(path)
    }
}
