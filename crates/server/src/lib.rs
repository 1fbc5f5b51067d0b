//! The service: what a statement must pass to be admitted, the gRPC services and the HTTP read
//! path.
//!
//! Listeners, storage and keys come from outside, so that tests and simulations run this very
//! code. It has no files and no flags of its own.

mod artifact_service;
mod gate;
mod http;
mod log_service;
mod serve;
mod service;

pub use gate::Admitted;
pub use serve::{ServeError, Shutdown, serve};
pub use service::{Condition, OpenError, Queued, Service, Settings, Writer};
