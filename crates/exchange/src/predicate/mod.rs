//! What statements say: one type for each kind of predicate.
//!
//! The fields are public, so that a client can fill them in; that they keep the rules of the
//! protocol is what holding a [`Statement`](crate::Statement) shows.

mod agreement;
mod audit;
mod bound;
mod consent;
mod disclosure;
mod parts;
mod party;
mod run;
mod tick;

pub use agreement::{
    AgreedClaim, Agreement, Audience, AuditDirection, AuditPlan, Author, Benchmark, Counts, Escrow,
    Fraction, Member, Risk, Rule, Runs, Schedule, Stage, Terms, What,
};
pub use audit::{
    AuditResult, Coin, CoinStep, Dispute, DisputeResult, Finding, Ground, ItemFault, Millionths,
    Outcome, SummaryResult,
};
pub use bound::{Bound, ClaimKind};
pub use consent::{Accept, Amendment, Change, Decline, DeclineCode, ObligationName};
pub use disclosure::{
    Claim, ItemRange, ItemsProof, OpenedItems, OpenedTotal, Opening, Reveal, RevealContent,
    ScoredCount,
};
pub use parts::{
    AuditName, Direction, Keys, Opened, Program, Scale, SealedEnvelope, SealingKey, SealingKeyId,
};
pub use party::{Party, possession_message};
pub use run::{CommittedColumn, Evaluation, Intent, Withdrawal, WithdrawalCode};
pub use tick::{NotACheckpoint, Stamp, Stamped, Tick, stamp_message};

use json::{FieldError, Fields};
use tlog::Hash;

pub(crate) use parts::Members;
use parts::spelled;

use crate::read::Spelled as _;
use crate::reason::Refusal;
use crate::statement::Common;
use crate::values::StatementId;

spelled! {
    /// The kinds of statements.
    Kind {
        /// A lab's keys.
        Party = "party",
        /// A cosigned checkpoint.
        Tick = "tick",
        /// Witnesses' word that a statement existed.
        Stamp = "stamp",
        /// The terms of an exchange, proposed.
        Agreement = "agreement",
        /// Consent to a proposal.
        Accept = "accept",
        /// A change of the terms.
        Amendment = "amendment",
        /// A run announced.
        Intent = "intent",
        /// A record's header.
        Evaluation = "evaluation",
        /// A run without a record.
        Withdrawal = "withdrawal",
        /// Openings of totals and counts.
        Reveal = "reveal",
        /// A proved bound on totals.
        Claim = "claim",
        /// A claim that will not be made.
        Decline = "decline",
        /// A share of an audit's randomness.
        Coin = "coin",
        /// Openings of items.
        Opening = "opening",
        /// Something opened is wrong.
        Dispute = "dispute",
        /// A verdict.
        Outcome = "outcome",
    }
}

/// Whether statements of a kind carry `exchange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExchangeMember {
    /// Never: they come before or stand outside of exchanges.
    Absent,
    /// Always.
    Required,
    /// Unless they are standalone. Kinds that have no standalone form are refused later, by
    /// `NOT_STANDALONE`.
    Optional,
}

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SPELLINGS.iter().map(|(_, kind)| *kind)
    }

    /// `urn:countersign:<kind>:v1`.
    pub fn predicate_type(self) -> String {
        format!("urn:countersign:{self}:v1")
    }

    /// The kind with this predicate type.
    pub fn of_predicate_type(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix("urn:countersign:")?.strip_suffix(":v1")?;
        Self::all().find(|kind| kind.as_str() == name)
    }

    pub(crate) const fn exchange_member(self) -> ExchangeMember {
        match self {
            Self::Party | Self::Tick | Self::Stamp | Self::Agreement => ExchangeMember::Absent,
            Self::Accept | Self::Amendment => ExchangeMember::Required,
            _ => ExchangeMember::Optional,
        }
    }
}

/// What a statement says, without the members that every statement has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named as its type, where the text is")]
pub enum Predicate {
    Party(Box<Party>),
    Tick(Tick),
    Stamp(Stamped),
    Agreement(Box<Agreement>),
    Accept(Accept),
    Amendment(Box<Amendment>),
    Intent(Intent),
    Evaluation(Box<Evaluation>),
    Withdrawal(Withdrawal),
    Reveal(Box<Reveal>),
    Claim(Box<Claim>),
    Decline(Decline),
    Coin(Coin),
    Opening(Box<Opening>),
    Dispute(Box<Dispute>),
    Outcome(Box<Outcome>),
}

impl Predicate {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Party(_) => Kind::Party,
            Self::Tick(_) => Kind::Tick,
            Self::Stamp(_) => Kind::Stamp,
            Self::Agreement(_) => Kind::Agreement,
            Self::Accept(_) => Kind::Accept,
            Self::Amendment(_) => Kind::Amendment,
            Self::Intent(_) => Kind::Intent,
            Self::Evaluation(_) => Kind::Evaluation,
            Self::Withdrawal(_) => Kind::Withdrawal,
            Self::Reveal(_) => Kind::Reveal,
            Self::Claim(_) => Kind::Claim,
            Self::Decline(_) => Kind::Decline,
            Self::Coin(_) => Kind::Coin,
            Self::Opening(_) => Kind::Opening,
            Self::Dispute(_) => Kind::Dispute,
            Self::Outcome(_) => Kind::Outcome,
        }
    }

    /// Takes the members of a kind after the common ones. `disputed` is the id that the subject
    /// names `disputed`, which one kind does not repeat in its predicate.
    pub(crate) fn take(
        kind: Kind,
        fields: &mut Fields<'_>,
        common: &Common,
        disputed: Option<StatementId>,
    ) -> Result<Self, FieldError> {
        Ok(match kind {
            Kind::Party => Self::Party(Box::new(Party::take(fields, common)?)),
            Kind::Tick => Self::Tick(Tick::take(fields)?),
            Kind::Stamp => Self::Stamp(Stamped::take(fields)?),
            Kind::Agreement => Self::Agreement(Box::new(Agreement::take(fields, common)?)),
            Kind::Accept => Self::Accept(Accept::take(fields)?),
            Kind::Amendment => Self::Amendment(Box::new(Amendment::take(fields)?)),
            Kind::Intent => Self::Intent(Intent::take(fields)?),
            Kind::Evaluation => Self::Evaluation(Box::new(Evaluation::take(fields)?)),
            Kind::Withdrawal => Self::Withdrawal(Withdrawal::take(fields)?),
            Kind::Reveal => Self::Reveal(Box::new(Reveal::take(fields, common)?)),
            Kind::Claim => Self::Claim(Box::new(Claim::take(fields, common)?)),
            Kind::Decline => Self::Decline(Decline::take(fields)?),
            Kind::Coin => Self::Coin(Coin::take(fields, common)?),
            Kind::Opening => Self::Opening(Box::new(Opening::take(fields)?)),
            Kind::Dispute => Self::Dispute(Box::new(Dispute::take(fields)?)),
            Kind::Outcome => Self::Outcome(Box::new(Outcome::take(fields, common, disputed)?)),
        })
    }

    pub(crate) fn push(&self, common: &Common, members: &mut Members) {
        match self {
            Self::Party(party) => party.push(members),
            Self::Tick(tick) => tick.push(members),
            Self::Stamp(stamped) => stamped.push(members),
            Self::Agreement(agreement) => agreement.push(members),
            Self::Accept(accept) => accept.push(members),
            Self::Amendment(amendment) => amendment.push(members),
            Self::Intent(intent) => intent.push(members),
            Self::Evaluation(evaluation) => evaluation.push(members),
            Self::Withdrawal(withdrawal) => withdrawal.push(members),
            Self::Reveal(reveal) => reveal.push(members),
            Self::Claim(claim) => claim.push(members),
            Self::Decline(decline) => decline.push(members),
            Self::Coin(coin) => coin.push(members),
            Self::Opening(opening) => opening.push(members),
            Self::Dispute(dispute) => dispute.push(members),
            Self::Outcome(outcome) => outcome.push(common, members),
        }
    }

    /// The subject: names and digests by which in-toto tools find the statement.
    pub(crate) fn subject(&self, common: &Common) -> Vec<(&'static str, Hash)> {
        let exchange = common.exchange.unwrap_or(StatementId::ZERO);
        let (name, digest) = match self {
            Self::Party(party) => ("key", party.subject()),
            Self::Tick(tick) => ("checkpoint", tick.subject()),
            Self::Stamp(stamped) => ("stamped", stamped.statement.hash()),
            Self::Agreement(agreement) => ("items", agreement.evaluation.items_root),
            Self::Accept(accept) => ("accepted", accept.accepts.hash()),
            Self::Amendment(amendment) => ("amended", amendment.base.hash()),
            Self::Intent(intent) => ("nonce", intent.subject()),
            Self::Evaluation(evaluation) => ("vector", evaluation.vector),
            Self::Withdrawal(withdrawal) => ("intent", withdrawal.intent.hash()),
            Self::Reveal(reveal) => ("record", reveal.record.hash()),
            Self::Claim(claim) => {
                return claim.records.iter().map(|record| ("record", record.hash())).collect();
            }
            Self::Decline(_) => ("exchange", exchange.hash()),
            Self::Coin(coin) => ("record", coin.audit.record.hash()),
            Self::Opening(opening) => ("record", opening.record.hash()),
            Self::Dispute(dispute) => ("disputed", dispute.about.hash()),
            Self::Outcome(outcome) => match &outcome.finding {
                Finding::Audit { audit, .. } => ("record", audit.record.hash()),
                Finding::Dispute { disputed, .. } => ("disputed", disputed.hash()),
                Finding::Summary { .. } => ("exchange", exchange.hash()),
            },
        };
        vec![(name, digest)]
    }

    /// How the members of the predicate fit together, where that has a reason of its own.
    pub(crate) fn check(&self, common: &Common) -> Result<(), Refusal> {
        match self {
            Self::Agreement(agreement) => agreement.check(common),
            Self::Amendment(amendment) => amendment.check(),
            _ => Ok(()),
        }
    }
}
