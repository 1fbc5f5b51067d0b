//! Where an exchange stands, and who must do what by when: for people, and for watching.

use std::collections::BTreeSet;

use exchange::predicate::{Schedule, WithdrawalCode};
use exchange::{
    AwaitedStep, Breach, ExchangeState, Obligation, RunEnd, RunView, Side, StatementId,
};
use tlog::KeyName;

use super::Seat;
use crate::Entropy;
use crate::replica::{Replica, Standing};

/// An announced run, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOverview {
    /// It goes on, in time or not.
    Open {
        /// Its number.
        run: u64,
        /// True if its time is over.
        overdue: bool,
    },
    /// It has a record.
    Recorded {
        /// Its number.
        run: u64,
        /// The attestation.
        record: StatementId,
    },
    /// It ended without one.
    Withdrawn {
        /// Its number.
        run: u64,
        /// Why.
        code: WithdrawalCode,
    },
}

impl From<RunView> for RunOverview {
    fn from(view: RunView) -> Self {
        let run = view.run;
        match view.end {
            RunEnd::Open => Self::Open { run, overdue: view.overdue },
            RunEnd::Recorded(record) => Self::Recorded { run, record },
            RunEnd::Withdrawn(code) => Self::Withdrawn { run, code },
        }
    }
}

/// Something that an exchange waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who has to; none where anybody may.
    pub of: Option<KeyName>,
    /// What is to be logged.
    pub what: AwaitedStep,
    /// By when, unix seconds; none if its time does not run yet.
    pub due: Option<u64>,
}

/// An exchange at one head of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The agreement.
    pub exchange: StatementId,
    /// Its state.
    pub state: ExchangeState,
    /// Its clock, unix seconds; 0 if no tick counted yet.
    pub time: u64,
    /// The schedule in force; none once it is over.
    pub schedule: Option<Schedule>,
    /// Both parties.
    pub parties: [KeyName; 2],
    /// Runs that each may announce.
    pub budget: u64,
    /// Announced runs of each; empty once it is over.
    pub runs: [Vec<RunOverview>; 2],
    /// The record of each that counts.
    pub records: [Option<StatementId>; 2],
    /// What is owed and what became of it.
    pub obligations: Vec<Obligation>,
    /// What it waits for, soonest first.
    pub awaits: Vec<Step>,
    /// Every default so far.
    pub breaches: BTreeSet<Breach>,
    /// True if defaults name somebody.
    pub neutral: Option<bool>,
}

impl Overview {
    /// What the replay says of an exchange; `None` if the log has no such agreement.
    pub fn of(replica: &Replica, exchange: &StatementId) -> Option<Self> {
        let agreement = replica.agreement(exchange)?;
        let budget = agreement.runs.budget;
        Some(match replica.standing(exchange)? {
            Standing::Open(view) => Self {
                exchange: *exchange,
                state: view.state(),
                time: view.time(),
                schedule: Some(*view.schedule()),
                parties: Side::BOTH.map(|side| view.party(side).clone()),
                budget,
                runs: Side::BOTH.map(|side| view.runs(side).map(RunOverview::from).collect()),
                records: Side::BOTH.map(|side| view.counted(side).map(|(id, ..)| id)),
                obligations: view.obligations(&|_| true),
                awaits: view
                    .awaits()
                    .into_iter()
                    .map(|step| Step { of: step.of, what: step.what, due: step.due })
                    .collect(),
                breaches: view.breaches(),
                neutral: Some(view.is_neutral()),
            },
            Standing::Over(ended) => Self {
                exchange: *exchange,
                state: ended.state,
                time: ended.time,
                schedule: None,
                parties: ended.parties.clone(),
                budget,
                runs: [Vec::new(), Vec::new()],
                records: ended.records,
                obligations: ended.obligations.clone(),
                awaits: Vec::new(),
                breaches: ended.breaches.clone(),
                neutral: None,
            },
        })
    }
}

impl<E: Entropy> Seat<'_, E> {
    /// Where the exchange stands at the newest head that was replayed.
    pub fn overview(&self) -> Overview {
        Overview::of(&self.replica, &self.exchange).expect("the log has this agreement")
    }
}
