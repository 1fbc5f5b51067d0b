//! What the log shows of a record: the members of an `evaluation` statement that come from it
//! (`docs/protocol.md`, "Statements").

use json::{FieldError, Fields, Node, Value, array, object};
use tlog::Hash;

use crate::column::{Column, Layout, LayoutError, MAX_COLUMNS};
use crate::context::Context;
use crate::subject::{self, SUBJECTS};
use crate::total::{TotalProof, TotalStatement};

/// One column of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderColumn {
    /// The agreed scale.
    pub column: Column,
    /// T, as bytes that may or may not be a point.
    pub total: [u8; 32],
    /// That the party knows how T opens; unchecked until the vector is.
    pub proof: TotalProof,
}

/// A header within its limits. What it says is the party's word until
/// [`verify_vector`](crate::vector::verify_vector) has checked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    layout: Layout,
    items_root: Hash,
    record_root: Hash,
    vector: Hash,
    columns: Vec<HeaderColumn>,
    subjects: Vec<Hash>,
}

/// Why the members are no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// `BAD_FIELD`: a member is absent or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// `LIMIT_EXCEEDED`: items and columns are beyond what claims can be proved about.
    #[error(transparent)]
    Limit(LayoutError),
}

impl Header {
    pub(crate) fn new(
        layout: Layout,
        items_root: Hash,
        record_root: Hash,
        vector: Hash,
        columns: Vec<HeaderColumn>,
        subjects: Vec<Hash>,
    ) -> Self {
        Self { layout, items_root, record_root, vector, columns, subjects }
    }

    /// A header from what a statement says. Subjects are in the order of [`SUBJECTS`].
    pub fn from_parts(
        items: u64,
        [items_root, record_root, vector]: [Hash; 3],
        columns: Vec<HeaderColumn>,
        subjects: [Hash; SUBJECTS.len()],
    ) -> Result<Self, LayoutError> {
        let scales = columns.iter().map(|column| column.column.clone()).collect();
        let layout = Layout::new(items, scales)?;
        Ok(Self::new(layout, items_root, record_root, vector, columns, subjects.to_vec()))
    }

    /// Reads the members `items`, `items_root`, `record_root`, `vector`, `fields`, `columns` and
    /// `subjects`; the caller goes on with the rest. Fields must be exactly those that follow from
    /// the columns, subjects exactly those of [`SUBJECTS`].
    pub fn from_fields(fields: &mut Fields<'_>) -> Result<Self, HeaderError> {
        let items = fields.required("items")?.uint()?;
        let items_root = Hash::new(fields.required("items_root")?.hex()?);
        let record_root = Hash::new(fields.required("record_root")?.hex()?);
        let vector = Hash::new(fields.required("vector")?.hex()?);
        let names_node = fields.required("fields")?;
        let columns_node = fields.required("columns")?;
        let subjects_node = fields.required("subjects")?;

        let mut columns = Vec::new();
        for node in columns_node.array(MAX_COLUMNS)? {
            columns.push(read_column(&node)?);
        }
        let scales = columns.iter().map(|c| c.column.clone()).collect();
        let layout = Layout::new(items, scales).map_err(HeaderError::Limit)?;

        let names = names_node.array(layout.fields().len())?;
        for (node, expected) in names.iter().zip(layout.fields()) {
            if node.text(256)? != expected {
                return Err(node.error(format!("must be {expected:?}")).into());
            }
        }
        if names.len() != layout.fields().len() {
            let missing = &layout.fields()[names.len()];
            return Err(names_node.error(format!("lacks {missing:?}")).into());
        }
        let subjects = read_subjects(&subjects_node)?;
        Ok(Self { layout, items_root, record_root, vector, columns, subjects })
    }

    /// The members that [`from_fields`](Self::from_fields) reads, in that order.
    pub fn members(&self) -> Vec<(&'static str, Value)> {
        let columns = self.columns.iter().map(|column| {
            let mut members = column.column.members();
            members.push(("total", hex::encode(column.total).into()));
            members.push(("proof", hex::encode(column.proof.as_bytes()).into()));
            object(members)
        });
        let subjects = SUBJECTS.iter().zip(&self.subjects).map(|(name, commitment)| {
            object([("name", Value::from(*name)), ("commitment", commitment.to_string().into())])
        });
        vec![
            ("items", self.layout.items().into()),
            ("items_root", self.items_root.to_string().into()),
            ("record_root", self.record_root.to_string().into()),
            ("vector", self.vector.to_string().into()),
            ("fields", array(self.layout.fields().iter().map(String::as_str))),
            ("columns", array(columns)),
            ("subjects", array(subjects)),
        ]
    }

    /// Items, columns and fields.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Root over `tag ‖ epoch`; the reader compares it with the agreement's.
    pub fn items_root(&self) -> &Hash {
        &self.items_root
    }

    /// Root over the record's leaves.
    pub fn record_root(&self) -> &Hash {
        &self.record_root
    }

    /// SHA-256 of the commitment vector.
    pub fn vector(&self) -> &Hash {
        &self.vector
    }

    /// Columns with totals and proofs.
    pub fn columns(&self) -> &[HeaderColumn] {
        &self.columns
    }

    /// Commitments to the subjects, in the order of [`SUBJECTS`].
    pub fn subjects(&self) -> &[Hash] {
        &self.subjects
    }

    /// The commitment to the subject of this name.
    pub fn subject(&self, name: &str) -> Option<&Hash> {
        self.subjects.get(subject::subject(name)?)
    }

    /// What the proof of this column's total is about.
    pub fn total_statement<'a>(
        &'a self,
        context: &'a Context,
        column: &'a HeaderColumn,
    ) -> TotalStatement<'a> {
        TotalStatement {
            context,
            column: &column.column,
            items: self.layout.items(),
            record_root: &self.record_root,
            vector: &self.vector,
            total: &column.total,
        }
    }
}

fn read_column(node: &Node<'_>) -> Result<HeaderColumn, FieldError> {
    let mut fields = node.fields()?;
    let column = Column::from_fields(&mut fields)?;
    let total = fields.required("total")?.hex()?;
    let proof = TotalProof::new(fields.required("proof")?.hex()?);
    fields.finish()?;
    Ok(HeaderColumn { column, total, proof })
}

fn read_subjects(list: &Node<'_>) -> Result<Vec<Hash>, FieldError> {
    let nodes = list.array(SUBJECTS.len())?;
    if nodes.len() != SUBJECTS.len() {
        return Err(list.error(format!("must have {} elements", SUBJECTS.len())));
    }
    let mut subjects = Vec::with_capacity(nodes.len());
    for (node, expected) in nodes.iter().zip(SUBJECTS) {
        let mut fields = node.fields()?;
        let name = fields.required("name")?;
        if name.text(64)? != expected {
            return Err(name.error(format!("must be {expected:?}")));
        }
        subjects.push(Hash::new(fields.required("commitment")?.hex()?));
        fields.finish()?;
    }
    Ok(subjects)
}
