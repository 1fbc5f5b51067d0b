//! The terms in force: the agreement, what accepted amendments changed, and what a party gave up.

use std::collections::{BTreeMap, BTreeSet};

use tlog::KeyName;

use crate::predicate::{
    Agreement, Amendment, Audience, Author, Change, ObligationName, Rule, Schedule, What,
};
use crate::reason::{Reason, Refusal};
use crate::time::Timestamp;
use crate::values::{StatementId, Word};

/// One of the two parties, in the order of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The proposer.
    First,
    /// Who accepts.
    Second,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The place in the agreement's list.
    pub const fn place(self) -> usize {
        self as usize
    }

    /// The other one.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// An amendment that waits for the other party's acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) by: Side,
    pub(super) base: StatementId,
    pub(super) accept_by: Timestamp,
    pub(super) schedule: Option<Schedule>,
    pub(super) disclosure: Option<Vec<Rule>>,
    pub(super) accepted: bool,
}

/// What both said, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InForce {
    /// The agreement, or the last accepted amendment.
    pub(super) base: StatementId,
    pub(super) schedule: Schedule,
    pub(super) rules: Vec<Rule>,
    pub(super) waived: BTreeSet<ObligationName>,
    /// Rules that their reader restricted: (rule, reader).
    pub(super) restricted: BTreeSet<(Word, Side)>,
    pub(super) proposals: BTreeMap<StatementId, Proposal>,
}

impl InForce {
    pub(super) fn new(id: StatementId, agreement: &Agreement) -> Self {
        Self {
            base: id,
            schedule: agreement.schedule,
            rules: agreement.disclosure.clone(),
            waived: BTreeSet::new(),
            restricted: BTreeSet::new(),
            proposals: BTreeMap::new(),
        }
    }

    pub(super) fn rule(&self, id: &Word) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == *id)
    }

    /// True if a party that the rule lets write may still use it: its reader has not restricted
    /// what it receives.
    pub(super) fn is_open(&self, rule: &Rule, by: Side) -> bool {
        rule.to != Audience::Peer || !self.restricted.contains(&(rule.id.clone(), by.peer()))
    }

    /// Keeps an amendment, or does at once what needs nobody's acceptance.
    pub(super) fn amend(&mut self, id: StatementId, by: Side, amendment: &Amendment) {
        match &amendment.change {
            Change::Values { accept_by, schedule, disclosure } => {
                let proposal = Proposal {
                    by,
                    base: amendment.base,
                    accept_by: *accept_by,
                    schedule: *schedule,
                    disclosure: disclosure.clone(),
                    accepted: false,
                };
                self.proposals.insert(id, proposal);
            }
            Change::Waives(names) => self.waived.extend(names.iter().cloned()),
            Change::Restricts(rules) => {
                self.restricted.extend(rules.iter().map(|rule| (rule.clone(), by)));
            }
        }
    }

    /// The other party accepted a proposal: it is in force.
    pub(super) fn accept(&mut self, id: StatementId) {
        let Some(proposal) = self.proposals.get_mut(&id) else { return };
        proposal.accepted = true;
        self.base = id;
        if let Some(schedule) = proposal.schedule {
            self.schedule = schedule;
        }
        if let Some(rules) = &proposal.disclosure {
            self.rules.clone_from(rules);
        }
    }

    /// Whether new values may take effect now: the agreement that they make holds together
    /// (`BAD_AGREEMENT`), and no deadline moves that has passed, or to a time that has
    /// (`DEADLINE_PASSED`).
    pub(super) fn check_values(
        &self,
        agreement: &Agreement,
        schedule: Option<&Schedule>,
        disclosure: Option<&Vec<Rule>>,
        now: u64,
    ) -> Result<(), Refusal> {
        let amended = Agreement {
            schedule: *schedule.unwrap_or(&self.schedule),
            disclosure: disclosure.unwrap_or(&self.rules).clone(),
            ..agreement.clone()
        };
        amended.check_terms()?;
        let moves =
            |old: Timestamp, new: Timestamp| old != new && (old.unix() < now || new.unix() < now);
        let (old, new) = (&self.schedule, &amended.schedule);
        let audit =
            matches!((old.audit_by, new.audit_by), (Some(old), Some(new)) if moves(old, new));
        if moves(old.accept_by, new.accept_by)
            || moves(old.commit_by, new.commit_by)
            || moves(old.reveal_by, new.reveal_by)
            || audit
        {
            let message = "a deadline that has passed can't move, nor one into the past";
            return Err(Refusal::new(Reason::DeadlinePassed, message).at("/predicate/schedule"));
        }
        Ok(())
    }
}

/// Which party a rule lets write.
pub(super) fn covers(rule: &Rule, agreement: &Agreement, side: Side) -> bool {
    rule.by.covers(name_of(agreement, side))
}

pub(super) fn name_of(agreement: &Agreement, side: Side) -> &KeyName {
    &agreement.parties[side.place()].keys.name
}

/// The reader that a rule names for what `side` writes; none for the public.
pub(super) fn reader<'a>(
    rule: &'a Rule,
    agreement: &'a Agreement,
    side: Side,
) -> Option<&'a KeyName> {
    match &rule.to {
        Audience::Public => None,
        Audience::Peer => Some(name_of(agreement, side.peer())),
        Audience::Auditor(name) => Some(name),
    }
}

/// True if the rule can be a restriction by `reader`: it lets the peer write to it.
pub(super) fn is_to(rule: &Rule, agreement: &Agreement, reader: Side) -> bool {
    rule.to == Audience::Peer
        && match &rule.by {
            Author::Both => true,
            Author::Party(name) => name == name_of(agreement, reader.peer()),
        }
}

/// True for rules whose disclosure is owed: an obligation stands for each party that they cover.
pub(super) fn is_owed_reveal(rule: &Rule) -> bool {
    rule.owed && matches!(rule.what, What::Counts | What::Flags | What::Totals)
}
