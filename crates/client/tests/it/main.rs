//! The client against logs on loopback: honest ones, lying ones, and ones that end in the middle
//! of an answer. Nothing here starts the product's server.

#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod downloads;
mod liar;
mod sessions;
mod wire;
