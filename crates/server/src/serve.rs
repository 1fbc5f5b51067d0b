//! Listeners in, a running service out; and an end within a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::v1::artifact_service_server::ArtifactServiceServer;
use api::v1::exchange_service_server::ExchangeServiceServer;
use api::v1::log_service_server::LogServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use transport::{Background, Door, Guard, Shutdown, Transport, Unreadable, told, until};

use crate::artifact_service::ArtifactApi;
use crate::exchange_service::ExchangeApi;
use crate::log_service::LogApi;
use crate::witnesses::{self, RolledBack};
use crate::{Condition, Service, Writer, http, ticks};

/// An envelope has at most 64 KiB; protobuf adds a few bytes.
const MAX_APPEND: usize = 256 << 10;
/// A piece of an artifact has at most 1 MiB.
const MAX_CHUNK: usize = (1 << 20) + 1024;
/// An id and a number.
const MAX_QUESTION: usize = 4 << 10;
/// Answers are paged below this.
const MAX_ANSWER: usize = 4 << 20;
/// How often garbage is looked for.
const TIDY: Duration = Duration::from_secs(30);

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
    /// Nobody could read: no client certificates are asked for, and reading is not public.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The writer met an error after which the state is unknown. Starting again recovers.
    #[error("the writer stopped: {0}; start the server again, it recovers what is durable")]
    Fatal(#[from] sequencer::Fatal),
    /// A witness shows what this log has lost.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
    /// The writer's thread panicked, which is a bug.
    #[error("the writer's thread panicked")]
    Panicked,
}

/// Where a service listens.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC.
    pub grpc: TcpListener,
    /// Checkpoint and tiles over HTTP.
    pub files: TcpListener,
    /// Health and metrics over HTTP, in the clear. The listener for files has them as well if it
    /// is on loopback.
    pub admin: Option<TcpListener>,
}

/// Serves in the clear, on two listeners, with the usual limits; see [`serve_on`].
pub async fn serve(
    service: Arc<Service>,
    writer: Writer,
    grpc: TcpListener,
    files: TcpListener,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let listeners = Listeners { grpc, files, admin: None };
    serve_on(service, writer, listeners, Transport::default(), shutdown).await
}

/// Serves until told to stop or until the writer ends by itself. On return all that was
/// acknowledged is on disk and the store is closed.
///
/// The end has an order: health says so; statements are refused, what is queued is answered;
/// after [`notice`](transport::TransportLimits::notice) the doors close; after
/// [`grace`](transport::TransportLimits::grace) what is still open is left behind.
pub async fn serve_on(
    service: Arc<Service>,
    writer: Writer,
    listeners: Listeners,
    transport: Transport,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let Listeners { grpc, files, admin } = listeners;
    let limits = transport.limits;
    for listener in [&grpc, &files] {
        transport.check(listener.local_addr()?)?;
    }
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut background = Background::default();
    background.run(report_health(health_reporter, service.conditions()));
    background.run(tidy(Arc::clone(&service)));
    if service.cosigning().is_some() {
        if let Err(found) = service.compare_with_witnesses().await {
            service.roll_back(found);
        }
        background.run(witnesses::gather(Arc::clone(&service)));
        background.run(ticks::log_ticks(Arc::clone(&service)));
    }

    // Closes the doors: told from outside, or because the writer has ended.
    let (end, ended) = watch::channel(false);
    let log = LogServiceServer::new(LogApi { service: Arc::clone(&service), limits })
        .max_decoding_message_size(MAX_APPEND)
        .max_encoding_message_size(MAX_ANSWER);
    let artifacts =
        ArtifactServiceServer::new(ArtifactApi { service: Arc::clone(&service), limits })
            .max_decoding_message_size(MAX_CHUNK)
            .max_encoding_message_size(MAX_ANSWER);
    let exchanges =
        ExchangeServiceServer::new(ExchangeApi { service: Arc::clone(&service), limits })
            .max_decoding_message_size(MAX_QUESTION)
            .max_encoding_message_size(MAX_ANSWER);
    let with_metrics = files.local_addr()?.ip().is_loopback();
    let counted = service.metrics().transport();
    let grpc = transport::grpc_server(limits, Guard::new(limits, counted.clone(), ended.clone()))
        .add_service(health)
        .add_service(reflection)
        .add_service(log)
        .add_service(artifacts)
        .add_service(exchanges)
        .serve_with_incoming_shutdown(
            transport::open(&transport, counted, Door::Grpc, grpc)?,
            until(ended.clone()),
        );
    let files = transport::http::serve(
        transport::open(&transport, counted, Door::Http, files)?,
        http::files(Arc::clone(&service), with_metrics),
        limits,
        ended.clone(),
    );
    if let Some(admin) = admin {
        let links = transport::open(&transport, counted, Door::Admin, admin)?;
        let router = http::admin(Arc::clone(&service));
        // Open until the very end, to say how it goes.
        let (never, never_ended) = watch::channel(false);
        background.run(async move {
            transport::http::serve(links, router, limits, never_ended).await;
            drop(never);
        });
    }

    let writer = tokio::spawn(watch_writer(Arc::clone(&service), writer));
    let serving = async { tokio::join!(grpc, files).0 };
    let closing = async {
        tokio::select! {
            () = told(shutdown) => {
                service.stop();
                tokio::time::sleep(limits.notice).await;
            }
            () = writer_gone(&service) => {}
        }
        end.send_replace(true);
        tokio::time::sleep(limits.grace).await;
        // A connection that stays open without a word must not keep the process alive.
        tracing::warn!(grace = ?limits.grace, "some connections did not end in time");
    };
    let served = tokio::select! {
        served = serving => served.map_err(ServeError::from),
        () = closing => Ok(()),
    };
    service.stop();
    let ended = writer.await.unwrap_or(Err(ServeError::Panicked)).and(served);
    match service.rolled_back() {
        Some(found) => Err(found.clone().into()),
        None => ended,
    }
}

/// Waits for the writer's end. If nobody asked for it, nothing is taken from then on.
async fn watch_writer(service: Arc<Service>, writer: Writer) -> Result<(), ServeError> {
    let outcome = tokio::task::spawn_blocking(move || writer.join()).await;
    let result = match outcome {
        Ok(Ok(result)) => result.map_err(|fatal| {
            tracing::error!(%fatal, "the writer stopped");
            service.metrics().fatal(Some(&fatal));
            ServeError::from(fatal)
        }),
        Ok(Err(_)) | Err(_) => {
            tracing::error!("the writer's thread panicked");
            service.metrics().fatal(None);
            Err(ServeError::Panicked)
        }
    };
    if result.is_err() || service.state() == Condition::Serving {
        service.mark_stopped();
    }
    result
}

async fn writer_gone(service: &Service) {
    // The sender lives in the service.
    let _ = service.conditions().wait_for(|condition| *condition == Condition::Stopped).await;
}

/// Tells gRPC's health service, and whoever watches it, what the service's condition is.
async fn report_health(reporter: HealthReporter, mut conditions: watch::Receiver<Condition>) {
    use tonic::server::NamedService as _;
    let services = [
        "",
        LogServiceServer::<LogApi>::NAME,
        ArtifactServiceServer::<ArtifactApi>::NAME,
        ExchangeServiceServer::<ExchangeApi>::NAME,
    ];
    loop {
        let status = match *conditions.borrow_and_update() {
            Condition::Serving => ServingStatus::Serving,
            Condition::Draining | Condition::Stopped => ServingStatus::NotServing,
        };
        for service in services {
            reporter.set_service_status(service, status).await;
        }
        if conditions.changed().await.is_err() {
            return;
        }
    }
}

async fn tidy(service: Arc<Service>) {
    let mut clock = tokio::time::interval(TIDY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let service = Arc::clone(&service);
        let tidied = tokio::task::spawn_blocking(move || service.tidy(Instant::now())).await;
        if tidied.is_err() {
            return;
        }
    }
}
