//! Refused requests that may show a forked log, kept as files for people and for evidence:
//! `alarms/<SHA-256 of the origin>/<kind>-<size>-<root>.request`, byte for byte, and beside it
//! `.cosigned`, what this witness had cosigned of that log.
//!
//! Anyone can put a bad proof beside a good checkpoint, so what is kept is bounded, each checkpoint
//! once. Two heads of one size take a log's own signatures and may push others out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use client::FileError;
use client::files::{self, Access};
use tlog::{AddCheckpoint, Hash, SigningKey};

use crate::decision::{Doubt, Suspicion};
use crate::writer::place;

/// Of one log and kind: 8 × 256 KiB is what a log can fill.
const EACH: usize = 8;

/// In all: 512 × 256 KiB = 128 MiB.
const TOTAL: usize = 512;

/// The folder of alarms.
#[derive(Debug)]
pub struct Alarms {
    folder: PathBuf,
    /// Names of what is kept, by log and kind. Files are written and removed under this lock.
    kept: Mutex<Kept>,
}

type Kept = BTreeMap<(Hash, Doubt), Vec<String>>;

/// What became of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It is on disk.
    Kept,
    /// It was there before.
    Known,
    /// There is no room for more of its kind.
    Full,
}

impl Doubt {
    /// The kind as files and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TwoHeads => "two-heads",
            Self::Unproved => "unproved",
        }
    }
}

impl Alarms {
    /// The folder, which need not be there yet; what earlier processes kept counts.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let mut kept = Kept::new();
        for log in list(folder)? {
            let Some(origin) = name(&log).and_then(|name| Hash::from_hex(name).ok()) else {
                continue;
            };
            for file in list(&log)? {
                let Some(stem) = name(&file).and_then(|name| name.strip_suffix(".request")) else {
                    continue;
                };
                let kind = [Doubt::TwoHeads, Doubt::Unproved]
                    .into_iter()
                    .find(|kind| stem.starts_with(kind.as_str()));
                if let Some(kind) = kind {
                    kept.entry((origin, kind)).or_default().push(stem.to_owned());
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), kept: Mutex::new(kept) })
    }

    /// Keeps a request, durably.
    pub fn raise(
        &self,
        request: &AddCheckpoint,
        suspicion: &Suspicion,
        key: &SigningKey,
    ) -> Result<Raised, FileError> {
        let kind = suspicion.kind;
        let checkpoint = request.checkpoint();
        let origin = place(checkpoint.origin());
        let root = &checkpoint.root().to_string()[..16];
        let stem = format!("{}-{}-{root}", kind.as_str(), checkpoint.size());
        let folder = self.folder.join(origin.to_string());

        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let own = kept.get(&(origin, kind)).map_or(&[][..], Vec::as_slice);
        if own.contains(&stem) {
            return Ok(Raised::Known);
        }
        if own.len() >= EACH {
            return Ok(Raised::Full);
        }
        if kept.values().map(Vec::len).sum::<usize>() >= TOTAL
            && !(kind == Doubt::TwoHeads && self.forget_one(&mut kept)?)
        {
            return Ok(Raised::Full);
        }
        let wrong = |e: std::io::Error| FileError { path: folder.clone(), problem: e.to_string() };
        fs::create_dir_all(&folder).map_err(wrong)?;
        if let Some(known) = &suspicion.known {
            let path = folder.join(format!("{stem}.cosigned"));
            files::write(&path, known.published(key).as_bytes(), Access::Shared)?;
        }
        let path = folder.join(format!("{stem}.request"));
        files::write(&path, &request.to_bytes(), Access::Shared)?;
        kept.entry((origin, kind)).or_default().push(stem);
        Ok(Raised::Kept)
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// Removes one that proves nothing, of the log that has most of them. False if there is none.
    fn forget_one(&self, kept: &mut Kept) -> Result<bool, FileError> {
        let unproved = kept.iter_mut().filter(|((_, kind), _)| *kind == Doubt::Unproved);
        let Some(((origin, _), stems)) = unproved.max_by_key(|(_, stems)| stems.len()) else {
            return Ok(false);
        };
        let Some(stem) = stems.pop() else { return Ok(false) };
        for ending in [".request", ".cosigned"] {
            let path = self.folder.join(origin.to_string()).join(format!("{stem}{ending}"));
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(FileError { path, problem: e.to_string() });
                }
                _ => {}
            }
        }
        Ok(true)
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// What is in a folder; nothing if it is not there.
fn list(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let wrong = |e: std::io::Error| FileError { path: folder.to_owned(), problem: e.to_string() };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(wrong)?;
    entries.map(|entry| Ok(entry.map_err(wrong)?.path())).collect()
}
