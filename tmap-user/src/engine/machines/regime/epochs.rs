//! Moments at which all counters of pairs were drawn anew: the machines behind them were started anew, or
//! stood still.
//!
//! Machines with offsets by pair show each peer a counter for as long as they run. Where no counter goes on
//! across a moment, all of them may have changed at once. What pairs show then splits into epochs, each with
//! counters of its own: those of the same machines. Whether they did, or more machines met their peers by
//! chance so, the evidence tells: the probability of what pairs show, with and without the moment.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{judgement, occupancy::Occupancy};
use crate::engine::{
    flows::connection::Connection,
    machines::counters::{cluster::Cluster, sharing::Sharing},
    types::log_sum_exp,
};

/// The share of captures in which all machines of an address start anew.
const RESTARTS: f64 = 0.01;

/// How often they do so once more, where they did.
const ONCE_MORE: f64 = 0.5;

/// Epochs may be there where they have at least this probability, in nats: one chance in twenty, as beyond
/// each end of an interval.
const MAY_BE_NATS: f64 = -3.0;

/// The most moments that are looked at: where there are more, counters are short-lived anyway.
const MOST_MOMENTS: usize = 256;

/// The most numbers of machines that are tried, over all stretches between two moments.
const MOST_TRIED: usize = 20_000;

/// A counter of one pair: its peer, when its connections began in ascending order, and when it was last seen.
struct Counter {
    peer: Address,
    begins_ns: Vec<u64>,
    ends_ns: u64,
}

/// The fewest machines that clusters of pairs may show where all their counters may have changed at once, as
/// often as they may have: as many as the epoch with most of them shows. `None` where these are no fewer than
/// `low`.
///
/// O(k n log n) for n connections and k moments across which no counter goes on, and O(m^2 n log n) for the m
/// of them that are looked at closely.
pub(in crate::engine::machines) fn fewest(
    clusters: &[&Cluster],
    connections: &[&Connection],
    low: usize,
) -> Option<usize> {
    if low < 2 {
        return None;
    }
    let counter = |cluster: &&Cluster| {
        let members = || cluster.members.iter().map(|&member| connections[member]);
        let mut begins_ns: Vec<u64> = members().map(|connection| connection.flow.first_ns).collect();
        begins_ns.sort_unstable();
        let ends = members().filter_map(|connection| connection.flow.envelope.points().last());
        let ends_ns = ends.map(|point| point.time_ns).chain(begins_ns.last().copied()).max()?;
        let counter = Counter { peer: members().next()?.peer(), begins_ns, ends_ns };
        Some((counter, cluster.sharing(connections)))
    };
    let mut shown: Vec<(Counter, Sharing)> = clusters.iter().map(counter).collect::<Option<_>>()?;
    shown.sort_by_key(|(counter, _)| counter.begins_ns[0]);
    let (counters, sharing): (Vec<Counter>, Vec<Sharing>) = shown.into_iter().unzip();
    fewest_of(&counters, &sharing, low)
}

/// [`fewest`] of counters in the order of their first connections.
fn fewest_of(counters: &[Counter], sharing: &[Sharing], low: usize) -> Option<usize> {
    let moments = moments(counters);
    if moments.is_empty() {
        return None;
    }
    let whole = Stretch::of(sharing);
    let moments = least_by_chance(moments, counters, most_looked_at(whole.tried));
    let bounds: Vec<usize> = [0].into_iter().chain(moments).chain([counters.len()]).collect();
    let stretches: Vec<Vec<Stretch>> = (0..bounds.len())
        .map(|end| (0..end).map(|begin| Stretch::of(&sharing[bounds[begin]..bounds[end]])).collect())
        .collect();
    let beginnings: usize = counters.iter().map(|counter| counter.begins_ns.len()).sum();
    let moment_nats = (ONCE_MORE / beginnings as f64).ln();
    let parted = |fewest| parted_nats(&stretches, moment_nats, fewest) + (RESTARTS / ONCE_MORE).ln();
    let all_nats = log_sum_exp(&[whole.evidence_nats, parted(usize::MAX)]);
    (1..low).find(|&fewest| parted(fewest) - all_nats >= MAY_BE_NATS)
}

/// What pairs show in a stretch of time.
struct Stretch {
    /// The log of the probability of it, in nats.
    evidence_nats: f64,
    /// The low end of the interval of its number of machines.
    fewest: usize,
    /// How many numbers of machines were tried.
    tried: usize,
}

impl Stretch {
    fn of(sharing: &[Sharing]) -> Self {
        let occupancy = Occupancy::of(&judgement::sizes(sharing));
        let (fewest, _) = occupancy.interval();
        Self { evidence_nats: occupancy.evidence_nats, fewest, tried: occupancy.nats.len() }
    }
}

/// The log of the probability of what pairs show in two epochs or more, over all ways to choose moments
/// between them, where no epoch begins with more machines than `most`. `stretches` are those between each two
/// moments, by the later and the earlier one; `moment_nats` is the log of the probability of each moment.
fn parted_nats(stretches: &[Vec<Stretch>], moment_nats: f64, most: usize) -> f64 {
    // Those up to each moment, the first of which is the beginning.
    let mut up_to = vec![0.0];
    for (end, ending) in stretches.iter().enumerate().skip(1) {
        let is_last = end + 1 == stretches.len();
        let way = |(begin, stretch): (usize, &Stretch)| {
            let is_whole = begin == 0 && is_last;
            let is_possible = stretch.fewest <= most && !is_whole;
            let nats = if is_possible { stretch.evidence_nats } else { f64::NEG_INFINITY };
            up_to[begin] + nats + if begin > 0 { moment_nats } else { 0.0 }
        };
        let ways: Vec<f64> = ending.iter().enumerate().map(way).collect();
        up_to.push(log_sum_exp(&ways));
    }
    up_to.last().copied().unwrap_or(f64::NEG_INFINITY)
}

/// How many moments are looked at closely, where so many numbers of machines are `tried` between two of them.
fn most_looked_at(tried: usize) -> usize {
    (2 * MOST_TRIED / tried.max(1)).isqrt()
}

/// So many of the moments, those that are least likely by chance, in ascending order.
fn least_by_chance(moments: Vec<usize>, counters: &[Counter], most: usize) -> Vec<usize> {
    if moments.len() <= most {
        return moments;
    }
    let mut by_chance: Vec<(f64, usize)> =
        moments.into_iter().map(|first| (chance(counters, first), first)).collect();
    by_chance.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least: Vec<usize> = by_chance.into_iter().take(most).map(|(_, first)| first).collect();
    least.sort_unstable();
    least
}

/// The moments across which no counter goes on: the first counter after each.
fn moments(counters: &[Counter]) -> Vec<usize> {
    let mut moments = Vec::new();
    let mut last_ns = 0;
    for (first, counter) in counters.iter().enumerate() {
        if first > 0 && counter.begins_ns[0] > last_ns {
            moments.push(first);
        }
        last_ns = last_ns.max(counter.ends_ns);
    }
    if moments.len() > MOST_MOMENTS { Vec::new() } else { moments }
}

/// The probability that no counter of the peers that come before and after a moment goes on across it by
/// chance. `first` is the first counter after it.
fn chance(counters: &[Counter], first: usize) -> f64 {
    let mut of_peers: BTreeMap<Address, (usize, usize)> = BTreeMap::new();
    for (place, counter) in counters.iter().enumerate() {
        let (before, after) = of_peers.entry(counter.peer).or_default();
        *if place < first { before } else { after } += counter.begins_ns.len();
    }
    let stays = |(place, counter): (usize, &Counter)| {
        let (before, after) = of_peers[&counter.peer];
        let same_side = if place < first { before } else { after };
        // Its other connections are on the side of its first one.
        let others = counter.begins_ns.len() as i32 - 1;
        (same_side as f64 / (before + after) as f64).powi(others)
    };
    counters.iter().enumerate().map(stays).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::machines::counters::sharing::Contact;

    fn counters(of: &[(u8, &[u64])]) -> Vec<Counter> {
        let counter = |&(peer, begins_ns): &(u8, &[u64])| Counter {
            peer: Address::from_ip4([203, 0, 113, peer]),
            begins_ns: begins_ns.to_vec(),
            ends_ns: begins_ns[begins_ns.len() - 1],
        };
        of.iter().map(counter).collect()
    }

    /// The fewest machines of counters whose connections all have other ports, where pairs alone show nine.
    fn fewest(of: &[(u8, &[u64])]) -> Option<usize> {
        let counters = counters(of);
        let shared = |counter: &Counter| Sharing {
            contacts: counter
                .begins_ns
                .iter()
                .map(|&at| Contact { peer: counter.peer, begin_ns: at })
                .collect(),
            is_sure: counter.begins_ns.len() > 1,
        };
        fewest_of(&counters, &counters.iter().map(shared).collect::<Vec<_>>(), 9)
    }

    #[test]
    fn counters_that_all_change_at_once_show_when() {
        let changed: [(u8, &[u64]); 4] =
            [(1, &[1, 5, 9, 13]), (2, &[2, 6, 10, 14]), (1, &[21, 25, 29, 33]), (2, &[22, 26, 30, 34])];
        assert_eq!(moments(&counters(&changed)), [2]);
        assert!(chance(&counters(&changed), 2) < 1e-3);
        assert_eq!(fewest(&changed), Some(1));
    }

    #[test]
    fn counters_may_all_change_more_than_once() {
        let epoch = |begins_ns: u64| {
            [1, 2, 3].map(|peer| (peer, [0, 9, 18, 27].map(|at| begins_ns + at + u64::from(peer))))
        };
        let of: Vec<(u8, [u64; 4])> = [0, 100, 200, 300].into_iter().flat_map(epoch).collect();
        let of: Vec<(u8, &[u64])> = of.iter().map(|(peer, begins_ns)| (*peer, &begins_ns[..])).collect();
        assert_eq!(moments(&counters(&of)), [3, 6, 9]);
        assert_eq!(fewest(&of), Some(1));
    }

    #[test]
    fn the_epoch_with_most_machines_tells_the_number() {
        let changed: [(u8, &[u64]); 6] = [
            (1, &[1, 5, 9, 13]),
            (2, &[2, 6, 10, 14]),
            (1, &[21, 25, 29, 33, 37]),
            (2, &[22, 26, 30, 34, 38]),
            (1, &[23, 27, 31, 35, 39]),
            (2, &[24, 28, 32, 36, 40]),
        ];
        assert_eq!(fewest(&changed), Some(2));
    }

    #[test]
    fn counters_of_peers_that_come_one_after_another_show_nothing() {
        let crawled: [(u8, &[u64]); 2] = [(1, &[1, 5, 9, 13]), (2, &[21, 25, 29, 33])];
        assert_eq!(moments(&counters(&crawled)), [1]);
        assert_eq!(chance(&counters(&crawled), 1), 1.0);
        assert_eq!(fewest(&crawled), None);
    }

    #[test]
    fn counters_that_go_on_leave_no_moment() {
        assert!(moments(&counters(&[(1, &[1, 20]), (2, &[3, 7]), (2, &[12, 22])])).is_empty());
    }

    #[test]
    fn connections_that_go_on_leave_no_moment() {
        let mut counters = counters(&[(1, &[1, 5, 9]), (1, &[21, 25, 29])]);
        counters[0].ends_ns = 22;
        assert!(moments(&counters).is_empty());
    }
}
