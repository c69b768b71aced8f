//! Counters that no line fits: connections of one counter that loses ticks, stands still or is set.
//!
//! Matching by offset takes every counter for a steady clock. A clock that isn't steady then looks like
//! several machines: old Apple systems lose part of each millisecond, phones and laptops stop their
//! counter while they sleep, and some systems set their clock. What all of these leave is the *order*: such
//! a counter falls behind, by a bounded amount, and never catches up. Connections of several machines hop
//! to and fro between counters, and no order explains them.
//!
//! Each explanation is worth its log evidence, in nats. A counter value that an explanation predicts to lie
//! within `w` ticks has the density `1/w`; that of another machine has `1/2^32`. So a complicated counter
//! is compared with several simple ones by what both say of the same connections. What steady counters
//! explain already, both explain alike: only the steps from one steady counter to another count.

use super::{
    coincidence::{ANYWHERE_NATS, shares_nats},
    path_spread::LATE_PATH_S,
};
use crate::engine::types::{Estimate, Point, WRAP_TICKS, seconds_between, wrap_difference};

/// A step of a counter that didn't just go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moved {
    /// When it was first seen to have moved, engine time in nanoseconds.
    pub at_ns: u64,
    /// By how much, in seconds; negative where it fell behind.
    pub by_s: Estimate,
}

/// What a counter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It runs at a constant rate.
    Steady,
    /// It loses ticks all the time, and has no constant rate (old Apple systems).
    Losing,
    /// It stands still while the machine sleeps.
    Sleeping,
    /// It was set, by up to [`MOST_SET_S`].
    Set,
}

/// The log odds of each behaviour against a steady counter, before anything is seen of it, in nats.
const EXPLANATIONS: [(Behaviour, f64); 3] =
    [(Behaviour::Losing, -3.5), (Behaviour::Sleeping, -3.0), (Behaviour::Set, -5.0)];

/// The nominal rate of old Apple systems, whose counters lose ticks, in Hz.
pub(in crate::engine::machines) const OLD_APPLE_HZ: f64 = 1000.0;

/// The smallest share of its ticks that a losing counter loses.
pub(in crate::engine::machines) const LEAST_LOST: f64 = 1e-3;

/// The largest share of its ticks that a losing counter loses: captures show 12 %, and 0.2 to 0.9 % at rest.
const MOST_LOST: f64 = 0.2;

/// The largest share by which any of these counters runs fast.
const MOST_GAINED: f64 = 1e-3;

/// How far clocks usually are from nominal, relative.
const USUAL_SKEW: f64 = 1e-4;

/// The largest step by which a clock is set, in seconds.
const MOST_SET_S: f64 = 2.0;

/// How sharply a connection shows that it is a known steady counter's, in seconds.
const BACK_S: f64 = 0.04;

/// The most counters that are tried: more are random offsets.
const MOST_COUNTERS: usize = 64;

/// Machines that were switched on together show counters near each other. That makes another machine at a
/// near value this much likelier than [`ANYWHERE_NATS`], in nats.
const TOGETHER_NATS: f64 = 3.6;

/// Such values are near: within this time of each other, in seconds.
pub(in crate::engine::machines) const TOGETHER_S: f64 = 1000.0;

/// An explanation that is worse by this, in nats, is left out of consideration: it has less than one chance
/// in twenty.
const CLEAR_NATS: f64 = 3.0;

/// What it costs a behaviour if the connections' own rates contradict it, in nats: a counter that loses ticks
/// does so within connections, too.
const CONTRADICTED_NATS: f64 = 30.0;

/// How often a counter that may sleep did so, or one that may be set was, between two connections.
const MOVED_SHARE: f64 = 0.5;

/// One connection, as its first arrivals show it.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Shown<'a> {
    /// The caller's index.
    pub index: usize,
    /// The steady counter that it is taken for.
    pub simple: usize,
    /// Corners of its envelope, in order of time; at least one.
    pub points: &'a [Point],
}

/// Counters that explain connections, and how well.
#[derive(Clone, Debug)]
pub(in crate::engine::machines) struct Explanation {
    /// What the counters do.
    pub behaviour: Behaviour,
    /// The connections of each counter, as the caller's indices, in order of their first segments.
    pub counters: Vec<Vec<usize>>,
    /// Whether more counters, all of them steady, would explain the connections nearly as well.
    pub may_be_more: bool,
}

/// What is known of connections beside their counters.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::machines) struct Setting {
    /// Whether steady counters would be told as several machines, not as one with random offsets.
    pub are_several: bool,
    /// Whether the connections go to a service of the address.
    pub serves: bool,
    /// Whether several machines certainly ran at once, with counters near each other: those of a cluster that
    /// was switched on together.
    pub are_together: bool,
}

impl Setting {
    /// How much likelier another machine's counter is near a known one than it is [anywhere](ANYWHERE_NATS),
    /// in nats.
    fn together_nats(self, hz: f64) -> f64 {
        if self.are_together { -ANYWHERE_NATS - (2.0 * TOGETHER_S * hz).ln() } else { TOGETHER_NATS }
    }
}

/// How much less likely a server is to sleep, or to have its clock set, in nats. Several machines behind one
/// address are what balancers are for.
const SERVES_NATS: f64 = 8.0;

/// What [`explain`] found.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::machines) struct Explained {
    /// The explanation by fewer counters; `None` where steady ones are clearly better.
    pub better: Option<Explanation>,
    /// The fewest counters that could explain the connections, whatever the evidence; `None` where that is
    /// more than are tried.
    pub fewest: Option<usize>,
}

/// The complicated counters that explain `shown` as well as steady ones do. All tick nominally at `hz`.
///
/// Where steady counters would be told as several machines, fewer are told if the evidence leaves it open: a
/// machine that isn't there does more harm than one that is missed. Elsewhere the offsets are taken for
/// random, and the complicated explanation must be clearly better.
///
/// O(n m) for n connections and m counters, which are at most [`MOST_COUNTERS`].
pub(in crate::engine::machines) fn explain(
    shown: &[Shown<'_>],
    hz: f64,
    simple: usize,
    setting: Setting,
) -> Explained {
    let mut order: Vec<&Shown<'_>> = shown.iter().filter(|shown| !shown.points.is_empty()).collect();
    order.sort_by_key(|shown| (shown.points[0].time_ns, shown.index));
    let mut explained = Explained::default();
    let mut best_gain = if setting.are_several && !setting.serves { -CLEAR_NATS } else { CLEAR_NATS };
    let loses = loses(shown, hz);
    for (behaviour, prior) in EXPLANATIONS {
        let contradicted = loses.is_some_and(|loses| loses != (behaviour == Behaviour::Losing));
        let Some(Partition { counters, gain, moved }) = partition(&order, hz, behaviour, setting) else {
            continue;
        };
        explained.fewest = Some(explained.fewest.unwrap_or(usize::MAX).min(counters.len()));
        let went_on = !moved && (behaviour != Behaviour::Losing || loses != Some(true));
        let is_odd_server = setting.serves && behaviour != Behaviour::Losing;
        let odds = match (went_on, contradicted) {
            (true, false) => 0.0,
            (_, contradicted) => {
                prior
                    - if contradicted { CONTRADICTED_NATS } else { 0.0 }
                    - if is_odd_server { SERVES_NATS } else { 0.0 }
            }
        };
        let behaviour = if went_on { Behaviour::Steady } else { behaviour };
        let gain = gain + odds;
        if counters.len() < simple && gain > best_gain {
            best_gain = gain;
            let may_be_more = gain < CLEAR_NATS;
            explained.better = Some(Explanation { behaviour, counters, may_be_more });
        }
    }
    explained
}

/// How far a segment that is held back somewhere shifts the sum of what connections lose, in seconds.
const HELD_S: f64 = 0.05;

/// Whether connections lose ticks, by their own rates; `None` where delays could be all that shows.
fn loses(shown: &[Shown<'_>], hz: f64) -> Option<bool> {
    let (mut span_s, mut lost_s) = (0.0, 0.0);
    for shown in shown {
        if let [first, .., last] = shown.points {
            let own_s = seconds_between(first.time_ns, last.time_ns);
            span_s += own_s;
            lost_s += own_s - (last.ticks - first.ticks) as f64 / hz;
        }
    }
    let error_s = (LATE_PATH_S / 30.0 + 1.0 / hz) * (shown.len() as f64).sqrt() + HELD_S;
    match lost_s {
        lost_s if lost_s > 3.0 * error_s && lost_s > MOST_GAINED * span_s => Some(true),
        lost_s if lost_s + 2.0 * error_s < MOST_GAINED * span_s => Some(false),
        _ => None,
    }
}

/// Connections shared out among counters of one behaviour.
struct Partition {
    counters: Vec<Vec<usize>>,
    /// Log evidence against steady counters, in nats.
    gain: f64,
    /// Whether a counter did more than go on.
    moved: bool,
}

/// Counters of one behaviour for connections in order of time; `None` where there would be too many.
fn partition(order: &[&Shown<'_>], hz: f64, behaviour: Behaviour, setting: Setting) -> Option<Partition> {
    let together_nats = setting.together_nats(hz);
    let mut counters: Vec<Counter> = Vec::new();
    let (mut gain, mut moved) = (0.0, false);
    let (mut opened, mut joined) = (0.0_f64, 0.0_f64);
    for shown in order {
        let points = &in_time(shown.points, hz, behaviour);
        let found = counters.iter().enumerate().filter_map(|(c, counter)| {
            let step = counter.step(points, hz, behaviour)?;
            Some((counter.has(shown.simple), counter.members.len() as f64 / step.width_ticks, c, step))
        });
        match found.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))) {
            Some((is_known, _, c, step)) => {
                if !is_known {
                    joined += 1.0;
                    gain -= (counters.len() as f64).ln() + step.width_ticks.max(1.0).ln() + ANYWHERE_NATS;
                    // What is near may be another machine's that was switched on at the same time.
                    gain -= if step.may_be_together { together_nats } else { 0.0 };
                    moved |= !step.went_on;
                } else if behaviour == Behaviour::Set
                    && !step.went_on
                    && counters[c].last_simple != shown.simple
                {
                    // It came back to just where it had been.
                    gain -= (step.width_ticks / (BACK_S * hz).max(1.0)).ln().max(0.0);
                }
                counters[c].take_in(shown, points);
            }
            None if counters.len() == MOST_COUNTERS => return None,
            None => {
                opened += 1.0;
                let mut counter = Counter::default();
                counter.take_in(shown, points);
                counters.push(counter);
            }
        }
    }
    gain += shares_nats(opened, joined);
    Some(Partition { counters: counters.into_iter().map(|counter| counter.members).collect(), gain, moved })
}

/// A point later than its connection's others by more than this tells nothing of a counter, in seconds.
const LATE_S: f64 = 0.04;

/// A point behind its connection's others by more than this isn't late, in seconds: the counter stood still.
const MOST_LATE_S: f64 = 2.0;

/// The points of a connection that aren't late, as its others show: a late one seems to fall behind, and what
/// follows it seems to run ahead. A counter that loses ticks falls behind by itself.
fn in_time(points: &[Point], hz: f64, behaviour: Behaviour) -> Vec<Point> {
    let lost = if behaviour == Behaviour::Losing { MOST_LOST } else { MOST_GAINED };
    let is_late = |point: &Point| {
        points.iter().any(|other| {
            let elapsed_s = seconds_between(other.time_ns, point.time_ns);
            let behind_s = elapsed_s - (point.ticks - other.ticks) as f64 / hz;
            let allowed_s =
                LATE_S + 1.0 / hz + elapsed_s.abs() * if elapsed_s > 0.0 { lost } else { MOST_GAINED };
            (allowed_s..MOST_LATE_S + allowed_s).contains(&behind_s)
        })
    };
    points.iter().filter(|point| !is_late(point)).copied().collect()
}

/// One counter, as its connections show it.
#[derive(Debug, Default)]
struct Counter {
    members: Vec<usize>,
    /// The steady counters that its members are taken for, in order.
    simple: Vec<usize>,
    /// That of its last member.
    last_simple: usize,
    /// The corners of all members, in order of time.
    points: Vec<Point>,
}

impl Counter {
    /// How this counter goes on to a connection; `None` where that can't be its own.
    fn step(&self, points: &[Point], hz: f64, behaviour: Behaviour) -> Option<Step> {
        let mut least = Step { width_ticks: WRAP_TICKS, went_on: false, may_be_together: false };
        // The first point is predicted; the others, whose rate is the connection's own, must not contradict.
        for (at, point) in points.iter().enumerate() {
            let next = self.points.partition_point(|own| own.time_ns <= point.time_ns);
            let before = next.checked_sub(1).map(|before| (self.points[before], *point));
            let after = self.points.get(next).map(|after| (*point, *after));
            for (a, b) in before.into_iter().chain(after) {
                let step = step(a, b, hz, behaviour)?;
                if at == 0 && step.width_ticks < least.width_ticks {
                    least = step;
                }
            }
        }
        Some(least)
    }

    fn has(&self, simple: usize) -> bool {
        self.simple.binary_search(&simple).is_ok()
    }

    fn take_in(&mut self, shown: &Shown<'_>, points: &[Point]) {
        self.last_simple = shown.simple;
        self.members.push(shown.index);
        if let Err(at) = self.simple.binary_search(&shown.simple) {
            self.simple.insert(at, shown.simple);
        }
        for point in points {
            let at = self.points.partition_point(|own| own.time_ns <= point.time_ns);
            self.points.insert(at, *point);
        }
    }
}

/// A step of a counter.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The width in ticks within which it was predicted.
    width_ticks: f64,
    /// Whether the counter just went on.
    went_on: bool,
    /// Whether it is one that machines switched on together would show, too.
    may_be_together: bool,
}

/// The step that a counter makes from `a` to `b`; `None` where it can't.
fn step(a: Point, b: Point, hz: f64, behaviour: Behaviour) -> Option<Step> {
    let elapsed_s = seconds_between(a.time_ns, b.time_ns);
    let ahead = wrap_difference((b.ticks - a.ticks) as f64 - hz * elapsed_s);
    let slack = LATE_PATH_S * hz + 1.0;
    let gained = MOST_GAINED * hz * elapsed_s;
    let (behind, before) = match behaviour {
        Behaviour::Steady => (gained, gained),
        Behaviour::Losing => (MOST_LOST * hz * elapsed_s, gained),
        Behaviour::Sleeping => (hz * elapsed_s, gained),
        Behaviour::Set => {
            let most = MOST_SET_S * hz + USUAL_SKEW * hz * elapsed_s;
            (most, most)
        }
    };
    let (low, high) = (-behind - slack, before + slack);
    // Beyond half a wrap, every step is possible.
    let is_anything = high - low >= WRAP_TICKS / 2.0;
    if !is_anything && !(low..=high).contains(&ahead) {
        return None;
    }
    let went_on = ahead.abs() <= gained + slack;
    let width_ticks = match behaviour {
        Behaviour::Sleeping | Behaviour::Set if went_on => 2.0 * (gained + slack) / (1.0 - MOVED_SHARE),
        Behaviour::Sleeping | Behaviour::Set => (high - low) / MOVED_SHARE,
        Behaviour::Steady | Behaviour::Losing => high - low,
    };
    let may_be_together = !went_on && ahead.abs() < TOGETHER_S * hz;
    Some(Step { width_ticks: width_ticks.min(WRAP_TICKS), went_on, may_be_together })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Connections of `span_s` seconds from each start, of a counter `ticks(t)`.
    fn connections(starts: &[f64], span_s: f64, ticks: impl Fn(f64) -> f64) -> Vec<Vec<Point>> {
        let at = |t: f64| Point { time_ns: (t * 1e9) as u64 + 1_000_000_000, ticks: ticks(t) as i64 };
        starts.iter().map(|&t| vec![at(t), at(t + span_s / 2.0), at(t + span_s)]).collect()
    }

    fn explained(all: &[Vec<Point>], several: bool) -> Option<(Behaviour, usize)> {
        let shown: Vec<Shown<'_>> =
            all.iter().enumerate().map(|(index, points)| Shown { index, simple: index, points }).collect();
        explain(&shown, 1000.0, all.len(), Setting { are_several: several, ..Setting::default() })
            .better
            .map(|e| (e.behaviour, e.counters.len()))
    }

    #[test]
    fn a_counter_that_loses_ticks_is_one() {
        let starts: Vec<f64> = (0..20).map(|i| f64::from(i) * 5.0).collect();
        let all = connections(&starts, 2.0, |t| 5e8 + 994.0 * t + 3.0 * (t / 7.0).sin());
        assert_eq!(explained(&all, false), Some((Behaviour::Losing, 1)));
    }

    #[test]
    fn a_counter_that_sleeps_is_one() {
        let starts = [0.0, 170.0, 250.0, 900.0, 1500.0, 1560.0];
        // It sleeps from 200 s to 240 s, and from 300 s to 850 s.
        let awake = |t: f64| t.min(200.0) + (t - 240.0).clamp(0.0, 60.0) + (t - 850.0).max(0.0);
        let all = connections(&starts, 20.0, |t| 7e7 + 1000.0 * awake(t));
        assert_eq!(explained(&all, true), Some((Behaviour::Sleeping, 1)));
    }

    #[test]
    fn machines_that_take_turns_are_several() {
        let starts: Vec<f64> = (0..12).map(|i| f64::from(i) * 30.0).collect();
        let all = connections(&starts, 10.0, |t| {
            let second = (t / 30.0) as i64 % 2 == 1;
            1000.0 * t + if second { 9e8 } else { 8e8 }
        });
        assert!(explained(&all, true).is_none_or(|(_, count)| count == 2));
    }

    /// Random offsets are never explained by few counters, however long the time between them.
    #[test]
    fn random_offsets_are_no_counter() {
        for seed in 0..300 {
            let mut random = Pcg64::seed_from_u64(seed);
            let (count, gap_s) = (random.random_range(2..60), 10_f64.powf(random.random_range(0.0..4.5)));
            let mut t = 0.0;
            let all: Vec<Vec<Point>> = (0..count)
                .flat_map(|_| {
                    t += gap_s * 2.0 * random.random::<f64>();
                    let offset = f64::from(random.random::<u32>());
                    connections(&[t], 1.0, |t| 1000.0 * t + offset)
                })
                .collect();
            assert_eq!(explained(&all, false), None, "seed {seed}: {count} connections, {gap_s:.0} s apart");
        }
    }
}
