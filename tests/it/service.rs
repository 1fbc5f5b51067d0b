//! gRPC with plain generated clients: what is appended, in which order, and what the proofs of it
//! are. Here belongs what another implementation of a client relies on; refusals have their own
//! module.

use std::io::Read as _;
use std::net::TcpStream;

use api::v1::append_stream_response::Result as Streamed;
use api::v1::get_inclusion_proof_request::Entry;
use api::v1::log_service_client::LogServiceClient;
use api::v1::{self, WaitFor};
use bytes::Bytes;
use exchange::Envelope;
use tlog::SignedCheckpoint;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::oracle::{self, Node};
use crate::parties::Voice;
use crate::support::{Server, World, within};

pub(crate) type Client = LogServiceClient<Channel>;

pub(crate) fn request(envelope: &Envelope) -> v1::AppendRequest {
    let envelope = Bytes::copy_from_slice(envelope.as_bytes());
    v1::AppendRequest { envelope, wait_for: WaitFor::Committed.into() }
}

pub(crate) fn streamed(envelope: &Envelope) -> v1::AppendStreamRequest {
    v1::AppendStreamRequest { envelope: Bytes::copy_from_slice(envelope.as_bytes()) }
}

pub(crate) async fn try_append(
    log: &mut Client,
    envelope: &Envelope,
) -> Result<v1::AppendResponse, Status> {
    log.append(request(envelope)).await.map(tonic::Response::into_inner)
}

/// Appends what must be admitted; returns its index.
pub(crate) async fn append(log: &mut Client, envelope: &Envelope) -> u64 {
    let answer = try_append(log, envelope).await.unwrap_or_else(|s| panic!("refused: {s:?}"));
    assert!(!answer.existed);
    answer.inclusion.unwrap().index
}

/// A party that is registered.
pub(crate) async fn register(log: &mut Client, server: &Server, name: &str) -> Voice {
    let mut voice = Voice::new(name, &server.key);
    append(log, &voice.register()).await;
    voice
}

/// The newest checkpoint, its signature verified.
pub(crate) async fn checkpoint(log: &mut Client, server: &Server) -> SignedCheckpoint {
    let answer =
        log.get_checkpoint(v1::GetCheckpointRequest::default()).await.unwrap().into_inner();
    SignedCheckpoint::open(&answer.checkpoint, &server.key).unwrap()
}

/// All entries from `start` on.
pub(crate) async fn entries(log: &mut Client, start: u64) -> Vec<Bytes> {
    let mut all = Vec::new();
    loop {
        let start = start + all.len() as u64;
        let page = v1::ListEntriesRequest { start, limit: 0 };
        let page = log.list_entries(page).await.unwrap().into_inner();
        if page.envelopes.is_empty() {
            assert!(start >= page.size, "a page is empty below the log's size");
            return all;
        }
        all.extend(page.envelopes);
    }
}

fn nodes(proof: &[Bytes]) -> Vec<Node> {
    proof.iter().map(|hash| Node::try_from(hash.as_ref()).unwrap()).collect()
}

/// A log that admits `a.example` and `b.example`.
fn world() -> (World, Server) {
    let world = World::new();
    let parties = ["a.example", "b.example"]
        .map(|name| world.write_vkey(&format!("{name}.vkey"), &Voice::key_of(name)));
    let server = world.serve("log", &[&parties[0], &parties[1]]);
    (world, server)
}

#[test]
fn the_same_envelope_again_returns_its_old_index() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let registration = a.register();
        assert_eq!(append(&mut log, &registration).await, 0);
        let first = a.intent();
        assert_eq!(append(&mut log, &first).await, 1);
        assert_eq!(append(&mut log, &a.intent()).await, 2);
        for (index, envelope) in [(1, &first), (0, &registration)] {
            let again = try_append(&mut log, envelope).await.unwrap();
            assert!(again.existed);
            let inclusion = again.inclusion.unwrap();
            assert_eq!(inclusion.index, index);
            let signed = SignedCheckpoint::open(&inclusion.checkpoint, &server.key).unwrap();
            assert_eq!(signed.head().size, 3, "nothing was added");
        }
    });
}

#[test]
fn a_stream_answers_each_statement_in_order_and_goes_on_after_a_refusal() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let mut all = vec![a.register(), a.intent()];
        let early =
            a.draft_with(|common| common.number = 1, crate::parties::withdrawal(all[1].id()));
        all.push(early);
        all.push(a.intent());
        all.push(all[1].clone());
        all.extend((0..600).map(|_| a.intent()));
        let requests: Vec<_> = all.iter().map(streamed).collect();
        let answers = log.append_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
        let answers: Vec<_> = answers.map(|a| a.unwrap().result.unwrap()).collect().await;
        assert_eq!(answers.len(), all.len());
        let mut next = 0;
        for (at, (answer, envelope)) in answers.into_iter().zip(&all).enumerate() {
            match answer {
                Streamed::Refused(refusal) => {
                    assert_eq!((at, refusal.reason.as_str()), (2, "NUMBER_NOT_ABOVE"));
                    assert_eq!(refusal.code, Code::Aborted as i32);
                    assert_eq!(refusal.pointer, "/predicate/number");
                    assert_eq!(refusal.metadata["last_number"], "2");
                }
                Streamed::Appended(appended) => {
                    let inclusion = appended.inclusion.unwrap();
                    assert_eq!(appended.existed, at == 4, "statement {at}");
                    let expected = if at == 4 { 1 } else { next };
                    assert_eq!(inclusion.index, expected, "statement {at}");
                    next += u64::from(at != 4);
                    let signed = SignedCheckpoint::open(&inclusion.checkpoint, &server.key);
                    let proof: Vec<_> =
                        nodes(&inclusion.proof).into_iter().map(tlog::Hash::new).collect();
                    let head = *signed.unwrap().head();
                    tlog::verify_inclusion(&envelope.leaf_hash(), expected, &head, &proof).unwrap();
                }
            }
        }
        assert_eq!(next, 603);
    });
}

#[test]
fn a_stream_answers_a_caller_who_waits_for_each_answer() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = log.append_stream(requests).await.unwrap().into_inner();
        for index in 0..5 {
            let envelope = if index == 0 { a.register() } else { a.intent() };
            sender.send(streamed(&envelope)).await.unwrap();
            let answer = answers.next().await.unwrap().unwrap().result.unwrap();
            let Streamed::Appended(appended) = answer else { panic!("{answer:?}") };
            assert_eq!(appended.inclusion.unwrap().index, index);
        }
    });
}

#[test]
fn watchers_get_the_newest_head_at_once_and_after_each_change() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let watch = log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.unwrap();
        let mut watch = watch.into_inner();
        let mut a = Voice::new("a.example", &server.key);
        for size in 0..6 {
            let note = watch.next().await.unwrap().unwrap().checkpoint;
            let seen = SignedCheckpoint::open(&note, &server.key).unwrap();
            assert_eq!(seen.head().size, size);
            let envelope = if size == 0 { a.register() } else { a.intent() };
            assert_eq!(append(&mut log, &envelope).await, size);
        }
    });
}

#[test]
fn entries_come_in_pages() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        let mut leaves = entries(&mut log, 0).await;
        for _ in 0..6 {
            let envelope = a.intent();
            append(&mut log, &envelope).await;
            leaves.push(Bytes::copy_from_slice(envelope.as_bytes()));
        }
        for start in 0..=7_usize {
            for limit in [0, 1, 2, 3, 7, 100, u32::MAX] {
                let page = v1::ListEntriesRequest { start: start as u64, limit };
                let page = log.list_entries(page).await.unwrap().into_inner();
                assert_eq!(page.size, 7);
                let most = if limit == 0 { 7 } else { limit as usize };
                let expected = &leaves[start..7.min(start.saturating_add(most))];
                assert_eq!(page.envelopes, expected, "{limit} from {start}");
            }
        }
        let beyond = v1::ListEntriesRequest { start: 8, limit: 1 };
        let status = log.list_entries(beyond).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
    });
}

#[test]
fn proofs_of_all_entries_in_all_trees_are_those_of_rfc_6962() {
    const SIZE: usize = 23;
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        for _ in 1..SIZE {
            append(&mut log, &a.intent()).await;
        }
        let leaves = entries(&mut log, 0).await;
        let hashes: Vec<Node> = leaves.iter().map(|leaf| oracle::leaf(leaf)).collect();
        let newest = checkpoint(&mut log, &server).await;
        assert_eq!(*newest.head().root.as_bytes(), oracle::root(&hashes));
        for (index, leaf) in leaves.iter().enumerate() {
            let id = Envelope::parse(leaf).unwrap().id();
            let ways = [
                Entry::Index(index as u64),
                Entry::LeafHash(Bytes::copy_from_slice(&hashes[index])),
                Entry::StatementId(Bytes::copy_from_slice(id.as_bytes())),
            ];
            for way in ways {
                let request = v1::GetInclusionProofRequest { entry: Some(way), tree_size: 0 };
                let answer = log.get_inclusion_proof(request).await.unwrap().into_inner();
                let inclusion = answer.inclusion.unwrap();
                assert_eq!(inclusion.index, index as u64);
                assert_eq!(answer.envelope, *leaf);
                assert_eq!(nodes(&inclusion.proof), oracle::inclusion(index, &hashes));
                assert_eq!(inclusion.checkpoint, newest.as_bytes());
            }
            for size in index + 1..=SIZE {
                let entry = Some(Entry::Index(index as u64));
                let request = v1::GetInclusionProofRequest { entry, tree_size: size as u64 };
                let answer = log.get_inclusion_proof(request).await.unwrap().into_inner();
                let proof = nodes(&answer.inclusion.unwrap().proof);
                assert_eq!(proof, oracle::inclusion(index, &hashes[..size]), "{index} in {size}");
            }
        }
        for new in 1..=SIZE {
            for old in 1..=new {
                let request =
                    v1::GetConsistencyProofRequest { old_size: old as u64, new_size: new as u64 };
                let answer = log.get_consistency_proof(request).await.unwrap().into_inner();
                let expected = oracle::consistency(old, &hashes[..new]);
                assert_eq!(nodes(&answer.proof), expected, "{old} to {new}");
            }
        }
    });
}

#[test]
fn requests_for_what_the_log_does_not_have_are_refused_by_name() {
    let (_world, server) = world();
    within(async {
        let mut log = server.log().await;
        register(&mut log, &server, "a.example").await;
        let mut ask = async |entry, tree_size| {
            let request = v1::GetInclusionProofRequest { entry, tree_size };
            log.get_inclusion_proof(request).await.unwrap_err().code()
        };
        let none = Bytes::from_static(&[7; 32]);
        assert_eq!(ask(None, 0).await, Code::InvalidArgument);
        assert_eq!(ask(Some(Entry::Index(1)), 0).await, Code::NotFound);
        assert_eq!(ask(Some(Entry::Index(u64::MAX)), 0).await, Code::NotFound);
        assert_eq!(ask(Some(Entry::LeafHash(none.clone())), 0).await, Code::NotFound);
        assert_eq!(ask(Some(Entry::StatementId(none.clone())), 0).await, Code::NotFound);
        assert_eq!(ask(Some(Entry::LeafHash(none.slice(1..))), 0).await, Code::InvalidArgument);
        assert_eq!(ask(Some(Entry::Index(0)), 2).await, Code::OutOfRange);
        assert_eq!(ask(Some(Entry::Index(0)), u64::MAX).await, Code::OutOfRange);
        for (old_size, new_size, code) in [
            (1, 2, Code::OutOfRange),
            (2, 1, Code::InvalidArgument),
            (2, 0, Code::InvalidArgument),
            (u64::MAX, u64::MAX, Code::OutOfRange),
        ] {
            let request = v1::GetConsistencyProofRequest { old_size, new_size };
            let status = log.get_consistency_proof(request).await.unwrap_err();
            assert_eq!(status.code(), code, "{old_size} to {new_size}: {status:?}");
        }
        let witnessed = v1::AppendRequest {
            wait_for: WaitFor::Witnessed.into(),
            ..request(&Voice::new("a.example", &server.key).intent())
        };
        let status = log.append(witnessed).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "there are no witnesses to wait for");
    });
}

#[test]
fn artifacts_come_back_byte_for_byte() {
    let (_world, server) = world();
    within(async {
        let mut artifacts = server.artifacts().await;
        // More than one piece of an answer, and the empty one.
        for bytes in [Vec::new(), vec![1], (0..700_000_u32).map(|i| i as u8).collect()] {
            let pieces: Vec<_> = bytes
                .chunks(100_000)
                .map(|c| v1::PutArtifactRequest { chunk: Bytes::copy_from_slice(c) })
                .collect();
            let digest = tlog::Hash::of(&[&bytes]);
            for _ in 0..2 {
                let put = artifacts.put_artifact(tokio_stream::iter(pieces.clone())).await;
                let put = put.unwrap().into_inner();
                assert_eq!(
                    (put.digest.as_ref(), put.size),
                    (&digest.as_bytes()[..], bytes.len() as u64)
                );
            }
            let request = v1::GetArtifactRequest { digest: put_bytes(&digest) };
            let mut pieces = artifacts.get_artifact(request).await.unwrap().into_inner();
            let mut back = Vec::new();
            while let Some(piece) = pieces.next().await {
                back.extend_from_slice(&piece.unwrap().chunk);
            }
            assert_eq!(back, bytes);
        }
        let request = v1::GetArtifactRequest { digest: put_bytes(&tlog::Hash::new([3; 32])) };
        let status = artifacts.get_artifact(request).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        let request = v1::GetArtifactRequest { digest: Bytes::from_static(b"short") };
        let status = artifacts.get_artifact(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    });
}

fn put_bytes(hash: &tlog::Hash) -> Bytes {
    Bytes::copy_from_slice(hash.as_bytes())
}

#[test]
fn health_says_serving_and_reflection_lists_the_services() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let services = ["countersign.v1.LogService", "countersign.v1.ArtifactService"];
    let (_world, server) = world();
    within(async {
        let mut health = HealthClient::new(server.channel().await);
        for service in ["", services[0], services[1]] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = health.check(request).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        }
        let request = tonic_reflection::pb::v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut reflection = ServerReflectionClient::new(server.channel().await);
        let answers = reflection.server_reflection_info(tokio_stream::once(request)).await;
        let answer = answers.unwrap().into_inner().next().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
            panic!("{answer:?}");
        };
        let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
        for service in services.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
        }
    });
}

#[test]
fn sigterm_answers_what_is_queued_and_ends_though_idle_connections_are_open() {
    let (world, server) = world();
    // Neither of them ever says a word.
    let mut idle = TcpStream::connect(Server::address(&server.grpc)).unwrap();
    let mut quiet = TcpStream::connect(Server::address(&server.http)).unwrap();
    let (appended, refused) = within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let mut all = vec![a.register()];
        all.extend((0..400).map(|_| a.intent()));
        let (sender, receiver) = tokio::sync::mpsc::channel(1000);
        for envelope in &all {
            sender.send(streamed(envelope)).await.unwrap();
        }
        // The stream stays open, so that only the signal ends it.
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = log.append_stream(requests).await.unwrap().into_inner();
        let (mut appended, mut refused) = (Vec::new(), 0);
        while let Some(Ok(answer)) = answers.next().await {
            match answer.result.unwrap() {
                Streamed::Appended(answer) => {
                    assert_eq!(refused, 0, "admitted after STOPPING");
                    if appended.is_empty() {
                        server.terminate();
                    }
                    appended.push(answer.inclusion.unwrap().index);
                }
                Streamed::Refused(refusal) => {
                    assert_eq!(refusal.reason, "STOPPING", "{}", refusal.message);
                    refused += 1;
                }
            }
        }
        drop(sender);
        (appended, refused)
    });
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{status}");
    // The other ends are closed: a read gives the end of the stream, or a reset.
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    let _ = quiet.read_to_end(&mut rest);

    assert!(appended.iter().copied().eq(0..appended.len() as u64), "{appended:?}");
    let again = world.serve("log", &["a.example.vkey"]);
    assert_eq!(
        again.size,
        appended.len() as u64,
        "{refused} refused: what is in the log was answered"
    );
    again.stop();
}
