//! What is found of machines by phase, and by pairs of addresses: from lines to machines and their count.

use std::collections::BTreeMap;

use super::{by_pages::Agreement, lines};
use crate::engine::{
    clock::fit::{Clock, SKEW_PRIOR_SIGMA},
    machines::{
        counters::{behaviours::Behaviour, cluster::Cluster},
        group::{Count, Group, MATCH_PROBABILITY, MIN_PROBABILITY, told_skew},
        regime::{judgement::Own, occupancy::Occupancy},
    },
    phase,
    types::{Doubt, Estimate, Regime, joint},
};

/// The machines found by phase.
pub(in crate::engine::machines) struct Findings {
    /// The machines.
    pub groups: Vec<Group>,
    /// How many there are.
    pub count: Count,
    /// What limits the count, if anything does.
    pub doubt: Option<Doubt>,
    /// Whether machines may have several addresses each, so that counters of one pair prove no machines.
    pub of_several_addresses: bool,
    /// How far pages agree, where they tell whose connections are whose.
    pub by_pages: Option<Agreement>,
    /// Whether clocks contradict that connections of one page are one machine's.
    do_clocks_refute_pages: bool,
}

/// Where connections may have offsets of their own, a number of machines that phases tell is believed unless
/// pairs make it less likely than others by this, in nats: a thousand times.
const EXCLUDED_NATS: f64 = 7.0;

/// So many machines by phase are many.
const MANY_LINES: u32 = 6;

/// Where phases give no more than this share of the connections to the right machine, they contradict
/// nothing.
const MOST_UNTOLD: f64 = 0.8;

/// The machine of a line.
fn group(hz: f64, regime: Regime, number: usize, random: &[&Cluster], lines: &phase::Lines) -> Group {
    let line = &lines.lines[number];
    let members = members(number, random, lines);
    let regime = if regime == Regime::Mixed { regime_of_line(number, random, lines) } else { regime };
    let skew_ppm = Estimate { sigma: joint(line.skew_ppm.sigma, line.open_ppm), ..line.skew_ppm };
    let skew = Estimate { value: skew_ppm.value * 1e-6, sigma: skew_ppm.sigma * 1e-6 };
    let rate_hz = Estimate { value: hz * (1.0 + skew.value), sigma: hz * skew.sigma };
    Group {
        hz,
        hz_probability: 1.0,
        regime,
        behaviour: Behaviour::Steady,
        moved: None,
        clock: Some(Clock {
            hz,
            rate_hz,
            skew: Estimate { sigma: skew.sigma.min(SKEW_PRIOR_SIGMA), ..skew },
            reference_ns: lines.reference_ns,
            offset_ticks: line.phase_ticks,
        }),
        rate_hz,
        skew_ppm: (line.open_ppm == 0.0).then_some(line.skew_ppm),
        phase_ticks: Some(line.phase_ticks),
        is_weighed: true,
        surely_one: line.surely_one,
        members,
    }
}

/// The regime of a line where machines draw their offsets in two ways: by pair, if connections on it share
/// one.
fn regime_of_line(number: usize, random: &[&Cluster], lines: &phase::Lines) -> Regime {
    let mut on_lines = random.iter().zip(&lines.posteriors);
    let shares = on_lines
        .any(|(cluster, posterior)| cluster.members.len() > 1 && lines::line_of(posterior) == Some(number));
    if shares { Regime::PerPair } else { Regime::PerConnection }
}

impl Findings {
    /// What `lines` show.
    pub(super) fn of(
        hz: f64,
        regime: Regime,
        random: &[&Cluster],
        machine_of_line: &[usize],
        lines: &phase::Lines,
    ) -> Self {
        let groups = (0..lines.lines.len()).map(|number| group(hz, regime, number, random, lines)).collect();
        let mut count = count_of(lines, random.len());
        if !lines.lines.is_empty() {
            let told = lines::machines(machine_of_line);
            count.best = count.best.map(|_| told);
            count.low = count.low.min(told);
        }
        Self {
            groups: merge(groups, machine_of_line),
            count,
            doubt: lines.doubt,
            of_several_addresses: false,
            by_pages: None,
            do_clocks_refute_pages: lines.do_clocks_refute_pages,
        }
    }

    /// The share of the connections of these counters that is given to the right machine, as expected. Where
    /// clocks contradict pages and tell much, they tell all.
    pub(super) fn told_by_phase(&self, counters: &[&Cluster]) -> f64 {
        let mut likeliest: BTreeMap<usize, f64> = BTreeMap::new();
        for &(member, probability) in self.groups.iter().flat_map(|group| &group.members) {
            let known = likeliest.entry(member).or_default();
            *known = known.max(probability);
        }
        let all: usize = counters.iter().map(|counter| counter.members.len()).sum();
        let told = likeliest.values().sum::<f64>() / all.max(1) as f64;
        if self.do_clocks_refute_pages && told > MOST_UNTOLD { 1.0 } else { told }
    }

    /// At most so many machines: neither pairs nor phases tell more.
    pub(super) fn nothing(most: u32) -> Self {
        let count = Count { best: None, low: 1, high: Some(most), proven: 0 };
        let doubt = Some(Doubt::TooFewConnections);
        Self {
            groups: Vec::new(),
            count,
            doubt,
            of_several_addresses: false,
            by_pages: None,
            do_clocks_refute_pages: false,
        }
    }

    /// These findings, where the machines may be so few.
    pub(super) fn at_fewest(mut self, machines: u32) -> Self {
        self.count.low = self.count.low.min(machines.max(1));
        self
    }

    /// These findings, where hosts may have several addresses each.
    pub(super) fn of_several_addresses(self) -> Self {
        Self { of_several_addresses: true, ..self }
    }

    /// These findings, where lines are not there all along: one of them may then be several machines.
    pub(super) fn changing(mut self) -> Self {
        if self.count.best.is_some() {
            self.count.high = None;
            self.doubt = self.doubt.or(Some(Doubt::ComeAndGo));
        }
        self
    }

    /// These findings, where pairs of addresses may show as many machines as they do. Many lines may be laid
    /// through few connections of more machines each, so they don't exclude those.
    pub(super) fn or_as_many(mut self, occupancy: &Occupancy) -> Self {
        if self.count.best >= Some(MANY_LINES) {
            let by_pairs = occupancy.interval().1.map(|high| high as u32);
            self.count.high = self.count.high.zip(by_pairs).map(|(a, b)| a.max(b));
        }
        self
    }

    /// These findings, where there certainly are so many machines.
    pub(super) fn at_least(mut self, machines: u32) -> Self {
        self.count.low = self.count.low.max(machines);
        self.count.best = self.count.best.map(|best| best.max(machines));
        self
    }

    /// Adds what pairs of addresses show. Where connections may have offsets of their `own`, pairs may show
    /// nothing, and set no lower bound alone.
    pub(super) fn with(mut self, occupancy: &Occupancy, hz: f64, clusters: &[&Cluster], own: Own) -> Self {
        let (best, (low, high)) = (occupancy.told(), occupancy.interval());
        let holds = |count: u32| {
            let is_within = low as u32 <= count && high.is_none_or(|high| count <= high as u32);
            is_within || own == Own::Maybe && occupancy.nats_of(count as usize) > -EXCLUDED_NATS
        };
        if self.count.best.is_some_and(holds) {
            // Phases tell them apart; pairs narrow the interval.
            if own != Own::Mostly {
                self.count.low = self.count.low.max(low as u32).min(self.count.best.unwrap_or(u32::MAX));
            }
            let by_pairs = high.map(|high| high as u32);
            self.count.high = [self.count.high, by_pairs].into_iter().flatten().min();
            return if own == Own::No { self } else { self.or_as_many(occupancy) };
        }
        self.groups.clear();
        self.count.high = high.map(|high| high as u32).or(self.count.high.filter(|high| *high >= low as u32));
        self.count.best = best.map(|best| best as u32);
        self.count.low = if own != Own::Mostly { low as u32 } else { self.count.low.min(low as u32) };
        if self.count.best == Some(1) {
            self.groups.extend(alone(hz, clusters));
        }
        if self.count.best.is_some() {
            self.doubt = None;
        }
        self
    }
}

/// All clusters as those of one machine.
fn alone(hz: f64, clusters: &[&Cluster]) -> Option<Group> {
    let skew_sigma = |cluster: &&&Cluster| cluster.clock.rate_hz.sigma;
    let best = clusters.iter().min_by(|a, b| skew_sigma(a).total_cmp(&skew_sigma(b)))?;
    let members = clusters.iter().flat_map(|cluster| &cluster.members);
    Some(Group {
        hz,
        hz_probability: 1.0,
        regime: Regime::PerPair,
        clock: Some(best.clock),
        behaviour: Behaviour::Steady,
        moved: None,
        rate_hz: best.clock.rate_hz,
        skew_ppm: told_skew(best.clock.rate_hz, hz),
        phase_ticks: None,
        is_weighed: false,
        surely_one: 1.0,
        members: members.map(|&member| (member, MATCH_PROBABILITY)).collect(),
    })
}

/// Groups of the same machine as one, with the clock of the first.
fn merge(groups: Vec<Group>, machine_of: &[usize]) -> Vec<Group> {
    let mut merged: Vec<(usize, Group)> = Vec::new();
    for (line, group) in groups.into_iter().enumerate() {
        match merged.iter_mut().find(|(first, _)| *first == machine_of[line]) {
            Some((_, whole)) => {
                let mut members: BTreeMap<usize, f64> = whole.members.drain(..).collect();
                for (member, probability) in group.members {
                    let sum = members.entry(member).or_default();
                    *sum = (*sum + probability).min(1.0);
                }
                whole.members.extend(members);
                whole.surely_one = whole.surely_one.min(group.surely_one);
            }
            None => merged.push((line, group)),
        }
    }
    merged.into_iter().map(|(_, group)| group).collect()
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
    let told = lines.doubt.is_none() || lines.count() > 0;
    // At other hours there may be any number.
    let most = (lines.doubt != Some(Doubt::BusiestHours)).then_some(tracks);
    Count {
        best: told.then_some(lines.count() as u32),
        low: lines.low.max(1) as u32,
        high: lines.high.or(most).map(|high| high as u32),
        proven: 0,
    }
}
