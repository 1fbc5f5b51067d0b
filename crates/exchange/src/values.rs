//! The small types of which statements are made. Whoever holds one knows that it has its form.

use std::fmt;

pub use record::subject::SUBJECTS;
use tlog::{Hash, InvalidHash};

/// The id of a statement: SHA-256 of its payload bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementId(Hash);

impl StatementId {
    /// 32 zero bytes, which byte formulas use where there is no exchange.
    pub const ZERO: Self = Self(Hash::new([0; 32]));

    /// Wraps 32 bytes that are an id already.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Hash::new(bytes))
    }

    /// The id of the statement with this payload.
    pub fn of(payload: &[u8]) -> Self {
        Self(Hash::of(&[payload]))
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, InvalidHash> {
        Hash::from_hex(text).map(Self)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id as a hash.
    pub const fn hash(&self) -> Hash {
        self.0
    }
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A text that has not the form of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct InvalidText(&'static str);

/// Ids of rules and claims, names of programs: 1 to 64 bytes of `a-z0-9_.-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Box<str>);

impl Word {
    /// Reads a word.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(InvalidText("1 to 64 bytes of a-z, 0-9, _, . and -"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a score column: 1 to 128 bytes, no control or bidi character, no white space at
/// the ends. Compared as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnName(Box<str>);

impl ColumnName {
    /// Reads a column name.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let hidden = |c: char| c.is_control() || is_bidi_control(c);
        if !(1..=128).contains(&text.len()) || text.trim() != text || text.contains(hidden) {
            return Err(InvalidText(
                "1 to 128 bytes without control or bidi characters or white space at the ends",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Characters that change the direction in which text is shown, so that two names can look alike.
fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// What an item consists of, besides its integer scores. Ordered by spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A field that every record has.
    Base(BaseField),
    /// `score:<column>`, the raw value beside the integer.
    Score(ColumnName),
}

/// The fields that every record has, in the order of every header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum BaseField {
    Tag,
    Epoch,
    Status,
    Input,
    Target,
    Output,
    Explanation,
    Metadata,
}

impl BaseField {
    /// All of them, in header order.
    pub const ALL: [Self; 8] = [
        Self::Tag,
        Self::Epoch,
        Self::Status,
        Self::Input,
        Self::Target,
        Self::Output,
        Self::Explanation,
        Self::Metadata,
    ];

    /// The spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Epoch => "epoch",
            Self::Status => "status",
            Self::Input => "input",
            Self::Target => "target",
            Self::Output => "output",
            Self::Explanation => "explanation",
            Self::Metadata => "metadata",
        }
    }

    /// True for tag and epoch, which come with every opened item and are never listed.
    pub const fn comes_with_every_item(self) -> bool {
        matches!(self, Self::Tag | Self::Epoch)
    }
}

impl Field {
    /// Reads a field's name.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if let Some(column) = text.strip_prefix("score:") {
            return ColumnName::parse(column).map(Self::Score);
        }
        let base = BaseField::ALL.into_iter().find(|base| base.as_str() == text);
        base.map(Self::Base).ok_or(InvalidText("the name of a field, or score:<column>"))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(base) => f.write_str(base.as_str()),
            Self::Score(column) => write!(f, "score:{column}"),
        }
    }
}

/// One of [`SUBJECTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(&'static str);

impl Subject {
    /// Reads the name of a subject.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let known = SUBJECTS.into_iter().find(|name| *name == text);
        known.map(Self).ok_or(InvalidText("the name of a subject"))
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        SUBJECTS.into_iter().map(Self)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// True for `count:…`, whose values are numbers of items.
    pub fn is_count(self) -> bool {
        self.0.starts_with("count:")
    }

    /// True for counts and flags, whose values are ASCII decimals.
    pub fn is_number(self) -> bool {
        self.is_count() || self.0.starts_with("flag:")
    }
}
