//! What a monitor reports.

use std::fmt;
use std::path::PathBuf;

use json::Value;

/// What is wrong. Only what comes with a file of evidence convicts a key; everything else is a
/// finding, which accuses nobody by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A source shows a head that contradicts one that was verified: two histories.
    Conflict,
    /// A witness cosigned a smaller head after a larger one.
    WitnessRollback,
    /// The log shows a smaller head than before. Its signature has no time, so this is no proof.
    Rollback,
    /// For longer than a head may be old, somebody else is shown more than this monitor is.
    Behind,
    /// The newest head that enough witnesses cosigned is older than the policy allows.
    Stale,
    /// Too few witnesses of the policy cosigned the newest head.
    QuorumShort,
    /// A file that the signed head calls for is not there.
    Withheld,
    /// Files do not hash to the signed head. Their transport is not signed, so nobody is named.
    WrongBytes,
    /// What should be a head is not signed by the log.
    NotSigned,
    /// An entry that an honest server would not have admitted.
    Entry,
    /// An artifact that a statement names is missing, or does not hold.
    Artifact,
    /// A party signed two statements under one number.
    StatementFork,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 12] = [
        Self::Conflict,
        Self::WitnessRollback,
        Self::Rollback,
        Self::Behind,
        Self::Stale,
        Self::QuorumShort,
        Self::Withheld,
        Self::WrongBytes,
        Self::NotSigned,
        Self::Entry,
        Self::Artifact,
        Self::StatementFork,
    ];

    /// The code's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::WitnessRollback => "witness-rollback",
            Self::Rollback => "rollback",
            Self::Behind => "behind",
            Self::Stale => "stale",
            Self::QuorumShort => "quorum-short",
            Self::Withheld => "withheld",
            Self::WrongBytes => "wrong-bytes",
            Self::NotSigned => "not-signed",
            Self::Entry => "entry",
            Self::Artifact => "artifact",
            Self::StatementFork => "statement-fork",
        }
    }

    /// True if it stays true whatever later passes see. Those are written down before the cursor
    /// moves past them, since no later pass looks there again.
    pub const fn stands(self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::WitnessRollback
                | Self::Rollback
                | Self::Entry
                | Self::Artifact
                | Self::StatementFork
        )
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// Where: a source, a file, an entry.
    pub place: String,
    /// In words.
    pub problem: String,
    /// The entry that it is about.
    pub index: Option<u64>,
    /// Where the evidence lies, if there is some.
    pub evidence: Option<PathBuf>,
}

impl Finding {
    pub(crate) fn new(code: Code, place: impl Into<String>, problem: impl Into<String>) -> Self {
        let (place, problem) = (place.into(), problem.into());
        Self { code, place, problem, index: None, evidence: None }
    }

    pub(crate) fn of_entry(code: Code, index: u64, problem: impl Into<String>) -> Self {
        let index = Some(index);
        let place = index.map_or_else(String::new, |index| format!("entry {index}"));
        Self { index, ..Self::new(code, place, problem) }
    }

    pub(crate) fn with(mut self, evidence: PathBuf) -> Self {
        self.evidence = Some(evidence);
        self
    }

    /// One line for machines.
    pub fn to_value(&self) -> Value {
        let mut members = vec![
            ("code", Value::from(self.code.as_str())),
            ("place", self.place.as_str().into()),
            ("problem", self.problem.as_str().into()),
        ];
        if let Some(index) = self.index {
            members.push(("index", index.into()));
        }
        if let Some(evidence) = &self.evidence {
            members.push(("evidence", evidence.display().to_string().into()));
        }
        json::object(members)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code.as_str(), self.place, self.problem)?;
        match &self.evidence {
            Some(path) => write!(f, "; see: countersign verify {}", path.display()),
            None => Ok(()),
        }
    }
}

/// How many findings of one pass are told one by one. A log can sign as much nonsense as it likes.
const MOST: usize = 1_000;

/// What one pass found: so many in detail, and the rest as a number.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    more: u64,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < MOST {
            self.list.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Those in detail, in the order in which they were found.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many there are beyond those.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.list.len() as u64 + self.more
    }

    /// True if nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
