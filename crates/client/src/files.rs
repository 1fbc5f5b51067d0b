//! Files that are either there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

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
/// lose them; until then, the old file stands.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    write_inner(path, bytes, access).map_err(|e| FileError::new(path, e))
}

fn write_inner(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Held open from before the write, so that a write-back error of the folder is not lost.
    let folder = File::open(parent)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = create(&temporary, access)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    folder.sync_all()
}

/// Writes a file that must not exist yet.
pub fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    if path.exists() {
        return Err(FileError::new(path, "exists already and is not overwritten"));
    }
    write(path, bytes, access)
}

/// Reads a file of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let wrong = |e: io::Error| FileError::new(path, e);
    let file = File::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > max {
        return Err(FileError::new(path, format!("is larger than {max} bytes")));
    }
    Ok(bytes)
}

/// As [`read`], and refuses a file that others may read or write.
pub fn read_private(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    check_private(path)?;
    read(path, max)
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_err(|e| FileError::new(path, e))?.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = format!(
            "holds a secret, but others may access it (mode {:03o}); run: chmod 600 {}",
            mode & 0o777,
            path.display()
        );
        return Err(FileError::new(path, problem));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), FileError> {
    Ok(())
}

#[cfg(unix)]
fn create(path: &Path, access: Access) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = match access {
        Access::Private => 0o600,
        Access::Shared => 0o666,
    };
    // A temporary file left by a crash may have another mode; it is ours to replace.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _: Access) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}
