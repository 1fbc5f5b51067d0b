//! What the server counts, for Prometheus. Names, types and meanings stand in
//! `docs/operations.md`, which a test compares with what [`Metrics::encode`] writes.
//!
//! Labels have a few fixed values: nothing a peer sends becomes a label.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use exchange::Reason;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::witnesses::CAUSES;

/// Counters of one server. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<(Registry, Counters)>);

#[derive(Debug)]
struct Counters {
    /// When this process published its newest head, or began.
    published: Mutex<Instant>,
    checkpoint_age: Gauge<f64, AtomicU64>,
    appends: Family<AppendLabels, Counter>,
    append_seconds: Histogram,
    batch_entries: Histogram,
    commit_seconds: Histogram,
    fatal: Family<CauseLabels, Counter>,
    checkpoint_size: Gauge,
    queue_entries: Gauge,
    queue_bytes: Gauge,
    serving: Gauge,
    artifact_bytes: Family<DirectionLabels, Counter>,
    artifacts_removed: Counter,
    unnamed_bytes: Gauge,
    /// When each witness last cosigned, or since when it is asked.
    cosigned: Mutex<BTreeMap<String, Instant>>,
    cosignature_age: Family<WitnessLabels, Gauge<f64, AtomicU64>>,
    cosignature_failures: Family<FailureLabels, Counter>,
    cosigning_seconds: Histogram,
    witnessed_size: Gauge,
    witnessed_age: Gauge<f64, AtomicU64>,
    ticks: Family<TickLabels, Counter>,
    open_exchanges: Gauge,
    exchange_watchers: Gauge,
    transport: transport::Metrics,
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendResult {
    /// It is a new leaf.
    Committed,
    /// The log had it.
    Existed,
    /// It is not in the log, for this reason.
    Refused(Reason),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppendLabels {
    result: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// Names of witnesses come from the operator's policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessLabels {
    witness: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    witness: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TickLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

/// 0.1 ms to 6.5 s, each twice the one before: an fsync takes 0.2 ms on a good disk and 20 ms on
/// a bad one.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 17))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let r = &mut registry;
        let counters = Counters {
            published: Mutex::new(Instant::now()),
            checkpoint_age: add(
                r,
                "checkpoint_age_seconds",
                "Since this process published its newest checkpoint, or began",
            ),
            checkpoint_size: add(r, "checkpoint_size", "Entries under the newest checkpoint"),
            appends: add(r, "appends", "Statements by what became of them"),
            append_seconds: latencies(),
            queue_entries: add(r, "queue_entries", "Statements that wait for the writer"),
            queue_bytes: add(r, "queue_bytes", "Bytes that wait for the writer"),
            batch_entries: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: latencies(),
            fatal: add(r, "writer_fatal", "Errors that ended the writer"),
            serving: add(r, "serving", "1 while statements are taken, else 0"),
            artifact_bytes: add(r, "artifact_bytes", "Bytes of artifacts taken in and given out"),
            artifacts_removed: add(r, "artifacts_removed", "Artifacts removed as garbage"),
            unnamed_bytes: add(
                r,
                "artifact_unnamed_bytes",
                "Bytes of artifacts that no statement has named yet",
            ),
            cosigned: Mutex::default(),
            cosignature_age: add(
                r,
                "cosignature_age_seconds",
                "Since a witness last cosigned, or since it is asked",
            ),
            cosignature_failures: add(
                r,
                "cosignature_failures",
                "Cosignatures that did not come, by witness and cause",
            ),
            cosigning_seconds: latencies(),
            witnessed_size: add(r, "witnessed_size", "Entries that a quorum of witnesses cosigned"),
            witnessed_age: add(
                r,
                "witnessed_age_seconds",
                "Since a quorum cosigned what the log shows, or since the process began",
            ),
            ticks: add(
                r,
                "ticks",
                "Ticks that the server logged, or failed to, by what came of it",
            ),
            open_exchanges: add(r, "exchanges_open", "Exchanges that are not over"),
            exchange_watchers: add(r, "exchange_watchers", "Streams that follow an exchange"),
            transport: transport::Metrics::register(r),
        };
        r.register("append_seconds", "From request to answer", counters.append_seconds.clone());
        r.register("batch_entries", "Statements of one commit", counters.batch_entries.clone());
        r.register(
            "commit_seconds",
            "The transaction that swaps the head, with its sync",
            counters.commit_seconds.clone(),
        );
        r.register(
            "cosigning_seconds",
            "From a head to the quorum that cosigned it",
            counters.cosigning_seconds.clone(),
        );
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        r.register("build", "This program", Info::new(build));
        counters.zeros();
        Self(Arc::new((registry, counters)))
    }
}

/// Registers a metric that starts at zero.
fn add<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Counters {
    /// Alerts compare with what was before, so that what never happened has to read zero.
    fn zeros(&self) {
        for result in ["committed", "existed"] {
            touch(&self.appends, &AppendLabels { result, reason: "" });
        }
        for cause in FATAL_CAUSES {
            touch(&self.fatal, &CauseLabels { cause });
        }
        for result in TICK_RESULTS {
            touch(&self.ticks, &TickLabels { result });
        }
        for direction in ["in", "out"] {
            touch(&self.artifact_bytes, &DirectionLabels { direction });
        }
        let reads = [
            ("http", "checkpoint"),
            ("http", "tile"),
            ("grpc", "checkpoint"),
            ("grpc", "proof"),
            ("grpc", "entries"),
            ("grpc", "artifact"),
            ("grpc", "exchange"),
        ];
        let reasons = [Reason::QueueFull, Reason::RateLimited, Reason::Stopping];
        self.transport.begin_at_zero("Append", &reads, &reasons.map(Reason::as_str));
    }
}

/// Makes a metric of a family, at zero.
fn touch<L: Clone + Eq + std::hash::Hash, M: Default>(family: &Family<L, M>, labels: &L) {
    drop(family.get_or_create(labels));
}

/// Why the writer can end. `fenced` is a head swap that was refused; `rolled_back` means that a
/// witness shows what this log has lost.
const FATAL_CAUSES: [&str; 5] = ["fenced", "storage", "read", "panic", "rolled_back"];

/// A stream that follows an exchange.
#[derive(Debug)]
pub(crate) struct Watcher(Metrics);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.0.1.exchange_watchers.dec();
    }
}

/// A tick that was due is in the log, or was refused and is tried again.
const TICK_RESULTS: [&str; 2] = ["logged", "refused"];

/// What is read at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) checkpoint_size: u64,
    pub(crate) queue: sequencer::Depth,
    pub(crate) unnamed_bytes: u64,
    pub(crate) serving: bool,
    /// Size and age of what a quorum cosigned last, if the log has witnesses.
    pub(crate) witnessed: Option<(u64, Duration)>,
}

impl Metrics {
    /// Everything in the OpenMetrics text format.
    pub(crate) fn encode(&self, now: &Now) -> String {
        let (registry, inner) = &*self.0;
        let age = inner.published.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        inner.checkpoint_age.set(age.as_secs_f64());
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&inner.checkpoint_size, now.checkpoint_size);
        gauge(&inner.queue_entries, now.queue.entries as u64);
        gauge(&inner.queue_bytes, now.queue.bytes as u64);
        gauge(&inner.unnamed_bytes, now.unnamed_bytes);
        gauge(&inner.serving, u64::from(now.serving));
        if let Some((size, age)) = now.witnessed {
            gauge(&inner.witnessed_size, size);
            inner.witnessed_age.set(age.as_secs_f64());
        }
        for (witness, since) in &*inner.cosigned.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = WitnessLabels { witness: witness.clone() };
            inner.cosignature_age.get_or_create(&labels).set(since.elapsed().as_secs_f64());
        }
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, registry);
        out
    }

    pub(crate) fn published(&self) {
        *self.0.1.published.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn appended(&self, result: AppendResult, took: Duration) {
        let labels = match result {
            AppendResult::Committed => AppendLabels { result: "committed", reason: "" },
            AppendResult::Existed => AppendLabels { result: "existed", reason: "" },
            AppendResult::Refused(reason) => {
                AppendLabels { result: "refused", reason: reason.as_str() }
            }
        };
        self.0.1.appends.get_or_create(&labels).inc();
        self.0.1.append_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn committed(&self, entries: usize, took: Duration) {
        self.0.1.batch_entries.observe(entries as f64);
        self.0.1.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn fatal(&self, error: Option<&sequencer::Fatal>) {
        use sequencer::{Fatal, StoreError};
        let cause = match error {
            None => "panic",
            Some(Fatal::Store(StoreError::Fenced { .. })) => "fenced",
            Some(Fatal::Store(_)) => "storage",
            Some(Fatal::Read(_) | Fatal::Stopped) => "read",
        };
        self.0.1.fatal.get_or_create(&CauseLabels { cause }).inc();
    }

    /// Witnesses with these names are asked from now on.
    pub(crate) fn ask<'a>(&self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.cosigned(name);
            for cause in CAUSES {
                let witness = name.to_owned();
                touch(&self.0.1.cosignature_failures, &FailureLabels { witness, cause });
            }
        }
    }

    pub(crate) fn cosigned(&self, witness: &str) {
        let mut cosigned = self.0.1.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
        cosigned.insert(witness.to_owned(), Instant::now());
    }

    pub(crate) fn not_cosigned(&self, witness: &str, cause: &'static str) {
        let labels = FailureLabels { witness: witness.to_owned(), cause };
        self.0.1.cosignature_failures.get_or_create(&labels).inc();
    }

    pub(crate) fn witnessed(&self, took: Duration) {
        self.0.1.cosigning_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn rolled_back(&self) {
        self.0.1.fatal.get_or_create(&CauseLabels { cause: "rolled_back" }).inc();
    }

    pub(crate) fn tick(&self, logged: bool) {
        let [yes, no] = TICK_RESULTS;
        let labels = TickLabels { result: if logged { yes } else { no } };
        self.0.1.ticks.get_or_create(&labels).inc();
    }

    /// Exchanges that are not over.
    pub(crate) fn open_exchanges(&self, count: usize) {
        self.0.1.open_exchanges.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One more stream that follows an exchange, for as long as what is returned lives.
    pub(crate) fn exchange_watcher(&self) -> Watcher {
        self.0.1.exchange_watchers.inc();
        Watcher(self.clone())
    }

    pub(crate) fn artifact_in(&self, bytes: usize) {
        self.artifact("in", bytes);
    }

    pub(crate) fn artifact_out(&self, bytes: usize) {
        self.artifact("out", bytes);
    }

    fn artifact(&self, direction: &'static str, bytes: usize) {
        self.0.1.artifact_bytes.get_or_create(&DirectionLabels { direction }).inc_by(bytes as u64);
    }

    pub(crate) fn removed(&self, artifacts: u64) {
        self.0.1.artifacts_removed.inc_by(artifacts);
    }

    /// What is counted about connections and calls.
    pub(crate) fn transport(&self) -> &transport::Metrics {
        &self.0.1.transport
    }
}
