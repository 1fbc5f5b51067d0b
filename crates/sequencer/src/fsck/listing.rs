//! What lies in a log's folder, and what does not belong there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tlog::{Hash, TilePath};

use super::folder::Weight;
use crate::file::database::NAME;
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
    Leftover,
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
            if kind.is_dir() {
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
    let foreign = Role::Foreign("does not belong here");
    match name {
        "lock" => return Role::Lock,
        "log.key" | "log.vkey" => return Role::Known,
        "log.key.tmp" | "log.vkey.tmp" => return Role::Leftover,
        _ => {}
    }
    if let Some(ending) = name.strip_prefix(NAME) {
        return if ["", "-wal", "-shm"].contains(&ending) { Role::Known } else { foreign };
    }
    if name.starts_with("artifacts/incoming/") {
        return Role::Leftover;
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
        Ok(tile) if tile.is_full() && temporary => Role::Leftover,
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
pub(super) fn remark(role: &Role) -> Option<(Weight, &'static str)> {
    match role {
        Role::Leftover => {
            Some((Weight::Leftover, "a killed process left it; the next one clears it"))
        }
        Role::Foreign(problem) => Some((Weight::Damage, problem)),
        _ => None,
    }
}
