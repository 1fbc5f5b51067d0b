//! What the terms of an agreement give away beyond what they say.

use std::collections::BTreeMap;

use crate::predicate::{Agreement, Audience, Bound, Risk, Stage, What};
use crate::values::{BaseField, ColumnName, Field};

/// Thresholds that leave fewer than this share of the scale open are a search for the total: one
/// twentieth.
const NARROW: u64 = 20;

/// Below so many items a count speaks about single ones.
const FEW_ITEMS: u64 = 50;

/// Something to think about before signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable, for machines.
    pub code: WarningCode,
    /// The rule, claim or member that it is about.
    pub about: String,
    /// What follows, and what could be done.
    pub message: String,
}

/// Kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningCode {
    /// Texts of items go to the peer or to everybody.
    ContentLeaves,
    /// A rule says that it touches no risk, and it does.
    RiskUnderstated,
    /// Claims that together nearly give the total.
    DenseClaims,
    /// A claim that gives the total itself.
    ExactClaim,
    /// Counts over so few items that they speak about single ones.
    SmallCounts,
    /// Most items would be opened.
    NearlyAll,
    /// The clock can be stopped by a party.
    ClockNotNeutral,
    /// Nobody can settle a dispute.
    NoAuditor,
    /// Who reveals first is not protected against the other's silence.
    NoEscrow,
    /// Something that may be revealed, but for which there may be no time.
    NoTimeForOptional,
    /// More than one run may be tried, and the best could be shown.
    RunsToChooseFrom,
}

impl WarningCode {
    /// The code's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentLeaves => "content.leaves",
            Self::RiskUnderstated => "risk.understated",
            Self::DenseClaims => "claims.dense",
            Self::ExactClaim => "claims.exact",
            Self::SmallCounts => "counts.small",
            Self::NearlyAll => "items.nearly_all",
            Self::ClockNotNeutral => "clock.not_neutral",
            Self::NoAuditor => "auditor.none",
            Self::NoEscrow => "escrow.none",
            Self::NoTimeForOptional => "reveal.optional",
            Self::RunsToChooseFrom => "runs.several",
        }
    }
}

pub(super) fn of(agreement: &Agreement) -> Vec<Warning> {
    let mut warnings = Vec::new();
    of_rules(agreement, &mut warnings);
    of_claims(agreement, &mut warnings);
    of_process(agreement, &mut warnings);
    warnings
}

fn warning(code: WarningCode, about: impl Into<String>, message: impl Into<String>) -> Warning {
    Warning { code, about: about.into(), message: message.into() }
}

/// Fields that are texts of the benchmark or of a model.
fn is_content(field: &Field) -> bool {
    !matches!(field, Field::Base(BaseField::Status) | Field::Score(_))
}

fn of_rules(agreement: &Agreement, warnings: &mut Vec<Warning>) {
    let items = agreement.evaluation.items;
    for rule in &agreement.disclosure {
        let about = format!("rule {}", rule.id);
        let leaves = rule.to == Audience::Peer || rule.to == Audience::Public;
        if let What::Field(field) = &rule.what
            && is_content(field)
            && leaves
        {
            warnings.push(warning(
                WarningCode::ContentLeaves,
                about.clone(),
                format!(
                    "gives the {field} of up to {} items away. Outputs and prompts can hold \
                     capability-relevant content; an auditor as the reader would do for checking",
                    rule.items
                ),
            ));
            if rule.risk == Risk::None {
                warnings.push(warning(
                    WarningCode::RiskUnderstated,
                    about.clone(),
                    format!("says risk = \"none\", and the {field} of an item is content"),
                ));
            }
        }
        if rule.what.is_of_items() && rule.items.saturating_mul(2) > items {
            warnings.push(warning(
                WarningCode::NearlyAll,
                about.clone(),
                format!("opens up to {} of {items} items: most of the record", rule.items),
            ));
        }
        let counts = matches!(rule.what, What::Counts | What::Flags);
        if counts && leaves && items < FEW_ITEMS {
            warnings.push(warning(
                WarningCode::SmallCounts,
                about.clone(),
                format!("with {items} items a count of one or two points at single items"),
            ));
        }
        let optional = rule.what.is_revealed() && !rule.owed && rule.from != Stage::Agreed;
        if optional {
            warnings.push(warning(
                WarningCode::NoTimeForOptional,
                about,
                "may be shown, but is not owed: once everything owed is shown, the next tick ends \
                 the time for it. Make it owed if you count on it",
            ));
        }
    }
}

fn of_claims(agreement: &Agreement, warnings: &mut Vec<Warning>) {
    let mut thresholds: BTreeMap<(&str, &ColumnName), Vec<u64>> = BTreeMap::new();
    for claim in &agreement.claims {
        let about = format!("claim {}", claim.id);
        let known = thresholds.entry((claim.by.as_str(), &claim.column)).or_default();
        match claim.bound {
            Bound::AtLeast { q } => known.push(q),
            Bound::AtMost { q } => known.push(q + 1),
            Bound::Between { p, q } => known.extend([p, q + 1]),
            Bound::Equals { q } => {
                let message = format!("shows to everybody that the total is {q}");
                warnings.push(warning(WarningCode::ExactClaim, about, message));
            }
            Bound::Equal => {
                let message = "shows each party the other's total";
                warnings.push(warning(WarningCode::ExactClaim, about, message));
            }
            Bound::DifferByAtMost { d } => {
                let largest = largest(agreement, &claim.column);
                if d.saturating_mul(2 * NARROW) < largest {
                    let message =
                        format!("each party learns the other's total to within ±{d} of {largest}");
                    warnings.push(warning(WarningCode::DenseClaims, about, message));
                }
            }
        }
    }
    for ((party, column), mut known) in thresholds {
        let largest = largest(agreement, column);
        known.sort_unstable();
        known.dedup();
        let narrow = known.windows(2).filter(|pair| (pair[1] - pair[0]) * NARROW < largest).count();
        if narrow > 0 {
            warnings.push(warning(
                WarningCode::DenseClaims,
                format!("claims of {party} about {column}"),
                format!(
                    "which of them are made and which are declined can place the total within \
                     less than a twentieth of the scale (thresholds {})",
                    known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                ),
            ));
        }
    }
}

fn largest(agreement: &Agreement, column: &ColumnName) -> u64 {
    let scale = agreement.evaluation.column(column);
    scale.map_or(0, |scale| agreement.evaluation.items * scale.max)
}

fn of_process(agreement: &Agreement, warnings: &mut Vec<Warning>) {
    if !super::has_neutral_clock(agreement) {
        warnings.push(warning(
            WarningCode::ClockNotNeutral,
            format!("clock {}", agreement.clock),
            "a party's own witness keeps the time and could stop it: a missed deadline names nobody",
        ));
    }
    if agreement.auditors.is_empty() {
        warnings.push(warning(
            WarningCode::NoAuditor,
            "auditors",
            "nobody can settle a dispute about an envelope that does not open: it stays contested",
        ));
    }
    let mutual = agreement.disclosure.iter().any(|rule| rule.what.is_revealed() && rule.owed);
    if mutual && agreement.escrow.is_none() {
        warnings.push(warning(
            WarningCode::NoEscrow,
            "escrow",
            "who reveals second can read and stay silent; the log names it, and that is all. With \
             an escrow an auditor releases what both have deposited",
        ));
    }
    if agreement.runs.budget > 1 {
        warnings.push(warning(
            WarningCode::RunsToChooseFrom,
            "runs",
            format!(
                "each side may run {} times; all runs are announced and stay visible, and the {} \
                 one counts",
                agreement.runs.budget, agreement.runs.counts
            ),
        ));
    }
}
