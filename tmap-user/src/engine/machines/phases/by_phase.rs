//! Machines by phase, for connections whose offsets are random: the way into `phase` and back.
//!
//! Each offset that was found (a connection's own, or one that a pair of addresses shares) becomes a
//! track. The lines that `phase` finds become machines.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    by_pages::Owners,
    findings::Findings,
    hosts::{self, Hosts},
    lines, pages, presence,
};
use crate::engine::{
    clock::fit::{Clock, fit_nominal},
    flows::connection::Connection,
    machines::{
        counters::cluster::Cluster,
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

/// Where a pair of addresses shows more machines than this, their phases lie too close together to tell which
/// pair's counters are one machine: pairs alone tell the number, at a thousandth of the cost.
const MOST_BY_PHASE: usize = 12;

/// Where nearly all connections have an offset of their own, pairs don't tell the number, and phases explain
/// the clocks better than unrelated ones do by this, in nats, phases alone tell it: those of the hundreds of
/// machines that pairs would then show are unrelated.
const CLEARLY_RELATED_NATS: f64 = 10.0;

/// Pages tell whose counters are whose where at least this share of the connections is given to the right
/// machine, as expected, and more than by phases.
const LEAST_TOLD: f64 = 0.6;

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
    let View { hz, clusters, connections, resolution_ns, .. } = view;
    let random: Vec<&Cluster> = set.clusters.iter().map(|&index| &clusters[index]).collect();
    let samples: Vec<Sample> =
        random.iter().map(|cluster| sample_of(cluster, connections, resolution_ns)).collect();
    let peers: Vec<Address> = random.iter().map(|c| connections[c.members[0]].peer()).collect();
    let owners = owners(view, &random, &peers, set);
    let tracks = tracks(view, &random, &samples, &peers);
    let linked = linked(view, &random, owners.as_ref());
    let mut findings = Search { view, set, random: &random, peers: &peers, tracks, linked }.all();
    if !do_pairs_tell(set) {
        return findings;
    }
    if let Some(owners) = owners
        && findings.count.best == Some(owners.machines as u32)
        && !findings.of_several_addresses
        && owners.told(random.iter().map(|c| c.members.len()))
            > findings.told_by_phase(&random).max(LEAST_TOLD)
    {
        findings.groups = owners.groups(hz, &random);
        findings.by_pages = Some(owners.agreement);
    }
    match epochs::fewest(&random, connections, findings.count.low as usize) {
        Some(fewest) => findings.at_fewest(fewest as u32),
        None => findings,
    }
}

/// A search for machines, as if all had shown their counters all along.
struct Search<'a> {
    view: View<'a>,
    set: &'a Random,
    /// The clusters whose offsets are random.
    random: &'a [&'a Cluster],
    /// The peer of each.
    peers: &'a [Address],
    /// The track of each.
    tracks: Vec<Track<'a>>,
    linked: Vec<Linked>,
}

impl Search<'_> {
    /// Finds the machines.
    fn all(&self) -> Findings {
        let Some(occupancy) = occupancy(self.set) else {
            return self.findings(&self.fit(Vec::new()));
        };
        let lines = self.by_pairs(&occupancy);
        let told = self.findings(&lines).with(&occupancy, self.view.hz, self.random, self.set.own);
        let told = match self.hosts(&lines, &occupancy) {
            (Hosts::HaveSeveral, Some(by_phases)) => {
                return self.findings(&by_phases).of_several_addresses();
            }
            (Hosts::MayHaveSeveral { fewest }, _) => told.at_fewest(fewest).of_several_addresses(),
            (Hosts::HaveOne | Hosts::HaveSeveral, _) => told,
        };
        self.or_by_phase(told, &occupancy)
    }

    /// The lines of these tracks, with what is known of their number.
    fn fit_some(&self, tracks: &[Track<'_>], linked: Vec<Linked>, prior: Vec<f64>) -> phase::Lines {
        let View { hz, resolution_ns, options, .. } = self.view;
        let (switches, limits) = (options.evidence, options.limits());
        let settings =
            phase::Settings { resolution_ns, switches, prior, linked, limits, ..Default::default() };
        phase::fit(tracks, hz, &settings)
    }

    fn fit(&self, prior: Vec<f64>) -> phase::Lines {
        self.fit_some(&self.tracks, self.linked.clone(), prior)
    }

    /// The lines that phases and pairs show together.
    fn by_pairs(&self, occupancy: &Occupancy) -> phase::Lines {
        if occupancy.fewest > MOST_BY_PHASE {
            return phase::Lines::nothing(self.tracks.len(), 0, Doubt::TooFewConnections);
        }
        self.fit(prior_of_lines(occupancy))
    }

    /// The machines of these lines.
    fn findings(&self, found: &phase::Lines) -> Findings {
        let Self { view: View { hz, connections, .. }, set, random, peers, .. } = self;
        let began_ns: Vec<u64> = random.iter().map(|c| connections[c.members[0]].flow.first_ns).collect();
        let machine_of_line = lines::join_by_peers(found, peers);
        let lives = lines::lives(&machine_of_line, found, &began_ns);
        let fewest = lines::fewest(&machine_of_line, &lives);
        let told = Findings::of(*hz, set.regime, random, &machine_of_line, found).at_fewest(fewest);
        let changes = || fewest < lines::machines(&machine_of_line) || presence::is_uneven(&lives);
        if set.regime == Regime::PerConnection && changes() { told.changing() } else { told }
    }

    /// Whether hosts have several addresses each, and the lines that phases alone show, where they may.
    /// `lines` are those of phases and pairs together.
    fn hosts(&self, lines: &phase::Lines, occupancy: &Occupancy) -> (Hosts, Option<phase::Lines>) {
        let of_phases = if occupancy.fewest > MOST_BY_PHASE {
            let fullest = hosts::of_fullest_pairs(self.peers);
            let some: Vec<Track<'_>> = fullest.into_iter().map(|at| self.tracks[at]).collect();
            self.fit_some(&some, Vec::new(), occupancy.says_nothing()).of_phases
        } else {
            lines.of_phases.clone()
        };
        if Hosts::of(&of_phases, occupancy) == Hosts::HaveOne {
            return (Hosts::HaveOne, None);
        }
        let by_phases = self.fit(occupancy.says_nothing());
        (Hosts::of(&by_phases.of_phases, occupancy), Some(by_phases))
    }

    /// What was told, or what phases alone tell, where clocks contradict what was told.
    fn or_by_phase(&self, told: Findings, occupancy: &Occupancy) -> Findings {
        let Self { view: View { connections, .. }, set, random, .. } = self;
        let apart = skews_apart(random) as u32;
        let are_near = || random.iter().all(|cluster| is_near(connections[cluster.members[0]]));
        let are_apart =
            || one_clock::are_apart(&random.iter().map(|cluster| &cluster.clock).collect::<Vec<_>>());
        let is_refuted =
            told.count.high.is_some_and(|high| high < apart || high == 1 && are_near() && are_apart());
        let is_open = told.count.best.is_none() && set.own == Own::Mostly;
        if told.doubt == Some(Doubt::BudgetSpent) || !(is_refuted || is_open) {
            return told;
        }
        let lines = self.fit(Vec::new());
        let by_phase = self.findings(&lines);
        let do_phases_tell =
            lines.related_nats > CLEARLY_RELATED_NATS && by_phase.count.high.is_none_or(|high| apart <= high);
        match (do_phases_tell, is_refuted) {
            (true, _) => by_phase.or_as_many(occupancy).at_least(apart),
            (false, true) => Findings::nothing(random.len() as u32).at_least(apart),
            (false, false) => told,
        }
    }
}

/// Whose counters are whose by the pages in which their connections come, where pairs tell how many machines
/// there are, and pages whose counters are whose.
fn owners(view: View<'_>, counters: &[&Cluster], peers: &[Address], set: &Random) -> Option<Owners> {
    let View { connections, options, .. } = view;
    let machines = occupancy(set).filter(|_| set.own == Own::No && options.pages)?.told()?;
    let members =
        counters.iter().enumerate().flat_map(|(number, c)| c.members.iter().map(move |m| (number, *m)));
    let opened = members.filter(|(_, member)| connections[*member].flow.side == Some(Side::Client));
    let links = pages::links(opened.map(|(number, m)| (connections[m].flow.first_ns, number)).collect());
    Owners::of(peers, &links, machines)
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

/// The evidence that a cluster shows besides its clock: that of its first connection whose SYN was seen.
/// Without a SYN only the TTL counts, because a server's SYN-ACK depends on the client's SYN.
fn shown(hz: f64, cluster: &Cluster, connections: &[&Connection]) -> Evidence {
    let flows = || cluster.members.iter().map(|&member| &connections[member].flow);
    let opened = flows().find_map(|flow| flow.fingerprint.filter(|print| print.side == Side::Client));
    let hop_limit = flows().next().map_or(0, |flow| flow.hop_limit);
    Evidence::new(Some(hz), Some(true), opened.as_ref(), opened.map_or(hop_limit, |print| print.hop_limit))
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
        let clock = fit_nominal(envelope, cluster.clock.hz, None, resolution_ns);
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
