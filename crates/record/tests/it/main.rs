//! The crate against its vectors, naive oracles and hostile inputs.

// Functions beside the tests unwrap too: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod commits;
mod dishonest;
mod headers;
mod items;
mod large;
mod multiproofs;
mod openings;
mod scores;
mod support;
mod vectors;
