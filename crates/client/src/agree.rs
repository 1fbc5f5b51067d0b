//! Coming to an agreement: a draft becomes a proposal, its item key goes to the other side in an
//! envelope outside of the log, and accepting rests on having opened it and recomputed the items.

use exchange::draft::{Draft, DraftError, Material};
use exchange::predicate::{Accept, Agreement, Keys, Predicate};
use exchange::sealed::{self, OpenError, SealError, SealedFor, SealingSecret, seal};
use exchange::{Common, Refusal, StatementId};
use json::{FieldError, Node, Rules};
use record::items::{AgreedItems, ItemKey, ItemsFile, ItemsLimit};
use tlog::{Hash, KeyName, PublicKey, SigningKey, TreeHead, VerifierKey};
use zeroize::Zeroizing;

use crate::Entropy;
use crate::connection::CallError;
use crate::entropy::Generator;
use crate::replica::Replica;
use crate::session::{Logged, Session, SessionError};
use crate::vault::{Vault, VaultAgreement, VaultError};

/// Why there is no agreement.
#[derive(Debug, thiserror::Error)]
pub enum AgreeError {
    /// The log could not be reached, refused, or gave a false answer; or the vault failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The draft is wrong.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Too few or too many items.
    #[error(transparent)]
    Items(#[from] ItemsLimit),
    /// Not signed, since a log would refuse it.
    #[error("the log would refuse this: {0}")]
    Refused(#[from] Refusal),
    /// The proposer is not the first party of its draft.
    #[error("the draft has {first} as its first party, and you are {own}")]
    NotFirst {
        /// The draft's first party.
        first: KeyName,
        /// Who would propose it.
        own: KeyName,
    },
    /// Sealing the item key failed.
    #[error("sealing the item key: {0}")]
    Seal(#[from] SealError),
    /// The envelope is not one for this reader, or was changed.
    #[error("the item key's envelope: {0}")]
    Open(#[from] OpenError),
    /// The file is no envelope at all.
    #[error("this is no envelope with an item key")]
    NoEnvelope,
    /// It was made for another log, agreement, or reader.
    #[error("the item key's envelope is for {found}, not {expected}")]
    Elsewhere {
        /// What it is for.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// What was sealed is no item key.
    #[error("the item key's envelope holds no item key: {0}")]
    Content(String),
    /// The key is not the one that the agreement commits to.
    #[error("the item key is not the one that the agreement commits to")]
    OtherKey,
    /// The items file is not the one that the agreement is about.
    #[error(
        "the items file is not the agreed one: {found_items} items with root {found}, agreed are \
         {agreed_items} with root {agreed}"
    )]
    OtherItems {
        /// Items of the file.
        found_items: u64,
        /// Their root.
        found: Hash,
        /// Agreed items.
        agreed_items: u64,
        /// The agreed root.
        agreed: Hash,
    },
    /// A key in the agreement is not the one that this side has pinned.
    #[error("the agreement embeds another key of {name} than the one that you trust")]
    SubstitutedKey {
        /// Whose key.
        name: KeyName,
    },
    /// A member's key was not pinned.
    #[error(
        "no key of {name} is pinned, so nobody can tell whether the agreement embeds the right one"
    )]
    Unpinned {
        /// Whose key.
        name: KeyName,
    },
    /// It waits for somebody else.
    #[error("this agreement is not for {0} to accept")]
    NotOurs(KeyName),
    /// The member is not registered.
    #[error("{0} is not registered in this log")]
    NotRegistered(KeyName),
}

impl From<CallError> for AgreeError {
    fn from(error: CallError) -> Self {
        Self::Session(error.into())
    }
}

impl From<VaultError> for AgreeError {
    fn from(error: VaultError) -> Self {
        Self::Session(error.into())
    }
}

/// A proposal in the log.
#[derive(Debug)]
pub struct Proposed {
    /// The agreement's statement.
    pub logged: Logged,
    /// Its terms.
    pub agreement: Agreement,
    /// The item key, sealed to the other party: goes to it by any way, not through the log.
    pub item_key: Vec<u8>,
}

/// Proposes what a draft says, about these items under a fresh item key. The key is in the vault
/// before the proposal is signed.
pub async fn propose<E: Entropy>(
    session: &mut Session<'_, E>,
    draft: &Draft,
    file: &ItemsFile,
) -> Result<Proposed, AgreeError> {
    let own = session.key().name().clone();
    let [first, second] = draft.parties();
    if *first.name() != own {
        return Err(AgreeError::NotFirst { first: first.name().clone(), own });
    }
    session.register().await?;
    let replica = Replica::of(session.connection()).await?;
    let registry = replica.state().registry();
    let item_key = ItemKey::new(session.entropy().bytes());
    let items = file.agree(&item_key, draft.epochs())?;
    let common = session.common_in(None)?;
    let keys = |name: &KeyName| registry.party(name).map(keys_of);
    let material = Material { common: &common, keys: &keys, items: &items, item_key: &item_key };
    let agreement = draft.agreement(&material)?;
    let prepared = session.prepare(Predicate::Agreement(Box::new(agreement.clone()))).await?;
    replica.state().check_unsigned(prepared.statement())?;
    let kept = VaultAgreement {
        origin: session.origin().clone(),
        agreement: prepared.id().hash(),
        item_key: Zeroizing::new(*item_key.as_bytes()),
        items_file: file.to_jsonl(),
        epochs: draft.epochs(),
    };
    session.vault().put_agreement(&kept, session.entropy())?;
    let logged = session.send(prepared).await?;
    let envelope = hand_over(session, &replica, &kept, second.name())?;
    Ok(Proposed { logged, agreement, item_key: envelope })
}

fn keys_of(party: &exchange::Party) -> Keys {
    Keys {
        name: party.name().clone(),
        // Without a current key nobody registered is found: the all-zero key is nobody's.
        key: party.current().map_or([0; 32], |key| *key.as_bytes()),
        sealing: party.sealing().clone(),
        recovery: *party.recovery().as_bytes(),
    }
}

const FORMAT: &str = "countersign/item-key/v1";

/// Common members under which an item key is sealed: of them only log, agreement and sender count.
fn common_of(origin: &KeyName, agreement: StatementId, sender: &KeyName) -> Common {
    Common {
        origin: origin.clone(),
        exchange: Some(agreement),
        signer: sender.clone(),
        number: 1,
        previous: None,
        seen: TreeHead::EMPTY,
    }
}

/// The item key of an agreement, sealed to a member.
pub fn hand_over<E: Entropy>(
    session: &mut Session<'_, E>,
    replica: &Replica,
    kept: &VaultAgreement,
    reader: &KeyName,
) -> Result<Vec<u8>, AgreeError> {
    let party = replica.state().registry().party(reader);
    let party = party.ok_or_else(|| AgreeError::NotRegistered(reader.clone()))?;
    let id = StatementId::new(*kept.agreement.as_bytes());
    let body = Zeroizing::new(
        json::object([
            ("format", FORMAT.into()),
            ("agreement", id.to_string().into()),
            ("key", hex::encode(*kept.item_key).into()),
        ])
        .to_text(),
    );
    let signer: &SigningKey = session.key();
    let common = common_of(session.origin(), id, signer.name());
    let mut generator = Generator(session.entropy());
    let to = (reader, party.sealing());
    let sealed = seal(&common, &StatementId::ZERO, to, body.as_bytes(), signer, &mut generator)?;
    Ok(sealed.artifact)
}

/// An item key that came in an envelope, checked against its agreement.
#[derive(Debug)]
pub struct HandedKey {
    /// Who sealed it.
    pub sender: KeyName,
    /// The agreement.
    pub agreement: StatementId,
    /// The key.
    pub key: ItemKey,
}

/// Opens the envelope of an item key and compares the key with what the agreement commits to.
pub fn open_item_key(
    envelope: &[u8],
    replica: &Replica,
    vault: &Vault,
    id: &StatementId,
) -> Result<HandedKey, AgreeError> {
    let agreement = replica.agreement(id).ok_or(AgreeError::NoEnvelope)?;
    let own = vault.party()?;
    let origin = replica.state().origin();
    let (place, named) = SealedFor::of_artifact(envelope).ok_or(AgreeError::NoEnvelope)?;
    let elsewhere = |found: &dyn ToString, expected: &dyn ToString| AgreeError::Elsewhere {
        found: found.to_string(),
        expected: expected.to_string(),
    };
    if place.origin != *origin {
        return Err(elsewhere(&format!("the log {}", place.origin), origin));
    }
    if place.exchange != *id {
        return Err(elsewhere(&format!("the agreement {}", place.exchange), id));
    }
    if place.reader != own.name {
        return Err(elsewhere(&place.reader, &own.name));
    }
    let member = agreement.parties.iter().any(|member| member.keys.name == place.sender);
    if !member {
        return Err(elsewhere(&format!("a sender {}", place.sender), &"a party's"));
    }
    let sender = replica.state().registry().party(&place.sender);
    let sender = sender.ok_or_else(|| AgreeError::NotRegistered(place.sender.clone()))?;
    let keys: Vec<PublicKey> = sender.keys().iter().map(|held| held.public).collect();
    let common = common_of(origin, *id, &place.sender);
    let secret = SealingSecret::X25519(own.sealing);
    let opened = sealed::open(&common, &StatementId::ZERO, &named, envelope, &secret, &keys)?;
    let key = read_key(&opened.body, id).map_err(|error| AgreeError::Content(error.to_string()))?;
    if key.commitment() != agreement.evaluation.item_key {
        return Err(AgreeError::OtherKey);
    }
    Ok(HandedKey { sender: place.sender, agreement: *id, key })
}

fn read_key(body: &[u8], id: &StatementId) -> Result<ItemKey, FieldError> {
    let wrong = |problem: String| FieldError { pointer: String::new(), problem };
    let value = json::parse(body, Rules::SIGNED).map_err(|error| wrong(error.to_string()))?;
    let mut fields = Node::root(&value).fields()?;
    let format = fields.required("format")?;
    if format.text(64)? != FORMAT {
        return Err(format.error(format!("must be {FORMAT:?}")));
    }
    let agreement = fields.required("agreement")?;
    if agreement.hex::<32>()? != *id.as_bytes() {
        return Err(agreement.error("is another agreement"));
    }
    let key = ItemKey::new(fields.required("key")?.hex()?);
    fields.finish()?;
    Ok(key)
}

/// Compares the keys that an agreement embeds with those that this side has pinned. Every member
/// but oneself must be pinned.
pub fn check_pinned(
    agreement: &Agreement,
    own: &SigningKey,
    pinned: &[VerifierKey],
) -> Result<(), AgreeError> {
    let parties = agreement.parties.iter().map(|member| &member.keys);
    for keys in parties.chain(&agreement.auditors) {
        let known = if keys.name == *own.name() {
            Some(*own.public().as_bytes())
        } else {
            let pin = pinned.iter().find(|pin| *pin.name() == keys.name);
            pin.map(|pin| *pin.public().as_bytes())
        };
        match known {
            None => return Err(AgreeError::Unpinned { name: keys.name.clone() }),
            Some(key) if key != keys.key => {
                return Err(AgreeError::SubstitutedKey { name: keys.name.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The agreed items under this key, if this items file is the agreed one.
pub fn check_items(
    agreement: &Agreement,
    file: &ItemsFile,
    key: &ItemKey,
) -> Result<AgreedItems, AgreeError> {
    let terms = &agreement.evaluation;
    let items = file.agree(key, terms.epochs)?;
    if items.root() != terms.items_root || items.count() != terms.items {
        return Err(AgreeError::OtherItems {
            found_items: items.count(),
            found: items.root(),
            agreed_items: terms.items,
            agreed: terms.items_root,
        });
    }
    Ok(items)
}

/// Accepts a proposal: what it takes was opened, recomputed and kept before anything is signed.
pub async fn accept<E: Entropy>(
    session: &mut Session<'_, E>,
    replica: &Replica,
    id: StatementId,
    pinned: &[VerifierKey],
    (envelope, file): (&[u8], &ItemsFile),
) -> Result<Logged, AgreeError> {
    let own = session.key().name().clone();
    let agreement = replica.agreement(&id).ok_or_else(|| AgreeError::NotOurs(own.clone()))?;
    if agreement.parties[1].keys.name != own {
        return Err(AgreeError::NotOurs(own));
    }
    check_pinned(&agreement, session.key(), pinned)?;
    let handed = open_item_key(envelope, replica, session.vault(), &id)?;
    check_items(&agreement, file, &handed.key)?;
    keep(session, id, &agreement, file, &handed.key)?;
    let prepared = session.prepare_in(Some(id), Predicate::Accept(Accept { accepts: id })).await?;
    replica.state().check_unsigned(prepared.statement())?;
    Ok(session.send(prepared).await?)
}

/// Puts item key and items of an agreement into the vault, once both were checked.
pub fn keep<E: Entropy>(
    session: &mut Session<'_, E>,
    id: StatementId,
    agreement: &Agreement,
    file: &ItemsFile,
    key: &ItemKey,
) -> Result<(), AgreeError> {
    let kept = VaultAgreement {
        origin: session.origin().clone(),
        agreement: id.hash(),
        item_key: Zeroizing::new(*key.as_bytes()),
        items_file: file.to_jsonl(),
        epochs: agreement.evaluation.epochs,
    };
    Ok(session.vault().put_agreement(&kept, session.entropy())?)
}
