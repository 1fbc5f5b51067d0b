//! The service without its transports: opening a log, checking a statement, appending it.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use exchange::named::{self, Sources};
use exchange::predicate::Predicate;
use exchange::{
    Reason, Refusal, Replayed, SignedStatement, State, Statement, StatementId, artifacts,
};
use sequencer::{
    Answer, AppendError, ArtifactError, ArtifactStore, Entry, Fatal, Handle, Limits, Log,
    ReadError, Reader, Sequencer, StatementKey, Store,
};
use tlog::{Hash, KeyKind, KeyName, SigningKey, TreeHead};
use tokio::sync::{OnceCell, oneshot, watch};
use transport::{Identity, Peer};

use crate::gate::{Admitted, Candidate, Gate, SharedRegistry, auditors, moved_by};
use crate::holdings::{Envelopes, Holdings, Unnamed};
use crate::known::{Changes, Known};
use crate::metrics::{AppendResult, Metrics, Now};
use crate::quota::{Meters, Quotas};
use crate::taken::{self, Logged};
use crate::ticks::Operator;
use crate::witnesses::{self, Cosigning, RolledBack, Shown, Witnesses};

/// What a server allows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may register.
    pub admitted: Admitted,
    /// Bytes of one artifact.
    pub max_artifact: u64,
    /// What may wait for the writer, and what one commit takes.
    pub limits: Limits,
    /// What one identity may send over time; for simulations and measurements nothing is said.
    pub quotas: Option<Quotas>,
    /// How much may be stored that no statement has named.
    pub unnamed: Unnamed,
    /// To whom stored envelopes are given.
    pub envelopes: Envelopes,
    /// Who cosigns the log's checkpoints.
    pub witnesses: Option<Witnesses>,
    /// Who signs the ticks that the server logs; without one, or without witnesses, it logs none.
    pub operator: Option<Operator>,
    /// Where it is counted what happens.
    pub metrics: Metrics,
}

impl Default for Settings {
    /// Nobody may register. An artifact has at most 66 MiB: an envelope of the largest bucket,
    /// 65 MiB, and what stands around it.
    fn default() -> Self {
        Self {
            admitted: Admitted::default(),
            max_artifact: 66 << 20,
            limits: Limits::default(),
            quotas: None,
            unnamed: Unnamed::default(),
            envelopes: Envelopes::Parties,
            witnesses: None,
            operator: None,
            metrics: Metrics::default(),
        }
    }
}

/// Whether statements are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Serving,
    /// The server was told to stop: it answers reads and finishes what is queued.
    Draining,
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
    /// The artifacts beside the log could not be listed.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
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
    origin: KeyName,
    reader: Reader,
    handle: Handle<Gate>,
    artifacts: Arc<dyn ArtifactStore>,
    registry: SharedRegistry,
    settings: Settings,
    /// Tells watchers that a new head is there; holds its size.
    head: watch::Sender<u64>,
    condition: watch::Sender<Condition>,
    holdings: Arc<Holdings>,
    changes: Arc<Changes>,
    meters: Option<Meters>,
    cosigning: Option<Arc<Cosigning>>,
    /// Set once a witness has shown what this log has lost.
    rolled_back: OnceLock<RolledBack>,
    /// Whether the log has been compared with what its witnesses show.
    compared: OnceCell<()>,
}

/// The writer's thread, which ends with the log or with a fatal error.
pub type Writer = JoinHandle<Result<(), Fatal>>;

impl Service {
    /// Replays the log into the state machine and starts the writer.
    pub fn start<S>(
        log: Log<S>,
        key: &SigningKey,
        mut settings: Settings,
    ) -> Result<(Arc<Self>, Writer), OpenError>
    where
        S: Store + Send + 'static,
    {
        if let Some(operator) = &settings.operator {
            settings.admitted.add(&operator.verifier());
        }
        let reader = log.reader();
        let holdings = Arc::new(Holdings::new(settings.unnamed));
        let state = State::new(key.verifier(KeyKind::Ed25519));
        let known = replay(&reader, state, &holdings)?;
        let changes = known.changes();
        let artifacts = log.store().artifacts();
        for stored in artifacts.list()? {
            holdings.found(stored, Instant::now());
        }
        let gate = Gate::new(known, Arc::clone(&holdings), settings.metrics.clone());
        let registry = gate.registry();
        let (head, _) = watch::channel(reader.head().size);
        let (publisher, metrics) = (head.clone(), settings.metrics.clone());
        reader.on_publish(Box::new(move |head| {
            metrics.published();
            publisher.send_replace(head.size);
        }));
        let (handle, writer) = Sequencer::start(log.with_admission(gate), settings.limits);
        let (condition, _) = watch::channel(Condition::Serving);
        let meters = settings.quotas.as_ref().map(Meters::new);
        let cosigning = settings.witnesses.clone().map(|witnesses| {
            settings.metrics.ask(witnesses.names());
            Arc::new(Cosigning::new(witnesses, key.verifier(KeyKind::Ed25519)))
        });
        let service = Self {
            origin: key.name().clone(),
            reader,
            handle,
            artifacts,
            registry,
            settings,
            head,
            condition,
            holdings,
            changes,
            meters,
            cosigning,
            rolled_back: OnceLock::new(),
            compared: OnceCell::new(),
        };
        Ok((Arc::new(service), writer))
    }

    /// The log's origin.
    pub(crate) fn origin(&self) -> &KeyName {
        &self.origin
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
        *self.condition.borrow()
    }

    /// The same, and a signal whenever it changes.
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Where it is counted what happens.
    pub fn metrics(&self) -> &Metrics {
        &self.settings.metrics
    }

    /// All metrics in the OpenMetrics text format.
    pub fn scrape(&self) -> String {
        self.metrics().encode(&Now {
            checkpoint_size: self.reader.head().size,
            queue: self.handle.depth(),
            unnamed_bytes: self.holdings.unnamed_bytes(),
            serving: self.state() == Condition::Serving,
            witnessed: self.cosigning.as_ref().map(|cosigning| cosigning.freshness(unix_now())),
        })
    }

    /// The checkpoint that the log shows to readers: with its witnesses' cosignatures if it has
    /// witnesses, and then not always the newest head; else the newest.
    pub fn shown(&self) -> Arc<[u8]> {
        let shown =
            self.cosigning.as_ref().and_then(|cosigning| cosigning.shown().borrow().clone());
        shown.map_or_else(|| self.reader.checkpoint(), |shown| shown.checkpoint().as_bytes().into())
    }

    /// What the log shows of its witnesses' cosignatures, and a signal whenever it changes; `None`
    /// if the log has no witnesses.
    pub fn witnessed(&self) -> Option<watch::Receiver<Option<Arc<Shown>>>> {
        self.cosigning.as_ref().map(|cosigning| cosigning.shown())
    }

    pub(crate) fn cosigning(&self) -> Option<&Arc<Cosigning>> {
        self.cosigning.as_ref()
    }

    /// Stops for good: this log has signed entries that it does not have any more.
    pub(crate) fn roll_back(&self, found: RolledBack) {
        if self.rolled_back.set(found.clone()).is_ok() {
            tracing::error!(%found, "stopping");
            self.metrics().rolled_back();
        }
        self.handle.stop();
        self.mark_stopped();
    }

    /// Compares the log with what its witnesses show, once: a log that has lost entries must not
    /// sign others, so [`serve_on`](crate::serve_on) takes nothing before. A witness that cannot be
    /// reached within its deadline says nothing.
    pub async fn compare_with_witnesses(self: &Arc<Self>) -> Result<(), RolledBack> {
        if let Some(cosigning) = &self.cosigning {
            let comparing = witnesses::check_all(self, cosigning);
            self.compared.get_or_try_init(|| comparing).await?;
        }
        Ok(())
    }

    pub(crate) fn rolled_back(&self) -> Option<&RolledBack> {
        self.rolled_back.get()
    }

    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.holdings
    }

    /// Who is told of the entries of exchanges.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn meters(&self) -> Option<&Meters> {
        self.meters.as_ref()
    }

    /// Removes artifacts that no statement has named in time, and forgets whose quotas are whole
    /// again. Meant to be called every minute or so.
    pub fn tidy(&self, now: Instant) {
        if let Some(meters) = &self.meters {
            meters.forget();
        }
        self.changes.tidy();
        match self.holdings.collect(now, |digest| self.artifacts.remove(digest)) {
            Ok(0) => {}
            Ok(removed) => {
                self.metrics().removed(removed);
                tracing::info!(removed, "removed artifacts that no statement has named");
            }
            Err(error) => tracing::error!(%error, "an unnamed artifact cannot be removed"),
        }
    }

    /// The size of the newest head, and a signal whenever it changes.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Takes no more statements; what is queued is still written and answered.
    pub fn stop(&self) {
        // A writer that has ended stays so.
        self.condition.send_if_modified(|condition| {
            let serving = *condition == Condition::Serving;
            if serving {
                *condition = Condition::Draining;
            }
            serving
        });
        self.handle.stop();
    }

    /// Notes that the writer has ended by itself.
    pub fn mark_stopped(&self) {
        self.condition.send_replace(Condition::Stopped);
    }

    /// Puts one statement into the log, or says why not. The answer is durable.
    pub async fn append(self: &Arc<Self>, leaf: &[u8]) -> Result<Answer, Refusal> {
        self.enqueue(leaf).await?.wait().await
    }

    /// The first half of [`append`](Self::append): checks the statement and queues it, so that
    /// the caller's order becomes the log's order while many are in flight.
    pub async fn enqueue(self: &Arc<Self>, leaf: &[u8]) -> Result<Queued, Refusal> {
        self.count_refusal(self.check_and_queue(leaf, None, Instant::now())).await
    }

    /// The same for a peer, to whose quota the statement is charged.
    pub(crate) async fn enqueue_from(
        self: &Arc<Self>,
        peer: &Peer,
        leaf: &[u8],
    ) -> Result<Queued, Refusal> {
        let began = Instant::now();
        self.count_refusal(async {
            if let Some(meters) = &self.meters {
                meters.statement(peer.identity(), leaf.len())?;
            }
            self.check_and_queue(leaf, Some(peer), began).await
        })
        .await
    }

    async fn count_refusal(
        &self,
        queueing: impl Future<Output = Result<Queued, Refusal>>,
    ) -> Result<Queued, Refusal> {
        let began = Instant::now();
        let queued = queueing.await;
        if let Err(refusal) = &queued {
            self.metrics().appended(AppendResult::Refused(refusal.reason()), began.elapsed());
        }
        queued
    }

    async fn check_and_queue(
        self: &Arc<Self>,
        leaf: &[u8],
        peer: Option<&Peer>,
        began: Instant,
    ) -> Result<Queued, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let metrics = self.metrics().clone();
        // An envelope that the log has is answered whatever changed since: keys may have rotated.
        if let Some(answer) = self.known(leaf)? {
            metrics.appended(AppendResult::Existed, began.elapsed());
            let _ = sender.send(Ok(answer));
            return Ok(Queued(receiver));
        }
        let verified = self.registry.snapshot().verify(SignedStatement::parse(leaf)?)?;
        self.settings.admitted.check(&verified)?;
        taken::check_taken(&verified)?;
        let signer = Identity::Party(verified.statement().common().signer.clone());
        if let Some(meters) = &self.meters
            && peer.is_some_and(|peer| *peer.identity() != signer)
        {
            // Whoever brings it: a party does not get more by many connections.
            meters.statement(&signer, leaf.len())?;
        }
        let named = artifacts(verified.statement());
        let pin = self.holdings.pin(named.iter().map(|need| need.digest).collect());
        let mut candidate = Candidate { verified, artifacts: None };
        if !named.is_empty() || taken::is_standalone_reveal(candidate.verified.statement()) {
            let service = Arc::clone(self);
            let verified = candidate.verified.clone();
            let check = move || {
                named::check_all(verified.statement(), &*service)?;
                taken::check_standalone_reveal(verified.statement(), &*service)
            };
            let checked = tokio::task::spawn_blocking(check).await;
            if let Err(refusal) = checked.map_err(|_| stopping())? {
                if !is_about_artifacts(&refusal) {
                    return Err(refusal);
                }
                candidate.artifacts = Some(refusal);
            }
        }
        let key = StatementKey::new(*candidate.verified.id().as_bytes());
        let entry = Entry::with_content(leaf, key, candidate)
            .map_err(|e| Refusal::new(Reason::LeafTooLarge, e.to_string()))?;
        let reply = move |answer: Result<Answer, AppendError<Refusal>>| {
            drop(pin);
            let answer = answer.map_err(refusal);
            let result = match &answer {
                Ok(answer) if answer.duplicate => AppendResult::Existed,
                Ok(_) => AppendResult::Committed,
                Err(refusal) => AppendResult::Refused(refusal.reason()),
            };
            metrics.appended(result, began.elapsed());
            // The caller may have gone; the statement is in the log all the same.
            let _ = sender.send(answer);
        };
        self.handle.append(entry, reply).map_err(refusal)?;
        Ok(Queued(receiver))
    }

    /// Looks at what the published entries lead to, with their head. `question` runs on the
    /// writer's thread, so it is short and does not panic.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Known, TreeHead) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let asked = self.handle.ask(move |gate, head| {
            // Whoever asked may have gone.
            let _ = sender.send(question(gate.known(), head));
        });
        asked.map_err(refusal)?;
        receiver.await.map_err(|_| stopping())
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
}

impl Sources for Service {
    fn length(&self, digest: &Hash) -> Result<Option<u64>, Refusal> {
        self.artifacts.length(digest).map_err(|e| broken(&e))
    }

    fn bytes(&self, digest: &Hash) -> Result<Option<Vec<u8>>, Refusal> {
        self.artifacts.get(digest, self.settings.max_artifact).map_err(|e| broken(&e))
    }

    fn start(&self, digest: &Hash, bytes: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(reader) = self.artifacts.open(digest).map_err(|e| broken(&e))? else {
            return Ok(None);
        };
        let mut start = Vec::with_capacity(bytes);
        let read = reader.take(bytes as u64).read_to_end(&mut start);
        read.map_err(|error| broken(&ArtifactError::Unreadable { digest: *digest, error }))?;
        Ok(Some(start))
    }

    fn nonce(&self, intent: &StatementId) -> Result<Option<[u8; 32]>, Refusal> {
        Ok(match self.statement(intent)?.as_ref().map(Statement::predicate) {
            Some(Predicate::Intent(intent)) => Some(intent.nonce),
            _ => None,
        })
    }
}

impl Logged for Service {
    fn statement(&self, id: &StatementId) -> Result<Option<Statement>, Refusal> {
        let snapshot = self.reader.snapshot();
        let key = StatementKey::new(*id.as_bytes());
        let index = snapshot.index_of_key(&key).map_err(|e| unreadable(&e))?;
        let Some(index) = index.filter(|index| *index < snapshot.size()) else { return Ok(None) };
        let leaf = snapshot.entry(index).map_err(|e| unreadable(&e))?;
        Ok(Some(SignedStatement::parse(&leaf)?.statement().clone()))
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
    pub async fn wait(mut self) -> Result<Answer, Refusal> {
        self.answer().await
    }

    /// The same for one who waits for other things as well: dropped before its end it loses
    /// nothing. Once answered there is no second answer.
    pub(crate) async fn answer(&mut self) -> Result<Answer, Refusal> {
        (&mut self.0).await.map_err(|_| stopping())?
    }
}

/// Every entry through the state machine, signatures included: what is on disk may have been
/// changed since this server admitted it.
fn replay(reader: &Reader, state: State, holdings: &Holdings) -> Result<Known, OpenError> {
    struct Roots<'a>(&'a Reader);
    impl exchange::History for Roots<'_> {
        fn root(&self, size: u64) -> Option<Hash> {
            self.0.root_at(size).ok()
        }
    }
    let mut known = Known::new(state);
    for (index, leaf) in (0..).zip(reader.entries(0..reader.head().size)?) {
        let leaf = leaf?;
        let foreign = |refusal| OpenError::Foreign { index, refusal };
        let signed = SignedStatement::parse(&leaf).map_err(foreign)?;
        let moved = moved_by(&known.state, signed.statement());
        match known.state.replay(index, &leaf, &Roots(reader)) {
            Replayed::Applied => {
                let statement = signed.statement();
                holdings.name(statement, auditors(&known.state, statement));
                known.follow(index, signed.id(), statement, &moved);
            }
            Replayed::Void(refusal) | Replayed::Noise(refusal) => return Err(foreign(refusal)),
        }
    }
    Ok(known)
}

/// Unix seconds by this machine's clock.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
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

pub(crate) fn stopping() -> Refusal {
    Refusal::new(Reason::Stopping, "the server takes no statements now; send the same again later")
}

/// Reasons that stay true until the statement's turn, where others may come before them.
fn is_about_artifacts(refusal: &Refusal) -> bool {
    let reasons = [
        Reason::ArtifactMissing,
        Reason::ArtifactInvalid,
        Reason::ProofUnchecked,
        Reason::LimitExceeded,
    ];
    reasons.contains(&refusal.reason())
}

/// The cause goes to the operator's log, not to the caller: it may name paths.
fn unreadable(error: &ReadError) -> Refusal {
    tracing::error!(%error, "the log cannot be read");
    Refusal::new(Reason::ReadOnly, "the log cannot be read at the moment")
}

fn broken(error: &ArtifactError) -> Refusal {
    tracing::error!(%error, "an artifact cannot be read");
    Refusal::new(Reason::ReadOnly, "artifacts cannot be read at the moment")
}
