//! The state machine: a pure function of the leaves.
//!
//! The single writer asks [`State::check`], which changes nothing, and after its decision to log
//! the statement calls [`State::apply`]. Whoever reads a log calls [`State::replay`] on each leaf,
//! which never stops. Both run the same rules, so two honest replays of one head never differ.

mod digest;
mod exchange;
mod exchanges;
mod prefixes;
mod replay;
mod scope;
mod standalone;
mod statements;

use std::sync::Arc;

use tlog::{EMPTY_ROOT, Hash, KeyName, SignedCheckpoint, TreeHead, VerifierKey};

pub use exchange::{
    AwaitedStep, Awaits, Breach, EndedExchange, ExchangeState, ExchangeView, Obligation,
    ObligationStage, RunEnd, RunView, Side, Status,
};
pub use prefixes::Prefixes;
pub use replay::Replayed;

use crate::predicate::{Predicate, Tick};
use crate::reason::{Reason, Refusal};
use crate::registry::{PartyNumber, Registry, VerifiedStatement};
use crate::statement::Statement;
use crate::values::StatementId;
use exchanges::Exchanges;
use scope::Scopes;
use standalone::Runs;
use statements::{Logged, Statements};

/// What the state must know of the tree: whether a head is one that this log went through.
pub trait History {
    /// The RFC 6962 root of the first `size` leaves. It must answer for every size up to the
    /// index of the leaf in question, also within a batch that is not durable yet; `None` is
    /// taken for "no such head".
    fn root(&self, size: u64) -> Option<Hash>;
}

/// Parties, numbers, runs, open exchanges: what later leaves depend on, and no more. A standalone statement takes
/// 56 bytes, an intent 32 more; with what trees leave free, 100,000 statements of which half are
/// intents were measured at 13 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    log: VerifierKey,
    /// Leaves so far, noise included: the index of the next one.
    size: u64,
    /// Shared, so that threads that verify signatures hold a snapshot for the price of a pointer.
    registry: Arc<Registry>,
    scopes: Scopes,
    statements: Statements,
    runs: Runs,
    exchanges: Exchanges,
}

impl State {
    /// The state of a log without leaves. The key (type 01) signs its checkpoints, and its name
    /// is the log's origin.
    pub fn new(log: VerifierKey) -> Self {
        let registry = Arc::new(Registry::new(log.name().clone()));
        Self {
            log,
            size: 0,
            registry,
            scopes: Scopes::default(),
            statements: Statements::default(),
            runs: Runs::default(),
            exchanges: Exchanges::default(),
        }
    }

    /// The log's origin.
    pub fn origin(&self) -> &KeyName {
        self.log.name()
    }

    /// How many leaves went into this state.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The parties, as a snapshot that can verify signatures on any thread.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The leaf that holds this statement, admitted or void.
    pub fn index_of(&self, id: &StatementId) -> Option<u64> {
        self.statements.index_of(id)
    }

    /// Number and id of the signer's last logged statement in an exchange, or outside of any: the
    /// next one needs a larger number, and this id as `previous`.
    pub fn last(
        &self,
        signer: &KeyName,
        exchange: Option<StatementId>,
    ) -> Option<(u64, StatementId)> {
        let party = self.registry.party(signer)?;
        self.scopes.last(party.number(), exchange)
    }

    /// The number of the signer's next standalone run.
    pub fn next_run(&self, signer: &KeyName) -> u64 {
        self.registry.party(signer).map_or(1, |party| self.runs.next(party.number()))
    }

    /// Whether the statement may become leaf `index`, which is the next one. Changes nothing; the
    /// first check that fails answers.
    pub fn check(
        &self,
        index: u64,
        verified: &VerifiedStatement,
        history: &dyn History,
    ) -> Result<(), Refusal> {
        debug_assert_eq!(index, self.size, "statements are checked in the order of the log");
        let statement = verified.statement();
        let signer = self.registry.party(&statement.common().signer).map(|party| party.number());

        self.registry.check_permission(verified)?;
        self.statements.check_new(verified.id())?;
        self.registry.check_name(statement)?;
        if Self::concerns_exchanges(statement) {
            return self.check_in_order(index, verified, signer, history);
        }
        self.check_conflicts(statement, signer)?;
        self.scopes.check(statement, signer)?;
        check_seen(index, statement, history)?;
        self.check_references(statement, signer)?;
        self.check_preconditions(statement, signer)?;
        if let Predicate::Tick(tick) = statement.predicate() {
            self.check_tick(index, tick, history)?;
        }
        self.check_limits(statement)
    }

    /// What the exchange decides and what every statement has to keep, by the order of reasons.
    fn check_in_order(
        &self,
        index: u64,
        verified: &VerifiedStatement,
        signer: Option<PartyNumber>,
        history: &dyn History,
    ) -> Result<(), Refusal> {
        let statement = verified.statement();
        let decided = self.check_exchange(verified.id(), statement);
        // A nonce is new in the whole log, whatever the exchange.
        let nonce = self.check_nonce(statement);
        let chain = match self.exchanges.is_over(statement.common().exchange) {
            // The chains of an exchange that is over are forgotten.
            true => Ok(()),
            false => self.scopes.check(statement, signer),
        };
        let seen = check_seen(index, statement, history);
        let refusals = [decided, nonce, chain, seen].into_iter().filter_map(Result::err);
        refusals.min_by_key(Refusal::reason).map_or(Ok(()), Err)
    }

    /// Makes the statement leaf `index`. It was [checked](Self::check) against this state.
    pub fn apply(&mut self, index: u64, verified: &VerifiedStatement) {
        debug_assert_eq!(index, self.size, "statements are applied in the order of the log");
        if let Predicate::Party(_) = verified.statement().predicate() {
            Arc::make_mut(&mut self.registry).apply(index, verified);
        }
        let common = verified.statement().common();
        if let Some(party) = self.registry.party(&common.signer).map(|party| party.number()) {
            self.scopes.record(verified.statement(), party, verified.id());
            self.record(index, verified, party);
            self.apply_to_exchanges(index, verified, party);
        }
        self.size = index + 1;
    }

    /// Makes leaf `index` one that counts for nothing but its number and its id.
    fn apply_void(&mut self, index: u64, statement: &Statement, id: StatementId, by: PartyNumber) {
        // Of an exchange that is over nothing is kept.
        if !self.exchanges.is_over(statement.common().exchange) {
            self.scopes.record(statement, by, id);
            self.statements.insert(id, index, Logged::Void);
            self.void_in_exchange(statement, id, by);
        }
        self.size = index + 1;
    }

    /// `TICK_NOT_PREFIX`, `TICK_NOT_SIGNED`.
    fn check_tick(&self, index: u64, tick: &Tick, history: &dyn History) -> Result<(), Refusal> {
        let head = tick.head();
        if head.size == 0 || !is_prefix(index, &head, history) {
            let message = format!("the checkpoint of size {} is no head of this log", head.size);
            let refusal = Refusal::new(Reason::TickNotPrefix, message);
            return Err(refusal.at("/predicate/checkpoint"));
        }
        SignedCheckpoint::open(tick.note().as_bytes(), &self.log).map_err(|error| {
            Refusal::new(Reason::TickNotSigned, error.to_string()).at("/predicate/checkpoint")
        })?;
        Ok(())
    }
}

/// `SEEN_NOT_PREFIX`: histories that forked can never be joined again.
fn check_seen(index: u64, statement: &Statement, history: &dyn History) -> Result<(), Refusal> {
    let seen = &statement.common().seen;
    if is_prefix(index, seen, history) {
        return Ok(());
    }
    let message = format!("the head of size {} is no head of this log", seen.size);
    Err(Refusal::new(Reason::SeenNotPrefix, message).at("/predicate/seen"))
}

/// True if the log went through this head before leaf `index`.
fn is_prefix(index: u64, head: &TreeHead, history: &dyn History) -> bool {
    match head.size {
        0 => head.root == EMPTY_ROOT,
        size if size > index => false,
        size => history.root(size) == Some(head.root),
    }
}
