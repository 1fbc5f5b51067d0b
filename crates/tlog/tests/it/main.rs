//! The crate against its vectors, naive oracles and hostile inputs.

// The lint's exception covers test functions only, not what they share.
#![allow(clippy::unwrap_used)]

mod arbitrary;
mod cctv;
mod checkpoints;
mod evidence;
mod evidence_format;
mod keys;
mod notes;
mod policies;
mod proofs;
mod receipts;
mod safety;
mod tiles;
mod vectors;
mod witness;
