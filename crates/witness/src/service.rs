//! The witness without its transports: bytes of a request in, signature lines or a refusal out.

use std::num::NonZeroU32;
use std::sync::Arc;

use exchange::predicate::stamp_message;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tlog::{AddCheckpoint, Hash, Note, NoteSignature};
use tokio::sync::watch;

use crate::alarms::{Alarms, Raised};
use crate::decision::{Cosigned, Own, Refused, Suspicion, Vouched};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::stamp::{NotStamped, Registration, Signers, Stamp, check_stampable};
use crate::writer::{Handle, place};

/// Requests of one log, or stamps of one signer: so many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained.
    pub per_second: NonZeroU32,
    /// At once, after a time of rest.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; zeros count as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { per_second: positive(per_second), burst: positive(burst) }
    }

    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// What a witness is told by its operator.
#[derive(Debug)]
pub struct Settings {
    /// The logs that it cosigns.
    pub logs: Logs,
    /// Signers whose statements it stamps without further proof.
    pub signers: Signers,
    /// Requests with a good signature, for each log. A log asks once a second, or less.
    pub checkpoints: Rate,
    /// Stamps for each signer.
    pub stamps: Rate,
    /// Where it is counted what happens.
    pub metrics: Metrics,
}

impl Default for Settings {
    /// No logs; 50 requests a second of each log and a stamp a second of each signer.
    fn default() -> Self {
        Self {
            logs: Logs::default(),
            signers: Signers::default(),
            checkpoints: Rate::new(50, 500),
            stamps: Rate::new(1, 20),
            metrics: Metrics::default(),
        }
    }
}

type Limiter = RateLimiter<Hash, HashMapStateStore<Hash>, DefaultClock>;

/// Whether the witness signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It does.
    Serving,
    /// It was told to stop.
    Draining,
    /// It has halted for good, or its store has failed.
    Stopped,
}

/// One witness. Cheap to share.
#[derive(Debug)]
pub struct Service {
    own: Own,
    logs: Logs,
    signers: Signers,
    writer: Handle,
    alarms: Arc<Alarms>,
    metrics: Metrics,
    checkpoints: Limiter,
    stamps: Limiter,
    condition: watch::Sender<Condition>,
}

impl Service {
    /// A witness around its writer.
    pub fn new(own: Own, settings: Settings, writer: Handle, alarms: Alarms) -> Arc<Self> {
        let Settings { logs, signers, checkpoints, stamps, metrics } = settings;
        Arc::new(Self {
            own,
            logs,
            signers,
            writer,
            alarms: Arc::new(alarms),
            metrics,
            checkpoints: RateLimiter::hashmap(checkpoints.quota()),
            stamps: RateLimiter::hashmap(stamps.quota()),
            condition: watch::channel(Condition::Serving).0,
        })
    }

    /// The witness's key.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Decides on a request. The cosignature is over what is durable.
    pub async fn add_checkpoint(&self, request: AddCheckpoint) -> Result<NoteSignature, Refused> {
        let answer = self.decide(request).await;
        self.count(answer.as_ref().map(|_| ()));
        answer.map(|cosigned| cosigned.cosignature(&self.own.key))
    }

    async fn decide(&self, request: AddCheckpoint) -> Result<Arc<Cosigned>, Refused> {
        self.check_condition()?;
        let vouched = Vouched::new(request, &self.logs, &self.own.verifier)?;
        // By log, not by who asks: anyone may ask, but only the log can make checkpoints.
        limit(&self.checkpoints, &place(vouched.request().checkpoint().origin()))?;
        let answer = self.writer.add_checkpoint(vouched.clone()).await;
        if let Err(Refused::Checkpoint { suspicion: Some(suspicion), .. }) = &answer {
            self.raise(vouched.request(), suspicion).await;
        }
        answer
    }

    /// Counts an answer that never got this far, or did.
    pub(crate) fn count(&self, answer: Result<(), &Refused>) {
        self.metrics.request(answer.err().map_or(200, Refused::status));
        match answer {
            Ok(()) => self.metrics.signing(true),
            Err(Refused::ClockFellBack { now, reached }) => {
                self.metrics.signing(false);
                tracing::error!(now, reached, "the clock fell back: nothing is signed");
            }
            Err(refused @ (Refused::RolledBack { .. } | Refused::Halted)) => {
                self.metrics.signing(false);
                tracing::error!(%refused, "halted");
                self.condition.send_replace(Condition::Stopped);
            }
            Err(_) => {}
        }
    }

    /// Keeps a request that may be evidence, before its answer leaves.
    async fn raise(&self, request: &AddCheckpoint, suspicion: &Suspicion) {
        let (alarms, key) = (Arc::clone(&self.alarms), self.own.key.clone());
        let (origin, size) =
            (request.checkpoint().origin().to_owned(), request.checkpoint().size());
        let (kind, request, suspicion) = (suspicion.kind, request.clone(), suspicion.clone());
        let work = move || alarms.raise(&request, &suspicion, &key);
        let raised = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(raised)) => Some(raised),
            Ok(Err(error)) => {
                tracing::error!(%error, "a request that may be evidence was not kept");
                None
            }
            Err(_) => None,
        };
        self.metrics.alarm(kind, raised);
        if raised == Some(Raised::Kept) {
            let kind = kind.as_str();
            tracing::error!(
                origin,
                size,
                kind,
                "a signed checkpoint contradicts what was cosigned"
            );
        }
    }

    /// Stamps a statement of a registered signer.
    pub async fn stamp(
        &self,
        envelope: &[u8],
        registration: Option<Registration<'_>>,
    ) -> Result<Stamp, NotStamped> {
        let stamped = self.try_stamp(envelope, registration).await;
        self.metrics.stamp(stamped.is_ok());
        if let Err(NotStamped::Refused(refused @ Refused::ClockFellBack { .. })) = &stamped {
            tracing::error!(%refused, "nothing is signed");
        }
        stamped
    }

    async fn try_stamp(
        &self,
        envelope: &[u8],
        registration: Option<Registration<'_>>,
    ) -> Result<Stamp, NotStamped> {
        self.check_condition()?;
        let stampable = check_stampable(envelope, registration, &self.logs, &self.signers)?;
        limit(&self.stamps, &place(stampable.signer.as_str()))?;
        let time = self.writer.stamp().await?;
        let message = stamp_message(&stampable.origin, &stampable.id, time);
        Ok(Stamp { keyid: self.own.verifier.keyid(), time, signature: self.own.key.sign(&message) })
    }

    /// The checkpoint that was cosigned last, with the cosignature, by the SHA-256 of its origin.
    pub fn published(&self, place: &Hash) -> Option<Note> {
        self.writer.last(place).map(|cosigned| cosigned.published(&self.own.key))
    }

    /// What was cosigned last of each log, by origin.
    pub fn all(&self) -> Vec<Arc<Cosigned>> {
        let mut all = self.writer.all();
        all.sort_by(|a, b| a.origin().cmp(b.origin()));
        all
    }

    /// Whether the witness signs, and a signal whenever that changes.
    pub fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Signs no more.
    pub(crate) fn stop(&self, condition: Condition) {
        self.condition.send_if_modified(|current| {
            let changes = *current != Condition::Stopped && *current != condition;
            if changes {
                *current = condition;
            }
            changes
        });
    }

    /// Forgets signers whose rates are whole again. Meant to be called every minute or so.
    pub(crate) fn tidy(&self) {
        self.checkpoints.retain_recent();
        self.stamps.retain_recent();
    }

    pub(crate) fn scrape(&self) -> String {
        self.metrics.encode(self.writer.all().len(), self.alarms.count())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn check_condition(&self) -> Result<(), Refused> {
        match *self.condition.borrow() {
            Condition::Serving => Ok(()),
            // A writer that has halted says so itself; one that has failed is gone.
            Condition::Stopped => Ok(()),
            Condition::Draining => Err(Refused::Stopping),
        }
    }
}

fn limit(limiter: &Limiter, key: &Hash) -> Result<(), Refused> {
    limiter.check_key(key).map_err(|until| Refused::RateLimited {
        retry: until.wait_time_from(DefaultClock::default().now()),
    })
}
