//! The DSSE envelope of a statement: the log's leaf, in its one spelling.
//!
//! Compact JSON with the members `payload`, `payloadType`, `signatures` in this order, exactly one
//! signature, padded standard base64. Two spellings of one signed statement would be two leaves,
//! so any other is refused: the bytes are parsed, written again and compared. The *payload* is
//! never written again; the signature covers its bytes as they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{Node, Rules, Value, array, object};
use tlog::{
    Hash, KeyId, KeyKind, KeyName, MAX_ENTRY, PublicKey, SigningKey, VerifierKey, leaf_hash,
};

use crate::reason::{Reason, Refusal};
use crate::values::StatementId;

/// DSSE's `payloadType` of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Bytes of a payload. As base64 they are 64,000 characters, which leaves 1,535 of a leaf's
/// 65,535 for the rest of the envelope.
pub const MAX_PAYLOAD: usize = 48_000;

/// `name+hhhhhhhh`: which key of whom. A hint where to find the key; the signature decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyReference {
    name: KeyName,
    id: KeyId,
}

/// A text that is not `name+hhhhhhhh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a name, +, and 8 lower-case hexadecimal digits")]
pub struct InvalidKeyReference;

impl KeyReference {
    /// Refers to a key that signs statements.
    pub fn new(name: &KeyName, key: &[u8; 32]) -> Self {
        Self { name: name.clone(), id: KeyId::of(name, KeyKind::Ed25519.type_byte(), key) }
    }

    /// Reads `name+hhhhhhhh`.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyReference> {
        let (name, digits) = text.rsplit_once('+').ok_or(InvalidKeyReference)?;
        let name = KeyName::parse(name).map_err(|_| InvalidKeyReference)?;
        let mut id = [0; 4];
        hex::decode_to_slice(digits, &mut id).map_err(|_| InvalidKeyReference)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidKeyReference);
        }
        Ok(Self { name, id: KeyId::new(id) })
    }

    /// True if it names this key, by the id that it has as a key of its own kind or as one that
    /// signs statements.
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        let public = key.public().as_bytes();
        self.name == *key.name() && (self.id == key.id() || *self == Self::new(key.name(), public))
    }

    /// Whose key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Which key.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl std::fmt::Display for KeyReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.name, self.id)
    }
}

/// A leaf of the log in its one spelling. Holding one says nothing about the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    leaf: Vec<u8>,
    payload: Vec<u8>,
    key: KeyReference,
    signature: [u8; 64],
}

impl Envelope {
    /// Reads a leaf: `LEAF_TOO_LARGE`, `ENVELOPE_NOT_CANONICAL`, `PAYLOAD_TYPE`.
    pub fn parse(leaf: &[u8]) -> Result<Self, Refusal> {
        if leaf.len() > MAX_ENTRY {
            return Err(too_large("leaf", leaf.len(), MAX_ENTRY));
        }
        let document = json::parse(leaf, Rules::SIGNED)
            .map_err(|error| not_canonical(error.problem().to_string()).at(error.pointer()))?;
        let (members, payload_type) = Members::read(&Node::root(&document))?;
        if members.write(payload_type).as_bytes() != leaf {
            return Err(not_canonical("is not spelled as this content must be"));
        }
        if payload_type != PAYLOAD_TYPE {
            let message = format!("must be {PAYLOAD_TYPE}");
            return Err(Refusal::new(Reason::PayloadType, message).at("/payloadType"));
        }
        if members.payload.len() > MAX_PAYLOAD {
            return Err(too_large("payload", members.payload.len(), MAX_PAYLOAD));
        }
        let Members { payload, key, signature } = members;
        Ok(Self { leaf: leaf.to_vec(), payload, key, signature })
    }

    /// Signs a payload: `LEAF_TOO_LARGE`, else it always succeeds. That the payload is a
    /// statement of the key's owner is the caller's care.
    pub fn sign(payload: &[u8], key: &SigningKey) -> Result<Self, Refusal> {
        if payload.len() > MAX_PAYLOAD {
            return Err(too_large("payload", payload.len(), MAX_PAYLOAD));
        }
        let members = Members {
            payload: payload.to_vec(),
            key: KeyReference::new(key.name(), key.public().as_bytes()),
            signature: key.sign(&pre_authentication_encoding(payload)),
        };
        let leaf = members.write(PAYLOAD_TYPE).into_bytes();
        if leaf.len() > MAX_ENTRY {
            return Err(too_large("leaf", leaf.len(), MAX_ENTRY));
        }
        let Members { payload, key, signature } = members;
        Ok(Self { leaf, payload, key, signature })
    }

    /// Checks the signature under a key, whose name and id must be those that the envelope
    /// states: they stand outside of what is signed. `BAD_SIGNATURE`.
    pub fn verify(&self, key: &PublicKey) -> Result<(), Refusal> {
        let message = pre_authentication_encoding(&self.payload);
        let named = KeyReference::new(&self.key.name, key.as_bytes()) == self.key;
        if named && key.verify(&message, &self.signature).is_ok() {
            return Ok(());
        }
        let message = format!("the signature is not by {}", self.key);
        Err(Refusal::new(Reason::BadSignature, message).at("/signatures/0/sig"))
    }

    /// The leaf's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.leaf
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The key that is said to have signed.
    pub fn key(&self) -> &KeyReference {
        &self.key
    }

    /// The Ed25519 signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The id of the statement inside.
    pub fn id(&self) -> StatementId {
        StatementId::of(&self.payload)
    }

    /// The hash of this leaf in the log's tree.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf)
    }
}

/// DSSE's PAE: what is signed instead of the payload, so that its type is signed too.
pub fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let header = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [header.as_bytes(), payload].concat()
}

struct Members {
    payload: Vec<u8>,
    key: KeyReference,
    signature: [u8; 64],
}

impl Members {
    /// Reads all members, and the payload type beside them.
    fn read<'a>(root: &Node<'a>) -> Result<(Self, &'a str), Refusal> {
        let wrong = |error: json::FieldError| not_canonical(error.problem).at(error.pointer);
        let mut fields = root.fields().map_err(wrong)?;
        let payload = fields.required("payload").map_err(wrong)?;
        let payload_type = fields.required("payloadType").map_err(wrong)?;
        let signatures = fields.required("signatures").map_err(wrong)?;
        fields.finish().map_err(wrong)?;

        let text = payload.text(MAX_ENTRY).map_err(wrong)?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| wrong(payload.error("must be padded standard base64")))?;
        let list = signatures.array(1).map_err(wrong)?;
        let [signature] = list.as_slice() else {
            return Err(wrong(signatures.error("must hold one signature")));
        };
        let mut fields = signature.fields().map_err(wrong)?;
        let keyid = fields.required("keyid").map_err(wrong)?;
        let key = KeyReference::parse(keyid.text(MAX_ENTRY).map_err(wrong)?)
            .map_err(|error| wrong(keyid.error(error.to_string())))?;
        let signature =
            crate::read::base64(&fields.required("sig").map_err(wrong)?).map_err(wrong)?;
        fields.finish().map_err(wrong)?;
        let payload_type = payload_type.text(MAX_ENTRY).map_err(wrong)?;
        Ok((Self { payload: bytes, key, signature }, payload_type))
    }

    fn write(&self, payload_type: &str) -> String {
        let signature = object([
            ("keyid", self.key.to_string().into()),
            ("sig", Value::from(STANDARD.encode(self.signature))),
        ]);
        let envelope = object([
            ("payload", STANDARD.encode(&self.payload).into()),
            ("payloadType", payload_type.into()),
            ("signatures", array([signature])),
        ]);
        envelope.to_text()
    }
}

fn not_canonical(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::EnvelopeNotCanonical, message)
}

fn too_large(what: &str, bytes: usize, limit: usize) -> Refusal {
    let message = format!("the {what} has {bytes} bytes, at most {limit} are allowed");
    Refusal::new(Reason::LeafTooLarge, message)
}
