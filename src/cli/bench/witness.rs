//! A witness: checkpoints of 100 logs, in process and over HTTP, beside what the disk allows.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{Cosigning, WitnessClient};
use tlog::{
    AddCheckpoint, Hash, KeyKind, KeyName, MemoryNodes, SignedCheckpoint, SigningKey, VerifierKey,
    leaf_hash, prove_consistency,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use transport::{Reading, Transport, TransportLimits};
use witness::store::Store as _;
use witness::{
    Alarms, Listeners, Logs, Metrics, Own, Rate, Service, Settings, SqliteStore, writer,
};

use super::machine;
use super::{Arguments, Figure, Table};
use crate::cli::output::Failure;

/// Logs that ask at the same time, each one request after the other.
const LOGS: usize = 100;

/// Where the disk allows it.
const GOAL: f64 = 2_000.0;

/// How a request gets to the witness.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A call of the service, without a transport.
    Process,
    /// `POST /add-checkpoint` over loopback; client and witness in this process.
    Http,
}

/// A log that grows by an entry with each request.
struct Growing {
    key: VerifierKey,
    requests: Vec<AddCheckpoint>,
}

/// What the writer did.
#[derive(Default)]
struct Commits {
    batches: AtomicU64,
    /// Milliseconds of each transaction.
    times: Mutex<Vec<f64>>,
}

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let mut lines = Vec::new();
    for way in [Way::Process, Way::Http] {
        let each = arguments.scale().pick(200, 20, 2);
        let scratch = arguments.scratch()?;
        let logs = (0..LOGS).map(|log| growing(log, each)).collect::<Result<Vec<_>, _>>()?;
        let commits = Arc::new(Commits::default());
        let seen = Arc::clone(&commits);
        let sync = machine::disk_sync(scratch.path())?;
        let elapsed = crate::cli::block_on(ask(way, scratch.path(), logs, seen))?;
        let after = machine::disk_sync(scratch.path())?;
        lines.push(line(way, each, elapsed, &commits, [sync, after]));
    }
    Ok(Table {
        name: "witness",
        title: format!(
            "witness: add-checkpoint of {LOGS} logs at once, each cosigned when it is durable;\n\
             bound: one sync for as many checkpoints as a commit took together"
        ),
        lines,
        notes: vec![
            "sync: fdatasync of 4 KiB on this disk, before and after; the bound is by the greater"
                .to_owned(),
        ],
    })
}

fn line(
    way: Way,
    each: usize,
    elapsed: Duration,
    commits: &Commits,
    sync: [f64; 2],
) -> Vec<Figure> {
    let requests = (LOGS * each) as f64;
    let rate = requests / elapsed.as_secs_f64();
    let batches = commits.batches.load(Ordering::Relaxed) as f64;
    let bound = requests / (batches * sync[0].max(sync[1]) / 1e3);
    let mut times = std::mem::take(&mut *lock(&commits.times));
    let way = match way {
        Way::Process => "process",
        Way::Http => "HTTP",
    };
    let goal = match (rate * 2.0 >= bound, rate >= GOAL) {
        (true, true) => "met",
        (false, true) => "missed: half the bound",
        (true, false) => "missed: 2,000 per second",
        (false, false) => "missed",
    };
    vec![
        Figure::words("through", "through", way),
        Figure::count("requests", "requests", requests as u64),
        Figure::value("per second", "per_second", rate),
        Figure::value("in a commit", "batch", requests / batches),
        Figure::value("commit p50 ms", "commit_ms", machine::median(&mut times)),
        Figure::value("bound per second", "bound_per_second", bound),
        Figure::value("ratio", "ratio", rate / bound),
        Figure::words("goal ≥ 0.5 and ≥ 2,000", "goal", goal),
        Figure::value("sync ms", "sync_before_ms", sync[0]),
        Figure::value("after", "sync_after_ms", sync[1]),
    ]
}

/// So many requests of one log, signed before the clock starts.
fn growing(log: usize, each: usize) -> Result<Growing, Failure> {
    let name = KeyName::parse(&format!("log-{log}.bench.example")).map_err(Failure::new)?;
    let seed = Hash::of(&[b"countersign bench witness", name.as_str().as_bytes()]);
    let key = SigningKey::from_seed(name, seed.as_bytes());
    let mut nodes = MemoryNodes::new();
    let requests = (0..each as u64).map(|old| {
        nodes.append(leaf_hash(&old.to_be_bytes()));
        let head = nodes.head();
        let proof = match old {
            0 => Vec::new(),
            _ => {
                let Ok(proof) = prove_consistency(&nodes, old, head.size);
                proof
            }
        };
        AddCheckpoint::new(old, proof, &SignedCheckpoint::sign(&key, head))
    });
    let requests = requests.collect();
    Ok(Growing { key: key.verifier(KeyKind::Ed25519), requests })
}

/// Starts a witness, lets all logs ask, and says how long they took.
async fn ask(
    way: Way,
    folder: &Path,
    logs: Vec<Growing>,
    commits: Arc<Commits>,
) -> Result<Duration, Failure> {
    let name = KeyName::parse("witness.bench.example").map_err(Failure::new)?;
    let key = SigningKey::from_seed(name, &[7; 32]);
    let own = Own { verifier: key.verifier(KeyKind::Cosignature), key };
    let data = folder.join("witness");
    let mut store = SqliteStore::create(&data, &own.verifier).map_err(Failure::new)?;
    let state = store.load().map_err(Failure::new)?;
    let observer = Box::new(move |_: usize, took: Duration| {
        commits.batches.fetch_add(1, Ordering::Relaxed);
        lock(&commits.times).push(took.as_secs_f64() * 1e3);
    });
    let (handle, writer) = writer::start(state, store, Box::new(now), observer);
    let settings = Settings {
        logs: Logs::new(logs.iter().map(|log| log.key.clone()).collect::<Vec<_>>())
            .map_err(Failure::new)?,
        // What is measured is not what one log may ask.
        checkpoints: Rate::new(u32::MAX, u32::MAX),
        metrics: Metrics::default(),
        ..Settings::default()
    };
    let alarms = Alarms::open(&data.join("alarms"))?;
    let service = Service::new(own, settings, handle, alarms);
    match way {
        Way::Process => {
            let elapsed = in_process(&service, logs).await?;
            drop(service);
            tokio::task::spawn_blocking(|| writer.join())
                .await
                .map_err(Failure::new)?
                .map_err(|_| Failure::new("the witness's writer panicked"))?
                .map_err(Failure::new)?;
            Ok(elapsed)
        }
        Way::Http => over_http(service, writer, logs).await,
    }
}

async fn in_process(service: &Arc<Service>, logs: Vec<Growing>) -> Result<Duration, Failure> {
    clocked(logs, |requests| {
        let service = Arc::clone(service);
        async move {
            for request in requests {
                service.add_checkpoint(request).await.map_err(Failure::new)?;
            }
            Ok(())
        }
    })
    .await
}

async fn over_http(
    service: Arc<Service>,
    writer: writer::Writer,
    logs: Vec<Growing>,
) -> Result<Duration, Failure> {
    let http = TcpListener::bind("127.0.0.1:0").await?;
    let grpc = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", http.local_addr()?);
    let limits = TransportLimits {
        connections: 2 * LOGS,
        connections_each: 2 * LOGS,
        ..TransportLimits::default()
    };
    let transport = Transport { reading: Reading::Public, limits, ..Transport::default() };
    let listeners = Listeners { http, grpc, admin: None };
    let (stop, shutdown) = watch::channel(false);
    let serving =
        tokio::spawn(witness::serve_on(service, writer, listeners, transport, None, shutdown));
    let elapsed = clocked(logs, |requests| {
        let client = WitnessClient::new(url.as_str()).map_err(Failure::new);
        async move {
            let client = client?;
            for request in requests {
                let answer = client.add_checkpoint(&request, Duration::from_secs(60)).await;
                match answer.map_err(Failure::new)? {
                    Cosigning::Lines(_) => {}
                    Cosigning::OtherSize(size) => {
                        return Err(Failure::new(format!("the witness has size {size}")));
                    }
                }
            }
            Ok(())
        }
    })
    .await?;
    stop.send_replace(true);
    serving.await.map_err(Failure::new)?.map_err(Failure::new)?;
    Ok(elapsed)
}

/// Lets all logs ask side by side, and looks at the clock around them.
async fn clocked<F>(
    logs: Vec<Growing>,
    ask: impl Fn(Vec<AddCheckpoint>) -> F,
) -> Result<Duration, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut asking = JoinSet::new();
    let start = Instant::now();
    for log in logs {
        asking.spawn(ask(log.requests));
    }
    while let Some(asked) = asking.join_next().await {
        asked.map_err(Failure::new)??;
    }
    Ok(start.elapsed())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
