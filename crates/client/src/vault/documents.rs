//! What the vault's files hold once opened: JSON, parsed as strictly as a statement.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Fields, Node, Rules, Value};
use tlog::{Hash, KeyName};
use zeroize::Zeroizing;

/// A vault document is not what it should be; only a bug or a foreign tool makes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON by our rules.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// A member is missing, unknown or malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// `party.vault`: the secrets of a party beside its signing key.
pub struct Party {
    /// The party's name.
    pub name: KeyName,
    /// X25519 private key that opens envelopes.
    pub sealing: Zeroizing<[u8; 32]>,
    /// Public half of the recovery key, whose private half is kept elsewhere.
    pub recovery: [u8; 32],
}

impl std::fmt::Debug for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Party").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Party {
    const FORMAT: &str = "countersign/vault-party/v1";

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(
            json::object([
                ("format", Self::FORMAT.into()),
                ("name", self.name.as_str().into()),
                ("sealing", hex::encode(*self.sealing).into()),
                ("recovery", hex::encode(self.recovery).into()),
            ])
            .to_text(),
        )
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = document(&value, Self::FORMAT)?;
        let party = Self {
            name: name(&fields.required("name")?)?,
            sealing: Zeroizing::new(fields.required("sealing")?.hex()?),
            recovery: fields.required("recovery")?.hex()?,
        };
        fields.finish()?;
        Ok(party)
    }
}

/// One signer's place in one exchange, or outside all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The log.
    pub origin: KeyName,
    /// The exchange; zeros outside all of them.
    pub exchange: Hash,
    /// The last number used, answered or not. It is never used again.
    pub number: u64,
    /// The last statement that the log has.
    pub previous: Option<Hash>,
    /// The statement that registered the party.
    pub registration: Option<Hash>,
    /// Runs announced so far.
    pub runs: u64,
    /// The payload that bears `number`, until the log has answered. The signature follows from
    /// it, so a crash or timeout leads to the very same envelope.
    pub pending: Option<Vec<u8>>,
}

impl Scope {
    const FORMAT: &str = "countersign/vault-scope/v1";

    pub(super) fn to_text(&self) -> String {
        json::object([
            ("format", Self::FORMAT.into()),
            ("origin", self.origin.as_str().into()),
            ("exchange", self.exchange.to_string().into()),
            ("number", self.number.into()),
            ("previous", hex_or_empty(self.previous).into()),
            ("registration", hex_or_empty(self.registration).into()),
            ("runs", self.runs.into()),
            ("pending", STANDARD.encode(self.pending.as_deref().unwrap_or_default()).into()),
        ])
        .to_text()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = document(&value, Self::FORMAT)?;
        let pending = base64(&fields.required("pending")?)?;
        let scope = Self {
            origin: name(&fields.required("origin")?)?,
            exchange: Hash::new(fields.required("exchange")?.hex()?),
            number: fields.required("number")?.uint()?,
            previous: hash_or_empty(&fields.required("previous")?)?,
            registration: hash_or_empty(&fields.required("registration")?)?,
            runs: fields.required("runs")?.uint()?,
            pending: (!pending.is_empty()).then_some(pending),
        };
        fields.finish()?;
        Ok(scope)
    }
}

/// What a party holds of an agreement beside what the log shows: durable before it is proposed or
/// accepted.
pub struct VaultAgreement {
    /// The log.
    pub origin: KeyName,
    /// The agreement's id.
    pub agreement: Hash,
    /// The key of the items' tags.
    pub item_key: Zeroizing<[u8; 32]>,
    /// The agreed items file, as JSONL.
    pub items_file: String,
    /// Epochs of each row.
    pub epochs: u64,
}

impl std::fmt::Debug for VaultAgreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultAgreement").field("agreement", &self.agreement).finish_non_exhaustive()
    }
}

impl VaultAgreement {
    const FORMAT: &str = "countersign/vault-agreement/v1";

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(
            json::object([
                ("format", Self::FORMAT.into()),
                ("origin", self.origin.as_str().into()),
                ("agreement", self.agreement.to_string().into()),
                ("item_key", hex::encode(*self.item_key).into()),
                ("items_file", self.items_file.as_str().into()),
                ("epochs", self.epochs.into()),
            ])
            .to_text(),
        )
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = document(&value, Self::FORMAT)?;
        let agreement = Self {
            origin: name(&fields.required("origin")?)?,
            agreement: Hash::new(fields.required("agreement")?.hex()?),
            item_key: Zeroizing::new(fields.required("item_key")?.hex()?),
            items_file: fields.required("items_file")?.text(1 << 30)?.to_owned(),
            epochs: fields.required("epochs")?.uint()?,
        };
        fields.finish()?;
        Ok(agreement)
    }
}

/// What is left of a record that was shredded: its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shredded {
    /// The attestation's id, if it was known.
    pub record: Option<Hash>,
    /// The intent that announced the run.
    pub intent: Hash,
}

impl Shredded {
    const FORMAT: &str = "countersign/vault-shredded/v1";

    pub(super) fn to_text(self) -> String {
        json::object([
            ("format", Self::FORMAT.into()),
            ("record", hex_or_empty(self.record).into()),
            ("intent", self.intent.to_string().into()),
        ])
        .to_text()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = document(&value, Self::FORMAT)?;
        let shredded = Self {
            record: hash_or_empty(&fields.required("record")?)?,
            intent: Hash::new(fields.required("intent")?.hex()?),
        };
        fields.finish()?;
        Ok(shredded)
    }
}

/// The values of one item, by field name, as they were committed (with their 00 or 01).
pub type VaultItem = Vec<(String, Vec<u8>)>;

/// What opens one record. Durable before the attestation is signed.
pub struct VaultRecord {
    /// The log.
    pub origin: KeyName,
    /// The exchange; zeros if the record stands alone.
    pub exchange: Hash,
    /// Whose record it is.
    pub party: KeyName,
    /// The intent that announced the run.
    pub intent: Hash,
    /// Its nonce.
    pub nonce: [u8; 32],
    /// The attestation's id; none until it is logged.
    pub record: Option<Hash>,
    /// R, from which every salt and blind follows.
    pub secret: Zeroizing<[u8; 32]>,
    /// The key of the items' tags.
    pub item_key: Zeroizing<[u8; 32]>,
    /// The items file that the record is about, as JSONL.
    pub items_file: String,
    /// Epochs of each row.
    pub epochs: u64,
    /// The values, item by item in record order.
    pub items: Vec<VaultItem>,
    /// The hidden header values, by subject; an absent value is none.
    pub subjects: Vec<(String, Option<String>)>,
    /// Coins of audits, by audit id.
    pub coins: Vec<(Hash, [u8; 32])>,
}

impl std::fmt::Debug for VaultRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultRecord")
            .field("party", &self.party)
            .field("record", &self.record)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

impl VaultRecord {
    const FORMAT: &str = "countersign/vault-record/v1";
    const MAX_ITEMS: usize = 1 << 20;
    /// An agreement allows a thousand attempts at an audit.
    const MAX_COINS: usize = 1_000;

    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let items = self.items.iter().map(|item| {
            json::object(
                item.iter().map(|(name, value)| (name.as_str(), STANDARD.encode(value).into())),
            )
        });
        let subjects = self.subjects.iter().map(|(name, value)| {
            let value = value.as_deref().map(Value::from);
            json::object(
                [("name", name.as_str().into())].into_iter().chain(value.map(|v| ("value", v))),
            )
        });
        let coins = self.coins.iter().map(|(audit, coin)| {
            json::object([("audit", audit.to_string().into()), ("coin", hex::encode(coin).into())])
        });
        Zeroizing::new(
            json::object([
                ("format", Self::FORMAT.into()),
                ("origin", self.origin.as_str().into()),
                ("exchange", self.exchange.to_string().into()),
                ("party", self.party.as_str().into()),
                ("intent", self.intent.to_string().into()),
                ("nonce", hex::encode(self.nonce).into()),
                ("record", hex_or_empty(self.record).into()),
                ("R", hex::encode(*self.secret).into()),
                ("item_key", hex::encode(*self.item_key).into()),
                ("items_file", self.items_file.as_str().into()),
                ("epochs", self.epochs.into()),
                ("items", items.collect::<Vec<_>>().into()),
                ("subjects", subjects.collect::<Vec<_>>().into()),
                ("coins", coins.collect::<Vec<_>>().into()),
            ])
            .to_text(),
        )
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = document(&value, Self::FORMAT)?;
        let record = Self {
            origin: name(&fields.required("origin")?)?,
            exchange: Hash::new(fields.required("exchange")?.hex()?),
            party: name(&fields.required("party")?)?,
            intent: Hash::new(fields.required("intent")?.hex()?),
            nonce: fields.required("nonce")?.hex()?,
            record: hash_or_empty(&fields.required("record")?)?,
            secret: Zeroizing::new(fields.required("R")?.hex()?),
            item_key: Zeroizing::new(fields.required("item_key")?.hex()?),
            items_file: fields.required("items_file")?.text(1 << 30)?.to_owned(),
            epochs: fields.required("epochs")?.uint()?,
            items: fields
                .required("items")?
                .array(Self::MAX_ITEMS)?
                .iter()
                .map(item)
                .collect::<Result<_, _>>()?,
            subjects: fields
                .required("subjects")?
                .array(64)?
                .iter()
                .map(subject)
                .collect::<Result<_, _>>()?,
            coins: fields
                .required("coins")?
                .array(Self::MAX_COINS)?
                .iter()
                .map(coin)
                .collect::<Result<_, _>>()?,
        };
        fields.finish()?;
        Ok(record)
    }
}

fn item(node: &Node<'_>) -> Result<VaultItem, DocumentError> {
    let object = node.value().as_object().ok_or_else(|| node.error("must be an object"))?;
    object.iter().map(|(name, value)| Ok((name.to_owned(), base64(&Node::root(value))?))).collect()
}

fn subject(node: &Node<'_>) -> Result<(String, Option<String>), DocumentError> {
    let mut fields = node.fields()?;
    let name = fields.required("name")?.text(128)?.to_owned();
    let value = match fields.optional("value") {
        Some(value) => Some(value.text(1 << 28)?.to_owned()),
        None => None,
    };
    fields.finish()?;
    Ok((name, value))
}

fn coin(node: &Node<'_>) -> Result<(Hash, [u8; 32]), DocumentError> {
    let mut fields = node.fields()?;
    let audit = Hash::new(fields.required("audit")?.hex()?);
    let coin = fields.required("coin")?.hex()?;
    fields.finish()?;
    Ok((audit, coin))
}

fn document<'a>(value: &'a Value, format: &str) -> Result<Fields<'a>, DocumentError> {
    let mut fields = Node::root(value).fields()?;
    let node = fields.required("format")?;
    if node.text(64)? != format {
        return Err(node.error(format!("must be {format:?}")).into());
    }
    Ok(fields)
}

fn name(node: &Node<'_>) -> Result<KeyName, DocumentError> {
    Ok(KeyName::parse(node.text(128)?).map_err(|e| node.error(e.to_string()))?)
}

fn hex_or_empty(hash: Option<Hash>) -> String {
    hash.map_or_else(String::new, |hash| hash.to_string())
}

fn hash_or_empty(node: &Node<'_>) -> Result<Option<Hash>, DocumentError> {
    if node.value().as_str() == Some("") {
        return Ok(None);
    }
    Ok(Some(Hash::new(node.hex()?)))
}

fn base64(node: &Node<'_>) -> Result<Vec<u8>, DocumentError> {
    let text = node.value().as_str().ok_or_else(|| node.error("must be a string"))?;
    Ok(STANDARD.decode(text).map_err(|_| node.error("must be padded standard base64"))?)
}
