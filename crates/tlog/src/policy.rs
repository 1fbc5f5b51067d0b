//! Trust policies (C2SP tlog-policy): which logs count, and which witnesses must have cosigned.
//!
//! ```text
//! log <vkey> [url]
//! witness <name> <vkey> [url]
//! group <name> all|any|<k> <member>…
//! quorum <name>|none
//! ```
//!
//! A name is defined before it is used, once, and is a member of at most one group, so a witness
//! can contribute to a quorum in one way only. That makes three questions easy, and all three are
//! answered here from the groups in the order of their lines: whether a quorum cosigned, at what
//! time it had, and how many witnesses any two quorums share. What a policy withstands follows.

mod safety;

use std::collections::{BTreeMap, BTreeSet};

pub use safety::Split;

use crate::decimal::parse_decimal;
use crate::{Hash, KeyError, KeyKind, KeyName, VerifierKey};

/// Largest policy in bytes: room for 64 logs and 64 witnesses with a URL of 200 bytes each, and
/// as many groups.
pub const MAX_POLICY: usize = 64 * 1024;

/// The quorum that needs no witness.
const NONE: &[u8] = b"none";

/// A line that breaks the rules, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy, line {line}: {problem}")]
pub struct PolicyError {
    /// Counted from 1; the last line if one is missing.
    pub line: usize,
    /// What is wrong with it.
    pub problem: PolicyProblem,
}

/// What can be wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// More than [`MAX_POLICY`] bytes.
    #[error("the policy has more than {MAX_POLICY} bytes")]
    TooLarge,
    /// A control character other than tab and newline.
    #[error("byte {0:02x} is not allowed")]
    Byte(u8),
    /// Lines end in newlines, the last one too.
    #[error("the line does not end in a newline")]
    Unended,
    /// A first word other than `log`, `witness`, `group` and `quorum`.
    #[error("{0:?} is not log, witness, group or quorum")]
    Keyword(String),
    /// Too few or too many words.
    #[error("must be: {0}")]
    Form(&'static str),
    /// A key that is none, or cannot be used.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Logs sign with keys of type 01, witnesses with keys of type 04.
    #[error("a {role} needs a key of type {expected:02x}")]
    KeyKind {
        /// `log` or `witness`.
        role: &'static str,
        /// The type byte.
        expected: u8,
    },
    /// Two logs, or two witnesses, with one public key.
    #[error("the key has the same public key as {0}")]
    DuplicateKey(KeyName),
    /// A witness or group with a name that is taken, or `none`.
    #[error("the name {0:?} is taken")]
    DuplicateName(String),
    /// A name that no earlier line defines.
    #[error("the name {0:?} is not defined above")]
    UnknownName(String),
    /// A name that is a member already, of this group or another.
    #[error("{0:?} is a member of a group already")]
    MemberTwice(String),
    /// `none` is no member.
    #[error("none cannot be a member")]
    NoneMember,
    /// A threshold that is no number, below 1 or above the number of members.
    #[error("the threshold must be all, any or a number from 1 to {members}")]
    Threshold {
        /// How many members the group has.
        members: usize,
    },
    /// A second `quorum` line.
    #[error("there is a quorum line already")]
    SecondQuorum,
    /// No `quorum` line.
    #[error("there is no quorum line")]
    NoQuorum,
}

/// A log that counts, and where it may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl PolicyLog {
    /// The key of type 01; its name is the origin.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where the log is, in bytes that the policy's author chose.
    pub fn url(&self) -> Option<&[u8]> {
        self.url.as_deref()
    }
}

/// A witness, under a name that means something within the policy only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    name: Vec<u8>,
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl PolicyWitness {
    /// Its name in the policy.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The key of type 04.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The submission prefix (C2SP tlog-witness), in bytes that the policy's author chose.
    pub fn url(&self) -> Option<&[u8]> {
        self.url.as_deref()
    }
}

/// A member of a group, by its place in [`Policy::witnesses`] or [`Policy::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// A witness.
    Witness(usize),
    /// A group from an earlier line.
    Group(usize),
}

/// `threshold` of the members: that many must agree for the group to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

impl Group {
    /// Its name in the policy.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many members must agree, from 1 to their number.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Its members; no witness is below two of them.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    text: Vec<u8>,
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    names: BTreeMap<Vec<u8>, Member>,
    quorum: Option<Member>,
}

impl Policy {
    /// Reads a policy, all rules checked.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError { line: 1, problem: PolicyProblem::TooLarge });
        }
        let mut reading = Reading::new(text);
        let mut last = 1;
        for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            last = number + 1;
            reading.line(line).map_err(|problem| PolicyError { line: last, problem })?;
        }
        let missing = PolicyError { line: last, problem: PolicyProblem::NoQuorum };
        let quorum = reading.quorum.ok_or(missing)?;
        Ok(Self { quorum, ..reading.policy })
    }

    /// The text as it was read.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> Hash {
        Hash::of(&[&self.text])
    }

    /// The logs that count, one of which must have signed.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// All witnesses, whether the quorum asks for them or not.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// All groups; a group's members stand before it.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The witness or group that must agree; `None` for `quorum none`.
    pub fn quorum(&self) -> Option<Member> {
        self.quorum
    }

    /// The witness or group of this name.
    pub fn member(&self, name: &[u8]) -> Option<Member> {
        self.names.get(name).copied()
    }

    /// The witnesses at or below a member, in the order of their lines.
    pub fn witnesses_below(&self, member: Member) -> Vec<&PolicyWitness> {
        let mut below = BTreeSet::new();
        let mut pending = vec![member];
        while let Some(member) = pending.pop() {
            match member {
                Member::Witness(witness) => {
                    below.insert(witness);
                }
                Member::Group(group) => {
                    pending.extend(self.groups.get(group).into_iter().flat_map(Group::members));
                }
            }
        }
        below.into_iter().filter_map(|witness| self.witnesses.get(witness)).collect()
    }

    /// The greatest minimum time over the quorums of a member, where `time` says when a witness
    /// cosigned, if it did; `None` if no quorum did.
    ///
    /// For a group that is the `threshold`-th latest of its members' times, because no witness is
    /// below two of them.
    pub fn time_of(
        &self,
        member: Member,
        time: impl Fn(&PolicyWitness) -> Option<u64>,
    ) -> Option<u64> {
        let witness = |index: usize| self.witnesses.get(index).and_then(&time);
        self.evaluate(member, witness, |group, times| {
            let mut times: Vec<u64> = times.into_iter().flatten().collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(group.threshold - 1).copied()
        })?
    }

    /// The fewest witnesses that two quorums of a member have in common. The two sides of a split
    /// view each need a quorum, so with `f` corrupt witnesses none is possible if this is above
    /// `f`; for a flat group of `n` with threshold `k` that is 2k > n + f.
    pub fn overlap(&self, member: Member) -> usize {
        let overlap = self.evaluate(
            member,
            |_| 1,
            |group, mut overlaps| {
                // Two choices of `threshold` members share at least these many, and whoever
                // splits the view picks those with the smallest overlaps.
                let shared = (2 * group.threshold).saturating_sub(group.members.len());
                overlaps.sort_unstable();
                overlaps.into_iter().take(shared).sum()
            },
        );
        overlap.unwrap_or(0)
    }

    /// A value for each group from those of its members, in the order of definition: members come
    /// first, so there is no recursion that a policy could make deep.
    fn evaluate<T: Clone>(
        &self,
        member: Member,
        witness: impl Fn(usize) -> T,
        group: impl Fn(&Group, Vec<T>) -> T,
    ) -> Option<T> {
        let last = match member {
            Member::Witness(index) => {
                return (index < self.witnesses.len()).then(|| witness(index));
            }
            Member::Group(index) => index,
        };
        let mut values: Vec<T> = Vec::new();
        for definition in self.groups.get(..=last)? {
            let of_member = |member: &Member| match member {
                Member::Witness(index) => witness(*index),
                Member::Group(index) => values[*index].clone(),
            };
            let members = definition.members.iter().map(of_member).collect();
            values.push(group(definition, members));
        }
        values.pop()
    }
}

/// A policy up to some line.
struct Reading {
    policy: Policy,
    quorum: Option<Option<Member>>,
    /// Names that are members of a group.
    grouped: BTreeSet<Vec<u8>>,
}

impl Reading {
    fn new(text: &[u8]) -> Self {
        let policy = Policy {
            text: text.to_vec(),
            logs: Vec::new(),
            witnesses: Vec::new(),
            groups: Vec::new(),
            names: BTreeMap::new(),
            quorum: None,
        };
        Self { policy, quorum: None, grouped: BTreeSet::new() }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        let line = line.strip_suffix(b"\n").ok_or(PolicyProblem::Unended)?;
        let is_allowed = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
        if let Some(byte) = line.iter().find(|byte| !is_allowed(byte)) {
            return Err(PolicyProblem::Byte(*byte));
        }
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        let [keyword, words @ ..] = words.as_slice() else { return Ok(()) };
        match *keyword {
            comment if comment.starts_with(b"#") => Ok(()),
            b"log" => self.log(words),
            b"witness" => self.witness(words),
            b"group" => self.group(words),
            b"quorum" => self.quorum(words),
            other => Err(PolicyProblem::Keyword(lossy(other))),
        }
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), PolicyProblem> {
        let (key, url) = match words {
            [key] => (key, None),
            [key, url] => (key, Some(url.to_vec())),
            _ => return Err(PolicyProblem::Form("log <vkey> [url]")),
        };
        let key = parse_key(key, "log", KeyKind::Ed25519)?;
        refuse_duplicate(&key, self.policy.logs.iter().map(PolicyLog::key))?;
        self.policy.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), PolicyProblem> {
        let (name, key, url) = match words {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.to_vec())),
            _ => return Err(PolicyProblem::Form("witness <name> <vkey> [url]")),
        };
        let key = parse_key(key, "witness", KeyKind::Cosignature)?;
        refuse_duplicate(&key, self.policy.witnesses.iter().map(PolicyWitness::key))?;
        self.define(name, Member::Witness(self.policy.witnesses.len()))?;
        self.policy.witnesses.push(PolicyWitness { name: name.to_vec(), key, url });
        Ok(())
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), PolicyProblem> {
        let [name, threshold, names @ ..] = words else {
            return Err(PolicyProblem::Form("group <name> all|any|<k> <member>..."));
        };
        if names.is_empty() {
            return Err(PolicyProblem::Form("group <name> all|any|<k> <member>..."));
        }
        let threshold = match *threshold {
            b"all" => Some(names.len()),
            b"any" => Some(1),
            number => std::str::from_utf8(number)
                .ok()
                .and_then(parse_decimal)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=names.len()).contains(number)),
        };
        let threshold = threshold.ok_or(PolicyProblem::Threshold { members: names.len() })?;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            if *name == NONE {
                return Err(PolicyProblem::NoneMember);
            }
            members.push(self.known(name)?);
            if !self.grouped.insert(name.to_vec()) {
                return Err(PolicyProblem::MemberTwice(lossy(name)));
            }
        }
        self.define(name, Member::Group(self.policy.groups.len()))?;
        self.policy.groups.push(Group { name: name.to_vec(), threshold, members });
        Ok(())
    }

    fn quorum(&mut self, words: &[&[u8]]) -> Result<(), PolicyProblem> {
        let [name] = words else { return Err(PolicyProblem::Form("quorum <name>|none")) };
        if self.quorum.is_some() {
            return Err(PolicyProblem::SecondQuorum);
        }
        self.quorum = Some(if *name == NONE { None } else { Some(self.known(name)?) });
        Ok(())
    }

    fn known(&self, name: &[u8]) -> Result<Member, PolicyProblem> {
        self.policy.member(name).ok_or_else(|| PolicyProblem::UnknownName(lossy(name)))
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), PolicyProblem> {
        if name == NONE || self.policy.names.contains_key(name) {
            return Err(PolicyProblem::DuplicateName(lossy(name)));
        }
        self.policy.names.insert(name.to_vec(), member);
        Ok(())
    }
}

fn parse_key(text: &[u8], role: &'static str, kind: KeyKind) -> Result<VerifierKey, PolicyProblem> {
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Spelling)?;
    let key = VerifierKey::parse(text)?;
    if key.kind() != kind {
        return Err(PolicyProblem::KeyKind { role, expected: kind.type_byte() });
    }
    Ok(key)
}

fn refuse_duplicate<'k>(
    key: &VerifierKey,
    mut known: impl Iterator<Item = &'k VerifierKey>,
) -> Result<(), PolicyProblem> {
    match known.find(|known| known.public() == key.public()) {
        Some(known) => Err(PolicyProblem::DuplicateKey(known.name().clone())),
        None => Ok(()),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
