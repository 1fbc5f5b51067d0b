//! What an import yields: one evaluation with its items, whichever harness wrote the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::recompute;
use crate::{Code, Finding};

/// Which kind of log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Inspect's ZIP archive, `.eval`.
    InspectEval,
    /// Inspect's single JSON document.
    InspectJson,
    /// A results file of lm-evaluation-harness with its samples files.
    LmEval,
    /// A run folder of HELM.
    Helm,
}

impl Format {
    /// The name as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InspectEval => "inspect-eval",
            Self::InspectJson => "inspect-json",
            Self::LmEval => "lm-eval",
            Self::Helm => "helm",
        }
    }
}

/// An item's id. `1` and `"1"` are two ids; text is never normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemId {
    /// An integer, as spelled: it may have more than 64 bits.
    Integer(Box<str>),
    /// A string.
    Text(Box<str>),
}

impl ItemId {
    /// The id as text, as Python's `str` gives it.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Integer(text) | Self::Text(text) => text,
        }
    }
}

impl fmt::Display for ItemId {
    /// JSON, so that the type shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(literal) => f.write_str(literal),
            Self::Text(text) => f.write_str(&json::Value::from(&**text).to_text()),
        }
    }
}

/// What JSON type a raw score had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RawKind {
    /// A string; the literal is its text without quotes.
    Text,
    /// A number as spelled, `NaN` and infinities included.
    Number,
    /// `true` or `false`.
    Bool,
    /// An array or object; the literal is compact JSON. It can't enter a score column.
    Structured,
}

/// A score as the log spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawScore {
    literal: Box<str>,
    kind: RawKind,
}

impl RawScore {
    pub(crate) fn new(literal: &str, kind: RawKind) -> Self {
        Self { literal: literal.into(), kind }
    }

    /// The spelling.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// The JSON type.
    pub fn kind(&self) -> RawKind {
        self.kind
    }

    /// True for the number `NaN`, which harnesses write for "unscored". The text "NaN" is text.
    pub fn is_nan(&self) -> bool {
        self.kind == RawKind::Number && &*self.literal == "NaN"
    }
}

/// A column of scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `scorer`, `scorer/key`, `metric,filter`, or a HELM stat's name.
    pub name: String,
    /// True if larger is better; absent where the log does not say.
    pub higher_is_better: Option<bool>,
    /// What the values look like.
    pub values: ColumnValues,
}

/// What the values of a column look like: it suggests the scale where no agreement fixes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnValues {
    /// No value at all.
    Empty,
    /// Only `C`, `I`, `N`, 0, 1, `true` and `false`.
    Binary,
    /// As binary, with `P`.
    Graded,
    /// Numbers.
    Numeric,
    /// Other text, lists or objects: no scale fits without a mapping.
    Other,
}

impl ColumnValues {
    /// The name as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Binary => "binary",
            Self::Graded => "graded",
            Self::Numeric => "numeric",
            Self::Other => "other",
        }
    }
}

/// One sample × epoch (Inspect), document (lm-evaluation-harness) or instance × trial (HELM).
/// Texts are those of the crate documentation, "Bytes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The sample's id, or the document's position.
    pub id: ItemId,
    /// From 1; HELM's train trial + 1.
    pub epoch: u64,
    /// The prompt as the log has it, choices included.
    pub input: Option<Box<str>>,
    /// The target or targets.
    pub target: Option<Box<str>>,
    /// What the model answered.
    pub output: Option<Box<str>>,
    /// What the scorers say about it.
    pub explanation: Option<Box<str>>,
    /// Everything else that belongs to the core of an item.
    pub metadata: Option<Box<str>>,
    /// For each column the raw score, if there is one.
    pub scores: Box<[Option<Arc<RawScore>>]>,
    /// The harness reports an error.
    pub errored: bool,
    /// Marked invalid.
    pub invalidated: bool,
    /// A limit ended it.
    pub limited: bool,
    /// A score was edited after the run.
    pub edited: bool,
    /// What to compare with a row of the items file.
    pub(crate) row: ItemRow,
}

/// The parts of an item that a row of the items file is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemRow {
    /// The item's own id, input and target; a part that is not plain text in the log (message
    /// lists, choices kept apart, lists of targets) only fits under a rule that the user names.
    Fields { plain_input: bool, plain_target: bool },
    /// Parts of the document from which the harness rendered its prompt.
    Document(Box<DocumentRow>),
}

/// Row members found in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DocumentRow {
    pub(crate) id: Option<ItemId>,
    pub(crate) input: Option<Box<str>>,
    pub(crate) target: Option<Box<str>>,
}

impl Item {
    /// Id and epoch as one text: `"q7" epoch 1`.
    pub fn key(&self) -> String {
        item_key(&self.id, self.epoch)
    }

    /// True if every column has a value that is not `NaN`, and there is a column.
    pub fn scored(&self) -> bool {
        let has_value =
            |cell: &Option<Arc<RawScore>>| cell.as_ref().is_some_and(|raw| !raw.is_nan());
        !self.scores.is_empty() && self.scores.iter().all(has_value)
    }

    /// The first that holds of invalidated, errored, limited without a score, unscored, scored.
    pub fn status(&self) -> Status {
        match self {
            _ if self.invalidated => Status::Invalidated,
            _ if self.errored => Status::Errored,
            _ if self.scored() => Status::Scored,
            _ if self.limited => Status::Limited,
            _ => Status::Unscored,
        }
    }
}

pub(crate) fn item_key(id: &ItemId, epoch: u64) -> String {
    format!("{id} epoch {epoch}")
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Declared, but not in the log.
    Missing,
    /// Marked invalid.
    Invalidated,
    /// Ended in an error.
    Errored,
    /// Ended by a limit, and without a score.
    Limited,
    /// No score, or `NaN`, in some column.
    Unscored,
    /// A value in every column.
    Scored,
}

impl Status {
    /// All, in the order of precedence.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Invalidated,
        Self::Errored,
        Self::Limited,
        Self::Unscored,
        Self::Scored,
    ];

    /// The name as printed and committed to.
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
}

/// A figure that the log reports, beside what its items yield.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The column's name.
    pub column: String,
    /// How epochs were reduced, if the log says.
    pub reducer: Option<String>,
    /// The metric as the log calls it.
    pub metric: String,
    /// HELM's split.
    pub split: Option<String>,
    /// Units averaged.
    pub n: u64,
    /// The log's figure; absent for `NaN` and `"N/A"`.
    pub reported: Option<f64>,
    /// The figure that the items yield; absent if they don't.
    pub recomputed: Option<f64>,
}

/// Which program wrote the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harness {
    /// `inspect_ai`, `lm_eval` or `helm`.
    pub name: &'static str,
    /// Its version; HELM's files don't say.
    pub version: Option<String>,
}

/// A time of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub(crate) i64);

impl Moment {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down. Private: exact times are a hint.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Rounded down to the hour, RFC 3339 in UTC: `2026-11-23T17:00:00Z`.
    pub fn hour(self) -> String {
        crate::time::hour(self.0)
    }
}

/// One evaluation, read and checked.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The log's format.
    pub format: Format,
    /// The program that wrote it.
    pub harness: Harness,
    /// Task or run name.
    pub name: String,
    /// The task's version as text, if the log has one.
    pub version: Option<String>,
    /// What identifies the run in the log: names and values, in a fixed order.
    pub keys: Vec<(&'static str, String)>,
    /// Hidden value: which model, compact JSON.
    pub model: String,
    /// Hidden value: how it was prompted and run, compact JSON.
    pub elicitation: String,
    /// Hidden value: on which software, compact JSON.
    pub environment: String,
    /// When the run began.
    pub started: Option<Moment>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// Score columns: those that the log reports figures on first, in its order.
    pub columns: Vec<Column>,
    /// Items by epoch, then in the order in which the log declares their ids.
    pub items: Vec<Item>,
    /// Epochs that the log declares.
    pub epochs: Option<u64>,
    /// How many items the log declares, whether or not it has them.
    pub declared: Option<u64>,
    /// Figures, reported and recomputed.
    pub metrics: Vec<Metric>,
    /// Codes raised, with counts of what they name.
    pub flags: BTreeMap<Code, u64>,
    /// What was found; at most 200 for each code.
    pub findings: Vec<Finding>,
}

impl Evaluation {
    /// Items by status; missing are those declared beyond the ones in the log.
    pub fn counts(&self) -> BTreeMap<Status, u64> {
        let mut counts: BTreeMap<_, _> = Status::ALL.iter().map(|status| (*status, 0)).collect();
        for item in &self.items {
            *counts.entry(item.status()).or_default() += 1;
        }
        let missing = self.declared.unwrap_or(0).saturating_sub(self.items.len() as u64);
        counts.insert(Status::Missing, missing);
        counts
    }

    /// 0 or 1; see [`Import::exit`](crate::Import::exit).
    pub fn exit(&self, flag_mismatch: bool) -> u8 {
        use crate::Weight;
        let ended_badly = self.flags.contains_key(&Code::LogStatus);
        let fails = |code: &Code| match code.weight() {
            Weight::Contradicts => true,
            Weight::Negotiable if *code == Code::ItemsCount && ended_badly => false,
            Weight::Negotiable => !flag_mismatch,
            // A refusing code on an evaluation that was read after all is one that the user
            // has overruled: superseded members.
            Weight::Refuses | Weight::Informs => false,
        };
        u8::from(self.flags.keys().any(fails))
    }

    /// True if the run may be committed as incomplete only.
    pub fn incomplete(&self) -> bool {
        [Code::LogStatus, Code::LogNoHeader].iter().any(|code| self.flags.contains_key(code))
    }

    /// Index of the column of this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// How often each raw score, by literal, stands in a column.
    pub fn histogram(&self, column: usize) -> BTreeMap<&str, u64> {
        let mut histogram = BTreeMap::new();
        for raw in self.items.iter().filter_map(|item| item.scores.get(column)?.as_deref()) {
            *histogram.entry(raw.literal()).or_default() += 1;
        }
        histogram
    }
}

/// What `values` look like.
pub(crate) fn column_values<'a>(values: impl Iterator<Item = &'a RawScore>) -> ColumnValues {
    let mut seen = ColumnValues::Empty;
    for raw in values.filter(|raw| !raw.is_nan()) {
        let one = match raw.kind() {
            RawKind::Structured => ColumnValues::Other,
            RawKind::Bool => ColumnValues::Binary,
            RawKind::Number => match recompute::to_float(raw).number() {
                value if value == 0.0 || value == 1.0 => ColumnValues::Binary,
                _ => ColumnValues::Numeric,
            },
            RawKind::Text => match raw.literal() {
                "C" | "I" | "N" => ColumnValues::Binary,
                "P" => ColumnValues::Graded,
                _ => ColumnValues::Other,
            },
        };
        seen = match (seen, one) {
            (ColumnValues::Empty, one) => one,
            (a, b) if a == b => a,
            (ColumnValues::Binary, wider) | (wider, ColumnValues::Binary) => wider,
            _ => ColumnValues::Other,
        };
    }
    seen
}
