//! Two parties and an auditor in an exchange on a service, at times that the test chooses. Here
//! belongs what every test of an exchange needs.

use std::sync::Arc;

use exchange::predicate::{Agreement, Predicate, RevealContent, SealedEnvelope};
use exchange::{Envelope, StatementId};
use sequencer::{ArtifactStore as _, MemoryStore};
use server::Service;
use tlog::KeyKind;

use crate::exchanging::{
    accepts, agreement, clock, envelope, policy, reveals, run, schedule, tick,
};
use crate::parties::{Recorded, Voice};
use crate::scene::{NAMES, append, log_key, start, voice};

pub(crate) const ACCEPT_BY: u64 = 1_900_000_000;
pub(crate) const COMMIT_BY: u64 = 1_900_010_000;
pub(crate) const REVEAL_BY: u64 = 1_900_020_000;
pub(crate) const STEP: u64 = 100;

pub(crate) struct Pair {
    pub(crate) store: MemoryStore,
    pub(crate) service: Arc<Service>,
    /// Until the service is served.
    pub(crate) writer: Option<server::Writer>,
    /// The agreement.
    pub(crate) id: StatementId,
    /// The parties and the auditor under it.
    pub(crate) a: Voice,
    pub(crate) b: Voice,
    pub(crate) auditor: Voice,
    /// The auditor outside of it: it logs the ticks.
    pub(crate) outside: Voice,
    pub(crate) records: Vec<(StatementId, Recorded)>,
}

/// What these tests agree on.
pub(crate) fn usual(parties: [&Voice; 2], auditor: &Voice) -> Agreement {
    let policy = (policy(&log_key().verifier(KeyKind::Ed25519)), "clock");
    let schedule = schedule([ACCEPT_BY, COMMIT_BY, REVEAL_BY], STEP);
    agreement(parties, &[auditor], policy, schedule)
}

impl Pair {
    /// Proposed, after a change of the usual agreement.
    pub(crate) async fn proposed(change: impl FnOnce(&mut Agreement)) -> Self {
        let store = MemoryStore::new();
        let (service, writer) = start(store.clone());
        let [mut a, mut b, mut outside] = NAMES.map(voice);
        for party in [&mut a, &mut b, &mut outside] {
            append(&service, &party.register()).await;
        }
        let mut terms = usual([&a, &b], &outside);
        change(&mut terms);
        let proposal = a.say(Predicate::Agreement(Box::new(terms)));
        append(&service, &proposal).await;
        let id = proposal.id();
        let [a, b, auditor] = [&a, &b, &outside].map(|party| party.under(id));
        let records = Vec::new();
        Self { store, service, writer: Some(writer), id, a, b, auditor, outside, records }
    }

    /// Accepted.
    pub(crate) async fn agreed(change: impl FnOnce(&mut Agreement)) -> Self {
        let mut pair = Self::proposed(change).await;
        let accept = pair.b.say(accepts(pair.id));
        append(&pair.service, &accept).await;
        pair
    }

    /// Both have a record, and neither is covered by a tick.
    pub(crate) async fn recorded() -> Self {
        let mut pair = Self::agreed(|_| ()).await;
        for (seed, party) in [(1, &mut pair.a), (2, &mut pair.b)] {
            let (intent, record, evaluation) = run(party, seed);
            append(&pair.service, &intent).await;
            pair.store.put(&record.vector).unwrap();
            append(&pair.service, &evaluation).await;
            pair.records.push((evaluation.id(), record));
        }
        pair
    }

    /// Both are bound.
    pub(crate) async fn committed() -> Self {
        let mut pair = Self::recorded().await;
        pair.tick(ACCEPT_BY + 1).await;
        pair
    }

    /// A tick over the newest checkpoint, at this time by the test's own witness.
    pub(crate) fn next_tick(&self, time: u64) -> Predicate {
        let log = log_key().verifier(KeyKind::Ed25519);
        tick(&self.service.reader().checkpoint(), &log, &clock(), time)
    }

    pub(crate) async fn tick(&mut self, time: u64) {
        let said = self.outside.say(self.next_tick(time));
        append(&self.service, &said).await;
    }

    /// A's record.
    pub(crate) fn record(&self) -> StatementId {
        self.records[0].0
    }

    /// A's envelope to B about its record, stored, and the reveal of totals that names it.
    pub(crate) fn sealed_totals(&self) -> (SealedEnvelope, Vec<u8>, Predicate) {
        let (sealed, bytes) = envelope(&self.a, self.record(), &self.b, 1 << 10);
        self.store.put(&bytes).unwrap();
        let said = self.totals_in(&sealed);
        (sealed, bytes, said)
    }

    pub(crate) fn totals_in(&self, sealed: &SealedEnvelope) -> Predicate {
        let content = RevealContent::Envelope(sealed.clone());
        reveals(self.record(), Some("totals"), content)
    }

    /// What must be admitted, of A.
    pub(crate) async fn a_says(&mut self, predicate: Predicate) -> Envelope {
        let said = self.a.say(predicate);
        append(&self.service, &said).await;
        said
    }
}
