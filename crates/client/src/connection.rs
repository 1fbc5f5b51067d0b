//! A connection to one log that believes nothing it has not checked: every checkpoint is signed
//! by the pinned key and extends the last one trusted, every proof leads to such a checkpoint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::Denied;
use api::v1;
use api::v1::artifact_service_client::ArtifactServiceClient;
use api::v1::get_inclusion_proof_request::Entry as WhichEntry;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use exchange::{Envelope, StatementId};
use tlog::evidence::{KnownKeys, Role};
use tlog::{
    CheckpointError, Hash, Policy, ProofError, Receipt, SignedCheckpoint, TreeHead, Untrusted,
    VerifiedCheckpoint, VerifierKey, inclusion_root, verify_consistency, verify_inclusion,
};
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;
use crate::evidence::Conflict;

/// Establishing a connection; answers have deadlines of their own.
const CONNECT: Duration = Duration::from_secs(10);
/// How long to wait before asking again for cosignatures; logs gather them each second or so.
const BEAT: Duration = Duration::from_millis(500);
/// The reason of a refusal to say that a quorum has cosigned.
const NOT_WITNESSED: &str = "NOT_WITNESSED";
/// Bytes of one piece of an upload.
const CHUNK: usize = 256 << 10;
/// Answers of the log are below 4 MiB.
const MAX_ANSWER: usize = 8 << 20;

/// Why a call did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer came, or none that can be read. Whether the log took a statement is unknown: send
    /// the same bytes again.
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
    /// The statement is in the log, and its witnesses have not cosigned it in time.
    #[error("not witnessed in time: {0}")]
    NotWitnessed(String),
    /// The log shows a head and does not prove that it extends the one verified before.
    #[error(
        "the log does not prove that its head of size {new} extends the one of size {old} that was \
         verified before: {cause}"
    )]
    Unproved {
        /// Size verified before.
        old: u64,
        /// Size of the new head.
        new: u64,
        /// What it says instead.
        cause: Box<Denied>,
        /// Both heads, where both came as signed notes.
        conflict: Option<Box<Conflict>>,
    },
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
    /// A checkpoint that the policy does not take.
    #[error("checkpoint: {0}")]
    Untrusted(#[from] Untrusted),
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
        /// Both heads, where both came as signed notes, and the evidence.
        conflict: Option<Box<Conflict>>,
    },
    /// A head that is smaller than one that was verified before: what was shown is gone, or kept
    /// back.
    #[error(
        "its newest head has size {new}, but one of size {old} was verified before: the log was \
         rolled back, or shows an old state"
    )]
    RolledBack {
        /// Size verified before.
        old: u64,
        /// Size of the head that is said to be the newest.
        new: u64,
        /// Both heads.
        conflict: Box<Conflict>,
    },
    /// An entry that is in the log, but is not the statement that was asked for.
    #[error("entry {index} is not the statement that was asked for")]
    OtherStatement {
        /// Which entry.
        index: u64,
    },
    /// An inclusion proof that does not lead to the signed root.
    #[error("inclusion proof of entry {index}: {cause}")]
    Inclusion {
        /// Which entry.
        index: u64,
        /// What fails.
        cause: ProofError,
    },
    /// Entries that are not those that the signed head covers.
    #[error("its entries are not those that its signed head of size {size} covers")]
    Entries {
        /// Size of the head.
        size: u64,
    },
    /// Something is missing or malformed.
    #[error("{0}")]
    Malformed(&'static str),
}

impl CallError {
    /// Two heads of the log that can't both be the newest of one history, if that is what went
    /// wrong: they are worth keeping, and may be evidence.
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Unproved { conflict, .. } => conflict.as_deref(),
            Self::False(answer) => answer.conflict(),
            _ => None,
        }
    }
}

impl FalseAnswer {
    /// As [`CallError::conflict`].
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::NotAnExtension { conflict, .. } => conflict.as_deref(),
            Self::RolledBack { conflict, .. } => Some(conflict),
            _ => None,
        }
    }
}

/// How long to wait for a server. Whoever does not end an answer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one call with its whole answer, uploads included.
    pub call: Duration,
    /// For one artifact.
    pub download: Duration,
}

impl Default for Patience {
    /// Two minutes for a call; ten for a download, which are 66 MiB at 110 kB/s.
    fn default() -> Self {
        Self { call: Duration::from_secs(120), download: Duration::from_secs(600) }
    }
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
    patience: Patience,
    /// Keys under which evidence is made: the log's, and those of witnesses.
    known: KnownKeys,
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
        let (server, patience) = (address.url(), Patience::default());
        let unreachable =
            |cause: String| CallError::Unreachable { server: server.to_owned(), cause };
        let mut endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|e| unreachable(format!("not an address such as http://host:port ({e})")))?
            .connect_timeout(CONNECT)
            .timeout(patience.call);
        if let Some(tls) = address.tls().map_err(|problem| unreachable(problem.to_owned()))? {
            endpoint = endpoint.tls_config(tls.endpoint()).map_err(|e| unreachable(causes(&e)))?;
        }
        let channel = endpoint.connect().await.map_err(|e| unreachable(causes(&e)))?;
        let mut log = LogServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let artifacts = ArtifactServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let trusted = match trusted {
            Some(note) => SignedCheckpoint::open(note, &key).map_err(FalseAnswer::from)?,
            None => {
                let call = log.get_checkpoint(newest());
                let note = whole(server, patience, call).await?;
                SignedCheckpoint::open(&note.checkpoint, &key).map_err(FalseAnswer::from)?
            }
        };
        let known = KnownKeys::default().with(Role::Log, key.clone());
        let server = server.to_owned();
        let mut connection = Self { server, log, artifacts, key, trusted, patience, known };
        connection.refresh().await?;
        Ok(connection)
    }

    /// The log's key, whose name is the origin.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Waits this long from now on.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The newest head that was verified.
    pub fn trusted(&self) -> &SignedCheckpoint {
        &self.trusted
    }

    /// Fetches the newest head and verifies that it extends the trusted one, which it becomes.
    pub async fn refresh(&mut self) -> Result<&SignedCheckpoint, CallError> {
        let call = self.log.get_checkpoint(newest());
        let note = whole(&self.server, self.patience, call).await?.checkpoint;
        let new = SignedCheckpoint::open(&note, &self.key).map_err(FalseAnswer::from)?;
        self.trust(new).await?;
        Ok(&self.trusted)
    }

    /// The newest head that this witness has cosigned, as far as the log shows cosignatures; `None`
    /// if it shows none of it. The head is the log's and the witness's word; whether it lies in the
    /// history that was verified is the caller's question.
    pub async fn cosigned_by(
        &mut self,
        witness: &VerifierKey,
    ) -> Result<Option<TreeHead>, CallError> {
        let request = v1::GetCheckpointRequest { wait_for: v1::WaitFor::Witnessed.into() };
        let call = self.log.get_checkpoint(request);
        let note = match whole(&self.server, self.patience, call).await {
            Ok(answer) => answer.checkpoint,
            Err(CallError::Denied(denied)) if denied.reason == NOT_WITNESSED => return Ok(None),
            Err(error) => return Err(error),
        };
        let shown = SignedCheckpoint::open(&note, &self.key).map_err(FalseAnswer::from)?;
        let signed = shown.note().verify(&[witness]).is_ok_and(|found| !found.is_empty());
        Ok(signed.then(|| *shown.head()))
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
            conflict: None,
        })?;
        Ok(proof)
    }

    /// Puts a statement into the log. Its receipt is verified before this returns; if it does not
    /// hold, the head that came with it is not trusted either.
    pub async fn append(&mut self, envelope: &Envelope) -> Result<Inclusion, CallError> {
        let inclusion = self.receipt(envelope, v1::WaitFor::Committed).await?;
        self.trust(inclusion.checkpoint.clone()).await?;
        Ok(inclusion)
    }

    /// The receipt of a statement under a checkpoint that the policy's quorum has cosigned, all of
    /// it verified; the statement is put into the log if it is not there. The log is asked again
    /// until its witnesses are those of the policy, or `patience` is over.
    pub async fn witnessed(
        &mut self,
        envelope: &Envelope,
        policy: &Policy,
        patience: Duration,
    ) -> Result<(Inclusion, VerifiedCheckpoint), CallError> {
        let deadline = tokio::time::Instant::now() + patience;
        let (inclusion, verified) = loop {
            let late = match self.receipt(envelope, v1::WaitFor::Witnessed).await {
                Ok(inclusion) => match policy.verify(inclusion.checkpoint.note()) {
                    Ok(verified) => break (inclusion, verified),
                    // The log has its own quorum; another witness of ours may come later.
                    Err(late @ Untrusted::NoQuorum { .. }) => late.to_string(),
                    Err(untrusted) => return Err(FalseAnswer::from(untrusted).into()),
                },
                Err(CallError::Denied(denied)) if denied.reason == NOT_WITNESSED => denied.message,
                Err(error) => return Err(error),
            };
            if tokio::time::Instant::now() + BEAT > deadline {
                return Err(CallError::NotWitnessed(late));
            }
            tokio::time::sleep(BEAT).await;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        verified.check_clock(now).map_err(FalseAnswer::from)?;
        let (old, head) = (*self.trusted.head(), *verified.head());
        if head.size < old.size {
            // The log grew while it waited for its witnesses: what they cosigned must be a prefix.
            self.check_consistency(&head, &old).await?;
        } else {
            self.trust(inclusion.checkpoint.clone()).await?;
        }
        Ok((inclusion, verified))
    }

    /// A receipt whose proof leads to a checkpoint that the pinned key signed.
    async fn receipt(
        &mut self,
        envelope: &Envelope,
        wait_for: v1::WaitFor,
    ) -> Result<Inclusion, CallError> {
        let request = v1::AppendRequest {
            envelope: Bytes::copy_from_slice(envelope.as_bytes()),
            wait_for: wait_for.into(),
        };
        let answer = whole(&self.server, self.patience, self.log.append(request)).await?;
        let inclusion = answer.inclusion.ok_or(FalseAnswer::Malformed("a receipt is missing"))?;
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
        let which = WhichEntry::StatementId(Bytes::copy_from_slice(id.as_bytes()));
        let head = *self.trusted.head();
        if head.size == 0 {
            // Nothing is in it; and asked for by size 0, a server answers for its newest head.
            return Ok(None);
        }
        let request = v1::GetInclusionProofRequest { entry: Some(which), tree_size: head.size };
        let call = self.log.get_inclusion_proof(request);
        let answer = unless_absent(whole(&self.server, self.patience, call).await);
        let Some(answer) = answer? else { return Ok(None) };
        let inclusion = answer.inclusion.ok_or(FalseAnswer::Malformed("a proof is missing"))?;
        let (index, proof) = (inclusion.index, hashes(&inclusion.proof)?);
        verify_inclusion(&tlog::leaf_hash(&answer.envelope), index, &head, &proof)
            .map_err(|cause| FalseAnswer::Inclusion { index, cause })?;
        let found = Envelope::parse(&answer.envelope).map(|envelope| envelope.id());
        if found.as_ref() != Ok(id) {
            return Err(FalseAnswer::OtherStatement { index }.into());
        }
        let checkpoint = self.trusted.clone();
        let inclusion = Inclusion { index, proof, checkpoint, existed: true };
        Ok(Some((answer.envelope.to_vec(), inclusion)))
    }

    /// Leaves from `start` on, up to the trusted head, one page. They are as the server gives
    /// them: whoever needs to trust them computes the root.
    pub async fn entries(&mut self, start: u64) -> Result<Vec<Bytes>, CallError> {
        let request = v1::ListEntriesRequest { start, limit: 0 };
        let call = self.log.list_entries(request);
        let mut envelopes = whole(&self.server, self.patience, call).await?.envelopes;
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
        let all = Bytes::copy_from_slice(bytes);
        let chunks = (0..all.len()).step_by(CHUNK).map(move |at| {
            let chunk = all.slice(at..all.len().min(at + CHUNK));
            sent((at + chunk.len()) as u64);
            v1::PutArtifactRequest { chunk }
        });
        let call = self.artifacts.put_artifact(tokio_stream::iter(chunks));
        let answer = whole(&self.server, self.patience, call).await?;
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
        let limit = self.patience.download;
        match tokio::time::timeout(limit, self.download(digest, max)).await {
            Ok(read) => unless_absent(read),
            Err(_) => Err(too_slow(&self.server, limit)),
        }
    }

    async fn download(&mut self, digest: &Hash, max: usize) -> Result<Vec<u8>, CallError> {
        let request = v1::GetArtifactRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
        let answer = self.artifacts.get_artifact(request).await;
        let mut chunks = answer.map_err(|s| failed(&self.server, s))?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|s| failed(&self.server, s))?.chunk;
            if chunk.is_empty() {
                // Else an answer could go on for ever without growing.
                return Err(FalseAnswer::Malformed("a piece of an artifact is empty").into());
            }
            if bytes.len() + chunk.len() > max {
                return Err(FalseAnswer::Malformed("an artifact is longer than it can be").into());
            }
            bytes.extend_from_slice(&chunk);
        }
        if Hash::of(&[&bytes]) != *digest {
            return Err(FalseAnswer::Malformed("an artifact has another digest").into());
        }
        Ok(bytes)
    }

    /// Takes a head that the log shows as its newest one. Calls of one connection follow each
    /// other, so an honest log never shows a smaller one than before.
    async fn trust(&mut self, new: SignedCheckpoint) -> Result<(), CallError> {
        let (old, head) = (*self.trusted.head(), *new.head());
        if head.size < old.size {
            let conflict = Box::new(self.accuse(self.trusted.clone(), new).await);
            return Err(FalseAnswer::RolledBack { old: old.size, new: head.size, conflict }.into());
        }
        let Err(mut error) = self.check_consistency(&old, &head).await else {
            self.trusted = new;
            return Ok(());
        };
        if let CallError::Unproved { conflict, .. }
        | CallError::False(FalseAnswer::NotAnExtension { conflict, .. }) = &mut error
        {
            *conflict = Some(Box::new(self.accuse(self.trusted.clone(), new).await));
        }
        Err(error)
    }

    pub(crate) fn known(&self) -> &KnownKeys {
        &self.known
    }

    /// Also name the witnesses among these keys in evidence, if they cosigned what can't both be
    /// true.
    pub fn know(&mut self, keys: &KnownKeys) {
        for witness in keys.of(Role::Witness) {
            self.known = std::mem::take(&mut self.known).with(Role::Witness, witness.clone());
        }
    }

    /// The root of the server's tree of the first `size` leaves, by its own word: what a proof for
    /// the last of them leads to.
    pub(crate) async fn root_at(&mut self, size: u64) -> Result<Hash, CallError> {
        let index = size.saturating_sub(1);
        let entry = Some(WhichEntry::Index(index));
        let request = v1::GetInclusionProofRequest { entry, tree_size: size };
        let call = self.log.get_inclusion_proof(request);
        let answer = whole(&self.server, self.patience, call).await?;
        let inclusion = answer.inclusion.ok_or(FalseAnswer::Malformed("a proof is missing"))?;
        let leaf = tlog::leaf_hash(&answer.envelope);
        let root = inclusion_root(&leaf, index, size, &hashes(&inclusion.proof)?);
        Ok(root.map_err(|cause| FalseAnswer::Inclusion { index, cause })?)
    }

    pub(crate) async fn consistency(
        &mut self,
        old_size: u64,
        new_size: u64,
    ) -> Result<Vec<Hash>, CallError> {
        let request = v1::GetConsistencyProofRequest { old_size, new_size };
        let call = self.log.get_consistency_proof(request);
        // Not a refusal of whatever the head came with.
        let answer =
            whole(&self.server, self.patience, call).await.map_err(|error| match error {
                CallError::Denied(cause) => {
                    CallError::Unproved { old: old_size, new: new_size, cause, conflict: None }
                }
                error => error,
            })?;
        Ok(hashes(&answer.proof)?)
    }
}

/// Asks for the newest head, whether witnesses have cosigned it or not: heads that a connection
/// trusts never fall.
fn newest() -> v1::GetCheckpointRequest {
    v1::GetCheckpointRequest { wait_for: v1::WaitFor::Committed.into() }
}

/// A call with its whole answer: the channel's own deadline ends when the answer begins.
async fn whole<T>(
    server: &str,
    patience: Patience,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(patience.call, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|s| failed(server, s)),
        Err(_) => Err(too_slow(server, patience.call)),
    }
}

fn too_slow(server: &str, limit: Duration) -> CallError {
    let cause = format!("no whole answer within {limit:?}");
    CallError::Unreachable { server: server.to_owned(), cause }
}

/// `None` if it is not there, by the log's own word.
fn unless_absent<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(CallError::Denied(denied))
            if matches!(denied.code, tonic::Code::NotFound | tonic::Code::OutOfRange) =>
        {
            Ok(None)
        }
        answer => answer.map(Some),
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

/// A status with a reason is the log's word. One without comes from the transport, or from
/// something between: an answer cut short, too long, or not of this kind. What became of the call
/// is unknown then.
fn failed(server: &str, status: tonic::Status) -> CallError {
    let denied = Denied::from(status);
    if denied.reason.is_empty() {
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
