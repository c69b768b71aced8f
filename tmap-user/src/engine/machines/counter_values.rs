//! Readings of counters in order, so that those near a given one are found without asking all.

use std::{collections::BTreeSet, iter};

/// Readings modulo 2^32 ticks, each with the caller's index of what shows it.
#[derive(Debug, Default)]
pub struct Readings(BTreeSet<(u32, usize)>);

impl Readings {
    /// Adds what shows a reading.
    pub fn insert(&mut self, reading: u32, index: usize) {
        self.0.insert((reading, index));
    }

    /// Moves what showed one reading to another.
    pub fn replace(&mut self, before: u32, after: u32, index: usize) {
        if after != before {
            self.0.remove(&(before, index));
            self.insert(after, index);
        }
    }

    /// Indices of what shows a reading within `reach` of `centre`, across the wrap too. O(log n) and what is
    /// found.
    pub fn near(&self, centre: u32, reach: u32) -> impl Iterator<Item = usize> {
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
        let mut readings = Readings::default();
        for (index, reading) in [5, 100, 200, u32::MAX - 3].into_iter().enumerate() {
            readings.insert(reading, index);
        }
        readings.replace(200, 300, 2);
        readings.near(centre, reach).collect()
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
