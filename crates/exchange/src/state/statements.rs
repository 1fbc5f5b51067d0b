//! The statements in the log, with what later ones may need of them.

use std::collections::BTreeMap;

use crate::reason::{Reason, Refusal};
use crate::registry::PartyNumber;
use crate::values::StatementId;

/// What a logged statement can still be named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    /// Nothing: it was refused.
    Void,
    /// Nothing outside of an exchange.
    Other,
    /// A standalone intent.
    Intent {
        /// Its signer.
        by: PartyNumber,
        /// False once it has an evaluation or a withdrawal.
        open: bool,
    },
    /// A standalone evaluation.
    Record {
        /// Its signer.
        by: PartyNumber,
        /// Items in the record, at most 2^20.
        items: u32,
    },
}

/// Ids of all statements in the log. An entry has 32 bytes of id, 8 of index and 12 of the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Statements(BTreeMap<StatementId, (u64, Logged)>);

impl Statements {
    /// `STATEMENT_EXISTS`. The same envelope again never comes here: it gets its old index.
    pub(super) fn check_new(&self, id: StatementId) -> Result<(), Refusal> {
        match self.0.get(&id) {
            None => Ok(()),
            Some((index, _)) => {
                let message = format!("leaf {index} holds this statement in another envelope");
                Err(Refusal::new(Reason::StatementExists, message).with("index", index))
            }
        }
    }

    pub(super) fn index_of(&self, id: &StatementId) -> Option<u64> {
        self.0.get(id).map(|(index, _)| *index)
    }

    pub(super) fn get(&self, id: &StatementId) -> Option<Logged> {
        self.0.get(id).map(|(_, logged)| *logged)
    }

    /// Adds a statement. One that is known stays what it is.
    pub(super) fn insert(&mut self, id: StatementId, index: u64, logged: Logged) {
        self.0.entry(id).or_insert((index, logged));
    }

    /// Ends an intent.
    pub(super) fn end(&mut self, intent: &StatementId) {
        if let Some((_, Logged::Intent { open, .. })) = self.0.get_mut(intent) {
            *open = false;
        }
    }

    /// Drops the statements of an exchange that is over.
    pub(super) fn forget(&mut self, ids: &[StatementId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&StatementId, &(u64, Logged))> {
        self.0.iter()
    }
}
