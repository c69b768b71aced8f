//! From an analysis pass to the plain data of a report.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Tunnel;

use super::{
    analysis::Analysis,
    counters::behaviours::{Behaviour, LEAST_LOST, OLD_APPLE_HZ},
    group::{Group, SURE},
    history::{
        loads::{self, Open},
        source_history::{LastPass, SourceHistory},
    },
    siblings::alike::Candidate,
};
use crate::engine::{
    clock::{
        boot,
        fit::{self, Clock},
        phase_point::{self, PhasePoint},
    },
    flows::{FrozenSource, connection::Connection},
    options::Options,
    os::{self, ClockTraits, Observations, OsReport},
    snapshot::{
        AddressReport, Boot, ConnectionReport, CounterSpan, MAX_PEERS, MAX_PORTS, MAX_TUNNELS, MachineReport,
        PeerShare, PortShare, Unassigned,
    },
    types::{Doubt, Estimate, Regime, Side, WRAP_TICKS, seconds_between},
};

/// The report on a source address, by its last analysis pass.
pub(super) fn address(history: &SourceHistory, frozen: &FrozenSource, options: &Options) -> AddressReport {
    let mut report = AddressReport {
        connections: frozen.connections_total,
        connections_forgotten: forgotten(frozen),
        segments: frozen.connections.iter().map(|c| c.flow.segments).sum(),
        zero_tsvals: frozen.zero_tsvals,
        tsval_jumps: frozen.connections.iter().map(|c| u64::from(c.flow.jumps)).sum(),
        tunnels: tunnels(&frozen.connections),
        unstamped: frozen.unstamped.clone(),
        source_ports: history
            .last_pass
            .as_ref()
            .and_then(|last_pass| last_pass.analysis.source_ports.report()),
        unassigned: unassigned(history.last_pass.as_ref(), &frozen.connections, options),
        first_seen_ns: frozen.connections.iter().map(|c| c.flow.first_ns).min().unwrap_or_default(),
        last_seen_ns: frozen.connections.iter().map(|c| c.flow.last_ns).max().unwrap_or_default(),
        ..AddressReport::nothing(history.address)
    };
    let Some(last_pass) = &history.last_pass else {
        report.doubt = Some(no_clock(frozen));
        return report;
    };
    let analysis = &last_pass.analysis;
    report.connections_seen_twice = analysis.copies.len() as u64;
    report.regime = analysis.regime;
    report.evidence.clone_from(&analysis.evidence);
    report.doubt = analysis.doubt.map(|doubt| match doubt {
        Doubt::TooFewSegments if analysis.groups.is_empty() => no_clock(frozen),
        other => other,
    });
    report.machines = analysis.count.best;
    let any = !analysis.groups.is_empty() || analysis.count.low > 0;
    report.machines_low = any.then_some(analysis.count.low);
    report.machines_high = analysis.count.high.filter(|_| any);
    report.machines_proven = any.then_some(analysis.count.proven);
    report.machine_list = machines(history, last_pass, frozen, options);
    report.connections_forgotten_told = told(history, last_pass, frozen);
    report
}

/// Connections that made room for others.
fn forgotten(frozen: &FrozenSource) -> u64 {
    frozen.connections_total.saturating_sub(frozen.connections.len() as u64)
}

/// How many of them a machine keeps the number of.
fn told(history: &SourceHistory, last_pass: &LastPass, frozen: &FrozenSource) -> u64 {
    let machines = (&last_pass.analysis.groups[..], &last_pass.numbers[..]);
    match forgotten(frozen) {
        0 => 0,
        all => loads::told(&history.discarded, machines, &frozen.connections).min(all),
    }
}

/// Why no connection shows a clock.
fn no_clock(frozen: &FrozenSource) -> Doubt {
    let segments: u64 = frozen.connections.iter().map(|connection| connection.flow.segments).sum();
    let is_zero = segments > 0 && frozen.connections.iter().all(|c| c.flow.zero_tsvals == c.flow.segments);
    if is_zero { Doubt::ZeroTsvals } else { Doubt::TooFewSegments }
}

/// What is known of the connections that are in no group of the last pass.
fn unassigned(
    last_pass: Option<&LastPass>,
    connections: &[Connection],
    options: &Options,
) -> Option<Unassigned> {
    let mut is_assigned = vec![false; connections.len()];
    let groups = last_pass.iter().flat_map(|last_pass| &last_pass.analysis.groups);
    for &(position, _) in groups.flat_map(|group| &group.members) {
        is_assigned[position] = true;
    }
    // What copies say, others have said.
    for &position in last_pass.iter().flat_map(|last_pass| &last_pass.analysis.copies) {
        is_assigned[position] = true;
    }
    let rest = || connections.iter().zip(&is_assigned).filter(|(_, assigned)| !**assigned).map(|(c, _)| c);
    let without_rate = last_pass.map_or_else(|| rest().count(), |last_pass| last_pass.analysis.without_rate);
    let length_s = |c: &Connection| seconds_between(c.flow.first_ns, c.flow.last_ns);
    let longest_s = rest().map(length_s).reduce(f64::max)?;
    let seen = observations(rest().map(|connection| (connection, 1.0)));
    Some(Unassigned {
        connections: rest().count() as u64,
        segments: rest().map(|connection| connection.flow.segments).sum(),
        without_rate: without_rate as u64,
        unanswered: last_pass.map_or(0, |last_pass| last_pass.analysis.unanswered) as u64,
        longest_s,
        most_tsvals: rest().map(Connection::tsvals).max().unwrap_or(0),
        os: os::guess(None, &seen, options.signatures()),
        ports: ports(rest().map(|connection| (connection, 1.0))),
    })
}

/// The tunnels that the segments of these connections came in.
fn tunnels(connections: &[Connection]) -> Vec<Tunnel> {
    let mut tunnels = Vec::new();
    for tunnel in connections.iter().filter_map(|connection| connection.flow.tunnel) {
        if tunnels.len() < MAX_TUNNELS && !tunnels.contains(&tunnel) {
            tunnels.push(tunnel);
        }
    }
    tunnels
}

/// The machines that a pass found behind an address, by number.
pub(super) fn machines(
    history: &SourceHistory,
    last_pass: &LastPass,
    frozen: &FrozenSource,
    options: &Options,
) -> Vec<MachineReport> {
    let connections = &frozen.connections;
    // Phases refer to a whole second: there, a clock of whole hertz has the same phase as at any other
    // whole second, apart from its skew. So phases of different addresses can be compared.
    let analysed = &connections[..last_pass.connections];
    let first_ns = analysed.iter().map(|connection| connection.flow.first_ns).min().unwrap_or_default();
    let reference_ns = first_ns - first_ns % 1_000_000_000;
    let groups = &last_pass.analysis.groups;
    let kept = loads::kept(&history.discarded, groups, analysed);
    let mut machines: Vec<MachineReport> = groups
        .iter()
        .zip(&last_pass.numbers)
        .zip(&kept)
        .map(|((group, &number), kept)| {
            let source_ports = last_pass.analysis.source_ports.of_machine(group, reference_ns);
            let held = machine(history, last_pass, group, number, reference_ns, connections, options);
            let discarded: f64 = kept.iter().map(|kept| kept.probability * kept.connections).sum();
            MachineReport { source_ports, connections: held.connections + discarded, ..held }
        })
        .collect();
    let of_machines = told(history, last_pass, frozen);
    let of_none = forgotten(frozen).saturating_sub(of_machines);
    let unowned = of_none.min(history.discarded.unowned + frozen.unseen);
    let begun_again = frozen.begun_again.min(of_machines + unowned);
    loads::share_out(&mut machines, groups, &kept, Open { unowned, begun_again });
    machines.sort_by_key(|machine| machine.id);
    machines
}

/// The counter value of a clock at `at_ns`, modulo `period` ticks.
fn counter_value(clock: &Clock, at_ns: u64, period: f64) -> Estimate {
    let at = clock.at(at_ns);
    Estimate { value: at.value.rem_euclid(period), sigma: at.sigma }
}

fn machine(
    history: &SourceHistory,
    last_pass: &LastPass,
    group: &Group,
    number: u32,
    reference_ns: u64,
    connections: &[Connection],
    options: &Options,
) -> MachineReport {
    let members = || group.members.iter().map(|&(position, p)| (&connections[position], p));
    let assigned = members().filter(|(connection, _)| connection.machine == number).count() as f64;
    let weight = if group.is_weighed { members().map(|(_, p)| p).sum() } else { assigned };
    let global = group.regime == Regime::Global;
    let keeps_time = global && group.behaviour == Behaviour::Steady && !may_lose(group);
    let clock = group.clock;
    // Whoever forges a segment of a known clock doesn't tell what its machine is like.
    let is_credible = |position: usize| !last_pass.analysis.doubtful.contains(&position);
    let voters = || {
        let voters = group.members.iter().filter(move |(position, _)| is_credible(*position));
        voters.map(|&(position, p)| (&connections[position], p))
    };
    // Those that are surely its own, where any is: others show only perhaps when it was there.
    let has_sure = group.members.iter().any(|(_, p)| *p >= SURE);
    let surest = || members().filter(move |(_, p)| !has_sure || *p >= SURE).map(|(connection, _)| connection);
    let os = system(group, voters(), options);
    let peers = peers(voters());
    let from_client = voters().any(|(c, _)| c.flow.fingerprint.is_some_and(|f| f.side == Side::Client));
    let jiffies = os.jiffies.min(if from_client { 1.0 } else { os::jiffies_by_rate(group.hz) });
    let first_seen_ns = surest().map(|c| c.flow.first_ns).min().unwrap_or_default();
    let last_seen_ns = surest().map(|c| c.flow.last_ns).max().unwrap_or_default();
    let seen_s = last_seen_ns.saturating_sub(first_seen_ns) as f64 * 1e-9;
    MachineReport {
        id: number,
        tick_hz: group.hz,
        tick_probability: group.hz_probability,
        rate_hz: group.rate_hz,
        skew_ppm: group.skew_ppm,
        offset_ticks: clock.filter(|_| global).map(|clock| counter_value(&clock, reference_ns, WRAP_TICKS)),
        phase_ticks: clock
            .filter(|_| group.phase_ticks.is_some())
            .map(|clock| counter_value(&clock, reference_ns, 1.0)),
        is_weighed: group.is_weighed,
        reference_ns,
        boot: clock.filter(|_| keeps_time).map(|clock| boot::boot(&with_skew(clock, group), seen_s, jiffies)),
        boot_if_fixed: boot_if_fixed(group, seen_s, &os, jiffies),
        connections: weight + history.discarded.of_machine(number) as f64,
        load_percent: 0.0,
        load_low_percent: 0.0,
        load_high_percent: 0.0,
        ports: ports(voters()),
        source_ports: None,
        peers_total: peers.len() as u64,
        peers: peers.into_iter().take(MAX_PEERS).collect(),
        first_seen_ns,
        last_seen_ns,
        os,
    }
}

/// Whether a machine's counter may lose ticks, as far as its rate shows: then it doesn't tell the boot.
fn may_lose(group: &Group) -> bool {
    let slowest_hz = group.rate_hz.value - 2.0 * group.rate_hz.sigma;
    group.hz == OLD_APPLE_HZ && slowest_hz < group.hz * (1.0 - LEAST_LOST)
}

/// The clock with the skew that all connections of the machine gave, where they gave one. The clock's own
/// skew is combined with a prior for matching, which would blur a boot time of weeks ago. Where the skew is
/// too uncertain to be told, it is combined with what clocks are in general.
fn with_skew(clock: Clock, group: &Group) -> Clock {
    let skew = match group.skew_ppm {
        Some(ppm) => Estimate { value: ppm.value * 1e-6, sigma: ppm.sigma * 1e-6 },
        None => fit::likely_skew(Estimate {
            value: group.rate_hz.value / group.hz - 1.0,
            sigma: group.rate_hz.sigma / group.hz,
        }),
    };
    Clock { skew, ..clock }
}

/// When the machine booted if its offset is its own, where the regime is open: with a single connection, or
/// with a single peer. An offset that several connections share is not drawn for each connection.
fn boot_if_fixed(group: &Group, seen_s: f64, os: &OsReport, jiffies: f64) -> Option<(Boot, f64)> {
    let is_open = group.regime == Regime::Undetermined && !group.is_weighed;
    let clock = group.clock.filter(|_| is_open && group.behaviour == Behaviour::Steady)?;
    let [fixed, per_pair, per_connection] = os.offsets;
    let others = if group.members.len() > 1 { per_pair } else { per_pair + per_connection };
    let probability = fixed / (fixed + others).max(f64::MIN_POSITIVE);
    Some((boot::boot(&with_skew(clock, group), seen_s, jiffies), probability))
}

/// The operating system of a machine.
fn system<'a>(
    group: &Group,
    members: impl Iterator<Item = (&'a Connection, f64)>,
    options: &Options,
) -> OsReport {
    let clock = ClockTraits { hz: (group.hz > 0.0).then_some(group.hz), regime: group.regime };
    // No known system has a constant rate that is no nominal one.
    let is_unlisted = group.hz <= 0.0 && group.behaviour == Behaviour::Steady;
    os::guess(Some(clock).filter(|_| !is_unlisted), &observations(members), options.signatures())
}

/// Handshakes and TTLs of connections, each with its weight.
fn observations<'a>(members: impl Iterator<Item = (&'a Connection, f64)>) -> Observations {
    let mut observations = Observations::default();
    for (connection, weight) in members {
        observations.add(connection.flow.fingerprint, connection.flow.hop_limit, weight);
        observations.last_seen_ns = observations.last_seen_ns.max(connection.flow.last_ns);
    }
    observations
}

/// The probability that a machine's offset is its own, by its regime: the value of
/// [`Candidate::global`].
fn offset_is_own(regime: Regime) -> f64 {
    match regime {
        Regime::Global => 1.0,
        Regime::PerPair | Regime::PerConnection => 0.0,
        // With one peer or one connection, either guess would be wrong for half of all addresses.
        Regime::Undetermined | Regime::Mixed => 0.5,
    }
}

/// The machines behind an address that can be compared with other addresses' machines.
pub(super) fn candidates(history: &SourceHistory) -> impl Iterator<Item = Candidate> {
    history.last_pass.iter().flat_map(|last_pass| {
        last_pass.analysis.groups.iter().zip(&last_pass.numbers).filter_map(|(group, &machine)| {
            let global = offset_is_own(group.regime);
            let clock = group.clock?;
            let ports = last_pass.analysis.source_ports.of_machine(group, clock.reference_ns);
            let boundary = ports.and_then(|ports| ports.boundary);
            Some(Candidate { address: history.address, machine, clock, global, boundary })
        })
    })
}

/// The connections of which none of the machines surely is the owner, by their places.
pub(super) fn unsure(analysis: &Analysis) -> BTreeSet<usize> {
    let mut best: BTreeMap<usize, f64> = BTreeMap::new();
    for &(position, probability) in analysis.groups.iter().flat_map(|group| &group.members) {
        let known = best.entry(position).or_default();
        *known = known.max(probability);
    }
    best.into_iter().filter(|(_, probability)| *probability < SURE).map(|(position, _)| position).collect()
}

/// What a machine has of a port or a peer.
#[derive(Clone, Copy, Default)]
struct Weight {
    /// Connections; a sum of probabilities.
    connections: f64,
    /// Whether one of them is surely its own.
    is_sure: bool,
}

/// What these connections, each with its probability, have of what `kind` tells of them.
fn weights<'a, K: Ord>(
    members: impl Iterator<Item = (&'a Connection, f64)>,
    kind: impl Fn(&Connection) -> K,
) -> BTreeMap<K, Weight> {
    let mut weights: BTreeMap<K, Weight> = BTreeMap::new();
    for (connection, probability) in members {
        let weight = weights.entry(kind(connection)).or_default();
        weight.connections += probability;
        weight.is_sure |= probability >= SURE;
    }
    weights
}

/// Service ports by share, the largest first. Connections that are perhaps the machine's show none: they are
/// shared out as all others are, and so any machine would have any port.
fn ports<'a>(members: impl Iterator<Item = (&'a Connection, f64)>) -> Vec<PortShare> {
    let weights = weights(members, Connection::service);
    let total: f64 = weights.values().map(|weight| weight.connections).sum();
    let of_port = |((port, side), Weight { connections, .. })| PortShare {
        port,
        side,
        share_percent: 100.0 * connections / total,
        connections,
    };
    let mut shares: Vec<PortShare> =
        weights.into_iter().filter(|(_, weight)| weight.is_sure).map(of_port).collect();
    shares.sort_by(|a, b| b.share_percent.total_cmp(&a.share_percent).then(a.port.cmp(&b.port)));
    shares.truncate(MAX_PORTS);
    shares
}

/// All peers of which a connection is surely the machine's, those with the most connections first.
fn peers<'a>(members: impl Iterator<Item = (&'a Connection, f64)>) -> Vec<PeerShare> {
    let weights = weights(members, Connection::peer).into_iter().filter(|(_, weight)| weight.is_sure);
    let of_peer = |(address, weight): (_, Weight)| PeerShare { address, connections: weight.connections };
    let mut shares: Vec<PeerShare> = weights.map(of_peer).collect();
    shares.sort_by(|a, b| b.connections.total_cmp(&a.connections).then(a.address.cmp(&b.address)));
    shares
}

/// The listing of an address's connections.
pub(super) fn connections(history: &SourceHistory, connections: &[Connection]) -> Vec<ConnectionReport> {
    let mut best: BTreeMap<usize, (u32, f64, &Group)> = BTreeMap::new();
    let mut steps = BTreeMap::new();
    if let Some(last_pass) = &history.last_pass {
        steps = last_pass.analysis.source_ports.steps();
        for (group, &number) in last_pass.analysis.groups.iter().zip(&last_pass.numbers) {
            for &(position, probability) in &group.members {
                let entry = best.entry(position).or_insert((number, probability, group));
                if probability > entry.1 {
                    *entry = (number, probability, group);
                }
            }
        }
    }
    connections
        .iter()
        .enumerate()
        .map(|(position, connection)| {
            let assigned = best.get(&position);
            ConnectionReport {
                src: connection.key.src,
                src_port: connection.key.src_port,
                dst: connection.key.dst,
                dst_port: connection.key.dst_port,
                machine: assigned.map(|(number, ..)| *number),
                probability: assigned.map(|(_, probability, _)| *probability),
                tunnel: connection.flow.tunnel,
                segments: connection.flow.segments,
                payload_bytes: connection.flow.payload_bytes,
                side: connection.service().1,
                first_seen_ns: connection.flow.first_ns,
                last_seen_ns: connection.flow.last_ns,
                rate_hz: connection.measured_rate(),
                place: phase_point_of(connection, history, assigned.map(|(.., group)| *group)),
                counter: counter_of(connection, assigned.map(|(.., group)| *group)),
                goes_on_from: steps.get(&position).copied(),
            }
        })
        .collect()
}

/// The phase point of a connection, by its machine's rate or else by its own.
fn phase_point_of(
    connection: &Connection,
    history: &SourceHistory,
    group: Option<&Group>,
) -> Option<PhasePoint> {
    let (hz, rate_hz) = match group {
        Some(group) => (group.hz, group.rate_hz),
        None => (connection.tick_hz()?, connection.measured_rate()?),
    };
    let resolution_ns = history.last_pass.as_ref()?.analysis.resolution_ns;
    phase_point::of(&connection.flow.envelope, hz, rate_hz, resolution_ns)
}

/// The counter of a connection at both ends of its envelope.
fn counter_of(connection: &Connection, group: Option<&Group>) -> Option<CounterSpan> {
    let hz = group.map(|group| if group.hz > 0.0 { group.hz } else { group.rate_hz.value });
    let tick_hz = hz.or_else(|| connection.tick_hz()).filter(|hz| *hz > 0.0)?;
    let points = connection.flow.envelope.points();
    Some(CounterSpan { first: *points.first()?, last: *points.last()?, tick_hz })
}
