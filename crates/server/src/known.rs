//! What the writer knows of exchanges beside the state machine: which entries belong to which of
//! them, and what those that are over came to. Owned by the writer, asked through
//! [`Service::look`](crate::Service::look).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use exchange::predicate::Predicate;
use exchange::{EndedExchange, State, Statement, StatementId};
use tokio::sync::watch;

/// Exchanges that are over and still told about: some KiB each.
const MAX_ENDED: usize = 4_096;

/// Entries of all of them together: 8 bytes each.
const MAX_ENDED_ENTRIES: usize = 1 << 20;

/// The state, and what stands beside it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) state: State,
    /// Entries of each open exchange, in order: the agreement, its statements, ticks that moved it.
    open: BTreeMap<StatementId, Vec<u64>>,
    ended: BTreeMap<StatementId, Over>,
    /// The oldest first.
    order: VecDeque<StatementId>,
    ended_entries: usize,
    changes: Arc<Changes>,
}

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) report: EndedExchange,
    entries: Vec<u64>,
}

impl Over {
    /// The agreement's entry.
    pub(crate) fn index(&self) -> u64 {
        self.entries.first().copied().unwrap_or(self.report.index)
    }
}

impl Known {
    /// A state into which no entry has gone.
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            order: VecDeque::new(),
            ended_entries: 0,
            changes: Arc::new(Changes::default()),
        }
    }

    /// Who is told of new entries.
    pub(crate) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    /// Takes note of an entry that the state has just taken. `moved` are the exchanges that it
    /// moves if it is a tick, asked before.
    pub(crate) fn follow(
        &mut self,
        index: u64,
        id: StatementId,
        statement: &Statement,
        moved: &[StatementId],
    ) {
        match statement.predicate() {
            Predicate::Agreement(_) => {
                self.open.insert(id, vec![index]);
            }
            Predicate::Tick(_) => moved.iter().for_each(|exchange| self.add(exchange, index)),
            _ => {
                if let Some(exchange) = statement.common().exchange {
                    self.add(&exchange, index);
                }
            }
        }
        if !moved.is_empty() {
            for report in self.state.take_ended() {
                self.end(report);
            }
        }
    }

    fn add(&mut self, exchange: &StatementId, index: u64) {
        if let Some(entries) = self.open.get_mut(exchange) {
            entries.push(index);
            self.changes.tell(exchange, index);
        }
    }

    fn end(&mut self, report: EndedExchange) {
        let id = report.id;
        let entries = self.open.remove(&id).unwrap_or_default();
        self.ended_entries += entries.len();
        self.order.push_back(id);
        self.ended.insert(id, Over { report, entries });
        while self.order.len() > MAX_ENDED || self.ended_entries > MAX_ENDED_ENTRIES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(over) = self.ended.remove(&oldest) {
                self.ended_entries -= over.entries.len();
            }
        }
    }

    /// An exchange that is over, unless it has been for too long.
    pub(crate) fn ended(&self, id: &StatementId) -> Option<&Over> {
        self.ended.get(id)
    }

    /// The same of all after this one, in the order of their ids.
    pub(crate) fn ended_after(&self, after: Option<StatementId>) -> impl Iterator<Item = &Over> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ended.range((from, Bound::Unbounded)).map(|(_, over)| over)
    }

    /// Up to `most` entries of an exchange from an index on, and whether those are its last;
    /// `None` if nothing is known of it.
    pub(crate) fn entries(
        &self,
        id: &StatementId,
        from: u64,
        most: usize,
    ) -> Option<(Vec<u64>, bool)> {
        let (entries, over) = match self.open.get(id) {
            Some(entries) => (entries, false),
            None => (&self.ended.get(id)?.entries, true),
        };
        let rest = &entries[entries.partition_point(|index| *index < from)..];
        let page = &rest[..rest.len().min(most)];
        Some((page.to_vec(), over && page.len() == rest.len()))
    }
}

/// Tells those who follow an exchange that it has a new entry: before the entry is published, so
/// whoever hears of it waits for the head that has it.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<StatementId, watch::Sender<u64>>>);

impl Changes {
    /// Hears from now on of each new entry the size of the log that has it.
    pub(crate) fn of(&self, exchange: StatementId) -> watch::Receiver<u64> {
        self.inner().entry(exchange).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    fn tell(&self, exchange: &StatementId, index: u64) {
        let inner = self.inner();
        if let Some(sender) = inner.get(exchange) {
            sender.send_replace(index + 1);
        }
    }

    /// Forgets exchanges that nobody follows any more.
    pub(crate) fn tidy(&self) {
        self.inner().retain(|_, sender| sender.receiver_count() > 0);
    }

    fn inner(&self) -> MutexGuard<'_, HashMap<StatementId, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
