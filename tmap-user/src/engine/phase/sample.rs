//! A bounded, unselected sample of a connection's first arrivals.
//!
//! The hull keeps only the extreme points. How *all* points scatter above the clock's line tells more:
//! their density rises within the jitter at the lower edge and falls again one tick later, and both edges
//! move with the phase. Learning and using that density needs points that were not chosen by their delay.
//! Every 2^k-th first arrival is such a choice, and needs no random numbers.

use crate::engine::{os::likeness::Evidence, types::Point};

/// The most points kept. On captures of virtual machines, 64 points and the hull assign connections
/// to machines as well as all points do; 16 points lose a tenth of that.
pub const MAX_SAMPLE: usize = 128;

/// A sampled first arrival, and the time since the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Its time and value.
    pub point: Point,
    /// Time since the connection's previous first arrival, in nanoseconds, at most
    /// [`NO_GAP_NS`]` - 1`; [`NO_GAP_NS`] for the connection's first. It shows the segment's cause: one
    /// sent by a timer (a delayed acknowledgement, 40 ms after the data) leaves just after a tick, one
    /// that answers at once leaves at any phase.
    pub gap_ns: u32,
}

/// The gap of a connection's first point.
pub const NO_GAP_NS: u32 = u32::MAX;

/// Every 2^k-th point offered, in order of time, with k as small as [`MAX_SAMPLE`] allows.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    points: Vec<Sampled>,
    stride_log2: u32,
    offered: u64,
    last_ns: u64,
}

impl Sample {
    /// Offers the first arrival of a TSval. Amortised O(1).
    pub fn add(&mut self, point: Point) {
        let gap_ns = match self.offered {
            0 => NO_GAP_NS,
            _ => point.time_ns.saturating_sub(self.last_ns).min(u64::from(NO_GAP_NS - 1)) as u32,
        };
        self.last_ns = point.time_ns;
        let index = self.offered;
        self.offered += 1;
        if index & self.mask() != 0 {
            return;
        }
        if self.points.len() == MAX_SAMPLE {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride_log2 += 1;
            if index & self.mask() != 0 {
                return;
            }
        }
        self.points.push(Sampled { point, gap_ns });
    }

    /// The points kept. Once [`MAX_SAMPLE`] points were offered, at least half that number is kept.
    pub fn points(&self) -> &[Sampled] {
        &self.points
    }

    /// The number of points offered.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Sampled>()
    }

    fn mask(&self) -> u64 {
        (1 << self.stride_log2) - 1
    }
}

/// The input of the fit from one connection, or from several that share one offset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track<'a> {
    /// Corners of the upper hull of first arrivals, in order of time.
    pub hull: &'a [Point],
    /// An unselected sample of first arrivals, in order of time; empty where memory was short.
    pub sample: &'a [Sampled],
    /// The number of first arrivals in all.
    pub offered: u64,
    /// The evidence that the connection shows besides its clock.
    pub shown: Evidence,
    /// The path that its segments came along, counted from 0: one for each peer.
    pub path: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_every_nth_point(offered in 0_u64..2000) {
            let mut sample = Sample::default();
            for i in 0..offered {
                sample.add(Point { time_ns: 10 * i * i, ticks: i as i64 });
            }
            let kept: Vec<_> = sample.points().iter().map(|s| s.point.ticks as u64).collect();
            prop_assert!(kept.len() <= MAX_SAMPLE);
            prop_assert!(kept.len() as u64 >= offered.min(MAX_SAMPLE as u64 / 2));
            let stride = kept.get(1).copied().unwrap_or(1);
            prop_assert!(stride.is_power_of_two());
            let expected: Vec<_> = (0..offered).step_by(stride as usize).collect();
            prop_assert_eq!(kept, expected);
            for s in sample.points().iter().skip(1) {
                let i = s.point.ticks as u32;
                prop_assert_eq!(s.gap_ns, 10 * i * i - 10 * (i - 1) * (i - 1));
            }
        }
    }
}
