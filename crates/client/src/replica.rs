//! A party's own replay of a log: every leaf fetched, hashed to the signed root, and taken through
//! the state machine. Nobody takes a server's word for where an exchange stands.

use std::collections::BTreeMap;

use bytes::Bytes;
use exchange::predicate::{Agreement, Predicate};
use exchange::{
    EndedExchange, Envelope, ExchangeView, History as _, Prefixes, Refusal, Replayed,
    SignedStatement, State, Statement, StatementId,
};
use tlog::{Hash, KeyName, TreeHead, VerifierKey};

use crate::connection::{CallError, Connection, FalseAnswer};

/// A log as this machine has replayed it. It is kept in memory whole.
#[derive(Debug)]
pub struct Replica {
    state: State,
    prefixes: Prefixes,
    leaves: Vec<Leaf>,
    by_id: BTreeMap<StatementId, u64>,
    ended: BTreeMap<StatementId, EndedExchange>,
    faults: Vec<(u64, Refusal)>,
}

#[derive(Debug)]
struct Leaf {
    bytes: Bytes,
    /// The exchange that it belongs to; of an agreement its own id.
    exchange: Option<StatementId>,
    applied: bool,
}

/// A statement that counts, with its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Which leaf.
    pub index: u64,
    /// The statement and its envelope.
    pub signed: SignedStatement,
}

impl Placed {
    /// What it says.
    pub fn statement(&self) -> &Statement {
        self.signed.statement()
    }

    /// Its id.
    pub fn id(&self) -> StatementId {
        self.signed.id()
    }
}

/// Where an exchange stands.
#[derive(Debug, Clone, Copy)]
pub enum Standing<'a> {
    /// It goes on.
    Open(ExchangeView<'a>),
    /// It is over.
    Over(&'a EndedExchange),
}

impl Replica {
    /// Of a log without leaves.
    pub fn new(log: VerifierKey) -> Self {
        Self {
            state: State::new(log),
            prefixes: Prefixes::new(),
            leaves: Vec::new(),
            by_id: BTreeMap::new(),
            ended: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// The log up to its newest head, which the connection verifies and trusts from then on.
    pub async fn of(connection: &mut Connection) -> Result<Self, CallError> {
        let mut replica = Self::new(connection.key().clone());
        replica.advance(connection).await?;
        Ok(replica)
    }

    /// Fetches what is new, up to the newest head, and replays it. Nothing is taken in unless all
    /// of it hashes to the signed root. Returns the index of the first new leaf.
    pub async fn advance(&mut self, connection: &mut Connection) -> Result<u64, CallError> {
        connection.refresh().await?;
        self.catch_up(connection).await
    }

    /// As [`advance`](Self::advance), up to the head that the connection trusts already.
    pub async fn catch_up(&mut self, connection: &mut Connection) -> Result<u64, CallError> {
        let head = *connection.trusted().head();
        let first = self.size();
        let mut new = Vec::new();
        while first + (new.len() as u64) < head.size {
            let page = connection.entries(first + new.len() as u64).await?;
            if page.is_empty() {
                return Err(FalseAnswer::Malformed("entries below its own head are missing").into());
            }
            new.extend(page);
        }
        self.take(&new, &head)?;
        Ok(first)
    }

    /// Replays further leaves, which must lead to `head`.
    pub fn take(&mut self, new: &[Bytes], head: &TreeHead) -> Result<(), FalseAnswer> {
        let mut prefixes = self.prefixes.clone();
        new.iter().for_each(|leaf| prefixes.push(leaf));
        if prefixes.head() != *head {
            return Err(FalseAnswer::Entries { size: head.size });
        }
        self.prefixes = prefixes;
        for bytes in new {
            self.replay(bytes);
        }
        Ok(())
    }

    fn replay(&mut self, bytes: &Bytes) {
        let index = self.size();
        let applied = match self.state.replay(index, bytes, &self.prefixes) {
            Replayed::Applied => true,
            Replayed::Void(refusal) | Replayed::Noise(refusal) => {
                self.faults.push((index, refusal));
                false
            }
        };
        for ended in self.state.take_ended() {
            self.ended.insert(ended.id, ended);
        }
        let parsed = Envelope::parse(bytes)
            .and_then(|envelope| Ok((envelope.id(), Statement::parse(envelope.payload())?)))
            .ok();
        let exchange = parsed.as_ref().and_then(|(id, statement)| match statement.predicate() {
            Predicate::Agreement(_) => Some(*id),
            _ => statement.common().exchange,
        });
        if let Some((id, _)) = parsed {
            self.by_id.entry(id).or_insert(index);
        }
        self.leaves.push(Leaf { bytes: bytes.clone(), exchange, applied });
    }

    /// How many leaves were replayed.
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Size and root of what was replayed.
    pub fn head(&self) -> TreeHead {
        self.prefixes.head()
    }

    /// The root of the first `size` leaves.
    pub fn root(&self, size: u64) -> Option<Hash> {
        self.prefixes.root(size)
    }

    /// The state that the leaves lead to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Leaves that stand in the log and count for nothing, which an honest log does not have.
    pub fn faults(&self) -> &[(u64, Refusal)] {
        &self.faults
    }

    /// The leaf, if its statement counts.
    pub fn at(&self, index: u64) -> Option<Placed> {
        let leaf = self.leaves.get(usize::try_from(index).ok()?)?;
        let signed = leaf.applied.then(|| SignedStatement::parse(&leaf.bytes).ok())??;
        Some(Placed { index, signed })
    }

    /// The statement, if it is in the log and counts.
    pub fn statement(&self, id: &StatementId) -> Option<Placed> {
        self.at(*self.by_id.get(id)?)
    }

    /// All statements of an exchange that count, its agreement first.
    pub fn of_exchange(&self, exchange: &StatementId) -> impl Iterator<Item = Placed> {
        let exchange = *exchange;
        let leaves = (0..).zip(&self.leaves);
        leaves
            .filter(move |(_, leaf)| leaf.exchange == Some(exchange))
            .filter_map(|(index, _)| self.at(index))
    }

    /// Every agreement that was proposed in this log, with its terms.
    pub fn agreements(&self) -> impl Iterator<Item = (StatementId, Box<Agreement>)> {
        (0..self.size()).filter_map(|index| {
            let leaf = &self.leaves[usize::try_from(index).ok()?];
            // Only an agreement is in the exchange of its own name.
            let exchange = leaf.exchange.filter(|id| self.by_id.get(id) == Some(&index))?;
            match self.at(index)?.statement().predicate() {
                Predicate::Agreement(agreement) => Some((exchange, agreement.clone())),
                _ => None,
            }
        })
    }

    /// Agreements in which this party or auditor has a part.
    pub fn agreements_of(&self, member: &KeyName) -> Vec<(StatementId, Box<Agreement>)> {
        let has_part = |agreement: &Agreement| {
            agreement.party(member).is_some() || agreement.is_auditor(member)
        };
        self.agreements().filter(|(_, agreement)| has_part(agreement)).collect()
    }

    /// The terms of an agreement as it was proposed.
    pub fn agreement(&self, id: &StatementId) -> Option<Box<Agreement>> {
        match self.statement(id)?.statement().predicate() {
            Predicate::Agreement(agreement) => Some(agreement.clone()),
            _ => None,
        }
    }

    /// Where an exchange stands; `None` if this log has no such agreement.
    pub fn standing(&self, id: &StatementId) -> Option<Standing<'_>> {
        let over = || self.ended.get(id).map(Standing::Over);
        self.state.exchange(id).map(Standing::Open).or_else(over)
    }
}
