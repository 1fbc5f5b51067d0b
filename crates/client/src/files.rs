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
/// lose them; until then, the old file stands.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    write_inner(path, bytes, access).map_err(|e| FileError::new(path, e))
}

fn write_inner(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let parent = parent_of(path);
    // Held open from before the write, so that a write-back error of the folder is not lost.
    let folder = File::open(parent)?;
    let temporary = with_ending(path, ".tmp");
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
    let wrong = |e: io::Error| FileError::new(path, explain(path, &e));
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
    check_mode(path, "holds a secret", "600")?;
    read(path, max)
}

/// Refuses a folder that is not there, or that others may look into or change.
pub(crate) fn check_private_folder(path: &Path) -> Result<(), FileError> {
    check_mode(path, "holds secrets", "700")?;
    if path.is_dir() { Ok(()) } else { Err(FileError::new(path, "is not a folder")) }
}

/// Overwrites a file with random bytes and removes it; durable on return. The overwriting reaches
/// the old bytes only where the file system writes in place and the disk does too.
pub(crate) fn shred(path: &Path, entropy: &mut impl Entropy) -> Result<(), FileError> {
    shred_inner(path, entropy).map_err(|e| FileError::new(path, e))
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

#[cfg(unix)]
fn check_mode(path: &Path, what: &str, wanted: &str) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|e| FileError::new(path, explain(path, &e)))?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = format!(
            "{what}, but others may access it (mode {:03o}); run: chmod {wanted} {}",
            mode & 0o777,
            path.display()
        );
        return Err(FileError::new(path, problem));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(path: &Path, _: &str, _: &str) -> Result<(), FileError> {
    fs::metadata(path).map(|_| ()).map_err(|e| FileError::new(path, explain(path, &e)))
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
