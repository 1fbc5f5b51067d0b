//! Traces over OTLP/gRPC, against a collector on loopback. Here belongs what leaves the server for
//! whoever watches it.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::parties::{Voice, nonce};
use crate::service::{append, register};
use crate::support::{World, within};

/// `ExportTraceServiceRequest` of OpenTelemetry, as far as this test looks into it.
#[derive(Clone, PartialEq, prost::Message)]
struct Export {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    resource_spans: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Accepted {}

/// Keeps what it is sent.
#[derive(Clone)]
struct Collector(SyncSender<Export>);

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl UnaryService<Export> for Collector {
    type Response = Accepted;
    type Future = BoxFuture<Response<Accepted>, Status>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        let kept = self.0.send(request.into_inner());
        Box::pin(async move {
            kept.map_err(|_| Status::unavailable("the test is over"))?;
            Ok(Response::new(Accepted {}))
        })
    }
}

impl tower::Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path().rsplit('/').next(), Some("Export"));
            let mut grpc = Grpc::new(tonic_prost::ProstCodec::<Accepted, Export>::default());
            Ok(grpc.unary(collector, request).await)
        })
    }
}

/// True if these bytes stand in those.
fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_collector_gets_a_span_for_each_call_and_nothing_of_what_it_said() {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let (sender, exports): (_, Receiver<Export>) = sync_channel(1_000);
    within(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let collector = Server::builder().add_service(Collector(sender));
        tokio::spawn(collector.serve_with_incoming(incoming));

        let server = world.serve_as(&format!(
            "[telemetry]\notlp_endpoint = \"{endpoint}\"\n[[party]]\nname = \"a.example\"\nvkey = \
             \"a.vkey\"\n"
        ));
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        append(&mut log, &a.intent()).await;
        drop(log);
        // What is left is sent at the end.
        tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    });
    let mut spans = 0;
    while let Ok(export) = exports.recv_timeout(Duration::from_secs(1)) {
        for bytes in &export.resource_spans {
            assert!(holds(bytes, b"service.name") && holds(bytes, b"countersign"));
            spans += usize::from(holds(bytes, b"Append"));
            for secret in [&nonce("a.example 1")[..], hex::encode(nonce("a.example 1")).as_bytes()]
            {
                assert!(!holds(bytes, secret), "a nonce is in the trace");
            }
        }
    }
    assert!(spans > 0, "no span of an append came");
}
