//! Listeners in, a running service out; and an end within a deadline.

use std::sync::Arc;
use std::time::Duration;

use api::v1::artifact_service_server::ArtifactServiceServer;
use api::v1::log_service_server::LogServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::artifact_service::ArtifactApi;
use crate::http;
use crate::log_service::LogApi;
use crate::{Service, Writer};

/// An envelope has at most 64 KiB; protobuf adds a few bytes.
const MAX_APPEND: usize = 256 << 10;
/// A piece of an artifact has at most 1 MiB.
const MAX_CHUNK: usize = (1 << 20) + 1024;
/// Answers are paged below this.
const MAX_ANSWER: usize = 4 << 20;

/// How long calls may take to end after the service was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why a service ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener failed.
    #[error("listener: {0}")]
    Listener(#[from] std::io::Error),
    /// The gRPC server failed.
    #[error("gRPC: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// Reflection could not be set up; the descriptors are part of the program.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The writer met an error after which the state is unknown. Starting again recovers.
    #[error("the writer stopped: {0}; start the server again, it recovers what is durable")]
    Fatal(#[from] sequencer::Fatal),
    /// The writer's thread panicked, which is a bug.
    #[error("the writer's thread panicked")]
    Panicked,
}

/// Tells a service to stop: set it to true.
pub type Shutdown = watch::Receiver<bool>;

/// Serves until told to stop or until the writer ends by itself. On return all that was
/// acknowledged is on disk and the store is closed.
pub async fn serve(
    service: Arc<Service>,
    writer: Writer,
    grpc: TcpListener,
    files: TcpListener,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<LogServiceServer<LogApi>>().await;
    health_reporter.set_serving::<ArtifactServiceServer<ArtifactApi>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;

    // Ends the listeners: told from outside, or because the writer has ended.
    let (end, _) = watch::channel(false);
    let writer = tokio::task::spawn_blocking({
        let (service, end) = (Arc::clone(&service), end.clone());
        move || {
            let result = writer.join();
            service.mark_stopped();
            end.send_replace(true);
            result
        }
    });
    tokio::spawn({
        let (service, end, mut shutdown) = (Arc::clone(&service), end.clone(), shutdown);
        async move {
            // A dropped sender means that nobody will ever ask: then only the writer's end counts.
            if shutdown.wait_for(|stop| *stop).await.is_err() {
                return;
            }
            health_reporter.set_not_serving::<LogServiceServer<LogApi>>().await;
            health_reporter.set_not_serving::<ArtifactServiceServer<ArtifactApi>>().await;
            service.stop();
            end.send_replace(true);
        }
    });

    let log = LogServiceServer::new(LogApi(Arc::clone(&service)))
        .max_decoding_message_size(MAX_APPEND)
        .max_encoding_message_size(MAX_ANSWER);
    let artifacts = ArtifactServiceServer::new(ArtifactApi(Arc::clone(&service)))
        .max_decoding_message_size(MAX_CHUNK)
        .max_encoding_message_size(MAX_ANSWER);
    let incoming = TcpIncoming::from(grpc).with_nodelay(Some(true));
    let grpc = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(256)
        .concurrency_limit_per_connection(1024)
        .add_service(health)
        .add_service(reflection)
        .add_service(log)
        .add_service(artifacts)
        .serve_with_incoming_shutdown(incoming, ended(end.subscribe()));
    let files = axum::serve(files, http::router(Arc::clone(&service)))
        .with_graceful_shutdown(ended(end.subscribe()));
    let serving = async {
        tokio::try_join!(async { grpc.await.map_err(ServeError::from) }, async {
            files.await.map_err(ServeError::from)
        })
    };
    let deadline = async {
        ended(end.subscribe()).await;
        tokio::time::sleep(GRACE).await;
    };
    // A connection that stays open without a word must not keep the process alive.
    let served = tokio::select! {
        served = serving => served.map(drop),
        () = deadline => {
            tracing::warn!(grace = ?GRACE, "connections were cut at the end of the grace period");
            Ok(())
        }
    };
    service.stop();
    match writer.await {
        Ok(Ok(result)) => result?,
        Ok(Err(_)) | Err(_) => return Err(ServeError::Panicked),
    }
    served
}

async fn ended(mut end: watch::Receiver<bool>) {
    // The sender lives in `serve`; if it is gone, so is the service.
    let _ = end.wait_for(|ended| *ended).await;
}
