//! A line through an envelope: rate, skew and offset of one clock, with their standard errors.

use super::{
    envelope::Envelope,
    rate::{self, DELAY_WANDER_S, Tick},
};
use crate::engine::types::{Estimate, Point, WRAP_TICKS, joint, seconds_between};

/// Fewer first arrivals than this can't contradict a line: a rate that they show beside all nominal ones is
/// their delays'.
const CONTRADICTING_POINTS: u64 = 5;

/// The widest standard error, relative, of a rate that tells the nominal one without the help of other
/// connections.
const DECISIVE_SIGMA: f64 = 0.01;

/// The smallest jitter assumed, in seconds: the scheduler and timers of an idle sender add this much.
const MIN_JITTER_S: f64 = 20e-6;

/// Expected gap between the envelope and the clock: `0.886 * sqrt(2 tau mu / n)` for delays of
/// density `r / (tau mu)` near zero (a uniform wait of up to one tick `tau` plus an exponential
/// delay of mean `mu`); the minimum of n such delays follows a Rayleigh law.
const GAP_MEAN: f64 = 0.886;

/// Standard error of the line's height in the middle, in expected gaps, and of its slope, in gaps
/// per span. A single minimum would have 0.52 and about 2; a line rests on two points that each
/// saw half of the draws. Measured over rates of 10 to 1000 Hz, 50 to 2000 points, exponential and
/// Pareto delays, and held there by `standard_errors_are_calibrated`.
pub const OFFSET_SIGMA: f64 = 1.1;
/// Standard error of the line's slope; see [`OFFSET_SIGMA`].
pub const SLOPE_SIGMA: f64 = 2.8;

/// For matching, a slope is never more precise than this share of a tick across the span. Segments
/// sent on another machine's timer beat slowly against the tick, and a slope through such a beat is
/// wrong by that much without any sign of it. The reported rate isn't widened.
const LEAST_TICKS: f64 = 0.15;

/// The prior of a skew: clocks deviate from nominal by some tens of ppm. One standard deviation,
/// relative.
pub const SKEW_PRIOR_SIGMA: f64 = 60e-6;

/// The prior of a skew where the usual one makes several machines of one: virtual machines and cheap boards
/// are up to 1,500 ppm off.
pub const FAR_OFF_SIGMA: f64 = 1e-3;

/// One clock, as a line `ticks(t) = offset + rate * (t - reference)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// Nominal rate in Hz.
    pub hz: f64,
    /// Measured rate in Hz, from the envelope alone.
    pub rate_hz: Estimate,
    /// Relative deviation from nominal (not ppm): the measurement combined with the prior of clocks in
    /// general. Without the prior, short connections couldn't be compared.
    pub skew: Estimate,
    /// The time to which the offset refers: the middle of the points, where offset and skew are
    /// uncorrelated.
    pub reference_ns: u64,
    /// The counter value at that time, in ticks on the envelope's unwrapped scale, corrected for the
    /// expected gap.
    pub offset_ticks: Estimate,
}

/// The result of a fit: what an envelope shows of its clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fitted {
    /// A clock of a nominal rate.
    Steady(Clock),
    /// A rate in Hz that is near no nominal one: an unsteady clock.
    Odd(Estimate),
    /// A rate in Hz that could be several nominal ones. The address's other connections may decide.
    Weak(Estimate),
    /// A single point, or none: no rate.
    Unclear,
}

impl Clock {
    /// The counter value at `at_ns` in ticks, on the envelope's unwrapped scale.
    pub fn at(&self, at_ns: u64) -> Estimate {
        let elapsed_s = seconds_between(self.reference_ns, at_ns);
        let drift = self.hz * self.skew.sigma * elapsed_s;
        Estimate {
            value: self.offset_ticks.value + self.hz * (1.0 + self.skew.value) * elapsed_s,
            sigma: joint(self.offset_ticks.sigma, drift),
        }
    }

    /// Halfway between the times to which this offset and another one refer.
    pub fn meeting_ns(&self, other: &Self) -> u64 {
        let apart_s = seconds_between(self.reference_ns, other.reference_ns);
        self.reference_ns.wrapping_add_signed((0.5e9 * apart_s) as i64)
    }

    /// How many ticks this counter is ahead of another one of the same rate, halfway between.
    pub fn ahead_of(&self, other: &Self) -> Estimate {
        let meeting_ns = self.meeting_ns(other);
        let (left, right) = (self.at(meeting_ns), other.at(meeting_ns));
        Estimate { value: left.value - right.value, sigma: joint(left.sigma, right.sigma) }
    }

    /// The counter value at `at_ns` modulo 2^32 ticks, as a TSval shows it, but with parts of a tick.
    pub fn counter_at(&self, at_ns: u64) -> f64 {
        self.at(at_ns).value.rem_euclid(WRAP_TICKS)
    }
}

/// Fits the clock behind `envelope`. `resolution_ns` is the resolution of the capture's time stamps.
pub fn fit(envelope: &Envelope, resolution_ns: u64) -> Fitted {
    let Some((rate_hz, span_s)) = measure_rate(envelope, resolution_ns) else { return Fitted::Unclear };
    let wander = allow_for_wander(rate_hz, span_s);
    if wander.sigma > DECISIVE_SIGMA * rate_hz.value {
        return Fitted::Weak(wander);
    }
    match rate::classify(wander) {
        Tick::Nominal(hz) => {
            let rate_hz = allow_for_delays(rate_hz, wander, hz);
            Fitted::Steady(fit_nominal(envelope, hz, Some(rate_hz), resolution_ns))
        }
        Tick::Odd if envelope.offered() >= CONTRADICTING_POINTS => Fitted::Odd(rate_hz),
        Tick::Odd | Tick::Unclear => Fitted::Weak(wander),
    }
}

/// The rate of a connection of this length, with the error that decides on its nominal rate.
pub fn allow_for_wander(rate_hz: Estimate, span_s: f64) -> Estimate {
    Estimate { sigma: joint(rate_hz.sigma, rate_hz.value * DELAY_WANDER_S / span_s), ..rate_hz }
}

/// How far clocks usually are from nominal, relative: three in a thousand are further off.
const USUAL_SKEW: f64 = 100e-6;

/// A rate's standard error where delays explain better than a skew why it is far from nominal: half of
/// how far it is.
fn allow_for_delays(rate_hz: Estimate, wander: Estimate, hz: f64) -> Estimate {
    let off = (rate_hz.value - hz).abs();
    let is_far = off > 3.0 * joint(rate_hz.sigma, USUAL_SKEW * hz);
    let by_delay = off <= MOST_WANDERS * wander.sigma;
    if is_far && by_delay { Estimate { sigma: rate_hz.sigma.max(0.5 * off), ..rate_hz } } else { rate_hz }
}

/// The farthest that changing delays put a rate off, in standard errors of [`DELAY_WANDER_S`]: queues and
/// radios that sleep make tails heavier than a normal law's.
const MOST_WANDERS: f64 = 6.0;

/// Fits a clock of the known nominal rate `hz`, from one point upwards. `rate_hz` is its measured rate,
/// if there is one.
///
/// # Panics
/// If the envelope is empty.
pub fn fit_nominal(envelope: &Envelope, hz: f64, rate_hz: Option<Estimate>, resolution_ns: u64) -> Clock {
    fit_within(envelope, hz, rate_hz, resolution_ns, SKEW_PRIOR_SIGMA)
}

/// Like [`fit_nominal`], for clocks whose skews spread by `prior_sigma` (relative).
///
/// # Panics
/// If the envelope is empty.
pub fn fit_within(
    envelope: &Envelope,
    hz: f64,
    rate_hz: Option<Estimate>,
    resolution_ns: u64,
    prior_sigma: f64,
) -> Clock {
    let least_sigma = LEAST_TICKS / (hz * envelope.span_s()).max(1.0);
    let measured = rate_hz
        .map(|rate| Estimate { value: rate.value / hz - 1.0, sigma: joint(rate.sigma / hz, least_sigma) });
    let skew = temper(measured, prior_sigma);
    let reference_ns = middle(envelope);
    let rate = hz * (1.0 + skew.value);
    let height = envelope.support(rate, reference_ns).expect("an envelope with points");
    let gap_s = expected_gap_s(envelope, hz, rate, height, reference_ns, resolution_ns);
    Clock {
        hz,
        rate_hz: rate_hz.unwrap_or(Estimate { value: rate, sigma: hz * skew.sigma }),
        skew,
        reference_ns,
        offset_ticks: Estimate { value: height + hz * gap_s, sigma: hz * gap_s * OFFSET_SIGMA },
    }
}

/// The rate of the spanning edge with its standard error; `None` for fewer than two corners.
pub fn measure(envelope: &Envelope, resolution_ns: u64) -> Option<Estimate> {
    measure_rate(envelope, resolution_ns).map(|(rate_hz, _)| rate_hz)
}

/// The slope of the spanning edge with its standard error, and the span of the hull.
fn measure_rate(envelope: &Envelope, resolution_ns: u64) -> Option<(Estimate, f64)> {
    let (a, b) = envelope.spanning_edge()?;
    let span_s = envelope.span_s();
    let value = slope(a, b);
    if span_s <= 0.0 || value <= 0.0 {
        return None;
    }
    let reference_ns = middle(envelope);
    let height = envelope.support(value, reference_ns)?;
    let gap_s = expected_gap_s(envelope, value, value, height, reference_ns, resolution_ns);
    Some((Estimate { value, sigma: value * SLOPE_SIGMA * gap_s / span_s }, span_s))
}

/// Expected gap between the line of `height` at `reference_ns` and the true clock, in seconds.
///
/// The mean distance of all points from the line is half a tick of waiting plus the mean delay. It
/// gives the jitter without storing a single residual.
fn expected_gap_s(
    envelope: &Envelope,
    hz: f64,
    rate: f64,
    height: f64,
    reference_ns: u64,
    resolution_ns: u64,
) -> f64 {
    let n = envelope.offered() as f64;
    let tick_s = 1.0 / hz;
    let mean_late_s = envelope
        .mean(reference_ns)
        .map_or(0.0, |(mean_s, mean_ticks)| (height + rate * mean_s - mean_ticks) / rate);
    // The mean wait is half a tick within its own standard error. The error is taken off the wait,
    // because too large a jitter only widens errors, while too small a jitter makes false machines.
    let wait_s = tick_s * (0.5 - (1.0 / (12.0 * n)).sqrt());
    let jitter_s = (mean_late_s - wait_s).max(MIN_JITTER_S);
    let gap_s = GAP_MEAN * (2.0 * tick_s * jitter_s / n).sqrt() + tick_s / n;
    joint(gap_s, resolution_ns as f64 * 1e-9) + unexplored_s(envelope, tick_s, mean_late_s)
}

/// The part of the tick in which no point fell, in seconds.
///
/// A machine that sends on its own timer stamps every segment at the same point of the tick. The points
/// then lie on a line to the microsecond, and yet the line may be off by a tick across the span. The sign
/// of it is a mean lateness below half a tick. A bulk transfer shows that sign as well, but there nearly
/// every tick was seen, so the first arrivals really are at the ticks' beginnings.
fn unexplored_s(envelope: &Envelope, tick_s: f64, mean_late_s: f64) -> f64 {
    let ticks_passed = match envelope.points() {
        [first, .., last] => (last.ticks - first.ticks) as f64 + 1.0,
        _ => 1.0,
    };
    let seen = (envelope.offered() as f64 / ticks_passed).min(1.0);
    let spread = (1.0 / (12.0 * envelope.offered() as f64)).sqrt();
    ((0.5 - 2.0 * spread) * tick_s - mean_late_s).max(0.0) * (1.0 - seen)
}

/// Combines a measured skew with the prior.
fn temper(measured: Option<Estimate>, prior_sigma: f64) -> Estimate {
    let prior = prior_sigma.powi(2);
    match measured {
        None => Estimate { value: 0.0, sigma: prior_sigma },
        Some(skew) => {
            let weight = prior / (prior + skew.sigma * skew.sigma);
            Estimate { value: weight * skew.value, sigma: (weight * skew.sigma * skew.sigma).sqrt() }
        }
    }
}

/// The share of clocks whose skews spread by [`FAR_OFF_SIGMA`], not [`SKEW_PRIOR_SIGMA`].
const FAR_OFF_SHARE: f64 = 0.1;

/// A measured skew, combined with what clocks are in general: most are crystals, some are far off.
pub fn likely_skew(measured: Estimate) -> Estimate {
    let cases =
        [(1.0 - FAR_OFF_SHARE, SKEW_PRIOR_SIGMA), (FAR_OFF_SHARE, FAR_OFF_SIGMA)].map(|(share, sigma)| {
            let total = joint(sigma, measured.sigma);
            let weight = share * (-0.5 * (measured.value / total).powi(2)).exp() / total;
            (weight, temper(Some(measured), sigma))
        });
    let all: f64 = cases.iter().map(|(weight, _)| weight).sum();
    if all < f64::MIN_POSITIVE {
        return measured;
    }
    let value = cases.iter().map(|(weight, skew)| weight * skew.value).sum::<f64>() / all;
    let spread = |skew: &Estimate| skew.sigma.powi(2) + (skew.value - value).powi(2);
    let square = cases.iter().map(|(weight, skew)| weight * spread(skew)).sum::<f64>() / all;
    Estimate { value, sigma: square.sqrt() }
}

/// The middle of the hull's time.
fn middle(envelope: &Envelope) -> u64 {
    match envelope.points() {
        [] => 0,
        [only] => only.time_ns,
        [first, .., last] => first.time_ns + (last.time_ns - first.time_ns) / 2,
    }
}

fn slope(a: Point, b: Point) -> f64 {
    (b.ticks - a.ticks) as f64 / seconds_between(a.time_ns, b.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    struct Setting {
        hz: f64,
        points: usize,
        span_s: f64,
        delay: fn(&mut Pcg64) -> f64,
    }

    fn exponential(rng: &mut Pcg64, mean: f64) -> f64 {
        -mean * (1.0 - rng.random::<f64>()).ln()
    }

    /// Pareto of shape 1.5 with the given scale, less the scale: heavy-tailed.
    fn pareto(rng: &mut Pcg64, scale: f64) -> f64 {
        scale * ((1.0 - rng.random::<f64>()).powf(-1.0 / 1.5) - 1.0)
    }

    fn simulate(
        setting: &Setting,
        skew: f64,
        rng: &mut impl FnMut() -> f64,
        delay: &mut dyn FnMut() -> f64,
    ) -> Envelope {
        let mut sent: Vec<f64> = (0..setting.points).map(|_| rng() * setting.span_s).collect();
        sent.sort_by(f64::total_cmp);
        let phase = rng();
        let mut arrivals: Vec<(u64, i64)> = sent
            .iter()
            .map(|&t| {
                let ticks = (setting.hz * (1.0 + skew) * t + phase).floor() as i64 + 1000;
                (((t + delay()) * 1e9) as u64, ticks)
            })
            .collect();
        arrivals.sort_unstable();
        let mut envelope = Envelope::default();
        let mut newest = i64::MIN;
        for (time_ns, ticks) in arrivals {
            if ticks > newest {
                newest = ticks;
                envelope.add(Point { time_ns, ticks });
            }
        }
        envelope
    }

    /// Standard errors mean what they say: in every setting, the errors divided by them have a
    /// root mean square near 1.
    #[test]
    fn standard_errors_are_calibrated() {
        let settings = [
            Setting { hz: 1000.0, points: 300, span_s: 60.0, delay: |r| exponential(r, 0.0002) },
            Setting { hz: 1000.0, points: 50, span_s: 10.0, delay: |r| exponential(r, 0.0005) },
            Setting { hz: 1000.0, points: 2000, span_s: 600.0, delay: |r| pareto(r, 0.0005) },
            Setting { hz: 100.0, points: 300, span_s: 60.0, delay: |r| exponential(r, 0.0002) },
            Setting { hz: 250.0, points: 100, span_s: 30.0, delay: |r| exponential(r, 0.005) },
            Setting { hz: 10.0, points: 500, span_s: 900.0, delay: |r| exponential(r, 0.001) },
        ];
        for setting in &settings {
            let rounds = 200;
            let (mut skew_square, mut offset_square) = (0.0, 0.0);
            for seed in 0..rounds {
                let mut rng = Pcg64::seed_from_u64(seed);
                let mut delays = Pcg64::seed_from_u64(seed ^ 0x5eed);
                let skew = 20e-6;
                let phase_rng = rng.clone();
                let envelope =
                    simulate(setting, skew, &mut || rng.random(), &mut || (setting.delay)(&mut delays));
                let phase = phase_of(phase_rng, setting.points);
                let Fitted::Steady(clock) = fit(&envelope, 1) else {
                    panic!("no clock at {} Hz, {} points", setting.hz, setting.points)
                };
                assert_eq!(clock.hz, setting.hz);
                skew_square += ((clock.rate_hz.value / setting.hz - 1.0 - skew)
                    / (clock.rate_hz.sigma / setting.hz))
                    .powi(2);
                let truth =
                    setting.hz * (1.0 + skew) * seconds_between(0, clock.reference_ns) + phase + 1000.0;
                offset_square += ((clock.offset_ticks.value - truth) / clock.offset_ticks.sigma).powi(2);
            }
            let skew_rms = (skew_square / rounds as f64).sqrt();
            let offset_rms = (offset_square / rounds as f64).sqrt();
            println!("{} Hz {} pts: skew {skew_rms:.2} offset {offset_rms:.2}", setting.hz, setting.points);
            assert!(
                (0.3..1.6).contains(&skew_rms),
                "skew rms {skew_rms} at {} Hz {} points",
                setting.hz,
                setting.points
            );
            assert!(
                (0.3..1.6).contains(&offset_rms),
                "offset rms {offset_rms} at {} Hz {} points",
                setting.hz,
                setting.points
            );
        }
    }

    /// The phase is drawn after the sending times: replay the draws.
    fn phase_of(mut rng: impl Rng, points: usize) -> f64 {
        for _ in 0..points {
            let _: f64 = rng.random();
        }
        rng.random()
    }

    #[test]
    fn one_point_has_no_rate_and_a_short_span_a_weak_one() {
        let mut envelope = Envelope::default();
        assert_eq!(fit(&envelope, 1), Fitted::Unclear);
        envelope.add(Point { time_ns: 0, ticks: 0 });
        assert_eq!(fit(&envelope, 1), Fitted::Unclear);
        envelope.add(Point { time_ns: 200_000_000, ticks: 200 });
        assert!(matches!(fit(&envelope, 1), Fitted::Weak(rate) if rate.value == 1000.0 && rate.sigma > 50.0));
        envelope.add(Point { time_ns: 5_000_000_000, ticks: 5000 });
        assert!(matches!(fit(&envelope, 1), Fitted::Steady(_)));
    }
}
