//! Who owes what, derived from the facts.

use std::collections::BTreeSet;

use tlog::KeyName;

use super::obligation::{Breach, Duty, Name, Obligation, ObligationStage, Status};
use super::terms::{self, Side, is_owed_reveal, name_of};
use super::{Exchange, ExchangeState, Made, Record, Shown};
use crate::predicate::{AgreedClaim, Audience, Counts, DisputeResult, ObligationName, Rule, What};
use crate::values::StatementId;

impl Exchange {
    /// The evaluation of a side that counts.
    pub(super) fn counted(&self, side: Side) -> Option<&Record> {
        let records = &self.sides[side.place()].records;
        match self.agreement.runs.counts {
            Counts::First => records.first(),
            Counts::Last => records.last(),
        }
    }

    /// Whose counted record this is.
    pub(super) fn side_of_record(&self, record: &StatementId) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|side| self.counted(*side).is_some_and(|counted| counted.id == *record))
    }

    pub(super) fn name(&self, side: Side) -> &KeyName {
        name_of(&self.agreement, side)
    }

    pub(super) fn side(&self, name: &KeyName) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.name(*side) == name)
    }

    pub(super) fn step(&self) -> u64 {
        self.in_force.schedule.step
    }

    /// The first second at which a tick finds something unmet that was due then: what is due may
    /// be stamped, and then comes at most one step late.
    pub(super) fn end_of(&self, due: u64) -> u64 {
        due.saturating_add(self.step())
    }

    /// One step after the first tick that covers a leaf.
    pub(super) fn step_after(&self, leaf: u64) -> Option<u64> {
        self.covered.get(&leaf).map(|time| time.saturating_add(self.step()))
    }

    /// The same in an audit, which ends at `audit_by` at the latest.
    fn audit_step_after(&self, leaf: u64) -> Option<u64> {
        self.in_audit(self.step_after(leaf))
    }

    fn in_audit(&self, due: Option<u64>) -> Option<u64> {
        let audit_by = self.in_force.schedule.audit_by.map(|time| time.unix());
        match (due, audit_by) {
            (Some(due), Some(audit_by)) => Some(due.min(audit_by)),
            (due, _) => due,
        }
    }

    fn duty<'a>(
        &self,
        now: u64,
        name: Name<'a>,
        holder: &'a KeyName,
        stage: ObligationStage,
        (due, met): (Option<u64>, bool),
    ) -> Duty<'a> {
        let late = due.is_some_and(|due| now > self.end_of(due));
        let waived = &self.in_force.waived;
        let status = if met {
            Status::Met
        } else if !waived.is_empty() && waived.contains(&ObligationName::new(&name.to_string())) {
            Status::Waived
        } else if late {
            self.missed(holder)
        } else {
            Status::Open
        };
        Duty { name, holder, due, status, stage }
    }

    /// An auditor's silence is nobody's default.
    fn missed(&self, holder: &KeyName) -> Status {
        if self.side(holder).is_some() { Status::Unmet } else { Status::Lapsed }
    }

    /// Every obligation that has arisen, with what became of it by the time `now`.
    pub(super) fn obligations(&self, now: u64) -> Vec<Obligation> {
        self.duties(now).into_iter().map(Duty::to_obligation).collect()
    }

    pub(super) fn duties(&self, now: u64) -> Vec<Duty<'_>> {
        let mut all = Vec::new();
        if self.state == ExchangeState::Proposed || self.state == ExchangeState::Expired {
            return all;
        }
        let commit_by = self.in_force.schedule.commit_by.unix();
        for side in Side::BOTH {
            let name = Name::Commit(self.name(side));
            let fact = (Some(commit_by), self.counted(side).is_some());
            all.push(self.duty(now, name, self.name(side), ObligationStage::Commit, fact));
        }
        if self.since[0].is_some() {
            self.reveals(now, &mut all);
            self.claims(now, &mut all);
        }
        self.contests(now, &mut all);
        if let Some(revealed) = self.since[1] {
            self.audits(now, revealed, &mut all);
        }
        all
    }

    fn reveals<'a>(&'a self, now: u64, all: &mut Vec<Duty<'a>>) {
        for rule in self.in_force.rules.iter().filter(|rule| is_owed_reveal(rule)) {
            for side in Side::BOTH {
                if terms::covers(rule, &self.agreement, side) {
                    all.push(self.reveal_duty(now, rule, side));
                }
            }
        }
    }

    fn reveal_duty<'a>(&'a self, now: u64, rule: &'a Rule, side: Side) -> Duty<'a> {
        let reveal_by = self.in_force.schedule.reveal_by.unix();
        let holder = self.name(side);
        let name = Name::Reveal(holder, &rule.id);
        let made = self.reveals_under(rule, side).map(|(id, _)| self.after_dispute(now, id));
        let best = made.min_by_key(|status| trouble(*status));
        let at_once = self.opened_at_once(rule, side);
        let fact = (Some(reveal_by), at_once || best == Some(Status::Met));
        let mut duty = self.duty(now, name, holder, ObligationStage::Reveal, fact);
        if !self.in_force.is_open(rule, side) && duty.status != Status::Met {
            duty.status = Status::Waived;
        } else if let Some(best) = best.filter(|_| !at_once)
            && duty.status != Status::Waived
        {
            // Something was shown in time; what a dispute about it comes to decides.
            duty.status = best;
            if best == Status::Unmet {
                duty.stage = ObligationStage::Opening;
            }
        }
        duty
    }

    /// Reveals under a rule of what `side` holds, first ones only: answers settle disputes.
    fn reveals_under<'a>(
        &'a self,
        rule: &'a Rule,
        side: Side,
    ) -> impl Iterator<Item = (&'a StatementId, &'a Shown)> {
        self.shown.iter().filter(move |(_, shown)| {
            shown.side == side && shown.rule.as_ref() == Some(&rule.id) && shown.answers.is_none()
        })
    }

    /// True if the attestation itself opened all that the rule is about.
    fn opened_at_once(&self, rule: &Rule, side: Side) -> bool {
        let prefix = match rule.what {
            What::Counts => "count:",
            What::Flags => "flag:",
            _ => return false,
        };
        let Some(record) = self.counted(side) else { return false };
        let opened = &record.evaluation.opened;
        rule.to == Audience::Public
            && crate::values::Subject::all()
                .filter(|subject| subject.as_str().starts_with(prefix))
                .all(|subject| opened.iter().any(|opened| opened.name == subject))
    }

    /// What a shown thing counts for, given the disputes about it.
    fn after_dispute(&self, now: u64, shown: &StatementId) -> Status {
        let contests = self.disputes.iter().filter(|(_, c)| c.about == *shown && c.unopenable);
        let settled = contests.map(|(id, _)| self.settled(now, id));
        settled.max_by_key(|status| trouble(*status)).unwrap_or(Status::Met)
    }

    /// Where an `unopenable` dispute stands: `Met` if resolved, `Unmet` if the sender is at fault.
    fn settled(&self, now: u64, dispute: &StatementId) -> Status {
        let Some(contest) = self.disputes.get(dispute) else { return Status::Met };
        match contest.outcome {
            Some(DisputeResult::Resolved) => return Status::Met,
            Some(DisputeResult::Sender) => return Status::Unmet,
            None => {}
        }
        if self.agreement.auditors.is_empty() {
            return Status::Contested;
        }
        let passed = |due: Option<u64>| due.is_some_and(|due| now > self.end_of(due));
        match contest.answered {
            Some(answer) if passed(self.step_after(answer)) => Status::Contested,
            None if passed(self.step_after(contest.index)) => self.missed(&contest.sender),
            _ => Status::Open,
        }
    }

    fn claims<'a>(&'a self, now: u64, all: &mut Vec<Duty<'a>>) {
        let reveal_by = self.in_force.schedule.reveal_by.unix();
        for claim in &self.agreement.claims {
            let due = match claim.bound.is_difference() {
                true => self.end_of(reveal_by),
                false => reveal_by,
            };
            let made = self.claims.contains_key(&claim.id);
            if !made && self.lacks_reveal(now, claim) {
                continue;
            }
            let name = Name::Claim(&claim.id);
            let fact = (Some(due), made);
            all.push(self.duty(now, name, &claim.by, ObligationStage::Claim, fact));
        }
    }

    /// True if a reveal that the claim needs has not come: it does not arise then.
    fn lacks_reveal(&self, now: u64, claim: &AgreedClaim) -> bool {
        if !claim.bound.is_difference() {
            return false;
        }
        let others = Side::BOTH.into_iter().filter(|side| *self.name(*side) != claim.by);
        others.into_iter().any(|side| {
            let duties = self.in_force.rules.iter().filter(|rule| {
                rule.what == What::Totals
                    && is_owed_reveal(rule)
                    && terms::covers(rule, &self.agreement, side)
                    && terms::reader(rule, &self.agreement, side)
                        .is_none_or(|reader| *reader == claim.by)
            });
            let mut statuses = duties.map(|rule| self.reveal_duty(now, rule, side).status);
            !statuses.any(|status| matches!(status, Status::Met | Status::Open))
        })
    }

    fn contests<'a>(&'a self, now: u64, all: &mut Vec<Duty<'a>>) {
        for (id, contest) in self.disputes.iter().filter(|(_, contest)| contest.unopenable) {
            let settled = self.settled(now, id);
            let sender = &contest.sender;
            let due = self.step_after(contest.index);
            let answered = contest.answered.is_some() || contest.outcome.is_some();
            let name = Name::Reseal(id);
            let mut reseal =
                self.duty(now, name, sender, ObligationStage::Opening, (due, answered));
            if self.agreement.auditors.is_empty() {
                reseal.status = Status::Contested;
            }
            all.push(reseal);
            let Some(answer) = contest.answered else { continue };
            // Any auditor may settle it; the first one stands for them.
            let Some(auditor) = self.agreement.auditors.first() else { continue };
            let fact = (self.step_after(answer), contest.outcome.is_some());
            let name = Name::Settle(id);
            let mut settle = self.duty(now, name, &auditor.name, ObligationStage::Opening, fact);
            if settled == Status::Contested {
                settle.status = Status::Contested;
            }
            all.push(settle);
        }
    }

    fn audits<'a>(&'a self, now: u64, revealed: u64, all: &mut Vec<Duty<'a>>) {
        let Some(plan) = &self.agreement.audit else { return };
        for side in Side::BOTH {
            let Some(record) = self.counted(side) else { continue };
            let attempts = self.audits.keys().filter(|(of, _)| *of == side).map(|(_, n)| *n);
            let last = attempts.max().unwrap_or(1);
            for attempt in 1..=last {
                let holders = [self.name(side), &plan.auditor];
                self.audit(now, revealed, (side, attempt), (record.id, holders), all);
            }
        }
    }

    fn audit<'a>(
        &'a self,
        now: u64,
        revealed: u64,
        key: (Side, u64),
        (record, holders): (StatementId, [&'a KeyName; 2]),
        all: &mut Vec<Duty<'a>>,
    ) {
        let nothing = super::AuditFacts::default();
        let audit = self.audits.get(&key).unwrap_or(&nothing);
        let attempt = key.1;
        let started = audit.commitments.iter().flatten().map(|(_, leaf)| *leaf).min();
        let to_commit = match attempt {
            1 => self.in_audit(Some(revealed.saturating_add(self.step()))),
            _ => started.and_then(|leaf| self.audit_step_after(leaf)),
        };
        let both = match audit.commitments {
            [Some((_, one)), Some((_, other))] => Some(one.max(other)),
            _ => None,
        };
        let coins = [0, 1].map(|place| {
            let due = match (both, place) {
                // Who has committed waits for the other.
                (None, _) if audit.commitments[place].is_some() => None,
                (None, _) => to_commit,
                (Some(later), 0) => self.audit_step_after(later),
                (Some(_), _) => audit.coins[0].and_then(|leaf| self.audit_step_after(leaf)),
            };
            let name = Name::Coin(holders[place], record, attempt);
            let fact = (due, audit.coins[place].is_some());
            self.duty(now, name, holders[place], ObligationStage::Audit, fact)
        });
        // Where one breaks an attempt off, the other owes nothing more in it.
        let broken = coins.iter().any(|coin| matches!(coin.status, Status::Unmet | Status::Lapsed));
        all.extend(coins.into_iter().filter(|coin| !broken || coin.status != Status::Open));
        self.samples(now, key, (record, holders), audit, all);
    }

    fn samples<'a>(
        &'a self,
        now: u64,
        (_, attempt): (Side, u64),
        (record, [audited, auditor]): (StatementId, [&'a KeyName; 2]),
        audit: &super::AuditFacts,
        all: &mut Vec<Duty<'a>>,
    ) {
        let mut answered = false;
        for (sample, leaf) in &audit.asked {
            let met = audit.opened.iter().any(|(size, id, _)| {
                size == sample && self.after_dispute(now, id) != Status::Unmet
            });
            let name = Name::Open(audited, record, *sample);
            let fact = (self.audit_step_after(*leaf), met);
            let duty = self.duty(now, name, audited, ObligationStage::Audit, fact);
            answered = matches!(duty.status, Status::Met | Status::Unmet);
            all.push(duty);
        }
        if answered || audit.outcome.is_some() {
            let due = self.in_force.schedule.audit_by.map(|time| time.unix());
            let name = Name::Outcome(record, attempt);
            let fact = (due, audit.outcome.is_some());
            all.push(self.duty(now, name, auditor, ObligationStage::Audit, fact));
        }
    }

    /// Every default so far.
    pub(super) fn breaches(&self, now: u64) -> BTreeSet<Breach> {
        let unmet = self.duties(now).into_iter().filter(|duty| duty.status == Status::Unmet);
        let mut breaches: BTreeSet<(KeyName, ObligationStage)> =
            unmet.map(|duty| (duty.holder.clone(), duty.stage)).collect();
        let at_fault = self.disputes.values().filter(|contest| {
            contest.outcome == Some(DisputeResult::Sender) && self.side(&contest.sender).is_some()
        });
        breaches.extend(at_fault.map(|c| (c.sender.clone(), ObligationStage::Opening)));
        let named = breaches.into_iter().map(|(party, stage)| match self.neutral {
            true => Breach::Defaulted { party, stage },
            false => Breach::Stalled { stage },
        });
        named.collect()
    }

    /// True if an agreed claim was made, with the artifacts that it rests on.
    pub(super) fn artifacts_of_claim(&self, name: &str) -> &[tlog::Hash] {
        let made = self.claims.iter().find(|(id, _)| name == format!("claim:{id}"));
        match made {
            Some((_, Made::Claimed { artifacts, .. })) => artifacts,
            _ => &[],
        }
    }
}

/// How far from met something shown is, when it is disputed.
fn trouble(status: Status) -> u8 {
    match status {
        Status::Met => 0,
        Status::Open => 1,
        Status::Contested => 2,
        _ => 3,
    }
}
