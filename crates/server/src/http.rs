//! What is served over HTTP/1.1: the read path as plain files (C2SP tlog-tiles), `/checkpoint`
//! and `/tile/…`; `/healthz` and `/readyz` for load balancers; `/metrics` for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tlog::TilePath;
use transport::Peer;

use crate::{Condition, Service};

/// A year: full tiles never change, and neither does a partial tile of one width.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The tile may exist a second later.
const NOT_FOUND: &str = "no-store";

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The read path, with health; with metrics only for those on this machine.
pub(crate) fn files(service: Arc<Service>, with_metrics: bool) -> Router {
    let reading = Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route_layer(middleware::from_fn(admitted));
    let router = if with_metrics { reading.merge(metrics()) } else { reading };
    router.merge(health()).with_state(service)
}

/// Health and metrics alone.
pub(crate) fn admin(service: Arc<Service>) -> Router {
    health().merge(metrics()).with_state(service)
}

fn health() -> Router<Arc<Service>> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(healthz))
}

fn metrics() -> Router<Arc<Service>> {
    Router::new().route("/metrics", get(scrape))
}

/// Lets pass who may read.
async fn admitted(request: Request, next: Next) -> Response {
    if request.extensions().get::<Peer>().is_some_and(Peer::may_read) {
        return next.run(request).await;
    }
    let why = "reading this log takes a client certificate that its operator admits\n";
    (StatusCode::FORBIDDEN, [(header::CACHE_CONTROL, NOT_FOUND)], why).into_response()
}

async fn checkpoint(State(service): State<Arc<Service>>) -> Response {
    service.metrics().transport().read("http", "checkpoint");
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, service.shown().to_vec()).into_response()
}

async fn tile(State(service): State<Arc<Service>>, Path(path): Path<String>) -> Response {
    let Ok(path) = TilePath::parse(&format!("tile/{path}")) else {
        return missing("not the path of a tile; see C2SP tlog-tiles");
    };
    // Full tiles are read from disk, which must not hold up the asynchronous threads.
    let reader = service.reader().clone();
    let bytes = match tokio::task::spawn_blocking(move || reader.tile(&path)).await {
        Ok(Ok(Some(bytes))) => bytes,
        Ok(Ok(None)) => return missing("the log has no such tile yet"),
        Ok(Err(error)) => {
            tracing::error!(%path, %error, "a tile cannot be read");
            return (StatusCode::INTERNAL_SERVER_ERROR, "the tile cannot be read\n")
                .into_response();
        }
        Err(error) => {
            tracing::error!(%path, %error, "reading a tile was cut short");
            return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
        }
    };
    service.metrics().transport().read("http", "tile");
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, IMMUTABLE)];
    (headers, bytes).into_response()
}

async fn healthz(State(service): State<Arc<Service>>) -> Response {
    let (status, text) = match service.state() {
        Condition::Serving => (StatusCode::OK, "serving\n"),
        Condition::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Condition::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "the writer has stopped\n"),
    };
    (status, [(header::CACHE_CONTROL, NOT_FOUND)], text).into_response()
}

async fn scrape(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], service.scrape()).into_response()
}

fn missing(why: &'static str) -> Response {
    let headers = [(header::CACHE_CONTROL, NOT_FOUND)];
    (StatusCode::NOT_FOUND, headers, format!("{why}\n")).into_response()
}
