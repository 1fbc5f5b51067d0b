//! What is served over HTTP/1.1: the read path as plain files (C2SP tlog-tiles), `/checkpoint`
//! and `/tile/…`; `/healthz` and `/readyz` for load balancers; `/metrics` for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tlog::TilePath;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tower::ServiceExt as _;

use crate::link::Link;
use crate::peer::Peer;
use crate::transport::TransportLimits;
use crate::{Condition, Service};

/// A year: full tiles never change, and neither does a partial tile of one width.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The tile may exist a second later.
const NOT_FOUND: &str = "no-store";

/// Headers of one request; a proxy adds some ten.
const HEADERS: usize = 64;

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

/// Serves connections until told to end; then each ends after the request it is at.
pub(crate) async fn serve(
    mut links: impl Stream<Item = std::io::Result<Link>> + Unpin,
    router: Router,
    limits: TransportLimits,
    ended: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_headers(HEADERS)
        // What hyper can do with the least is 8 KiB.
        .max_buf_size((limits.header_bytes as usize).max(8 << 10))
        .half_close(false);
    let mut open = JoinSet::new();
    let mut end = std::pin::pin!(until(ended.clone()));
    loop {
        let link = tokio::select! {
            link = links.next() => link,
            () = &mut end => break,
            // So that what has ended does not pile up.
            Some(_) = open.join_next() => continue,
        };
        let Some(Ok(link)) = link else { break };
        let peer = link.peer().clone();
        let service = router.clone().map_request(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let connection =
            http.serve_connection(TokioIo::new(link), TowerToHyperService::new(service));
        let ended = until(ended.clone());
        open.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = ended => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
    }
    drop(links);
    while open.join_next().await.is_some() {}
}

/// Returns once it is so, or once nobody can say it any more.
pub(crate) async fn until(mut ended: watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
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
    service.metrics().read("http", "checkpoint");
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, service.reader().checkpoint().to_vec()).into_response()
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
    service.metrics().read("http", "tile");
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
