//! A witness: cosigns checkpoints of logs once it has proof that they continue what it cosigned
//! before (C2SP tlog-witness), and stamps statements with its own clock.
//!
//! | module | what it is |
//! |---|---|
//! | [`decision`] | the rules: state, request and time in, an answer out. Pure |
//! | [`store`], [`sqlite`] | what was cosigned, durable before anyone learns of it |
//! | [`writer`] | the one thread that decides and persists, in one step for each log |
//! | [`service`] | signatures, rates, alarms around it; `http` and `grpc` are its transports |
//!
//! Keys, clock, listeners and folders come from outside. Connections are the crate `transport`'s.

mod alarms;
pub mod decision;
mod grpc;
mod http;
mod logs;
mod metrics;
mod published;
mod serve;
pub mod service;
pub mod sqlite;
mod stamp;
pub mod store;
pub mod writer;

pub use alarms::Alarms;
pub use decision::Own;
pub use logs::{InvalidLog, Logs};
pub use metrics::Metrics;
pub use published::check_shown;
pub use serve::{Listeners, ServeError, serve_on};
pub use service::{Rate, Service, Settings};
pub use sqlite::SqliteStore;
pub use stamp::{NotStamped, Registration, Signers, Stamp, Stampable, check_stampable};
pub use store::StoreError;
