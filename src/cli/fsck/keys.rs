//! The key files of a log, byte for byte.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use client::keys;
use sequencer::{FolderFinding, Remedy};
use tlog::VerifierKey;

use crate::cli::output::Failure;

/// Checks `log.vkey` and `log.key`. Gives the key to check signatures with: the pinned one, else
/// the folder's own, if that can be read. With a pinned key, the private one need not be there.
pub(super) fn check(
    folder: &Path,
    pinned: Option<&VerifierKey>,
    found: &mut Vec<FolderFinding>,
) -> Result<Option<VerifierKey>, Failure> {
    let public = public(folder, pinned, found)?;
    private(folder, pinned.is_some(), found)?;
    Ok(pinned.cloned().or(public))
}

fn public(
    folder: &Path,
    pinned: Option<&VerifierKey>,
    found: &mut Vec<FolderFinding>,
) -> Result<Option<VerifierKey>, Failure> {
    const NAME: &str = "log.vkey";
    let path = folder.join(NAME);
    let damage = |problem: String| FolderFinding::damage(NAME, problem, Remedy::Key);
    let Some(bytes) = read(&path)? else {
        if pinned.is_none() {
            let problem = "is missing: no signature was checked and no statement replayed";
            found.push(damage(problem.to_owned()));
        }
        return Ok(None);
    };
    let key = match keys::read_vkey(&path) {
        Ok(key) => key,
        Err(error) => {
            found.push(damage(error.problem));
            return Ok(None);
        }
    };
    let written = format!("{key}\n");
    if *bytes != written.as_bytes() {
        let finding = damage("is not as it was written, though it can be read".to_owned());
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        found.push(finding.expected(format!("{written:?}"), format!("{shown:?}")));
    }
    if let Some(pinned) = pinned.filter(|pinned| **pinned != key) {
        let finding = damage("is not the key that was pinned".to_owned());
        found.push(finding.expected(pinned, &key));
    }
    Ok(Some(key))
}

/// What the private key holds is in no finding.
fn private(folder: &Path, pinned: bool, found: &mut Vec<FolderFinding>) -> Result<(), Failure> {
    const NAME: &str = "log.key";
    let path = folder.join(NAME);
    let damage = |problem: String, remedy| FolderFinding::damage(NAME, problem, remedy);
    if read(&path)?.is_none() {
        if !pinned {
            let problem = "is missing: the log cannot go on without it";
            found.push(damage(problem.to_owned(), Remedy::Key));
        }
        return Ok(());
    }
    if let Some(mode) = exposed(&path)? {
        let finding = damage("can be read or changed by others".to_owned(), Remedy::Mode);
        found.push(finding.expected("mode 600", format!("mode {mode:03o}")));
        return Ok(());
    }
    match keys::read_signing(&path) {
        // Of what is wrong with the public half a finding tells already.
        Err(error) if error.path != path => {}
        Err(error) => found.push(damage(error.problem, Remedy::Key)),
        Ok(key) => {
            if !keys::is_as_written(&path, &key)? {
                let problem = "is not as it was written, though it can be read";
                found.push(damage(problem.to_owned(), Remedy::Key));
            }
        }
    }
    Ok(())
}

/// The bytes of a file; `None` if it is not there. What the user may not read can't be checked.
fn read(path: &Path) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))
            .next("run it as the user who owns the folder")),
    }
}

/// The mode of a file that others than its owner may read or write.
#[cfg(unix)]
fn exposed(path: &Path) -> Result<Option<u32>, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata =
        fs::metadata(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    let mode = metadata.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

#[cfg(not(unix))]
fn exposed(_path: &Path) -> Result<Option<u32>, Failure> {
    Ok(None)
}
