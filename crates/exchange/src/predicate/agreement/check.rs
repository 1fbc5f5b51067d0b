//! How the members of an agreement fit together: everything that the statement alone shows.

use tlog::{KeyName, Policy};

use super::{AgreedClaim, Agreement, Audience, Author, Rule, What};
use crate::reason::{Reason, Refusal};
use crate::statement::Common;
use crate::values::Word;

fn bad(pointer: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::BadAgreement, message).at(pointer)
}

impl Agreement {
    /// The first contradiction, in the order of the members.
    pub(crate) fn check(&self, common: &Common) -> Result<(), Refusal> {
        self.check_names()?;
        self.check_policy(common)?;
        self.check_evaluation()?;
        self.check_terms()
    }

    /// The same of what an amendment can change, and of what rests on it.
    pub(crate) fn check_terms(&self) -> Result<(), Refusal> {
        self.schedule.check("/predicate/schedule")?;
        if self.schedule.audit_by.is_some() != self.audit.is_some() {
            let message = "audit_by is there exactly if an audit is agreed";
            return Err(bad("/predicate/schedule", message));
        }
        for (i, rule) in self.disclosure.iter().enumerate() {
            self.check_rule(rule, &format!("/predicate/disclosure/{i}"))?;
        }
        for (i, claim) in self.claims.iter().enumerate() {
            self.check_claim(claim, &format!("/predicate/claims/{i}"))?;
        }
        self.check_audit()?;
        self.check_escrow()
    }

    fn check_names(&self) -> Result<(), Refusal> {
        let mut names: Vec<&KeyName> = self.parties.iter().map(|party| &party.keys.name).collect();
        names.extend(self.auditors.iter().map(|auditor| &auditor.name));
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(bad("/predicate/parties", format!("{} has two roles", pair[0]))),
            None => Ok(()),
        }
    }

    fn check_policy(&self, common: &Common) -> Result<(), Refusal> {
        let policy = Policy::parse(self.policy.as_bytes())
            .map_err(|error| bad("/predicate/policy", error.to_string()))?;
        if !policy.logs().iter().any(|log| *log.key().name() == common.origin) {
            let message = "names no key of this log, so no tick could count";
            return Err(bad("/predicate/policy", message));
        }
        match policy.member(self.clock.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(bad("/predicate/clock", "is no group and no witness of the policy")),
        }
    }

    fn check_evaluation(&self) -> Result<(), Refusal> {
        let terms = &self.evaluation;
        if !terms.items.is_multiple_of(terms.epochs) {
            let message = "items must be a multiple of epochs";
            return Err(bad("/predicate/evaluation/items", message));
        }
        match terms.columns.iter().position(|scale| !scale.fits(terms.items)) {
            Some(i) => {
                let pointer = format!("/predicate/evaluation/columns/{i}/max");
                Err(bad(pointer, "items × max must be below 2^31"))
            }
            None => Ok(()),
        }
    }

    fn check_rule(&self, rule: &Rule, pointer: &str) -> Result<(), Refusal> {
        if let Author::Party(name) = &rule.by
            && self.party(name).is_none()
        {
            return Err(bad(format!("{pointer}/by"), "is not a party"));
        }
        if let Audience::Auditor(name) = &rule.to
            && !self.is_auditor(name)
        {
            return Err(bad(format!("{pointer}/to"), "is not an auditor"));
        }
        if let What::Score(column) = &rule.what
            && self.evaluation.column(column).is_none()
        {
            return Err(bad(format!("{pointer}/what"), "is not a column"));
        }
        Ok(())
    }

    fn check_claim(&self, claim: &AgreedClaim, pointer: &str) -> Result<(), Refusal> {
        let Some(scale) = self.evaluation.column(&claim.column) else {
            return Err(bad(format!("{pointer}/column"), "is not a column"));
        };
        if !claim.bound.is_possible(self.evaluation.items * scale.max) {
            return Err(bad(pointer, "has a bound that no total can meet"));
        }
        let may_prove = self.party(&claim.by).is_some()
            || claim.bound.is_difference() && self.is_auditor(&claim.by);
        if !may_prove {
            let message = "must be a party or, for a difference, an auditor";
            return Err(bad(format!("{pointer}/by"), message));
        }
        for party in &self.parties {
            let party = &party.keys.name;
            let is_about = claim.bound.is_difference() || *party == claim.by;
            if is_about && !self.allows_claims_about(party) {
                return Err(bad(pointer, format!("no claim rule covers {party}")));
            }
            let needs_total = claim.bound.is_difference() && *party != claim.by;
            if needs_total && !self.owes_totals(party, &claim.by) {
                let message =
                    format!("no owed totals rule brings the totals of {party} to {}", claim.by);
                return Err(bad(pointer, message));
            }
        }
        Ok(())
    }

    fn allows_claims_about(&self, party: &KeyName) -> bool {
        self.disclosure.iter().any(|rule| rule.what == What::Claim && rule.by.covers(party))
    }

    /// True if `reader` can count on learning the totals of `party`.
    fn owes_totals(&self, party: &KeyName, reader: &KeyName) -> bool {
        self.disclosure.iter().any(|rule| {
            let reaches = match &rule.to {
                Audience::Public => true,
                Audience::Peer => self.party(reader).is_some(),
                Audience::Auditor(name) => name == reader,
            };
            rule.what == What::Totals && rule.owed && rule.by.covers(party) && reaches
        })
    }

    fn check_audit(&self) -> Result<(), Refusal> {
        let Some(plan) = &self.audit else { return Ok(()) };
        if !self.is_auditor(&plan.auditor) {
            return Err(bad("/predicate/audit/auditor", "is not an auditor"));
        }
        if self.evaluation.column(&plan.column).is_none() {
            return Err(bad("/predicate/audit/column", "is not a column"));
        }
        if plan.first > plan.largest {
            return Err(bad("/predicate/audit/first", "must not be above largest"));
        }
        Ok(())
    }

    fn check_escrow(&self) -> Result<(), Refusal> {
        let Some(escrow) = &self.escrow else { return Ok(()) };
        if !self.is_auditor(&escrow.auditor) {
            return Err(bad("/predicate/escrow/auditor", "is not an auditor"));
        }
        let is_revealed = |id: &Word| {
            self.disclosure.iter().any(|rule| rule.id == *id && rule.what.is_revealed())
        };
        match escrow.rules.iter().position(|id| !is_revealed(id)) {
            Some(i) => {
                let message = "is no rule about counts, flags or totals";
                Err(bad(format!("/predicate/escrow/rules/{i}"), message))
            }
            None => Ok(()),
        }
    }
}
