//! `tick`: a cosigned checkpoint put into the log, which makes time part of it; and `stamp`:
//! witnesses' word that a statement existed at a time, though the log took it late.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Fields, Node, Value, array, object};
use tlog::{Checkpoint, Hash, KeyName, Note, TreeHead};

use super::parts::{Members, text};
use crate::bytes::{label, push_prefixed};
use crate::envelope::KeyReference;
use crate::read;
use crate::values::StatementId;

/// A checkpoint with its cosignatures, byte for byte. That the log signed it is decided when the
/// statement meets the log's key, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    note: String,
    head: TreeHead,
}

/// 32 KiB: some 250 cosignatures.
const MAX_NOTE: usize = 32 << 10;

impl Tick {
    /// Reads a signed note whose text is a checkpoint.
    pub fn parse(note: &str) -> Result<Self, NotACheckpoint> {
        if note.len() > MAX_NOTE {
            return Err(NotACheckpoint);
        }
        let parsed = Note::parse(note.as_bytes()).map_err(|_| NotACheckpoint)?;
        let checkpoint = Checkpoint::parse_text(parsed.text()).map_err(|_| NotACheckpoint)?;
        Ok(Self { note: note.to_owned(), head: *checkpoint.head() })
    }

    /// The whole note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Size and root that the checkpoint states.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        read::required(fields, "checkpoint", |node| {
            Self::parse(node.text(MAX_NOTE)?).map_err(|error| node.error(error.to_string()))
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("checkpoint", self.note.as_str().into()));
    }

    pub(crate) fn subject(&self) -> Hash {
        Hash::of(&[self.note.as_bytes()])
    }
}

/// A text that is no signed note of at most 32 KiB with a checkpoint in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a signed note of at most 32 KiB whose text is a checkpoint")]
pub struct NotACheckpoint;

/// Signatures with times over a statement's id. Which of them count follows from the policy of
/// the agreement that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The stamped statement; it need not be in the log yet.
    pub statement: StatementId,
    /// 1 to 64 stamps.
    pub stamps: Vec<Stamp>,
}

/// One witness's stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Name and hash of the witness's key.
    pub keyid: KeyReference,
    /// Unix seconds.
    pub time: u64,
    /// Ed25519 signature over [`stamp_message`].
    pub signature: [u8; 64],
}

impl Stamped {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            statement: read::required(fields, "statement", read::id)?,
            stamps: read::required(fields, "stamps", |node| read::list(node, 1, 64, Stamp::read))?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("statement", text(self.statement)));
        members.push(("stamps", array(self.stamps.iter().map(Stamp::to_value))));
    }
}

impl Stamp {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let stamp = Self {
            keyid: read::required(&mut fields, "keyid", |node| {
                KeyReference::parse(node.text(256)?).map_err(|error| node.error(error.to_string()))
            })?,
            time: read::required(&mut fields, "time", Node::uint)?,
            signature: read::required(&mut fields, "sig", read::base64)?,
        };
        fields.finish()?;
        Ok(stamp)
    }

    fn to_value(&self) -> Value {
        object([
            ("keyid", text(&self.keyid)),
            ("time", self.time.into()),
            ("sig", STANDARD.encode(self.signature).into()),
        ])
    }
}

/// What a witness signs: `L(stamp) ‖ lp(origin) ‖ statement id[32] ‖ u64 unix time`.
pub fn stamp_message(origin: &KeyName, statement: &StatementId, time: u64) -> Vec<u8> {
    let mut message = label("stamp");
    push_prefixed(&mut message, origin.as_str());
    message.extend_from_slice(statement.as_bytes());
    message.extend_from_slice(&time.to_be_bytes());
    message
}
