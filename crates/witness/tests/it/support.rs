//! Logs that grow and fork at will, a witness behind listeners on loopback, and a book of all
//! cosignatures that is checked by itself.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tlog::{
    AddCheckpoint, Hash, KeyKind, KeyName, MemoryNodes, NoteSignature, SignedCheckpoint,
    SigningKey, TreeHead, leaf_hash, prove_consistency, root_at,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use transport::{Reading, Transport, TransportLimits};
use witness::decision::Vouched;
use witness::store::Store;
use witness::writer::{self, Clock};
use witness::{Alarms, Listeners, Logs, Own, Rate, Service, Settings, SqliteStore};

/// No answer takes as long on any machine; whatever does hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// 2026-01-01, when the clocks of tests begin.
pub(crate) const START: u64 = 1_767_225_600;

pub(crate) fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
}

pub(crate) fn own() -> Own {
    Own::from(&key("witness.example/w1", 0x22))
}

/// A log, or one branch of a log that forks.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) key: SigningKey,
    pub(crate) nodes: MemoryNodes,
}

impl Log {
    pub(crate) fn new(name: &str) -> Self {
        Self { key: key(name, 0x11), nodes: MemoryNodes::new() }
    }

    /// The same log with so many entries; entries of one index differ by branch.
    pub(crate) fn grown(mut self, size: u64, branch: &str) -> Self {
        for index in self.nodes.size()..size {
            self.nodes.append(leaf_hash(format!("{branch}-{index}").as_bytes()));
        }
        self
    }

    pub(crate) fn name(&self) -> &str {
        self.key.name().as_str()
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        let Ok(root) = root_at(&self.nodes, size);
        TreeHead { size, root }
    }

    pub(crate) fn proof(&self, old: u64, size: u64) -> Vec<Hash> {
        if old == 0 || old == size {
            return Vec::new();
        }
        let Ok(proof) = prove_consistency(&self.nodes, old, size);
        proof
    }

    pub(crate) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        SignedCheckpoint::sign(&self.key, self.head(size))
    }

    pub(crate) fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        AddCheckpoint::new(old, self.proof(old, size), &self.checkpoint(size))
    }

    pub(crate) fn vouched(&self, old: u64, size: u64) -> Vouched {
        Vouched::new(self.request(old, size), &logs([self]), &own().verifier).unwrap()
    }
}

pub(crate) fn logs<'a>(all: impl IntoIterator<Item = &'a Log>) -> Logs {
    Logs::new(all.into_iter().map(|log| log.key.verifier(KeyKind::Ed25519))).unwrap()
}

/// A clock that a test turns.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub(crate) fn set(&self, time: u64) {
        self.0.store(time, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn clock(&self) -> Clock {
        let hands = self.clone();
        Box::new(move || hands.now())
    }
}

/// A witness behind its listeners.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<tokio::task::JoinHandle<Result<(), witness::ServeError>>>,
    pub(crate) runtime: Runtime,
}

/// Limits for tests: short patience for whoever is slow.
pub(crate) fn limits() -> TransportLimits {
    TransportLimits {
        call: Duration::from_secs(5),
        handshake: Duration::from_secs(5),
        grace: Duration::from_millis(500),
        ..TransportLimits::default()
    }
}

pub(crate) fn settings(logs: Logs) -> Settings {
    let much = Rate::new(1_000_000, 1_000_000);
    Settings { logs, checkpoints: much, stamps: much, ..Settings::default() }
}

/// Opens the store in a folder, which is made if it is not there.
pub(crate) fn open(folder: &Path) -> SqliteStore {
    let own = own().verifier;
    if SqliteStore::exists(folder) {
        SqliteStore::open(folder, &own).unwrap()
    } else {
        SqliteStore::create(folder, &own).unwrap()
    }
}

impl Running {
    pub(crate) fn start(folder: &Path, logs: Logs, hands: &Hands) -> Self {
        Self::with(open(folder), folder, settings(logs), limits(), hands)
    }

    pub(crate) fn with(
        mut store: impl Store + 'static,
        folder: &Path,
        settings: Settings,
        limits: TransportLimits,
        hands: &Hands,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let state = store.load().unwrap();
        let (handle, writer) = writer::start(state, store, hands.clock(), Box::new(|_, _| {}));
        let alarms = Alarms::open(&folder.join("alarms")).unwrap();
        let service = Service::new(own(), settings, handle, alarms);
        let (stop, shutdown) = watch::channel(false);
        let transport = Transport { reading: Reading::Public, limits, ..Transport::default() };
        let published = Some(folder.join("published"));
        let (http, grpc, serving) = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let (http, grpc) =
                (TcpListener::bind(any).await.unwrap(), TcpListener::bind(any).await.unwrap());
            let addresses = (http.local_addr().unwrap(), grpc.local_addr().unwrap());
            let listeners = Listeners { http, grpc, admin: None };
            let serving = tokio::spawn(witness::serve_on(
                service, writer, listeners, transport, published, shutdown,
            ));
            (addresses.0, addresses.1, serving)
        });
        Self { http, grpc, stop, serving: Some(serving), runtime }
    }

    /// Stops it in order, and waits until its store is closed.
    pub(crate) fn stop(mut self) {
        self.stop.send_replace(true);
        let serving = self.serving.take().unwrap();
        self.runtime.block_on(async {
            tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap().unwrap();
        });
    }

    /// Waits for its end, which it comes to by itself.
    pub(crate) fn ended(mut self) -> witness::ServeError {
        let serving = self.serving.take().unwrap();
        self.runtime.block_on(async {
            tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap().unwrap_err()
        })
    }

    pub(crate) fn add(&self, request: &AddCheckpoint) -> Answer {
        self.post(&request.to_bytes())
    }

    pub(crate) fn post(&self, body: &[u8]) -> Answer {
        post(self.http, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n");
        exchange(self.http, head.as_bytes())
    }
}

pub(crate) fn post(address: SocketAddr, body: &[u8]) -> Answer {
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_answer(stream)
}

/// Reads to the end of the connection.
pub(crate) fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes)
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// Every cosignature that ever left a witness, in the order in which they were taken. What must
/// hold of them is checked from their bytes, without the witness's own code.
#[derive(Debug, Default)]
pub(crate) struct Book(BTreeMap<String, Vec<(u64, TreeHead)>>);

impl Book {
    /// Notes an answer to a request for this head: one good line of the witness.
    pub(crate) fn note(&mut self, log: &Log, size: u64, lines: &str) {
        let lines = NoteSignature::parse_lines(lines.as_bytes()).unwrap();
        assert_eq!(lines.len(), 1, "one line, by the one key");
        let text = log.checkpoint(size).checkpoint().text().to_owned();
        let time = own().verifier.check(&text, &lines[0]).expect("the line verifies").unwrap();
        self.0.entry(log.name().to_owned()).or_default().push((time, log.head(size)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// No two heads of one log contradict each other, and nothing ever goes back. `branches` are
    /// all histories that the log has shown to anyone.
    pub(crate) fn check(&self, branches: &[&Log]) {
        for (name, cosigned) in &self.0 {
            let branches: Vec<_> = branches.iter().filter(|log| log.name() == name).collect();
            let whole = branches
                .iter()
                .find(|log| cosigned.iter().all(|(_, head)| log.head(head.size) == *head));
            assert!(whole.is_some(), "{name}: the heads are of no single history: {cosigned:?}");
            let mut by_time = cosigned.clone();
            by_time.sort_by_key(|(time, head)| (*time, head.size));
            for pair in by_time.windows(2) {
                let [(earlier, before), (later, after)] = pair else { continue };
                assert!(
                    before.size <= after.size,
                    "{name}: size {} at {earlier}, then {} at {later}",
                    before.size,
                    after.size
                );
            }
        }
    }
}
