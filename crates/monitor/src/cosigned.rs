//! What each witness was seen to cosign. A witness that cosigns a smaller head later, or one that
//! contradicts what it cosigned before, convicts itself; to see that, one must have kept the head
//! before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::files::{self, Access};
use tlog::evidence::{Evidence, KnownKeys, Role, accuse_heads_by};
use tlog::{Checkpoint, Hash, KeyKind, MAX_NOTE, MemoryNodes, Note, VerifierKey, prove_prefix};

use crate::store::StoreError;

/// The largest head that each witness was seen to cosign.
#[derive(Debug)]
pub(crate) struct Cosigned {
    folder: PathBuf,
    largest: BTreeMap<[u8; 32], Note>,
}

impl Cosigned {
    /// Reads what was kept. A note that the witness did not sign is not what was kept.
    pub(crate) fn open(folder: &Path, known: &KnownKeys) -> Result<Self, StoreError> {
        let folder = folder.join("cosigned");
        let mut largest = BTreeMap::new();
        for witness in known.of(Role::Witness) {
            let path = place(&folder, witness);
            if !path.exists() {
                continue;
            }
            let bytes = files::read(&path, MAX_NOTE as u64)?;
            let note = Note::parse(&bytes).ok().and_then(|note| signed_by(&note, witness));
            let note = note.ok_or_else(|| StoreError::Foreign {
                place: path.display().to_string(),
                problem: format!("is not cosigned by {}", witness.name()),
            })?;
            largest.insert(*witness.public().as_bytes(), note);
        }
        Ok(Self { folder, largest })
    }

    /// Takes note of who cosigned a head, and compares it with what they cosigned before. `nodes`
    /// are those of the history that is verified here. What convicts a witness comes back.
    pub(crate) fn see(
        &mut self,
        note: &Note,
        known: &KnownKeys,
        nodes: &MemoryNodes,
    ) -> Result<Vec<Evidence>, StoreError> {
        let mut made = Vec::new();
        let Some(size) = size_of(note) else { return Ok(made) };
        for witness in known.of(Role::Witness) {
            let Some(own) = signed_by(note, witness) else { continue };
            let before = self.largest.get(witness.public().as_bytes());
            let largest = before.and_then(size_of);
            if let Some(before) = before {
                // Its own lines alone, so that nobody else's signature decides about it.
                let keys = KnownKeys::default().with(Role::Witness, witness.clone());
                let accused =
                    accuse_heads_by(&keys, before, &own, |old, new| prefix_nodes(nodes, old, new));
                made.extend(accused.ok().flatten());
            }
            if largest.is_none_or(|largest| largest < size) {
                files::write(&place(&self.folder, witness), own.as_bytes(), Access::Shared)?;
                self.largest.insert(*witness.public().as_bytes(), own);
            }
        }
        Ok(made)
    }
}

/// The nodes that show how two sizes of this history hang together, if it is that long.
pub(crate) fn prefix_nodes(
    nodes: &MemoryNodes,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, &'static str> {
    if new > nodes.size() {
        return Err("that tree is not here");
    }
    let Ok(hashes) = prove_prefix(nodes, old, new);
    Ok(hashes)
}

/// The note with this witness's lines alone, if they verify.
fn signed_by(note: &Note, witness: &VerifierKey) -> Option<Note> {
    let own = note.retaining(|line| line.names(witness)).ok()?;
    own.verify(&[witness]).ok().filter(|verified| !verified.is_empty())?;
    Some(own)
}

fn size_of(note: &Note) -> Option<u64> {
    Checkpoint::parse_text(note.text()).ok().map(|checkpoint| checkpoint.size())
}

/// One file for each key; names of witnesses may hold anything.
fn place(folder: &Path, witness: &VerifierKey) -> PathBuf {
    debug_assert_eq!(witness.kind(), KeyKind::Cosignature);
    folder.join(Hash::of(&[witness.public().as_bytes()]).to_string())
}
