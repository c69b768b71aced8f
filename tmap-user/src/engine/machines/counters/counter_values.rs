//! An ordered index of counter values, to find those near a given one.

use std::{collections::BTreeSet, iter};

use crate::engine::types::WRAP_TICKS;

/// What rounding and the tick under way may add to the distance of two counter values, in ticks.
const SLACK_TICKS: f64 = 4.0;

/// How far to either side counter values are looked for that are this far apart at most: never further than
/// half the circle.
pub(in crate::engine::machines) fn reach(apart_ticks: f64) -> u32 {
    (apart_ticks + SLACK_TICKS).min(WRAP_TICKS / 2.0 - 1.0) as u32
}

/// Counter values modulo 2^32 ticks, each with the caller's index of the clock that shows it.
///
/// Most addresses show a few. A sorted list of them takes a fraction of the time that a tree does.
#[derive(Debug, Default)]
pub(in crate::engine::machines) struct CounterValues {
    /// All values in order, as long as there are no more than [`FEW`].
    few: Vec<(u32, usize)>,
    /// All values otherwise.
    many: BTreeSet<(u32, usize)>,
}

/// The most values that are kept in a list.
const FEW: usize = 32;

impl CounterValues {
    /// Adds a value with the caller's index.
    pub(in crate::engine::machines) fn insert(&mut self, value: u32, index: usize) {
        let added = (value, index);
        if self.many.is_empty() && self.few.len() < FEW {
            let at = self.few.partition_point(|other| *other < added);
            self.few.insert(at, added);
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(added);
        }
    }

    /// Replaces the value of an index.
    pub(in crate::engine::machines) fn replace(&mut self, before: u32, after: u32, index: usize) {
        if after == before {
            return;
        }
        if self.many.is_empty() {
            self.few.retain(|other| *other != (before, index));
        } else {
            self.many.remove(&(before, index));
        }
        self.insert(after, index);
    }

    /// Indices of the values within `reach` of `centre`, also across the wrap. O(log n), plus the number
    /// found.
    pub(in crate::engine::machines) fn near(&self, centre: u32, reach: u32) -> impl Iterator<Item = usize> {
        let (low, high) = (centre.wrapping_sub(reach), centre.wrapping_add(reach));
        let wrapped = low > high;
        let first = self.within(low, if wrapped { u32::MAX } else { high });
        let second = wrapped.then(|| self.within(0, high));
        iter::chain(first, second.into_iter().flatten())
    }

    /// Indices of the values from `low` to `high`, in order.
    fn within(&self, low: u32, high: u32) -> impl Iterator<Item = usize> {
        let begin = self.few.partition_point(|other| other.0 < low);
        let few = self.few[begin..].iter().take_while(move |other| other.0 <= high);
        let many = (!self.many.is_empty()).then(|| self.many.range((low, 0)..=(high, usize::MAX)));
        few.chain(many.into_iter().flatten()).map(|&(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a list, and in a tree: many other values don't matter.
    fn near(centre: u32, reach: u32) -> Vec<usize> {
        let found = [0, 100].map(|others| {
            let mut values = CounterValues::default();
            for (index, value) in [5, 100, 200, u32::MAX - 3].into_iter().enumerate() {
                values.insert(value, index);
            }
            for other in 0..others {
                values.insert(1_000_000 + other, 4);
            }
            values.replace(200, 300, 2);
            values.near(centre, reach).collect::<Vec<usize>>()
        });
        assert_eq!(found[0], found[1]);
        found[0].clone()
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
