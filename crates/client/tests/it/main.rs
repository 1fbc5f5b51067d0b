//! The client against logs on loopback: honest ones, lying ones, and ones that end in the middle
//! of an answer. Nothing here starts the product's server. And what it keeps: files, key files and
//! the vault, with every file damaged, misplaced or somebody else's.

// A test that unwraps nothing has failed; functions that several tests share are tests too.
#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod downloads;
mod files;
mod keys;
mod liar;
mod sessions;
mod support;
mod vault;
mod wire;
