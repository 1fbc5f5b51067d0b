//! How much goes on at once and how long it may take: connections, streams, headers, messages,
//! and peers that say nothing. Here belongs what any stranger can do; quotas of parties have their
//! own module.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use api::v1;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use tokio_stream::StreamExt as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::metrics;
use crate::parties::Voice;
use crate::service::{append, register};
use crate::support::{Server, World, eventually, within};

/// RFC 9113 section 3.4: the preface, and a SETTINGS frame that settles nothing.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Types of HTTP/2 frames.
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A log that admits `a.example`, with these limits.
fn world(limits: &str) -> (World, Server) {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let party = "[[party]]\nname = \"a.example\"\nvkey = \"a.vkey\"\n";
    let server = world.serve_as(&format!("[limits]\n{limits}\n{party}"));
    (world, server)
}

/// True if this says that the other end has closed, and not that nothing came in time.
fn closed(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted)
}

/// The next frame: its type and what it carries. Nothing once the other end has closed.
fn frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    if let Err(error) = stream.read_exact(&mut head) {
        assert!(closed(&error), "no frame and no end: {error}");
        return None;
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

/// Types of all frames until the other end closes.
pub(crate) fn frames(stream: &mut TcpStream) -> Vec<u8> {
    std::iter::from_fn(|| frame(stream)).map(|(kind, _)| kind).collect()
}

/// True once the other end has closed without a word.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn connections(server: &Server, listener: &str) -> f64 {
    let series = format!("countersign_connections{{listener=\"{listener}\"}}");
    metrics::value(server.admin("/metrics").text(), &series)
}

#[test]
fn connections_beyond_the_limit_are_closed_at_the_door() {
    let (_world, server) = world("connections = 2");
    for (url, listener) in [(&server.grpc, "grpc"), (&server.http, "http")] {
        let mut held = vec![Server::connect(url)];
        held.push(Server::connect(url));
        eventually("both are counted", || (connections(&server, listener) == 2.0).then_some(()));
        assert!(is_closed(&mut Server::connect(url)), "a third connection was let in");
        let series = format!(
            "countersign_connections_refused_total{{listener=\"{listener}\",cause=\"full\"}}"
        );
        assert_eq!(metrics::value(server.admin("/metrics").text(), &series), 1.0);
        held.pop();
        eventually("a place is free again", || {
            (connections(&server, listener) == 1.0).then_some(())
        });
        if listener == "grpc" {
            within(async {
                server.log().await.get_checkpoint(v1::GetCheckpointRequest::default()).await
            })
            .unwrap();
        }
    }
}

#[test]
fn connections_from_one_address_have_a_limit_of_their_own() {
    let (_world, server) = world("connections_per_address = 2");
    let held = [Server::connect(&server.grpc), Server::connect(&server.grpc)];
    eventually("both are counted", || (connections(&server, "grpc") == 2.0).then_some(()));
    assert!(is_closed(&mut Server::connect(&server.grpc)));
    let series = "countersign_connections_refused_total{listener=\"grpc\",cause=\"address_full\"}";
    assert_eq!(metrics::value(server.admin("/metrics").text(), series), 1.0);
    drop(held);
}

#[test]
fn a_peer_that_does_not_begin_is_cut() {
    let (_world, server) = world("handshake_seconds = 1");
    // Nothing at all, half a preface, half a request.
    for (url, beginning) in [
        (&server.grpc, &b""[..]),
        (&server.grpc, &HELLO[..20]),
        (&server.http, &b""[..]),
        (&server.http, b"GET /checkpoint HTTP/1.1\r\nHost: loc"),
    ] {
        let mut stream = Server::connect(url);
        stream.write_all(beginning).unwrap();
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert!(closed(&error), "after {beginning:?} it stays open: {error}");
        }
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "half a request was answered");
    }
    assert_eq!(server.get("/checkpoint").status, 200);
}

#[test]
fn a_peer_that_is_not_there_any_more_is_asked_and_cut() {
    let (_world, server) = world("keepalive_seconds = 1\nkeepalive_answer_seconds = 1");
    within(async {
        // Meanwhile somebody who answers stays connected.
        let mut log = server.log().await;
        let mut watch =
            log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.unwrap().into_inner();
        watch.next().await.unwrap().unwrap();
        let mut gone = Server::connect(&server.grpc);
        gone.write_all(HELLO).unwrap();
        let seen = tokio::task::spawn_blocking(move || frames(&mut gone)).await.unwrap();
        assert!(seen.contains(&PING), "it was not asked: {seen:?}");
        register(&mut log, &server, "a.example").await;
        watch.next().await.unwrap().expect("the one who answers was cut as well");
    });
}

#[test]
fn an_old_connection_is_asked_to_close_and_cut_if_it_does_not() {
    let (_world, server) = world("connection_age_seconds = 1\nupload_seconds = 1");
    let mut stream = Server::connect(&server.grpc);
    stream.write_all(HELLO).unwrap();
    let seen = frames(&mut stream);
    assert!(seen.contains(&GOAWAY), "it was not asked: {seen:?}");
    // Who makes a new connection goes on.
    within(async {
        let mut log = server.log().await;
        for _ in 0..2 {
            log.get_checkpoint(v1::GetCheckpointRequest::default()).await.unwrap();
        }
    });
}

#[test]
fn the_limits_of_http2_are_told_to_every_peer() {
    let (_world, server) = world("streams_per_connection = 7\nheader_bytes = 9000");
    let mut stream = Server::connect(&server.grpc);
    stream.write_all(HELLO).unwrap();
    let (kind, settings) = frame(&mut stream).unwrap();
    assert_eq!(kind, SETTINGS);
    let value = |id: u8| {
        let found = settings.chunks(6).find(|setting| setting[..2] == [0, id])?;
        Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
    };
    // RFC 9113 section 6.5.2: MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE.
    assert_eq!((value(3), value(6)), (Some(7), Some(9000)), "{settings:?}");
}

#[test]
fn headers_beyond_the_limit_are_refused_before_anyone_acts_on_them() {
    let (_world, server) = world("header_bytes = 9000");
    within(async {
        let mut log = server.log().await;
        for (length, answered) in [(4_000, true), (9_500, false), (60_000, false)] {
            let mut request = Request::new(v1::GetCheckpointRequest::default());
            let long = MetadataValue::try_from("x".repeat(length)).unwrap();
            request.metadata_mut().insert("x-long", long);
            let answer = log.get_checkpoint(request).await;
            assert_eq!(answer.is_ok(), answered, "{length}: {answer:?}");
        }
        server.log().await.get_checkpoint(v1::GetCheckpointRequest::default()).await.unwrap();
    });
    let series = "countersign_calls_total{method=\"GetCheckpoint\",code=\"OK\"}";
    assert_eq!(metrics::value(server.admin("/metrics").text(), series), 2.0);
    for (length, status) in [(4_000, 200), (40_000, 431)] {
        let mut stream = Server::connect(&server.http);
        let long = "x".repeat(length);
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n").unwrap();
        // A server that has seen enough may have hung up by now.
        let _ = write!(stream, "Connection: close\r\n\r\n");
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(line, format!("HTTP/1.1 {status}").as_bytes());
    }
}

/// Code, reason and the details that are there of a refusal that no statement is about.
fn refusal(status: &Status) -> (Code, String, Vec<&'static str>) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no details: {status:?}"));
    assert_eq!(info.domain, "countersign.v1");
    assert!(!status.message().is_empty(), "{status:?}");
    let there = [
        (details.bad_request().is_some(), "field"),
        (details.quota_failure().is_some(), "quota"),
        (details.retry_info().is_some(), "retry"),
        (details.request_info().is_some(), "request"),
    ];
    let there = there.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    (status.code(), info.reason.clone(), there)
}

/// Calls a method by its path, whatever its message should be.
async fn call<M: prost::Message + 'static>(
    server: &Server,
    path: &'static str,
    message: M,
) -> Status {
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<M, v1::GetCheckpointResponse>::default();
    let path = PathAndQuery::from_static(path);
    client.unary(Request::new(message), path, codec).await.unwrap_err()
}

#[test]
fn what_no_statement_is_about_is_refused_with_details_too() {
    let (_world, server) = world("idle_seconds = 1");
    within(async {
        let mut log = server.log().await;
        let mut artifacts = server.artifacts().await;
        let piece = |size| v1::PutArtifactRequest { chunk: Bytes::from(vec![0; size]) };
        let hash = |byte| Bytes::copy_from_slice(&[byte; 32]);
        let huge = v1::AppendRequest { envelope: vec![b'x'; 300 << 10].into(), wait_for: 1 };
        let huge_in_stream = v1::AppendStreamRequest { envelope: huge.envelope.clone() };
        let old = v1::GetConsistencyProofRequest { old_size: 7, new_size: 9 };
        let unknown = "/countersign.v1.LogService/GetEverything";
        let nowhere = "/countersign.v2.LogService/Append";
        let append = "/countersign.v1.LogService/Append";
        let get = |digest| v1::GetArtifactRequest { digest };
        let witnessed = v1::AppendRequest { wait_for: 2, ..v1::AppendRequest::default() };
        let mut silent = log
            .append_stream(tokio_stream::pending::<v1::AppendStreamRequest>())
            .await
            .unwrap()
            .into_inner();
        let streamed = log.append_stream(tokio_stream::once(huge_in_stream)).await.unwrap();
        use Code::{DeadlineExceeded, InvalidArgument, NotFound, OutOfRange, Unimplemented};
        let table = [
            (log.append(huge).await.unwrap_err(), InvalidArgument, "MESSAGE_TOO_LARGE", vec![]),
            (
                streamed.into_inner().next().await.unwrap().unwrap_err(),
                InvalidArgument,
                "MESSAGE_TOO_LARGE",
                vec![],
            ),
            (
                artifacts.put_artifact(tokio_stream::once(piece(2 << 20))).await.unwrap_err(),
                InvalidArgument,
                "MESSAGE_TOO_LARGE",
                vec![],
            ),
            // A number where Append has bytes.
            (call(&server, append, old).await, InvalidArgument, "MALFORMED_MESSAGE", vec![]),
            (call(&server, unknown, old).await, Unimplemented, "UNKNOWN_METHOD", vec![]),
            (call(&server, nowhere, old).await, Unimplemented, "UNKNOWN_METHOD", vec![]),
            (log.append(witnessed).await.unwrap_err(), Unimplemented, "NOT_SUPPORTED", vec![]),
            (
                artifacts.get_artifact(get(hash(3).slice(1..))).await.unwrap_err(),
                InvalidArgument,
                "BAD_REQUEST",
                vec!["field"],
            ),
            (
                artifacts.get_artifact(get(hash(3))).await.unwrap_err(),
                NotFound,
                "UNKNOWN_ARTIFACT",
                vec![],
            ),
            (log.get_consistency_proof(old).await.unwrap_err(), OutOfRange, "BEYOND_LOG", vec![]),
            (
                log.get_inclusion_proof(v1::GetInclusionProofRequest {
                    entry: Some(v1::get_inclusion_proof_request::Entry::Index(5)),
                    tree_size: 0,
                })
                .await
                .unwrap_err(),
                NotFound,
                "UNKNOWN_ENTRY",
                vec![],
            ),
            (silent.next().await.unwrap().unwrap_err(), DeadlineExceeded, "TOO_SLOW", vec![]),
            (
                artifacts
                    .put_artifact(tokio_stream::pending::<v1::PutArtifactRequest>())
                    .await
                    .unwrap_err(),
                DeadlineExceeded,
                "TOO_SLOW",
                vec![],
            ),
        ];
        for (status, code, reason, details) in &table {
            let expected = (*code, (*reason).to_owned(), details.clone());
            assert_eq!(refusal(status), expected, "{status:?}");
        }
        // None of them is the server's fault, or the operator would be woken by strangers.
        let written = server.written();
        assert!(!written.contains("ERROR"), "{written}");
    });
}

#[test]
fn the_documentation_lists_the_reasons_of_the_transport() {
    let documented: Vec<_> = include_str!("../../docs/protocol.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | ").map(|(reason, _)| reason))
        .collect();
    for reason in [
        "MESSAGE_TOO_LARGE",
        "MALFORMED_MESSAGE",
        "UNKNOWN_METHOD",
        "NOT_SUPPORTED",
        "BAD_REQUEST",
        "UNKNOWN_ARTIFACT",
        "BEYOND_LOG",
        "UNKNOWN_ENTRY",
        "TOO_SLOW",
        "OVERLOADED",
        "UNREADABLE",
        "TRANSPORT",
    ] {
        assert!(documented.contains(&reason), "{reason} is not in docs/protocol.md");
    }
}

#[test]
fn streams_of_one_caller_beyond_the_limit_are_refused_until_one_ends() {
    let (_world, server) = world("streams_per_identity = 2");
    within(async {
        let mut log = server.log().await;
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.unwrap());
        }
        let status = log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.unwrap_err();
        let expected = (Code::ResourceExhausted, "OVERLOADED".to_owned(), vec!["quota", "retry"]);
        assert_eq!(refusal(&status), expected);
        let details = status.get_error_details();
        let violation = &details.quota_failure().unwrap().violations[0];
        assert_eq!(violation.subject, "address:127.0.0.1");
        // Watching takes no place of those who send.
        register(&mut log, &server, "a.example").await;
        held.pop();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.is_err() {
            assert!(std::time::Instant::now() < deadline, "the place is not given back");
            tokio::time::sleep(details.retry_info().unwrap().retry_delay.unwrap()).await;
        }
    });
}

#[test]
fn a_caller_who_takes_no_answer_loses_the_connection() {
    let (_world, server) = world("idle_seconds = 1");
    within(async {
        // More than all buffers between the two hold.
        let bytes: Vec<_> = (0..32_u8).map(|i| Bytes::from(vec![i; 1 << 20])).collect();
        let digest = tlog::Hash::of(&bytes.iter().map(|b| b.as_ref()).collect::<Vec<_>>());
        let pieces: Vec<_> =
            bytes.into_iter().map(|chunk| v1::PutArtifactRequest { chunk }).collect();
        server.artifacts().await.put_artifact(tokio_stream::iter(pieces)).await.unwrap();
        let request = v1::GetArtifactRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
        let mut artifacts = server.artifacts().await;
        let mut answer = artifacts.get_artifact(request).await.unwrap().into_inner();
        answer.next().await.unwrap().unwrap();
        // Nothing more is read until the connection is gone.
        eventually("the connection is cut", || (connections(&server, "grpc") == 0.0).then_some(()));
        let rest: Vec<_> = answer.collect().await;
        assert!(rest.last().unwrap().is_err(), "all of it came");
        // Others are not touched.
        let mut log = LogServiceClient::new(server.channel().await);
        let mut a = register(&mut log, &server, "a.example").await;
        append(&mut log, &a.intent()).await;
    });
}
