//! `countersign monitor`: follows a log and checks everything in it.

mod background;
mod report;
mod views;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Folder, Http, LogFiles, keys};
use monitor::{Artifacts, Copied, Metrics, Monitor, MonitorError, Pass, Remote, Settings, Sources};
use tlog::VerifierKey;

use super::output::{Failure, Report};
use super::party::TlsArguments;
use super::progress;
use super::serve::config::{LogFormat, Telemetry};
use super::serve::telemetry;
use super::trust::{self, LogArguments, MAX_AGE, Span};
use super::verify::is_url;
use background::Background;
use report::Words;
use views::Views;

/// Follow a log: verify every entry, signature, step and artifact, and compare what different
/// sources show.
///
/// Keeps a verified copy of the log's entries in a folder and goes on from there, also after a
/// crash. What contradicts what was verified before becomes a file of evidence below the folder,
/// which `countersign verify` checks on anybody's machine. Heads that the other party, its monitor
/// or witnesses were shown are compared with what the log shows here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign monitor http://127.0.0.1:7401/ --server http://127.0.0.1:7400 \\\n      \
    --log-key log.vkey --once\n  \
    countersign monitor http://127.0.0.1:7401/ --server http://127.0.0.1:7400 \\\n      \
    --policy trust.policy --witnesses --peer peer.countersign \\\n      \
    --peer http://lab-b.example:7420/ --http 127.0.0.1:7420\n\n\
    Exit codes: 0 nothing is wrong, 1 something is or was, 2 the log could not be checked. What\n\
    each finding means: docs/monitor.md.")]
pub(super) struct Arguments {
    /// The log's HTTP address, or a folder with a copy of it.
    log: String,
    #[command(flatten)]
    trust: LogArguments,
    #[command(flatten)]
    tls: TlsArguments,
    /// Where the monitor keeps what it has verified; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "countersign-monitor")]
    data: PathBuf,
    /// One pass, and end. Without it the monitor goes on until it is told to stop.
    #[arg(long)]
    once: bool,
    /// Time between passes.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    interval: Span,
    /// Ask the policy's witnesses for what they cosigned, and compare.
    #[arg(long)]
    witnesses: bool,
    /// A checkpoint, receipt or bundle that the other party got, or the URL of its monitor, to be
    /// compared. Repeat for each; looked at again on every pass.
    #[arg(long = "peer", value_name = "FILE|URL")]
    peers: Vec<String>,
    /// A party's public key, for evidence against it, whatever the log says its key is.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
    /// The log's gRPC address, which artifacts come from. Those of a folder lie in it.
    #[arg(long, value_name = "URL", conflicts_with = "no_artifacts")]
    server: Option<String>,
    /// Don't look at artifacts: for logs that serve files alone.
    #[arg(long)]
    no_artifacts: bool,
    /// How old the newest cosigned head may be, by the times of its witnesses.
    #[arg(long, value_name = "AGE", default_value_t = MAX_AGE)]
    max_age: Span,
    /// How many entries the log may have; each takes some 200 bytes of memory.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    max_entries: u64,
    /// Serve `/metrics` and `/healthz` here, and `/checkpoint`, the newest verified head, for the
    /// other party's monitor.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once")]
    http: Option<SocketAddr>,
    /// How lines of the log on standard error look.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

pub(super) fn run(arguments: &Arguments, as_json: bool) -> Result<Report, Failure> {
    let mut telemetry = Telemetry::default();
    if let Some(format) = arguments.log_format {
        telemetry.log_format = format;
    }
    let _traces = telemetry::start(&telemetry)?;
    if arguments.interval.0 == 0 {
        return Err(Failure::new("--interval must not be zero").next("say 1s or more"));
    }
    let trust = arguments.trust.trust()?;
    let log = trust.log()?.clone();
    let parties = arguments.parties.iter().map(|path| Ok(keys::read_vkey(path)?));
    let settings = Settings {
        log: log.clone(),
        policy: trust.policy().cloned(),
        max_age: arguments.max_age.0,
        parties: parties.collect::<Result<_, Failure>>()?,
        max_entries: arguments.max_entries,
    };
    let (peers, tls) = (&arguments.peers, &arguments.tls);
    let views = Views::new(&log, trust.policy(), arguments.witnesses, peers, tls)?;
    let bar = progress::bar("replaying", 0);
    let monitor = Monitor::open(&arguments.data, settings, &|done| bar.set_position(done));
    bar.finish_and_clear();
    let monitor = monitor.map_err(failure)?;
    let metrics = Metrics::default();
    let mut watch = Watch { arguments, log, views, metrics, monitor };
    let words = Words::new(&arguments.data, as_json);
    if arguments.once { Ok(words.report(&watch.pass()?)) } else { watch.follow(words) }
}

struct Watch<'a> {
    arguments: &'a Arguments,
    log: VerifierKey,
    views: Views,
    metrics: Metrics,
    monitor: Monitor,
}

/// The log's files, and where artifacts are looked for.
type Looked = (Box<dyn LogFiles>, Option<Box<dyn Artifacts>>);

impl Watch<'_> {
    fn pass(&mut self) -> Result<Pass, Failure> {
        let passed = self.sources().and_then(|(files, artifacts)| {
            let views = self.views.fetch();
            let bar = progress::bar("verifying", 0);
            let place = self.arguments.log.as_str();
            let artifacts = artifacts.as_deref();
            let sources = Sources { files: files.as_ref(), place, artifacts, views: &views };
            let passed = self.monitor.pass(&sources, trust::now(), &|done| bar.set_position(done));
            bar.finish_and_clear();
            passed.map_err(failure)
        });
        match &passed {
            Ok(pass) => self.metrics.passed(pass, trust::now()),
            Err(_) => self.metrics.failed(),
        }
        passed
    }

    /// The log's files, and the artifacts beside it.
    fn sources(&self) -> Result<Looked, Failure> {
        let Arguments { log: place, tls, server, no_artifacts, .. } = self.arguments;
        let remote = |url: &str| -> Result<Box<dyn Artifacts>, Failure> {
            let remote = Remote::new(tls.address(url)?, self.log.clone());
            Ok(Box::new(remote.map_err(Failure::new)?))
        };
        let files: Box<dyn LogFiles> = if is_url(place) {
            Box::new(Http::new(tls.address(place)?).map_err(Failure::new)?)
        } else {
            Box::new(Folder::new(Path::new(place)))
        };
        let artifacts = match server {
            _ if *no_artifacts => None,
            Some(server) => Some(remote(server)?),
            None if is_url(place) => {
                return Err(Failure::new("where do the artifacts come from?")
                    .next("name the log's gRPC address with --server, or say --no-artifacts"));
            }
            None => Copied::of(Path::new(place)).map(|copied| Box::new(copied) as Box<_>),
        };
        Ok((files, artifacts))
    }

    /// Passes until told to stop. A log that can't be reached is reported and tried again.
    fn follow(&mut self, mut words: Words<'_>) -> Result<Report, Failure> {
        let mut background = Background::start(self.arguments.http, self.metrics.clone())?;
        words.begin(self.log.name(), &self.arguments.log, &self.monitor, background.http);
        while !background.is_over() {
            background.show(self.monitor.checkpoint());
            match self.pass() {
                Ok(pass) => words.say(&pass),
                Err(error) => words.failed(&error),
            }
            background.show(self.monitor.checkpoint());
            background.wait(Duration::from_secs(self.arguments.interval.0));
        }
        Ok(words.end(&self.monitor))
    }
}

fn failure(error: MonitorError) -> Failure {
    let next = match &error {
        MonitorError::Store(_) => return Failure::new(error),
        MonitorError::TooLarge { .. } => "is that so? Then allow more with --max-entries",
        MonitorError::Fetch(_) | MonitorError::NoCheckpoint(_) => {
            "is the server running? Nothing was lost: try again later"
        }
    };
    Failure::new(error).next(next)
}
