//! What a server's transports allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::peer::Roster;
use crate::tls::Tls;

/// Everything about connections that is not about statements.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    /// TLS for gRPC and the read path; without it both are in the clear.
    pub tls: Option<Tls>,
    /// Which party a client certificate belongs to.
    pub roster: Arc<Roster>,
    /// Who may read.
    pub reading: Reading,
    /// Limits of connections and calls.
    pub limits: TransportLimits,
}

impl Transport {
    /// Somebody must be able to read from a listener on this address: parties check every answer
    /// against the log.
    pub fn check(&self, address: SocketAddr) -> Result<(), Unreadable> {
        let public = self.reading.is_public(address.ip().is_loopback());
        let certificates = self.tls.as_ref().is_some_and(Tls::asks_for_certificates);
        if public || certificates { Ok(()) } else { Err(Unreadable(address)) }
    }
}

/// Nobody could read: no client certificates are asked for, and reading is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "nobody could read from {0}: it is not on loopback, no client certificates are asked for, and \
     reading is not public"
)]
pub struct Unreadable(pub SocketAddr);

/// Who may read checkpoints, tiles, entries and artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// On loopback everybody, elsewhere whoever shows a client certificate.
    #[default]
    Local,
    /// Everybody.
    Public,
    /// Whoever shows a client certificate.
    Admitted,
}

impl Reading {
    /// Whether a listener on this address is for everybody.
    pub fn is_public(self, loopback: bool) -> bool {
        match self {
            Self::Local => loopback,
            Self::Public => true,
            Self::Admitted => false,
        }
    }
}

/// Limits of connections and calls. None of them is about what a statement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportLimits {
    /// Open connections of one listener.
    pub connections: usize,
    /// Open connections from one address.
    pub connections_each: usize,
    /// Calls that go on at once, in all.
    pub calls: usize,
    /// Calls that go on at once, of one identity.
    pub calls_each: usize,
    /// Uploads, downloads and other streams that go on at once, in all.
    pub streams: usize,
    /// Streams of one identity.
    pub streams_each: usize,
    /// Streams that one HTTP/2 connection may have open.
    pub streams_per_connection: u32,
    /// Bytes of one request's headers.
    pub header_bytes: u32,
    /// A TLS handshake, and then the first bytes, must be done by then.
    pub handshake: Duration,
    /// A call with one request and one answer must be answered by then.
    pub call: Duration,
    /// The next message of a stream must come, and what is sent must be taken, by then.
    pub idle: Duration,
    /// One upload must be done by then.
    pub upload: Duration,
    /// How often a silent HTTP/2 peer is asked whether it is there.
    pub keepalive: Duration,
    /// When it has to have answered.
    pub keepalive_answer: Duration,
    /// When a connection is asked to close. Calls on it may end.
    pub connection_age: Duration,
    /// From not ready to closed doors: time for load balancers to notice.
    pub notice: Duration,
    /// From closed doors to the end: time for calls to end.
    pub grace: Duration,
}

impl Default for TransportLimits {
    /// For one machine that serves some dozens of parties.
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_each: 256,
            calls: 2_048,
            calls_each: 1_024,
            streams: 512,
            streams_each: 128,
            streams_per_connection: 256,
            header_bytes: 16 << 10,
            handshake: Duration::from_secs(5),
            call: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            upload: Duration::from_secs(600),
            keepalive: Duration::from_secs(20),
            keepalive_answer: Duration::from_secs(10),
            connection_age: Duration::from_secs(1_800),
            notice: Duration::ZERO,
            grace: Duration::from_secs(5),
        }
    }
}
