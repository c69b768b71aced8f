//! Peers whose paths are far longer: their connections show the machine's counter later than those of others.
//!
//! A counter just behind another one, each with peers of its own, is no machine's own: other machines talk to
//! the same peers, and their counters are anywhere.

use std::collections::BTreeSet;

use tmap_common::Address;

use super::cluster::Cluster;
use crate::engine::{
    flows::connection::Connection,
    types::{joint, wrap_difference},
};

/// How much later than others a peer's path may be, in seconds: over a satellite, or through a tunnel.
const MOST_LATE_S: f64 = 1.0;

/// How much earlier it may seem, in seconds.
const MOST_EARLY_S: f64 = 0.15;

/// How far rates may differ, in joint standard errors.
const MAX_DEVIATION: f64 = 5.0;

/// How many times as many connections and peers the counter ahead has.
const FEWER: usize = 4;

/// Joins counters of few peers to the one of many others that is just ahead of them.
///
/// O(n m) for n counters that several connections share and m that several peers see; with more of these than
/// [`MOST_KNOWN`], nothing is joined.
pub(super) fn join(clusters: Vec<Cluster>, connections: &[&Connection]) -> Vec<Cluster> {
    let peers: Vec<BTreeSet<Address>> =
        clusters.iter().map(|cluster| peers_of(cluster, connections)).collect();
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
    merged(clusters, &joins_to)
}

/// The most counters of many peers that are compared: machines behind a balancer share their peers anyway.
const MOST_KNOWN: usize = 16;

fn peers_of(cluster: &Cluster, connections: &[&Connection]) -> BTreeSet<Address> {
    cluster.members.iter().map(|&member| connections[member].peer()).collect()
}

/// The clusters, where some join others.
fn merged(mut clusters: Vec<Cluster>, joins_to: &[Option<usize>]) -> Vec<Cluster> {
    for place in 0..clusters.len() {
        if let Some(known) = joins_to[place] {
            let late = std::mem::take(&mut clusters[place].members);
            let width_ticks = 2.0 * MOST_LATE_S * clusters[known].clock.hz;
            let before = clusters[known].members.len();
            clusters[known].joins.push((before, width_ticks));
            clusters[known].members.extend(late);
        }
    }
    clusters.retain(|cluster| !cluster.members.is_empty());
    clusters
}

/// Whether a counter shows what `known` does, later by what a path may add.
fn is_behind(late: &Cluster, known: &Cluster) -> bool {
    let (a, b) = (&late.clock, &known.clock);
    let behind_s = wrap_difference(b.at(a.reference_ns).value - a.offset_ticks.value) / a.hz;
    let apart = (a.rate_hz.value - b.rate_hz.value).abs();
    (-MOST_EARLY_S..MOST_LATE_S).contains(&behind_s)
        && apart <= MAX_DEVIATION * joint(a.rate_hz.sigma, b.rate_hz.sigma)
}
