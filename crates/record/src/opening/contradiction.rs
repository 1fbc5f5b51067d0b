//! Whether an opening shows other values than those that the record commits to: for proving to
//! third persons that its signer opened it falsely.
//!
//! This asks for less than [`Body::verify`]: an opening can be refused for many reasons, and only
//! this one is a lie that no honest party's program tells by mistake.

use std::fmt;

use tlog::Hash;

use super::body::Body;
use super::check::OpeningError;
use super::item::{committed_leaf, place_of};
use crate::cells::value_bytes;
use crate::context::Context;
use crate::group::{Blind, commit};
use crate::header::Header;
use crate::items::item_leaf;
use crate::multiproof::{self, Indices, MultiproofError};
use crate::secret::Salt;
use crate::subject;

/// What of an opening is not what the record commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// The opened cells lead to another record root.
    Items,
    /// Tags and epochs lead to another items root.
    AgreedItems,
    /// The total of this column is committed to as another one.
    Total(String),
    /// This subject is committed to as another one.
    Subject(String),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Items => f.write_str("the opened items lead to another record root"),
            Self::AgreedItems => f.write_str("the opened tags lead to another items root"),
            Self::Total(column) => write!(f, "the total of {column:?} opens to another commitment"),
            Self::Subject(name) => write!(f, "the subject {name:?} opens to another commitment"),
        }
    }
}

impl Body {
    /// The first contradiction between this opening and the record that its signer committed to
    /// under this header and context; `None` if every opened value is the committed one, whatever
    /// else may be wrong with it. Rows are not looked at. An error means that there is nothing to
    /// compare: the opening doesn't have the record's shape.
    pub fn contradiction(
        &self,
        header: &Header,
        context: &Context,
    ) -> Result<Option<Contradiction>, OpeningError> {
        if let Some(found) = self.items_contradict(header, context)? {
            return Ok(Some(found));
        }
        for opened in &self.totals {
            let mut columns = header.columns().iter();
            let column = columns.find(|column| column.column.name() == opened.column);
            let column = column.ok_or_else(|| OpeningError::Total(opened.column.clone()))?;
            let blind = Blind::from_bytes(opened.blind).ok_or(OpeningError::Blind)?;
            if commit(opened.total, &blind).compress().to_bytes() != column.total {
                return Ok(Some(Contradiction::Total(opened.column.clone())));
            }
        }
        for opened in &self.subjects {
            let wrong = || OpeningError::Subject(opened.name.clone());
            let committed = header.subject(&opened.name).ok_or_else(wrong)?;
            let bytes = value_bytes(Some(opened.value.as_bytes()));
            let salt = Salt::new(opened.salt);
            if subject::commitment(context, &opened.name, &salt, &bytes) != *committed {
                return Ok(Some(Contradiction::Subject(opened.name.clone())));
            }
        }
        Ok(None)
    }

    fn items_contradict(
        &self,
        header: &Header,
        context: &Context,
    ) -> Result<Option<Contradiction>, OpeningError> {
        if self.items.is_empty() {
            return Ok(None);
        }
        let layout = header.layout();
        let indices: Vec<u64> = self.items.iter().map(|item| item.index).collect();
        let indices = Indices::new(&indices, layout.items()).map_err(OpeningError::Indices)?;
        let mut leaves: Vec<Hash> = Vec::with_capacity(self.items.len());
        let mut agreed: Vec<Hash> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            leaves.push(committed_leaf(item, layout, context)?);
            let (tag, epoch) = place_of(item, layout)?;
            agreed.push(item_leaf(&tag, epoch));
        }
        match multiproof::verify(header.record_root(), &indices, &leaves, &self.record_proof) {
            Ok(()) => {}
            Err(MultiproofError::Root) => return Ok(Some(Contradiction::Items)),
            Err(error) => return Err(OpeningError::RecordProof(error)),
        }
        match multiproof::verify(header.items_root(), &indices, &agreed, &self.items_proof) {
            Ok(()) => Ok(None),
            Err(MultiproofError::Root) => Ok(Some(Contradiction::AgreedItems)),
            Err(error) => Err(OpeningError::ItemsProof(error)),
        }
    }

    /// True if two opened cells or subjects have one salt. Salts are made by a keyed hash, so an
    /// honest party's never repeat; where they do, one opened value lets others be guessed.
    pub fn repeats_salts(&self) -> bool {
        let cells = self.items.iter().flat_map(|item| &item.fields);
        let cells = cells.filter_map(|cell| match cell {
            super::body::Cell::Open { salt, .. } => Some(*salt),
            super::body::Cell::Closed(_) => None,
        });
        let mut salts: Vec<[u8; 32]> =
            cells.chain(self.subjects.iter().map(|subject| subject.salt)).collect();
        salts.sort_unstable();
        salts.windows(2).any(|pair| pair[0] == pair[1])
    }
}
