//! Statuses, counts, flags and subjects: what a record says about itself as a whole
//! (`docs/protocol.md`, "Subjects").
//!
//! Every subject is committed in every record, in one order, so that neither presence nor order
//! tells anything.

use tlog::Hash;

use crate::context::{Context, label};
use crate::secret::Salt;

/// What became of an item: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The log lacks this item of the agreement.
    Missing,
    /// Somebody declared the item invalid.
    Invalidated,
    /// The run of the item failed.
    Errored,
    /// A limit stopped the item, and some column has no value.
    Limited,
    /// Some column has no value.
    Unscored,
    /// Every column has a value.
    Scored,
}

impl Status {
    /// In order of precedence, which is the order of the counts.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Invalidated,
        Self::Errored,
        Self::Limited,
        Self::Unscored,
        Self::Scored,
    ];

    /// The one word of the field `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalidated => "invalidated",
            Self::Errored => "errored",
            Self::Limited => "limited",
            Self::Unscored => "unscored",
            Self::Scored => "scored",
        }
    }

    /// The status of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// How many items have each status; they add up to n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; 6]);

impl Counts {
    /// How many items have this status.
    pub fn of(&self, status: Status) -> u64 {
        self.0[status as usize]
    }

    pub(crate) fn add(&mut self, status: Status) {
        self.0[status as usize] += 1;
    }
}

/// What is unusual about a log, in the order of the subjects. Whole-log flags count 0 or 1,
/// others count what they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Bytes between the members of the container.
    ContainerDeadBytes,
    /// Members of one name in the container.
    ContainerDuplicateMember,
    /// More than one trial behind one number.
    HelmTrials,
    /// The log declares another number of items than it has.
    ItemsCount,
    /// Items changed after the run.
    ItemsEdited,
    /// Items of status `errored`; counted by the record.
    ItemsErrored,
    /// Items of status `limited`; counted by the record.
    ItemsLimited,
    /// Items of status `missing`; counted by the record.
    ItemsMissing,
    /// Items of status `unscored`; counted by the record.
    ItemsUnscored,
    /// A task's hash differs from the recomputed one.
    LmTaskHash,
    /// The log was declared invalid.
    LogInvalidated,
    /// The log has no header.
    LogNoHeader,
    /// The log has items but no results.
    LogNoResults,
    /// The log's status is not success.
    LogStatus,
    /// The log was changed after the run.
    LogUpdated,
    /// A recomputed metric differs from the reported one.
    MetricMismatch,
    /// A reported metric can't be recomputed.
    MetricNotRecomputable,
    /// Scores that had to be rounded; counted by the record.
    ScoresInexact,
}

impl Flag {
    /// In the order of the subjects.
    pub const ALL: [Self; 18] = [
        Self::ContainerDeadBytes,
        Self::ContainerDuplicateMember,
        Self::HelmTrials,
        Self::ItemsCount,
        Self::ItemsEdited,
        Self::ItemsErrored,
        Self::ItemsLimited,
        Self::ItemsMissing,
        Self::ItemsUnscored,
        Self::LmTaskHash,
        Self::LogInvalidated,
        Self::LogNoHeader,
        Self::LogNoResults,
        Self::LogStatus,
        Self::LogUpdated,
        Self::MetricMismatch,
        Self::MetricNotRecomputable,
        Self::ScoresInexact,
    ];

    /// The code behind `flag:`.
    pub fn code(self) -> &'static str {
        // The subjects' names are the one list of codes.
        SUBJECTS[FIRST_FLAG + self as usize].trim_start_matches("flag:")
    }

    /// The flag of this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.code() == code)
    }

    /// True for those that the record counts itself and no importer may give.
    pub fn counted(self) -> bool {
        matches!(
            self,
            Self::ItemsErrored
                | Self::ItemsLimited
                | Self::ItemsMissing
                | Self::ItemsUnscored
                | Self::ScoresInexact
        )
    }
}

/// How often each flag was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags([u64; 18]);

impl Flags {
    /// How often this one was raised.
    pub fn of(&self, flag: Flag) -> u64 {
        self.0[flag as usize]
    }

    /// Sets how often this one was raised.
    pub fn set(&mut self, flag: Flag, count: u64) {
        self.0[flag as usize] = count;
    }
}

/// Names of all subjects, in order.
pub const SUBJECTS: [&str; 28] = [
    "model",
    "elicitation",
    "environment",
    "source",
    "count:missing",
    "count:invalidated",
    "count:errored",
    "count:limited",
    "count:unscored",
    "count:scored",
    "flag:container.dead_bytes",
    "flag:container.duplicate_member",
    "flag:helm.trials",
    "flag:items.count",
    "flag:items.edited",
    "flag:items.errored",
    "flag:items.limited",
    "flag:items.missing",
    "flag:items.unscored",
    "flag:lm.task_hash",
    "flag:log.invalidated",
    "flag:log.no_header",
    "flag:log.no_results",
    "flag:log.status",
    "flag:log.updated",
    "flag:metric.mismatch",
    "flag:metric.not_recomputable",
    "flag:scores.inexact",
];

/// Place of the first count and of the first flag among the subjects.
pub(crate) const FIRST_COUNT: usize = 4;
pub(crate) const FIRST_FLAG: usize = 10;

/// Place of a subject in the order of [`SUBJECTS`].
pub fn subject(name: &str) -> Option<usize> {
    SUBJECTS.iter().position(|subject| *subject == name)
}

/// The number in an opened count or flag: an ASCII decimal below 2^53 in its shortest spelling.
pub fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number < 1 << 53 && number.to_string() == text).then_some(number)
}

/// The commitment to a subject. `name` is one of [`SUBJECTS`].
pub(crate) fn commitment(context: &Context, name: &str, salt: &Salt, value_bytes: &[u8]) -> Hash {
    let length = u16::try_from(name.len()).expect("names of subjects are short");
    Hash::of(&[
        &label("subject"),
        context.as_bytes(),
        &length.to_be_bytes(),
        name.as_bytes(),
        salt.as_bytes(),
        value_bytes,
    ])
}
