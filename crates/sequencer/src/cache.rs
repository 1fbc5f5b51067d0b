//! A small cache: what was used last stays.

/// At most `room` of whatever `weigh` counts, and at least the one value put last.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    /// The value used last is last. Caches hold some dozens of values, so a scan costs less than
    /// the hashing that a hit saves.
    values: Vec<(K, V, usize)>,
    weight: usize,
    room: usize,
}

impl<K: PartialEq, V: Clone> Cache<K, V> {
    pub(crate) fn new(room: usize) -> Self {
        Self { values: Vec::new(), weight: 0, room }
    }

    pub(crate) fn find(&mut self, key: &K) -> Option<V> {
        let place = self.values.iter().rposition(|(known, ..)| known == key)?;
        self.values[place..].rotate_left(1);
        self.values.last().map(|(_, value, _)| value.clone())
    }

    pub(crate) fn put(&mut self, key: K, value: V, weight: usize) {
        if let Some(place) = self.values.iter().position(|(known, ..)| *known == key) {
            self.weight -= self.values.remove(place).2;
        }
        self.values.push((key, value, weight));
        self.weight += weight;
        let mut surplus = 0;
        while self.weight > self.room && surplus + 1 < self.values.len() {
            self.weight -= self.values[surplus].2;
            surplus += 1;
        }
        self.values.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn keeps_what_was_used_last() {
        let mut cache = Cache::new(3);
        for key in 0..3 {
            cache.put(key, key * 10, 1);
        }
        assert_eq!(cache.find(&0), Some(0));
        cache.put(3, 30, 1);
        assert_eq!(cache.find(&1), None);
        assert_eq!(cache.find(&0), Some(0));
        cache.put(4, 40, 3);
        assert_eq!((cache.find(&0), cache.find(&4)), (None, Some(40)));
    }

    #[test]
    fn keeps_one_value_that_is_heavier_than_its_room() {
        let mut cache = Cache::new(3);
        cache.put('a', 1, 9);
        assert_eq!(cache.find(&'a'), Some(1));
        cache.put('a', 2, 1);
        cache.put('b', 3, 2);
        assert_eq!((cache.find(&'a'), cache.find(&'b')), (Some(2), Some(3)));
    }
}
