//! Single connections whose own rate misleads, while every one of their points lies on a known line.
//!
//! Of a connection with few segments, a late one tilts the line: it then seems to tick at another rate, and
//! matching by line leaves it alone. But points are late, never early. Where all of them follow a counter
//! that others share, no later than segments may be, the connection is that counter's.

use crate::engine::{
    clock::fit::Clock,
    machines::counters::{
        cluster::Cluster,
        counter_values::{CounterValues, reach},
    },
    types::{Point, WRAP_TICKS, seconds_between, wrap_difference},
};

/// How late a segment may be, in seconds: queues and sleeping radios hold single ones back that long.
const MOST_LATE_S: f64 = 0.5;

/// How early one may seem, in seconds: its peer's path may be shorter than those that the line was fitted to.
const MOST_EARLY_S: f64 = 0.1;

/// The largest error of a line, in seconds, with which it still tells its own points from others.
const LARGEST_ERROR_S: f64 = 0.1;

/// Joins single connections to the counters whose lines all their points follow.
///
/// O((n + m) log m) for n single connections and m shared counters, which are looked up by their values.
pub(super) fn join(clusters: Vec<Cluster>) -> Vec<Cluster> {
    let (mut shared, singles): (Vec<Cluster>, Vec<Cluster>) =
        clusters.into_iter().partition(|cluster| cluster.members.len() > 1);
    let Some(lines) = Lines::of(shared.iter().map(|cluster| &cluster.clock)) else { return singles };
    let mut left = Vec::new();
    for single in singles {
        let most_late_s = if is_bent(&single.clock) { MOST_BENT_S } else { MOST_LATE_S };
        match lines.nearest(single.envelope.points(), most_late_s) {
            Some(nearest) => {
                let cluster = &mut shared[nearest];
                cluster.join(single.members, (most_late_s + MOST_EARLY_S) * cluster.clock.hz);
            }
            None => left.push(single),
        }
    }
    shared.extend(left);
    shared
}

/// How late a connection may be that was open while a queue filled or a path changed, in seconds. Its rate is
/// another one, then.
const MOST_BENT_S: f64 = 3.0;

/// How far a rate is off the nominal one where only that explains it, in standard errors, and as a share.
const BENT_DEVIATIONS: f64 = 6.0;
const BENT: f64 = 1e-3;

/// Whether a rate is so far from its nominal one that delays must have changed.
pub(super) fn is_bent(clock: &Clock) -> bool {
    let off_hz = (clock.rate_hz.value - clock.hz).abs();
    off_hz > BENT * clock.hz && off_hz > BENT_DEVIATIONS * clock.rate_hz.sigma
}

/// The counters that several connections share, for connections of other rates.
pub(in crate::engine::machines) struct Known {
    /// Where they are among the clusters.
    places: Vec<usize>,
    lines: Lines,
}

impl Known {
    /// Those of `clusters`; `None` where there are none.
    pub(in crate::engine::machines) fn of(clusters: &[Cluster]) -> Option<Self> {
        let places: Vec<usize> =
            (0..clusters.len()).filter(|&place| clusters[place].members.len() > 1).collect();
        let lines = Lines::of(places.iter().map(|&place| &clusters[place].clock))?;
        Some(Self { places, lines })
    }

    /// The place of the one that all these points follow.
    pub(in crate::engine::machines) fn nearest(&self, points: &[Point]) -> Option<usize> {
        self.lines.nearest(points, MOST_BENT_S).map(|at| self.places[at])
    }
}

/// The lines of counters of one nominal rate, by their values at one time.
struct Lines {
    clocks: Vec<Clock>,
    reference_ns: u64,
    by_value: CounterValues,
    /// The largest skew of any, without its sign.
    steepest: f64,
}

impl Lines {
    /// The lines of these clocks; `None` where there are none.
    fn of<'a>(clocks: impl Iterator<Item = &'a Clock>) -> Option<Self> {
        let clocks: Vec<Clock> = clocks.copied().collect();
        let Clock { reference_ns, .. } = *clocks.first()?;
        let (mut by_value, mut steepest) = (CounterValues::default(), 0.0_f64);
        for (at, clock) in clocks.iter().enumerate() {
            by_value.insert(clock.counter_at(reference_ns) as u32, at);
            steepest = steepest.max(clock.skew.value.abs());
        }
        Some(Self { clocks, reference_ns, by_value, steepest })
    }

    /// The line that all these points follow, no later than by this; of several, the one behind which they
    /// are least.
    fn nearest(&self, points: &[Point], most_late_s: f64) -> Option<usize> {
        let found = self.near(points.first().copied(), most_late_s);
        let late = found.filter_map(|at| Some((self.latest_s(at, points, most_late_s)?, at)));
        late.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| at)
    }

    /// All lines that a first point can follow, and some that it can't.
    fn near(&self, first: Option<Point>, most_late_s: f64) -> impl Iterator<Item = usize> {
        let near = first.map(|first| {
            let elapsed_s = seconds_between(self.reference_ns, first.time_ns);
            let hz = self.clocks[0].hz;
            let value = (first.ticks as f64 - hz * elapsed_s).rem_euclid(WRAP_TICKS) as u32;
            let off_s = most_late_s + MOST_EARLY_S + self.steepest * elapsed_s.abs();
            self.by_value.near(value, reach(hz * off_s))
        });
        near.into_iter().flatten()
    }

    /// How far behind a line the latest of these points is, in seconds; `None` where they don't follow it.
    fn latest_s(&self, at: usize, points: &[Point], most_late_s: f64) -> Option<f64> {
        let clock = &self.clocks[at];
        let allowed = -MOST_EARLY_S..most_late_s + 1.0 / clock.hz;
        points.iter().try_fold(f64::NEG_INFINITY, |most, point| {
            let at = clock.at(point.time_ns);
            let late_s = wrap_difference(at.value - point.ticks as f64) / clock.hz;
            let follows = at.sigma / clock.hz < LARGEST_ERROR_S && allowed.contains(&late_s);
            follows.then_some(f64::max(most, late_s))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::{envelope::Envelope, fit::fit_nominal};

    /// The counter of 1 kHz that was zero at time 0, as a connection from `t` on shows it, late by this.
    fn points(t: f64, late_s: [f64; 3]) -> Vec<Point> {
        let at = |(i, late_s): (usize, f64)| {
            let t = t + i as f64;
            Point { time_ns: ((t + late_s) * 1e9) as u64, ticks: (t * 1000.0) as i64 }
        };
        late_s.into_iter().enumerate().map(at).collect()
    }

    /// A cluster of these connections.
    fn cluster(members: Vec<usize>, points: &[&[Point]]) -> Cluster {
        let mut envelope = Envelope::default();
        points.iter().for_each(|points| envelope.extend(points.iter().copied()));
        let clock = fit_nominal(&envelope, 1000.0, None, 1);
        Cluster::new(members, envelope, clock)
    }

    /// The sizes of the clusters, where a third connection shows these points.
    fn sizes(third: &[Point]) -> Vec<usize> {
        let (first, second) = (points(1000.0, [0.0; 3]), points(1100.0, [0.0; 3]));
        let clusters = vec![cluster(vec![0, 1], &[&first, &second]), cluster(vec![2], &[third])];
        join(clusters).iter().map(|cluster| cluster.members.len()).collect()
    }

    #[test]
    fn a_connection_with_late_segments_is_the_line_s() {
        assert_eq!(sizes(&points(1050.0, [0.0, 0.02, 0.3])), [3]);
    }

    #[test]
    fn a_connection_that_is_far_too_late_or_early_is_not() {
        assert_eq!(sizes(&points(1050.0, [0.0, 0.02, 0.8])), [2, 1]);
        assert_eq!(sizes(&points(1050.0, [-0.2, 0.0, 0.0])), [2, 1]);
    }
}
