//! Every byte of a folder that no writer has open: database, tiles, bundles and artifacts, compared
//! with each other and with the root that the log signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use tlog::{Hash, SignedCheckpoint, TreeHead, VerifierKey};

use super::finding::{FolderFinding, MAX_FINDINGS, Remedy};
use super::listing::{self, Role};
use super::rows::Rows;
use crate::entry::StatementKey;
use crate::file::database::NAME;
use crate::store::StoreError;

/// Who is told what is found, and knows what entries say.
pub trait Inspector {
    /// The statement key of an entry; `None` if the bytes have none.
    fn key_of(&mut self, entry: &[u8]) -> Option<StatementKey>;

    /// Judges an entry. Called in log order from the first entry on, and no more after one that is
    /// missing or in doubt.
    fn entry(&mut self, index: u64, entry: &[u8], artifacts: &Artifacts) -> Vec<Objection>;

    /// Takes a finding.
    fn found(&mut self, finding: FolderFinding);

    /// Is told how far the work is.
    fn progress(&mut self, _work: Work, _done: u64, _of: u64) {}
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Pages of the database.
    Pages,
    /// Artifacts.
    Artifacts,
    /// Entries.
    Entries,
}

/// What somebody who understands an entry has against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The artifact that it is about, if it is about one that the entry names.
    pub artifact: Option<Hash>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: Remedy,
}

/// The artifacts of a folder.
#[derive(Debug, Default)]
pub struct Artifacts {
    folder: PathBuf,
    sound: BTreeMap<Hash, u64>,
    damaged: BTreeSet<Hash>,
}

impl Artifacts {
    /// The length of one whose bytes are those of its name.
    pub fn length(&self, digest: &Hash) -> Option<u64> {
        self.sound.get(digest).copied()
    }

    /// True if there is one under this name, but with other bytes: that is a finding already.
    pub fn is_damaged(&self, digest: &Hash) -> bool {
        self.damaged.contains(digest)
    }

    /// Those whose bytes are those of their name.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = &Hash> {
        self.sound.keys()
    }

    /// Path below the folder.
    pub fn name(digest: &Hash) -> String {
        let name = digest.to_string();
        format!("artifacts/{}/{name}", &name[..2])
    }

    /// The bytes of one; `None` if it is not here or has more than `limit`.
    pub fn read(&self, digest: &Hash, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(length) = self.length(digest).filter(|length| *length <= limit) else {
            return Ok(None);
        };
        let path = self.folder.join(Self::name(digest));
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(length).read_to_end(&mut bytes))
            .map_err(StoreError::io(&path))?;
        Ok(Some(bytes))
    }
}

/// What was there to check.
#[derive(Debug)]
pub struct Checked {
    /// The head that everything was compared with; none if neither head row nor checkpoint hold.
    pub head: Option<TreeHead>,
    /// True if the log's key signed that head.
    pub signed: bool,
    /// How many entries the inspector judged.
    pub judged: u64,
    /// The artifacts.
    pub artifacts: Artifacts,
}

/// A log's folder, held against writers for as long as this lives, and never written to.
#[derive(Debug)]
pub struct StoppedLog {
    folder: PathBuf,
    files: BTreeMap<String, Role>,
    rows: Rows,
    _lock: Option<File>,
}

impl StoppedLog {
    /// Takes a shared lock, lists the files and reads the database. [`StoreError::Locked`] while a writer is there,
    /// [`StoreError::Absent`] if there never was one.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_watched(folder, &mut |_, _| ())
    }

    /// The same for one who wants to know which of how many pages of the database is being read.
    pub fn open_watched(
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(StoreError::io(folder))?;
        let traces = [NAME, "lock", "log.key", "tile"];
        if !traces.iter().any(|name| folder.join(name).exists()) {
            return Err(StoreError::Absent { path: folder });
        }
        let lock = lock(&folder)?;
        let files = listing::list(&folder)?;
        let rows = Rows::load(&folder, progress)?;
        Ok(Self { folder, files, rows, _lock: lock })
    }

    /// Reads all files and compares all of it. Without the log's key the signature on the head goes
    /// unchecked. An error means that it could not look; what it has told the inspector holds.
    pub fn check(
        &self,
        log: Option<&VerifierKey>,
        inspector: &mut dyn Inspector,
    ) -> Result<Checked, StoreError> {
        let Self { folder, files, rows, .. } = self;
        let mut check = Check { folder, rows, files, inspector, reported: 0 };
        for finding in &rows.findings {
            check.report(finding.clone());
        }
        let artifacts = check.files()?;
        let head = check.head(log);
        let size = match &head {
            Some((head, _)) => head.size,
            None => check.extent(),
        };
        let judged = check.tree(size, head, &artifacts)?;
        check.close();
        let signed = head.is_some_and(|(_, signed)| signed);
        Ok(Checked { head: head.map(|(head, _)| head), signed, judged, artifacts })
    }
}

/// Other checks may run beside this one; a writer may not. A folder that never had a writer has no
/// lock.
fn lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
    }
}

/// One run over the files of a folder.
pub(super) struct Check<'a> {
    pub(super) folder: &'a Path,
    pub(super) rows: &'a Rows,
    pub(super) files: &'a BTreeMap<String, Role>,
    pub(super) inspector: &'a mut dyn Inspector,
    reported: usize,
}

impl Check<'_> {
    pub(super) fn report(&mut self, finding: FolderFinding) {
        self.reported += 1;
        if self.reported <= MAX_FINDINGS {
            self.inspector.found(finding);
        }
    }

    /// True if more findings would not be reported: the rest goes unchecked.
    pub(super) fn full(&self) -> bool {
        self.reported >= MAX_FINDINGS
    }

    fn close(self) {
        if self.full() {
            let problem = format!("the check stopped after {MAX_FINDINGS} findings");
            self.inspector.found(FolderFinding::damage(".", problem, Remedy::Repeat));
        }
    }

    /// Files whose own name or place says what is right.
    fn files(&mut self) -> Result<Artifacts, StoreError> {
        let mut artifacts = Artifacts { folder: self.folder.to_owned(), ..Artifacts::default() };
        let files = self.files;
        let of = files.values().filter(|role| matches!(role, Role::Artifact(_))).count() as u64;
        for (name, role) in files {
            if let Some(finding) = listing::remark(name, role) {
                self.report(finding);
            }
            let path = self.folder.join(name);
            match role {
                Role::Lock if fs::metadata(&path).map_or(0, |m| m.len()) > 0 => {
                    let problem = "is always empty, but holds something";
                    self.report(FolderFinding::damage(name, problem, Remedy::Remove));
                }
                Role::Artifact(digest) => match listing::digest(&path) {
                    Ok((found, length)) if found == *digest => {
                        artifacts.sound.insert(*digest, length);
                    }
                    Ok((found, _)) => {
                        artifacts.damaged.insert(*digest);
                        let problem = "has not the bytes that its name is the digest of";
                        let finding = FolderFinding::damage(name, problem, Remedy::Restore);
                        self.report(finding.expected(digest, found));
                    }
                    Err(error) => {
                        artifacts.damaged.insert(*digest);
                        let finding = self.unreadable(&path, error)?;
                        self.report(finding);
                    }
                },
                _ => {}
            }
            let done = artifacts.sound.len() + artifacts.damaged.len();
            self.inspector.progress(Work::Artifacts, done as u64, of);
        }
        Ok(artifacts)
    }

    /// What the disk does not give is damage; what the user may not read is none.
    pub(super) fn unreadable(
        &self,
        path: &Path,
        error: std::io::Error,
    ) -> Result<FolderFinding, StoreError> {
        if error.kind() == ErrorKind::PermissionDenied {
            return Err(StoreError::Io { path: path.to_owned(), source: error });
        }
        let name = path.strip_prefix(self.folder).unwrap_or(path).display();
        let problem = format!("cannot be read: {error}");
        Ok(FolderFinding::damage(name, problem, Remedy::Restore))
    }

    /// The head to compare with, and whether it is signed: the signed one, else that of the row.
    fn head(&mut self, log: Option<&VerifierKey>) -> Option<(TreeHead, bool)> {
        let damage =
            |problem: String| FolderFinding::damage(NAME, problem, Remedy::Database).at("head");
        let Some(row) = &self.rows.head else {
            if self.rows.intact && self.extent() == 0 {
                let problem = "has no head yet: the log was never started to its end";
                self.report(FolderFinding::leftover(NAME, problem));
            } else if self.rows.intact {
                self.report(damage("is not there: the log has lost its head".to_owned()));
            }
            return None;
        };
        let Some(log) = log else { return Some((row.head, false)) };
        match SignedCheckpoint::open(&row.checkpoint, log) {
            Err(error) => {
                self.report(damage(format!("its checkpoint does not hold under {log}: {error}")));
                Some((row.head, false))
            }
            Ok(signed) => {
                let head = *signed.head();
                if head != row.head {
                    let words =
                        |head: TreeHead| format!("size {} and root {}", head.size, head.root);
                    let finding = damage("differs from its own checkpoint".to_owned());
                    self.report(finding.expected(words(head), words(row.head)));
                }
                if signed.note().signatures().len() != 1 {
                    let problem = "its checkpoint has more signatures than the log's own";
                    self.report(damage(problem.to_owned()));
                }
                Some((head, true))
            }
        }
    }
}
