//! Disclosure rules: what may be shown of a record, to whom, from when, at which risk.

use json::{FieldError, Node, Value, object};
use tlog::KeyName;

use super::super::parts::{spelled, text};
use crate::read;
use crate::values::{ColumnName, Field, Word};

/// One rule. No rule, no disclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name in this agreement.
    pub id: Word,
    /// What may be shown.
    pub what: What,
    /// By whom.
    pub by: Author,
    /// To whom.
    pub to: Audience,
    /// From which stage on.
    pub from: Stage,
    /// Of at most how many items; 0 except for fields and scores.
    pub items: u64,
    /// The risk of cooperation between rivals that it touches.
    pub risk: Risk,
    /// True if the audience may expect it, so that not showing it is a default.
    pub owed: bool,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Numbers of items by status.
    Counts,
    /// Flags of the evaluation.
    Flags,
    /// Totals of columns.
    Totals,
    /// Claims, and the opening of `count:scored` that comes with most of them.
    Claim,
    /// `field:<name>`, one field of items; never tag or epoch, which come with every item.
    Field(Field),
    /// `score:<column>`, the scores of items.
    Score(ColumnName),
}

/// Who discloses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Either party.
    Both,
    /// One of them.
    Party(KeyName),
}

/// Who learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// All who may read the log.
    Public,
    /// The other party.
    Peer,
    /// `auditor:<name>`.
    Auditor(KeyName),
}

spelled! {
    /// The stage from which a rule holds.
    Stage {
        /// From the acceptance on.
        Agreed = "agreed",
        /// Once both records lie under a ticked head.
        Committed = "committed",
        /// Once the reveals are over.
        Revealed = "revealed",
    }
}

spelled! {
    /// The risk of cooperation that a disclosure touches.
    Risk {
        /// None.
        None = "none",
        /// It may advance dangerous capabilities.
        Capability = "capability",
        /// It exposes sensitive information.
        Sensitive = "sensitive",
        /// It gives opportunities for harm.
        Harm = "harm",
    }
}

impl What {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        Self::parse(node.text(256)?).ok_or_else(|| {
            node.error("must be counts, flags, totals, claim, field:<name> or score:<column>")
        })
    }

    /// Reads the one spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "counts" => Some(Self::Counts),
            "flags" => Some(Self::Flags),
            "totals" => Some(Self::Totals),
            "claim" => Some(Self::Claim),
            other => Self::of_items(other),
        }
    }

    fn of_items(spelling: &str) -> Option<Self> {
        if let Some(column) = spelling.strip_prefix("score:") {
            return ColumnName::parse(column).ok().map(Self::Score);
        }
        // A raw score is shown under the rule of its column, so it has one name only.
        match Field::parse(spelling.strip_prefix("field:")?).ok()? {
            Field::Base(base) if !base.comes_with_every_item() => {
                Some(Self::Field(Field::Base(base)))
            }
            _ => None,
        }
    }

    /// True for fields and scores, which are shown item by item.
    pub const fn is_of_items(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Score(_))
    }

    /// True for what a `reveal` holds: counts, flags and totals.
    pub const fn is_revealed(&self) -> bool {
        matches!(self, Self::Counts | Self::Flags | Self::Totals)
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counts => f.write_str("counts"),
            Self::Flags => f.write_str("flags"),
            Self::Totals => f.write_str("totals"),
            Self::Claim => f.write_str("claim"),
            Self::Field(field) => write!(f, "field:{field}"),
            Self::Score(column) => write!(f, "score:{column}"),
        }
    }
}

impl Author {
    /// True if the rule is about this party's disclosures.
    pub fn covers(&self, party: &KeyName) -> bool {
        match self {
            Self::Both => true,
            Self::Party(name) => name == party,
        }
    }
}

impl Rule {
    pub(crate) fn read_list(node: &Node<'_>) -> Result<Vec<Self>, FieldError> {
        read::keyed_list(node, 0, 64, Self::read, |rule| &rule.id)
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let rule = Self {
            id: read::required(&mut fields, "id", read::word)?,
            what: read::required(&mut fields, "what", What::read)?,
            by: read::required(&mut fields, "by", |node| match node.text(256)? {
                "both" => Ok(Author::Both),
                _ => read::name(node).map(Author::Party),
            })?,
            to: read::required(&mut fields, "to", audience)?,
            from: read::required(&mut fields, "from", read::spelled)?,
            items: read::required(&mut fields, "items", Node::uint)?,
            risk: read::required(&mut fields, "risk", read::spelled)?,
            owed: read::required(&mut fields, "owed", Node::boolean)?,
        };
        rule.fits_together(&mut fields)?;
        fields.finish()?;
        Ok(rule)
    }

    /// What a rule says must make sense by itself, whatever else was agreed.
    fn fits_together(&self, fields: &mut json::Fields<'_>) -> Result<(), FieldError> {
        let wrong = |fields: &mut json::Fields<'_>, member, problem| {
            fields.required(member).and_then(|node| Err(node.error(problem)))
        };
        if self.items != 0 && !self.what.is_of_items() {
            return wrong(fields, "items", "must be 0 except for fields and scores");
        }
        if self.owed && !self.what.is_revealed() {
            return wrong(fields, "owed", "only counts, flags and totals can be owed");
        }
        let public = self.to == Audience::Public;
        let at_once = public && matches!(self.what, What::Counts | What::Flags);
        if self.from == Stage::Agreed && !at_once {
            return wrong(fields, "from", "only public counts and flags can be shown from agreed");
        }
        if self.what == What::Claim && !public {
            return wrong(fields, "to", "claims are public");
        }
        Ok(())
    }

    pub(crate) fn to_value(&self) -> Value {
        let by = match &self.by {
            Author::Both => "both".into(),
            Author::Party(name) => text(name),
        };
        let to = match &self.to {
            Audience::Public => "public".into(),
            Audience::Peer => "peer".into(),
            Audience::Auditor(name) => Value::from(format!("auditor:{name}")),
        };
        object([
            ("id", text(&self.id)),
            ("what", text(&self.what)),
            ("by", by),
            ("to", to),
            ("from", text(self.from)),
            ("items", self.items.into()),
            ("risk", text(self.risk)),
            ("owed", self.owed.into()),
        ])
    }
}

fn audience(node: &Node<'_>) -> Result<Audience, FieldError> {
    match node.text(256)? {
        "public" => Ok(Audience::Public),
        "peer" => Ok(Audience::Peer),
        other => other
            .strip_prefix("auditor:")
            .and_then(|name| KeyName::parse(name).ok())
            .map(Audience::Auditor)
            .ok_or_else(|| node.error("must be public, peer or auditor:<name>")),
    }
}
