//! Artifacts: the bytes that a digest names, or an error; and never an answer without end.

use std::time::Duration;

use api::v1;
use bytes::Bytes;
use client::{CallError, Connection, FalseAnswer, Patience};
use tlog::Hash;

use crate::liar::{Liar, Log, Pieces, pieces, watched};

/// Bytes of the artifact.
const LENGTH: usize = 10_000;

async fn scene() -> (Liar, Connection, Hash, Vec<u8>) {
    let liar = Liar::serve(Log::of(3)).await;
    let mut connection = liar.connect().await;
    let bytes: Vec<u8> = (0..LENGTH).map(|i| (i * 7) as u8).collect();
    let digest = connection.put_artifact(&bytes).await.unwrap();
    assert_eq!(digest, Hash::of(&[&bytes]));
    (liar, connection, digest, bytes)
}

#[track_caller]
fn malformed<T: std::fmt::Debug>(what: &str, answer: Result<T, CallError>) {
    let refused = matches!(answer, Err(CallError::False(FalseAnswer::Malformed(_))));
    assert!(refused, "{what}: {answer:?}");
}

/// The pieces, then this for ever.
fn then_for_ever(first: &[u8], piece: &'static [u8]) -> Pieces {
    use tokio_stream::StreamExt as _;
    let endless = std::iter::repeat_with(move || {
        Ok(v1::GetArtifactResponse { chunk: Bytes::from_static(piece) })
    });
    Box::pin(pieces([first]).chain(tokio_stream::iter(endless)))
}

#[tokio::test]
async fn artifacts_come_back_as_they_were_put() {
    let (_liar, mut connection, digest, bytes) = scene().await;
    assert_eq!(connection.artifact(&digest, LENGTH).await.unwrap(), Some(bytes));
    assert_eq!(connection.artifact(&Hash::new([1; 32]), LENGTH).await.unwrap(), None);
    let empty = connection.put_artifact(b"").await.unwrap();
    assert_eq!(connection.artifact(&empty, 0).await.unwrap(), Some(Vec::new()));
}

#[tokio::test]
async fn refuses_bytes_that_the_digest_does_not_name() {
    type Lie = fn(&[u8]) -> Pieces;
    let cases: [(&str, Lie); 8] = [
        ("a flipped bit", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[LENGTH / 2] ^= 1;
            pieces([bytes.as_slice()])
        }),
        ("nothing", |_| pieces([])),
        ("one byte short", |bytes| pieces([&bytes[..LENGTH - 1]])),
        ("one byte more", |bytes| pieces([bytes, b"x"])),
        ("another artifact", |_| pieces([&[7; LENGTH][..]])),
        ("two pieces in each other's place", |bytes| pieces([&bytes[5_000..], &bytes[..5_000]])),
        ("pieces without end", |bytes| then_for_ever(bytes, b"x")),
        ("empty pieces without end", |bytes| then_for_ever(bytes, b"")),
    ];
    let (liar, mut connection, digest, bytes) = scene().await;
    let before = connection.trusted().clone();
    for (what, lie) in cases {
        liar.lies(|lies| lies.get = Some(Box::new(lie)));
        malformed(what, watched(connection.artifact(&digest, LENGTH)).await);
        assert_eq!(*connection.trusted(), before);
    }
    liar.tells_the_truth();
    assert_eq!(connection.artifact(&digest, LENGTH).await.unwrap(), Some(bytes));
    malformed("longer than the caller allows", connection.artifact(&digest, LENGTH - 1).await);
}

#[tokio::test]
async fn gives_up_an_artifact_that_does_not_end() {
    let (liar, mut connection, digest, _) = scene().await;
    let patience = Patience { download: Duration::from_millis(200), ..Patience::default() };
    connection.set_patience(patience);
    liar.lies(|lies| {
        lies.get = Some(Box::new(|bytes| {
            use tokio_stream::StreamExt as _;
            Box::pin(pieces([&bytes[..100]]).chain(tokio_stream::pending()))
        }));
    });
    let error = watched(connection.artifact(&digest, LENGTH)).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("200ms"), "{error}");
}

#[tokio::test]
async fn refuses_a_server_that_names_an_artifact_otherwise() {
    let (liar, mut connection, ..) = scene().await;
    for digest in [vec![0; 32], Vec::new(), vec![0; 33]] {
        liar.lies(|lies| {
            lies.put = Some(Box::new(move |_, _, honest| {
                let digest = Bytes::from(digest.clone());
                Ok(v1::PutArtifactResponse { digest, ..honest? })
            }));
        });
        malformed("another digest", connection.put_artifact(b"some bytes").await);
    }
}
