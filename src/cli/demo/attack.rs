//! What liars do, to copies.

use std::fs;
use std::path::{Path, PathBuf};

use client::{Entropy as _, SystemEntropy};
use tlog::{Checkpoint, Hash, KeyName, Note, SigningKey, TreeHead};

use crate::cli::output::Failure;

/// Copies an opening, with the first opened raw score turned from correct to incorrect or back.
pub(super) fn change_value(from: &Path, to: &Path) -> Result<(), Failure> {
    // 01 ‖ "C" and 01 ‖ "I", as value bytes in base64.
    let (correct, incorrect) = ("\"AUM=\"", "\"AUk=\"");
    let body = fs::read_to_string(from)?;
    let changed = match (body.find(correct), body.find(incorrect)) {
        (Some(c), Some(i)) if i < c => body.replacen(incorrect, correct, 1),
        (Some(_), _) => body.replacen(correct, incorrect, 1),
        (None, Some(_)) => body.replacen(incorrect, correct, 1),
        (None, None) => return Err(Failure::new("no opened score was found to change")),
    };
    Ok(fs::write(to, changed)?)
}

/// Flips one bit of the first hash tile in a copy of a log; returns the tile's path.
pub(super) fn flip_bit(copy: &Path) -> Result<String, Failure> {
    let tile = files(&copy.join("tile/0"))?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new("the copy of the log has no tile"))?;
    let mut bytes = fs::read(&tile)?;
    bytes[5] ^= 1;
    fs::write(&tile, bytes)?;
    Ok(tile.strip_prefix(copy).unwrap_or(&tile).display().to_string())
}

/// Replaces a checkpoint by one over another root, signed by a fresh key under the same name.
pub(super) fn forge_checkpoint(path: &Path) -> Result<(), Failure> {
    let note = Note::parse(&fs::read(path)?).map_err(Failure::new)?;
    let checkpoint = Checkpoint::parse_text(note.text()).map_err(Failure::new)?;
    let name = KeyName::parse(checkpoint.origin()).map_err(Failure::new)?;
    let mut entropy = SystemEntropy;
    let impostor = SigningKey::from_seed(name.clone(), &entropy.bytes());
    let head = TreeHead { size: checkpoint.size(), root: Hash::new(entropy.bytes()) };
    let forged =
        Note::sign(Checkpoint::new(&name, head).text(), &impostor).map_err(Failure::new)?;
    Ok(fs::write(path, forged.as_bytes())?)
}

/// Copies a folder with all that is in it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in files(from)? {
        let relative = file.strip_prefix(from).map_err(Failure::new)?;
        let target = to.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file, target)?;
    }
    Ok(())
}

/// All files below a folder, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
