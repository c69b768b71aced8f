//! How connections are shared out among counters: the likelihood of what is seen, where each connection
//! takes the counter of a machine that was seen before, or that of a new one.
//!
//! An urn holds connections among which counters may repeat: those of an address where offsets are fixed,
//! those of each pair of addresses where they are drawn by pair. What a connection takes follows the law of
//! Ewens (1972): a counter that `n` of the urn's `s` connections have is taken with probability
//! `n / (s + theta)`, and a new one with `theta / (s + theta)`. It fits even loads and uneven ones.

use libm::lgamma;

use super::{occupancy::Occupancy, two_ways::TwoWays};

/// The values of theta that are tried: from one machine to thousands.
const THETAS: [f64; 17] =
    [1e-3, 0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// The shares of connections whose counters repeat that are tried beside all of them.
const SHARES: [f64; 10] = [0.002, 0.01, 0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.95];

/// What an urn holds.
struct Urn {
    /// Connections whose counter others share.
    shared: f64,
    /// The number of those counters.
    counters: f64,
    /// The sum of the logarithms of `(size - 1)!` over those counters.
    orders: f64,
    /// Connections that are alone with their counter.
    alone: usize,
}

impl Urn {
    fn of(sizes: &[usize]) -> Self {
        let shared = || sizes.iter().filter(|size| **size > 1);
        Self {
            shared: shared().sum::<usize>() as f64,
            counters: shared().count() as f64,
            orders: shared().map(|&size| lgamma(size as f64)).sum(),
            alone: sizes.len() - shared().count(),
        }
    }

    /// The log-likelihood of its counters where all may repeat.
    fn repeating(&self, theta: f64) -> f64 {
        self.law(theta)(self.alone as f64)
    }

    /// The log-likelihood of its counters, where so many of those seen once may repeat.
    fn law(&self, theta: f64) -> impl Fn(f64) -> f64 {
        let Self { shared, counters, orders, .. } = *self;
        let (of_counter, of_none) = (theta.ln(), lgamma(theta));
        move |alone| (counters + alone) * of_counter + orders + of_none - lgamma(theta + shared + alone)
    }

    /// The log-likelihood where each connection draws a counter of its own with probability `1 - share`: the
    /// sum over how many of those that are alone did.
    fn mixed(&self, share: f64, theta: f64) -> f64 {
        let law = self.law(theta);
        let (of_random, of_repeating) = ((1.0 - share).ln(), share.ln());
        let (mut ways, mut sum, mut top) = (0.0, 0.0, f64::NEG_INFINITY);
        for random in 0..=self.alone {
            let repeating = (self.alone - random) as f64;
            let drawn = random as f64 * of_random + (self.shared + repeating) * of_repeating;
            let log = ways + drawn + law(repeating);
            if log > top {
                sum *= (top - log).exp();
                top = log;
            }
            sum += (log - top).exp();
            ways += (repeating / (random + 1) as f64).ln();
        }
        top + sum.ln()
    }
}

/// The log of the likelihood ratio that some connections which share no counter draw theirs at random, each
/// its own, against all being connections of machines whose counters repeat, in nats: at the best share and
/// theta of either. Where the urns are those of pairs, `two_ways` is what they show of few machines.
///
/// O(n) for n connections, times the number of shares and thetas.
pub(super) fn random_nats(urns: &[Vec<usize>], two_ways: Option<&TwoWays>) -> f64 {
    // The law of Ewens knows any number of machines, that of Pólya few with like loads.
    let few_beside = two_ways.map_or(f64::NEG_INFINITY, TwoWays::most);
    let of_few = Occupancy::of(urns).most;
    let urns: Vec<Urn> = urns.iter().map(|sizes| Urn::of(sizes)).collect();
    let best = |of: &dyn Fn(&Urn, f64) -> f64| {
        let at = |theta: f64| urns.iter().map(|urn| of(urn, theta)).sum::<f64>();
        THETAS.into_iter().map(at).fold(f64::NEG_INFINITY, f64::max)
    };
    let repeating = best(&Urn::repeating);
    let mixed = SHARES.map(|share| best(&|urn, theta| urn.mixed(share, theta)));
    mixed.into_iter().fold(few_beside, f64::max) - repeating.max(of_few)
}

/// Counters that only one peer sees: how many connections of it each has, and the chance that another
/// connection of the same machine has the same peer if its offset is fixed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfOnePeer {
    /// The connections.
    pub connections: usize,
    /// The chance.
    pub same_peer: f64,
}

/// The log of the likelihood ratio that some counters are those of pairs of addresses, against all offsets
/// being fixed, in nats. `across` counters are seen by several peers, and so are fixed in any case.
pub(super) fn by_pair_nats(of_one: &[OfOnePeer], across: usize) -> f64 {
    let at = |share: f64| {
        let of_pair = |counter: &OfOnePeer| {
            let surprise = -(counter.connections as f64 - 1.0) * counter.same_peer.ln();
            (1.0 - share + share * surprise.min(600.0).exp()).ln()
        };
        of_one.iter().map(of_pair).sum::<f64>() + across as f64 * (1.0 - share).ln()
    };
    (1..20).map(|step| at(f64::from(step) / 20.0)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_heavy_counter_among_single_ones_shows_random_offsets() {
        let mut urn = vec![1; 55];
        urn.push(45);
        assert!(random_nats(&[urn], None) > 20.0);
    }

    #[test]
    fn many_machines_behind_a_balancer_are_no_random_offsets() {
        // 54 connections to 90 machines of equal load: most machines were met once, some twice.
        let mut urn = vec![1; 30];
        urn.extend([2; 9]);
        urn.extend([3; 2]);
        assert!(random_nats(&vec![urn; 20], None) < 1.0);
    }

    #[test]
    fn one_chance_meeting_among_many_makes_no_machines() {
        let mut urn = vec![1; 598];
        urn.push(2);
        assert!(random_nats(&[urn], None) > 3.0);
    }

    #[test]
    fn random_offsets_show_beside_counters_that_were_seen_once() {
        // A machine with offsets by pair that meets some peers once, and one with random offsets.
        let mut urns = vec![vec![4, 1, 1, 1, 1]; 5];
        urns.extend(vec![vec![1, 1]; 8]);
        assert!(random_nats(&urns, None) > 3.0);
    }

    #[test]
    fn one_connection_to_each_peer_shows_nothing() {
        let mut urns = vec![vec![1]; 97];
        urns.extend(vec![vec![2]; 3]);
        assert!(random_nats(&urns, None) < 0.0);
    }

    #[test]
    fn counters_that_keep_to_their_peers_are_those_of_pairs() {
        let kept = OfOnePeer { connections: 4, same_peer: 0.1 };
        assert!(by_pair_nats(&[kept; 8], 0) > 40.0);
        assert!(by_pair_nats(&[kept; 8], 1) > 40.0, "beside a machine whose offset is fixed");
        let only_peer = OfOnePeer { connections: 40, same_peer: 1.0 };
        assert_eq!(by_pair_nats(&[only_peer; 8], 0), 0.0);
    }

    #[test]
    fn fixed_offsets_that_meet_a_peer_twice_are_not() {
        // A thousand machines with two connections each, to three peers.
        let twice = OfOnePeer { connections: 2, same_peer: 1.0 / 3.0 };
        assert!(by_pair_nats(&[twice; 333], 667) < 3.0);
    }
}
