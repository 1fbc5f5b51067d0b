//! What can be wrong with a document, and where.

use std::fmt;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON (RFC 8259).
    #[error("not JSON: {0}")]
    Syntax(&'static str),
    /// One object has two members of this name.
    #[error("the member {0:?} stands twice in one object")]
    DuplicateKey(String),
    /// Not UTF-8, a byte order mark, or half of a surrogate pair.
    #[error("not valid Unicode: {0}")]
    Encoding(&'static str),
    /// `NaN`, `Infinity` or `-Infinity` where only finite numbers may stand.
    #[error("{0} is not a JSON number")]
    NonFinite(&'static str),
    /// `null`, a float or a number beyond 2^53 − 1 in a signed document.
    #[error("not allowed in a signed document: {0}")]
    NotSigned(&'static str),
    /// A limit of the [`Rules`](crate::Rules) was passed.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: usize,
    },
    /// The stream underneath failed.
    #[error("cannot be read: {0}")]
    Io(String),
}

/// A [`Problem`] with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    problem: Problem,
    /// Segments from the innermost outwards: an error grows its pointer on the way up.
    path: Vec<String>,
    offset: u64,
}

impl Error {
    pub(crate) fn new(problem: Problem, offset: u64) -> Self {
        Self { problem, path: Vec::new(), offset }
    }

    /// An I/O error met by a caller of [`Reader`](crate::Reader) in the middle of a document.
    pub fn io(error: &std::io::Error) -> Self {
        Self::new(Problem::Io(error.to_string()), 0)
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Bytes read before the problem was seen.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it is, as a JSON pointer (RFC 6901); empty for the whole document.
    pub fn pointer(&self) -> String {
        self.path.iter().rev().fold(String::new(), |at, segment| append_segment(&at, segment))
    }
}

/// An error that can say where it happened, so that callbacks of [`Reader`](crate::Reader) may
/// fail with errors of their own.
pub trait Located: From<Error> {
    /// The same error, seen from the object or array one level up; `segment` is the name of the
    /// member or the index of the element.
    #[must_use]
    fn within(self, segment: &str) -> Self;
}

impl Located for Error {
    fn within(mut self, segment: &str) -> Self {
        self.path.push(segment.to_owned());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at \"{}\", byte {})", self.problem, self.pointer(), self.offset)
    }
}

impl std::error::Error for Error {}

/// `pointer` one level deeper, with `~` and `/` escaped as RFC 6901 section 3 says.
pub(crate) fn append_segment(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}
