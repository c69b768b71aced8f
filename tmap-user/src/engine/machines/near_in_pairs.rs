//! Counters of one pair of addresses that are near each other: one counter, earlier and later.
//!
//! Where offsets are drawn by pair, the counter of each machine is anywhere among 2^32 values. So counters
//! that one pair sees within seconds of each other are one machine's. Its segments waited in a queue, came by
//! a longer path for some time, or its clock stood still.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{cluster::Cluster, regime::Judgement};
use crate::engine::{flows::connection::Connection, types::Regime};

/// Counters of one pair this near each other are one, in seconds: of two random counters, one in a million is
/// so near the other. Devices with fixed offsets that were switched on one after another are further apart.
const NEAR_S: f64 = 1.0;

/// Nor are they further apart than this, in ticks, where clocks are faster.
const NEAR_TICKS: f64 = 20_000.0;

/// Joins counters of pairs that are near each other, where the judgement takes them for such. `None` where
/// there are none.
///
/// O(n log n) for n counters.
pub(super) fn join(
    clusters: &[Cluster],
    judgement: &Judgement,
    connections: &[&Connection],
) -> Option<Vec<Cluster>> {
    let are_of_pairs = judgement.random.iter().filter(|random| random.regime != Regime::PerConnection);
    let mut of_pair: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for &index in are_of_pairs.flat_map(|random| &random.clusters) {
        if let [peer] = clusters[index].peers(connections).into_iter().collect::<Vec<_>>()[..] {
            of_pair.entry(peer).or_default().push(index);
        }
    }
    let mut joins_to: Vec<usize> = (0..clusters.len()).collect();
    for mut of_one in of_pair.into_values() {
        let Some(at_ns) = of_one.iter().map(|&index| clusters[index].clock.reference_ns).min() else {
            continue;
        };
        let value_s = |index: usize| clusters[index].clock.counter_at(at_ns) / clusters[index].clock.hz;
        of_one.sort_by(|&a, &b| value_s(a).total_cmp(&value_s(b)));
        for pair in of_one.windows(2) {
            let (a, b) = (&clusters[pair[0]], &clusters[pair[1]]);
            // Two connections that each drew an offset may be near each other by chance, among many.
            let is_shared = a.members.len() > 1 || b.members.len() > 1;
            let near_s = NEAR_S.min(NEAR_TICKS / a.clock.hz);
            if is_shared && value_s(pair[1]) - value_s(pair[0]) < near_s {
                joins_to[pair[1]] = joins_to[pair[0]];
            }
        }
    }
    let is_any = joins_to.iter().enumerate().any(|(index, root)| index != *root);
    is_any.then(|| joined(clusters, &joins_to))
}

/// The clusters, of which those that join one another are one: with the clock of the largest.
fn joined(clusters: &[Cluster], joins_to: &[usize]) -> Vec<Cluster> {
    let mut groups: BTreeMap<usize, Vec<&Cluster>> = BTreeMap::new();
    for (cluster, root) in clusters.iter().zip(joins_to) {
        groups.entry(*root).or_default().push(cluster);
    }
    let one = |mut group: Vec<&Cluster>| {
        group.sort_by_key(|cluster| std::cmp::Reverse(cluster.members.len()));
        let mut one = group[0].clone();
        for other in &group[1..] {
            one.join(other.members.iter().copied(), NEAR_TICKS);
        }
        one
    };
    groups.into_values().map(one).collect()
}
