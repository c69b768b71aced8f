//! How many machines there are, by the counters that pairs of addresses see.
//!
//! Where offsets are drawn by pair, each pair shows how many of the machines it met: as many as it has
//! counters. Five connections that meet two machines speak for two machines, five that meet five for many.
//! All pairs together tell the number, whatever the phases of clocks do.

use libm::lgamma;

/// How evenly machines share their connections: the shape of a gamma law of loads. Behind a balancer all are
/// alike; of people, some do ten times what others do.
const SHAPES: [f64; 3] = [0.7, 2.0, 30.0];

/// The most machines considered, for each counter of the pair that sees most of them, and beside.
const MOST_PER_COUNTER: usize = 8;
const MOST_BESIDE: usize = 24;

/// Each tail of the interval.
const TAIL: f64 = 0.05;

/// The probability of each number of machines.
#[derive(Clone, Debug)]
pub(super) struct Occupancy {
    /// The fewest machines: the counters of the pair that sees most.
    pub fewest: usize,
    /// The log-likelihood of each number of machines from `fewest` on, against the likeliest, in nats.
    pub nats: Vec<f64>,
    /// The log-likelihood of the likeliest.
    pub most: f64,
    posterior: Vec<f64>,
}

impl Occupancy {
    /// What pairs show: for each, the number of connections of each of its counters.
    ///
    /// O(n) for each number of machines considered, which are few.
    pub(super) fn of(pairs: &[Vec<usize>]) -> Self {
        let fewest = pairs.iter().map(Vec::len).max().unwrap_or(1).max(1);
        let highest = fewest * MOST_PER_COUNTER + MOST_BESIDE;
        let log = |machines: usize| {
            let of_shape =
                SHAPES.map(|shape| pairs.iter().map(|sizes| of_pair(sizes, machines as f64, shape)).sum());
            mean_exp(&of_shape)
        };
        let logs: Vec<f64> = (fewest..=highest).map(log).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let nats: Vec<f64> = logs.iter().map(|log| log - top).collect();
        // Scale-free prior: as likely between 1 and 10 as between 10 and 100.
        let weights = nats.iter().enumerate().map(|(more, nats)| nats.exp() / (fewest + more) as f64);
        let total: f64 = weights.clone().sum();
        Self { fewest, posterior: weights.map(|weight| weight / total).collect(), nats, most: top }
    }

    /// The likeliest number and its probability.
    pub(super) fn best(&self) -> (usize, f64) {
        let best = self.posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or((self.fewest, 0.0), |(more, p)| (self.fewest + more, *p))
    }

    /// The ends of the 90 % interval; the upper one is `None` where it is beyond what was considered.
    pub(super) fn interval(&self) -> (usize, Option<usize>) {
        let at = |level: f64| {
            let mut sum = 0.0;
            self.posterior.iter().position(|p| {
                sum += p;
                sum >= level
            })
        };
        let high = at(1.0 - TAIL).filter(|more| 2 * more < self.posterior.len());
        (self.fewest + at(TAIL).unwrap_or(0), high.map(|more| self.fewest + more))
    }
}

/// The log-likelihood of a pair's connections, where `machines` have loads of this shape: the law of Pólya.
fn of_pair(sizes: &[usize], machines: f64, shape: f64) -> f64 {
    let (counters, all) = (sizes.len() as f64, sizes.iter().sum::<usize>() as f64);
    let of_counters: f64 = sizes.iter().map(|&size| lgamma(shape + size as f64) - lgamma(shape)).sum();
    lgamma(machines + 1.0) - lgamma(machines - counters + 1.0) + lgamma(machines * shape)
        - lgamma(machines * shape + all)
        + of_counters
}

/// The logarithm of the mean of exponentials.
fn mean_exp(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + (logs.iter().map(|log| (log - top).exp()).sum::<f64>() / logs.len() as f64).ln()
}

#[cfg(test)]
mod tests {
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
}
