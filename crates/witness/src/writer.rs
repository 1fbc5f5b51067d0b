//! The one thread that decides: it checks, takes the time and persists, in one step for each log,
//! so that two requests that race are two steps one after the other.
//!
//! It takes one request and drains what else waits, without a timer: while one commit waits for
//! the disk, the next batch gathers, and all logs in it share one sync. Signing comes after, on
//! the threads of those who asked.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tlog::Hash;
use tokio::sync::oneshot;

use crate::decision::{Cosigned, Refused, State, Vouched};
use crate::store::{Change, Store, StoreError};

/// Requests that may wait: two batches, so that one gathers while the other is written. A full
/// queue is an answer at once, never a wait.
const WAITING: usize = 2 * BATCH;

/// Requests of one commit. 1,024 × some 300 bytes is what a transaction writes in a millisecond;
/// notes of 256 KiB, which only a log can make, make it 256 MiB.
const BATCH: usize = 1_024;

/// Unix seconds.
pub type Clock = Box<dyn FnMut() -> u64 + Send>;

/// The writer's thread.
pub type Writer = JoinHandle<Result<(), StoreError>>;

/// Told of each commit: how many requests it made durable, and how long it took.
pub type Observer = Box<dyn Fn(usize, Duration) + Send>;

/// What was cosigned last of each log, durable, by the SHA-256 of its origin.
pub type Heads = HashMap<Hash, Arc<Cosigned>>;

/// The way to the writer. When the last one is dropped the writer ends.
#[derive(Debug, Clone)]
pub struct Handle {
    jobs: SyncSender<Job>,
    heads: Arc<RwLock<Heads>>,
}

#[derive(Debug)]
enum Job {
    Add(Box<Vouched>, oneshot::Sender<Result<Arc<Cosigned>, Refused>>),
    Stamp(oneshot::Sender<Result<u64, Refused>>),
}

/// Starts the writer on the state that the store holds. The thread ends with `Ok` when nobody can ask it any
/// more, and with the error after a failed write, when what waits has been told `Stopping`.
///
/// # Panics
///
/// If the system can't start a thread, as [`std::thread::spawn`] does.
pub fn start(
    state: State,
    store: impl Store + 'static,
    clock: Clock,
    observer: Observer,
) -> (Handle, Writer) {
    let heads = state.all().map(|cosigned| (place(cosigned.origin()), Arc::clone(cosigned)));
    let heads = Arc::new(RwLock::new(heads.collect::<Heads>()));
    let (jobs, receiver) = sync_channel(WAITING);
    let handle = Handle { jobs, heads: Arc::clone(&heads) };
    let desk = Desk { state, store, clock, observer, heads };
    let writer = thread::Builder::new()
        .name("witness".into())
        .spawn(move || desk.work(&receiver))
        .expect("the system starts a thread");
    (handle, writer)
}

/// Where a log's checkpoint is found: SHA-256 of its origin.
pub(crate) fn place(origin: &str) -> Hash {
    Hash::of(&[origin.as_bytes()])
}

impl Handle {
    /// Decides on a request. When this gives a checkpoint the record of it is durable, and its
    /// cosignature may be made.
    pub async fn add_checkpoint(&self, request: Vouched) -> Result<Arc<Cosigned>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Add(Box::new(request), reply))?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// A time that may be signed now. That no later process signs an earlier one is durable.
    pub async fn stamp(&self) -> Result<u64, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Stamp(reply))?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// What was cosigned last, by the SHA-256 of the log's origin.
    pub fn last(&self, place: &Hash) -> Option<Arc<Cosigned>> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    /// What was cosigned last of each log, in no order.
    pub fn all(&self) -> Vec<Arc<Cosigned>> {
        self.heads.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn send(&self, job: Job) -> Result<(), Refused> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::QueueFull,
            TrySendError::Disconnected(_) => Refused::Stopping,
        })
    }
}

/// What the writer's thread owns.
struct Desk<S> {
    state: State,
    store: S,
    clock: Clock,
    observer: Observer,
    heads: Arc<RwLock<Heads>>,
}

/// An answer that leaves once all of its batch is durable.
enum Answer {
    Add(oneshot::Sender<Result<Arc<Cosigned>, Refused>>, Result<Arc<Cosigned>, Refused>),
    Stamp(oneshot::Sender<Result<u64, Refused>>, Result<u64, Refused>),
}

impl<S: Store> Desk<S> {
    fn work(mut self, jobs: &Receiver<Job>) -> Result<(), StoreError> {
        while let Ok(first) = jobs.recv() {
            let waiting = std::iter::from_fn(|| jobs.try_recv().ok()).take(BATCH - 1);
            self.batch(std::iter::once(first).chain(waiting))?;
        }
        Ok(())
    }

    /// Decides on all, makes what follows durable in one commit, then answers all. An error drops
    /// the answers, and with them whatever was decided.
    fn batch(&mut self, jobs: impl Iterator<Item = Job>) -> Result<(), StoreError> {
        let reached = self.state.clock();
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        for job in jobs {
            let now = (self.clock)();
            answers.push(match job {
                Job::Add(request, reply) => {
                    Answer::Add(reply, self.add(&request, now, &mut changes))
                }
                Job::Stamp(reply) => {
                    let time = self.state.stamp(now);
                    if let Ok(time) = time {
                        self.state.reach(time);
                    }
                    Answer::Stamp(reply, time)
                }
            });
            if let Some(Answer::Add(_, Err(rolled_back @ Refused::RolledBack { .. }))) =
                answers.last()
            {
                self.state.halt();
                self.store.halt(&rolled_back.to_string())?;
            }
        }
        if !changes.is_empty() || self.state.clock() > reached {
            let began = Instant::now();
            self.store.commit(&changes, self.state.clock())?;
            (self.observer)(changes.len(), began.elapsed());
            let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
            for Change { after, .. } in changes {
                heads.insert(place(after.origin()), after);
            }
        }
        for answer in answers {
            // Whoever asked may have gone.
            match answer {
                Answer::Add(reply, answer) => _ = reply.send(answer),
                Answer::Stamp(reply, answer) => _ = reply.send(answer),
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        request: &Vouched,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Arc<Cosigned>, Refused> {
        let cosigned = Arc::new(self.state.add_checkpoint(request, now)?);
        let before = self.state.last(cosigned.origin()).map(|last| *last.head());
        changes.push(Change {
            before: before.unwrap_or(tlog::TreeHead::EMPTY),
            after: Arc::clone(&cosigned),
        });
        self.state.apply(Arc::clone(&cosigned));
        Ok(cosigned)
    }
}
