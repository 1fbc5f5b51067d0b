//! All rows of `log.db`, read without changing a byte of the folder, and what is wrong with the
//! file as a database. Its bytes as such are the matter of [`pages`](super::pages).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row};
use tlog::{Hash, TreeHead};

use super::finding::{FolderFinding, MAX_FINDINGS, Remedy};
use super::pages::{self, Wal};
use crate::file::database::{
    APPLICATION, FIND_KEY, FIND_LEAF, NAME, SCHEMA, SCHEMA_VERSION, split,
};
use crate::file::wal::path_of;
use crate::store::{StagedBatch, StoreError};

/// The head row.
#[derive(Debug)]
pub(super) struct HeadRow {
    pub(super) head: TreeHead,
    pub(super) checkpoint: Vec<u8>,
}

/// 32 bytes for each entry, by its position. False if the table could not be read to its end.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) by_position: BTreeMap<u64, [u8; 32]>,
    pub(super) whole: bool,
}

/// What the database says.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) findings: Vec<FolderFinding>,
    pub(super) head: Option<HeadRow>,
    /// By start; those that could be read.
    pub(super) staged: Vec<StagedBatch>,
    pub(super) leaves: Index,
    pub(super) keys: Index,
    /// True if all rows could be read, and each by itself is as it should be.
    pub(super) intact: bool,
}

impl Rows {
    /// Reads what there is. An error is one of the file system; damage is a finding.
    pub(super) fn load(
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        let path = folder.join(NAME);
        if !path.is_file() {
            let problem = "is not there: the log has lost its head and its index, or was never \
                           started";
            rows.findings.push(FolderFinding::damage(NAME, problem, Remedy::Database));
            return Ok(rows);
        }
        if path.metadata().map_err(StoreError::io(&path))?.len() == 0 {
            let problem = "is empty: the log was never started";
            rows.findings.push(FolderFinding::leftover(NAME, problem));
            return Ok(rows);
        }
        let wal_path = path_of(&path);
        let wal = Wal::read(&wal_path, &mut rows.findings)?;
        if let Some(page) = rows.check_header(&path, !wal.there)? {
            pages::check(folder, page, &wal, progress, &mut rows.findings)?;
            let before = rows.findings.len();
            if let Err(error) = open(&path, wal.there).and_then(|c| rows.read(&c)) {
                rows.damage(None, error);
            }
            rows.intact = rows.findings.len() == before;
        }
        Ok(rows)
    }

    fn damage(&mut self, place: Option<String>, problem: impl ToString) {
        if self.findings.len() > MAX_FINDINGS {
            return;
        }
        let finding = FolderFinding::damage(NAME, problem.to_string(), Remedy::Database);
        self.findings.push(FolderFinding { place, ..finding });
    }

    /// The file header, whose fields SQLite mostly takes as they come. Two copies of the number of
    /// changes stand in it; its pages are counted unless a write-ahead log has newer ones. Returns
    /// the size of a page.
    fn check_header(&mut self, path: &Path, settled: bool) -> Result<Option<u32>, StoreError> {
        let mut file = File::open(path).map_err(StoreError::io(path))?;
        let length = file.metadata().map_err(StoreError::io(path))?.len();
        let mut header = [0; 100];
        if file.read_exact(&mut header).is_err() {
            self.damage(None, format!("has {length} bytes, less than its header"));
            return Ok(None);
        }
        let word =
            |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65_536,
            size => size,
        };
        let fields = [
            ("magic", header[..16] == *b"SQLite format 3\0"),
            ("page size", page >= 512 && page.is_power_of_two()),
            ("write and read version", header[18..20] == [2, 2]),
            ("reserved space", header[20] == 0),
            ("payload fractions", header[21..24] == [64, 32, 32]),
            ("change counter", word(24) == word(92)),
            ("number of pages", !settled || u64::from(word(28)) * page == length),
            ("schema format", word(44) == 4),
            ("suggested cache", word(48) == 0),
            ("vacuum settings", word(52) == 0 && word(64) == 0),
            ("text encoding", word(56) == 1),
            ("application", i64::from(word(68)) == APPLICATION),
            ("schema version", i64::from(word(60)) == SCHEMA_VERSION),
            ("bytes for later use", header[72..92].iter().all(|byte| *byte == 0)),
        ];
        let place = || Some("header, bytes 0 to 99".to_owned());
        for (field, sound) in fields {
            if !sound {
                self.damage(place(), format!("its {field} cannot be right"));
            }
        }
        // 4,096 is what every log has; a header that names no possible size is damaged.
        let page =
            if (512..=65_536).contains(&page) && page.is_power_of_two() { page } else { 4_096 };
        Ok(Some(u32::try_from(page).expect("at most 65,536")))
    }

    fn read(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA query_only = ON;",
        )?;
        let mut check = connection.prepare("PRAGMA integrity_check")?;
        for verdict in check.query_map([], |row| row.get::<_, String>(0))? {
            let verdict = verdict?;
            if verdict != "ok" {
                self.damage(None, verdict);
            }
        }
        if schema(connection)? != expected_schema()? {
            self.damage(None, "its tables are not those of a log");
        }
        self.read_head(connection)?;
        self.read_staged(connection)?;
        self.leaves = self.read_index(connection, "SELECT hash, position FROM leaf", FIND_LEAF)?;
        self.keys = self.read_index(connection, "SELECT key, position FROM statement", FIND_KEY)?;
        Ok(())
    }

    fn read_head(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT epoch, size, root, checkpoint FROM head")?;
        let mut rows = statement.query([])?;
        let name = || Some("head".to_owned());
        while let Some(row) = rows.next()? {
            let read = |row: &Row<'_>| -> rusqlite::Result<(i64, i64, [u8; 32], Vec<u8>)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            match read(row) {
                Err(error) => self.damage(name(), error),
                Ok((epoch, size, root, checkpoint)) => {
                    let Ok(unsigned) = u64::try_from(size) else {
                        self.damage(name(), format!("size {size} is negative"));
                        continue;
                    };
                    if epoch < 0 || epoch == 0 && unsigned > 0 {
                        self.damage(name(), format!("epoch {epoch} cannot be right"));
                    }
                    let head = TreeHead { size: unsigned, root: Hash::new(root) };
                    self.head = Some(HeadRow { head, checkpoint });
                }
            }
        }
        Ok(())
    }

    fn read_staged(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("SELECT start, count, entries FROM staged ORDER BY start")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let start: i64 = row.get(0)?;
            let name = || Some(format!("staged batch at {start}"));
            let read = |row: &Row<'_>| -> rusqlite::Result<(i64, Vec<u8>)> {
                Ok((row.get(1)?, row.get(2)?))
            };
            let (count, blob) = match read(row) {
                Ok(read) => read,
                Err(error) => {
                    self.damage(name(), error);
                    continue;
                }
            };
            let Some(entries) = split(&blob) else {
                self.damage(name(), "its entries don't end where it ends");
                continue;
            };
            let found = entries.len();
            if i64::try_from(found) != Ok(count) {
                self.damage(name(), format!("it says {count} entries, and holds {found}"));
            }
            match u64::try_from(start) {
                Ok(start) => self.staged.push(StagedBatch { start, entries }),
                Err(_) => self.damage(name(), "its start is negative"),
            }
        }
        Ok(())
    }

    /// Reads a table in the order of its keys, and looks each key up as readers do.
    fn read_index(
        &mut self,
        connection: &Connection,
        all: &str,
        one: &str,
    ) -> rusqlite::Result<Index> {
        let mut index = Index { by_position: BTreeMap::new(), whole: true };
        let mut lookup = connection.prepare(one)?;
        let mut statement = connection.prepare(all)?;
        let table = if one == FIND_LEAF { "leaf" } else { "statement" };
        let mut rows = statement.query([])?;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(index),
                Err(error) => {
                    self.damage(Some(table.to_owned()), error);
                    index.whole = false;
                    return Ok(index);
                }
            };
            let read = |row: &Row<'_>| -> rusqlite::Result<([u8; 32], i64)> {
                Ok((row.get(0)?, row.get(1)?))
            };
            let (key, position) = match read(row) {
                Ok(read) => read,
                Err(error) => {
                    self.damage(Some(table.to_owned()), error);
                    continue;
                }
            };
            let name = || Some(format!("{table} {}", hex::encode(key)));
            let found = lookup.query_row([key], |row| row.get::<_, i64>(0));
            if found.as_ref().ok() != Some(&position) {
                self.damage(name(), "the row is there, but looking it up does not lead to it");
            }
            match u64::try_from(position) {
                Err(_) => self.damage(name(), format!("position {position} is negative")),
                Ok(position) => {
                    if index.by_position.insert(position, key).is_some() {
                        self.damage(name(), format!("entry {position} has a second row"));
                    }
                }
            }
        }
    }
}

/// Opens the database so that nothing in the folder is written: without a write-ahead log as
/// something that cannot change; with one without locks, which keep nobody out that the folder's
/// own lock does not, and with the index of that log in memory.
fn open(path: &Path, with_wal: bool) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str(match with_wal {
        false => "?immutable=1",
        true if cfg!(windows) => "?vfs=win32-none",
        true => "?vfs=unix-none",
    });
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE;")?;
    Ok(connection)
}

type Object = (String, String, String, Option<String>);

fn schema(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    connection
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect()
}

fn expected_schema() -> rusqlite::Result<Vec<Object>> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    schema(&connection)
}
