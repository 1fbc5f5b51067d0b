//! What a witness counts, for Prometheus. Names and meanings stand in `docs/witness.md`, which a
//! test compares with what [`Metrics::encode`] writes.
//!
//! Labels have a few fixed values: nothing a peer sends becomes a label.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::alarms::Raised;
use crate::decision::Doubt;

/// Counters of one witness. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<(Registry, Counters)>);

#[derive(Debug)]
struct Counters {
    requests: Family<RequestLabels, Counter>,
    stamps: Family<ResultLabels, Counter>,
    alarms: Family<AlarmLabels, Counter>,
    alarms_kept: Gauge,
    logs: Gauge,
    commit_seconds: Histogram,
    batch: Histogram,
    signing: Gauge,
    transport: transport::Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: &'static str,
    result: &'static str,
}

/// Statuses that `add-checkpoint` answers with.
const STATUSES: [u32; 10] = [200, 400, 403, 404, 409, 413, 422, 429, 500, 503];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("countersign_witness");
        let counters = Counters {
            requests: Family::default(),
            stamps: Family::default(),
            alarms: Family::default(),
            alarms_kept: Gauge::default(),
            logs: Gauge::default(),
            // 0.1 ms to 6.5 s, each twice the one before.
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            signing: Gauge::default(),
            transport: transport::Metrics::register(&mut registry),
        };
        let r = &mut registry;
        r.register("requests", "add-checkpoint by status", counters.requests.clone());
        r.register("stamps", "Stamps by what became of them", counters.stamps.clone());
        r.register(
            "alarms",
            "Refused requests that may show a forked log",
            counters.alarms.clone(),
        );
        r.register("alarms_kept", "Such requests on disk", counters.alarms_kept.clone());
        r.register("logs", "Logs of which something was cosigned", counters.logs.clone());
        r.register(
            "commit_seconds",
            "The transaction of one batch, with its sync",
            counters.commit_seconds.clone(),
        );
        r.register("batch", "Checkpoints of one transaction", counters.batch.clone());
        r.register(
            "signing",
            "1 while requests can be cosigned; 0 after the clock fell back, or halted",
            counters.signing.clone(),
        );
        r.register("build", "This program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        counters.signing.set(1);
        for status in STATUSES {
            drop(counters.requests.get_or_create(&RequestLabels { status }));
        }
        for result in ["stamped", "refused"] {
            drop(counters.stamps.get_or_create(&ResultLabels { result }));
        }
        for kind in [Doubt::TwoHeads, Doubt::Unproved].map(Doubt::as_str) {
            for result in ["kept", "known", "full", "failed"] {
                drop(counters.alarms.get_or_create(&AlarmLabels { kind, result }));
            }
        }
        counters.transport.begin_at_zero("AddCheckpoint", &[("http", "checkpoint")], &[]);
        Self(Arc::new((registry, counters)))
    }
}

impl Metrics {
    /// Everything in the OpenMetrics text format, with what is counted at this moment.
    pub(crate) fn encode(&self, logs: usize, alarms: usize) -> String {
        let (registry, counters) = &*self.0;
        counters.logs.set(i64::try_from(logs).unwrap_or(i64::MAX));
        counters.alarms_kept.set(i64::try_from(alarms).unwrap_or(i64::MAX));
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, registry);
        out
    }

    pub(crate) fn request(&self, status: u16) {
        self.0.1.requests.get_or_create(&RequestLabels { status: status.into() }).inc();
    }

    pub(crate) fn stamp(&self, stamped: bool) {
        let result = if stamped { "stamped" } else { "refused" };
        self.0.1.stamps.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn alarm(&self, kind: Doubt, raised: Option<Raised>) {
        let result = match raised {
            Some(Raised::Kept) => "kept",
            Some(Raised::Known) => "known",
            Some(Raised::Full) => "full",
            None => "failed",
        };
        self.0.1.alarms.get_or_create(&AlarmLabels { kind: kind.as_str(), result }).inc();
    }

    /// Told of each commit: how many checkpoints it made durable, and how long it took.
    pub fn committed(&self, checkpoints: usize, took: Duration) {
        self.0.1.batch.observe(checkpoints as f64);
        self.0.1.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn signing(&self, possible: bool) {
        self.0.1.signing.set(possible.into());
    }

    pub(crate) fn transport(&self) -> &transport::Metrics {
        &self.0.1.transport
    }
}
