//! Receipts (C2SP tlog-proof): that an entry is in a signed and cosigned tree, in one file.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>               optional, and signed by nobody
//! index <n>
//! <base64(hash)>               the inclusion proof, the leaf's sibling first
//! <empty line>
//! <checkpoint with its signatures, byte for byte>
//! ```
//!
//! The entry is not in the file: whoever verifies a receipt has it in hand.

use std::fmt;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decimal::parse_decimal;
use crate::note::MAX_NOTE;
use crate::{
    CheckpointError, Hash, MAX_PROOF, Note, NoteError, Policy, ProofError, SignedCheckpoint,
    TreeHead, Untrusted, VerifiedCheckpoint, VerifierKey, leaf_hash, verify_inclusion,
};

/// Largest receipt in bytes: a note, 63 hashes of 45 bytes and 100 kB of extra data.
pub const MAX_RECEIPT: usize = MAX_NOTE + 128 * 1024;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why bytes are no receipt, or why a receipt proves nothing about an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Larger than [`MAX_RECEIPT`].
    #[error("receipt has {size} bytes, at most {MAX_RECEIPT} are allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
    },
    /// Not UTF-8.
    #[error("receipt is not UTF-8")]
    Encoding,
    /// The first line is not that of tlog-proof v1.
    #[error("receipt does not begin with {HEADER}")]
    Header,
    /// The extra data are not padded base64.
    #[error("extra data of the receipt are not base64")]
    Extra,
    /// No line `index <n>` where there should be one.
    #[error("receipt has no index, or one that is not a decimal below 2^63")]
    Index,
    /// A line of the proof is not the base64 of 32 bytes.
    #[error("hash {position} of the receipt's proof is not the base64 of a hash")]
    Hash {
        /// Which, counted from 0.
        position: usize,
    },
    /// More than [`MAX_PROOF`] hashes.
    #[error("receipt has more than {MAX_PROOF} hashes")]
    TooManyHashes,
    /// No empty line before a checkpoint.
    #[error("receipt ends before its checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no signed note.
    #[error("checkpoint of the receipt: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not the log's.
    #[error("checkpoint of the receipt: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is not valid under the policy.
    #[error("checkpoint of the receipt: {0}")]
    Untrusted(#[from] Untrusted),
    /// The entry is not in the tree at that index.
    #[error("the receipt is not for this entry: {0}")]
    Proof(#[from] ProofError),
}

/// An index, an inclusion proof and a checkpoint; nothing of it is checked before `verify`.
/// `Display` writes the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    extra: Option<Vec<u8>>,
    index: u64,
    proof: Vec<Hash>,
    checkpoint: Note,
}

impl Receipt {
    /// A receipt over a checkpoint note, taken byte for byte.
    pub fn new(index: u64, proof: Vec<Hash>, checkpoint: &[u8]) -> Result<Self, ReceiptError> {
        if proof.len() > MAX_PROOF {
            return Err(ReceiptError::TooManyHashes);
        }
        Ok(Self { extra: None, index, proof, checkpoint: Note::parse(checkpoint)? })
    }

    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > MAX_RECEIPT {
            return Err(ReceiptError::TooLarge { size: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReceiptError::Encoding)?;
        let (header, mut rest) = text.split_once('\n').ok_or(ReceiptError::Header)?;
        if header != HEADER {
            return Err(ReceiptError::Header);
        }
        let mut extra = None;
        if let Some(tail) = rest.strip_prefix("extra ") {
            let (line, tail) = tail.split_once('\n').ok_or(ReceiptError::Extra)?;
            extra = Some(STANDARD.decode(line).map_err(|_| ReceiptError::Extra)?);
            rest = tail;
        }
        let (line, mut rest) = rest.split_once('\n').ok_or(ReceiptError::Index)?;
        let index =
            line.strip_prefix("index ").and_then(parse_decimal).ok_or(ReceiptError::Index)?;
        let mut proof = Vec::new();
        loop {
            let (line, tail) = rest.split_once('\n').ok_or(ReceiptError::NoCheckpoint)?;
            rest = tail;
            if line.is_empty() {
                break;
            }
            if proof.len() == MAX_PROOF {
                return Err(ReceiptError::TooManyHashes);
            }
            let position = proof.len();
            proof.push(Hash::from_base64(line).map_err(|_| ReceiptError::Hash { position })?);
        }
        Ok(Self { extra, index, proof, checkpoint: Note::parse(rest.as_bytes())? })
    }

    /// Checks that the log's checkpoint in this receipt covers `entry`, whoever cosigned it.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifierKey,
    ) -> Result<SignedCheckpoint, ReceiptError> {
        let checkpoint = SignedCheckpoint::of_note(self.checkpoint.clone(), log)?;
        self.check_inclusion(entry, checkpoint.head())?;
        Ok(checkpoint)
    }

    /// Checks that a checkpoint which is valid under the policy covers `entry`.
    pub fn verify_under(
        &self,
        entry: &[u8],
        policy: &Policy,
    ) -> Result<VerifiedCheckpoint, ReceiptError> {
        let verified = policy.verify(&self.checkpoint)?;
        self.check_inclusion(entry, verified.head())?;
        Ok(verified)
    }

    fn check_inclusion(&self, entry: &[u8], head: &TreeHead) -> Result<(), ReceiptError> {
        Ok(verify_inclusion(&leaf_hash(entry), self.index, head, &self.proof)?)
    }

    /// Index of the entry in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint's note, unverified.
    pub fn checkpoint(&self) -> &Note {
        &self.checkpoint
    }

    /// Extra data: a hint at most, since nobody signed them.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        f.write_char('\n')?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.proof {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
