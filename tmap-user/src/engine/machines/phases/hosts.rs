//! Hosts with several addresses each behind one address: containers or pods of one kernel behind a NAT.
//!
//! Where offsets are drawn by pair of addresses, each of a host's addresses makes a counter before each peer.
//! So a peer sees more counters than there are hosts, and their phases coincide.

use std::{cmp::Reverse, collections::BTreeMap};

use tmap_common::Address;

use crate::engine::machines::regime::occupancy::Occupancy;

/// Of a thousand addresses whose offsets are drawn by pair, one hides hosts with several addresses each, in
/// nats: each such address makes a counter.
const SEVERAL_ADDRESSES_NATS: f64 = 6.9;

/// A number of machines is left open where it is less likely than the likeliest by no more than this, in
/// nats.
const OPEN_NATS: f64 = 3.0;

/// So many counters show whether a few hosts have several addresses each: a bound of cost.
const MOST_COUNTERS: usize = 80;

/// Counters, by the peer that sees each: those of the peers that see most, up to [`MOST_COUNTERS`].
pub(super) fn of_fullest_pairs(peers: &[Address]) -> Vec<usize> {
    let mut of_peer: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (counter, peer) in peers.iter().enumerate() {
        of_peer.entry(*peer).or_default().push(counter);
    }
    let mut pairs: Vec<Vec<usize>> = of_peer.into_values().collect();
    pairs.sort_by_key(|counters| Reverse(counters.len()));
    pairs.into_iter().flatten().take(MOST_COUNTERS).collect()
}

/// Whether hosts have several addresses each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hosts {
    /// They don't.
    HaveOne,
    /// They may; then they may be as few as this.
    MayHaveSeveral { fewest: u32 },
    /// They do.
    HaveSeveral,
}

impl Hosts {
    /// From what pairs show of the number of machines, and the log-likelihood of each number from 1 on by
    /// phases alone.
    pub(super) fn of(of_phases: &[f64], occupancy: &Occupancy) -> Self {
        let (fewer, others) = of_phases.split_at((occupancy.fewest - 1).min(of_phases.len()));
        let largest = |logs: &mut dyn Iterator<Item = f64>| logs.fold(f64::NEG_INFINITY, f64::max);
        let of_one = largest(&mut others.iter().zip(&occupancy.nats).map(|(phases, pairs)| phases + pairs));
        let of_several = largest(&mut fewer.iter().copied()) - SEVERAL_ADDRESSES_NATS;
        if of_several > of_one + OPEN_NATS {
            return Self::HaveSeveral;
        }
        let least = of_one.max(of_several) - OPEN_NATS + SEVERAL_ADDRESSES_NATS;
        match fewer.iter().position(|nats| *nats > least) {
            Some(index) => Self::MayHaveSeveral { fewest: index as u32 + 1 },
            None => Self::HaveOne,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten counters before each of six peers, of which phases say so much of each number of machines.
    fn hosts(of_phases: &[f64]) -> Hosts {
        Hosts::of(of_phases, &Occupancy::of(&vec![vec![4; 10]; 6]))
    }

    #[test]
    fn two_phases_of_ten_counters_are_two_hosts() {
        let mut of_phases = vec![-40.0, 0.0];
        of_phases.extend((3..16).map(|machines| -4.0 * f64::from(machines - 2)));
        assert_eq!(hosts(&of_phases), Hosts::HaveSeveral);
    }

    #[test]
    fn phases_that_coincide_by_chance_leave_it_open_or_say_nothing() {
        let with = |chance: f64| {
            let mut of_phases = vec![-40.0, -30.0, -20.0, -10.0, 0.0];
            of_phases.extend([chance; 10]);
            hosts(&of_phases)
        };
        assert_eq!(with(-1.0), Hosts::HaveOne);
        assert_eq!(with(-7.0), Hosts::MayHaveSeveral { fewest: 5 });
    }

    #[test]
    fn the_fullest_pairs_come_first_and_are_bounded() {
        let peer = |host: u8| Address::from_ip4([203, 0, 113, host]);
        let peers = [peer(1), peer(2), peer(2), peer(3), peer(2)];
        assert_eq!(of_fullest_pairs(&peers), [1, 2, 4, 0, 3]);
        assert_eq!(of_fullest_pairs(&[peer(1); 500]).len(), MOST_COUNTERS);
    }

    #[test]
    fn without_lines_each_host_has_one_address() {
        assert_eq!(hosts(&[]), Hosts::HaveOne);
    }
}
