//! What the tests of several modules share.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use client::Entropy;
use tempfile::TempDir;

/// A counter behind a hash: chance that is the same in every run.
#[derive(Default)]
pub(crate) struct Seeded(u64);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(32) {
            self.0 += 1;
            let block = tlog::Hash::of(&[&self.0.to_be_bytes()]);
            part.copy_from_slice(&block.as_bytes()[..part.len()]);
        }
    }
}

pub(crate) fn folder() -> TempDir {
    TempDir::with_prefix("countersign-client-").unwrap()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives the file to another user, if this one may.
pub(crate) fn give_away(path: &Path) -> bool {
    let given = std::os::unix::fs::chown(path, Some(12_345), None).is_ok();
    if !given {
        eprintln!("skipped: only root gives files to other users");
    }
    given
}

/// Every file below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Names and contents of all files below a folder.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files_below(folder).into_iter();
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

pub(crate) fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Asserts that the words of an error say all of this.
#[track_caller]
pub(crate) fn says(error: &impl ToString, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}
