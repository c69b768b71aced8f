//! Reports for people: what a tired operator at three in the morning can act on.

use std::io::{self, Write};

use tmap_common::{Skip, Tunnel};

use super::{
    Summary,
    number::{Clock, count, grouped, hertz, measured, signed, span},
    rtt_text, siblings, stats,
};
use crate::engine::{
    Event,
    snapshot::{AddressReport, Boot, Doubt, MachineReport, OsReport, PortShare, Regime, Side, Unstamped},
};

/// The most addresses listed; the rest is counted.
const MAX_ADDRESSES: usize = 40;

/// The most machines listed per address; the rest is counted.
const MAX_MACHINES: usize = 64;

/// The most addresses without a clock that are named.
const MAX_CLOCKLESS: usize = 8;

/// A skew less certain than this tells nothing: real clocks are off by up to about 100 ppm.
const WORST_SKEW_PPM: f64 = 100.0;

/// The most alternatives to an operating system that are printed.
const MAX_ALTERNATIVES: usize = 3;

/// Writes what just happened.
pub fn event(out: &mut impl Write, event: &Event, clock: &Clock<'_>) -> io::Result<()> {
    match event {
        Event::Rtt(news) => rtt_text::news(out, news, clock),
        Event::NewMachine { address, known, machine } => {
            let port = machine.ports.first().map(port_of_event).unwrap_or_default();
            writeln!(out, "New machine found behind {address}{port} ({known} so far)")?;
            machine_clock(out, machine, clock)
        }
        Event::Reboot { address, before, after, at_s } => writeln!(
            out,
            "Machine {before} behind {address} seems to have rebooted at {}: it is machine {after} now",
            clock.local(at_s.value, at_s.sigma),
        ),
        Event::ClockMoved { address, before, after, by_s } => writeln!(
            out,
            "The clock of machine {before} behind {address} seems to have moved by {} s{}: it is machine {after} now",
            signed(*by_s),
            if by_s.value < -2.0 { " (as if it slept)" } else { "" },
        ),
        Event::OffsetsRandom { address, connections } => writeln!(
            out,
            "Behind {address} offsets are random here: {}, machines not yet counted",
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

/// Writes the state of things.
pub fn summary(out: &mut impl Write, summary: &Summary, clock: &Clock<'_>) -> io::Result<()> {
    if let Some(report) = &summary.snapshot.rtt {
        return rtt_text::summary(out, summary, report, clock);
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
        address(out, report, summary.snapshot.now_ns, clock)?;
    }
    if let Some(more) = telling.len().checked_sub(MAX_ADDRESSES + 1) {
        writeln!(out, "\n... and {} (use --json)", more_of(more + 1, "address"))?;
    }
    siblings::text(out, &summary.snapshot.siblings)?;
    writeln!(out)?;
    no_clock(out, &clockless)?;
    totals(out, summary, clock)
}

/// Whether an address has nothing to tell but that it has nothing to tell.
fn is_clockless(report: &AddressReport) -> bool {
    report.doubt == Some(Doubt::TooFewSegments) && report.machine_list.is_empty()
}

/// One line for all addresses without a clock.
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
        "No clock to be seen at {}, for lack of segments: {}{more}.",
        count(reports.len() as u64, "address"),
        names.join(", ")
    )
}

fn more_of(more: usize, one: &str) -> String {
    let text = count(more as u64, one);
    text.replacen(' ', " more ", 1)
}

/// One address and its machines.
fn address(out: &mut impl Write, report: &AddressReport, now_ns: u64, clock: &Clock<'_>) -> io::Result<()> {
    writeln!(out, "{}: {}, {}", report.address, machines(report), count(report.connections, "connection"))?;
    let mut regime = regime_in_words(report.regime).to_owned();
    match report.doubt {
        None => {}
        // One sentence for both.
        Some(Doubt::OffsetsRandom) => regime.push_str(", so machines are not counted"),
        Some(doubt) => writeln!(out, "  {}", doubt_in_words(doubt))?,
    }
    let evidence = if report.evidence.is_empty() { String::new() } else { format!(": {}", report.evidence) };
    writeln!(out, "  offsets {regime}{evidence}")?;
    if report.zero_tsvals > 0 {
        writeln!(out, "  {} with TSval 0, which shows no clock", count(report.zero_tsvals, "segment"))?;
    }
    unstamped(out, report)?;
    if !report.tunnels.is_empty() {
        let tunnels: Vec<String> = report.tunnels.iter().map(tunnel).collect();
        writeln!(out, "  in tunnels: {}", tunnels.join(", "))?;
    }
    for machine in report.machine_list.iter().take(MAX_MACHINES) {
        writeln!(
            out,
            "  #{}  {}  {}{}",
            machine.id,
            percent(machine.load_percent, "load"),
            weighted(machine.connections),
            ports(&machine.ports)
        )?;
        machine_clock(out, machine, clock)?;
    }
    if let Some(more) = report.machine_list.len().checked_sub(MAX_MACHINES + 1) {
        writeln!(out, "  ... and {} (use --json)", more_of(more + 1, "machine"))?;
    }
    average_uptime(out, report, now_ns)
}

/// What was opened without time stamps.
fn unstamped(out: &mut impl Write, report: &AddressReport) -> io::Result<()> {
    let Some(Unstamped { connections, signature }) = &report.unstamped else { return Ok(()) };
    let handshake = signature.as_ref().map(|signature| format!("\n    their latest handshake {signature}"));
    writeln!(
        out,
        "  {} without time stamps: at least one more machine may be invisible{}",
        more_of(*connections as usize, "connection"),
        handshake.unwrap_or_default()
    )
}

/// `vxlan 42 from 10.9.0.1 to 10.9.0.2`, `mpls 1000`, `ip from ...`.
fn tunnel(tunnel: &Tunnel) -> String {
    let id = if tunnel.id == 0 { String::new() } else { format!(" {}", tunnel.id) };
    let ends =
        if tunnel.has_ends() { format!(" from {} to {}", tunnel.src, tunnel.dst) } else { String::new() };
    format!("{}{id}{ends}", tunnel.kind.name())
}

/// `5 machines (90 %: 4 to 6)`, `machines unknown (1 to 33)`.
fn machines(report: &AddressReport) -> String {
    let mut notes = Vec::new();
    let (best, confidence) = match report.machines {
        Some(machines) => (count(u64::from(machines), "machine"), "90 %: "),
        // Without a best estimate these are bounds, not an interval.
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
        Regime::Undetermined => "can't be judged yet",
    }
}

/// What limits the answer, in plain words.
fn doubt_in_words(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::TooFewSegments => "no connection has enough segments to show a clock",
        Doubt::TooFewConnections => {
            "offsets are random, and too few connections were seen to tell clocks apart"
        }
        Doubt::CaptureTooCoarse => "the capture's time stamps are too coarse to tell clocks apart",
        Doubt::JitterTooLarge => "the network's delays vary too much to tell clocks apart",
        Doubt::Unsteady => "these clocks keep no steady rate (old Apple systems do this)",
        Doubt::OffsetsRandom => "offsets are random here, so machines are not counted",
    }
}

/// The lines about a machine's clock, indented.
fn machine_clock(out: &mut impl Write, machine: &MachineReport, clock: &Clock<'_>) -> io::Result<()> {
    write!(out, "      a {} Hz", measured(machine.rate_hz))?;
    if let Some(skew) = machine.skew_ppm.filter(|skew| skew.sigma < WORST_SKEW_PPM) {
        write!(out, ", skew {} ppm of {}", signed(skew), hertz(machine.tick_hz))?;
    }
    writeln!(out, "; OS guess: {}", system(&machine.os))?;
    if let Some(signature) = &machine.os.signature {
        writeln!(out, "      handshake {signature}")?;
    }
    if let Some(offset) = machine.offset_ticks {
        writeln!(
            out,
            "      b {} ticks at {}",
            measured(offset),
            clock.local(machine.reference_ns as f64 / 1e9, 0.0)
        )?;
    } else if let Some(phase) = machine.phase_ticks {
        writeln!(
            out,
            "      phase {} of a tick at {}",
            measured(phase),
            clock.local(machine.reference_ns as f64 / 1e9, 0.0)
        )?;
    }
    match machine.boot {
        Some(boot) => writeln!(out, "      up since {}", up_since(boot, clock)),
        None => Ok(()),
    }
}

/// `Linux 2026 or later (92 %), 3 hops away`, `unknown (perhaps FreeBSD 40 %, Solaris 30 %)`.
fn system(os: &OsReport) -> String {
    let mut notes = Vec::new();
    if os.confidence > 0.0 {
        notes.push(format!("{:.0} %", 100.0 * os.confidence));
    }
    let others: Vec<String> = os
        .alternatives
        .iter()
        .take(MAX_ALTERNATIVES)
        .map(|(name, probability)| format!("{name} {:.0} %", 100.0 * probability))
        .collect();
    if !others.is_empty() {
        notes.push(format!("perhaps {}", others.join(", ")));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    let hops = match os.hops {
        Some(0) => ", on this link".to_owned(),
        Some(hops) => format!(", {} away", count(u64::from(hops), "hop")),
        None => String::new(),
    };
    format!("{}{notes}{hops}", os.name)
}

/// `2006-02-16 21:26:20 CET ± 2 s, or any multiple of 497 days earlier`.
fn up_since(boot: Boot, clock: &Clock<'_>) -> String {
    // The time is printed to the second, so it can't be better than that.
    let sigma_s = boot.engine_s.sigma.max(1.0);
    let when = clock.local(boot.engine_s.value, sigma_s);
    let error = if sigma_s.is_finite() { format!(" ± {}", span(sigma_s)) } else { String::new() };
    format!("{when}{error}, or any multiple of {} earlier", span(boot.modulus_s))
}

/// The mean over the machines with a boot time, of the summary's time minus boot.
fn average_uptime(out: &mut impl Write, report: &AddressReport, now_ns: u64) -> io::Result<()> {
    match average_uptime_s(report, now_ns) {
        Some((mean_s, machines)) if machines > 1 => {
            writeln!(out, "  average uptime {}, over {}", span(mean_s), count(machines, "machine"))
        }
        _ => Ok(()),
    }
}

/// The average uptime of an address in seconds, and over how many machines: the mean of
/// `now - boot` over the machines whose boot time is known, each counted once whatever its load.
pub(super) fn average_uptime_s(report: &AddressReport, now_ns: u64) -> Option<(f64, u64)> {
    let now_s = now_ns as f64 / 1e9;
    let uptimes: Vec<f64> =
        report.machine_list.iter().filter_map(|machine| Some(now_s - machine.boot?.engine_s.value)).collect();
    let mean_s = uptimes.iter().sum::<f64>() / uptimes.len() as f64;
    (!uptimes.is_empty()).then_some((mean_s, uptimes.len() as u64))
}

fn percent(value: f64, what: &str) -> String {
    format!("{value:.2} % {what}")
}

/// Connections that may be shares of connections.
fn weighted(connections: f64) -> String {
    if (connections - connections.round()).abs() < 0.005 {
        count(connections.round() as u64, "connection")
    } else {
        format!("{connections:.1} connections")
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

/// The last lines: how much was seen, what was left out, what was lost.
fn totals(out: &mut impl Write, summary: &Summary, clock: &Clock<'_>) -> io::Result<()> {
    let Summary { snapshot, counters, .. } = summary;
    let unstamped = snapshot.unstamped;
    let connections: u64 = snapshot.addresses.iter().map(|report| report.connections).sum();
    if counters.seen == 0 {
        return writeln!(out, "No packet was seen.");
    }
    writeln!(
        out,
        "Up to {}: {} with timestamps, {}; {}, {} of them with timestamps.",
        clock.local(snapshot.now_ns as f64 / 1e9, 0.0),
        count(snapshot.addresses.len() as u64, "address"),
        count(connections, "connection side"),
        count(counters.seen, "packet"),
        grouped(
            (counters.emitted + counters.suppressed + counters.ring_full).saturating_sub(unstamped.records)
        ),
    )?;
    if counters.skipped_total() > 0 {
        writeln!(out, "Left out: {}.", stats::skipped(counters))?;
    }
    let bare = counters.skipped[Skip::NoTimestamps as usize] + unstamped.records;
    if bare > 0 {
        writeln!(
            out,
            "{} carried no timestamps: machines that never send any stay unseen and uncounted.",
            count(bare, "TCP segment")
        )?;
    }
    if unstamped.connections > 0 {
        writeln!(
            out,
            "{} opened without them; {} never sent one.",
            count(unstamped.connections, "connection"),
            count(unstamped.addresses_only, "address")
        )?;
    }
    if counters.ring_full > 0 {
        writeln!(
            out,
            "LOST: {} because the ring was full; use a larger --ring-size.",
            count(counters.ring_full, "record")
        )?;
    }
    losses(out, summary)
}

/// What bounded memory cost.
fn losses(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let losses = summary.snapshot.losses;
    for (lost, what, option) in [
        (losses.flows_evicted, "open flow", "--max-flows"),
        (losses.connections_forgotten, "finished connection", "--max-connections"),
        (losses.records_unplaced + summary.snapshot.unstamped.unplaced, "record", "--max-addresses"),
    ] {
        if lost > 0 {
            writeln!(
                out,
                "Let go of {} to stay within {option}; figures above may miss some.",
                count(lost, what)
            )?;
        }
    }
    if losses.records_refused > 0 {
        writeln!(
            out,
            "Left out {} of connections for which there was no room beside busy ones; what is said of others \
             stands. --max-flows and --max-connections make room.",
            count(losses.records_refused, "record")
        )?;
    }
    if losses.flows_thinned > 0 {
        writeln!(
            out,
            "Flows gave up every second of their points, {}, to stay within --history-memory; standard \
             errors allow for it.",
            count(losses.flows_thinned, "time")
        )?;
    }
    Ok(())
}
