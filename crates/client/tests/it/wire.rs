//! Answers that end in the middle, or that are none: whoever gets one knows that it has no answer,
//! and accuses nobody.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use api::v1;
use bytes::Bytes;
use client::{CallError, Connection, Patience};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;

use crate::liar::{Liar, Log, statement, watched};

/// Passes bytes on in both directions. Of each connection's answers only the first `limit` bytes
/// come through; then both ends are closed.
async fn cutting_proxy(server: SocketAddr, limit: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, server, limit));
        }
    });
    address
}

async fn pass(client: TcpStream, server: SocketAddr, limit: usize) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let answers = async {
        let mut left = limit;
        let mut buffer = [0; 4096];
        while left > 0 {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            let part = read.min(left);
            to_client.write_all(&buffer[..part]).await?;
            left -= part;
        }
        std::io::Result::Ok(0)
    };
    // Whoever ends first takes the other one along.
    tokio::select! {
        _ = requests => {}
        _ = answers => {}
    }
}

#[tokio::test]
async fn an_answer_cut_short_at_any_place_is_no_answer() {
    let liar = Liar::serve(Log::of(5)).await;
    let key = liar.log(|log| log.verifier());
    let envelope = statement(&key, 1_000);
    let (mut opened, mut appended, mut cut) = (0, 0, 0);
    for limit in (0..1_600).step_by(13) {
        let proxy = cutting_proxy(liar.address, limit).await;
        let url = format!("http://{proxy}");
        let outcome = async {
            let mut connection = Connection::open(&url, key.clone(), None).await?;
            opened += 1;
            connection.append(&envelope).await
        };
        match outcome.await {
            Ok(inclusion) => {
                assert_eq!(inclusion.index, 5);
                appended += 1;
            }
            Err(CallError::Unreachable { .. }) => cut += 1,
            Err(error) => panic!("after {limit} bytes: {error:?}"),
        }
    }
    // Else the cuts did not go through all stages.
    assert!(cut > 20 && opened > appended && appended > 5, "{cut}, {opened}, {appended}");
    assert_eq!(liar.log(|log| log.size()), 6, "sent again and again, it is there once");
}

/// Answers calls of the log with these bytes, in frames as they are, and then ends the answer or
/// not. The last answer stands for all further calls.
#[derive(Clone)]
struct Raw(Arc<Mutex<VecDeque<(Bytes, bool)>>>);

impl NamedService for Raw {
    const NAME: &'static str = "countersign.v1.LogService";
}

impl tonic::codegen::Service<Request<Body>> for Raw {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        use http_body_util::{BodyExt as _, Full, StreamBody};
        use hyper::body::Frame;
        use tokio_stream::StreamExt as _;
        let mut answers = self.0.lock().unwrap();
        let (frame, ends) = answers.front().cloned().unwrap();
        if answers.len() > 1 {
            answers.pop_front();
        }
        let body = if ends {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let all = Full::new(frame);
            Body::new(all.with_trailers(async { Some(Ok(trailers)) }))
        } else {
            let first = tokio_stream::once(Ok::<_, Infallible>(Frame::data(frame)));
            Body::new(StreamBody::new(first.chain(tokio_stream::pending())))
        };
        let answer = Response::builder().header("content-type", "application/grpc").body(body);
        std::future::ready(Ok(answer.unwrap()))
    }
}

async fn raw(answers: impl IntoIterator<Item = (Vec<u8>, bool)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.into_iter().map(|(frame, ends)| (frame.into(), ends)).collect();
    let service = Raw(Arc::new(Mutex::new(answers)));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    format!("http://{address}")
}

/// A gRPC message of these bytes: not compressed, its length, the bytes.
fn message(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0], &length.to_be_bytes()[..], bytes].concat()
}

#[tokio::test]
async fn an_answer_that_is_no_message_of_its_kind_is_no_answer() {
    let key = Log::new().verifier();
    for (what, frame) in [
        ("nothing", Vec::new()),
        ("half a length", vec![0, 0, 0]),
        ("less than it says", message(100, b"short")),
        ("four gigabytes, it says", message(u32::MAX, b"")),
        ("nine megabytes", message(9 << 20, &vec![10; 9 << 20])),
        ("a field without end", message(2, &[10, 0x80])),
        ("a text of more than there is", message(3, &[10, 100, b'x'])),
        ("compressed, with nothing said of how", [&[1], &message(1, b"x")[1..]].concat()),
        ("two messages", [message(0, b""), message(0, b"")].concat()),
    ] {
        let url = raw([(frame, true)]).await;
        let error = Connection::open(&url, key.clone(), None).await.unwrap_err();
        // Two empty messages are an empty checkpoint and something after it.
        let known = matches!(error, CallError::Unreachable { .. } | CallError::False(_));
        assert!(known, "{what}: {error:?}");
        let accused = matches!(error, CallError::False(_));
        assert_eq!(accused, what == "two messages", "{what}: {error:?}");
    }
}

#[tokio::test]
async fn gives_up_a_call_whose_answer_does_not_end() {
    let liar = Liar::serve(Log::of(5)).await;
    let mut connection = liar.connect().await;
    let before = connection.trusted().clone();
    connection.set_patience(Patience { call: Duration::from_millis(200), ..Patience::default() });
    liar.lies(|lies| lies.silence = Some(crate::liar::Silence::BeforeLogging));
    let envelope = statement(connection.key(), 1_000);
    let error = watched(connection.append(&envelope)).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert_eq!(*connection.trusted(), before);
    assert_eq!(liar.received(), [envelope.as_bytes()]);
}

#[tokio::test]
async fn gives_up_an_answer_that_begins_and_does_not_end() {
    let log = Log::of(3);
    let note = v1::GetCheckpointResponse { checkpoint: log.note(3) }.encode_to_vec();
    let answer = message(note.len() as u32, &note);
    // Two calls open the connection.
    let answers = [(answer.clone(), true), (answer.clone(), true), (answer, false)];
    let mut connection = Connection::open(&raw(answers).await, log.verifier(), None).await.unwrap();
    connection.set_patience(Patience { call: Duration::from_millis(200), ..Patience::default() });
    let error = watched(connection.refresh()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("200ms"), "{error}");
}

#[tokio::test]
async fn says_what_is_wrong_with_an_address() {
    let key = Log::new().verifier();
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, words) in [
        (format!("http://{closed}"), "refused"),
        ("not an address".to_owned(), "http://host:port"),
        ("https://127.0.0.1:1".to_owned(), "--tls-ca"),
    ] {
        let error = Connection::open(&url, key.clone(), None).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CallError::Unreachable { .. }), "{text}");
        assert!(text.contains(&url) && text.contains(words), "{text}");
    }
}
