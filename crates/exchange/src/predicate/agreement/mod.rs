//! `agreement`: what both parties accept before anything is run.
//!
//! Reading it checks each member by itself (`BAD_FIELD`); [`check`] looks at how the members fit
//! together (`BAD_AGREEMENT`). Whether the embedded keys are the registered ones is a question to
//! the log and answered by the state.

mod check;
mod rule;
mod terms;

use json::{FieldError, Fields, Node, Value, array, object};
use tlog::{KeyKind, KeyName, VerifierKey};

pub use rule::{Audience, Author, Risk, Rule, Stage, What};
pub use terms::{
    AgreedClaim, AuditDirection, AuditPlan, Benchmark, Counts, Escrow, Fraction, Runs, Schedule,
    Terms,
};

use super::parts::{Keys, Members, text};
use crate::read;
use crate::statement::Common;

/// The terms of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The two parties, the proposer first.
    pub parties: [Member; 2],
    /// At most 8.
    pub auditors: Vec<Keys>,
    /// The witness policy's text (C2SP tlog-policy), at most 16 KiB.
    pub policy: String,
    /// The group or witness of the policy whose cosignatures are the exchange's clock.
    pub clock: String,
    /// What is evaluated.
    pub evaluation: Terms,
    /// How many runs each party has, and which of them counts.
    pub runs: Runs,
    /// The deadlines.
    pub schedule: Schedule,
    /// The rules of disclosure, at most 64. What no rule allows is not disclosed.
    pub disclosure: Vec<Rule>,
    /// The claims to be made, at most 64.
    pub claims: Vec<AgreedClaim>,
    /// The audit plan, if there will be audits.
    pub audit: Option<AuditPlan>,
    /// The escrow, if reveals are deposited with an auditor.
    pub escrow: Option<Escrow>,
}

/// A party of an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its keys, the registered ones.
    pub keys: Keys,
    /// The key of its own witness, by which the clock is recognised as neutral or not.
    pub witness: Option<VerifierKey>,
}

/// 16 KiB of policy leave two thirds of a payload for the rest.
const MAX_POLICY: usize = 16 << 10;

/// A vkey is a name of at most 128 bytes, 8 digits and 44 characters of base64.
const MAX_VKEY: usize = 256;

impl Agreement {
    /// The member of this name, if it is one of the two parties.
    pub fn party(&self, name: &KeyName) -> Option<&Member> {
        self.parties.iter().find(|party| party.keys.name == *name)
    }

    /// True for the name of one of the auditors.
    pub fn is_auditor(&self, name: &KeyName) -> bool {
        self.auditors.iter().any(|auditor| auditor.name == *name)
    }

    pub(crate) fn take(fields: &mut Fields<'_>, common: &Common) -> Result<Self, FieldError> {
        let parties = read::required(fields, "parties", |node| {
            let parties = read::list(node, 2, 2, Member::read)?;
            <[Member; 2]>::try_from(parties).map_err(|_| node.error("must be two parties"))
        })?;
        if parties[0].keys.name != common.signer {
            let parties = fields.required("parties")?;
            return Err(parties.error("must have the signer first"));
        }
        Ok(Self {
            parties,
            auditors: read::required(fields, "auditors", |n| read::list(n, 0, 8, Keys::read))?,
            policy: read::required(fields, "policy", |n| n.text(MAX_POLICY).map(str::to_owned))?,
            clock: read::required(fields, "clock", |n| n.text(MAX_POLICY).map(str::to_owned))?,
            evaluation: read::required(fields, "evaluation", Terms::read)?,
            runs: read::required(fields, "runs", Runs::read)?,
            schedule: read::required(fields, "schedule", Schedule::read)?,
            disclosure: read::required(fields, "disclosure", Rule::read_list)?,
            claims: read::required(fields, "claims", |node| {
                read::keyed_list(node, 0, 64, AgreedClaim::read, |claim| &claim.id)
            })?,
            audit: read::optional(fields, "audit", AuditPlan::read)?,
            escrow: read::optional(fields, "escrow", Escrow::read)?,
        })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        members.push(("parties", array(self.parties.iter().map(Member::to_value))));
        members.push(("auditors", array(self.auditors.iter().map(keys_value))));
        members.push(("policy", self.policy.as_str().into()));
        members.push(("clock", self.clock.as_str().into()));
        members.push(("evaluation", self.evaluation.to_value()));
        members.push(("runs", self.runs.to_value()));
        members.push(("schedule", self.schedule.to_value()));
        members.push(("disclosure", array(self.disclosure.iter().map(Rule::to_value))));
        members.push(("claims", array(self.claims.iter().map(AgreedClaim::to_value))));
        if let Some(audit) = &self.audit {
            members.push(("audit", audit.to_value()));
        }
        if let Some(escrow) = &self.escrow {
            members.push(("escrow", escrow.to_value()));
        }
    }
}

impl Member {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let mut fields = node.fields()?;
        let keys = Keys::take(&mut fields)?;
        let witness = read::optional(&mut fields, "witness", witness_key)?;
        fields.finish()?;
        Ok(Self { keys, witness })
    }

    fn to_value(&self) -> Value {
        let mut members = Members::new();
        self.keys.push(&mut members);
        if let Some(witness) = &self.witness {
            members.push(("witness", text(witness)));
        }
        object(members)
    }
}

fn keys_value(keys: &Keys) -> Value {
    let mut members = Members::new();
    keys.push(&mut members);
    object(members)
}

fn witness_key(node: &Node<'_>) -> Result<VerifierKey, FieldError> {
    let key = VerifierKey::parse(node.text(MAX_VKEY)?).map_err(|e| node.error(e.to_string()))?;
    if key.kind() != KeyKind::Cosignature {
        return Err(node.error("must be a key of type 04, which cosigns"));
    }
    Ok(key)
}
