//! What a monitor tells Prometheus. Names and meanings stand in `docs/monitor.md`, which a test
//! compares with what [`Metrics::encode`] writes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::finding::Code;
use crate::pass::Pass;

/// Counters of one monitor. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<(Registry, Counters)>);

type Number = Gauge<u64, AtomicU64>;

#[derive(Debug)]
struct Counters {
    verified: Number,
    passes: Counter,
    failures: Counter,
    last_pass: Number,
    /// Not known without a policy, or while too few have cosigned.
    age: Gauge,
    findings: Family<FindingLabels, Counter>,
    standing: Number,
    unread: Counter,
    transport: transport::Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    code: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("countersign_monitor");
        let counters = Counters {
            verified: Number::default(),
            passes: Counter::default(),
            failures: Counter::default(),
            last_pass: Number::default(),
            age: Gauge::default(),
            findings: Family::default(),
            standing: Number::default(),
            unread: Counter::default(),
            transport: transport::Metrics::register(&mut registry),
        };
        let r = &mut registry;
        r.register("verified_entries", "Entries that are verified", counters.verified.clone());
        r.register("passes", "Passes that came to an end", counters.passes.clone());
        r.register("failures", "Passes that could not", counters.failures.clone());
        r.register_with_unit(
            "last_pass_time",
            "When the last pass came to an end, in unix time",
            Unit::Seconds,
            counters.last_pass.clone(),
        );
        r.register_with_unit(
            "cosigned_head_age",
            "Age of the newest cosigned head; -1 if it is not known",
            Unit::Seconds,
            counters.age.clone(),
        );
        r.register("findings", "What passes have found, by code", counters.findings.clone());
        r.register("standing_findings", "Findings that stay true", counters.standing.clone());
        r.register(
            "unread_artifacts",
            "Artifacts that are sealed for others, or too large to look at",
            counters.unread.clone(),
        );
        r.register("build", "This program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        counters.age.set(-1);
        for code in Code::ALL {
            drop(counters.findings.get_or_create(&FindingLabels { code: code.as_str() }));
        }
        Self(Arc::new((registry, counters)))
    }
}

impl Metrics {
    /// Counts a pass that came to an end at `now`, in unix time.
    pub fn passed(&self, pass: &Pass, now: u64) {
        let counters = &self.0.1;
        counters.verified.set(pass.head.size);
        counters.passes.inc();
        counters.last_pass.set(now);
        counters.age.set(pass.age.map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX)));
        counters.standing.set(pass.standing);
        counters.unread.inc_by(pass.unread);
        for finding in pass.findings.list() {
            let labels = FindingLabels { code: finding.code.as_str() };
            counters.findings.get_or_create(&labels).inc();
        }
    }

    /// Counts a pass that could not be done.
    pub fn failed(&self) {
        self.0.1.failures.inc();
    }

    pub(crate) fn transport(&self) -> &transport::Metrics {
        &self.0.1.transport
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.0.0);
        out
    }
}
