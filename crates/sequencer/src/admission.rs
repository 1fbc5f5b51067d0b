//! Who decides what may enter the log, and what they may look at.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use tlog::Hash;

use crate::entry::{Entry, StatementKey};

/// Decides, in log order, whether an entry may enter. The writer owns it, so it needs no lock.
///
/// An entry that is admitted *is* the leaf at `index` for every later call: if it can't be made
/// durable the writer stops, and the process builds the admission anew from the log.
pub trait Admission {
    /// What the caller read out of the entry's bytes before queueing it.
    type Content: Send + 'static;
    /// Why one entry was refused; goes to its caller alone.
    type Refused: Error + Send + 'static;

    /// Admits the entry as leaf `index`, or refuses it and leaves its own state as it was.
    fn admit(
        &mut self,
        index: u64,
        entry: &Entry<Self::Content>,
        history: &dyn History,
    ) -> Result<(), Self::Refused>;
}

/// All entries before the one in question, those of its own batch included.
pub trait History {
    /// Number of entries.
    fn size(&self) -> u64;

    /// The entry at `index`; `None` beyond the history.
    fn entry(&self, index: u64) -> Result<Option<Arc<[u8]>>, Unreadable>;

    /// The root of the first `size` entries; `None` beyond the history.
    fn root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable>;

    /// The index of the entry with this leaf hash.
    fn index_of_leaf(&self, leaf: &Hash) -> Result<Option<u64>, Unreadable>;

    /// The index of the entry with this statement key.
    fn index_of_key(&self, key: &StatementKey) -> Result<Option<u64>, Unreadable>;
}

/// The history could not be read. The writer knows the cause and stops, whatever the admission
/// answers, so an admission may turn this into any refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log's history could not be read")]
pub struct Unreadable;

/// Admits everything: for tests, and while a log has only been opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    type Content = ();
    type Refused = Infallible;

    fn admit(&mut self, _: u64, _: &Entry, _: &dyn History) -> Result<(), Infallible> {
        Ok(())
    }
}
