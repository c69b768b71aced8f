//! The common result of counting by offset and by phase: groups of connections, and their count.

use super::counters::{
    behaviours::{Behaviour, Moved},
    coincidence::most_by_chance,
};
use crate::engine::{
    clock::fit::Clock,
    types::{Estimate, Regime},
};

/// Connections of one machine.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Nominal tick rate in Hz.
    pub hz: f64,
    /// The probability that this is the nominal rate.
    pub hz_probability: f64,
    /// How this machine chooses offsets.
    pub regime: Regime,
    /// The machine's clock; `None` for an unsteady one.
    pub clock: Option<Clock>,
    /// What the counter does: only a steady one tells when the machine booted.
    pub behaviour: Behaviour,
    /// The counter's last move; `None` where it just went on.
    pub moved: Option<Moved>,
    /// Measured rate in Hz.
    pub rate_hz: Estimate,
    /// Relative skew in ppm, where the clock is steady.
    pub skew_ppm: Option<Estimate>,
    /// The fraction of a tick at the clock's reference time; `None` for a machine found by offset.
    pub phase_ticks: Option<Estimate>,
    /// Whether its members have probabilities of their own: those of a machine found by its offset share a
    /// counter that is surely its own.
    pub is_weighed: bool,
    /// The share of its members that are one machine's at least: below 1 where it was seen in few visits, of
    /// which each may be another machine's.
    pub surely_one: f64,
    /// Members: position among the analysed connections, and probability.
    pub members: Vec<(usize, f64)>,
}

/// The largest standard error and the largest skew that are reported. Beyond what a crystal can have,
/// the slope is that of the network's queues.
const MAX_SKEW_SIGMA_PPM: f64 = 100.0;
const MAX_SKEW_PPM: f64 = 1000.0;

/// The probability of a match by offset. Two random counter values agree within the errors (some tens
/// of milliseconds of 2^32 ticks) less than once in a million, but two machines may have booted within
/// that time of each other.
pub(super) const MATCH_PROBABILITY: f64 = 0.999;

/// The skew in ppm of a clock of this rate; `None` where it is not worth telling.
pub(super) fn told_skew(rate_hz: Estimate, hz: f64) -> Option<Estimate> {
    let skew = Estimate { value: (rate_hz.value / hz - 1.0) * 1e6, sigma: rate_hz.sigma / hz * 1e6 };
    (skew.sigma <= MAX_SKEW_SIGMA_PPM && skew.value.abs() <= MAX_SKEW_PPM).then_some(skew)
}

/// The lowest probability of a group's member: less means "not this machine".
pub(super) const MIN_PROBABILITY: f64 = 0.01;

/// A connection is surely a machine's where the probability is at least this.
pub(super) const SURE: f64 = 0.9;

/// The number of machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// The best estimate; `None` where it isn't known.
    pub best: Option<u32>,
    /// Lower end of the 90 % interval.
    pub low: u32,
    /// Upper end; `None` where nothing bounds it.
    pub high: Option<u32>,
    /// Machines that are certain without statistics, at least.
    pub proven: u32,
}

impl Count {
    /// No machine.
    pub(crate) const NONE: Self = Self { best: Some(0), low: 0, high: Some(0), proven: 0 };

    /// This count with its ends in order: what is proven is at most the lower end, that at most the best
    /// estimate, and that at most the upper end.
    pub(crate) fn in_order(self) -> Self {
        let low = self.low.max(self.proven);
        let best = self.best.map(|best| best.max(low));
        Self { best, low, high: self.high.map(|high| high.max(best.unwrap_or(low))), ..self }
    }

    /// Adds other machines.
    pub(crate) fn add(&mut self, other: Self) {
        self.best = self.best.zip(other.best).map(|(a, b)| a + b);
        self.low += other.low;
        self.high = self.high.zip(other.high).map(|(a, b)| a + b);
        self.proven += other.proven;
    }

    /// Widens the interval by the machines that may hide among `unplaced` connections, beside `placed`
    /// ones that are some machine's.
    ///
    /// After n connections of k machines, the next one is of an unseen machine with a probability of about
    /// `a / (n + a)`, where `a` is the number of machines per factor e of connections (Ewens 1972). The
    /// number of unseen machines then follows nearly a Poisson law.
    pub(crate) fn add_unplaced(&mut self, unplaced: usize, placed: usize) {
        let (more, seen) = (unplaced as f64, placed as f64);
        let machines = f64::from(self.best.unwrap_or(self.low).max(1));
        let per_factor = machines / (1.0 + seen).ln().max(1.0);
        let expected = per_factor * ((seen + more + per_factor) / (seen + per_factor)).ln();
        let unseen = most_by_chance(expected, TAIL).min(unplaced as u32);
        self.high = self.high.map(|high| high + unseen);
    }
}

/// The largest share of cases in which an end of an interval is passed.
const TAIL: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unplaced_connections_may_hide_machines() {
        let widened = |count: u32, unplaced, placed| {
            let mut all = Count { best: Some(count), low: count, high: Some(count), proven: 1 };
            all.add_unplaced(unplaced, placed);
            all.high
        };
        assert_eq!(widened(1, 0, 10), Some(1));
        assert_eq!(widened(1, 2, 50), Some(1), "two more of a machine that has fifty");
        assert_eq!(widened(1, 1, 1), Some(2));
        assert!(widened(1, 999, 1) >= Some(10));
        assert!(widened(5, 30, 30) > Some(5));
    }
}
