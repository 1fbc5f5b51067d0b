//! What a witness decides, and nothing else: state, request and time in, an answer out.
//!
//! The checks and their order are those of C2SP tlog-witness, `add-checkpoint`. What comes on top
//! protects the witness from itself: a clock that fell back, a store that was rolled back.
//!
//! Nothing here is durable. Whoever asks persists what [`State::add_checkpoint`] gives, in one
//! step with asking, and only then lets a cosignature out ([`Cosigned::cosignature`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tlog::{
    AddCheckpoint, Checkpoint, CheckpointError, KeyKind, Note, NoteSignature, RequestError,
    SigningKey, TreeHead, VerifierKey, cosign,
};

use crate::logs::Logs;

/// Lines of a log's name under keys that are not known here, such as its ML-DSA-44 signature,
/// which are kept with its checkpoint.
const KEPT_LINES: usize = 4;

/// Bytes of such a line: ML-DSA-44 makes some 2,500.
const KEPT_LINE: usize = 4 << 10;

/// Lines of a request that name the witness's own key and are looked at. A genuine request has one.
const OWN_LINES: usize = 4;

/// A checkpoint that was cosigned at a time. Once the record of it is durable, the cosignature may
/// be made, and made again: Ed25519 signs the same message with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    note: Note,
    checkpoint: Checkpoint,
    time: u64,
}

impl Cosigned {
    /// What a store has kept.
    pub fn restore(note: &[u8], time: u64) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse_text(note.text())?;
        Ok(Self { note, checkpoint, time })
    }

    /// The log.
    pub fn origin(&self) -> &str {
        self.checkpoint.origin()
    }

    /// Size and root.
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// Unix seconds of the cosignature.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The checkpoint with its log's signature lines.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The cosignature.
    pub fn cosignature(&self, key: &SigningKey) -> NoteSignature {
        cosign(&self.checkpoint, key, self.time).expect("the time was checked when it was taken")
    }

    /// The checkpoint with the cosignature, as others may read it.
    pub fn published(&self, key: &SigningKey) -> Note {
        // A note that can't take one line more stays as it is: the cosignature was given out.
        self.note.with_signature(self.cosignature(key)).unwrap_or_else(|_| self.note.clone())
    }
}

/// A request whose checkpoint a known log signed.
#[derive(Debug, Clone)]
pub struct Vouched {
    request: AddCheckpoint,
    /// The checkpoint with the log's lines and no others: anyone can add lines.
    note: Note,
    /// When this witness itself cosigned this very text, if the request shows so.
    own: Option<u64>,
}

impl Vouched {
    /// Checks the signatures: statuses 404 and 403. `own` is the witness's own key.
    pub fn new(request: AddCheckpoint, logs: &Logs, own: &VerifierKey) -> Result<Self, Refused> {
        let note = request.note();
        let origin = request.checkpoint().origin();
        let keys: Vec<_> = logs.keys(origin).iter().collect();
        request.check_signature(&keys).map_err(Refused::by_rule)?;
        let own = own_time(note, own);
        let mut room = KEPT_LINES;
        let note = note
            .retaining(|line| {
                if keys.iter().any(|key| line.names(key)) {
                    return true;
                }
                let kept = line.name() == origin && line.bytes().len() <= KEPT_LINE && room > 0;
                room -= usize::from(kept);
                kept
            })
            .map_err(|error| Refused::by_rule(error.into()))?;
        Ok(Self { request, note, own })
    }

    /// The request.
    pub fn request(&self) -> &AddCheckpoint {
        &self.request
    }

    fn head(&self) -> &TreeHead {
        self.request.checkpoint().head()
    }
}

/// When the witness with this key cosigned a note, if it did. A line that anyone made up says
/// nothing, so one that fails is not an error.
pub(crate) fn own_time(note: &Note, own: &VerifierKey) -> Option<u64> {
    let lines = note.signatures().iter().filter(|line| line.names(own)).take(OWN_LINES);
    lines.filter_map(|line| own.check(note.text(), line).ok()?).max()
}

/// What a witness remembers. Only what is durable may be built on by a later process; within one
/// process a failed write ends everything, so the state may run ahead of the disk.
#[derive(Debug, Clone, Default)]
pub struct State {
    cosigned: BTreeMap<String, Arc<Cosigned>>,
    clock: u64,
    halted: bool,
}

impl State {
    /// The state that a store holds: the last checkpoint of each log, and the latest time that
    /// was signed.
    pub fn new(cosigned: impl IntoIterator<Item = Cosigned>, clock: u64) -> Self {
        let mut state = Self { clock, ..Self::default() };
        for cosigned in cosigned {
            state.apply(Arc::new(cosigned));
        }
        state
    }

    /// What was last cosigned of a log.
    pub fn last(&self, origin: &str) -> Option<&Arc<Cosigned>> {
        self.cosigned.get(origin)
    }

    /// What was last cosigned of each log.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Cosigned>> {
        self.cosigned.values()
    }

    /// The latest time that was signed.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Decides whether the checkpoint of a request may be cosigned at `now`, unix seconds.
    pub fn add_checkpoint(&self, request: &Vouched, now: u64) -> Result<Cosigned, Refused> {
        self.check_running()?;
        let origin = request.request.checkpoint().origin();
        if let Some(time) = request.own {
            self.check_shown(origin, request.head(), time)?;
        }
        let known = self.last(origin);
        let head = known.map_or(TreeHead::EMPTY, |known| *known.head());
        request.request.check_growth(&head).map_err(|refusal| Refused::Checkpoint {
            suspicion: doubt(&refusal, known.map(|known| known.head()), request.head())
                .map(|kind| Suspicion { kind, known: known.cloned() }),
            refusal,
        })?;
        let time = self.check_clock(now)?;
        let (note, checkpoint) = (request.note.clone(), request.request.checkpoint().clone());
        Ok(Cosigned { note, checkpoint, time })
    }

    /// Checks that this state has a record of a cosignature of our own that somebody shows. No one
    /// else could make it, so if there is no record somebody has put an old store back.
    pub fn check_shown(&self, origin: &str, shown: &TreeHead, time: u64) -> Result<(), Refused> {
        let recorded = self.last(origin).is_some_and(|last| {
            let continues = last.head() == shown || last.head().size > shown.size;
            last.time >= time && continues
        });
        if recorded { Ok(()) } else { Err(Refused::RolledBack { size: shown.size, time }) }
    }

    /// Decides whether anything else may be signed with the time `now`.
    pub fn stamp(&self, now: u64) -> Result<u64, Refused> {
        self.check_running()?;
        self.check_clock(now)
    }

    /// Remembers what was cosigned.
    pub fn apply(&mut self, cosigned: Arc<Cosigned>) {
        self.reach(cosigned.time);
        self.cosigned.insert(cosigned.origin().to_owned(), cosigned);
    }

    /// Remembers that this time was signed.
    pub fn reach(&mut self, time: u64) {
        self.clock = self.clock.max(time);
    }

    /// Signs nothing any more.
    pub fn halt(&mut self) {
        self.halted = true;
    }

    fn check_running(&self) -> Result<(), Refused> {
        if self.halted { Err(Refused::Halted) } else { Ok(()) }
    }

    /// Signed times never fall, over all logs and stamps together.
    fn check_clock(&self, now: u64) -> Result<u64, Refused> {
        let reached = self.clock.max(1);
        if now < reached || i64::try_from(now).is_err() {
            return Err(Refused::ClockFellBack { now, reached });
        }
        Ok(now)
    }
}

/// Whether a refused checkpoint, which its log did sign, may show that the log has forked.
fn doubt(refusal: &tlog::Refusal, known: Option<&TreeHead>, shown: &TreeHead) -> Option<Doubt> {
    if known.is_some_and(|known| known.size == shown.size && known.root != shown.root) {
        // Whatever else is wrong with the request, the log has signed two trees of one size.
        return Some(Doubt::TwoHeads);
    }
    match refusal {
        tlog::Refusal::Inconsistent(_) | tlog::Refusal::EmptyTree { .. } => Some(Doubt::Unproved),
        _ => None,
    }
}

/// A refused request that is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// How much it shows.
    pub kind: Doubt,
    /// What had been cosigned of that log.
    pub known: Option<Arc<Cosigned>>,
}

/// How much a refused request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// Two trees of one size, both signed by the log: proof of a fork.
    TwoHeads,
    /// The proof does not hold. Anyone can put a bad proof beside a good checkpoint, so this may
    /// be nothing, or the one trace of a fork.
    Unproved,
}

/// Why there is no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Bytes that are no request. Status 400, `BAD_REQUEST`.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A rule of C2SP tlog-witness; it has the status.
    #[error("{refusal}")]
    Checkpoint {
        /// Which rule.
        refusal: tlog::Refusal,
        /// Set if the request may be evidence.
        suspicion: Option<Suspicion>,
    },
    /// Status 503, `CLOCK_BEHIND`.
    #[error("this witness signed at {reached} and its clock shows {now}: it signs nothing now")]
    ClockFellBack {
        /// Unix seconds on the clock.
        now: u64,
        /// Unix seconds that were signed before.
        reached: u64,
    },
    /// Status 503, `ROLLED_BACK`.
    #[error("this witness cosigned size {size} at {time} and has no record of it: it has halted")]
    RolledBack {
        /// Size that the request shows.
        size: u64,
        /// Unix seconds of the cosignature that the request shows.
        time: u64,
    },
    /// Status 503, `HALTED`.
    #[error("this witness has halted: its store was rolled back, and its key must be retired")]
    Halted,
    /// Status 429, `RATE_LIMITED`.
    #[error("too many requests for this log: try again in {} ms", retry.as_millis())]
    RateLimited {
        /// When one more would be taken.
        retry: Duration,
    },
    /// Status 503, `QUEUE_FULL`.
    #[error("too many requests wait: try again in a moment")]
    QueueFull,
    /// Status 503, `STOPPING`. The checkpoint may have been recorded as cosigned; asking again
    /// tells.
    #[error("this witness is stopping: try again later")]
    Stopping,
}

impl Refused {
    fn by_rule(refusal: tlog::Refusal) -> Self {
        Self::Checkpoint { refusal, suspicion: None }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Request(RequestError::TooLarge { .. }) => 413,
            Self::Request(_) => 400,
            Self::Checkpoint { refusal, .. } => refusal.status(),
            Self::RateLimited { .. } => 429,
            Self::ClockFellBack { .. }
            | Self::RolledBack { .. }
            | Self::Halted
            | Self::QueueFull
            | Self::Stopping => 503,
        }
    }

    /// The size that was cosigned last, if the request was about another: status 409.
    pub fn other_size(&self) -> Option<u64> {
        match self {
            Self::Checkpoint { refusal: tlog::Refusal::OtherSize { size, .. }, .. } => Some(*size),
            _ => None,
        }
    }
}

impl From<&SigningKey> for Own {
    fn from(key: &SigningKey) -> Self {
        Self { verifier: key.verifier(KeyKind::Cosignature), key: key.clone() }
    }
}

/// A witness's own key, both halves at hand.
#[derive(Debug, Clone)]
pub struct Own {
    /// Signs.
    pub key: SigningKey,
    /// The key of type 04 that others verify with.
    pub verifier: VerifierKey,
}
