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

use super::{
    coincidence::{ANYWHERE_NATS, LEAST_SHARED_NATS},
    counter_values::CounterValues,
};
use crate::engine::{
    clock::{
        envelope::Envelope,
        rate::{self, NOMINAL},
    },
    types::{WRAP_TICKS, seconds_between, wrap_difference},
};

/// The number of nominal rates.
const RATES: usize = NOMINAL.len();

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

/// How often the shares of rates are estimated anew.
const ROUNDS: usize = 4;

/// How far delays shift one connection against another, in seconds, on most paths.
const DELAY_S: f64 = 0.03;

/// The largest skew of most clocks, relative.
const SKEW: f64 = 100e-6;

/// A connection whose rate is sought, or known.
pub(super) struct Seen<'a> {
    /// First arrivals; at least one.
    pub envelope: &'a Envelope,
    /// The nominal rate in Hz that its own points tell.
    pub known_hz: Option<f64>,
}

/// A nominal rate in Hz, and its probability.
pub(super) type Told = (f64, f64);

/// The nominal rate of each connection; `None` where nothing tells it. Known ones stay. `by_system` holds the
/// rates that handshakes suggest, with their probabilities.
///
/// O(n log n) for n connections, and as much again for each rate that is possible.
pub(super) fn tell(seen: &[Seen<'_>], by_system: &[(f64, f64)]) -> Vec<Option<Told>> {
    let prior = prior(by_system);
    let own: Vec<Rates> = seen.iter().map(own_evidence).collect();
    let links = links(seen, &own);
    // At first without shared counters: where many connections meet by chance, some do at rare rates.
    let mut posteriors: Vec<Rates> = own.iter().map(|own| posterior(own, &[0.0; RATES], &prior)).collect();
    for _ in 0..ROUNDS {
        let counts = counts(&posteriors, &prior);
        posteriors = (0..seen.len())
            .map(|at| {
                // A connection is no evidence of how common its own rate is among the others.
                let of_others = std::array::from_fn(|rate| counts[rate] - posteriors[at][rate]);
                posterior(&own[at], &links[at], &of_others)
            })
            .collect();
    }
    let best = |posterior: &Rates| {
        let (rate, &p) = posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        (p >= LEAST_PROBABILITY).then_some((NOMINAL[rate].0, p))
    };
    posteriors.iter().map(best).collect()
}

/// One value for each nominal rate.
type Rates = [f64; RATES];

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

/// The number of connections of each rate, with [`PRIOR_WEIGHT`] of the prior.
fn counts(posteriors: &[Rates], prior: &Rates) -> Rates {
    let mut counts = prior.map(|prior| PRIOR_WEIGHT * prior);
    for posterior in posteriors {
        counts.iter_mut().zip(posterior).for_each(|(count, p)| *count += p);
    }
    counts
}

/// The log-likelihood of each rate by a connection's own points, in nats, against the best one.
fn own_evidence(seen: &Seen<'_>) -> Rates {
    if let Some(known_hz) = seen.known_hz {
        return NOMINAL.map(|(hz, _)| if hz == known_hz { 0.0 } else { f64::NEG_INFINITY });
    }
    let [first, .., last] = seen.envelope.points() else {
        return NOMINAL.map(|(_, prior)| if prior < RARE { -FARTHEST_NATS } else { 0.0 });
    };
    let elapsed_s = seconds_between(first.time_ns, last.time_ns);
    let ticks = (last.ticks - first.ticks) as f64;
    let nats = NOMINAL.map(|(hz, _)| rate::log_likelihood(hz, elapsed_s, ticks));
    let most = nats.iter().copied().fold(f64::MIN, f64::max);
    nats.map(|nats| if nats - most > -FARTHEST_NATS { nats - most } else { f64::NEG_INFINITY })
}

/// The probability of each rate, where so many other connections have it; zeros where none is possible.
fn posterior(own: &Rates, links: &Rates, others: &Rates) -> Rates {
    let nats: Rates = std::array::from_fn(|rate| own[rate] + links[rate] + others[rate].max(0.0).ln());
    let most = nats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return [0.0; RATES];
    }
    let weights = nats.map(|nats| (nats - most).exp());
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

/// What sharing a counter is worth to each connection at each rate, in nats.
fn links(seen: &[Seen<'_>], own: &[Rates]) -> Vec<Rates> {
    let begins = |at: usize| seen[at].envelope.points().first().map(|point| point.time_ns);
    let mut order: Vec<(u64, usize)> = (0..seen.len()).filter_map(|at| Some((begins(at)?, at))).collect();
    order.sort_unstable();
    let mut links = vec![[0.0; RATES]; seen.len()];
    for (rate, &(hz, _)) in NOMINAL.iter().enumerate() {
        let possible: Vec<(u64, usize)> =
            order.iter().copied().filter(|&(_, at)| own[at][rate] > f64::NEG_INFINITY).collect();
        let is_sought = possible.iter().any(|&(_, at)| seen[at].known_hz.is_none());
        if is_sought && possible.len() > 1 {
            link_at(hz, &possible, seen, |at, nats| links[at][rate] = nats);
        }
    }
    links
}

/// A counter, as its connections so far show it.
struct Counter {
    members: Vec<usize>,
    /// What sharing it is worth to all of them, in nats.
    nats: f64,
    last_ns: u64,
    value: u32,
}

/// Follows counters of the rate `hz` through connections in order of time, and tells what sharing one is
/// worth to each connection.
fn link_at(hz: f64, order: &[(u64, usize)], seen: &[Seen<'_>], mut tell: impl FnMut(usize, f64)) {
    let Some(&(origin_ns, _)) = order.first() else { return };
    let mut counters: Vec<Counter> = Vec::new();
    let mut values = CounterValues::default();
    for (before, &(begin_ns, at)) in order.iter().enumerate() {
        // A late segment says nothing: the highest line of this rate that a point holds up is the counter.
        let Some(value) = seen[at].envelope.support(hz, origin_ns) else { continue };
        let value = value.rem_euclid(WRAP_TICKS) as u32;
        let reach = half_width_ticks(hz, seconds_between(origin_ns, begin_ns)).min(WRAP_TICKS / 8.0) as u32;
        let near = values.near(value, reach).filter_map(|c| {
            let counter = &counters[c];
            let off = wrap_difference(f64::from(value) - f64::from(counter.value)).abs();
            let half_width = half_width_ticks(hz, seconds_between(counter.last_ns, begin_ns));
            (off <= half_width).then_some((c, off, half_width))
        });
        let Some((c, _, half_width)) = near.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            values.insert(value, counters.len());
            counters.push(Counter { members: vec![at], nats: 0.0, last_ns: begin_ns, value });
            continue;
        };
        let counter = &mut counters[c];
        counter.nats += (-(2.0 * half_width).ln() - ANYWHERE_NATS - (before as f64).ln()).max(0.0);
        counter.members.push(at);
        counter.last_ns = begin_ns;
        values.replace(counter.value, value, c);
        counter.value = value;
    }
    for Counter { members, nats, .. } in counters {
        if nats >= LEAST_SHARED_NATS {
            // Each has its part of what they show together.
            let share = nats / members.len() as f64;
            members.into_iter().for_each(|at| tell(at, share));
        }
    }
}

/// How far a counter may be from where another connection of its machine foretold it, in ticks.
fn half_width_ticks(hz: f64, elapsed_s: f64) -> f64 {
    1.0 + hz * (DELAY_S + SKEW * elapsed_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::Point;
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
            envelopes.iter().map(|envelope| Seen { envelope, known_hz: None }).collect();
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

    #[test]
    fn handshakes_tell_what_points_leave_open() {
        let envelope = connection(1000.0, 5.0, 10.0, 0.02, 3, 1);
        let seen = [Seen { envelope: &envelope, known_hz: None }];
        let by_handshake = tell(&seen, &[(1000.0, 1.0)])[0].map(|(hz, _)| hz);
        assert_eq!(by_handshake, Some(1000.0));
    }
}
