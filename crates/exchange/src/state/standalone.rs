//! What stands outside of exchanges: a party's own runs, records, reveals, claims and openings.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use super::statements::Logged;
use crate::predicate::{Evaluation, Intent, OpenedItems, Opening, Predicate};
use crate::reason::{Reason, Refusal};
use crate::registry::{PartyNumber, VerifiedStatement};
use crate::statement::Statement;
use crate::values::StatementId;

/// items × max of any record is below 2^31.
const LARGEST_TOTAL: u64 = (1 << 31) - 1;

/// Nonces of all intents, and how many standalone runs each party has announced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Runs {
    nonces: BTreeSet<[u8; 32]>,
    announced: BTreeMap<PartyNumber, u64>,
}

impl Runs {
    /// The number of a party's next run.
    pub(super) fn next(&self, party: PartyNumber) -> u64 {
        self.announced.get(&party).map_or(1, |last| last + 1)
    }

    fn record(&mut self, party: PartyNumber, intent: &Intent) {
        self.nonces.insert(intent.nonce);
        self.announced.insert(party, intent.run);
    }

    pub(super) fn nonces(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.nonces.iter()
    }

    pub(super) fn announced(&self) -> impl ExactSizeIterator<Item = (&PartyNumber, &u64)> {
        self.announced.iter()
    }
}

impl State {
    /// `NONCE_REUSED`, `INTENT_ENDED`: what is there already.
    pub(super) fn check_conflicts(
        &self,
        statement: &Statement,
        signer: Option<PartyNumber>,
    ) -> Result<(), Refusal> {
        self.check_nonce(statement)?;
        let ended = |id: &StatementId| {
            let logged = self.statements.get(id);
            matches!(logged, Some(Logged::Intent { by, open: false }) if Some(by) == signer)
        };
        if ended_intent(statement).is_some_and(ended) {
            let message = "this intent has its evaluation or withdrawal";
            return Err(Refusal::new(Reason::IntentEnded, message).at("/predicate/intent"));
        }
        Ok(())
    }

    /// `NONCE_REUSED`, over the whole log.
    pub(super) fn check_nonce(&self, statement: &Statement) -> Result<(), Refusal> {
        match statement.predicate() {
            Predicate::Intent(intent) if self.runs.nonces.contains(&intent.nonce) => {
                let message = "an earlier intent has this nonce";
                Err(Refusal::new(Reason::NonceReused, message).at("/predicate/nonce"))
            }
            _ => Ok(()),
        }
    }

    /// `UNKNOWN_STATEMENT`: standalone statements name their signer's own ones.
    pub(super) fn check_references(
        &self,
        statement: &Statement,
        signer: Option<PartyNumber>,
    ) -> Result<(), Refusal> {
        let unknown = |what: &str, pointer: &str| {
            let message = format!("is no standalone {what} of the signer in this log");
            Err(Refusal::new(Reason::UnknownStatement, message).at(pointer))
        };
        let own_record = |id: &StatementId| {
            let logged = self.statements.get(id);
            matches!(logged, Some(Logged::Record { by, .. }) if Some(by) == signer)
        };
        if let Some(intent) = ended_intent(statement) {
            match self.statements.get(intent) {
                Some(Logged::Intent { by, .. }) if Some(by) == signer => {}
                _ => return unknown("intent", "/predicate/intent"),
            }
        }
        match statement.predicate() {
            Predicate::Evaluation(evaluation) => match &evaluation.supersedes {
                Some(record) if !own_record(record) => {
                    unknown("evaluation", "/predicate/supersedes")
                }
                _ => Ok(()),
            },
            Predicate::Reveal(reveal) if !own_record(&reveal.record) => {
                unknown("evaluation", "/predicate/record")
            }
            Predicate::Reveal(reveal) if reveal.answers.is_some() => {
                unknown("dispute", "/predicate/answers")
            }
            Predicate::Reveal(reveal) if reveal.releases.is_some() => {
                unknown("escrow", "/predicate/releases")
            }
            Predicate::Claim(claim) => match claim.records.iter().position(|id| !own_record(id)) {
                Some(i) => unknown("evaluation", &format!("/predicate/records/{i}")),
                None => Ok(()),
            },
            Predicate::Opening(opening) if !own_record(&opening.record) => {
                unknown("evaluation", "/predicate/record")
            }
            Predicate::Opening(opening) if opening.answers.is_some() => {
                unknown("dispute", "/predicate/answers")
            }
            _ => Ok(()),
        }
    }

    /// `NOT_STANDALONE`, `RUN_NUMBER`, `NOT_AS_AGREED`.
    pub(super) fn check_preconditions(
        &self,
        statement: &Statement,
        signer: Option<PartyNumber>,
    ) -> Result<(), Refusal> {
        let not_standalone = |message: &str| Err(Refusal::new(Reason::NotStandalone, message));
        match statement.predicate() {
            Predicate::Decline(_)
            | Predicate::Dispute(_)
            | Predicate::Coin(_)
            | Predicate::Outcome(_) => {
                not_standalone(&format!("{} has no meaning outside an exchange", statement.kind()))
            }
            Predicate::Opening(opening) if matches!(opening.items, OpenedItems::Sample { .. }) => {
                not_standalone("there are no audits outside an exchange")
            }
            Predicate::Claim(claim) if claim.records.len() > 1 => {
                not_standalone("a claim outside an exchange is about one record")
            }
            Predicate::Intent(intent) => {
                let expected = signer.map_or(1, |party| self.runs.next(party));
                if intent.run == expected {
                    return Ok(());
                }
                let message = format!("must be {expected}");
                let refusal = Refusal::new(Reason::RunNumber, message).at("/predicate/run");
                Err(refusal.with("expected", expected))
            }
            Predicate::Evaluation(evaluation) => nothing_agreed(evaluation),
            _ => Ok(()),
        }
    }

    /// `LIMIT_EXCEEDED`.
    pub(super) fn check_limits(&self, statement: &Statement) -> Result<(), Refusal> {
        match statement.predicate() {
            Predicate::Evaluation(evaluation) => {
                let mut columns = evaluation.columns.iter();
                match columns.position(|column| !column.scale.fits(evaluation.items)) {
                    Some(i) => Err(limit(
                        "items × max must be below 2^31",
                        format!("/predicate/columns/{i}/max"),
                    )),
                    None => Ok(()),
                }
            }
            // The record's own limits are met where the proofs are; this holds for all records.
            Predicate::Claim(claim) if !claim.bound.is_possible(LARGEST_TOTAL) => {
                Err(limit("has a bound that no total can meet", "/predicate".to_owned()))
            }
            Predicate::Opening(opening) => self.check_opened_items(opening),
            _ => Ok(()),
        }
    }

    fn check_opened_items(&self, opening: &Opening) -> Result<(), Refusal> {
        let Some(Logged::Record { items, .. }) = self.statements.get(&opening.record) else {
            return Ok(());
        };
        let OpenedItems::Ranges(ranges) = &opening.items else { return Ok(()) };
        match ranges.iter().position(|range| range.last >= u64::from(items)) {
            Some(i) => {
                let message = format!("the record has {items} items");
                Err(limit(message, format!("/predicate/items/{i}")))
            }
            None => Ok(()),
        }
    }

    /// Keeps what later statements need of an admitted one.
    pub(super) fn record(&mut self, index: u64, verified: &VerifiedStatement, by: PartyNumber) {
        let statement = verified.statement();
        if statement.common().exchange.is_some() {
            if let Predicate::Intent(intent) = statement.predicate() {
                self.runs.nonces.insert(intent.nonce);
            }
            self.statements.insert(verified.id(), index, Logged::Other);
            return;
        }
        let logged = match statement.predicate() {
            Predicate::Intent(intent) => {
                self.runs.record(by, intent);
                Logged::Intent { by, open: true }
            }
            Predicate::Evaluation(evaluation) => {
                let items = u32::try_from(evaluation.items).expect("records have ≤ 2^20 items");
                Logged::Record { by, items }
            }
            _ => Logged::Other,
        };
        if let Some(intent) = ended_intent(statement) {
            self.statements.end(intent);
        }
        self.statements.insert(verified.id(), index, logged);
    }
}

/// The intent that an evaluation or withdrawal ends.
fn ended_intent(statement: &Statement) -> Option<&StatementId> {
    match statement.predicate() {
        Predicate::Evaluation(evaluation) => Some(&evaluation.intent),
        Predicate::Withdrawal(withdrawal) => Some(&withdrawal.intent),
        _ => None,
    }
}

/// `final` and `escrow` say something about an agreement, of which there is none.
fn nothing_agreed(evaluation: &Evaluation) -> Result<(), Refusal> {
    let refuse = |pointer: &str| {
        let message = "nothing of this is agreed outside an exchange";
        Err(Refusal::new(Reason::NotAsAgreed, message).at(pointer))
    };
    if evaluation.is_final {
        return refuse("/predicate/final");
    }
    if evaluation.escrow.is_some() {
        return refuse("/predicate/escrow");
    }
    Ok(())
}

fn limit(message: impl Into<String>, pointer: String) -> Refusal {
    Refusal::new(Reason::LimitExceeded, message).at(pointer)
}
