//! Unsteady clocks, which have no constant rate: old Apple systems lose part of each millisecond and
//! tick at 880 to 998 Hz, slower under load. Their counters still only go forwards, at a bounded rate.

use super::envelope::Envelope;
use crate::engine::types::{Estimate, Point, WRAP_TICKS, seconds_between};

/// How far the rate between connections may lie outside the rates measured within them, as a share.
const MARGIN: f64 = 0.15;

/// Delay allowed for when connections that overlap are compared, in seconds.
const DELAY_S: f64 = 0.2;

/// Whether one counter, running at the measured rates, can have shown all these connections.
pub fn one_counter<'a>(connections: impl Iterator<Item = (&'a Envelope, Estimate)> + Clone) -> bool {
    let rates = connections.clone().map(|(_, rate)| rate.value);
    let slowest = rates.clone().fold(f64::MAX, f64::min) * (1.0 - MARGIN);
    let fastest = rates.fold(0.0, f64::max) * (1.0 + MARGIN);
    let mut ends: Vec<(Point, Point)> = connections
        .filter_map(|(envelope, _)| Some((*envelope.points().first()?, *envelope.points().last()?)))
        .collect();
    ends.sort_by_key(|(first, _)| first.time_ns);
    ends.windows(2).all(|pair| follows(pair[0].0, pair[1].0, slowest, fastest))
}

/// Whether a counter can have gone from `a` to `b` at a rate between `slowest` and `fastest` (in Hz).
fn follows(a: Point, b: Point, slowest: f64, fastest: f64) -> bool {
    let elapsed_s = seconds_between(a.time_ns, b.time_ns);
    let least = slowest * (elapsed_s - DELAY_S);
    let most = fastest * (elapsed_s + DELAY_S);
    let middle = 0.5 * (least + most);
    let step = (b.ticks - a.ticks) as f64;
    let step = step + WRAP_TICKS * ((middle - step) / WRAP_TICKS).round();
    (least..=most).contains(&step)
}

/// The measured rates in Hz, as a centre and half the range.
pub fn rate_range(rates: impl Iterator<Item = Estimate> + Clone) -> Estimate {
    let low = rates.clone().map(|rate| rate.value).fold(f64::MAX, f64::min);
    let high = rates.map(|rate| rate.value).fold(0.0, f64::max);
    Estimate { value: 0.5 * (low + high), sigma: 0.5 * (high - low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(start_s: f64, first_tick: i64, hz: f64) -> (Envelope, Estimate) {
        let mut envelope = Envelope::default();
        for i in 0..50 {
            let time_ns = ((start_s + f64::from(i) * 0.1) * 1e9) as u64;
            envelope.add(Point { time_ns, ticks: first_tick + (f64::from(i) * 0.1 * hz) as i64 });
        }
        (envelope, Estimate { value: hz, sigma: 1.0 })
    }

    #[test]
    fn a_slowing_counter_is_one() {
        let all =
            [connection(0.0, 1000, 950.0), connection(10.0, 10_300, 880.0), connection(20.0, 19_700, 990.0)];
        assert!(one_counter(all.iter().map(|(e, r)| (e, *r))));
    }

    #[test]
    fn two_counters_are_not() {
        let all = [connection(0.0, 1000, 950.0), connection(10.0, 3_000_000, 900.0)];
        assert!(!one_counter(all.iter().map(|(e, r)| (e, *r))));
    }
}
