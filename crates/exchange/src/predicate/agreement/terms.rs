//! The parts of an agreement, except its rules: evaluation, runs, schedule, claims, audit, escrow.

use json::{FieldError, Node, Value, array, object};
use tlog::{Hash, KeyName};

use super::super::bound::Bound;
use super::super::disclosure::MAX_SAMPLE;
use super::super::parts::{Members, Program, Scale, spelled, text};
use crate::read;
use crate::reason::{Reason, Refusal};
use crate::time::Timestamp;
use crate::values::{ColumnName, Word};

/// What is evaluated, and on which scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// Root over tags and epochs of the agreed items.
    pub items_root: Hash,
    /// Rows times epochs, 1 to 2^20.
    pub items: u64,
    /// How often each row is run, at least 1; divides `items`.
    pub epochs: u64,
    /// Commitment to the item key.
    pub item_key: Hash,
    /// Commitment to the elicitation, under the item key.
    pub elicitation: Hash,
    /// The program that both run.
    pub harness: Program,
    /// 1 to 64 score columns.
    pub columns: Vec<Scale>,
}

/// A benchmark, in the clear or committed to under the item key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Benchmark {
    /// Everyone may know. The form is that of a column's name.
    Name(ColumnName),
    /// Only those with the item key can check it.
    Commitment(Hash),
}

impl Terms {
    /// The scale of a column.
    pub fn column(&self, name: &ColumnName) -> Option<&Scale> {
        self.columns.iter().find(|scale| scale.name == *name)
    }

    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let terms = Self {
            benchmark: read::required(&mut fields, "benchmark", Benchmark::read)?,
            items_root: read::required(&mut fields, "items_root", read::hash)?,
            items: read::required(&mut fields, "items", |n| read::number(n, 1, read::MAX_ITEMS))?,
            epochs: read::required(&mut fields, "epochs", |n| read::number(n, 1, read::MAX_ITEMS))?,
            item_key: read::required(&mut fields, "item_key", read::hash)?,
            elicitation: read::required(&mut fields, "elicitation", read::hash)?,
            harness: read::required(&mut fields, "harness", Program::read)?,
            columns: read::required(&mut fields, "columns", |node| {
                read::keyed_list(node, 1, 64, Scale::read, |scale| &scale.name)
            })?,
        };
        fields.finish()?;
        Ok(terms)
    }

    pub(crate) fn to_value(&self) -> Value {
        let columns = self.columns.iter().map(|scale| {
            let mut members = Members::new();
            scale.push(&mut members);
            object(members)
        });
        object([
            ("benchmark", self.benchmark.to_value()),
            ("items_root", text(self.items_root)),
            ("items", self.items.into()),
            ("epochs", self.epochs.into()),
            ("item_key", text(self.item_key)),
            ("elicitation", text(self.elicitation)),
            ("harness", self.harness.to_value()),
            ("columns", array(columns)),
        ])
    }
}

impl Benchmark {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let benchmark = match (fields.optional("name"), fields.optional("commitment")) {
            (Some(node), None) => Self::Name(read::column(&node)?),
            (None, Some(node)) => Self::Commitment(read::hash(&node)?),
            _ => return Err(fields.error("must have exactly one of name and commitment")),
        };
        fields.finish()?;
        Ok(benchmark)
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Name(name) => object([("name", text(name))]),
            Self::Commitment(commitment) => object([("commitment", text(commitment))]),
        }
    }
}

/// How often each party may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Intents of each party, 1 to 1,000.
    pub budget: u64,
    /// Which run counts.
    pub counts: Counts,
}

spelled! {
    /// Which of a party's valid evaluations counts.
    Counts {
        /// The first.
        First = "first",
        /// The last.
        Last = "last",
    }
}

impl Runs {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let runs = Self {
            budget: read::required(&mut fields, "budget", |n| read::number(n, 1, 1000))?,
            counts: read::required(&mut fields, "counts", read::spelled)?,
        };
        fields.finish()?;
        Ok(runs)
    }

    pub(crate) fn to_value(self) -> Value {
        object([("budget", self.budget.into()), ("counts", text(self.counts))])
    }
}

/// The deadlines of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Until when the other party may accept.
    pub accept_by: Timestamp,
    /// Until when both commit.
    pub commit_by: Timestamp,
    /// Until when both reveal and claim.
    pub reveal_by: Timestamp,
    /// Until when audits end; only with an audit.
    pub audit_by: Option<Timestamp>,
    /// Seconds that each answer may take, 60 to 31,536,000.
    pub step: u64,
}

/// 365 days.
const LONGEST_STEP: u64 = 31_536_000;

impl Schedule {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let schedule = Self {
            accept_by: read::required(&mut fields, "accept_by", read::time)?,
            commit_by: read::required(&mut fields, "commit_by", read::time)?,
            reveal_by: read::required(&mut fields, "reveal_by", read::time)?,
            audit_by: read::optional(&mut fields, "audit_by", read::time)?,
            step: read::required(&mut fields, "step", |n| read::number(n, 60, LONGEST_STEP))?,
        };
        fields.finish()?;
        Ok(schedule)
    }

    pub(crate) fn to_value(self) -> Value {
        let mut members = Members::new();
        members.push(("accept_by", text(self.accept_by)));
        members.push(("commit_by", text(self.commit_by)));
        members.push(("reveal_by", text(self.reveal_by)));
        if let Some(audit_by) = self.audit_by {
            members.push(("audit_by", text(audit_by)));
        }
        members.push(("step", self.step.into()));
        object(members)
    }

    /// The deadlines come one after the other.
    pub(crate) fn check(&self, pointer: &str) -> Result<(), Refusal> {
        let audit_is_last = self.audit_by.is_none_or(|audit_by| self.reveal_by < audit_by);
        if self.accept_by < self.commit_by && self.commit_by < self.reveal_by && audit_is_last {
            return Ok(());
        }
        let message = "accept_by, commit_by, reveal_by and audit_by must follow each other";
        Err(Refusal::new(Reason::BadAgreement, message).at(pointer))
    }
}

/// A claim to be made, fixed before any run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedClaim {
    /// Its name in this agreement.
    pub id: Word,
    /// What it says.
    pub bound: Bound,
    /// About which column.
    pub column: ColumnName,
    /// Who proves it.
    pub by: KeyName,
}

impl AgreedClaim {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let id = read::required(&mut fields, "id", read::word)?;
        let (bound, column) = Bound::take(&mut fields)?;
        let by = read::required(&mut fields, "by", read::name)?;
        fields.finish()?;
        Ok(Self { id, bound, column, by })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut members = Members::new();
        members.push(("id", text(&self.id)));
        self.bound.push(&self.column, &mut members);
        members.push(("by", text(&self.by)));
        object(members)
    }
}

/// How records are audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlan {
    /// Who audits.
    pub auditor: KeyName,
    /// Which column.
    pub column: ColumnName,
    /// Which error is looked for.
    pub direction: AuditDirection,
    /// Error of the mean, as a share of the maximum, that would matter: between 0 and 1.
    pub delta: Fraction,
    /// Risk of missing it: between 0 and 1.
    pub alpha: Fraction,
    /// Bet of the test: above 0, at most 1.
    pub gamma: Fraction,
    /// First sample, at least 1.
    pub first: u64,
    /// Largest sample, at most 2,048.
    pub largest: u64,
    /// Audits of one record, 1 to 1,000.
    pub attempts: u64,
}

spelled! {
    /// Which error an audit looks for.
    AuditDirection {
        /// Scores are too high.
        Inflated = "inflated",
        /// Scores are too low.
        Deflated = "deflated",
    }
}

/// A positive rational number of at most 1, exact: no float decides a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
}

impl Fraction {
    /// Takes 0 < numerator ≤ denominator < 2^53.
    pub fn new(numerator: u64, denominator: u64) -> Option<Self> {
        let positive = 0 < numerator && numerator <= denominator && denominator < 1 << 53;
        positive.then_some(Self { numerator, denominator })
    }

    /// Above the line.
    pub const fn numerator(self) -> u64 {
        self.numerator
    }

    /// Below the line.
    pub const fn denominator(self) -> u64 {
        self.denominator
    }

    /// True for 1.
    pub const fn is_one(self) -> bool {
        self.numerator == self.denominator
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let parts = node.array(2)?;
        let wrong = || node.error("must be [numerator, denominator], above 0 and at most 1");
        let [numerator, denominator] = parts.as_slice() else { return Err(wrong()) };
        Self::new(numerator.uint()?, denominator.uint()?).ok_or_else(wrong)
    }

    fn read_below_one(node: &Node<'_>) -> Result<Self, FieldError> {
        let fraction = Self::read(node)?;
        if fraction.is_one() { Err(node.error("must be below 1")) } else { Ok(fraction) }
    }

    fn to_value(self) -> Value {
        array([self.numerator, self.denominator])
    }
}

impl AuditPlan {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut members = node.fields()?;
        let fields = &mut members;
        let sample = |n: &Node<'_>| read::number(n, 1, MAX_SAMPLE);
        let plan = Self {
            auditor: read::required(fields, "auditor", read::name)?,
            column: read::required(fields, "column", read::column)?,
            direction: read::required(fields, "direction", read::spelled)?,
            delta: read::required(fields, "delta", Fraction::read_below_one)?,
            alpha: read::required(fields, "alpha", Fraction::read_below_one)?,
            gamma: read::required(fields, "gamma", Fraction::read)?,
            first: read::required(fields, "first", sample)?,
            largest: read::required(fields, "largest", sample)?,
            attempts: read::required(fields, "attempts", |n| read::number(n, 1, 1000))?,
        };
        members.finish()?;
        Ok(plan)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([
            ("auditor", text(&self.auditor)),
            ("column", text(&self.column)),
            ("direction", text(self.direction)),
            ("delta", self.delta.to_value()),
            ("alpha", self.alpha.to_value()),
            ("gamma", self.gamma.to_value()),
            ("first", self.first.into()),
            ("largest", self.largest.into()),
            ("attempts", self.attempts.into()),
        ])
    }
}

/// Reveals that are deposited with an auditor together with the evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escrow {
    /// Who keeps and releases them.
    pub auditor: KeyName,
    /// The rules whose disclosures the envelope must hold, 1 to 64.
    pub rules: Vec<Word>,
}

impl Escrow {
    pub(crate) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let escrow = Self {
            auditor: read::required(&mut fields, "auditor", read::name)?,
            rules: read::required(&mut fields, "rules", |n| read::list(n, 1, 64, read::word))?,
        };
        fields.finish()?;
        Ok(escrow)
    }

    pub(crate) fn to_value(&self) -> Value {
        object([("auditor", text(&self.auditor)), ("rules", array(self.rules.iter().map(text)))])
    }
}
