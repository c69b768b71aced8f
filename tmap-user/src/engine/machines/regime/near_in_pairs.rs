//! Counters of one pair of addresses that are near each other: one counter, earlier and later.
//!
//! Where offsets are drawn by pair, the counter of each machine is anywhere among 2^32 values. So counters
//! that one pair sees within a second of each other are one machine's. Its segments waited in a queue, or
//! came by a longer path for some time.

use std::{cmp::Reverse, collections::BTreeMap};

use tmap_common::Address;

use super::judgement::Judgement;
use crate::engine::{
    flows::connection::Connection,
    machines::counters::cluster::{self, Cluster},
    types::Regime,
};

/// Counters of one pair this near each other are one, in seconds: of two random counters of 1 kHz, one in two
/// million is so near the other. Devices with fixed offsets that were switched on one after another are
/// further apart.
const NEAR_S: f64 = 1.0;

/// Nor are they further apart than this, in ticks, where clocks are faster.
const NEAR_TICKS: f64 = 20_000.0;

/// Joins counters of pairs that are near each other, where the judgement takes them for such: each to the one
/// of its neighbours that most connections share. Whether any were.
///
/// O(n log n) for n counters.
pub(in crate::engine::machines) fn join(
    clusters: &mut Vec<Cluster>,
    judgement: &Judgement,
    connections: &[&Connection],
) -> bool {
    let are_of_pairs = judgement.random.iter().filter(|random| random.regime != Regime::PerConnection);
    let mut of_pair: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for &index in are_of_pairs.flat_map(|random| &random.clusters) {
        if let Some(peer) = clusters[index].only_peer(connections) {
            of_pair.entry(peer).or_default().push(index);
        }
    }
    let mut joins_to = vec![None; clusters.len()];
    for of_one in of_pair.into_values() {
        for neighbours in neighbours(clusters, of_one) {
            let size = |&index: &usize| (Reverse(clusters[index].members.len()), index);
            let largest = neighbours.iter().copied().min_by_key(size);
            for index in neighbours.into_iter().filter(|index| Some(*index) != largest) {
                joins_to[index] = largest;
            }
        }
    }
    let is_any = joins_to.iter().any(Option::is_some);
    if is_any {
        *clusters = cluster::merged(std::mem::take(clusters), &joins_to, NEAR_S);
    }
    is_any
}

/// The counters of one pair, as runs of those that are each near the next.
fn neighbours(clusters: &[Cluster], mut of_one: Vec<usize>) -> Vec<Vec<usize>> {
    let at_ns = of_one.iter().map(|&index| clusters[index].clock.reference_ns).min().unwrap_or(0);
    let value_s = |index: usize| clusters[index].clock.counter_at(at_ns) / clusters[index].clock.hz;
    of_one.sort_by(|&a, &b| value_s(a).total_cmp(&value_s(b)));
    let are_near = |&a: &usize, &b: &usize| {
        // Two connections that each drew an offset may be near each other by chance, among many.
        let is_shared = clusters[a].members.len() > 1 || clusters[b].members.len() > 1;
        is_shared && value_s(b) - value_s(a) < NEAR_S.min(NEAR_TICKS / clusters[a].clock.hz)
    };
    of_one.chunk_by(are_near).map(<[usize]>::to_vec).collect()
}
