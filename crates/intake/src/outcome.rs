//! What comes of a file or folder: evaluations, or why there are none.

use std::borrow::Cow;

use crate::{Code, Evaluation};

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The evaluation's name, if the log got that far.
    pub evaluation: Option<String>,
    /// The reason.
    pub code: Code,
    /// The ZIP member or the file of a folder.
    pub member: Option<String>,
    /// JSON pointer within the member.
    pub pointer: Option<String>,
    /// What is wrong, without the text of any item.
    pub message: Cow<'static, str>,
}

/// One evaluation of a log, or why there is none.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was read; see its flags.
    Read(Box<Evaluation>),
    /// It was not.
    Refused(Refusal),
}

impl Outcome {
    /// The evaluation, if one was read.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        match self {
            Self::Read(evaluation) => Some(evaluation),
            Self::Refused(_) => None,
        }
    }

    /// The refusal, if there is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Read(_) => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

/// Everything that one file or folder holds.
#[derive(Debug, Clone)]
pub struct Import {
    /// At least one outcome, in the file's order.
    pub outcomes: Vec<Outcome>,
    pub(crate) flag_mismatch: bool,
}

impl Import {
    /// Exit status: 0 imported, perhaps with flags; 1 read, but it contradicts itself; 2 no
    /// evaluation with items could be read. Of several evaluations the highest counts.
    pub fn exit(&self) -> u8 {
        let exit = |outcome: &Outcome| match outcome {
            Outcome::Read(evaluation) => evaluation.exit(self.flag_mismatch),
            Outcome::Refused(_) => 2,
        };
        self.outcomes.iter().map(exit).max().unwrap_or(2)
    }

    /// The evaluations that were read.
    pub fn evaluations(&self) -> impl Iterator<Item = &Evaluation> {
        self.outcomes.iter().filter_map(Outcome::evaluation)
    }
}
