//! `countersign serve`: a log on this machine.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use client::{Entropy as _, SystemEntropy, keys};
use sequencer::{FileStore, Log};
use server::{Admitted, Service, Settings};
use tlog::{KeyKind, KeyName, SigningKey};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::output::{Failure, Report};

/// Run a log: gRPC for statements, HTTP for everybody's tiles.
///
/// Without flags it makes a key and a data folder below the current one, listens on loopback and
/// prints its public key and what to do next. Stop it with Ctrl-C; what was acknowledged is on
/// disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign serve --party lab-a.example.vkey --party lab-b.example.vkey\n  \
    countersign serve --data /var/lib/countersign --origin log.example/2026 --listen 127.0.0.1:7400")]
pub(super) struct Arguments {
    /// Data folder; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "countersign-data")]
    data: PathBuf,
    /// The log's name for a new key: a URL without scheme, never used for another log.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Where to listen for gRPC.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Where to serve checkpoint and tiles over HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    http: SocketAddr,
    /// A party that may register, by its public key file. Repeat for each.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, as_json: bool) -> Result<Report, Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    super::block_on(serve(arguments, as_json))
}

async fn serve(arguments: &Arguments, as_json: bool) -> Result<Report, Failure> {
    let parties: Vec<_> =
        arguments.parties.iter().map(|path| keys::read_vkey(path)).collect::<Result<_, _>>()?;
    let key = open_key(arguments)?;
    let log = open_log(&arguments.data, &key)?;
    let recovered = log.reader().head().size;
    let settings = Settings { admitted: Admitted::new(parties), ..Settings::default() };
    let admitted = settings.admitted.len();
    let (service, writer) = Service::start(log, &key, settings)
        .map_err(|e| Failure::new(format!("{}: {e}", arguments.data.display())))?;

    let bind = |address: SocketAddr| async move {
        TcpListener::bind(address).await.map_err(|e| {
            Failure::new(format!("cannot listen on {address}: {e}"))
                .next("choose another address with --listen or --http; port 0 takes any free one")
        })
    };
    let (grpc, http) = (bind(arguments.listen).await?, bind(arguments.http).await?);
    announce(arguments, &key, grpc.local_addr()?, http.local_addr()?, recovered, admitted, as_json);

    let (stop, shutdown) = watch::channel(false);
    let signals = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        tracing::info!("stopping: taking no more statements, finishing what is queued");
        signals.send_replace(true);
        terminated().await;
        tracing::warn!("asked twice: leaving at once; what was acknowledged is on disk");
        std::process::exit(130);
    });
    server::serve(service, writer, grpc, http, shutdown).await.map_err(Failure::new)?;
    drop(stop);
    Ok(Report::good(String::new(), json::object([("stopped", true.into())])))
}

/// The log's key in the data folder, made if neither key nor log is there.
fn open_key(arguments: &Arguments) -> Result<SigningKey, Failure> {
    let data = &arguments.data;
    let path = data.join("log.key");
    if path.exists() {
        let key = keys::read_signing(&path)?;
        let origin = arguments.origin.as_deref().unwrap_or(key.name().as_str());
        if origin != key.name().as_str() {
            let problem = format!("{} is the log {}, not {origin}", data.display(), key.name());
            return Err(Failure::new(problem).next("choose another --data for another log"));
        }
        return Ok(key);
    }
    if data.join("log.db").exists() {
        let problem = format!("{} holds a log, but not its key", data.display());
        return Err(Failure::new(problem).next("put log.key and log.vkey back from your backup"));
    }
    fs::create_dir_all(data).map_err(|e| Failure::new(format!("{}: {e}", data.display())))?;
    let mut entropy = SystemEntropy;
    // Two logs must never share a name, so one that nobody chose is random.
    let origin = match &arguments.origin {
        Some(origin) => origin.clone(),
        None => format!("countersign.invalid/log-{}", hex::encode(entropy.bytes::<8>())),
    };
    let name = KeyName::parse(&origin).map_err(|e| Failure::new(format!("--origin: {e}")))?;
    let key = SigningKey::from_seed(name, &entropy.bytes());
    keys::write_pair(&data.join("log"), &key)?;
    Ok(key)
}

fn open_log(data: &Path, key: &SigningKey) -> Result<Log<FileStore>, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("{}: {e}", data.display()));
    if data.join("log.db").exists() {
        let store = FileStore::open(data).map_err(|e| wrong(&e))?;
        return match Log::open(store, key.clone()) {
            // A crash between making the store and its first head leaves a store without one.
            Err(sequencer::OpenError::Store(sequencer::StoreError::Headless)) => {
                let store = FileStore::open(data).map_err(|e| wrong(&e))?;
                Log::create(store, key.clone()).map_err(|e| wrong(&e))
            }
            other => other.map_err(|e| wrong(&e)),
        };
    }
    let store = FileStore::create(data).map_err(|e| wrong(&e))?;
    Log::create(store, key.clone()).map_err(|e| wrong(&e))
}

/// What the operator needs to know, in the first line for machines.
fn announce(
    arguments: &Arguments,
    key: &SigningKey,
    grpc: SocketAddr,
    http: SocketAddr,
    recovered: u64,
    admitted: usize,
    as_json: bool,
) {
    let vkey = key.verifier(KeyKind::Ed25519).to_string();
    let data = arguments.data.display();
    let text = if as_json {
        json::object([
            ("origin", key.name().as_str().into()),
            ("vkey", vkey.into()),
            ("server", format!("http://{grpc}").into()),
            ("http", format!("http://{http}/").into()),
            ("data", data.to_string().into()),
            ("size", recovered.into()),
            ("parties", admitted.into()),
        ])
        .to_text()
    } else {
        let next = if admitted == 0 {
            "next: nobody may register yet; stop, and start with --party NAME.vkey for each party"
                .to_owned()
        } else {
            format!(
                "next: give {data}/log.vkey to each party; they run\n      countersign commit LOG \
                 --key NAME.key --server http://{grpc} --log-key log.vkey --no-agreement"
            )
        };
        format!(
            "log {} with {recovered} statements in {data}\nvkey {vkey}\ngRPC http://{grpc}\n\
             HTTP http://{http}/\n{next}",
            key.name()
        )
    };
    // A closed pipe must not stop the log.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// SIGINT or SIGTERM.
async fn terminated() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be watched");
                let _ = tokio::signal::ctrl_c().await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
