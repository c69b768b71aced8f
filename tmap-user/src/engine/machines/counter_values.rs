//! An ordered index of counter values, to find those near a given one.

use std::{collections::BTreeSet, iter};

use crate::engine::types::WRAP_TICKS;

/// What rounding and the tick under way may add to the distance of two counter values, in ticks.
const SLACK_TICKS: f64 = 4.0;

/// How far to either side counter values are looked for that are this far apart at most: never further than
/// half the circle.
pub(super) fn reach(apart_ticks: f64) -> u32 {
    (apart_ticks + SLACK_TICKS).min(WRAP_TICKS / 2.0 - 1.0) as u32
}

/// Counter values modulo 2^32 ticks, each with the caller's index of the clock that shows it.
#[derive(Debug, Default)]
pub(super) struct CounterValues(BTreeSet<(u32, usize)>);

impl CounterValues {
    /// Adds a value with the caller's index.
    pub(super) fn insert(&mut self, value: u32, index: usize) {
        self.0.insert((value, index));
    }

    /// Replaces the value of an index.
    pub(super) fn replace(&mut self, before: u32, after: u32, index: usize) {
        if after != before {
            self.0.remove(&(before, index));
            self.insert(after, index);
        }
    }

    /// Indices of the values within `reach` of `centre`, also across the wrap. O(log n), plus the number
    /// found.
    pub(super) fn near(&self, centre: u32, reach: u32) -> impl Iterator<Item = usize> {
        let (low, high) = (centre.wrapping_sub(reach), centre.wrapping_add(reach));
        let wrapped = low > high;
        let up_to = |end: u32| (end, usize::MAX);
        let first = self.0.range((low, 0)..=up_to(if wrapped { u32::MAX } else { high }));
        let second = wrapped.then(|| self.0.range((0, 0)..=up_to(high)));
        iter::chain(first, second.into_iter().flatten()).map(|&(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(centre: u32, reach: u32) -> Vec<usize> {
        let mut values = CounterValues::default();
        for (index, value) in [5, 100, 200, u32::MAX - 3].into_iter().enumerate() {
            values.insert(value, index);
        }
        values.replace(200, 300, 2);
        values.near(centre, reach).collect()
    }

    #[test]
    fn ends_are_within_reach() {
        assert_eq!(near(200, 100), [1, 2]);
        assert_eq!(near(200, 99), [0; 0]);
    }

    #[test]
    fn the_wrap_has_two_sides() {
        assert_eq!(near(1, 5), [3, 0]);
        assert_eq!(near(u32::MAX, 6), [3, 0]);
    }
}
