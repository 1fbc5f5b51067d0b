//! Checking an opening: all rules, before any value is shown.
//!
//! In this order: shape of items against the header, every rule about one item, record root, items
//! root, rows, totals, subjects, and last that exactly what was declared is opened.

use rayon::prelude::*;
use tlog::Hash;

use super::body::{Body, OpenedSubject, OpenedTotal};
use super::item::verify_item;
use crate::cells::value_bytes;
use crate::column::ScoreError;
use crate::context::Context;
use crate::group::{Blind, commit};
use crate::header::Header;
use crate::items::{Content, ItemKey, Tag, item_leaf};
use crate::multiproof::{self, Indices, MultiproofError};
use crate::redacted;
use crate::secret::Salt;
use crate::subject::{self, Status};

/// What an opening is checked against; all of it comes from verified statements.
#[derive(Clone, Copy)]
pub struct Against<'a> {
    /// Statement id of the attestation.
    pub record: &'a Hash,
    /// Its header, whose items root and columns are the agreement's.
    pub header: &'a Header,
    /// Context of the record.
    pub context: &'a Context,
    /// The item key, if the reader holds it. Rows can't be checked without it and are refused.
    pub item_key: Option<&'a ItemKey>,
    /// What may be opened.
    pub scope: Scope<'a>,
}

/// What an opening is expected to hold.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Whatever is in it: for a file that comes without a statement.
    Anything,
    /// What a statement declares, no less and no more.
    Exactly(&'a Disclosure),
}

/// What a statement declares to be opened. The order within each list doesn't matter, except that
/// items ascend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disclosure {
    /// Indices of items, ascending.
    pub items: Vec<u64>,
    /// Fields of each of them, without `tag` and `epoch`, which always come.
    pub fields: Vec<String>,
    /// True if every item must come with its row, as in audits.
    pub rows: bool,
    /// Columns whose totals are opened.
    pub totals: Vec<String>,
    /// Subjects.
    pub subjects: Vec<String>,
}

/// What an opening proves about a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Proved {
    /// Items, by ascending index.
    pub items: Vec<ProvedItem>,
    /// Totals.
    pub totals: Vec<ProvedTotal>,
    /// Subjects.
    pub subjects: Vec<ProvedSubject>,
}

/// What is proved about one item.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvedItem {
    /// Index of the item.
    pub index: u64,
    /// Tag of its row.
    pub tag: Tag,
    /// Its epoch.
    pub epoch: u64,
    /// Its status, if opened.
    pub status: Option<Status>,
    /// Opened texts and raw scores: field and value, `None` for an absent one. Tag, epoch and
    /// status are not repeated.
    pub fields: Vec<(String, Option<String>)>,
    /// Opened integers, by column. An item without status `scored` has 0.
    pub scores: Vec<(String, u64)>,
    /// The row behind the tag, if given.
    pub row: Option<Content>,
}

/// A proved total of a column.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvedTotal {
    /// Name of the column.
    pub column: String,
    /// Sum of the integers of all items.
    pub total: u64,
}

/// A proved subject.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvedSubject {
    /// Name of the subject.
    pub name: String,
    /// What the party committed to; for counts and flags a decimal.
    pub value: String,
}

redacted!(Proved ProvedItem ProvedTotal ProvedSubject);

/// Why an opening is refused. Nothing in it may be shown then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// It is about another record.
    #[error("the opening names another record")]
    Record,
    /// Indices repeat, fall or are beyond the last item, or the number of items is wrong.
    #[error(transparent)]
    Indices(MultiproofError),
    /// An item has cells that don't match the header.
    #[error("item {index} has {fields} fields and {scores} scores, the header has others")]
    Cells {
        /// Index of the item.
        index: u64,
        /// Fields it has.
        fields: usize,
        /// Scores it has.
        scores: usize,
    },
    /// Tag, epoch and what belongs to a score must be opened with it.
    #[error("item {index}: {field:?} is not opened with what needs it")]
    Together {
        /// Index of the item.
        index: u64,
        /// The field that stays closed.
        field: String,
    },
    /// A value is not in its field's encoding.
    #[error("item {index}: the value of {field:?} is not in the encoding of this field")]
    Encoding {
        /// Index of the item.
        index: u64,
        /// The field.
        field: String,
    },
    /// An integer is above the column's max.
    #[error("item {index}: the score {column:?} is above the column's max")]
    AboveMax {
        /// Index of the item.
        index: u64,
        /// The column.
        column: String,
    },
    /// A blind is not a canonical scalar.
    #[error("a blind is not a canonical scalar")]
    Blind,
    /// The raw score has no integer although the item is `scored`.
    #[error("item {index}: the raw score {column:?} of a scored item has no integer")]
    NoInteger {
        /// Index of the item.
        index: u64,
        /// The column.
        column: String,
        /// What is wrong with it, if it isn't just absent.
        source: Option<ScoreError>,
    },
    /// The integer is not the converted raw score.
    #[error("item {index}: the score {column:?} is not its raw score converted")]
    Conversion {
        /// Index of the item.
        index: u64,
        /// The column.
        column: String,
    },
    /// An item without status `scored` has an integer.
    #[error("item {index}: the score {column:?} is not 0 although the item is not scored")]
    NotScored {
        /// Index of the item.
        index: u64,
        /// The column.
        column: String,
    },
    /// The opened values call for another status.
    #[error("item {index}: the status contradicts the opened values")]
    Status {
        /// Index of the item.
        index: u64,
    },
    /// The items don't stand in the record.
    #[error("the items do not belong to the record root: {0}")]
    RecordProof(MultiproofError),
    /// Tags and epochs don't stand at these places of the agreed items.
    #[error("tags and epochs do not belong to the items root: {0}")]
    ItemsProof(MultiproofError),
    /// A proof without items.
    #[error("a multiproof stands without items")]
    IdleProof,
    /// A row is given to a reader who can't check it.
    #[error("item {0} comes with its row, which can't be checked without the item key")]
    NoItemKey(u64),
    /// The row has another tag.
    #[error("the row of item {0} is not the one behind its tag")]
    Row(u64),
    /// There is no such column, or the total opens to something else.
    #[error("the total of column {0:?} does not open to this")]
    Total(String),
    /// There is no such subject, or it opens to something else.
    #[error("the subject {0:?} does not open to this")]
    Subject(String),
    /// A count or flag is not a decimal, or counts are more than n.
    #[error("the subject {0:?} is not a number this record can have")]
    Number(String),
    /// All six counts are opened and don't add up to n.
    #[error("the counts do not add up to the number of items")]
    Counts,
    /// Opened things repeat.
    #[error("{0:?} is opened twice")]
    Twice(String),
    /// Other items, fields, totals, subjects or rows than declared.
    #[error("{0} are not exactly those that were declared")]
    Undeclared(&'static str),
}

impl Body {
    /// Checks everything in this opening and says what it proves.
    pub fn verify(&self, against: &Against<'_>) -> Result<Proved, OpeningError> {
        if self.record != *against.record {
            return Err(OpeningError::Record);
        }
        let items = self.verify_items(against)?;
        let totals = self.verify_totals(against.header)?;
        let subjects = self.verify_subjects(against)?;
        let proved = Proved { items, totals, subjects };
        if let Scope::Exactly(disclosure) = against.scope {
            proved.check_scope(disclosure)?;
        }
        Ok(proved)
    }

    fn verify_items(&self, against: &Against<'_>) -> Result<Vec<ProvedItem>, OpeningError> {
        if self.items.is_empty() {
            let idle = self.record_proof.is_empty() && self.items_proof.is_empty();
            return if idle { Ok(Vec::new()) } else { Err(OpeningError::IdleProof) };
        }
        let layout = against.header.layout();
        let indices: Vec<u64> = self.items.iter().map(|item| item.index).collect();
        let indices = Indices::new(&indices, layout.items()).map_err(OpeningError::Indices)?;

        let checked: Vec<Result<(Hash, ProvedItem), OpeningError>> =
            self.items.par_iter().map(|item| verify_item(item, layout, against.context)).collect();
        // In order, so that the same bytes always give the same error.
        let checked = checked.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (leaves, proved): (Vec<Hash>, Vec<ProvedItem>) = checked.into_iter().unzip();
        let (record_root, items_root) = (against.header.record_root(), against.header.items_root());
        multiproof::verify(record_root, &indices, &leaves, &self.record_proof)
            .map_err(OpeningError::RecordProof)?;
        let agreed: Vec<Hash> =
            proved.iter().map(|item| item_leaf(&item.tag, item.epoch)).collect();
        multiproof::verify(items_root, &indices, &agreed, &self.items_proof)
            .map_err(OpeningError::ItemsProof)?;
        for item in &proved {
            let Some(row) = &item.row else { continue };
            let key = against.item_key.ok_or(OpeningError::NoItemKey(item.index))?;
            if key.tag(row) != item.tag {
                return Err(OpeningError::Row(item.index));
            }
        }
        Ok(proved)
    }

    fn verify_totals(&self, header: &Header) -> Result<Vec<ProvedTotal>, OpeningError> {
        let mut proved: Vec<ProvedTotal> = Vec::new();
        for OpenedTotal { column, total, blind } in &self.totals {
            let wrong = || OpeningError::Total(column.clone());
            let known = header.columns().iter().find(|c| c.column.name() == column);
            let known = known.ok_or_else(wrong)?;
            if proved.iter().any(|other| other.column == *column) {
                return Err(OpeningError::Twice(column.clone()));
            }
            if *total > header.layout().items() * known.column.max() {
                return Err(wrong());
            }
            let blind = Blind::from_bytes(*blind).ok_or(OpeningError::Blind)?;
            if commit(*total, &blind).compress().to_bytes() != known.total {
                return Err(wrong());
            }
            proved.push(ProvedTotal { column: column.clone(), total: *total });
        }
        Ok(proved)
    }

    fn verify_subjects(&self, against: &Against<'_>) -> Result<Vec<ProvedSubject>, OpeningError> {
        let items = against.header.layout().items();
        let mut proved: Vec<ProvedSubject> = Vec::new();
        let mut counts = Vec::new();
        for OpenedSubject { name, value, salt } in &self.subjects {
            let wrong = || OpeningError::Subject(name.clone());
            let known = against.header.subject(name).ok_or_else(wrong)?;
            if proved.iter().any(|other| other.name == *name) {
                return Err(OpeningError::Twice(name.clone()));
            }
            let bytes = value_bytes(Some(value.as_bytes()));
            let salt = Salt::new(*salt);
            if subject::commitment(against.context, name, &salt, &bytes) != *known {
                return Err(wrong());
            }
            let number =
                || subject::decimal(value).ok_or_else(|| OpeningError::Number(name.clone()));
            if name.starts_with("count:") {
                counts.push(number()?);
                if counts.iter().sum::<u64>() > items {
                    return Err(OpeningError::Number(name.clone()));
                }
            } else if name.starts_with("flag:") {
                number()?;
            }
            proved.push(ProvedSubject { name: name.clone(), value: value.clone() });
        }
        if counts.len() == Status::ALL.len() && counts.iter().sum::<u64>() != items {
            return Err(OpeningError::Counts);
        }
        Ok(proved)
    }
}

impl Proved {
    fn check_scope(&self, disclosure: &Disclosure) -> Result<(), OpeningError> {
        if !self.items.iter().map(|item| item.index).eq(disclosure.items.iter().copied()) {
            return Err(OpeningError::Undeclared("items"));
        }
        let declared = sorted(disclosure.fields.iter().map(String::as_str));
        for item in &self.items {
            let status = item.status.map(|_| "status");
            let opened = item.fields.iter().map(|(field, _)| field.as_str());
            if sorted(opened.chain(status)) != declared {
                return Err(OpeningError::Undeclared("fields"));
            }
            if disclosure.rows && item.row.is_none() {
                return Err(OpeningError::Undeclared("rows"));
            }
        }
        let totals = sorted(self.totals.iter().map(|total| total.column.as_str()));
        if totals != sorted(disclosure.totals.iter().map(String::as_str)) {
            return Err(OpeningError::Undeclared("totals"));
        }
        let subjects = sorted(self.subjects.iter().map(|subject| subject.name.as_str()));
        if subjects != sorted(disclosure.subjects.iter().map(String::as_str)) {
            return Err(OpeningError::Undeclared("subjects"));
        }
        Ok(())
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
}
