//! `ArtifactService`: blobs beside the log over gRPC.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;

use api::v1;
use bytes::Bytes;
use exchange::{Reason, Refusal};
use sequencer::{ArtifactError, Upload};
use tlog::Hash;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::Service;

/// Bytes of one piece of a download.
const CHUNK: usize = 256 << 10;

/// Pieces that wait for a slow reader: 1 MiB for each download.
const CHUNKS_WAITING: usize = 4;

/// Blobs over gRPC.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactApi(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl v1::artifact_service_server::ArtifactService for ArtifactApi {
    async fn put_artifact(
        &self,
        request: Request<Streaming<v1::PutArtifactRequest>>,
    ) -> Result<Response<v1::PutArtifactResponse>, Status> {
        let mut chunks = request.into_inner();
        let limit = self.0.settings().max_artifact;
        let artifacts = Arc::clone(self.0.artifacts());
        let mut upload = on_disk(move || artifacts.begin(limit)).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?.chunk;
            upload = on_disk(move || write(upload, &chunk)).await?;
        }
        let stored = on_disk(move || upload.finish(None)).await?;
        Ok(Response::new(v1::PutArtifactResponse {
            digest: Bytes::copy_from_slice(stored.digest.as_bytes()),
            size: stored.length,
        }))
    }

    type GetArtifactStream =
        Pin<Box<dyn Stream<Item = Result<v1::GetArtifactResponse, Status>> + Send>>;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Self::GetArtifactStream>, Status> {
        let digest = Hash::from_slice(&request.into_inner().digest)
            .map_err(|_| Status::invalid_argument("digest: must be 32 bytes"))?;
        let artifacts = Arc::clone(self.0.artifacts());
        let Some(mut reader) = on_disk(move || artifacts.open(&digest)).await? else {
            return Err(Status::not_found(format!("there is no artifact {digest}")));
        };
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; CHUNK];
            loop {
                let piece = match reader.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => Ok(v1::GetArtifactResponse {
                        chunk: Bytes::copy_from_slice(&buffer[..read]),
                    }),
                    Err(error) => {
                        tracing::error!(%digest, %error, "an artifact cannot be read");
                        Err(Status::data_loss("the stored artifact cannot be read"))
                    }
                };
                let ended = piece.is_err();
                if sender.blocking_send(piece).is_err() || ended {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn write(mut upload: Box<dyn Upload>, chunk: &[u8]) -> Result<Box<dyn Upload>, ArtifactError> {
    upload.write(chunk)?;
    Ok(upload)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| status(&error)),
        Err(_) => Err(Status::unavailable("the server is about to stop")),
    }
}

fn status(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::TooLong { .. } => {
            api::status(&Refusal::new(Reason::ArtifactTooLarge, error.to_string()))
        }
        _ => {
            tracing::error!(%error, "artifacts cannot be stored or read");
            Status::internal("the artifact cannot be stored or read; the operator has the details")
        }
    }
}
