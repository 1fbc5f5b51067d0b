//! The error that ends the reading of a log, on its way up to the place where it is reported.

use std::borrow::Cow;

use json::{Located, Problem};

use crate::{Code, Refusal};

/// A limit that was passed. Each has a name of its own, so that the user knows which to raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitPassed {
    /// [`Limits::file`](crate::Limits::file)
    #[error("limit `file`: more than {0} bytes in the file")]
    File(u64),
    /// [`Limits::members`](crate::Limits::members)
    #[error("limit `members`: more than {0} members in the archive")]
    Members(u64),
    /// [`Limits::member`](crate::Limits::member)
    #[error("limit `member`: more than {0} bytes in one member or item")]
    Member(u64),
    /// [`Limits::total`](crate::Limits::total)
    #[error("limit `total`: more than {0} uncompressed bytes in all members")]
    Total(u64),
    /// [`Limits::document`](crate::Limits::document)
    #[error("limit `document`: more than {0} bytes in a document that is held whole")]
    Document(u64),
    /// [`Limits::ratio`](crate::Limits::ratio)
    #[error("limit `ratio`: a member inflates to more than {0} times its size")]
    Ratio(u64),
    /// [`Limits::zstd_window`](crate::Limits::zstd_window)
    #[error("limit `zstd_window`: a zstd frame asks for a window of more than {0} bytes")]
    ZstdWindow(u64),
    /// [`Limits::name`](crate::Limits::name)
    #[error("limit `name`: a member's name has more than {0} bytes")]
    Name(u64),
    /// Names with `..` or NUL, which no limit admits.
    #[error("limit `name`: a member's name holds NUL or a component `..`")]
    NameForm,
    /// [`Limits::line`](crate::Limits::line)
    #[error("limit `line`: more than {0} bytes in one line")]
    Line(u64),
    /// [`Limits::items`](crate::Limits::items)
    #[error("limit `items`: more than {0} items")]
    Items(u64),
    /// [`Limits::columns`](crate::Limits::columns)
    #[error("limit `columns`: more than {0} score columns")]
    Columns(u64),
    /// [`Limits::id`](crate::Limits::id)
    #[error("limit `id`: an id has more than {0} bytes")]
    Id(u64),
}

/// Why reading stopped.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) member: Option<String>,
    /// Grows at its front while the error travels upwards.
    pub(crate) pointer: String,
    pub(crate) message: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, member: None, pointer: String::new(), message: message.into() }
    }

    /// A broken archive.
    pub(crate) fn broken(message: &'static str) -> Self {
        Self::new(Code::ContainerBroken, message)
    }

    /// A member of the log that is missing or of the wrong type.
    pub(crate) fn shape(message: &'static str) -> Self {
        Self::new(Code::LogShape, message)
    }

    pub(crate) fn in_member(mut self, member: &str) -> Self {
        self.member.get_or_insert_with(|| member.to_owned());
        self
    }

    pub(crate) fn at(mut self, pointer: &str) -> Self {
        self.pointer = format!("{pointer}{}", self.pointer);
        self
    }

    pub(crate) fn refusal(self, evaluation: Option<String>) -> Refusal {
        let pointer = public_pointer(&self.pointer);
        Refusal {
            evaluation,
            code: self.code,
            member: self.member,
            pointer: (!pointer.is_empty()).then_some(pointer),
            message: self.message,
        }
    }
}

impl From<LimitPassed> for Fault {
    fn from(limit: LimitPassed) -> Self {
        Self::new(Code::ContainerLimit, limit.to_string())
    }
}

impl From<json::Error> for Fault {
    /// Drops what the reader quotes: a member's name can be an item's text.
    fn from(error: json::Error) -> Self {
        let (code, message): (Code, Cow<'static, str>) = match error.problem() {
            Problem::Syntax(what) => (Code::JsonSyntax, format!("not JSON: {what}").into()),
            Problem::DuplicateKey(_) => {
                (Code::JsonDuplicateKey, "a member stands twice in one object".into())
            }
            Problem::Encoding(what) => (Code::JsonEncoding, (*what).into()),
            Problem::NonFinite(_) | Problem::NotSigned(_) => {
                (Code::JsonNonFinite, "a number that is not finite".into())
            }
            Problem::Limit { what, limit } => {
                (Code::ContainerLimit, format!("limit of JSON: more than {limit} {what}").into())
            }
            Problem::Io(_) => (Code::LogUnreadable, "the log can't be read further".into()),
        };
        let message = format!("{message} (byte {})", error.offset()).into();
        Self { code, member: None, pointer: error.pointer(), message }
    }
}

impl Located for Fault {
    fn within(self, segment: &str) -> Self {
        self.at(&pointer(&[segment]))
    }
}

/// A JSON pointer (RFC 6901) from unescaped segments.
pub(crate) fn pointer(segments: &[&str]) -> String {
    let escaped = |segment: &&str| segment.replace('~', "~0").replace('/', "~1");
    segments.iter().fold(String::new(), |pointer, s| format!("{pointer}/{}", escaped(s)))
}

/// Members below which a log holds free-form content, whose member names may be item text.
const FREE_FORM: [&str; 12] = [
    "metadata",
    "store",
    "attachments",
    "events",
    "events_data",
    "doc",
    "arguments",
    "params",
    "task_args",
    "model_args",
    "output_mapping",
    "transcript",
];

/// `pointer` up to the first free-form member, that one included.
pub(crate) fn public_pointer(pointer: &str) -> String {
    let mut public = String::new();
    for segment in pointer.split('/').skip(1) {
        public.push('/');
        public.push_str(segment);
        if FREE_FORM.contains(&segment) {
            break;
        }
    }
    public
}
