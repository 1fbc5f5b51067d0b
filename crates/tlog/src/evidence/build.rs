//! Making evidence out of what a client holds: two checkpoints and nodes of the larger tree, or two
//! receipts.
//!
//! What is made is judged before it is handed out, so a builder never gives a file that its reader
//! would refuse. Only lines of accused keys go into it: a log could have put others there whose
//! signatures fail, which would spoil the file.

use super::file::{Accused, Evidence, FormatError};
use super::judge::{Fault, KnownKeys, ROLLBACK_SLACK, times_of};
use super::kind::{Kind, Role};
use crate::{
    Checkpoint, CheckpointError, Hash, NodeReader, Note, NoteError, Receipt, ReceiptError,
    VerifierKey, prefix_roots, prove_prefix,
};

/// Why no evidence could be made. That there is nothing to accuse anybody of is no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError<E> {
    /// A checkpoint's text is none.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No key that the reader knows signed both.
    #[error("no key that is known here signed both")]
    NobodySignedBoth,
    /// The two are about different logs.
    #[error("the two are about different logs, {a} and {b}")]
    Origins {
        /// Origin of the first.
        a: String,
        /// Origin of the second.
        b: String,
    },
    /// The nodes of the larger tree could not be read.
    #[error("the nodes of the tree of size {size} are not to be had: {cause}")]
    Nodes {
        /// Size of the larger tree.
        size: u64,
        /// What the source says.
        cause: E,
    },
    /// What was made proves nothing: the nodes or receipts are not those of the signed trees.
    #[error("the material does not fit together: {0}")]
    Unfit(#[from] Fault),
    /// What was made is too large for a file, or keys are too many.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A note can't be cut down to the lines of the accused.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A receipt can't be rewritten.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

/// Compares two checkpoints of one log and makes evidence if they contradict each other, or if a
/// witness went back from the larger to the smaller. `larger` reads nodes of the tree of the
/// larger one, from tiles or a copy that need not be checked before; it is not asked if the sizes
/// are equal. `None` means that all known signers of both may be honest.
pub fn accuse_heads<R: NodeReader>(
    known: &KnownKeys,
    a: &Note,
    b: &Note,
    larger: &R,
) -> Result<Option<Evidence>, BuildError<R::Error>> {
    accuse_heads_by(known, a, b, |old, new| prove_prefix(larger, old, new))
}

/// As [`accuse_heads`], where `nodes` gives what [`prove_prefix`] lists for two sizes, if asked.
pub fn accuse_heads_by<E>(
    known: &KnownKeys,
    a: &Note,
    b: &Note,
    nodes: impl FnOnce(u64, u64) -> Result<Vec<Hash>, E>,
) -> Result<Option<Evidence>, BuildError<E>> {
    let (checkpoint_a, checkpoint_b) = checkpoints(a, b)?;
    let ((a, old), (b, new)) = if checkpoint_a.size() <= checkpoint_b.size() {
        ((a, *checkpoint_a.head()), (b, *checkpoint_b.head()))
    } else {
        ((b, *checkpoint_b.head()), (a, *checkpoint_a.head()))
    };
    let signers = Signers::of_both(known, a, b);
    if signers.is_empty() {
        return Err(BuildError::NobodySignedBoth);
    }
    if old.size == new.size {
        if old.root == new.root {
            return Ok(None);
        }
        return signers.accuse(known, Kind::TwoHeads, Vec::new(), |keys| heads(a, b, keys));
    }
    if old.size > 0 {
        let nodes = match nodes(old.size, new.size) {
            Ok(nodes) => nodes,
            // Without the tree, times may still tell.
            Err(cause) => {
                let rollback = signers.accuse_rollback(known, a, b)?;
                return rollback
                    .map_or(Err(BuildError::Nodes { size: new.size, cause }), |found| {
                        Ok(Some(found))
                    });
            }
        };
        let (older, newer) = prefix_roots(old.size, new.size, &nodes).map_err(Fault::from)?;
        if newer != new.root {
            return Err(Fault::ForeignNodes { root: new.root }.into());
        }
        if older != old.root {
            return signers.accuse(known, Kind::PrefixConflict, nodes, |keys| heads(a, b, keys));
        }
    }
    signers.accuse_rollback(known, a, b)
}

/// Compares two receipts for one index and makes evidence if they are for different leaves. The
/// receipts are checked here. `None` if they are for one leaf.
pub fn accuse_leaves(
    known: &KnownKeys,
    (leaf_a, receipt_a): (Hash, &Receipt),
    (leaf_b, receipt_b): (Hash, &Receipt),
) -> Result<Option<Evidence>, BuildError<std::convert::Infallible>> {
    let (a, b) = (receipt_a.checkpoint(), receipt_b.checkpoint());
    checkpoints(a, b)?;
    let signers = Signers::of_both(known, a, b);
    if signers.is_empty() {
        return Err(BuildError::NobodySignedBoth);
    }
    if receipt_a.index() != receipt_b.index() {
        let (a, b) = (receipt_a.index(), receipt_b.index());
        return Err(Fault::Indices { a, b }.into());
    }
    if leaf_a == leaf_b {
        return Ok(None);
    }
    let placed = |leaf: Hash, receipt: &Receipt, keys: &[&VerifierKey]| {
        let note = receipt.checkpoint().with_lines_of(keys)?;
        let proof = receipt.proof().to_vec();
        let receipt = Receipt::new(receipt.index(), proof, note.as_bytes())?;
        Ok::<_, BuildError<_>>((format!("{}\n", leaf.to_base64()).into_bytes(), receipt.to_bytes()))
    };
    signers.accuse(known, Kind::LeafConflict, Vec::new(), |keys| {
        let (leaf_a, proof_a) = placed(leaf_a, receipt_a, keys)?;
        let (leaf_b, proof_b) = placed(leaf_b, receipt_b, keys)?;
        let parts = [("leaf-a", leaf_a), ("proof-a", proof_a), ("leaf-b", leaf_b)];
        Ok(parts.into_iter().chain([("proof-b", proof_b)]).collect())
    })
}

/// What two notes say, if it is about one log.
fn checkpoints<E>(a: &Note, b: &Note) -> Result<(Checkpoint, Checkpoint), BuildError<E>> {
    let (a, b) = (Checkpoint::parse_text(a.text())?, Checkpoint::parse_text(b.text())?);
    if a.origin() == b.origin() {
        return Ok((a, b));
    }
    Err(BuildError::Origins { a: a.origin().to_owned(), b: b.origin().to_owned() })
}

type Parts = Vec<(&'static str, Vec<u8>)>;

fn heads<E>(a: &Note, b: &Note, keys: &[&VerifierKey]) -> Result<Parts, BuildError<E>> {
    let bytes = |note: &Note| Ok::<_, NoteError>(note.with_lines_of(keys)?.as_bytes().to_vec());
    Ok(vec![("checkpoint-a", bytes(a)?), ("checkpoint-b", bytes(b)?)])
}

/// Known keys with a good signature on both of two notes.
struct Signers {
    log: Option<Accused>,
    witnesses: Vec<Accused>,
}

impl Signers {
    fn of_both(known: &KnownKeys, a: &Note, b: &Note) -> Self {
        let signed = |key: &VerifierKey| {
            // Each key by itself: a bad line by another key must not spoil this one's good one.
            let good = |note: &Note| {
                let own = note.with_lines_of(&[key]);
                own.is_ok_and(|own| own.verify(&[key]).is_ok())
            };
            good(a) && good(b)
        };
        let origin = a.text().lines().next().unwrap_or_default();
        let of = |role: Role| {
            let keys = known.of(role).iter().filter(|key| signed(key));
            keys.filter_map(move |key| Accused::new(role, key.clone())).collect::<Vec<_>>()
        };
        let mut logs = of(Role::Log).into_iter();
        let log = logs.find(|log| log.key().name().as_str() == origin);
        Self { log, witnesses: of(Role::Witness) }
    }

    fn is_empty(&self) -> bool {
        self.log.is_none() && self.witnesses.is_empty()
    }

    /// Evidence of a contradiction: of this kind against the log alone, or against all witnesses
    /// that signed both sides, with the log if it did too.
    fn accuse<E>(
        self,
        known: &KnownKeys,
        kind: Kind,
        nodes: Vec<Hash>,
        parts: impl FnOnce(&[&VerifierKey]) -> Result<Parts, BuildError<E>>,
    ) -> Result<Option<Evidence>, BuildError<E>> {
        let kind = if self.witnesses.is_empty() { kind } else { Kind::WitnessDoubleSign };
        let accused: Vec<Accused> = self.log.into_iter().chain(self.witnesses).collect();
        let keys: Vec<&VerifierKey> = accused.iter().map(Accused::key).collect();
        let parts = parts(&keys)?;
        let evidence = Evidence::new(kind, accused, nodes, parts)?;
        evidence.judge(known)?;
        Ok(Some(evidence))
    }

    /// `smaller` and `larger` are of one history, or nobody can tell.
    fn accuse_rollback<E>(
        mut self,
        known: &KnownKeys,
        smaller: &Note,
        larger: &Note,
    ) -> Result<Option<Evidence>, BuildError<E>> {
        self.witnesses.retain(|witness| {
            let first = times_of(larger, witness.key()).min();
            let last = times_of(smaller, witness.key()).max();
            first.zip(last).is_some_and(|(first, last)| last > first.saturating_add(ROLLBACK_SLACK))
        });
        if self.witnesses.is_empty() {
            return Ok(None);
        }
        let signers = Self { log: None, ..self };
        let accused = signers.witnesses;
        let keys: Vec<&VerifierKey> = accused.iter().map(Accused::key).collect();
        let parts = heads(larger, smaller, &keys)?;
        let evidence = Evidence::new(Kind::WitnessRollback, accused, Vec::new(), parts)?;
        evidence.judge(known)?;
        Ok(Some(evidence))
    }
}
