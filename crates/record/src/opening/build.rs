//! Making an opening from a record's secret, its commitment vector and the values of the opened
//! items.

use tlog::Hash;

use super::body::{Body, BodyItem, Cell, OpenedSubject, OpenedTotal, ScoreCell};
use crate::cells::{item_hash, prepare, value_bytes};
use crate::column::{EPOCH, SCORES, STATUS, TAG};
use crate::commit::{CommitError, ItemValues, field_commitments};
use crate::context::Context;
use crate::header::Header;
use crate::items::{AgreedItems, Content};
use crate::multiproof::{self, Indices, MultiproofError};
use crate::secret::{FieldKey, RecordSecret};
use crate::subject;
use crate::total::TotalOpening;
use crate::vector::{Vector, VectorError};

/// What a party keeps of a record, and what the log shows of it.
#[derive(Clone, Copy)]
pub struct RecordParts<'a> {
    /// Statement id of the attestation.
    pub id: Hash,
    /// Header in the attestation.
    pub header: &'a Header,
    /// Context of the record.
    pub context: &'a Context,
    /// R.
    pub secret: &'a RecordSecret,
    /// The commitment vector.
    pub vector: &'a [u8],
    /// The agreed items.
    pub items: &'a AgreedItems,
}

/// Why something can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The vector doesn't fit the header.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// The agreed items are not those of the header.
    #[error("the agreed items have another root than the record's header")]
    Items,
    /// Items are opened in ascending order, each once, below n.
    #[error("item {0} does not exist or does not follow the one before")]
    Index(u64),
    /// There is no such field.
    #[error("there is no field {0:?}")]
    Field(String),
    /// A score without its status could be anything.
    #[error("the field {0:?} can only be opened together with the status")]
    StatusNeeded(String),
    /// The values are none that could have been committed.
    #[error(transparent)]
    Values(#[from] CommitError),
    /// The values are not those that were committed, or the secret is not this record's.
    #[error("item {index}: values or secret are not those of the record")]
    Differs {
        /// Index of the item.
        index: u64,
    },
    /// There is no such column, or its total is another.
    #[error("column {0:?} has no such total")]
    Total(String),
    /// There is no such subject, or its value is another or absent.
    #[error("there is no subject {0:?} with this value")]
    Subject(String),
    /// Opened twice.
    #[error("{0:?} is opened already")]
    Twice(String),
    /// No proof for these items.
    #[error(transparent)]
    Proof(#[from] MultiproofError),
}

/// Collects what is opened; every value is checked against the record before it goes in.
pub struct OpeningBuilder<'a> {
    parts: RecordParts<'a>,
    vector: Vector<'a>,
    keys: Vec<FieldKey>,
    body: Body,
}

impl<'a> OpeningBuilder<'a> {
    /// An opening of nothing, so far.
    pub fn new(parts: RecordParts<'a>) -> Result<Self, OpenError> {
        let layout = parts.header.layout();
        let vector = Vector::new(layout, parts.vector)?;
        let same = parts.items.count() == layout.items();
        if !same || parts.items.root() != *parts.header.items_root() {
            return Err(OpenError::Items);
        }
        let keys = layout.fields().iter().map(|field| parts.secret.field_key(field)).collect();
        let body = Body {
            record: parts.id,
            items: Vec::new(),
            record_proof: Vec::new(),
            items_proof: Vec::new(),
            totals: Vec::new(),
            subjects: Vec::new(),
        };
        Ok(Self { parts, vector, keys, body })
    }

    /// Opens fields of an item by name. Tag and epoch come with it; a `score:` field brings the
    /// integer and needs `status` beside it. `values` are what was committed, `None` for a missing
    /// item; `row` goes only to holders of the item key.
    pub fn item(
        &mut self,
        index: u64,
        values: Option<&ItemValues>,
        fields: &[&str],
        row: Option<&Content>,
    ) -> Result<(), OpenError> {
        let RecordParts { header, context, items, .. } = self.parts;
        let layout = header.layout();
        let place = usize::try_from(index).map_err(|_| OpenError::Index(index))?;
        let agreed = items.items().get(place).ok_or(OpenError::Index(index))?;
        if self.body.items.last().is_some_and(|last| last.index >= index) {
            return Err(OpenError::Index(index));
        }
        let mut open = vec![false; layout.fields().len()];
        (open[TAG], open[EPOCH]) = (true, true);
        for name in fields {
            let field = layout.field(name).ok_or_else(|| OpenError::Field((*name).to_owned()))?;
            open[field] = true;
        }
        if let Some(score) = (SCORES..open.len()).find(|field| open[*field] && !open[STATUS]) {
            return Err(OpenError::StatusNeeded(layout.fields()[score].clone()));
        }

        let prepared = prepare(layout, index, agreed, values)?;
        let commitments = field_commitments(context, layout, &self.keys, index, &prepared.values);
        let differs = || OpenError::Differs { index };
        let entry = self.vector.entry(index).ok_or_else(differs)?;
        let (committed, points) = entry.split_at(32);
        if committed != item_hash(context, index, &commitments).as_bytes() {
            return Err(differs());
        }
        let scores = prepared.integers.iter().zip(points.as_chunks().0).enumerate();
        let scores = scores.map(|(column, (integer, point))| {
            if open[SCORES + column] {
                let blind = self.keys[SCORES + column].blind(index).to_bytes();
                ScoreCell::Open { integer: *integer, blind }
            } else {
                ScoreCell::Closed(*point)
            }
        });
        let scores = scores.collect();
        let cells = prepared.values.into_iter().zip(commitments).enumerate();
        let cells = cells.map(|(field, (value, commitment))| {
            if open[field] {
                Cell::Open { salt: *self.keys[field].salt(index).as_bytes(), value }
            } else {
                Cell::Closed(commitment)
            }
        });
        let fields = cells.collect();
        self.body.items.push(BodyItem { index, fields, scores, row: row.cloned() });
        Ok(())
    }

    /// Opens the total of a column.
    pub fn total(&mut self, column: &str, opening: &TotalOpening) -> Result<(), OpenError> {
        let columns = self.parts.header.columns();
        let known = columns.iter().find(|c| c.column.name() == column);
        if known.is_none_or(|known| known.total != opening.commitment()) {
            return Err(OpenError::Total(column.to_owned()));
        }
        if self.body.totals.iter().any(|total| total.column == column) {
            return Err(OpenError::Twice(column.to_owned()));
        }
        let (total, blind) = (opening.sum(), opening.blind().to_bytes());
        self.body.totals.push(OpenedTotal { column: column.to_owned(), total, blind });
        Ok(())
    }

    /// Opens a subject.
    pub fn subject(&mut self, name: &str, value: &str) -> Result<(), OpenError> {
        let salt = self.parts.secret.subject_salt(name);
        let bytes = value_bytes(Some(value.as_bytes()));
        let known = self.parts.header.subject(name);
        let holds = known.is_some_and(|known| {
            *known == subject::commitment(self.parts.context, name, &salt, &bytes)
        });
        if !holds {
            return Err(OpenError::Subject(name.to_owned()));
        }
        if self.body.subjects.iter().any(|subject| subject.name == name) {
            return Err(OpenError::Twice(name.to_owned()));
        }
        let (name, value) = (name.to_owned(), value.to_owned());
        self.body.subjects.push(OpenedSubject { name, value, salt: *salt.as_bytes() });
        Ok(())
    }

    /// The opening, with the proofs that its items need.
    pub fn finish(mut self) -> Result<Body, OpenError> {
        if !self.body.items.is_empty() {
            let indices: Vec<u64> = self.body.items.iter().map(|item| item.index).collect();
            let indices = Indices::new(&indices, self.parts.items.count())?;
            self.body.record_proof = multiproof::prove(&self.vector.leaves(), &indices)?;
            self.body.items_proof = multiproof::prove(&self.parts.items.leaves(), &indices)?;
        }
        Ok(self.body)
    }
}
