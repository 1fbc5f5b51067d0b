//! Openings: values and salts that open part of a record (`docs/protocol.md`, "Openings").
//!
//! [`OpeningBuilder`] makes a [`Body`] on the party's machine, [`Body::parse`] reads one that came
//! from a stranger, and [`Body::verify`] checks all of it before any value is shown. Sealing and
//! signing the bytes is somebody else's work.

mod body;
mod build;
mod check;
mod contradiction;
mod item;

pub use body::{Body, BodyError, BodyItem, Cell, MAX_BODY, OpenedSubject, OpenedTotal, ScoreCell};
pub use build::{OpenError, OpeningBuilder, RecordParts};
pub use check::{
    Against, Disclosure, OpeningError, Proved, ProvedItem, ProvedSubject, ProvedTotal, Scope,
};
pub use contradiction::Contradiction;
