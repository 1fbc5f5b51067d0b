//! Whether a statement may follow in an exchange: what its state admits, and what the kinds before
//! `committed` demand. Disclosures and answers have modules of their own.
//!
//! Several rules can be broken at once. All are looked at, and the one whose reason code stands
//! first answers (`docs/protocol.md`, "Reason codes").

use std::collections::BTreeMap;

use tlog::KeyName;

use super::terms::is_to;
use super::{Clock, Exchange, ExchangeState, RunEnd, Side};
use crate::predicate::{
    Accept, Agreement, Amendment, Change, Evaluation, Intent, OpenedItems, Predicate, Scale, Stamp,
};
use crate::reason::{Reason, Refusal};
use crate::registry::Registry;
use crate::statement::Statement;
use crate::values::StatementId;

/// Steps that a refusal names. It travels in HTTP trailers, which are small.
const MAX_NAMED: usize = 4;

/// What a check needs beside the exchange.
#[derive(Clone, Copy)]
pub(in crate::state) struct Surroundings<'a> {
    pub(in crate::state) registry: &'a Registry,
    pub(in crate::state) clock: &'a Clock,
    pub(in crate::state) stamps: &'a BTreeMap<StatementId, Vec<Stamp>>,
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Party(Side),
    Auditor,
}

pub(super) type Checked = Result<(), Refusal>;

/// A statement with what is known about it.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) id: StatementId,
    pub(super) statement: &'a Statement,
    pub(super) role: Role,
    pub(super) now: u64,
    pub(super) around: Surroundings<'a>,
}

impl Said<'_> {
    pub(super) fn signer(&self) -> &KeyName {
        &self.statement.common().signer
    }
}

/// The refusal of the smallest reason.
pub(super) fn first(checks: impl IntoIterator<Item = Checked>) -> Checked {
    let refusals = checks.into_iter().filter_map(Result::err);
    match refusals.min_by_key(Refusal::reason) {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

pub(super) fn refuse<T>(
    reason: Reason,
    message: impl Into<String>,
    pointer: &str,
) -> Result<T, Refusal> {
    Err(Refusal::new(reason, message).at(pointer))
}

impl Exchange {
    /// The clock of the exchange.
    pub(in crate::state) fn now(&self, clock: &Clock) -> u64 {
        clock.time_since(self.index)
    }

    /// Everything about the statement that the exchange decides.
    pub(in crate::state) fn check(
        &self,
        id: StatementId,
        statement: &Statement,
        around: Surroundings<'_>,
    ) -> Checked {
        let signer = &statement.common().signer;
        let role = match self.side(signer) {
            Some(side) => Role::Party(side),
            None if self.agreement.is_auditor(signer) => Role::Auditor,
            None => {
                let message = format!("{signer} is neither a party nor an auditor here");
                return refuse(Reason::NotAMember, message, "/predicate/signer");
            }
        };
        let said = Said { id, statement, role, now: self.now(around.clock), around };
        let kind = match statement.predicate() {
            Predicate::Accept(accept) => self.check_accept(&said, accept),
            Predicate::Amendment(amendment) => self.check_amendment(&said, amendment),
            Predicate::Intent(intent) => self.check_intent(&said, intent),
            Predicate::Evaluation(evaluation) => self.check_evaluation(&said, evaluation),
            Predicate::Withdrawal(withdrawal) => self.check_run(&said, &withdrawal.intent),
            Predicate::Reveal(reveal) => self.check_reveal(&said, reveal),
            Predicate::Claim(claim) => self.check_claim(&said, claim),
            Predicate::Decline(decline) => self.check_decline(&said, decline),
            Predicate::Opening(opening) => self.check_opening(&said, opening),
            Predicate::Dispute(dispute) => self.check_dispute(&said, dispute),
            Predicate::Coin(coin) => self.check_coin(&said, coin),
            Predicate::Outcome(outcome) => self.check_outcome(&said, outcome),
            // These stand outside of exchanges; the parser lets no `exchange` pass.
            Predicate::Party(_)
            | Predicate::Tick(_)
            | Predicate::Stamp(_)
            | Predicate::Agreement(_) => Ok(()),
        };
        first([kind, self.check_state(&said)])
    }

    /// The table of what each state admits.
    fn check_state(&self, said: &Said<'_>) -> Checked {
        let state = self.state;
        let reason = match (said.statement.predicate(), state) {
            (_, ExchangeState::Expired | ExchangeState::Ended | ExchangeState::Closed) => {
                Some(Reason::ExchangeFinal)
            }
            (Predicate::Accept(accept), _) if accept.accepts == self.id => {
                (state != ExchangeState::Proposed).then_some(Reason::AlreadyAccepted)
            }
            (_, ExchangeState::Proposed) => Some(Reason::NotAccepted),
            (Predicate::Accept(accept), _) => {
                let of_outcome = self.outcomes.contains_key(&accept.accepts);
                (!of_outcome && state != ExchangeState::Agreed).then_some(Reason::AfterCommit)
            }
            (Predicate::Amendment(amendment), _) => {
                let new_values = matches!(amendment.change, Change::Values { .. });
                (new_values && state != ExchangeState::Agreed).then_some(Reason::AfterCommit)
            }
            (Predicate::Intent(_) | Predicate::Evaluation(_) | Predicate::Withdrawal(_), _) => {
                (state != ExchangeState::Agreed).then_some(Reason::AfterCommit)
            }
            (Predicate::Dispute(_), _) => None,
            (Predicate::Outcome(outcome), _)
                if matches!(outcome.finding, crate::predicate::Finding::Dispute { .. }) =>
            {
                None
            }
            (_, ExchangeState::Agreed) => Some(Reason::BeforeCommit),
            (Predicate::Reveal(reveal), ExchangeState::Revealed) => {
                reveal.answers.is_none().then_some(Reason::DeadlinePassed)
            }
            (Predicate::Claim(_) | Predicate::Decline(_), ExchangeState::Revealed) => {
                Some(Reason::DeadlinePassed)
            }
            (Predicate::Coin(_) | Predicate::Outcome(_), ExchangeState::Committed) => {
                Some(Reason::BeforeReveal)
            }
            (Predicate::Opening(opening), ExchangeState::Committed) => {
                let audit = matches!(opening.items, OpenedItems::Sample { .. });
                audit.then_some(Reason::BeforeReveal)
            }
            _ => None,
        };
        let Some(reason) = reason else { return Ok(()) };
        let message = match reason {
            Reason::ExchangeFinal => format!("the exchange is {state}"),
            Reason::NotAccepted => "the other party has to accept the agreement first".to_owned(),
            Reason::AlreadyAccepted => "the agreement is accepted".to_owned(),
            Reason::AfterCommit => {
                "both records lie under a ticked head: nothing before that can change".to_owned()
            }
            Reason::BeforeCommit => "both records must lie under a ticked head first".to_owned(),
            Reason::BeforeReveal => {
                "every owed reveal and claim must be made, or be overdue, first".to_owned()
            }
            _ => "the time for it is over".to_owned(),
        };
        if !matches!(reason, Reason::NotAccepted | Reason::BeforeCommit | Reason::BeforeReveal) {
            return Err(Refusal::new(reason, message).with("state", state));
        }
        let awaits = self.awaits(said.now);
        let steps: Vec<_> =
            awaits.iter().take(MAX_NAMED).map(|step| step.what.to_string()).collect();
        let awaited = steps.join(", ");
        let message = format!("{message}; awaited: {awaited}");
        Err(Refusal::new(reason, message).with("state", state).with("awaited", awaited))
    }

    /// `DEADLINE_PASSED` for what comes after `due`, unless the clock group stamped it by then and
    /// at most one step has gone since.
    pub(super) fn check_due(&self, said: &Said<'_>, due: u64) -> Checked {
        if said.now <= due {
            return Ok(());
        }
        if said.now <= self.end_of(due) && self.is_stamped(said, due) {
            return Ok(());
        }
        let message =
            format!("it was due at unix time {due}, and the clock stands at {}", said.now);
        Err(Refusal::new(Reason::DeadlinePassed, message).with("due", due))
    }

    fn is_stamped(&self, said: &Said<'_>, due: u64) -> bool {
        let Some(stamps) = said.around.stamps.get(&said.id) else { return false };
        let origin = said.around.registry.origin();
        said.around.clock.stamped(origin, &said.id, stamps, due)
    }

    /// The party that speaks: auditors have no say in this.
    pub(super) fn party(&self, said: &Said<'_>) -> Result<Side, Refusal> {
        match said.role {
            Role::Party(side) => Ok(side),
            Role::Auditor => {
                let message = format!("{} is said by a party", said.statement.kind());
                refuse(Reason::WrongRole, message, "/predicate/signer")
            }
        }
    }

    fn check_accept(&self, said: &Said<'_>, accept: &Accept) -> Checked {
        let side = self.party(said)?;
        let own = || refuse(Reason::WrongRole, "is the signer's own", "/predicate/accepts");
        if accept.accepts == self.id {
            return if side == Side::First { own() } else { Ok(()) };
        }
        if let Some(outcome) = self.outcomes.get(&accept.accepts) {
            return match (outcome.by == side, outcome.accepted) {
                (true, _) => own(),
                (_, true) => refuse(Reason::AlreadyAccepted, "is accepted", "/predicate/accepts"),
                _ => Ok(()),
            };
        }
        let Some(proposal) = self.in_force.proposals.get(&accept.accepts) else {
            let message = "is no agreement, amendment or party's outcome of this exchange";
            return refuse(Reason::UnknownStatement, message, "/predicate/accepts");
        };
        let stale = || {
            let message = format!("the amendment is to {}, which is not in force", proposal.base);
            refuse(Reason::StaleBase, message, "/predicate/accepts")
        };
        first([
            if proposal.by == side { own() } else { Ok(()) },
            match proposal.accepted {
                true => refuse(Reason::AlreadyAccepted, "is accepted", "/predicate/accepts"),
                false if proposal.base != self.in_force.base => stale(),
                false => Ok(()),
            },
            match said.now > proposal.accept_by.unix() {
                true => {
                    refuse(Reason::DeadlinePassed, "its accept_by is over", "/predicate/accepts")
                }
                false => Ok(()),
            },
            self.in_force.check_values(
                &self.agreement,
                proposal.schedule.as_ref(),
                proposal.disclosure.as_ref(),
                said.now,
            ),
        ])
    }

    fn check_amendment(&self, said: &Said<'_>, amendment: &Amendment) -> Checked {
        let side = self.party(said)?;
        let base = if amendment.base == self.in_force.base {
            Ok(())
        } else {
            let message = format!("must be {}, which is in force", self.in_force.base);
            refuse(Reason::StaleBase, message, "/predicate/base")
        };
        let change = match &amendment.change {
            Change::Values { accept_by, schedule, disclosure } => {
                let ahead = if accept_by.unix() < said.now {
                    refuse(Reason::DeadlinePassed, "lies in the past", "/predicate/accept_by")
                } else {
                    Ok(())
                };
                let values = self.in_force.check_values(
                    &self.agreement,
                    schedule.as_ref(),
                    disclosure.as_ref(),
                    said.now,
                );
                first([ahead, values])
            }
            Change::Waives(names) => {
                let foreign = names.iter().position(|name| !self.is_owed_to(side, name.as_str()));
                match foreign {
                    Some(i) => {
                        let message = "is no obligation that is owed to the signer";
                        refuse(Reason::WrongRole, message, &format!("/predicate/waives/{i}"))
                    }
                    None => Ok(()),
                }
            }
            Change::Restricts(rules) => first(rules.iter().enumerate().map(|(i, id)| {
                let pointer = format!("/predicate/restricts/{i}");
                match self.in_force.rule(id) {
                    None => refuse(Reason::NoRule, "is no rule of the agreement", &pointer),
                    Some(rule) if is_to(rule, &self.agreement, side) => Ok(()),
                    Some(_) => {
                        let message = "does not bring anything to the signer alone";
                        refuse(Reason::WrongRole, message, &pointer)
                    }
                }
            })),
        };
        first([base, change])
    }

    /// True for what the other party, and nobody else, is owed to do for `side`.
    fn is_owed_to(&self, side: Side, name: &str) -> bool {
        let peer = self.name(side.peer());
        if name == format!("commit:{peer}") {
            return true;
        }
        let claim = name.strip_prefix("claim:");
        if let Some(claim) = claim {
            let mut claims = self.agreement.claims.iter();
            return claims.any(|agreed| agreed.id.as_str() == claim && agreed.by == *peer);
        }
        let rule = name.strip_prefix(&format!("reveal:{peer}:"));
        if let Some(rule) = rule {
            return self.in_force.rules.iter().any(|owed| {
                owed.id.as_str() == rule
                    && super::terms::is_owed_reveal(owed)
                    && super::terms::covers(owed, &self.agreement, side.peer())
                    && super::terms::reader(owed, &self.agreement, side.peer())
                        .is_none_or(|reader| reader == self.name(side))
            });
        }
        let dispute = name.strip_prefix("reseal:").and_then(|id| StatementId::from_hex(id).ok());
        let contest = dispute.and_then(|id| self.disputes.get(&id));
        contest.is_some_and(|contest| {
            let to = self.sealed(&contest.about).map(|sealed| &sealed.envelope.reader);
            contest.sender == *peer && to == Some(self.name(side))
        })
    }

    fn check_intent(&self, said: &Said<'_>, intent: &Intent) -> Checked {
        let side = self.party(said)?;
        let runs = self.sides[side.place()].runs.len() as u64;
        let budget = self.agreement.runs.budget;
        let spent = if runs >= budget {
            let message = format!("the agreement allows {budget} runs");
            Err(Refusal::new(Reason::BudgetSpent, message).with("budget", budget))
        } else {
            Ok(())
        };
        let expected = runs + 1;
        let number = if intent.run == expected {
            Ok(())
        } else {
            let refusal = Refusal::new(Reason::RunNumber, format!("must be {expected}"));
            Err(refusal.at("/predicate/run").with("expected", expected))
        };
        first([spent, number, self.check_commit_due(said)])
    }

    /// In time for `commit_by`; what no state admits is refused for that.
    fn check_commit_due(&self, said: &Said<'_>) -> Checked {
        match self.state {
            ExchangeState::Agreed => self.check_due(said, self.in_force.schedule.commit_by.unix()),
            _ => Ok(()),
        }
    }

    /// An evaluation or a withdrawal ends an own open intent.
    fn check_run(&self, said: &Said<'_>, intent: &StatementId) -> Checked {
        let side = self.party(said)?;
        let mut runs = self.sides[side.place()].runs.iter();
        let run = match runs.find(|run| run.intent == *intent) {
            None => {
                let message = "is no intent of the signer in this exchange";
                refuse(Reason::UnknownStatement, message, "/predicate/intent")
            }
            Some(run) if run.end != RunEnd::Open => {
                let message = "this intent has its evaluation or withdrawal";
                refuse(Reason::IntentEnded, message, "/predicate/intent")
            }
            Some(_) => self.check_commit_due(said).map_err(|_| {
                let message = "commit_by has passed: the intent is overdue";
                Refusal::new(Reason::IntentEnded, message).at("/predicate/intent")
            }),
        };
        first([run])
    }

    fn check_evaluation(&self, said: &Said<'_>, evaluation: &Evaluation) -> Checked {
        let side = self.party(said)?;
        let known = &self.sides[side.place()].records;
        let supersedes = match &evaluation.supersedes {
            Some(id) if !known.iter().any(|record| record.id == *id) => {
                let message = "is no evaluation of the signer in this exchange";
                refuse(Reason::UnknownStatement, message, "/predicate/supersedes")
            }
            _ => Ok(()),
        };
        first([
            self.check_run(said, &evaluation.intent),
            supersedes,
            self.check_as_agreed(evaluation),
            self.check_escrow(said, evaluation),
            self.check_opened_at_once(said, side, evaluation),
        ])
    }

    fn check_as_agreed(&self, evaluation: &Evaluation) -> Checked {
        let terms = &self.agreement.evaluation;
        let differs = |what: &str, pointer: &str| {
            refuse(Reason::NotAsAgreed, format!("{what} must be as agreed"), pointer)
        };
        if evaluation.items != terms.items {
            return differs("the number of items", "/predicate/items");
        }
        if evaluation.items_root != terms.items_root {
            return differs("the items root", "/predicate/items_root");
        }
        let scales: Vec<&Scale> = evaluation.columns.iter().map(|column| &column.scale).collect();
        if scales != terms.columns.iter().collect::<Vec<_>>() {
            return differs("columns and their order", "/predicate/columns");
        }
        if evaluation.is_final && self.agreement.runs.counts != crate::predicate::Counts::Last {
            let message = "says something only where the last run counts";
            return refuse(Reason::NotAsAgreed, message, "/predicate/final");
        }
        Ok(())
    }

    fn check_escrow(&self, said: &Said<'_>, evaluation: &Evaluation) -> Checked {
        let pointer = "/predicate/escrow";
        match (&self.agreement.escrow, &evaluation.escrow) {
            (None, None) => Ok(()),
            (None, Some(_)) => refuse(Reason::NotAsAgreed, "no escrow is agreed", pointer),
            (Some(_), None) => refuse(Reason::NotAsAgreed, "the escrow is missing", pointer),
            (Some(agreed), Some(envelope)) if envelope.reader != agreed.auditor => {
                let message = format!("must be sealed to {}", agreed.auditor);
                refuse(Reason::NotAsAgreed, message, "/predicate/escrow/reader")
            }
            (Some(_), Some(envelope)) => check_sealing_key(said, envelope, pointer),
        }
    }

    /// Subjects that the attestation opens: only what a rule makes public from `agreed`, and
    /// true to its commitments.
    fn check_opened_at_once(
        &self,
        said: &Said<'_>,
        side: Side,
        evaluation: &Evaluation,
    ) -> Checked {
        for (i, opened) in evaluation.opened.iter().enumerate() {
            let allowed = self.in_force.rules.iter().any(|rule| {
                rule.from == crate::predicate::Stage::Agreed
                    && super::terms::covers(rule, &self.agreement, side)
                    && super::check_disclosures::is_subject_of(&rule.what, opened.name)
            });
            if !allowed {
                let message = "no rule makes it public with the attestation";
                return refuse(Reason::NoRule, message, &format!("/predicate/opened/{i}"));
            }
        }
        if evaluation.opened.is_empty() {
            return Ok(());
        }
        let nonce = self.nonce(side, &evaluation.intent).unwrap_or_default();
        let opened = (&[][..], evaluation.opened.as_slice());
        self.check_openings(said.id, (side, &nonce, evaluation), opened, "/predicate/opened")
    }
}

/// `NOT_AS_AGREED` unless an envelope is sealed to its reader's current sealing key.
pub(super) fn check_sealing_key(
    said: &Said<'_>,
    envelope: &crate::predicate::SealedEnvelope,
    pointer: &str,
) -> Checked {
    let reader = said.around.registry.party(&envelope.reader);
    match reader {
        Some(reader) if reader.sealing().id() == envelope.key => Ok(()),
        _ => {
            let message = format!("is not the current sealing key of {}", envelope.reader);
            refuse(Reason::NotAsAgreed, message, &format!("{pointer}/key"))
        }
    }
}

/// `KEY_NOT_CURRENT` unless the keys in an agreement are the registered ones.
pub(in crate::state) fn check_embedded_keys(agreement: &Agreement, registry: &Registry) -> Checked {
    let parties = agreement.parties.iter().map(|member| &member.keys).enumerate();
    let auditors = agreement.auditors.iter().enumerate();
    let places = parties.map(|(i, keys)| (format!("/predicate/parties/{i}"), keys));
    let places = places.chain(auditors.map(|(i, keys)| (format!("/predicate/auditors/{i}"), keys)));
    for (pointer, keys) in places {
        let registered = registry.party(&keys.name).is_some_and(|party| {
            party.current().is_some_and(|key| *key.as_bytes() == keys.key)
                && *party.recovery().as_bytes() == keys.recovery
                && *party.sealing() == keys.sealing
        });
        if !registered {
            let message = format!("these are not the registered keys of {}", keys.name);
            return refuse(Reason::KeyNotCurrent, message, &pointer);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_reason_answers() {
        let refusal = |reason| Err(Refusal::new(reason, "x"));
        let all = [refusal(Reason::BudgetSpent), Ok(()), refusal(Reason::NoRule)];
        assert_eq!(first(all).unwrap_err().reason(), Reason::NoRule);
        assert_eq!(first([Ok(()), Ok(())]), Ok(()));
    }
}
