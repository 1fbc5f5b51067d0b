//! One exchange: an agreement and all that happens under it, as a function of the leaves.
//!
//! [`check`] says whether a statement may follow, [`facts`] keeps what it did, [`duties`] derives
//! from the facts who owes what. Only a counted tick moves an exchange from one state to the next,
//! at most by one: whoever has to act next has until the tick after.
//!
//! An exchange that is over is dropped: the log keeps its id, the state it ended in and a digest.

mod audit;
mod awaits;
mod check;
mod check_answers;
mod check_disclosures;
mod clock;
mod digest;
mod duties;
mod facts;
mod obligation;
mod ranges;
mod terms;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use tlog::{Hash, KeyName};

pub use awaits::{AwaitedStep, Awaits};
pub use obligation::{Breach, Obligation, ObligationStage, Status};
pub use terms::Side;
pub use view::{EndedExchange, ExchangeView, RunEnd, RunView};

pub(super) use check::{Surroundings, check_embedded_keys};
pub(super) use clock::{Awaited, Clock, ClockName, Clocks, Counted};

use crate::predicate::{
    Agreement, AuditResult, DisputeResult, Evaluation, OpenedItems, SealedEnvelope,
};
use crate::registry::PartyNumber;
use crate::values::{Field, StatementId, Word};
use ranges::Ranges;
use terms::InForce;

/// Where an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeState {
    /// Proposed by one.
    Proposed,
    /// Accepted by the other: runs may begin.
    Agreed,
    /// Both counted records lie under a ticked head.
    Committed,
    /// Every reveal and claim is made, or its time is over.
    Revealed,
    /// Nobody accepted in time. Nobody's fault.
    Expired,
    /// A side has no counted record.
    Ended,
    /// Everything that was owed is made, or its time is over.
    Closed,
}

impl ExchangeState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Agreed => "agreed",
            Self::Committed => "committed",
            Self::Revealed => "revealed",
            Self::Expired => "expired",
            Self::Ended => "ended",
            Self::Closed => "closed",
        }
    }

    /// True if nothing more is admitted.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Expired | Self::Ended | Self::Closed)
    }
}

impl std::fmt::Display for ExchangeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An open exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    id: StatementId,
    /// The log that it is in.
    origin: KeyName,
    /// The agreement's leaf.
    index: u64,
    agreement: Box<Agreement>,
    clock: ClockName,
    /// True if no party's witness is in the clock group.
    neutral: bool,
    state: ExchangeState,
    in_force: InForce,
    sides: [SideFacts; 2],
    shown: BTreeMap<StatementId, Shown>,
    claims: BTreeMap<Word, Made>,
    disputes: BTreeMap<StatementId, Contest>,
    audits: BTreeMap<(Side, u64), AuditFacts>,
    /// A party's outcomes, void until the other accepts them.
    outcomes: BTreeMap<StatementId, PartyOutcome>,
    /// Auditors that have made their summary.
    summaries: BTreeSet<KeyName>,
    /// Time of the tick that made it `committed`, and of the one that made it `revealed`.
    since: [Option<u64>; 2],
    /// Leaves that a time counts from: the time of the first counted tick that covers each.
    covered: BTreeMap<u64, u64>,
    uncovered: BTreeSet<u64>,
    /// All its statements and signers, to be forgotten with it.
    statements: Vec<StatementId>,
    signers: BTreeSet<PartyNumber>,
    awaited: Awaited,
}

impl Exchange {
    pub(super) fn clock(&self) -> &ClockName {
        &self.clock
    }

    pub(super) fn state(&self) -> ExchangeState {
        self.state
    }

    pub(super) fn awaited(&self) -> Awaited {
        self.awaited
    }

    /// What it waited for, and what it waits for now.
    pub(super) fn renew_wait(&mut self, now: u64) -> [Awaited; 2] {
        let new = self.next_wait(now);
        [std::mem::replace(&mut self.awaited, new), new]
    }

    /// A statement in it, admitted or void, and its signer.
    pub(super) fn remember(&mut self, id: StatementId, by: PartyNumber) {
        self.statements.push(id);
        self.signers.insert(by);
    }

    pub(super) fn signers(&self) -> impl Iterator<Item = PartyNumber> {
        self.signers.iter().copied()
    }
}

/// What one party did before `committed`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct SideFacts {
    runs: Vec<Run>,
    /// Valid evaluations, in log order.
    records: Vec<Record>,
    /// Items opened so far under each rule.
    used: BTreeMap<Word, Ranges>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    intent: StatementId,
    nonce: [u8; 32],
    end: RunEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    id: StatementId,
    index: u64,
    nonce: [u8; 32],
    evaluation: Box<Evaluation>,
}

/// A statement that shows something of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    index: u64,
    /// The record's party.
    side: Side,
    /// Who logged it: the party, or an auditor who releases.
    signer: KeyName,
    /// None for an opening.
    rule: Option<Word>,
    /// The items and fields of an opening.
    opened: Option<(OpenedItems, Vec<Field>)>,
    /// What is sealed, to whom; none for what is in the clear.
    envelope: Option<SealedEnvelope>,
    /// The dispute that it answers.
    answers: Option<StatementId>,
    /// Items proofs by column, with a reveal.
    proofs: Vec<(crate::values::ColumnName, Hash)>,
}

/// What became of an agreed claim.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Made {
    Claimed { id: StatementId, artifacts: Vec<Hash> },
    Declined,
}

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contest {
    index: u64,
    about: StatementId,
    /// Who sealed what is disputed.
    sender: KeyName,
    /// True for `unopenable`, which puts an obligation on the sender.
    unopenable: bool,
    /// The leaf of the answer.
    answered: Option<u64>,
    outcome: Option<DisputeResult>,
}

/// One attempt to audit one record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct AuditFacts {
    /// Commitments of the audited party and of the auditor, with their leaves.
    commitments: [Option<(Hash, u64)>; 2],
    /// Leaves of the opened coins.
    coins: [Option<u64>; 2],
    /// Samples asked for, with the leaf that asks.
    asked: Vec<(u64, u64)>,
    /// Openings of samples: sample, statement, artifact.
    opened: Vec<(u64, StatementId, Hash)>,
    outcome: Option<AuditResult>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PartyOutcome {
    by: Side,
    accepted: bool,
}

/// What stays of an exchange that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ended {
    pub(super) state: ExchangeState,
    /// Of everything that it was, [`EndedExchange`].
    pub(super) digest: Hash,
}
