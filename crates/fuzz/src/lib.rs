//! Fuzzing of every parser of outside bytes, on stable Rust.
//!
//! A [`Target`] is one parser with seeds, the shape of its inputs and a function that runs it.
//! That function asserts more than the absence of panics: what parses is written back and parses
//! to the same, canonical formats come back byte for byte, and where a second opinion can be had
//! (a naive tree, another JSON reader, a record made by the same party) it must agree. Around it,
//! [`run`](run::run) bounds the memory that an input may take, and the time.
//!
//! ```text
//! cargo test -p countersign-fuzz                            every target, some inputs
//! cargo run -p countersign-fuzz                             every target, 200,000 inputs
//! cargo run -p countersign-fuzz -- --executions 10000000 --target note
//! ```
//!
//! Everything is a function of target, seed and number: [`mutate`] says why. What was run, what
//! it found and what it does not cover is in `docs/reliability.md`.

mod fixtures;
pub mod mutate;
pub mod pool;
mod random;
pub mod run;
mod targets;

use mutate::Shape;

pub use targets::targets;

/// What a parser made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, as far as the target goes.
    Accepted,
    /// It was refused with an error.
    Refused,
}

impl Verdict {
    /// Accepted if `accepted`.
    fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// One parser of outside bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What inputs look like.
    pub shape: Shape,
    /// Words that mean something in the format.
    pub tokens: &'static [&'static [u8]],
    /// Inputs to begin with; nearly all of them are good.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Runs it on one input; what must not be panics.
    pub run: fn(&[u8]) -> Verdict,
    /// What one input may cost.
    pub memory: Memory,
}

/// Bytes of memory that one input may take at its peak.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Whatever the input is.
    pub base: usize,
    /// For each byte of it.
    pub per_byte: usize,
}

impl Memory {
    /// One MiB, and 256 bytes for each byte: a list of empty lists has two bytes an element, and
    /// takes some 30 in memory, doubled while a vector grows, in up to four copies.
    pub const USUAL: Self = Self { base: 1 << 20, per_byte: 256 };

    /// The limit for an input.
    pub fn limit(&self, input: usize) -> usize {
        self.base + self.per_byte * input
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    targets().iter().find(|target| target.name == name)
}
