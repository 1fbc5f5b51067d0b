//! C2SP tlog-witness over HTTP/1.1: `POST /add-checkpoint`, and for readers
//! `GET /<SHA-256 of the origin>/checkpoint`; `/healthz`, `/readyz` and `/metrics` besides.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tlog::{AddCheckpoint, Hash, MAX_REQUEST, NoteSignature, RequestError, SIZE_CONTENT_TYPE};

use crate::decision::Refused;
use crate::service::{Condition, Service};

/// What changes with the next cosignature, or may be there a second later.
const NOT_KEPT: &str = "no-store";

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For logs and readers; with metrics only for those on this machine.
pub(crate) fn public(service: Arc<Service>, patience: Duration, with_metrics: bool) -> Router {
    let state = Public { service: Arc::clone(&service), patience };
    let router =
        Router::new().route("/add-checkpoint", post(add_checkpoint)).with_state(state).merge(
            Router::new().route("/{place}/checkpoint", get(checkpoint)).with_state(service.clone()),
        );
    let router = if with_metrics { router.merge(metrics(service.clone())) } else { router };
    router.merge(health(service))
}

/// Health and metrics alone.
pub(crate) fn admin(service: Arc<Service>) -> Router {
    health(Arc::clone(&service)).merge(metrics(service))
}

fn health(service: Arc<Service>) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(healthz)).with_state(service)
}

fn metrics(service: Arc<Service>) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(service)
}

#[derive(Clone)]
struct Public {
    service: Arc<Service>,
    /// A request must be here as a whole by then, and answered by then.
    patience: Duration,
}

async fn add_checkpoint(State(public): State<Public>, request: Request) -> Response {
    let service = &public.service;
    let body = match tokio::time::timeout(public.patience, read(request.into_body())).await {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::TooLarge)) => {
            let refused = Refused::Request(RequestError::TooLarge { size: MAX_REQUEST + 1 });
            service.count(Err(&refused));
            return refusal(&refused);
        }
        Ok(Err(Unread::Cut)) => {
            return plain(StatusCode::BAD_REQUEST, "the request broke off\n".to_owned());
        }
        Err(_) => {
            let text = format!("no whole request within {:?}\n", public.patience);
            return plain(StatusCode::REQUEST_TIMEOUT, text);
        }
    };
    let request = match AddCheckpoint::parse(&body) {
        Ok(request) => request,
        Err(error) => {
            let refused = Refused::Request(error);
            service.count(Err(&refused));
            return refusal(&refused);
        }
    };
    match tokio::time::timeout(public.patience, service.add_checkpoint(request)).await {
        Ok(answer) => answered(answer),
        // The record may become durable all the same; asking again tells.
        Err(_) => refusal(&Refused::QueueFull),
    }
}

/// Why a body is not here.
enum Unread {
    TooLarge,
    Cut,
}

async fn read(body: Body) -> Result<bytes::Bytes, Unread> {
    match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Err(_) => Err(Unread::Cut),
    }
}

fn answered(answer: Result<NoteSignature, Refused>) -> Response {
    match answer {
        Ok(line) => plain(StatusCode::OK, line.to_string()),
        Err(refused) => refusal(&refused),
    }
}

/// The answer to a refused request, exactly as C2SP tlog-witness has it.
fn refusal(refused: &Refused) -> Response {
    if let Some(size) = refused.other_size() {
        let headers = [(header::CONTENT_TYPE, SIZE_CONTENT_TYPE)];
        return (StatusCode::CONFLICT, headers, format!("{size}\n")).into_response();
    }
    let status =
        StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = plain(status, format!("{refused}\n"));
    let after = match refused {
        Refused::RateLimited { retry } => Some(retry.as_secs() + 1),
        Refused::QueueFull | Refused::Stopping | Refused::ClockFellBack { .. } => Some(1),
        _ => None,
    };
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn plain(status: StatusCode, text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, NOT_KEPT)];
    (status, headers, text).into_response()
}

async fn checkpoint(State(service): State<Arc<Service>>, Path(place): Path<String>) -> Response {
    let note = Hash::from_hex(&place).ok().and_then(|place| service.published(&place));
    let Some(note) = note else {
        return plain(StatusCode::NOT_FOUND, "nothing of such a log was cosigned\n".to_owned());
    };
    service.metrics().transport().read("http", "checkpoint");
    plain(StatusCode::OK, note.to_string())
}

async fn healthz(State(service): State<Arc<Service>>) -> Response {
    let (status, text) = match *service.conditions().borrow() {
        Condition::Serving => (StatusCode::OK, "serving\n"),
        Condition::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Condition::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "halted\n"),
    };
    plain(status, text.to_owned())
}

async fn scrape(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], service.scrape()).into_response()
}
