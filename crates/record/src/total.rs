//! Totals of columns: their openings, and Okamoto's proof that the party knows one
//! (`docs/protocol.md`, "Totals").
//!
//! The proof stops copying and shifting of somebody else's record: who takes a rival's commitments
//! doesn't know how they open. It shows neither that items are on their scale nor that the total is
//! the sum of the items; whoever holds the commitment vector adds it up.

use sha2::{Digest as _, Sha512};
use tlog::Hash;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cells::grade;
use crate::column::{Column, Layout};
use crate::commit::{CommitError, ItemValues};
use crate::context::{Context, label};
use crate::group::{Blind, combine, commit, point, scalar, wide};
use crate::redacted;
use crate::secret::RecordSecret;

/// How a total opens: the sum of the integers and the sum of the blinds.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotalOpening {
    sum: u64,
    blind: Blind,
}

redacted!(TotalOpening);

impl TotalOpening {
    /// An opening from its parts.
    pub fn new(sum: u64, blind: Blind) -> Self {
        Self { sum, blind }
    }

    /// The opening of a column's total, made again from the secret and the known sum.
    pub fn from_secret(secret: &RecordSecret, column: &Column, items: u64, sum: u64) -> Self {
        let key = secret.field_key(&column.field());
        let blind = (0..items).map(|index| key.blind(index).0).sum();
        Self { sum, blind: Blind(blind) }
    }

    /// The opening of a column's total, made again from the secret and the items' values in the
    /// order of the record; `None` is an item that the log lacks.
    ///
    /// # Panics
    ///
    /// If the layout has no such column.
    pub fn from_items<'a>(
        secret: &RecordSecret,
        layout: &Layout,
        column: usize,
        items: impl IntoIterator<Item = Option<&'a ItemValues>>,
    ) -> Result<Self, CommitError> {
        let mut sum = 0;
        for (index, values) in (0..).zip(items) {
            sum += grade(layout.columns(), index, values)?.integers[column];
        }
        Ok(Self::from_secret(secret, &layout.columns()[column], layout.items(), sum))
    }

    /// Sum of the integers, S.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Sum of the blinds.
    pub fn blind(&self) -> &Blind {
        &self.blind
    }

    /// T = S·B + ρ·H.
    pub fn commitment(&self) -> [u8; 32] {
        commit(self.sum, &self.blind).compress().to_bytes()
    }
}

/// What a proof of a total is bound to.
#[derive(Debug, Clone, Copy)]
pub struct TotalStatement<'a> {
    /// Context of the record.
    pub context: &'a Context,
    /// The column.
    pub column: &'a Column,
    /// Number of items.
    pub items: u64,
    /// Root over the leaves of the record.
    pub record_root: &'a Hash,
    /// Digest of the commitment vector.
    pub vector: &'a Hash,
    /// T.
    pub total: &'a [u8; 32],
}

/// A proof that somebody knows how T opens: `A ‖ z1 ‖ z2`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TotalProof([u8; 96]);

/// Why a proof of a total doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotalError {
    /// T is no point in its canonical spelling.
    #[error("the total is not a point")]
    Total,
    /// A is no point in its canonical spelling.
    #[error("the proof's announcement is not a point")]
    Announcement,
    /// z1 or z2 is not below the group order.
    #[error("a response of the proof is not a canonical scalar")]
    Response,
    /// The equation doesn't hold.
    #[error("the proof does not hold for this total, column, record and context")]
    Equation,
}

impl TotalStatement<'_> {
    fn bytes(&self) -> Vec<u8> {
        let name = self.column.name().as_bytes();
        let length = u16::try_from(name.len()).expect("a column's name has at most 128 bytes");
        [
            &label("total-proof")[..],
            self.context.as_bytes(),
            &length.to_be_bytes(),
            name,
            &self.items.to_be_bytes(),
            &self.column.max().to_be_bytes(),
            self.record_root.as_bytes(),
            self.vector.as_bytes(),
            self.total,
        ]
        .concat()
    }

    /// Proves knowledge of `opening`. Nonces depend on secret, entropy and statement, so repeated
    /// entropy does no harm.
    pub fn prove(
        &self,
        secret: &RecordSecret,
        entropy: &[u8; 32],
        opening: &TotalOpening,
    ) -> TotalProof {
        let statement = self.bytes();
        let a = Blind(secret.total_nonce(0, entropy, &statement));
        let b = Blind(secret.total_nonce(1, entropy, &statement));
        let announcement = combine(&a.0, &b.0).compress().to_bytes();
        let e = challenge(&statement, &announcement);
        let z1 = a.0 + e * curve25519_dalek::Scalar::from(opening.sum);
        let z2 = b.0 + e * opening.blind.0;
        let mut proof = [0; 96];
        proof[..32].copy_from_slice(&announcement);
        proof[32..64].copy_from_slice(&z1.to_bytes());
        proof[64..].copy_from_slice(&z2.to_bytes());
        TotalProof(proof)
    }

    /// Checks `z1·B + z2·H = A + e·T`.
    pub fn verify(&self, proof: &TotalProof) -> Result<(), TotalError> {
        let (announcement, z1, z2) = proof.parts();
        let total = point(self.total).ok_or(TotalError::Total)?;
        let a = point(&announcement).ok_or(TotalError::Announcement)?;
        let z1 = scalar(z1).ok_or(TotalError::Response)?;
        let z2 = scalar(z2).ok_or(TotalError::Response)?;
        let e = challenge(&self.bytes(), &announcement);
        if combine(&z1, &z2) != a + e * total {
            return Err(TotalError::Equation);
        }
        Ok(())
    }
}

fn challenge(statement: &[u8], announcement: &[u8; 32]) -> curve25519_dalek::Scalar {
    let mut sha = Sha512::new();
    sha.update(statement);
    sha.update(announcement);
    wide(&sha.finalize().into())
}

impl TotalProof {
    /// Wraps 96 bytes; only [`TotalStatement::verify`] says whether they prove anything.
    pub fn new(bytes: [u8; 96]) -> Self {
        Self(bytes)
    }

    /// The 96 bytes.
    pub fn as_bytes(&self) -> &[u8; 96] {
        &self.0
    }

    fn parts(&self) -> ([u8; 32], [u8; 32], [u8; 32]) {
        let part = |at: usize| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(&self.0[at..at + 32]);
            bytes
        };
        (part(0), part(32), part(64))
    }
}

impl std::fmt::Debug for TotalProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
