//! Who owes what by when, and what became of it (`docs/protocol.md`, "Time and stages").

use std::fmt;

use tlog::KeyName;

use crate::predicate::ObligationName;
use crate::values::{StatementId, Word};

/// Something that somebody must log, with the time by which it is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Obligation {
    /// Its stable name.
    pub name: ObligationName,
    /// Who must meet it.
    pub holder: KeyName,
    /// Unix seconds; a tick with a greater time means that it has passed. None while the time has
    /// not begun to run, because no tick covers the statement that it counts from.
    pub due: Option<u64>,
    /// What became of it.
    pub status: Status,
    /// What it means if it is not met.
    pub(super) stage: ObligationStage,
}

/// An obligation while nobody has asked for it: its name is spelled only when it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duty<'a> {
    pub(super) name: Name<'a>,
    pub(super) holder: &'a KeyName,
    pub(super) due: Option<u64>,
    pub(super) status: Status,
    pub(super) stage: ObligationStage,
}

impl Duty<'_> {
    pub(super) fn to_obligation(self) -> Obligation {
        Obligation {
            name: ObligationName::new(&self.name.to_string()),
            holder: self.holder.clone(),
            due: self.due,
            status: self.status,
            stage: self.stage,
        }
    }
}

/// The parts of an obligation's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Commit(&'a KeyName),
    Reveal(&'a KeyName, &'a Word),
    Claim(&'a Word),
    Reseal(&'a StatementId),
    Settle(&'a StatementId),
    /// Holder, record, attempt.
    Coin(&'a KeyName, StatementId, u64),
    /// Party, record, sample.
    Open(&'a KeyName, StatementId, u64),
    /// Record, attempt.
    Outcome(StatementId, u64),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(party) => write!(f, "commit:{party}"),
            Self::Reveal(party, rule) => write!(f, "reveal:{party}:{rule}"),
            Self::Claim(claim) => write!(f, "claim:{claim}"),
            Self::Reseal(dispute) => write!(f, "reseal:{dispute}"),
            Self::Settle(dispute) => write!(f, "settle:{dispute}"),
            Self::Coin(holder, record, attempt) => write!(f, "coin:{holder}:{record}:{attempt}"),
            Self::Open(party, record, sample) => write!(f, "open:{party}:{record}:{sample}"),
            Self::Outcome(record, attempt) => write!(f, "outcome:{record}:{attempt}"),
        }
    }
}

/// What became of an obligation, as far as the leaves tell. Whether an artifact that decides it is
/// at hand is another question: [`ExchangeView::obligations`](super::ExchangeView::obligations)
/// makes what rests on a missing one [`Unknown`](Self::Unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Not due yet, and not met.
    Open,
    /// Met in time.
    Met,
    /// Whoever it is owed to has waived it.
    Waived,
    /// The time, and one step more, passed without it.
    Unmet,
    /// An artifact that decides it is not at hand.
    Unknown,
    /// Sender and reader say different things, and no outcome settled it: names nobody.
    Contested,
    /// An auditor was silent: nobody's default.
    Lapsed,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Met => "met",
            Self::Waived => "waived",
            Self::Unmet => "unmet",
            Self::Unknown => "unknown",
            Self::Contested => "contested",
            Self::Lapsed => "lapsed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The stage in which somebody is in default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObligationStage {
    /// No record.
    Commit,
    /// An owed reveal is missing.
    Reveal,
    /// An agreed claim was neither made nor declined.
    Claim,
    /// A disputed envelope was not sealed again, or an outcome found against its sender.
    Opening,
    /// A coin or a sample is missing.
    Audit,
}

impl ObligationStage {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Reveal => "reveal",
            Self::Claim => "claim",
            Self::Opening => "opening",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for ObligationStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A missed obligation. It says "not in the log by then", never "refused".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    /// By the clock of neutral witnesses.
    Defaulted {
        /// Whose obligation it was.
        party: KeyName,
        /// In which stage.
        stage: ObligationStage,
    },
    /// By a clock that a party's own witness can stop: it names nobody.
    Stalled {
        /// In which stage.
        stage: ObligationStage,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaulted { party, stage } => write!(f, "defaulted({party}, {stage})"),
            Self::Stalled { stage } => write!(f, "stalled({stage})"),
        }
    }
}
