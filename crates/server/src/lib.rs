//! The service: what a statement must pass to be admitted, the gRPC services and the HTTP read
//! path.
//!
//! Listeners, storage and keys come from outside, so that tests and simulations run this very
//! code. It has no files and no flags of its own. Connections are the crate `transport`'s.

mod artifact_service;
mod exchange_messages;
mod exchange_service;
mod gate;
mod holdings;
mod http;
mod inspection;
mod known;
mod log_service;
mod metered;
mod metrics;
mod quota;
mod serve;
mod service;
mod taken;
mod ticks;
mod witnesses;

/// Answers that need a state and no service: for fuzzing, and no promise.
#[doc(hidden)]
pub use exchange_messages::{find_exchange, list_exchanges, open_exchange};
pub use gate::Admitted;
pub use holdings::{Envelopes, Unnamed};
pub use inspection::{Inspected, inspect};
/// Answers that need a snapshot and no service: for fuzzing, and no promise.
#[doc(hidden)]
pub use log_service::{inclusion, list};
pub use metered::Metered;
pub use metrics::Metrics;
pub use quota::{Quotas, Rate};
pub use serve::{Listeners, ServeError, serve, serve_on};
pub use service::{Condition, OpenError, Queued, Service, Settings, Writer};
pub use ticks::{ForeignKeys, Operator};
pub use witnesses::{Pace, RolledBack, Shown, UnfitPolicy, Witnesses};
