//! What goes on beside the passes: signals are heard, and others may ask.

use std::net::SocketAddr;
use std::time::Duration;

use monitor::{Metrics, Served};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::cli::output::Failure;
use crate::cli::process;

pub(super) struct Background {
    runtime: Runtime,
    stop: watch::Receiver<bool>,
    served: Option<Served>,
    /// Where it listens.
    pub(super) http: Option<SocketAddr>,
}

impl Background {
    /// Watches for signals from here on, and answers at an address if there is one.
    pub(super) fn start(http: Option<SocketAddr>, metrics: Metrics) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Failure::new(format!("the runtime does not start: {e}")))?;
        let (stop, bound) = runtime.block_on(async {
            let stop = process::stop_on_signals("this pass is the last")?;
            let listener = match http {
                Some(address) => Some(process::bind(address, "--http").await?),
                None => None,
            };
            Ok::<_, Failure>((stop, listener))
        })?;
        let http = bound.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
        let served = bound.map(|listener| {
            let served = Served::new(metrics);
            runtime.spawn(monitor::serve(served.clone(), listener, stop.clone()));
            served
        });
        Ok(Self { runtime, stop, served, http })
    }

    /// Shows a head that was verified to whoever asks.
    pub(super) fn show(&self, checkpoint: Option<&[u8]>) {
        if let (Some(served), Some(checkpoint)) = (&self.served, checkpoint) {
            served.show(checkpoint);
        }
    }

    /// True once the process was told to stop.
    pub(super) fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits for as long, or until told to stop.
    pub(super) fn wait(&mut self, time: Duration) {
        let told = self.stop.wait_for(|stop| *stop);
        // Both ends are the caller's to look at.
        let _ = self.runtime.block_on(async { tokio::time::timeout(time, told).await.is_ok() });
    }
}
