//! Intake against genuine logs of four harnesses, and against damaged copies of them.

#![allow(clippy::unwrap_used)] // also in helpers, which clippy does not take for tests

mod archive;
mod container;
mod expected;
mod fixtures;
mod helm;
mod inspect;
mod lm_eval;
mod mapping;
mod robustness;
mod strict;
