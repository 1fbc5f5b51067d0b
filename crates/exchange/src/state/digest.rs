//! One hash for a whole state, so that two replays can be compared by 32 bytes.

use sha2::{Digest as _, Sha256};
use tlog::Hash;

use super::State;
use super::statements::Logged;
use crate::bytes::label;
use crate::registry::{Party, Standing};
use crate::values::StatementId;

impl State {
    /// SHA-256 over everything that this state holds, in a fixed order. For comparing replays by
    /// one version of this program; not part of the protocol.
    pub fn digest(&self) -> Hash {
        let mut out = Canonical::new("state");
        out.text(&self.log.to_string());
        out.number(self.size);

        out.count(self.registry.parties().count());
        self.registry.parties().for_each(|party| out.party(party));

        out.count(self.scopes.iter().len());
        for ((party, exchange), last) in self.scopes.iter() {
            out.number(u64::from(party.get()));
            out.id(&exchange.unwrap_or(StatementId::ZERO));
            out.number(last.number);
            out.id(&last.id);
        }

        out.count(self.statements.iter().len());
        for (id, (index, logged)) in self.statements.iter() {
            out.id(id);
            out.number(*index);
            out.logged(*logged);
        }

        out.count(self.runs.nonces().len());
        self.runs.nonces().for_each(|nonce| out.0.update(nonce));
        out.count(self.runs.announced().len());
        for (party, runs) in self.runs.announced() {
            out.number(u64::from(party.get()));
            out.number(*runs);
        }
        out.count(self.exchanges.count());
        self.exchanges.open().for_each(|exchange| exchange.write(&mut out));
        out.count(self.exchanges.over().len());
        for (id, ended) in self.exchanges.over() {
            out.id(id);
            out.text(ended.state.as_str());
            out.0.update(ended.digest.as_bytes());
        }
        out.count(self.exchanges.stamps().len());
        for (id, stamps) in self.exchanges.stamps() {
            out.id(id);
            out.count(stamps.len());
            for stamp in stamps {
                out.text(&stamp.keyid.to_string());
                out.number(stamp.time);
                out.0.update(stamp.signature);
            }
        }
        out.finish()
    }
}

/// Writes values so that no two states write the same bytes: fixed lengths, or lengths first.
pub(super) struct Canonical(Sha256);

impl Canonical {
    pub(super) fn new(name: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(label(name));
        Self(sha)
    }

    pub(super) fn finish(self) -> Hash {
        Hash::new(self.0.finalize().into())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    /// A number that may be missing.
    pub(super) fn maybe(&mut self, number: Option<u64>) {
        self.count(usize::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn id(&mut self, id: &StatementId) {
        self.0.update(id.as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text);
    }

    fn party(&mut self, party: &Party) {
        self.text(party.name().as_str());
        self.number(u64::from(party.number().get()));
        self.0.update(party.recovery().as_bytes());
        self.number(u64::from(party.sealing().suite()));
        self.0.update(party.sealing().as_bytes());
        self.count(party.keys().len());
        for held in party.keys() {
            self.0.update(held.public.as_bytes());
            self.number(match held.standing {
                Standing::Current => 0,
                Standing::Rotated => 1,
                Standing::Revoked => 2,
            });
            self.number(held.since);
        }
    }

    fn logged(&mut self, logged: Logged) {
        let (tag, by, value) = match logged {
            Logged::Void => (0, 0, 0),
            Logged::Other => (1, 0, 0),
            Logged::Intent { by, open } => (2, by.get(), u32::from(open)),
            Logged::Record { by, items } => (3, by.get(), items),
        };
        for number in [tag, by, value] {
            self.number(u64::from(number));
        }
    }
}
