//! The single writer of the log and its storage (C2SP tlog-tiles, tlog-checkpoint).
//!
//! What it is for: to put entries in order, make them durable, sign the head that covers them and
//! answer with a proof. What it is not for: knowing what an entry says. Whoever does is handed in
//! as an [`Admission`], which the writer owns and asks in log order.
//!
//! The way of an entry: [`Handle::append`] → bounded queue → the one writer thread →
//! [`Log::step`], which (1) drops copies and asks the admission, (2) appends to a copy of the
//! tail, (3) signs the new head in memory, (4) commits entries, index rows and head in one
//! transaction of the [`Store`], **the commit point**, (5) writes the tiles that became full,
//! (6) publishes the new [`Snapshot`] to every [`Reader`] and answers.
//!
//! Invariants:
//! - Signed bytes leave the process only after the commit, so a crash can't contradict them.
//! - A [`Refusal`] concerns one caller. A [`Fatal`] error means that the state is unknown: the
//!   writer stops, the process opens the log again, and recovery runs the code that (5) runs.
//! - One writer: a lock on the folder, and an epoch that every commit compares.
//! - Nothing is served from disk before the tile above it, up to the signed root, vouches for it.
//!
//! [`Log`] is synchronous and has no threads, clock or randomness, so a simulation can run it on
//! a store of its own; [`conformance`] says what such a store must do and [`fault`] breaks it.

mod admission;
mod artifact;
mod cache;
pub mod conformance;
mod entry;
pub mod fault;
mod file;
mod fsck;
mod log;
mod memory;
mod queue;
mod reader;
mod shell;
mod snapshot;
mod store;
mod tail;
mod tiles;

pub use admission::{Admission, AdmitAll, History, Unreadable};
pub use artifact::{ArtifactError, ArtifactStore, Stored, Upload};
pub use entry::{Entry, EntryTooLong, Leaf, StatementKey};
pub use file::FileStore;
pub use fsck::{
    Artifacts, Checked, Finding, FolderFinding, Inspector, Objection, Remedy, StoppedLog, Weight,
    Work, check,
};
pub use log::{Answer, Answers, Fatal, Log, OpenError, Refusal};
pub use memory::MemoryStore;
pub use queue::Depth;
pub use reader::Reader;
pub use shell::{AppendError, Appended, Handle, Limits, Sequencer};
pub use snapshot::{Entries, ReadError, Snapshot};
pub use store::{Claim, Commit, StagedBatch, Store, StoreError, StoreReads};
