//! What processes that listen have in common: sockets, certificates, and how they are told to end.

use std::net::SocketAddr;
use std::path::PathBuf;

use client::files;
use tokio::net::TcpListener;
use tokio::sync::watch;
use transport::{Pem, Tls};
use zeroize::Zeroizing;

use super::output::Failure;
use super::serve::config::TlsSection;

/// PEM files have some KiB.
const MAX_PEM: u64 = 1 << 20;

/// Listens on an address; `flags` say which of them could name another.
pub(super) async fn bind(address: SocketAddr, flags: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| {
        Failure::new(format!("cannot listen on {address}: {e}"))
            .next(format!("choose another address with {flags}; port 0 takes any free one"))
    })
}

/// TLS, if there is a certificate.
pub(super) fn tls(section: &TlsSection) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (&section.certificate, &section.key) else {
        return Ok(None);
    };
    let optional =
        |path: &Option<PathBuf>| path.as_ref().map(|path| files::read(path, MAX_PEM)).transpose();
    let chain = files::read(certificate, MAX_PEM)?;
    let secret = Zeroizing::new(files::read_handed(key, MAX_PEM)?);
    let client_ca = optional(&section.client_ca)?;
    let client_revoked = optional(&section.client_crl)?;
    let pem = Pem {
        certificate: &chain,
        key: &secret,
        client_ca: client_ca.as_deref(),
        client_revoked: client_revoked.as_deref(),
    };
    Tls::new(&pem).map(Some).map_err(|e| Failure::new(format!("TLS: {e}")))
}

/// Tells a service to stop at SIGINT or SIGTERM; the second one ends the process at once. `what`
/// is what goes on until then. From the return of this on no signal is missed.
pub(super) fn stop_on_signals(what: &'static str) -> Result<watch::Receiver<bool>, Failure> {
    let mut signals = Signals::watch()?;
    let (stop, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping: {what}");
        stop.send_replace(true);
        signals.next().await;
        tracing::warn!("asked twice: leaving at once; what was answered is on disk");
        std::process::exit(130);
    });
    Ok(shutdown)
}

/// SIGINT and SIGTERM.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn watch() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let watch = |kind, name| {
            signal(kind).map_err(|e| Failure::new(format!("{name} cannot be watched: {e}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt(), "SIGINT")?,
            terminate: watch(SignalKind::terminate(), "SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn watch() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
