//! `reveal`, `claim`, `opening`: what becomes known of a record, to whom.

use json::{FieldError, Fields, Node, Value, array, object};
use tlog::Hash;

use super::bound::Bound;
use super::parts::{AuditName, Members, Opened, SealedEnvelope, text};
use crate::read;
use crate::statement::Common;
use crate::values::{ColumnName, Field, StatementId, Word};

/// Largest sample of an audit, and most ranges of items in an opening.
pub(crate) const MAX_SAMPLE: u64 = 2048;

/// Opens totals and subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    /// The record.
    pub record: StatementId,
    /// The agreement's rule that allows it; none if standalone.
    pub rule: Option<Word>,
    /// The openings.
    pub content: RevealContent,
    /// The dispute that this answers.
    pub answers: Option<StatementId>,
    /// Items proofs, owed for every column of a difference claim.
    pub items_proofs: Vec<ItemsProof>,
    /// The evaluation whose escrow, or the answered reveal that, an auditor releases.
    pub releases: Option<StatementId>,
}

/// Openings in the clear, or sealed to one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevealContent {
    /// Sealed.
    Envelope(SealedEnvelope),
    /// In the clear.
    Open {
        /// Totals with their blinds.
        totals: Vec<OpenedTotal>,
        /// Subjects with their salts.
        subjects: Vec<Opened>,
    },
}

/// The opening of a column's total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedTotal {
    /// The column.
    pub column: ColumnName,
    /// The sum of its integer scores.
    pub total: u64,
    /// The sum of its blinds, a scalar.
    pub blind: [u8; 32],
}

/// An items proof and its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemsProof {
    /// The column.
    pub column: ColumnName,
    /// The artifact.
    pub digest: Hash,
}

impl Reveal {
    pub(crate) fn take(fields: &mut Fields<'_>, common: &Common) -> Result<Self, FieldError> {
        let content = match (fields.optional("envelope"), fields.optional("open")) {
            (Some(node), None) => RevealContent::Envelope(SealedEnvelope::read(&node)?),
            (None, Some(node)) => RevealContent::read_open(&node)?,
            _ => return Err(fields.error("must have exactly one of envelope and open")),
        };
        let items_proofs = read::optional(fields, "items_proofs", |node| {
            read::keyed_list(node, 1, 64, ItemsProof::read, |proof| &proof.column)
        })?;
        Ok(Self {
            record: read::required(fields, "record", read::id)?,
            rule: agreed_id(fields, "rule", common)?,
            content,
            answers: read::optional(fields, "answers", read::id)?,
            items_proofs: items_proofs.unwrap_or_default(),
            releases: read::optional(fields, "releases", read::id)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("record", text(self.record)));
        if let Some(rule) = &self.rule {
            members.push(("rule", text(rule)));
        }
        match &self.content {
            RevealContent::Envelope(envelope) => members.push(("envelope", envelope.to_value())),
            RevealContent::Open { totals, subjects } => {
                let open = object([
                    ("totals", array(totals.iter().map(OpenedTotal::to_value))),
                    ("subjects", array(subjects.iter().map(Opened::to_value))),
                ]);
                members.push(("open", open));
            }
        }
        if let Some(dispute) = self.answers {
            members.push(("answers", text(dispute)));
        }
        if !self.items_proofs.is_empty() {
            let proofs = self.items_proofs.iter().map(ItemsProof::to_value);
            members.push(("items_proofs", array(proofs)));
        }
        if let Some(released) = self.releases {
            members.push(("releases", text(released)));
        }
    }
}

impl RevealContent {
    fn read_open(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let open = Self::Open {
            totals: read::required(&mut fields, "totals", |node| {
                read::keyed_list(node, 0, 64, OpenedTotal::read, |total| &total.column)
            })?,
            subjects: read::required(&mut fields, "subjects", |n| Opened::read_list(n, None))?,
        };
        fields.finish()?;
        Ok(open)
    }
}

impl OpenedTotal {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let total = Self {
            column: read::required(&mut fields, "column", read::column)?,
            total: read::required(&mut fields, "total", Node::uint)?,
            blind: read::required(&mut fields, "blind", Node::hex)?,
        };
        fields.finish()?;
        Ok(total)
    }

    fn to_value(&self) -> Value {
        object([
            ("column", text(&self.column)),
            ("total", self.total.into()),
            ("blind", hex::encode(self.blind).into()),
        ])
    }
}

impl ItemsProof {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let proof = Self {
            column: read::required(&mut fields, "column", read::column)?,
            digest: read::required(&mut fields, "digest", read::hash)?,
        };
        fields.finish()?;
        Ok(proof)
    }

    fn to_value(&self) -> Value {
        object([("column", text(&self.column)), ("digest", text(self.digest))])
    }
}

/// The id of a rule or claim of the agreement: required in an exchange, unknown outside of one.
fn agreed_id(
    fields: &mut Fields<'_>,
    name: &'static str,
    common: &Common,
) -> Result<Option<Word>, FieldError> {
    match common.exchange {
        Some(_) => read::required(fields, name, read::word).map(Some),
        None => Ok(None),
    }
}

/// A statement about hidden totals, with the digests of its proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The claim's id in the agreement; none if standalone.
    pub claim: Option<Word>,
    /// What it says.
    pub bound: Bound,
    /// About which column.
    pub column: ColumnName,
    /// About which record, or which two in the order of the agreement's parties.
    pub records: Vec<StatementId>,
    /// An items proof for each record.
    pub items_proofs: Vec<Hash>,
    /// The claim proof.
    pub proof: Hash,
    /// For each record the opening of `count:scored`; empty for `at_least`, which needs none.
    pub scored: Vec<ScoredCount>,
}

/// The opening of `count:scored`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoredCount {
    /// How many items have a score.
    pub value: u64,
    /// The salt of the commitment.
    pub salt: [u8; 32],
}

impl Claim {
    pub(crate) fn take(fields: &mut Fields<'_>, common: &Common) -> Result<Self, FieldError> {
        let claim = agreed_id(fields, "claim", common)?;
        let (bound, column) = Bound::take(fields)?;
        let count = bound.records();
        Ok(Self {
            claim,
            column,
            records: read::required(fields, "records", |n| read::list(n, count, count, read::id))?,
            items_proofs: read::required(fields, "items_proofs", |node| {
                read::list(node, count, count, read::hash)
            })?,
            proof: read::required(fields, "proof", read::hash)?,
            scored: match bound {
                Bound::AtLeast { .. } => Vec::new(),
                _ => read::required(fields, "scored", |node| {
                    read::list(node, count, count, ScoredCount::read)
                })?,
            },
            bound,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        if let Some(claim) = &self.claim {
            members.push(("claim", text(claim)));
        }
        self.bound.push(&self.column, members);
        members.push(("records", array(self.records.iter().map(text))));
        members.push(("items_proofs", array(self.items_proofs.iter().map(text))));
        members.push(("proof", text(self.proof)));
        if !self.scored.is_empty() {
            members.push(("scored", array(self.scored.iter().map(ScoredCount::to_value))));
        }
    }
}

impl ScoredCount {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let count = Self {
            value: read::required(&mut fields, "value", read::decimal)?,
            salt: read::required(&mut fields, "salt", Node::hex)?,
        };
        fields.finish()?;
        Ok(count)
    }

    fn to_value(&self) -> Value {
        object([("value", text(self.value)), ("salt", hex::encode(self.salt).into())])
    }
}

/// Opens fields of items to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The record.
    pub record: StatementId,
    /// Which items.
    pub items: OpenedItems,
    /// Which fields of each, besides tag and epoch, which always come: sorted, at least one.
    pub fields: Vec<Field>,
    /// The openings, sealed.
    pub envelope: SealedEnvelope,
    /// The dispute that this answers.
    pub answers: Option<StatementId>,
}

/// The items of an opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedItems {
    /// The first `sample` indices of an audit's draw, less those opened before in it.
    Sample {
        /// The audit.
        audit: AuditName,
        /// 1 to 2,048.
        sample: u64,
    },
    /// Ranges of indices: ascending, disjoint, not adjacent.
    Ranges(Vec<ItemRange>),
}

/// Items from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the type says it")]
pub struct ItemRange {
    pub first: u64,
    pub last: u64,
}

impl Opening {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let record = read::required(fields, "record", read::id)?;
        let items = match (fields.optional("audit"), fields.optional("items")) {
            (Some(node), None) => {
                let audit = AuditName::read(&node)?;
                if audit.record != record {
                    return Err(node.error("must be an audit of this record"));
                }
                let sample = read::required(fields, "sample", |n| read::number(n, 1, MAX_SAMPLE))?;
                OpenedItems::Sample { audit, sample }
            }
            (None, Some(node)) => OpenedItems::Ranges(ranges(&node)?),
            _ => return Err(fields.error("must have exactly one of audit and items")),
        };
        Ok(Self {
            record,
            items,
            fields: read::required(fields, "fields", opened_fields)?,
            envelope: read::required(fields, "envelope", SealedEnvelope::read)?,
            answers: read::optional(fields, "answers", read::id)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("record", text(self.record)));
        match &self.items {
            OpenedItems::Sample { audit, sample } => {
                members.push(("audit", audit.to_value()));
                members.push(("sample", (*sample).into()));
            }
            OpenedItems::Ranges(ranges) => {
                let ranges = ranges.iter().map(|range| array([range.first, range.last]));
                members.push(("items", array(ranges)));
            }
        }
        members.push(("fields", array(self.fields.iter().map(text))));
        members.push(("envelope", self.envelope.to_value()));
        if let Some(dispute) = self.answers {
            members.push(("answers", text(dispute)));
        }
    }
}

fn ranges(node: &Node<'_>) -> Result<Vec<ItemRange>, FieldError> {
    let most = usize::try_from(MAX_SAMPLE).expect("2,048 fits");
    let mut ranges: Vec<ItemRange> = Vec::new();
    for node in node.array(most)? {
        let bounds = node.array(2)?;
        let [first, last] = bounds.as_slice() else {
            return Err(node.error("must be [first, last]"));
        };
        let range = ItemRange {
            first: read::number(first, 0, read::MAX_ITEMS - 1)?,
            last: read::number(last, 0, read::MAX_ITEMS - 1)?,
        };
        let apart = ranges.last().is_none_or(|before| before.last + 1 < range.first);
        if range.first > range.last || !apart {
            return Err(node.error("must ascend, and neither overlap nor touch the one before"));
        }
        ranges.push(range);
    }
    if ranges.is_empty() {
        return Err(node.error("must have at least one range"));
    }
    Ok(ranges)
}

fn opened_fields(node: &Node<'_>) -> Result<Vec<Field>, FieldError> {
    let fields = read::list(node, 1, 70, |node| match read::field(node)? {
        Field::Base(base) if base.comes_with_every_item() => {
            Err(node.error("comes with every item and is not listed"))
        }
        field => Ok(field),
    })?;
    if !fields.iter().map(ToString::to_string).is_sorted() {
        return Err(node.error("must be sorted"));
    }
    Ok(fields)
}
