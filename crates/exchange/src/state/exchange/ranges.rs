//! Sets of item indices as ranges.

use crate::predicate::ItemRange;

/// Disjoint ranges, ascending, none touching the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// How many indices there are.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The same with more indices.
    pub(super) fn with(&self, more: &[ItemRange]) -> Self {
        let mut all = self.0.clone();
        all.extend(more.iter().map(|range| (range.first, range.last)));
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(u64, u64)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_distinct_indices_like_a_set(ranges in prop::collection::vec((0u64..60, 0u64..9), 0..12)) {
            let ranges: Vec<_> =
                ranges.iter().map(|(first, more)| ItemRange { first: *first, last: first + more }).collect();
            let mut built = Ranges::default();
            let mut set = BTreeSet::new();
            for range in &ranges {
                built = built.with(std::slice::from_ref(range));
                set.extend(range.first..=range.last);
                prop_assert_eq!(built.len(), set.len() as u64);
            }
            prop_assert_eq!(Ranges::default().with(&ranges), built.clone());
            prop_assert!(built.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
