//! Peers whose paths are far longer: their connections show the machine's counter later than those of others.
//!
//! A counter just behind another one, each with peers of its own, is no machine's own: other machines talk to
//! the same peers, and their counters are anywhere.

use std::collections::BTreeSet;

use tmap_common::Address;

use crate::engine::{
    machines::counters::cluster::{self, Cluster},
    types::wrap_difference,
};

/// How much later than others a peer's path may be, in seconds: over a satellite, or through a tunnel.
const MOST_LATE_S: f64 = 1.0;

/// How much earlier it may seem, in seconds.
const MOST_EARLY_S: f64 = 0.15;

/// How far rates may differ, in joint standard errors.
const MAX_DEVIATION: f64 = 5.0;

/// How many times as many connections and peers the counter ahead has.
const FEWER: usize = 4;

/// Joins counters of few peers to the one of many others that is just ahead of them. `peers_of` tells a
/// counter's peers.
///
/// O(n m) for n counters that several connections share and m that several peers see; with more of these than
/// [`MOST_KNOWN`], nothing is joined.
pub(in crate::engine::machines) fn join(
    clusters: Vec<Cluster>,
    peers_of: impl FnMut(&Cluster) -> BTreeSet<Address>,
) -> Vec<Cluster> {
    if clusters.len() < 2 {
        return clusters;
    }
    let peers: Vec<_> = clusters.iter().map(peers_of).collect();
    let ahead: Vec<usize> = (0..clusters.len()).filter(|&place| peers[place].len() >= FEWER).collect();
    if ahead.len() > MOST_KNOWN {
        return clusters;
    }
    let mut joins_to: Vec<Option<usize>> = vec![None; clusters.len()];
    for (place, late) in clusters.iter().enumerate().filter(|(_, cluster)| cluster.members.len() > 1) {
        let mut found = ahead.iter().copied().filter(|&known| {
            FEWER * peers[place].len() <= peers[known].len()
                && FEWER * late.members.len() <= clusters[known].members.len()
                && peers[place].is_disjoint(&peers[known])
                && is_behind(late, &clusters[known])
        });
        joins_to[place] = found.next().filter(|_| found.next().is_none());
    }
    cluster::merged(clusters, &joins_to, 2.0 * MOST_LATE_S)
}

/// The most counters of many peers that are compared: machines behind a balancer share their peers anyway.
const MOST_KNOWN: usize = 16;

/// Whether a counter shows what `known` does, later by what a path may add.
fn is_behind(late: &Cluster, known: &Cluster) -> bool {
    let (a, b) = (&late.clock, &known.clock);
    let behind_s = wrap_difference(b.at(a.reference_ns).value - a.offset_ticks.value) / a.hz;
    (-MOST_EARLY_S..MOST_LATE_S).contains(&behind_s) && a.rate_hz.may_equal(b.rate_hz, 0.0, MAX_DEVIATION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        clock::{envelope::Envelope, fit::fit_nominal},
        types::Point,
    };

    /// A counter of 1 kHz, so much later than one that was zero at time 0, with so many connections. They
    /// take turns with these peers, each the last byte of an address.
    struct Made {
        late_s: f64,
        connections: usize,
        peers: std::ops::Range<u8>,
    }

    /// The sizes of what these counters are joined to.
    fn sizes(made: &[Made]) -> Vec<usize> {
        let cluster = |(number, made): (usize, &Made)| {
            let mut envelope = Envelope::default();
            let at = |t: f64| Point { time_ns: ((t + made.late_s) * 1e9) as u64, ticks: (t * 1e3) as i64 };
            envelope.extend((0..60).map(|second| at(1_000.0 + f64::from(second))));
            let clock = fit_nominal(&envelope, 1000.0, None, 1);
            Cluster::new(vec![number; made.connections], envelope, clock)
        };
        let clusters = made.iter().enumerate().map(cluster).collect();
        let peers_of = |cluster: &Cluster| {
            let peers = made[cluster.members[0]].peers.clone();
            peers.map(|byte| Address::from_ip4([203, 0, 113, byte])).collect()
        };
        join(clusters, peers_of).iter().map(|cluster| cluster.members.len()).collect()
    }

    const KNOWN: Made = Made { late_s: 0.0, connections: 40, peers: 0..8 };
    const FAR: Made = Made { late_s: 0.6, connections: 5, peers: 8..10 };

    #[test]
    fn a_counter_just_behind_that_of_many_others_is_theirs() {
        assert_eq!(sizes(&[KNOWN, FAR]), [45]);
        assert_eq!(sizes(&[FAR, KNOWN]), [45]);
    }

    #[test]
    fn a_counter_that_is_further_behind_or_ahead_is_not() {
        assert_eq!(sizes(&[KNOWN, Made { late_s: 1.5, ..FAR }]), [40, 5]);
        assert_eq!(sizes(&[KNOWN, Made { late_s: -0.5, ..FAR }]), [40, 5]);
    }

    #[test]
    fn a_counter_of_the_same_peers_or_of_as_many_is_another_machine_s() {
        assert_eq!(sizes(&[KNOWN, Made { peers: 7..9, ..FAR }]), [40, 5]);
        assert_eq!(sizes(&[KNOWN, Made { peers: 8..14, ..FAR }]), [40, 5]);
        assert_eq!(sizes(&[KNOWN, Made { connections: 30, ..FAR }]), [40, 30]);
    }

    #[test]
    fn a_single_connection_or_one_between_two_counters_stays_alone() {
        assert_eq!(sizes(&[KNOWN, Made { connections: 1, ..FAR }]), [40, 1]);
        let other = Made { late_s: 0.2, peers: 20..28, ..KNOWN };
        assert_eq!(sizes(&[KNOWN, other, FAR]), [40, 40, 5]);
    }
}
