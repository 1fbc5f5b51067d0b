//! The bounded queue before the writer. Full is an error for the one who comes, never a wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What waits in a queue, or may wait in it, or be taken from it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Number of entries.
    pub entries: usize,
    /// Their length together.
    pub bytes: usize,
}

impl Depth {
    /// True if one more of this length stays within the limit.
    fn takes(self, bytes: usize, limit: Self) -> bool {
        self.entries < limit.entries && self.bytes.saturating_add(bytes) <= limit.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Told when something comes in and when the queue closes.
    changed: Condvar,
    limit: Depth,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(T, usize)>,
    depth: Depth,
    open: bool,
}

/// Why a queue does not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    Full(Depth),
    Stopped,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: Depth) -> Self {
        let state = State { waiting: VecDeque::new(), depth: Depth::default(), open: true };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    /// Puts a value in, or gives it back.
    pub(crate) fn push(&self, value: T, bytes: usize) -> Result<(), (T, Closed)> {
        let mut state = self.state();
        if !state.open {
            return Err((value, Closed::Stopped));
        }
        if !state.depth.takes(bytes, self.limit) {
            return Err((value, Closed::Full(state.depth)));
        }
        state.depth.add(bytes);
        state.waiting.push_back((value, bytes));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a value, then takes what waits, at least one value and at most `batch`. `None`
    /// once the queue is closed and empty.
    pub(crate) fn take(&self, batch: Depth) -> Option<Vec<T>> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if !state.open {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Depth::default();
        let mut values = Vec::new();
        while let Some((_, bytes)) = state.waiting.front() {
            if !values.is_empty() && !taken.takes(*bytes, batch) {
                break;
            }
            let Some((value, bytes)) = state.waiting.pop_front() else { break };
            taken.add(bytes);
            values.push(value);
        }
        state.depth.entries -= taken.entries;
        state.depth.bytes -= taken.bytes;
        Some(values)
    }

    pub(crate) fn depth(&self) -> Depth {
        self.state().depth
    }

    /// Takes no more. What waits stays.
    pub(crate) fn close(&self) {
        self.state().open = false;
        self.changed.notify_all();
    }

    /// Empties a queue, giving back what waits.
    pub(crate) fn clear(&self) -> VecDeque<(T, usize)> {
        let mut state = self.state();
        state.depth = Depth::default();
        std::mem::take(&mut state.waiting)
    }

    /// No code that can panic runs while the state is half changed.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Closed, Depth, Queue};

    fn depth(entries: usize, bytes: usize) -> Depth {
        Depth { entries, bytes }
    }

    #[test]
    fn is_bounded_in_entries_and_in_bytes() {
        let queue = Queue::new(depth(2, 10));
        queue.push('a', 4).unwrap();
        assert_eq!(queue.push('b', 7), Err(('b', Closed::Full(depth(1, 4)))));
        queue.push('c', 6).unwrap();
        assert_eq!(queue.push('d', 0), Err(('d', Closed::Full(depth(2, 10)))));
        assert_eq!(queue.take(depth(9, 99)), Some(vec!['a', 'c']));
        assert_eq!(queue.depth(), depth(0, 0));
        queue.push('e', 10).unwrap();
    }

    #[test]
    fn takes_at_least_one_and_at_most_a_batch() {
        let queue = Queue::new(depth(9, 100));
        for (value, bytes) in [('a', 50), ('b', 1), ('c', 1), ('d', 1)] {
            queue.push(value, bytes).unwrap();
        }
        assert_eq!(queue.take(depth(8, 10)), Some(vec!['a']));
        assert_eq!(queue.take(depth(2, 10)), Some(vec!['b', 'c']));
        queue.close();
        assert_eq!(queue.push('e', 1), Err(('e', Closed::Stopped)));
        assert_eq!(queue.take(depth(2, 10)), Some(vec!['d']));
        assert_eq!(queue.take(depth(2, 10)), None);
    }
}
