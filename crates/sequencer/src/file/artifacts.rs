//! Artifacts as files. Many threads may upload at once, each into a file of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tlog::Hash;

use super::durable::{Folders, sync_parent};
use crate::artifact::{ArtifactError, ArtifactStore, Meter, Stored, Upload, Verified};
use crate::store::StoreError;

#[derive(Debug)]
pub(super) struct FileArtifacts {
    folders: Arc<Folders>,
    /// Numbers the uploads of this process.
    uploads: AtomicU64,
}

impl FileArtifacts {
    /// Clears what earlier processes left half uploaded. The caller holds the folder's lock.
    pub(super) fn open(folders: Arc<Folders>) -> Result<Self, StoreError> {
        let artifacts = Self { folders, uploads: AtomicU64::new(0) };
        let incoming = artifacts.incoming();
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::Io { path: incoming, source: error });
            }
            _ => artifacts.folders.make(&incoming)?,
        }
        Ok(artifacts)
    }

    fn incoming(&self) -> PathBuf {
        self.folders.root().join("artifacts").join("incoming")
    }

    fn path(&self, digest: &Hash) -> PathBuf {
        let name = digest.to_string();
        self.folders.root().join("artifacts").join(&name[..2]).join(name)
    }
}

impl ArtifactStore for FileArtifacts {
    fn begin(&self, limit: u64) -> Result<Box<dyn Upload>, ArtifactError> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming().join(number.to_string());
        let file = File::create_new(&path).map_err(StoreError::io(&path))?;
        let artifacts = Self { folders: Arc::clone(&self.folders), uploads: AtomicU64::new(0) };
        Ok(Box::new(FileUpload { artifacts, temp: Temp { path, file }, meter: Meter::new(limit) }))
    }

    fn open(&self, digest: &Hash) -> Result<Option<Box<dyn Read + Send>>, ArtifactError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(Verified::new(file, *digest)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path, source }.into()),
        }
    }

    fn length(&self, digest: &Hash) -> Result<Option<u64>, ArtifactError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path, source }.into()),
        }
    }

    fn list(&self) -> Result<Vec<Stored>, ArtifactError> {
        let mut kept = Vec::new();
        for folder in entries(&self.folders.root().join("artifacts"))? {
            // What is half uploaded is no artifact yet.
            if folder == self.incoming() || !folder.is_dir() {
                continue;
            }
            for path in entries(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(digest) = name.and_then(|name| Hash::from_hex(name).ok()) else {
                    continue;
                };
                let length = fs::metadata(&path).map_err(StoreError::io(&path))?.len();
                kept.push(Stored { digest, length });
            }
        }
        Ok(kept)
    }

    fn remove(&self, digest: &Hash) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::Io { path, source: error }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The paths in a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>());
    paths.map_err(StoreError::io(folder))
}

/// A file that goes away unless it is renamed.
struct Temp {
    path: PathBuf,
    file: File,
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Renamed by now, or cleared at the next open at the latest.
        let _ = fs::remove_file(&self.path);
    }
}

struct FileUpload {
    artifacts: FileArtifacts,
    temp: Temp,
    meter: Meter,
}

impl Upload for FileUpload {
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        self.meter.take(chunk)?;
        let Temp { path, file } = &mut self.temp;
        Ok(file.write_all(chunk).map_err(StoreError::io(path))?)
    }

    fn finish(self: Box<Self>, expected: Option<&Hash>) -> Result<Stored, ArtifactError> {
        let Self { artifacts, temp, meter } = *self;
        let stored = meter.finish(expected)?;
        let path = artifacts.path(&stored.digest);
        if let Some(folder) = path.parent() {
            artifacts.folders.make(folder)?;
        }
        temp.file.sync_all().map_err(StoreError::io(&temp.path))?;
        // Over an artifact that is here already: its bytes are the same, unless they are damaged.
        fs::rename(&temp.path, &path).map_err(StoreError::io(&path))?;
        sync_parent(&path)?;
        Ok(stored)
    }
}
