//! Reports for people: short sentences that a tired operator can act on at once.

use std::io::{self, Write};

use tmap_common::Skip;

use super::{
    Summary, View, connections, coverage, detail,
    fold::fold,
    losses,
    number::{Calendar, count, grouped, signed},
    outages, rtt_text, siblings, stats,
    style::Styles,
    table,
    view::Chosen,
    words::Shortage,
};
use crate::engine::{
    Event,
    coverage::Coverage,
    snapshot::{ConnectionReport, MachineReport, PortShare, Side},
};

/// A clock that fell behind by more than this, in seconds, may have stood still while its machine slept.
const SLEPT_S: f64 = -2.0;

/// Writes one event, after the time at which it was noticed. Round trips have times of their own.
pub fn event(
    out: &mut impl Write,
    event: &Event,
    now_ns: u64,
    view: &View,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    if let Event::Rtt(news) = event {
        return rtt_text::news(out, news, calendar);
    }
    if view.hides_events && !view.verbose {
        return Ok(());
    }
    let when = calendar.local(now_ns as f64 / 1e9, 0.0);
    match event {
        Event::NewMachine { address, known, machine } if view.verbose => {
            let port = machine.ports.first().map(port_of_event).unwrap_or_default();
            writeln!(out, "{when}  New machine found behind {address}{port} ({known} so far)")?;
            clock_of_event(out, machine, calendar)
        }
        _ => writeln!(out, "{when}  {}", in_words(event, calendar)),
    }
}

/// What happened, in a sentence; nothing for round trips.
pub(crate) fn in_words(event: &Event, calendar: &Calendar<'_>) -> String {
    match event {
        Event::Rtt(_) => String::new(),
        Event::NewMachine { address, machine, .. } => {
            format!("New machine #{} behind {address}{}", machine.id, system_of_event(machine))
        }
        Event::Reboot { address, before, after, at_s } => format!(
            "Machine {before} behind {address} probably rebooted at {}; it is machine {after} now",
            calendar.local(at_s.value, at_s.sigma),
        ),
        Event::ClockMoved { address, before, after, by_s } => format!(
            "The clock of machine {before} behind {address} probably moved by {} s{}{}",
            signed(*by_s),
            if by_s.value < SLEPT_S { " (perhaps the machine slept)" } else { "" },
            if before == after { String::new() } else { format!("; it is machine {after} now") },
        ),
        Event::OffsetsRandom { address, connections } => format!(
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

/// `: Linux 2026+`; nothing where the system isn't known.
fn system_of_event(machine: &MachineReport) -> String {
    let is_known = machine.os.confidence > 0.0;
    if is_known { format!(": {}", table::in_short(&machine.os.name)) } else { String::new() }
}

/// The lines on a new machine's clock.
fn clock_of_event(out: &mut impl Write, machine: &MachineReport, calendar: &Calendar<'_>) -> io::Result<()> {
    let mut text = Vec::new();
    detail::machine(&mut text, machine, calendar)?;
    out.write_all(fold(&String::from_utf8_lossy(&text)).as_bytes())
}

/// Writes a summary: addresses with their machines, then the totals.
pub fn summary(
    out: &mut impl Write,
    summary: &Summary,
    view: &View,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    if let Some(report) = summary.snapshot.rtt.as_ref().filter(|_| !view.hides_round_trips) {
        return rtt_text::summary(out, summary, report, calendar);
    }
    let styles = Styles::new(view.colour);
    let chosen = view.of_text(&summary.snapshot.addresses);
    list_connections(out, summary, view, calendar, &styles)?;
    if view.verbose {
        details(out, summary, &chosen, calendar, &styles)?;
    } else {
        table::write(out, &chosen, Shortage::of(&summary.snapshot), calendar, &styles)?;
    }
    let mut text = Vec::new();
    siblings::text(&mut text, &summary.snapshot.siblings, summary.snapshot.losses.machines_uncompared)?;
    writeln!(text)?;
    totals(&mut text, summary, calendar, &styles)?;
    out.write_all(fold(&String::from_utf8_lossy(&text)).as_bytes())
}

/// The long form of all chosen addresses.
fn details(
    out: &mut impl Write,
    summary: &Summary,
    chosen: &Chosen<'_>,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    let mut text = Vec::new();
    for report in &chosen.listed {
        writeln!(text)?;
        detail::address(&mut text, report, &summary.snapshot, calendar, styles)?;
    }
    if !chosen.listed.is_empty() && chosen.more + chosen.too_few > 0 {
        writeln!(text)?;
    }
    table::left_out(&mut text, chosen)?;
    out.write_all(fold(&String::from_utf8_lossy(&text)).as_bytes())
}

/// The connections, where they were asked for.
fn list_connections(
    out: &mut impl Write,
    summary: &Summary,
    view: &View,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    let all = &summary.snapshot.connections;
    if all.is_empty() && view.end.is_none() {
        return Ok(());
    }
    let mut wanted: Vec<&ConnectionReport> =
        all.iter().filter(|one| view.end.is_none_or(|end| end.sent(one))).collect();
    wanted.sort_by_key(|one| (one.src, one.first_seen_ns, one.src_port));
    connections::write(out, &wanted, calendar, styles)
}

/// The last lines: how much was seen, what was skipped, what was lost.
pub(crate) fn totals(
    out: &mut impl Write,
    summary: &Summary,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    let Summary { snapshot, counters, .. } = summary;
    let unstamped = snapshot.unstamped;
    let connections: u64 = snapshot.addresses.iter().map(|report| report.connections).sum();
    let covered = Coverage::of(&snapshot.addresses);
    if counters.seen == 0 {
        // A warning says why, such as a file that is no capture.
        if summary.warnings.is_empty() {
            writeln!(out, "No frames were seen.")?;
        }
        out.write_all(outages::line(&summary.outages).as_bytes())?;
        return losses::warnings(out, &summary.warnings, styles);
    }
    // Frames may all be stamped 0, as by tools that leave the time out.
    if snapshot.now_ns > 0 {
        write!(out, "As of {}: ", calendar.local(snapshot.now_ns as f64 / 1e9, 0.0))?;
    }
    writeln!(
        out,
        "{} with timestamps, {}; {}, {} with timestamps.",
        count(covered.addresses.all, "address"),
        count(connections, "connection side"),
        count(counters.seen, "frame"),
        grouped(
            (counters.emitted + counters.suppressed + counters.ring_full).saturating_sub(unstamped.records)
        ),
    )?;
    out.write_all(coverage::text(&covered).as_bytes())?;
    if counters.skipped_total() > 0 {
        writeln!(out, "Skipped frames: {}.", stats::skipped(counters))?;
    }
    out.write_all(outages::line(&summary.outages).as_bytes())?;
    losses::unread(out, counters)?;
    let bare = counters.skipped[Skip::NoTimestamps as usize] + unstamped.records;
    if bare > 0 {
        let syns = match unstamped.records {
            0 => String::new(),
            syns => format!(", {} of them {}", grouped(syns), if syns == 1 { "a SYN" } else { "SYNs" }),
        };
        let ports_tell = snapshot.addresses.iter().any(|report| report.unstamped_machines.is_some());
        let how = if ports_tell { "told by source ports alone" } else { "not counted" };
        writeln!(
            out,
            "No timestamps in {}{syns}. Machines that never send timestamps are {how}.",
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
    losses::lost_records(out, counters.ring_full, styles)?;
    losses::of_engine(out, summary)?;
    losses::warnings(out, &summary.warnings, styles)
}
