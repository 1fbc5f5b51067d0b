//! What others may ask a monitor over HTTP: how it is doing, and the newest head that it verified,
//! which is what monitors of two parties gossip.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use transport::{Door, Transport};

use crate::metrics::Metrics;

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is served. Clones show the same.
#[derive(Debug, Clone)]
pub struct Served {
    metrics: Metrics,
    /// The signed note; empty before the first pass.
    checkpoint: watch::Sender<Vec<u8>>,
}

impl Served {
    /// Counters, and no head yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, checkpoint: watch::Sender::new(Vec::new()) }
    }

    /// Shows a signed head from now on.
    pub fn show(&self, checkpoint: &[u8]) {
        self.checkpoint.send_replace(checkpoint.to_vec());
    }
}

/// Serves `/checkpoint`, `/metrics` and `/healthz` until told to end.
pub async fn serve(
    served: Served,
    listener: TcpListener,
    ended: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let transport = Transport::default();
    let links = transport::open(&transport, served.metrics.transport(), Door::Admin, listener)?;
    let router = Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "following\n"))
        .with_state(served);
    transport::http::serve(links, router, transport.limits, ended).await;
    Ok(())
}

async fn checkpoint(State(served): State<Served>) -> Response {
    let note = served.checkpoint.borrow().clone();
    if note.is_empty() {
        return (StatusCode::NOT_FOUND, "nothing is verified yet\n").into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response()
}

async fn scrape(State(served): State<Served>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], served.metrics.encode()).into_response()
}
