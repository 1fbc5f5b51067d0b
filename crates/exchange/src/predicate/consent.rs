//! `accept`, `amendment`, `decline`: what one party says to the other's proposal.

use json::{FieldError, Fields, Node, Value, array};

use super::agreement::{Rule, Schedule};
use super::parts::{Members, spelled, text};
use crate::read;
use crate::reason::Refusal;
use crate::time::Timestamp;
use crate::values::{StatementId, Word};

/// Makes a proposal common: of an agreement, an amendment, or a party's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// The accepted statement.
    pub accepts: StatementId,
}

impl Accept {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self { accepts: read::required(fields, "accepts", read::id)? })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("accepts", text(self.accepts)));
    }
}

/// Changes an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// The agreement, or the last accepted amendment of it.
    pub base: StatementId,
    /// What changes.
    pub change: Change,
}

/// What an amendment changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New values, at least one of the two, in force once the other party accepts.
    Values {
        /// Until when the other party may accept.
        accept_by: Timestamp,
        /// The whole new schedule.
        schedule: Option<Schedule>,
        /// All rules, old ones that stay included.
        disclosure: Option<Vec<Rule>>,
    },
    /// The signer asks no more for these obligations, which are owed to it.
    Waives(Vec<ObligationName>),
    /// The signer will receive nothing more under these rules.
    Restricts(Vec<Word>),
}

/// More obligations than an exchange with 64 rules, 64 claims and their audits has.
const MAX_WAIVED: usize = 256;

impl Amendment {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let base = read::required(fields, "base", read::id)?;
        let change = if let Some(node) = fields.optional("waives") {
            Change::Waives(read::list(&node, 1, MAX_WAIVED, ObligationName::read)?)
        } else if let Some(node) = fields.optional("restricts") {
            Change::Restricts(read::list(&node, 1, 64, read::word)?)
        } else {
            let schedule = read::optional(fields, "schedule", Schedule::read)?;
            let disclosure = read::optional(fields, "disclosure", Rule::read_list)?;
            if schedule.is_none() && disclosure.is_none() {
                let problem = "must change the schedule or the disclosure, waive or restrict";
                return Err(fields.error(problem));
            }
            let accept_by = read::required(fields, "accept_by", read::time)?;
            Change::Values { accept_by, schedule, disclosure }
        };
        Ok(Self { base, change })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("base", text(self.base)));
        match &self.change {
            Change::Values { accept_by, schedule, disclosure } => {
                members.push(("accept_by", text(accept_by)));
                if let Some(schedule) = schedule {
                    members.push(("schedule", schedule.to_value()));
                }
                if let Some(rules) = disclosure {
                    members.push(("disclosure", array(rules.iter().map(Rule::to_value))));
                }
            }
            Change::Waives(names) => members.push(("waives", array(names.iter().map(text)))),
            Change::Restricts(rules) => members.push(("restricts", array(rules.iter().map(text)))),
        }
    }

    /// What can be wrong with the new values whatever the agreement says.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match &self.change {
            Change::Values { schedule: Some(schedule), .. } => {
                schedule.check("/predicate/schedule")
            }
            _ => Ok(()),
        }
    }
}

/// The name of an obligation, such as `reveal:<party>:<rule>`. Which obligations exist follows
/// from the agreement; here only the first word is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObligationName(Box<str>);

const OBLIGATIONS: [&str; 8] =
    ["commit", "reveal", "claim", "reseal", "settle", "coin", "open", "outcome"];

impl ObligationName {
    /// A name that this program makes from an agreement's parts.
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let name = node.text(512)?;
        match name.split_once(':') {
            Some((word, rest)) if OBLIGATIONS.contains(&word) && !rest.is_empty() => {
                Ok(Self(name.into()))
            }
            _ => Err(node.error("must be the name of an obligation")),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ObligationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

spelled! {
    /// Why a claim is not made.
    DeclineCode {
        /// Tells nothing; the default.
        Unspecified = "unspecified",
        /// The proof cannot be made.
        Technical = "technical",
        /// The party's own policy forbids it.
        Policy = "policy",
    }
}

/// Says that an agreed claim will not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// The claim's id in the agreement.
    pub claim: Word,
    /// Why.
    pub code: DeclineCode,
}

impl Decline {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            claim: read::required(fields, "claim", read::word)?,
            code: read::required(fields, "code", read::spelled)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("claim", text(&self.claim)));
        members.push(("code", Value::from(self.code.as_str())));
    }
}
