//! The service without its transports: opening a log, checking a statement, appending it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use exchange::predicate::Predicate;
use exchange::{
    ArtifactKind, Reason, Refusal, Replayed, SignedStatement, State, VerifiedStatement, artifacts,
};
use record::context::Context;
use record::vector::verify_vector;
use sequencer::{
    Answer, AppendError, ArtifactStore, Entry, Fatal, Handle, Limits, Log, ReadError, Reader,
    Sequencer, StatementKey, Store,
};
use tlog::{Hash, KeyKind, SigningKey};
use tokio::sync::{oneshot, watch};

use crate::gate::{Admitted, Gate, SharedRegistry};

/// What a server allows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may register.
    pub admitted: Admitted,
    /// Bytes of one artifact.
    pub max_artifact: u64,
    /// What may wait for the writer, and what one commit takes.
    pub limits: Limits,
}

impl Default for Settings {
    /// Nobody may register, artifacts have at most 64 MiB.
    fn default() -> Self {
        Self { admitted: Admitted::default(), max_artifact: 64 << 20, limits: Limits::default() }
    }
}

/// Whether statements are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Serving,
    /// The writer has stopped; nothing is taken until the process starts again.
    Stopped,
}

/// Why a log could not be opened as a service.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Storage failed, is in use, or contradicts itself.
    #[error(transparent)]
    Log(#[from] sequencer::OpenError),
    /// An entry could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry that this server would never have admitted: the folder was changed, or another
    /// program wrote it.
    #[error("entry {index} should not be in this log: {refusal}; run: countersign fsck")]
    Foreign {
        /// Which entry.
        index: u64,
        /// Why it is refused.
        refusal: Refusal,
    },
}

/// One log as a service. Cheap to share.
pub struct Service {
    reader: Reader,
    handle: Handle<Gate>,
    artifacts: Arc<dyn ArtifactStore>,
    registry: SharedRegistry,
    settings: Settings,
    /// Tells watchers that a new head is there; holds its size.
    head: watch::Sender<u64>,
    stopped: AtomicBool,
}

/// The writer's thread, which ends with the log or with a fatal error.
pub type Writer = JoinHandle<Result<(), Fatal>>;

impl Service {
    /// Replays the log into the state machine and starts the writer.
    pub fn start<S>(
        log: Log<S>,
        key: &SigningKey,
        settings: Settings,
    ) -> Result<(Arc<Self>, Writer), OpenError>
    where
        S: Store + Send + 'static,
    {
        let reader = log.reader();
        let state = replay(&reader, State::new(key.verifier(KeyKind::Ed25519)))?;
        let gate = Gate::new(state);
        let registry = gate.registry();
        let artifacts = log.store().artifacts();
        let (head, _) = watch::channel(reader.head().size);
        let publisher = head.clone();
        reader.on_publish(Box::new(move |head| {
            publisher.send_replace(head.size);
        }));
        let (handle, writer) = Sequencer::start(log.with_admission(gate), settings.limits);
        let stopped = AtomicBool::new(false);
        let service = Self { reader, handle, artifacts, registry, settings, head, stopped };
        Ok((Arc::new(service), writer))
    }

    /// The way to read what is published.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The blobs beside the log.
    pub fn artifacts(&self) -> &Arc<dyn ArtifactStore> {
        &self.artifacts
    }

    /// What this server allows.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether statements are taken.
    pub fn state(&self) -> Condition {
        if self.stopped.load(Ordering::Relaxed) { Condition::Stopped } else { Condition::Serving }
    }

    /// The size of the newest head, and a signal whenever it changes.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Takes no more statements; what is queued is still written and answered.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.handle.stop();
    }

    /// Notes that the writer has ended by itself.
    pub fn mark_stopped(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Puts one statement into the log, or says why not. The answer is durable.
    pub async fn append(self: &Arc<Self>, leaf: &[u8]) -> Result<Answer, Refusal> {
        self.enqueue(leaf).await?.wait().await
    }

    /// The first half of [`append`](Self::append): checks the statement and queues it, so that
    /// the caller's order becomes the log's order while many are in flight.
    pub async fn enqueue(self: &Arc<Self>, leaf: &[u8]) -> Result<Queued, Refusal> {
        let (sender, receiver) = oneshot::channel();
        // An envelope that the log has is answered whatever changed since: keys may have rotated.
        if let Some(answer) = self.known(leaf)? {
            let _ = sender.send(Ok(answer));
            return Ok(Queued(receiver));
        }
        let verified = self.registry.snapshot().verify(SignedStatement::parse(leaf)?)?;
        self.settings.admitted.check(&verified)?;
        check_taken(&verified)?;
        if !artifacts(verified.statement()).is_empty() {
            let service = Arc::clone(self);
            let statement = verified.clone();
            tokio::task::spawn_blocking(move || service.check_artifacts(&statement))
                .await
                .map_err(|_| stopping())??;
        }
        let key = StatementKey::new(*verified.id().as_bytes());
        let entry = Entry::with_content(leaf, key, verified)
            .map_err(|e| Refusal::new(Reason::LeafTooLarge, e.to_string()))?;
        let reply = move |answer: Result<Answer, AppendError<Refusal>>| {
            // The caller may have gone; the statement is in the log all the same.
            let _ = sender.send(answer.map_err(refusal));
        };
        self.handle.append(entry, reply).map_err(refusal)?;
        Ok(Queued(receiver))
    }

    /// The answer for an envelope that is in the log already.
    fn known(&self, leaf: &[u8]) -> Result<Option<Answer>, Refusal> {
        let hash = tlog::leaf_hash(leaf);
        let snapshot = self.reader.snapshot();
        let Some(index) = snapshot.index_of_leaf(&hash).map_err(|e| unreadable(&e))? else {
            return Ok(None);
        };
        let head = snapshot.head();
        if index >= head.size {
            // Committed, but not yet published: the writer gives the answer.
            return Ok(None);
        }
        let proof = snapshot.inclusion(index, head.size).map_err(|e| unreadable(&e))?;
        let checkpoint = snapshot.checkpoint();
        Ok(Some(Answer { index, leaf: hash, head, proof, checkpoint, duplicate: true }))
    }

    /// `ARTIFACT_MISSING`, `ARTIFACT_INVALID`: what a statement names must be stored and, where
    /// anyone can check it, hold.
    fn check_artifacts(&self, verified: &VerifiedStatement) -> Result<(), Refusal> {
        for need in artifacts(verified.statement()) {
            let length = self.artifacts.length(&need.digest).map_err(|e| broken(&e))?;
            let Some(length) = length else {
                let message = format!("{} is not stored; put it first, then append", need.digest);
                return Err(
                    Refusal::new(Reason::ArtifactMissing, message).with("digest", need.digest)
                );
            };
            if !need.length.allows(length) {
                let message = format!("{} has {length} bytes, which can't be right", need.digest);
                return Err(invalid(message, &need.digest));
            }
            if need.kind == ArtifactKind::Vector {
                self.check_vector(verified, &need.digest)?;
            }
        }
        Ok(())
    }

    /// The commitment vector rebuilds the record root, its sums are the totals, and the proofs of
    /// the totals hold.
    fn check_vector(&self, verified: &VerifiedStatement, digest: &Hash) -> Result<(), Refusal> {
        let statement = verified.statement();
        let Predicate::Evaluation(evaluation) = statement.predicate() else { return Ok(()) };
        // An intent that is still on its way can't vouch for a context: its author waits for it.
        let Some(nonce) = self.nonce_of(&StatementKey::new(*evaluation.intent.as_bytes()))? else {
            let message = format!("the log has no intent {}", evaluation.intent);
            return Err(Refusal::new(Reason::UnknownStatement, message).at("/predicate/intent"));
        };
        let common = statement.common();
        let agreement = common.exchange.map(|id| id.hash());
        let context = Context::new(
            common.origin.as_str(),
            agreement.as_ref(),
            common.signer.as_str(),
            &nonce,
        )
        .map_err(|e| Refusal::new(Reason::LimitExceeded, e.to_string()))?;
        let bytes = self.artifacts.get(digest, self.settings.max_artifact);
        let Some(bytes) = bytes.map_err(|e| broken(&e))? else {
            return Err(invalid(format!("{digest} is gone"), digest));
        };
        let header =
            evaluation.header().map_err(|e| Refusal::new(Reason::LimitExceeded, e.to_string()))?;
        verify_vector(&header, &context, &bytes)
            .map_err(|e| invalid(format!("the commitment vector does not hold: {e}"), digest))?;
        Ok(())
    }

    fn nonce_of(&self, intent: &StatementKey) -> Result<Option<[u8; 32]>, Refusal> {
        let snapshot = self.reader.snapshot();
        let index = snapshot.index_of_key(intent).map_err(|e| unreadable(&e))?;
        let Some(index) = index.filter(|index| *index < snapshot.size()) else { return Ok(None) };
        let leaf = snapshot.entry(index).map_err(|e| unreadable(&e))?;
        let signed = SignedStatement::parse(&leaf)?;
        Ok(match signed.statement().predicate() {
            Predicate::Intent(intent) => Some(intent.nonce),
            _ => None,
        })
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("head", &self.reader.head()).finish_non_exhaustive()
    }
}

/// A statement that waits for the writer.
#[derive(Debug)]
pub struct Queued(oneshot::Receiver<Result<Answer, Refusal>>);

impl Queued {
    /// The second half of [`Service::append`].
    pub async fn wait(self) -> Result<Answer, Refusal> {
        self.0.await.map_err(|_| stopping())?
    }
}

/// Kinds whose content this server can't check yet are not taken: admitting a claim means that
/// its proof holds.
fn check_taken(verified: &VerifiedStatement) -> Result<(), Refusal> {
    let problem = match verified.statement().predicate() {
        Predicate::Claim(_) | Predicate::Reveal(_) => "this log takes no claims and reveals yet",
        Predicate::Evaluation(evaluation) if !evaluation.opened.is_empty() => {
            "outside of an agreement nothing is opened with the attestation"
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(Reason::NoRule, problem))
}

/// Every entry through the state machine, signatures included: what is on disk may have been
/// changed since this server admitted it.
fn replay(reader: &Reader, mut state: State) -> Result<State, OpenError> {
    struct Roots<'a>(&'a Reader);
    impl exchange::History for Roots<'_> {
        fn root(&self, size: u64) -> Option<Hash> {
            self.0.root_at(size).ok()
        }
    }
    for (index, leaf) in (0..).zip(reader.entries(0..reader.head().size)?) {
        match state.replay(index, &leaf?, &Roots(reader)) {
            Replayed::Applied => {}
            Replayed::Void(refusal) | Replayed::Noise(refusal) => {
                return Err(OpenError::Foreign { index, refusal });
            }
        }
    }
    Ok(state)
}

fn refusal(error: AppendError<Refusal>) -> Refusal {
    match error {
        AppendError::QueueFull(_) => Refusal::new(Reason::QueueFull, error.to_string()),
        AppendError::Stopped => stopping(),
        AppendError::Refused(sequencer::Refusal::KeyExists { index }) => {
            let message = format!("entry {index} holds this statement in another envelope");
            Refusal::new(Reason::StatementExists, message).with("index", index)
        }
        AppendError::Refused(sequencer::Refusal::Admission(refusal)) => refusal,
    }
}

fn stopping() -> Refusal {
    Refusal::new(Reason::Stopping, "the server takes no statements now; send the same again later")
}

fn invalid(message: String, digest: &Hash) -> Refusal {
    Refusal::new(Reason::ArtifactInvalid, message).with("digest", digest)
}

/// The cause goes to the operator's log, not to the caller: it may name paths.
fn unreadable(error: &ReadError) -> Refusal {
    tracing::error!(%error, "the log cannot be read");
    Refusal::new(Reason::ReadOnly, "the log cannot be read at the moment")
}

fn broken(error: &sequencer::ArtifactError) -> Refusal {
    tracing::error!(%error, "an artifact cannot be read");
    Refusal::new(Reason::ReadOnly, "artifacts cannot be read at the moment")
}
