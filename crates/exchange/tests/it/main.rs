//! Tests of the crate from outside: vectors, tables of refusals, properties of replay.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

mod agreements;
mod bundle_bytes;
mod bundle_keys;
mod bundle_logs;
mod bundled;
mod bundles;
mod drafts;
mod envelopes;
mod evidence;
mod exchanges;
mod honest;
mod keys;
mod log;
mod mutations;
mod pair;
mod refusals;
mod replay_speed;
mod replays;
mod scene;
mod statements;
mod vectors;
