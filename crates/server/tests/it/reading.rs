//! Who may read what, and how much at once.

use std::net::SocketAddr;
use std::sync::Arc;

use api::v1;
use api::v1::artifact_service_client::ArtifactServiceClient;
use api::v1::get_inclusion_proof_request::Entry as Which;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use exchange::Envelope;
use sequencer::{Entry, Log, MemoryStore, StatementKey};
use server::{Listeners, ServeError, Service};
use tlog::Hash;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use transport::{Reading, Transport};

use crate::parties::Recorded;
use crate::scene::{Scene, append, start};

/// A service that listens; it ends with the test's runtime.
async fn serve(service: Arc<Service>, writer: server::Writer) -> SocketAddr {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (grpc, files) = (bind().await.unwrap(), bind().await.unwrap());
    let address = grpc.local_addr().unwrap();
    let listeners = Listeners { grpc, files, admin: None };
    let (keep, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        let ended =
            server::serve_on(service, writer, listeners, Transport::default(), shutdown).await;
        drop(keep);
        ended
    });
    address
}

/// A connection from one of the machine's own addresses: each is somebody else to the server.
async fn connect(server: SocketAddr, from: &str) -> Channel {
    Endpoint::from_shared(format!("http://{server}"))
        .unwrap()
        .local_address(Some(from.parse().unwrap()))
        .connect()
        .await
        .unwrap()
}

fn reason(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!(info.domain, "countersign.v1");
    (status.code(), info.reason.clone())
}

async fn put(artifacts: &mut ArtifactServiceClient<Channel>, bytes: &[u8]) -> Bytes {
    let piece = v1::PutArtifactRequest { chunk: Bytes::copy_from_slice(bytes) };
    artifacts.put_artifact(tokio_stream::once(piece)).await.unwrap().into_inner().digest
}

async fn get(
    artifacts: &mut ArtifactServiceClient<Channel>,
    digest: &Bytes,
) -> Result<Vec<u8>, Status> {
    let request = v1::GetArtifactRequest { digest: digest.clone() };
    let mut pieces = artifacts.get_artifact(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?.chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn an_artifact_is_its_uploaders_alone_until_a_statement_names_it() {
    let scene = Scene::new().await;
    let record = Recorded::new(&scene.a, scene.open, &scene.open_nonce, 1);
    let Scene { service, writer, mut a, .. } = scene;
    let address = serve(Arc::clone(&service), writer).await;
    let mut own = ArtifactServiceClient::new(connect(address, "127.0.0.1").await);
    let mut other = ArtifactServiceClient::new(connect(address, "127.0.0.2").await);

    let digest = put(&mut own, &record.vector).await;
    assert_eq!(digest.as_ref(), record.evaluation.vector.as_bytes());
    assert_eq!(get(&mut own, &digest).await.unwrap(), record.vector);
    let absent = (Code::NotFound, "UNKNOWN_ARTIFACT".to_owned());
    assert_eq!(reason(&get(&mut other, &digest).await.unwrap_err()), absent);

    append(&service, &a.say(record.predicate())).await;
    assert_eq!(get(&mut other, &digest).await.unwrap(), record.vector, "named, it is for all");
    let nothing = Bytes::from_static(&[7; 32]);
    assert_eq!(reason(&get(&mut own, &nothing).await.unwrap_err()), absent);
    let status = get(&mut own, &digest.slice(1..)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "BAD_REQUEST".to_owned()));
}

#[tokio::test]
async fn a_log_that_nobody_could_read_is_not_served() {
    let (service, writer) = start(MemoryStore::new());
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (grpc, files) = (bind().await.unwrap(), bind().await.unwrap());
    let listeners = Listeners { grpc, files, admin: None };
    let transport = Transport { reading: Reading::Admitted, ..Transport::default() };
    let (_keep, shutdown) = watch::channel(false);
    let ended = server::serve_on(service, writer, listeners, transport, shutdown).await;
    assert!(matches!(ended, Err(ServeError::Unreadable(_))), "{ended:?}");
}

#[test]
fn reading_is_for_everybody_on_loopback_and_elsewhere_as_the_operator_says() {
    for (reading, loopback, public) in [
        (Reading::Local, true, true),
        (Reading::Local, false, false),
        (Reading::Public, true, true),
        (Reading::Public, false, true),
        (Reading::Admitted, true, false),
        (Reading::Admitted, false, false),
    ] {
        assert_eq!(reading.is_public(loopback), public, "{reading:?}, loopback {loopback}");
    }
}

#[tokio::test]
async fn watchers_and_readers_see_nothing_that_is_not_published() {
    let scene = Scene::new().await;
    let Scene { service, writer, mut a, .. } = scene;
    let address = serve(Arc::clone(&service), writer).await;
    let mut log = LogServiceClient::new(connect(address, "127.0.0.1").await);
    let size = service.reader().head().size;
    let ask = |entry, tree_size| v1::GetInclusionProofRequest { entry: Some(entry), tree_size };
    let next = a.intent();
    let by_id = || Which::StatementId(Bytes::copy_from_slice(next.id().as_bytes()));
    for (what, entry, tree_size, expected) in [
        ("the next index", Which::Index(size), 0, (Code::NotFound, "UNKNOWN_ENTRY")),
        ("a statement to come", by_id(), 0, (Code::NotFound, "UNKNOWN_ENTRY")),
        ("a tree to come", Which::Index(0), size + 1, (Code::OutOfRange, "BEYOND_LOG")),
        ("an entry beyond a tree", Which::Index(3), 3, (Code::OutOfRange, "BEYOND_LOG")),
        (
            "a short hash",
            Which::LeafHash(Bytes::from_static(&[1; 31])),
            0,
            (Code::InvalidArgument, "BAD_REQUEST"),
        ),
    ] {
        let status = log.get_inclusion_proof(ask(entry, tree_size)).await.unwrap_err();
        assert_eq!(reason(&status), (expected.0, expected.1.to_owned()), "{what}");
    }
    append(&service, &next).await;
    let answer = log.get_inclusion_proof(ask(by_id(), 0)).await.unwrap().into_inner();
    assert_eq!(answer.envelope, next.as_bytes());
    assert_eq!(answer.inclusion.unwrap().index, size);
    assert_eq!(Envelope::parse(&answer.envelope).unwrap().id(), next.id());
}

#[test]
fn a_page_of_entries_is_bounded_in_bytes_and_in_number() {
    let key = |i: u64| StatementKey::from(Hash::of(&[&i.to_be_bytes()]));
    let mut log = Log::create(MemoryStore::new(), crate::scene::log_key()).unwrap();
    // 100 of the largest, which are 6.5 MB, and then many small ones.
    let large = (0..100_u64).map(|i| {
        let mut bytes = vec![7; 65_535];
        bytes[..8].copy_from_slice(&i.to_be_bytes());
        Entry::new(bytes, key(i)).unwrap()
    });
    let small = (100..9_000_u64).map(|i| Entry::new(&i.to_be_bytes()[..], key(i)).unwrap());
    let all: Vec<Entry> = large.chain(small).collect();
    for batch in all.chunks(1_000) {
        log.step(batch).unwrap();
    }
    let snapshot = log.reader().snapshot();
    let mut start = 0;
    let mut pages = 0;
    while start < 9_000 {
        let page = server::list(&snapshot, start, 0).unwrap();
        let bytes: usize = page.envelopes.iter().map(Bytes::len).sum();
        assert!(!page.envelopes.is_empty() && page.envelopes.len() <= 4_096, "at {start}");
        assert!(bytes <= 3 << 20, "{bytes} at {start}");
        assert_eq!(page.size, 9_000);
        for (entry, expected) in page.envelopes.iter().zip(&all[start as usize..]) {
            assert!(entry.as_ref() == &**expected.bytes(), "entry after {start}");
        }
        start += page.envelopes.len() as u64;
        pages += 1;
    }
    assert_eq!((start, pages), (9_000, 5));
    assert!(server::list(&snapshot, 9_000, 0).unwrap().envelopes.is_empty());
    let beyond = server::list(&snapshot, 9_001, 0).unwrap_err();
    assert_eq!(reason(&beyond), (Code::OutOfRange, "BEYOND_LOG".to_owned()));
    let size = beyond.get_error_details().error_info().unwrap().metadata["size"].clone();
    assert_eq!(size, "9000");
}
