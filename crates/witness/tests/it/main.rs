//! The witness as a library and behind its real listeners.

// Functions that several tests share are tests too.
#![allow(clippy::unwrap_used)]

mod alarms;
mod decisions;
mod hostile;
mod metrics;
mod races;
mod rollback;
mod stamps;
mod store;
mod support;
mod vectors;
