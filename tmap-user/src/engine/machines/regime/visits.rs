//! Visits: connections of one machine to one peer that begin together, as those of a page do.
//!
//! Where offsets are drawn by pair, connections of one peer that share a counter show that the peer meets few
//! machines. Those of one visit share it in any case, so a visit counts once.

use std::collections::BTreeMap;

use tmap_common::Address;

use crate::engine::machines::counters::sharing::{Contact, Sharing};

/// Connections of a pair that begin within this time of each other may be of one visit, in nanoseconds.
const VISIT_NS: u64 = 5_000_000_000;

/// Visits are told where connections that begin together share a counter more often than others do by so many
/// standard errors.
const CLEAR_DEVIATIONS: f64 = 3.0;

/// One connection of a peer: when it begins, in nanoseconds, and its counter.
type Begun = (u64, usize);

/// How many connections of each peer share the counter of each of these `clusters`; where they come in
/// visits, how many visits do, and whether they come so.
pub(super) fn sizes(sharing: &[Sharing], clusters: &[usize]) -> (Vec<Vec<usize>>, bool) {
    let mut of_peer: BTreeMap<Address, Vec<Begun>> = BTreeMap::new();
    for &cluster in clusters {
        for &Contact { peer, begin_ns } in &sharing[cluster].contacts {
            of_peer.entry(peer).or_default().push((begin_ns, cluster));
        }
    }
    of_peer.values_mut().for_each(|begun| begun.sort_unstable());
    let of_visits = come_in_visits(of_peer.values());
    (of_peer.values().map(|begun| sizes_of(begun, of_visits)).collect(), of_visits)
}

/// Whether connections that begin soon after another one of their peer share its counter clearly more often
/// than those that begin later.
fn come_in_visits<'a>(peers: impl Iterator<Item = &'a Vec<Begun>>) -> bool {
    let (mut soon, mut later) = ([0.0; 2], [0.0; 2]);
    for [before, after] in peers.flat_map(|begun| begun.array_windows()) {
        let kind = if after.0 - before.0 < VISIT_NS { &mut soon } else { &mut later };
        kind[0] += 1.0;
        kind[1] += f64::from(u8::from(before.1 == after.1));
    }
    // One more of either kind keeps shares away from 0 and 1.
    let share = |[all, shared]: [f64; 2]| (shared + 0.5) / (all + 1.0);
    let variance = |of: [f64; 2]| share(of) * (1.0 - share(of)) / (of[0] + 1.0);
    share(soon) - share(later) > CLEAR_DEVIATIONS * (variance(soon) + variance(later)).sqrt()
}

/// How many connections, or visits, of one peer share each of its counters.
fn sizes_of(begun: &[Begun], of_visits: bool) -> Vec<usize> {
    let mut latest: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
    for &(begin_ns, counter) in begun {
        let (last_ns, size) = latest.entry(counter).or_insert((begin_ns, 0));
        if *size == 0 || !of_visits || begin_ns - *last_ns >= VISIT_NS {
            *size += 1;
        }
        *last_ns = begin_ns;
    }
    latest.into_values().map(|(_, size)| size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn pages_are_visits_and_count_once() {
        // Each page opens three connections within a second; every other one is another machine's.
        let begun: Vec<Begun> =
            (0..60).map(|n| (n / 3 * 60 * S + n % 3 * S / 2, (n / 3 % 2) as usize)).collect();
        assert!(come_in_visits([&begun].into_iter()));
        assert_eq!(sizes_of(&begun, true), [10, 10]);
        assert_eq!(sizes_of(&begun, false), [30, 30]);
    }

    #[test]
    fn a_busy_service_has_no_visits() {
        // Two machines in turn, or by a pattern that has nothing to do with the times.
        let in_turn: Vec<Begun> = (0..60).map(|n| (n * S / 2, (n % 2) as usize)).collect();
        assert!(!come_in_visits([&in_turn].into_iter()));
        let mixed: Vec<Begun> =
            (0..60).map(|n| (4 * n * S + n % 2 * 2 * S, (n * n % 7 % 2) as usize)).collect();
        assert!(!come_in_visits([&mixed].into_iter()));
    }
}
