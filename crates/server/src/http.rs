//! The read path as plain files over HTTP (C2SP tlog-tiles): `/checkpoint`, `/tile/…`, and
//! `/healthz` for load balancers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tlog::TilePath;

use crate::Service;

/// A year: full tiles never change, and neither does a partial tile of one width.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The tile may exist a second later.
const NOT_FOUND: &str = "no-store";

/// All routes of the read path.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/healthz", get(healthz))
        .with_state(service)
}

async fn checkpoint(State(service): State<Arc<Service>>) -> Response {
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
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, IMMUTABLE)];
    (headers, bytes).into_response()
}

async fn healthz(State(service): State<Arc<Service>>) -> Response {
    match service.state() {
        crate::Condition::Serving => (StatusCode::OK, "serving\n").into_response(),
        crate::Condition::Stopped => {
            (StatusCode::SERVICE_UNAVAILABLE, "the writer has stopped\n").into_response()
        }
    }
}

fn missing(why: &'static str) -> Response {
    let headers = [(header::CACHE_CONTROL, NOT_FOUND)];
    (StatusCode::NOT_FOUND, headers, format!("{why}\n")).into_response()
}
