//! Slewed clocks: the stretches of one counter that no single line fits.
//!
//! NTP and `adjtime` correct a clock by running it up to 500 ppm fast or slow for a while (the kernel's
//! MAXFREQ). Connections opened during and after the correction don't meet the line of those before: after
//! 150 ms of correction they are 150 ticks off. But a slewed clock doesn't jump. The next cluster of
//! connections begins as near to the end of the last one as such a clock can have come by then, and no
//! other machine's counter is that near by chance.

use crate::engine::{
    clock::fit::Clock,
    machines::counters::{cluster::Cluster, coincidence::Join, counter_values::CounterValues},
    types::{WRAP_TICKS, joint, wrap_difference},
};

/// How fast a clock may be slewed, as a share of its rate: 500 ppm, with some margin.
const FASTEST: f64 = 6e-4;

/// The longest gap between two stretches of one clock, in seconds: after longer gaps, other machines'
/// counters are that near by chance.
const LONGEST_GAP_S: f64 = 120.0;

/// The longest overlap of two stretches, in seconds: a connection from before the correction goes on
/// during it.
const LONGEST_OVERLAP_S: f64 = 60.0;

/// The longest time that a line can contain an unnoticed bend, in seconds.
const MOST_BENT_S: f64 = 30.0;

/// How far counter values may differ beyond what slewing does, in joint standard errors.
const MAX_DEVIATION: f64 = 5.0;

/// Joins clusters of one nominal rate that follow each other as the stretches of a slewed clock do. The
/// joined cluster keeps the best-known clock.
///
/// O(n log n) for n clusters: ends are looked up by their counter values.
pub(super) fn join(clusters: Vec<Cluster>) -> Vec<Cluster> {
    let mut stretches: Vec<(Stretch, usize, Cluster)> = clusters
        .into_iter()
        .enumerate()
        .map(|(rank, cluster)| (Stretch::of(&cluster), rank, cluster))
        .collect();
    stretches.sort_by_key(|(stretch, ..)| (stretch.first_ns, stretch.last_ns));
    let mut chains: Vec<Chain> = Vec::new();
    let mut ends = CounterValues::default();
    for (stretch, rank, cluster) in stretches {
        match follows(&stretch, &chains, &ends) {
            Some(index) => {
                let before = chains[index].latest.end();
                chains[index].extend(stretch, rank, cluster);
                ends.replace(before, chains[index].latest.end(), index);
            }
            None => {
                ends.insert(stretch.end(), chains.len());
                chains.push(Chain { joined: cluster, latest: stretch, rank });
            }
        }
    }
    chains.sort_by_key(|chain| chain.rank);
    chains.into_iter().map(|chain| chain.joined).collect()
}

/// A stretch of a clock: that of one cluster, from its first to its last segment.
struct Stretch {
    clock: Clock,
    first_ns: u64,
    last_ns: u64,
}

impl Stretch {
    fn of(cluster: &Cluster) -> Self {
        let points = cluster.envelope.points();
        let first_ns = points.first().map_or(0, |point| point.time_ns);
        let last_ns = points.last().map_or(first_ns, |point| point.time_ns);
        Self { clock: cluster.clock, first_ns, last_ns }
    }

    /// How far a line through a bend can be off at its end, in seconds of slewing.
    fn bent_s(&self) -> f64 {
        ((self.last_ns - self.first_ns) as f64 * 1e-9).min(MOST_BENT_S)
    }

    /// The [`nominal`] counter value at its beginning.
    fn begin(&self) -> u32 {
        nominal(&self.clock, self.first_ns)
    }

    /// The [`nominal`] counter value at its end.
    fn end(&self) -> u32 {
        nominal(&self.clock, self.last_ns)
    }
}

/// Stretches of one clock: all of them as one cluster, the latest one, and the lowest index of any in the
/// caller's order.
struct Chain {
    joined: Cluster,
    latest: Stretch,
    rank: usize,
}

impl Chain {
    fn extend(&mut self, stretch: Stretch, rank: usize, cluster: Cluster) {
        let mut members = std::mem::take(&mut self.joined.members);
        let mut joins = std::mem::take(&mut self.joined.joins);
        // What is common to both was predicted as the first of the later stretch was.
        let width_ticks = reach_ticks(cluster.clock.hz);
        joins.push(Join { members: members.len(), of_peer: 0.0, width_ticks });
        joins.extend(&cluster.joins);
        members.extend(&cluster.members);
        if stretch.last_ns >= self.latest.last_ns {
            self.latest = stretch;
        }
        self.rank = self.rank.min(rank);
        if cluster.clock.skew.sigma < self.joined.clock.skew.sigma {
            self.joined = cluster;
        }
        self.joined.members = members;
        self.joined.joins = joins;
    }
}

/// A counter value minus what a clock of exactly the nominal rate gains, modulo 2^32 ticks. Apart from the
/// skew, it is the same at any time.
fn nominal(clock: &Clock, at_ns: u64) -> u32 {
    (clock.at(at_ns).value - clock.hz * at_ns as f64 * 1e-9).rem_euclid(WRAP_TICKS) as u32
}

/// How far from a chain's end the next stretch can begin, in ticks.
fn reach_ticks(hz: f64) -> f64 {
    (2.0 * FASTEST * (LONGEST_GAP_S + 2.0 * MOST_BENT_S) * hz + hz).min(WRAP_TICKS / 4.0)
}

/// The only chain that `stretch` follows; `None` where there is none, or several.
fn follows(stretch: &Stretch, chains: &[Chain], ends: &CounterValues) -> Option<usize> {
    let reach = reach_ticks(stretch.clock.hz) as u32;
    let mut near = ends.near(stretch.begin(), reach).filter(|&index| is_next(&chains[index].latest, stretch));
    let only = near.next()?;
    near.next().is_none().then_some(only)
}

/// Whether one slewed clock can have gone from the end of `stretch` to the beginning of `next`.
fn is_next(stretch: &Stretch, next: &Stretch) -> bool {
    let gap_s = (next.first_ns as f64 - stretch.last_ns as f64) * 1e-9;
    if !(-LONGEST_OVERLAP_S..=LONGEST_GAP_S).contains(&gap_s) {
        return false;
    }
    let middle_ns = stretch.last_ns / 2 + next.first_ns / 2;
    let (end, begin) = (stretch.clock.at(middle_ns), next.clock.at(middle_ns));
    let slewed = FASTEST * (gap_s.abs() + stretch.bent_s() + next.bent_s()) * stretch.clock.hz;
    let allowed = slewed + MAX_DEVIATION * joint(end.sigma, begin.sigma) + 1.0;
    wrap_difference(begin.value - end.value).abs() <= allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        clock::{
            envelope::Envelope,
            fit::{Fitted, fit},
        },
        types::Point,
    };

    /// A connection of ten seconds of a counter of 1 kHz.
    fn connection(index: usize, start_s: f64, ticks: impl Fn(f64) -> f64) -> Cluster {
        let mut envelope = Envelope::default();
        // Steps of 7.003 ms meet every stretch of the tick.
        for i in 0..1400 {
            let t = start_s + 0.007_003 * f64::from(i);
            envelope.add(Point { time_ns: (t * 1e9) as u64, ticks: ticks(t).floor() as i64 });
        }
        let Fitted::Steady(clock) = fit(&envelope, 1) else { panic!("no clock") };
        Cluster::new(vec![index], envelope, clock)
    }

    fn joined(clusters: Vec<Cluster>) -> Vec<Vec<usize>> {
        join(clusters).into_iter().map(|cluster| cluster.members).collect()
    }

    /// 500 ppm faster from 100 s to 400 s: 150 ms in all.
    fn slewed(t: f64) -> f64 {
        1000.0 * (t + 500e-6 * (t.clamp(100.0, 400.0) - 100.0)) + 7e8
    }

    #[test]
    fn a_slewed_clock_stays_one() {
        let stretches = (0..10).map(|k| connection(k, 50.0 + 45.0 * k as f64, slewed)).collect();
        assert_eq!(joined(stretches), [(0..10).collect::<Vec<_>>()]);
    }

    #[test]
    fn clocks_that_jump_do_not() {
        let jumps = |t: f64| 1000.0 * (t + if t < 90.0 { 0.0 } else { 0.5 }) + 7e8;
        let stretches = (0..4).map(|k| connection(k, 50.0 + 25.0 * k as f64, jumps)).collect::<Vec<_>>();
        assert_eq!(joined(stretches), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn what_comes_much_later_is_another() {
        let stretches = vec![connection(0, 50.0, slewed), connection(1, 350.0, slewed)];
        assert_eq!(joined(stretches), [[0], [1]]);
    }

    #[test]
    fn with_two_that_could_be_it_nothing_is_joined() {
        let near = |t: f64| slewed(t) + 20.0;
        let stretches = vec![
            connection(0, 50.0, slewed),
            connection(1, 52.0, near),
            connection(2, 100.0, |t| slewed(t) + 10.0),
        ];
        // The first two overlap, and are as near as one clock's stretches.
        assert!(joined(stretches.clone()).iter().any(|members| members == &[2]), "{:?}", joined(stretches));
    }

    #[test]
    fn counters_wrap() {
        let start = WRAP_TICKS - 200_000.0;
        let stretches = (0..4)
            .map(|k| {
                connection(k, 50.0 + 60.0 * k as f64, |t| {
                    (start + 1000.0 * t * (1.0 + 400e-6)).rem_euclid(WRAP_TICKS)
                })
            })
            .collect();
        assert_eq!(joined(stretches), [[0, 1, 2, 3]]);
    }
}
