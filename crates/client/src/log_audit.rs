//! Checking a whole log from its published bytes alone: every tile of every level is recomputed
//! from the entries, and the root from them.

use tlog::{
    CompactRange, Hash, MAX_ENTRY, TILE_WIDTH, TileKind, TilePath, TreeHead, VerifierKey,
    leaf_hash, parse_bundle,
};

use crate::log_files::{FetchError, LogFiles};

/// 256 entries of 65,535 bytes with their lengths.
const MAX_BUNDLE: usize = TILE_WIDTH as usize * (MAX_ENTRY + 2);
/// 256 hashes of 32 bytes.
const MAX_TILE: usize = TILE_WIDTH as usize * 32;

/// Something in the log that is not what its signed head calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path below the log's prefix.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Why a log could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum LogAuditError {
    /// A file could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is no checkpoint.
    #[error("there is no checkpoint: is this the address of a log?")]
    NoCheckpoint,
}

/// What was found in a log.
#[derive(Debug)]
pub struct LogAudit {
    /// The head that the log signed; none if its checkpoint does not verify.
    pub head: Option<TreeHead>,
    /// All that is wrong; empty if everything checks out.
    pub findings: Vec<Finding>,
}

/// Fetches and checks everything under the newest checkpoint. `each` gets every entry in order,
/// as its bundle has it, and may add findings of its own.
pub fn audit_log(
    files: &dyn LogFiles,
    log: &VerifierKey,
    mut each: impl FnMut(u64, &[u8]) -> Option<String>,
) -> Result<LogAudit, LogAuditError> {
    let mut findings = Vec::new();
    let note = files.fetch("checkpoint", tlog::MAX_NOTE)?.ok_or(LogAuditError::NoCheckpoint)?;
    let head = match tlog::SignedCheckpoint::open(&note, log) {
        Ok(checkpoint) => *checkpoint.head(),
        Err(e) => {
            findings.push(Finding { path: "checkpoint".to_owned(), problem: e.to_string() });
            return Ok(LogAudit { head: None, findings });
        }
    };

    let mut tree = CompactRange::new();
    // Hashes of the level at hand; first those of the leaves, then roots of full tiles.
    let mut hashes = Vec::new();
    for path in tlog::tiles_of(head.size).filter(|p| p.kind() == TileKind::Entries) {
        let Some(bytes) = fetch(files, &path, MAX_BUNDLE, &mut findings)? else { break };
        let entries = match parse_bundle(&bytes, path.width()) {
            Ok(entries) => entries,
            Err(e) => {
                findings.push(Finding { path: path.to_string(), problem: e.to_string() });
                break;
            }
        };
        for entry in entries {
            if let Some(problem) = each(tree.size(), entry) {
                let path = format!("{path} (entry {})", tree.size());
                findings.push(Finding { path, problem });
            }
            let leaf = leaf_hash(entry);
            tree.append(leaf);
            hashes.push(leaf);
        }
    }
    if tree.size() == head.size && tree.root() != head.root {
        findings.push(Finding {
            path: "checkpoint".to_owned(),
            problem: format!("its root is {}, but the entries hash to {}", head.root, tree.root()),
        });
    }
    if tree.size() == head.size {
        check_tiles(files, head.size, hashes, &mut findings)?;
    }
    Ok(LogAudit { head: Some(head), findings })
}

/// Compares every hash tile with the hashes that follow from the entries.
fn check_tiles(
    files: &dyn LogFiles,
    size: u64,
    mut hashes: Vec<Hash>,
    findings: &mut Vec<Finding>,
) -> Result<(), LogAuditError> {
    let mut level = 0;
    while !hashes.is_empty() {
        let tiles = tlog::tiles_of(size).filter(|p| p.kind() == TileKind::Hashes { level });
        for (path, expected) in tiles.zip(hashes.chunks(TILE_WIDTH as usize)) {
            let Some(bytes) = fetch(files, &path, MAX_TILE, findings)? else { continue };
            let wrong = |problem: String| Finding { path: path.to_string(), problem };
            match tlog::parse_hash_tile(&bytes, path.width()) {
                Err(e) => findings.push(wrong(e.to_string())),
                Ok(found) => {
                    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
                        findings.push(wrong(format!(
                            "hash {at} is {}, but the entries give {}",
                            found[at], expected[at]
                        )));
                    }
                }
            }
        }
        hashes = hashes
            .chunks_exact(TILE_WIDTH as usize)
            .map(|tile| tile.iter().copied().collect::<CompactRange>().root())
            .collect();
        level += 1;
    }
    Ok(())
}

/// A tile at the width that the checkpoint calls for. If a partial tile is gone, the full one
/// answers (C2SP tlog-tiles).
fn fetch(
    files: &dyn LogFiles,
    path: &TilePath,
    max: usize,
    findings: &mut Vec<Finding>,
) -> Result<Option<Vec<u8>>, LogAuditError> {
    if let Some(bytes) = files.fetch(&path.to_string(), max)? {
        return Ok(Some(bytes));
    }
    if !path.is_full()
        && let Some(bytes) = files.fetch(&path.full().to_string(), max)?
    {
        return Ok(Some(cut(bytes, path)));
    }
    let problem = "is not there, though the checkpoint calls for it".to_owned();
    findings.push(Finding { path: path.to_string(), problem });
    Ok(None)
}

/// The part of a full tile or bundle that a partial one of this width has.
fn cut(mut bytes: Vec<u8>, path: &TilePath) -> Vec<u8> {
    let length = match path.kind() {
        TileKind::Hashes { .. } => 32 * usize::from(path.width()),
        TileKind::Entries => match parse_bundle(&bytes, TILE_WIDTH as u16) {
            Ok(entries) => {
                entries.iter().take(usize::from(path.width())).map(|e| 2 + e.len()).sum()
            }
            // Left as it is; parsing at the partial width then says what is wrong.
            Err(_) => bytes.len(),
        },
    };
    bytes.truncate(length);
    bytes
}
