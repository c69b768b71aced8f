//! Tick rates of connections that last some milliseconds: by how little their delays vary.
//!
//! A delay may hide what a clock shows in so short a time: a segment that waits for 3 ms makes three ticks
//! of 1 kHz of none. But where delays vary so much, they do so in other connections, too. So the law of
//! delay is learned from all of them together: where each goes on by the ticks that pass at some rate, and
//! by no others, delays are steady, and these ticks tell the rate.
//!
//! A connection counts with the time until it was closed, not until its newest TSval came: otherwise slow
//! clocks, of which few connections show a tick, would seem to be fast ones.

use libm::erf;

use crate::engine::{
    clock::rate::{NOMINAL, RATES},
    flows::connection::Connection,
    types::seconds_between,
};

/// One value for each nominal rate.
pub(super) type Rates = [f64; RATES];

/// What a connection shows that was closed soon.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Brief {
    /// From its first segment to its last, in seconds.
    elapsed_s: f64,
    /// The ticks that its clock went on by.
    ticks: f64,
}

/// Connections that last longer than this tell their rates anyway, in seconds.
const LONGEST_S: f64 = 0.1;

/// How much delays may vary between two segments, in seconds: standard deviations. The last one is what is
/// assumed of delays of which nothing is known ([`crate::engine::clock::rate`]).
const SPREADS_S: [f64; 5] = [30e-6, 100e-6, 300e-6, 1e-3, 4e-3];
const UNKNOWN: usize = SPREADS_S.len() - 1;

/// The shares of connections of which one end is delayed by a multiple of that, and by much more, and how
/// much these are.
const WIDER_SHARE: f64 = 0.1;
const WIDER: f64 = 5.0;
const LATE_SHARE: f64 = 0.05;
const LATE_S: f64 = 0.02;

/// Rates that are rarer than this are told only where all connections together show them.
const RARE: f64 = 0.004;

/// Delays are steady where that explains the ticks of all connections better by this, in nats.
const CLEARLY_STEADY_NATS: f64 = 8.0;

/// One rate is to be likelier than any other by this, in nats.
const CLEAR_NATS: f64 = 4.0;

/// Rates of which the ticks are nearer to each other than this, on average, are not told apart: what a timer
/// sends leaves just after a tick, so a clock seems to be faster than it is.
const LEAST_APART: f64 = 0.25;

/// Where the commonest rate is less likely than another one by this factor, the ticks may be another
/// clock's, or delayed: then nothing new is said of the connection.
const LEAST_SHARE: f64 = 0.5;

/// The most connections that the spread of delays is learned from: a bound of cost.
const LEARNED_FROM: usize = 60;

/// Rounds in which the shares of rates are learned.
const ROUNDS: usize = 12;

impl Brief {
    /// What `connection` shows; `None` where it isn't closed, lasted for long, or has no single clock.
    pub(in crate::engine::machines) fn of(connection: &Connection) -> Option<Self> {
        let flow = &connection.flow;
        let ([first, ..], Some(_)) = (flow.envelope.points(), flow.closed_ns) else { return None };
        let elapsed_s = seconds_between(first.time_ns, flow.last_ns);
        let is_usable = flow.jumps == 0 && flow.zero_tsvals == 0 && elapsed_s > 0.0 && elapsed_s < LONGEST_S;
        let last = flow.envelope.points().last()?;
        is_usable.then(|| Self { elapsed_s, ticks: (last.ticks - first.ticks) as f64 })
    }

    /// How likely its ticks are at each rate, where delays spread like each of these, in seconds.
    fn likelihoods<const N: usize>(self, spreads_s: [f64; N]) -> [Rates; N] {
        let within =
            |spread_s: f64| NOMINAL.map(|(hz, _)| chance(self.ticks - hz * self.elapsed_s, hz * spread_s));
        let late = within(LATE_S);
        spreads_s.map(|spread_s| {
            let (usual, wider) = (within(spread_s), within(WIDER * spread_s));
            std::array::from_fn(|rate| {
                (1.0 - WIDER_SHARE - LATE_SHARE) * usual[rate]
                    + WIDER_SHARE * wider[rate]
                    + LATE_SHARE * late[rate]
            })
        })
    }
}

/// The chance that a counter is read this many ticks off what has passed, where each end is read anywhere in
/// its tick, and delays spread by `sigma` ticks: a triangle of width 1 on either side, blurred.
fn chance(off: f64, sigma: f64) -> f64 {
    if off.abs() > 1.0 + FARTHEST * sigma {
        return 0.0;
    }
    let blurred = |corner: f64| {
        let x = corner / sigma;
        let below = 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2));
        sigma * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt() + corner * below
    };
    (blurred(off + 1.0) - 2.0 * blurred(off) + blurred(off - 1.0)).max(0.0)
}

/// Beyond so many standard deviations there is nothing.
const FARTHEST: f64 = 8.0;

/// How likely each rate is by the ticks of each connection, against the likeliest one; `None` for a
/// connection that another rate than the commonest explains better. `None` for all where delays aren't
/// steady, or where there are too few connections to tell. `prior` says how common rates are.
///
/// O(n) for n connections, times the number of rates.
pub(super) fn weights(all: &[Brief], prior: &Rates) -> Option<Vec<Option<Rates>>> {
    let stride = all.len().div_ceil(LEARNED_FROM).max(1);
    let some: Vec<[Rates; SPREADS_S.len()]> =
        all.iter().step_by(stride).map(|one| one.likelihoods(SPREADS_S)).collect();
    let nats: [f64; SPREADS_S.len()] =
        std::array::from_fn(|spread| log_likelihood(some.iter().map(|one| &one[spread]), prior));
    let best = (0..SPREADS_S.len()).max_by(|&a, &b| nats[a].total_cmp(&nats[b]))?;
    if nats[best] < nats[UNKNOWN] + CLEARLY_STEADY_NATS {
        return None;
    }
    let relative = |one: &Brief| {
        let [likelihoods] = one.likelihoods([SPREADS_S[best]]);
        let most = likelihoods.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        likelihoods.map(|likelihood| likelihood / most)
    };
    let weights: Vec<Rates> = all.iter().map(relative).collect();
    let mean_s = all.iter().map(|one| one.elapsed_s).sum::<f64>() / all.len() as f64;
    let commonest = clearly_commonest(&weights, prior, mean_s)?;
    let common = |of: Rates| {
        let told =
            std::array::from_fn(|rate| if prior[rate] < RARE && rate != commonest { 0.0 } else { of[rate] });
        (of[commonest] > LEAST_SHARE).then_some(told)
    };
    Some(weights.into_iter().map(common).collect())
}

/// The rate that is clearly the likeliest of all connections together, which last for `mean_s` on average. Of
/// rates that are too near each other, one that is common is taken before rare ones.
fn clearly_commonest(weights: &[Rates], prior: &Rates, mean_s: f64) -> Option<usize> {
    let log = |weight: f64| weight.max(f64::MIN_POSITIVE).ln();
    let nats: Rates =
        std::array::from_fn(|rate| log(prior[rate]) + weights.iter().map(|of| log(of[rate])).sum::<f64>());
    let is_common = |rate: &usize| prior[*rate] >= RARE;
    let best = (0..RATES).filter(is_common).max_by(|&a, &b| nats[a].total_cmp(&nats[b]))?;
    let is_near = |rate: usize| (NOMINAL[rate].0 - NOMINAL[best].0).abs() * mean_s < LEAST_APART;
    let is_beaten = |rate: usize| match (is_near(rate), is_common(&rate)) {
        (true, is_common) => !is_common,
        (false, _) => nats[rate] + CLEAR_NATS < nats[best],
    };
    (0..RATES).all(|rate| rate == best || is_beaten(rate)).then_some(best)
}

/// The log-likelihood of connections under the likeliest shares of rates, in nats.
fn log_likelihood<'a>(likelihoods: impl Iterator<Item = &'a Rates> + Clone, prior: &Rates) -> f64 {
    let mut shares = *prior;
    let mut nats = 0.0;
    for _ in 0..ROUNDS {
        let mut counts = *prior;
        nats = 0.0;
        for one in likelihoods.clone() {
            let joint: Rates = std::array::from_fn(|rate| shares[rate] * one[rate]);
            let sum = joint.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            nats += sum.ln();
            counts.iter_mut().zip(joint).for_each(|(count, joint)| *count += joint / sum);
        }
        let total: f64 = counts.iter().sum();
        shares = counts.map(|count| count / total);
    }
    nats
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// Connections of `length_s` on average, of a clock of `hz`, whose delays vary by `spread_s`.
    fn seen(hz: f64, length_s: f64, spread_s: f64, count: usize, seed: u64) -> Vec<Brief> {
        let mut random = Pcg64::seed_from_u64(seed);
        let one = |_| {
            let length_s = length_s * random.random_range(0.5..1.5);
            let from = random.random::<f64>();
            let ticks = (from + hz * length_s).floor();
            let mut late_s = || -spread_s * (1.0 - random.random::<f64>()).ln();
            Brief { elapsed_s: (length_s + late_s() - late_s()).max(1e-5), ticks }
        };
        (0..count).map(one).collect()
    }

    /// The rate that most connections have by these weights and what is common, where they have one.
    fn told(all: &[Brief]) -> Option<f64> {
        let prior = NOMINAL.map(|(_, common)| common);
        let weights: Vec<Rates> = weights(all, &prior)?.into_iter().flatten().collect();
        let log = |rate: usize| weights.iter().map(|of| of[rate].max(1e-9).ln()).sum::<f64>();
        let best =
            (0..RATES).max_by(|&a, &b| (log(a) + NOMINAL[a].1.ln()).total_cmp(&(log(b) + NOMINAL[b].1.ln())));
        best.map(|rate| NOMINAL[rate].0)
    }

    #[test]
    fn steady_delays_tell_the_rate() {
        for seed in 0..20 {
            assert_eq!(told(&seen(1000.0, 0.002, 30e-6, 60, seed)), Some(1000.0), "{seed}");
            // Over the same time, a slower clock shows less.
            for (hz, count) in [(100.0, 60), (250.0, 60), (100.0, 1000), (250.0, 1000)] {
                let told = told(&seen(hz, 0.002, 30e-6, count, seed));
                assert!(told.is_none_or(|told| told == hz), "{count} of {hz} Hz, {seed}: {told:?}");
            }
        }
    }

    #[test]
    fn delays_that_vary_tell_none() {
        for seed in 0..20 {
            let told = told(&seen(1000.0, 0.002, 0.004, 60, seed));
            assert!(told.is_none_or(|hz| hz == 1000.0), "{seed}: {told:?}");
        }
    }

    #[test]
    fn few_connections_tell_nothing() {
        assert_eq!(told(&seen(1000.0, 0.002, 30e-6, 3, 1)), None);
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn ticks_that_are_surely_off_have_no_chance() {
        assert!((chance(0.0, 1e-6) - 1.0).abs() < 1e-4 && (chance(0.5, 1e-6) - 0.5).abs() < 1e-4);
        assert!(chance(1.5, 1e-3) < 1e-12);
        let sum: f64 = (-40..40).map(|ticks| chance(f64::from(ticks) - 0.3, 3.0)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
