//! The tables of a draft.

use serde::Deserialize;
use tlog::KeyName;
use toml::Spanned;

use super::{Draft, DraftError};
use crate::predicate::{
    AgreedClaim, Audience, AuditDirection, AuditPlan, Author, Bound, Direction, Escrow, Fraction,
    Risk, Rule, Scale, Schedule, Stage, What,
};
use crate::time::Timestamp;
use crate::values::{ColumnName, Word};

type Text = Spanned<String>;

fn word(draft: &Draft, text: &Text, field: &str) -> Result<Word, DraftError> {
    Word::parse(text.get_ref()).map_err(|error| draft.error(text.span(), field, error))
}

fn column(draft: &Draft, text: &Text, field: &str) -> Result<ColumnName, DraftError> {
    ColumnName::parse(text.get_ref()).map_err(|error| draft.error(text.span(), field, error))
}

fn name(draft: &Draft, text: &Text, field: &str) -> Result<KeyName, DraftError> {
    KeyName::parse(text.get_ref()).map_err(|error| draft.error(text.span(), field, error))
}

/// One of some words.
fn choice<T: Copy>(
    draft: &Draft,
    text: &Text,
    field: &str,
    choices: &[(&str, T)],
) -> Result<T, DraftError> {
    match choices.iter().find(|(word, _)| word == text.get_ref()) {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let problem = format!("must be one of {}", words.join(", "));
            Err(draft.error(text.span(), field, problem))
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnDraft {
    name: Text,
    max: u64,
    #[serde(default = "super::one")]
    raw_max: u64,
    #[serde(default)]
    better: Option<Text>,
}

impl ColumnDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<Scale, DraftError> {
        let better = match &self.better {
            Some(text) => {
                let choices = [("higher", Direction::Higher), ("lower", Direction::Lower)];
                choice(draft, text, "evaluation.column.better", &choices)?
            }
            None => Direction::Higher,
        };
        let name = column(draft, &self.name, "evaluation.column.name")?;
        Ok(Scale { name, max: self.max, raw_max: self.raw_max, better })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleDraft {
    accept_by: Text,
    commit_by: Text,
    reveal_by: Text,
    audit_by: Option<Text>,
    step: Text,
}

impl ScheduleDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<Schedule, DraftError> {
        let time = |text: &Text, field: &str| {
            Timestamp::parse(text.get_ref()).map_err(|error| draft.error(text.span(), field, error))
        };
        let audit_by = self.audit_by.as_ref().map(|text| time(text, "schedule.audit_by"));
        Ok(Schedule {
            accept_by: time(&self.accept_by, "schedule.accept_by")?,
            commit_by: time(&self.commit_by, "schedule.commit_by")?,
            reveal_by: time(&self.reveal_by, "schedule.reveal_by")?,
            audit_by: audit_by.transpose()?,
            step: seconds(&self.step)
                .map_err(|problem| draft.error(self.step.span(), "schedule.step", problem))?,
        })
    }
}

/// A number with one unit: s, m, h or d.
fn seconds(text: &Text) -> Result<u64, &'static str> {
    const WRONG: &str = "must be a time such as \"90s\", \"30m\", \"12h\" or \"1d\"";
    let text = text.get_ref();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WRONG)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(WRONG),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WRONG);
    }
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or(WRONG)
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleDraft {
    id: Text,
    what: Text,
    #[serde(default)]
    by: Option<Text>,
    to: Text,
    from: Text,
    #[serde(default)]
    items: u64,
    risk: Text,
    #[serde(default)]
    owed: bool,
}

impl RuleDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<Rule, DraftError> {
        let stages = [
            ("agreed", Stage::Agreed),
            ("committed", Stage::Committed),
            ("revealed", Stage::Revealed),
        ];
        let risks = [
            ("none", Risk::None),
            ("capability", Risk::Capability),
            ("sensitive", Risk::Sensitive),
            ("harm", Risk::Harm),
        ];
        let by = match &self.by {
            None => Author::Both,
            Some(text) if text.get_ref() == "both" => Author::Both,
            Some(text) => Author::Party(name(draft, text, "rule.by")?),
        };
        let what = What::parse(self.what.get_ref()).ok_or_else(|| {
            let problem = "must be counts, flags, totals, claim, field:NAME or score:COLUMN";
            draft.error(self.what.span(), "rule.what", problem)
        })?;
        Ok(Rule {
            id: word(draft, &self.id, "rule.id")?,
            what,
            by,
            to: self.audience(draft)?,
            from: choice(draft, &self.from, "rule.from", &stages)?,
            items: self.items,
            risk: choice(draft, &self.risk, "rule.risk", &risks)?,
            owed: self.owed,
        })
    }

    fn audience(&self, draft: &Draft) -> Result<Audience, DraftError> {
        match self.to.get_ref().as_str() {
            "public" => Ok(Audience::Public),
            "peer" => Ok(Audience::Peer),
            other => {
                let named = other.strip_prefix("auditor:").and_then(|n| KeyName::parse(n).ok());
                named.map(Audience::Auditor).ok_or_else(|| {
                    let problem = "must be public, peer or auditor:NAME";
                    draft.error(self.to.span(), "rule.to", problem)
                })
            }
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimDraft {
    id: Text,
    kind: Text,
    column: Text,
    by: Text,
    p: Option<u64>,
    q: Option<u64>,
    d: Option<u64>,
}

impl ClaimDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<AgreedClaim, DraftError> {
        let wrong = |problem: &str| Err(draft.error(self.kind.span(), "claim.kind", problem));
        let bound = match (self.kind.get_ref().as_str(), self.p, self.q, self.d) {
            ("at_least", None, Some(q), None) => Bound::AtLeast { q },
            ("at_most", None, Some(q), None) => Bound::AtMost { q },
            ("between", Some(p), Some(q), None) => Bound::Between { p, q },
            ("equals", None, Some(q), None) => Bound::Equals { q },
            ("differ_by_at_most", None, None, Some(d)) => Bound::DifferByAtMost { d },
            ("equal", None, None, None) => Bound::Equal,
            ("at_least" | "at_most" | "equals", ..) => return wrong("needs q, and only q"),
            ("between", ..) => return wrong("needs p and q, and only those"),
            ("differ_by_at_most", ..) => return wrong("needs d, and only d"),
            ("equal", ..) => return wrong("needs none of p, q and d"),
            _ => {
                return wrong(
                    "must be at_least, at_most, between, equals, differ_by_at_most or equal",
                );
            }
        };
        Ok(AgreedClaim {
            id: word(draft, &self.id, "claim.id")?,
            bound,
            column: column(draft, &self.column, "claim.column")?,
            by: name(draft, &self.by, "claim.by")?,
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditDraft {
    auditor: Text,
    column: Text,
    direction: Text,
    delta: Spanned<[u64; 2]>,
    alpha: Spanned<[u64; 2]>,
    gamma: Spanned<[u64; 2]>,
    first: u64,
    largest: u64,
    #[serde(default = "super::one")]
    attempts: u64,
}

impl AuditDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<AuditPlan, DraftError> {
        let directions =
            [("inflated", AuditDirection::Inflated), ("deflated", AuditDirection::Deflated)];
        let fraction = |value: &Spanned<[u64; 2]>, field: &str| {
            let [numerator, denominator] = *value.get_ref();
            Fraction::new(numerator, denominator).ok_or_else(|| {
                let problem = "must be [numerator, denominator], above 0 and at most 1";
                draft.error(value.span(), field, problem)
            })
        };
        Ok(AuditPlan {
            auditor: name(draft, &self.auditor, "audit.auditor")?,
            column: column(draft, &self.column, "audit.column")?,
            direction: choice(draft, &self.direction, "audit.direction", &directions)?,
            delta: fraction(&self.delta, "audit.delta")?,
            alpha: fraction(&self.alpha, "audit.alpha")?,
            gamma: fraction(&self.gamma, "audit.gamma")?,
            first: self.first,
            largest: self.largest,
            attempts: self.attempts,
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EscrowDraft {
    auditor: Text,
    rules: Vec<Text>,
}

impl EscrowDraft {
    pub(super) fn read(&self, draft: &Draft) -> Result<Escrow, DraftError> {
        let rules = self.rules.iter().map(|rule| word(draft, rule, "escrow.rules"));
        Ok(Escrow {
            auditor: name(draft, &self.auditor, "escrow.auditor")?,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }
}
