//! The exchanges of a log: open ones whole, those that are over as an id and a digest.

use std::collections::BTreeMap;
use std::ops::Bound;

use tlog::KeyName;

use super::State;
use super::exchange::{
    Awaited, Clocks, Ended, EndedExchange, Exchange, ExchangeState, ExchangeView, Surroundings,
    check_embedded_keys,
};
use crate::predicate::{Agreement, Kind, Predicate, Stamp, Tick};
use crate::reason::{Reason, Refusal};
use crate::registry::{PartyNumber, VerifiedStatement};
use crate::statement::Statement;
use crate::values::StatementId;

/// Open exchanges, ended ones, and the clocks that move them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Exchanges {
    open: BTreeMap<StatementId, Box<Exchange>>,
    over: BTreeMap<StatementId, Ended>,
    clocks: Clocks,
    /// Stamps for statements that are not in the log, by statement; the log has taken them.
    stamps: BTreeMap<StatementId, Vec<Stamp>>,
    /// What ended since somebody last asked. Not part of the state: equal states may differ here.
    ended: Unasked,
}

/// Reports that wait to be taken. All are equal, so that a reader who takes them and one who
/// doesn't hold equal states.
#[derive(Debug, Clone, Default)]
struct Unasked(Vec<EndedExchange>);

impl PartialEq for Unasked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Unasked {}

/// Reports kept for a reader who never takes any: the oldest are dropped.
const MAX_UNASKED: usize = 1024;

impl Exchanges {
    pub(super) fn open(&self) -> impl Iterator<Item = &Exchange> {
        self.open.values().map(Box::as_ref)
    }

    pub(super) fn over(&self) -> impl ExactSizeIterator<Item = (&StatementId, &Ended)> {
        self.over.iter()
    }

    pub(super) fn stamps(&self) -> impl ExactSizeIterator<Item = (&StatementId, &Vec<Stamp>)> {
        self.stamps.iter()
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// True if statements of this exchange end no chain any more.
    pub(super) fn is_over(&self, exchange: Option<StatementId>) -> bool {
        exchange.is_some_and(|id| self.over.contains_key(&id))
    }

    fn wait(&mut self, id: StatementId) {
        let Self { open, clocks, .. } = self;
        let Some(exchange) = open.get_mut(&id) else { return };
        let Some(clock) = clocks.get(exchange.clock()) else { return };
        let now = exchange.now(clock);
        let change = exchange.renew_wait(now);
        clocks.wait(exchange.clock(), id, change);
    }
}

impl State {
    /// What the exchange has to say about a statement that names one, or about an agreement. The
    /// refusal of the smallest reason.
    pub(super) fn check_exchange(
        &self,
        id: StatementId,
        statement: &Statement,
    ) -> Result<(), Refusal> {
        if let Predicate::Agreement(agreement) = statement.predicate() {
            return check_embedded_keys(agreement, &self.registry);
        }
        let Some(exchange) = statement.common().exchange else { return Ok(()) };
        if let Some(ended) = self.exchanges.over.get(&exchange) {
            let message = format!("the exchange is {}", ended.state);
            let refusal = Refusal::new(Reason::ExchangeFinal, message).at("/predicate/exchange");
            return Err(refusal.with("state", ended.state));
        }
        let Some(open) = self.exchanges.open.get(&exchange) else {
            let message = "no agreement of this id is in this log";
            let refusal = Refusal::new(Reason::UnknownExchange, message);
            return Err(refusal.at("/predicate/exchange"));
        };
        let Some(clock) = self.exchanges.clocks.get(open.clock()) else { return Ok(()) };
        let around =
            Surroundings { registry: &self.registry, clock, stamps: &self.exchanges.stamps };
        open.check(id, statement, around)
    }

    /// What the exchange, or the registered keys, have to say about a statement that is not signed
    /// yet. A party asks this of its own replay first, since a signed number is burnt: whatever no
    /// rule allows is then neither built nor sent.
    pub fn check_unsigned(&self, statement: &Statement) -> Result<(), Refusal> {
        self.check_exchange(StatementId::of(&statement.to_payload()), statement)
    }

    /// Takes an admitted statement where it concerns exchanges.
    pub(super) fn apply_to_exchanges(
        &mut self,
        index: u64,
        verified: &VerifiedStatement,
        by: PartyNumber,
    ) {
        let (id, statement) = (verified.id(), verified.statement());
        self.exchanges.stamps.remove(&id);
        match statement.predicate() {
            Predicate::Agreement(agreement) => self.propose(index, id, agreement, by),
            Predicate::Tick(tick) => self.tick(index, tick),
            Predicate::Stamp(stamped) if self.index_of(&stamped.statement).is_none() => {
                let stamps = self.exchanges.stamps.entry(stamped.statement).or_default();
                stamps.extend(stamped.stamps.iter().cloned());
            }
            _ => {}
        }
        let Some(exchange) = statement.common().exchange else { return };
        if let Some(open) = self.exchanges.open.get_mut(&exchange) {
            open.apply(index, id, statement);
            open.remember(id, by);
            self.exchanges.wait(exchange);
        }
    }

    /// A statement that counts for nothing is forgotten with its exchange, too.
    pub(super) fn void_in_exchange(
        &mut self,
        statement: &Statement,
        id: StatementId,
        by: PartyNumber,
    ) {
        let exchange = statement.common().exchange;
        if let Some(open) = exchange.and_then(|id| self.exchanges.open.get_mut(&id)) {
            open.remember(id, by);
        }
    }

    fn propose(&mut self, index: u64, id: StatementId, agreement: &Agreement, by: PartyNumber) {
        let Some(clock_name) = self.exchanges.clocks.join(agreement) else { return };
        let witnesses = agreement.parties.iter().filter_map(|member| member.witness.as_ref());
        let clock = self.exchanges.clocks.get(&clock_name);
        let neutral = clock.is_some_and(|clock| clock.is_without(witnesses));
        let origin = self.origin().clone();
        let mut exchange =
            Exchange::new((id, index), origin, agreement.clone(), clock_name, neutral);
        exchange.remember(id, by);
        self.exchanges.open.insert(id, Box::new(exchange));
        self.exchanges.wait(id);
    }

    fn tick(&mut self, index: u64, tick: &Tick) {
        for (counted, moved) in self.exchanges.clocks.tick(index, tick) {
            for id in moved {
                let Exchanges { open, clocks, .. } = &mut self.exchanges;
                let Some(exchange) = open.get_mut(&id) else { continue };
                let Some(now) = clocks.get(exchange.clock()).map(|clock| exchange.now(clock))
                else {
                    continue;
                };
                exchange.tick(&counted, now);
                if exchange.state().is_final() {
                    self.end(index, id, now);
                } else {
                    self.exchanges.wait(id);
                }
            }
        }
    }

    /// Drops an exchange that is over.
    fn end(&mut self, index: u64, id: StatementId, now: u64) {
        let Some(exchange) = self.exchanges.open.remove(&id) else { return };
        let report = EndedExchange::of(&exchange, index, now);
        let ended = Ended { state: report.state, digest: report.digest() };
        self.exchanges.over.insert(id, ended);
        self.exchanges.clocks.leave(exchange.clock(), id, exchange.awaited());
        self.statements.forget(exchange.statements());
        self.scopes.forget(exchange.signers(), id);
        let unasked = &mut self.exchanges.ended.0;
        unasked.push(report);
        if unasked.len() > MAX_UNASKED {
            unasked.remove(0);
        }
    }

    /// The open exchange of this id.
    pub fn exchange(&self, id: &StatementId) -> Option<ExchangeView<'_>> {
        self.exchanges.open.get(id).map(|exchange| self.view(exchange))
    }

    /// All open exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = ExchangeView<'_>> {
        self.exchanges.open().map(|exchange| self.view(exchange))
    }

    /// Open exchanges in the order of their ids: those after this one.
    pub fn exchanges_after(
        &self,
        after: Option<StatementId>,
    ) -> impl Iterator<Item = ExchangeView<'_>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.exchanges.open.range((from, Bound::Unbounded));
        rest.map(|(_, exchange)| self.view(exchange))
    }

    /// How many exchanges are open.
    pub fn open_exchanges(&self) -> usize {
        self.exchanges.count()
    }

    fn view<'a>(&'a self, exchange: &'a Exchange) -> ExchangeView<'a> {
        let clock = self.exchanges.clocks.get(exchange.clock());
        ExchangeView::new(exchange, clock.map_or(0, |clock| exchange.now(clock)))
    }

    /// The state in which an exchange ended, if it is over.
    pub fn ended_in(&self, id: &StatementId) -> Option<ExchangeState> {
        self.exchanges.over.get(id).map(|ended| ended.state)
    }

    /// What ended since this was last called, at most the last 1,024. They are dropped from the
    /// state, so whoever wants to know what became of an exchange takes them as it replays.
    pub fn take_ended(&mut self) -> Vec<EndedExchange> {
        std::mem::take(&mut self.exchanges.ended.0)
    }

    /// True if this tick would move an open exchange. A server takes no others
    /// (`TICK_TOO_SOON`), nor makes any.
    pub fn is_moved_by(&self, tick: &Tick) -> bool {
        !self.moved_by(tick).is_empty()
    }

    /// The open exchanges that this tick would move.
    pub fn moved_by(&self, tick: &Tick) -> Vec<StatementId> {
        self.exchanges.clocks.would_move(tick)
    }

    /// True if a tick of this time over a checkpoint of this size could move an open exchange:
    /// asked before there is one.
    pub fn awaits_tick(&self, time: u64, size: u64) -> bool {
        self.exchanges.clocks.awaited().any(|awaited: Awaited| {
            awaited.time.is_some_and(|wanted| wanted < time)
                || awaited.index.is_some_and(|index| index < size)
        })
    }

    /// True for a kind that this log's exchanges or their agreements decide about.
    pub(super) fn concerns_exchanges(statement: &Statement) -> bool {
        statement.common().exchange.is_some() || statement.kind() == Kind::Agreement
    }

    /// Who may read what is sealed to `reader` in an exchange: both parties and the auditors are
    /// members of it.
    pub fn is_member(&self, exchange: &StatementId, name: &KeyName) -> bool {
        self.exchange(exchange).is_some_and(|view| view.is_member(name))
    }
}
