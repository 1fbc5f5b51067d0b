//! Exchanges as others see them: for status, for services, for verdicts.

use std::collections::BTreeSet;

use tlog::{Hash, KeyName};

use super::{Awaits, Breach, Exchange, ExchangeState, Obligation, Side, Status};
use crate::predicate::{
    Agreement, Change, Evaluation, Rule, Schedule, SealedEnvelope, WithdrawalCode,
};
use crate::values::{StatementId, Word};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// It has not.
    Open,
    /// With this evaluation.
    Recorded(StatementId),
    /// Without a record.
    Withdrawn(WithdrawalCode),
}

/// An announced run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunView {
    /// 1, 2, …
    pub run: u64,
    /// Its intent.
    pub intent: StatementId,
    /// How it ended.
    pub end: RunEnd,
    /// True if it is open though its time is over.
    pub overdue: bool,
}

/// An open exchange, as the leaves so far make it.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeView<'a> {
    exchange: &'a Exchange,
    now: u64,
}

impl<'a> ExchangeView<'a> {
    pub(in crate::state) fn new(exchange: &'a Exchange, now: u64) -> Self {
        Self { exchange, now }
    }

    /// The agreement's statement id.
    pub fn id(&self) -> StatementId {
        self.exchange.id
    }

    /// The agreement's leaf.
    pub fn index(&self) -> u64 {
        self.exchange.index
    }

    /// Where it stands.
    pub fn state(&self) -> ExchangeState {
        self.exchange.state
    }

    /// The exchange's clock: the greatest time of a counted tick so far, in unix seconds; 0 if
    /// there was none.
    pub fn time(&self) -> u64 {
        self.now
    }

    /// True if no party's own witness is in the clock group, so that defaults name somebody.
    pub fn is_neutral(&self) -> bool {
        self.exchange.neutral
    }

    /// The agreement as it was proposed.
    pub fn agreement(&self) -> &'a Agreement {
        &self.exchange.agreement
    }

    /// The agreement, or the last accepted amendment: what the next amendment is based on.
    pub fn base(&self) -> StatementId {
        self.exchange.in_force.base
    }

    /// The schedule in force.
    pub fn schedule(&self) -> &'a Schedule {
        &self.exchange.in_force.schedule
    }

    /// The disclosure rules in force.
    pub fn rules(&self) -> &'a [Rule] {
        &self.exchange.in_force.rules
    }

    /// Rules that their reader has restricted.
    pub fn restricted(&self) -> impl Iterator<Item = (&'a Word, Side)> {
        self.exchange.in_force.restricted.iter().map(|(rule, side)| (rule, *side))
    }

    /// Amendments that wait for this side's acceptance.
    pub fn proposals_to(&self, side: Side) -> impl Iterator<Item = (StatementId, Change)> {
        let base = self.exchange.in_force.base;
        let proposals = self.exchange.in_force.proposals.iter();
        proposals.filter(move |(_, p)| p.by != side && !p.accepted && p.base == base).map(
            |(id, proposal)| {
                let change = Change::Values {
                    accept_by: proposal.accept_by,
                    schedule: proposal.schedule,
                    disclosure: proposal.disclosure.clone(),
                };
                (*id, change)
            },
        )
    }

    /// True for both parties and the auditors.
    pub fn is_member(&self, name: &KeyName) -> bool {
        self.side(name).is_some() || self.agreement().is_auditor(name)
    }

    /// Which side a party is on.
    pub fn side(&self, name: &KeyName) -> Option<Side> {
        self.exchange.side(name)
    }

    /// The name of the party on a side.
    pub fn party(&self, side: Side) -> &'a KeyName {
        &self.exchange.agreement.parties[side.place()].keys.name
    }

    /// The runs that a side announced.
    pub fn runs(&self, side: Side) -> impl Iterator<Item = RunView> {
        let commit_by = self.exchange.in_force.schedule.commit_by.unix();
        let late = self.now > commit_by || self.exchange.since[0].is_some();
        let runs = self.exchange.sides[side.place()].runs.iter();
        (1..).zip(runs).map(move |(run, facts)| RunView {
            run,
            intent: facts.intent,
            end: facts.end,
            overdue: late && facts.end == RunEnd::Open,
        })
    }

    /// The nonce of an announced run, which its record's context holds.
    pub fn nonce(&self, side: Side, intent: &StatementId) -> Option<[u8; 32]> {
        self.exchange.nonce(side, intent)
    }

    /// The evaluation of a side that counts as it stands, with its leaf.
    pub fn counted(&self, side: Side) -> Option<(StatementId, u64, &'a Evaluation)> {
        let records = &self.exchange.sides[side.place()].records;
        let counted = match self.exchange.agreement.runs.counts {
            crate::predicate::Counts::First => records.first(),
            crate::predicate::Counts::Last => records.last(),
        };
        counted.map(|record| (record.id, record.index, record.evaluation.as_ref()))
    }

    /// Envelopes about a side's record, oldest first: statement, rule of a reveal, envelope.
    pub fn sealed(
        &self,
        side: Side,
    ) -> impl Iterator<Item = (StatementId, Option<&'a Word>, &'a SealedEnvelope)> {
        let mut sealed: Vec<_> = self
            .exchange
            .shown
            .iter()
            .filter(|(_, shown)| shown.side == side)
            .filter_map(|(id, shown)| {
                Some((shown.index, *id, shown.rule.as_ref(), shown.envelope.as_ref()?))
            })
            .collect();
        sealed.sort_by_key(|(index, ..)| *index);
        sealed.into_iter().map(|(_, id, rule, envelope)| (id, rule, envelope))
    }

    /// How many distinct items a side has opened under a rule.
    pub fn opened_under(&self, side: Side, rule: &Word) -> u64 {
        self.exchange.sides[side.place()].used.get(rule).map_or(0, super::ranges::Ranges::len)
    }

    /// Every obligation that has arisen. Those that rest on an artifact which is not at hand are
    /// [`Status::Unknown`].
    pub fn obligations(&self, at_hand: &dyn Fn(&Hash) -> bool) -> Vec<Obligation> {
        let mut all = self.exchange.obligations(self.now);
        for duty in all.iter_mut().filter(|duty| duty.status == Status::Met) {
            let artifacts = self.exchange.deciding_artifacts(duty.name.as_str());
            if artifacts.iter().any(|digest| !at_hand(digest)) {
                duty.status = Status::Unknown;
            }
        }
        all
    }

    /// What it waits for, and of whom: open obligations, soonest first, and a tick wherever only
    /// that can bring the exchange on.
    pub fn awaits(&self) -> Vec<Awaits> {
        self.exchange.awaits(self.now)
    }

    /// Every default so far.
    pub fn breaches(&self) -> BTreeSet<Breach> {
        self.exchange.breaches(self.now)
    }

    /// True if this exchange ends by itself: nothing in it is owed once both have committed, so
    /// the second tick after that closes the time for voluntary reveals.
    pub fn owes_nothing(&self) -> bool {
        self.exchange.owes_nothing()
    }

    /// The next time at whose passing something changes, in unix seconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.exchange.next_wait(self.now).time.filter(|time| *time > 0)
    }
}

/// What an exchange had come to when it was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedExchange {
    /// The agreement's statement id.
    pub id: StatementId,
    /// The leaf of the tick that ended it.
    pub index: u64,
    /// Expired, ended or closed.
    pub state: ExchangeState,
    /// The clock at that tick, unix seconds.
    pub time: u64,
    /// The parties.
    pub parties: [KeyName; 2],
    /// The auditors. They follow from the agreement, so that the digest leaves them out.
    pub auditors: Vec<KeyName>,
    /// The evaluation of each that counted.
    pub records: [Option<StatementId>; 2],
    /// What was owed and what became of it.
    pub obligations: Vec<Obligation>,
    /// Every default.
    pub breaches: BTreeSet<Breach>,
}

impl EndedExchange {
    /// True for both parties and the auditors.
    pub fn is_member(&self, name: &KeyName) -> bool {
        self.parties.contains(name) || self.auditors.contains(name)
    }

    pub(in crate::state) fn of(exchange: &Exchange, index: u64, now: u64) -> Self {
        Self {
            id: exchange.id,
            index,
            state: exchange.state,
            time: now,
            parties: Side::BOTH.map(|side| exchange.name(side).clone()),
            auditors: exchange.agreement.auditors.iter().map(|keys| keys.name.clone()).collect(),
            records: Side::BOTH.map(|side| exchange.counted(side).map(|record| record.id)),
            obligations: exchange.obligations(now),
            breaches: exchange.breaches(now),
        }
    }
}
