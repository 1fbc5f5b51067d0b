//! The writer's thread: backpressure, batching, stopping.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sequencer::fault::{Failpoints, Fault, Faulty};
use sequencer::{
    Admission, AppendError, Appended, Depth, Entry, Fatal, FileStore, Handle, History, Limits, Log,
    MemoryStore, Refusal, Sequencer,
};

use crate::support::{Naive, append, entries, entry, keyed, memory_log, signing_key};

/// A test that hangs says nothing, so every wait has an end.
const PATIENCE: Duration = Duration::from_secs(20);

type Answers<R> = Receiver<Appended<R>>;

/// Queues an entry; its answer comes out of the receiver.
fn send<A: Admission>(
    handle: &Handle<A>,
    entry: Entry<A::Content>,
) -> Result<Answers<A::Refused>, AppendError<A::Refused>>
where
    A::Refused: Send,
{
    let (sender, receiver) = channel();
    handle.append(entry, move |answer| drop(sender.send(answer)))?;
    Ok(receiver)
}

/// Holds the writer inside a step until told to go on.
struct Gate {
    entered: Sender<u64>,
    go_on: Receiver<()>,
}

impl Admission for Gate {
    type Content = ();
    type Refused = Infallible;

    fn admit(&mut self, index: u64, _: &Entry, _: &dyn History) -> Result<(), Infallible> {
        self.entered.send(index).unwrap();
        self.go_on.recv_timeout(PATIENCE).unwrap();
        Ok(())
    }
}

fn gated() -> (Log<MemoryStore, Gate>, Receiver<u64>, Sender<()>) {
    let (entered, entries) = channel();
    let (opener, go_on) = channel();
    (memory_log().with_admission(Gate { entered, go_on }), entries, opener)
}

fn limits(entries: usize, bytes: usize) -> Limits {
    Limits { queue: Depth { entries, bytes }, ..Limits::default() }
}

#[test]
fn every_caller_gets_its_own_proof() {
    let log = memory_log();
    let reader = log.reader();
    let (handle, writer) = Sequencer::start(log, Limits::default());
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let handle = handle.clone();
            scope.spawn(move || {
                for round in 0..40 {
                    // Every fourth entry is sent by all callers.
                    let number = if round % 4 == 0 { round } else { 1000 * (caller + 1) + round };
                    let answer = send(&handle, entry(number)).unwrap();
                    let answer = answer.recv_timeout(PATIENCE).unwrap().unwrap();
                    assert_eq!(answer.leaf, entry(number).leaf().hash());
                    let (index, head) = (answer.index, answer.head);
                    tlog::verify_inclusion(&answer.leaf, index, &head, &answer.proof).unwrap();
                }
            });
        }
    });
    drop(handle);
    writer.join().unwrap().unwrap();
    assert_eq!(reader.head().size, 8 * 30 + 10);
    let mut naive = Naive::default();
    for bytes in reader.entries(0..250).unwrap() {
        naive.push(&bytes.unwrap());
    }
    naive.assert_equals(&reader.snapshot(), 50);
}

#[test]
fn file_store_is_closed_when_the_writer_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = match FileStore::open(folder.path()) {
            Ok(store) => Log::open(store, signing_key()),
            Err(_) => Log::create(FileStore::create(folder.path()).unwrap(), signing_key()),
        };
        let (handle, writer) = Sequencer::start(log.unwrap(), Limits::default());
        let answers: Vec<_> =
            (0..100).map(|n| send(&handle, entry(100 * round + n)).unwrap()).collect();
        handle.stop();
        writer.join().unwrap().unwrap();
        for (index, answer) in (100 * round..).zip(answers) {
            assert_eq!(answer.try_recv().unwrap().unwrap().index, index);
        }
    }
}

#[test]
fn full_queue_refuses_at_once_and_takes_again_later() {
    let (log, entered, go_on) = gated();
    let (handle, writer) = Sequencer::start(log, limits(3, 1 << 20));
    let mut answers = vec![send(&handle, entry(0)).unwrap()];
    assert_eq!(entered.recv_timeout(PATIENCE), Ok(0));
    for number in 1..4 {
        answers.push(send(&handle, entry(number)).unwrap());
    }
    let full = send(&handle, entry(4)).unwrap_err();
    assert!(matches!(full, AppendError::QueueFull(Depth { entries: 3, .. })), "{full}");
    assert_eq!(handle.depth().entries, 3);
    for _ in 0..5 {
        go_on.send(()).unwrap();
    }
    for answer in answers {
        answer.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    let answer = send(&handle, entry(4)).unwrap().recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(answer.index, 4);
    handle.stop();
    writer.join().unwrap().unwrap();
}

#[test]
fn queue_is_bounded_in_bytes() {
    let (log, entered, go_on) = gated();
    let (handle, writer) = Sequencer::start(log, limits(100, 100_000));
    let long = |number| Entry::new(vec![number; 60_000], entry(u64::from(number)).key()).unwrap();
    send(&handle, long(0)).unwrap();
    entered.recv_timeout(PATIENCE).unwrap();
    send(&handle, long(1)).unwrap();
    let full = send(&handle, long(2)).unwrap_err();
    assert!(matches!(full, AppendError::QueueFull(Depth { entries: 1, bytes: 60_000 })), "{full}");
    send(&handle, entry(3)).unwrap();
    drop(entered);
    drop(go_on);
    // The gate is gone, so the admission panics: the writer ends, nobody waits for ever.
    assert!(writer.join().is_err());
}

#[test]
fn stop_drains_what_is_queued_and_takes_no_more() {
    let (log, entered, go_on) = gated();
    let reader = log.reader();
    let (handle, writer) = Sequencer::start(log, Limits::default());
    let answers: Vec<_> = (0..50).map(|number| send(&handle, entry(number)).unwrap()).collect();
    entered.recv_timeout(PATIENCE).unwrap();
    handle.stop();
    assert!(matches!(send(&handle, entry(50)), Err(AppendError::Stopped)));
    for _ in 0..50 {
        go_on.send(()).unwrap();
    }
    writer.join().unwrap().unwrap();
    for (index, answer) in (0..).zip(answers) {
        assert_eq!(answer.try_recv().unwrap().unwrap().index, index);
    }
    assert_eq!(reader.head(), Naive::of(0..50).head(50));
    assert!(matches!(send(&handle, entry(0)), Err(AppendError::Stopped)));
}

#[test]
fn writer_ends_when_the_last_handle_is_dropped() {
    let (handle, writer) = Sequencer::start(memory_log(), Limits::default());
    let other = handle.clone();
    drop(handle);
    let answer = send(&other, entry(0)).unwrap();
    drop(other);
    writer.join().unwrap().unwrap();
    assert_eq!(answer.try_recv().unwrap().unwrap().index, 0);
}

#[test]
fn waiting_entries_become_one_batch_within_its_limit() {
    let (log, entered, go_on) = gated();
    let (heads, published) = channel();
    log.reader().on_publish(Box::new(move |head| heads.send(head.size).unwrap()));
    let batch = Depth { entries: 4, bytes: 1 << 20 };
    let (handle, writer) = Sequencer::start(log, Limits { batch, ..Limits::default() });
    let first = send(&handle, entry(0)).unwrap();
    entered.recv_timeout(PATIENCE).unwrap();
    let rest: Vec<_> = (1..10).map(|number| send(&handle, entry(number)).unwrap()).collect();
    for _ in 0..10 {
        go_on.send(()).unwrap();
    }
    handle.stop();
    writer.join().unwrap().unwrap();
    assert_eq!(published.try_iter().collect::<Vec<_>>(), [1, 5, 9, 10]);
    first.try_recv().unwrap().unwrap();
    for answer in rest {
        answer.try_recv().unwrap().unwrap();
    }
}

#[test]
fn fatal_error_answers_everybody_and_ends_the_thread_with_its_cause() {
    let disk = MemoryStore::new();
    append(&mut Log::create(disk.clone(), signing_key()).unwrap(), &entries(0..3));
    let points = Failpoints::new(|place| (place == "after:commit").then_some(Fault::Crash));
    let (entered, admitted) = channel();
    let (opener, go_on) = channel();
    let log = Log::open(Faulty::new(disk.clone(), points), signing_key()).unwrap();
    let log = log.with_admission(Gate { entered, go_on });
    let (handle, writer) = Sequencer::start(log, Limits::default());
    let first = send(&handle, entry(3)).unwrap();
    admitted.recv_timeout(PATIENCE).unwrap();
    let second = send(&handle, entry(4)).unwrap();
    opener.send(()).unwrap();
    let error = writer.join().unwrap().unwrap_err();
    assert!(matches!(error, Fatal::Store(_)), "{error}");
    for answer in [first, second] {
        assert!(matches!(answer.try_recv().unwrap(), Err(AppendError::Stopped)));
    }
    assert!(matches!(send(&handle, entry(5)), Err(AppendError::Stopped)));
    // The first one had been committed: whoever sends it again learns its index.
    let mut log = Log::open(disk, signing_key()).unwrap();
    let answers = append(&mut log, &[entry(3), entry(4)]);
    assert_eq!((answers[0].index, answers[0].duplicate), (3, true));
    assert_eq!((answers[1].index, answers[1].duplicate), (4, false));
}

#[test]
fn panic_of_the_admission_answers_everybody() {
    let (log, entered, go_on) = gated();
    let (handle, writer) = Sequencer::start(log, Limits::default());
    let first = send(&handle, entry(0)).unwrap();
    entered.recv_timeout(PATIENCE).unwrap();
    let second = send(&handle, entry(1)).unwrap();
    drop(go_on);
    assert!(writer.join().is_err());
    for answer in [first, second] {
        assert!(matches!(answer.try_recv().unwrap(), Err(AppendError::Stopped)));
    }
    assert!(matches!(send(&handle, entry(2)), Err(AppendError::Stopped)));
}

#[test]
fn refusals_reach_their_callers_alone() {
    let (handle, writer) = Sequencer::start(memory_log(), Limits::default());
    let answers: Vec<_> = [entry(0), keyed("other", 0), entry(1)]
        .into_iter()
        .map(|entry| send(&handle, entry).unwrap())
        .collect();
    handle.stop();
    writer.join().unwrap().unwrap();
    let answers: Vec<_> = answers.iter().map(|answer| answer.try_recv().unwrap()).collect();
    assert_eq!(answers[0].as_ref().unwrap().index, 0);
    let refused = answers[1].as_ref().unwrap_err();
    assert!(matches!(refused, AppendError::Refused(Refusal::KeyExists { index: 0 })), "{refused}");
    assert_eq!(answers[2].as_ref().unwrap().index, 1);
}

/// Counts what it admitted.
#[derive(Default)]
struct Counting(u64);

impl Admission for Counting {
    type Content = ();
    type Refused = Infallible;

    fn admit(&mut self, index: u64, _: &Entry, _: &dyn History) -> Result<(), Infallible> {
        self.0 = index + 1;
        Ok(())
    }
}

#[test]
fn a_question_sees_all_that_was_queued_before_it_and_nothing_unpublished() {
    let log = memory_log().with_admission(Counting::default());
    let reader = log.reader();
    let (handle, writer) = Sequencer::start(log, Limits::default());
    let mut answers = Vec::new();
    for number in 0..200_u64 {
        answers.push(send(&handle, entry(number)).unwrap());
        let (sender, seen) = channel();
        let published = reader.clone();
        let answered = handle.ask(move |counting, head| {
            let _ = sender.send((counting.0, head, published.head()));
        });
        answered.unwrap();
        let (admitted, head, published) = seen.recv_timeout(PATIENCE).unwrap();
        assert_eq!((admitted, published), (head.size, head));
        assert!(head.size > number, "entry {number} was queued before");
    }
    handle.stop();
    let (sender, seen) = channel::<()>();
    let stopped = handle.ask(move |_, _| drop(sender));
    assert!(matches!(stopped, Err(AppendError::Stopped)));
    assert!(seen.recv().is_err());
    writer.join().unwrap().unwrap();
}

#[test]
fn questions_take_room_in_the_queue_and_are_dropped_when_the_writer_dies() {
    let (log, entered, go_on) = gated();
    let (handle, writer) = Sequencer::start(log, limits(2, 1 << 20));
    let _answer = send(&handle, entry(0)).unwrap();
    assert_eq!(entered.recv_timeout(PATIENCE), Ok(0));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (sender, receiver) = channel();
        let asked = handle.ask(move |_, head| {
            let _ = sender.send(head.size);
        });
        asked.unwrap();
        seen.push(receiver);
    }
    assert!(matches!(handle.ask(|_, _| ()), Err(AppendError::QueueFull(_))));
    // The admission panics without a word to go on by.
    drop(go_on);
    assert!(writer.join().is_err());
    for receiver in seen {
        assert!(receiver.recv_timeout(PATIENCE).is_err(), "nobody answers after the end");
    }
}
