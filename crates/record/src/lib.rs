//! The record of one evaluation: commitments to items and scores, and their openings.
//!
//! A party commits to every item of an agreed items file before it sees what the other party
//! committed to, and later opens as little as it likes. `docs/protocol.md` holds the formulas.
//!
//! | step | module |
//! |---|---|
//! | items file, tags, agreed order, items root | [`items`] |
//! | columns and how a raw score becomes an integer | [`mod@column`] |
//! | what everything is bound to, and the secret that hides it | [`context`], [`secret`] |
//! | commitments to all items, one pass, bounded memory | [`commit`] |
//! | what the log shows of a record | [`header`], [`subject`] |
//! | what anyone checks: the commitment vector, the proofs of totals | [`vector`], [`total`] |
//! | what a reader checks: openings and their multiproofs | [`opening`], [`multiproof`] |
//!
//! There is no I/O here, no clock and no randomness: secrets and entropy are arguments. Range
//! proofs, audits and sealed envelopes are not in these modules.
//!
//! ```
//! use record::column::{Better, Column};
//! use record::commit::{Declared, ItemValues, RecordBuilder};
//! use record::context::Context;
//! use record::items::{ItemKey, ItemsFile};
//! use record::secret::RecordSecret;
//! use record::vector::verify_vector;
//!
//! let file = ItemsFile::parse(b"{\"id\":\"q1\",\"input\":\"2+2?\",\"target\":\"4\"}\n")?;
//! let items = file.agree(&ItemKey::new([1; 32]), 1)?;
//! let context = Context::new("log.example/one", None, "lab-a.example", &[2; 32])?;
//! let secret = RecordSecret::new([3; 32]);
//! let columns = vec![Column::new("accuracy", 1, 1, Better::Higher)?];
//!
//! let mut builder = RecordBuilder::new(&context, &secret, &items, columns)?;
//! builder.push(Some(ItemValues { scores: vec![Some("1".into())], ..Default::default() }))?;
//! let record = builder.finish(Declared::default(), &[4; 32])?;
//!
//! verify_vector(record.header(), &context, record.vector())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod column;
pub mod commit;
pub mod context;
pub mod header;
pub mod items;
pub mod multiproof;
pub mod opening;
pub mod secret;
pub mod subject;
pub mod total;
pub mod vector;

mod cells;
mod group;
mod score;

pub use group::{Blind, generator};

/// A `Debug` that shows the type and nothing of what it holds: keys, salts, item texts, scores.
macro_rules! redacted {
    ($($type:ident)+) => {
        $(impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($type), "(redacted)"))
            }
        })+
    };
}
pub(crate) use redacted;
