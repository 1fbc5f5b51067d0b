//! Making a record: one pass over the items in agreed order (`docs/protocol.md`, "Record").
//!
//! Items come one at a time and are forgotten once committed. What stays is the commitment vector,
//! 32·(1 + M) bytes for each item, and running totals: a log of any size can be streamed through.

use std::mem;

use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use tlog::{CompactRange, Hash};
use zeroize::Zeroizing;

pub use crate::cells::{Graded, grade};
use crate::cells::{Prepared, field_commitment, item_hash, prepare, record_leaf, value_bytes};
use crate::column::{Column, Layout, LayoutError, SCORES, ScoreError};
use crate::context::Context;
use crate::group::{Blind, commit};
use crate::header::{Header, HeaderColumn};
use crate::items::AgreedItems;
use crate::redacted;
use crate::secret::{FieldKey, RecordSecret};
use crate::subject::{self, Counts, FIRST_COUNT, FIRST_FLAG, Flag, Flags, SUBJECTS, Status};
use crate::total::{TotalOpening, TotalStatement};

/// Items that are committed in parallel before the next ones are taken: enough that threads don't
/// wait for each other, some 40 ms of work.
const CHUNK_ITEMS: usize = 1024;

/// 16 MiB: what the texts of such a chunk may take before it is closed early.
const CHUNK_BYTES: usize = 16 << 20;

/// What a log says about one item. Absent texts are committed too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ItemValues {
    /// The item was declared invalid.
    pub invalidated: bool,
    /// The run of the item failed.
    pub errored: bool,
    /// A limit stopped the item.
    pub limited: bool,
    /// The prompt as rendered, choices included.
    pub input: Option<String>,
    /// The target as the log has it.
    pub target: Option<String>,
    /// What the model answered.
    pub output: Option<String>,
    /// Why the scorer scored as it did.
    pub explanation: Option<String>,
    /// Structured values, in the bytes that the importer defines.
    pub metadata: Option<String>,
    /// One for each column: the raw score as the log spells it (`1`, `0.50`, `C`, `NaN`), or
    /// nothing.
    pub scores: Vec<Option<String>>,
}

redacted!(ItemValues Record);

impl ItemValues {
    fn text_bytes(&self) -> usize {
        let texts = [&self.input, &self.target, &self.output, &self.explanation, &self.metadata];
        texts.into_iter().chain(&self.scores).flatten().map(String::len).sum()
    }
}

/// What a record says beside its items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// The model, in the party's words.
    pub model: Option<String>,
    /// How the model was elicited.
    pub elicitation: Option<String>,
    /// Where it ran.
    pub environment: Option<String>,
    /// SHA-256 of the log's bytes.
    pub source: Option<Hash>,
    /// What the importer noticed. Those that the record counts itself must be 0 here.
    pub flags: Flags,
}

/// Why a record can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Items or columns are beyond the limits.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An item has too few or too many scores.
    #[error("item {index} has {found} scores for {columns} columns")]
    Scores {
        /// Index of the item.
        index: u64,
        /// Scores it has.
        found: usize,
        /// Columns there are.
        columns: usize,
    },
    /// A score is not on its scale.
    #[error("item {index}, column {column:?}: {source}")]
    Score {
        /// Index of the item.
        index: u64,
        /// Name of the column.
        column: String,
        /// What is wrong with the score.
        source: ScoreError,
    },
    /// More items came than are agreed.
    #[error("there are only {items} agreed items")]
    TooMany {
        /// Agreed items.
        items: u64,
    },
    /// Fewer items came than are agreed; those that the log lacks are pushed as `None`.
    #[error("{pushed} of {items} agreed items came")]
    TooFew {
        /// Items that came.
        pushed: u64,
        /// Agreed items.
        items: u64,
    },
    /// The importer gave a flag that the record counts itself.
    #[error("the flag {} is counted by the record", .0.code())]
    CountedFlag(Flag),
    /// An earlier item was refused; nothing follows from a record without it.
    #[error("an earlier item was refused")]
    Poisoned,
}

/// Takes the items in agreed order, one at a time, and commits to them.
pub struct RecordBuilder<'a> {
    committer: Committer<'a>,
    secret: &'a RecordSecret,
    progress: Option<&'a dyn Fn(u64)>,
    waiting: Vec<Option<ItemValues>>,
    waiting_bytes: usize,
    done: u64,
    poisoned: bool,
    vector: Vec<u8>,
    leaves: CompactRange,
    sums: Zeroizing<Vec<u64>>,
    blinds: Zeroizing<Vec<Scalar>>,
    counts: Counts,
    inexact: u64,
}

/// What every item needs to be committed, shared by threads.
struct Committer<'a> {
    context: &'a Context,
    agreed: &'a AgreedItems,
    layout: Layout,
    keys: Vec<FieldKey>,
}

/// One item after commitment.
struct Committed {
    status: Status,
    inexact: u64,
    entry: Vec<u8>,
    leaf: Hash,
    integers: Zeroizing<Vec<u64>>,
    blinds: Vec<Blind>,
}

impl<'a> RecordBuilder<'a> {
    /// A record of these agreed items under these columns. `secret` must be fresh.
    pub fn new(
        context: &'a Context,
        secret: &'a RecordSecret,
        items: &'a AgreedItems,
        columns: Vec<Column>,
    ) -> Result<Self, CommitError> {
        let layout = Layout::new(items.count(), columns)?;
        let keys = layout.fields().iter().map(|field| secret.field_key(field)).collect();
        let capacity = usize::try_from(layout.vector_length()).unwrap_or(0);
        let columns = layout.columns().len();
        Ok(Self {
            committer: Committer { context, agreed: items, layout, keys },
            secret,
            progress: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            done: 0,
            poisoned: false,
            vector: Vec::with_capacity(capacity),
            leaves: CompactRange::new(),
            sums: Zeroizing::new(vec![0; columns]),
            blinds: Zeroizing::new(vec![Scalar::ZERO; columns]),
            counts: Counts::default(),
            inexact: 0,
        })
    }

    /// Calls `progress` with the number of items committed so far, about once a thousand items, on
    /// the thread that pushes.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a dyn Fn(u64)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// The next item in agreed order; `None` if the log lacks it. Since items are committed many
    /// at a time, an error may be about an earlier one, which it names; no record follows then.
    pub fn push(&mut self, values: Option<ItemValues>) -> Result<(), CommitError> {
        if self.poisoned {
            return Err(CommitError::Poisoned);
        }
        let items = self.committer.agreed.count();
        if self.done + self.waiting.len() as u64 >= items {
            return Err(CommitError::TooMany { items });
        }
        self.waiting_bytes += values.as_ref().map_or(0, ItemValues::text_bytes);
        self.waiting.push(values);
        if self.waiting.len() >= CHUNK_ITEMS || self.waiting_bytes >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// All items at once, in agreed order.
    pub fn extend(
        &mut self,
        items: impl IntoIterator<Item = Option<ItemValues>>,
    ) -> Result<(), CommitError> {
        items.into_iter().try_for_each(|item| self.push(item))
    }

    /// The record. `entropy` makes the nonces of its proofs fresh: 32 bytes from the system.
    pub fn finish(mut self, declared: Declared, entropy: &[u8; 32]) -> Result<Record, CommitError> {
        if self.poisoned {
            return Err(CommitError::Poisoned);
        }
        if let Some(flag) = Flag::ALL.into_iter().find(|f| f.counted() && declared.flags.of(*f) > 0)
        {
            return Err(CommitError::CountedFlag(flag));
        }
        self.flush()?;
        if self.done != self.committer.agreed.count() {
            let (pushed, items) = (self.done, self.committer.agreed.count());
            return Err(CommitError::TooFew { pushed, items });
        }

        let flags = self.flags(&declared);
        let Committer { context, agreed, layout, .. } = self.committer;
        let record_root = self.leaves.root();
        let digest = Hash::of(&[&self.vector]);
        let mut columns = Vec::with_capacity(self.sums.len());
        let mut totals = Vec::with_capacity(self.sums.len());
        let parts = self.sums.iter().zip(self.blinds.iter());
        for (column, (sum, blind)) in layout.columns().iter().zip(parts) {
            let opening = TotalOpening::new(*sum, Blind(*blind));
            let total = opening.commitment();
            let statement = TotalStatement {
                context,
                column,
                items: layout.items(),
                record_root: &record_root,
                vector: &digest,
                total: &total,
            };
            let proof = statement.prove(self.secret, entropy, &opening);
            columns.push(HeaderColumn { column: column.clone(), total, proof });
            totals.push(opening);
        }

        let values = subject_values(&declared, &self.counts, &flags);
        let subjects = SUBJECTS.iter().zip(&values).map(|(name, value)| {
            let bytes = value_bytes(value.as_deref().map(str::as_bytes));
            subject::commitment(context, name, &self.secret.subject_salt(name), &bytes)
        });
        let subjects: Vec<Hash> = subjects.collect();
        let header = Header::new(layout, agreed.root(), record_root, digest, columns, subjects);
        Ok(Record { header, vector: self.vector, totals, counts: self.counts, flags, values })
    }

    fn flags(&self, declared: &Declared) -> Flags {
        let mut flags = declared.flags;
        flags.set(Flag::ItemsErrored, self.counts.of(Status::Errored));
        flags.set(Flag::ItemsLimited, self.counts.of(Status::Limited));
        flags.set(Flag::ItemsMissing, self.counts.of(Status::Missing));
        flags.set(Flag::ItemsUnscored, self.counts.of(Status::Unscored));
        flags.set(Flag::ScoresInexact, self.inexact);
        flags
    }

    fn flush(&mut self) -> Result<(), CommitError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.poisoned = true;
        let waiting = mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let first = self.done;
        let committer = &self.committer;
        let committed: Vec<Result<Committed, CommitError>> = waiting
            .par_iter()
            .enumerate()
            .map(|(at, values)| committer.commit_one(first + at as u64, values.as_ref()))
            .collect();
        for item in committed {
            let item = item?;
            self.vector.extend_from_slice(&item.entry);
            self.leaves.append(item.leaf);
            for (sum, integer) in self.sums.iter_mut().zip(item.integers.iter()) {
                *sum += integer;
            }
            for (sum, blind) in self.blinds.iter_mut().zip(&item.blinds) {
                *sum += blind.0;
            }
            self.counts.add(item.status);
            self.inexact += item.inexact;
            self.done += 1;
        }
        self.poisoned = false;
        if let Some(progress) = self.progress {
            progress(self.done);
        }
        Ok(())
    }
}

impl Committer<'_> {
    fn commit_one(
        &self,
        index: u64,
        values: Option<&ItemValues>,
    ) -> Result<Committed, CommitError> {
        let place = usize::try_from(index).expect("there are at most 2^20 items");
        let agreed = &self.agreed.items()[place];
        let Prepared { status, integers, inexact, values } =
            prepare(&self.layout, index, agreed, values)?;
        let fields: Vec<Hash> =
            field_commitments(self.context, &self.layout, &self.keys, index, &values);
        let mut entry = Vec::with_capacity(self.layout.stride());
        entry.extend_from_slice(item_hash(self.context, index, &fields).as_bytes());
        let mut blinds = Vec::with_capacity(integers.len());
        for (integer, key) in integers.iter().zip(&self.keys[SCORES..]) {
            let blind = key.blind(index);
            entry.extend_from_slice(commit(*integer, &blind).compress().as_bytes());
            blinds.push(blind);
        }
        let leaf = record_leaf(&entry);
        Ok(Committed { status, inexact, entry, leaf, integers: Zeroizing::new(integers), blinds })
    }
}

/// c of every field of one item.
pub(crate) fn field_commitments(
    context: &Context,
    layout: &Layout,
    keys: &[FieldKey],
    index: u64,
    values: &[Vec<u8>],
) -> Vec<Hash> {
    layout
        .fields()
        .iter()
        .zip(keys)
        .zip(values)
        .map(|((field, key), value)| {
            field_commitment(context, index, field, &key.salt(index), value)
        })
        .collect()
}

/// Values of [`SUBJECTS`], in order.
fn subject_values(declared: &Declared, counts: &Counts, flags: &Flags) -> Vec<Option<String>> {
    let mut values = vec![
        declared.model.clone(),
        declared.elicitation.clone(),
        declared.environment.clone(),
        declared.source.map(|digest| digest.to_string()),
    ];
    debug_assert_eq!(values.len(), FIRST_COUNT);
    values.extend(Status::ALL.map(|status| Some(counts.of(status).to_string())));
    debug_assert_eq!(values.len(), FIRST_FLAG);
    values.extend(Flag::ALL.map(|flag| Some(flags.of(flag).to_string())));
    values
}

/// A finished record: what the log shows, and what its party keeps.
pub struct Record {
    header: Header,
    vector: Vec<u8>,
    totals: Vec<TotalOpening>,
    counts: Counts,
    flags: Flags,
    values: Vec<Option<String>>,
}

impl Record {
    /// What goes into the `evaluation` statement.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The commitment vector, an artifact that may be public.
    pub fn vector(&self) -> &[u8] {
        &self.vector
    }

    /// Openings of the totals, one for each column; secret.
    pub fn totals(&self) -> &[TotalOpening] {
        &self.totals
    }

    /// How many items have each status; secret until opened.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All flags, counted ones included; secret until opened.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// Values of the subjects in the order of [`SUBJECTS`]; secret until opened.
    pub fn subject_values(&self) -> &[Option<String>] {
        &self.values
    }
}
