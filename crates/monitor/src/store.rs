//! What a monitor has verified, on disk: a copy of the log's entries, how far they were verified,
//! and what was found.
//!
//! ```text
//! DIR/checkpoint            the newest head whose entries are all here and hash to it
//! DIR/tile/entries/…        entry bundles, as C2SP tlog-tiles lays them out
//! DIR/verified              the cursor: how many entries were verified and their findings written
//! DIR/findings.jsonl        what was found and stays true, one JSON object a line
//! DIR/cosigned/…            the largest head that each witness was seen to cosign
//! DIR/evidence/             files that convict somebody
//! ```
//!
//! The order is: bundles, then the head that covers them, then findings, then the cursor that goes
//! past them; each is durable before the next is written. A bundle that is longer than the head
//! says is work that a crash interrupted; it is fetched again.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use client::files::{self, Access, FileError};
use tlog::{MAX_ENTRY, MAX_NOTE, SignedCheckpoint, TILE_WIDTH, TileKind, TilePath, VerifierKey};

use crate::finding::Finding;

/// The folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in the folder is not what this monitor wrote for this log.
    #[error("{place}: {problem}; name another folder, or remove this one to begin anew")]
    Foreign {
        /// The file.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process works in the folder.
    #[error("{0}: another monitor works here; name another folder")]
    Taken(String),
}

/// 256 entries of 65,535 bytes with their lengths.
pub(crate) const MAX_BUNDLE: usize = TILE_WIDTH as usize * (MAX_ENTRY + 2);

/// Lines in `findings.jsonl`. Whoever has so many needs no more to leave the log.
const MOST_FINDINGS: usize = 10_000;

/// 10,000 lines of the longest problems; a larger file is not one that was written here.
const MAX_FINDINGS: u64 = 64 << 20;

#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Lines of `findings.jsonl`, so that what is seen in every pass is written once.
    findings: BTreeSet<String>,
    /// Held for as long as the store lives.
    _lock: File,
}

impl Store {
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let wrong = |e: std::io::Error| {
            let (path, problem) = (folder.to_owned(), e.to_string());
            StoreError::File(FileError { path, problem })
        };
        for below in ["evidence", "cosigned"] {
            fs::create_dir_all(folder.join(below)).map_err(wrong)?;
        }
        let lock = File::create(folder.join("lock")).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::Taken(folder.display().to_string()));
            }
            Err(fs::TryLockError::Error(e)) => return Err(wrong(e)),
        }
        let path = folder.join("findings.jsonl");
        let mut findings = BTreeSet::new();
        if path.exists() {
            let bytes = files::read(&path, MAX_FINDINGS)?;
            let text = String::from_utf8_lossy(&bytes);
            // A line without its end was interrupted; what it said will be found again.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            findings.extend(whole.lines().map(str::to_owned));
            if whole.len() + 1 < text.len() {
                files::write(&path, format!("{whole}\n").as_bytes(), Access::Shared)?;
            }
        }
        Ok(Self { folder: folder.to_owned(), findings, _lock: lock })
    }

    pub(crate) fn evidence(&self) -> PathBuf {
        self.folder.join("evidence")
    }

    /// The newest head whose entries are here.
    pub(crate) fn head(&self, log: &VerifierKey) -> Result<Option<SignedCheckpoint>, StoreError> {
        let path = self.folder.join("checkpoint");
        if !path.exists() {
            return Ok(None);
        }
        let note = files::read(&path, MAX_NOTE as u64)?;
        match SignedCheckpoint::open(&note, log) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(error) => Err(foreign(&path, error)),
        }
    }

    /// Everything below this head is here.
    pub(crate) fn set_head(&self, head: &SignedCheckpoint) -> Result<(), StoreError> {
        let path = self.folder.join("checkpoint");
        Ok(files::write(&path, head.as_bytes(), Access::Shared)?)
    }

    /// How many entries were verified.
    pub(crate) fn cursor(&self) -> Result<u64, StoreError> {
        let path = self.folder.join("verified");
        if !path.exists() {
            return Ok(0);
        }
        let bytes = files::read(&path, 32)?;
        let text = String::from_utf8_lossy(&bytes);
        let number = text.trim_end().parse();
        number.map_err(|_| foreign(&path, "is no number of entries"))
    }

    /// Moves the cursor: so many entries are verified, and what was found is written.
    pub(crate) fn set_cursor(&self, entries: u64) -> Result<(), StoreError> {
        let path = self.folder.join("verified");
        Ok(files::write(&path, format!("{entries}\n").as_bytes(), Access::Shared)?)
    }

    /// How many findings are on file.
    pub(crate) fn standing(&self) -> u64 {
        self.findings.len() as u64
    }

    /// Writes down what stays true and is not on file yet.
    pub(crate) fn record(&mut self, findings: &[Finding]) -> Result<(), StoreError> {
        let mut text = String::new();
        for finding in findings.iter().filter(|finding| finding.code.stands()) {
            let line = finding.to_value().to_text();
            if self.findings.len() < MOST_FINDINGS && self.findings.insert(line.clone()) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        let path = self.folder.join("findings.jsonl");
        let wrong = |e: std::io::Error| FileError { path: path.clone(), problem: e.to_string() };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(wrong)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
        Ok(sync_folder(&self.folder).map_err(wrong)?)
    }

    /// Keeps a bundle of which these entries are new; those before them are here already. Not
    /// durable before [`sync`](Self::sync).
    pub(crate) fn put(&self, bundle: &Bundle, new: &[&[u8]]) -> Result<(), StoreError> {
        let mut bytes = match bundle.begun() {
            Some(begun) => self.stored(&begun)?,
            None => Vec::new(),
        };
        for entry in new {
            let length = u16::try_from(entry.len()).expect("entries have at most 65,535 bytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        let place = self.folder.join(bundle.path.to_string());
        let folder = place.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&place, &bytes));
        Ok(written.map_err(|e| FileError { path: place, problem: e.to_string() })?)
    }

    /// Makes the bundles from `from` to `to` durable.
    pub(crate) fn sync(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut folders = BTreeSet::new();
        for path in bundles_between(from, to) {
            let place = self.folder.join(path.to_string());
            let synced = File::open(&place).and_then(|file| file.sync_all());
            synced.map_err(|e| FileError { path: place.clone(), problem: e.to_string() })?;
            let above = place.ancestors().skip(1).take_while(|p| p.starts_with(&self.folder));
            folders.extend(above.map(Path::to_owned));
        }
        for folder in folders {
            let synced = sync_folder(&folder);
            synced.map_err(|e| FileError { path: folder, problem: e.to_string() })?;
        }
        Ok(())
    }

    /// Removes the partial bundle that a head of size `old` ended in, once one of size `new` has
    /// the same entries in another file. That it can't be removed costs disk and nothing else.
    pub(crate) fn forget_begun(&self, old: u64, new: u64) {
        let begun = bundles_between(old, old).next();
        let still = begun.as_ref().is_some_and(|begun| tlog::tiles_of(new).any(|p| p == *begun));
        if let Some(begun) = begun.filter(|begun| !begun.is_full() && !still) {
            let _ = fs::remove_file(self.folder.join(begun.to_string()));
        }
    }

    /// The entries from `from` to `to`, a bundle at a time, from the copy of a log of that size.
    pub(crate) fn entries_between(
        &self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Result<Vec<Vec<u8>>, StoreError>> + '_ {
        bundles_between(from, to).map(move |path| {
            let bytes = self.stored(&path)?;
            let entries = tlog::parse_bundle(&bytes, path.width());
            let entries =
                entries.map_err(|error| foreign(&self.folder.join(path.to_string()), error))?;
            let bundle = Bundle::new(path, from, &entries);
            Ok(bundle.new_ones(&entries).iter().map(|entry| entry.to_vec()).collect())
        })
    }

    /// A bundle at the width asked for.
    fn stored(&self, path: &TilePath) -> Result<Vec<u8>, StoreError> {
        Ok(files::read(&self.folder.join(path.to_string()), MAX_BUNDLE as u64)?)
    }
}

/// A bundle of which the first entries may be known.
pub(crate) struct Bundle {
    path: TilePath,
    known: usize,
    known_path: Option<TilePath>,
}

impl Bundle {
    /// The bundle at `path`, where everything below the size `from` is known.
    pub(crate) fn new(path: TilePath, from: u64, entries: &[&[u8]]) -> Self {
        let first = path.index() * TILE_WIDTH;
        let known = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let known = known.min(entries.len());
        let known_path = if known == 0 { None } else { bundles_between(first, from).next() };
        Self { path, known, known_path }
    }

    /// The entries that are new.
    pub(crate) fn new_ones<'e, 'b>(&self, entries: &'e [&'b [u8]]) -> &'e [&'b [u8]] {
        &entries[self.known..]
    }

    /// The file in which the others are.
    fn begun(&self) -> Option<TilePath> {
        self.known_path
    }
}

/// Bundles that hold the entries from `from` to `to`, each at the width that a tree of size `to`
/// gives it.
pub(crate) fn bundles_between(from: u64, to: u64) -> impl Iterator<Item = TilePath> {
    let first = usize::try_from(from / TILE_WIDTH).unwrap_or(usize::MAX);
    tlog::tiles_of(to).filter(|path| path.kind() == TileKind::Entries).skip(first)
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all())
}

fn foreign(path: &Path, problem: impl ToString) -> StoreError {
    StoreError::Foreign { place: path.display().to_string(), problem: problem.to_string() }
}
