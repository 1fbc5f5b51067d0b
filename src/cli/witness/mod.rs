//! `countersign witness`: a witness on this machine.

pub(super) mod config;
mod identity;
mod shown;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use client::keys;
use tlog::VerifierKey;
use transport::{Reading, Transport, TransportLimits};
use witness::store::Store as _;
use witness::{Alarms, Listeners, Logs, Metrics, Own, Rate, Service, Settings, Signers, writer};

use super::output::{Failure, Report};
use super::process;
use super::serve::config::LogFormat;
use super::serve::telemetry;
use config::Config;

/// Run a witness: it cosigns checkpoints of logs once it has proof that they continue what it
/// cosigned before.
///
/// Without flags it makes a key and a data folder below the current one, listens on loopback and
/// prints its public key and what to do next. Its key is worth as much as its store: a witness
/// whose store is lost or was put back from a backup may cosign two histories, so it does not
/// start, and its key is retired.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign witness --log log.vkey\n  \
    countersign witness --data /var/lib/witness --name witness.example/w1 --log log.vkey \\\n      \
    --http 127.0.0.1:7410\n  \
    countersign witness --config /etc/countersign/witness.toml\n\n\
    What it promises, and every key of the file: docs/witness.md.")]
pub(super) struct Arguments {
    /// Read what to do from this file; flags count for more.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Data folder; made if it is not there [default: countersign-witness].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The witness's name for a new key: a URL without scheme; random if nothing is said.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A log to cosign, by its public key file. Repeat for each.
    #[arg(long = "log", value_name = "FILE.vkey")]
    logs: Vec<PathBuf>,
    /// A party whose statements are stamped without proof of its registration. Repeat for each.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
    /// Where logs and readers come: C2SP tlog-witness over HTTP [default: 127.0.0.1:7410].
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where to listen for gRPC [default: 127.0.0.1:7411].
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<SocketAddr>,
    /// Where to serve health and metrics, in the clear, when HTTP is not on loopback.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Where copies of what this witness cosigned are published, by others or by itself: it does
    /// not start if one is newer than its store. Repeat for each.
    #[arg(long = "published", value_name = "URL")]
    published: Vec<String>,
    /// The witness's certificate: TLS for HTTP and gRPC.
    #[arg(long, value_name = "FILE.pem")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE.pem")]
    tls_key: Option<PathBuf>,
    /// How lines of the log on standard error look.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

/// What can name other addresses.
const FLAGS: &str = "--http, --grpc or --admin";

pub(super) fn run(arguments: &Arguments, as_json: bool) -> Result<Report, Failure> {
    let mut config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    arguments.override_in(&mut config);
    config.check()?;
    super::block_on(serve(config, as_json))
}

impl Arguments {
    /// Puts what was said on the command line in place of what the file says, or beside it.
    fn override_in(&self, config: &mut Config) {
        fn put<T: Clone>(place: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *place = value.clone();
            }
        }
        fn put_some<T: Clone>(place: &mut Option<T>, flag: &Option<T>) {
            if flag.is_some() {
                place.clone_from(flag);
            }
        }
        put(&mut config.data, &self.data);
        put_some(&mut config.name, &self.name);
        put(&mut config.http, &self.http);
        put(&mut config.grpc, &self.grpc);
        put_some(&mut config.admin, &self.admin);
        put_some(&mut config.tls.certificate, &self.tls_cert);
        put_some(&mut config.tls.key, &self.tls_key);
        put(&mut config.telemetry.log_format, &self.log_format);
        config.published.extend(self.published.iter().cloned());
        config.logs.extend(self.logs.iter().map(|path| config::Log::at(path)));
        config.parties.extend(self.parties.iter().map(|path| config::Party::at(path)));
    }
}

async fn serve(config: Config, as_json: bool) -> Result<Report, Failure> {
    let _traces = telemetry::start(&config.telemetry)?;
    let read = |paths: Vec<&PathBuf>| -> Result<Vec<VerifierKey>, Failure> {
        paths.into_iter().map(|path| Ok(keys::read_vkey(path)?)).collect()
    };
    let logs = Logs::new(read(config.logs.iter().map(|log| &log.vkey).collect())?)
        .map_err(|e| Failure::new(format!("--log: {e}")))?;
    let signers = Signers::new(read(config.parties.iter().map(|party| &party.vkey).collect())?);
    let limits = TransportLimits {
        connections: config.connections as usize,
        connections_each: config.connections_per_address as usize,
        ..TransportLimits::default()
    };
    let tls = process::tls(&config.tls)?;
    let transport = Transport { tls, reading: Reading::Public, limits, ..Transport::default() };

    let (own, mut store) = identity::open(&config.data, config.name.as_deref())?;
    let failed = |e: witness::StoreError| identity::failure(&config.data, &e);
    let state = store.load().map_err(failed)?;
    if let Err(refused) = shown::check(&config, &logs, &state, &own).await? {
        store.halt(&refused.to_string()).map_err(failed)?;
        return Err(Failure::new(refused).next(identity::RETIRE));
    }
    let cosigned = state.all().count();
    let metrics = Metrics::default();
    let observed = metrics.clone();
    let observer = Box::new(move |checkpoints, took| observed.committed(checkpoints, took));
    let (handle, writer) = writer::start(state, store, Box::new(now), observer);
    let alarms = Alarms::open(&config.data.join("alarms"))?;
    let known = logs.origins().len();
    let settings = Settings {
        logs,
        signers,
        checkpoints: Rate::new(config.checkpoints_per_second, config.checkpoints_burst),
        stamps: Rate::new(config.stamps_per_second, config.stamps_burst),
        metrics,
    };
    let service = Service::new(own.clone(), settings, handle, alarms);

    let http = process::bind(config.http, FLAGS).await?;
    let grpc = process::bind(config.grpc, FLAGS).await?;
    let admin = match config.admin {
        Some(address) => Some(process::bind(address, FLAGS).await?),
        None => None,
    };
    let announced = Announced {
        http: http.local_addr()?,
        grpc: grpc.local_addr()?,
        admin: admin.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?,
        known,
        cosigned,
    };
    let shutdown = process::stop_on_signals("cosigning no more")?;
    announce(&config, &own, &announced, as_json);
    let listeners = Listeners { http, grpc, admin };
    let published = Some(config.data.join("published"));
    witness::serve_on(service, writer, listeners, transport, published, shutdown)
        .await
        .map_err(Failure::new)?;
    Ok(Report::good(String::new(), json::object([("stopped", true.into())])))
}

/// Unix seconds. A clock before 1970 signs nothing.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What there is to say about a witness that begins to listen.
struct Announced {
    http: SocketAddr,
    grpc: SocketAddr,
    admin: Option<SocketAddr>,
    /// Logs that it may cosign.
    known: usize,
    /// Logs that it has cosigned.
    cosigned: usize,
}

/// What the operator needs to know, in the first line for machines.
fn announce(config: &Config, own: &Own, announced: &Announced, as_json: bool) {
    let Announced { http, grpc, admin, known, cosigned } = announced;
    let (name, vkey) = (own.key.name(), own.verifier.to_string());
    let data = config.data.display();
    let scheme = if config.tls.certificate.is_some() { "https" } else { "http" };
    let text = if as_json {
        let mut members = vec![
            ("name", name.as_str().into()),
            ("vkey", vkey.into()),
            ("http", format!("{scheme}://{http}/").into()),
            ("grpc", format!("{scheme}://{grpc}").into()),
            ("data", data.to_string().into()),
            ("logs", (*known as u64).into()),
            ("cosigned", (*cosigned as u64).into()),
        ];
        members.extend(admin.map(|admin| ("admin", format!("http://{admin}/").into())));
        json::object(members).to_text()
    } else {
        let next = if *known == 0 {
            "next: it knows no log yet; stop, and start with --log FILE.vkey for each log"
                .to_owned()
        } else {
            format!(
                "next: whoever trusts this witness puts this line into trust.policy, and the \
                 log's operator into the log's\n      \
                 witness w1 {vkey} {scheme}://{http}/"
            )
        };
        format!(
            "witness {name} of {known} logs, {cosigned} of them cosigned before, in {data}\n\
             vkey {vkey}\nHTTP {scheme}://{http}/\ngRPC {scheme}://{grpc}\n{next}"
        )
    };
    // A closed pipe must not stop the witness.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
