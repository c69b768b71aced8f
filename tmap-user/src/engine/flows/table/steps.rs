//! First arrivals of TSvals, packed as steps from one to the next.
//!
//! Most connections are short, so most histories are a handful of points. A step of up to 16,383 ticks
//! within 17 s takes one unit of six bytes, and nearly all steps are that short. A longer step takes two
//! units. Nothing is rounded.

use crate::engine::types::Point;

/// Bytes of a unit.
pub(super) const UNIT_BYTES: usize = 6;

/// Bits of a unit that hold ticks, in the short form.
const TICK_BITS: u32 = 14;
/// Bits of a unit that hold time, in the short form; in the long form, the lower bits of it.
const TIME_BITS: u32 = 48 - TICK_BITS;
/// The upper bits of time in the long form's second unit, before the ticks.
const HIGH_TIME_BITS: u32 = 16;

/// The longest time that a step can take, in nanoseconds: 13 days.
pub(super) const MAX_STEP_NS: u64 = (1 << (TIME_BITS + HIGH_TIME_BITS)) - 1;

/// From one first arrival to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Time passed, at most [`MAX_STEP_NS`].
    pub time_ns: u64,
    /// Ticks passed, at least 1.
    pub ticks: u32,
}

impl Step {
    /// One or two units, each in the lower 48 bits of a word. The second word is 0 if there is only one
    /// unit: a second unit holds ticks, so it is never 0.
    #[inline(always)]
    pub(super) fn pack(self) -> [u64; 2] {
        let low = (self.time_ns & ((1 << TIME_BITS) - 1)) << TICK_BITS;
        if self.ticks < 1 << TICK_BITS && self.time_ns < 1 << TIME_BITS {
            return [low | u64::from(self.ticks), 0];
        }
        [low, self.time_ns >> TIME_BITS | u64::from(self.ticks) << HIGH_TIME_BITS]
    }
}

/// Reads unit `index`.
#[inline(always)]
pub(super) fn unit(bytes: &[u8], index: usize) -> u64 {
    let at = index * UNIT_BYTES;
    let [b0, b1, b2, b3, b4, b5] = *bytes[at..].first_chunk().expect("a whole unit");
    u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0])
}

/// Writes unit `index`.
#[inline(always)]
pub(super) fn put(bytes: &mut [u8], index: usize, unit: u64) {
    let at = index * UNIT_BYTES;
    bytes[at..at + UNIT_BYTES].copy_from_slice(&unit.to_le_bytes()[..UNIT_BYTES]);
}

/// The steps in `units` units from unit `from` on.
pub(super) fn steps(bytes: &[u8], from: usize, units: usize) -> Steps<'_> {
    Steps::new(bytes.get(from * UNIT_BYTES..units * UNIT_BYTES).unwrap_or(&[]))
}

/// Steps, unpacked one by one.
#[derive(Debug)]
pub(super) struct Steps<'a>(std::slice::ChunksExact<'a, u8>);

impl<'a> Steps<'a> {
    /// The steps in these units.
    #[inline(always)]
    pub(super) fn new(units: &'a [u8]) -> Self {
        Self(units.chunks_exact(UNIT_BYTES))
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    #[inline(always)]
    fn next(&mut self) -> Option<Step> {
        let first = unit(self.0.next()?, 0);
        let ticks = (first & ((1 << TICK_BITS) - 1)) as u32;
        let time_ns = first >> TICK_BITS;
        if ticks != 0 {
            return Some(Step { time_ns, ticks });
        }
        let second = self.0.next().map_or(0, |bytes| unit(bytes, 0));
        let high = second & ((1 << HIGH_TIME_BITS) - 1);
        Some(Step { time_ns: time_ns | high << TIME_BITS, ticks: (second >> HIGH_TIME_BITS) as u32 })
    }
}

/// The points that `steps` lead to from `first`, without `first` itself.
pub(super) fn walk(first: Point, steps: impl Iterator<Item = Step>) -> impl Iterator<Item = Point> {
    steps.scan(first, |at, step| {
        at.time_ns += step.time_ns;
        at.ticks += i64::from(step.ticks);
        Some(*at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_round_trip(all in proptest::collection::vec(
            prop_oneof![(0..1_u64 << 34, 1_u32..1 << 14), (0..=MAX_STEP_NS, 1_u32..=u32::MAX)], 0..40,
        )) {
            let mut bytes = vec![0; 2 * UNIT_BYTES * all.len()];
            let mut units = 0;
            for &(time_ns, ticks) in &all {
                let [first, second] = Step { time_ns, ticks }.pack();
                put(&mut bytes, units, first);
                units += 1;
                if second != 0 {
                    put(&mut bytes, units, second);
                    units += 1;
                }
            }
            let read: Vec<_> = steps(&bytes, 0, units).map(|s| (s.time_ns, s.ticks)).collect();
            prop_assert_eq!(read, all);
        }
    }
}
