//! What every gRPC call passes before and after its service: may this peer read, is there room,
//! has it an end; and does every refusal say why. Nothing of a request's content is logged.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use exchange::{Reason, Refusal};
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::layer::util::Stack;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::ending::until;
use crate::limits::TransportLimits;
use crate::link::OpenCall;
use crate::metrics::Metrics;
use crate::peer::{Identity, Peer};
use crate::slots::{Full, Slot, Slots};
use crate::status;

/// What one connection may send ahead of being read: 4 MiB × connections bounds the memory.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A gRPC server behind a guard, with the limits that must not stay at their default.
pub fn grpc_server(
    limits: TransportLimits,
    guard: Guard,
) -> Server<Stack<Guard, tower::layer::util::Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(limits.keepalive))
        .http2_keepalive_timeout(Some(limits.keepalive_answer))
        .http2_max_header_list_size(limits.header_bytes)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.streams_per_connection)
        // Without a grace: with one, connections are cut without a word (tonic 0.14.9).
        .max_connection_age(limits.connection_age)
        .layer(guard)
}

/// Who calls: the guard has seen to it that there is somebody.
pub fn peer_of<T>(request: &tonic::Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| status::plain(Code::Internal, status::TRANSPORT, "who is calling?"))
}

/// The header that carries the number of a request, which the server's log has as well.
const REQUEST_ID: &str = "x-request-id";

/// Guards all services of one listener.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: TransportLimits,
    calls: Slots<Identity>,
    streams: Slots<Identity>,
    /// Watchers wait for ever, so they have places of their own.
    watches: Slots<Identity>,
    metrics: Metrics,
    /// True once the doors close.
    ended: watch::Receiver<bool>,
    /// Random, so that numbers of two processes differ.
    prefix: u32,
    requests: AtomicU64,
}

impl Guard {
    /// One for each listener. Once `ended` is true, answers end that would go on for ever.
    pub fn new(limits: TransportLimits, metrics: Metrics, ended: watch::Receiver<bool>) -> Self {
        let prefix = RandomState::new().hash_one(std::process::id()) as u32;
        Self(Arc::new(Shared {
            limits,
            calls: Slots::new(limits.calls, limits.calls_each),
            streams: Slots::new(limits.streams, limits.streams_each),
            watches: Slots::new(limits.streams, limits.streams_each),
            metrics,
            ended,
            prefix,
            requests: AtomicU64::new(0),
        }))
    }
}

impl Shared {
    fn request_id(&self) -> String {
        format!("{:08x}-{}", self.prefix, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// What a call holds while it goes on, or why it may not begin.
    fn admit(&self, method: &Method, peer: &Peer) -> Result<Held, Status> {
        if method.reads && !peer.may_read() {
            let message = "reading this log takes a client certificate that its operator admits";
            return Err(status::of(&Refusal::new(Reason::NotAdmitted, message)));
        }
        let (slots, what) = match method.shape {
            Shape::Call => (&self.calls, "calls"),
            Shape::Stream => (&self.streams, "streams"),
            Shape::Watch => (&self.watches, "watches"),
        };
        let identity = peer.identity();
        let slot = slots.take(identity).map_err(|full| match full {
            Full::Total => status::overloaded("log", what),
            Full::Own => status::overloaded(&identity.to_string(), what),
        })?;
        // A stream has deadlines of its own, for each message.
        let call = (method.shape == Shape::Call).then(|| {
            let until = Instant::now() + self.limits.call + self.limits.idle;
            peer.calls().begin(until)
        });
        Ok(Held { _slot: slot, _call: call })
    }

    /// Makes an answer complete, counts it, and says in the log what was refused.
    fn finish(&self, method: &Method, id: &str, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, value);
        }
        let refused = Status::from_header_map(headers).filter(|s| s.code() != Code::Ok);
        let Some(refused) = refused else {
            self.metrics.call(method.name, "OK");
            if let Some(what) = method.what {
                self.metrics.read("grpc", what);
            }
            tracing::debug!("answered");
            return;
        };
        let known = refused.get_error_details().error_info().is_some();
        let refused = if known { refused } else { status::complete(&refused) };
        let own_fault = status::is_own_fault(&refused);
        let refused = if own_fault { status::with_request(&refused, id) } else { refused };
        let details = refused.get_error_details();
        let reason = details.error_info().map_or("", |info| info.reason.as_str());
        if details.retry_info().is_some() {
            self.metrics.retry_info(known_reason(reason));
        }
        let code = status::name(refused.code());
        self.metrics.call(method.name, code);
        if own_fault {
            tracing::error!(code, reason, "refused");
        } else {
            tracing::info!(code, reason, "refused");
        }
        headers.remove(DETAILS);
        // The headers were a status before; that a new one does not fit is out of the question.
        let _ = refused.add_header(headers);
    }
}

const DETAILS: &str = "grpc-status-details-bin";

/// The reason as a label: the text itself is the server's own, but lives too short.
fn known_reason(reason: &str) -> &'static str {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    reasons.chain([status::OVERLOADED]).find(|known| *known == reason).unwrap_or("other")
}

/// What is known of a method by its path.
#[derive(Debug, Clone, Copy)]
struct Method {
    /// For logs and labels: a name that this server has, or `other`.
    name: &'static str,
    shape: Shape,
    /// True if it gives out what is in the log.
    reads: bool,
    /// What it reads, for the metrics.
    what: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One request, one answer.
    Call,
    /// Many of either, one soon after the other.
    Stream,
    /// One request, and answers whenever there is something to say.
    Watch,
}

impl Method {
    fn of(path: &str) -> Self {
        let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or(("", path));
        let ours = service.starts_with("countersign.");
        let known = METHODS.iter().find(|(known, _)| ours && *known == name);
        let shape = match name {
            "PutArtifact" | "GetArtifact" | "ServerReflectionInfo" => Shape::Stream,
            _ if name.ends_with("Stream") => Shape::Stream,
            _ if name.starts_with("Watch") => Shape::Watch,
            _ => Shape::Call,
        };
        Self {
            name: match known {
                Some((name, _)) => name,
                None if service == "grpc.health.v1.Health" => "Health",
                None if service.starts_with("grpc.reflection.") => "Reflection",
                None => "other",
            },
            shape,
            // So that a method that is new here is not open by mistake.
            reads: ours
                && !matches!(
                    name,
                    "Append" | "AppendStream" | "PutArtifact" | "AddCheckpoint" | "Stamp"
                ),
            what: known.and_then(|(_, what)| *what),
        }
    }
}

const METHODS: [(&str, Option<&str>); 15] = [
    ("Append", None),
    ("AppendStream", None),
    ("PutArtifact", None),
    ("GetArtifact", Some("artifact")),
    ("GetCheckpoint", Some("checkpoint")),
    ("WatchCheckpoints", Some("checkpoint")),
    ("GetInclusionProof", Some("proof")),
    ("GetConsistencyProof", Some("proof")),
    ("ListEntries", Some("entries")),
    ("AddCheckpoint", None),
    ("Stamp", None),
    ("GetWitnessState", Some("checkpoint")),
    ("GetExchange", Some("exchange")),
    ("ListExchanges", Some("exchange")),
    ("WatchExchange", Some("exchange")),
];

/// What a call takes up until its answer is sent.
#[derive(Debug)]
struct Held {
    _slot: Slot<Identity>,
    _call: Option<OpenCall>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, shared: Arc::clone(&self.0) }
    }
}

/// A service behind the guard.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inner: S,
    shared: Arc<Shared>,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let shared = Arc::clone(&self.shared);
        let method = Method::of(request.uri().path());
        let id = shared.request_id();
        let peer = request.extensions().get::<Peer>().cloned();
        let span = match &peer {
            Some(peer) => {
                tracing::info_span!("call", method = method.name, id, peer = %peer.identity())
            }
            None => tracing::info_span!("call", method = method.name, id),
        };
        let admitted = match &peer {
            Some(peer) => shared.admit(&method, peer),
            None => Err(status::plain(Code::Internal, status::TRANSPORT, "who is calling?")),
        };
        let answer = admitted.map(|held| (self.inner.call(request), held));
        let answering = async move {
            let mut response = match answer {
                Err(status) => status.into_http(),
                Ok((answer, held)) => {
                    let response = match method.shape {
                        Shape::Stream | Shape::Watch => answer.await,
                        Shape::Call => match tokio::time::timeout(shared.limits.call, answer).await
                        {
                            Ok(response) => response,
                            Err(_) => Ok(too_slow().into_http()),
                        },
                    };
                    let Ok(response) = response;
                    let ending = (method.shape == Shape::Watch)
                        .then(|| Box::pin(until(shared.ended.clone())) as Ending);
                    response.map(|inner| Body::new(HoldingBody { inner, ending, _held: held }))
                }
            };
            shared.finish(&method, &id, response.headers_mut());
            Ok(response)
        };
        Box::pin(answering.instrument(span))
    }
}

fn too_slow() -> Status {
    let message = "not done in time; a statement may have been taken: send the same bytes again";
    status::plain(Code::DeadlineExceeded, status::TOO_SLOW, message)
}

/// An answer that gives its place back when it is sent, or when nobody wants it any more.
struct HoldingBody {
    inner: Body,
    /// For an answer that has no end of its own.
    ending: Option<Ending>,
    _held: Held,
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How an answer ends that would go on for ever: the caller asks again elsewhere or later.
fn stopping() -> HeaderMap {
    let refusal = Refusal::new(Reason::Stopping, "the server is about to stop; ask again later");
    let mut trailers = HeaderMap::new();
    // The names and values of a status always fit.
    let _ = status::of(&refusal).add_header(&mut trailers);
    trailers
}

impl hyper::body::Body for HoldingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let inner = Pin::new(&mut self.inner).poll_frame(cx);
        let ended = |ending: &mut Ending| ending.as_mut().poll(cx).is_ready();
        // What is there to be said is said first.
        if inner.is_pending() && self.ending.as_mut().is_some_and(ended) {
            self.inner = Body::empty();
            self.ending = None;
            return Poll::Ready(Some(Ok(Frame::trailers(stopping()))));
        }
        inner
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, Shape};

    #[test]
    fn whatever_is_not_known_counts_as_reading() {
        let of = |path| Method::of(path);
        assert!(!of("/countersign.v1.LogService/Append").reads);
        assert!(of("/countersign.v1.LogService/ListEntries").reads);
        assert!(of("/countersign.v1.ExchangeService/GetExchange").reads);
        assert!(!of("/grpc.health.v1.Health/Check").reads);
        assert_eq!(of("/countersign.v1.ExchangeService/WatchExchange").shape, Shape::Watch);
        assert_eq!(of("/x\"} 1/Append\n").name, "other", "peers write no labels");
        assert_eq!(of("nonsense").name, "other");
    }
}
