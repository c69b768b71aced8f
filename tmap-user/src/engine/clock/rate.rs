//! From a measured tick rate to the nominal one.

use std::f64::consts::TAU;

use multiversion::multiversion;

use crate::engine::types::{Estimate, joint};

/// The number of nominal rates.
pub const RATES: usize = 28;

/// The nominal rates that TCP stacks are known to use, in Hz, with how common each is among hosts
/// whose measured rate leaves a choice. The weights matter only there: 1000 against 1024 in a
/// connection of half a second.
pub const NOMINAL: [(f64, f64); RATES] = [
    (1.0, 0.002),      // rare embedded stacks
    (2.0, 0.01),       // NetBSD, OpenBSD
    (5.0, 0.001),      // seen in captures
    (10.0, 0.02),      // Windows 2000-2003
    (20.0, 0.001),     // seen in captures
    (25.0, 0.000_3),   // a round number
    (40.0, 0.000_3),   // a round number
    (50.0, 0.002),     // AmigaOS, some embedded
    (60.0, 0.002),     // some embedded
    (64.0, 0.002),     // old BSD on PowerPC
    (100.0, 0.08),     // Linux HZ=100, Solaris, Windows Vista-7
    (128.0, 0.002),    // embedded
    (200.0, 0.002),    // embedded
    (250.0, 0.06),     // Linux HZ=250 before 4.13
    (256.0, 0.002),    // embedded
    (300.0, 0.005),    // Linux HZ=300 before 4.13
    (500.0, 0.005),    // embedded
    (512.0, 0.002),    // embedded
    (1000.0, 0.78),    // Linux since 4.13, Windows, macOS, FreeBSD
    (1024.0, 0.001),   // Alpha, embedded
    (1200.0, 0.000_3), // a round number
    (2000.0, 0.001),   // seen in captures
    (2048.0, 0.000_3), // a round number
    (4000.0, 0.000_3), // a round number
    (5000.0, 0.000_3), // a round number
    (1e4, 0.001),      // 100 us
    (1e5, 0.001),      // 10 us
    (1e6, 0.02),       // Linux tcp_usec_ts since 6.7
];

/// How far clocks deviate from nominal: crystals are within 100 ppm, but a virtual machine's calibration
/// is off by more. One standard deviation, relative.
pub(in crate::engine) const SKEW_SIGMA: f64 = 150e-6;

/// How far a rate counts at most, in standard errors, where many are taken together: errors have heavy tails.
const MOST_COUNTED: f64 = 3.0;

/// A nominal rate is contradicted by the mean of many where that is off by so many of its standard errors.
const CONTRADICTED: f64 = 6.0;

/// How far rates are off a nominal one, all together.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Deviations {
    /// The sum, in standard errors of each.
    sum: f64,
    /// How many there are.
    count: usize,
}

impl Deviations {
    /// Of these rates, in Hz, from a nominal one.
    pub(in crate::engine) fn of(rates_hz: impl Iterator<Item = Estimate>, hz: f64) -> Self {
        let mut all = Self::default();
        for rate_hz in rates_hz {
            let deviation = (rate_hz.value - hz) / joint(rate_hz.sigma, SKEW_SIGMA * hz);
            all.sum += deviation.clamp(-MOST_COUNTED, MOST_COUNTED);
            all.count += 1;
        }
        all
    }

    /// Whether they contradict the nominal rate, though each of them may be of it. Their mean is to be off by
    /// at least so much of a single one's error, too.
    pub(in crate::engine) fn contradict(self, least_mean: f64) -> bool {
        let count = self.count as f64;
        self.sum.abs() > (CONTRADICTED * count.sqrt()).max(least_mean * count)
    }
}

/// How far the delay may change between the beginning and the end of a connection without a trace in
/// its envelope, in seconds: a queue that fills during the connection changes the slope. It widens the
/// error that decides on the nominal rate, so a short connection through a full queue is unclear
/// rather than a clock of another rate.
pub(super) const DELAY_WANDER_S: f64 = 0.02;

/// How far the delay may change within no time, in seconds: interrupts are held back for so long.
const LEAST_WANDER_S: f64 = 0.002;

/// A rate further than this from every nominal one is no steady clock, in standard deviations.
const MAX_DEVIATION: f64 = 6.0;

/// The share of measurements that are off by more than a normal law allows, and how much wider they spread:
/// delays have heavy tails.
const HEAVY_SHARE: f64 = 0.1;
const HEAVY_WIDTH: f64 = 4.0;

/// The density of a deviation in standard deviations, apart from a constant factor.
fn density(deviation: f64) -> f64 {
    // Powers that are too small for a float take several times as long as others.
    let normal = |x: f64| if x.abs() < FARTHEST { (-0.5 * x * x).exp() } else { 0.0 };
    (1.0 - HEAVY_SHARE) * normal(deviation) + HEAVY_SHARE / HEAVY_WIDTH * normal(deviation / HEAVY_WIDTH)
}

/// Beyond this many standard deviations, the density is smaller than a float can hold.
const FARTHEST: f64 = 40.0;

/// The lowest probability with which a nominal rate is chosen.
const MIN_PROBABILITY: f64 = 0.9;

/// The class of a measured rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tick {
    /// The usual rate that it belongs to, in Hz.
    Nominal(f64),
    /// It belongs to none: an unsteady clock (old Apple systems lose part of each millisecond and
    /// show 880 to 998 Hz), or a rate that tmap doesn't know.
    Odd,
    /// Too uncertain to say.
    Unclear,
}

/// Finds the nominal rate behind `rate_hz`.
pub fn classify(rate_hz: Estimate) -> Tick {
    let (mut total, mut best) = (0.0, (0.0, f64::INFINITY, 0.0));
    for (hz, prior) in NOMINAL {
        // A sum of squares never exceeds the square of the sum, so most rates drop out without a root.
        if (rate_hz.value - hz).abs() > FARTHEST * (rate_hz.sigma + SKEW_SIGMA * hz) {
            continue;
        }
        let sigma = joint(rate_hz.sigma, SKEW_SIGMA * hz);
        let deviation = (rate_hz.value - hz) / sigma;
        let weight = if deviation.abs() > FARTHEST { 0.0 } else { prior / sigma * density(deviation) };
        total += weight;
        if weight >= best.2 {
            best = (hz, deviation, weight);
        }
    }
    let (hz, deviation, weight) = best;
    if total < f64::MIN_POSITIVE || deviation.abs() > MAX_DEVIATION {
        Tick::Odd
    } else if weight / total >= MIN_PROBABILITY {
        Tick::Nominal(hz)
    } else {
        Tick::Unclear
    }
}

/// The error of two readings' difference, in ticks: each lies anywhere within its tick.
const READING_TICKS: f64 = 0.41;

/// The share of connections whose first or last segment is held back for long, and the mean time for which it
/// is, in seconds: by a full queue, a sleeping radio or a retransmission below IP.
const HELD_SHARE: f64 = 0.02;
const HELD_S: f64 = 0.3;

/// For each nominal rate, the likelihood that its counter goes on by `ticks` in `elapsed_s` seconds as the
/// sensor sees it, per tick. Rates less likely than the best one by more than the factor `least` may have 0.
pub fn likelihoods(elapsed_s: f64, ticks: f64, least: f64) -> [f64; RATES] {
    let mut terms = [Term::default(); RATES];
    set_out(elapsed_s, ticks, &mut terms);
    let of = |rate: usize| {
        let Term { deviation, sigma, behind, .. } = terms[rate];
        let usual = density(deviation) / (sigma * TAU.sqrt());
        (1.0 - HELD_SHARE) * usual + HELD_SHARE * (-behind).exp() / (2.0 * NOMINAL[rate].0 * HELD_S)
    };
    // Most rates are far off, which is seen without a power.
    let nearest = (0..RATES).min_by(|&a, &b| terms[a].deviation.total_cmp(&terms[b].deviation));
    let farthest = nearest.map_or(0.0, of) * least;
    let mut likelihoods = [0.0; RATES];
    for (rate, likelihood) in likelihoods.iter_mut().enumerate() {
        let Term { deviation, most_held, .. } = terms[rate];
        if deviation <= FARTHEST * HEAVY_WIDTH || most_held >= farthest {
            *likelihood = of(rate);
        }
    }
    likelihoods
}

/// What the likelihood of a rate is made of.
#[derive(Clone, Copy, Default)]
struct Term {
    /// How far the counter is off, in standard errors.
    deviation: f64,
    /// The standard error in ticks.
    sigma: f64,
    /// How far it is off, in mean times that a segment is held back.
    behind: f64,
    /// An upper bound of the likelihood where a segment was held back.
    most_held: f64,
}

/// Computes the terms of all rates, which takes roots and divisions but no powers.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn set_out(elapsed_s: f64, ticks: f64, terms: &mut [Term; RATES]) {
    // What arrives within milliseconds did not wait longer at the end than at the beginning.
    let wander_s = joint(DELAY_WANDER_S.min(LEAST_WANDER_S + elapsed_s), SKEW_SIGMA * elapsed_s);
    let (mut off, mut sigma, mut behind, mut most_held) =
        ([0.0; RATES], [0.0; RATES], [0.0; RATES], [0.0; RATES]);
    for rate in 0..RATES {
        let hz = NOMINAL[rate].0;
        off[rate] = (ticks - hz * elapsed_s).abs();
        sigma[rate] = joint(READING_TICKS, hz * wander_s);
        behind[rate] = off[rate] / (hz * HELD_S);
        // A power of e is never less than the 16th power of what its 16th part begins with.
        let root = 1.0 + behind[rate] / 16.0;
        let square = root * root;
        let fourth = square * square;
        let eighth = fourth * fourth;
        most_held[rate] = HELD_SHARE / (2.0 * hz * HELD_S * eighth * eighth);
    }
    for (rate, term) in terms.iter_mut().enumerate() {
        let [sigma, behind, most_held] = [sigma[rate], behind[rate], most_held[rate]];
        *term = Term { deviation: off[rate] / sigma, sigma, behind, most_held };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(value: f64, sigma: f64) -> Tick {
        classify(Estimate { value, sigma })
    }

    #[test]
    fn every_nominal_rate_is_found_where_it_is_well_measured() {
        for (hz, _) in NOMINAL {
            for skew in [-200e-6, 0.0, 200e-6] {
                assert_eq!(classified(hz * (1.0 + skew), hz * 1e-5), Tick::Nominal(hz));
            }
        }
    }

    #[test]
    fn doubtful_rates_go_to_the_common_one_or_to_none() {
        assert_eq!(classified(1010.0, 10.0), Tick::Nominal(1000.0));
        assert_eq!(classified(253.0, 30.0), Tick::Nominal(250.0));
        assert_eq!(classified(180.0, 90.0), Tick::Unclear);
    }

    #[test]
    fn old_apple_clocks_are_odd() {
        assert_eq!(classified(940.0, 0.5), Tick::Odd);
        assert_eq!(classified(997.0, 0.1), Tick::Odd);
        assert_eq!(classified(333.3, 0.1), Tick::Odd);
    }
}
