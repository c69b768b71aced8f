//! Counters that differ and show one clock: the same skew, and the same phase within the tick.
//!
//! Offsets that are drawn by pair of addresses differ by whole ticks. The pairs that a machine sees need not
//! be those that the sensor sees: behind a balancer that has several addresses of its own, or a NAT behind
//! which one machine has several addresses, a machine shows several counters to one peer. Machines with
//! offsets of their own would show another phase each, and another skew.

use std::collections::BTreeMap;

use tmap_common::Address;

use crate::engine::{
    clock::fit::Clock, flows::connection::Connection, machines::counters::cluster::Cluster, types::joint,
};

/// How far errors reach, in standard errors.
const MAX_DEVIATION: f64 = 3.0;

/// Paths to different peers move the phase of one clock by this, at most, in seconds, on a LAN.
const PATH_S: f64 = 50e-6;

/// An agreement that two machines would show more often than this says nothing.
const MOST_CHANCE: f64 = 0.5;

/// An agreement is clear where machines would show it once in a thousand times, and remarkable where they
/// would once in twenty.
const CLEAR: f64 = 1e-3;
const REMARKABLE: f64 = 0.05;

/// The share of counters of one pair that must show one clock.
const MOST: f64 = 0.8;

/// The most counters that are compared, and the most of one pair: bounds of cost.
const MOST_COUNTERS: usize = 64;
const MOST_OF_PAIR: usize = 16;

/// Counters that show one clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine::machines) struct Alike {
    /// Counters that clearly are one machine's.
    pub clearly: Vec<usize>,
    /// The fewest machines that all counters may be.
    pub fewest: usize,
}

/// Which of the clusters of these indices show one clock. They `may_be_of_pairs` of addresses that aren't
/// seen.
pub(in crate::engine::machines) fn alike(clusters: &[Cluster], of: &[usize], may_be_of_pairs: bool) -> Alike {
    let mut alike = Alike { clearly: Vec::new(), fewest: of.len() };
    if may_be_of_pairs && may_all_be_one(clusters, of) {
        alike.fewest = 1;
    }
    for (group, chance) in groups(clusters, of).into_iter().filter(|(group, _)| group.len() > 1) {
        let chance = chance * ways(of.len(), group.len());
        if chance < REMARKABLE {
            alike.fewest = alike.fewest.saturating_sub(group.len() - 1).max(1);
        }
        if chance < CLEAR {
            alike.clearly.extend(group);
        }
    }
    alike.clearly.sort_unstable();
    alike
}

/// How many clocks the clusters of these indices show, where each that may be another's is. They
/// `may_be_of_pairs` of addresses that aren't seen.
pub(in crate::engine::machines) fn distinct(
    clusters: &[Cluster],
    of: &[usize],
    may_be_of_pairs: bool,
) -> usize {
    if may_be_of_pairs && may_all_be_one(clusters, of) { 1 } else { groups(clusters, of).len() }
}

/// How many machines these counters of one pair surely show: as many as there are clocks none of which may be
/// another's. What is known too badly may be any other's, as counters of containers of one kernel are.
///
/// O(n m) for n counters of m clocks.
pub(in crate::engine::machines) fn surely_distinct(clusters: &[&Cluster]) -> usize {
    let mut clocks: Vec<&Clock> = clusters.iter().map(|cluster| &cluster.clock).collect();
    clocks.sort_by(|a, b| a.offset_ticks.sigma.total_cmp(&b.offset_ticks.sigma));
    let mut apart: Vec<&Clock> = Vec::new();
    for clock in clocks.into_iter().take(MOST_COUNTERS) {
        if apart.iter().all(|other| agreement(other, clock).is_some_and(|agreement| !agreement.is_one)) {
            apart.push(clock);
        }
    }
    apart.len()
}

/// Whether the clocks of the clusters of these indices differ by no more than their errors explain: those of
/// a service behind a balancer, which makes a counter of each of its own addresses, do. Where little is known
/// of each clock, they all may be one.
fn may_all_be_one(clusters: &[Cluster], of: &[usize]) -> bool {
    let clocks: Vec<&Clock> = of.iter().map(|&index| &clusters[index].clock).collect();
    let freedom = freedom(&clocks);
    squares(&clocks) <= freedom + MAX_DEVIATION * (2.0 * freedom).sqrt()
}

/// Whether no one clock shows these counters, even if their errors are three times as large as is told.
pub(in crate::engine::machines) fn are_apart(clocks: &[&Clock]) -> bool {
    squares(clocks) > MAX_DEVIATION * MAX_DEVIATION * freedom(clocks)
}

/// Of each clock but one, a phase and a skew may differ.
fn freedom(clocks: &[&Clock]) -> f64 {
    2.0 * (clocks.len() as f64 - 1.0).max(0.0)
}

/// By how much clocks differ in phase and skew: the sum of squared deviations, in squared standard errors.
///
/// O(n) for n clocks.
fn squares(clocks: &[&Clock]) -> f64 {
    let Some(best) = clocks.iter().min_by(|a, b| a.offset_ticks.sigma.total_cmp(&b.offset_ticks.sigma))
    else {
        return 0.0;
    };
    let (mut phases, mut skews) = (Spread::default(), Spread::default());
    for clock in clocks {
        let difference = best.ahead_of(clock);
        let within = joint(difference.sigma, PATH_S * clock.hz);
        phases.add(difference.value - difference.value.round(), within);
        skews.add(clock.skew.value, clock.skew.sigma);
    }
    phases.squares() + skews.squares()
}

/// Values that may be one, each with its standard error.
#[derive(Default)]
struct Spread {
    weight: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64, sigma: f64) {
        let weight = 1.0 / (sigma * sigma);
        self.weight += weight;
        self.sum += weight * value;
        self.sum_of_squares += weight * value * value;
    }

    /// The sum of squared deviations from the mean, in squared standard errors.
    fn squares(&self) -> f64 {
        if self.weight > 0.0 { self.sum_of_squares - self.sum * self.sum / self.weight } else { 0.0 }
    }
}

/// Clusters whose clocks agree with that of the first of them, with the probability that machines' clocks do.
/// Many clusters are each alone.
///
/// O(n m) for n clusters of m clocks.
fn groups(clusters: &[Cluster], of: &[usize]) -> Vec<(Vec<usize>, f64)> {
    if of.len() > MOST_COUNTERS {
        return of.iter().map(|&index| (vec![index], 1.0)).collect();
    }
    let mut groups: Vec<(Vec<usize>, f64)> = Vec::new();
    for &index in of {
        let agrees = |(group, _): &(Vec<usize>, f64)| {
            agreement(&clusters[group[0]].clock, &clusters[index].clock).filter(|a| a.is_one)
        };
        match groups.iter().enumerate().find_map(|(at, group)| Some((at, agrees(group)?))) {
            Some((at, agreement)) => {
                groups[at].0.push(index);
                groups[at].1 *= agreement.chance;
            }
            None => groups.push((vec![index], 1.0)),
        }
    }
    groups
}

/// Whether the counters that single peers see, of the clusters of these indices, mostly show one clock.
pub(in crate::engine::machines) fn is_one_in_pairs(
    clusters: &[Cluster],
    of: &[usize],
    connections: &[&Connection],
) -> bool {
    let mut of_peer: BTreeMap<Address, Vec<&Clock>> = BTreeMap::new();
    for cluster in of.iter().map(|&index| &clusters[index]).filter(|cluster| cluster.members.len() > 1) {
        let seen = of_peer.entry(connections[cluster.members[0]].peer()).or_default();
        if seen.len() < MOST_OF_PAIR {
            seen.push(&cluster.clock);
        }
    }
    let (mut compared, mut alike, mut chance) = (0.0, 0.0, 1.0_f64);
    for seen in of_peer.values() {
        for agreement in seen[1..].iter().filter_map(|clock| agreement(seen[0], clock)) {
            compared += 1.0;
            if agreement.is_one {
                alike += 1.0;
                chance *= agreement.chance;
            }
        }
    }
    alike >= MOST * compared && chance < REMARKABLE
}

/// How many groups of so many there are among all.
fn ways(all: usize, group: usize) -> f64 {
    (0..group).map(|taken| (all - taken) as f64 / (taken + 1) as f64).product()
}

/// Whether two counters show one clock.
struct Agreement {
    is_one: bool,
    /// The probability that two machines' counters do.
    chance: f64,
}

/// Compares two clocks of one rate; `None` where they are known too badly.
fn agreement(a: &Clock, b: &Clock) -> Option<Agreement> {
    let difference = a.ahead_of(b);
    let phase_ticks = (difference.value - difference.value.round()).abs();
    let within_ticks = (MAX_DEVIATION * difference.sigma).max(PATH_S * a.hz);
    let within_skew = MAX_DEVIATION * joint(a.skew.sigma, b.skew.sigma);
    // Clocks that NTP disciplines have one skew, so that says nothing.
    let chance = 2.0 * within_ticks;
    let is_one = phase_ticks <= within_ticks && (a.skew.value - b.skew.value).abs() <= within_skew;
    (chance <= MOST_CHANCE).then_some(Agreement { is_one, chance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{clock::envelope::Envelope, types::Estimate};

    /// A counter of 1 kHz with this offset, in ticks.
    fn counter(offset: f64, sigma: f64) -> Cluster {
        let clock = Clock {
            hz: 1000.0,
            rate_hz: Estimate { value: 1000.0, sigma: 0.01 },
            skew: Estimate { value: 0.0, sigma: 1e-5 },
            reference_ns: 0,
            offset_ticks: Estimate { value: offset, sigma },
        };
        Cluster::new(vec![0], Envelope::default(), clock)
    }

    #[test]
    fn counters_of_unknown_phase_prove_nothing() {
        let surely = |counters: &[Cluster]| surely_distinct(&counters.iter().collect::<Vec<_>>());
        let apart = [counter(5e6, 0.01), counter(7e6 + 0.3, 0.01), counter(9e6 + 0.6, 0.01)];
        assert_eq!(surely(&apart), 3);
        assert_eq!(surely(&[counter(5e6, 0.01), counter(7e6 + 0.02, 0.01)]), 1, "one phase");
        assert_eq!(surely(&[counter(5e6, 0.2), counter(7e6 + 0.3, 0.2), counter(9e6 + 0.6, 0.2)]), 1);
        assert_eq!(surely(&[counter(5e6, 0.01), counter(7e6 + 0.3, 0.01), counter(9e6 + 0.6, 0.3)]), 2);
    }
}
