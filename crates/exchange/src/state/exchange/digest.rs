//! Exchanges in the digest of a state. What statements say is a function of their ids, so ids
//! stand for them.

use tlog::Hash;

use super::terms::Side;
use super::{EndedExchange, Exchange, Made, Obligation, RunEnd, Shown};
use crate::state::digest::Canonical;
use crate::values::StatementId;

impl Exchange {
    /// Everything that this exchange holds, in a fixed order.
    pub(in crate::state) fn write(&self, out: &mut Canonical) {
        out.id(&self.id);
        out.number(self.index);
        out.text(self.state.as_str());
        out.bytes(self.clock.0.as_bytes());
        out.bytes(&self.clock.1);
        out.number(u64::from(self.neutral));
        self.write_terms(out);
        for side in &self.sides {
            out.count(side.runs.len());
            for run in &side.runs {
                out.id(&run.intent);
                match &run.end {
                    RunEnd::Open => out.text("open"),
                    RunEnd::Recorded(record) => out.id(record),
                    RunEnd::Withdrawn(code) => out.text(code.as_str()),
                }
            }
            out.count(side.records.len());
            for record in &side.records {
                out.id(&record.id);
                out.number(record.index);
            }
            out.count(side.used.len());
            for (rule, ranges) in &side.used {
                out.text(rule.as_str());
                out.count(ranges.iter().len());
                for (first, last) in ranges.iter() {
                    out.number(*first);
                    out.number(*last);
                }
            }
        }
        out.count(self.shown.len());
        self.shown.iter().for_each(|(id, shown)| write_shown(out, id, shown));
        self.write_answers(out);
        self.since.iter().for_each(|time| out.maybe(*time));
        out.count(self.covered.len());
        for (index, time) in &self.covered {
            out.number(*index);
            out.number(*time);
        }
        out.count(self.uncovered.len());
        self.uncovered.iter().for_each(|index| out.number(*index));
    }

    fn write_terms(&self, out: &mut Canonical) {
        let terms = &self.in_force;
        out.id(&terms.base);
        out.count(terms.waived.len());
        terms.waived.iter().for_each(|name| out.text(name.as_str()));
        out.count(terms.restricted.len());
        for (rule, side) in &terms.restricted {
            out.text(rule.as_str());
            out.count(side.place());
        }
        out.count(terms.proposals.len());
        for (id, proposal) in &terms.proposals {
            out.id(id);
            out.number(u64::from(proposal.accepted));
        }
    }

    fn write_answers(&self, out: &mut Canonical) {
        out.count(self.claims.len());
        for (name, made) in &self.claims {
            out.text(name.as_str());
            match made {
                Made::Claimed { id, .. } => out.id(id),
                Made::Declined => out.text("declined"),
            }
        }
        out.count(self.disputes.len());
        for (id, contest) in &self.disputes {
            out.id(id);
            out.number(contest.index);
            out.id(&contest.about);
            out.maybe(contest.answered);
            out.text(contest.outcome.map_or("", |outcome| outcome.as_str()));
        }
        out.count(self.audits.len());
        for ((side, attempt), audit) in &self.audits {
            out.count(side.place());
            out.number(*attempt);
            for commitment in &audit.commitments {
                out.maybe(commitment.map(|(_, index)| index));
            }
            audit.coins.iter().for_each(|coin| out.maybe(*coin));
            out.count(audit.asked.len());
            for (sample, index) in &audit.asked {
                out.number(*sample);
                out.number(*index);
            }
            out.count(audit.opened.len());
            audit.opened.iter().for_each(|(_, id, _)| out.id(id));
            out.text(audit.outcome.map_or("", |outcome| outcome.as_str()));
        }
        out.count(self.outcomes.len());
        for (id, outcome) in &self.outcomes {
            out.id(id);
            out.number(u64::from(outcome.accepted));
        }
        out.count(self.summaries.len());
        self.summaries.iter().for_each(|name| out.text(name.as_str()));
    }
}

fn write_shown(out: &mut Canonical, id: &StatementId, shown: &Shown) {
    out.id(id);
    out.number(shown.index);
    out.count(shown.side.place());
    out.text(shown.rule.as_ref().map_or("", |rule| rule.as_str()));
    out.number(u64::from(shown.answers.is_some()));
}

fn write_duty(out: &mut Canonical, duty: &Obligation) {
    out.text(duty.name.as_str());
    out.text(duty.holder.as_str());
    out.maybe(duty.due);
    out.text(duty.status.as_str());
}

impl EndedExchange {
    /// SHA-256 over all of it: what stays in the state of the log.
    pub fn digest(&self) -> Hash {
        let mut out = Canonical::new("ended-exchange");
        out.id(&self.id);
        out.number(self.index);
        out.text(self.state.as_str());
        out.number(self.time);
        for side in Side::BOTH {
            out.text(self.parties[side.place()].as_str());
            out.id(&self.records[side.place()].unwrap_or(StatementId::ZERO));
        }
        out.count(self.obligations.len());
        self.obligations.iter().for_each(|duty| write_duty(&mut out, duty));
        out.count(self.breaches.len());
        self.breaches.iter().for_each(|breach| out.text(&breach.to_string()));
        out.finish()
    }
}
