//! Listeners in, a running witness out; and an end within a deadline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::v1::witness_service_server::WitnessServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use transport::{Background, Door, Guard, Shutdown, Transport, told, until};

use crate::grpc::WitnessApi;
use crate::http;
use crate::published::Published;
use crate::service::{Condition, Service};
use crate::store::StoreError;
use crate::writer::Writer;

/// A checkpoint has at most 256 KiB, its proof 2 KiB.
const MAX_MESSAGE: usize = 264 << 10;
/// Ten thousand logs in one answer, or one checkpoint.
const MAX_ANSWER: usize = 4 << 20;
/// How often what was cosigned is written to the folder of published checkpoints.
const PUBLISH: Duration = Duration::from_secs(1);
/// How often signers at rest are forgotten.
const TIDY: Duration = Duration::from_secs(30);

/// Why a witness ended by itself.
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
    /// A write failed, after which the state is unknown. Starting again finds what is durable.
    #[error("the store failed: {0}; start the witness again, it goes on from what is durable")]
    Store(#[from] StoreError),
    /// The writer's thread panicked, which is a bug.
    #[error("the writer's thread panicked")]
    Panicked,
}

/// Where a witness listens.
#[derive(Debug)]
pub struct Listeners {
    /// C2SP tlog-witness.
    pub http: TcpListener,
    /// `WitnessService`.
    pub grpc: TcpListener,
    /// Health and metrics, in the clear. The HTTP listener has metrics if it is on loopback.
    pub admin: Option<TcpListener>,
}

/// Serves until told to stop or until the store fails. What was answered is durable.
///
/// `published` is the folder that gets what is cosigned, if there is to be one.
pub async fn serve_on(
    service: Arc<Service>,
    writer: Writer,
    listeners: Listeners,
    transport: Transport,
    published: Option<PathBuf>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let Listeners { http, grpc, admin } = listeners;
    let limits = transport.limits;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut background = Background::default();
    background.run(report_health(health_reporter, service.conditions()));
    background.run(tidy(Arc::clone(&service)));
    let publisher = published.map(|folder| Publisher::new(Arc::clone(&service), &folder));

    // Closes the doors: told from outside, or because the writer has ended.
    let (end, ended) = watch::channel(false);
    let counted = service.metrics().transport();
    let with_metrics = http.local_addr()?.ip().is_loopback();
    let witness = WitnessServiceServer::new(WitnessApi(Arc::clone(&service)))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_ANSWER);
    let grpc = transport::grpc_server(limits, Guard::new(limits, counted.clone(), ended.clone()))
        .add_service(health)
        .add_service(reflection)
        .add_service(witness)
        .serve_with_incoming_shutdown(
            transport::open(&transport, counted, Door::Grpc, grpc)?,
            until(ended.clone()),
        );
    let http = transport::http::serve(
        transport::open(&transport, counted, Door::Http, http)?,
        http::public(Arc::clone(&service), limits.call, with_metrics),
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

    let mut writer = tokio::task::spawn_blocking(move || writer.join());
    let serving = async { tokio::join!(grpc, http).0 };
    let publishing = async {
        match &publisher {
            Some(publisher) => publisher.run().await,
            None => std::future::pending().await,
        }
    };
    let closing = async {
        told(shutdown).await;
        service.stop(Condition::Draining);
        tokio::time::sleep(limits.notice).await;
        end.send_replace(true);
        tokio::time::sleep(limits.grace).await;
        // A connection that stays open without a word must not keep the process alive.
        tracing::warn!(grace = ?limits.grace, "some connections did not end in time");
    };
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served.map_err(ServeError::from),
        () = closing => Ok(()),
        () = publishing => Ok(()),
        failed = &mut writer => {
            service.stop(Condition::Stopped);
            end.send_replace(true);
            // Whoever waits is told.
            let _ = tokio::time::timeout(limits.grace, &mut serving).await;
            return match failed {
                Ok(Ok(Err(error))) => Err(error.into()),
                // The way to the writer is in the service, so it cannot have ended well.
                Ok(Ok(Ok(())) | Err(_)) | Err(_) => Err(ServeError::Panicked),
            };
        }
    };
    // What was answered before the doors closed.
    if let Some(publisher) = &publisher {
        publisher.write().await;
    }
    served
}

/// Tells gRPC's health service, and whoever watches it, what the condition is.
async fn report_health(reporter: HealthReporter, mut conditions: watch::Receiver<Condition>) {
    use tonic::server::NamedService as _;
    let services = ["", WitnessServiceServer::<WitnessApi>::NAME];
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
    loop {
        tokio::time::sleep(TIDY).await;
        service.tidy();
    }
}

/// Writes what is cosigned to a folder, a moment later.
struct Publisher {
    service: Arc<Service>,
    /// Held for as long as a write goes on, also if nobody waits for it any more.
    published: Arc<Mutex<Published>>,
}

impl Publisher {
    fn new(service: Arc<Service>, folder: &Path) -> Self {
        Self { service, published: Arc::new(Mutex::new(Published::new(folder))) }
    }

    async fn run(&self) {
        loop {
            self.write().await;
            tokio::time::sleep(PUBLISH).await;
        }
    }

    async fn write(&self) {
        let (service, published) = (Arc::clone(&self.service), Arc::clone(&self.published));
        let work = move || {
            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
            published.write(&service.all(), &service.own().key)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "what was cosigned is not published as files");
        }
    }
}
