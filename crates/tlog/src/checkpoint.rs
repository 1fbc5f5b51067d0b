//! Checkpoints (C2SP tlog-checkpoint): a log's statement of its size and root, in a signed note.
//!
//! ```text
//! <origin>
//! <size, decimal>
//! <base64(root)>
//! <extension lines, if any>
//! ```
//!
//! Extension lines are kept byte for byte, since cosignatures cover them, and mean nothing here.

use std::fmt;

use crate::decimal::{LIMIT, parse_decimal};
use crate::note::check_text;
use crate::{
    EMPTY_ROOT, Hash, KeyKind, KeyName, Note, NoteError, NoteSignature, SigningKey, TreeHead,
    VerifierKey,
};

/// Why a note is not a checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is malformed, or the log did not sign it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Fewer than three lines.
    #[error("checkpoint has fewer than three lines")]
    TooShort,
    /// The first line is empty.
    #[error("checkpoint has an empty origin")]
    EmptyOrigin,
    /// The second line is not a canonical decimal below 2^63.
    #[error("size of the checkpoint is not a decimal below 2^63")]
    Size,
    /// The third line is not the base64 of 32 bytes.
    #[error("root of the checkpoint is not the base64 of a hash")]
    Root,
    /// An extension line is empty.
    #[error("checkpoint has an empty extension line")]
    EmptyExtension,
    /// Size 0 with a root other than the root of nothing.
    #[error("checkpoint of an empty tree has the root {root}")]
    EmptyTree {
        /// The root that it has.
        root: Hash,
    },
    /// Signed by the log's key, but about another log.
    #[error("checkpoint is of the log {origin:?}, not of {name}")]
    ForeignOrigin {
        /// The origin in the checkpoint.
        origin: String,
        /// The name of the key.
        name: KeyName,
    },
    /// The key is a witness's.
    #[error("{name} is not a log's key: its type is not 01")]
    NotLogKey {
        /// The name of the key.
        name: KeyName,
    },
}

/// The text of a checkpoint. Holding one says nothing about who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    text: String,
    origin_len: usize,
    extensions_start: usize,
    head: TreeHead,
}

impl Checkpoint {
    /// The checkpoint of a log at a tree head, without extension lines. The head's size is below
    /// 2^63, and 0 only with the root of nothing.
    pub fn new(origin: &KeyName, head: TreeHead) -> Self {
        debug_assert!(head.size < LIMIT && (head.size > 0 || head.root == EMPTY_ROOT));
        let text = format!("{origin}\n{}\n{}\n", head.size, head.root.to_base64());
        Self { origin_len: origin.as_str().len(), extensions_start: text.len(), text, head }
    }

    /// Reads the text of a note, all lines ended by newlines.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse_lines(text)?;
        checkpoint.check_empty_tree()?;
        Ok(checkpoint)
    }

    /// As [`parse_text`](Self::parse_text), with any root for an empty tree: a witness answers
    /// that with another status than what does not parse.
    pub(crate) fn parse_lines(text: &str) -> Result<Self, CheckpointError> {
        check_text(text.as_bytes())?;
        let lines = text.strip_suffix('\n').ok_or(NoteError::UnendedText)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::TooShort);
        };
        if origin.is_empty() {
            return Err(CheckpointError::EmptyOrigin);
        }
        let head = TreeHead {
            size: parse_decimal(size).ok_or(CheckpointError::Size)?,
            root: Hash::from_base64(root).map_err(|_| CheckpointError::Root)?,
        };
        if lines.any(str::is_empty) {
            return Err(CheckpointError::EmptyExtension);
        }
        Ok(Self {
            text: text.to_owned(),
            origin_len: origin.len(),
            extensions_start: origin.len() + size.len() + root.len() + 3,
            head,
        })
    }

    pub(crate) fn check_empty_tree(&self) -> Result<(), CheckpointError> {
        let root = self.head.root;
        if self.head.size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyTree { root });
        }
        Ok(())
    }

    /// The log that it is about: the name of its key.
    pub fn origin(&self) -> &str {
        &self.text[..self.origin_len]
    }

    /// Size and root, which belong together.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// Root of the tree.
    pub fn root(&self) -> &Hash {
        &self.head.root
    }

    /// Extension lines without their newlines.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.text[self.extensions_start..].lines()
    }

    /// The whole text, as signed.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A checkpoint that its log signed: whoever holds one knows so. `Display` writes the whole note
/// byte for byte, with the signatures of others too, which may be anyone's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Opens a note under the log's key of type 01: the signature verifies, and the origin is the
    /// name of the key.
    pub fn open(note: &[u8], log: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::of_note(Note::parse(note)?, log)
    }

    /// As [`open`](Self::open), for a note that was parsed before.
    pub fn of_note(note: Note, log: &VerifierKey) -> Result<Self, CheckpointError> {
        if log.kind() != KeyKind::Ed25519 {
            return Err(CheckpointError::NotLogKey { name: log.name().clone() });
        }
        note.verify(&[log])?;
        let checkpoint = Checkpoint::parse_text(note.text())?;
        if checkpoint.origin() != log.name().as_str() {
            return Err(CheckpointError::ForeignOrigin {
                origin: checkpoint.origin().to_owned(),
                name: log.name().clone(),
            });
        }
        Ok(Self { note, checkpoint })
    }

    /// Signs a tree head with the log's key, whose name is the origin. The head is durable before
    /// the note leaves the log, and fulfils what [`Checkpoint::new`] asks.
    pub fn sign(log: &SigningKey, head: TreeHead) -> Self {
        let checkpoint = Checkpoint::new(log.name(), head);
        let note = Note::sign(checkpoint.text(), log)
            .expect("three lines of a key name, a number and base64 are a note");
        Self { note, checkpoint }
    }

    /// The checkpoint with the signature line of a witness, which is verified first: it names the
    /// witness's key and is over this text.
    pub fn with_cosignature(
        &self,
        line: NoteSignature,
        witness: &VerifierKey,
    ) -> Result<Self, NoteError> {
        witness.check(self.note.text(), &line).map_err(|_| NoteError::BadSignature {
            name: witness.name().clone(),
            id: witness.id(),
        })?;
        let note = self.note.with_signature(line)?;
        Ok(Self { note, checkpoint: self.checkpoint.clone() })
    }

    /// The checkpoint with the log's own signature and no other: what a witness is sent, since
    /// some read no more than 10 KiB.
    pub fn without_cosignatures(&self, log: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::of_note(self.note.with_lines_of(&[log])?, log)
    }

    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The note with all its signature lines.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The whole note, byte for byte.
    pub fn as_bytes(&self) -> &[u8] {
        self.note.as_bytes()
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}
