//! A connection that ends by itself: when its first bytes don't come, when what is written to it
//! is not taken, when a call on it doesn't end, and at its age.
//!
//! HTTP/2 has no deadline for its preface, and flow control lets a peer ask for an answer and
//! never take it; keepalive notices neither. So the bytes are watched here, below HTTP.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::metrics::Counted;
use crate::peer::Peer;
use crate::slots::Slot;

/// How often a connection looks at its clock.
const TICK: Duration = Duration::from_millis(500);

/// The HTTP/2 preface, RFC 9113 section 3.4.
const PREFACE: usize = 24;

/// When a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The preface must be here by then. HTTP/1 has a deadline of its own.
    pub(crate) preface: Option<Duration>,
    /// What is written must be taken by then, at least in part; and a call must end by then after
    /// its deadline.
    pub(crate) stall: Duration,
    /// Then it is cut, whatever goes on.
    pub(crate) age: Duration,
}

/// Calls on a connection, with the time by which each must have ended.
#[derive(Debug, Default)]
pub struct OpenCalls(Mutex<(u64, Begun)>);

/// Open calls, the oldest first; the number tells those of one moment apart.
type Begun = BTreeMap<(Instant, u64), ()>;

impl OpenCalls {
    /// Notes a call; it is over when the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>, until: Instant) -> OpenCall {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.0 += 1;
        let key = (until, calls.0);
        calls.1.insert(key, ());
        OpenCall { calls: Arc::clone(self), key }
    }

    /// Ends the connection: what is sent on it is not taken.
    pub fn cut(&self) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Number zero is no call's, so nothing removes it.
        calls.1.insert((Instant::now(), 0), ());
    }

    fn overdue(&self, now: Instant) -> bool {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.1.first_key_value().is_some_and(|((until, _), ())| *until < now)
    }
}

/// A call that goes on.
#[derive(Debug)]
pub(crate) struct OpenCall {
    calls: Arc<OpenCalls>,
    key: (Instant, u64),
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.calls.0.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.key);
    }
}

/// A connection at work.
#[derive(Debug)]
pub struct Link {
    io: Io,
    peer: Peer,
    patience: Patience,
    opened: Instant,
    /// Bytes of the preface that are here.
    preface: usize,
    /// Since when nothing of what is written is taken.
    stalled: Option<Instant>,
    clock: Interval,
    _slot: Slot<IpAddr>,
    _counted: Counted,
}

/// With or without TLS.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    pub(crate) fn new(
        io: Io,
        peer: Peer,
        patience: Patience,
        slot: Slot<IpAddr>,
        counted: Counted,
    ) -> Self {
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            io,
            peer,
            patience,
            opened: Instant::now(),
            preface: 0,
            stalled: None,
            clock,
            _slot: slot,
            _counted: counted,
        }
    }

    /// The other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// An error once the connection has to end. Registers for the next tick, so that the task
    /// that reads and writes looks here again.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.clock.poll_tick(cx).is_ready() {}
        let now = Instant::now();
        let Patience { preface, stall, age } = self.patience;
        let late = |since: Instant, limit: Duration| now.duration_since(since) > limit;
        let problem = if late(self.opened, age) {
            "the connection is too old"
        } else if preface.is_some_and(|limit| self.preface < PREFACE && late(self.opened, limit)) {
            "no HTTP/2 preface came"
        } else if self.stalled.is_some_and(|since| late(since, stall)) {
            "nothing of what is sent is taken"
        } else if self.peer.calls().overdue(now) {
            "an answer is not taken"
        } else {
            return Ok(());
        };
        tracing::debug!(peer = %self.peer.identity(), problem, "cutting a connection");
        Err(io::Error::new(io::ErrorKind::TimedOut, problem))
    }

    /// Notes whether what is written is taken.
    fn wrote<T>(&mut self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &poll {
            Poll::Pending => _ = self.stalled.get_or_insert_with(Instant::now),
            Poll::Ready(_) => self.stalled = None,
        }
        poll
    }

    fn io(&mut self) -> Pin<&mut dyn ReadWrite> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream),
            Io::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        link.check(cx)?;
        let before = buffer.filled().len();
        let poll = link.io().poll_read(cx, buffer);
        link.preface = link.preface.saturating_add(buffer.filled().len() - before);
        poll
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        link.check(cx)?;
        let poll = link.io().poll_write(cx, bytes);
        link.wrote(poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        link.check(cx)?;
        let poll = link.io().poll_write_vectored(cx, bytes);
        link.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        link.check(cx)?;
        let poll = link.io().poll_flush(cx);
        link.wrote(poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        link.check(cx)?;
        let poll = link.io().poll_shutdown(cx);
        link.wrote(poll)
    }
}

impl Connected for Link {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}
