//! Disputes, coins, samples and outcomes: what comes after something was shown.

use super::audit::{audit_id, coin_commitment};
use super::check::{Checked, Role, Said, first, refuse};
use super::{AuditFacts, Exchange, ExchangeState, Side};
use crate::predicate::{
    AuditName, AuditPlan, AuditResult, Coin, CoinStep, Dispute, Finding, Ground, OpenedItems,
    Opening, Outcome,
};
use crate::reason::{Reason, Refusal};
use crate::values::{BaseField, Field, StatementId};

impl Exchange {
    pub(super) fn check_dispute(&self, said: &Said<'_>, dispute: &Dispute) -> Checked {
        let Some(sealed) = self.sealed(&dispute.about) else {
            let message = "is nothing sealed in this exchange";
            return refuse(Reason::UnknownStatement, message, "/predicate/about");
        };
        let is_reader = sealed.envelope.reader == *said.signer();
        let reader = match &dispute.ground {
            Ground::Unopenable if !is_reader => {
                let message = format!("it is sealed to {}", sealed.envelope.reader);
                refuse(Reason::NotTheReader, message, "/predicate/about")
            }
            Ground::Items { .. } if !is_reader && said.role != Role::Auditor => {
                let message = "only its reader and auditors know what is in it";
                refuse(Reason::NotTheReader, message, "/predicate/about")
            }
            _ => Ok(()),
        };
        let again = self.disputes.values().any(|contest| {
            contest.about == dispute.about
                && contest.unopenable
                && dispute.ground == Ground::Unopenable
        });
        let again = match again {
            true => refuse(Reason::AlreadyMade, "it is disputed already", "/predicate/about"),
            false => Ok(()),
        };
        let late = match self.step_after(sealed.index) {
            Some(end) if said.now > end => {
                let message = "a dispute comes at most one step after what it is about";
                Err(Refusal::new(Reason::DeadlinePassed, message).with("due", end))
            }
            _ => Ok(()),
        };
        let envelope = match &dispute.ground {
            Ground::Items { envelope, .. } => {
                super::check::check_sealing_key(said, envelope, "/predicate/envelope")
            }
            Ground::Unopenable => Ok(()),
        };
        first([reader, again, late, envelope])
    }

    /// The plan, if this audit is one that it allows.
    fn planned(&self, audit: &AuditName) -> Result<(&AuditPlan, Side), Checked> {
        let Some(plan) = &self.agreement.audit else {
            return Err(refuse(Reason::NoRule, "no audit is agreed", "/predicate/audit"));
        };
        let Some(side) = self.side_of_record(&audit.record) else {
            let message = "is no record that counts in this exchange";
            return Err(refuse(Reason::UnknownStatement, message, "/predicate/audit/record"));
        };
        if audit.auditor != plan.auditor {
            let message = format!("the agreed auditor is {}", plan.auditor);
            return Err(refuse(Reason::NotAsAgreed, message, "/predicate/audit/auditor"));
        }
        if audit.attempt > plan.attempts {
            let message = format!("the agreement allows {} attempts", plan.attempts);
            return Err(refuse(Reason::NotAsAgreed, message, "/predicate/audit/attempt"));
        }
        Ok((plan, side))
    }

    fn facts(&self, side: Side, attempt: u64) -> Option<&AuditFacts> {
        self.audits.get(&(side, attempt))
    }

    pub(super) fn check_coin(&self, said: &Said<'_>, coin: &Coin) -> Checked {
        let (plan, side) = match self.planned(&coin.audit) {
            Ok(planned) => planned,
            Err(refusal) => return refusal,
        };
        let place = if said.role == Role::Party(side) {
            0
        } else if *said.signer() == plan.auditor {
            1
        } else {
            let message = "coins are the audited party's and the auditor's";
            return refuse(Reason::WrongRole, message, "/predicate/signer");
        };
        let nothing = AuditFacts::default();
        let facts = self.facts(side, coin.audit.attempt).unwrap_or(&nothing);
        match &coin.step {
            CoinStep::Commit { .. } => first([
                match facts.commitments[place] {
                    Some(_) => {
                        refuse(Reason::AlreadyMade, "this coin is committed", "/predicate/step")
                    }
                    None => Ok(()),
                },
                self.check_attempt(side, coin.audit.attempt),
                self.check_coin_due(said, &coin.audit),
            ]),
            CoinStep::Open { coin: bytes, sample } => first([
                match facts.coins[place] {
                    Some(_) => refuse(Reason::AlreadyMade, "this coin is open", "/predicate/step"),
                    None => Ok(()),
                },
                self.check_coin_order(facts, place),
                self.check_coin_value(said, &coin.audit, facts.commitments[place], bytes),
                match sample {
                    Some(sample) if !(plan.first..=plan.largest).contains(sample) => {
                        let message = format!("must be from {} to {}", plan.first, plan.largest);
                        refuse(Reason::NotAsAgreed, message, "/predicate/sample")
                    }
                    _ => Ok(()),
                },
                self.check_coin_due(said, &coin.audit),
            ]),
        }
    }

    /// A further attempt starts when the one before has come to its end.
    fn check_attempt(&self, side: Side, attempt: u64) -> Checked {
        let ended = attempt == 1
            || self.facts(side, attempt - 1).is_some_and(|before| before.outcome.is_some());
        match ended {
            true => Ok(()),
            false => {
                let message = "the attempt before has no outcome yet";
                refuse(Reason::CoinNotDue, message, "/predicate/audit/attempt")
            }
        }
    }

    fn check_coin_order(&self, facts: &AuditFacts, place: usize) -> Checked {
        let not_due = |message: &str| refuse(Reason::CoinNotDue, message, "/predicate/step");
        let [Some((_, one)), Some((_, other))] = facts.commitments else {
            return not_due("both coins must be committed first");
        };
        if !self.covered.contains_key(&one.max(other)) {
            return not_due("a tick must cover both commitments first");
        }
        if place == 1 && facts.coins[0].is_none() {
            return not_due("the audited party opens its coin first");
        }
        Ok(())
    }

    fn check_coin_value(
        &self,
        said: &Said<'_>,
        audit: &AuditName,
        commitment: Option<(tlog::Hash, u64)>,
        coin: &[u8; 32],
    ) -> Checked {
        let Some((commitment, _)) = commitment else { return Ok(()) };
        let id = audit_id(&self.id, &audit.record, &audit.auditor, audit.attempt);
        if coin_commitment(&id, said.signer(), coin) == commitment {
            return Ok(());
        }
        refuse(Reason::CoinMismatch, "is not the committed coin", "/predicate/coin")
    }

    /// In time for the signer's own coin obligation.
    fn check_coin_due(&self, said: &Said<'_>, audit: &AuditName) -> Checked {
        let name = format!("coin:{}:{}:{}", said.signer(), audit.record, audit.attempt);
        self.check_duty(said, &name)
    }

    fn check_duty(&self, said: &Said<'_>, name: &str) -> Checked {
        if self.state != ExchangeState::Revealed || said.now == 0 {
            return Ok(());
        }
        let duties = self.duties(said.now);
        match duties.iter().find(|duty| duty.name.to_string() == name).and_then(|duty| duty.due) {
            Some(due) => self.check_due(said, due),
            None => Ok(()),
        }
    }

    /// An opening of a sample is of the one that is asked for, and holds what audits look at.
    pub(super) fn check_sample(&self, said: &Said<'_>, side: Side, opening: &Opening) -> Checked {
        let OpenedItems::Sample { audit, sample } = &opening.items else { return Ok(()) };
        let plan = match self.planned(audit) {
            Ok((plan, _)) => plan,
            Err(refusal) => return refusal,
        };
        let facts = self.facts(side, audit.attempt);
        let asked = facts.and_then(|facts| facts.asked.last()).map(|(sample, _)| *sample);
        let opened = facts.is_some_and(|f| f.opened.iter().any(|(size, ..)| size == sample));
        let due = match asked {
            Some(asked) if asked == *sample && !opened => Ok(()),
            Some(_) if opened => {
                refuse(Reason::AlreadyMade, "this sample is open", "/predicate/sample")
            }
            Some(asked) => {
                let message = format!("the auditor asked for the first {asked}");
                refuse(Reason::SampleNotDue, message, "/predicate/sample")
            }
            None => {
                let message = "both coins must be open first";
                refuse(Reason::SampleNotDue, message, "/predicate/sample")
            }
        };
        let reader = match opening.envelope.reader == plan.auditor {
            true => Ok(()),
            false => {
                let message = format!("a sample goes to {}", plan.auditor);
                refuse(Reason::NoRule, message, "/predicate/envelope/reader")
            }
        };
        let wanted = [Field::Base(BaseField::Status), Field::Score(plan.column.clone())];
        let fields = match wanted.iter().find(|field| !opening.fields.contains(field)) {
            Some(field) => {
                let message = format!("a sample shows {field}");
                refuse(Reason::NotAsAgreed, message, "/predicate/fields")
            }
            None => Ok(()),
        };
        let name = format!("open:{}:{}:{sample}", said.signer(), audit.record);
        first([due, reader, fields, self.check_duty(said, &name)])
    }

    pub(super) fn check_outcome(&self, said: &Said<'_>, outcome: &Outcome) -> Checked {
        match &outcome.finding {
            Finding::Summary { .. } => self.check_summary(said),
            Finding::Dispute { about, disputed, .. } => {
                self.check_settlement(said, about, disputed)
            }
            Finding::Audit { audit, openings, sample, result, .. } => {
                self.check_audit_outcome(said, audit, openings, (*sample, *result))
            }
        }
    }

    fn check_summary(&self, said: &Said<'_>) -> Checked {
        let made = match said.role {
            Role::Auditor => self.summaries.contains(said.signer()),
            Role::Party(side) => self.outcomes.values().any(|outcome| outcome.by == side),
        };
        match made {
            true => refuse(Reason::AlreadyMade, "the summary is made", "/predicate/kind"),
            false => Ok(()),
        }
    }

    fn auditor_only(&self, said: &Said<'_>) -> Checked {
        match said.role {
            Role::Auditor => Ok(()),
            Role::Party(_) => refuse(Reason::WrongRole, "is an auditor's", "/predicate/signer"),
        }
    }

    fn check_settlement(
        &self,
        said: &Said<'_>,
        about: &StatementId,
        disputed: &StatementId,
    ) -> Checked {
        let Some(contest) = self.disputes.get(about).filter(|contest| contest.about == *disputed)
        else {
            let message = "is no dispute of this exchange about that statement";
            return refuse(Reason::UnknownStatement, message, "/predicate/about");
        };
        let made = match contest.outcome {
            Some(_) => refuse(Reason::AlreadyMade, "the dispute is settled", "/predicate/about"),
            None => Ok(()),
        };
        let due = match contest.answered {
            Some(answer) => match self.step_after(answer) {
                Some(due) => self.check_due(said, due),
                None => Ok(()),
            },
            None if contest.unopenable => {
                let message = "the sender has not sealed it to an auditor yet";
                refuse(Reason::NotAsAgreed, message, "/predicate/about")
            }
            None => Ok(()),
        };
        first([self.auditor_only(said), made, due])
    }

    fn check_audit_outcome(
        &self,
        said: &Said<'_>,
        audit: &AuditName,
        openings: &[StatementId],
        (sample, result): (u64, AuditResult),
    ) -> Checked {
        let (plan, side) = match self.planned(audit) {
            Ok(planned) => planned,
            Err(refusal) => return refusal,
        };
        let nothing = AuditFacts::default();
        let facts = self.facts(side, audit.attempt).unwrap_or(&nothing);
        let role = match *said.signer() == plan.auditor {
            true => Ok(()),
            false => refuse(Reason::WrongRole, "is the agreed auditor's", "/predicate/signer"),
        };
        let made = match facts.outcome {
            Some(_) => refuse(Reason::AlreadyMade, "the audit has its outcome", "/predicate/audit"),
            None => Ok(()),
        };
        let unknown = openings.iter().position(|id| !facts.opened.iter().any(|(_, o, _)| o == id));
        let known = match unknown {
            Some(i) => {
                let message = "is no opening in this audit";
                refuse(Reason::UnknownStatement, message, &format!("/predicate/openings/{i}"))
            }
            None => Ok(()),
        };
        let asked = facts.asked.last().map(|(sample, _)| *sample);
        let size = match (asked, result) {
            (None, _) => refuse(Reason::SampleNotDue, "no sample was drawn", "/predicate/sample"),
            (Some(asked), AuditResult::Extend) if !(asked + 1..=plan.largest).contains(&sample) => {
                let message = format!("must be from {} to {}", asked + 1, plan.largest);
                refuse(Reason::NotAsAgreed, message, "/predicate/sample")
            }
            (Some(asked), result) if result != AuditResult::Extend && sample > asked => {
                let message = format!("the sample is the first {asked}");
                refuse(Reason::SampleNotDue, message, "/predicate/sample")
            }
            _ => Ok(()),
        };
        let audit_by = self.in_force.schedule.audit_by.map(|time| time.unix());
        let due = match (self.state, audit_by) {
            (ExchangeState::Revealed, Some(audit_by)) => self.check_due(said, audit_by),
            _ => Ok(()),
        };
        first([role, made, known, size, due])
    }
}
