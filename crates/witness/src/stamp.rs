//! Whose statements a witness stamps: those of signers that are registered in a log it knows. Its
//! operator names some; anyone else shows the receipt of the statement that registered the key.
//!
//! That a signer is registered keeps strangers from having anything stamped. Whether its key is
//! still current is not asked: a stamp says that the statement existed, and what the statement is
//! worth follows from the log alone.

use std::collections::BTreeMap;

use exchange::predicate::{Party, Predicate, possession_message};
use exchange::{SignedStatement, StatementId};
use tlog::{KeyName, PublicKey, Receipt, VerifierKey};

use crate::decision::Refused;
use crate::logs::Logs;

/// Keys of signers that the operator vouches for.
#[derive(Debug, Clone, Default)]
pub struct Signers(BTreeMap<KeyName, Vec<PublicKey>>);

impl Signers {
    /// A list of public keys with their parties' names.
    pub fn new(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let mut signers = BTreeMap::<_, Vec<_>>::new();
        for key in keys {
            signers.entry(key.name().clone()).or_default().push(*key.public());
        }
        Self(signers)
    }

    fn keys(&self, name: &KeyName) -> &[PublicKey] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Proof that a key is registered, as a caller brings it.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    /// The `party` statement that brought the key in.
    pub envelope: &'a [u8],
    /// Its receipt.
    pub receipt: &'a [u8],
}

/// What is to be stamped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stampable {
    /// The log that the statement is for.
    pub origin: KeyName,
    /// The statement.
    pub id: StatementId,
    /// Who signed it.
    pub signer: KeyName,
}

/// A signature over a statement's id and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Name and hash of the witness's key.
    pub keyid: String,
    /// Unix seconds.
    pub time: u64,
    /// Over [`exchange::predicate::stamp_message`].
    pub signature: [u8; 64],
}

/// Why there is no stamp.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotStamped {
    /// It is no statement, or its signature fails.
    #[error(transparent)]
    Statement(#[from] exchange::Refusal),
    /// The statement is for a log that is not known here.
    #[error("the log {0} is not known here")]
    UnknownLog(KeyName),
    /// The signer is not registered, as far as can be seen here.
    #[error(
        "{0} is not known here as a signer; send the statement that registered the key, with its \
         receipt"
    )]
    UnknownSigner(KeyName),
    /// What should prove the registration does not.
    #[error("registration: {0}")]
    Registration(String),
    /// Nothing is signed at the moment.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Checks that an envelope is a statement, in its one spelling, of a registered signer.
pub fn check_stampable(
    envelope: &[u8],
    registration: Option<Registration<'_>>,
    logs: &Logs,
    signers: &Signers,
) -> Result<Stampable, NotStamped> {
    let signed = SignedStatement::parse(envelope)?;
    let common = signed.statement().common();
    let (origin, signer) = (common.origin.clone(), common.signer.clone());
    if logs.keys(origin.as_str()).is_empty() {
        return Err(NotStamped::UnknownLog(origin));
    }
    let known = signers.keys(&signer);
    if !known.iter().any(|key| signed.envelope().verify(key).is_ok()) {
        let key = match registration {
            Some(registration) => registered(&registration, &origin, &signer, logs)?,
            None if known.is_empty() => return Err(NotStamped::UnknownSigner(signer)),
            None => known[0],
        };
        signed.envelope().verify(&key)?;
    }
    Ok(Stampable { origin, id: signed.id(), signer })
}

/// The key that a statement in the log brought in for this signer.
fn registered(
    registration: &Registration<'_>,
    origin: &KeyName,
    signer: &KeyName,
    logs: &Logs,
) -> Result<PublicKey, NotStamped> {
    let wrong = |e: &dyn std::fmt::Display| NotStamped::Registration(e.to_string());
    let receipt = Receipt::parse(registration.receipt).map_err(|e| wrong(&e))?;
    let keys = logs.keys(origin.as_str());
    let covered = keys.iter().map(|log| receipt.verify(registration.envelope, log));
    let covered = covered.reduce(|first, next| if first.is_ok() { first } else { next });
    covered.ok_or_else(|| NotStamped::UnknownLog(origin.clone()))?.map_err(|e| wrong(&e))?;
    let signed = SignedStatement::parse(registration.envelope).map_err(|e| wrong(&e))?;
    let common = signed.statement().common();
    if common.origin != *origin || common.signer != *signer {
        return Err(wrong(&format!("is of {} in {}", common.signer, common.origin)));
    }
    let Predicate::Party(party) = signed.statement().predicate() else {
        return Err(wrong(&"is not a party statement"));
    };
    let accept = |key| PublicKey::from_bytes(key).map_err(|e| wrong(&e));
    match &**party {
        Party::Register { keys } => {
            let key = accept(&keys.key)?;
            signed.envelope().verify(&key).map_err(|e| wrong(&e))?;
            Ok(key)
        }
        Party::Rotate { keys, possession } => {
            let key = accept(&keys.key)?;
            let message = possession_message(origin, keys);
            let possessed = key.verify(&message, possession);
            possessed.map_err(|_| wrong(&"the new key did not sign that it takes over"))?;
            Ok(key)
        }
        Party::Revoke { .. } => Err(wrong(&"ends a key and brings none in")),
    }
}
