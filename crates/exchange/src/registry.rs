//! Parties and their keys, by log order: whose key is current is a question to the leaves before,
//! never to a claimed time. A rotation or revocation is valid from its own leaf on.
//!
//! A registry verifies signatures without the rest of the state, so many threads can do it with
//! a copy. The state asks it once more when the statement's turn has come.

use std::collections::BTreeMap;

use tlog::{KeyName, PublicKey};

use crate::envelope::KeyReference;
use crate::predicate::{self, Keys, Predicate, SealingKey, possession_message};
use crate::reason::{Reason, Refusal};
use crate::statement::{SignedStatement, Statement};
use crate::values::StatementId;

/// Parties are numbered in the order of their registration, so that tables need not hold names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartyNumber(u32);

impl PartyNumber {
    /// The number, from 0.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Signs statements.
    Current,
    /// Was replaced; the recovery key can bring it back.
    Rotated,
    /// Was ended for good.
    Revoked,
}

/// A key that a party has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// The key.
    pub public: PublicKey,
    /// What it may do.
    pub standing: Standing,
    /// The leaf that last changed its standing.
    pub since: u64,
}

/// A registered party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    number: PartyNumber,
    name: KeyName,
    /// Each key once; at most one is current.
    keys: Vec<HeldKey>,
    recovery: PublicKey,
    sealing: SealingKey,
}

impl Party {
    /// Its number in the order of registration.
    pub fn number(&self) -> PartyNumber {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key that signs its statements; none after a revocation.
    pub fn current(&self) -> Option<&PublicKey> {
        let current = self.keys.iter().find(|held| held.standing == Standing::Current);
        current.map(|held| &held.public)
    }

    /// All keys that it has or had, in the order in which they came.
    pub fn keys(&self) -> &[HeldKey] {
        &self.keys
    }

    /// The key that replaces the others.
    pub fn recovery(&self) -> &PublicKey {
        &self.recovery
    }

    /// The key that envelopes to it are sealed to.
    pub fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    fn held(&self, key: &[u8; 32]) -> Option<&HeldKey> {
        self.keys.iter().find(|held| held.public.as_bytes() == key)
    }

    /// Whether this key may sign: `KEY_NOT_CURRENT`, `KEY_REVOKED`.
    fn check_signer(&self, key: &PublicKey, predicate: &Predicate) -> Result<(), Refusal> {
        match self.held(key.as_bytes()).map(|held| held.standing) {
            Some(Standing::Current) => Ok(()),
            _ if *key == self.recovery && matches!(predicate, Predicate::Party(_)) => Ok(()),
            Some(Standing::Revoked) => {
                Err(Refusal::new(Reason::KeyRevoked, format!("{} revoked this key", self.name)))
            }
            _ => Err(not_current(&self.name)),
        }
    }

    fn set(&mut self, public: PublicKey, standing: Standing, since: u64) {
        match self.keys.iter_mut().find(|held| held.public == public) {
            Some(held) => {
                held.standing = standing;
                held.since = since;
            }
            None => self.keys.push(HeldKey { public, standing, since }),
        }
    }
}

fn not_current(name: &KeyName) -> Refusal {
    Refusal::new(Reason::KeyNotCurrent, format!("this is not the current key of {name}"))
}

/// All parties, and the origin of the log that knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    origin: KeyName,
    parties: BTreeMap<KeyName, Party>,
}

/// A statement of this log with a good signature. Whether it is in order is the state's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStatement {
    signed: SignedStatement,
    /// The key that signed.
    key: PublicKey,
    /// The keys that a `party` statement brings in, both of them good keys.
    brings: Option<NewKeys>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NewKeys {
    key: PublicKey,
    recovery: PublicKey,
}

impl NewKeys {
    /// `WEAK_KEY` for a key that is not canonical, of small order or not torsion free.
    fn accept(keys: &Keys) -> Result<Self, Refusal> {
        let accept = |bytes, pointer| {
            PublicKey::from_bytes(bytes)
                .map_err(|error| Refusal::new(Reason::WeakKey, error.to_string()).at(pointer))
        };
        Ok(Self {
            key: accept(&keys.key, "/predicate/key")?,
            recovery: accept(&keys.recovery, "/predicate/recovery")?,
        })
    }
}

impl VerifiedStatement {
    /// SHA-256 of the payload.
    pub fn id(&self) -> StatementId {
        self.signed.id()
    }

    /// What is said.
    pub fn statement(&self) -> &Statement {
        self.signed.statement()
    }

    /// The statement with its envelope.
    pub fn signed(&self) -> &SignedStatement {
        &self.signed
    }

    /// The key that signed.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

impl Registry {
    /// Nobody is registered yet.
    pub fn new(origin: KeyName) -> Self {
        Self { origin, parties: BTreeMap::new() }
    }

    /// The log's origin.
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// The party of this name.
    pub fn party(&self, name: &KeyName) -> Option<&Party> {
        self.parties.get(name)
    }

    /// All parties, by name.
    pub fn parties(&self) -> impl Iterator<Item = &Party> {
        self.parties.values()
    }

    /// Checks origin, new keys and signature: `WRONG_ORIGIN`, `WEAK_KEY`, `BAD_POSSESSION`,
    /// `BAD_SIGNATURE`, `UNKNOWN_SIGNER`, `KEY_NOT_CURRENT`, `KEY_REVOKED`. Where the signer or
    /// the key is unknown there is nothing to check a signature with, so that answers first.
    pub fn verify(&self, signed: SignedStatement) -> Result<VerifiedStatement, Refusal> {
        self.verify_or_return(signed).map_err(|(refusal, _)| refusal)
    }

    /// Verifies a statement of a *part* of a log and makes its change of keys, if that is its
    /// signer's to make. Statements come in log order. What else is out of order can't be told from
    /// a part.
    pub fn take(
        &mut self,
        index: u64,
        signed: SignedStatement,
    ) -> Result<VerifiedStatement, Refusal> {
        let verified = self.verify(signed)?;
        // A change of keys is believed by all that follows.
        self.check_permission(&verified)?;
        self.check_name(verified.statement())?;
        self.apply(index, &verified);
        Ok(verified)
    }

    /// As [`verify`](Self::verify); a refused statement comes back.
    pub(crate) fn verify_or_return(
        &self,
        signed: SignedStatement,
    ) -> Result<VerifiedStatement, (Refusal, Box<SignedStatement>)> {
        match self.examine(&signed) {
            Ok((key, brings)) => Ok(VerifiedStatement { signed, key, brings }),
            Err(refusal) => Err((refusal, Box::new(signed))),
        }
    }

    fn examine(&self, signed: &SignedStatement) -> Result<(PublicKey, Option<NewKeys>), Refusal> {
        let statement = signed.statement();
        if statement.common().origin != self.origin {
            let message = format!("this log is {}", self.origin);
            return Err(Refusal::new(Reason::WrongOrigin, message).at("/predicate/origin"));
        }
        let brings = match statement.predicate() {
            Predicate::Party(party) => self.accept_keys(party)?,
            _ => None,
        };
        Ok((self.authenticate(signed)?, brings))
    }

    fn accept_keys(&self, party: &predicate::Party) -> Result<Option<NewKeys>, Refusal> {
        match party {
            predicate::Party::Register { keys } => NewKeys::accept(keys).map(Some),
            predicate::Party::Rotate { keys, possession } => {
                let accepted = NewKeys::accept(keys)?;
                let message = possession_message(&self.origin, keys);
                if accepted.key.verify(&message, possession).is_err() {
                    let message = "the new key did not sign that it takes over";
                    let refusal = Refusal::new(Reason::BadPossession, message);
                    return Err(refusal.at("/predicate/possession"));
                }
                Ok(Some(accepted))
            }
            predicate::Party::Revoke { .. } => Ok(None),
        }
    }

    /// The key that signed, if it is one that may.
    fn authenticate(&self, signed: &SignedStatement) -> Result<PublicKey, Refusal> {
        let (statement, envelope) = (signed.statement(), signed.envelope());
        let signer = &statement.common().signer;
        if let Predicate::Party(party) = statement.predicate()
            && let predicate::Party::Register { keys } = party.as_ref()
        {
            let key = NewKeys::accept(keys)?.key;
            envelope.verify(&key)?;
            return Ok(key);
        }
        let party = self.parties.get(signer).ok_or_else(|| unknown(signer))?;
        let named: Vec<&PublicKey> = std::iter::once(&party.recovery)
            .chain(party.keys.iter().map(|held| &held.public))
            .filter(|key| KeyReference::new(signer, key.as_bytes()) == *envelope.key())
            .collect();
        // Ids of keys have 32 bits: a party can give several of its keys one id if it wants to.
        let mut refusals = Vec::new();
        for key in named {
            match envelope.verify(key) {
                Ok(()) => {
                    party.check_signer(key, statement.predicate())?;
                    return Ok(*key);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(refusals.pop().unwrap_or_else(|| not_current(signer).at("/signatures/0/keyid")))
    }

    /// The party that owns a statement which did not verify: its signer, if the key that signed
    /// is one that may. A leaf that nobody owns is noise.
    pub(crate) fn owner(&self, signed: &SignedStatement) -> Option<PartyNumber> {
        let key = self.authenticate(signed).ok()?;
        self.owner_by_key(signed.statement(), &key)
    }

    /// As [`owner`](Self::owner), where `key` is known to have signed.
    pub(crate) fn owner_by_key(
        &self,
        statement: &Statement,
        key: &PublicKey,
    ) -> Option<PartyNumber> {
        let common = statement.common();
        let party = self.parties.get(&common.signer)?;
        let ours =
            common.origin == self.origin && party.check_signer(key, statement.predicate()).is_ok();
        ours.then_some(party.number)
    }

    /// Whether the signer may say this now: `UNKNOWN_SIGNER`, `KEY_NOT_CURRENT`, `KEY_REVOKED`,
    /// `WRONG_ROLE`. A registration passes, since its name decides.
    pub(crate) fn check_permission(&self, verified: &VerifiedStatement) -> Result<(), Refusal> {
        let predicate = verified.statement().predicate();
        let signer = &verified.statement().common().signer;
        let change = match predicate {
            Predicate::Party(change) => Some(change.as_ref()),
            _ => None,
        };
        if let Some(predicate::Party::Register { .. }) = change {
            return Ok(());
        }
        let party = self.parties.get(signer).ok_or_else(|| unknown(signer))?;
        party.check_signer(&verified.key, predicate)?;
        change.map_or(Ok(()), |change| party.check_change(change, &verified.key))
    }

    /// `NAME_TAKEN`.
    pub(crate) fn check_name(&self, statement: &Statement) -> Result<(), Refusal> {
        match statement.predicate() {
            Predicate::Party(party)
                if matches!(party.as_ref(), predicate::Party::Register { .. })
                    && self.parties.contains_key(&statement.common().signer) =>
            {
                let message = format!("{} is registered", statement.common().signer);
                Err(Refusal::new(Reason::NameTaken, message).at("/predicate/name"))
            }
            _ => Ok(()),
        }
    }

    /// Makes a `party` statement's change, which was checked before.
    pub(crate) fn apply(&mut self, index: u64, verified: &VerifiedStatement) {
        let Predicate::Party(change) = verified.statement().predicate() else { return };
        let name = &verified.statement().common().signer;
        let next = PartyNumber(
            u32::try_from(self.parties.len()).expect("a log has less than 2^32 parties"),
        );
        match (change.as_ref(), verified.brings) {
            (predicate::Party::Register { keys }, Some(new)) => {
                let current =
                    HeldKey { public: new.key, standing: Standing::Current, since: index };
                let party = Party {
                    number: next,
                    name: name.clone(),
                    keys: vec![current],
                    recovery: new.recovery,
                    sealing: keys.sealing.clone(),
                };
                self.parties.entry(name.clone()).or_insert(party);
            }
            (predicate::Party::Rotate { keys, .. }, Some(new)) => {
                let Some(party) = self.parties.get_mut(name) else { return };
                if let Some(current) = party.current().copied() {
                    party.set(current, Standing::Rotated, index);
                }
                party.set(new.key, Standing::Current, index);
                party.recovery = new.recovery;
                party.sealing = keys.sealing.clone();
            }
            (predicate::Party::Revoke { key }, _) => {
                let Some(party) = self.parties.get_mut(name) else { return };
                if let Some(public) = party.held(key).map(|held| held.public) {
                    party.set(public, Standing::Revoked, index);
                }
            }
            _ => {}
        }
    }
}

impl Party {
    /// Which change of keys which key may make. Only the recovery key changes `recovery`, brings
    /// a replaced key back, or ends another key than the one in use; a revoked key never returns.
    fn check_change(&self, change: &predicate::Party, key: &PublicKey) -> Result<(), Refusal> {
        let by_recovery = *key == self.recovery;
        let wrong_role =
            |message: &str, pointer| Err(Refusal::new(Reason::WrongRole, message).at(pointer));
        let held = self.held(change.key()).map(|held| held.standing);
        if held == Some(Standing::Revoked) {
            let message = "this key was revoked, which is for good";
            return Err(Refusal::new(Reason::KeyRevoked, message).at("/predicate/key"));
        }
        match change {
            predicate::Party::Rotate { keys, .. } if !by_recovery => {
                if held == Some(Standing::Rotated) {
                    let message = "only the recovery key brings a replaced key back";
                    return wrong_role(message, "/predicate/key");
                }
                if keys.recovery != *self.recovery.as_bytes() {
                    let message = "only the recovery key changes the recovery key";
                    return wrong_role(message, "/predicate/recovery");
                }
                Ok(())
            }
            predicate::Party::Revoke { .. } => match held {
                None => Err(not_current(&self.name).at("/predicate/key")),
                Some(Standing::Rotated) if !by_recovery => {
                    let message = "only the recovery key revokes a replaced key";
                    wrong_role(message, "/predicate/key")
                }
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn unknown(name: &KeyName) -> Refusal {
    Refusal::new(Reason::UnknownSigner, format!("nobody registered as {name}"))
        .at("/predicate/signer")
}
