//! Reports for people: short sentences that a tired operator can act on at once.

use std::io::{self, Write};

use tmap_common::{Skip, Tunnel};

use super::{
    Summary, losses,
    number::{Calendar, and_more, count, grouped, hertz, measured, more_of, signed, span},
    rtt_text, siblings, stats,
};
use crate::engine::{
    Event,
    snapshot::{AddressReport, Boot, Doubt, MachineReport, OsReport, PortShare, Regime, Side, Unstamped},
};

/// The most addresses listed; the others are only counted.
const MAX_ADDRESSES: usize = 40;

/// The most machines listed per address; the others are only counted.
const MAX_MACHINES: usize = 64;

/// The most addresses without a clock that are named.
const MAX_CLOCKLESS: usize = 8;

/// A skew less certain than this tells nothing: real clocks are off by up to about 100 ppm.
const WORST_SKEW_PPM: f64 = 100.0;

/// The most alternatives to an operating system that are printed.
const MAX_ALTERNATIVES: usize = 3;

/// A clock that fell behind by more than this, in seconds, may have stood still while its machine slept.
const SLEPT_S: f64 = -2.0;

/// A number of connections this close to a whole one is exact.
const WHOLE: f64 = 0.005;

/// Writes one event, after the time at which it was noticed. Round trips have times of their own.
pub fn event(out: &mut impl Write, event: &Event, now_ns: u64, calendar: &Calendar<'_>) -> io::Result<()> {
    if !matches!(event, Event::Rtt(_)) {
        write!(out, "{}  ", calendar.local(now_ns as f64 / 1e9, 0.0))?;
    }
    match event {
        Event::Rtt(news) => rtt_text::news(out, news, calendar),
        Event::NewMachine { address, known, machine } => {
            let port = machine.ports.first().map(port_of_event).unwrap_or_default();
            writeln!(out, "New machine found behind {address}{port} ({known} so far)")?;
            machine_clock(out, machine, calendar)
        }
        Event::Reboot { address, before, after, at_s } => writeln!(
            out,
            "Machine {before} behind {address} probably rebooted at {}; it is machine {after} now",
            calendar.local(at_s.value, at_s.sigma),
        ),
        Event::ClockMoved { address, before, after, by_s } => writeln!(
            out,
            "The clock of machine {before} behind {address} probably moved by {} s{}{}",
            signed(*by_s),
            if by_s.value < SLEPT_S { " (perhaps the machine slept)" } else { "" },
            if before == after { String::new() } else { format!("; it is machine {after} now") },
        ),
        Event::OffsetsRandom { address, connections } => writeln!(
            out,
            "Offsets behind {address} are random ({} so far); machines are not counted yet",
            count(*connections, "connection")
        ),
    }
}

/// ` port 25`, or `, client of port 443`.
fn port_of_event(share: &PortShare) -> String {
    match share.side {
        Side::Server => format!(" port {}", share.port),
        Side::Client => format!(", client of port {}", share.port),
    }
}

/// Writes a summary: addresses with their machines, then the totals.
pub fn summary(out: &mut impl Write, summary: &Summary, calendar: &Calendar<'_>) -> io::Result<()> {
    if let Some(report) = &summary.snapshot.rtt {
        return rtt_text::summary(out, summary, report, calendar);
    }
    let mut addresses: Vec<&AddressReport> = summary.snapshot.addresses.iter().collect();
    addresses.sort_by_key(|report| {
        let machines = report.machines.or(report.machines_low).unwrap_or(0);
        (std::cmp::Reverse((machines, report.connections)), report.address)
    });
    let (clockless, telling): (Vec<&AddressReport>, Vec<&AddressReport>) =
        addresses.into_iter().partition(|report| is_clockless(report));
    for report in telling.iter().take(MAX_ADDRESSES) {
        writeln!(out)?;
        address(out, report, summary.snapshot.now_ns, calendar)?;
    }
    if let Some(more) = and_more(MAX_ADDRESSES, telling.len(), "address") {
        writeln!(out, "\n{more}")?;
    }
    siblings::text(out, &summary.snapshot.siblings)?;
    writeln!(out)?;
    no_clock(out, &clockless)?;
    totals(out, summary, calendar)
}

/// Whether no clock can be read at an address, so that there is nothing to list.
fn is_clockless(report: &AddressReport) -> bool {
    report.doubt == Some(Doubt::TooFewSegments) && report.machine_list.is_empty()
}

/// One line for all addresses without a clock. The engine's limits on connections are in `engine::clock`.
fn no_clock(out: &mut impl Write, reports: &[&AddressReport]) -> io::Result<()> {
    if reports.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        reports.iter().take(MAX_CLOCKLESS).map(|report| report.address.to_string()).collect();
    let more = match reports.len().checked_sub(MAX_CLOCKLESS + 1) {
        Some(more) => format!(" and {} more", more + 1),
        None => String::new(),
    };
    writeln!(
        out,
        "No clock at {} (a clock needs a connection of at least 2 s and 5 segments): {}{more}.",
        count(reports.len() as u64, "address"),
        names.join(", ")
    )
}

/// One address and its machines.
fn address(
    out: &mut impl Write,
    report: &AddressReport,
    now_ns: u64,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    writeln!(out, "{}: {}, {}", report.address, machines(report), count(report.connections, "connection"))?;
    let mut regime = regime_in_words(report.regime).to_owned();
    match report.doubt {
        None => {}
        // Regime and doubt go into one sentence.
        Some(Doubt::OffsetsRandom) => regime.push_str(", so machines are not counted yet"),
        Some(doubt) => writeln!(out, "  {}", doubt_in_words(doubt))?,
    }
    let evidence = if report.evidence.is_empty() { String::new() } else { format!(": {}", report.evidence) };
    writeln!(out, "  offsets {regime}{evidence}")?;
    if report.zero_tsvals > 0 {
        writeln!(out, "  {} with TSval 0, which shows no clock", count(report.zero_tsvals, "segment"))?;
    }
    if report.tsval_jumps > 0 {
        let jumps = count(report.tsval_jumps, "clock jump");
        writeln!(
            out,
            "  {jumps} within a connection: a restored virtual machine, a failover or a middlebox"
        )?;
    }
    unstamped(out, report)?;
    if !report.tunnels.is_empty() {
        let tunnels: Vec<String> = report.tunnels.iter().map(tunnel).collect();
        writeln!(out, "  in tunnels: {}", tunnels.join(", "))?;
    }
    for machine in report.machine_list.iter().take(MAX_MACHINES) {
        writeln!(
            out,
            "  #{}  {} ({:.1} %){}",
            machine.id,
            weighted(machine.connections),
            machine.load_percent,
            ports(&machine.ports)
        )?;
        machine_clock(out, machine, calendar)?;
    }
    if let Some(more) = and_more(MAX_MACHINES, report.machine_list.len(), "machine") {
        writeln!(out, "  {more}")?;
    }
    average_uptime(out, report, now_ns)
}

/// Connections of an address that were opened without timestamps.
fn unstamped(out: &mut impl Write, report: &AddressReport) -> io::Result<()> {
    let Some(Unstamped { connections, signature }) = &report.unstamped else { return Ok(()) };
    writeln!(
        out,
        "  {} without timestamps: at least one more machine may be hidden here",
        more_of(*connections, "connection")
    )?;
    match signature {
        Some(signature) => writeln!(out, "    their latest handshake (p0f notation) {signature}"),
        None => Ok(()),
    }
}

/// `vxlan 42 from 10.9.0.1 to 10.9.0.2`, `mpls 1000`, `ip from ...`.
fn tunnel(tunnel: &Tunnel) -> String {
    let id = if tunnel.id == 0 { String::new() } else { format!(" {}", tunnel.id) };
    let ends =
        if tunnel.has_ends() { format!(" from {} to {}", tunnel.src, tunnel.dst) } else { String::new() };
    format!("{}{id}{ends}", tunnel.kind.name())
}

/// `5 machines (90 % sure: 4 to 6)`, `machines unknown (1 to 33)`.
fn machines(report: &AddressReport) -> String {
    let mut notes = Vec::new();
    let (best, confidence) = match report.machines {
        Some(machines) => (count(u64::from(machines), "machine"), "90 % sure: "),
        // Without a best estimate, low and high are bounds and no interval.
        None => ("machines unknown".to_owned(), ""),
    };
    match (report.machines_low, report.machines_high) {
        (Some(low), Some(high)) if low != high => notes.push(format!("{confidence}{low} to {high}")),
        (Some(low), None) => notes.push(format!("{confidence}{low} or more")),
        (None, Some(high)) => notes.push(format!("{confidence}at most {high}")),
        _ => {}
    }
    if let Some(proven) = report.machines_proven
        && proven > 1
        && report.machines_low != Some(proven)
    {
        notes.push(format!("at least {proven} proven"));
    }
    if notes.is_empty() { best } else { format!("{best} ({})", notes.join("; ")) }
}

/// A regime in plain words.
fn regime_in_words(regime: Regime) -> &'static str {
    match regime {
        Regime::Global => "are fixed, one per machine",
        Regime::PerPair => "are random per pair of addresses",
        Regime::PerConnection => "are random per connection",
        Regime::Mixed => "are fixed for some machines and random for others",
        Regime::Undetermined => "cannot be judged yet",
    }
}

/// What limits the answer, in plain words.
fn doubt_in_words(doubt: Doubt) -> &'static str {
    match doubt {
        // Where none shows a clock, the address is on the line of those without.
        Doubt::TooFewSegments => "most connections are too short to show a clock",
        Doubt::TooFewConnections => "too few connections to tell clocks with random offsets apart",
        Doubt::CaptureTooCoarse => "the capture times are too coarse to tell clocks apart",
        Doubt::JitterTooLarge => {
            "network delays vary too much, or segments are too few, to tell clocks apart"
        }
        Doubt::Unsteady => "these clocks have no constant rate (as on old Apple systems)",
        Doubt::TooFarApart => "connections are too far apart in time to follow clocks with random offsets",
        Doubt::ZeroTsvals => "every TSval is 0, which shows no clock",
        Doubt::OffsetsRandom => "offsets are random, so machines are not counted yet",
    }
}

/// The lines about a machine's clock, indented.
fn machine_clock(out: &mut impl Write, machine: &MachineReport, calendar: &Calendar<'_>) -> io::Result<()> {
    write!(out, "      clock {} Hz", measured(machine.rate_hz))?;
    if let Some(skew) = machine.skew_ppm.filter(|skew| skew.sigma < WORST_SKEW_PPM) {
        write!(out, ", skew {} ppm of {}", signed(skew), hertz(machine.tick_hz))?;
    }
    writeln!(out, "; OS: {}", system(&machine.os))?;
    if let Some(signature) = &machine.os.signature {
        writeln!(out, "      handshake (p0f notation) {signature}")?;
    }
    if let Some(offset) = machine.offset_ticks {
        writeln!(
            out,
            "      TSval {} at {}",
            measured(offset),
            calendar.local(machine.reference_ns as f64 / 1e9, 0.0)
        )?;
    } else if let Some(phase) = machine.phase_ticks {
        writeln!(
            out,
            "      phase {} of a tick at {}",
            measured(phase),
            calendar.local(machine.reference_ns as f64 / 1e9, 0.0)
        )?;
    }
    match machine.boot {
        Some(boot) => writeln!(out, "      up since {}", up_since(boot, calendar)),
        None => Ok(()),
    }
}

/// `Linux 2026 or later (92 %), 3 hops away`, `unknown, perhaps FreeBSD (40 %) or Solaris (30 %)`,
/// `Linux (99 %): 2026 or later (47 %) or 4.20 to early 2026 (47 %)`.
fn system(os: &OsReport) -> String {
    let guess = |name: &str, probability: f64| format!("{name} ({:.0} %)", 100.0 * probability);
    let mut text = if os.confidence > 0.0 { guess(&os.name, os.confidence) } else { os.name.clone() };
    let others = &os.alternatives[..os.alternatives.len().min(MAX_ALTERNATIVES)];
    // `Linux (99 %): 2026 or later (47 %)`: the versions of a family need not repeat its name.
    let version = |name: &str| name.strip_prefix(&format!("{} ", os.name)).map(str::to_owned);
    let versions: Option<Vec<String>> = others.iter().map(|(name, _)| version(name)).collect();
    let link = if versions.is_some() { ": " } else { ", perhaps " };
    let names = versions.unwrap_or_else(|| others.iter().map(|(name, _)| name.clone()).collect());
    let others: Vec<String> =
        names.iter().zip(others).map(|(name, (_, probability))| guess(name, *probability)).collect();
    match &others[..] {
        [] => {}
        [only] => text.push_str(&format!("{link}{only}")),
        [first @ .., last] => text.push_str(&format!("{link}{} or {last}", first.join(", "))),
    }
    match os.hops {
        Some(0) => text.push_str(", on this link"),
        Some(hops) => text.push_str(&format!(", {} away", count(u64::from(hops), "hop"))),
        None => {}
    }
    text
}

/// `2006-02-16 21:26:20 CET ± 2 s, or any multiple of 497 days earlier`.
fn up_since(boot: Boot, calendar: &Calendar<'_>) -> String {
    // The time is printed to the second, so it can't be better than that.
    let sigma_s = boot.engine_s.sigma.max(1.0);
    let when = calendar.local(boot.engine_s.value, sigma_s);
    let error = if sigma_s.is_finite() { format!(" ± {}", span(sigma_s)) } else { String::new() };
    let jiffies = if boot.or_earlier_s > 0.0 {
        format!(" (or {} earlier, if it is Linux before 4.13)", span(boot.or_earlier_s))
    } else {
        String::new()
    };
    format!("{when}{error}{jiffies}, or any multiple of {} earlier", span(boot.modulus_s))
}

/// The average uptime of an address's machines, where it has several.
fn average_uptime(out: &mut impl Write, report: &AddressReport, now_ns: u64) -> io::Result<()> {
    match report.average_uptime_s(now_ns) {
        Some((mean_s, machines)) if machines > 1 => {
            writeln!(out, "  average uptime {}, over {}", span(mean_s), count(machines, "machine"))
        }
        _ => Ok(()),
    }
}

/// Connections that may be shares of connections: `15 connections`, `about 9 connections`.
fn weighted(connections: f64) -> String {
    let whole = count(connections.round() as u64, "connection");
    match connections {
        exact if (exact - exact.round()).abs() < WHOLE => whole,
        few if few < 0.5 => "less than half a connection".to_owned(),
        _ => format!("about {whole}"),
    }
}

/// `, port 25` or `, ports 80 (60 %), 8080 (10 %), client of port 443 (30 %)`.
fn ports(shares: &[PortShare]) -> String {
    let mut text = String::new();
    for (side, role) in [(Side::Server, ""), (Side::Client, "client of ")] {
        let own: Vec<&PortShare> = shares.iter().filter(|share| share.side == side).collect();
        let words: Vec<String> = own
            .iter()
            .map(|share| match shares {
                [_only] => share.port.to_string(),
                _ => format!("{} ({:.0} %)", share.port, share.share_percent),
            })
            .collect();
        match words.len() {
            0 => {}
            1 => text.push_str(&format!(", {role}port {}", words[0])),
            _ => text.push_str(&format!(", {role}ports {}", words.join(", "))),
        }
    }
    text
}

/// The last lines: how much was seen, what was skipped, what was lost.
fn totals(out: &mut impl Write, summary: &Summary, calendar: &Calendar<'_>) -> io::Result<()> {
    let Summary { snapshot, counters, .. } = summary;
    let unstamped = snapshot.unstamped;
    let connections: u64 = snapshot.addresses.iter().map(|report| report.connections).sum();
    if counters.seen == 0 {
        // A warning says why, such as a file that is no capture.
        if summary.warnings.is_empty() {
            writeln!(out, "No frames were seen.")?;
        }
        return losses::warnings(out, &summary.warnings);
    }
    // Frames may all be stamped 0, as by tools that leave the time out.
    if snapshot.now_ns > 0 {
        write!(out, "As of {}: ", calendar.local(snapshot.now_ns as f64 / 1e9, 0.0))?;
    }
    writeln!(
        out,
        "{} with timestamps, {}; {}, {} with timestamps.",
        count(snapshot.addresses.len() as u64, "address"),
        count(connections, "connection side"),
        count(counters.seen, "frame"),
        grouped(
            (counters.emitted + counters.suppressed + counters.ring_full).saturating_sub(unstamped.records)
        ),
    )?;
    if counters.skipped_total() > 0 {
        writeln!(out, "Skipped frames: {}.", stats::skipped(counters))?;
    }
    losses::unread(out, counters)?;
    let bare = counters.skipped[Skip::NoTimestamps as usize] + unstamped.records;
    if bare > 0 {
        let syns = match unstamped.records {
            0 => String::new(),
            syns => format!(", {} of them {}", grouped(syns), if syns == 1 { "a SYN" } else { "SYNs" }),
        };
        writeln!(
            out,
            "No timestamps in {}{syns}. Machines that never send timestamps are not counted.",
            count(bare, "TCP segment")
        )?;
    }
    if unstamped.connections > 0 {
        writeln!(
            out,
            "{} opened without timestamps; {} never sent a timestamp.",
            count(unstamped.connections, "connection"),
            count(unstamped.addresses_only, "address")
        )?;
    }
    losses::lost_records(out, counters.ring_full)?;
    losses::of_engine(out, summary)?;
    losses::warnings(out, &summary.warnings)
}
