//! A connection to one log that believes nothing it has not checked: every checkpoint is signed
//! by the pinned key and extends the last one trusted, every proof leads to such a checkpoint.

use std::time::Duration;

use api::Denied;
use api::v1;
use api::v1::artifact_service_client::ArtifactServiceClient;
use api::v1::get_inclusion_proof_request::Entry as WhichEntry;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use exchange::{Envelope, StatementId};
use tlog::{
    CheckpointError, Hash, ProofError, Receipt, SignedCheckpoint, TreeHead, VerifierKey,
    verify_consistency, verify_inclusion,
};
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;

/// Establishing a connection; answers have deadlines of their own.
const CONNECT: Duration = Duration::from_secs(10);
/// One call, uploads included.
const CALL: Duration = Duration::from_secs(120);
/// Bytes of one piece of an upload.
const CHUNK: usize = 256 << 10;
/// Answers of the log are below 4 MiB.
const MAX_ANSWER: usize = 8 << 20;

/// Why a call did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered. Whether the log took a statement is unknown: send the same bytes again.
    #[error("cannot reach {server}: {cause}")]
    Unreachable {
        /// The address.
        server: String,
        /// What went wrong.
        cause: String,
    },
    /// The server refused.
    #[error("the log refused: {0}")]
    Denied(#[from] Box<Denied>),
    /// The server said something that can't be true. Keep what it said and compare checkpoints
    /// with the other party.
    #[error("the log gave a false answer: {0}")]
    False(#[from] FalseAnswer),
}

/// An answer that does not check out.
#[derive(Debug, thiserror::Error)]
pub enum FalseAnswer {
    /// A checkpoint that the pinned key did not sign, or not a checkpoint at all.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A head that does not extend the one that was verified before.
    #[error(
        "its head of size {new} does not extend the head of size {old} that was verified before: \
         {cause}"
    )]
    NotAnExtension {
        /// Size verified before.
        old: u64,
        /// Size of the new head.
        new: u64,
        /// What fails.
        cause: ProofError,
    },
    /// An inclusion proof that does not lead to the signed root.
    #[error("inclusion proof of entry {index}: {cause}")]
    Inclusion {
        /// Which entry.
        index: u64,
        /// What fails.
        cause: ProofError,
    },
    /// Something is missing or malformed.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A proof of a statement's place, checked.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// Position in the log.
    pub index: u64,
    /// The proof, in the tree of `checkpoint`.
    pub proof: Vec<Hash>,
    /// The signed head.
    pub checkpoint: SignedCheckpoint,
    /// True if the log held the envelope before the call.
    pub existed: bool,
}

impl Inclusion {
    /// The place as a file that stands alone (C2SP tlog-proof).
    pub fn receipt(&self) -> Receipt {
        Receipt::new(self.index, self.proof.clone(), self.checkpoint.as_bytes())
            .expect("a verified proof and checkpoint make a receipt")
    }
}

/// A connection to one log.
#[derive(Debug, Clone)]
pub struct Connection {
    server: String,
    log: LogServiceClient<Channel>,
    artifacts: ArtifactServiceClient<Channel>,
    key: VerifierKey,
    trusted: SignedCheckpoint,
}

impl Connection {
    /// Connects and verifies the newest head. `trusted` is the note of the newest head verified
    /// in earlier sessions; without one, the first head seen is taken at the log's word.
    pub async fn open(
        server: impl Into<Address>,
        key: VerifierKey,
        trusted: Option<&[u8]>,
    ) -> Result<Self, CallError> {
        let address = server.into();
        let server = address.url();
        let unreachable =
            |cause: String| CallError::Unreachable { server: server.to_owned(), cause };
        let mut endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|e| unreachable(format!("not an address such as http://host:port ({e})")))?
            .connect_timeout(CONNECT)
            .timeout(CALL);
        if let Some(tls) = address.tls().map_err(|problem| unreachable(problem.to_owned()))? {
            endpoint = endpoint.tls_config(tls.endpoint()).map_err(|e| unreachable(causes(&e)))?;
        }
        let channel = endpoint.connect().await.map_err(|e| unreachable(causes(&e)))?;
        let mut log = LogServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let artifacts = ArtifactServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let trusted = match trusted {
            Some(note) => SignedCheckpoint::open(note, &key).map_err(FalseAnswer::from)?,
            None => {
                let answer = log.get_checkpoint(v1::GetCheckpointRequest {}).await;
                let note = answer.map_err(|s| failed(server, s))?.into_inner().checkpoint;
                SignedCheckpoint::open(&note, &key).map_err(FalseAnswer::from)?
            }
        };
        let mut connection = Self { server: server.to_owned(), log, artifacts, key, trusted };
        connection.refresh().await?;
        Ok(connection)
    }

    /// The log's key, whose name is the origin.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The newest head that was verified.
    pub fn trusted(&self) -> &SignedCheckpoint {
        &self.trusted
    }

    /// Fetches the newest head and verifies that it extends the trusted one, which it becomes.
    pub async fn refresh(&mut self) -> Result<&SignedCheckpoint, CallError> {
        let answer = self.log.get_checkpoint(v1::GetCheckpointRequest {}).await;
        let note = answer.map_err(|s| failed(&self.server, s))?.into_inner().checkpoint;
        self.trust(&note).await?;
        Ok(&self.trusted)
    }

    /// Verifies that two heads of the log lie in one history; `old` need not have been seen here.
    pub async fn check_consistency(
        &mut self,
        old: &TreeHead,
        new: &TreeHead,
    ) -> Result<Vec<Hash>, CallError> {
        let proof = if old.size == 0 || old.size == new.size {
            Vec::new()
        } else {
            self.consistency(old.size, new.size).await?
        };
        verify_consistency(old, new, &proof).map_err(|cause| FalseAnswer::NotAnExtension {
            old: old.size,
            new: new.size,
            cause,
        })?;
        Ok(proof)
    }

    /// Puts a statement into the log. Its receipt is verified before this returns.
    pub async fn append(&mut self, envelope: &Envelope) -> Result<Inclusion, CallError> {
        let request = v1::AppendRequest {
            envelope: Bytes::copy_from_slice(envelope.as_bytes()),
            wait_for: v1::WaitFor::Committed.into(),
        };
        let answer = self.log.append(request).await.map_err(|s| failed(&self.server, s))?;
        let answer = answer.into_inner();
        let inclusion = answer.inclusion.ok_or(FalseAnswer::Malformed("a receipt is missing"))?;
        self.trust(&inclusion.checkpoint).await?;
        let checkpoint =
            SignedCheckpoint::open(&inclusion.checkpoint, &self.key).map_err(FalseAnswer::from)?;
        let (index, proof) = (inclusion.index, hashes(&inclusion.proof)?);
        verify_inclusion(&envelope.leaf_hash(), index, checkpoint.head(), &proof)
            .map_err(|cause| FalseAnswer::Inclusion { index, cause })?;
        Ok(Inclusion { index, proof, checkpoint, existed: answer.existed })
    }

    /// The leaf with this statement and its proof in the trusted head; `None` if that head's log
    /// does not have it, by the server's word.
    pub async fn find(
        &mut self,
        id: &StatementId,
    ) -> Result<Option<(Vec<u8>, Inclusion)>, CallError> {
        self.entry(WhichEntry::StatementId(Bytes::copy_from_slice(id.as_bytes()))).await
    }

    async fn entry(
        &mut self,
        which: WhichEntry,
    ) -> Result<Option<(Vec<u8>, Inclusion)>, CallError> {
        let head = *self.trusted.head();
        let request = v1::GetInclusionProofRequest { entry: Some(which), tree_size: head.size };
        let answer = match self.log.get_inclusion_proof(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status)
                if matches!(status.code(), tonic::Code::NotFound | tonic::Code::OutOfRange) =>
            {
                return Ok(None);
            }
            Err(status) => return Err(failed(&self.server, status)),
        };
        let inclusion = answer.inclusion.ok_or(FalseAnswer::Malformed("a proof is missing"))?;
        let (index, proof) = (inclusion.index, hashes(&inclusion.proof)?);
        verify_inclusion(&tlog::leaf_hash(&answer.envelope), index, &head, &proof)
            .map_err(|cause| FalseAnswer::Inclusion { index, cause })?;
        let checkpoint = self.trusted.clone();
        let inclusion = Inclusion { index, proof, checkpoint, existed: true };
        Ok(Some((answer.envelope.to_vec(), inclusion)))
    }

    /// Leaves from `start` on, up to the trusted head, one page. They are as the server gives
    /// them: whoever needs to trust them computes the root.
    pub async fn entries(&mut self, start: u64) -> Result<Vec<Bytes>, CallError> {
        let request = v1::ListEntriesRequest { start, limit: 0 };
        let answer = self.log.list_entries(request).await.map_err(|s| failed(&self.server, s))?;
        let mut envelopes = answer.into_inner().envelopes;
        let wanted = self.trusted.head().size.saturating_sub(start);
        if envelopes.is_empty() && wanted > 0 {
            return Err(FalseAnswer::Malformed("entries below its own head are missing").into());
        }
        envelopes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(envelopes)
    }

    /// Stores an artifact, and checks that the server names it as we do.
    pub async fn put_artifact(&mut self, bytes: &[u8]) -> Result<Hash, CallError> {
        self.put_artifact_watched(bytes, |_| {}).await
    }

    /// As [`put_artifact`](Self::put_artifact); `sent` is told how many bytes the transport has
    /// taken so far.
    pub async fn put_artifact_watched(
        &mut self,
        bytes: &[u8],
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Hash, CallError> {
        let digest = Hash::of(&[bytes]);
        let whole = Bytes::copy_from_slice(bytes);
        let chunks = (0..whole.len()).step_by(CHUNK).map(move |at| {
            let chunk = whole.slice(at..whole.len().min(at + CHUNK));
            sent((at + chunk.len()) as u64);
            v1::PutArtifactRequest { chunk }
        });
        let answer = self.artifacts.put_artifact(tokio_stream::iter(chunks)).await;
        let answer = answer.map_err(|s| failed(&self.server, s))?.into_inner();
        if answer.digest != digest.as_bytes().as_slice() {
            return Err(FalseAnswer::Malformed("the artifact got another digest").into());
        }
        Ok(digest)
    }

    /// Reads an artifact of at most `max` bytes and checks its digest; `None` if it is not there.
    pub async fn artifact(
        &mut self,
        digest: &Hash,
        max: usize,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let request = v1::GetArtifactRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
        let mut chunks = match self.artifacts.get_artifact(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
            Err(status) => return Err(failed(&self.server, status)),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|s| failed(&self.server, s))?.chunk;
            if bytes.len() + chunk.len() > max {
                return Err(FalseAnswer::Malformed("an artifact is longer than it can be").into());
            }
            bytes.extend_from_slice(&chunk);
        }
        if Hash::of(&[&bytes]) != *digest {
            return Err(FalseAnswer::Malformed("an artifact has another digest").into());
        }
        Ok(Some(bytes))
    }

    async fn trust(&mut self, note: &[u8]) -> Result<(), CallError> {
        let new = SignedCheckpoint::open(note, &self.key).map_err(FalseAnswer::from)?;
        let (old, head) = (*self.trusted.head(), *new.head());
        if head.size < old.size {
            // Another call may have brought a newer head meanwhile: this one must be its prefix.
            self.check_consistency(&head, &old).await?;
            return Ok(());
        }
        self.check_consistency(&old, &head).await?;
        self.trusted = new;
        Ok(())
    }

    async fn consistency(&mut self, old_size: u64, new_size: u64) -> Result<Vec<Hash>, CallError> {
        let request = v1::GetConsistencyProofRequest { old_size, new_size };
        let answer = self.log.get_consistency_proof(request).await;
        Ok(hashes(&answer.map_err(|s| failed(&self.server, s))?.into_inner().proof)?)
    }
}

fn hashes(proof: &[Bytes]) -> Result<Vec<Hash>, FalseAnswer> {
    if proof.len() > tlog::MAX_PROOF {
        return Err(FalseAnswer::Malformed("a proof has too many hashes"));
    }
    proof
        .iter()
        .map(|bytes| Hash::from_slice(bytes))
        .collect::<Result<_, _>>()
        .map_err(|_| FalseAnswer::Malformed("a hash in a proof has not 32 bytes"))
}

/// A status with a reason is the log's word; one without comes from the transport.
fn failed(server: &str, status: tonic::Status) -> CallError {
    let transport = matches!(
        status.code(),
        tonic::Code::Unavailable
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Cancelled
            | tonic::Code::Unknown
    );
    let denied = Denied::from(status);
    if transport && denied.reason.is_empty() {
        return CallError::Unreachable { server: server.to_owned(), cause: denied.message };
    }
    CallError::Denied(Box::new(denied))
}

/// An error with all that caused it, since transports say little at the top.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
