//! `party`: a lab enters the log with its keys, replaces them, or revokes one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Fields, Node};
use tlog::{Hash, KeyName};

use super::parts::{Keys, Members};
use crate::bytes::{label, push_prefixed};
use crate::read;
use crate::statement::Common;

/// What the signer does with its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// Enters the log. Signed by `keys.key`.
    Register {
        /// The first keys.
        keys: Keys,
    },
    /// Replaces its keys. Signed by the current key or the recovery key.
    Rotate {
        /// The new keys, all of them.
        keys: Keys,
        /// Signature of the new key over [`possession_message`].
        possession: [u8; 64],
    },
    /// Ends the use of a key. Signed by the current key or the recovery key.
    Revoke {
        /// The revoked key.
        key: [u8; 32],
    },
}

#[derive(Clone, Copy)]
enum Action {
    Register,
    Rotate,
    Revoke,
}

const ACTIONS: &[(&str, Action)] =
    &[("register", Action::Register), ("rotate", Action::Rotate), ("revoke", Action::Revoke)];

impl Party {
    /// The key that this statement brings in or ends.
    pub fn key(&self) -> &[u8; 32] {
        match self {
            Self::Register { keys } | Self::Rotate { keys, .. } => &keys.key,
            Self::Revoke { key } => key,
        }
    }

    pub(crate) fn take(fields: &mut Fields<'_>, common: &Common) -> Result<Self, FieldError> {
        let action = read::required(fields, "action", |node| read::choice(node, ACTIONS))?;
        if let Action::Revoke = action {
            return Ok(Self::Revoke { key: read::required(fields, "key", Node::hex)? });
        }
        let keys = Keys::take(fields)?;
        if keys.name != common.signer {
            return Err(fields.required("name")?.error("must be the signer"));
        }
        if let Action::Register = action {
            return Ok(Self::Register { keys });
        }
        let possession = read::required(fields, "possession", read::base64)?;
        Ok(Self::Rotate { keys, possession })
    }

    pub(crate) fn push(&self, members: &mut Members) {
        match self {
            Self::Register { keys } => {
                members.push(("action", "register".into()));
                keys.push(members);
            }
            Self::Rotate { keys, possession } => {
                members.push(("action", "rotate".into()));
                keys.push(members);
                members.push(("possession", STANDARD.encode(possession).into()));
            }
            Self::Revoke { key } => {
                members.push(("action", "revoke".into()));
                members.push(("key", hex::encode(key).into()));
            }
        }
    }

    pub(crate) fn subject(&self) -> Hash {
        Hash::of(&[self.key()])
    }
}

/// What the new key signs, so that nobody rotates to a key that is not theirs:
/// `L(possession) ‖ lp(origin) ‖ lp(name) ‖ key ‖ recovery ‖ u8 suite ‖ sealing key`.
pub fn possession_message(origin: &KeyName, keys: &Keys) -> Vec<u8> {
    let mut message = label("possession");
    push_prefixed(&mut message, origin.as_str());
    push_prefixed(&mut message, keys.name.as_str());
    message.extend_from_slice(&keys.key);
    message.extend_from_slice(&keys.recovery);
    message.push(keys.sealing.suite());
    message.extend_from_slice(keys.sealing.as_bytes());
    message
}
