//! What kinds of evidence there are, and what a file of each holds.

use std::fmt;

use super::file::{Accused, Evidence};
use crate::KeyKind;

/// What a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The log signed two roots for one size.
    TwoHeads,
    /// The log signed a head that is no prefix of a larger one that it signed.
    PrefixConflict,
    /// The log signed two trees with different leaves at one index.
    LeafConflict,
    /// Witnesses cosigned both sides of one of these three.
    WitnessDoubleSign,
    /// Witnesses cosigned a smaller head after a larger one.
    WitnessRollback,
    /// A party signed two statements under one number.
    StatementFork,
    /// A party signed an opening that its own attestation contradicts.
    FalseOpening,
    /// A finding: a statement was logged long after the time that it claims.
    LateStatement,
    /// A finding: an opening repeats salts, so that they can be guessed.
    WeakSalt,
}

/// What a key is used for, and thereby what it can be accused of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Signs checkpoints (type 01).
    Log,
    /// Cosigns checkpoints (type 04).
    Witness,
    /// Signs statements (type 01).
    Party,
}

/// Parts by name in their order, and whether there is a list of nodes.
type Form = (&'static [&'static str], bool);

const HEADS: &[&str] = &["checkpoint-a", "checkpoint-b"];
const LEAVES: &[&str] = &["leaf-a", "proof-a", "leaf-b", "proof-b"];

impl Kind {
    /// All kinds, accusations first.
    pub const ALL: [Self; 9] = [
        Self::TwoHeads,
        Self::PrefixConflict,
        Self::LeafConflict,
        Self::WitnessDoubleSign,
        Self::WitnessRollback,
        Self::StatementFork,
        Self::FalseOpening,
        Self::LateStatement,
        Self::WeakSalt,
    ];

    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TwoHeads => "two-heads",
            Self::PrefixConflict => "prefix-conflict",
            Self::LeafConflict => "leaf-conflict",
            Self::WitnessDoubleSign => "witness-double-sign",
            Self::WitnessRollback => "witness-rollback",
            Self::StatementFork => "statement-fork",
            Self::FalseOpening => "false-opening",
            Self::LateStatement => "late-statement",
            Self::WeakSalt => "weak-salt",
        }
    }

    /// The kind of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// False for findings: facts that accuse nobody.
    pub const fn accuses(self) -> bool {
        !matches!(self, Self::LateStatement | Self::WeakSalt)
    }

    /// True if only statements can tell: the crate `exchange` judges it.
    pub const fn is_about_statements(self) -> bool {
        matches!(
            self,
            Self::StatementFork | Self::FalseOpening | Self::LateStatement | Self::WeakSalt
        )
    }

    /// What files of this kind hold.
    fn forms(self) -> &'static [Form] {
        const IN_THE_CLEAR: &[&str] = &["attestation", "intent", "statement"];
        const SEALED: &[&str] = &["attestation", "intent", "aad", "body", "signature"];
        match self {
            Self::TwoHeads | Self::WitnessRollback => &[(HEADS, false)],
            Self::PrefixConflict => &[(HEADS, true)],
            Self::LeafConflict => &[(LEAVES, false)],
            Self::WitnessDoubleSign => &[(HEADS, false), (HEADS, true), (LEAVES, false)],
            Self::StatementFork => &[(&["envelope-a", "envelope-b"], false)],
            Self::FalseOpening | Self::WeakSalt => &[(IN_THE_CLEAR, false), (SEALED, false)],
            Self::LateStatement => &[(&["envelope", "proof", "checkpoint"], false)],
        }
    }

    /// True if parts and nodes are those of a form of this kind.
    pub(super) fn has_form(self, evidence: &Evidence) -> bool {
        self.forms().iter().any(|(names, nodes)| {
            let parts = evidence.parts().iter().map(|part| part.name());
            parts.eq(names.iter().copied()) && *nodes != evidence.nodes().is_empty()
        })
    }

    /// True if this kind can accuse these keys together.
    pub(super) fn may_accuse(self, accused: &[Accused]) -> bool {
        let count = |role| accused.iter().filter(|key| key.role() == role).count();
        let counts = (count(Role::Log), count(Role::Witness), count(Role::Party));
        match self {
            Self::TwoHeads | Self::PrefixConflict | Self::LeafConflict => counts == (1, 0, 0),
            Self::WitnessDoubleSign => matches!(counts, (0 | 1, 1.., 0)),
            Self::WitnessRollback => matches!(counts, (0, 1.., 0)),
            Self::StatementFork | Self::FalseOpening => counts == (0, 0, 1),
            Self::LateStatement | Self::WeakSalt => counts == (0, 0, 0),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Role {
    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Witness => "witness",
            Self::Party => "party",
        }
    }

    /// The role of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Log, Self::Witness, Self::Party].into_iter().find(|role| role.word() == word)
    }

    /// The kind of key that it signs with.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::Log | Self::Party => KeyKind::Ed25519,
            Self::Witness => KeyKind::Cosignature,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
