//! The admission that the writer asks: the state machine, and what only this server demands.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use exchange::predicate::{self, Predicate};
use exchange::{Reason, Refusal, Registry, State, Statement, VerifiedStatement};
use sequencer::{Admission, Entry};
use tlog::{Hash, KeyName, PublicKey, VerifierKey};

use crate::holdings::Holdings;

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
    state: State,
    registry: SharedRegistry,
    /// Told which artifacts stay, before anybody can learn that the statement is in the log.
    holdings: Arc<Holdings>,
}

impl Gate {
    /// A gate in the state that the log's leaves lead to.
    pub(crate) fn new(state: State, holdings: Arc<Holdings>) -> Self {
        let registry = SharedRegistry::new(Arc::clone(state.registry()));
        Self { state, registry, holdings }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn registry(&self) -> SharedRegistry {
        self.registry.clone()
    }

    /// `TICK_TOO_SOON` for a tick that would move no exchange: it would only make the log longer.
    fn check_tick(&self, statement: &Statement) -> Result<(), Refusal> {
        match statement.predicate() {
            Predicate::Tick(tick) if !self.state.is_moved_by(tick) => {
                let message = "no open exchange waits for this head or for its time";
                Err(Refusal::new(Reason::TickTooSoon, message).at("/predicate/checkpoint"))
            }
            _ => Ok(()),
        }
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
        let in_order = self.state.check(index, verified, &Roots(history));
        let in_order = in_order.and_then(|()| self.check_tick(verified.statement())).err();
        let refusals = [in_order, artifacts.clone()].into_iter().flatten();
        if let Some(refusal) = refusals.min_by_key(Refusal::reason) {
            return Err(refusal);
        }
        self.state.apply(index, verified);
        self.holdings.name(verified.statement(), auditors(&self.state, verified.statement()));
        if matches!(verified.statement().predicate(), Predicate::Party(_)) {
            self.registry.publish(self.state.registry());
        }
        Ok(())
    }
}
