//! The commitment vector `h_0 ‖ C_0,1 ‖ … ‖ h_1 ‖ …`: what anyone can check of a record without
//! any secret (`docs/protocol.md`, "Artifacts").

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::traits::Identity as _;
use rayon::prelude::*;
use tlog::{CompactRange, Hash};

use crate::cells::record_leaf;
use crate::column::Layout;
use crate::context::Context;
use crate::group::point;
use crate::header::Header;
use crate::total::TotalError;

/// A commitment vector of the right length; nothing else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Vector<'a> {
    bytes: &'a [u8],
    stride: usize,
}

/// A commitment vector that belongs to a header.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedVector<'a>(Vector<'a>);

/// Why a vector, or the header it belongs to, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// The length doesn't follow from items and columns.
    #[error("the vector has {found} bytes, {expected} follow from the header")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there must be.
        expected: u64,
    },
    /// The header names other bytes.
    #[error("the vector's digest is not the header's")]
    Digest,
    /// A commitment to a score is no point in its canonical spelling.
    #[error("the commitment of item {index} in column {column:?} is not a point")]
    Point {
        /// Index of the item.
        index: u64,
        /// Name of the column.
        column: String,
    },
    /// The header's record root is over other leaves.
    #[error("the record root is not that of the vector")]
    Root,
    /// The header's total is not the sum of the column.
    #[error("the total of column {column:?} is not the sum of its commitments")]
    Sum {
        /// Name of the column.
        column: String,
    },
    /// The party has not shown that it knows how a total opens.
    #[error("the total of column {column:?}: {source}")]
    Total {
        /// Name of the column.
        column: String,
        /// What is wrong with its proof.
        source: TotalError,
    },
}

/// Checks a vector against the header of a record and the record's context, stopping at the first
/// failure: length, digest, every point, record root, sums, proofs of totals. The work follows from
/// the header, which is within its limits, never from the bytes.
pub fn verify_vector<'a>(
    header: &Header,
    context: &Context,
    bytes: &'a [u8],
) -> Result<VerifiedVector<'a>, VectorError> {
    let layout = header.layout();
    let vector = Vector::new(layout, bytes)?;
    if Hash::of(&[bytes]) != *header.vector() {
        return Err(VectorError::Digest);
    }
    let sums = vector.sums(layout)?;
    if vector.root() != *header.record_root() {
        return Err(VectorError::Root);
    }
    for (column, sum) in header.columns().iter().zip(sums) {
        if sum.compress().to_bytes() != column.total {
            return Err(VectorError::Sum { column: column.column.name().to_owned() });
        }
    }
    for column in header.columns() {
        header.total_statement(context, column).verify(&column.proof).map_err(|source| {
            VectorError::Total { column: column.column.name().to_owned(), source }
        })?;
    }
    Ok(VerifiedVector(vector))
}

/// Items that one task decodes: some 4 ms of work.
const CHUNK_ITEMS: usize = 1024;

impl<'a> Vector<'a> {
    /// Views bytes as a vector if their length is n·32·(1 + M).
    pub fn new(layout: &Layout, bytes: &'a [u8]) -> Result<Self, VectorError> {
        let (found, expected) = (bytes.len() as u64, layout.vector_length());
        if found != expected {
            return Err(VectorError::Length { found, expected });
        }
        Ok(Self { bytes, stride: layout.stride() })
    }

    /// `h ‖ C_1 ‖ … ‖ C_M` of one item; `None` beyond the last.
    pub fn entry(&self, index: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(index).ok()?.checked_mul(self.stride)?;
        self.bytes.get(start..)?.get(..self.stride)
    }

    /// Leaves of the record root, in order.
    pub fn leaves(&self) -> Vec<Hash> {
        self.bytes.par_chunks(self.stride).map(record_leaf).collect()
    }

    /// The record root.
    pub fn root(&self) -> Hash {
        self.leaves().into_iter().collect::<CompactRange>().root()
    }

    /// Decodes every point and adds up each column.
    fn sums(&self, layout: &Layout) -> Result<Vec<RistrettoPoint>, VectorError> {
        let columns = layout.columns().len();
        let zero = || vec![RistrettoPoint::identity(); columns];
        let chunks: Vec<Result<Vec<RistrettoPoint>, (usize, usize)>> = self
            .bytes
            .par_chunks(self.stride * CHUNK_ITEMS)
            .enumerate()
            .map(|(chunk, bytes)| {
                let mut sums = zero();
                for (item, entry) in bytes.chunks_exact(self.stride).enumerate() {
                    let points = entry.as_chunks::<32>().0.iter().skip(1);
                    for (column, (sum, bytes)) in sums.iter_mut().zip(points).enumerate() {
                        *sum += point(bytes).ok_or((chunk * CHUNK_ITEMS + item, column))?;
                    }
                }
                Ok(sums)
            })
            .collect();
        // In order, so that the same bytes always give the same error.
        let mut sums = zero();
        for chunk in chunks {
            let chunk = chunk.map_err(|(index, column)| VectorError::Point {
                index: index as u64,
                column: layout.columns()[column].name().to_owned(),
            })?;
            for (sum, part) in sums.iter_mut().zip(chunk) {
                *sum += part;
            }
        }
        Ok(sums)
    }
}

impl<'a> VerifiedVector<'a> {
    /// The vector.
    pub fn vector(&self) -> &Vector<'a> {
        &self.0
    }

    /// The commitments of one column, in order of items; `column` is its place in the header.
    pub fn column(&self, column: usize) -> impl Iterator<Item = &'a [u8; 32]> + use<'a> {
        let (bytes, stride) = (self.0.bytes, self.0.stride);
        bytes.chunks_exact(stride).filter_map(move |entry| entry.as_chunks().0.get(1 + column))
    }
}
