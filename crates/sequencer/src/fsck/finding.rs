//! What a check of a folder says: one finding, its place, and what to do about it.

use std::fmt;

/// A damaged disk is seen from the first findings; more would only fill memory and screens.
pub(super) const MAX_FINDINGS: usize = 1_000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The log is not what it signed, or will not start.
    Damage,
    /// A killed process left it, and the next start of the log puts it right.
    Leftover,
    /// It is no part of the log, and nothing reads it.
    Foreign,
}

impl Weight {
    /// One word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Leftover => "leftover",
            Self::Foreign => "foreign",
        }
    }
}

/// What to do about a finding. `docs/fsck.md` says more on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Start the log, which puts it right.
    Start,
    /// Put the file back: it never changes, so any copy that holds is the right one.
    Restore,
    /// Put the key files back.
    Key,
    /// Take away what others may do with a private key.
    Mode,
    /// Put the database back as it was at this very head, or end the log.
    Database,
    /// Find out whether a newer head was signed, before anything is started.
    Compare,
    /// Nothing can be put right by the operator alone: those who rely on the log must know.
    Tell,
    /// Move it away.
    Remove,
    /// Repeat the check.
    Repeat,
}

impl Remedy {
    /// What to do, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Start => "nothing to do: the next start of the log puts it right",
            Self::Restore => "put the file back from a backup, or from a copy that verifies",
            Self::Key => "put log.key and log.vkey back from your backup",
            Self::Mode => "run: chmod 600 log.key",
            Self::Database => {
                "don't start the log; put log.db and log.sums back from a backup of this very \
                 head, never from an older one"
            }
            Self::Compare => {
                "don't start the log; copy the folder, and compare its head with the newest \
                 checkpoint that anybody holds"
            }
            Self::Tell => "don't start the log; keep the folder as it is, and tell the parties",
            Self::Remove => "move it out of the folder",
            Self::Repeat => "put the first ones right, then run fsck again",
        }
    }
}

/// Something in a log's folder that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFinding {
    /// How much it matters.
    pub weight: Weight,
    /// Path below the folder.
    pub file: String,
    /// Which row, entry, page or bytes of it, where they can be named.
    pub place: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What should be there, where that is known.
    pub expected: Option<String>,
    /// What is there instead.
    pub found: Option<String>,
    /// What to do about it.
    pub remedy: Remedy,
}

impl FolderFinding {
    /// Damage in a file.
    pub fn damage(file: impl fmt::Display, problem: impl fmt::Display, remedy: Remedy) -> Self {
        Self {
            weight: Weight::Damage,
            file: file.to_string(),
            place: None,
            problem: problem.to_string(),
            expected: None,
            found: None,
            remedy,
        }
    }

    /// What the next start puts right.
    pub fn leftover(file: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { weight: Weight::Leftover, ..Self::damage(file, problem, Remedy::Start) }
    }

    /// Names the place in the file.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { place: Some(place.to_string()), ..self }
    }

    /// Says what should be there and what is.
    #[must_use]
    pub fn expected(self, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { expected: Some(expected.to_string()), found: Some(found.to_string()), ..self }
    }
}

impl fmt::Display for FolderFinding {
    /// One line, without what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        write!(f, ": {}", self.problem)?;
        if let (Some(expected), Some(found)) = (&self.expected, &self.found) {
            write!(f, ": expected {expected}, found {found}")?;
        }
        Ok(())
    }
}
