//! Leaves into the state machine.

use std::collections::BTreeMap;

use exchange::predicate::Predicate;
use exchange::{History, Replayed, SignedStatement, State, Statement, StatementId, artifacts};
use tlog::{CompactRange, Hash, MemoryNodes, VerifierKey, compact_range_at, root_at};

/// Everything that follows from the entries so far. The tree may be ahead of the state: its leaves
/// hash to a signed head, while the state has only those that were verified.
pub(crate) struct Replay {
    state: State,
    nodes: MemoryNodes,
    /// Of intents without an evaluation: the context of one depends on it.
    nonces: BTreeMap<StatementId, [u8; 32]>,
}

/// Heads that statements have seen.
struct Heads<'a>(&'a MemoryNodes);

impl History for Heads<'_> {
    fn root(&self, size: u64) -> Option<Hash> {
        if size > self.0.size() {
            return None;
        }
        let Ok(root) = root_at(self.0, size);
        Some(root)
    }
}

/// A statement with artifacts that are to be looked at.
pub(crate) struct Named {
    pub(crate) index: u64,
    pub(crate) statement: Statement,
    /// The nonce of the intent that an evaluation ends.
    pub(crate) nonce: Option<[u8; 32]>,
}

impl Replay {
    pub(crate) fn new(log: VerifierKey) -> Self {
        let nonces = BTreeMap::new();
        Self { state: State::new(log), nodes: MemoryNodes::new(), nonces }
    }

    /// How many entries are in the state.
    pub(crate) fn size(&self) -> u64 {
        self.state.size()
    }

    pub(crate) fn nodes(&self) -> &MemoryNodes {
        &self.nodes
    }

    /// The root of the first `size` entries, if so many are here.
    pub(crate) fn root(&self, size: u64) -> Option<Hash> {
        Heads(&self.nodes).root(size)
    }

    /// The tree of all entries that are here.
    pub(crate) fn tree(&self) -> CompactRange {
        let Ok(tree) = compact_range_at(&self.nodes, self.nodes.size());
        tree
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Leaves of a signed head.
    pub(crate) fn grow(&mut self, leaves: impl IntoIterator<Item = Hash>) {
        leaves.into_iter().for_each(|leaf| self.nodes.append(leaf));
    }

    /// Takes further entries; `odd` gets those that no honest server admits. What comes back are
    /// the statements that name artifacts.
    pub(crate) fn take(
        &mut self,
        entries: &[Vec<u8>],
        mut odd: impl FnMut(u64, Replayed, &[u8]),
    ) -> Vec<Named> {
        let first = self.state.size();
        let mut named = Vec::new();
        let Self { state, nodes, nonces } = self;
        state.replay_all(first, entries, &Heads(nodes), |index, replayed, signed| match signed {
            Some(signed) => named.extend(Named::of(index, signed, nonces)),
            None => {
                let at = usize::try_from(index - first).unwrap_or_default();
                odd(index, replayed, &entries[at]);
            }
        });
        named
    }
}

impl Named {
    /// What must be looked at of a statement that holds, if anything.
    fn of(
        index: u64,
        signed: &SignedStatement,
        nonces: &mut BTreeMap<StatementId, [u8; 32]>,
    ) -> Option<Self> {
        let statement = signed.statement();
        let nonce = match statement.predicate() {
            Predicate::Intent(intent) => {
                nonces.insert(signed.id(), intent.nonce);
                None
            }
            Predicate::Withdrawal(withdrawal) => {
                nonces.remove(&withdrawal.intent);
                None
            }
            Predicate::Evaluation(evaluation) => nonces.remove(&evaluation.intent),
            _ => None,
        };
        let names = !artifacts(statement).is_empty();
        names.then(|| Self { index, statement: statement.clone(), nonce })
    }
}
