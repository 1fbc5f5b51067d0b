//! What there is to say about a log: reason codes, and findings that name a place but never
//! quote what stands there, so that they may reach a server's log line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What a code does to the log that raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// No evaluation with items can be read: exit status 2.
    Refuses,
    /// Parts of the log contradict each other: exit status 1, always.
    Contradicts,
    /// A contradiction that the user may choose to record as a flag: exit status 1, or 0 with
    /// [`Options::flag_mismatch`](crate::Options::flag_mismatch).
    Negotiable,
    /// Worth telling the peer, nothing more: exit status 0.
    Informs,
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $weight:ident, $advice:literal;)*) => {
        /// A stable reason code. Declared in the order of their texts, so that sets of codes
        /// print sorted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // the texts are the documentation
        pub enum Code { $($variant,)* }

        impl Code {
            /// Every code, sorted by its text.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as printed, `items.count` for example.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it does to the log.
            pub fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)* }
            }

            /// What the user can do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

codes! {
    ContainerBroken = "container.broken", Refuses,
        "copy the log again from where the run wrote it; a repaired archive is not the log";
    ContainerDeadBytes = "container.dead_bytes", Informs,
        "nothing, but know that whoever gets the file can read bytes that no reader shows";
    ContainerDuplicateMember = "container.duplicate_member", Refuses,
        "if samples were requeued or the header was edited, say that the last of each name counts";
    ContainerLimit = "container.limit", Refuses,
        "raise the limit that the message names with --limit, if the log is known to be that large";
    ContainerMethod = "container.method", Refuses,
        "write the log with an unmodified harness: stored, deflate or zstd, not encrypted";
    ContainerUnknownMember = "container.unknown_member", Informs,
        "nothing: members that the format does not know are not read";
    CrossReductions = "cross.reductions", Contradicts,
        "find out who changed the log: reduced values and items disagree";
    CrossStart = "cross.start", Contradicts,
        "find out who changed the log: its parts name different runs";
    CrossSummaries = "cross.summaries", Contradicts,
        "find out who changed the log: summaries and items disagree";
    HelmPerturbed = "helm.perturbed", Informs,
        "nothing: perturbed instances are no items";
    HelmTrials = "helm.trials", Informs,
        "nothing: each train trial of an instance is one epoch of its item";
    ItemsColliding = "items.colliding", Contradicts,
        "give every sample an id of its own that differs as text too";
    ItemsCount = "items.count", Negotiable,
        "find the missing or surplus items, or record the disagreement as a flag";
    ItemsDuplicate = "items.duplicate", Contradicts,
        "find out why one item stands there twice";
    ItemsEdited = "items.edited", Informs,
        "nothing: the peer sees how many scores were edited after the run";
    ItemsErrored = "items.errored", Informs,
        "nothing: errored items are committed, though the harness leaves them out";
    ItemsLimited = "items.limited", Informs,
        "nothing: the peer sees how many items ran into a limit";
    ItemsName = "items.name", Contradicts,
        "find out who changed the log: a member's name and its content disagree";
    ItemsUnexpected = "items.unexpected", Contradicts,
        "find out where the item came from: the log does not declare it";
    ItemsUnscored = "items.unscored", Informs,
        "nothing: items without a score are committed as such and are no zeros";
    JsonDuplicateKey = "json.duplicate_key", Refuses,
        "write the log with an unmodified harness: one member stands twice in an object";
    JsonEncoding = "json.encoding", Refuses,
        "save the file as UTF-8 without byte order mark";
    JsonNonFinite = "json.non_finite", Refuses,
        "only scores and metrics may be NaN or infinite: write null or text elsewhere";
    JsonSyntax = "json.syntax", Refuses,
        "check that the file is whole and that it is an evaluation log";
    LmNoSamples = "lm.no_samples", Refuses,
        "run with --log_samples and keep the samples files beside the results file";
    LmRowHash = "lm.row_hash", Contradicts,
        "find out who changed the rows: they are not those that were hashed";
    LmTaskHash = "lm.task_hash", Negotiable,
        "import the samples file as the run wrote it, or record the disagreement as a flag";
    LogFormat = "log.format", Refuses,
        "give an Inspect log, an lm-evaluation-harness results file or a HELM run folder";
    LogInvalidated = "log.invalidated", Informs,
        "nothing: the peer sees that the log, or items of it, are marked invalid";
    LogNoHeader = "log.no_header", Informs,
        "commit it as incomplete only: the run ended before the final header was written";
    LogNoItems = "log.no_items", Refuses,
        "give the log with the items: figures alone can't be committed to";
    LogNoResults = "log.no_results", Informs,
        "nothing: the log reports no figures of its own to compare with";
    LogShape = "log.shape", Refuses,
        "write the log with an unmodified harness: a member is missing or of the wrong type";
    LogStatus = "log.status", Informs,
        "commit it as incomplete only: the run did not end well";
    LogUnreadable = "log.unreadable", Refuses,
        "check that the file can be read";
    LogUpdated = "log.updated", Informs,
        "nothing: the peer sees that the header was edited after the run";
    LogVersion = "log.version", Refuses,
        "convert the log to a version known here with the harness's own tools";
    MapDiffers = "map.differs", Refuses,
        "run the agreed rows as they are, or name the rule that makes the texts equal";
    MapForeign = "map.foreign", Refuses,
        "remove nothing: find out why the log holds a sample that no row explains";
    MapMissing = "map.missing", Informs,
        "nothing: rows that were not run are committed as missing";
    MapOrder = "map.order", Informs,
        "use ids if equal rows have to be told apart";
    MetricMismatch = "metric.mismatch", Negotiable,
        "find out why the items do not yield the figure, or record the disagreement as a flag";
    MetricNotRecomputable = "metric.not_recomputable", Informs,
        "nothing: this figure can't be checked against the items";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// The ZIP member or the file of a folder.
    pub member: Option<String>,
    /// The item, as [`Item::key`](crate::Item::key) spells it.
    pub item: Option<String>,
    /// JSON pointer (RFC 6901) within the member, cut where free-form content begins.
    pub pointer: Option<String>,
    /// What is wrong, without the text of any item.
    pub message: Cow<'static, str>,
}

impl Finding {
    /// A finding about the log as a whole.
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, member: None, item: None, pointer: None, message: message.into() }
    }

    pub(crate) fn in_member(mut self, member: &str) -> Self {
        self.member = Some(member.to_owned());
        self
    }

    pub(crate) fn of_item(mut self, item: String) -> Self {
        self.item = Some(item);
        self
    }

    pub(crate) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(item) = &self.item {
            write!(f, ", item {item}")?;
        }
        if let Some(member) = &self.member {
            write!(f, ", in {member}")?;
        }
        if let Some(pointer) = &self.pointer {
            write!(f, " at \"{pointer}\"")?;
        }
        Ok(())
    }
}

/// Findings kept in full for each code; a log of a million bad items must not fill the memory
/// with descriptions of them. All are counted.
const FINDINGS_OF_ONE_CODE: u64 = 200;

/// Flags with their counts, and the findings behind them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) flags: BTreeMap<Code, u64>,
    pub(crate) list: Vec<Finding>,
}

impl Findings {
    /// Raises the flag of `finding` by one.
    pub(crate) fn add(&mut self, finding: Finding) {
        let count = self.flags.entry(finding.code).or_default();
        *count += 1;
        if *count <= FINDINGS_OF_ONE_CODE {
            self.list.push(finding);
        }
    }

    /// Sets a flag to a count that is not the number of findings; 0 leaves it down.
    pub(crate) fn set(&mut self, code: Code, count: u64) {
        if count > 0 {
            self.flags.insert(code, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_declared_in_the_order_of_their_texts() {
        let texts: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(texts.is_sorted() && Code::ALL.is_sorted());
        assert!(Code::ALL.iter().all(|code| !code.advice().is_empty()));
    }

    #[test]
    fn findings_are_kept_up_to_a_limit_and_all_are_counted() {
        let mut findings = Findings::default();
        for _ in 0..1_000 {
            findings.add(Finding::new(Code::ItemsName, "a name"));
        }
        findings.set(Code::LogStatus, 0);
        assert_eq!((findings.list.len(), findings.flags[&Code::ItemsName]), (200, 1_000));
        assert!(!findings.flags.contains_key(&Code::LogStatus));
    }
}
