//! Counters that ran at the same time: the only proof of several machines.
//!
//! One machine's counter may lose ticks, stand still or be set, so counters that follow one another prove
//! nothing. But no counter goes on exactly where it had been, after it was seen elsewhere. Where two
//! counters were both seen before and after the same moment, two machines ran.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::misfits::is_bent;
use crate::engine::{
    flows::connection::Connection,
    machines::counters::{behaviours::TOGETHER_S, cluster::Cluster},
    types::{WRAP_TICKS, in_order, seconds_between},
};

/// Counters as near as this, in seconds, aren't told apart here: late segments and errors of rates make two
/// of one.
const NEAR_S: f64 = 10.0;

/// Of so many counters, every moment is looked at; of more, one more in so many is notable.
const FEW: usize = 64;

/// The largest share by which a counter's rate may be wrong, far from its segments.
const RATE_ERROR: f64 = 1e-3;

/// The most counters that ran at once. Give only counters that several connections surely share: one that is
/// alone with its offset may be anything.
///
/// O(n log n) for n counters, for each moment that is looked at. These are few: where more than [`FEW`] run,
/// it takes notably more than at the moments before.
pub(in crate::engine::machines) fn most_at_once(shared: &[&Cluster]) -> usize {
    let mut lives: Vec<Life<'_>> = shared.iter().copied().filter_map(Life::of).collect();
    lives.sort_by_key(|life| life.first_ns);
    // Those that run, by their ends.
    let mut running: BTreeSet<(u64, usize)> = BTreeSet::new();
    let (mut most, mut looked_at) = (0, 0);
    for (at, life) in lives.iter().enumerate() {
        while running.first().is_some_and(|(last_ns, _)| *last_ns <= life.first_ns) {
            running.pop_first();
        }
        running.insert((life.last_ns, at));
        // While counters only begin, the last of them sees all.
        let ends_ns = running.first().map_or(0, |(last_ns, _)| *last_ns);
        let is_peak = lives.get(at + 1).is_none_or(|next| ends_ns <= next.first_ns);
        let is_more = running.len() <= FEW || running.len() > looked_at + looked_at / FEW;
        if is_peak && is_more && running.len() > most {
            looked_at = looked_at.max(running.len());
            let mut places: Vec<usize> = running.iter().map(|(_, place)| *place).collect();
            places.sort_unstable();
            let running: Vec<&Life<'_>> = places.into_iter().map(|place| &lives[place]).collect();
            most = most.max(apart(&running, life.first_ns));
        }
    }
    most
}

/// Whether two of the counters that several connections surely share ran at once, and are as near as those of
/// machines that were switched on together.
pub(in crate::engine::machines) fn are_near(shared: &[&Cluster]) -> bool {
    let Some(at_ns) = shared.iter().map(|cluster| cluster.clock.reference_ns).min() else { return false };
    let value = |cluster: &Cluster| cluster.clock.counter_at(at_ns) / cluster.clock.hz;
    let mut values: Vec<(f64, &Cluster)> = shared.iter().map(|cluster| (value(cluster), *cluster)).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values.windows(2).any(|pair| {
        let [(a_s, a), (b_s, b)] = [pair[0], pair[1]];
        b_s - a_s < TOGETHER_S && most_at_once(&[a, b]) > 1
    })
}

/// Whether more than half of these counters ran at the same time: those of one that slept follow one another.
pub(in crate::engine::machines) fn run_at_once(clusters: &[Cluster]) -> bool {
    let lives = clusters.iter().filter_map(Life::of);
    let mut changes: Vec<(u64, i64)> =
        lives.flat_map(|life| [(life.first_ns, 1), (life.last_ns, -1)]).collect();
    // Of two changes at one time, the end comes first.
    changes.sort_unstable();
    let mut running = 0;
    let most = changes.iter().map(|(_, change)| {
        running += change;
        running
    });
    most.max().is_some_and(|most| most as usize > clusters.len() / 2)
}

/// Counters so near each other that a longer path may have made two of one, in seconds.
const PATH_S: f64 = 1.0;

/// How far the rates of one counter differ, in joint standard errors.
const MAX_DEVIATION: f64 = 5.0;

/// The fewest machines that the counters of these indices may be: one whose path became longer shows two near
/// each other, one that stood still two that follow one another, and one that started anew a counter that was
/// zero after the other was last seen.
///
/// O(n log n) for n counters, and O(n^2) where they are at most [`FEW`].
pub(in crate::engine::machines) fn fewest(clusters: &[Cluster], of: &[usize]) -> usize {
    let Some(at_ns) = of.iter().map(|&index| clusters[index].clock.reference_ns).min() else { return 0 };
    let value_s = |cluster: &Cluster| cluster.clock.counter_at(at_ns) / cluster.clock.hz;
    let mut values: Vec<(f64, &Cluster)> =
        of.iter().map(|&index| (value_s(&clusters[index]), &clusters[index])).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let may_be_one = |pair: &&[(f64, &Cluster)]| {
        let (apart_s, a, b) = (pair[1].0 - pair[0].0, pair[0].1, pair[1].1);
        let one_rate = a.clock.rate_hz.may_equal(b.clock.rate_hz, 0.0, MAX_DEVIATION)
            || is_bent(&a.clock)
            || is_bent(&b.clock);
        one_rate && (apart_s < PATH_S || apart_s < NEAR_S && follow_one_another(a, b))
    };
    let near = values.windows(2).filter(may_be_one).count();
    values.len() - near.max(reboots(&values.iter().map(|(_, cluster)| *cluster).collect::<Vec<_>>()))
}

/// How many of these counters began after another one was last seen, each after another one.
fn reboots(clusters: &[&Cluster]) -> usize {
    if clusters.len() > FEW {
        return 0;
    }
    let mut lives: Vec<Life<'_>> = clusters.iter().copied().filter_map(Life::of).collect();
    lives.sort_by_key(|life| life.first_ns);
    let mut has_next = vec![false; lives.len()];
    let mut reboots = 0;
    for life in &lives {
        let Some(uptime_s) = uptime_s(life) else { continue };
        let since_s = |before: &Life<'_>| seconds_between(before.last_ns, life.first_ns);
        // The latest that ended before it.
        let former = (0..lives.len()).filter(|&at| !has_next[at] && since_s(&lives[at]) >= uptime_s);
        if let Some(former) = former.max_by_key(|&at| lives[at].last_ns) {
            has_next[former] = true;
            reboots += 1;
        }
    }
    reboots
}

/// Linux counts from five minutes before the wrap (`INITIAL_JIFFIES`), in seconds.
const BEFORE_WRAP_S: f64 = 300.0;

/// No machine that was up for longer than this, in seconds, is taken for one that started anew in
/// mid-capture.
const LONGEST_UP_S: f64 = 3600.0;

/// How long a counter had counted when it was first seen, in seconds, if it is young.
fn uptime_s(life: &Life<'_>) -> Option<f64> {
    let clock = &life.cluster.clock;
    let wrap_s = WRAP_TICKS / clock.hz;
    let value_s = clock.counter_at(life.first_ns).rem_euclid(WRAP_TICKS) / clock.hz;
    let since_jiffies_s = (value_s + BEFORE_WRAP_S).rem_euclid(wrap_s);
    // The younger of both may be the truth: from 0, or from five minutes before the wrap.
    let up_s = value_s.min(since_jiffies_s);
    (up_s <= LONGEST_UP_S).then_some(up_s)
}

/// Whether one counter was last seen before the other one was first seen.
fn follow_one_another(a: &Cluster, b: &Cluster) -> bool {
    let (Some(a), Some(b)) = (Life::of(a), Life::of(b)) else { return false };
    a.last_ns < b.first_ns || b.last_ns < a.first_ns
}

/// The log of the likelihood ratio that counters are as near each other as those of machines that were
/// switched on together, against offsets drawn at random, in nats.
pub(in crate::engine::machines) fn nats(clusters: &[Cluster], connections: &[&Connection]) -> f64 {
    if clusters.is_empty() {
        return 0.0;
    }
    // All of n random points lie within some arc of this share with probability n share^(n - 1).
    let count = (clusters.len() - near_at_one_peer(clusters, connections)) as f64;
    -(count.ln() + (count - 1.0) * arc(clusters).ln())
}

/// How many counters one peer sees near another one: a queue or a longer path makes several of one, which is
/// no wonder.
fn near_at_one_peer(clusters: &[Cluster], connections: &[&Connection]) -> usize {
    let Some(at_ns) = clusters.iter().map(|cluster| cluster.clock.reference_ns).min() else { return 0 };
    let mut of_peer: BTreeMap<Address, Vec<f64>> = BTreeMap::new();
    for cluster in clusters {
        if let Some(peer) = cluster.only_peer(connections) {
            let value_s = cluster.clock.counter_at(at_ns) / cluster.clock.hz;
            of_peer.entry(peer).or_default().push(value_s);
        }
    }
    let near = |values_s: &Vec<f64>| {
        in_order(values_s.iter().copied()).windows(2).filter(|pair| pair[1] - pair[0] < PATH_S).count()
    };
    of_peer.values().map(near).sum()
}

/// Counters are near each other for a reason where that is likelier than chance by this, in nats: a thousand
/// times, since most machines weren't switched on together.
pub(in crate::engine::machines) const CLEARLY_NEAR_NATS: f64 = 6.9;

/// Two counters are near each other by chance, or for their machine's sleep.
const FEWEST_NEAR: usize = 3;

/// Whether these are clearly nearer each other than random counters: then so were the machines switched on.
pub(in crate::engine::machines) fn are_clearly_near(
    clusters: &[Cluster],
    connections: &[&Connection],
) -> bool {
    let Some(first) = clusters.first() else { return false };
    let near_s = arc(clusters) * WRAP_TICKS / first.clock.hz;
    clusters.len() >= FEWEST_NEAR && near_s < TOGETHER_S && nats(clusters, connections) > CLEARLY_NEAR_NATS
}

/// The shortest arc that holds all counters, as a share of the circle of their values.
fn arc(clusters: &[Cluster]) -> f64 {
    let Some(at_ns) = clusters.iter().map(|cluster| cluster.clock.reference_ns).min() else { return 0.0 };
    let value = |cluster: &Cluster| cluster.clock.counter_at(at_ns);
    let mut values: Vec<f64> = clusters.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    // The circle without its widest gap is the shortest arc that holds them all.
    let across = values[0] + WRAP_TICKS - values[values.len() - 1];
    let widest = values.windows(2).map(|pair| pair[1] - pair[0]).fold(across, f64::max);
    ((WRAP_TICKS - widest) / WRAP_TICKS).max(1.0 / WRAP_TICKS)
}

/// A counter from its first segment to its last.
struct Life<'a> {
    cluster: &'a Cluster,
    first_ns: u64,
    last_ns: u64,
}

impl<'a> Life<'a> {
    fn of(cluster: &'a Cluster) -> Option<Self> {
        let [first, .., last] = cluster.envelope.points() else { return None };
        Some(Self { cluster, first_ns: first.time_ns, last_ns: last.time_ns })
    }
}

/// How many of these counters are certainly apart at a time.
fn apart(running: &[&Life<'_>], at_ns: u64) -> usize {
    let mut values: Vec<(f64, f64)> = running
        .iter()
        .map(|life| {
            let clock = &life.cluster.clock;
            let since_s = seconds_between(life.first_ns, at_ns).abs();
            let until_s = seconds_between(at_ns, life.last_ns).abs();
            let error_s = NEAR_S + RATE_ERROR * since_s.min(until_s);
            (clock.counter_at(at_ns) / clock.hz, error_s)
        })
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wrap_s = WRAP_TICKS / running.first().map_or(1.0, |life| life.cluster.clock.hz);
    // The first is compared with the last too, across the wrap.
    let mut count = 1;
    let mut kept = values[0];
    for &value in &values[1..] {
        let is_apart = |from: (f64, f64), gap_s: f64| gap_s > from.1.max(value.1);
        if is_apart(kept, value.0 - kept.0) && is_apart(values[0], values[0].0 + wrap_s - value.0) {
            count += 1;
            kept = value;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        clock::{envelope::Envelope, fit::fit_nominal},
        types::Point,
    };

    /// A counter of 1 kHz that was zero at `zero_s`, seen by two connections at these times.
    fn counter(zero_s: f64, seen_s: [f64; 2]) -> Cluster {
        let mut envelope = Envelope::default();
        for t in seen_s {
            let at = |t: f64| Point { time_ns: (t * 1e9) as u64, ticks: ((t - zero_s) * 1000.0) as i64 };
            envelope.extend([at(t), at(t + 0.5)].into_iter());
        }
        let clock = fit_nominal(&envelope, 1000.0, None, 1);
        Cluster::new(vec![0, 1], envelope, clock)
    }

    fn most(counters: &[(f64, [f64; 2])]) -> usize {
        let clusters: Vec<Cluster> = counters.iter().map(|&(zero, seen)| counter(zero, seen)).collect();
        most_at_once(&clusters.iter().collect::<Vec<_>>())
    }

    #[test]
    fn counters_that_hop_to_and_fro_are_several() {
        assert_eq!(most(&[(-5000.0, [10.0, 90.0]), (-9000.0, [50.0, 130.0])]), 2);
        assert_eq!(most(&[(-5000.0, [10.0, 90.0]), (-9000.0, [50.0, 130.0]), (-1e6, [60.0, 70.0])]), 3);
    }

    #[test]
    fn counters_that_follow_one_another_may_be_one() {
        assert_eq!(most(&[(-5000.0, [10.0, 40.0]), (-4000.0, [50.0, 130.0]), (-10.0, [200.0, 230.0])]), 1);
    }

    #[test]
    fn counters_that_are_near_each_other_may_be_one() {
        assert_eq!(most(&[(-5000.0, [10.0, 90.0]), (-5003.0, [50.0, 130.0])]), 1);
        let wrap_s = WRAP_TICKS / 1000.0;
        assert_eq!(most(&[(-5000.0, [10.0, 90.0]), (-5003.0 - wrap_s, [50.0, 130.0])]), 1);
    }
}
