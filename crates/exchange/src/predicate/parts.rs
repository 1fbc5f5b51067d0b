//! Parts that several predicates share: keys, sealed envelopes, openings, columns.

use json::{FieldError, Node, Value, object};
use tlog::{Hash, KeyName};

use crate::read;
use crate::values::{ColumnName, StatementId, Subject, Word};

/// The members of an object on their way into a payload, in order.
pub(crate) type Members = Vec<(&'static str, Value)>;

pub(crate) fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

/// An enum whose variants have one spelling each.
macro_rules! spelled {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl crate::read::Spelled for $name {
            const SPELLINGS: &[(&'static str, Self)] = &[$(($text, Self::$variant),)*];
        }

        impl $name {
            /// The spelling in statements.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use spelled;

/// The key to which a party's envelopes are sealed. Its suite decides its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealingKey {
    /// Suite 1: X25519.
    X25519([u8; 32]),
    /// Suite 2: X-Wing.
    XWing(Box<[u8; 1216]>),
}

impl SealingKey {
    /// The suite's number.
    pub const fn suite(&self) -> u8 {
        match self {
            Self::X25519(_) => 1,
            Self::XWing(_) => 2,
        }
    }

    /// The public key.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::X25519(key) => key,
            Self::XWing(key) => key.as_slice(),
        }
    }

    /// First 8 bytes of SHA-256(u8 suite ‖ key), by which an envelope names its reader's key.
    pub fn id(&self) -> SealingKeyId {
        let hash = Hash::of(&[&[self.suite()], self.as_bytes()]);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_bytes()[..8]);
        SealingKeyId(id)
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let suite = read::required(&mut fields, "suite", |n| read::number(n, 1, 2))?;
        let key = fields.required("key")?;
        let key = match suite {
            1 => Self::X25519(key.hex()?),
            _ => Self::XWing(Box::new(key.hex()?)),
        };
        fields.finish()?;
        Ok(key)
    }

    fn to_value(&self) -> Value {
        object([
            ("suite", u64::from(self.suite()).into()),
            ("key", hex::encode(self.as_bytes()).into()),
        ])
    }
}

/// 8 bytes that name a sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealingKeyId([u8; 8]);

impl SealingKeyId {
    /// Wraps 8 bytes.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// The public keys of a party. That they are good keys is decided at registration, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Whose keys they are.
    pub name: KeyName,
    /// Ed25519 key that signs statements.
    pub key: [u8; 32],
    /// Key that envelopes are sealed to.
    pub sealing: SealingKey,
    /// Ed25519 key that replaces the others when they are lost or stolen.
    pub recovery: [u8; 32],
}

impl Keys {
    pub(crate) fn take(fields: &mut json::Fields<'_>) -> Result<Self, FieldError> {
        let keys = Self {
            name: read::required(fields, "name", read::name)?,
            key: read::required(fields, "key", Node::hex)?,
            sealing: read::required(fields, "sealing", SealingKey::read)?,
            recovery: read::required(fields, "recovery", Node::hex)?,
        };
        if keys.key == keys.recovery {
            let problem = "must not be the signing key: it would be lost together with it";
            return Err(fields.required("recovery")?.error(problem));
        }
        Ok(keys)
    }

    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let keys = Self::take(&mut fields)?;
        fields.finish()?;
        Ok(keys)
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("name", text(&self.name)));
        members.push(("key", hex::encode(self.key).into()));
        members.push(("sealing", self.sealing.to_value()));
        members.push(("recovery", hex::encode(self.recovery).into()));
    }
}

/// An envelope beside the log: an artifact sealed to one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEnvelope {
    /// SHA-256 of the artifact.
    pub digest: Hash,
    /// Who can open it.
    pub reader: KeyName,
    /// Which of the reader's sealing keys.
    pub key: SealingKeyId,
    /// Bytes of the plain text, padded to a bucket.
    pub padded: u64,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A body of at most 64 MiB, its length and its signature are in this bucket.
const LARGEST_BUCKET: u64 = 65 * MIB;

impl SealedEnvelope {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let envelope = Self {
            digest: read::required(&mut fields, "digest", read::hash)?,
            reader: read::required(&mut fields, "reader", read::name)?,
            key: read::required(&mut fields, "key", |n| n.hex().map(SealingKeyId))?,
            padded: read::required(&mut fields, "padded", bucket)?,
        };
        fields.finish()?;
        Ok(envelope)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([
            ("digest", text(self.digest)),
            ("reader", text(&self.reader)),
            ("key", hex::encode(self.key.0).into()),
            ("padded", self.padded.into()),
        ])
    }
}

/// Powers of two from 1 KiB to 1 MiB, then multiples of 1 MiB.
fn bucket(node: &Node<'_>) -> Result<u64, FieldError> {
    let padded = read::number(node, KIB, LARGEST_BUCKET)?;
    if padded.is_power_of_two() && padded <= MIB || padded.is_multiple_of(MIB) {
        return Ok(padded);
    }
    Err(node.error("must be a power of two up to 1 MiB, or a multiple of 1 MiB"))
}

/// The opening of one subject of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Which subject.
    pub name: Subject,
    /// Its value: a decimal for counts and flags.
    pub value: String,
    /// The salt of its commitment.
    pub salt: [u8; 32],
}

impl Opened {
    /// Reads a list of openings of distinct subjects; if all six counts are among them, they
    /// must add up to `items`, where that is known.
    pub(crate) fn read_list(node: &Node<'_>, items: Option<u64>) -> Result<Vec<Self>, FieldError> {
        let most = crate::values::SUBJECTS.len();
        let list = read::keyed_list(node, 0, most, Self::read, |opened| &opened.name)?;
        let counts: Vec<u64> = list
            .iter()
            .filter(|opened| opened.name.is_count())
            .filter_map(|opened| opened.value.parse().ok())
            .collect();
        let sum = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        match items {
            Some(items) if counts.len() == 6 && sum != items => {
                Err(node.error(format!("the counts add up to {sum}, not to {items}")))
            }
            _ => Ok(list),
        }
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let name = read::required(&mut fields, "name", read::subject)?;
        let value = fields.required("value")?;
        if name.is_number() {
            read::decimal(&value)?;
        }
        let opened = Self {
            name,
            value: value.text(usize::MAX)?.to_owned(),
            salt: read::required(&mut fields, "salt", Node::hex)?,
        };
        fields.finish()?;
        Ok(opened)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([
            ("name", self.name.as_str().into()),
            ("value", self.value.as_str().into()),
            ("salt", hex::encode(self.salt).into()),
        ])
    }
}

/// Which audit a statement belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditName {
    /// The audited record.
    pub record: StatementId,
    /// Who audits.
    pub auditor: KeyName,
    /// 1 for the first audit of this record by this auditor, at most 1,000.
    pub attempt: u64,
}

impl AuditName {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let audit = Self {
            record: read::required(&mut fields, "record", read::id)?,
            auditor: read::required(&mut fields, "auditor", read::name)?,
            attempt: read::required(&mut fields, "attempt", |n| read::number(n, 1, 1000))?,
        };
        fields.finish()?;
        Ok(audit)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([
            ("record", text(self.record)),
            ("auditor", text(&self.auditor)),
            ("attempt", self.attempt.into()),
        ])
    }
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program's name.
    pub name: Word,
    /// Its version, at most 64 bytes.
    pub version: String,
}

impl Program {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let program = Self {
            name: read::required(&mut fields, "name", read::word)?,
            version: read::required(&mut fields, "version", |n| n.text(64).map(str::to_owned))?,
        };
        fields.finish()?;
        Ok(program)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([("name", text(&self.name)), ("version", self.version.as_str().into())])
    }
}

spelled! {
    /// Which end of a column's scale is the good one.
    Direction {
        /// More is better.
        Higher = "higher",
        /// Less is better.
        Lower = "lower",
    }
}

/// The scale of a score column: integers from 0 to `max` stand for raw values from 0 to
/// `raw_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The column's name.
    pub name: ColumnName,
    /// Largest integer score, at least 1.
    pub max: u64,
    /// Raw value that `max` stands for, at least 1.
    pub raw_max: u64,
    /// Which end is the good one.
    pub better: Direction,
}

impl Scale {
    pub(crate) fn take(fields: &mut json::Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            name: read::required(fields, "name", read::column)?,
            max: read::required(fields, "max", |n| read::at_least(n, 1))?,
            raw_max: read::required(fields, "raw_max", |n| read::at_least(n, 1))?,
            better: read::required(fields, "better", read::spelled)?,
        })
    }

    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let scale = Self::take(&mut fields)?;
        fields.finish()?;
        Ok(scale)
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("name", text(&self.name)));
        members.push(("max", self.max.into()));
        members.push(("raw_max", self.raw_max.into()));
        members.push(("better", text(self.better)));
    }

    /// True if no sum over `items` items can leave the range in which proofs mean something:
    /// items × max < 2^31.
    pub fn fits(&self, items: u64) -> bool {
        items.checked_mul(self.max).is_some_and(|largest| largest < 1 << 31)
    }
}
