//! What a witness cosigned last, as files that a web server can give out, at the paths of C2SP
//! tlog-witness: `<SHA-256 of the origin>/checkpoint`.
//!
//! They are written a moment after the cosignature, so they never run ahead of a store that is
//! whole. A store that is behind them, or behind anything else that shows a cosignature of this
//! witness, is an old one that somebody put back.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::{Checkpoint, Hash, Note, SigningKey, TreeHead, VerifierKey};

use crate::decision::{Cosigned, Refused, State, own_time};
use crate::writer::place;

/// The folder with published checkpoints.
#[derive(Debug)]
pub(crate) struct Published {
    folder: PathBuf,
    /// What is written of each log. A second may see several heads.
    written: HashMap<Hash, (u64, TreeHead)>,
}

impl Published {
    /// The folder, which need not be there yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), written: HashMap::new() }
    }

    /// Writes what has changed since the last call.
    pub(crate) fn write(&mut self, all: &[Arc<Cosigned>], key: &SigningKey) -> io::Result<()> {
        for cosigned in all {
            let place = place(cosigned.origin());
            let this = (cosigned.time(), *cosigned.head());
            if self.written.get(&place) == Some(&this) {
                continue;
            }
            let folder = self.folder.join(place.to_string());
            fs::create_dir_all(&folder)?;
            let temporary = folder.join("checkpoint.tmp");
            // No sync: after a power cut an old one stands here, or a damaged one, which nobody
            // takes for anything.
            fs::write(&temporary, cosigned.published(key).as_bytes())?;
            fs::rename(&temporary, folder.join("checkpoint"))?;
            self.written.insert(place, this);
        }
        Ok(())
    }
}

/// Compares a checkpoint that stands somewhere, under a cosignature of this witness, with its
/// state. Whatever this witness did not cosign says nothing.
pub fn check_shown(note: &[u8], state: &State, own: &VerifierKey) -> Result<(), Refused> {
    let Ok(note) = Note::parse(note) else { return Ok(()) };
    let Some(time) = own_time(&note, own) else { return Ok(()) };
    let Ok(checkpoint) = Checkpoint::parse_text(note.text()) else { return Ok(()) };
    state.check_shown(checkpoint.origin(), checkpoint.head(), time)
}
