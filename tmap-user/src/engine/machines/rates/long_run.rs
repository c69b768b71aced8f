//! The rate of a counter in the long run: over all connections that show it, whatever rate they are taken
//! for.
//!
//! A connection of 200 ms measures a rate to ten per cent, and a queue that fills bends all of them alike.
//! But from one connection to the next, a counter goes on, and no delay adds up.

use crate::engine::{
    machines::counters::path_spread::LATE_PATH_S,
    types::{Estimate, Point, WRAP_TICKS, seconds_between},
};

/// How far the delay changes within a connection, in seconds.
const WANDER_S: f64 = 0.02;

/// The share of connections that may be off the line by more than [`LATE_PATH_S`]: whole ones are held back.
const MOST_OFF: f64 = 0.1;

/// A counter is followed only while its next value is known to this share of the wrap: beyond, nobody knows
/// how often it wrapped.
const FARTHEST_WRAPS: f64 = 0.25;

/// What a counter shows in the long run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongRun {
    /// Its rate from the first connection to the last, in Hz.
    pub rate_hz: f64,
    /// How far delays may put that off, relative.
    pub error: f64,
    /// The rate within connections, all of them together, in Hz.
    pub own_hz: f64,
    /// How far delays may put that off, relative.
    pub own_error: f64,
    /// How many connections show it.
    pub connections: usize,
}

impl LongRun {
    /// The long run of the counter that these connections show, each by its first arrivals; `None` where they
    /// are no counter of a constant rate, or don't show its rate.
    ///
    /// O(n log n) for n connections.
    pub(super) fn of<'a>(shown: impl Iterator<Item = &'a [Point]>) -> Option<Self> {
        let mut shown: Vec<&[Point]> = shown.filter(|points| !points.is_empty()).collect();
        shown.sort_by_key(|points| (points[0].time_ns, points[0].ticks));
        let own_hz = own_hz(shown.iter().copied())?;
        let within_s: f64 = shown.iter().map(|points| length_s(points)).sum();
        // The errors of connections add up as a random walk does.
        let walk = (shown.len() as f64).sqrt() / within_s;
        let own_error = (WANDER_S + 1.0 / own_hz) * walk;
        let values = follow(&shown, own_hz, LATE_PATH_S * walk)?;
        let (rate_hz, middle) = line(&values)?;
        let span_s = values.last()?.0;
        let slack_ticks = LATE_PATH_S * own_hz + 1.0;
        let off = |&&(at_s, ticks): &&(f64, f64)| {
            (ticks - middle.1 - rate_hz * (at_s - middle.0)).abs() > slack_ticks
        };
        let is_line = values.iter().filter(off).count() as f64 <= MOST_OFF * values.len() as f64;
        let error = slack_ticks / (own_hz * span_s);
        is_line.then_some(Self { rate_hz, error, own_hz, own_error, connections: shown.len() })
    }

    /// Its rate in Hz, with the error.
    pub(super) fn estimate(&self) -> Estimate {
        Estimate { value: self.rate_hz, sigma: self.rate_hz * self.error }
    }
}

/// The rate within connections, all of them together, in Hz: long ones count for more. `None` where none of
/// them goes on.
pub(super) fn own_hz<'a>(shown: impl Iterator<Item = &'a [Point]>) -> Option<f64> {
    let (mut span_s, mut ticks) = (0.0, 0.0);
    for points in shown {
        if let [first, .., last] = points {
            span_s += seconds_between(first.time_ns, last.time_ns);
            ticks += (last.ticks - first.ticks) as f64;
        }
    }
    (span_s > 0.0 && ticks > 0.0).then_some(ticks / span_s)
}

/// The counter when each connection begins: seconds and ticks since the first one, without wraps. `None`
/// where they are too far apart to know how often it wrapped. The rate is known to the share `error` at
/// first.
fn follow(shown: &[&[Point]], mut rate_hz: f64, mut error: f64) -> Option<Vec<(f64, f64)>> {
    let mut before = *shown.first()?.first()?;
    let mut values = Vec::with_capacity(shown.len());
    let (mut at_s, mut at_ticks) = (0.0, 0.0);
    for point in shown.iter().filter_map(|points| points.first()) {
        let step_s = seconds_between(before.time_ns, point.time_ns);
        let expected = rate_hz * step_s;
        if error * expected > FARTHEST_WRAPS * WRAP_TICKS {
            return None;
        }
        let step = (point.ticks - before.ticks) as f64;
        at_ticks += step + WRAP_TICKS * ((expected - step) / WRAP_TICKS).round();
        at_s += step_s;
        values.push((at_s, at_ticks));
        before = *point;
        if 2.0 * LATE_PATH_S < error * at_s && at_ticks > 0.0 {
            (rate_hz, error) = (at_ticks / at_s, 2.0 * LATE_PATH_S / at_s);
        }
    }
    Some(values)
}

fn length_s(points: &[Point]) -> f64 {
    match points {
        [first, .., last] => seconds_between(first.time_ns, last.time_ns),
        _ => 0.0,
    }
}

/// The line through these values by least squares: its slope, and the point in their middle. `None` where all
/// are of one time.
fn line(values: &[(f64, f64)]) -> Option<(f64, (f64, f64))> {
    let count = values.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| values.iter().map(of).sum::<f64>() / count;
    let middle = (mean(|value| value.0), mean(|value| value.1));
    let (mut squares, mut products) = (0.0, 0.0);
    for (at_s, ticks) in values {
        squares += (at_s - middle.0).powi(2);
        products += (at_s - middle.0) * (ticks - middle.1);
    }
    (squares > 0.0).then(|| (products / squares, middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections of 0.2 s that show a counter `ticks(t)`, one every `every_s`.
    fn shown(count: u32, every_s: f64, ticks: impl Fn(f64) -> f64) -> Vec<Vec<Point>> {
        let at = |t: f64| Point {
            time_ns: (t * 1e9) as u64,
            ticks: ticks(t).floor().rem_euclid(WRAP_TICKS) as i64,
        };
        let of_one = |begin_s: f64| {
            let first = at(begin_s);
            let last = at(begin_s + 0.2);
            vec![first, Point { ticks: first.ticks + (last.ticks - first.ticks).rem_euclid(1 << 32), ..last }]
        };
        (0..count).map(|i| of_one(10.0 + every_s * f64::from(i))).collect()
    }

    fn long_run(shown: &[Vec<Point>]) -> Option<LongRun> {
        LongRun::of(shown.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_rate_of_any_kind_is_found_across_wraps() {
        for (hz, every_s) in [(96.0, 2.0), (800.0, 600.0), (32_768.0, 60.0), (1e6, 300.0)] {
            let found = long_run(&shown(30, every_s, |t| 4.29e9 + hz * t)).unwrap();
            assert!((found.rate_hz / hz - 1.0).abs() < found.error, "{hz}: {found:?}");
            assert!((found.own_hz / hz - 1.0).abs() < 0.1 && found.connections == 30, "{hz}: {found:?}");
        }
    }

    #[test]
    fn what_stands_still_or_jumps_is_no_line() {
        let sleeps = |t: f64| 1000.0 * (t - (t / 25.0).floor().powi(2));
        assert_eq!(long_run(&shown(40, 5.0, sleeps)), None);
        let drawn = |t: f64| 1000.0 * t + 1e9 * (t / 5.0).floor().sin();
        assert_eq!(long_run(&shown(40, 5.0, drawn)), None);
    }

    #[test]
    fn single_segments_show_no_rate_within_connections() {
        let mut shown = shown(10, 5.0, |t| 1000.0 * t);
        shown.iter_mut().for_each(|points| points.truncate(1));
        assert_eq!(long_run(&shown), None);
    }
}
