//! Black-box tests: the built `countersign` binary and its API, as their users meet them.
//!
//! Servers listen on loopback at port 0. Every wait has a deadline, and a failure prints the
//! command, its output and the server's log.

// Functions that several tests share are tests too.
#![allow(clippy::unwrap_used)]

// Takes archives apart without any code of the reader that is tested.
#[allow(dead_code)]
#[path = "../../crates/intake/tests/it/archive.rs"]
mod archive;
mod bench;
mod bundles;
mod colour;
mod config;
mod cosigning;
mod crash;
mod demo;
mod exchanges;
#[allow(dead_code)]
mod exchanging;
mod forks;
mod fsck;
mod health;
mod help;
mod http;
mod import;
mod keys;
mod labs;
mod limits;
mod logs;
mod metrics;
mod monitor;
mod oracle;
#[allow(dead_code)]
mod parties;
mod pki;
mod policies;
mod quotas;
mod refusals;
mod schema;
mod service;
mod shutdown;
mod sizes;
mod support;
mod ticks;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod vault;
mod witness;
mod witness_kills;
