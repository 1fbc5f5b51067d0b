//! What a file proves, against whom.

use std::fmt;

use super::file::{Accused, Evidence};
use super::kind::{Kind, Role};
use crate::{
    Checkpoint, CheckpointError, Hash, InvalidHash, KeyName, Note, NoteError, Policy, PolicyLog,
    PolicyWitness, ProofError, Receipt, ReceiptError, VerifierKey, prefix_roots, verify_inclusion,
};

/// Seconds by which a cosignature of a smaller head must be the later one to show that a witness
/// went back: witnesses of other make may have clocks that were set back a little.
pub const ROLLBACK_SLACK: u64 = 60;

/// The keys by which a reader knows logs, witnesses and parties. Guilt is of these alone.
#[derive(Debug, Clone, Default)]
pub struct KnownKeys {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    parties: Vec<VerifierKey>,
}

impl KnownKeys {
    /// The logs and witnesses of a policy.
    pub fn of_policy(policy: &Policy) -> Self {
        Self {
            logs: policy.logs().iter().map(PolicyLog::key).cloned().collect(),
            witnesses: policy.witnesses().iter().map(PolicyWitness::key).cloned().collect(),
            parties: Vec::new(),
        }
    }

    /// With one key more. A key whose type is not that of the role is left out: it signs nothing
    /// in that role.
    #[must_use]
    pub fn with(mut self, role: Role, key: VerifierKey) -> Self {
        let keys = match role {
            Role::Log => &mut self.logs,
            Role::Witness => &mut self.witnesses,
            Role::Party => &mut self.parties,
        };
        if key.kind() == role.key_kind() && !keys.contains(&key) {
            keys.push(key);
        }
        self
    }

    /// The keys of a role.
    pub fn of(&self, role: Role) -> &[VerifierKey] {
        match role {
            Role::Log => &self.logs,
            Role::Witness => &self.witnesses,
            Role::Party => &self.parties,
        }
    }

    /// The name under which the reader knows an accused key. Logs and parties sign their names
    /// with what they say; a cosignature does not cover the witness's name, so witnesses are told
    /// apart by the key alone.
    pub fn name_of(&self, accused: &Accused) -> Option<&KeyName> {
        let same = |known: &&VerifierKey| match accused.role() {
            Role::Witness => known.public() == accused.key().public(),
            Role::Log | Role::Party => *known == accused.key(),
        };
        self.of(accused.role()).iter().find(same).map(VerifierKey::name)
    }

    /// Keys of logs and witnesses, and those that a file accuses besides: signatures by all of
    /// them must verify.
    fn for_notes<'k>(&'k self, accused: &'k [Accused]) -> Vec<&'k VerifierKey> {
        let mut keys: Vec<&VerifierKey> = self.logs.iter().chain(&self.witnesses).collect();
        for accused in accused.iter().filter(|accused| accused.role() != Role::Party) {
            if !keys.contains(&accused.key()) {
                keys.push(accused.key());
            }
        }
        keys
    }
}

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A part is no note, or a known key is named on it whose signature fails.
    #[error("{part}: {cause}")]
    Note {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        cause: NoteError,
    },
    /// The text of a note is no checkpoint.
    #[error("{part}: {cause}")]
    Checkpoint {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        cause: CheckpointError,
    },
    /// A part is no receipt.
    #[error("{part}: {cause}")]
    Receipt {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        cause: ReceiptError,
    },
    /// A part is not a hash and a newline.
    #[error("{part}: {cause}")]
    Leaf {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        cause: InvalidHash,
    },
    /// The leaf is not at its index in the signed tree.
    #[error("{part}: {cause}")]
    Inclusion {
        /// Which part.
        part: &'static str,
        /// What fails.
        cause: ProofError,
    },
    /// An accused key did not sign both.
    #[error("{key} did not sign {part}")]
    NotSigned {
        /// The key, as `name+id`.
        key: String,
        /// Which part.
        part: &'static str,
    },
    /// The two are about different logs.
    #[error("the two are about different logs, {a} and {b}")]
    Origins {
        /// Origin of the first.
        a: String,
        /// Origin of the second.
        b: String,
    },
    /// The two sizes are not those that the kind is about.
    #[error("sizes {a} and {b} are not those of {kind}")]
    Sizes {
        /// The kind.
        kind: Kind,
        /// Size of the first.
        a: u64,
        /// Size of the second.
        b: u64,
    },
    /// The two indices are not the same.
    #[error("the two are about different entries, {a} and {b}")]
    Indices {
        /// Index of the first.
        a: u64,
        /// Index of the second.
        b: u64,
    },
    /// The nodes are too many or too few for the sizes.
    #[error("nodes: {0}")]
    Nodes(#[from] ProofError),
    /// The nodes are not those of the larger tree.
    #[error("the nodes do not lead to the signed root {root}, so they are not that tree's")]
    ForeignNodes {
        /// The root that was to be reached.
        root: Hash,
    },
    /// There is no contradiction: an honest holder of the key can have signed both.
    #[error("the two do not contradict each other")]
    Compatible,
    /// A witness's later cosignature is not late enough, or not the later one.
    #[error(
        "{key} cosigned the smaller head at {smaller}, the larger one at {larger}: that is no going back"
    )]
    InOrder {
        /// The key, as `name+id`.
        key: String,
        /// Its latest time over the smaller head, in seconds since 1970.
        smaller: u64,
        /// Its earliest time over the larger head.
        larger: u64,
    },
    /// The kind is about statements: `exchange` judges it.
    #[error("{0} is about statements, which are not read here")]
    Statements(Kind),
}

/// What a file proves. Every key that it accuses did what the kind says; whether that key is one
/// whose holder the reader knows is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    kind: Kind,
    accused: Vec<(Accused, Option<KeyName>)>,
    account: String,
}

impl Judgement {
    /// For a kind that is judged elsewhere: `account` says in one sentence, without its full stop,
    /// what is proved.
    pub fn new(evidence: &Evidence, known: &KnownKeys, account: String) -> Self {
        let accused = evidence.accused().iter();
        let accused = accused.map(|key| (key.clone(), known.name_of(key).cloned())).collect();
        Self { kind: evidence.kind(), accused, account }
    }

    /// What was shown.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The guilty keys: accused, convicted, and known to the reader under this name.
    pub fn guilty(&self) -> impl Iterator<Item = (&Accused, &KeyName)> {
        self.accused.iter().filter_map(|(key, name)| Some((key, name.as_ref()?)))
    }

    /// Keys that the reader does not know, so that what they signed convicts nobody.
    pub fn unknown(&self) -> impl Iterator<Item = &Accused> {
        self.accused.iter().filter(|(_, name)| name.is_none()).map(|(key, _)| key)
    }

    /// What is proved, in one sentence without its full stop.
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl fmt::Display for Judgement {
    /// Who is guilty of what, in one sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guilty: Vec<String> = self
            .guilty()
            .map(|(accused, name)| {
                format!("{} {name} (key {})", accused.role(), accused.key().id())
            })
            .collect();
        match (guilty.as_slice(), self.kind.accuses()) {
            ([], true) => write!(f, "nobody that you know is guilty: {}", self.account),
            ([], false) => write!(f, "a finding that accuses nobody: {}", self.account),
            ([one], _) => write!(f, "guilty is {one}: {}", self.account),
            ([rest @ .., last], _) => {
                write!(f, "guilty are {} and {last}: {}", rest.join(", "), self.account)
            }
        }
    }
}

impl Evidence {
    /// Judges a file about logs and witnesses, with nothing but keys. An error means that it
    /// proves nothing against anybody, be it damaged or made up.
    pub fn judge(&self, known: &KnownKeys) -> Result<Judgement, Fault> {
        let account = match self.kind() {
            Kind::TwoHeads => self.two_heads(known)?,
            Kind::PrefixConflict => self.prefix_conflict(known)?,
            Kind::LeafConflict => self.leaf_conflict(known)?,
            Kind::WitnessDoubleSign if !self.nodes().is_empty() => self.prefix_conflict(known)?,
            Kind::WitnessDoubleSign if self.part("leaf-a").is_empty() => self.two_heads(known)?,
            Kind::WitnessDoubleSign => self.leaf_conflict(known)?,
            Kind::WitnessRollback => self.rollback(known)?,
            kind => return Err(Fault::Statements(kind)),
        };
        Ok(Judgement::new(self, known, account))
    }

    fn two_heads(&self, known: &KnownKeys) -> Result<String, Fault> {
        let (a, b) = self.heads(known)?;
        let (a, b) = (*a.head(), *b.head());
        if a.size != b.size {
            return Err(Fault::Sizes { kind: Kind::TwoHeads, a: a.size, b: b.size });
        }
        if a.root == b.root {
            return Err(Fault::Compatible);
        }
        Ok(format!("signed two roots for the size {}, {} and {}", a.size, a.root, b.root))
    }

    fn prefix_conflict(&self, known: &KnownKeys) -> Result<String, Fault> {
        let (a, b) = self.heads(known)?;
        let (a, b) = (*a.head(), *b.head());
        if a.size == 0 || a.size >= b.size {
            return Err(Fault::Sizes { kind: Kind::PrefixConflict, a: a.size, b: b.size });
        }
        let (older, newer) = prefix_roots(a.size, b.size, self.nodes())?;
        if newer != b.root {
            return Err(Fault::ForeignNodes { root: b.root });
        }
        if older == a.root {
            return Err(Fault::Compatible);
        }
        Ok(format!(
            "signed two histories: the first {} entries under its head of size {} hash to {older}, \
             not to {}, which it signed for the size {}",
            a.size, b.size, a.root, a.size
        ))
    }

    fn leaf_conflict(&self, known: &KnownKeys) -> Result<String, Fault> {
        let a = self.placed("leaf-a", "proof-a", known)?;
        let b = self.placed("leaf-b", "proof-b", known)?;
        same_origin(&a.checkpoint, &b.checkpoint)?;
        if a.index != b.index {
            return Err(Fault::Indices { a: a.index, b: b.index });
        }
        if a.leaf == b.leaf {
            return Err(Fault::Compatible);
        }
        Ok(format!(
            "signed two histories: entry {} hashes to {} under its head of size {}, and to {} \
             under its head of size {}",
            a.index,
            a.leaf,
            a.checkpoint.size(),
            b.leaf,
            b.checkpoint.size()
        ))
    }

    /// The first part is the larger head, which was cosigned first.
    fn rollback(&self, known: &KnownKeys) -> Result<String, Fault> {
        let (a, b) = self.heads(known)?;
        if b.size() >= a.size() {
            let (a, b) = (a.size(), b.size());
            return Err(Fault::Sizes { kind: Kind::WitnessRollback, a, b });
        }
        let note = |part| note(part, self.part(part));
        let (note_a, note_b) = (note("checkpoint-a")?, note("checkpoint-b")?);
        let mut times = Vec::new();
        for accused in self.accused() {
            let larger = times_of(&note_a, accused.key()).min().unwrap_or(u64::MAX);
            let smaller = times_of(&note_b, accused.key()).max().unwrap_or(0);
            if smaller <= larger.saturating_add(ROLLBACK_SLACK) {
                let key = accused.key().keyid();
                return Err(Fault::InOrder { key, smaller, larger });
            }
            times.push(format!("{larger} and {smaller}"));
        }
        Ok(format!(
            "cosigned size {} of {} and later, going back, size {} (at {})",
            a.size(),
            a.origin(),
            b.size(),
            times.join("; ")
        ))
    }

    /// Both checkpoints, of one log and signed by every accused key.
    fn heads(&self, known: &KnownKeys) -> Result<(Checkpoint, Checkpoint), Fault> {
        let open = |part| self.open(part, &note(part, self.part(part))?, known);
        let (a, b) = (open("checkpoint-a")?, open("checkpoint-b")?);
        same_origin(&a, &b)?;
        Ok((a, b))
    }

    /// A leaf and its place in the tree of a checkpoint that every accused key signed.
    fn placed(
        &self,
        leaf_part: &'static str,
        part: &'static str,
        known: &KnownKeys,
    ) -> Result<Placed, Fault> {
        let wrong = |cause| Fault::Leaf { part: leaf_part, cause };
        let line = std::str::from_utf8(self.part(leaf_part)).unwrap_or_default();
        let leaf = Hash::from_base64(line.strip_suffix('\n').unwrap_or_default()).map_err(wrong)?;
        let receipt =
            Receipt::parse(self.part(part)).map_err(|cause| Fault::Receipt { part, cause })?;
        let checkpoint = self.open(part, receipt.checkpoint(), known)?;
        verify_inclusion(&leaf, receipt.index(), checkpoint.head(), receipt.proof())
            .map_err(|cause| Fault::Inclusion { part, cause })?;
        Ok(Placed { leaf, index: receipt.index(), checkpoint })
    }

    /// The checkpoint in a note, if every accused key signed it and no known signature fails.
    fn open(
        &self,
        part: &'static str,
        note: &Note,
        known: &KnownKeys,
    ) -> Result<Checkpoint, Fault> {
        let keys = known.for_notes(self.accused());
        let signers = note.verify(&keys).map_err(|cause| Fault::Note { part, cause })?;
        // From here on a key that is known or accused vouches for the text.
        let checkpoint = Checkpoint::parse_text(note.text())
            .map_err(|cause| Fault::Checkpoint { part, cause })?;
        for accused in self.accused() {
            let key = accused.key();
            let signed = signers.iter().any(|signer| signer.key == key);
            let own = accused.role() != Role::Log || key.name().as_str() == checkpoint.origin();
            if !signed || !own {
                return Err(Fault::NotSigned { key: key.keyid(), part });
            }
        }
        Ok(checkpoint)
    }
}

struct Placed {
    leaf: Hash,
    index: u64,
    checkpoint: Checkpoint,
}

fn note(part: &'static str, bytes: &[u8]) -> Result<Note, Fault> {
    Note::parse(bytes).map_err(|cause| Fault::Note { part, cause })
}

fn same_origin(a: &Checkpoint, b: &Checkpoint) -> Result<(), Fault> {
    if a.origin() == b.origin() {
        return Ok(());
    }
    Err(Fault::Origins { a: a.origin().to_owned(), b: b.origin().to_owned() })
}

/// All times at which a witness cosigned a note; lines that don't verify give none.
pub(super) fn times_of(note: &Note, witness: &VerifierKey) -> impl Iterator<Item = u64> {
    let lines = note.signatures().iter().filter(|line| line.names(witness));
    lines.filter_map(|line| witness.check(note.text(), line).ok().flatten())
}
