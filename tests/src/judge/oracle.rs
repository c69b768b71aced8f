//! The best possible assignment: it knows every machine's clock and the law of the noise.
//!
//! The oracle is told the true clocks and learns the law of residuals from the truth; each
//! connection then goes to the machine under which its first arrivals are likeliest. What it gets
//! wrong, phase can't tell.

use crate::judge::traces::Trace;

/// Bins per tick of the law.
const BINS: usize = 64;
/// Ticks of the law, from one before zero.
const TICKS: usize = 18;
/// Share of points that obey no law.
const STRAY: f64 = 0.003;
/// A connection's earliest point is taken to lie this far before zero at most, in ticks.
const EARLY: f64 = 0.25;

/// Share of connections that the oracle assigns right. `clock(machine, time_s)` is a machine's
/// counter with its fraction; `truth[i]` the machine of `traces[i]`.
pub fn accuracy(
    traces: &[Trace],
    truth: &[usize],
    machines: usize,
    clock: impl Fn(usize, f64) -> f64,
) -> f64 {
    let lateness = |trace: &Trace, machine: usize| lateness(trace, |t| clock(machine, t));
    let law = Law::new(traces.iter().zip(truth).flat_map(|(trace, m)| lateness(trace, *m)));
    let right = traces.iter().zip(truth).filter(|(trace, truth)| {
        let score = |machine: usize| law.log_likelihood(&lateness(trace, machine));
        let best = (0..machines).max_by(|a, b| score(*a).total_cmp(&score(*b)));
        best == Some(**truth)
    });
    right.count() as f64 / traces.len().max(1) as f64
}

/// How late a connection's first arrivals are on a machine's clock, in ticks, up to a whole number for all.
pub(super) fn lateness(trace: &Trace, clock: impl Fn(f64) -> f64) -> Vec<f64> {
    let residuals = trace.points.iter().map(|p| clock(p.time_ns as f64 * 1e-9) - p.ticks as f64);
    let residuals: Vec<f64> = residuals.collect();
    let whole = (residuals.iter().copied().fold(f64::INFINITY, f64::min) + EARLY).floor();
    residuals.into_iter().map(|r| r - whole).collect()
}

/// The density of residuals.
pub(super) struct Law {
    log: Vec<f64>,
}

impl Law {
    /// Learned from residuals on the true clocks.
    pub(super) fn new(residuals: impl Iterator<Item = f64>) -> Self {
        let mut counts = vec![0.0; BINS * TICKS];
        for e in residuals {
            counts[bin(e)] += 1.0;
        }
        // A bin's neighbours share its points: a hundredth of a tick of smoothing.
        let smooth: Vec<f64> = (0..counts.len())
            .map(|i| {
                let at = |j: usize| counts.get(j).copied().unwrap_or(0.0);
                0.5 * at(i) + 0.25 * (at(i + 1) + at(i.wrapping_sub(1)))
            })
            .collect();
        let total: f64 = smooth.iter().sum();
        let even = STRAY / smooth.len() as f64;
        Self { log: smooth.iter().map(|c| ((1.0 - STRAY) * c / total + even).ln()).collect() }
    }

    /// Of residuals known up to a whole number of ticks.
    pub(super) fn log_likelihood(&self, residuals: &[f64]) -> f64 {
        let shifted = |shift: f64| residuals.iter().map(|e| self.log[bin(e + shift)]).sum::<f64>();
        [-1.0, 0.0, 1.0].map(shifted).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}

fn bin(e: f64) -> usize {
    (((e + 1.0) * BINS as f64).max(0.0) as usize).min(BINS * TICKS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::traces, simulate::Scenario};

    #[test]
    fn a_quiet_lan_is_easy_and_chance_is_the_floor() {
        let scenario = Scenario { machines: 2, skew_spread_ppm: 20.0, ..Scenario::default() };
        let simulation = scenario.run();
        let traces = traces::collect(&simulation.records);
        let truth: Vec<usize> = traces.iter().map(|t| simulation.truth.machine_of[&t.key]).collect();
        let clock = |m: usize, t: f64| simulation.truth.clocks[m].ticks_at(t);
        assert!(accuracy(&traces, &truth, 2, clock) > 0.9);
        let same = |_: usize, t: f64| simulation.truth.clocks[0].ticks_at(t);
        assert!(accuracy(&traces, &truth, 2, same) <= 0.6);
    }
}
