//! A monitor on logs that are honest, and on logs that lie in every way that a reader can see.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

mod accusations;
mod hostile;
mod log;
mod passes;
