//! Score columns, and the layout of a record: how many items, which columns, which fields
//! (`docs/protocol.md`, "Scores").

use json::{FieldError, Fields, Node, Value, object};

pub use crate::score::Converted;

/// 2^20 items, the most that one record can hold.
pub const MAX_ITEMS: u64 = 1 << 20;

/// Columns of one record.
pub const MAX_COLUMNS: usize = 64;

/// Items × max stays below this, so that every linear form of two totals fits 32 bits.
pub const TOTAL_LIMIT: u64 = 1 << 31;

/// Numbers in signed documents are below this.
const UINT_LIMIT: u64 = 1 << 53;

/// Which end of the scale is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// `higher`
    Higher,
    /// `lower`
    Lower,
}

/// One score of every item, on an agreed scale of integers from 0 to `max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    name: String,
    max: u64,
    raw_max: u64,
    better: Better,
}

/// Why something is not a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// The name is empty, long, or holds what a reader can't see.
    #[error(
        "a column's name has 1 to 128 bytes, no control or bidi character, no white space at its \
         ends"
    )]
    Name,
    /// `max` is the largest integer of the scale.
    #[error("max is 1 to 2^53 - 1, not {0}")]
    Max(u64),
    /// `raw_max` is the raw score that stands for `max`.
    #[error("raw_max is 1 to 2^53 - 1, not {0}")]
    RawMax(u64),
}

/// Why a raw score has no place on the scale of its column. The score itself is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// Neither a JSON number or truth value nor `C`, `P`, `I`, `N` or `NaN`.
    #[error("the raw score is neither a number, true or false nor one of C, P, I, N and NaN")]
    NotANumber,
    /// Below 0 or above max after conversion.
    #[error("the raw score is outside the column's scale")]
    OutsideScale,
}

impl Column {
    /// A column; `raw_max` is the raw score that becomes `max`.
    pub fn new(name: &str, max: u64, raw_max: u64, better: Better) -> Result<Self, ColumnError> {
        if !visible(name) {
            return Err(ColumnError::Name);
        }
        if !(1..UINT_LIMIT).contains(&max) {
            return Err(ColumnError::Max(max));
        }
        if !(1..UINT_LIMIT).contains(&raw_max) {
            return Err(ColumnError::RawMax(raw_max));
        }
        Ok(Self { name: name.to_owned(), max, raw_max, better })
    }

    /// Reads the members `name`, `max`, `raw_max` and `better`; the caller goes on with the rest.
    pub fn from_fields(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let name = fields.required("name")?;
        let max = fields.required("max")?;
        let raw_max = fields.required("raw_max")?;
        let better = better_of(&fields.required("better")?)?;
        Self::new(name.text(128)?, max.uint()?, raw_max.uint()?, better).map_err(
            |error| match error {
                ColumnError::Name => name.error(error.to_string()),
                ColumnError::Max(_) => max.error(error.to_string()),
                ColumnError::RawMax(_) => raw_max.error(error.to_string()),
            },
        )
    }

    /// The members that [`from_fields`](Self::from_fields) reads.
    pub fn members(&self) -> Vec<(&'static str, Value)> {
        let better = match self.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        vec![
            ("name", self.name.as_str().into()),
            ("max", self.max.into()),
            ("raw_max", self.raw_max.into()),
            ("better", better.into()),
        ]
    }

    /// The column as a JSON object.
    pub fn to_json(&self) -> Value {
        object(self.members())
    }

    /// Name, compared as bytes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Largest integer of the scale.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The raw score that becomes [`max`](Self::max).
    pub fn raw_max(&self) -> u64 {
        self.raw_max
    }

    /// Which end is the good one.
    pub fn better(&self) -> Better {
        self.better
    }

    /// The field that holds this column's raw scores.
    pub fn field(&self) -> String {
        format!("score:{}", self.name)
    }

    /// The integer of a raw score, given as the log spells it: `raw·max / raw_max`, halves to
    /// even; C, P, I and N are 1, ½, 0 and 0 of the scale, `true` and `false` the raw scores 1 and
    /// 0. `None` for `NaN`.
    pub fn convert(&self, raw: &str) -> Result<Option<Converted>, ScoreError> {
        crate::score::convert(raw, self)
    }
}

fn better_of(node: &Node<'_>) -> Result<Better, FieldError> {
    match node.text(6)? {
        "higher" => Ok(Better::Higher),
        "lower" => Ok(Better::Lower),
        _ => Err(node.error("must be \"higher\" or \"lower\"")),
    }
}

/// 1 to 128 bytes, nothing invisible in it or around it.
fn visible(name: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    (1..=128).contains(&name.len()) && name.trim() == name && !name.contains(hidden)
}

/// How many items a record has, its columns, and the fields that follow from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    items: u64,
    columns: Vec<Column>,
    fields: Vec<String>,
}

/// Why a record can't have this layout: one of its limits is passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A record holds 1 to 2^20 items.
    #[error("a record holds 1 to 2^20 items, not {0}")]
    Items(u64),
    /// A record has 1 to 64 columns.
    #[error("a record has 1 to 64 columns, not {0}")]
    Columns(usize),
    /// Two columns have one name.
    #[error("two columns are called {0:?}")]
    Twice(String),
    /// A total could leave the range in which claims are proved.
    #[error("{items} items × max {max} of the column {column:?} is not below 2^31")]
    Total {
        /// Number of items.
        items: u64,
        /// The column's name.
        column: String,
        /// Its max.
        max: u64,
    },
}

/// The fields before the scores, in order.
pub const FIELDS: [&str; 8] =
    ["tag", "epoch", "status", "input", "target", "output", "explanation", "metadata"];

/// Places of fields in the order of the header.
pub(crate) const TAG: usize = 0;
pub(crate) const EPOCH: usize = 1;
pub(crate) const STATUS: usize = 2;
pub(crate) const SCORES: usize = FIELDS.len();

impl Layout {
    /// A layout within the limits.
    pub fn new(items: u64, columns: Vec<Column>) -> Result<Self, LayoutError> {
        if !(1..=MAX_ITEMS).contains(&items) {
            return Err(LayoutError::Items(items));
        }
        if !(1..=MAX_COLUMNS).contains(&columns.len()) {
            return Err(LayoutError::Columns(columns.len()));
        }
        for (place, column) in columns.iter().enumerate() {
            if columns[..place].iter().any(|other| other.name == column.name) {
                return Err(LayoutError::Twice(column.name.clone()));
            }
            if items.checked_mul(column.max).is_none_or(|total| total >= TOTAL_LIMIT) {
                let (column, max) = (column.name.clone(), column.max);
                return Err(LayoutError::Total { items, column, max });
            }
        }
        let fields =
            FIELDS.iter().map(|f| (*f).to_owned()).chain(columns.iter().map(Column::field));
        Ok(Self { items, fields: fields.collect(), columns })
    }

    /// Number of items, n.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Names of fields in order: [`FIELDS`], then `score:<column>` for each column.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Place of a field in that order.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field == name)
    }

    /// Place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Bytes of one item in the commitment vector: 32·(1 + M).
    pub fn stride(&self) -> usize {
        32 * (1 + self.columns.len())
    }

    /// Bytes of the whole commitment vector: n·32·(1 + M), at most 2^20·32·65.
    pub fn vector_length(&self) -> u64 {
        self.items * self.stride() as u64
    }
}
