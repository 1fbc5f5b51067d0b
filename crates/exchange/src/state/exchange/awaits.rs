//! What an exchange waits for, and of whom.

use std::fmt;

use tlog::KeyName;

use super::{Exchange, ExchangeState, Side, Status};

/// Something that an exchange waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaits {
    /// What is to be logged.
    pub what: AwaitedStep,
    /// Who has to; none where anybody may.
    pub of: Option<KeyName>,
    /// Unix seconds: by when; of a tick, the time that it has to exceed. None while the time has
    /// not begun to run, and for a tick whose time does not matter.
    pub due: Option<u64>,
}

/// What is to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwaitedStep {
    /// The acceptance of the agreement.
    Accept,
    /// What meets the obligation of this name.
    Obligation(String),
    /// A tick that covers what was logged, or shows that a time has passed.
    Tick,
}

impl fmt::Display for AwaitedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Obligation(name) => f.write_str(name),
            Self::Tick => f.write_str("tick"),
        }
    }
}

impl Exchange {
    /// Open obligations, soonest first, and a tick wherever only that can bring the exchange on.
    pub(super) fn awaits(&self, now: u64) -> Vec<Awaits> {
        if self.state.is_final() {
            return Vec::new();
        }
        if self.state == ExchangeState::Proposed {
            let due = Some(self.in_force.schedule.accept_by.unix());
            let of = Some(self.name(Side::Second).clone());
            return vec![Awaits { what: AwaitedStep::Accept, of, due }];
        }
        let duties = self.duties(now);
        let open = duties.iter().filter(|duty| duty.status == Status::Open);
        let mut awaits: Vec<_> = open
            .map(|duty| Awaits {
                what: AwaitedStep::Obligation(duty.name.to_string()),
                of: Some(duty.holder.clone()),
                due: duty.due,
            })
            .collect();
        awaits.sort_by_key(|step| step.due.unwrap_or(u64::MAX));
        let wait = self.next_wait(now);
        let due = wait.time.filter(|time| *time > 0);
        if wait.index.is_some() || wait.time == Some(0) {
            awaits.push(Awaits { what: AwaitedStep::Tick, of: None, due: None });
        } else if awaits.is_empty() && due.is_some() {
            awaits.push(Awaits { what: AwaitedStep::Tick, of: None, due });
        }
        awaits
    }
}
