//! JSON as this project reads it: every document has limits, no object has two members of one
//! name, numbers keep the spelling they came with, and every error says where it is.
//!
//! One grammar (RFC 8259) under two sets of [`Rules`]: [`Rules::SIGNED`] for what parties sign,
//! where floats, `null` and numbers beyond 2^53 − 1 are errors, and [`Rules::LOG`] for evaluation
//! logs, where the tools of the field write `NaN` and `Infinity`. `serde_json` serves neither: it
//! keeps the last of two equal members, takes `null` for an absent member and refuses `NaN`.
//!
//! A document is read whole with [`parse`], or piece by piece from a stream with [`Reader`].
//! [`Node`] and [`Fields`] turn a [`Value`] into typed values with JSON pointers (RFC 6901) in
//! their errors.

#[cfg(test)]
mod tests;

mod error;
mod fields;
mod reader;
mod value;

pub use error::{Error, Located, Problem};
pub use fields::{FieldError, Fields, Node};
pub use reader::{Reader, Rules, parse};
pub use value::{Number, Object, Value, array, object};
