//! Do connections share an offset, or do they meet by chance?
//!
//! Among many connections with random offsets some meet by chance: the number of pairs grows with their
//! square, and the errors with the time between them. So what clusters show is weighed against connections
//! that all have a counter of their own.

use libm::lgamma;

use crate::engine::types::WRAP_TICKS;

/// The density of another machine's counter at any value, as a logarithm per tick: that of 2^32 values.
pub(in crate::engine::machines) const ANYWHERE_NATS: f64 = -22.180_709_777_918_25;

/// A shared offset that is worth less than this, in nats, is a coincidence: among ten thousand machines with
/// random offsets, some show one that is worth 7.
pub(in crate::engine::machines) const LEAST_SHARED_NATS: f64 = 7.5;

/// Where most connections join a counter, one that only connections of one pair share is no coincidence from
/// this on, in nats: that pairs share counters is known, and what one join is worth is its log odds.
const LEAST_IN_PAIR_NATS: f64 = 3.0;

/// The log likelihood, in nats, of so many connections that open a counter and so many that join one, where
/// the shares of both are as they were seen.
pub(super) fn shares_nats(opened: f64, joined: f64) -> f64 {
    let share = |part: f64| if part > 0.0 { part * (part / (opened + joined)).ln() } else { 0.0 };
    share(opened) + share(joined)
}

/// Counters of different pairs this near each other are told as one, in seconds, on either side: a path to
/// one peer may be so much longer than to another, and skews that aren't known yet bring counters together.
const MEETING_S: f64 = 0.25;

/// Where so many meetings of counters are less likely than this, they are no chance.
const UNLIKELY: f64 = 0.01;

/// Whether so many of these counters, each anywhere among 2^32 values, may meet another one by chance.
///
/// Their meetings follow nearly a Poisson law. At 1 kHz, one of them is expected of 4,000 counters, at 1 MHz
/// of 130.
pub(in crate::engine::machines) fn may_meet(counters: usize, meetings: usize, hz: f64) -> bool {
    let pairs = 0.5 * (counters * counters.saturating_sub(1)) as f64;
    let expected = pairs * (2.0 * MEETING_S * hz / WRAP_TICKS).min(1.0);
    meetings <= most_by_chance(expected, UNLIKELY) as usize
}

/// The number that a Poisson law of mean `expected` exceeds in at most this share of all cases. Takes time
/// with the root of the mean: what is ten standard deviations below it has no weight.
pub(in crate::engine::machines) fn most_by_chance(expected: f64, tail: f64) -> u32 {
    let deviation = expected.max(1.0).sqrt();
    let first = (expected - FARTHEST * deviation).max(0.0).floor();
    let mut term = (first * expected.max(f64::MIN_POSITIVE).ln() - expected - lgamma(first + 1.0)).exp();
    let (mut sum, mut count) = (term, first);
    while sum < 1.0 - tail && count < expected + FARTHEST * deviation {
        count += 1.0;
        term *= expected / count;
        sum += term;
    }
    count as u32
}

/// Beyond so many standard deviations, a Poisson law has no weight.
const FARTHEST: f64 = 10.0;

/// How a connection came to share a counter.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Join {
    /// The connections that shared it before.
    pub members: usize,
    /// Those of its own peer among these, as a share of all connections with that peer: where offsets are
    /// drawn by pair, only they can share it. 0 where that isn't known.
    pub of_peer: f64,
    /// The width in ticks within which they predicted it.
    pub width_ticks: f64,
}

impl Join {
    /// Log of the prior times the density of this join among so many connections: a counter is joined as
    /// often as it was before, by all connections or by those of the peer.
    fn nats(&self, seen: f64) -> f64 {
        let of_all = self.members as f64 / seen.max(1.0);
        (0.5 * (of_all + self.of_peer)).ln() - self.width_ticks.clamp(1.0, WRAP_TICKS).ln()
    }
}

/// The log evidence of connections that share counters: of each counter, how all but the first came to it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::machines) struct Evidence {
    seen: f64,
    joined: f64,
    nats: f64,
}

impl Evidence {
    /// The evidence of these counters' joins.
    pub(in crate::engine::machines) fn of<'a>(counters: impl Iterator<Item = &'a [Join]> + Clone) -> Self {
        let mut evidence = Self::default();
        counters.clone().for_each(|_| evidence.opens());
        counters.flatten().for_each(|join| evidence.joins(join));
        evidence
    }

    /// A connection that opens a counter of its own.
    fn opens(&mut self) {
        self.seen += 1.0;
        self.nats += ANYWHERE_NATS;
    }

    /// A connection that joins a counter.
    fn joins(&mut self, join: &Join) {
        self.nats += join.nats(self.seen);
        self.seen += 1.0;
        self.joined += 1.0;
    }

    /// The sum in nats, with the share of connections that join as a free parameter.
    pub(in crate::engine::machines) fn nats(&self) -> f64 {
        self.nats + shares_nats(self.seen - self.joined, self.joined)
    }

    /// What one join is worth against a counter of its own, in nats.
    fn gain(&self, join: &Join) -> f64 {
        let odds = self.joined.max(0.5) / (self.seen - self.joined).max(0.5);
        odds.ln() + join.nats(self.seen) - ANYWHERE_NATS
    }

    /// Whether connections share an offset by chance: a real counter is shared by more connections, or more
    /// sharply.
    pub(in crate::engine::machines) fn is_chance(&self, joins: &[Join]) -> bool {
        let do_most_join = self.joined > self.seen - self.joined;
        let is_of_pair = do_most_join && joins.iter().all(|join| join.of_peer > 0.0);
        let least_nats = if is_of_pair { LEAST_IN_PAIR_NATS } else { LEAST_SHARED_NATS };
        !joins.is_empty() && joins.iter().map(|join| self.gain(join)).sum::<f64>() < least_nats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_mean_has_its_tail() {
        // The first three are of tables; a large mean's tail is nearly that of a normal law.
        for (mean, tail, most) in [(0.0, 0.05, 0), (1.0, 0.05, 3), (10.0, 0.01, 18)] {
            assert_eq!(most_by_chance(mean, tail), most);
        }
        for mean in [500.0, 740.0, 746.0, 5_000.0, 8e6] {
            let deviations = (f64::from(most_by_chance(mean, 0.01)) - mean) / mean.sqrt();
            assert!((deviations - 2.326).abs() < 0.1, "{mean}: {deviations}");
        }
    }

    /// Two connections of 0.1 s, half an hour apart, at 1 MHz: rates within 50 ppm foretell the second one to
    /// 0.7 s.
    #[test]
    fn counters_that_a_pair_shares_seldom_are_shared_where_most_are() {
        let join = |of_peer| Join { members: 1, of_peer, width_ticks: 7e5 };
        let is_chance = |often: usize, of_peer: f64| {
            let often = vec![join(0.2); often];
            let (seldom, alone) = ([join(of_peer)], []);
            let counters = std::iter::repeat_n(&often[..], 23).chain([&seldom[..]]);
            let evidence = Evidence::of(counters.chain(std::iter::repeat_n(&alone[..], 10)));
            evidence.is_chance(&seldom)
        };
        assert!(!is_chance(6, 1.0 / 30.0), "most connections join a counter");
        assert!(is_chance(6, 0.0), "counters of several pairs meet");
        assert!(is_chance(1, 1.0 / 30.0), "most connections have a counter of their own");
    }

    #[test]
    fn fast_counters_meet_by_chance_and_slow_ones_do_not() {
        assert!(may_meet(120, 1, 1e6) && may_meet(120, 2, 1e6), "nearly one is expected");
        assert!(!may_meet(120, 5, 1e6) && !may_meet(10, 1, 1e6));
        assert!(!may_meet(400, 1, 1e3) && may_meet(5_000, 1, 1e3));
    }
}
