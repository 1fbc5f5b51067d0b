//! Connections of a server, whatever it serves: how many, from whom, for how long, under which
//! certificates; the guard around gRPC calls; HTTP/1.1; and statuses with google.rpc details.
//!
//! The log and the witness run this very code. What a request says is none of its business.

mod door;
mod ending;
mod guard;
pub mod http;
mod limits;
mod link;
mod metrics;
mod peer;
mod slots;
pub mod status;
mod tls;

pub use door::open;
pub use ending::{Background, Shutdown, told, until};
pub use guard::{Guard, grpc_server, peer_of};
pub use limits::{Reading, Transport, TransportLimits, Unreadable};
pub use link::{Link, OpenCalls};
pub use metrics::{Door, Metrics};
pub use peer::{Fingerprint, Identity, InvalidFingerprint, Peer, Roster};
pub use tls::{Pem, Tls, TlsError, install_provider};
