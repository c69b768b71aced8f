//! JSON lines: one object a line, told apart by `type`. Fields are only ever added.
//!
//! Times are RFC 3339 in UTC. `null` means that the data cannot tell. A field `x_sigma` (or
//! `x_sigma_s`) is one standard error of `x`, in its unit.
//!
//! Every line and object has a structure of its own here, and none of the engine's is serialised. The
//! engine may rename and regroup what it finds, and scripts never notice; it doesn't depend on serde;
//! and most fields differ anyway (an estimate is two fields, a time is text).
//!
//! `docs/output.md` describes every field, and `docs/output.schema.json` is the schema. A test holds all
//! three together. `tmap rtt` writes lines of its own: [`super::rtt_json`].

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;
use tmap_common::{Address, Counters, Skip, Tunnel};

use super::{Outage, Stats, Summary, View, coverage, number::Calendar, rtt_json, siblings, words};
use crate::engine::{
    Event,
    coverage::Coverage,
    snapshot::{
        AddressReport, Boot, ConnectionReport, Doubt, Estimate, Losses, MachineReport, OsReport, PeerShare,
        PortShare, Regime, Rule, RuleSeen, SourcePorts, Unassigned, UnstampedTotals,
    },
};

/// A line: the type first, so that it can be seen at a glance.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Address(Box<AddressLine<'a>>),
    Connection(ConnectionLine),
    Sibling(siblings::Line),
    Summary(SummaryLine<'a>),
    Event(EventLine),
    Stats(StatsLine),
}

#[derive(Serialize)]
struct AddressLine<'a> {
    address: String,
    regime: &'static str,
    evidence: &'a str,
    machines: Option<u32>,
    machines_low: Option<u32>,
    machines_high: Option<u32>,
    machines_proven: Option<u32>,
    doubt: Option<&'static str>,
    would_help: Option<String>,
    connections: u64,
    connections_forgotten: u64,
    connections_forgotten_told: u64,
    connections_seen_twice: u64,
    segments: u64,
    zero_tsvals: u64,
    tsval_jumps: u64,
    average_uptime_s: Option<f64>,
    tunnels: Vec<TunnelObject>,
    unstamped: Option<UnstampedObject<'a>>,
    source_ports: Option<SourcePortsObject>,
    unassigned: Option<UnassignedObject>,
    first_seen: Option<String>,
    last_seen: Option<String>,
    machine_list: Vec<Machine>,
}

#[derive(Serialize)]
struct UnassignedObject {
    connections: u64,
    segments: u64,
    without_rate: u64,
    unanswered: u64,
    longest_s: f64,
    #[serde(flatten)]
    os: Os,
    ports: Vec<Port>,
}

#[derive(Serialize)]
struct Machine {
    id: u32,
    tick_hz: f64,
    tick_probability: f64,
    rate_hz: f64,
    rate_hz_sigma: f64,
    skew_ppm: Option<f64>,
    skew_ppm_sigma: Option<f64>,
    offset_ticks: Option<f64>,
    offset_ticks_sigma: Option<f64>,
    phase_ticks: Option<f64>,
    phase_ticks_sigma: Option<f64>,
    reference: Option<String>,
    up_since: Option<String>,
    up_since_sigma_s: Option<f64>,
    up_since_modulus_s: Option<f64>,
    up_since_or_earlier_s: Option<f64>,
    up_since_if_fixed: Option<String>,
    up_since_if_fixed_sigma_s: Option<f64>,
    up_since_if_fixed_probability: Option<f64>,
    connections: f64,
    load_percent: f64,
    load_low_percent: f64,
    load_high_percent: f64,
    ports: Vec<Port>,
    source_ports: Option<MachinePortsObject>,
    peers: Vec<Peer>,
    peers_total: u64,
    first_seen: Option<String>,
    last_seen: Option<String>,
    #[serde(flatten)]
    os: Os,
}

#[derive(Serialize)]
struct Os {
    os: String,
    os_confidence: Option<f64>,
    os_alternatives: Vec<Alternative>,
    os_signature: Option<String>,
    hops: Option<u8>,
}

#[derive(Serialize)]
struct Alternative {
    name: String,
    probability: f64,
}

#[derive(Serialize)]
struct Port {
    port: u16,
    side: &'static str,
    share_percent: f64,
    connections: f64,
}

#[derive(Serialize)]
struct Peer {
    address: String,
    connections: f64,
}

#[derive(Serialize)]
struct UnstampedObject<'a> {
    connections: u64,
    signature: Option<&'a str>,
    machines_low: Option<u32>,
    machines_high: Option<u32>,
    source_ports: Option<SourcePortsObject>,
}

#[derive(Serialize)]
struct SourcePortsObject {
    openings: u64,
    rules: Vec<RuleObject>,
    hosts_at_once: u64,
}

#[derive(Serialize)]
struct RuleObject {
    rule: &'static str,
    could_go_on: u64,
    go_on: u64,
    by_chance: f64,
    evidence_nats: f64,
}

#[derive(Serialize)]
struct MachinePortsObject {
    rule: &'static str,
    openings: u64,
    go_on: u64,
    boundary_s: Option<f64>,
    boundary_within_s: Option<f64>,
}

#[derive(Serialize)]
struct UnstampedTotalsObject {
    records: u64,
    connections: u64,
    addresses_only: u64,
    forgotten: u64,
}

#[derive(Serialize)]
struct TunnelObject {
    kind: &'static str,
    id: u32,
    src: Option<String>,
    dst: Option<String>,
}

#[derive(Serialize)]
struct ConnectionLine {
    tunnel: Option<TunnelObject>,
    src: String,
    sport: u16,
    dst: String,
    dport: u16,
    side: &'static str,
    first_seen: Option<String>,
    last_seen: Option<String>,
    machine: Option<u32>,
    probability: Option<f64>,
    segments: u64,
    payload_bytes: u64,
    rate_hz: Option<f64>,
    rate_hz_sigma: Option<f64>,
    phase_ticks: Option<f64>,
    phase_ticks_sigma: Option<f64>,
    phase_at: Option<String>,
    goes_on_from: Option<StepObject>,
}

#[derive(Serialize)]
struct StepObject {
    sport: u16,
    first_seen: Option<String>,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    time: Option<String>,
    since: Option<String>,
    version: &'static str,
    addresses: u64,
    connections: u64,
    machines: u64,
    coverage: coverage::Object,
    records: u64,
    packets: Packets,
    losses: LossesObject,
    unstamped: UnstampedTotalsObject,
    flows: usize,
    memory_bytes: usize,
    interfaces_down: &'a [Outage],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Packets {
    seen: u64,
    suppressed: u64,
    emitted: u64,
    ring_full: u64,
    skipped: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct LossesObject {
    flows_evicted: u64,
    connections_forgotten: u64,
    unproven_evicted: u64,
    addresses_forgotten: u64,
    unproven_addresses_forgotten: u64,
    machines_uncompared: u64,
    flows_thinned: u64,
    records_refused: u64,
}

#[derive(Serialize)]
struct EventLine {
    time: Option<String>,
    address: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    NewMachine { known: u32, machine: Box<Machine> },
    Reboot { before: u32, after: u32, at: Option<String>, at_sigma_s: f64 },
    ClockMoved { before: u32, after: u32, by_s: f64, by_sigma_s: f64 },
    OffsetsRandom { connections: u64 },
}

#[derive(Serialize)]
struct StatsLine {
    time: Option<String>,
    interval_s: f64,
    packets_per_s: f64,
    records_per_s: f64,
    packets: Packets,
    in_flight: i64,
    cpus: Vec<Cpu>,
    flows: usize,
    addresses: usize,
    memory_bytes: usize,
}

#[derive(Serialize)]
struct Cpu {
    cpu: usize,
    seen: u64,
    ring_fill_percent: f64,
    ring_full: u64,
}

/// Writes an event.
pub fn event(out: &mut impl Write, event: &Event, now_ns: u64, calendar: &Calendar<'_>) -> io::Result<()> {
    let (address, what) = match event {
        Event::Rtt(news) => return rtt_json::news(out, news, calendar),
        Event::NewMachine { address, known, machine } => (
            address,
            What::NewMachine { known: *known, machine: Box::new(machine_object(machine, calendar)) },
        ),
        Event::Reboot { address, before, after, at_s } => (
            address,
            What::Reboot {
                before: *before,
                after: *after,
                at: calendar.rfc3339((at_s.value * 1e9) as u64),
                at_sigma_s: at_s.sigma,
            },
        ),
        Event::ClockMoved { address, before, after, by_s } => {
            let (by_s, by_sigma_s) = (by_s.value, by_s.sigma);
            (address, What::ClockMoved { before: *before, after: *after, by_s, by_sigma_s })
        }
        Event::OffsetsRandom { address, connections } => {
            (address, What::OffsetsRandom { connections: *connections })
        }
    };
    line(out, &Line::Event(EventLine { time: calendar.rfc3339(now_ns), address: address.to_string(), what }))
}

/// Writes a summary: addresses, connections, then the totals.
pub fn summary(
    out: &mut impl Write,
    summary: &Summary,
    view: &View,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    if let Some(report) = &summary.snapshot.rtt {
        return rtt_json::summary(out, summary, report, calendar);
    }
    let Summary { snapshot, counters, holdings, warnings, .. } = summary;
    for report in view.of_json(&snapshot.addresses).listed {
        line(out, &Line::Address(Box::new(address_line(report, snapshot.now_ns, calendar))))?;
    }
    for connection in snapshot.connections.iter().filter(|one| view.end.is_none_or(|end| end.sent(one))) {
        line(out, &Line::Connection(connection_line(connection, calendar)))?;
    }
    for sibling in &snapshot.siblings {
        line(out, &Line::Sibling(siblings::line(sibling)))?;
    }
    let covered = Coverage::of(&snapshot.addresses);
    line(
        out,
        &Line::Summary(SummaryLine {
            time: calendar.report_time(snapshot.now_ns),
            since: calendar.report_time(summary.began_ns),
            version: env!("CARGO_PKG_VERSION"),
            addresses: covered.addresses.all,
            connections: snapshot.addresses.iter().map(|report| report.connections).sum(),
            machines: snapshot.addresses.iter().filter_map(|report| report.machines).map(u64::from).sum(),
            coverage: coverage::Object::of(&covered),
            records: holdings.records,
            packets: packets(counters),
            losses: losses(snapshot.losses),
            unstamped: unstamped_totals(snapshot.unstamped),
            flows: holdings.flows,
            memory_bytes: holdings.memory_bytes,
            interfaces_down: &summary.outages,
            warnings,
        }),
    )
}

/// Writes statistics.
pub fn stats(out: &mut impl Write, stats: &Stats, calendar: &Calendar<'_>) -> io::Result<()> {
    line(
        out,
        &Line::Stats(StatsLine {
            time: calendar.report_time(stats.now_ns),
            interval_s: stats.interval_s,
            packets_per_s: stats.rate(|counters| counters.seen),
            records_per_s: stats.rate(|counters| counters.emitted),
            packets: packets(&stats.counters),
            in_flight: stats.in_flight() as i64,
            cpus: stats
                .cpus
                .iter()
                .map(|cpu| Cpu {
                    cpu: cpu.cpu,
                    seen: cpu.seen,
                    ring_fill_percent: cpu.ring_fill_percent,
                    ring_full: cpu.ring_full,
                })
                .collect(),
            flows: stats.holdings.flows,
            addresses: stats.holdings.addresses,
            memory_bytes: stats.holdings.memory_bytes,
        }),
    )
}

fn line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn address_line<'a>(report: &'a AddressReport, now_ns: u64, calendar: &Calendar<'_>) -> AddressLine<'a> {
    AddressLine {
        address: report.address.to_string(),
        regime: regime(report.regime),
        evidence: &report.evidence,
        machines: report.machines,
        machines_low: report.machines_low,
        machines_high: report.machines_high,
        machines_proven: report.machines_proven,
        doubt: report.doubt.map(doubt),
        would_help: words::help(report),
        connections: report.connections,
        connections_forgotten: report.connections_forgotten,
        connections_forgotten_told: report.connections_forgotten_told,
        connections_seen_twice: report.connections_seen_twice,
        segments: report.segments,
        zero_tsvals: report.zero_tsvals,
        tsval_jumps: report.tsval_jumps,
        average_uptime_s: report.average_uptime_s(now_ns).map(|(mean_s, _)| mean_s),
        tunnels: report.tunnels.iter().map(tunnel_object).collect(),
        unstamped: report.unstamped.as_ref().map(|unstamped| UnstampedObject {
            connections: unstamped.connections,
            signature: unstamped.signature.as_deref(),
            machines_low: report.unstamped_machines.as_ref().map(|machines| machines.low),
            machines_high: report.unstamped_machines.as_ref().and_then(|machines| machines.high),
            source_ports: report
                .unstamped_machines
                .as_ref()
                .map(|machines| source_ports_object(&machines.ports)),
        }),
        source_ports: report.source_ports.as_ref().map(source_ports_object),
        unassigned: report.unassigned.as_ref().map(unassigned_object),
        first_seen: calendar.rfc3339(report.first_seen_ns),
        last_seen: calendar.rfc3339(report.last_seen_ns),
        machine_list: report.machine_list.iter().map(|machine| machine_object(machine, calendar)).collect(),
    }
}

fn machine_object(machine: &MachineReport, calendar: &Calendar<'_>) -> Machine {
    let value = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.value);
    let sigma = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.sigma);
    let boot = machine.boot;
    let if_fixed = machine.boot_if_fixed.map(|(boot, _)| boot);
    let boot_time = |boot: Boot| {
        let time = calendar.timestamp(boot.engine_s.value)?;
        Some(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
    };
    Machine {
        id: machine.id,
        tick_hz: machine.tick_hz,
        tick_probability: machine.tick_probability,
        rate_hz: machine.rate_hz.value,
        rate_hz_sigma: machine.rate_hz.sigma,
        skew_ppm: value(machine.skew_ppm),
        skew_ppm_sigma: sigma(machine.skew_ppm),
        offset_ticks: value(machine.offset_ticks),
        offset_ticks_sigma: sigma(machine.offset_ticks),
        phase_ticks: value(machine.known_phase_ticks()),
        phase_ticks_sigma: sigma(machine.known_phase_ticks()),
        reference: calendar.rfc3339(machine.reference_ns),
        up_since: boot.and_then(boot_time),
        up_since_sigma_s: boot.map(|boot| boot.engine_s.sigma),
        up_since_modulus_s: boot.map(|boot| boot.modulus_s),
        up_since_or_earlier_s: boot.map(|boot| boot.or_earlier_s).filter(|earlier_s| *earlier_s > 0.0),
        up_since_if_fixed: if_fixed.and_then(boot_time),
        up_since_if_fixed_sigma_s: if_fixed.map(|boot| boot.engine_s.sigma),
        up_since_if_fixed_probability: machine.boot_if_fixed.map(|(_, probability)| probability),
        connections: machine.connections,
        load_percent: machine.load_percent,
        load_low_percent: machine.load_low_percent,
        load_high_percent: machine.load_high_percent,
        ports: machine.ports.iter().map(port_object).collect(),
        source_ports: machine.source_ports.as_ref().map(|ports| {
            let boundary_s = calendar.boundary_s(machine);
            MachinePortsObject {
                rule: rule(ports.rule),
                openings: ports.openings,
                go_on: ports.linked,
                boundary_s: boundary_s.map(|(at_s, _)| at_s),
                boundary_within_s: boundary_s.map(|(_, within_s)| within_s),
            }
        }),
        peers: machine.peers.iter().map(peer_object).collect(),
        peers_total: machine.peers_total,
        first_seen: calendar.rfc3339(machine.first_seen_ns),
        last_seen: calendar.rfc3339(machine.last_seen_ns),
        os: os_object(&machine.os),
    }
}

fn os_object(os: &OsReport) -> Os {
    let alternative =
        |(name, probability): &(String, f64)| Alternative { name: name.clone(), probability: *probability };
    Os {
        os: os.name.clone(),
        os_confidence: Some(os.confidence).filter(|confidence| *confidence > 0.0),
        os_alternatives: os.alternatives.iter().map(alternative).collect(),
        os_signature: os.signature.clone(),
        hops: os.hops,
    }
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::LinuxWalk => "linux",
        Rule::OldLinuxWalk => "linux_before_2022",
        Rule::LinuxHint => "linux_up_to_5.11",
        Rule::Counter => "counter",
    }
}

fn source_ports_object(seen: &SourcePorts) -> SourcePortsObject {
    let of_rule = |of: &RuleSeen| RuleObject {
        rule: rule(of.rule),
        could_go_on: of.could,
        go_on: of.linked,
        by_chance: of.by_chance,
        evidence_nats: of.nats,
    };
    SourcePortsObject {
        openings: seen.openings,
        rules: seen.rules.iter().map(of_rule).collect(),
        hosts_at_once: seen.hosts_at_once,
    }
}

fn unassigned_object(unassigned: &Unassigned) -> UnassignedObject {
    let Unassigned { connections, segments, without_rate, unanswered, longest_s, os, ports, .. } = unassigned;
    UnassignedObject {
        connections: *connections,
        segments: *segments,
        without_rate: *without_rate,
        unanswered: *unanswered,
        longest_s: *longest_s,
        os: os_object(os),
        ports: ports.iter().map(port_object).collect(),
    }
}

fn port_object(share: &PortShare) -> Port {
    let PortShare { port, share_percent, connections, .. } = *share;
    Port { port, side: words::side(share.side), share_percent, connections }
}

fn peer_object(share: &PeerShare) -> Peer {
    Peer { address: share.address.to_string(), connections: share.connections }
}

/// Names every field, so that a loss that the engine comes to count can't stay out of the summary.
fn losses(losses: Losses) -> LossesObject {
    let Losses {
        flows_evicted,
        connections_forgotten,
        unproven_evicted,
        addresses_forgotten,
        unproven_addresses_forgotten,
        machines_uncompared,
        flows_thinned,
        records_refused,
    } = losses;
    LossesObject {
        flows_evicted,
        connections_forgotten,
        unproven_evicted,
        addresses_forgotten,
        unproven_addresses_forgotten,
        machines_uncompared,
        flows_thinned,
        records_refused,
    }
}

fn unstamped_totals(totals: UnstampedTotals) -> UnstampedTotalsObject {
    let UnstampedTotals { records, connections, addresses_only, forgotten } = totals;
    UnstampedTotalsObject { records, connections, addresses_only, forgotten }
}

fn tunnel_object(tunnel: &Tunnel) -> TunnelObject {
    let end = |address: Address| tunnel.is_over_ip.then(|| address.to_string());
    TunnelObject { kind: tunnel.kind.name(), id: tunnel.id, src: end(tunnel.src), dst: end(tunnel.dst) }
}

fn connection_line(connection: &ConnectionReport, calendar: &Calendar<'_>) -> ConnectionLine {
    let address = |address: Address| address.to_string();
    ConnectionLine {
        tunnel: connection.tunnel.as_ref().map(tunnel_object),
        src: address(connection.src),
        sport: connection.src_port,
        dst: address(connection.dst),
        dport: connection.dst_port,
        side: words::side(connection.side),
        first_seen: calendar.rfc3339(connection.first_seen_ns),
        last_seen: calendar.rfc3339(connection.last_seen_ns),
        machine: connection.machine,
        probability: connection.probability,
        segments: connection.segments,
        payload_bytes: connection.payload_bytes,
        rate_hz: connection.rate_hz.map(|rate| rate.value),
        rate_hz_sigma: connection.rate_hz.map(|rate| rate.sigma),
        phase_ticks: connection.place.map(|place| place.phase_ticks.value),
        phase_ticks_sigma: connection.place.map(|place| place.phase_ticks.sigma),
        phase_at: connection.place.and_then(|place| calendar.rfc3339(place.at_ns)),
        goes_on_from: connection
            .goes_on_from
            .map(|step| StepObject { sport: step.port, first_seen: calendar.rfc3339(step.time_ns) }),
    }
}

fn packets(counters: &Counters) -> Packets {
    let skipped = Skip::ALL
        .iter()
        .map(|&skip| (skip.label(), counters.skipped[skip as usize]))
        .filter(|&(_, count)| count > 0)
        .collect();
    Packets {
        seen: counters.seen,
        suppressed: counters.suppressed,
        emitted: counters.emitted,
        ring_full: counters.ring_full,
        skipped,
    }
}

/// The regime's name in JSON.
fn regime(regime: Regime) -> &'static str {
    match regime {
        Regime::Global => "global",
        Regime::PerPair => "per_pair",
        Regime::PerConnection => "per_connection",
        Regime::Mixed => "mixed",
        Regime::Undetermined => "undetermined",
    }
}

/// The doubt's name in JSON.
fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::TooFewSegments => "too_few_segments",
        Doubt::TooFewConnections => "too_few_connections",
        Doubt::CaptureTooCoarse => "capture_too_coarse",
        Doubt::InStep => "in_step",
        Doubt::ComeAndGo => "come_and_go",
        Doubt::BusiestHours => "busiest_hours",
        Doubt::JitterTooLarge => "jitter_too_large",
        Doubt::Unsteady => "unsteady",
        Doubt::TooFarApart => "too_far_apart",
        Doubt::ZeroTsvals => "zero_tsvals",
        Doubt::OffsetsRandom => "offsets_random",
        Doubt::BudgetSpent => "budget_spent",
        Doubt::Unanswered => "unanswered",
        Doubt::Unrelated => "unrelated",
        Doubt::Contradicted => "contradicted",
        Doubt::Interrupted => "interrupted",
    }
}
