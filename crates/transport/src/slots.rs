//! Places of which there is a limited number, in all and for each who asks: connections, calls,
//! uploads. Full is an answer at once, never a wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limited number of places. Clones share them.
#[derive(Debug)]
pub(crate) struct Slots<K> {
    taken: Arc<Mutex<Taken<K>>>,
    total: usize,
    each: usize,
}

#[derive(Debug)]
struct Taken<K> {
    by: HashMap<K, usize>,
    total: usize,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The one for all together.
    Total,
    /// The one for whoever asked.
    Own,
}

impl<K: Eq + Hash + Clone> Slots<K> {
    /// `total` places, of which nobody gets more than `each`.
    pub(crate) fn new(total: usize, each: usize) -> Self {
        let taken = Taken { by: HashMap::new(), total: 0 };
        Self { taken: Arc::new(Mutex::new(taken)), total, each }
    }

    /// Takes a place, which is given back when it is dropped.
    pub(crate) fn take(&self, key: &K) -> Result<Slot<K>, Full> {
        let mut taken = lock(&self.taken);
        if taken.total >= self.total {
            return Err(Full::Total);
        }
        let own = taken.by.get(key).copied().unwrap_or(0);
        if own >= self.each {
            return Err(Full::Own);
        }
        taken.by.insert(key.clone(), own + 1);
        taken.total += 1;
        Ok(Slot { taken: Arc::clone(&self.taken), key: key.clone() })
    }

    /// How many are taken.
    #[cfg(test)]
    fn taken(&self) -> usize {
        lock(&self.taken).total
    }
}

impl<K> Clone for Slots<K> {
    fn clone(&self) -> Self {
        Self { taken: Arc::clone(&self.taken), total: self.total, each: self.each }
    }
}

/// One place.
#[derive(Debug)]
pub(crate) struct Slot<K: Eq + Hash> {
    taken: Arc<Mutex<Taken<K>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(own) = taken.by.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                // So that whoever comes once leaves nothing behind.
                taken.by.remove(&self.key);
            }
        }
    }
}

/// No code that can panic runs while the counts are half changed.
fn lock<K>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Full, Slots};

    #[test]
    fn one_who_takes_all_of_his_leaves_room_for_others() {
        let slots = Slots::new(3, 2);
        let first = slots.take(&'a').unwrap();
        let _second = slots.take(&'a').unwrap();
        assert_eq!(slots.take(&'a').unwrap_err(), Full::Own);
        let _other = slots.take(&'b').unwrap();
        assert_eq!(slots.take(&'c').unwrap_err(), Full::Total);
        drop(first);
        assert_eq!(slots.taken(), 2);
        slots.take(&'c').unwrap();
        assert_eq!(slots.taken(), 2, "given back when dropped");
    }
}
