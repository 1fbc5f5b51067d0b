//! What a server counts about its connections and calls, for Prometheus.
//!
//! Labels have a few fixed values: nothing a peer sends becomes a label.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of one server's transports. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    connections: Family<ListenerLabels, Gauge>,
    connections_refused: Family<RefusedLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    reads: Family<ReadLabels, Counter>,
    retry_info: Family<ReasonLabels, Counter>,
}

/// Which listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// gRPC.
    Grpc,
    /// HTTP for everybody.
    Http,
    /// Health and metrics.
    Admin,
}

impl Door {
    const ALL: [Self; 3] = [Self::Grpc, Self::Http, Self::Admin];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    listener: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    interface: &'static str,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Metrics {
    /// Registers the counters, all of which begin at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let counters = Counters::default();
        let Counters { connections, connections_refused, calls, reads, retry_info } = &counters;
        registry.register("connections", "Open connections", connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at the door",
            connections_refused.clone(),
        );
        registry.register("calls", "gRPC calls by method and status code", calls.clone());
        registry.register("reads", "Answers to readers, over gRPC and HTTP", reads.clone());
        registry.register(
            "retry_info",
            "Refusals that name a time to try again",
            retry_info.clone(),
        );
        for door in Door::ALL {
            let listener = door.as_str();
            drop(connections.get_or_create(&ListenerLabels { listener }));
            for cause in ["full", "address_full", "handshake"] {
                drop(connections_refused.get_or_create(&RefusedLabels { listener, cause }));
            }
        }
        Self(Arc::new(counters))
    }

    /// Counts a connection for as long as the answer lives.
    pub(crate) fn connection(&self, door: Door) -> Counted {
        let labels = ListenerLabels { listener: door.as_str() };
        let gauge = self.0.connections.get_or_create_owned(&labels);
        gauge.inc();
        Counted(gauge)
    }

    pub(crate) fn connection_refused(&self, door: Door, cause: &'static str) {
        let labels = RefusedLabels { listener: door.as_str(), cause };
        self.0.connections_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn call(&self, method: &'static str, code: &'static str) {
        self.0.calls.get_or_create(&CallLabels { method, code }).inc();
    }

    /// Counts an answer to a reader.
    pub fn read(&self, interface: &'static str, what: &'static str) {
        self.0.reads.get_or_create(&ReadLabels { interface, what }).inc();
    }

    pub(crate) fn retry_info(&self, reason: &'static str) {
        self.0.retry_info.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Alerts compare with what was before, so that what never happened has to read zero: these
    /// calls and answers are there from the start.
    pub fn begin_at_zero(
        &self,
        method: &'static str,
        reads: &[(&'static str, &'static str)],
        reasons: &[&'static str],
    ) {
        drop(self.0.calls.get_or_create(&CallLabels { method, code: "OK" }));
        for &(interface, what) in reads {
            drop(self.0.reads.get_or_create(&ReadLabels { interface, what }));
        }
        for &reason in reasons {
            drop(self.0.retry_info.get_or_create(&ReasonLabels { reason }));
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
