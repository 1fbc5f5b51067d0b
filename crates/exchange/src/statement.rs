//! in-toto Statement v1 with this protocol's predicates, read as strictly as it is written.
//!
//! Member order and white space are the signer's choice, since the bytes are signed as they are.
//! [`Statement::to_payload`] has one order, so two clients of this program sign equal bytes.

use json::{FieldError, Fields, Node, Rules, Value, array, object};
use tlog::{KeyName, TreeHead};

use crate::envelope::Envelope;
use crate::predicate::{ExchangeMember, Kind, Members, Predicate};
use crate::read;
use crate::reason::{Reason, Refusal};
use crate::values::StatementId;

/// in-toto's type of a statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The members that every predicate has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// The log that the statement is for.
    pub origin: KeyName,
    /// The agreement's statement id; none for what stands outside of an exchange.
    pub exchange: Option<StatementId>,
    /// Who says it: the name in the envelope's `keyid`.
    pub signer: KeyName,
    /// Strictly above the signer's last one in the exchange, at least 1.
    pub number: u64,
    /// The signer's last logged statement in the exchange; none for its first.
    pub previous: Option<StatementId>,
    /// The newest head that the signer has verified.
    pub seen: TreeHead,
}

/// What one party says. Whoever holds one knows that it keeps every rule that a statement can
/// keep by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    common: Common,
    predicate: Predicate,
}

impl Statement {
    /// Makes a statement to be signed; refuses what [`parse`](Self::parse) would refuse.
    pub fn new(common: Common, predicate: Predicate) -> Result<Self, Refusal> {
        let made = Self { common, predicate };
        let parsed = Self::parse(&made.to_payload())?;
        if parsed == made {
            return Ok(made);
        }
        let message = "holds values that statements cannot spell";
        Err(Refusal::new(Reason::BadField, message).at("/predicate"))
    }

    /// Reads a payload: `BAD_JSON`, `UNKNOWN_PREDICATE`, `BAD_FIELD`, `BAD_SUBJECT`,
    /// `BAD_AGREEMENT`, in this order.
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let document = json::parse(payload, Rules::SIGNED)?;
        let mut fields = Node::root(&document).fields()?;
        let kind = predicate_type(&fields.required("predicateType")?)?;
        let statement_type = fields.required("_type")?;
        if statement_type.text(usize::MAX)? != STATEMENT_TYPE {
            return Err(statement_type.error(format!("must be {STATEMENT_TYPE}")).into());
        }
        let subject = fields.required("subject")?;
        let predicate = fields.required("predicate")?;
        fields.finish()?;

        let mut fields = predicate.fields()?;
        let common = Common::take(&mut fields, kind)?;
        let predicate = Predicate::take(kind, &mut fields, &common, disputed(subject.value()))?;
        fields.finish()?;

        let statement = Self { common, predicate };
        if !same_value(subject.value(), &statement.subject_value()) {
            let message = "must be the subject that follows from the predicate";
            return Err(Refusal::new(Reason::BadSubject, message).at(subject.pointer()));
        }
        statement.predicate.check(&statement.common)?;
        Ok(statement)
    }

    /// The exact bytes to sign: compact JSON with all members in the order of the protocol.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut members = Members::new();
        self.common.push(&mut members);
        self.predicate.push(&self.common, &mut members);
        let statement = object([
            ("_type", STATEMENT_TYPE.into()),
            ("subject", self.subject_value()),
            ("predicateType", self.kind().predicate_type().into()),
            ("predicate", object(members)),
        ]);
        statement.to_text().into_bytes()
    }

    /// The members that every statement has.
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// What it says.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.predicate.kind()
    }

    fn subject_value(&self) -> Value {
        let subjects = self.predicate.subject(&self.common).into_iter();
        array(subjects.map(|(name, digest)| {
            let digest = object([("sha256", Value::from(digest.to_string()))]);
            object([("name", name.into()), ("digest", digest)])
        }))
    }
}

impl Common {
    fn take(fields: &mut Fields<'_>, kind: Kind) -> Result<Self, FieldError> {
        Ok(Self {
            origin: read::required(fields, "origin", read::name)?,
            exchange: match kind.exchange_member() {
                ExchangeMember::Absent => None,
                ExchangeMember::Required => Some(read::required(fields, "exchange", read::id)?),
                ExchangeMember::Optional => read::optional(fields, "exchange", read::id)?,
            },
            signer: read::required(fields, "signer", read::name)?,
            number: read::required(fields, "number", |node| read::at_least(node, 1))?,
            previous: read::optional(fields, "previous", read::id)?,
            seen: read::required(fields, "seen", tree_head)?,
        })
    }

    fn push(&self, members: &mut Members) {
        members.push(("origin", self.origin.to_string().into()));
        if let Some(exchange) = self.exchange {
            members.push(("exchange", exchange.to_string().into()));
        }
        members.push(("signer", self.signer.to_string().into()));
        members.push(("number", self.number.into()));
        if let Some(previous) = self.previous {
            members.push(("previous", previous.to_string().into()));
        }
        let seen = object([
            ("size", self.seen.size.into()),
            ("root", Value::from(self.seen.root.to_string())),
        ]);
        members.push(("seen", seen));
    }
}

fn predicate_type(node: &Node<'_>) -> Result<Kind, Refusal> {
    let urn = node.text(usize::MAX)?;
    Kind::of_predicate_type(urn).ok_or_else(|| {
        let message = "is not a predicate of this protocol";
        Refusal::new(Reason::UnknownPredicate, message).at(node.pointer())
    })
}

fn tree_head(node: &Node<'_>) -> Result<TreeHead, FieldError> {
    let mut fields = node.fields()?;
    let head = TreeHead {
        size: read::required(&mut fields, "size", Node::uint)?,
        root: read::required(&mut fields, "root", read::hash)?,
    };
    fields.finish()?;
    Ok(head)
}

/// The digest of a subject, where an outcome on a dispute needs it. Whether the subject has the
/// right form is decided when it is compared as a whole.
fn disputed(subject: &Value) -> Option<StatementId> {
    let digest = subject.as_array()?.first()?.get("digest")?.get("sha256")?;
    StatementId::from_hex(digest.as_str()?).ok()
}

/// Equality of documents, in which the order of members does not matter.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let same = |(name, value)| b.get(name).is_some_and(|other| same_value(value, other));
            a.len() == b.len() && a.iter().all(same)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        _ => a == b,
    }
}

/// A statement and the envelope it came in. The signature is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    id: StatementId,
    envelope: Envelope,
    statement: Statement,
}

impl SignedStatement {
    /// Reads a leaf: everything that the bytes alone show.
    pub fn parse(leaf: &[u8]) -> Result<Self, Refusal> {
        let envelope = Envelope::parse(leaf)?;
        let statement = Statement::parse(envelope.payload())?;
        if statement.common.signer != *envelope.key().name() {
            let message = format!("is not {}, who is said to have signed", envelope.key().name());
            return Err(Refusal::new(Reason::BadField, message).at("/predicate/signer"));
        }
        Ok(Self { id: envelope.id(), envelope, statement })
    }

    /// SHA-256 of the payload.
    pub fn id(&self) -> StatementId {
        self.id
    }

    /// The leaf.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What is said.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}
