//! What goes into the log: the bytes of a leaf, their hash and the key that must be unique.

use std::fmt;
use std::sync::Arc;

use tlog::{Hash, MAX_ENTRY, leaf_hash};

/// Names what an entry says, whatever its bytes are: for a statement the SHA-256 of its payload.
/// Two entries with one key never both get into a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementKey([u8; 32]);

impl StatementKey {
    /// Wraps 32 bytes that the caller derived from the entry.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Hash> for StatementKey {
    fn from(hash: Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry that no bundle can hold, since its length is written in 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry has {length} bytes, may have {MAX_ENTRY}")]
pub struct EntryTooLong {
    /// Its length in bytes.
    pub length: usize,
}

/// What a store keeps of an entry. The hash is always that of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    bytes: Arc<[u8]>,
    hash: Hash,
    key: StatementKey,
}

impl Leaf {
    /// Hashes the bytes of a leaf, at most [`MAX_ENTRY`] of them.
    pub fn new(bytes: impl Into<Arc<[u8]>>, key: StatementKey) -> Result<Self, EntryTooLong> {
        let bytes = bytes.into();
        if bytes.len() > MAX_ENTRY {
            return Err(EntryTooLong { length: bytes.len() });
        }
        Ok(Self { hash: leaf_hash(&bytes), bytes, key })
    }

    /// The bytes that the log publishes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// RFC 6962 leaf hash of the bytes.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The key that must be unique in the log.
    pub fn key(&self) -> StatementKey {
        self.key
    }
}

/// A leaf and what the caller has already read out of it, so that the writer, of which there is
/// one, need not parse again what many threads parsed before it.
#[derive(Debug, Clone)]
pub struct Entry<C = ()> {
    leaf: Leaf,
    content: C,
}

impl Entry {
    /// An entry for an admission that looks at the bytes alone. Hashing takes 0.5 µs a KiB and
    /// belongs on the caller's thread.
    pub fn new(bytes: impl Into<Arc<[u8]>>, key: StatementKey) -> Result<Self, EntryTooLong> {
        Self::with_content(bytes, key, ())
    }
}

impl<C> Entry<C> {
    /// An entry with its parsed content, as the [`Admission`](crate::Admission) wants it.
    pub fn with_content(
        bytes: impl Into<Arc<[u8]>>,
        key: StatementKey,
        content: C,
    ) -> Result<Self, EntryTooLong> {
        Ok(Self { leaf: Leaf::new(bytes, key)?, content })
    }

    /// What goes into the log.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The bytes that the log publishes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.leaf.bytes
    }

    /// The key that must be unique in the log.
    pub fn key(&self) -> StatementKey {
        self.leaf.key
    }

    /// What the caller read out of the bytes.
    pub fn content(&self) -> &C {
        &self.content
    }
}
