//! Round trips found, against those that simulated transfers had.

use std::collections::{HashMap, HashSet};

use tmap::engine::rtt::{Options, RttEngine, Sample};

use crate::simulate::transfer::{self, Scenario, Sight, Truth};

/// When the first transfer begins.
const BEGAN_NS: u64 = 1_000_000_000;

/// The time from one transfer's beginning to the next one's.
const APART_NS: u64 = 300_000_000;

const REVIEW_NS: u64 = 1_000_000_000;

/// A capture's resolution.
const RESOLUTION_NS: u64 = 1_000;

/// A row. Times are medians and 95th percentiles in nanoseconds; `None` without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// What the network took, in the exchanges that could be told.
    pub path: Option<(u64, u64)>,
    /// What it took with the time until the receiver answered, or answered again where an
    /// acknowledgement was lost.
    pub answered: Option<(u64, u64)>,
    /// What the engine found.
    pub found: Option<(u64, u64)>,
    /// How many that were.
    pub samples: usize,
    /// How many there are for one who knows everything: first echoes of transmissions that were seen.
    pub possible: usize,
    /// The most by which a sample is longer than its exchange: transmissions of one tick share a
    /// TSval, and the first that the sensor sees counts.
    pub excess_ns: u64,
    /// Samples below the network's time, or off by more than a tick and the jitter (by which
    /// transmissions of one tick may stand apart), or of no exchange at all.
    pub false_samples: usize,
}

/// Runs a row.
pub fn measure(scenario: &Scenario) -> RoundTrips {
    let mut sight = Sight::new();
    for number in 0..scenario.connections {
        let began_ns = BEGAN_NS + u64::from(number) * APART_NS;
        sight.extend(transfer::run(scenario, 40_000 + number, began_ns));
    }
    sight.sort_by_key(|(record, _)| record.time_ns);
    let samples = samples(&sight);
    let truths: HashMap<(u16, u64), Truth> =
        sight.iter().filter_map(|(r, truth)| Some(((r.segment.dst_port, r.time_ns), (*truth)?))).collect();
    let mut echoed = HashSet::new();
    let possible: Vec<(u64, Truth)> = sight
        .iter()
        .filter_map(|(record, truth)| Some((record, (*truth)?)))
        .filter(|(record, _)| echoed.insert((record.segment.dst_port, record.segment.tsecr)))
        .filter(|(_, truth)| truth.is_seen)
        .map(|(record, truth)| (record.time_ns, truth))
        .collect();
    let truth = |sample: &Sample| truths.get(&(sample.key.dst_port, sample.time_ns));
    let excess_ns = |sample: &Sample| sample.rtt_ns.checked_sub(sample.time_ns - truth(sample)?.echoed_ns);
    let tolerance_ns = 1_000_000_000 / scenario.tick_hz + scenario.jitter_ns + RESOLUTION_NS;
    let is_false = |sample: &&Sample| {
        truth(sample).is_none_or(|truth| {
            sample.rtt_ns.abs_diff(sample.time_ns - truth.echoed_ns) > tolerance_ns
                || sample.rtt_ns + RESOLUTION_NS < truth.path_ns
        })
    };
    RoundTrips {
        path: quantiles(possible.iter().map(|(_, truth)| truth.path_ns)),
        answered: quantiles(possible.iter().map(|(time_ns, truth)| time_ns - truth.echoed_ns)),
        found: quantiles(samples.iter().map(|sample| sample.rtt_ns)),
        samples: samples.len(),
        possible: possible.len(),
        excess_ns: samples.iter().filter_map(excess_ns).max().unwrap_or(0),
        false_samples: samples.iter().filter(is_false).count(),
    }
}

/// The engine's, reviewed every second.
fn samples(sight: &Sight) -> Vec<Sample> {
    let mut engine = RttEngine::new(Options::default());
    let mut samples = Vec::new();
    let mut review_ns = BEGAN_NS;
    for (record, _) in sight {
        while record.time_ns >= review_ns {
            samples.extend(engine.review(review_ns).samples);
            review_ns += REVIEW_NS;
        }
        engine.observe(record);
    }
    samples.extend(engine.review(u64::MAX / 2).samples);
    samples
}

/// Median and 95th percentile.
fn quantiles(times_ns: impl Iterator<Item = u64>) -> Option<(u64, u64)> {
    let mut sorted: Vec<u64> = times_ns.collect();
    sorted.sort_unstable();
    let at = |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied();
    at(50).zip(at(95))
}
