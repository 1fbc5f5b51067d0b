//! `countersign serve`: a log on this machine.

pub(super) mod config;
mod data;
pub(super) mod telemetry;
mod witnesses;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::keys;
use sequencer::Depth;
use server::{Admitted, Listeners, Metrics, Quotas, Rate, Service, Settings, Unnamed, Witnesses};
use tlog::{KeyKind, SigningKey, VerifierKey};
use tokio::net::TcpListener;
use transport::{Fingerprint, Reading, Roster, Transport, TransportLimits};

use super::output::{Failure, Report};
use super::process;
use config::{Config, Envelopes, Loaded, LogFormat};

/// Run a log: gRPC for statements, HTTP for everybody's tiles.
///
/// Without flags it makes a key and a data folder below the current one, listens on loopback and
/// prints its public key and what to do next. Stop it with Ctrl-C; what was acknowledged is on
/// disk.
///
/// On loopback everybody may read. Elsewhere, reading takes a client certificate (--client-ca), or
/// --public-read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign serve --party lab-a.example.vkey --party lab-b.example.vkey\n  \
    countersign serve --data /var/lib/countersign --origin log.example/2026 --listen 127.0.0.1:7400\n  \
    countersign serve --config /etc/countersign/countersign.toml\n\n\
    Every key of the file: docs/configuration.md. Running a server: docs/operations.md.")]
pub(super) struct Arguments {
    /// Read what to do from this file; flags count for more.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Data folder; made if it is not there [default: countersign-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The log's name for a new key: a URL without scheme, never used for another log.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Where to listen for gRPC [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to serve checkpoint and tiles over HTTP [default: 127.0.0.1:7401].
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where to serve health and metrics, in the clear, when the others are not on loopback.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// A party that may register, by its public key file. Repeat for each.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
    /// The server's certificate: TLS for gRPC and HTTP.
    #[arg(long, value_name = "FILE.pem")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE.pem")]
    tls_key: Option<PathBuf>,
    /// The authority whose certificates clients must show to get in.
    #[arg(long, value_name = "FILE.pem")]
    client_ca: Option<PathBuf>,
    /// Which client certificates that authority has revoked.
    #[arg(long, value_name = "FILE.pem")]
    client_crl: Option<PathBuf>,
    /// The witnesses of this log and their quorum: a tlog-policy file. Each with a URL is asked.
    #[arg(long, value_name = "FILE.policy")]
    policy: Option<PathBuf>,
    /// Let everybody read, wherever the listeners are.
    #[arg(long)]
    public_read: bool,
    /// Who gets sealed envelopes.
    #[arg(long, value_name = "WHO", value_enum)]
    envelopes: Option<Envelopes>,
    /// How lines of the log on standard error look.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Where traces go, over OTLP/gRPC.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Print docs/configuration.md.
    #[arg(long, hide = true)]
    configuration_reference: bool,
}

/// What can name other addresses.
const FLAGS: &str = "--listen, --http or --admin";

pub(super) fn run(arguments: &Arguments, as_json: bool) -> Result<Report, Failure> {
    if arguments.configuration_reference {
        let text = config::markdown();
        let json = json::object([("markdown", text.as_str().into())]);
        return Ok(Report::good(text.trim_end(), json));
    }
    let mut loaded = match &arguments.config {
        Some(path) => Loaded::read(path)?,
        None => Loaded::default(),
    };
    arguments.override_in(&mut loaded.config);
    loaded.check()?;
    super::block_on(serve(arguments, &loaded.config, as_json))
}

impl Arguments {
    /// Puts what was said on the command line in place of what the file says.
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
        put(&mut config.log.data, &self.data);
        put_some(&mut config.log.origin, &self.origin);
        put(&mut config.listen.grpc, &self.listen);
        put(&mut config.listen.http, &self.http);
        put_some(&mut config.listen.admin, &self.admin);
        put_some(&mut config.tls.certificate, &self.tls_cert);
        put_some(&mut config.tls.key, &self.tls_key);
        put_some(&mut config.tls.client_ca, &self.client_ca);
        put_some(&mut config.tls.client_crl, &self.client_crl);
        put_some(&mut config.witnesses.policy, &self.policy);
        put_some(&mut config.read.public, &self.public_read.then_some(true));
        put_some(&mut config.read.envelopes, &self.envelopes);
        put(&mut config.telemetry.log_format, &self.log_format);
        put_some(&mut config.telemetry.otlp_endpoint, &self.otlp_endpoint);
    }
}

async fn serve(arguments: &Arguments, config: &Config, as_json: bool) -> Result<Report, Failure> {
    let _traces = telemetry::start(&config.telemetry)?;
    let (parties, roster) = parties(arguments, config)?;
    let transport = transport(config, roster)?;
    let key = data::open_key(&config.log)?;
    let metrics = Metrics::default();
    let log = data::open_log(&config.log.data, &key, &metrics)?;
    let recovered = log.reader().head().size;
    let admitted = parties.len();
    let witnesses = witnesses::read(&config.witnesses, &key.verifier(KeyKind::Ed25519))?;
    let ticks = witnesses.is_some() && config.witnesses.ticks;
    let operator = ticks.then(|| data::open_operator(&config.log.data, key.name())).transpose()?;
    let settings = Settings { operator, ..settings(config, parties, witnesses, metrics) };
    let (service, writer) = Service::start(log, &key, settings)
        .map_err(|e| Failure::new(format!("{}: {e}", config.log.data.display())))?;

    // Nobody learns that it runs before it is known to be the log that its witnesses know.
    service.compare_with_witnesses().await.map_err(Failure::new)?;

    let grpc = process::bind(config.listen.grpc, FLAGS).await?;
    let files = process::bind(config.listen.http, FLAGS).await?;
    let admin = match config.listen.admin {
        Some(address) => Some(process::bind(address, FLAGS).await?),
        None => None,
    };
    let addresses = Addresses {
        grpc: grpc.local_addr()?,
        http: files.local_addr()?,
        admin: admin.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    let shutdown = process::stop_on_signals("taking no more statements, finishing what is queued")?;
    announce(config, &key, &addresses, recovered, admitted, as_json);

    let listeners = Listeners { grpc, files, admin };
    server::serve_on(service, writer, listeners, transport, shutdown)
        .await
        .map_err(Failure::new)?;
    Ok(Report::good(String::new(), json::object([("stopped", true.into())])))
}

/// Who may register, and whose certificates are whose.
fn parties(
    arguments: &Arguments,
    config: &Config,
) -> Result<(BTreeMap<String, VerifierKey>, Roster), Failure> {
    let mut admitted = BTreeMap::new();
    let mut roster = Roster::new();
    for path in &arguments.parties {
        let key = keys::read_vkey(path)?;
        admitted.insert(key.to_string(), key);
    }
    for party in &config.parties {
        let key = keys::read_vkey(&party.vkey)?;
        if key.name().as_str() != party.name {
            let (vkey, name) = (party.vkey.display(), &party.name);
            return Err(Failure::new(format!("[[party]] {name}: {vkey} is of {}", key.name()))
                .next("put the name and the key file of one party together"));
        }
        if let Some(text) = &party.certificate_sha256 {
            let wrong = |e: &dyn std::fmt::Display| {
                Failure::new(format!("[[party]] {}: certificate_sha256 {e}", party.name))
                    .next("openssl x509 -in CERTIFICATE.pem -noout -fingerprint -sha256")
            };
            let certificate: Fingerprint = text.parse().map_err(|e| wrong(&e))?;
            let before = roster.insert(certificate, key.name().clone());
            if before.is_some_and(|before| before != *key.name()) {
                return Err(wrong(&"is another party's as well"));
            }
        }
        admitted.insert(key.to_string(), key);
    }
    Ok((admitted, roster))
}

fn transport(config: &Config, roster: Roster) -> Result<Transport, Failure> {
    let limits = &config.limits;
    let seconds = Duration::from_secs;
    let transport = Transport {
        tls: process::tls(&config.tls)?,
        roster: Arc::new(roster),
        reading: match config.read.public {
            None => Reading::Local,
            Some(true) => Reading::Public,
            Some(false) => Reading::Admitted,
        },
        limits: TransportLimits {
            connections: limits.connections as usize,
            connections_each: limits.connections_per_address as usize,
            calls: limits.calls as usize,
            calls_each: limits.calls_per_identity as usize,
            streams: limits.streams as usize,
            streams_each: limits.streams_per_identity as usize,
            streams_per_connection: limits.streams_per_connection,
            header_bytes: limits.header_bytes,
            handshake: seconds(limits.handshake_seconds),
            call: seconds(limits.call_seconds),
            idle: seconds(limits.idle_seconds),
            upload: seconds(limits.upload_seconds),
            keepalive: seconds(limits.keepalive_seconds),
            keepalive_answer: seconds(limits.keepalive_answer_seconds),
            connection_age: seconds(limits.connection_age_seconds),
            notice: seconds(limits.notice_seconds),
            grace: seconds(limits.grace_seconds),
        },
    };
    for address in [config.listen.grpc, config.listen.http] {
        transport.check(address).map_err(|e| {
            Failure::new(e).next(
                "ask for client certificates with --tls-cert, --tls-key and --client-ca; or let \
                 everybody read with --public-read",
            )
        })?;
    }
    Ok(transport)
}

fn settings(
    config: &Config,
    parties: BTreeMap<String, VerifierKey>,
    witnesses: Option<Witnesses>,
    metrics: Metrics,
) -> Settings {
    let Config { limits, quota, .. } = config;
    let loopback = |address: SocketAddr| address.ip().is_loopback();
    let alone = config.tls.client_ca.is_none()
        && loopback(config.listen.grpc)
        && loopback(config.listen.http);
    let envelopes = match config.read.envelopes {
        Some(Envelopes::Parties) => server::Envelopes::Parties,
        Some(Envelopes::Anyone) => server::Envelopes::Anyone,
        None if alone => server::Envelopes::Anyone,
        None => server::Envelopes::Parties,
    };
    Settings {
        admitted: Admitted::new(parties.into_values()),
        max_artifact: limits.artifact_bytes,
        limits: sequencer::Limits {
            queue: depth(limits.queue_entries, limits.queue_bytes),
            batch: depth(limits.batch_entries, limits.batch_bytes),
        },
        quotas: Some(Quotas {
            statements: Rate::new(quota.statements_per_second, quota.statements_burst),
            statement_kib: Rate::new(quota.statement_kib_per_second, quota.statement_kib_burst),
            artifacts: Rate::new(quota.artifacts_per_second, quota.artifacts_burst),
            artifact_kib: Rate::new(quota.artifact_kib_per_second, quota.artifact_kib_burst),
        }),
        unnamed: Unnamed {
            bytes_each: quota.unnamed_bytes,
            count_each: quota.unnamed_artifacts,
            bytes_total: quota.unnamed_bytes_total,
            keep: Duration::from_secs(quota.unnamed_seconds),
        },
        envelopes,
        witnesses,
        operator: None,
        metrics,
    }
}

fn depth(entries: u32, bytes: u64) -> Depth {
    Depth { entries: entries as usize, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
}

/// Where it listens.
struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
    admin: Option<SocketAddr>,
}

/// What the operator needs to know, in the first line for machines.
fn announce(
    config: &Config,
    key: &SigningKey,
    addresses: &Addresses,
    recovered: u64,
    admitted: usize,
    as_json: bool,
) {
    let vkey = key.verifier(KeyKind::Ed25519).to_string();
    let data = config.log.data.display();
    let scheme = if config.tls.certificate.is_some() { "https" } else { "http" };
    let Addresses { grpc, http, admin } = addresses;
    let text = if as_json {
        let mut members = vec![
            ("origin", key.name().as_str().into()),
            ("vkey", vkey.into()),
            ("server", format!("{scheme}://{grpc}").into()),
            ("http", format!("{scheme}://{http}/").into()),
            ("data", data.to_string().into()),
            ("size", recovered.into()),
            ("parties", admitted.into()),
        ];
        members.extend(admin.map(|admin| ("admin", format!("http://{admin}/").into())));
        json::object(members).to_text()
    } else {
        let next = if admitted == 0 {
            "next: nobody may register yet; stop, and start with --party NAME.vkey for each party"
                .to_owned()
        } else {
            let tls = match (&config.tls.certificate, &config.tls.client_ca) {
                (None, _) => "",
                (Some(_), None) => " --tls-ca CA.pem",
                (Some(_), Some(_)) => {
                    " \\\n      --tls-ca CA.pem --tls-cert NAME.tls.pem --tls-key NAME.tls.key"
                }
            };
            format!(
                "next: give {data}/log.vkey to each party; they run\n      countersign commit LOG \
                 --key NAME.key --server {scheme}://{grpc} --log-key log.vkey --no-agreement{tls}"
            )
        };
        format!(
            "log {} with {recovered} statements in {data}\nvkey {vkey}\ngRPC {scheme}://{grpc}\n\
             HTTP {scheme}://{http}/\n{next}",
            key.name()
        )
    };
    // A closed pipe must not stop the log.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
