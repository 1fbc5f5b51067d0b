//! The store in a folder of one machine.
//!
//! ```text
//! lock                  held as long as a writer lives; always empty
//! log.db                head, staged batches, index (SQLite, bundled)
//! log.sums              a checksum of each of its pages
//! tile/<L>/<N>          full hash tiles, immutable
//! tile/entries/<N>      full entry bundles, immutable
//! artifacts/<hh>/<hex>  artifacts by SHA-256
//! artifacts/incoming/   uploads under way; emptied at open
//! ```
//! Tiles are those of C2SP tlog-tiles, so any web server and any reader can use the folder.
//! Partial tiles are not in it: their entries are in the staged batches.

mod artifacts;
pub(crate) mod database;
mod durable;
pub(crate) mod sums;
pub(crate) mod wal;

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tlog::{Hash, TilePath};

use crate::artifact::ArtifactStore;
use crate::entry::StatementKey;
use crate::fault::Failpoints;
use crate::store::{Claim, Commit, StagedBatch, Store, StoreError, StoreReads};
use artifacts::FileArtifacts;
use database::Database;
use durable::Folders;

/// A log's folder, opened by its one writer.
#[derive(Debug)]
pub struct FileStore {
    database: Database,
    folders: Arc<Folders>,
    reads: Arc<FileReads>,
    artifacts: Arc<FileArtifacts>,
    points: Failpoints,
    /// Unlocked by the system when the process ends, however it ends. Declared last, so that the
    /// database is closed before another writer can come in.
    _lock: File,
}

impl FileStore {
    /// Makes the folder, where needed, and an empty database in it. A log that is there already
    /// is opened as it is; [`Log::create`](crate::Log::create) will refuse it.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(StoreError::io(folder))?;
        durable::make_root(&folder)?;
        Self::start(folder, database::Missing::Create, Failpoints::none())
    }

    /// Opens the folder of a log.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, Failpoints::none())
    }

    /// Opens the folder of a log with faults at the places between its durable steps.
    pub fn open_with(folder: &Path, points: Failpoints) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(StoreError::io(folder))?;
        if !folder.join(database::NAME).is_file() {
            return Err(StoreError::Absent { path: folder });
        }
        Self::start(folder, database::Missing::Refuse, points)
    }

    fn start(
        folder: PathBuf,
        missing: database::Missing,
        points: Failpoints,
    ) -> Result<Self, StoreError> {
        let lock = lock(&folder)?;
        let folders = Arc::new(Folders::new(folder.clone()));
        let database = Database::open(&folders, missing, points.clone())?;
        let artifacts = Arc::new(FileArtifacts::open(Arc::clone(&folders))?);
        let reads = Arc::new(FileReads { folder, idle: Mutex::default() });
        Ok(Self { database, folders, reads, artifacts, points, _lock: lock })
    }
}

impl Drop for FileStore {
    /// Closes the readers' connections first: the last one to close folds the write-ahead log into
    /// the database, which only the writer's can.
    fn drop(&mut self) {
        self.reads.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Takes the lock, which keeps out other processes of this machine. The epoch in the head row
/// keeps out those that a lock doesn't reach: network file systems, copied folders.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
    }
}

impl Store for FileStore {
    fn reads(&self) -> Arc<dyn StoreReads> {
        Arc::<FileReads>::clone(&self.reads)
    }

    fn artifacts(&self) -> Arc<dyn ArtifactStore> {
        Arc::<FileArtifacts>::clone(&self.artifacts)
    }

    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.database.create(checkpoint)
    }

    fn claim(&mut self) -> Result<Claim, StoreError> {
        self.database.claim()
    }

    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        self.database.staged()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.database.commit(commit)
    }

    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError> {
        let place = path.to_string();
        let file = self.folders.root().join(&place);
        match fs::read(&file) {
            Ok(stored) if stored == bytes => self.folders.sync_file(&file),
            Ok(_) => Err(StoreError::Conflict { path: *path }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.folders.publish(&file, bytes, &self.points)
            }
            Err(source) => Err(StoreError::Io { path: file, source }),
        }
    }

    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        self.database.unstage(boundary)
    }
}

/// Reading connections: one for each thread that reads at the same time, kept for the next one.
#[derive(Debug)]
struct FileReads {
    folder: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// 8 × 512 KiB of page cache; more readers at once open a connection for their one question.
const IDLE_CONNECTIONS: usize = 8;

impl FileReads {
    fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // The list is never left half changed.
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut connection = match waiting {
            Some(connection) => connection,
            None => database::open_reader(&self.folder)?,
        };
        let answer = read(&mut connection)?;
        let mut idle = idle();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
        Ok(answer)
    }
}

impl StoreReads for FileReads {
    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        let file = self.folder.join(path.to_string());
        match fs::read(&file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path: file, source }),
        }
    }

    fn find_leaves(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        self.with(|connection| {
            database::find(connection, database::FIND_LEAF, leaves.iter().map(Hash::as_bytes))
        })
    }

    fn find_keys(&self, keys: &[StatementKey]) -> Result<Vec<Option<u64>>, StoreError> {
        self.with(|connection| {
            database::find(connection, database::FIND_KEY, keys.iter().map(StatementKey::as_bytes))
        })
    }
}
