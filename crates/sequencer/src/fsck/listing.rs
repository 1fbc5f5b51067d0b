//! What lies in a log's folder, and what does not belong there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tlog::{Hash, TilePath};

use super::finding::{FolderFinding, Remedy, Weight};
use crate::file::database::NAME;
use crate::file::sums;
use crate::store::StoreError;

/// What one file is, by its path below the folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Checked where it is read: database, keys.
    Known,
    /// The lock, which is always empty.
    Lock,
    /// A full tile or bundle.
    Tile(TilePath),
    /// An artifact.
    Artifact(Hash),
    /// What a killed process left; the next one clears or replaces it.
    Leftover(&'static str),
    /// SQLite would roll the database back to it.
    Journal,
    /// Anything else.
    Foreign(&'static str),
}

/// Every file below the folder with its path, `/` between the parts, sorted.
pub(super) fn list(folder: &Path) -> Result<BTreeMap<String, Role>, StoreError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(StoreError::io(&folder))? {
            let entry = entry.map_err(StoreError::io(&folder))?;
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(StoreError::io(&path))?;
            if kind.is_dir() && name == "lost+found" {
                // Every file system of its own has one, and only root may look into it.
            } else if kind.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if kind.is_file() {
                let role = role(&name);
                found.insert(name, role);
            } else {
                found.insert(name, Role::Foreign("is neither file nor folder"));
            }
        }
    }
    Ok(found)
}

fn role(name: &str) -> Role {
    const HALF: &str = "is a file that a killed process has not finished";
    let foreign = Role::Foreign("is no part of a log");
    match name {
        "lock" => return Role::Lock,
        "log.key" | "log.vkey" | sums::NAME => return Role::Known,
        "log.key.tmp" | "log.vkey.tmp" | "log.tmp" => return Role::Leftover(HALF),
        _ => {}
    }
    // The keys of the party that logs ticks. It can be registered anew, so that their loss is no
    // damage of the log.
    if let Some(rest) = name.strip_prefix("operator.") {
        match rest.strip_prefix("recovery.").unwrap_or(rest) {
            "key" | "vkey" => return Role::Known,
            "key.tmp" | "vkey.tmp" => return Role::Leftover(HALF),
            _ => {}
        }
    }
    match name.strip_prefix(NAME) {
        Some("" | "-wal") => return Role::Known,
        Some("-shm") => {
            return Role::Leftover("holds nothing: it is made anew from the write-ahead log");
        }
        Some("-journal") => return Role::Journal,
        _ => {}
    }
    if name.starts_with("artifacts/incoming/") {
        return Role::Leftover("is an upload that never came to its end");
    }
    if let Some((folder, digest)) =
        name.strip_prefix("artifacts/").and_then(|rest| rest.split_once('/'))
    {
        return match Hash::from_hex(digest) {
            Ok(hash) if digest.starts_with(folder) && folder.len() == 2 => Role::Artifact(hash),
            _ => foreign,
        };
    }
    let (path, temporary) = match name.strip_suffix(".tmp") {
        Some(path) => (path, true),
        None => (name, false),
    };
    match TilePath::parse(path) {
        Ok(tile) if tile.is_full() && temporary => Role::Leftover(HALF),
        Ok(tile) if tile.is_full() => Role::Tile(tile),
        Ok(_) => Role::Foreign("is a partial tile, which is never stored"),
        Err(_) => foreign,
    }
}

/// Hashes a file without taking it into memory; its digest and length.
pub(super) fn digest(path: &Path) -> io::Result<(Hash, u64)> {
    let mut file = File::open(path)?;
    let (mut sha, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Hash::new(sha.finalize().into()), length)),
            read => {
                sha.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// What to say of a file whose role alone decides.
pub(super) fn remark(name: &str, role: &Role) -> Option<FolderFinding> {
    match role {
        Role::Leftover(problem) => Some(FolderFinding::leftover(name, problem)),
        Role::Journal => {
            let problem = "is a rollback journal, which a log never has: opening the database \
                           would change it by that";
            Some(FolderFinding::damage(name, problem, Remedy::Compare))
        }
        Role::Foreign(problem) => {
            let finding = FolderFinding::damage(name, problem, Remedy::Remove);
            Some(FolderFinding { weight: Weight::Foreign, ..finding })
        }
        Role::Known | Role::Lock | Role::Tile(_) | Role::Artifact(_) => None,
    }
}
