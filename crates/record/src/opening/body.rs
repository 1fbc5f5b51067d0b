//! The JSON of an opening, `countersign/openings/v1`: read strictly, written in one spelling.
//!
//! Items are read one by one, so memory stays within a small factor of the document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Located, Node, Reader, Rules, Value, array, object};
use tlog::Hash;

use crate::column::{FIELDS, MAX_COLUMNS};
use crate::items::Content;
use crate::redacted;
use crate::subject::SUBJECTS;

/// 64 MiB. An item with one column takes some 900 bytes, so a whole column of 70,000 items fits.
pub const MAX_BODY: usize = 64 << 20;

/// The word that says what the document is.
const FORMAT: &str = "countersign/openings/v1";

/// Body, items, item, cells, cell.
const MAX_DEPTH: usize = 5;

/// Cells of one item, the widest list beside the items themselves.
const MAX_FIELDS: usize = FIELDS.len() + MAX_COLUMNS;

/// An opening as it is written down; nothing in it is checked against a record yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// Statement id of the attestation that carries the record.
    pub record: Hash,
    /// Opened items.
    pub items: Vec<BodyItem>,
    /// Multiproof of the items in the record root, hashes joined.
    pub record_proof: Vec<u8>,
    /// Multiproof of the items in the items root, hashes joined.
    pub items_proof: Vec<u8>,
    /// Opened totals.
    pub totals: Vec<OpenedTotal>,
    /// Opened subjects.
    pub subjects: Vec<OpenedSubject>,
}

/// One item: every field is opened or stands as its commitment.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyItem {
    /// Index of the item.
    pub index: u64,
    /// One for each field of the header, in order.
    pub fields: Vec<Cell>,
    /// One for each column.
    pub scores: Vec<ScoreCell>,
    /// The item's row, for holders of the item key.
    pub row: Option<Content>,
}

/// A field of an item.
#[derive(Clone, PartialEq, Eq)]
pub enum Cell {
    /// Salt, and the value bytes with their 00 or 01.
    Open {
        /// Salt of the cell.
        salt: [u8; 32],
        /// 00, or 01 ‖ value.
        value: Vec<u8>,
    },
    /// The commitment c.
    Closed(Hash),
}

/// A score of an item.
#[derive(Clone, PartialEq, Eq)]
pub enum ScoreCell {
    /// The integer and its blind.
    Open {
        /// The integer.
        integer: u64,
        /// The blind, a scalar in little-endian bytes.
        blind: [u8; 32],
    },
    /// The commitment C.
    Closed([u8; 32]),
}

/// An opened total.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedTotal {
    /// Name of the column.
    pub column: String,
    /// Sum of the integers.
    pub total: u64,
    /// Sum of the blinds, a scalar in little-endian bytes.
    pub blind: [u8; 32],
}

/// An opened subject.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedSubject {
    /// Name of the subject.
    pub name: String,
    /// Its value; an absent one can't be opened.
    pub value: String,
    /// Salt of the subject.
    pub salt: [u8; 32],
}

redacted!(Body BodyItem Cell ScoreCell OpenedTotal OpenedSubject);

/// Why bytes are not an opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than 64 MiB.
    #[error("an opening has at most {MAX_BODY} bytes, not {0}")]
    TooLong(usize),
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// A member is absent, unknown or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Located for BodyError {
    fn within(self, segment: &str) -> Self {
        match self {
            Self::TooLong(_) => self,
            Self::Json(error) => Self::Json(error.within(segment)),
            Self::Field(FieldError { pointer, problem }) => {
                let segment = segment.replace('~', "~0").replace('/', "~1");
                Self::Field(FieldError { pointer: format!("/{segment}{pointer}"), problem })
            }
        }
    }
}

impl Body {
    /// Reads an opening.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.len() > MAX_BODY {
            return Err(BodyError::TooLong(bytes.len()));
        }
        let rules = Rules { depth: MAX_DEPTH, width: MAX_FIELDS, ..Rules::SIGNED };
        let mut reader = Reader::new(bytes, rules);
        let mut format = None;
        let mut record = None;
        let mut items = None;
        let mut record_proof = None;
        let mut items_proof = None;
        let mut totals = None;
        let mut subjects = None;
        reader.object(|name, reader| -> Result<(), BodyError> {
            match name {
                "items" => {
                    let mut list = Vec::new();
                    reader.array(|reader| -> Result<(), BodyError> {
                        list.push(read_item(&Node::root(&reader.value()?))?);
                        Ok(())
                    })?;
                    items = Some(list);
                }
                _ => {
                    let value = reader.value()?;
                    let node = Node::root(&value);
                    match name {
                        "format" => format = Some(read_format(&node)?),
                        "record" => record = Some(Hash::new(node.hex()?)),
                        "record_proof" => record_proof = Some(read_base64(&node)?),
                        "items_proof" => items_proof = Some(read_base64(&node)?),
                        "totals" => totals = Some(OpenedTotal::read_list(&node)?),
                        "subjects" => subjects = Some(OpenedSubject::read_list(&node)?),
                        _ => return Err(node.error("is not a member known here").into()),
                    }
                }
            }
            Ok(())
        })?;
        reader.end()?;
        format.ok_or_else(|| missing("format"))?;
        Ok(Self {
            record: record.ok_or_else(|| missing("record"))?,
            items: items.ok_or_else(|| missing("items"))?,
            record_proof: record_proof.ok_or_else(|| missing("record_proof"))?,
            items_proof: items_proof.ok_or_else(|| missing("items_proof"))?,
            totals: totals.ok_or_else(|| missing("totals"))?,
            subjects: subjects.ok_or_else(|| missing("subjects"))?,
        })
    }

    /// Writes the opening, in the order of members that the format shows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BodyError> {
        let mut out =
            format!("{{\"format\":\"{FORMAT}\",\"record\":\"{}\",\"items\":[", self.record);
        for (place, item) in self.items.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            out.push_str(&write_item(item).to_text());
            if out.len() > MAX_BODY {
                return Err(BodyError::TooLong(out.len()));
            }
        }
        let rest = object([
            ("record_proof", Value::from(STANDARD.encode(&self.record_proof))),
            ("items_proof", STANDARD.encode(&self.items_proof).into()),
            ("totals", OpenedTotal::write_list(&self.totals)),
            ("subjects", OpenedSubject::write_list(&self.subjects)),
        ]);
        out.push_str("],");
        out.push_str(rest.to_text().trim_start_matches('{'));
        if out.len() > MAX_BODY {
            return Err(BodyError::TooLong(out.len()));
        }
        Ok(out.into_bytes())
    }
}

impl OpenedTotal {
    /// Reads a list of `{column, total, blind}`, as reveals in the clear carry it too.
    pub fn read_list(list: &Node<'_>) -> Result<Vec<Self>, FieldError> {
        let mut totals: Vec<Self> = Vec::new();
        for node in list.array(MAX_COLUMNS)? {
            let mut fields = node.fields()?;
            let name = fields.required("column")?;
            let column = name.text(128)?.to_owned();
            if totals.iter().any(|other| other.column == column) {
                return Err(name.error("is opened twice"));
            }
            let total = fields.required("total")?.uint()?;
            let blind = fields.required("blind")?.hex()?;
            fields.finish()?;
            totals.push(Self { column, total, blind });
        }
        Ok(totals)
    }

    /// The list that [`read_list`](Self::read_list) reads.
    pub fn write_list(totals: &[Self]) -> Value {
        array(totals.iter().map(|total| {
            object([
                ("column", Value::from(total.column.as_str())),
                ("total", total.total.into()),
                ("blind", hex::encode(total.blind).into()),
            ])
        }))
    }
}

impl OpenedSubject {
    /// Reads a list of `{name, value, salt}`, as evaluations and reveals carry it too.
    pub fn read_list(list: &Node<'_>) -> Result<Vec<Self>, FieldError> {
        let mut subjects: Vec<Self> = Vec::new();
        for node in list.array(SUBJECTS.len())? {
            let mut fields = node.fields()?;
            let name_node = fields.required("name")?;
            let name = name_node.text(64)?.to_owned();
            if subjects.iter().any(|other| other.name == name) {
                return Err(name_node.error("is opened twice"));
            }
            let value = fields.required("value")?.text(MAX_BODY)?.to_owned();
            let salt = fields.required("salt")?.hex()?;
            fields.finish()?;
            subjects.push(Self { name, value, salt });
        }
        Ok(subjects)
    }

    /// The list that [`read_list`](Self::read_list) reads.
    pub fn write_list(subjects: &[Self]) -> Value {
        array(subjects.iter().map(|subject| {
            object([
                ("name", Value::from(subject.name.as_str())),
                ("value", subject.value.as_str().into()),
                ("salt", hex::encode(subject.salt).into()),
            ])
        }))
    }
}

fn missing(name: &str) -> FieldError {
    FieldError { pointer: format!("/{name}"), problem: "is missing".to_owned() }
}

fn read_format(node: &Node<'_>) -> Result<(), FieldError> {
    if node.text(64)? != FORMAT {
        return Err(node.error(format!("must be {FORMAT:?}")));
    }
    Ok(())
}

/// Padded standard base64 with zero trailing bits: the one spelling of these bytes.
fn read_base64(node: &Node<'_>) -> Result<Vec<u8>, FieldError> {
    let text = node.text(MAX_BODY)?;
    STANDARD.decode(text).map_err(|_| node.error("must be padded standard base64"))
}

fn read_item(node: &Node<'_>) -> Result<BodyItem, FieldError> {
    let mut fields = node.fields()?;
    let index = fields.required("index")?.uint()?;
    let cells = fields.required("fields")?.array(MAX_FIELDS)?;
    let cells = cells.iter().map(read_cell).collect::<Result<_, _>>()?;
    let scores = fields.required("scores")?.array(MAX_COLUMNS)?;
    let scores = scores.iter().map(read_score).collect::<Result<_, _>>()?;
    let row = fields.optional("row").map(|row| Content::from_json(&row)).transpose()?;
    fields.finish()?;
    Ok(BodyItem { index, fields: cells, scores, row })
}

fn read_cell(node: &Node<'_>) -> Result<Cell, FieldError> {
    let mut fields = node.fields()?;
    let cell = match fields.optional("c") {
        Some(c) => Cell::Closed(Hash::new(c.hex()?)),
        None => {
            let salt = fields.required("salt")?.hex()?;
            let value_node = fields.required("value")?;
            let value = read_base64(&value_node)?;
            if value != [0] && value.first() != Some(&1) {
                return Err(value_node.error("must be the byte 00 alone, or 01 and a value"));
            }
            Cell::Open { salt, value }
        }
    };
    fields.finish()?;
    Ok(cell)
}

fn read_score(node: &Node<'_>) -> Result<ScoreCell, FieldError> {
    let mut fields = node.fields()?;
    let cell = match fields.optional("C") {
        Some(point) => ScoreCell::Closed(point.hex()?),
        None => ScoreCell::Open {
            integer: fields.required("s")?.uint()?,
            blind: fields.required("r")?.hex()?,
        },
    };
    fields.finish()?;
    Ok(cell)
}

fn write_item(item: &BodyItem) -> Value {
    let fields = item.fields.iter().map(|cell| match cell {
        Cell::Open { salt, value } => object([
            ("salt", Value::from(hex::encode(salt))),
            ("value", STANDARD.encode(value).into()),
        ]),
        Cell::Closed(c) => object([("c", Value::from(c.to_string()))]),
    });
    let scores = item.scores.iter().map(|cell| match cell {
        ScoreCell::Open { integer, blind } => {
            object([("s", Value::from(*integer)), ("r", hex::encode(blind).into())])
        }
        ScoreCell::Closed(point) => object([("C", Value::from(hex::encode(point)))]),
    });
    let mut members = vec![
        ("index", Value::from(item.index)),
        ("fields", array(fields)),
        ("scores", array(scores)),
    ];
    members.extend(item.row.as_ref().map(|row| ("row", row.to_json())));
    object(members)
}
