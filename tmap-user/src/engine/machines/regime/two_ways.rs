//! How many machines draw their offsets by pair of addresses, where others behind the same address may draw
//! one for each connection.
//!
//! A counter that two connections of a pair share is one of a machine with offsets by pair. A counter that
//! only one connection has may be such a machine's, which met this peer once, or a connection's own. With
//! many peers, which of them it is shows in no single pair; all of them together tell how many there are of
//! each. The machines' connections are shared out by the law of Pólya, as in [`super::occupancy`].

use std::collections::BTreeMap;

use libm::lgamma;

use crate::engine::types::log_mean_exp;

/// How evenly machines share their connections: the shape of a gamma law of loads. Behind a balancer all are
/// alike; of people, some do ten times what others do.
pub(super) const SHAPES: [f64; 5] = [0.7, 2.0, 7.0, 30.0, 1000.0];

/// The shares of connections that machines with offsets by pair have, as tried.
const SHARES: [f64; 8] = [0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.95];

/// The numbers of machines with offsets by pair that are tried: all up to so many beyond the fewest, and then
/// each larger than the one before by this factor, up to this multiple of the fewest.
const MOST_BEYOND: usize = 4;
const FACTOR: f64 = 1.5;
const MOST_PER_COUNTER: usize = 4;

/// What pairs show where some machines may draw an offset for each connection.
#[derive(Clone, Debug)]
pub(super) struct TwoWays {
    /// The log-likelihood of each number of machines with offsets by pair, in ascending order of these, in
    /// nats, where at least one machine draws an offset for each connection.
    pub by_pair: Vec<(usize, f64)>,
    /// How many connections that are alone with their counter are of each machine with offsets by pair, as
    /// expected at the likeliest number of these.
    pub alone_of_each: f64,
}

/// Pairs of which the same number of counters was seen several times and once, with the same connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Counters that connections share.
    counters: usize,
    /// Their connections.
    shared: usize,
    /// Connections that are alone with their counter.
    alone: usize,
}

impl TwoWays {
    /// What pairs show: for each, the number of connections of each of its counters.
    ///
    /// O(n + k m) for n counters, k kinds of pairs and up to m machines.
    pub(super) fn of(pairs: &[Vec<usize>]) -> Self {
        let mut kinds: BTreeMap<Kind, f64> = BTreeMap::new();
        for sizes in pairs {
            let shared = || sizes.iter().filter(|size| **size > 1);
            let counters = shared().count();
            let kind = Kind { counters, shared: shared().sum(), alone: sizes.len() - counters };
            *kinds.entry(kind).or_default() += 1.0;
        }
        let fewest = kinds.keys().map(|kind| kind.counters).max().unwrap_or(0);
        let of_counters = SHAPES.map(|shape| {
            let shared = pairs.iter().flatten().filter(|size| **size > 1);
            shared.map(|&size| lgamma(shape + size as f64) - lgamma(shape)).sum::<f64>()
        });
        let (mut by_pair, mut alone_of_each, mut top) = (Vec::new(), 0.0, f64::NEG_INFINITY);
        for machines in numbers(fewest.max(1)) {
            let mut logs = Vec::with_capacity(SHAPES.len() * SHARES.len());
            for (shape, of_counters) in SHAPES.into_iter().zip(of_counters) {
                for share in SHARES {
                    let (log, alone) = likelihood(&kinds, machines, shape, share);
                    logs.push(log + of_counters);
                    if log + of_counters > top {
                        (top, alone_of_each) = (log + of_counters, alone / machines as f64);
                    }
                }
            }
            by_pair.push((machines, log_mean_exp(&logs)));
        }
        Self { by_pair, alone_of_each }
    }

    /// The log-likelihood of the likeliest number, in nats.
    pub(super) fn most(&self) -> f64 {
        self.by_pair.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The numbers of machines with offsets by pair that are tried.
fn numbers(fewest: usize) -> impl Iterator<Item = usize> {
    let next = move |machines: &usize| {
        let grown = (*machines as f64 * FACTOR) as usize;
        let next = if *machines < fewest + MOST_BEYOND { machines + 1 } else { grown };
        (next <= fewest * MOST_PER_COUNTER + MOST_BEYOND).then_some(next)
    };
    std::iter::successors(Some(fewest), next)
}

/// The log-likelihood of all pairs, less what the sizes of shared counters add, in nats; and how many
/// connections that are alone are expected to be of machines with offsets by pair.
fn likelihood(kinds: &BTreeMap<Kind, f64>, machines: usize, shape: f64, share: f64) -> (f64, f64) {
    let loads = machines as f64 * shape;
    let (of_machines, of_loads) = (lgamma(machines as f64 + 1.0), lgamma(loads));
    let (by_pair, own) = (share.ln(), (1.0 - share).ln());
    let (mut log, mut alone_by_pair) = (0.0, 0.0);
    for (kind, pairs) in kinds {
        let Kind { counters, shared, alone } = *kind;
        // Where none of those that are alone is of a machine with offsets by pair.
        let none = of_machines - lgamma((machines - counters) as f64 + 1.0) + of_loads
            - lgamma(loads + shared as f64)
            + shared as f64 * by_pair
            + alone as f64 * own;
        // Each one more changes the likelihood by a factor. All are told against the largest, since pairs of
        // hundreds of connections have ways beyond what `exp` can hold.
        let (mut term, mut top, mut sum, mut weighted) = (0.0_f64, 0.0_f64, 1.0, 0.0);
        for number in 0..alone.min(machines - counters) {
            let ways = (alone - number) as f64 / (number + 1) as f64;
            let unmet = (machines - counters - number) as f64;
            let chance = shape * unmet / (loads + (shared + number) as f64);
            term += ways.ln() + by_pair - own + chance.ln();
            if term > top {
                let scale = (top - term).exp();
                (sum, weighted, top) = (sum * scale, weighted * scale, term);
            }
            let against_top = (term - top).exp();
            sum += against_top;
            weighted += (number + 1) as f64 * against_top;
        }
        log += pairs * (none + top + sum.ln());
        alone_by_pair += pairs * weighted / sum;
    }
    (log, alone_by_pair)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// What `peers` see of some machines with offsets by pair and of one with random offsets.
    pub(in super::super) fn seen(
        by_pair: usize,
        random: usize,
        peers: usize,
        each: usize,
        seed: u64,
    ) -> Vec<Vec<usize>> {
        let mut dice = Pcg64::seed_from_u64(seed);
        let mut pairs = vec![vec![0; by_pair]; peers];
        for connection in 0..by_pair * each {
            pairs[dice.random_range(0..peers)][connection % by_pair] += 1;
        }
        (0..random * each).for_each(|_| pairs[dice.random_range(0..peers)].push(1));
        pairs.iter_mut().for_each(|sizes| sizes.retain(|size| *size > 0));
        pairs.retain(|sizes| !sizes.is_empty());
        pairs
    }

    #[test]
    fn those_that_are_alone_are_shared_out() {
        let expected = |by_pair, random| {
            let of = |seed| TwoWays::of(&seen(by_pair, random, 20, 40, seed)).alone_of_each;
            (0..20).map(of).sum::<f64>() / 20.0
        };
        // A machine that meets each of twenty peers twice on average meets five of them once.
        let alone = 40.0 * (19.0_f64 / 20.0).powi(39);
        assert!((expected(1, 1) - alone).abs() < 1.5, "{} of {alone}", expected(1, 1));
    }

    #[test]
    fn pairs_of_any_size_have_a_likelihood() {
        for (counters, alone) in [(100, 300), (100, 500), (1, 4000), (2000, 100)] {
            let mut pair = vec![2; counters];
            pair.extend(std::iter::repeat_n(1, alone));
            let two_ways = TwoWays::of(&[pair]);
            assert!(two_ways.by_pair.iter().all(|(_, log)| log.is_finite()), "{counters} and {alone}");
            assert!(two_ways.alone_of_each.is_finite(), "{counters} and {alone}");
        }
    }

    #[test]
    fn one_by_one_is_the_same_as_all_ways() {
        // One shared counter of three, two alone; two machines: at most one of the two is the second one's.
        let kinds = BTreeMap::from([(Kind { counters: 1, shared: 3, alone: 2 }, 1.0)]);
        let (log, alone) = likelihood(&kinds, 2, 1.0, 0.5);
        let none = 2.0 * (1.0 / (2.0 * 3.0 * 4.0)) * 0.5_f64.powi(5);
        let one = 2.0 * none * (1.0 / 5.0);
        assert!((log - (none + one).ln()).abs() < 1e-12 && (alone - one / (none + one)).abs() < 1e-12);
    }
}
