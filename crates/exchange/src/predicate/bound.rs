//! What claims say: bounds on the total of a column, or on how far two totals are apart.

use json::FieldError;

use super::parts::{Members, spelled, text};
use crate::read;
use crate::values::ColumnName;

spelled! {
    /// What a claim says about a column's total, or about two of them.
    ClaimKind {
        /// The total is at least q.
        AtLeast = "at_least",
        /// The total is at most q.
        AtMost = "at_most",
        /// The total is from p to q.
        Between = "between",
        /// The total is q.
        Equals = "equals",
        /// Two totals differ by at most d.
        DifferByAtMost = "differ_by_at_most",
        /// Two totals are equal.
        Equal = "equal",
    }
}

/// What a claim says, with its numbers on the scale of the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "p, q and d are the letters of the protocol")]
pub enum Bound {
    AtLeast { q: u64 },
    AtMost { q: u64 },
    Between { p: u64, q: u64 },
    Equals { q: u64 },
    DifferByAtMost { d: u64 },
    Equal,
}

impl Bound {
    /// Which of the six kinds.
    pub const fn kind(self) -> ClaimKind {
        match self {
            Self::AtLeast { .. } => ClaimKind::AtLeast,
            Self::AtMost { .. } => ClaimKind::AtMost,
            Self::Between { .. } => ClaimKind::Between,
            Self::Equals { .. } => ClaimKind::Equals,
            Self::DifferByAtMost { .. } => ClaimKind::DifferByAtMost,
            Self::Equal => ClaimKind::Equal,
        }
    }

    /// Records that the claim is about: 1, or 2 for a difference.
    pub const fn records(self) -> usize {
        if self.is_difference() { 2 } else { 1 }
    }

    /// True for claims about two records.
    pub const fn is_difference(self) -> bool {
        matches!(self, Self::DifferByAtMost { .. } | Self::Equal)
    }

    /// Range proofs in the claim's proof: one for each side that is bounded.
    pub const fn forms(self) -> u64 {
        match self {
            Self::AtLeast { .. } | Self::AtMost { .. } => 1,
            _ => 2,
        }
    }

    /// True if p ≤ q and no number is beyond the largest total, `largest` = items × max.
    pub fn is_possible(self, largest: u64) -> bool {
        match self {
            Self::AtLeast { q } | Self::AtMost { q } | Self::Equals { q } => q <= largest,
            Self::Between { p, q } => p <= q && q <= largest,
            Self::DifferByAtMost { d } => d <= largest,
            Self::Equal => true,
        }
    }

    /// Takes `kind`, `column` and the numbers that the kind has.
    pub(crate) fn take(fields: &mut json::Fields<'_>) -> Result<(Self, ColumnName), FieldError> {
        let kind = read::required(fields, "kind", read::spelled)?;
        let column = read::required(fields, "column", read::column)?;
        let mut number = |name: &'static str| fields.required(name)?.uint();
        let bound = match kind {
            ClaimKind::AtLeast => Self::AtLeast { q: number("q")? },
            ClaimKind::AtMost => Self::AtMost { q: number("q")? },
            ClaimKind::Between => Self::Between { p: number("p")?, q: number("q")? },
            ClaimKind::Equals => Self::Equals { q: number("q")? },
            ClaimKind::DifferByAtMost => Self::DifferByAtMost { d: number("d")? },
            ClaimKind::Equal => Self::Equal,
        };
        Ok((bound, column))
    }

    pub(crate) fn push(self, column: &ColumnName, members: &mut Members) {
        members.push(("kind", text(self.kind())));
        members.push(("column", text(column)));
        match self {
            Self::AtLeast { q } | Self::AtMost { q } | Self::Equals { q } => {
                members.push(("q", q.into()));
            }
            Self::Between { p, q } => {
                members.push(("p", p.into()));
                members.push(("q", q.into()));
            }
            Self::DifferByAtMost { d } => members.push(("d", d.into())),
            Self::Equal => {}
        }
    }
}
