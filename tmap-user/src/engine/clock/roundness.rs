//! Errors of lines where delays have no sharp minimum.
//!
//! A line's errors follow from the mean lateness of its points where the density of delays begins at the
//! least one, as that of a wait or of one queue does. After several queues in a row, or under a normal law,
//! the earliest points scatter by the law's lower tail, and mean lateness doesn't show that. The hull does:
//! it is round, so it lies further below the line on average.

use super::{
    envelope::Envelope,
    fit::{Clock, OFFSET_SIGMA, SLOPE_SIGMA, fit_within},
};
use crate::engine::types::{Estimate, Point, seconds_between};

/// How errors grow with the mean depth of the hull below its line, in expected gaps, and what of that delays
/// with a sharp minimum have, too. Held by `errors_hold_without_a_sharp_minimum`.
const DEPTH_SIGMA: f64 = 2.2;
const USUAL_DEPTH: f64 = 1.0;

/// The clock of an envelope, with errors as large as the roundness of its hull asks for. `resolution_ns` and
/// `prior_sigma` are those of its fit.
///
/// # Panics
/// If the envelope is empty.
pub fn widened(envelope: &Envelope, clock: Clock, resolution_ns: u64, prior_sigma: f64) -> Clock {
    let gap_ticks = clock.offset_ticks.sigma / OFFSET_SIGMA;
    let depth_ticks = mean_depth_ticks(envelope, clock.rate_hz.value);
    let factor = DEPTH_SIGMA * depth_ticks / gap_ticks.max(f64::MIN_POSITIVE) - USUAL_DEPTH;
    if factor <= 1.0 {
        return clock;
    }
    let by_law_hz = factor * SLOPE_SIGMA * gap_ticks / envelope.span_s();
    let rate_hz = Estimate { sigma: clock.rate_hz.sigma.max(by_law_hz), ..clock.rate_hz };
    let wide = fit_within(envelope, clock.hz, Some(rate_hz), resolution_ns, prior_sigma);
    let offset_ticks = Estimate { sigma: factor * wide.offset_ticks.sigma, ..wide.offset_ticks };
    Clock { offset_ticks, ..wide }
}

/// The mean over time of how far the hull lies below the tightest line of this rate, in ticks.
fn mean_depth_ticks(envelope: &Envelope, rate_hz: f64) -> f64 {
    let [first, .., last] = envelope.points() else { return 0.0 };
    let span_s = seconds_between(first.time_ns, last.time_ns);
    let height = envelope.support(rate_hz, first.time_ns).filter(|_| span_s > 0.0);
    let Some(height) = height else { return 0.0 };
    let depth =
        |point: &Point| height + rate_hz * seconds_between(first.time_ns, point.time_ns) - point.ticks as f64;
    let area = envelope.points().windows(2).map(|pair| {
        let width_s = seconds_between(pair[0].time_ns, pair[1].time_ns);
        0.5 * (depth(&pair[0]) + depth(&pair[1])) * width_s
    });
    area.sum::<f64>() / span_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::fit::{Fitted, SKEW_PRIOR_SIGMA, fit};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    type Delay = fn(&mut Pcg64) -> f64;

    fn exponential(random: &mut Pcg64) -> f64 {
        -1e-3 * (1.0 - random.random::<f64>()).ln()
    }

    /// Five queues in a row.
    fn erlang(random: &mut Pcg64) -> f64 {
        (0..5).map(|_| exponential(random)).sum()
    }

    /// 10 ± 1 ms: twelve uniform values are nearly normal.
    fn normal(random: &mut Pcg64) -> f64 {
        10e-3 + 1e-3 * ((0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0)
    }

    /// The clock of 700 segments of one machine within an hour.
    fn clock(seed: u64, delay: Delay) -> (Envelope, Clock) {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut arrivals: Vec<Point> = (0..700)
            .map(|_| {
                let sent_s = 3600.0 * random.random::<f64>();
                let time_ns = ((sent_s + delay(&mut random)) * 1e9) as u64;
                Point { time_ns, ticks: (1000.0 * sent_s + 0.4) as i64 }
            })
            .collect();
        arrivals.sort_unstable_by_key(|point| point.time_ns);
        let mut envelope = Envelope::default();
        envelope.extend(arrivals.into_iter());
        let Fitted::Steady(clock) = fit(&envelope, 1) else { panic!("no clock") };
        (envelope, clock)
    }

    /// The root mean square of skews in their errors, before and after, and the median growth of errors.
    fn errors(delay: Delay) -> (f64, f64, f64) {
        let (mut before, mut after, mut growth) = (0.0, 0.0, Vec::new());
        for seed in 0..200 {
            let (envelope, clock) = clock(seed, delay);
            let wide = widened(&envelope, clock, 1, SKEW_PRIOR_SIGMA);
            let square =
                |clock: &Clock| ((clock.rate_hz.value - 1000.0) / clock.rate_hz.sigma).powi(2) / 200.0;
            (before, after) = (before + square(&clock), after + square(&wide));
            growth.push(wide.rate_hz.sigma / clock.rate_hz.sigma);
        }
        growth.sort_by(f64::total_cmp);
        (before.sqrt(), after.sqrt(), growth[100])
    }

    #[test]
    fn errors_hold_without_a_sharp_minimum() {
        for (delay, least) in [(erlang as Delay, 2.0), (normal, 3.5)] {
            let (before, after, _) = errors(delay);
            assert!(before > least && (0.5..1.7).contains(&after), "{before} {after}");
        }
    }

    #[test]
    fn errors_stay_where_the_minimum_is_sharp() {
        let (before, after, growth) = errors(exponential);
        assert!(growth < 1.1 && after > 0.6 * before, "{before} {after} {growth}");
    }
}
