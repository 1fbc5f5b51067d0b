//! `intent`, `withdrawal`, `evaluation`: a run is announced, and ends with or without a record.

use json::{FieldError, Fields, Node, Value, array, object};
use record::column::{Better, Column, LayoutError};
use record::header::{Header, HeaderColumn};
use record::total::TotalProof;
use tlog::Hash;

use super::parts::{Direction, Members, Opened, Program, Scale, SealedEnvelope, spelled, text};
use crate::read;
use crate::time::Timestamp;
use crate::values::{BaseField, ColumnName, Field, StatementId, Subject};

/// A run announced before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// 1, 2, … for each signer and exchange.
    pub run: u64,
    /// 32 random bytes that no intent in this log had before.
    pub nonce: [u8; 32],
}

impl Intent {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            run: read::required(fields, "run", |node| read::at_least(node, 1))?,
            nonce: read::required(fields, "nonce", Node::hex)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("run", self.run.into()));
        members.push(("nonce", hex::encode(self.nonce).into()));
    }

    pub(crate) fn subject(&self) -> Hash {
        Hash::of(&[&self.nonce])
    }
}

spelled! {
    /// Why a run ended without a record.
    WithdrawalCode {
        /// The run crashed.
        Crash = "crash",
        /// Machines or services failed.
        Infrastructure = "infrastructure",
        /// The run was set up wrongly.
        Configuration = "configuration",
        /// The run was stopped.
        Aborted = "aborted",
        /// None of the others.
        Other = "other",
    }
}

/// Ends an intent without a record, so that failed runs stay visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The signer's own open intent.
    pub intent: StatementId,
    /// Why.
    pub code: WithdrawalCode,
}

impl Withdrawal {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            intent: read::required(fields, "intent", read::id)?,
            code: read::required(fields, "code", read::spelled)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("intent", text(self.intent)));
        members.push(("code", text(self.code)));
    }
}

/// The attestation: carries the header of a record, the commitments to one evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The signer's own open intent.
    pub intent: StatementId,
    /// An earlier record of the signer that this one is meant to replace. A link only.
    pub supersedes: Option<StatementId>,
    /// True if the signer will make no further run, where the last run counts.
    pub is_final: bool,
    /// The program that ran the evaluation.
    pub harness: Program,
    /// The program that read its log.
    pub importer: Program,
    /// When it started, rounded down to the hour.
    pub started: Timestamp,
    /// When it ended, rounded down to the hour.
    pub ended: Timestamp,
    /// Items in the record, 1 to 2^20.
    pub items: u64,
    /// Root over tags and epochs.
    pub items_root: Hash,
    /// Root over the record's leaves.
    pub record_root: Hash,
    /// Digest of the commitment vector.
    pub vector: Hash,
    /// 1 to 64 score columns.
    pub columns: Vec<CommittedColumn>,
    /// Commitments to the subjects, one for each of [`SUBJECTS`](crate::values::SUBJECTS).
    pub subjects: Vec<[u8; 32]>,
    /// Subjects opened at once, because a rule makes them public.
    pub opened: Vec<Opened>,
    /// The reveal, sealed to the escrow's auditor.
    pub escrow: Option<SealedEnvelope>,
}

/// A score column with the commitment to its total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedColumn {
    /// The agreed scale.
    pub scale: Scale,
    /// The commitment to the total, a ristretto255 point.
    pub total: [u8; 32],
    /// Proof that the signer knows the opening of `total`.
    pub proof: [u8; 96],
}

impl Evaluation {
    /// The fields of every item, in header order: those that every record has, then the raw
    /// score of each column.
    pub fn fields(&self) -> Vec<Field> {
        let scores = self.columns.iter().map(|column| Field::Score(column.scale.name.clone()));
        BaseField::ALL.into_iter().map(Field::Base).chain(scores).collect()
    }

    /// An attestation of a record that was just made.
    pub fn of_record(
        intent: StatementId,
        [harness, importer]: [Program; 2],
        [started, ended]: [Timestamp; 2],
        header: &Header,
    ) -> Self {
        let name = |column: &Column| {
            ColumnName::parse(column.name()).expect("columns of records are named by the same rule")
        };
        let columns = header.columns().iter().map(|committed| CommittedColumn {
            scale: Scale {
                name: name(&committed.column),
                max: committed.column.max(),
                raw_max: committed.column.raw_max(),
                better: match committed.column.better() {
                    Better::Higher => Direction::Higher,
                    Better::Lower => Direction::Lower,
                },
            },
            total: committed.total,
            proof: *committed.proof.as_bytes(),
        });
        Self {
            intent,
            supersedes: None,
            is_final: false,
            harness,
            importer,
            started,
            ended,
            items: header.layout().items(),
            items_root: *header.items_root(),
            record_root: *header.record_root(),
            vector: *header.vector(),
            columns: columns.collect(),
            subjects: header.subjects().iter().map(|commitment| *commitment.as_bytes()).collect(),
            opened: Vec::new(),
            escrow: None,
        }
    }

    /// What the statement says of its record, for checking vectors and openings. An error means
    /// that no proof about this record would mean anything (`LIMIT_EXCEEDED`).
    pub fn header(&self) -> Result<Header, LayoutError> {
        let columns = self.columns.iter().map(|committed| {
            let scale = &committed.scale;
            let better = match scale.better {
                Direction::Higher => Better::Higher,
                Direction::Lower => Better::Lower,
            };
            let column = Column::new(scale.name.as_str(), scale.max, scale.raw_max, better)
                .expect("columns of statements are named and bounded by the same rule");
            HeaderColumn { column, total: committed.total, proof: TotalProof::new(committed.proof) }
        });
        let subjects: Vec<Hash> = self.subjects.iter().copied().map(Hash::new).collect();
        let subjects = subjects.try_into().expect("the parser takes exactly all subjects");
        let roots = [self.items_root, self.record_root, self.vector];
        Header::from_parts(self.items, roots, columns.collect(), subjects)
    }

    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let items = read::required(fields, "items", |node| read::number(node, 1, read::MAX_ITEMS))?;
        let evaluation = Self {
            intent: read::required(fields, "intent", read::id)?,
            supersedes: read::optional(fields, "supersedes", read::id)?,
            is_final: read::optional(fields, "final", only_true)?.is_some(),
            harness: read::required(fields, "harness", Program::read)?,
            importer: read::required(fields, "importer", Program::read)?,
            started: read::required(fields, "started", full_hour)?,
            ended: read::required(fields, "ended", full_hour)?,
            items,
            items_root: read::required(fields, "items_root", read::hash)?,
            record_root: read::required(fields, "record_root", read::hash)?,
            vector: read::required(fields, "vector", read::hash)?,
            columns: read::required(fields, "columns", |node| {
                read::keyed_list(node, 1, 64, CommittedColumn::read, |column| &column.scale.name)
            })?,
            subjects: read::required(fields, "subjects", commitments)?,
            opened: read::required(fields, "opened", |node| Opened::read_list(node, Some(items)))?,
            escrow: read::optional(fields, "escrow", SealedEnvelope::read)?,
        };
        let node = fields.required("fields")?;
        if read::list(&node, 0, 72, read::field)? != evaluation.fields() {
            return Err(node.error("must be the fields of every record, then score:<column> each"));
        }
        Ok(evaluation)
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("intent", text(self.intent)));
        if let Some(record) = self.supersedes {
            members.push(("supersedes", text(record)));
        }
        if self.is_final {
            members.push(("final", true.into()));
        }
        members.push(("harness", self.harness.to_value()));
        members.push(("importer", self.importer.to_value()));
        members.push(("started", text(self.started)));
        members.push(("ended", text(self.ended)));
        members.push(("items", self.items.into()));
        members.push(("items_root", text(self.items_root)));
        members.push(("record_root", text(self.record_root)));
        members.push(("vector", text(self.vector)));
        members.push(("fields", array(self.fields().iter().map(text))));
        members.push(("columns", array(self.columns.iter().map(CommittedColumn::to_value))));
        let subjects = Subject::all().zip(&self.subjects).map(|(name, commitment)| {
            object([
                ("name", name.as_str().into()),
                ("commitment", Value::from(hex::encode(commitment))),
            ])
        });
        members.push(("subjects", array(subjects)));
        members.push(("opened", array(self.opened.iter().map(Opened::to_value))));
        if let Some(escrow) = &self.escrow {
            members.push(("escrow", escrow.to_value()));
        }
    }
}

impl CommittedColumn {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let column = Self {
            scale: Scale::take(&mut fields)?,
            total: read::required(&mut fields, "total", Node::hex)?,
            proof: read::required(&mut fields, "proof", Node::hex)?,
        };
        fields.finish()?;
        Ok(column)
    }

    fn to_value(&self) -> Value {
        let mut members = Members::new();
        self.scale.push(&mut members);
        members.push(("total", hex::encode(self.total).into()));
        members.push(("proof", hex::encode(self.proof).into()));
        object(members)
    }
}

/// `{name, commitment}` of every subject, in order.
fn commitments(node: &Node<'_>) -> Result<Vec<[u8; 32]>, FieldError> {
    let nodes = node.array(crate::values::SUBJECTS.len())?;
    if nodes.len() != crate::values::SUBJECTS.len() {
        return Err(node.error("must list every subject"));
    }
    let mut commitments = Vec::with_capacity(nodes.len());
    for (node, expected) in nodes.iter().zip(Subject::all()) {
        let mut fields = node.fields()?;
        let name = fields.required("name")?;
        if read::subject(&name)? != expected {
            return Err(name.error(format!("must be {}", expected.as_str())));
        }
        commitments.push(read::required(&mut fields, "commitment", Node::hex)?);
        fields.finish()?;
    }
    Ok(commitments)
}

/// Facts that are stated or left out: `true` is the only spelling.
fn only_true(node: &Node<'_>) -> Result<(), FieldError> {
    if node.boolean()? { Ok(()) } else { Err(node.error("must be true, or left out")) }
}

fn full_hour(node: &Node<'_>) -> Result<Timestamp, FieldError> {
    let time = read::time(node)?;
    if time.is_full_hour() { Ok(time) } else { Err(node.error("must be a full hour")) }
}
