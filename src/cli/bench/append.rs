//! Appending: statements through checks, sequencer and disk, in process and over gRPC.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1;
use api::v1::log_service_client::LogServiceClient;
use sequencer::{FileStore, Log};
use server::{Admitted, Service, Settings, Writer};
use tlog::KeyKind;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::load::{self, Signer};
use super::machine;
use super::{Arguments, Figure, Table, primitives};
use crate::cli::output::Failure;

/// Connections that the statements in flight share.
const CONNECTIONS: usize = 4;

/// How a statement gets to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A call of the service, without a transport.
    Process,
    /// One unary call each, over loopback; client and server in this process.
    Grpc,
}

/// What one run found.
struct Run {
    statements: u64,
    bytes: usize,
    elapsed: Duration,
    processor: Option<Duration>,
    latencies: Vec<f64>,
}

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let mut lines = Vec::new();
    let mut bytes = 0;
    for way in [Way::Process, Way::Grpc] {
        for in_flight in &arguments.in_flight {
            let scratch = arguments.scratch()?;
            let before = machine::disk_sync(scratch.path())?;
            let check = primitives::signature_check(700);
            let statements = arguments.scale().pick(30_000, 1_500, 10);
            let each = match in_flight {
                1 => statements / 10,
                n => (statements / u64::from(*n)).max(arguments.scale().pick(8, 8, 2)),
            };
            let log = scratch.path().join("log");
            let run = crate::cli::block_on(append(way, &log, usize::from(*in_flight), each))?;
            let after = machine::disk_sync(scratch.path())?;
            bytes = run.bytes;
            lines.push(line(way, *in_flight, run, check, [before, after]));
        }
    }
    Ok(Table {
        name: "append",
        title: format!(
            "append: intents of {bytes} bytes, each answered when it is durable and covered by a \
             signed checkpoint;\nbound: one strict signature check each, on all cores"
        ),
        lines,
        notes: vec![
            "processor time includes whoever sends; sync: fdatasync of 4 KiB on this disk, before \
             and after"
                .to_owned(),
        ],
    })
}

fn line(way: Way, in_flight: u16, run: Run, check: f64, sync: [f64; 2]) -> Vec<Figure> {
    let Run { statements, elapsed, processor, mut latencies, .. } = run;
    let rate = statements as f64 / elapsed.as_secs_f64();
    let bound = 1e6 / check;
    let each = processor.map(|time| time.as_secs_f64() * 1e6 / statements as f64);
    let way = match way {
        Way::Process => "process",
        Way::Grpc => "gRPC",
    };
    vec![
        Figure::words("through", "through", way),
        Figure::count("in flight", "in_flight", u64::from(in_flight)),
        Figure::count("statements", "statements", statements),
        Figure::value("per second", "per_second", rate),
        Figure::value("p50 ms", "p50_ms", machine::quantile(&mut latencies, 0.5)),
        Figure::value("p99 ms", "p99_ms", machine::quantile(&mut latencies, 0.99)),
        Figure::perhaps("CPU µs each", "cpu_us_each", each),
        Figure::value("bound per second", "bound_per_second", bound),
        Figure::value("ratio", "ratio", rate / bound),
        Figure::value("sync ms", "sync_before_ms", sync[0]),
        Figure::value("after", "sync_after_ms", sync[1]),
    ]
}

async fn append(way: Way, folder: &Path, parties: usize, each: u64) -> Result<Run, Failure> {
    let mut signers: Vec<Signer> = (0..parties).map(Signer::new).collect::<Result<_, _>>()?;
    let (service, writer) = open(folder, &signers)?;
    for signer in &mut signers {
        let envelope = signer.register()?;
        service.append(envelope.as_bytes()).await.map_err(Failure::new)?;
    }
    let seen = service.reader().head();
    let chains = tokio::task::spawn_blocking(move || load::chains(signers, each, seen))
        .await
        .map_err(Failure::new)??;
    let bytes = chains.first().and_then(|chain| chain.first()).map_or(0, Vec::len);
    let run = match way {
        Way::Process => {
            let run = in_process(&service, chains).await?;
            service.stop();
            // The readers' connections close before the writer's.
            drop(service);
            tokio::task::spawn_blocking(|| writer.join())
                .await
                .map_err(Failure::new)?
                .map_err(|_| Failure::new("the writer panicked"))?
                .map_err(Failure::new)?;
            run
        }
        Way::Grpc => over_grpc(service, writer, chains).await?,
    };
    Ok(Run { bytes, ..run })
}

fn open(folder: &Path, signers: &[Signer]) -> Result<(Arc<Service>, Writer), Failure> {
    let key = load::log_key()?;
    let store = FileStore::create(folder).map_err(Failure::new)?;
    let log = Log::create(store, key.clone()).map_err(Failure::new)?;
    let parties = signers.iter().map(|signer| signer.key.verifier(KeyKind::Ed25519));
    let settings = Settings { admitted: Admitted::new(parties), ..Settings::default() };
    Service::start(log, &key, settings).map_err(Failure::new)
}

async fn in_process(service: &Arc<Service>, chains: Vec<Vec<Vec<u8>>>) -> Result<Run, Failure> {
    clocked(chains, |chain| {
        let service = Arc::clone(service);
        async move {
            let mut latencies = Vec::with_capacity(chain.len());
            for leaf in chain {
                let start = Instant::now();
                service.append(&leaf).await.map_err(Failure::new)?;
                latencies.push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok(latencies)
        }
    })
    .await
}

async fn over_grpc(
    service: Arc<Service>,
    writer: Writer,
    chains: Vec<Vec<Vec<u8>>>,
) -> Result<Run, Failure> {
    let (grpc, http) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let address = format!("http://{}", grpc.local_addr()?);
    let (stop, shutdown) = watch::channel(false);
    let serving = tokio::spawn(server::serve(service, writer, grpc, http, shutdown));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS.min(chains.len()) {
        connections.push(LogServiceClient::connect(address.clone()).await.map_err(Failure::new)?);
    }
    let mut next = 0;
    let run = clocked(chains, |chain| {
        next += 1;
        let mut client = connections[next % connections.len()].clone();
        async move {
            let mut latencies = Vec::with_capacity(chain.len());
            for leaf in chain {
                let request = v1::AppendRequest {
                    envelope: leaf.into(),
                    wait_for: v1::WaitFor::Committed.into(),
                };
                let start = Instant::now();
                client.append(request).await.map_err(Failure::new)?;
                latencies.push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok(latencies)
        }
    })
    .await?;
    drop(connections);
    stop.send_replace(true);
    serving.await.map_err(Failure::new)?.map_err(Failure::new)?;
    Ok(run)
}

/// Runs all chains side by side, in a closed loop each, and looks at the clocks around them.
async fn clocked<F>(
    chains: Vec<Vec<Vec<u8>>>,
    mut send: impl FnMut(Vec<Vec<u8>>) -> F,
) -> Result<Run, Failure>
where
    F: Future<Output = Result<Vec<f64>, Failure>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let processor = machine::processor_time();
    let start = Instant::now();
    for chain in chains {
        tasks.spawn(send(chain));
    }
    let mut latencies = Vec::new();
    while let Some(result) = tasks.join_next().await {
        latencies.extend(result.map_err(Failure::new)??);
    }
    let elapsed = start.elapsed();
    let processor = machine::processor_time()
        .zip(processor)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Run { statements: latencies.len() as u64, bytes: 0, elapsed, processor, latencies })
}
