//! Scopes: each signer's statements in one exchange, or outside of all, are a chain of their own.
//! `number` rises and `previous` names the one before, so their order is the signer's own word.

use std::collections::BTreeMap;

use crate::reason::{Reason, Refusal};
use crate::registry::PartyNumber;
use crate::statement::Statement;
use crate::values::StatementId;

/// The end of each chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scopes(BTreeMap<(PartyNumber, Option<StatementId>), Last>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// The greatest number logged; a number once signed is burnt.
    pub(super) number: u64,
    /// The last statement logged.
    pub(super) id: StatementId,
}

impl Scopes {
    pub(super) fn last(
        &self,
        party: PartyNumber,
        exchange: Option<StatementId>,
    ) -> Option<(u64, StatementId)> {
        self.0.get(&(party, exchange)).map(|last| (last.number, last.id))
    }

    /// `NUMBER_NOT_ABOVE`, `WRONG_PREVIOUS`. A signer that is not registered yet has no chain.
    pub(super) fn check(
        &self,
        statement: &Statement,
        signer: Option<PartyNumber>,
    ) -> Result<(), Refusal> {
        let common = statement.common();
        let last = signer.and_then(|party| self.0.get(&(party, common.exchange)));
        let number = last.map_or(0, |last| last.number);
        let previous = last.map(|last| last.id);
        let refusal = if common.number <= number {
            let message = format!("must be above {number}");
            Refusal::new(Reason::NumberNotAbove, message).at("/predicate/number")
        } else if common.previous != previous {
            let message = previous.map_or_else(
                || "must be absent from the first statement".to_owned(),
                |id| format!("must be {id}"),
            );
            Refusal::new(Reason::WrongPrevious, message).at("/predicate/previous")
        } else {
            return Ok(());
        };
        let expected = previous.map(|id| id.to_string()).unwrap_or_default();
        Err(refusal.with("expected", expected).with("last_number", number))
    }

    /// A logged statement, admitted or void, ends its chain.
    pub(super) fn record(&mut self, statement: &Statement, party: PartyNumber, id: StatementId) {
        let common = statement.common();
        let last = self.0.entry((party, common.exchange)).or_insert(Last { number: 0, id });
        last.number = last.number.max(common.number);
        last.id = id;
    }

    /// Drops the chains of an exchange that is over.
    pub(super) fn forget(
        &mut self,
        parties: impl Iterator<Item = PartyNumber>,
        exchange: StatementId,
    ) {
        for party in parties {
            self.0.remove(&(party, Some(exchange)));
        }
    }

    pub(super) fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (&(PartyNumber, Option<StatementId>), &Last)> {
        self.0.iter()
    }
}
