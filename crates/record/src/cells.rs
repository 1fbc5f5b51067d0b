//! The preimages of an item's commitments, shared by those who make, open and check them.

use tlog::{Hash, leaf_hash};

use crate::column::{Column, Layout, ScoreError};
use crate::commit::{CommitError, ItemValues};
use crate::context::Context;
use crate::items::AgreedItem;
use crate::secret::Salt;
use crate::subject::Status;

/// 00 for an absent value, else 01 ‖ the value, so that presence doesn't show.
pub(crate) fn value_bytes(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => vec![0],
        Some(value) => [&[1], value].concat(),
    }
}

/// c: the commitment to one field of one item.
pub(crate) fn field_commitment(
    context: &Context,
    index: u64,
    field: &str,
    salt: &Salt,
    value_bytes: &[u8],
) -> Hash {
    let length = u16::try_from(field.len()).expect("a field's name has at most 134 bytes");
    Hash::of(&[
        b"countersign.v1/field\0",
        context.as_bytes(),
        &index.to_be_bytes(),
        &length.to_be_bytes(),
        field.as_bytes(),
        salt.as_bytes(),
        value_bytes,
    ])
}

/// h: binds the fields of one item to each other and to its place.
pub(crate) fn item_hash(context: &Context, index: u64, fields: &[Hash]) -> Hash {
    let index = index.to_be_bytes();
    let mut parts: Vec<&[u8]> = Vec::with_capacity(3 + fields.len());
    parts.extend([&b"countersign.v1/item\0"[..], context.as_bytes(), &index]);
    parts.extend(fields.iter().map(AsRef::as_ref));
    Hash::of(&parts)
}

/// The leaf of the record root from an item's part of the commitment vector, `h ‖ C_1 ‖ … ‖ C_M`.
pub(crate) fn record_leaf(entry: &[u8]) -> Hash {
    leaf_hash(entry)
}

/// An item ready to be committed.
pub(crate) struct Prepared {
    pub(crate) status: Status,
    /// One for each column; all 0 unless the status is `scored`.
    pub(crate) integers: Vec<u64>,
    /// How many of its scores had to be rounded.
    pub(crate) inexact: u64,
    /// Value bytes of each field, in order.
    pub(crate) values: Vec<Vec<u8>>,
}

/// What an item comes to under the agreed columns.
pub struct Graded {
    /// The first status that holds.
    pub status: Status,
    /// One for each column; 0 unless `scored`.
    pub integers: Vec<u64>,
    /// Scores that had to be rounded.
    pub inexact: u64,
}

crate::redacted!(Graded);

/// Status and integers of an item; `None` is one that the log lacks.
pub fn grade(
    columns: &[Column],
    index: u64,
    values: Option<&ItemValues>,
) -> Result<Graded, CommitError> {
    let Some(values) = values else {
        let integers = vec![0; columns.len()];
        return Ok(Graded { status: Status::Missing, integers, inexact: 0 });
    };
    if values.scores.len() != columns.len() {
        let (found, columns) = (values.scores.len(), columns.len());
        return Err(CommitError::Scores { index, found, columns });
    }
    let mut inexact = 0;
    let mut integers = Vec::with_capacity(columns.len());
    for (column, raw) in columns.iter().zip(&values.scores) {
        let wrong = |source: ScoreError| {
            let column = column.name().to_owned();
            CommitError::Score { index, column, source }
        };
        let converted = raw.as_deref().map(|raw| column.convert(raw)).transpose().map_err(wrong)?;
        let converted = converted.flatten();
        inexact += u64::from(converted.is_some_and(|c| !c.exact));
        integers.push(converted.map(|c| c.integer));
    }
    let status = match () {
        () if values.invalidated => Status::Invalidated,
        () if values.errored => Status::Errored,
        () if integers.iter().all(Option::is_some) => Status::Scored,
        () if values.limited => Status::Limited,
        () => Status::Unscored,
    };
    let scored = status == Status::Scored;
    let integers = integers.into_iter().map(|s| if scored { s.unwrap_or(0) } else { 0 }).collect();
    Ok(Graded { status, integers, inexact })
}

/// Converts and encodes an item; `None` is one that the log lacks.
pub(crate) fn prepare(
    layout: &Layout,
    index: u64,
    agreed: &AgreedItem,
    values: Option<&ItemValues>,
) -> Result<Prepared, CommitError> {
    let nothing =
        ItemValues { scores: vec![None; layout.columns().len()], ..ItemValues::default() };
    let content = values.unwrap_or(&nothing);
    let Graded { status, integers, inexact } = grade(layout.columns(), index, values)?;

    let texts =
        [&content.input, &content.target, &content.output, &content.explanation, &content.metadata];
    let mut encoded = vec![
        value_bytes(Some(agreed.tag.as_bytes())),
        value_bytes(Some(&agreed.epoch.to_be_bytes())),
        value_bytes(Some(status.as_str().as_bytes())),
    ];
    let texts = texts.into_iter().chain(&content.scores);
    encoded.extend(texts.map(|text| value_bytes(text.as_deref().map(str::as_bytes))));
    Ok(Prepared { status, integers, inexact, values: encoded })
}
