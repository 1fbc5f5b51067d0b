//! What an admitted statement or a counted tick does to an exchange.

use tlog::Hash;

use super::obligation::Name;
use super::terms::{InForce, is_owed_reveal, name_of};
use super::{
    AuditFacts, Awaited, ClockName, Contest, Counted, Exchange, ExchangeState, Made, PartyOutcome,
    Record, Run, RunEnd, Shown, Side, SideFacts, Status,
};
use crate::artifact::artifacts;
use crate::predicate::{
    Accept, Agreement, Coin, CoinStep, Counts, Dispute, Finding, Ground, OpenedItems, Opening,
    Outcome, Predicate, Reveal, RevealContent,
};
use crate::statement::Statement;
use crate::values::{Field, StatementId};

impl Exchange {
    /// A proposal.
    pub(in crate::state) fn new(
        (id, index): (StatementId, u64),
        origin: tlog::KeyName,
        agreement: Agreement,
        clock: ClockName,
        neutral: bool,
    ) -> Self {
        let in_force = InForce::new(id, &agreement);
        Self {
            id,
            origin,
            index,
            agreement: Box::new(agreement),
            clock,
            neutral,
            state: ExchangeState::Proposed,
            in_force,
            sides: [SideFacts::default(), SideFacts::default()],
            shown: Default::default(),
            claims: Default::default(),
            disputes: Default::default(),
            audits: Default::default(),
            outcomes: Default::default(),
            summaries: Default::default(),
            since: [None; 2],
            covered: Default::default(),
            uncovered: Default::default(),
            statements: Vec::new(),
            signers: Default::default(),
            awaited: Awaited::default(),
        }
    }

    /// Takes an admitted statement.
    pub(in crate::state) fn apply(&mut self, index: u64, id: StatementId, statement: &Statement) {
        let signer = &statement.common().signer;
        let side = self.side(signer);
        match (statement.predicate(), side) {
            (Predicate::Accept(accept), Some(_)) => self.accept(accept),
            (Predicate::Amendment(amendment), Some(side)) => {
                self.in_force.amend(id, side, amendment);
            }
            (Predicate::Intent(intent), Some(side)) => {
                let run = Run { intent: id, nonce: intent.nonce, end: RunEnd::Open };
                self.sides[side.place()].runs.push(run);
            }
            (Predicate::Withdrawal(withdrawal), Some(side)) => {
                self.end_run(side, &withdrawal.intent, RunEnd::Withdrawn(withdrawal.code));
            }
            (Predicate::Evaluation(evaluation), Some(side)) => {
                let nonce = self.nonce(side, &evaluation.intent).unwrap_or_default();
                self.end_run(side, &evaluation.intent, RunEnd::Recorded(id));
                let evaluation = evaluation.clone();
                let record = Record { id, index, nonce, evaluation };
                self.sides[side.place()].records.push(record);
            }
            (Predicate::Reveal(reveal), _) => self.reveal(index, id, statement, reveal),
            (Predicate::Claim(claim), _) => {
                if let Some(name) = &claim.claim {
                    let needs = artifacts(statement).into_iter().map(|need| need.digest);
                    let made = Made::Claimed { id, artifacts: needs.collect() };
                    self.claims.insert(name.clone(), made);
                }
            }
            (Predicate::Decline(decline), _) => {
                self.claims.insert(decline.claim.clone(), Made::Declined);
            }
            (Predicate::Opening(opening), Some(side)) => self.opening(index, id, side, opening),
            (Predicate::Dispute(dispute), _) => self.dispute(index, id, dispute),
            (Predicate::Coin(coin), _) => self.coin(index, side, coin),
            (Predicate::Outcome(outcome), _) => self.outcome(index, id, side, signer, outcome),
            _ => {}
        }
        if starts_a_time(statement.predicate()) {
            self.uncovered.insert(index);
        }
    }

    fn accept(&mut self, accept: &Accept) {
        if accept.accepts == self.id {
            self.state = ExchangeState::Agreed;
        } else if let Some(outcome) = self.outcomes.get_mut(&accept.accepts) {
            outcome.accepted = true;
        } else {
            self.in_force.accept(accept.accepts);
        }
    }

    pub(super) fn nonce(&self, side: Side, intent: &StatementId) -> Option<[u8; 32]> {
        let mut runs = self.sides[side.place()].runs.iter();
        runs.find(|run| run.intent == *intent).map(|run| run.nonce)
    }

    fn end_run(&mut self, side: Side, intent: &StatementId, end: RunEnd) {
        let mut runs = self.sides[side.place()].runs.iter_mut();
        if let Some(run) = runs.find(|run| run.intent == *intent) {
            run.end = end;
        }
    }

    fn reveal(&mut self, index: u64, id: StatementId, statement: &Statement, reveal: &Reveal) {
        let Some(side) = self.side_of_record(&reveal.record) else { return };
        let envelope = match &reveal.content {
            RevealContent::Envelope(envelope) => Some(envelope.clone()),
            RevealContent::Open { .. } => None,
        };
        let shown = Shown {
            index,
            side,
            signer: statement.common().signer.clone(),
            rule: reveal.rule.clone(),
            opened: None,
            envelope,
            answers: reveal.answers,
            proofs: reveal.items_proofs.iter().map(|p| (p.column.clone(), p.digest)).collect(),
        };
        self.answer(index, reveal.answers);
        self.shown.insert(id, shown);
    }

    fn opening(&mut self, index: u64, id: StatementId, side: Side, opening: &Opening) {
        for field in &opening.fields {
            let Some(rule) = self.rule_for(side, field, &opening.envelope.reader, opening) else {
                continue;
            };
            let rule = rule.id.clone();
            let used = self.sides[side.place()].used.entry(rule).or_default();
            match &opening.items {
                OpenedItems::Ranges(ranges) => *used = used.with(ranges),
                OpenedItems::Sample { .. } => {}
            }
        }
        if let OpenedItems::Sample { audit, sample } = &opening.items
            && opening.answers.is_none()
            && let Some(facts) = self.audits.get_mut(&(side, audit.attempt))
        {
            facts.opened.push((*sample, id, opening.envelope.digest));
        }
        let shown = Shown {
            index,
            side,
            signer: name_of(&self.agreement, side).clone(),
            rule: None,
            opened: Some((opening.items.clone(), opening.fields.clone())),
            envelope: Some(opening.envelope.clone()),
            answers: opening.answers,
            proofs: Vec::new(),
        };
        self.answer(index, opening.answers);
        self.shown.insert(id, shown);
    }

    fn answer(&mut self, index: u64, dispute: Option<StatementId>) {
        if let Some(contest) = dispute.and_then(|id| self.disputes.get_mut(&id)) {
            contest.answered.get_or_insert(index);
        }
    }

    /// Who sealed what a dispute is about, and to whom: a reveal, an opening, or an escrow.
    pub(super) fn sealed(&self, about: &StatementId) -> Option<Sealed<'_>> {
        if let Some(shown) = self.shown.get(about) {
            let envelope = shown.envelope.as_ref()?;
            return Some(Sealed { sender: &shown.signer, index: shown.index, envelope });
        }
        let records = Side::BOTH.into_iter().flat_map(|side| {
            self.sides[side.place()].records.iter().map(move |record| (side, record))
        });
        let (side, record) = records.into_iter().find(|(_, record)| record.id == *about)?;
        let envelope = record.evaluation.escrow.as_ref()?;
        Some(Sealed { sender: self.name(side), index: record.index, envelope })
    }

    fn dispute(&mut self, index: u64, id: StatementId, dispute: &Dispute) {
        let Some(sender) = self.sealed(&dispute.about).map(|sealed| sealed.sender.clone()) else {
            return;
        };
        let contest = Contest {
            index,
            about: dispute.about,
            sender,
            unopenable: dispute.ground == Ground::Unopenable,
            answered: None,
            outcome: None,
        };
        self.disputes.insert(id, contest);
    }

    fn coin(&mut self, index: u64, signer: Option<Side>, coin: &Coin) {
        let Some(audited) = self.side_of_record(&coin.audit.record) else { return };
        let place = usize::from(signer != Some(audited));
        let facts: &mut AuditFacts = self.audits.entry((audited, coin.audit.attempt)).or_default();
        match &coin.step {
            CoinStep::Commit { commitment } => {
                facts.commitments[place] = Some((*commitment, index));
            }
            CoinStep::Open { sample, .. } => {
                facts.coins[place] = Some(index);
                facts.asked.extend(sample.map(|sample| (sample, index)));
            }
        }
    }

    fn outcome(
        &mut self,
        index: u64,
        id: StatementId,
        side: Option<Side>,
        signer: &tlog::KeyName,
        outcome: &Outcome,
    ) {
        if let Some(by) = side {
            self.outcomes.insert(id, PartyOutcome { by, accepted: false });
            return;
        }
        match &outcome.finding {
            Finding::Audit { audit, sample, result, .. } => {
                let Some(audited) = self.side_of_record(&audit.record) else { return };
                let facts = self.audits.entry((audited, audit.attempt)).or_default();
                if *result == crate::predicate::AuditResult::Extend {
                    facts.asked.push((*sample, index));
                } else {
                    facts.outcome = Some(*result);
                }
            }
            Finding::Dispute { about, result, .. } => {
                if let Some(contest) = self.disputes.get_mut(about) {
                    contest.outcome = Some(*result);
                }
            }
            Finding::Summary { .. } => {
                self.summaries.insert(signer.clone());
            }
        }
    }

    /// Takes a counted tick; `now` is the greatest time so far, this tick's included.
    pub(in crate::state) fn tick(&mut self, tick: &Counted, now: u64) {
        let covered: Vec<u64> = self.uncovered.range(..tick.size).copied().collect();
        for index in covered {
            self.uncovered.remove(&index);
            self.covered.insert(index, tick.time);
        }
        let Some(next) = self.next_state(now) else { return };
        match next {
            ExchangeState::Committed => self.since[0] = Some(tick.time),
            ExchangeState::Revealed => self.since[1] = Some(tick.time),
            _ => {}
        }
        self.state = next;
    }

    /// The state to which a counted tick that leaves the clock at `now` brings the exchange.
    fn next_state(&self, now: u64) -> Option<ExchangeState> {
        let schedule = &self.in_force.schedule;
        match self.state {
            ExchangeState::Proposed => {
                (now > schedule.accept_by.unix()).then_some(ExchangeState::Expired)
            }
            ExchangeState::Agreed => {
                let commit_by = schedule.commit_by.unix();
                let counted = Side::BOTH.map(|side| self.counted(side));
                if counted.iter().all(Option::is_some) {
                    let mut records = counted.iter().flatten();
                    let covered = records.all(|record| self.covered.contains_key(&record.index));
                    let settled =
                        now > commit_by || Side::BOTH.into_iter().all(|s| self.is_final(s));
                    return (covered && settled).then_some(ExchangeState::Committed);
                }
                (now > self.end_of(commit_by)).then_some(ExchangeState::Ended)
            }
            ExchangeState::Committed => {
                (!self.is_any_open(now, ends_committed)).then_some(ExchangeState::Revealed)
            }
            ExchangeState::Revealed => {
                let open = self.is_any_open(now, ends_revealed) || self.is_window_open(now);
                (!open).then_some(ExchangeState::Closed)
            }
            _ => None,
        }
    }

    /// True if no further run of this side can count.
    fn is_final(&self, side: Side) -> bool {
        let facts = &self.sides[side.place()];
        let spent = facts.runs.len() as u64 >= self.agreement.runs.budget;
        let idle = facts.runs.iter().all(|run| run.end != RunEnd::Open);
        self.agreement.runs.counts == Counts::First
            || spent && idle
            || self.counted(side).is_some_and(|record| record.evaluation.is_final)
    }

    fn is_any_open(&self, now: u64, counts: fn(&Name<'_>) -> bool) -> bool {
        let duties = self.duties(now);
        duties.iter().any(|duty| duty.status == Status::Open && counts(&duty.name))
    }

    /// True while something sealed may still be disputed.
    fn is_window_open(&self, now: u64) -> bool {
        let shown = self.shown.values().filter(|shown| shown.envelope.is_some());
        let escrows = Side::BOTH.into_iter().filter_map(|side| self.counted(side));
        let escrows = escrows.filter(|record| record.evaluation.escrow.is_some());
        let leaves = shown.map(|shown| shown.index).chain(escrows.map(|record| record.index));
        leaves.into_iter().any(|leaf| self.step_after(leaf).is_none_or(|end| now <= end))
    }

    /// What the exchange waits for when the clock stands at `now`.
    pub(in crate::state) fn next_wait(&self, now: u64) -> Awaited {
        let index = self.uncovered.first().copied();
        let time = match self.next_state(now) {
            // Whatever tick comes moves it.
            Some(_) => Some(0),
            None => self.thresholds(now).into_iter().filter(|time| *time >= now).min(),
        };
        Awaited { time, index }
    }

    /// Times at whose passing something changes.
    fn thresholds(&self, now: u64) -> Vec<u64> {
        let schedule = &self.in_force.schedule;
        match self.state {
            ExchangeState::Proposed => vec![schedule.accept_by.unix()],
            ExchangeState::Agreed => {
                let commit_by = schedule.commit_by.unix();
                vec![commit_by, self.end_of(commit_by)]
            }
            _ => {
                let mut times: Vec<u64> = Vec::new();
                for due in self.duties(now).iter().filter_map(|duty| duty.due) {
                    times.extend([due, self.end_of(due)]);
                }
                let leaves = self.shown.values().map(|shown| shown.index);
                let records = Side::BOTH.into_iter().filter_map(|side| self.counted(side));
                let leaves = leaves.chain(records.map(|record| record.index));
                times.extend(leaves.filter_map(|leaf| self.step_after(leaf)));
                times
            }
        }
    }

    /// Whether anything under a rule of this kind is owed at all.
    pub(super) fn owes_nothing(&self) -> bool {
        self.agreement.claims.is_empty() && !self.in_force.rules.iter().any(is_owed_reveal)
    }

    /// The rule under which a field of an item goes to a reader. The plan of an audit is itself
    /// the rule for the status and the audited column.
    pub(super) fn rule_for(
        &self,
        side: Side,
        field: &Field,
        reader: &tlog::KeyName,
        opening: &Opening,
    ) -> Option<&crate::predicate::Rule> {
        use crate::predicate::What;
        self.in_force.rules.iter().find(|rule| {
            let about = match (&rule.what, field) {
                (What::Field(allowed), field) => allowed == field,
                (What::Score(column), Field::Score(opened)) => column == opened,
                _ => false,
            };
            about
                && super::terms::covers(rule, &self.agreement, side)
                && super::terms::reader(rule, &self.agreement, side) == Some(reader)
                && self.in_force.is_open(rule, side)
                && self.has_begun(rule.from)
                && self.room_under(side, rule, opening)
        })
    }

    /// True from the stage on from which a rule holds. Before `committed` no rule is asked: then
    /// it is too early for everything.
    pub(super) fn has_begun(&self, from: crate::predicate::Stage) -> bool {
        use crate::predicate::Stage;
        match from {
            _ if self.state < ExchangeState::Committed => true,
            Stage::Agreed => true,
            Stage::Committed => self.since[0].is_some(),
            Stage::Revealed => self.since[1].is_some(),
        }
    }

    /// True if the items of an opening fit under a rule, beside those opened before.
    pub(super) fn room_under(
        &self,
        side: Side,
        rule: &crate::predicate::Rule,
        opening: &Opening,
    ) -> bool {
        let used = self.sides[side.place()].used.get(&rule.id).cloned().unwrap_or_default();
        match &opening.items {
            OpenedItems::Ranges(ranges) => used.with(ranges).len() <= rule.items,
            OpenedItems::Sample { sample, .. } => used.len().saturating_add(*sample) <= rule.items,
        }
    }

    /// Statements to forget when the exchange is over.
    pub(in crate::state) fn statements(&self) -> &[StatementId] {
        &self.statements
    }

    /// Artifacts that decide whether an obligation was met, for which one may ask whether they are
    /// at hand.
    pub(super) fn deciding_artifacts(&self, name: &str) -> Vec<Hash> {
        let mut parts = name.splitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("commit"), Some(_), _) => {
                let sides = Side::BOTH.into_iter();
                let side = sides.into_iter().find(|s| name == format!("commit:{}", self.name(*s)));
                let record = side.and_then(|side| self.counted(side));
                record.map(|record| vec![record.evaluation.vector]).unwrap_or_default()
            }
            (Some("reveal"), Some(_), Some(rule)) => {
                let shown = self.shown.values().filter(|shown| {
                    let whose = format!("reveal:{}:{rule}", self.name(shown.side));
                    name == whose && shown.rule.as_ref().is_some_and(|r| r.as_str() == rule)
                });
                let sealed =
                    shown.clone().filter_map(|shown| Some(shown.envelope.as_ref()?.digest));
                let proofs = shown.flat_map(|shown| shown.proofs.iter().map(|(_, d)| *d));
                sealed.chain(proofs).collect()
            }
            (Some("claim"), ..) => self.artifacts_of_claim(name).to_vec(),
            (Some("open"), Some(_), Some(rest)) => {
                let sample = rest.rsplit(':').next().and_then(|sample| sample.parse().ok());
                let opened = self.audits.values().flat_map(|audit| &audit.opened);
                let of_sample = opened.filter(|(size, ..)| Some(*size) == sample);
                of_sample.map(|(_, _, digest)| *digest).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What must be over before `committed` ends.
fn ends_committed(name: &Name<'_>) -> bool {
    matches!(name, Name::Reveal(..) | Name::Claim(_) | Name::Reseal(_) | Name::Settle(_))
}

/// What must be over before `revealed` ends.
fn ends_revealed(name: &Name<'_>) -> bool {
    matches!(
        name,
        Name::Reseal(_) | Name::Settle(_) | Name::Coin(..) | Name::Open(..) | Name::Outcome(..)
    )
}

/// True for statements from which a time counts, or that must lie under a ticked head.
fn starts_a_time(predicate: &Predicate) -> bool {
    matches!(
        predicate,
        Predicate::Evaluation(_)
            | Predicate::Reveal(_)
            | Predicate::Opening(_)
            | Predicate::Dispute(_)
            | Predicate::Coin(_)
            | Predicate::Outcome(_)
    )
}

/// An envelope in an exchange.
pub(super) struct Sealed<'a> {
    pub(super) sender: &'a tlog::KeyName,
    /// The leaf of its statement.
    pub(super) index: u64,
    pub(super) envelope: &'a crate::predicate::SealedEnvelope,
}
