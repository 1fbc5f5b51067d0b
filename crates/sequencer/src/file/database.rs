//! The database of a log: head, staged batches, index. SQLite is the bundled one, since versions
//! before 3.51.3 can corrupt a write-ahead log that two connections use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tlog::{Hash, TreeHead, encode_bundle};

use super::durable::{self, Folders};
use super::sums::{PageSum, Sums, page_sum};
use super::wal;
use crate::fault::Failpoints;
use crate::store::{Claim, Commit, StagedBatch, StoreError};

pub(crate) const NAME: &str = "log.db";
pub(crate) const FIND_LEAF: &str = "SELECT position FROM leaf WHERE hash = ?1";
pub(crate) const FIND_KEY: &str = "SELECT position FROM statement WHERE key = ?1";

/// "CSgn" in ASCII: what `file` and the check at open know a log's database by.
pub(crate) const APPLICATION: i64 = 0x4353_676e;
pub(crate) const SCHEMA_VERSION: i64 = 1;

/// Tables without row ids are one B-tree instead of two, and keys are whole: a cut one could be
/// made to collide.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE head (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch INTEGER NOT NULL CHECK (epoch >= 0),
        size INTEGER NOT NULL CHECK (size >= 0),
        root BLOB NOT NULL CHECK (length(root) = 32),
        checkpoint BLOB NOT NULL
    ) STRICT;
    CREATE TABLE staged (
        start INTEGER PRIMARY KEY CHECK (start >= 0),
        count INTEGER NOT NULL CHECK (count > 0),
        entries BLOB NOT NULL
    ) STRICT;
    CREATE TABLE leaf (
        hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
        position INTEGER NOT NULL CHECK (position >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE statement (
        key BLOB PRIMARY KEY CHECK (length(key) = 32),
        position INTEGER NOT NULL CHECK (position >= 0)
    ) STRICT, WITHOUT ROWID;
";

/// What to do about a database that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Refuse,
}

/// The write-ahead log is copied back into the database when it has this many frames of 4 KiB,
/// 32 MiB, instead of SQLite's 1,000: so most pages are written back once for many commits.
const FOLD: u32 = 8_192;

/// The writing connection, of which there is one.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    wal: PathBuf,
    sums: Sums,
    /// Frames in the write-ahead log after the newest commit of this connection; 0 before it.
    frames: Arc<AtomicU32>,
    /// Up to where the sums know the write-ahead log.
    summed: Option<wal::Position>,
    /// With how many frames it is copied back next.
    fold_at: u32,
    /// True after an error: the state is unknown then, and left as it is for the next open.
    failed: bool,
    points: Failpoints,
}

impl Database {
    pub(super) fn open(
        folders: &Folders,
        missing: Missing,
        points: Failpoints,
    ) -> Result<Self, StoreError> {
        if rusqlite::version_number() < 3_051_003 {
            let version = rusqlite::version();
            return Err(StoreError::damaged(format!("SQLite {version} is older than 3.51.3")));
        }
        let path = folders.root().join(NAME);
        let mut connection = connect(&path, missing)?;
        let page = u32::try_from(pragma(&connection, "page_size")?)
            .map_err(|_| StoreError::damaged("log.db has pages of no size"))?;
        let sums = match Sums::open(folders, page)? {
            Some(sums) => sums,
            // It is new, or was made by an earlier version: its pages are taken as they are.
            None => {
                let left: i64 =
                    connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                if left != 0 {
                    return Err(StoreError::damaged("log.db is in use by another program"));
                }
                // Whoever closes a file gives up all locks that the process has on it, SQLite's too.
                drop(connection);
                let sums = Sums::make(folders, page, &points)?;
                connection = connect(&path, missing)?;
                sums
            }
        };
        let frames = Arc::new(AtomicU32::new(0));
        let after_commit = Arc::clone(&frames);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames| {
            after_commit.store(u32::try_from(frames).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))?;
        let wal = wal::path_of(&path);
        let (summed, failed) = (None, false);
        Ok(Self { connection, wal, sums, frames, summed, fold_at: FOLD, failed, points })
    }

    pub(super) fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        let root = TreeHead::EMPTY.root;
        let inserted = self.durably(|connection, _| {
            Ok(connection.execute(
                "INSERT INTO head (id, epoch, size, root, checkpoint) VALUES (1, 0, 0, ?1, ?2)
                 ON CONFLICT DO NOTHING",
                params![root.as_bytes(), checkpoint],
            )?)
        })?;
        if inserted == 1 { Ok(()) } else { Err(StoreError::Exists) }
    }

    pub(super) fn claim(&mut self) -> Result<Claim, StoreError> {
        let claimed = self.durably(|connection, _| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let claimed = transaction
                .query_row(
                    "UPDATE head SET epoch = epoch + 1 WHERE id = 1
                     RETURNING epoch, size, root, checkpoint",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                )
                .optional()?;
            transaction.commit()?;
            Ok(claimed)
        })?;
        let (epoch, size, root, checkpoint) = claimed.ok_or(StoreError::Headless)?;
        let head = TreeHead { size: unsigned(size)?, root: Hash::new(root) };
        Ok(Claim { epoch: unsigned(epoch)?, head, checkpoint })
    }

    pub(super) fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        let mut statement =
            self.connection.prepare("SELECT start, count, entries FROM staged ORDER BY start")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?))
        })?;
        rows.map(|row| {
            let (start, count, blob) = row?;
            let entries = split(&blob)
                .filter(|entries| i64::try_from(entries.len()) == Ok(count))
                .ok_or_else(|| StoreError::damaged(format!("staged batch at {start}")))?;
            Ok(StagedBatch { start: unsigned(start)?, entries })
        })
        .collect()
    }

    pub(super) fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.durably(|connection, points| swap(connection, commit, points))
    }

    pub(super) fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        self.durably(|connection, _| {
            connection
                .prepare_cached("DELETE FROM staged WHERE start + count <= ?1")?
                .execute([integer(boundary)?])?;
            Ok(())
        })
    }

    /// Runs one transaction, and copies the write-ahead log back when it has grown long.
    fn durably<T>(
        &mut self,
        run: impl FnOnce(&mut Connection, &Failpoints) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = run(&mut self.connection, &self.points).and_then(|done| {
            if self.frames.load(Ordering::Relaxed) >= self.fold_at {
                self.fold()?;
            }
            Ok(done)
        });
        self.failed |= result.is_err();
        result
    }

    /// Copies the write-ahead log into the database, after the sums of its pages. True if nothing is
    /// left that a reader still needs.
    fn fold(&mut self) -> Result<bool, StoreError> {
        let (reached, changed) = self.read_wal()?;
        let (found, written) =
            (reached.map_or(0, |p| p.frames()), self.frames.load(Ordering::Relaxed));
        if found < written {
            // SQLite would copy what it has written without looking at it again.
            let what = format!("frame {} of {NAME}-wal is not what was written", found + 1);
            return Err(StoreError::damaged(what));
        }
        self.points.pass("fold:read")?;
        self.sums.record(&changed)?;
        self.summed = reached;
        self.points.pass("fold:summed")?;
        let (busy, there, copied): (i64, i64, i64) =
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        self.points.pass("fold:copied")?;
        let whole = busy == 0 && there == copied;
        // While readers need what is there it grows on: ask again from time to time.
        self.fold_at = if whole { FOLD } else { found.saturating_add(FOLD / 8) };
        Ok(whole)
    }

    /// The sums of the pages that were committed since the last time, and up to where that goes.
    fn read_wal(&self) -> Result<(Option<wal::Position>, BTreeMap<u32, PageSum>), StoreError> {
        let wrong = || StoreError::io(&self.wal);
        let mut reader = match wal::Reader::open(&self.wal, self.summed).map_err(wrong())? {
            wal::Opened::Sound(reader) => reader,
            wal::Opened::Empty | wal::Opened::Damaged => return Ok((None, BTreeMap::new())),
        };
        let (mut committed, mut sums) = (reader.position(), BTreeMap::new());
        let mut pending = BTreeMap::new();
        while let wal::Piece::Frame(frame) = reader.next().map_err(wrong())? {
            pending.insert(frame.page, page_sum(frame.page, frame.bytes));
            if frame.commit {
                sums.append(&mut pending);
                committed = reader.position();
            }
        }
        Ok((Some(committed), sums))
    }
}

impl Drop for Database {
    /// Leaves one file, if all went well; else what a killed process leaves.
    fn drop(&mut self) {
        if !self.failed && self.fold().unwrap_or(false) {
            // Whoever opens the log next does not need it; the write-ahead log stays if it fails.
            let _ =
                self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

/// Opens the database, makes it if that is wanted, and looks whether it is one of ours.
fn connect(path: &Path, missing: Missing) -> Result<Connection, StoreError> {
    let create = match missing {
        Missing::Create => OpenFlags::SQLITE_OPEN_CREATE,
        Missing::Refuse => OpenFlags::empty(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let mut connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    // Of what SQLite copies back by itself the sums would not know.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A commit of 256 entries touches some 500 pages of the index at random: 4 MiB of cache hold
    // the inner nodes of a million entries, and what is not in it is in the system's. 16 MiB
    // were no faster at 10⁵.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -4096; PRAGMA wal_autocheckpoint = 0;",
    )?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0))?;
    let synchronous = pragma(&connection, "synchronous")?;
    if mode != "wal" || synchronous != 2 {
        let found = format!("journal mode {mode}, synchronous {synchronous}");
        return Err(StoreError::damaged(format!("log.db runs with {found}")));
    }
    match (pragma(&connection, "application_id")?, pragma(&connection, "user_version")?) {
        (APPLICATION, SCHEMA_VERSION) => {}
        (0, 0) if is_empty(&connection)? => {
            if missing == Missing::Refuse {
                let folder = path.parent().unwrap_or(path);
                return Err(StoreError::Absent { path: folder.to_owned() });
            }
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
            durable::sync_parent(path)?;
        }
        (application, version) => {
            let found = format!("application {application:#x}, schema {version}");
            return Err(StoreError::damaged(format!("log.db is of {found}")));
        }
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::damaged(format!("log.db: {verdict}")));
    }
    Ok(connection)
}

/// Stages the batch, indexes its leaves and swaps the head, in one transaction.
fn swap(
    connection: &mut Connection,
    commit: &Commit<'_>,
    points: &Failpoints,
) -> Result<(), StoreError> {
    let Commit { epoch, from, to, checkpoint, leaves } = commit;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let swapped = transaction
        .prepare_cached(
            "UPDATE head SET size = ?1, root = ?2, checkpoint = ?3
             WHERE id = 1 AND epoch = ?4 AND size = ?5 AND root = ?6",
        )?
        .execute(params![
            integer(to.size)?,
            to.root.as_bytes(),
            checkpoint,
            integer(*epoch)?,
            integer(from.size)?,
            from.root.as_bytes(),
        ])?;
    if swapped != 1 {
        return Err(StoreError::Fenced { epoch: *epoch, size: from.size });
    }
    let blob = encode_bundle(leaves.iter().map(|leaf| &**leaf.bytes()));
    transaction
        .prepare_cached("INSERT INTO staged (start, count, entries) VALUES (?1, ?2, ?3)")?
        .execute(params![integer(from.size)?, integer(leaves.len() as u64)?, blob])?;
    {
        let mut leaf_row =
            transaction.prepare_cached("INSERT INTO leaf (hash, position) VALUES (?1, ?2)")?;
        let mut key_row =
            transaction.prepare_cached("INSERT INTO statement (key, position) VALUES (?1, ?2)")?;
        for (index, leaf) in (from.size..).zip(*leaves) {
            let index = integer(index)?;
            leaf_row.execute(params![leaf.hash().as_bytes(), index])?;
            key_row.execute(params![leaf.key().as_bytes(), index])?;
        }
    }
    points.pass("commit:written")?;
    Ok(transaction.commit()?)
}

/// A connection that can't write. SQLite empties its cache after each commit of the writer, so it
/// needs no more than what one lookup of many keys goes through again and again: inner nodes.
pub(super) fn open_reader(folder: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(NAME), flags)?;
    configure(&connection)?;
    connection.execute_batch("PRAGMA cache_size = -512;")?;
    Ok(connection)
}

/// Looks each key up, all in one view of the database.
pub(super) fn find<'a>(
    connection: &mut Connection,
    query: &str,
    keys: impl Iterator<Item = &'a [u8; 32]>,
) -> Result<Vec<Option<u64>>, StoreError> {
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached(query)?;
    keys.map(|key| {
        let found = statement.query_row([key], |row| row.get(0)).optional()?;
        found.map(unsigned).transpose()
    })
    .collect()
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )?;
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

/// The entries of a staged blob, which is written like a bundle of any width.
pub(crate) fn split(mut blob: &[u8]) -> Option<Vec<Arc<[u8]>>> {
    let mut entries = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.into());
        blob = rest;
    }
    Some(entries)
}

/// SQLite's integers are signed; sizes and epochs stay far below 2^63.
fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::damaged(format!("{value} is beyond 2^63")))
}

fn unsigned(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::damaged(format!("{value} is negative")))
}
