//! Machines by phase, for connections whose offsets are random: the way into `phase` and back.
//!
//! Each offset that was found (a connection's own, or one that a pair of addresses shares) becomes a
//! track. The lines that `phase` finds become machines.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    by_pages::{Agreement, Owners},
    hosts::{self, Hosts},
    lines, pages, presence,
};
use crate::engine::{
    clock::fit::{Clock, SKEW_PRIOR_SIGMA},
    flows::connection::Connection,
    machines::{
        counters::{behaviours::Behaviour, cluster::Cluster},
        group::{Count, Group, MATCH_PROBABILITY, told_skew},
        offsets::{by_offset::wraps_between, one_clock},
        regime::{
            epochs,
            judgement::{Own, Random},
            occupancy::Occupancy,
        },
        source_ports::SourcePorts,
    },
    options::Options,
    os::{likeness::Evidence, signature::hops},
    phase::{
        self, Track,
        links::{Linked, Reason},
        sample::Sample,
    },
    types::{Doubt, Estimate, Point, Regime, Side, joint},
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

/// The lowest probability of a group's member: less means "not this machine".
const MIN_PROBABILITY: f64 = 0.01;

/// Where connections may have offsets of their own, a number of machines that phases tell is believed unless
/// pairs make it less likely than others by this, in nats: a thousand times.
const EXCLUDED_NATS: f64 = 7.0;

/// Where a pair of addresses shows more machines than this, their phases lie too close together to tell which
/// pair's counters are one machine: pairs alone tell the number, at a thousandth of the cost.
const MOST_BY_PHASE: usize = 12;

/// So many machines by phase are many.
const MANY_LINES: u32 = 6;

/// Where nearly all connections have an offset of their own, pairs don't tell the number, and phases explain
/// the clocks better than unrelated ones do by this, in nats, phases alone tell it: those of the hundreds of
/// machines that pairs would then show are unrelated.
const CLEARLY_RELATED_NATS: f64 = 10.0;

/// Pages tell whose counters are whose where at least this share of the connections is given to the right
/// machine, as expected, and more than by phases.
const LEAST_TOLD: f64 = 0.6;

/// Where phases give no more than this share of the connections to the right machine, they contradict
/// nothing.
const MOST_UNTOLD: f64 = 0.8;

/// What an address's clusters of one tick rate are looked at with.
#[derive(Clone, Copy)]
pub(in crate::engine::machines) struct View<'a> {
    /// The nominal tick rate.
    pub hz: f64,
    /// All clusters of it.
    pub clusters: &'a [Cluster],
    /// The connections that their members are.
    pub connections: &'a [&'a Connection],
    /// What source ports tell of them.
    pub source_ports: &'a SourcePorts,
    /// The resolution of the records' times, in nanoseconds.
    pub resolution_ns: u64,
    /// Settings.
    pub options: &'a Options,
}

/// Finds the machines behind those clusters whose offsets are random. Where all counters of pairs changed at
/// once, there may be as few as one epoch shows.
pub(in crate::engine::machines) fn find(view: View<'_>, set: &Random) -> Findings {
    let View { hz, clusters, connections, .. } = view;
    let all: Vec<&Cluster> = set.clusters.iter().map(|&index| &clusters[index]).collect();
    let owners = owners(view, &all, set);
    let mut findings = find_all(view, set, owners.as_ref());
    if !do_pairs_tell(set) {
        return findings;
    }
    if let Some(owners) = owners
        && findings.count.best == Some(owners.machines as u32)
        && owners.told(all.iter().map(|c| c.members.len())) > findings.told_by_phase(&all).max(LEAST_TOLD)
    {
        findings.groups = owners.groups(hz, &all);
        findings.by_pages = Some(owners.agreement);
    }
    match epochs::fewest(&all, connections, findings.count.low as usize) {
        Some(fewest) => findings.at_fewest(fewest as u32),
        None => findings,
    }
}

/// Finds the machines as if all had shown their counters all along.
fn find_all(view: View<'_>, set: &Random, owners: Option<&Owners>) -> Findings {
    let View { hz, clusters, connections, resolution_ns, options, .. } = view;
    let random: Vec<&Cluster> = set.clusters.iter().map(|&index| &clusters[index]).collect();
    let samples: Vec<Sample> =
        random.iter().map(|cluster| sample_of(cluster, connections, resolution_ns)).collect();
    let peers: Vec<Address> = random.iter().map(|c| connections[c.members[0]].peer()).collect();
    let tracks = tracks(view, &random, &samples, &peers);
    let fit_some = |tracks: &[Track<'_>], linked, prior| {
        let (switches, limits) = (options.evidence, options.limits());
        let settings =
            phase::Settings { resolution_ns, switches, prior, linked, limits, ..Default::default() };
        phase::fit(tracks, hz, &settings)
    };
    let linked = linked(view, &random, owners);
    let fit = |prior| fit_some(&tracks, linked.clone(), prior);
    let began_ns: Vec<u64> = random.iter().map(|c| connections[c.members[0]].flow.first_ns).collect();
    let findings = |found| {
        let machine_of_line = lines::join_by_peers(found, &peers);
        let lives = lines::lives(&machine_of_line, found, &began_ns);
        let fewest = lines::fewest(&machine_of_line, &lives);
        let told = Findings::of(hz, set.regime, &random, &machine_of_line, found).at_fewest(fewest);
        let changes = || fewest < lines::machines(&machine_of_line) || presence::is_uneven(&lives);
        if set.regime == Regime::PerConnection && changes() { told.changing() } else { told }
    };
    let Some(occupancy) = occupancy(set) else {
        return findings(&fit(Vec::new()));
    };
    let by_pairs = if occupancy.fewest > MOST_BY_PHASE {
        phase::Lines::nothing(tracks.len(), 0, Doubt::TooFewConnections)
    } else {
        fit(prior_of_lines(&occupancy))
    };
    let told = findings(&by_pairs).with(&occupancy, hz, &random, set.own);
    let of_phases = if occupancy.fewest > MOST_BY_PHASE {
        let some: Vec<Track<'_>> = hosts::of_fullest_pairs(&peers).into_iter().map(|at| tracks[at]).collect();
        fit_some(&some, Vec::new(), occupancy.says_nothing()).of_phases
    } else {
        by_pairs.of_phases.clone()
    };
    let told = if Hosts::of(&of_phases, &occupancy) != Hosts::HaveOne {
        let by_phases = fit(occupancy.says_nothing());
        match Hosts::of(&by_phases.of_phases, &occupancy) {
            Hosts::HaveSeveral => return findings(&by_phases).of_several_addresses(),
            Hosts::MayHaveSeveral { fewest } => told.at_fewest(fewest).of_several_addresses(),
            Hosts::HaveOne => told,
        }
    } else {
        told
    };
    let apart = skews_apart(&random) as u32;
    let are_near = || random.iter().all(|cluster| is_near(connections[cluster.members[0]]));
    let are_apart = || one_clock::are_apart(&random.iter().map(|cluster| &cluster.clock).collect::<Vec<_>>());
    let is_refuted =
        told.count.high.is_some_and(|high| high < apart || high == 1 && are_near() && are_apart());
    let is_open = told.count.best.is_none() && set.own == Own::Mostly;
    if told.doubt == Some(Doubt::BudgetSpent) || !(is_refuted || is_open) {
        return told;
    }
    let lines = fit(Vec::new());
    let by_phase = findings(&lines);
    let do_phases_tell =
        lines.related_nats > CLEARLY_RELATED_NATS && by_phase.count.high.is_none_or(|high| apart <= high);
    match (do_phases_tell, is_refuted) {
        (true, _) => by_phase.or_as_many(&occupancy).at_least(apart),
        (false, true) => Findings::nothing(random.len() as u32).at_least(apart),
        (false, false) => told,
    }
}

/// Whose counters are whose by the pages in which their connections come, where pairs tell how many machines
/// there are, and pages whose counters are whose.
fn owners(view: View<'_>, counters: &[&Cluster], set: &Random) -> Option<Owners> {
    let View { connections, options, .. } = view;
    let machines = occupancy(set).filter(|_| set.own == Own::No && options.pages)?.told()?;
    let peers: Vec<Address> = counters.iter().map(|c| connections[c.members[0]].peer()).collect();
    let members =
        counters.iter().enumerate().flat_map(|(number, c)| c.members.iter().map(move |m| (number, *m)));
    let opened = members.filter(|(_, member)| connections[*member].flow.side == Some(Side::Client));
    let links = pages::links(opened.map(|(number, m)| (connections[m].flow.first_ns, number)).collect());
    Owners::of(&peers, &links, machines)
}

/// The track of each cluster, of which these are the sample and the peer.
fn tracks<'a>(
    view: View<'a>,
    random: &[&'a Cluster],
    samples: &'a [Sample],
    peers: &[Address],
) -> Vec<Track<'a>> {
    let View { hz, connections, .. } = view;
    let mut numbers = BTreeMap::new();
    random
        .iter()
        .zip(samples)
        .zip(peers)
        .map(|((cluster, sample), peer)| Track {
            hull: cluster.envelope.points(),
            sample: sample.points(),
            offered: cluster.envelope.offered(),
            shown: shown(hz, cluster, connections),
            path: {
                let next = numbers.len();
                *numbers.entry(*peer).or_insert(next)
            },
        })
        .collect()
}

/// Which clusters are most likely of one machine, by other evidence than their clocks.
fn linked(view: View<'_>, random: &[&Cluster], owners: Option<&Owners>) -> Vec<Linked> {
    let View { connections, source_ports, options, .. } = view;
    let members =
        random.iter().enumerate().flat_map(|(c, cluster)| cluster.members.iter().map(move |&m| (m, c)));
    let mut linked = vec![Linked { reason: Reason::Ports, pairs: source_ports.links(&members.collect()) }];
    if options.pages {
        let of_pages = || pages::links(opened(random, connections));
        linked.push(Linked { reason: Reason::Times, pairs: owners.map_or_else(of_pages, Owners::pairs) });
    }
    linked
}

/// Those clusters of a single connection that the address opened, with the times in nanoseconds when they
/// begin. Others last for longer than a page.
fn opened(random: &[&Cluster], connections: &[&Connection]) -> Vec<(u64, usize)> {
    let opened = |(number, cluster): (usize, &&Cluster)| {
        let [only] = cluster.members[..] else { return None };
        let flow = &connections[only].flow;
        (flow.side == Some(Side::Client)).then_some((flow.first_ns, number))
    };
    random.iter().enumerate().filter_map(opened).collect()
}

/// Phases tell pairs of addresses apart where hosts are no more hops away than this: behind more, the paths
/// to different peers may differ by a tick.
const MOST_HOPS: u8 = 2;

/// Whether a connection comes from a host near the sensor.
fn is_near(connection: &Connection) -> bool {
    hops(connection.flow.hop_limit).is_some_and(|hops| hops <= MOST_HOPS)
}

/// Skews that differ by more than this, and by more than their errors reach, are those of several machines:
/// no clock wanders so far within a capture.
const APART: f64 = 3e-6;
const APART_DEVIATIONS: f64 = 5.0;

/// How many machines the clusters' skews certainly show.
fn skews_apart(clusters: &[&Cluster]) -> usize {
    let skew = |cluster: &&Cluster| {
        let Clock { hz, rate_hz, .. } = cluster.clock;
        Estimate { value: rate_hz.value / hz - 1.0, sigma: rate_hz.sigma / hz }
    };
    let mut skews: Vec<Estimate> = clusters.iter().map(skew).filter(|skew| skew.sigma < APART).collect();
    skews.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut apart: Vec<Estimate> = Vec::new();
    for skew in skews {
        let is_apart = |last: &Estimate| {
            skew.value - last.value > APART + APART_DEVIATIONS * joint(skew.sigma, last.sigma)
        };
        if apart.last().is_none_or(is_apart) {
            apart.push(skew);
        }
    }
    apart.len()
}

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

/// Whether pairs of addresses tell the number of machines; not where each connection may have an offset of
/// its own.
fn do_pairs_tell(random: &Random) -> bool {
    random.regime != Regime::PerConnection && !random.is_left_to_phases()
}

/// What pairs of addresses show of the number of machines, where they tell it.
fn occupancy(random: &Random) -> Option<Occupancy> {
    do_pairs_tell(random).then(|| match random.own {
        Own::No if random.are_visits => Occupancy::of(&random.sizes).of_visits(),
        Own::No => Occupancy::of(&random.sizes),
        Own::Maybe | Own::Mostly => Occupancy::of_two_ways(&random.sizes),
    })
}

/// The log prior of each number of lines, from 0: what the pairs show, in nats.
fn prior_of_lines(occupancy: &Occupancy) -> Vec<f64> {
    let impossible = std::iter::repeat_n(f64::NEG_INFINITY, occupancy.fewest - 1);
    std::iter::once(0.0).chain(impossible).chain(occupancy.nats.iter().copied()).collect()
}

impl Findings {
    /// What `lines` show.
    fn of(
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
    fn told_by_phase(&self, counters: &[&Cluster]) -> f64 {
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
    fn nothing(most: u32) -> Self {
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
    fn at_fewest(mut self, machines: u32) -> Self {
        self.count.low = self.count.low.min(machines.max(1));
        self
    }

    /// These findings, where hosts may have several addresses each.
    fn of_several_addresses(self) -> Self {
        Self { of_several_addresses: true, ..self }
    }

    /// These findings, where lines are not there all along: one of them may then be several machines.
    fn changing(mut self) -> Self {
        if self.count.best.is_some() {
            self.count.high = None;
            self.doubt = self.doubt.or(Some(Doubt::ComeAndGo));
        }
        self
    }

    /// These findings, where pairs of addresses may show as many machines as they do. Many lines may be laid
    /// through few connections of more machines each, so they don't exclude those.
    fn or_as_many(mut self, occupancy: &Occupancy) -> Self {
        if self.count.best >= Some(MANY_LINES) {
            let by_pairs = occupancy.interval().1.map(|high| high as u32);
            self.count.high = self.count.high.zip(by_pairs).map(|(a, b)| a.max(b));
        }
        self
    }

    /// These findings, where there certainly are so many machines.
    fn at_least(mut self, machines: u32) -> Self {
        self.count.low = self.count.low.max(machines);
        self.count.best = self.count.best.map(|best| best.max(machines));
        self
    }

    /// Adds what pairs of addresses show. Where connections may have offsets of their `own`, pairs may show
    /// nothing, and set no lower bound alone.
    fn with(mut self, occupancy: &Occupancy, hz: f64, clusters: &[&Cluster], own: Own) -> Self {
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
