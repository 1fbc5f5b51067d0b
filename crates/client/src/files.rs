//! Files that are either there as a whole or not at all, and errors that say what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::Entropy;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner only (mode 0600): keys and everything in a vault.
    Private,
    /// Whoever the umask allows.
    Shared,
}

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, in words.
    pub problem: String,
}

impl FileError {
    pub(crate) fn new(path: &Path, problem: impl ToString) -> Self {
        Self { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// Writes `bytes` to `path`, replacing what was there. Returns once a power cut can no longer
/// lose them; until then, the old file stands. Of several writers at once the last one wins, and
/// no reader ever sees parts of two.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            let problem = "is a symbolic link, which a new file would replace; name the file that \
                           it leads to";
            return Err(FileError::new(path, problem));
        }
        Ok(found) if !found.is_file() => {
            let problem = "is no regular file and is not overwritten; choose another name";
            return Err(FileError::new(path, problem));
        }
        _ => {}
    }
    publish(path, bytes, access, |temporary, path| fs::rename(temporary, path))
}

/// Writes a file that must not exist yet.
pub fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    if is_there(path)? {
        return Err(exists_already(path));
    }
    publish(path, bytes, access, rename_new)
}

fn exists_already(path: &Path) -> FileError {
    FileError::new(path, "exists already and is not overwritten")
}

/// Writes a temporary file beside `path` and lets `rename` give it its name.
fn publish(
    path: &Path,
    bytes: &[u8],
    access: Access,
    rename: fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let wrong = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists_already(path),
        _ => FileError::new(path, explain(path, &e)),
    };
    let parent = parent_of(path);
    // Held open from before the write, so that a write-back error of the folder is not lost.
    let folder = File::open(parent).map_err(|e| {
        let problem = match e.kind() {
            io::ErrorKind::NotFound => "there is no such folder; make it first".to_owned(),
            _ => explain(parent, &e),
        };
        FileError::new(parent, problem)
    })?;
    let mut temporary = Temporary::create(path, access)?;
    temporary.file.write_all(bytes).map_err(wrong)?;
    temporary.file.sync_all().map_err(wrong)?;
    rename(&temporary.path, path).map_err(wrong)?;
    temporary.renamed = true;
    folder.sync_all().map_err(wrong)
}

/// Renames unless the new name is taken, in one step where the system can.
fn rename_new(temporary: &Path, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
    }
    if fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(temporary, path)
}

/// A file that has not got its name yet. Removed when dropped, unless it was renamed; whoever
/// finds one whose lock is free knows that its writer died.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// Each round waits for one other writer, so only as many are needed as there are writers.
    const ROUNDS: usize = 1_000;

    /// Fresh, locked, and under the one name that temporary files of `path` have.
    fn create(path: &Path, access: Access) -> Result<Self, FileError> {
        let temporary = with_ending(path, ".tmp");
        let wrong = |e: io::Error| FileError::new(&temporary, explain(&temporary, &e));
        for _ in 0..Self::ROUNDS {
            match create_new(&temporary, access) {
                Ok(file) => {
                    lock(&file);
                    // Between creation and lock another writer may have taken it for a leftover.
                    if is_at(&file, &temporary) {
                        return Ok(Self { file, path: temporary, renamed: false });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let link = fs::symlink_metadata(&temporary).is_ok_and(|m| !m.is_file());
                    let found = if link { None } else { File::open(&temporary).ok() };
                    if let Some(file) = &found {
                        lock(file);
                    }
                    if found.is_none_or(|file| is_at(&file, &temporary)) {
                        match fs::remove_file(&temporary) {
                            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(wrong(e)),
                            _ => {}
                        }
                    }
                }
                Err(e) => return Err(wrong(e)),
            }
        }
        Err(FileError::new(&temporary, "too many commands write this file at once; try again"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // What matters is the error that led here; a leftover does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Waits until no other writer holds the file. Where the system has no locks, two writers at once
/// may fail, but never mix what they write.
fn lock(file: &File) {
    let _ = file.lock();
}

/// Reads a file of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    read_open(path, open(path)?, max)
}

/// As [`read`], and refuses a file that others may read or write, or that is another user's.
pub fn read_private(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    check_access(path, &file, "holds a secret", "600")?;
    read_open(path, file, max)
}

/// As [`read_private`], for files that only ever this program writes: refuses links as well.
pub(crate) fn read_own(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    refuse_link(path)?;
    read_private(path, max)
}

fn open(path: &Path) -> Result<File, FileError> {
    let wrong = |e: io::Error| FileError::new(path, explain(path, &e));
    let file = File::open(path).map_err(wrong)?;
    if file.metadata().map_err(wrong)?.is_dir() {
        return Err(FileError::new(path, "is a folder; name a file"));
    }
    Ok(file)
}

fn read_open(path: &Path, file: File, max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| FileError::new(path, explain(path, &e)))?;
    if bytes.len() as u64 > max {
        return Err(FileError::new(path, format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// Refuses a symbolic link where only files of our own may be.
pub(crate) fn refuse_link(path: &Path) -> Result<(), FileError> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        let problem = "is a symbolic link, and a vault holds none; put the file itself in its \
                       place";
        return Err(FileError::new(path, problem));
    }
    Ok(())
}

/// As [`read_private`], but a file of the superuser's may be readable by its group: that is how
/// systemd and Kubernetes hand a secret to a service.
pub fn read_handed(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    if !is_handed(&file) {
        check_access(path, &file, "holds a secret", "600")?;
    }
    read_open(path, file, max)
}

#[cfg(unix)]
fn is_handed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|file| file.uid() == 0 && file.mode() & 0o037 == 0)
}

#[cfg(not(unix))]
fn is_handed(_: &File) -> bool {
    false
}

/// Refuses a folder that is not there, or that others may look into or change.
pub(crate) fn check_private_folder(path: &Path) -> Result<(), FileError> {
    let folder = File::open(path).map_err(|e| FileError::new(path, explain(path, &e)))?;
    check_access(path, &folder, "holds secrets", "700")?;
    if path.is_dir() { Ok(()) } else { Err(FileError::new(path, "is not a folder")) }
}

/// Whether there is a file, or a link, of this name. That it can't be told is an error.
pub fn is_there(path: &Path) -> Result<bool, FileError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FileError::new(path, explain(path, &e))),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| FileError::new(path, e))
}

/// Overwrites a file with random bytes and removes it; durable on return. The overwriting reaches
/// the old bytes only where the file system writes in place and the disk does too.
pub(crate) fn shred(path: &Path, entropy: &mut impl Entropy) -> Result<(), FileError> {
    refuse_link(path)?;
    shred_inner(path, entropy).map_err(|e| FileError::new(path, explain(path, &e)))
}

fn shred_inner(path: &Path, entropy: &mut impl Entropy) -> io::Result<()> {
    let folder = File::open(parent_of(path))?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    let mut noise = [0; 4096];
    while left > 0 {
        entropy.fill(&mut noise);
        let part = usize::try_from(left).map_or(noise.len(), |left| left.min(noise.len()));
        file.write_all(&noise[..part])?;
        left -= part as u64;
    }
    file.sync_all()?;
    fs::remove_file(path)?;
    folder.sync_all()
}

/// `path` with `ending` added to its name, whatever dots that holds.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// The folder that a file is in.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The system's words, and what they come from where that can be seen.
fn explain(path: &Path, error: &io::Error) -> String {
    let temporary = with_ending(path, ".tmp");
    match error.kind() {
        io::ErrorKind::NotFound if temporary.exists() => format!(
            "is not there, only {}, which an interrupted write left; delete that, and restore \
             the file from your backup or make it again",
            temporary.display()
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; run the command as the user who owns it")
        }
        _ => error.to_string(),
    }
}

/// Judges the file that was opened, so that none can be put in its place in between.
#[cfg(unix)]
fn check_access(path: &Path, file: &File, what: &str, wanted: &str) -> Result<(), FileError> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let found = file.metadata().map_err(|e| FileError::new(path, explain(path, &e)))?;
    // A terminal keeps nothing.
    if found.file_type().is_char_device() {
        return Ok(());
    }
    let (mode, path_shown) = (found.mode() & 0o777, path.display());
    if mode & 0o077 != 0 {
        let problem = format!(
            "{what}, but others may access it (mode {mode:03o}); run: chmod {wanted} {path_shown}"
        );
        return Err(FileError::new(path, problem));
    }
    // What the system's administrator owns, nobody else could have put there.
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        let problem = format!(
            "{what}, but belongs to another user (id {owner}); run the command as that user, or \
             if the secret is yours: chown {own} {path_shown}"
        );
        return Err(FileError::new(path, problem));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_access(_: &Path, _: &File, _: &str, _: &str) -> Result<(), FileError> {
    Ok(())
}

#[cfg(unix)]
fn create_new(path: &Path, access: Access) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = match access {
        Access::Private => 0o600,
        Access::Shared => 0o666,
    };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path, _: Access) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Whether this open file is the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let of = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => of(file) == of(named),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
