//! `coin`, `dispute`, `outcome`: how a record is audited and what comes of it.

use json::{FieldError, Fields, Node, Value, array, object};
use tlog::Hash;

use super::disclosure::MAX_SAMPLE;
use super::parts::{AuditName, Members, SealedEnvelope, spelled, text};
use crate::read::{self, Spelled as _};
use crate::statement::Common;
use crate::time::Timestamp;
use crate::values::StatementId;

/// A share of an audit's randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// The audit.
    pub audit: AuditName,
    /// Commitment or opening.
    pub step: CoinStep,
}

/// The two steps of a coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoinStep {
    /// Binds the signer to its coin.
    Commit {
        /// The commitment.
        commitment: Hash,
    },
    /// Shows the coin.
    Open {
        /// The 32 bytes.
        coin: [u8; 32],
        /// How many items the auditor asks for; only, and always, in the auditor's own.
        sample: Option<u64>,
    },
}

impl Coin {
    pub(crate) fn take(fields: &mut Fields<'_>, common: &Common) -> Result<Self, FieldError> {
        let audit = read::required(fields, "audit", AuditName::read)?;
        let steps = [("commit", true), ("open", false)];
        let step = if read::required(fields, "step", |node| read::choice(node, &steps))? {
            CoinStep::Commit { commitment: read::required(fields, "commitment", read::hash)? }
        } else {
            let coin = read::required(fields, "coin", Node::hex)?;
            let sample = if audit.auditor == common.signer {
                Some(read::required(fields, "sample", |n| read::number(n, 1, MAX_SAMPLE))?)
            } else {
                None
            };
            CoinStep::Open { coin, sample }
        };
        Ok(Self { audit, step })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("audit", self.audit.to_value()));
        match &self.step {
            CoinStep::Commit { commitment } => {
                members.push(("step", "commit".into()));
                members.push(("commitment", text(commitment)));
            }
            CoinStep::Open { coin, sample } => {
                members.push(("step", "open".into()));
                members.push(("coin", hex::encode(coin).into()));
                if let Some(sample) = *sample {
                    members.push(("sample", sample.into()));
                }
            }
        }
    }
}

/// Says that something opened is wrong. It has no free text: where indices explain it, they are
/// in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// A reveal, an opening, or an evaluation for its escrow.
    pub about: StatementId,
    /// What is wrong.
    pub ground: Ground,
}

/// What a dispute rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// The envelope does not hold what it should.
    Unopenable,
    /// Items are wrong; the envelope holds their indices.
    Items {
        /// How they are wrong.
        fault: ItemFault,
        /// The indices, sealed.
        envelope: SealedEnvelope,
    },
}

spelled! {
    /// How items can be wrong.
    ItemFault {
        /// The integer is not the converted raw value.
        Score = "score",
        /// More items without score than `count:scored` leaves.
        Status = "status",
        /// A regrader comes to another score.
        Regrade = "regrade",
    }
}

impl Dispute {
    pub(crate) fn take(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let about = read::required(fields, "about", read::id)?;
        let mut codes = vec![("unopenable", None)];
        codes.extend(ItemFault::SPELLINGS.iter().map(|(code, fault)| (*code, Some(*fault))));
        let ground = match read::required(fields, "code", |node| read::choice(node, &codes))? {
            None => Ground::Unopenable,
            Some(fault) => {
                let envelope = read::required(fields, "envelope", SealedEnvelope::read)?;
                Ground::Items { fault, envelope }
            }
        };
        Ok(Self { about, ground })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("about", text(self.about)));
        match &self.ground {
            Ground::Unopenable => members.push(("code", "unopenable".into())),
            Ground::Items { fault, envelope } => {
                members.push(("code", text(fault)));
                members.push(("envelope", envelope.to_value()));
            }
        }
    }
}

/// A verdict in the shape of an in-toto summary (SVR).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it was found.
    pub time_verified: Timestamp,
    /// The agreement, under whose policy it was found.
    pub policy: StatementId,
    /// What it is about.
    pub finding: Finding,
    /// UPPER_SNAKE words: what was checked.
    pub properties: Vec<String>,
}

/// What an outcome says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The end of an audit, or the request for a larger sample.
    Audit {
        /// The audit.
        audit: AuditName,
        /// The openings it rests on.
        openings: Vec<StatementId>,
        /// Items drawn; with [`AuditResult::Extend`] the larger number asked for.
        sample: u64,
        /// How many of them were refused or could not be opened.
        unopened: u64,
        /// The p-value in millionths, rounded up.
        p: Millionths,
        /// The verdict.
        result: AuditResult,
    },
    /// Settles a dispute.
    Dispute {
        /// The dispute.
        about: StatementId,
        /// The statement that it disputes: the subject of this outcome. That it is the one is
        /// decided where the dispute is known.
        disputed: StatementId,
        /// The verdict.
        result: DisputeResult,
    },
    /// Sums up the exchange.
    Summary {
        /// The verdict.
        result: SummaryResult,
    },
}

spelled! {
    /// Verdicts of an audit.
    AuditResult {
        /// Inflation by more than delta is rejected at risk alpha.
        Confirmed = "confirmed",
        /// Not rejected by this sample.
        NotConfirmed = "not_confirmed",
        /// A larger sample is asked for.
        Extend = "extend",
        /// The audited party did not open.
        Refused = "refused",
        /// Openings contradict the record.
        Contradicted = "contradicted",
    }
}

spelled! {
    /// Verdicts on a dispute.
    DisputeResult {
        /// The obligation is met after all.
        Resolved = "resolved",
        /// The sender is at fault.
        Sender = "sender",
    }
}

spelled! {
    /// Verdicts on an exchange.
    SummaryResult {
        /// All went as agreed.
        AsAgreed = "as_agreed",
        /// Something did not.
        NotAsAgreed = "not_as_agreed",
    }
}

#[derive(Clone, Copy)]
enum FindingKind {
    Audit,
    Dispute,
    Summary,
}

const FINDINGS: &[(&str, FindingKind)] = &[
    ("audit", FindingKind::Audit),
    ("dispute", FindingKind::Dispute),
    ("summary", FindingKind::Summary),
];

/// 512 ids of 64 digits fill 34 of the 48 kB of a payload.
const MAX_OPENINGS: usize = 512;

impl Outcome {
    /// `disputed` is the statement id in the subject, where the finding needs it.
    pub(crate) fn take(
        fields: &mut Fields<'_>,
        common: &Common,
        disputed: Option<StatementId>,
    ) -> Result<Self, FieldError> {
        read::required(fields, "verifier", |node| verifier(node, common))?;
        let policy = read::required(fields, "policy", |node| policy(node, common))?;
        let finding = match read::required(fields, "kind", |n| read::choice(n, FINDINGS))? {
            FindingKind::Audit => Finding::Audit {
                audit: read::required(fields, "audit", AuditName::read)?,
                openings: read::required(fields, "openings", |node| {
                    read::list(node, 0, MAX_OPENINGS, read::id)
                })?,
                sample: read::required(fields, "sample", |n| read::number(n, 0, MAX_SAMPLE))?,
                unopened: read::required(fields, "unopened", |n| read::number(n, 0, MAX_SAMPLE))?,
                p: read::required(fields, "p", Millionths::read)?,
                result: read::required(fields, "result", read::spelled)?,
            },
            FindingKind::Dispute => Finding::Dispute {
                about: read::required(fields, "about", read::id)?,
                disputed: disputed.unwrap_or(StatementId::ZERO),
                result: read::required(fields, "result", read::spelled)?,
            },
            FindingKind::Summary => {
                Finding::Summary { result: read::required(fields, "result", read::spelled)? }
            }
        };
        Ok(Self {
            time_verified: read::required(fields, "timeVerified", read::time)?,
            policy,
            finding,
            properties: read::required(fields, "properties", |node| {
                read::list(node, 0, 64, property)
            })?,
        })
    }

    pub(crate) fn push(&self, common: &Common, members: &mut Members) {
        members.push(("verifier", object([("id", text(&common.signer))])));
        members.push(("timeVerified", text(self.time_verified)));
        let digest = object([("sha256", text(self.policy))]);
        members.push(("policy", object([("digest", digest)])));
        match &self.finding {
            Finding::Audit { audit, openings, sample, unopened, p, result } => {
                members.push(("kind", "audit".into()));
                members.push(("audit", audit.to_value()));
                members.push(("openings", array(openings.iter().map(text))));
                members.push(("sample", (*sample).into()));
                members.push(("unopened", (*unopened).into()));
                members.push(("p", text(p)));
                members.push(("result", text(result)));
            }
            Finding::Dispute { about, result, .. } => {
                members.push(("kind", "dispute".into()));
                members.push(("about", text(about)));
                members.push(("result", text(result)));
            }
            Finding::Summary { result } => {
                members.push(("kind", "summary".into()));
                members.push(("result", text(result)));
            }
        }
        let properties = self.properties.iter().map(|property| Value::from(property.as_str()));
        members.push(("properties", array(properties)));
    }
}

fn verifier(node: &Node<'_>, common: &Common) -> Result<(), FieldError> {
    let mut fields = node.fields()?;
    let id = fields.required("id")?;
    if read::name(&id)? != common.signer {
        return Err(id.error("must be the signer"));
    }
    fields.finish()
}

fn policy(node: &Node<'_>, common: &Common) -> Result<StatementId, FieldError> {
    let mut fields = node.fields()?;
    let digest = read::required(&mut fields, "digest", read::digest_set)?;
    fields.finish()?;
    let agreement = StatementId::new(*digest.as_bytes());
    match common.exchange {
        Some(exchange) if exchange != agreement => {
            Err(node.error("must be the digest of the exchange's agreement"))
        }
        _ => Ok(agreement),
    }
}

fn property(node: &Node<'_>) -> Result<String, FieldError> {
    let word = node.text(64)?;
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if !word.starts_with(|c: char| c.is_ascii_uppercase()) || !word.bytes().all(allowed) {
        return Err(node.error("must be an UPPER_SNAKE word of at most 64 bytes"));
    }
    Ok(word.to_owned())
}

/// A share of one, with six places: 0.000000 to 1.000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(u32);

impl Millionths {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// Takes a number of millionths, at most a million.
    pub fn new(millionths: u32) -> Option<Self> {
        (millionths <= Self::ONE.0).then_some(Self(millionths))
    }

    /// How many millionths.
    pub const fn count(self) -> u32 {
        self.0
    }

    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let text = node.text(8)?;
        let digits = text.replacen('.', "", 1);
        let parsed = digits.parse().ok().and_then(Self::new);
        parsed
            .filter(|share| share.to_string() == text)
            .ok_or_else(|| node.error("must be from 0.000000 to 1.000000, with six places"))
    }
}

impl std::fmt::Display for Millionths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
