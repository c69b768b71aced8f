//! The step of a clock that stands still between its ticks, learnt from capture times.
//!
//! Linux counts jiffies of 1 to 10 ms where it has no finer clock, and Windows moved its time every 15.6 ms.
//! NTP bends such a clock, and it may have begun at any phase, so its times are no multiples of a round
//! number. But no two distinct ones are nearer than one step, and those next to each other lie whole steps
//! apart. Several packets fall within one step and have one time.
//!
//! Packets that a sender paces look much alike. But they come microseconds early or late, which a step never
//! does, and each has a time of its own.

use std::ops::Range;

/// Steps that are sought, in nanoseconds. Shorter ones spoil nothing, and no clock has longer ones.
const STEPS_NS: Range<u32> = 200_000..25_000_000;

/// The longest differences that tell something, in steps. Longer ones may lie near a multiple by chance.
const LONGEST_STEPS: u32 = 10;
const LONGEST_NS: u64 = 262_500_000;

/// Differences of one step, and packets with the time of the packet before, that prove a step.
const ENOUGH: usize = 16;

/// The share of the distinct times that must have come again. Machine-like senders may do so once.
const REPEATED: f64 = 0.01;

/// The share of the differences up to [`LONGEST_STEPS`] and a half that must be whole steps: a few packets
/// may have been stamped by another clock.
const WHOLE: f64 = 0.95;

/// Differences of whole steps agree to this part: NTP slews a clock by 500 ppm at most.
const SLEW: f64 = 1e-3;

/// Half of the differences of one step agree to this part: NTP seldom changes the slew.
const STEADY: f64 = 1e-4;

/// The coarsest unit of times in which a step can be told from what is no step, as a part of it.
const COARSEST_UNIT: f64 = 0.01;

/// What is learnt of a capture's times.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// Differences between successive distinct times, in nanoseconds, from the shortest step to
    /// [`LONGEST_NS`]. The caller bounds their number.
    differences_ns: Vec<u32>,
    /// How many were shorter.
    shorter: usize,
}

impl Steps {
    /// Takes in the difference between a time and the distinct one before it.
    pub(super) fn observe(&mut self, difference_ns: u64) {
        match u32::try_from(difference_ns) {
            Ok(short_ns) if short_ns < STEPS_NS.start => self.shorter += 1,
            Ok(long_ns) if difference_ns <= LONGEST_NS => self.differences_ns.push(long_ns),
            _ => {}
        }
    }

    /// The step in nanoseconds, right to three digits, if there is one. Of `packets`, `distinct` have another
    /// time than the one before; their times are multiples of `unit_ns`.
    pub(super) fn find(&mut self, packets: u32, distinct: u32, unit_ns: u64) -> Option<u64> {
        let repeated = packets - distinct;
        if (repeated as usize) < ENOUGH || f64::from(repeated) < REPEATED * f64::from(distinct) {
            return None;
        }
        self.differences_ns.sort_unstable();
        let sorted = Sorted { differences_ns: &self.differences_ns, shorter: self.shorter, unit_ns };
        // Each round passes over at least one difference.
        let mut from = 0;
        while let Some(&shortest_ns) = self.differences_ns.get(from).filter(|ns| STEPS_NS.contains(ns)) {
            let near = from..sorted.end(f64::from(shortest_ns) * (1.0 + SLEW) + unit_ns as f64);
            let middle_ns = self.differences_ns[near.start + near.len() / 2];
            if near.len() >= ENOUGH && sorted.are_steps_of(f64::from(middle_ns)) {
                return Some(rounded(middle_ns.into()));
            }
            from = near.end;
        }
        None
    }
}

/// Differences in order, in nanoseconds, beside so many that were shorter. Times are multiples of `unit_ns`.
struct Sorted<'a> {
    differences_ns: &'a [u32],
    shorter: usize,
    unit_ns: u64,
}

impl Sorted<'_> {
    /// The index of the first difference beyond `ns`.
    fn end(&self, ns: f64) -> usize {
        self.differences_ns.partition_point(|&difference_ns| f64::from(difference_ns) <= ns)
    }

    /// Differences of so many steps, where each step is `step_ns` but for `part` of it and a unit.
    fn near(&self, steps: u32, step_ns: f64, part: f64) -> usize {
        let error_ns = part * step_ns + self.unit_ns as f64;
        let [above_ns, below_ns] = [step_ns + error_ns, step_ns - error_ns].map(|ns| f64::from(steps) * ns);
        // Differences are whole nanoseconds.
        self.end(above_ns) - self.end(below_ns - 0.5)
    }

    /// Whether a clock that steps by `step_ns` explains the differences.
    fn are_steps_of(&self, step_ns: f64) -> bool {
        if self.unit_ns as f64 > COARSEST_UNIT * step_ns {
            return false;
        }
        let once = self.near(1, step_ns, SLEW);
        let whole: usize = (1..=LONGEST_STEPS).map(|steps| self.near(steps, step_ns, SLEW)).sum();
        let all = self.shorter + self.end((f64::from(LONGEST_STEPS) + 0.5) * step_ns);
        once >= ENOUGH && 2 * self.near(1, step_ns, STEADY) >= once && whole as f64 >= WHOLE * all as f64
    }
}

/// `ns` with three digits, as exact as a slewed step is.
fn rounded(ns: u64) -> u64 {
    let grain_ns = 10_u64.pow(ns.ilog10().saturating_sub(2));
    (ns + grain_ns / 2) / grain_ns * grain_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step that times in units of `unit_ns` show, if they show one.
    fn found(times_ns: &[u64], unit_ns: u64) -> Option<u64> {
        let (mut steps, mut distinct, mut last_ns) = (Steps::default(), 0, 0);
        for time_ns in times_ns.iter().map(|ns| ns - ns % unit_ns).filter(|ns| *ns > 0) {
            if time_ns != last_ns {
                steps.observe(time_ns - last_ns);
                distinct += 1;
                last_ns = time_ns;
            }
        }
        steps.find(times_ns.len() as u32, distinct, unit_ns)
    }

    #[test]
    fn odd_packets_hide_a_step_where_they_are_many() {
        let packet = |i: u64, every| {
            let odd_ns = if i.is_multiple_of(every) { 777_000 } else { 0 };
            i * 2_000_000 / 4_000_068 * 4_000_068 + odd_ns
        };
        for (every, expected) in [(200, Some(4_000_000)), (12, None)] {
            let times_ns: Vec<u64> = (1_000..2_000).map(|i| packet(i, every)).collect();
            assert_eq!(found(&times_ns, 1_000), expected);
        }
    }

    #[test]
    fn a_unit_near_the_step_hides_it() {
        let times_ns: Vec<u64> = (1_000..2_000).map(|i: u64| i / 2 * 15_625_000).collect();
        assert_eq!(found(&times_ns, 100_000), Some(15_600_000));
        assert_eq!(found(&times_ns, 1_000_000), None);
    }

    #[test]
    fn steps_are_told_with_three_digits() {
        assert_eq!(
            [4_000_068, 15_625_000, 976_562, 333_333].map(rounded),
            [4_000_000, 15_600_000, 977_000, 333_000]
        );
    }
}
