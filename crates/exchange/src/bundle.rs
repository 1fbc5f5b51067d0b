//! Bundles: one file with everything that one verdict needs, verified offline, by anyone, without
//! the server that the statements came from.
//!
//! Statements come with proofs in one signed checkpoint, and every head that they say they have
//! seen with a proof that it is a prefix of it. [`Bundle::verify`] says what holds. What it can't
//! say is what is *not* in the log: for that a bundle must be [complete](Bundle::complete_from)
//! from some leaf on.

mod document;
mod fault;
mod verdict;

pub use document::{Bundle, BundleError, BundleLeaf, MAX_BUNDLE};
pub use fault::BundleFault;
pub use verdict::{Attested, Opened, VectorState, Verdict};
