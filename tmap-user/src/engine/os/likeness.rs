//! Evidence other than offset, phase and skew that two connections come from one machine.
//!
//! A connection shows a few discrete [features](Feature). The log-likelihood ratio of "made by this
//! machine" against "made by any other host here" is summed over them, each *given the ones before
//! it*: machines that share a SYN signature mostly share the window scale as well, and counting that
//! twice would make strangers look alike. A value that all connections here show tells nothing, a rare
//! value tells much, and a contradiction costs more the rarer it is within one machine.
//!
//! ```text
//! llr = sum over features  ln( ((1 - e) g(v) + e q(v)) / q(v) )
//!   e     how often one machine shows another value (Feature::error_rate)
//!   q(v)  share of v among all connections of the address, given the features before
//!   g(v)  share of v among the group's connections, shrunk towards q(v) by e connections' worth
//! ```
//!
//! # How a matcher uses it
//! Build one [`Evidence`] per connection and a [`Tally`] of them all (the population). Then, for a
//! connection and a group: `likeness(&evidence, &group_tally, &population, &switches)`, with the
//! connection itself [removed](Tally::add) from the group's tally if it is in it (weight -1). Two
//! connections are a connection and a group of one. Add the result to the log-likelihood that the
//! clock gave; weights may be posteriors. Pure and cheap: a handful of hash look-ups.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

use foldhash::fast::{FixedState, RandomState};
use tmap_common::Syn;

use super::{
    quirks::Quirks,
    signature::{Fingerprint, Layout, Multiple, initial_ttl},
};
use crate::engine::types::Side;

/// A kind of evidence. Each is conditioned on those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The nominal tick rate.
    RateClass,
    /// Whether the clock has a constant rate.
    Steadiness,
    /// Option layout, quirks and kind of window of the SYN or the SYN-ACK; the two never compare equal.
    SynSignature,
    /// The window scale in the SYN or SYN-ACK.
    WindowScale,
    /// The MSS in the SYN or SYN-ACK.
    Mss,
    /// The TTL as it arrived, and the initial TTL behind it.
    Ttl,
}

/// All features, in order.
pub const FEATURES: [Feature; 6] = [
    Feature::RateClass,
    Feature::Steadiness,
    Feature::SynSignature,
    Feature::WindowScale,
    Feature::Mss,
    Feature::Ttl,
];

impl Feature {
    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::RateClass => "rate",
            Self::Steadiness => "steadiness",
            Self::SynSignature => "syn",
            Self::WindowScale => "scale",
            Self::Mss => "mss",
            Self::Ttl => "ttl",
        }
    }

    /// The share of one machine's connections that show another value than its usual one. Programs set
    /// socket buffers (window, scale), and paths differ (MSS, TTL); rate and option order are the
    /// kernel's alone.
    fn error_rate(self) -> f64 {
        match self {
            Self::RateClass => 0.001,
            Self::Steadiness | Self::SynSignature => 0.02,
            Self::WindowScale | Self::Ttl => 0.05,
            Self::Mss => 0.1,
        }
    }

    /// The prior share of a value, before anything is known of the population.
    fn default_share(self) -> f64 {
        match self {
            Self::RateClass => 0.8,
            Self::Steadiness => 0.95,
            Self::SynSignature => 0.4,
            Self::WindowScale | Self::Mss => 0.6,
            Self::Ttl => 0.3,
        }
    }
}

/// The set of features that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches(u8);

impl Default for Switches {
    fn default() -> Self {
        Self::ALL
    }
}

impl Switches {
    /// All features.
    pub const ALL: Self = Self(0x3f);
    /// No feature: the clock alone decides.
    pub const NONE: Self = Self(0);

    /// These without `feature`.
    #[must_use]
    pub fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u8))
    }

    /// These and `feature`.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u8)
    }

    fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }
}

/// What one connection shows: one value per feature to compare, `None` where it wasn't seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    values: [Option<u64>; FEATURES.len()],
}

/// The kinds of window: a multiple of something, or a fixed size.
#[derive(Hash)]
enum WindowKind {
    Mss,
    Mtu(u16),
    Fixed(u16),
}

impl Evidence {
    /// The evidence of a connection. `hz` is its nominal tick rate and `steady` whether that rate is
    /// constant; either is `None` where it isn't known.
    pub fn new(
        hz: Option<f64>,
        steady: Option<bool>,
        fingerprint: Option<&Fingerprint>,
        hop_limit: u8,
    ) -> Self {
        let syn = fingerprint.map(|fingerprint| &fingerprint.syn);
        Self {
            values: [
                hz.map(f64::to_bits),
                steady.map(u64::from),
                fingerprint.map(signature_value),
                syn.map(|syn: &Syn| u64::from(syn.window_scale)),
                syn.map(|syn| u64::from(syn.mss)),
                Some(u64::from(initial_ttl(hop_limit)) << 8 | u64::from(hop_limit)),
            ],
        }
    }

    /// The evidence of only those features that are switched on.
    #[must_use]
    pub fn of(&self, switches: Switches) -> Self {
        let mut values = self.values;
        for (value, feature) in values.iter_mut().zip(FEATURES) {
            *value = value.filter(|_| switches.has(feature));
        }
        Self { values }
    }

    /// For each feature that counts and was seen: the feature, the key of the values before it, and the
    /// key of the values up to it.
    fn chain(&self, switches: Switches) -> impl Iterator<Item = (Feature, u64, u64)> {
        let mut prefix = 0;
        FEATURES.into_iter().zip(self.values).filter_map(move |(feature, value)| {
            let value = value.filter(|_| switches.has(feature))?;
            let before = prefix;
            prefix = FixedState::with_seed(0).hash_one((before, feature, value));
            Some((feature, before_of(before, feature), prefix))
        })
    }
}

/// The key that counts the connections that show `feature` with these values before it.
fn before_of(prefix: u64, feature: Feature) -> u64 {
    FixedState::with_seed(1).hash_one((prefix, feature))
}

/// The SYN signature as one value: only what the kernel's code decides, not the link or the program.
fn signature_value(fingerprint: &Fingerprint) -> u64 {
    let Syn { window, quirk_fields, .. } = fingerprint.syn;
    let window = match fingerprint.window_multiple() {
        Some(Multiple::Mss(_)) => WindowKind::Mss,
        Some(Multiple::Mtu(factor)) => WindowKind::Mtu(factor),
        None => WindowKind::Fixed(window),
    };
    // ECN and flow labels are a connection's choice.
    let quirks = fingerprint.quirks.without(Quirks::ECN.with(Quirks::FLOW_LABEL));
    let layout: Layout = fingerprint.layout();
    let side: Side = fingerprint.side;
    FixedState::with_seed(2).hash_one((
        side,
        fingerprint.ip6,
        layout,
        quirks,
        quirk_fields.ip_options_bytes,
        window,
    ))
}

/// Counts of values seen, in a group or in the population of an address.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: HashMap<u64, f64, RandomState>,
}

impl Tally {
    /// Adds a connection with a weight; a negative weight takes it out again.
    pub fn add(&mut self, evidence: &Evidence, switches: Switches, weight: f64) {
        for (_, before, upto) in evidence.chain(switches) {
            *self.counts.entry(before).or_default() += weight;
            *self.counts.entry(upto).or_default() += weight;
        }
    }

    fn count(&self, key: u64) -> f64 {
        self.counts.get(&key).copied().unwrap_or_default().max(0.0)
    }
}

/// The weight of a feature's default share against what the population shows, in connections.
const POPULATION_PRIOR: f64 = 1.0;

/// The log-likelihood ratio (in nats) of `evidence`: from the machine that made `group`, against from
/// any machine of `population`. Only features that are switched on count; 0 says nothing. Both tallies
/// must have been built with the same switches.
pub fn likeness(evidence: &Evidence, group: &Tally, population: &Tally, switches: Switches) -> f64 {
    evidence
        .chain(switches)
        .map(|(feature, before, upto)| {
            let q = (population.count(upto) + POPULATION_PRIOR * feature.default_share())
                / (population.count(before) + POPULATION_PRIOR);
            let e = feature.error_rate();
            let g = (group.count(upto) + e * q) / (group.count(before) + e);
            (((1.0 - e) * g + e * q) / q).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The likeness of a connection and a group of one.
    fn of_two(a: &Evidence, b: &Evidence, population: &Tally, switches: Switches) -> f64 {
        likeness(a, &self::population(&[(*b, 1)], switches), population, switches)
    }

    fn connection(hz: f64, window: u16, scale: u8, ttl: u8) -> Evidence {
        let fingerprint = Fingerprint {
            side: Side::Client,
            ip6: false,
            hop_limit: ttl,
            has_payload: false,
            quirks: Quirks::default(),
            syn: Syn { window, mss: 1460, window_scale: scale, option_order: 0x3_1842, ..Syn::default() },
        };
        Evidence::new(Some(hz), Some(true), Some(&fingerprint), ttl)
    }

    fn population(parts: &[(Evidence, usize)], switches: Switches) -> Tally {
        let mut tally = Tally::default();
        for (evidence, times) in parts {
            for _ in 0..*times {
                tally.add(evidence, switches, 1.0);
            }
        }
        tally
    }

    #[test]
    fn what_everybody_shows_says_nothing_and_what_few_show_says_much() {
        let all = Switches::ALL;
        let common = connection(1000.0, 64240, 7, 63);
        let rare = connection(1000.0, 65535, 7, 63);
        let here = population(&[(common, 190), (rare, 10)], all);
        let alike = of_two(&common, &common, &here, all);
        assert!(alike.abs() < 0.2, "{alike}");
        let special = of_two(&rare, &rare, &here, all);
        assert!((2.0..4.0).contains(&special), "20 times rarer: {special}");
        let different = of_two(&rare, &common, &here, all);
        assert!(different < -2.0, "{different}");
    }

    #[test]
    fn what_goes_together_is_counted_once() {
        let all = Switches::ALL;
        let a = connection(1000.0, 64240, 7, 63);
        let b = connection(1000.0, 65535, 9, 63);
        let here = population(&[(a, 100), (b, 100)], all);
        let only_syn = Switches::NONE.with(Feature::SynSignature);
        let by_syn = of_two(&a, &a, &population(&[(a, 100), (b, 100)], only_syn), only_syn);
        let by_all = of_two(&a, &a, &here, all);
        assert!((by_all - by_syn).abs() < 0.1, "scale and signature always come together: {by_syn} {by_all}");
    }

    #[test]
    fn groups_learn_and_switches_switch() {
        let all = Switches::ALL;
        let a = connection(1000.0, 64240, 7, 63);
        let b = connection(1000.0, 64240, 7, 50);
        let here = population(&[(a, 50), (b, 50)], all);
        let group = population(&[(a, 10), (b, 10)], all);
        assert!(likeness(&b, &group, &here, all) > -0.2, "a machine with two paths");
        let strict = population(&[(a, 20)], all);
        assert!(likeness(&b, &strict, &here, all) < -2.0);
        let without = all.without(Feature::Ttl);
        let (here, strict) = (population(&[(a, 50), (b, 50)], without), population(&[(a, 20)], without));
        assert!(likeness(&b, &strict, &here, without).abs() < 0.1);
        assert_eq!(of_two(&a, &b, &Tally::default(), Switches::NONE), 0.0);
    }

    #[test]
    fn the_unseen_counts_for_nothing() {
        let bare = Evidence::new(None, None, None, 63);
        let only_ttl = population(&[(bare, 10)], Switches::ALL);
        assert!(of_two(&bare, &bare, &only_ttl, Switches::ALL).abs() < 0.1);
        let slow = connection(100.0, 64240, 7, 63);
        let fast = connection(1000.0, 64240, 7, 63);
        let here = population(&[(slow, 10), (fast, 10)], Switches::ALL);
        assert!(of_two(&slow, &fast, &here, Switches::ALL) < -5.0, "no machine ticks at two rates");
    }
}
