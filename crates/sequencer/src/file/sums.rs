//! `log.sums`: a checksum of every page of the database, so that a flipped bit is found wherever it
//! is. SQLite has none of its own, and half of a page's bytes may be in no row: what it says of
//! the rest would not tell.
//!
//! ```text
//! 16 bytes  "countersign sums"
//!  4        version, 1
//!  4        bytes of a page
//!  8 each   of page 1, 2, …: the first bytes of SHA-256(u32 number ‖ page); zeros if the page was
//!           never written, which then holds nothing but zeros
//! ```
//! Integers are big-endian. The write-ahead log has checksums of its own. Before its pages are
//! copied into the database their sums are made durable here, so at any time: **a page that is not
//! in the write-ahead log is the one that was summed.**

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::database;
use super::durable::Folders;
use super::wal::fill;
use crate::fault::Failpoints;
use crate::store::StoreError;

pub(crate) const NAME: &str = "log.sums";
pub(crate) const HEADER: usize = 24;

/// The first 64 bits: one flipped bit or a thousand, one in 2^64 such pages would pass.
pub(crate) type PageSum = [u8; 8];

/// What a page has that was never written.
pub(crate) const NO_SUM: PageSum = [0; 8];

/// The sum of a page. Its number is part of it: a page in another's place is damage too.
pub(crate) fn page_sum(number: u32, page: &[u8]) -> PageSum {
    let digest = Sha256::new().chain_update(number.to_be_bytes()).chain_update(page).finalize();
    *digest.first_chunk().expect("a digest has 32 bytes")
}

/// What the file begins with.
pub(crate) fn header(page: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(b"countersign sums");
    header[16..20].copy_from_slice(&1_u32.to_be_bytes());
    header[20..].copy_from_slice(&page.to_be_bytes());
    header
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Sums {
    file: File,
    path: PathBuf,
}

impl Sums {
    /// Opens the sums; `None` if there are none.
    pub(super) fn open(folders: &Folders, page: u32) -> Result<Option<Self>, StoreError> {
        let path = folders.root().join(NAME);
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let mut found = [0; HEADER];
        if file.read_exact(&mut found).is_err() || found != header(page) {
            let what = format!("{NAME}: its first {HEADER} bytes cannot be right");
            return Err(StoreError::damaged(what));
        }
        Ok(Some(Self { file, path }))
    }

    /// Sums up a database that has no sums yet, or of which nobody knows them. Nothing of it may be
    /// in the write-ahead log.
    pub(super) fn make(
        folders: &Folders,
        page: u32,
        points: &Failpoints,
    ) -> Result<Self, StoreError> {
        let database = folders.root().join(database::NAME);
        let wrong = || StoreError::io(&database);
        let mut source = File::open(&database).map_err(wrong())?;
        let mut bytes = header(page).to_vec();
        let mut buffer = vec![0; page as usize];
        for number in 1.. {
            if fill(&mut source, &mut buffer).map_err(wrong())? < buffer.len() {
                break;
            }
            bytes.extend(page_sum(number, &buffer));
        }
        folders.publish(&folders.root().join(NAME), &bytes, points)?;
        match Self::open(folders, page)? {
            Some(sums) => Ok(sums),
            None => Err(StoreError::damaged(format!("{NAME} went away as it was written"))),
        }
    }

    /// Makes the sums of some pages durable.
    pub(super) fn record(&mut self, sums: &BTreeMap<u32, PageSum>) -> Result<(), StoreError> {
        if sums.is_empty() {
            return Ok(());
        }
        let mut sums = sums.iter().peekable();
        let mut run = Vec::new();
        while let Some((first, sum)) = sums.next() {
            run.clear();
            run.extend(sum);
            let mut next = first + 1;
            while let Some((_, sum)) = sums.next_if(|(number, _)| **number == next) {
                run.extend(sum);
                next += 1;
            }
            let place = SeekFrom::Start(HEADER as u64 + 8 * u64::from(first - 1));
            let written = self.file.seek(place).and_then(|_| self.file.write_all(&run));
            written.map_err(StoreError::io(&self.path))?;
        }
        self.file.sync_data().map_err(StoreError::io(&self.path))
    }
}
