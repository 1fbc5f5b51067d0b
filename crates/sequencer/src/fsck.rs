//! Checks everything that a log stores against its signed root, and says what is wrong where:
//! [`check`] what an open log can read, [`StoppedLog`] every byte of a folder.

mod finding;
mod folder;
mod leaves;
mod listing;
mod pages;
mod rows;
mod tree;

use tlog::{TILE_WIDTH, TileKind, TilePath, tiles_of};

use crate::entry::StatementKey;
use crate::snapshot::{ReadError, Snapshot};

pub use finding::{FolderFinding, Remedy, Weight};
pub use folder::{Artifacts, Checked, Inspector, Objection, StoppedLog, Work};

/// Something stored that is not what the signed root says.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// A tile is missing, damaged, or can't be read.
    #[error("{path}: {error}")]
    Tile {
        /// The tile or bundle that was asked for. The error may name the one above it.
        path: TilePath,
        /// What is wrong.
        error: ReadError,
    },
    /// The index of leaf hashes or of statement keys does not lead to the entry.
    #[error("the index of {index_of} leads from entry {entry} to {found:?}")]
    Index {
        /// Which index: `leaves` or `keys`.
        index_of: &'static str,
        /// The entry.
        entry: u64,
        /// Where the index leads.
        found: Option<u64>,
    },
    /// The index can't be read.
    #[error("the index: {0}")]
    Unreadable(ReadError),
}

/// Reads every tile and bundle of the snapshot and looks every entry up in the index. `key_of`
/// derives the statement key from the bytes of an entry; where it gives `None` no key is looked
/// up. Findings come in the order of the tiles; none means that all is well. Returns the number
/// of tiles and bundles read.
pub fn check(
    snapshot: &Snapshot,
    key_of: &dyn Fn(&[u8]) -> Option<StatementKey>,
    report: &mut dyn FnMut(Finding),
) -> u64 {
    let mut read = 0;
    for path in tiles_of(snapshot.size()) {
        read += 1;
        match snapshot.tile(&path) {
            Ok(Some(_)) => {}
            Ok(None) => report(Finding::Tile { path, error: ReadError::Missing { path } }),
            Err(error) => {
                report(Finding::Tile { path, error });
                continue;
            }
        }
        if path.kind() == TileKind::Entries {
            let first = path.index() * TILE_WIDTH;
            for entry in first..first + u64::from(path.width()) {
                if let Err(error) = check_index(snapshot, entry, key_of, report) {
                    report(Finding::Unreadable(error));
                }
            }
        }
    }
    read
}

fn check_index(
    snapshot: &Snapshot,
    entry: u64,
    key_of: &dyn Fn(&[u8]) -> Option<StatementKey>,
    report: &mut dyn FnMut(Finding),
) -> Result<(), ReadError> {
    let found = snapshot.index_of_leaf(&snapshot.leaf(entry)?)?;
    if found != Some(entry) {
        report(Finding::Index { index_of: "leaves", entry, found });
    }
    if let Some(key) = key_of(&snapshot.entry(entry)?) {
        let found = snapshot.index_of_key(&key)?;
        if found != Some(entry) {
            report(Finding::Index { index_of: "keys", entry, found });
        }
    }
    Ok(())
}
