//! A moment at which all counters of pairs were drawn anew: the machine behind them was started anew, or
//! stood still.
//!
//! Machines with offsets by pair show each peer a counter for as long as they run. Where no counter goes on
//! across a moment, although peers come before and after it, all machines changed at once. Counters before
//! and after it are then of the same machines.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::cluster::Cluster;
use crate::engine::flows::connection::Connection;

/// That no counter goes on across a moment is no chance where it happens less often than this.
const NO_CHANCE: f64 = 1e-3;

/// The most moments that are looked at closely: where there are more, counters are short-lived anyway.
const MOST_MOMENTS: usize = 64;

/// A counter of one pair: its peer, and when its connections began.
struct Counter {
    peer: Address,
    begins_ns: Vec<u64>,
}

/// The clusters of the longer epoch, as positions in `clusters`, where all counters changed at a moment.
///
/// O(n log n) for n connections.
pub(super) fn longer(clusters: &[&Cluster], connections: &[&Connection]) -> Option<Vec<usize>> {
    let counter = |cluster: &&Cluster| {
        let mut begins_ns: Vec<u64> = cluster.members.iter().map(|&m| connections[m].flow.first_ns).collect();
        begins_ns.sort_unstable();
        Some(Counter { peer: connections[*cluster.members.first()?].peer(), begins_ns })
    };
    let counters: Vec<Counter> = clusters.iter().map(counter).collect::<Option<_>>()?;
    let moments = moments(&counters);
    let of_moment = |&moment_ns: &u64| (chance(&counters, moment_ns), moment_ns);
    let (chance, moment_ns) = moments.iter().map(of_moment).min_by(|a, b| a.0.total_cmp(&b.0))?;
    if chance * moments.len() as f64 >= NO_CHANCE {
        return None;
    }
    let is_after = |position: &usize| counters[*position].begins_ns[0] > moment_ns;
    let (after, before): (Vec<usize>, Vec<usize>) = (0..counters.len()).partition(is_after);
    let size = |side: &[usize]| side.iter().map(|&at| counters[at].begins_ns.len()).sum::<usize>();
    Some(if size(&after) > size(&before) { after } else { before })
}

/// The moments across which no counter goes on; each is the last beginning before it.
fn moments(counters: &[Counter]) -> Vec<u64> {
    let mut spans: Vec<(u64, u64)> =
        counters.iter().map(|c| (c.begins_ns[0], c.begins_ns[c.begins_ns.len() - 1])).collect();
    spans.sort_unstable();
    let mut moments = Vec::new();
    let mut last_ns = 0;
    for (first, (begins_ns, ends_ns)) in spans.into_iter().enumerate() {
        if first > 0 && begins_ns > last_ns {
            moments.push(last_ns);
        }
        last_ns = last_ns.max(ends_ns);
    }
    if moments.len() > MOST_MOMENTS { Vec::new() } else { moments }
}

/// The probability that no counter of the peers that come before and after a moment goes on across it by
/// chance.
fn chance(counters: &[Counter], moment_ns: u64) -> f64 {
    let mut of_peers: BTreeMap<Address, (usize, usize)> = BTreeMap::new();
    for counter in counters {
        let before = counter.begins_ns.partition_point(|begins_ns| *begins_ns <= moment_ns);
        let of_peer = of_peers.entry(counter.peer).or_default();
        *of_peer = (of_peer.0 + before, of_peer.1 + counter.begins_ns.len() - before);
    }
    let stays = |counter: &Counter| {
        let (before, after) = of_peers[&counter.peer];
        let (before, all) = (before as f64, (before + after) as f64);
        // Its other connections are on the side of its first one.
        let others = counter.begins_ns.len() as i32 - 1;
        let share = if counter.begins_ns[0] <= moment_ns { before / all } else { 1.0 - before / all };
        share.powi(others)
    };
    counters.iter().map(stays).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(of: &[(u8, &[u64])]) -> Vec<Counter> {
        let counter = |&(peer, begins_ns): &(u8, &[u64])| Counter {
            peer: Address::from_ip4([203, 0, 113, peer]),
            begins_ns: begins_ns.to_vec(),
        };
        of.iter().map(counter).collect()
    }

    #[test]
    fn counters_that_all_change_at_once_show_when() {
        let changed = counters(&[
            (1, &[1, 5, 9, 13]),
            (2, &[2, 6, 10, 14]),
            (1, &[21, 25, 29, 33]),
            (2, &[22, 26, 30, 34]),
        ]);
        assert_eq!(moments(&changed), [14]);
        assert!(chance(&changed, 14) < NO_CHANCE);
    }

    #[test]
    fn counters_of_peers_that_come_one_after_another_show_nothing() {
        let crawled = counters(&[(1, &[1, 5, 9, 13]), (2, &[21, 25, 29, 33])]);
        assert_eq!(moments(&crawled), [13]);
        assert_eq!(chance(&crawled, 13), 1.0);
    }

    #[test]
    fn counters_that_go_on_leave_no_moment() {
        assert!(moments(&counters(&[(1, &[1, 20]), (2, &[3, 7]), (2, &[12, 22])])).is_empty());
    }
}
