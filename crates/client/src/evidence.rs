//! Evidence on the client's side: made from what a log answers when it contradicts a head that was
//! verified before, and kept as files.
//!
//! A connection that is shown another history asks the server, in its own interest or not, for the
//! proofs that convict it: the nodes of the larger tree are checked against the root that it
//! signed, so it can withhold them but not falsify them.

use std::path::{Path, PathBuf};

use tlog::evidence::{Evidence, KnownKeys};
use tlog::{Hash, SignedCheckpoint};

use crate::connection::{CallError, Connection};
use crate::files::{self, Access, FileError};
use crate::keys::file_stem;

/// Two heads that one log signed and that can't be of one history, as far as its proofs go.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The head that was verified before.
    pub held: SignedCheckpoint,
    /// The head that the log shows now.
    pub shown: SignedCheckpoint,
    /// Evidence, or why there is none yet.
    pub evidence: Result<Evidence, NoEvidence>,
}

/// Why two heads that contradict each other are no evidence yet. Both are worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// The larger head is of the other history, whose tree this server does not give.
    #[error(
        "the larger head, of size {size}, is not in the history that this server shows; whoever has \
         that tree can prove it: another reader's copy, a mirror, or this log once it has grown to \
         {size} entries"
    )]
    OtherTree {
        /// Size of the larger head.
        size: u64,
    },
    /// The server does not give the proofs, or gives wrong ones. A finding: it accuses nobody.
    #[error("the log withholds the nodes of its tree of size {size}: {problem}")]
    Withheld {
        /// Size of the larger head.
        size: u64,
        /// What it answered.
        problem: String,
    },
}

impl Conflict {
    /// Makes the evidence anew under more keys: witnesses that cosigned both heads are named too.
    pub fn accuse(&mut self, known: &KnownKeys) {
        let Ok(evidence) = &self.evidence else { return };
        let nodes = evidence.nodes().to_vec();
        let nodes = |_, _| Ok::<_, std::convert::Infallible>(nodes);
        let (held, shown) = (self.held.note(), self.shown.note());
        if let Ok(Some(made)) = tlog::evidence::accuse_heads_by(known, held, shown, nodes) {
            self.evidence = Ok(made);
        }
    }
}

impl Connection {
    /// Compares a head that was verified before with one that this server shows, which did not
    /// extend it, and makes evidence of the contradiction if the server's proofs allow it.
    pub async fn accuse(&mut self, held: SignedCheckpoint, shown: SignedCheckpoint) -> Conflict {
        let evidence = self.prove(&held, &shown).await;
        Conflict { held, shown, evidence }
    }

    async fn prove(
        &mut self,
        held: &SignedCheckpoint,
        shown: &SignedCheckpoint,
    ) -> Result<Evidence, NoEvidence> {
        let (old, new) = (held.head().size, shown.head().size);
        let size = old.max(new);
        if old > new {
            return Err(NoEvidence::OtherTree { size });
        }
        let withheld = |problem: String| NoEvidence::Withheld { size, problem };
        let nodes = match (old, new) {
            (old, new) if old == new => Vec::new(),
            _ => self.prefix_nodes(old, new).await.map_err(|error| withheld(error.to_string()))?,
        };
        let nodes = |_, _| Ok::<_, std::convert::Infallible>(nodes);
        let made = tlog::evidence::accuse_heads_by(self.known(), held.note(), shown.note(), nodes);
        match made {
            Ok(Some(evidence)) => Ok(evidence),
            Ok(None) => Err(withheld("its proofs show no contradiction after all".to_owned())),
            Err(error) => Err(withheld(error.to_string())),
        }
    }

    /// What [`tlog::prove_prefix`] lists, from the server's proofs.
    async fn prefix_nodes(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, CallError> {
        let mut nodes = self.consistency(old, new).await?;
        if old.is_power_of_two() {
            // The proof leaves out the root of the first `old` leaves, which evidence begins with.
            nodes.insert(0, self.root_at(old).await?);
        }
        Ok(nodes)
    }
}

/// Writes evidence into a folder, under a name that says what it is about and belongs to these
/// bytes alone; evidence that is there already stays as it is.
pub fn keep(folder: &Path, evidence: &Evidence) -> Result<PathBuf, FileError> {
    let bytes = evidence.to_bytes();
    let about = evidence.accused().first().map(|accused| file_stem(accused.key().name()));
    let about = about.unwrap_or_else(|| "finding".to_owned());
    let name = format!("{about}-{}", evidence.kind());
    keep_as(folder, &name, "evidence", &bytes)
}

/// Writes a checkpoint that is to be kept, with all its signatures.
pub fn keep_checkpoint(folder: &Path, checkpoint: &SignedCheckpoint) -> Result<PathBuf, FileError> {
    let origin = checkpoint.checkpoint().origin().replace(['/', '\\', '\0'], "_");
    let name = format!("{origin}-{}", checkpoint.head().size);
    keep_as(folder, &name, "checkpoint", checkpoint.as_bytes())
}

fn keep_as(folder: &Path, name: &str, ending: &str, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let digest = Hash::of(&[bytes]).to_string();
    let path = folder.join(format!("{name}-{}.{ending}", &digest[..8]));
    let known = files::read(&path, bytes.len() as u64).is_ok_and(|known| known == bytes);
    if !known {
        files::write(&path, bytes, Access::Shared)?;
    }
    Ok(path)
}
