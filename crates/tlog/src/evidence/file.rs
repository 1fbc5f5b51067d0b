//! The text of an evidence file: read strictly, written in its one spelling.

use std::fmt::Write as _;

use super::kind::{Kind, Role};
use crate::decimal::parse_decimal;
use crate::{Hash, InvalidHash, KeyError, VerifierKey};

/// Largest file in bytes. Two checkpoints with 16 cosignatures of ML-DSA-44 each take some
/// 106 kB.
pub const MAX_EVIDENCE: usize = 256 * 1024;

/// Most keys that one file accuses: a log and its witnesses.
pub const MAX_ACCUSED: usize = 64;

/// Most nodes: one more than a consistency proof has, since it begins with the older root.
pub const MAX_NODES: usize = 64;

/// No form has more parts.
const MAX_PARTS: usize = 8;

/// The first line.
const HEADER: &str = "countersign/evidence@v1";

/// Why bytes are no evidence file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Larger than [`MAX_EVIDENCE`].
    #[error("evidence has {size} bytes, at most {MAX_EVIDENCE} are allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
    },
    /// Not UTF-8.
    #[error("evidence is not UTF-8")]
    Encoding,
    /// The first line is not that of this format.
    #[error("evidence does not begin with the line {HEADER}")]
    Header,
    /// The second line does not name a kind.
    #[error("the second line of evidence must be: kind <word>, with a kind known here")]
    Kind,
    /// A line that is none of the format's, or one in the wrong place.
    #[error("line {line} of evidence is not one that can stand there")]
    Line {
        /// Counted from 1; lines within parts do not count.
        line: usize,
    },
    /// An `accused` line with a key that is none, or not of its role.
    #[error("accused key {place}: {problem}")]
    Accused {
        /// Which, counted from 1.
        place: usize,
        /// What is wrong with it.
        problem: AccusedProblem,
    },
    /// No node, more than [`MAX_NODES`], or a number that is none.
    #[error("the number of nodes must be a decimal from 1 to {MAX_NODES}")]
    NodeCount,
    /// A line of the node list is not the base64 of 32 bytes.
    #[error("node {position}: {problem}")]
    Node {
        /// Which, counted from 0.
        position: usize,
        /// What is wrong with it.
        problem: InvalidHash,
    },
    /// A part is longer than what is left of the file.
    #[error("part {name} is cut off: {length} bytes are announced, {left} follow")]
    Truncated {
        /// Its name.
        name: String,
        /// Bytes announced.
        length: u64,
        /// Bytes there are.
        left: usize,
    },
    /// Something follows the last part.
    #[error("something follows the last part")]
    Surplus,
    /// Other parts, or another order of them, than the kind has; or nodes where it has none.
    #[error("these are not the parts of {kind}")]
    Form {
        /// The kind.
        kind: Kind,
    },
    /// Keys of other roles, more or fewer, than the kind accuses.
    #[error("{kind} does not accuse these keys")]
    Roles {
        /// The kind.
        kind: Kind,
    },
}

/// What can be wrong with an accused key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccusedProblem {
    /// Not `<role> <vkey>`, or a role unknown here.
    #[error("must be: accused log|witness|party <vkey>")]
    Spelling,
    /// No key.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A witness's key in the place of a log's or party's, or the other way around.
    #[error("a {0} does not sign with keys of this type")]
    Type(Role),
    /// It is accused already.
    #[error("is accused twice")]
    Twice,
    /// More than [`MAX_ACCUSED`].
    #[error("at most {MAX_ACCUSED} keys can be accused")]
    TooMany,
}

/// A key that a file accuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accused {
    role: Role,
    key: VerifierKey,
}

impl Accused {
    /// Accuses a key in a role; `None` if keys of this type have another one.
    pub fn new(role: Role, key: VerifierKey) -> Option<Self> {
        (key.kind() == role.key_kind()).then_some(Self { role, key })
    }

    /// What the key is used for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }
}

impl std::fmt::Display for Accused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.role, self.key)
    }
}

/// Bytes under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Part {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its bytes: UTF-8, as the whole file is.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Every name that a part can have.
const NAMES: [&str; 14] = [
    "checkpoint-a",
    "checkpoint-b",
    "leaf-a",
    "proof-a",
    "leaf-b",
    "proof-b",
    "envelope-a",
    "envelope-b",
    "attestation",
    "intent",
    "statement",
    "aad",
    "body",
    "signature",
];

/// Names of the parts of findings.
const FINDING_NAMES: [&str; 3] = ["envelope", "proof", "checkpoint"];

fn known_name(name: &str) -> Option<&'static str> {
    NAMES.iter().chain(&FINDING_NAMES).find(|known| **known == name).copied()
}

/// A file whose form is that of its kind. Nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    kind: Kind,
    accused: Vec<Accused>,
    nodes: Vec<Hash>,
    parts: Vec<Part>,
}

impl Evidence {
    /// True if these bytes claim to be evidence, so that an error can say what is wrong with it.
    pub fn is_likely(bytes: &[u8]) -> bool {
        bytes.starts_with(b"countersign/evidence@")
    }

    /// Makes a file; refuses what [`parse`](Self::parse) would refuse.
    pub fn new(
        kind: Kind,
        accused: Vec<Accused>,
        nodes: Vec<Hash>,
        parts: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
    ) -> Result<Self, FormatError> {
        let parts = parts.into_iter().map(|(name, bytes)| Part { name, bytes }).collect();
        let evidence = Self { kind, accused, nodes, parts };
        evidence.check_form()?;
        let written = evidence.to_bytes();
        // Limits, duplicates and encodings are checked at one place.
        Self::parse(&written)
    }

    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_EVIDENCE {
            return Err(FormatError::TooLarge { size: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| FormatError::Encoding)?;
        let mut reading = Reading { rest: text, line: 0 };
        if reading.next() != Some(HEADER) {
            return Err(FormatError::Header);
        }
        let kind = reading
            .next()
            .and_then(|line| Kind::of_word(line.strip_prefix("kind ")?))
            .ok_or(FormatError::Kind)?;
        let accused = reading.accused()?;
        let nodes = reading.nodes()?;
        let parts = reading.parts()?;
        let evidence = Self { kind, accused, nodes, parts };
        evidence.check_form()?;
        Ok(evidence)
    }

    fn check_form(&self) -> Result<(), FormatError> {
        if !self.kind.has_form(self) {
            return Err(FormatError::Form { kind: self.kind });
        }
        if !self.kind.may_accuse(&self.accused) {
            return Err(FormatError::Roles { kind: self.kind });
        }
        Ok(())
    }

    /// Writes the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{HEADER}\nkind {}\n", self.kind);
        for accused in &self.accused {
            let _ = writeln!(text, "accused {accused}");
        }
        if !self.nodes.is_empty() {
            let _ = writeln!(text, "nodes {}", self.nodes.len());
        }
        for node in &self.nodes {
            let _ = writeln!(text, "{}", node.to_base64());
        }
        let mut bytes = text.into_bytes();
        for part in &self.parts {
            let announced = format!("part {} {}\n", part.name, part.bytes.len());
            bytes.extend_from_slice(announced.as_bytes());
            bytes.extend_from_slice(&part.bytes);
        }
        bytes
    }

    /// What it shows.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The keys that it accuses, each once; none if it is a finding.
    pub fn accused(&self) -> &[Accused] {
        &self.accused
    }

    /// Nodes of the larger tree, the oldest subtree first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The parts in the order of the file.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The bytes of a part that the form has; empty for any other name.
    pub fn part(&self, name: &str) -> &[u8] {
        self.parts.iter().find(|part| part.name == name).map_or(&[], Part::bytes)
    }
}

/// What is left of a file.
struct Reading<'a> {
    rest: &'a str,
    /// Lines read so far.
    line: usize,
}

impl<'a> Reading<'a> {
    /// The next line without its newline; `None` if no newline follows.
    fn next(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// The rest of the next line if it begins with this word.
    fn after(&mut self, word: &str) -> Option<&'a str> {
        let line = self.rest.strip_prefix(word)?.split_once('\n')?.0;
        self.next();
        Some(line)
    }

    fn accused(&mut self) -> Result<Vec<Accused>, FormatError> {
        let mut all: Vec<Accused> = Vec::new();
        while let Some(line) = self.after("accused ") {
            let place = all.len() + 1;
            let wrong = |problem| FormatError::Accused { place, problem };
            if all.len() == MAX_ACCUSED {
                return Err(wrong(AccusedProblem::TooMany));
            }
            let (role, key) =
                line.split_once(' ').ok_or_else(|| wrong(AccusedProblem::Spelling))?;
            let role = Role::of_word(role).ok_or_else(|| wrong(AccusedProblem::Spelling))?;
            let key = VerifierKey::parse(key).map_err(|error| wrong(error.into()))?;
            let accused =
                Accused::new(role, key).ok_or_else(|| wrong(AccusedProblem::Type(role)))?;
            if all.contains(&accused) {
                return Err(wrong(AccusedProblem::Twice));
            }
            all.push(accused);
        }
        Ok(all)
    }

    fn nodes(&mut self) -> Result<Vec<Hash>, FormatError> {
        let Some(count) = self.after("nodes ") else { return Ok(Vec::new()) };
        let count = parse_decimal(count)
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| (1..=MAX_NODES).contains(count))
            .ok_or(FormatError::NodeCount)?;
        let mut nodes = Vec::with_capacity(count);
        for position in 0..count {
            let line = self.next().ok_or(FormatError::Line { line: self.line + 1 })?;
            let node = Hash::from_base64(line)
                .map_err(|problem| FormatError::Node { position, problem })?;
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn parts(&mut self) -> Result<Vec<Part>, FormatError> {
        let mut parts = Vec::new();
        while !self.rest.is_empty() {
            let wrong = FormatError::Line { line: self.line + 1 };
            if parts.len() == MAX_PARTS {
                return Err(FormatError::Surplus);
            }
            let Some(line) = self.after("part ") else {
                return Err(if parts.is_empty() { wrong } else { FormatError::Surplus });
            };
            let (name, length) = line.split_once(' ').ok_or_else(|| wrong.clone())?;
            let name = known_name(name).ok_or_else(|| wrong.clone())?;
            let length = parse_decimal(length).ok_or(wrong)?;
            let left = self.rest.len();
            let cut_off = FormatError::Truncated { name: name.to_owned(), length, left };
            let end = usize::try_from(length).map_err(|_| cut_off.clone())?;
            // A length that ends within a character is no length of a text.
            let (bytes, rest) = self.rest.split_at_checked(end).ok_or(cut_off)?;
            parts.push(Part { name, bytes: bytes.as_bytes().to_vec() });
            self.rest = rest;
        }
        Ok(parts)
    }
}
