//! Nominal tick rates of connections that don't show them alone: by what all connections of the address show.
//!
//! The rate of a connection of 200 ms is uncertain by ten per cent. But the connections of an address come
//! from few kinds of machines, so a hundred such rates together tell what each of them leaves open. And
//! where offsets repeat, they repeat at the right rate only: five connections whose counters meet within a
//! tick over ten minutes fix the rate to a millionth. So each connection weighs the nominal rates by
//!
//! ```text
//! what its own points show  x  the counters that it shares at that rate  x  how common the rate is here
//! ```

use multiversion::multiversion;

use super::{
    brief::{self, Brief, Rates},
    shared_counters::{self, SharedCounters},
};
use crate::engine::{
    clock::{
        envelope::Envelope,
        rate::{self, NOMINAL, RATES},
    },
    types::seconds_between,
};

/// A rate of a connection, told by this probability or a higher one.
const LEAST_PROBABILITY: f64 = 0.9;

/// How many connections the knowledge of how common rates are is worth.
const PRIOR_WEIGHT: f64 = 1.0;

/// Rates that a connection's own points make less likely than its best one by this, in nats, are left out:
/// a bound of cost.
const FARTHEST_NATS: f64 = 14.0;

/// Rates rarer than this need better evidence of a single segment, which is possible at all of them: other
/// connections that share its counter.
const RARE: f64 = 0.004;

/// How often the shares of rates are estimated anew: where a rare rate is the truth, its share grows from
/// round to round.
const ROUNDS: usize = 8;

/// A connection whose rate is sought, or known.
pub(in crate::engine::machines) struct Seen<'a> {
    /// First arrivals; at least one.
    pub envelope: &'a Envelope,
    /// The nominal rate in Hz that its own points tell.
    pub known_hz: Option<f64>,
    /// What it shows where it was closed soon.
    pub brief: Option<Brief>,
}

/// A nominal rate in Hz, and its probability.
pub(super) type Told = (f64, f64);

/// The nominal rate of each connection; `None` where nothing tells it. Known ones stay. `by_system` holds the
/// rates that handshakes suggest, with their probabilities.
///
/// O(n log n) for n connections, and as much again for each rate that is possible.
pub(in crate::engine::machines) fn tell(seen: &[Seen<'_>], by_system: &[(f64, f64)]) -> Vec<Option<Told>> {
    let prior = prior(by_system);
    let mut fixed = prior.map(|prior| PRIOR_WEIGHT * prior);
    let known = seen.iter().filter_map(|one| known_rate(one.known_hz?));
    known.for_each(|rate| fixed[rate] += 1.0);
    let mut sought = seek(seen, &prior);
    settle(seen, &fixed, &mut sought);
    if are_open(seen, &sought) {
        let mut again = seek(seen, &prior);
        if weigh_brief(seen, &mut again, &prior) {
            settle(seen, &fixed, &mut again);
            sought = again;
        }
    }
    let mut told: Vec<Option<Told>> = seen.iter().map(|one| one.known_hz.map(|hz| (hz, 1.0))).collect();
    sought.iter().for_each(|one| told[one.at] = one.told());
    told
}

/// The connections whose rate isn't known. At first without shared counters: where many connections meet by
/// chance, some do at rare rates.
fn seek(seen: &[Seen<'_>], prior: &Rates) -> Vec<Sought> {
    let unknown = seen.iter().enumerate().filter(|(_, one)| one.known_hz.is_none());
    unknown.map(|(at, one)| Sought::of(at, one.envelope, prior)).collect()
}

/// Weighs rates by shared counters and by how common they are.
fn settle(seen: &[Seen<'_>], fixed: &Rates, sought: &mut [Sought]) {
    link(seen, sought);
    for _ in 0..ROUNDS {
        estimate(fixed, sought);
    }
}

/// Of connections that were closed soon, so large a part whose rates stay open asks for a closer look: one in
/// so many.
const OPEN_PART: usize = 10;

/// Whether the rates of many connections that were closed soon stay open.
fn are_open(seen: &[Seen<'_>], sought: &[Sought]) -> bool {
    let brief = || sought.iter().filter(|one| seen[one.at].brief.is_some());
    brief().filter(|one| one.told().is_none()).count() * OPEN_PART > brief().count()
}

/// A connection whose rate is sought.
struct Sought {
    /// Its place among all.
    at: usize,
    /// How likely each rate is by its own points and by the counters that it shares, against the rate that is
    /// best by its own points. Powers of these are taken once, and not in every round.
    weights: Rates,
    /// The probability of each rate.
    posterior: Rates,
}

impl Sought {
    fn of(at: usize, envelope: &Envelope, prior: &Rates) -> Self {
        let mut sought = Self { at, weights: own_evidence(envelope), posterior: [0.0; RATES] };
        sought.estimate(prior);
        sought
    }

    /// Estimates the probability of each rate, where so many other connections have it; zeros where none is
    /// possible.
    #[inline(always)]
    fn estimate(&mut self, others: &Rates) {
        // Four sums at a time don't wait for each other.
        let mut sums = [0.0; 4];
        for rate in 0..RATES {
            self.posterior[rate] = self.weights[rate] * others[rate].max(0.0);
            sums[rate % 4] += self.posterior[rate];
        }
        let total: f64 = sums.iter().sum();
        let scale = if total > 0.0 { 1.0 / total } else { 0.0 };
        self.posterior.iter_mut().for_each(|p| *p *= scale);
    }

    /// The likeliest rate, where it is likely enough.
    fn told(&self) -> Option<Told> {
        let best = self.posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.filter(|(_, p)| **p >= LEAST_PROBABILITY).map(|(rate, &p)| (NOMINAL[rate].0, p))
    }

    /// The rates that are possible, a bit for each.
    fn possible(&self) -> u32 {
        self.weights.iter().rev().fold(0, |bits, weight| bits << 1 | u32::from(*weight > 0.0))
    }
}

/// How much handshakes are trusted: signatures are shared, and stacks are tuned.
const TRUST_IN_SYSTEM: f64 = 0.8;

/// How common each rate is, by what is known of all hosts and of systems like these.
fn prior(by_system: &[(f64, f64)]) -> Rates {
    let told: f64 = by_system.iter().map(|(_, p)| p).sum();
    NOMINAL.map(|(hz, common)| {
        let own: f64 = by_system.iter().filter(|(rate, _)| *rate == hz).map(|(_, p)| p).sum();
        TRUST_IN_SYSTEM * own + (1.0 - TRUST_IN_SYSTEM * told) * common
    })
}

/// How likely each rate is by a connection's own points, against the best one.
fn own_evidence(envelope: &Envelope) -> Rates {
    let farthest = (-FARTHEST_NATS).exp();
    let [first, .., last] = envelope.points() else {
        return NOMINAL.map(|(_, prior)| if prior < RARE { farthest } else { 1.0 });
    };
    let elapsed_s = seconds_between(first.time_ns, last.time_ns);
    let ticks = (last.ticks - first.ticks) as f64;
    let likelihoods = rate::likelihoods(elapsed_s, ticks, farthest);
    let most = likelihoods.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut weights = [0.0; RATES];
    for (weight, likelihood) in weights.iter_mut().zip(likelihoods) {
        *weight = if likelihood > farthest * most { likelihood / most } else { 0.0 };
    }
    weights
}

/// Estimates how common rates are, and then the rate of each connection. `fixed` is the number of connections
/// of each rate beside those that are sought.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn estimate(fixed: &Rates, sought: &mut [Sought]) {
    let mut counts = *fixed;
    for one in &*sought {
        counts.iter_mut().zip(&one.posterior).for_each(|(count, p)| *count += p);
    }
    for one in sought {
        // A connection is no evidence of how common its own rate is among the others.
        let mut others = counts;
        others.iter_mut().zip(&one.posterior).for_each(|(count, p)| *count -= p);
        one.estimate(&others);
    }
}

/// Weighs rates anew by the ticks of connections that were closed soon; false where their delays aren't
/// steady.
fn weigh_brief(seen: &[Seen<'_>], sought: &mut [Sought], prior: &Rates) -> bool {
    let (places, all): (Vec<usize>, Vec<Brief>) =
        sought.iter().enumerate().filter_map(|(place, one)| Some((place, seen[one.at].brief?))).unzip();
    let Some(weights) = brief::weights(&all, prior) else { return false };
    for (place, weights) in places.into_iter().zip(weights) {
        let Some(weights) = weights else { continue };
        sought[place].weights = weights;
        sought[place].estimate(prior);
    }
    true
}

/// Weighs rates by the counters that connections share at them.
fn link(seen: &[Seen<'_>], sought: &mut [Sought]) {
    let known = |one: &Seen<'_>| one.known_hz.and_then(known_rate).map_or(0, |rate| 1 << rate);
    let mut possible: Vec<u32> = seen.iter().map(known).collect();
    let mut place = vec![usize::MAX; seen.len()];
    for (index, one) in sought.iter().enumerate() {
        possible[one.at] = one.possible();
        place[one.at] = index;
    }
    let is_sought = sought.iter().fold(0, |bits, one| bits | possible[one.at]);
    let begins = |at: usize| seen[at].envelope.points().first().map(|point| point.time_ns);
    let mut order: Vec<(u64, usize)> = (0..seen.len()).filter_map(|at| Some((begins(at)?, at))).collect();
    order.sort_unstable();
    let shown = shared_counters::show(order.iter().map(|&(_, at)| (seen[at].envelope, possible[at])));
    let mut counters = SharedCounters::default();
    for rate in (0..RATES).filter(|rate| is_sought >> rate & 1 == 1) {
        counters.find(rate, &shown, |at, nats| {
            if let Some(one) = sought.get_mut(place[order[at].1]) {
                one.weights[rate] *= nats.exp();
            }
        });
    }
}

/// The place of a nominal rate in Hz among all.
fn known_rate(hz: f64) -> Option<usize> {
    NOMINAL.iter().position(|(of, _)| *of == hz)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::{Point, WRAP_TICKS};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    /// A connection from `begin_s` on that shows a counter of `hz` this often, with `offset` ticks at time 0.
    fn connection(hz: f64, offset: f64, begin_s: f64, length_s: f64, points: usize, seed: u64) -> Envelope {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut envelope = Envelope::default();
        let mut newest = i64::MIN;
        for point in 0..points {
            let t = begin_s + length_s * point as f64 / (points - 1).max(1) as f64;
            let ticks = (offset + hz * t).floor().rem_euclid(WRAP_TICKS) as i64;
            let late_s = 2e-3 * random.random::<f64>();
            if ticks > newest {
                newest = ticks;
                envelope.add(Point { time_ns: ((t + late_s) * 1e9) as u64, ticks });
            }
        }
        envelope
    }

    fn told(envelopes: &[Envelope]) -> Vec<Option<f64>> {
        let seen: Vec<Seen<'_>> =
            envelopes.iter().map(|envelope| Seen { envelope, known_hz: None, brief: None }).collect();
        tell(&seen, &[]).into_iter().map(|told| told.map(|(hz, _)| hz)).collect()
    }

    /// Connections of 0.2 s with offsets at random, or with one.
    fn short(hz: f64, shared: bool, count: u64, points: usize) -> Vec<Envelope> {
        let mut random = Pcg64::seed_from_u64(count);
        let one = 3e9 * random.random::<f64>();
        let offset = |random: &mut Pcg64| if shared { one } else { 4e9 * random.random::<f64>() };
        (0..count)
            .map(|i| connection(hz, offset(&mut random), 10.0 + 7.0 * i as f64, 0.2, points, i))
            .collect()
    }

    #[test]
    fn many_weak_rates_tell_what_one_leaves_open() {
        assert!(told(&short(1000.0, false, 20, 8)).iter().all(|hz| *hz == Some(1000.0)));
        let slow = told(&short(100.0, false, 20, 8));
        assert!(slow.iter().all(|hz| *hz == Some(100.0)), "{slow:?}");
    }

    #[test]
    fn shared_counters_tell_the_rate_of_connections_without_a_slope() {
        for hz in [10.0, 100.0, 250.0, 1000.0] {
            let told = told(&short(hz, true, 6, 1));
            assert!(told.iter().all(|told| *told == Some(hz)), "{hz}: {told:?}");
        }
    }

    #[test]
    fn single_segments_that_share_nothing_tell_nothing() {
        assert!(told(&short(1000.0, false, 6, 1)).iter().all(Option::is_none));
    }

    #[test]
    fn rates_live_side_by_side() {
        let mut all = short(1000.0, false, 20, 8);
        all.extend(short(100.0, true, 20, 8));
        let told = told(&all);
        assert!(told[..20].iter().all(|hz| *hz == Some(1000.0)), "{told:?}");
        assert!(told[20..].iter().all(|hz| *hz == Some(100.0)), "{told:?}");
    }

    /// All of them leave the rate open, and many together must not settle on a slow one.
    #[test]
    fn connections_of_milliseconds_are_no_slow_clocks() {
        let mut random = Pcg64::seed_from_u64(1);
        let all: Vec<Envelope> = (0..1_000_u32)
            .map(|i| {
                let begin_s = 10.0 + 0.1 * f64::from(i);
                connection(1000.0, 4e9 * random.random::<f64>(), begin_s, 0.003, 4, i.into())
            })
            .collect();
        assert!(told(&all).iter().all(|hz| hz.is_none_or(|hz| hz == 1000.0)));
    }

    #[test]
    fn handshakes_tell_what_points_leave_open() {
        let envelope = connection(1000.0, 5.0, 10.0, 0.02, 3, 1);
        let seen = [Seen { envelope: &envelope, known_hz: None, brief: None }];
        let by_handshake = tell(&seen, &[(1000.0, 1.0)])[0].map(|(hz, _)| hz);
        assert_eq!(by_handshake, Some(1000.0));
    }
}
