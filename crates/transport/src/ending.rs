//! How a service is told to end, and what ends with it.

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tells a service to stop: set it to true.
pub type Shutdown = watch::Receiver<bool>;

/// Returns once it is told. A dropped sender means that nobody will ever ask.
pub async fn told(mut shutdown: Shutdown) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns once it is so, or once nobody can say it any more.
pub async fn until(mut ended: watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Tasks that end with the service.
#[derive(Debug, Default)]
pub struct Background(Vec<JoinHandle<()>>);

impl Background {
    /// Runs a task until it ends or this is dropped.
    pub fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
