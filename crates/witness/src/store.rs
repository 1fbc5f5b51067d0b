//! What a store of a witness promises, and how it fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::TreeHead;

use crate::decision::{Cosigned, State};

/// One checkpoint that is about to be cosigned, and what it follows.
#[derive(Debug, Clone)]
pub struct Change {
    /// The head that was cosigned before, [`TreeHead::EMPTY`] if none: the store swaps only this.
    pub before: TreeHead,
    /// The checkpoint and the time that will be signed.
    pub after: Arc<Cosigned>,
}

/// Where a witness keeps what it cosigned.
pub trait Store: Send {
    /// What is stored.
    fn load(&mut self) -> Result<State, StoreError>;

    /// Makes all changes durable, or none: one step for many logs, and one sync. `clock` is the
    /// latest time that was signed. After an error the state is unknown: stop, and open anew.
    fn commit(&mut self, changes: &[Change], clock: u64) -> Result<(), StoreError>;

    /// Notes durably that this witness must sign nothing any more, and why.
    fn halt(&mut self, why: &str) -> Result<(), StoreError>;
}

/// A place within a commit at which a test can break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing has been done.
    Begin,
    /// All is written, and nothing of it counts yet.
    Written,
    /// All is durable, and nobody knows yet.
    Committed,
}

impl Step {
    /// All steps in their order.
    pub const ALL: [Self; 3] = [Self::Begin, Self::Written, Self::Committed];
}

/// Asked at each step of a commit; true breaks it there.
pub type Saboteur = Box<dyn FnMut(Step) -> bool + Send>;

/// Why a store cannot be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{} is in use by another witness", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There is nothing to open.
    #[error("there is no store in {}", .path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// A store is not created over another.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The database.
        path: PathBuf,
    },
    /// It belongs to another key.
    #[error("the store in {} is of another key: {found}", .path.display())]
    OtherKey {
        /// The folder.
        path: PathBuf,
        /// The vkey that it belongs to.
        found: String,
    },
    /// The witness has halted for good.
    #[error("this witness has halted: {why}")]
    Halted {
        /// What happened.
        why: String,
    },
    /// Another process wrote to it in between.
    #[error("another process has written to the store")]
    Fenced,
    /// What is stored contradicts itself.
    #[error("damaged store: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The file system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database refused.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// A test asked for it.
    #[error("broken on purpose at {0:?}")]
    Sabotaged(Step),
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
