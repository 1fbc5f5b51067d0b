//! Blobs kept beside the log, named by their SHA-256.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use tlog::Hash;

use crate::store::StoreError;

/// Storage of artifacts. Any number of threads may use it at once, beside the writer.
pub trait ArtifactStore: Send + Sync {
    /// Begins an upload of at most `limit` bytes.
    fn begin(&self, limit: u64) -> Result<Box<dyn Upload>, ArtifactError>;

    /// Opens an artifact. Its bytes are hashed on the way: the reader ends with an error of kind
    /// [`io::ErrorKind::InvalidData`] instead of its end if they are not those of the digest.
    fn open(&self, digest: &Hash) -> Result<Option<Box<dyn Read + Send>>, ArtifactError>;

    /// Length in bytes; `None` if the artifact is not here.
    fn length(&self, digest: &Hash) -> Result<Option<u64>, ArtifactError>;

    /// What is kept, in no order.
    fn list(&self) -> Result<Vec<Stored>, ArtifactError>;

    /// Removes an artifact; one that is not here is fine. It may be back after a power cut, so
    /// this is for garbage, never for secrets.
    fn remove(&self, digest: &Hash) -> Result<(), ArtifactError>;

    /// True if the artifact is here.
    fn has(&self, digest: &Hash) -> Result<bool, ArtifactError> {
        Ok(self.length(digest)?.is_some())
    }

    /// Keeps bytes that are in memory already.
    fn put(&self, bytes: &[u8]) -> Result<Stored, ArtifactError> {
        let mut upload = self.begin(bytes.len() as u64)?;
        upload.write(bytes)?;
        upload.finish(None)
    }

    /// Reads a whole artifact of at most `limit` bytes, checked against its digest.
    fn get(&self, digest: &Hash, limit: u64) -> Result<Option<Vec<u8>>, ArtifactError> {
        match self.length(digest)? {
            None => return Ok(None),
            Some(length) if length > limit => return Err(ArtifactError::TooLong { limit }),
            Some(_) => {}
        }
        let Some(mut reader) = self.open(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(ArtifactError::Damaged { digest: *digest })
            }
            Err(error) => Err(ArtifactError::Unreadable { digest: *digest, error }),
        }
    }
}

/// An artifact on its way in. Dropped before [`Upload::finish`] it leaves nothing behind.
pub trait Upload: Send {
    /// Adds bytes.
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError>;

    /// Makes the artifact durable under the digest of what was written. If the caller expects
    /// another digest nothing is kept. An artifact that is here already is fine.
    fn finish(self: Box<Self>, expected: Option<&Hash>) -> Result<Stored, ArtifactError>;
}

/// An artifact that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of its bytes, computed here.
    pub digest: Hash,
    /// Its length in bytes.
    pub length: u64,
}

/// Why an artifact was not kept or not read. None of these stops the writer of the log.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// More bytes than the caller allows.
    #[error("artifact is longer than {limit} bytes")]
    TooLong {
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes are not those that were announced.
    #[error("artifact has digest {found}, {expected} was expected")]
    Digest {
        /// What the caller expects.
        expected: Hash,
        /// What the bytes hash to.
        found: Hash,
    },
    /// The stored bytes are no longer those of the name.
    #[error("stored artifact {digest} has other bytes")]
    Damaged {
        /// The name.
        digest: Hash,
    },
    /// The stored bytes can't be read.
    #[error("stored artifact {digest}: {error}")]
    Unreadable {
        /// The name.
        digest: Hash,
        /// What the system says.
        error: io::Error,
    },
    /// Storage refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Counts and hashes an upload, whatever keeps its bytes.
pub(crate) struct Meter {
    sha: Sha256,
    length: u64,
    limit: u64,
}

impl Meter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { sha: Sha256::new(), length: 0, limit }
    }

    /// Counts a chunk, before it is kept.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        let length = self.length.saturating_add(chunk.len() as u64);
        if length > self.limit {
            return Err(ArtifactError::TooLong { limit: self.limit });
        }
        self.length = length;
        self.sha.update(chunk);
        Ok(())
    }

    pub(crate) fn finish(self, expected: Option<&Hash>) -> Result<Stored, ArtifactError> {
        let digest = Hash::new(self.sha.finalize().into());
        match expected {
            Some(expected) if *expected != digest => {
                Err(ArtifactError::Digest { expected: *expected, found: digest })
            }
            _ => Ok(Stored { digest, length: self.length }),
        }
    }
}

/// Hashes what is read and turns the end into an error if it is not what the digest names.
pub(crate) struct Verified<R> {
    source: R,
    sha: Sha256,
    digest: Hash,
}

impl<R> Verified<R> {
    pub(crate) fn new(source: R, digest: Hash) -> Self {
        Self { source, sha: Sha256::new(), digest }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.sha.update(&buffer[..read]);
        if read == 0
            && !buffer.is_empty()
            && Hash::new(self.sha.clone().finalize().into()) != self.digest
        {
            let message = "the bytes are not those of the digest";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}
