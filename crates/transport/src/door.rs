//! Accepting connections: how many, from whom, and who they are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::limits::Transport;
use crate::link::{Io, Link, OpenCalls, Patience};
use crate::metrics::{Counted, Door, Metrics};
use crate::peer::{Fingerprint, Peer, Roster, network};
use crate::slots::{Full, Slot, Slots};

/// Connections that are ready and wait to be served, which takes no time: a few are enough.
const READY: usize = 16;

/// What to wait after the system had no descriptor left, so that the loop doesn't spin.
const BREATH: Duration = Duration::from_millis(50);

/// Opens one door: connections come out ready to be served, and the listener closes once nobody
/// takes them any more.
pub fn open(
    transport: &Transport,
    metrics: &Metrics,
    door: Door,
    listener: TcpListener,
) -> io::Result<ReceiverStream<io::Result<Link>>> {
    let Transport { tls, roster, reading, limits } = transport;
    let (protocol, preface) = match door {
        Door::Grpc => (&b"h2"[..], Some(limits.handshake)),
        Door::Http | Door::Admin => (&b"http/1.1"[..], None),
    };
    let tls = tls.as_ref().filter(|_| door != Door::Admin);
    let keeper = Doorkeeper {
        door,
        tls: tls.map(|tls| tls.acceptor(protocol)),
        handshake: limits.handshake,
        patience: Patience {
            preface,
            stall: limits.idle,
            // Whoever was asked to close has the time of the longest call to do so.
            age: limits.connection_age + limits.upload,
        },
        slots: Slots::new(limits.connections, limits.connections_each),
        roster: Arc::clone(roster),
        public_read: reading.is_public(listener.local_addr()?.ip().is_loopback()),
        metrics: metrics.clone(),
    };
    // Full while the server is slower than the handshakes: then these wait.
    let (ready, links) = mpsc::channel(READY);
    tokio::spawn(accept(Arc::new(keeper), listener, ready));
    Ok(ReceiverStream::new(links))
}

/// What every connection of one listener has in common.
struct Doorkeeper {
    door: Door,
    tls: Option<TlsAcceptor>,
    handshake: Duration,
    patience: Patience,
    slots: Slots<IpAddr>,
    roster: Arc<Roster>,
    public_read: bool,
    metrics: Metrics,
}

impl Doorkeeper {
    /// A place for one more connection, or the cause why there is none.
    fn place(&self, address: IpAddr) -> Result<Slot<IpAddr>, &'static str> {
        self.slots.take(&network(address)).map_err(|full| match full {
            Full::Total => "full",
            Full::Own => "address_full",
        })
    }

    /// The handshake, if there is one.
    async fn greet(
        &self,
        stream: TcpStream,
        address: IpAddr,
        slot: Slot<IpAddr>,
        counted: Counted,
    ) -> Option<Link> {
        let (io, certificate) = match &self.tls {
            None => (Io::Plain(stream), None),
            Some(tls) => match tokio::time::timeout(self.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let chain = stream.get_ref().1.peer_certificates();
                    let certificate = chain.and_then(|chain| chain.first());
                    let certificate = certificate.map(|leaf| Fingerprint::of(leaf));
                    (Io::Tls(Box::new(stream)), certificate)
                }
                refused => {
                    let cause = match refused {
                        Ok(Err(error)) => error.to_string(),
                        _ => format!("not done within {:?}", self.handshake),
                    };
                    tracing::debug!(%address, cause, "a TLS handshake failed");
                    self.metrics.connection_refused(self.door, "handshake");
                    return None;
                }
            },
        };
        let calls = Arc::new(OpenCalls::default());
        let peer = Peer::new(address, certificate, &self.roster, self.public_read, calls);
        Some(Link::new(io, peer, self.patience, slot, counted))
    }
}

async fn accept(
    keeper: Arc<Doorkeeper>,
    listener: TcpListener,
    ready: mpsc::Sender<io::Result<Link>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, SocketAddr::ip(&address).to_canonical()),
            Err(error) => {
                // Usually the peer has gone again, or there are too many files open.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let slot = match keeper.place(address) {
            Ok(slot) => slot,
            Err(cause) => {
                tracing::debug!(%address, cause, "a connection was turned away");
                keeper.metrics.connection_refused(keeper.door, cause);
                continue;
            }
        };
        let counted = keeper.metrics.connection(keeper.door);
        // Answers are small and awaited: they must not wait for more of their kind.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not set");
        }
        let (keeper, ready) = (Arc::clone(&keeper), ready.clone());
        tokio::spawn(async move {
            let greeting = keeper.greet(stream, address, slot, counted);
            let link = tokio::select! {
                link = greeting => link,
                () = ready.closed() => None,
            };
            if let Some(link) = link {
                // Nobody serves any more: the connection closes.
                let _ = ready.send(Ok(link)).await;
            }
        });
    }
}
