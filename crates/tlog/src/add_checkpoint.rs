//! What a log sends to a witness, and how a witness must answer (C2SP tlog-witness,
//! `add-checkpoint`).
//!
//! ```text
//! old <size>
//! <base64(hash)>               the consistency proof, at most 63 lines
//! <empty line>
//! <checkpoint>
//! ```
//!
//! [`decide`] is the rule alone. A witness that follows it reads its record, decides, persists
//! the new head durably and takes the time in one atomic step per origin, and only then cosigns.

use std::fmt;

use crate::decimal::parse_decimal;
use crate::note::MAX_NOTE;
use crate::{
    Checkpoint, CheckpointError, Hash, MAX_PROOF, Note, NoteError, ProofError, SignedCheckpoint,
    TreeHead, VerifierKey, verify_consistency,
};

/// Largest request in bytes.
pub const MAX_REQUEST: usize = MAX_NOTE;

/// Content type of the answer 409, whose body is the size that the witness last cosigned.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Status 400: bytes that are no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than [`MAX_REQUEST`].
    #[error("request has {size} bytes, at most {MAX_REQUEST} are allowed")]
    TooLarge {
        /// Bytes given.
        size: usize,
    },
    /// Not UTF-8.
    #[error("request is not UTF-8")]
    Encoding,
    /// The first line is not `old <size>`.
    #[error("request does not begin with old and a decimal below 2^63")]
    Old,
    /// A line of the proof is not the base64 of 32 bytes.
    #[error("hash {position} of the request's proof is not the base64 of a hash")]
    Hash {
        /// Which, counted from 0.
        position: usize,
    },
    /// More than [`MAX_PROOF`] hashes.
    #[error("request has more than {MAX_PROOF} hashes")]
    TooManyHashes,
    /// No empty line before a checkpoint.
    #[error("request ends before its checkpoint")]
    NoCheckpoint,
    /// The checkpoint is no signed note, or its text no checkpoint.
    #[error("checkpoint of the request: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A request that parses. Nobody vouches for any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old: u64,
    proof: Vec<Hash>,
    note: Note,
    checkpoint: Checkpoint,
}

impl AddCheckpoint {
    /// Asks for a cosignature of `checkpoint` by a witness that last cosigned size `old`, 0 if
    /// nothing. Send the checkpoint
    /// [without its cosignatures](SignedCheckpoint::without_cosignatures).
    pub fn new(old: u64, proof: Vec<Hash>, checkpoint: &SignedCheckpoint) -> Self {
        let (note, checkpoint) = (checkpoint.note().clone(), checkpoint.checkpoint().clone());
        Self { old, proof, note, checkpoint }
    }

    /// Reads a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_REQUEST {
            return Err(RequestError::TooLarge { size: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RequestError::Encoding)?;
        let (line, mut rest) = text.split_once('\n').ok_or(RequestError::Old)?;
        let old = line.strip_prefix("old ").and_then(parse_decimal).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let (line, tail) = rest.split_once('\n').ok_or(RequestError::NoCheckpoint)?;
            rest = tail;
            if line.is_empty() {
                break;
            }
            if proof.len() == MAX_PROOF {
                return Err(RequestError::TooManyHashes);
            }
            let position = proof.len();
            proof.push(Hash::from_base64(line).map_err(|_| RequestError::Hash { position })?);
        }
        Self::of_parts(old, proof, rest.as_bytes())
    }

    /// A request whose parts came by another way than the body of an HTTP request; the same
    /// limits hold.
    pub fn of_parts(old: u64, proof: Vec<Hash>, checkpoint: &[u8]) -> Result<Self, RequestError> {
        if i64::try_from(old).is_err() {
            return Err(RequestError::Old);
        }
        if proof.len() > MAX_PROOF {
            return Err(RequestError::TooManyHashes);
        }
        let note = Note::parse(checkpoint).map_err(CheckpointError::from)?;
        let checkpoint = Checkpoint::parse_lines(note.text())?;
        Ok(Self { old, proof, note, checkpoint })
    }

    /// Checks that a key of the checkpoint's origin signed, and that no signature by one fails:
    /// statuses 404 and 403. `logs` are the keys of that origin; none if it is not known.
    pub fn check_signature(&self, logs: &[&VerifierKey]) -> Result<(), Refusal> {
        if logs.is_empty() {
            return Err(Refusal::UnknownOrigin { origin: self.checkpoint.origin().to_owned() });
        }
        self.note.verify(logs)?;
        Ok(())
    }

    /// Checks that the checkpoint continues the tree that was cosigned last,
    /// [`TreeHead::EMPTY`] if none was: statuses 400, 409 and 422. The signature has been checked
    /// before.
    pub fn check_growth(&self, known: &TreeHead) -> Result<(), Refusal> {
        let (old, size) = (self.old, self.checkpoint.size());
        if old > size {
            return Err(Refusal::OldBeyondSize { old, size });
        }
        if old != known.size {
            return Err(Refusal::OtherSize { size: known.size, old });
        }
        if let Err(CheckpointError::EmptyTree { root }) = self.checkpoint.check_empty_tree() {
            return Err(Refusal::EmptyTree { root });
        }
        // Covers equal sizes and size 0 too: equal roots, no proof lines.
        Ok(verify_consistency(known, self.checkpoint.head(), &self.proof)?)
    }

    /// The size that the witness last cosigned, as the log believes.
    pub fn old(&self) -> u64 {
        self.old
    }

    /// The consistency proof.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint's note, unverified.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The checkpoint, unverified.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The request.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Status 404.
    #[error("the log {origin:?} is not known here")]
    UnknownOrigin {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// Status 403: no key of the origin signed, or a signature by one fails.
    #[error(transparent)]
    Signature(#[from] NoteError),
    /// Status 400.
    #[error("old size {old} is beyond the checkpoint's size {size}")]
    OldBeyondSize {
        /// The old size in the request.
        old: u64,
        /// The size in the checkpoint.
        size: u64,
    },
    /// Status 409; the body is the size and a newline.
    #[error("size {size} was cosigned last, not {old}")]
    OtherSize {
        /// The size that was cosigned last.
        size: u64,
        /// The old size in the request.
        old: u64,
    },
    /// Status 422: with a good signature this may be the evidence of a fork.
    #[error("checkpoint does not continue the tree that was cosigned last: {0}")]
    Inconsistent(#[from] ProofError),
    /// Status 422.
    #[error("checkpoint of an empty tree has the root {root}")]
    EmptyTree {
        /// The root that it has.
        root: Hash,
    },
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::OldBeyondSize { .. } => 400,
            Self::Signature(_) => 403,
            Self::UnknownOrigin { .. } => 404,
            Self::OtherSize { .. } => 409,
            Self::Inconsistent(_) | Self::EmptyTree { .. } => 422,
        }
    }
}

/// Decides whether a witness may cosign the checkpoint of a request: `logs` are the keys it
/// trusts, `known` is the head it last cosigned for this origin, [`TreeHead::EMPTY`] if none.
/// The checks come in the order of C2SP tlog-witness, and the first that fails answers.
pub fn decide(
    request: &AddCheckpoint,
    logs: &[VerifierKey],
    known: &TreeHead,
) -> Result<(), Refusal> {
    let origin = request.checkpoint.origin();
    let keys: Vec<_> = logs.iter().filter(|log| log.name().as_str() == origin).collect();
    request.check_signature(&keys)?;
    request.check_growth(known)
}

/// Reads the body of an answer 409: a canonical decimal and a newline.
pub fn parse_size_answer(body: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    parse_decimal(line)
}

/// Where a witness shows what it last cosigned of a log, below its monitoring prefix.
pub fn monitoring_path(origin: &str) -> String {
    format!("{}/checkpoint", Hash::of(&[origin.as_bytes()]))
}
