//! Checking one item of an opening: encodings, what must be opened together, scores, status.

use tlog::Hash;

use super::body::{BodyItem, Cell, ScoreCell};
use super::check::{OpeningError, ProvedItem};
use crate::cells::{field_commitment, item_hash, record_leaf};
use crate::column::{Column, EPOCH, Layout, SCORES, STATUS, TAG};
use crate::context::Context;
use crate::group::{Blind, commit};
use crate::items::Tag;
use crate::secret::Salt;
use crate::subject::Status;

/// Every rule about one item, and its leaf in the record.
pub(super) fn verify_item(
    item: &BodyItem,
    layout: &Layout,
    context: &Context,
) -> Result<(Hash, ProvedItem), OpeningError> {
    let index = item.index;
    if item.fields.len() != layout.fields().len() || item.scores.len() != layout.columns().len() {
        let (fields, scores) = (item.fields.len(), item.scores.len());
        return Err(OpeningError::Cells { index, fields, scores });
    }
    let checked = Checked { item, layout };
    let (tag, epoch) = place_of(item, layout)?;
    let status = match checked.opened(STATUS) {
        None => None,
        Some(value) => {
            let word = value.and_then(|bytes| str::from_utf8(bytes).ok());
            let status = word.and_then(Status::from_word);
            Some(status.ok_or_else(|| checked.encoding(STATUS))?)
        }
    };
    let mut fields = Vec::new();
    for field in STATUS + 1..layout.fields().len() {
        let Some(value) = checked.opened(field) else { continue };
        let text = value.map(|bytes| str::from_utf8(bytes).map(str::to_owned)).transpose();
        let text = text.map_err(|_| checked.encoding(field))?;
        fields.push((layout.fields()[field].clone(), text));
    }

    let mut scores = Vec::new();
    for (place, (column, cell)) in layout.columns().iter().zip(&item.scores).enumerate() {
        match cell {
            ScoreCell::Closed(_) => {
                if checked.opened(SCORES + place).is_some() {
                    let field = column.name().to_owned();
                    return Err(OpeningError::Together { index, field });
                }
            }
            ScoreCell::Open { integer, .. } => {
                let raw = checked.needed(SCORES + place)?;
                let status = status.ok_or_else(|| checked.together(STATUS))?;
                verify_score(index, column, raw, status, *integer)?;
                scores.push((column.name().to_owned(), *integer));
            }
        }
    }
    if status.is_some_and(|status| checked.contradicts(status)) {
        return Err(OpeningError::Status { index });
    }
    let row = item.row.clone();
    let proved = ProvedItem { index, tag, epoch, status, fields, scores, row };
    Ok((committed_leaf(item, layout, context)?, proved))
}

/// The leaf of the record that follows from an item's cells, opened or closed, whatever they say.
pub(super) fn committed_leaf(
    item: &BodyItem,
    layout: &Layout,
    context: &Context,
) -> Result<Hash, OpeningError> {
    let index = item.index;
    if item.fields.len() != layout.fields().len() || item.scores.len() != layout.columns().len() {
        let (fields, scores) = (item.fields.len(), item.scores.len());
        return Err(OpeningError::Cells { index, fields, scores });
    }
    let cells = layout.fields().iter().zip(&item.fields);
    let commitments: Vec<Hash> = cells
        .map(|(field, cell)| match cell {
            Cell::Closed(c) => *c,
            Cell::Open { salt, value } => {
                field_commitment(context, index, field, &Salt::new(*salt), value)
            }
        })
        .collect();
    let mut entry = item_hash(context, index, &commitments).as_bytes().to_vec();
    for cell in &item.scores {
        match cell {
            ScoreCell::Closed(point) => entry.extend_from_slice(point),
            ScoreCell::Open { integer, blind } => {
                let blind = Blind::from_bytes(*blind).ok_or(OpeningError::Blind)?;
                entry.extend_from_slice(commit(*integer, &blind).compress().as_bytes());
            }
        }
    }
    Ok(record_leaf(&entry))
}

/// Tag and epoch of an item, which every opening of it shows.
pub(super) fn place_of(item: &BodyItem, layout: &Layout) -> Result<(Tag, u64), OpeningError> {
    let checked = Checked { item, layout };
    let tag = checked.needed(TAG)?.and_then(Tag::from_slice);
    let tag = tag.ok_or_else(|| checked.encoding(TAG))?;
    let epoch = checked.needed(EPOCH)?.and_then(|bytes| bytes.try_into().ok());
    let epoch = epoch.map(u64::from_be_bytes).ok_or_else(|| checked.encoding(EPOCH))?;
    Ok((tag, epoch))
}

/// `raw` is the opened value of the score's field, `integer` what C was opened to.
fn verify_score(
    index: u64,
    column: &Column,
    raw: Option<&[u8]>,
    status: Status,
    integer: u64,
) -> Result<(), OpeningError> {
    let name = || column.name().to_owned();
    if integer > column.max() {
        return Err(OpeningError::AboveMax { index, column: name() });
    }
    if status != Status::Scored {
        return if integer == 0 {
            Ok(())
        } else {
            Err(OpeningError::NotScored { index, column: name() })
        };
    }
    let no_integer = |source| OpeningError::NoInteger { index, column: name(), source };
    let raw = raw.and_then(|bytes| str::from_utf8(bytes).ok()).ok_or_else(|| no_integer(None))?;
    let converted = column.convert(raw).map_err(|e| no_integer(Some(e)))?;
    if converted.ok_or_else(|| no_integer(None))?.integer != integer {
        return Err(OpeningError::Conversion { index, column: name() });
    }
    Ok(())
}

/// An item whose cells are as many as the header's fields and columns.
struct Checked<'a> {
    item: &'a BodyItem,
    layout: &'a Layout,
}

impl<'a> Checked<'a> {
    /// The value of a field, if it is opened; then `None` for an absent value.
    fn opened(&self, field: usize) -> Option<Option<&'a [u8]>> {
        match &self.item.fields[field] {
            Cell::Closed(_) => None,
            Cell::Open { value, .. } => {
                Some(value.split_first().filter(|(first, _)| **first == 1).map(|(_, rest)| rest))
            }
        }
    }

    /// The value of a field that must be opened here.
    fn needed(&self, field: usize) -> Result<Option<&'a [u8]>, OpeningError> {
        self.opened(field).ok_or_else(|| self.together(field))
    }

    /// True if the opened values show that the status is not the first that holds: everything but
    /// tag, epoch and status is absent from a missing item, and an item with a value in every
    /// column is neither `limited` nor `unscored`.
    fn contradicts(&self, status: Status) -> bool {
        let mut others = STATUS + 1..self.item.fields.len();
        match status {
            Status::Missing => others.any(|field| matches!(self.opened(field), Some(Some(_)))),
            Status::Limited | Status::Unscored => {
                self.layout.columns().iter().enumerate().all(|(place, column)| {
                    let raw = self.opened(SCORES + place).flatten();
                    let raw = raw.and_then(|bytes| str::from_utf8(bytes).ok());
                    raw.is_some_and(|raw| matches!(column.convert(raw), Ok(Some(_))))
                })
            }
            Status::Invalidated | Status::Errored | Status::Scored => false,
        }
    }

    fn together(&self, field: usize) -> OpeningError {
        let field = self.layout.fields()[field].clone();
        OpeningError::Together { index: self.item.index, field }
    }

    fn encoding(&self, field: usize) -> OpeningError {
        let field = self.layout.fields()[field].clone();
        OpeningError::Encoding { index: self.item.index, field }
    }
}
