//! Reveals, claims, declines and openings: what a rule allows, to whom, from when.

use record::context::Context;

use super::check::{Checked, Role, Said, check_sealing_key, first, refuse};
use super::terms::{self, Side};
use super::{Exchange, ExchangeState};
use crate::clear::check_clear;
use crate::predicate::{
    AgreedClaim, Audience, Bound, Claim, Decline, Evaluation, Opened, OpenedItems, OpenedTotal,
    Opening, Reveal, RevealContent, Rule, SealedEnvelope, What,
};
use crate::reason::Reason;
use crate::values::{BaseField, Field, StatementId, Subject};

/// True for the subjects that a rule is about.
pub(super) fn is_subject_of(what: &What, subject: Subject) -> bool {
    match what {
        What::Counts => subject.is_count(),
        What::Flags => subject.is_number() && !subject.is_count(),
        _ => false,
    }
}

impl Exchange {
    /// `UNKNOWN_STATEMENT` unless it is somebody's record here, `NOT_AS_AGREED` unless it counts.
    fn counted_record(&self, record: &StatementId, pointer: &str) -> Result<Side, Checked> {
        if let Some(side) = self.side_of_record(record) {
            return Ok(side);
        }
        let mut records = self.sides.iter().flat_map(|side| &side.records);
        Err(if records.any(|known| known.id == *record) {
            refuse(Reason::NotAsAgreed, "is not the evaluation that counts", pointer)
        } else {
            refuse(Reason::UnknownStatement, "is no evaluation of this exchange", pointer)
        })
    }

    pub(super) fn check_reveal(&self, said: &Said<'_>, reveal: &Reveal) -> Checked {
        let side = match self.counted_record(&reveal.record, "/predicate/record") {
            Ok(side) => side,
            Err(refusal) => return refusal,
        };
        let Some(rule) = reveal.rule.as_ref().and_then(|id| self.in_force.rule(id)) else {
            return refuse(Reason::NoRule, "is no rule of the agreement", "/predicate/rule");
        };
        let late = match self.state {
            ExchangeState::Committed if reveal.answers.is_none() => {
                self.check_due(said, self.in_force.schedule.reveal_by.unix())
            }
            _ => Ok(()),
        };
        first([
            self.check_reveal_rule(rule, side),
            self.check_revealer(said, reveal, rule, side),
            self.check_answer(said, reveal.answers, "/predicate/answers"),
            self.check_same_rule(reveal, rule, side),
            self.check_reveal_content(said, reveal, rule, side),
            self.check_items_proofs(reveal, rule, side),
            late,
        ])
    }

    fn check_reveal_rule(&self, rule: &Rule, side: Side) -> Checked {
        let pointer = "/predicate/rule";
        if !rule.what.is_revealed() {
            return refuse(Reason::NoRule, "is about items or claims, not reveals", pointer);
        }
        if !terms::covers(rule, &self.agreement, side) {
            return refuse(Reason::NoRule, "does not cover this record's party", pointer);
        }
        if !self.in_force.is_open(rule, side) {
            return refuse(Reason::NoRule, "its reader has restricted it", pointer);
        }
        if !self.has_begun(rule.from) {
            return refuse(Reason::NoRule, "does not hold in this stage yet", pointer);
        }
        Ok(())
    }

    /// A party reveals its own record. An auditor releases what lies in escrow, or what a sender
    /// sealed to it in answer to a dispute.
    fn check_revealer(&self, said: &Said<'_>, reveal: &Reveal, rule: &Rule, side: Side) -> Checked {
        let released = reveal.releases.as_ref();
        match said.role {
            Role::Party(signer) if signer != side => {
                refuse(Reason::WrongRole, "is the other party's record", "/predicate/record")
            }
            Role::Party(_) if released.is_some() => {
                refuse(Reason::WrongRole, "only an auditor releases", "/predicate/releases")
            }
            Role::Party(_) => Ok(()),
            Role::Auditor => {
                let Some(released) = released else {
                    let message = "an auditor only releases what was sealed to it";
                    return refuse(Reason::WrongRole, message, "/predicate/releases");
                };
                self.check_release(said, released, rule, side)
            }
        }
    }

    fn check_release(
        &self,
        said: &Said<'_>,
        released: &StatementId,
        rule: &Rule,
        side: Side,
    ) -> Checked {
        let pointer = "/predicate/releases";
        let unknown = || {
            let message = "is nothing of this party that was sealed to the signer";
            refuse(Reason::UnknownStatement, message, pointer)
        };
        let Some(sealed) = self.sealed(released) else { return unknown() };
        if sealed.sender != self.name(side) || sealed.envelope.reader != *said.signer() {
            return unknown();
        }
        match (self.shown.get(released), &self.agreement.escrow) {
            (Some(shown), _) if shown.answers.is_some() => match &shown.rule {
                Some(answered) if *answered == rule.id => Ok(()),
                _ => refuse(Reason::NoRule, "the answer was under another rule", "/predicate/rule"),
            },
            (Some(_), _) => unknown(),
            (None, Some(escrow)) if escrow.rules.contains(&rule.id) => Ok(()),
            (None, _) => refuse(Reason::NoRule, "is not in the escrow", "/predicate/rule"),
        }
    }

    fn check_reveal_content(
        &self,
        said: &Said<'_>,
        reveal: &Reveal,
        rule: &Rule,
        side: Side,
    ) -> Checked {
        match &reveal.content {
            RevealContent::Envelope(envelope) => {
                let reader = match reveal.answers {
                    Some(_) => self.check_auditor_reads(envelope),
                    None => self.check_reader(rule, side, envelope),
                };
                first([reader, check_sealing_key(said, envelope, "/predicate/envelope")])
            }
            RevealContent::Open { totals, subjects } => {
                if rule.to != Audience::Public {
                    let message = "the rule is for one reader: seal it to that reader";
                    return refuse(Reason::NoRule, message, "/predicate/open");
                }
                let Some(record) = self.counted(side) else { return Ok(()) };
                let opened = (totals.as_slice(), subjects.as_slice());
                first([
                    self.check_open_scope(rule, side, totals, subjects),
                    self.check_openings(
                        record.id,
                        (side, &record.nonce, &record.evaluation),
                        opened,
                        "/predicate/open",
                    ),
                ])
            }
        }
    }

    /// The envelope of a disclosure under a rule is for the reader that the rule names.
    fn check_reader(&self, rule: &Rule, side: Side, envelope: &SealedEnvelope) -> Checked {
        let pointer = "/predicate/envelope/reader";
        match terms::reader(rule, &self.agreement, side) {
            None => refuse(Reason::NoRule, "the rule is for the public: open it", pointer),
            Some(reader) if *reader == envelope.reader => Ok(()),
            Some(reader) => refuse(Reason::NoRule, format!("the rule is for {reader}"), pointer),
        }
    }

    /// What was disputed is sealed once more, to an auditor.
    fn check_auditor_reads(&self, envelope: &SealedEnvelope) -> Checked {
        if self.agreement.is_auditor(&envelope.reader) {
            return Ok(());
        }
        let message = "an answer to a dispute is sealed to an auditor";
        refuse(Reason::NoRule, message, "/predicate/envelope/reader")
    }

    /// Exactly what the rule is about: all columns, all counts, or all flags. Totals that a
    /// difference claim needs bring `count:scored` with them.
    fn check_open_scope(
        &self,
        rule: &Rule,
        side: Side,
        totals: &[OpenedTotal],
        subjects: &[Opened],
    ) -> Checked {
        let columns = self.agreement.evaluation.columns.iter().map(|scale| &scale.name);
        let wants_totals = rule.what == What::Totals;
        let complete = match wants_totals {
            true => columns.clone().all(|name| totals.iter().any(|total| total.column == *name)),
            false => totals.is_empty(),
        };
        if !complete {
            let message = "must hold the totals of all columns, under a rule for totals only";
            return refuse(Reason::NoRule, message, "/predicate/open/totals");
        }
        let scored = |subject: Subject| {
            wants_totals
                && subject.as_str() == "count:scored"
                && !self.differences(rule, side).is_empty()
        };
        let wanted = |subject: Subject| is_subject_of(&rule.what, subject) || scored(subject);
        let missing = Subject::all()
            .filter(|subject| wanted(*subject))
            .any(|subject| !subjects.iter().any(|opened| opened.name == subject));
        if missing || subjects.iter().any(|opened| !wanted(opened.name)) {
            let message = "must hold exactly the subjects that the rule is about";
            return refuse(Reason::NoRule, message, "/predicate/open/subjects");
        }
        Ok(())
    }

    /// Openings in the clear are true to the record's commitments.
    pub(super) fn check_openings(
        &self,
        record: StatementId,
        (side, nonce, evaluation): (Side, &[u8; 32], &Evaluation),
        opened: (&[OpenedTotal], &[Opened]),
        pointer: &str,
    ) -> Checked {
        let origin = self.origin.as_str();
        let name = self.name(side).as_str();
        let Ok(context) = Context::new(origin, Some(&self.id.hash()), name, nonce) else {
            let message = "no opening of this record means anything";
            return refuse(Reason::LimitExceeded, message, pointer);
        };
        check_clear(record.hash(), evaluation, &context, opened, pointer)
    }

    /// Difference claims for which totals under this rule are owed.
    fn differences(&self, rule: &Rule, side: Side) -> Vec<&AgreedClaim> {
        let claims = self.agreement.claims.iter().filter(|claim| {
            let reader = terms::reader(rule, &self.agreement, side);
            claim.bound.is_difference()
                && claim.by != *self.name(side)
                && reader.is_none_or(|reader| *reader == claim.by)
        });
        if rule.what == What::Totals { claims.collect() } else { Vec::new() }
    }

    /// Totals for a difference claim come with the items proof of its column.
    fn check_items_proofs(&self, reveal: &Reveal, rule: &Rule, side: Side) -> Checked {
        let pointer = "/predicate/items_proofs";
        for claim in self.differences(rule, side) {
            if !reveal.items_proofs.iter().any(|proof| proof.column == claim.column) {
                let message =
                    format!("the claim {} needs the items proof of {}", claim.id, claim.column);
                return refuse(Reason::NotAsAgreed, message, pointer);
            }
        }
        let columns = &self.agreement.evaluation;
        let foreign = reveal.items_proofs.iter().any(|p| columns.column(&p.column).is_none());
        if foreign { refuse(Reason::NotAsAgreed, "is about no column", pointer) } else { Ok(()) }
    }

    /// An answer is to an `unopenable` dispute about something that the signer sealed.
    fn check_answer(
        &self,
        said: &Said<'_>,
        dispute: Option<StatementId>,
        pointer: &str,
    ) -> Checked {
        let Some(id) = dispute else { return Ok(()) };
        let Some(contest) = self.disputes.get(&id).filter(|contest| contest.unopenable) else {
            let message = "is no dispute of this exchange that can be answered";
            return refuse(Reason::UnknownStatement, message, pointer);
        };
        if contest.sender != *said.signer() {
            return refuse(Reason::WrongRole, "what is disputed is not the signer's", pointer);
        }
        match self.step_after(contest.index) {
            Some(due) => self.check_due(said, due),
            None => Ok(()),
        }
    }

    fn agreed_claim(
        &self,
        said: &Said<'_>,
        id: &crate::values::Word,
    ) -> Result<&AgreedClaim, Checked> {
        let Some(agreed) = self.agreement.claims.iter().find(|claim| claim.id == *id) else {
            return Err(refuse(Reason::NoRule, "is no claim of the agreement", "/predicate/claim"));
        };
        if agreed.by != *said.signer() {
            let message = format!("this claim is {}'s", agreed.by);
            return Err(refuse(Reason::WrongRole, message, "/predicate/claim"));
        }
        if self.claims.contains_key(id) {
            let message = "this claim is made or declined";
            return Err(refuse(Reason::AlreadyMade, message, "/predicate/claim"));
        }
        Ok(agreed)
    }

    fn check_claim_due(&self, said: &Said<'_>, bound: Bound) -> Checked {
        if self.state != ExchangeState::Committed {
            return Ok(());
        }
        let reveal_by = self.in_force.schedule.reveal_by.unix();
        self.check_due(said, if bound.is_difference() { self.end_of(reveal_by) } else { reveal_by })
    }

    pub(super) fn check_claim(&self, said: &Said<'_>, claim: &Claim) -> Checked {
        let pointer = "/predicate/claim";
        let Some(id) = &claim.claim else {
            return refuse(Reason::NoRule, "names no claim of the agreement", pointer);
        };
        let agreed = match self.agreed_claim(said, id) {
            Ok(agreed) => agreed,
            Err(refusal) => return refusal,
        };
        let text = if agreed.bound == claim.bound && agreed.column == claim.column {
            Ok(())
        } else {
            refuse(Reason::NotAsAgreed, "kind, column and bounds must be as agreed", pointer)
        };
        first([
            text,
            self.check_claim_records(agreed, claim),
            self.check_claim_due(said, agreed.bound),
        ])
    }

    /// The counted records, in the order of the agreement, with the items proofs that came with
    /// their reveals where those were somebody else's to make.
    fn check_claim_records(&self, agreed: &AgreedClaim, claim: &Claim) -> Checked {
        let sides: Vec<Side> = match agreed.bound.is_difference() {
            true => Side::BOTH.to_vec(),
            false => self.side(&agreed.by).into_iter().collect(),
        };
        for (i, side) in sides.iter().enumerate() {
            let pointer = format!("/predicate/records/{i}");
            let named = claim.records.get(i).copied().unwrap_or(StatementId::ZERO);
            match self.counted_record(&named, &pointer) {
                Err(refusal) => return refusal,
                Ok(of) if of != *side => {
                    return refuse(Reason::NotAsAgreed, "is the other party's", &pointer);
                }
                Ok(_) => {}
            }
            if *self.name(*side) == agreed.by {
                continue;
            }
            let revealed = self.shown.values().filter(|shown| shown.side == *side).any(|shown| {
                let mut proofs = shown.proofs.iter();
                proofs.any(|(column, digest)| {
                    *column == agreed.column && Some(digest) == claim.items_proofs.get(i)
                })
            });
            if !revealed {
                let message = "is not the items proof that came with the reveal";
                return refuse(
                    Reason::NotAsAgreed,
                    message,
                    &format!("/predicate/items_proofs/{i}"),
                );
            }
        }
        Ok(())
    }

    pub(super) fn check_decline(&self, said: &Said<'_>, decline: &Decline) -> Checked {
        match self.agreed_claim(said, &decline.claim) {
            Ok(agreed) => self.check_claim_due(said, agreed.bound),
            Err(refusal) => refusal,
        }
    }

    pub(super) fn check_opening(&self, said: &Said<'_>, opening: &Opening) -> Checked {
        let signer = self.party(said)?;
        let side = match self.counted_record(&opening.record, "/predicate/record") {
            Ok(side) => side,
            Err(refusal) => return refusal,
        };
        if side != signer {
            let message = "is the other party's record";
            return refuse(Reason::WrongRole, message, "/predicate/record");
        }
        let sealing = check_sealing_key(said, &opening.envelope, "/predicate/envelope");
        if opening.answers.is_some() {
            return first([
                self.check_answer(said, opening.answers, "/predicate/answers"),
                self.check_auditor_reads(&opening.envelope),
                self.check_same_items(opening),
                sealing,
            ]);
        }
        let source = match &opening.items {
            OpenedItems::Sample { .. } => self.check_sample(said, side, opening),
            OpenedItems::Ranges(_) => Ok(()),
        };
        let fields = opening.fields.iter().enumerate();
        let rules = fields.map(|(i, field)| {
            self.check_field(side, field, opening, &format!("/predicate/fields/{i}"))
        });
        first(rules.chain([source, self.check_item_range(opening), sealing]))
    }

    /// An answer reveals what the disputed statement sealed: under its rule, or of the escrow.
    fn check_same_rule(&self, reveal: &Reveal, rule: &Rule, side: Side) -> Checked {
        let Some(contest) = reveal.answers.and_then(|id| self.disputes.get(&id)) else {
            return Ok(());
        };
        let disputed = match (self.shown.get(&contest.about), &self.agreement.escrow) {
            (Some(shown), _) => shown.side == side && shown.rule.as_ref() == Some(&rule.id),
            (None, Some(escrow)) => escrow.rules.contains(&rule.id),
            (None, None) => false,
        };
        if disputed {
            return Ok(());
        }
        let message = "what is disputed was not sealed under this rule";
        refuse(Reason::NotAsAgreed, message, "/predicate/answers")
    }

    /// An answer shows what the disputed opening declared, and nothing else.
    fn check_same_items(&self, opening: &Opening) -> Checked {
        let disputed = opening.answers.and_then(|id| self.disputes.get(&id));
        let shown = disputed.and_then(|contest| self.shown.get(&contest.about));
        let Some((items, fields)) = shown.and_then(|shown| shown.opened.as_ref()) else {
            let message = "what is disputed is no opening: answer with a reveal";
            return refuse(Reason::NotAsAgreed, message, "/predicate/answers");
        };
        if *items != opening.items {
            let message = "must be the items of the disputed opening";
            return refuse(Reason::NotAsAgreed, message, "/predicate/answers");
        }
        if *fields != opening.fields {
            let message = "must be the fields of the disputed opening";
            return refuse(Reason::NotAsAgreed, message, "/predicate/fields");
        }
        Ok(())
    }

    /// `LIMIT_EXCEEDED` for items that the record does not have.
    fn check_item_range(&self, opening: &Opening) -> Checked {
        let items = self.agreement.evaluation.items;
        let OpenedItems::Ranges(ranges) = &opening.items else { return Ok(()) };
        match ranges.iter().position(|range| range.last >= items) {
            Some(i) => refuse(
                Reason::LimitExceeded,
                format!("the record has {items} items"),
                &format!("/predicate/items/{i}"),
            ),
            None => Ok(()),
        }
    }

    /// `NO_RULE`, `RULE_EXCEEDED`: each field has a rule for this signer, reader and stage, with
    /// room for these items. An audit's plan is the rule for status and score of its column.
    fn check_field(&self, side: Side, field: &Field, opening: &Opening, pointer: &str) -> Checked {
        if let (OpenedItems::Sample { .. }, Some(plan)) = (&opening.items, &self.agreement.audit) {
            let of_plan = match field {
                Field::Base(BaseField::Status) => true,
                Field::Score(column) => *column == plan.column,
                Field::Base(_) => false,
            };
            if of_plan {
                return Ok(());
            }
        }
        if self.rule_for(side, field, &opening.envelope.reader, opening).is_some() {
            return Ok(());
        }
        let without_room = self.in_force.rules.iter().find(|rule| {
            let about = match (&rule.what, field) {
                (What::Field(allowed), field) => allowed == field,
                (What::Score(column), Field::Score(opened)) => column == opened,
                _ => false,
            };
            about
                && terms::covers(rule, &self.agreement, side)
                && terms::reader(rule, &self.agreement, side) == Some(&opening.envelope.reader)
                && self.in_force.is_open(rule, side)
                && self.has_begun(rule.from)
        });
        match without_room {
            Some(rule) => {
                let message = format!("rule {} allows {} items in all", rule.id, rule.items);
                refuse(Reason::RuleExceeded, message, pointer)
            }
            None => {
                let reader = &opening.envelope.reader;
                let message = format!("no rule opens {field} to {reader} in this stage");
                refuse(Reason::NoRule, message, pointer)
            }
        }
    }
}
