//! When storage fails, is slow or is gone: callers are told, nothing that was not promised is
//! promised, and what was promised stands.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use exchange::Reason;
use sequencer::fault::{Failpoints, Fault, Faulty};
use sequencer::{
    ArtifactStore, Claim, Commit, Depth, Limits, Log, MemoryStore, StagedBatch, Store, StoreError,
    StoreReads,
};
use server::{Condition, Listeners, ServeError, Service};
use tlog::TilePath;
use tokio::net::TcpListener;
use tokio::sync::watch;
use transport::Transport;

use crate::scene::{NAMES, append, joined, log_key, settings, start, voice};

/// A store whose commits wait until they are let through, one by one.
struct Slow {
    store: MemoryStore,
    /// Says that a commit has come.
    begun: mpsc::Sender<usize>,
    /// Lets one through; gone, it lets all through.
    gate: mpsc::Receiver<()>,
}

impl Store for Slow {
    fn reads(&self) -> Arc<dyn StoreReads> {
        self.store.reads()
    }

    fn artifacts(&self) -> Arc<dyn ArtifactStore> {
        self.store.artifacts()
    }

    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.store.create(checkpoint)
    }

    fn claim(&mut self) -> Result<Claim, StoreError> {
        self.store.claim()
    }

    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        self.store.staged()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let _ = self.begun.send(commit.leaves.len());
        let _ = self.gate.recv();
        self.store.commit(commit)
    }

    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put_tile(path, bytes)
    }

    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        self.store.unstage(boundary)
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() {
    let (begun, commits) = mpsc::channel();
    let (let_through, gate) = mpsc::channel();
    let store = Slow { store: MemoryStore::new(), begun, gate };
    let mut settings = settings();
    settings.limits = Limits { queue: Depth { entries: 2, bytes: 1 << 20 }, ..Limits::default() };
    let log = Log::create(store, log_key()).unwrap();
    let (service, _writer) = Service::start(log, &log_key(), settings).unwrap();

    let mut a = voice(NAMES[0]);
    let registration = service.enqueue(a.register().as_bytes()).await.unwrap();
    assert_eq!(commits.recv().unwrap(), 1);
    let_through.send(()).unwrap();
    registration.wait().await.unwrap();

    // One is at the writer, two wait, the fourth has no place.
    let first = service.enqueue(a.intent().as_bytes()).await.unwrap();
    assert_eq!(commits.recv().unwrap(), 1);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(service.enqueue(a.intent().as_bytes()).await.unwrap());
    }
    let late = a.intent();
    let refusal = service.enqueue(late.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::QueueFull);
    assert!(refusal.reason().is_local());
    assert_eq!(service.reader().head().size, 1, "nothing is published before it is durable");

    drop(let_through);
    assert_eq!(first.wait().await.unwrap().index, 1);
    for (index, queued) in (2..).zip(waiting) {
        assert_eq!(queued.wait().await.unwrap().index, index);
    }
    assert_eq!(append(&service, &late).await.index, 4, "the same envelope is taken now");
}

#[tokio::test]
async fn what_is_queued_when_the_service_stops_is_answered_and_nothing_more_is_taken() {
    let (begun, commits) = mpsc::channel();
    let (let_through, gate) = mpsc::channel();
    let (service, writer) = start(Slow { store: MemoryStore::new(), begun, gate });
    let mut a = voice(NAMES[0]);
    let registration = a.register();
    let mut queued = vec![service.enqueue(registration.as_bytes()).await.unwrap()];
    commits.recv().unwrap();
    service.stop();
    assert_eq!(service.state(), Condition::Draining);
    let late = service.enqueue(voice(NAMES[1]).register().as_bytes()).await;
    assert_eq!(late.unwrap_err().reason(), Reason::Stopping);

    drop(let_through);
    let answer = queued.remove(0).wait().await.unwrap();
    assert_eq!(answer.index, 0);
    joined(writer).await.unwrap();
    // Reads go on, and an envelope that the log has is still answered.
    assert_eq!(service.reader().head().size, 1);
    assert!(service.append(registration.as_bytes()).await.unwrap().duplicate);
}

/// A plan that strikes once at this place, after so many passes.
fn strike(place: &'static str, after: usize, fault: Fault) -> Failpoints {
    let mut passed = 0;
    Failpoints::new(move |at| {
        passed += usize::from(at == place);
        (at == place && passed == after + 1).then_some(fault)
    })
}

#[tokio::test]
async fn after_a_failed_commit_nobody_is_promised_anything() {
    for (place, logged) in [("before:commit", false), ("after:commit", true)] {
        let disk = MemoryStore::new();
        let store = Faulty::new(disk.clone(), strike(place, 1, Fault::Fail));
        let (service, writer) = start(store);
        let mut a = voice(NAMES[0]);
        append(&service, &a.register()).await;
        let head = service.reader().head();
        let intent = a.intent();
        let refusal = service.append(intent.as_bytes()).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::Stopping, "{place}");
        let again = service.append(intent.as_bytes()).await;
        // Durable or not, it is answered by nobody but a log opened anew.
        assert_eq!(again.unwrap_err().reason(), Reason::Stopping, "{place}");
        assert_eq!(service.reader().head(), head, "{place}: no head that may be wrong is shown");
        assert!(joined(writer).await.is_err(), "{place}");
        drop(service);

        // Opened again, the log has what was durable, and takes the same bytes.
        let log = Log::open(disk, log_key()).unwrap();
        let (service, _writer) = Service::start(log, &log_key(), settings()).unwrap();
        let answer = append(&service, &intent).await;
        assert_eq!((answer.index, answer.duplicate), (1, logged), "{place}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_unreadable_without_naming_paths() {
    let disk = MemoryStore::new();
    let store = Faulty::new(disk, strike("read:leaves", 2, Fault::Fail));
    let (service, _writer) = start(store);
    let mut a = voice(NAMES[0]);
    // Each append looks twice: before the queue, and at the writer.
    append(&service, &a.register()).await;
    let intent = a.intent();
    let refusal = service.append(intent.as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::ReadOnly);
    assert!(!refusal.message().contains("read:leaves"), "{refusal}");
    assert_eq!(append(&service, &intent).await.index, 1, "and works again when it can be read");
}

async fn listeners() -> Listeners {
    let bind = || TcpListener::bind("127.0.0.1:0");
    Listeners { grpc: bind().await.unwrap(), files: bind().await.unwrap(), admin: None }
}

#[tokio::test]
async fn a_server_ends_with_the_cause_when_its_writer_does() {
    let store = Faulty::new(MemoryStore::new(), strike("before:commit", 0, Fault::Fail));
    let (service, writer) = start(store);
    let (_keep, shutdown) = watch::channel(false);
    let transport = Transport::default();
    let serving =
        server::serve_on(Arc::clone(&service), writer, listeners().await, transport, shutdown);
    let serving = tokio::spawn(serving);
    let refusal = service.append(voice(NAMES[0]).register().as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::Stopping);
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await.unwrap().unwrap();
    let Err(ServeError::Fatal(cause)) = ended else { panic!("{ended:?}") };
    assert!(cause.to_string().contains("before:commit"), "{cause}");
    assert_eq!(service.state(), Condition::Stopped);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_well() {
    let (service, writer) = start(MemoryStore::new());
    append(&service, &voice(NAMES[0]).register()).await;
    let (stop, shutdown) = watch::channel(false);
    let transport = Transport::default();
    let serving =
        server::serve_on(Arc::clone(&service), writer, listeners().await, transport, shutdown);
    let serving = tokio::spawn(serving);
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(60), serving).await.unwrap().unwrap().unwrap();
    assert_eq!(service.state(), Condition::Draining);
}
