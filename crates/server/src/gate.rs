//! The admission that the writer asks: the state machine, and what only this server demands.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use exchange::predicate::{self, Predicate};
use exchange::{Reason, Refusal, Registry, State, Statement, StatementId, VerifiedStatement};
use sequencer::{Admission, Entry};
use tlog::{Hash, KeyName, PublicKey, VerifierKey};

use crate::holdings::Holdings;
use crate::known::Known;
use crate::metrics::Metrics;

/// The parties that the operator lets register, by name and key.
#[derive(Debug, Clone, Default)]
pub struct Admitted(BTreeSet<(KeyName, [u8; 32])>);

impl Admitted {
    /// Admits the owners of these keys.
    pub fn new(parties: impl IntoIterator<Item = VerifierKey>) -> Self {
        let keys = parties.into_iter().map(|key| (key.name().clone(), *key.public().as_bytes()));
        Self(keys.collect())
    }

    /// Admits one more.
    pub(crate) fn add(&mut self, key: &VerifierKey) {
        self.0.insert((key.name().clone(), *key.public().as_bytes()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if nobody may register.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, name: &KeyName, key: &PublicKey) -> bool {
        self.0.contains(&(name.clone(), *key.as_bytes()))
    }

    /// `NOT_ADMITTED` for a registration of somebody else. Whoever is registered stays so: the
    /// log, not the operator's list of today, says whose keys are current.
    pub(crate) fn check(&self, verified: &VerifiedStatement) -> Result<(), Refusal> {
        let Predicate::Party(party) = verified.statement().predicate() else { return Ok(()) };
        let predicate::Party::Register { keys } = party.as_ref() else { return Ok(()) };
        if self.contains(&keys.name, verified.key()) {
            return Ok(());
        }
        let message = format!(
            "the operator has not admitted {} under this key; ask for: serve --party NAME.vkey",
            keys.name
        );
        Err(Refusal::new(Reason::NotAdmitted, message))
    }
}

/// The parties as the newest leaf left them, for threads that verify signatures.
#[derive(Debug, Clone)]
pub(crate) struct SharedRegistry(Arc<RwLock<Arc<Registry>>>);

impl SharedRegistry {
    fn new(registry: Arc<Registry>) -> Self {
        Self(Arc::new(RwLock::new(registry)))
    }

    /// A snapshot. It may be a few leaves old, so the writer asks again.
    pub(crate) fn snapshot(&self) -> Arc<Registry> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, registry: &Arc<Registry>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(registry);
    }
}

/// A statement on its way to the writer.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) verified: VerifiedStatement,
    /// What is wrong with the artifacts that it names. Known before its turn, but other reasons
    /// come first.
    pub(crate) artifacts: Option<Refusal>,
}

/// Asks the state machine in log order. Owned by the writer.
#[derive(Debug)]
pub(crate) struct Gate {
    known: Known,
    registry: SharedRegistry,
    /// Told which artifacts stay, before anybody can learn that the statement is in the log.
    holdings: Arc<Holdings>,
    metrics: Metrics,
}

impl Gate {
    /// A gate that knows all of the log's leaves.
    pub(crate) fn new(known: Known, holdings: Arc<Holdings>, metrics: Metrics) -> Self {
        let registry = SharedRegistry::new(Arc::clone(known.state.registry()));
        metrics.open_exchanges(known.state.open_exchanges());
        Self { known, registry, holdings, metrics }
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn registry(&self) -> SharedRegistry {
        self.registry.clone()
    }
}

/// The exchanges that a statement moves if it is a tick.
pub(crate) fn moved_by(state: &State, statement: &Statement) -> Vec<StatementId> {
    match statement.predicate() {
        Predicate::Tick(tick) => state.moved_by(tick),
        _ => Vec::new(),
    }
}

/// `TICK_TOO_SOON` for a tick that would move no exchange: it would only make the log longer.
fn check_tick(statement: &Statement, moved: &[StatementId]) -> Result<(), Refusal> {
    match statement.predicate() {
        Predicate::Tick(_) if moved.is_empty() => {
            let message = "no open exchange waits for this head or for its time";
            Err(Refusal::new(Reason::TickTooSoon, message).at("/predicate/checkpoint"))
        }
        _ => Ok(()),
    }
}

/// The auditors of the exchange that a statement is in: they read what is sealed there.
pub(crate) fn auditors<'a>(
    state: &'a State,
    statement: &Statement,
) -> impl Iterator<Item = &'a KeyName> {
    let exchange = statement.common().exchange.and_then(|id| state.exchange(&id));
    let auditors = exchange.map(|view| view.agreement().auditors.iter());
    auditors.into_iter().flatten().map(|keys| &keys.name)
}

/// The writer's history as the state machine wants it. An unreadable history stops the writer
/// whatever the answer, so "no such head" is safe.
struct Roots<'a>(&'a dyn sequencer::History);

impl exchange::History for Roots<'_> {
    fn root(&self, size: u64) -> Option<Hash> {
        self.0.root_at(size).ok().flatten()
    }
}

impl Admission for Gate {
    type Content = Candidate;
    type Refused = Refusal;

    fn admit(
        &mut self,
        index: u64,
        entry: &Entry<Candidate>,
        history: &dyn sequencer::History,
    ) -> Result<(), Refusal> {
        let Candidate { verified, artifacts } = entry.content();
        let statement = verified.statement();
        let state = &mut self.known.state;
        let in_order = state.check(index, verified, &Roots(history));
        let moved = if in_order.is_ok() { moved_by(state, statement) } else { Vec::new() };
        let in_order = in_order.and_then(|()| check_tick(statement, &moved)).err();
        let refusals = [in_order, artifacts.clone()].into_iter().flatten();
        if let Some(refusal) = refusals.min_by_key(Refusal::reason) {
            return Err(refusal);
        }
        state.apply(index, verified);
        self.holdings.name(statement, auditors(state, statement));
        if matches!(statement.predicate(), Predicate::Party(_)) {
            self.registry.publish(state.registry());
        }
        self.known.follow(index, verified.id(), statement, &moved);
        self.metrics.open_exchanges(self.known.state.open_exchanges());
        Ok(())
    }
}
