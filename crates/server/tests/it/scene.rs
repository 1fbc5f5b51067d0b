//! A service over a store in memory. Here belongs what every test of a service needs.

use std::sync::Arc;

use exchange::{Envelope, Reason, Refusal, StatementId};
use sequencer::{Answer, ArtifactStore as _, Log, MemoryStore, Store, StoreReads as _};
use server::{Admitted, Service, Settings, Writer};
use tlog::{Hash, KeyKind, Receipt, SigningKey, TileKind, TilePath};

use crate::parties::{Recorded, Voice, seeded, withdrawal};

pub(crate) const NAMES: [&str; 3] = ["a.example", "b.example", "d.example"];

pub(crate) fn log_key() -> SigningKey {
    seeded("log.example/one", "log")
}

/// What a server allows that admits these tests' parties.
pub(crate) fn settings() -> Settings {
    let keys = NAMES.map(|name| Voice::key_of(name).verifier(KeyKind::Ed25519));
    Settings { admitted: Admitted::new(keys), ..Settings::default() }
}

/// A service over any store.
pub(crate) fn start<S: Store + Send + 'static>(store: S) -> (Arc<Service>, Writer) {
    let log = Log::create(store, log_key()).unwrap();
    Service::start(log, &log_key(), settings()).unwrap()
}

pub(crate) fn voice(name: &str) -> Voice {
    Voice::new(name, &log_key().verifier(KeyKind::Ed25519))
}

/// Appends what must be admitted; the receipt holds.
pub(crate) async fn append(service: &Arc<Service>, envelope: &Envelope) -> Answer {
    let answer = service.append(envelope.as_bytes()).await;
    let answer = answer.unwrap_or_else(|r| panic!("refused: {r}"));
    let key = log_key().verifier(KeyKind::Ed25519);
    let receipt = Receipt::new(answer.index, answer.proof.clone(), &answer.checkpoint).unwrap();
    let checkpoint = receipt.verify(envelope.as_bytes(), &key).unwrap();
    assert_eq!(*checkpoint.head(), answer.head);
    answer
}

/// How the writer ended. It does not end by itself.
pub(crate) async fn joined(writer: Writer) -> Result<(), sequencer::Fatal> {
    let (sender, joined) = tokio::sync::oneshot::channel();
    // Not on the runtime's threads, whose end the runtime would wait for.
    std::thread::spawn(move || sender.send(writer.join().unwrap()));
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, joined).await.expect("the writer ends").unwrap()
}

/// A log in which A has an ended and an open intent, and B is registered.
pub(crate) struct Scene {
    pub(crate) store: MemoryStore,
    pub(crate) service: Arc<Service>,
    pub(crate) writer: Writer,
    pub(crate) a: Voice,
    pub(crate) b: Voice,
    pub(crate) ended: StatementId,
    pub(crate) open: StatementId,
    pub(crate) open_nonce: [u8; 32],
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let store = MemoryStore::new();
        let (service, writer) = start(store.clone());
        let [mut a, mut b] = [voice(NAMES[0]), voice(NAMES[1])];
        append(&service, &a.register()).await;
        append(&service, &b.register()).await;
        let ended = a.intent();
        append(&service, &ended).await;
        append(&service, &a.say(withdrawal(ended.id()))).await;
        let open_nonce = a.next_intent().nonce;
        let open = a.intent();
        append(&service, &open).await;
        let (ended, open) = (ended.id(), open.id());
        Self { store, service, writer, a, b, ended, open, open_nonce }
    }

    /// A record of A's open run, with its vector stored.
    pub(crate) fn record(&self, seed: u8) -> Recorded {
        let record = Recorded::new(&self.a, self.open, &self.open_nonce, seed);
        self.store.put(&record.vector).unwrap();
        record
    }

    /// Everything that a refused statement must not change.
    pub(crate) fn trace(&self) -> Trace {
        let snapshot = self.service.reader().snapshot();
        let mut artifacts: Vec<_> =
            self.store.list().unwrap().into_iter().map(|stored| stored.digest).collect();
        artifacts.sort();
        let size = snapshot.size();
        let first = TilePath::new(TileKind::Entries, 0, size as u16).unwrap();
        Trace {
            checkpoint: snapshot.checkpoint().to_vec(),
            bundle: snapshot.tile(&first).unwrap().unwrap(),
            artifacts,
        }
    }

    /// Sends a leaf that must be refused by this reason.
    pub(crate) async fn refuses(&self, leaf: &[u8], reason: Reason) -> Refusal {
        let before = self.trace();
        let refusal = match self.service.append(leaf).await {
            Ok(answer) => panic!("{reason} was expected, but it is entry {}", answer.index),
            Err(refusal) => refusal,
        };
        assert_eq!(refusal.reason(), reason, "{refusal}");
        assert_eq!(self.trace(), before, "{refusal}");
        let hash = tlog::leaf_hash(leaf);
        let found = self.store.find_leaves(&[hash]).unwrap();
        let index = usize::try_from(self.service.reader().head().size).unwrap();
        assert!(found[0].is_none_or(|at| at < index as u64), "{refusal}");
        refusal
    }

    /// The next good statement is taken, and nothing stands between it and the last one.
    pub(crate) async fn still_takes_statements(mut self, refused: &[Hash]) {
        let size = self.service.reader().head().size;
        assert_eq!(append(&self.service, &self.a.intent()).await.index, size);
        let entries = self.service.reader().entries(0..size + 1).unwrap();
        let logged: Vec<_> = entries.map(|entry| tlog::leaf_hash(&entry.unwrap())).collect();
        assert!(refused.iter().all(|leaf| !logged.contains(leaf)));
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    checkpoint: Vec<u8>,
    bundle: Vec<u8>,
    artifacts: Vec<Hash>,
}
