//! The writer's thread and the queue before it: of entries, and of questions about what the
//! admission knows.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tlog::{MAX_ENTRY, TreeHead};

use crate::admission::Admission;
use crate::entry::Entry;
use crate::log::{Answer, Fatal, Log, Refusal};
use crate::queue::{Closed, Depth, Queue};
use crate::store::Store;

/// Runs a [`Log`] on a thread of its own.
#[derive(Debug, Clone, Copy)]
pub struct Sequencer;

/// How much may wait, and how much one commit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What may wait in the queue; beyond it an append is [`AppendError::QueueFull`]. At least one
    /// entry of the largest size is always let in.
    pub queue: Depth,
    /// What one commit takes from the queue, if as much waits.
    pub batch: Depth,
}

impl Default for Limits {
    /// 4,096 entries and 64 MiB may wait, which is all the memory that waiting costs; a commit
    /// takes 1,024 entries or 16 MiB, a quarter of it.
    fn default() -> Self {
        Self {
            queue: Depth { entries: 4_096, bytes: 64 << 20 },
            batch: Depth { entries: 1_024, bytes: 16 << 20 },
        }
    }
}

/// Why an entry is not in the log as far as its caller can know.
#[derive(Debug, thiserror::Error)]
pub enum AppendError<R: Error + 'static> {
    /// Too much waits already. Sending the same entry again later is right.
    #[error("the queue is full: {} entries of {} bytes wait", .0.entries, .0.bytes)]
    QueueFull(Depth),
    /// The writer has stopped, or stopped before the answer. The entry may be in the log: only
    /// sending the same bytes again, to a log opened anew, tells.
    #[error("the log is stopped")]
    Stopped,
    /// The entry was refused and is not in the log.
    #[error(transparent)]
    Refused(Refusal<R>),
}

/// What an append comes to.
pub type Appended<R> = Result<Answer, AppendError<R>>;

/// The way to the one writer. When the last one is dropped the writer ends.
pub struct Handle<A: Admission> {
    shared: Arc<Shared<A>>,
}

/// Closes the queue when nobody is left who could put something in.
struct Shared<A: Admission>(Arc<Queue<Pending<A>>>);

/// What waits for the writer.
enum Pending<A: Admission> {
    Entry { entry: Entry<A::Content>, reply: Reply<A::Refused> },
    Question(Question<A>),
}

type Question<A> = Box<dyn FnOnce(&A, TreeHead) + Send>;

type Callback<R> = Box<dyn FnOnce(Appended<R>) + Send>;

/// Calls back exactly once: if nobody answers, whatever the reason, with `Stopped`.
struct Reply<R: Error + 'static>(Option<Callback<R>>);

impl Sequencer {
    /// Starts the writer. It takes one entry and drains what else waits, without a timer: while
    /// one commit waits for the disk, the next batch gathers.
    ///
    /// The thread ends with `Ok` after [`Handle::stop`], when all that was queued is answered, and
    /// with the error after a fatal one, when everybody has been told `Stopped`. The store is
    /// closed by then.
    ///
    /// # Panics
    ///
    /// If the system can't start a thread, as [`std::thread::spawn`] does.
    pub fn start<S, A>(log: Log<S, A>, limits: Limits) -> (Handle<A>, JoinHandle<Result<(), Fatal>>)
    where
        S: Store + Send + 'static,
        A: Admission + Send + 'static,
    {
        let Depth { entries, bytes } = limits.queue;
        let room = Depth { entries: entries.max(1), bytes: bytes.max(MAX_ENTRY) };
        let queue = Arc::new(Queue::new(room));
        let handle = Handle { shared: Arc::new(Shared(Arc::clone(&queue))) };
        let writer = thread::Builder::new()
            .name("sequencer".into())
            .spawn(move || write(log, &queue, limits.batch))
            .expect("the system starts a thread");
        (handle, writer)
    }
}

/// The writer's loop.
fn write<S: Store, A: Admission>(
    mut log: Log<S, A>,
    queue: &Queue<Pending<A>>,
    batch: Depth,
) -> Result<(), Fatal> {
    let _ending = Ending(queue);
    while let Some(pending) = queue.take(batch) {
        let (mut entries, mut replies, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for pending in pending {
            match pending {
                Pending::Entry { entry, reply } => {
                    entries.push(entry);
                    replies.push(reply);
                }
                Pending::Question(question) => questions.push(question),
            }
        }
        if !entries.is_empty() {
            let answers = log.step(&entries)?;
            for (reply, answer) in replies.into_iter().zip(answers) {
                reply.send(answer.map_err(AppendError::Refused));
            }
        }
        // After the step the admission knows what is published, and nothing else.
        let head = log.reader().head();
        for question in questions {
            question(log.admission(), head);
        }
    }
    Ok(())
}

/// Closes the queue when the writer ends, be it by a panic, so that nobody waits for ever.
struct Ending<'a, A: Admission>(&'a Queue<Pending<A>>);

impl<A: Admission> Drop for Ending<'_, A> {
    fn drop(&mut self) {
        self.0.close();
        drop(self.0.clear());
    }
}

impl<A: Admission> Handle<A> {
    /// Queues an entry. `reply` is called once, on the writer's thread, so it must be short and
    /// must not panic. If the entry isn't queued the error is returned at once and `reply` is
    /// dropped.
    pub fn append(
        &self,
        entry: Entry<A::Content>,
        reply: impl FnOnce(Appended<A::Refused>) + Send + 'static,
    ) -> Result<(), AppendError<A::Refused>> {
        let bytes = entry.bytes().len();
        let pending = Pending::Entry { entry, reply: Reply(Some(Box::new(reply))) };
        self.push(pending, bytes)
    }

    /// Lets the writer look at its admission, with the head whose entries the admission knows:
    /// all that was queued before is in it. `question` is called on the writer's thread, so it
    /// must be short and must not panic; if it isn't queued, or the writer ends before its turn,
    /// it is dropped. It takes the place of an entry in the queue.
    pub fn ask(
        &self,
        question: impl FnOnce(&A, TreeHead) + Send + 'static,
    ) -> Result<(), AppendError<A::Refused>> {
        self.push(Pending::Question(Box::new(question)), 0)
    }

    fn push(&self, pending: Pending<A>, bytes: usize) -> Result<(), AppendError<A::Refused>> {
        self.shared.0.push(pending, bytes).map_err(|(pending, closed)| {
            if let Pending::Entry { reply, .. } = pending {
                reply.forget();
            }
            match closed {
                Closed::Full(depth) => AppendError::QueueFull(depth),
                Closed::Stopped => AppendError::Stopped,
            }
        })
    }

    /// What waits for the writer now.
    pub fn depth(&self) -> Depth {
        self.shared.0.depth()
    }

    /// Takes no more. What is queued is still written and answered; then the writer ends.
    pub fn stop(&self) {
        self.shared.0.close();
    }
}

impl<A: Admission> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A: Admission> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("depth", &self.depth()).finish()
    }
}

impl<A: Admission> Drop for Shared<A> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<R: Error + 'static> Reply<R> {
    fn send(mut self, answer: Appended<R>) {
        if let Some(callback) = self.0.take() {
            callback(answer);
        }
    }

    /// The caller has been told in another way.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl<R: Error + 'static> Drop for Reply<R> {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(AppendError::Stopped));
        }
    }
}
