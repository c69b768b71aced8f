//! Machines by phase, for connections whose offsets are random: the way into `phase` and back.
//!
//! Each offset that was found (a connection's own, or one that a pair of addresses shares) becomes a
//! track. The lines that `phase` finds become machines.

use super::{
    by_offset::wraps_between,
    cluster::Cluster,
    counters::Behaviour,
    group::{Count, Group},
    regime::Judgement,
};
use crate::engine::{
    clock::fit::{Clock, SKEW_PRIOR_SIGMA},
    flows::connection::Connection,
    os::likeness::{Evidence, Switches},
    phase::{self, Track, sample::Sample},
    types::{Doubt, Estimate, Point, Regime, Side},
};

/// The machines found by phase.
pub(super) struct Findings {
    /// The machines.
    pub groups: Vec<Group>,
    /// How many there are.
    pub count: Count,
    /// What limits the count, if anything does.
    pub doubt: Option<Doubt>,
}

/// The lowest probability of a group's member: less means "not this machine".
const MIN_PROBABILITY: f64 = 0.01;

/// Finds the machines behind the clusters of one tick rate that `judgement` calls random.
pub(super) fn find(
    hz: f64,
    clusters: &[Cluster],
    judgement: &Judgement,
    connections: &[&Connection],
    resolution_ns: u64,
    switches: Switches,
) -> Findings {
    let random: Vec<&Cluster> = judgement.random.iter().map(|&index| &clusters[index]).collect();
    let samples: Vec<Sample> =
        random.iter().map(|cluster| sample_of(cluster, connections, resolution_ns)).collect();
    let tracks: Vec<Track<'_>> = random
        .iter()
        .zip(&samples)
        .map(|(cluster, sample)| Track {
            hull: cluster.envelope.points(),
            sample: sample.points(),
            offered: cluster.envelope.offered(),
            shown: shown(hz, cluster, connections),
        })
        .collect();
    let settings = phase::Settings { resolution_ns, switches, ..phase::Settings::default() };
    let lines = phase::fit(&tracks, hz, &settings);
    let regime = match judgement.regime {
        Regime::Mixed => Regime::PerConnection,
        other => other,
    };
    let groups = lines
        .lines
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let skew = Estimate { value: line.skew_ppm.value * 1e-6, sigma: line.skew_ppm.sigma * 1e-6 };
            let rate_hz = Estimate { value: hz * (1.0 + skew.value), sigma: hz * skew.sigma };
            Group {
                hz,
                regime,
                behaviour: Behaviour::Steady,
                clock: Some(Clock {
                    hz,
                    rate_hz,
                    skew: Estimate { sigma: skew.sigma.min(SKEW_PRIOR_SIGMA), ..skew },
                    reference_ns: lines.reference_ns,
                    offset_ticks: line.phase_ticks,
                }),
                rate_hz,
                skew_ppm: Some(line.skew_ppm),
                phase_ticks: Some(line.phase_ticks),
                members: members(number, &random, &lines),
            }
        })
        .collect();
    Findings { groups, count: count_of(&lines, tracks.len()), doubt: lines.doubt }
}

/// The evidence that a cluster shows besides its clock: that of its first connection whose SYN was seen.
/// Without a SYN only the TTL counts, because a server's SYN-ACK depends on the client's SYN.
fn shown(hz: f64, cluster: &Cluster, connections: &[&Connection]) -> Evidence {
    let flows = || cluster.members.iter().map(|&member| &connections[member].flow);
    let opened = flows().find_map(|flow| flow.fingerprint.filter(|print| print.side == Side::Client));
    let hop_limit = flows().next().map_or(0, |flow| flow.hop_limit);
    Evidence::new(Some(hz), Some(true), opened.as_ref(), opened.map_or(hop_limit, |print| print.hop_limit))
}

/// The connections on a line, with their probabilities.
fn members(number: usize, random: &[&Cluster], lines: &phase::Lines) -> Vec<(usize, f64)> {
    let mut members = Vec::new();
    for (cluster, posterior) in random.iter().zip(&lines.posteriors) {
        let probability = posterior.get(number).map_or(0.0, |&p| f64::from(p));
        if probability >= MIN_PROBABILITY {
            members.extend(cluster.members.iter().map(|&member| (member, probability)));
        }
    }
    members
}

fn count_of(lines: &phase::Lines, tracks: usize) -> Count {
    let told = lines.doubt.is_none() || lines.count > 0;
    Count {
        best: told.then_some(lines.count as u32),
        low: lines.low.max(1) as u32,
        high: Some(lines.high.unwrap_or(tracks) as u32),
        proven: 0,
    }
}

/// The sample of a cluster's first arrivals: that of its only connection, or those of all members in order
/// of time, on one unwrapped scale.
fn sample_of(cluster: &Cluster, connections: &[&Connection], resolution_ns: u64) -> Sample {
    if let [only] = cluster.members[..] {
        return connections[only].sample();
    }
    let mut points: Vec<Point> = Vec::new();
    for &member in &cluster.members {
        let sample = connections[member].sample();
        if sample.points().is_empty() {
            continue;
        }
        let envelope = &connections[member].flow.envelope;
        let clock = crate::engine::clock::fit::fit_nominal(envelope, cluster.clock.hz, None, resolution_ns);
        let shift = wraps_between(&clock, &cluster.clock);
        points.extend(sample.points().iter().map(|s| Point { ticks: s.point.ticks + shift, ..s.point }));
    }
    points.sort_unstable_by_key(|point| point.time_ns);
    let mut sample = Sample::default();
    for point in points {
        sample.add(point);
    }
    sample
}
