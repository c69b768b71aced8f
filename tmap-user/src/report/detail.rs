//! The long form of a text summary (`-v`): everything that is known of each address and machine.

use std::io::{self, Write};

use super::{
    number::{Calendar, and_more, count, first_of, measured, span},
    style::{Styles, paint},
    words::{self, Shortage},
};
use crate::engine::snapshot::{AddressReport, Doubt, Estimate, MachineReport, Snapshot};

/// The most machines listed per address; the others are only counted.
const MAX_MACHINES: usize = 64;

/// The most peers of a machine that are named.
const MAX_PEERS: usize = 5;

/// Writes one address and its machines.
pub(super) fn address(
    out: &mut impl Write,
    report: &AddressReport,
    snapshot: &Snapshot,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    heading(out, report, snapshot, styles)?;
    for one in report.machine_list.iter().take(MAX_MACHINES) {
        let number = paint(styles.strong, &format!("#{}", one.id));
        let ports = words::ports(&one.ports);
        let link = if ports.is_empty() { "" } else { ", " };
        writeln!(out, "  {number}  {}{link}{ports}", words::share(one))?;
        machine(out, one, calendar)?;
    }
    if let Some(more) = and_more(MAX_MACHINES, report.machine_list.len(), "machine") {
        writeln!(out, "  {more}")?;
    }
    if let Some(unassigned) = &report.unassigned {
        writeln!(out, "  {}", super::table::rest(report, unassigned))?;
        handshake(out, unassigned.os.signature.as_deref())?;
    }
    match average_uptime(report, snapshot.now_ns) {
        Some(average) => writeln!(out, "  {average}"),
        None => Ok(()),
    }
}

/// The lines above the machines of an address: the count, what limits it, and the evidence for it.
fn heading(
    out: &mut impl Write,
    report: &AddressReport,
    snapshot: &Snapshot,
    styles: &Styles,
) -> io::Result<()> {
    let name = paint(styles.strong, &report.address.to_string());
    writeln!(out, "{name}: {}, {}", words::machines(report), count(report.connections, "connection"))?;
    if let Some(limit) = limit(report, snapshot) {
        writeln!(out, "{}", paint(styles.doubt, &format!("  {limit}")))?;
    }
    if let Some(help) = words::help(report) {
        writeln!(out, "  what would help: {help}")?;
    }
    if let Some(offsets) = offsets(report) {
        writeln!(out, "  {offsets}")?;
    }
    for remark in remarks(report) {
        writeln!(out, "  {remark}")?;
    }
    unstamped(out, report)?;
    if let Some(ports) = report.source_ports.as_ref().and_then(words::source_ports) {
        writeln!(out, "  {ports}")?;
    }
    if let Some(tunnels) = words::tunnels(&report.tunnels) {
        writeln!(out, "  {tunnels}")?;
    }
    Ok(())
}

/// What limits the answer at this address; `None` where nothing does, or where [`offsets`] says it.
pub(crate) fn limit(report: &AddressReport, snapshot: &Snapshot) -> Option<String> {
    match report.doubt {
        Some(Doubt::OffsetsRandom) => None,
        _ => words::doubt_here(report, Shortage::of(snapshot)),
    }
}

/// How the machines here choose offsets, with the evidence; `None` where nothing is known of it.
pub(crate) fn offsets(report: &AddressReport) -> Option<String> {
    if report.machine_list.is_empty() && report.evidence.is_empty() {
        return None;
    }
    let mut text = format!("offsets {}", words::regime(report.regime));
    if report.doubt == Some(Doubt::OffsetsRandom) {
        text.push_str(", so machines are not counted yet");
    }
    if !report.evidence.is_empty() {
        text.push_str(&format!(": {}", report.evidence));
    }
    Some(text)
}

/// What is odd about the connections and clocks of an address.
pub(crate) fn remarks(report: &AddressReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if report.zero_tsvals > 0 {
        remarks.push(format!("{} with TSval 0, which shows no clock", count(report.zero_tsvals, "segment")));
    }
    remarks.extend(words::connection_remarks(report));
    if report.tsval_jumps > 0 {
        let jumps = count(report.tsval_jumps, "clock jump");
        let causes = "a restored virtual machine, a failover or a middlebox";
        remarks.push(format!("{jumps} within a connection: {causes}"));
    }
    remarks
}

/// The lines above the machines of an address, without colours.
pub(crate) fn about(report: &AddressReport, snapshot: &Snapshot) -> String {
    in_text(|out| heading(out, report, snapshot, &Styles::default()))
}

/// The lines about a machine, without its share: clock, system, peers, boot.
pub(crate) fn about_machine(one: &MachineReport, calendar: &Calendar<'_>) -> String {
    in_text(|out| machine(out, one, calendar))
}

/// What is written, as a string.
fn in_text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Connections of an address that were opened without timestamps.
fn unstamped(out: &mut impl Write, report: &AddressReport) -> io::Result<()> {
    let Some(unstamped) = &report.unstamped else { return Ok(()) };
    writeln!(out, "  {}", words::unstamped(report).unwrap_or_default())?;
    let ports = report.unstamped_machines.as_ref().and_then(|machines| words::source_ports(&machines.ports));
    if let Some(ports) = ports {
        writeln!(out, "    {ports}")?;
    }
    match &unstamped.signature {
        Some(signature) => writeln!(out, "    their latest handshake (p0f notation) {signature}"),
        None => Ok(()),
    }
}

fn handshake(out: &mut impl Write, signature: Option<&str>) -> io::Result<()> {
    match signature {
        Some(signature) => writeln!(out, "      handshake (p0f notation) {signature}"),
        None => Ok(()),
    }
}

/// The lines about a machine's clock, indented.
pub(super) fn machine(
    out: &mut impl Write,
    machine: &MachineReport,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    write!(out, "      {}", words::clock(machine))?;
    if machine.tick_hz > 0.0 {
        write!(out, " ({} Hz)", measured(machine.rate_hz))?;
    }
    writeln!(out, "; OS: {}", words::system(&machine.os))?;
    handshake(out, machine.os.signature.as_deref())?;
    peers(out, machine)?;
    if let Some(ports) = &machine.source_ports {
        writeln!(out, "      {}", words::machine_ports(ports, calendar.boundary_s(machine)))?;
    }
    let reference = || calendar.local(machine.reference_ns as f64 / 1e9, 0.0);
    if let Some(offset) = machine.offset_ticks {
        writeln!(out, "      TSval {} at {}", measured(offset), reference())?;
    } else if let Some(phase) = machine.known_phase_ticks() {
        writeln!(out, "      phase {} of a tick at {}", fraction(phase), reference())?;
    }
    if let Some(boot) = machine.boot {
        writeln!(out, "      up since {}", words::up_since(boot, calendar))?;
    }
    if let Some((boot, probability)) = machine.boot_if_fixed {
        writeln!(
            out,
            "      if its offset is fixed ({:.0} % of such systems): up since {}",
            100.0 * probability,
            words::up_since(boot, calendar)
        )?;
    }
    Ok(())
}

/// A fraction of a tick with its error: what rounds to a whole tick is 0.
fn fraction(phase: Estimate) -> String {
    let text = measured(phase);
    if text.starts_with('1') { measured(Estimate { value: 0.0, ..phase }) } else { text }
}

fn peers(out: &mut impl Write, machine: &MachineReport) -> io::Result<()> {
    match peers_in_words(machine) {
        Some(peers) => writeln!(out, "      peers (connections): {peers}"),
        None => Ok(()),
    }
}

/// `192.0.2.1 (12), 192.0.2.7 (3) and 4 more`: peers with their connections; `None` without any.
pub(crate) fn peers_in_words(machine: &MachineReport) -> Option<String> {
    if machine.peers.is_empty() {
        return None;
    }
    let shown = machine.peers.iter().take(MAX_PEERS);
    let names: Vec<String> =
        shown.map(|peer| format!("{} ({:.0})", peer.address, peer.connections)).collect();
    Some(first_of(&names, machine.peers_total as usize))
}

/// The average uptime of an address's machines, where it has several.
pub(crate) fn average_uptime(report: &AddressReport, now_ns: u64) -> Option<String> {
    match report.average_uptime_s(now_ns) {
        Some((mean_s, machines)) if machines > 1 => {
            Some(format!("average uptime {}, over {}", span(mean_s), count(machines, "machine")))
        }
        _ => None,
    }
}
