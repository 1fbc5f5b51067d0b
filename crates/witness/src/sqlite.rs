//! The store as one SQLite file: a row for each log, and one transaction, with one sync, for all
//! checkpoints that come at once. A file for each checkpoint would take two syncs, one of them for
//! the folder, and could not share them between logs.
//!
//! ```text
//! DATA/
//!   witness.db     what was cosigned last of each log, and the latest time that was signed
//!   lock           held as long as the process lives; always empty
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tlog::VerifierKey;

use crate::decision::{Cosigned, State};
use crate::store::{Change, Saboteur, Step, Store, StoreError};

const NAME: &str = "witness.db";

/// "CSwi" in ASCII: what `file` and the check at open know it by.
const APPLICATION: i64 = 0x4353_7769;
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE witness (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        vkey TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        clock INTEGER NOT NULL CHECK (clock >= 0),
        halted TEXT
    ) STRICT;
    CREATE TABLE cosigned (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL CHECK (size >= 0),
        root BLOB NOT NULL CHECK (length(root) = 32),
        time INTEGER NOT NULL CHECK (time > 0),
        note BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// The store of one witness, held by one process.
pub struct SqliteStore {
    connection: Connection,
    folder: PathBuf,
    /// What every write of this process compares: a later process has a higher one.
    epoch: i64,
    saboteur: Option<Saboteur>,
    /// Unlocked by the system when the process ends, however it ends. Declared last, so that the
    /// database closes first.
    _lock: File,
}

impl SqliteStore {
    /// True if there is a store in a folder.
    pub fn exists(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// Removes a store under which nothing was ever signed: what is left of a start that was cut
    /// short before its key was written. False, and nothing is removed, if something was.
    pub fn discard_unused(folder: &Path) -> Result<bool, StoreError> {
        let _lock = lock(folder)?;
        let path = folder.join(NAME);
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let unused = "SELECT NOT EXISTS (SELECT 1 FROM cosigned)
            AND NOT EXISTS (SELECT 1 FROM witness WHERE clock > 0 OR halted IS NOT NULL)";
        let unused: bool = connection.query_row(unused, [], |row| row.get(0))?;
        connection.close().map_err(|(_, error)| error)?;
        if unused {
            fs::remove_file(&path).map_err(StoreError::io(&path))?;
            sync_folder(folder)?;
        }
        Ok(unused)
    }

    /// Makes the store of a key that has never cosigned anything. To make one for any other key
    /// means that it may cosign two histories.
    pub fn create(folder: &Path, key: &VerifierKey) -> Result<Self, StoreError> {
        make_folder(folder)?;
        let lock = lock(folder)?;
        let path = folder.join(NAME);
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        // Made under another name, so that no half of a store is ever taken for one.
        let temporary = folder.join("witness.db.new");
        for leftover in ["witness.db.new", "witness.db.new-wal", "witness.db.new-shm"] {
            match fs::remove_file(folder.join(leftover)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Io { path: folder.join(leftover), source: e });
                }
                _ => {}
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(&temporary, flags)?;
        // A rollback journal leaves one file behind when it closes.
        connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA}"))?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        connection.execute(
            "INSERT INTO witness (id, vkey, epoch, clock) VALUES (1, ?1, 0, 0)",
            [key.to_string()],
        )?;
        connection.execute_batch("COMMIT")?;
        connection.close().map_err(|(_, error)| error)?;
        fs::rename(&temporary, &path).map_err(StoreError::io(&path))?;
        sync_folder(folder)?;
        Self::open_locked(folder, key, lock)
    }

    /// Opens the store of a key.
    pub fn open(folder: &Path, key: &VerifierKey) -> Result<Self, StoreError> {
        if !Self::exists(folder) {
            return Err(StoreError::Absent { path: folder.to_owned() });
        }
        Self::open_locked(folder, key, lock(folder)?)
    }

    fn open_locked(folder: &Path, key: &VerifierKey, lock: File) -> Result<Self, StoreError> {
        if rusqlite::version_number() < 3_051_003 {
            let version = rusqlite::version();
            return Err(StoreError::damaged(format!("SQLite {version} is older than 3.51.3")));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(folder.join(NAME), flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
             PRAGMA wal_autocheckpoint = 4096;",
        )?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0))?;
        let pragma = |name| connection.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
        if mode != "wal" || pragma("synchronous")? != 2 {
            return Err(StoreError::damaged(format!("{NAME} runs with journal mode {mode}")));
        }
        let (application, version) = (pragma("application_id")?, pragma("user_version")?);
        if (application, version) != (APPLICATION, SCHEMA_VERSION) {
            let found = format!("application {application:#x}, schema {version}");
            return Err(StoreError::damaged(format!("{NAME} is of {found}")));
        }
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::damaged(format!("{NAME}: {verdict}")));
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let row: Option<(String, i64, Option<String>)> = transaction
            .query_row(
                "UPDATE witness SET epoch = epoch + 1 WHERE id = 1 RETURNING vkey, epoch, halted",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        let Some((vkey, epoch, halted)) = row else {
            return Err(StoreError::damaged(format!("{NAME} says nothing about its witness")));
        };
        if vkey != key.to_string() {
            return Err(StoreError::OtherKey { path: folder.to_owned(), found: vkey });
        }
        if let Some(why) = halted {
            return Err(StoreError::Halted { why });
        }
        transaction.commit()?;
        let folder = folder.to_owned();
        Ok(Self { connection, folder, epoch, saboteur: None, _lock: lock })
    }

    /// The same store, asking `saboteur` at each step of each commit. For tests.
    pub fn sabotaged(mut self, saboteur: impl FnMut(Step) -> bool + Send + 'static) -> Self {
        self.saboteur = Some(Box::new(saboteur));
        self
    }

    fn pass(saboteur: &mut Option<Saboteur>, step: Step) -> Result<(), StoreError> {
        let breaks = saboteur.as_mut().is_some_and(|saboteur| saboteur(step));
        if breaks { Err(StoreError::Sabotaged(step)) } else { Ok(()) }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<State, StoreError> {
        let clock: i64 =
            self.connection
                .query_row("SELECT clock FROM witness WHERE id = 1", [], |r| r.get(0))?;
        let mut rows =
            self.connection.prepare("SELECT origin, size, root, time, note FROM cosigned")?;
        let rows = rows.query_map([], |row| {
            let head: (i64, [u8; 32]) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, String>(0)?, head, row.get::<_, i64>(3)?, row.get::<_, Vec<u8>>(4)?))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (origin, (size, root), time, note) = row?;
            let wrong = |what: &str| StoreError::damaged(format!("row of {origin}: {what}"));
            let cosigned =
                Cosigned::restore(&note, unsigned(time)?).map_err(|e| wrong(&e.to_string()))?;
            let head = cosigned.head();
            if cosigned.origin() != origin
                || head.size != unsigned(size)?
                || *head.root.as_bytes() != root
            {
                return Err(wrong("is not what its note says"));
            }
            all.push(cosigned);
        }
        Ok(State::new(all, unsigned(clock)?))
    }

    fn commit(&mut self, changes: &[Change], clock: u64) -> Result<(), StoreError> {
        Self::pass(&mut self.saboteur, Step::Begin)?;
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let own = transaction
            .prepare_cached("UPDATE witness SET clock = ?1 WHERE id = 1 AND epoch = ?2")?
            .execute(params![integer(clock)?, self.epoch])?;
        if own != 1 {
            return Err(StoreError::Fenced);
        }
        {
            let mut swap = transaction.prepare_cached(
                "INSERT INTO cosigned (origin, size, root, time, note) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (origin) DO UPDATE SET
                     size = excluded.size, root = excluded.root, time = excluded.time,
                     note = excluded.note
                 WHERE size = ?6 AND root = ?7 AND time <= excluded.time",
            )?;
            for Change { before, after } in changes {
                let head = after.head();
                let swapped = swap.execute(params![
                    after.origin(),
                    integer(head.size)?,
                    head.root.as_bytes(),
                    integer(after.time())?,
                    after.note().as_bytes(),
                    integer(before.size)?,
                    before.root.as_bytes(),
                ])?;
                if swapped != 1 {
                    return Err(StoreError::Fenced);
                }
            }
        }
        Self::pass(&mut self.saboteur, Step::Written)?;
        transaction.commit()?;
        Self::pass(&mut self.saboteur, Step::Committed)
    }

    fn halt(&mut self, why: &str) -> Result<(), StoreError> {
        self.connection.execute("UPDATE witness SET halted = ?1 WHERE id = 1", [why])?;
        Ok(())
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Makes the folder and those above it, each durable in its parent.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(StoreError::io(folder))?;
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io(folder))
}

/// Keeps out other processes of this machine; the epoch keeps out those that a lock doesn't reach.
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

/// SQLite's integers are signed; so are sizes and times of C2SP, in effect.
fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::damaged(format!("{value} is beyond 2^63")))
}

fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::damaged(format!("{value} is negative")))
}
