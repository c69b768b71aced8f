//! How many machines there are, by the counters that pairs of addresses see.
//!
//! Where offsets are drawn by pair, each pair shows how many of the machines it met: as many as it has
//! counters. Five connections that meet two machines speak for two machines, five that meet five for many.
//! All pairs together tell the number, whatever the phases of clocks do.

use std::collections::BTreeMap;

use libm::lgamma;

use super::two_ways::{SHAPES, TwoWays};
use crate::engine::types::{NINE_IN_TEN, log_mean_exp, log_sum_exp};

/// The most machines considered, for each counter of the pair that sees most of them, and beside.
const MOST_PER_COUNTER: usize = 8;
const MOST_BESIDE: usize = 24;

/// Each tail of the interval.
const TAIL: f64 = 0.05;

/// A number of machines of at least this probability is told, whatever phases show.
const LIKELY: f64 = 0.5;

/// Where pairs show visits, as few machines as can be are told unless more explain them better by this, in
/// nats: some peer that all go to has met each of them, and visits are too few to tell one more from none.
const CLEARLY_MORE_NATS: f64 = 3.0;

/// Then the fewest and so many more hold the truth as likely as not.
const NEAR_FEWEST: usize = 3;

/// The probability of each number of machines.
#[derive(Clone, Debug)]
pub(in crate::engine::machines) struct Occupancy {
    /// The fewest machines: the counters of the pair that sees most.
    pub fewest: usize,
    /// The log-likelihood of each number of machines from `fewest` on, against the likeliest, in nats.
    pub nats: Vec<f64>,
    /// The log-likelihood of the likeliest.
    pub most: f64,
    /// The log of the probability of what pairs show, over all numbers of machines, in nats.
    pub evidence_nats: f64,
    posterior: Vec<f64>,
    /// As few machines as show all counters where each opens as many connections as any other.
    fewest_even: usize,
    /// Whether the fewest are told unless more are clearly likelier.
    prefers_fewest: bool,
}

impl Occupancy {
    /// What pairs show: for each, the number of connections of each of its counters.
    ///
    /// O(n), and for each number of machines considered as much as there are pairs of different size.
    pub(in crate::engine::machines) fn of(pairs: &[Vec<usize>]) -> Self {
        let fewest = pairs.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let highest = fewest * MOST_PER_COUNTER + MOST_BESIDE;
        let laws = SHAPES.map(|shape| Polya::of(pairs, shape));
        let log = |machines| log_mean_exp(&laws.each_ref().map(|law| law.log_likelihood(machines)));
        let logs = (fewest..=highest).map(|machines| log(machines as f64)).collect();
        Self::from_logs(fewest, logs, Even::of(pairs).fewest(fewest, highest))
    }

    /// What pairs show of the number of all machines, where as likely as not some of them draw an offset for
    /// each connection.
    pub(in crate::engine::machines) fn of_two_ways(pairs: &[Vec<usize>]) -> Self {
        let alone = Self::of(pairs);
        let TwoWays { by_pair, .. } = TwoWays::of(pairs);
        let fewest = by_pair.iter().map(|(machines, _)| machines + 1).fold(alone.fewest, usize::min);
        let highest = alone.fewest + alone.nats.len();
        // As many others, or one, two or more of them: one is the likeliest.
        let others: f64 = (1..=MOST_BESIDE).map(|others| 1.0 / others as f64).sum();
        let log = |machines: usize| {
            let by_pair_only = machines.checked_sub(alone.fewest).and_then(|more| alone.nats.get(more));
            let beside = by_pair.iter().filter(|(by_pair, _)| *by_pair < machines).map(|(by_pair, log)| {
                let others = 1.0 / (machines - by_pair) as f64 / others;
                log - alone.most + others.ln()
            });
            let logs: Vec<f64> = by_pair_only.copied().into_iter().chain(beside).collect();
            log_sum_exp(&logs)
        };
        Self::from_logs(fewest, (fewest..highest).map(log).collect(), alone.fewest_even)
    }

    /// From the log-likelihood of each number from `fewest` on, and the fewest machines of even loads.
    fn from_logs(fewest: usize, logs: Vec<f64>, fewest_even: usize) -> Self {
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let nats: Vec<f64> = logs.iter().map(|log| log - top).collect();
        // Scale-free prior: as likely between 1 and 10 as between 10 and 100.
        let weights = nats.iter().enumerate().map(|(more, nats)| nats.exp() / (fewest + more) as f64);
        let total: f64 = weights.clone().sum();
        let prior: f64 = (1..fewest + nats.len()).map(|machines| 1.0 / machines as f64).sum();
        let evidence_nats = top + (total / prior).ln();
        let posterior = weights.map(|weight| weight / total).collect();
        Self { fewest, posterior, nats, most: top, evidence_nats, fewest_even, prefers_fewest: false }
    }

    /// A log prior for as many numbers of lines, from 0, that prefers none.
    pub(in crate::engine::machines) fn says_nothing(&self) -> Vec<f64> {
        vec![0.0; self.fewest + self.nats.len()]
    }

    /// The log-likelihood of a number of machines, against the likeliest, in nats.
    pub(in crate::engine::machines) fn nats_of(&self, machines: usize) -> f64 {
        let more = machines.checked_sub(self.fewest);
        more.and_then(|more| self.nats.get(more)).copied().unwrap_or(f64::NEG_INFINITY)
    }

    /// What pairs show that count visits instead of connections.
    pub(in crate::engine::machines) fn of_visits(mut self) -> Self {
        if self.nats.first().is_some_and(|nats| *nats > -CLEARLY_MORE_NATS) {
            self.nats.iter_mut().skip(1).for_each(|nats| *nats -= CLEARLY_MORE_NATS);
            self.nats[0] = 0.0;
            self.prefers_fewest = true;
        }
        self
    }

    /// The number that is told; `None` where none is likely.
    pub(in crate::engine::machines) fn told(&self) -> Option<usize> {
        let (likeliest, probability) = self.best();
        if self.prefers_fewest {
            let near: f64 = self.posterior.iter().take(NEAR_FEWEST).sum();
            return (near >= LIKELY).then_some(self.fewest);
        }
        (probability >= LIKELY).then_some(likeliest)
    }

    /// The likeliest number and its probability.
    fn best(&self) -> (usize, f64) {
        let best = self.posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or((self.fewest, 0.0), |(more, p)| (self.fewest + more, *p))
    }

    /// The ends of the 90 % interval; the upper one is `None` where it is beyond what was considered.
    pub(in crate::engine::machines) fn interval(&self) -> (usize, Option<usize>) {
        let at = |level: f64| {
            let mut sum = 0.0;
            self.posterior.iter().position(|p| {
                sum += p;
                sum >= level
            })
        };
        let high = at(1.0 - TAIL).filter(|more| 2 * more < self.posterior.len());
        let low = self.fewest + at(TAIL).unwrap_or(0);
        (low.min(self.fewest_even), high.map(|more| self.fewest + more))
    }
}

/// The law of Pólya: how pairs share their connections out, where machines have loads of one shape.
struct Polya {
    shape: f64,
    /// How many pairs have so many counters and so many connections.
    pairs: BTreeMap<(usize, usize), f64>,
    /// What the sizes of all counters add, in nats: the same for any number of machines.
    of_counters: f64,
}

impl Polya {
    fn of(pairs: &[Vec<usize>], shape: f64) -> Self {
        let mut of_size: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        for sizes in pairs {
            *of_size.entry((sizes.len(), sizes.iter().sum())).or_default() += 1.0;
        }
        let of_counter = |&size: &usize| lgamma(shape + size as f64) - lgamma(shape);
        Self { shape, pairs: of_size, of_counters: pairs.iter().flatten().map(of_counter).sum() }
    }

    /// The log-likelihood of all pairs' connections, where there are so many machines.
    fn log_likelihood(&self, machines: f64) -> f64 {
        let loads = machines * self.shape;
        let (orders, of_loads) = (lgamma(machines + 1.0), lgamma(loads));
        let of_pair = |(&(counters, connections), pairs): (&(usize, usize), &f64)| {
            let unmet = machines - counters as f64;
            pairs * (orders - lgamma(unmet + 1.0) + of_loads - lgamma(loads + connections as f64))
        };
        self.pairs.iter().map(of_pair).sum::<f64>() + self.of_counters
    }
}

/// Machines of which each opens as many connections as any other, as agents do that report to a service. They
/// meet more peers than chance shares out: the law of Pólya, by which loads differ at least by chance, takes
/// them for more machines.
struct Even {
    /// Each pair's share of all connections.
    shares: Vec<f64>,
    connections: f64,
    counters: f64,
}

impl Even {
    fn of(pairs: &[Vec<usize>]) -> Self {
        let sizes: Vec<f64> = pairs.iter().map(|sizes| sizes.iter().sum::<usize>() as f64).collect();
        let connections: f64 = sizes.iter().sum::<f64>().max(1.0);
        let counters = pairs.iter().map(Vec::len).sum::<usize>() as f64;
        Self { shares: sizes.iter().map(|size| size / connections).collect(), connections, counters }
    }

    /// The fewest machines from `least` to `most` of which the counters are not too many.
    fn fewest(&self, least: usize, most: usize) -> usize {
        let numbers: Vec<usize> = (least..=most).collect();
        let at = numbers.partition_point(|machines| {
            let (mean, sigma) = self.counters_of(*machines as f64);
            mean + NINE_IN_TEN * sigma < self.counters
        });
        least + at
    }

    /// How many counters so many machines show, with its standard deviation (at most that of urns that are
    /// filled independently).
    fn counters_of(&self, machines: f64) -> (f64, f64) {
        let each = self.connections / machines;
        let mean: f64 = self.shares.iter().map(|share| machines * (1.0 - (1.0 - share).powf(each))).sum();
        let variance = self.shares.iter().map(|share| {
            let load = each * share;
            machines * ((-load).exp() - (1.0 + load) * (-2.0 * load).exp())
        });
        (mean, variance.sum::<f64>().max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::super::two_ways::tests::seen;
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Pairs with these numbers of connections, to machines of equal load.
    fn pairs(machines: usize, connections: &[usize], seed: u64) -> Vec<Vec<usize>> {
        let mut random = Pcg64::seed_from_u64(seed);
        let pair = |count: &usize| {
            let mut sizes = vec![0; machines];
            (0..*count).for_each(|_| sizes[random.random_range(0..machines)] += 1);
            sizes.retain(|size| *size > 0);
            sizes
        };
        connections.iter().map(pair).collect()
    }

    #[test]
    fn of_visits_as_few_machines_as_can_be_are_told() {
        // A peer that meets all three, and others that meet some: four are likelier, but not clearly so.
        let pairs = [vec![2, 1, 1], vec![1, 1], vec![1, 1], vec![1, 1], vec![2]];
        let connections = Occupancy::of(&pairs);
        let visits = Occupancy::of(&pairs).of_visits();
        assert!(connections.best().0 > 3 && connections.nats[0] > -CLEARLY_MORE_NATS, "{connections:?}");
        assert!(visits.nats[1..].iter().all(|nats| *nats <= -CLEARLY_MORE_NATS));
        assert_eq!(visits.interval(), connections.interval());
        assert!(visits.told().is_none_or(|told| told == 3), "{visits:?}");
        // Of many peers that meet two of many, two are clearly too few.
        let many: Vec<Vec<usize>> = vec![vec![1, 1]; 30];
        assert!(Occupancy::of(&many).of_visits().told().is_none_or(|told| told > 2));
    }

    #[test]
    fn repeated_pairs_tell_the_number() {
        for machines in [1, 2, 5] {
            assert_eq!(Occupancy::of(&pairs(machines, &[25; 6], 1)).best().0, machines);
        }
    }

    #[test]
    fn single_connections_tell_nothing() {
        let (low, high) = Occupancy::of(&pairs(4, &[1; 50], 1)).interval();
        assert_eq!((low, high), (1, None));
    }

    #[test]
    fn nine_in_ten_intervals_hold_the_truth() {
        let held = (0..400).filter(|&seed| {
            let machines = 1 + seed as usize % 12;
            let (low, high) = Occupancy::of(&pairs(machines, &[3; 40], seed)).interval();
            low <= machines && high.is_none_or(|high| machines <= high)
        });
        assert!(held.count() >= 340);
    }

    /// Every machine opens as many connections, each to any peer: intervals were too high in half the cases.
    #[test]
    fn intervals_hold_the_truth_where_loads_are_even() {
        for (machines, each, peers) in [(60, 5, 6), (60, 10, 10), (40, 5, 4), (20, 8, 6), (5, 8, 6)] {
            let held = (0..100).filter(|&seed| {
                let mut random = Pcg64::seed_from_u64(seed);
                let mut sizes = vec![vec![0; machines]; peers];
                let opened = (0..machines).flat_map(|machine| std::iter::repeat_n(machine, each));
                opened.for_each(|machine| sizes[random.random_range(0..peers)][machine] += 1);
                sizes.iter_mut().for_each(|of_peer| of_peer.retain(|size| *size > 0));
                let holds = |told: Occupancy| {
                    let (low, high) = told.interval();
                    low <= machines && high.is_none_or(|high| machines <= high)
                };
                holds(Occupancy::of(&sizes)) && holds(Occupancy::of_two_ways(&sizes))
            });
            let held = held.count();
            assert!(held >= 85, "{held} % of {machines} machines with {each} connections to {peers} peers");
        }
    }

    #[test]
    fn both_kinds_are_told_where_both_are_there() {
        for seed in 0..20 {
            let both = seen(2, 1, 20, 60, seed);
            assert!(TwoWays::of(&both).most() > Occupancy::of(&both).most, "{seed}");
            let one = seen(3, 0, 20, 60, seed);
            assert!(TwoWays::of(&one).most() < Occupancy::of(&one).most, "{seed}");
        }
    }

    #[test]
    fn intervals_hold_the_truth_in_two_ways() {
        let held = (0..100).filter(|&seed| {
            let (by_pair, random) = (1 + seed as usize % 3, seed as usize / 3 % 3);
            let (low, high) = Occupancy::of_two_ways(&seen(by_pair, random, 15, 40, seed)).interval();
            low <= by_pair + random && high.is_none_or(|high| by_pair + random <= high)
        });
        assert!(held.count() >= 90);
    }
}
