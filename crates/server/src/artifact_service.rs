//! `ArtifactService`: blobs beside the log over gRPC.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1;
use bytes::Bytes;
use exchange::{Reason, Refusal};
use sequencer::{ArtifactError, Upload};
use tlog::Hash;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use transport::status::{self, QUOTA, SUBJECT};
use transport::{Peer, TransportLimits, peer_of};

use crate::Service;
use crate::holdings::Access;

/// Bytes of one piece of a download.
const CHUNK: usize = 256 << 10;

/// Pieces that wait for a slow reader: 1 MiB for each download.
const CHUNKS_WAITING: usize = 4;

/// Blobs over gRPC.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactApi {
    pub(crate) service: Arc<Service>,
    pub(crate) limits: TransportLimits,
}

#[tonic::async_trait]
impl v1::artifact_service_server::ArtifactService for ArtifactApi {
    async fn put_artifact(
        &self,
        request: Request<Streaming<v1::PutArtifactRequest>>,
    ) -> Result<Response<v1::PutArtifactResponse>, Status> {
        let peer = peer_of(&request)?;
        let upload = self.upload(&peer, request.into_inner());
        match tokio::time::timeout(self.limits.upload, upload).await {
            Ok(stored) => stored.map(Response::new),
            Err(_) => Err(too_slow("the upload", self.limits.upload)),
        }
    }

    type GetArtifactStream =
        Pin<Box<dyn Stream<Item = Result<v1::GetArtifactResponse, Status>> + Send>>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let peer = peer_of(&request)?;
        let digest = Hash::from_slice(&request.into_inner().digest)
            .map_err(|_| status::bad_field("digest", "must be 32 bytes"))?;
        let envelopes = self.service.settings().envelopes;
        match self.service.holdings().access(&digest, &peer, envelopes) {
            Access::Granted => {}
            Access::Absent => return Err(absent(&digest)),
            Access::NotTheReader => {
                let message = "this envelope is for its sender, its reader and their auditors";
                let refusal = Refusal::new(Reason::NotTheReader, message).with("digest", digest);
                return Err(status::of(&refusal));
            }
        }
        let artifacts = Arc::clone(self.service.artifacts());
        let Some(reader) = on_disk(move || artifacts.open(&digest)).await? else {
            return Err(absent(&digest));
        };
        // Full when the caller doesn't read: then nothing more is read from disk.
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        tokio::spawn(download(self.clone(), peer, digest, reader, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl ArtifactApi {
    async fn upload(
        &self,
        peer: &Peer,
        mut chunks: Streaming<v1::PutArtifactRequest>,
    ) -> Result<v1::PutArtifactResponse, Status> {
        let service = &self.service;
        let by = peer.identity();
        if let Some(meters) = service.meters() {
            meters.artifact(by).map_err(|r| status::of(&r))?;
        }
        let mut room = service.holdings().reserve(by).map_err(|r| status::of(&r))?;
        let limit = service.settings().max_artifact;
        let artifacts = Arc::clone(service.artifacts());
        let mut upload = on_disk(move || artifacts.begin(limit)).await?;
        loop {
            let next = tokio::time::timeout(self.limits.idle, chunks.next()).await;
            let next = next.map_err(|_| too_slow("the next piece", self.limits.idle))?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|s| status::complete(&s))?.chunk;
            if let Some(meters) = service.meters() {
                meters.artifact_bytes(by, chunk.len()).map_err(|r| status::of(&r))?;
            }
            room.add(chunk.len()).map_err(|r| status::of(&r))?;
            service.metrics().artifact_in(chunk.len());
            upload = on_disk(move || write(upload, &chunk)).await?;
        }
        let stored = on_disk(move || upload.finish(None)).await?;
        room.keep(stored.digest, Instant::now());
        // What was garbage a moment ago may have been removed after it was stored again.
        let artifacts = Arc::clone(service.artifacts());
        if !on_disk(move || artifacts.has(&stored.digest)).await? {
            let message = "the artifact was removed meanwhile; put it again";
            return Err(status::plain(Code::Unavailable, status::UNKNOWN_ARTIFACT, message));
        }
        Ok(v1::PutArtifactResponse {
            digest: Bytes::copy_from_slice(stored.digest.as_bytes()),
            size: stored.length,
        })
    }
}

type Answers = mpsc::Sender<Result<v1::GetArtifactResponse, Status>>;

/// Reads and sends piece by piece. A caller that takes none for too long loses its connection:
/// HTTP/2 has no other way to end a stream that nobody reads.
async fn download(
    api: ArtifactApi,
    peer: Peer,
    digest: Hash,
    mut reader: Box<dyn Read + Send>,
    answers: Answers,
) {
    loop {
        let place = match tokio::time::timeout(api.limits.idle, answers.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return,
            Err(_) => return peer.calls().cut(),
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; CHUNK];
            let read = reader.read(&mut buffer);
            (reader, read.map(|read| buffer[..read].to_vec()))
        });
        let Ok((source, read)) = read.await else { return };
        reader = source;
        match read {
            Ok(bytes) if bytes.is_empty() => return,
            Ok(bytes) => {
                api.service.metrics().artifact_out(bytes.len());
                place.send(Ok(v1::GetArtifactResponse { chunk: bytes.into() }));
            }
            Err(error) => {
                tracing::error!(%digest, %error, "an artifact cannot be read");
                let message = "the stored artifact cannot be read";
                let problem = status::plain(Code::DataLoss, status::UNREADABLE, message);
                return place.send(Err(problem));
            }
        }
    }
}

fn absent(digest: &Hash) -> Status {
    let message = format!("there is no artifact {digest}");
    status::plain(Code::NotFound, status::UNKNOWN_ARTIFACT, message)
}

pub(crate) fn too_slow(what: &str, limit: Duration) -> Status {
    let message = format!("{what} took more than {} s", limit.as_secs());
    status::plain(Code::DeadlineExceeded, status::TOO_SLOW, message)
}

fn write(mut upload: Box<dyn Upload>, chunk: &[u8]) -> Result<Box<dyn Upload>, ArtifactError> {
    upload.write(chunk)?;
    Ok(upload)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failed(&error)),
        Err(_) => Err(status::of(&crate::service::stopping())),
    }
}

fn failed(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::TooLong { limit } => status::of(
            &Refusal::new(Reason::ArtifactTooLarge, error.to_string())
                .with(QUOTA, "artifact_bytes")
                .with(SUBJECT, "artifact")
                .with("limit", limit),
        ),
        _ => {
            tracing::error!(%error, "artifacts cannot be stored or read");
            let message = "the artifact cannot be stored or read; the operator has the details";
            status::plain(Code::Internal, status::UNREADABLE, message)
        }
    }
}
