//! Counters that look like walks.
//!
//! A counter that goes by one before one service, as a host's or a NAT's, shows even ports and odd ones in
//! turn. Each kind by itself looks like a walk in steps of two, so one counter looks like two hosts. But a
//! counter foretells each port, and two walks only that it is one of two. So for each chain of SYNs, what is
//! likelier is told by all of them together.

use super::{
    opening::Opening,
    walks::{Link, Walks},
};
use crate::engine::union_find::UnionFind;

/// For each SYN, whether counters explain its chain better than these walks do. `is_free` tells which SYNs
/// took part in the walks.
pub(super) fn explain(walks: &Walks, openings: &[Opening], is_free: impl Fn(usize) -> bool) -> Vec<bool> {
    let counters = Walks::counters_beside(walks.rule, openings, is_free);
    let mut chains = UnionFind::new(openings.len());
    let links = walks.links.iter().zip(&counters.links).enumerate();
    for (at, (by_walks, by_counters)) in links {
        for Link { from, .. } in [by_walks, by_counters].into_iter().flatten() {
            chains.join(*from, at);
        }
    }
    // What counters explain better, in nats, by the first SYN of each chain.
    let mut gains_nats = vec![0.0; openings.len()];
    let mut has_counter = vec![false; openings.len()];
    for (at, link) in counters.links.iter().enumerate() {
        let first = chains.first(at);
        gains_nats[first] += counters.nats_of[at] - walks.nats_of[at];
        has_counter[first] |= link.is_some();
    }
    let is_counted = |at| {
        let first = chains.first(at);
        has_counter[first] && gains_nats[first] > 0.0
    };
    (0..openings.len()).map(is_counted).collect()
}
