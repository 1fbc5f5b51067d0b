//! The witnesses of a log: whom its policy names, what they cosigned, and the checkpoint that the
//! log shows because of it.
//!
//! Cosignatures are gathered on a beat, beside the writer: no append waits for a witness unless it
//! asks to. All witnesses are asked about one head at a time, each with a deadline, so one that is
//! slow or silent holds up nobody but itself.

mod asking;
mod gathering;
mod rolled_back;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Address, FetchError, WitnessClient};
use tlog::{Policy, PolicyWitness, SignedCheckpoint, TreeHead, VerifierKey};
use tokio::sync::watch;

pub(crate) use asking::CAUSES;
pub(crate) use gathering::gather;
pub use rolled_back::RolledBack;
pub(crate) use rolled_back::check_all;

/// How often and how long witnesses are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one head to the next.
    pub beat: Duration,
    /// When a witness must have answered.
    pub deadline: Duration,
    /// A head that does not change is cosigned again, so that readers see that the log lives.
    pub refresh: Duration,
}

impl Default for Pace {
    /// A head each second; five seconds for an answer; an idle log is cosigned every ten.
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(1),
            deadline: Duration::from_secs(5),
            refresh: Duration::from_secs(10),
        }
    }
}

/// The witnesses that a log asks, and the policy that says which of them are a quorum.
#[derive(Debug, Clone)]
pub struct Witnesses {
    policy: Arc<Policy>,
    asked: Vec<Asked>,
    pace: Pace,
}

/// A witness that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// As the policy calls it.
    pub(crate) name: String,
    pub(crate) key: VerifierKey,
    pub(crate) client: WitnessClient,
}

/// A policy that a log cannot be served under.
#[derive(Debug, thiserror::Error)]
pub enum UnfitPolicy {
    /// It lists logs, and not this one.
    #[error("the policy lists logs, but not this one: log {0}")]
    OtherLog(Box<VerifierKey>),
    /// It asks for no witness at all.
    #[error("the policy has the quorum none, so there is nothing to wait for")]
    NoQuorum,
    /// Too few witnesses have a URL.
    #[error("the quorum cannot be reached: only witnesses with a URL can be asked ({0})")]
    OutOfReach(String),
    /// A URL that is none.
    #[error("witness {name}: {cause}")]
    Url {
        /// The witness.
        name: String,
        /// What is wrong.
        cause: FetchError,
    },
}

impl Witnesses {
    /// The witnesses of a policy that have a URL. `address` says how a URL is reached: which
    /// authority an https one has.
    pub fn new(
        policy: Policy,
        log: &VerifierKey,
        pace: Pace,
        address: impl Fn(&str) -> Address,
    ) -> Result<Self, UnfitPolicy> {
        if !policy.logs().is_empty() && policy.logs().iter().all(|listed| listed.key() != log) {
            return Err(UnfitPolicy::OtherLog(Box::new(log.clone())));
        }
        let quorum = policy.quorum().ok_or(UnfitPolicy::NoQuorum)?;
        let mut asked = Vec::new();
        for witness in policy.witnesses() {
            let Some(url) = witness.url() else { continue };
            let name = String::from_utf8_lossy(witness.name()).into_owned();
            let client = WitnessClient::new(address(&String::from_utf8_lossy(url)));
            match client {
                Ok(client) => asked.push(Asked { name, key: witness.key().clone(), client }),
                Err(cause) => return Err(UnfitPolicy::Url { name, cause }),
            }
        }
        let reached = |witness: &PolicyWitness| {
            asked.iter().any(|asked| asked.key == *witness.key()).then_some(1)
        };
        if policy.time_of(quorum, reached).is_none() {
            let names: Vec<_> = asked.iter().map(|asked| asked.name.as_str()).collect();
            return Err(UnfitPolicy::OutOfReach(names.join(", ")));
        }
        Ok(Self { policy: Arc::new(policy), asked, pace })
    }

    /// How often and how long they are asked.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(|asked| asked.name.as_str())
    }

    /// Greatest minimum time over the quorums, where these cosigned.
    fn quorum_time(&self, time: impl Fn(&VerifierKey) -> Option<u64>) -> Option<u64> {
        let quorum = self.policy.quorum()?;
        self.policy.time_of(quorum, |witness| time(witness.key()))
    }
}

/// A checkpoint that the log shows, with all cosignatures that came for it.
#[derive(Debug, Clone)]
pub struct Shown {
    checkpoint: SignedCheckpoint,
    quorum: Option<u64>,
    /// Of all cosignatures; 0 without any.
    latest: u64,
}

impl Shown {
    /// The checkpoint with its cosignatures.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The greatest time of a cosignature on it, unix seconds; 0 without any.
    pub(crate) fn latest_time(&self) -> u64 {
        self.latest
    }

    /// Unix seconds at which a quorum of the log's policy had cosigned it; none if no quorum did.
    pub fn quorum_time(&self) -> Option<u64> {
        self.quorum
    }
}

/// What the log knows of its witnesses while it runs.
#[derive(Debug)]
pub(crate) struct Cosigning {
    pub(crate) witnesses: Witnesses,
    pub(crate) log: VerifierKey,
    /// What the log shows. Once a quorum has cosigned, only what a quorum cosigned; before that,
    /// the head that witnesses are asked about. So sizes never fall.
    shown: watch::Sender<Option<Arc<Shown>>>,
    began: Instant,
}

impl Cosigning {
    pub(crate) fn new(witnesses: Witnesses, log: VerifierKey) -> Self {
        Self { witnesses, log, shown: watch::channel(None).0, began: Instant::now() }
    }

    /// What the log shows, and a signal whenever it changes.
    pub(crate) fn shown(&self) -> watch::Receiver<Option<Arc<Shown>>> {
        self.shown.subscribe()
    }

    /// Waits until a quorum has cosigned a head that covers this entry.
    pub(crate) async fn covering(&self, index: u64) -> Arc<Shown> {
        let mut shown = self.shown.subscribe();
        let covers = |shown: &Option<Arc<Shown>>| {
            let witnessed = shown.as_ref().filter(|shown| shown.quorum.is_some());
            witnessed.is_some_and(|shown| shown.head().size > index)
        };
        match shown.wait_for(covers).await.map(|shown| shown.clone()) {
            Ok(Some(shown)) => shown,
            // The sender is here, so that it lives as long as the borrow of self.
            _ => std::future::pending().await,
        }
    }

    /// Size and age of what a quorum cosigned last; without any, the age of this process.
    pub(crate) fn freshness(&self, now: u64) -> (u64, Duration) {
        let shown = self.shown.borrow();
        match shown.as_deref().and_then(|shown| Some((shown.head().size, shown.quorum?))) {
            Some((size, time)) => (size, Duration::from_secs(now.saturating_sub(time))),
            None => (0, self.began.elapsed()),
        }
    }
}
