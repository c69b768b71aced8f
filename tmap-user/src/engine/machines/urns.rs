//! How connections are shared out among counters: the likelihood of what is seen, where each connection
//! takes the counter of a machine that was seen before, or that of a new one.
//!
//! An urn holds connections among which counters may repeat: those of an address where offsets are fixed,
//! those of each pair of addresses where they are drawn by pair. What a connection takes follows the law of
//! Ewens (1972): a counter that `n` of the urn's `s` connections have is taken with probability
//! `n / (s + theta)`, and a new one with `theta / (s + theta)`. It fits even loads and uneven ones.

use libm::lgamma;

/// The values of theta that are tried: from one machine to thousands.
const THETAS: [f64; 17] =
    [1e-3, 0.03, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// The log-likelihood of urns whose counters have these numbers of connections, at the best theta.
fn log_likelihood<'a>(urns: impl Iterator<Item = &'a [usize]> + Clone) -> f64 {
    let at = |theta: f64| urns.clone().map(|sizes| of_urn(sizes, theta)).sum::<f64>();
    THETAS.into_iter().map(at).fold(f64::NEG_INFINITY, f64::max)
}

fn of_urn(sizes: &[usize], theta: f64) -> f64 {
    let all: usize = sizes.iter().sum();
    let of_counters: f64 = sizes.iter().map(|&size| theta.ln() + lgamma(size as f64)).sum();
    of_counters + lgamma(theta) - lgamma(theta + all as f64)
}

/// The log of the likelihood ratio that connections which share no counter draw theirs at random, each its
/// own, against their being connections of machines whose counters repeat, in nats.
pub(super) fn random_nats(urns: &[Vec<usize>]) -> f64 {
    let shared: Vec<Vec<usize>> =
        urns.iter().map(|sizes| sizes.iter().copied().filter(|size| *size > 1).collect()).collect();
    let repeating: usize = shared.iter().flatten().sum();
    let alone = urns.iter().flatten().sum::<usize>() - repeating;
    if alone == 0 {
        return f64::NEG_INFINITY;
    }
    let share = |part: usize| {
        if part > 0 { part as f64 * (part as f64 / (alone + repeating) as f64).ln() } else { 0.0 }
    };
    let mixed = share(alone) + share(repeating) + log_likelihood(shared.iter().map(Vec::as_slice));
    mixed - log_likelihood(urns.iter().map(Vec::as_slice))
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
        assert!(random_nats(&[urn]) > 20.0);
    }

    #[test]
    fn many_machines_behind_a_balancer_are_no_random_offsets() {
        // 54 connections to 90 machines of equal load: most machines were met once, some twice.
        let mut urn = vec![1; 30];
        urn.extend([2; 9]);
        urn.extend([3; 2]);
        assert!(random_nats(&vec![urn; 20]) < 0.0);
    }

    #[test]
    fn one_connection_to_each_peer_shows_nothing() {
        let mut urns = vec![vec![1]; 97];
        urns.extend(vec![vec![2]; 3]);
        assert!(random_nats(&urns) < 0.0);
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
