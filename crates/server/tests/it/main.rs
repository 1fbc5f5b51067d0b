//! The service in the test's own process: what is admitted, in which order reasons answer, what
//! becomes of callers when storage fails, and who may read what. Storage is in memory, so that
//! tests can damage it, hold it up and make it fail.

#![allow(clippy::unwrap_used, missing_docs)]

mod admission;
mod exchanges;
/// What is said under an agreement, as the black-box tests say it.
#[path = "../../../../tests/it/exchanging.rs"]
#[allow(dead_code)]
mod exchanging;
mod failures;
mod opening;
mod pair;
/// Parties and records, as the black-box tests make them.
#[path = "../../../../tests/it/parties.rs"]
#[allow(dead_code)]
mod parties;
mod reading;
mod scene;
mod watching;
