//! HTTP/1.1 over links: limits for headers and time, a peer with each request, an end in order.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tower::ServiceExt as _;

use crate::ending::until;
use crate::limits::TransportLimits;
use crate::link::Link;

/// Headers of one request; a proxy adds some ten.
const HEADERS: usize = 64;

/// Serves connections until told to end; then each ends after the request it is at.
pub async fn serve(
    mut links: impl Stream<Item = std::io::Result<Link>> + Unpin,
    router: Router,
    limits: TransportLimits,
    ended: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.handshake)
        .max_headers(HEADERS)
        // What hyper can do with the least is 8 KiB.
        .max_buf_size((limits.header_bytes as usize).max(8 << 10))
        .half_close(false);
    let mut open = JoinSet::new();
    let mut end = std::pin::pin!(until(ended.clone()));
    loop {
        let link = tokio::select! {
            link = links.next() => link,
            () = &mut end => break,
            // So that what has ended does not pile up.
            Some(_) = open.join_next() => continue,
        };
        let Some(Ok(link)) = link else { break };
        let peer = link.peer().clone();
        let service = router.clone().map_request(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let connection =
            http.serve_connection(TokioIo::new(link), TowerToHyperService::new(service));
        let ended = until(ended.clone());
        open.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = ended => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
    }
    drop(links);
    while open.join_next().await.is_some() {}
}
