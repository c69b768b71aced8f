//! The usual text summary: a table with one line an address and, where there are few, lines on each machine.

use std::io::{self, Write};

use super::{
    fold::{COLUMNS, fold, width},
    number::{Calendar, count, first_of, grouped, more_of},
    style::{Styles, paint},
    view::Chosen,
    words::{self, Shortage},
};
use crate::engine::snapshot::{AddressReport, Doubt, MachineReport, Unassigned};

/// With more addresses than this, each gets one line: the table then fills a screen.
const FEW_ADDRESSES: usize = 8;

/// The most machines of an address that get lines of their own here.
const FEW_MACHINES: usize = 16;

/// The narrowest column of systems; where it would be narrower, the last column is left out.
const LEAST_SYSTEM: usize = 12;

/// The columns between two cells.
const GAP: usize = 2;

/// The cells of an address.
pub(super) struct Row {
    address: String,
    machines: String,
    connections: String,
    system: String,
    offsets: &'static str,
    last: String,
}

/// The widths of the columns.
struct Widths {
    address: usize,
    machines: usize,
    connections: usize,
    system: usize,
    /// 0 where there is no room.
    last: usize,
}

const HEADINGS: [&str; 5] = ["Address", "Machines", "Conns", "System", "Offsets"];
const OFFSETS: usize = HEADINGS[4].len();

/// Writes the table of the chosen addresses.
pub(super) fn write(
    out: &mut impl Write,
    chosen: &Chosen<'_>,
    shortage: Option<Shortage>,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> io::Result<()> {
    if !chosen.listed.is_empty() {
        let rows: Vec<Row> =
            chosen.listed.iter().map(|report| Row::of(report, boots(report, calendar))).collect();
        let widths = widths(&rows, "Up since");
        writeln!(out)?;
        writeln!(out, "{}", heading(&widths, "Up since", styles))?;
        for (report, row) in chosen.listed.iter().zip(&rows) {
            writeln!(out, "{}", line(row, &widths, styles))?;
            if chosen.listed.len() <= FEW_ADDRESSES {
                out.write_all(fold(&details(report, shortage, calendar, styles)).as_bytes())?;
            }
        }
    }
    left_out(out, chosen)?;
    if chosen.listed.len() > FEW_ADDRESSES {
        reasons(out, &chosen.listed, styles)?;
    }
    Ok(())
}

/// The lines on what isn't listed.
pub(super) fn left_out(out: &mut impl Write, chosen: &Chosen<'_>) -> io::Result<()> {
    if chosen.more > 0 {
        let more = more_of(chosen.more as u64, "address");
        writeln!(out, "... and {more} (--top {} lists all)", chosen.listed.len() + chosen.more)?;
    }
    if chosen.too_few > 0 {
        writeln!(
            out,
            "{} with fewer machines left out (--min-machines)",
            count(chosen.too_few as u64, "address")
        )?;
    }
    Ok(())
}

/// Writes one line for each row, under a heading that names the last column.
pub(super) fn lines(out: &mut impl Write, rows: &[Row], last: &str, styles: &Styles) -> io::Result<()> {
    let widths = widths(rows, last);
    writeln!(out, "{}", heading(&widths, last, styles))?;
    rows.iter().try_for_each(|row| writeln!(out, "{}", line(row, &widths, styles)))
}

fn heading(widths: &Widths, last: &str, styles: &Styles) -> String {
    let [address, machines, connections, system, offsets] = HEADINGS;
    let [address, machines, connections, system, last] =
        [address, machines, connections, system, last].map(str::to_owned);
    let heading = Row { address, machines, connections, system, offsets, last };
    paint(styles.heading, &line(&heading, widths, &Styles::default()))
}

impl Row {
    /// An address, with something more in the last column.
    pub(super) fn of(report: &AddressReport, last: String) -> Self {
        Self {
            address: report.address.to_string(),
            machines: words::machines_in_short(report),
            connections: grouped(report.connections),
            system: systems(report),
            offsets: words::regime_in_short(report.regime),
            last,
        }
    }
}

/// The systems behind an address: `Linux 2026+`, `Linux` for several versions, `Solaris +1` for that and
/// another one with fewer connections.
pub(crate) fn systems(report: &AddressReport) -> String {
    let mut machines: Vec<&MachineReport> = report.machine_list.iter().collect();
    machines.sort_by(|a, b| b.connections.total_cmp(&a.connections));
    let mut names: Vec<String> = Vec::new();
    let unassigned = report.unassigned.as_ref().filter(|_| machines.is_empty());
    for os in machines.iter().map(|machine| &machine.os).chain(unassigned.map(|rest| &rest.os)) {
        // A guess that is more likely wrong than right isn't for a table.
        let name = if os.confidence > 0.0 { in_short(&os.name) } else { "?".to_owned() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match &names[..] {
        [] => "?".to_owned(),
        [only] => only.clone(),
        [first, others @ ..] => match first.split(' ').next() {
            Some(family) if others.iter().all(|other| other.split(' ').next() == Some(family)) => {
                family.to_owned()
            }
            _ => format!("{first} +{}", others.len()),
        },
    }
}

/// `Linux 2026+` for `Linux 2026 or later`, `Linux 4.13-4.19` for `Linux 4.13 to 4.19`.
pub(crate) fn in_short(name: &str) -> String {
    name.replace(" or later", "+").replace(" to early ", "-").replace(" to ", "-")
}

/// The boot of an address's machine, or the latest of several: `2006-02-16 22:48`, `last 2006-04-20`.
pub(crate) fn boots(report: &AddressReport, calendar: &Calendar<'_>) -> String {
    let boots = report.machine_list.iter().filter_map(|machine| machine.boot);
    let Some(latest) = boots.max_by(|a, b| a.engine_s.value.total_cmp(&b.engine_s.value)) else {
        return "-".to_owned();
    };
    match report.machine_list.len() {
        1 => calendar.minute(latest.engine_s.value, latest.engine_s.sigma),
        _ => format!("last {}", calendar.date(latest.engine_s.value)),
    }
}

fn widths(rows: &[Row], last: &str) -> Widths {
    let widest = |cell: fn(&Row) -> &str, heading: &str| {
        rows.iter().map(|row| width(cell(row))).max().unwrap_or(0).max(heading.len())
    };
    let address = widest(|row| &row.address, "255.255.255.255");
    let machines = widest(|row| &row.machines, HEADINGS[1]);
    let connections = widest(|row| &row.connections, HEADINGS[2]);
    let systems = widest(|row| &row.system, HEADINGS[3]);
    let last = widest(|row| &row.last, last);
    let others = address + machines + connections + OFFSETS + 4 * GAP;
    let beside_last = COLUMNS.saturating_sub(others + last + GAP);
    if beside_last >= LEAST_SYSTEM.min(systems) {
        Widths { address, machines, connections, system: systems.min(beside_last), last }
    } else {
        let system = systems.min(COLUMNS.saturating_sub(others)).max(HEADINGS[3].len());
        Widths { address, machines, connections, system, last: 0 }
    }
}

fn line(row: &Row, widths: &Widths, styles: &Styles) -> String {
    let pad = |text: &str, columns: usize| {
        let text = shortened(text, columns);
        format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
    };
    let address = paint(styles.strong, &pad(&row.address, widths.address));
    let machines = paint(styles.strong, &pad(&row.machines, widths.machines));
    let (connections, system) = (&row.connections, pad(&row.system, widths.system));
    let gap = " ".repeat(GAP);
    let mut text = format!(
        "{address}{gap}{machines}{gap}{connections:>0$}{gap}{system}{gap}{1:OFFSETS$}",
        widths.connections, row.offsets
    );
    if widths.last > 0 {
        text.push_str(&format!("{gap}{}", row.last));
    }
    text.trim_end().to_owned()
}

/// A text cut to so many columns, with a sign that it was.
fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// The lines under an address: what limits its count, what else was seen, and its machines.
fn details(
    report: &AddressReport,
    shortage: Option<Shortage>,
    calendar: &Calendar<'_>,
    styles: &Styles,
) -> String {
    let mut text = String::new();
    let mut add = |line: &str| text.push_str(&format!("{line}\n"));
    if let Some(doubt) = words::doubt_here(report, shortage) {
        add(&paint(styles.doubt, &format!("  {doubt}")));
    }
    if let Some(help) = words::help(report).filter(|_| report.machine_list.is_empty()) {
        add(&format!("  what would help: {help}"));
    }
    if let Some(unstamped) = words::unstamped(report) {
        add(&format!("  {unstamped}"));
    }
    words::connection_remarks(report).iter().for_each(|remark| add(&format!("  {remark}")));
    if report.tsval_jumps > 0 {
        add(&format!("  {} within a connection (see -v)", count(report.tsval_jumps, "clock jump")));
    }
    if let Some(tunnels) = words::tunnels(&report.tunnels) {
        add(&format!("  {tunnels}"));
    }
    for machine in report.machine_list.iter().take(FEW_MACHINES) {
        let number = paint(styles.strong, &format!("#{}", machine.id));
        add(&format!("  {number}  {}", share_in_short(machine)));
        add(&clock_in_short(machine, calendar));
    }
    if let Some(more) = report.machine_list.len().checked_sub(FEW_MACHINES + 1) {
        add(&format!("  ... and {} (-v lists all)", more_of(more as u64 + 1, "machine")));
    }
    if let Some(unassigned) = &report.unassigned {
        add(&format!("  {}", rest(report, unassigned)));
    }
    text
}

/// `about 11 of 38 connections (30 %), client of ports 443, 80 of 6 peers`.
fn share_in_short(machine: &MachineReport) -> String {
    let (share, ports) = (words::share(machine), words::ports_in_short(&machine.ports));
    let peers = match machine.peers_total {
        peers @ 2.. if ports.starts_with("client") => format!(" of {} peers", grouped(peers)),
        _ => String::new(),
    };
    if ports.is_empty() { share } else { format!("{share}, {ports}{peers}") }
}

/// A boot time that depends on fixed offsets is told only if these are at least as likely as others.
const LIKELY_FIXED: f64 = 0.5;

/// A machine's clock and system and, on a second line, its boot, indented:
/// `clock 1000 Hz, +20.1 ± 0.4 ppm; Linux (99 %), 1 hop away`.
fn clock_in_short(machine: &MachineReport, calendar: &Calendar<'_>) -> String {
    let mut text = format!("      {}; {}", words::clock(machine), words::system_in_short(&machine.os));
    if let Some(hops) = words::hops(&machine.os) {
        text.push_str(&format!(", {hops}"));
    }
    if let Some(boot) = machine.boot {
        text.push_str(&format!("\n      up since {}", words::up_since_in_short(boot, calendar)));
    }
    let likely = machine.boot_if_fixed.filter(|(_, probability)| *probability >= LIKELY_FIXED);
    if let Some((boot, probability)) = likely {
        text.push_str(&format!(
            "\n      up since {}, if its offset is fixed ({:.0} % likely)",
            words::up_since_in_short(boot, calendar),
            100.0 * probability,
        ));
    }
    text
}

/// What is known of the connections that are no machine's.
pub(crate) fn rest(report: &AddressReport, unassigned: &Unassigned) -> String {
    let Unassigned { connections, os, ports, .. } = unassigned;
    let mut parts = vec![if *connections == report.connections {
        "seen".to_owned()
    } else {
        format!("{} of no known machine", more_of(*connections, "connection"))
    }];
    let ports = words::ports_in_short(ports);
    parts.extend((!ports.is_empty()).then_some(ports));
    parts.push(words::system_in_short(os));
    parts.extend(words::hops(os));
    format!("{}: {}", parts.remove(0), parts.join(", "))
}

/// What limits the counts of the listed addresses, with these addresses or their number.
fn reasons(out: &mut impl Write, listed: &[&AddressReport], styles: &Styles) -> io::Result<()> {
    let mut doubts: Vec<Doubt> = listed.iter().filter_map(|report| report.doubt).collect();
    doubts.sort_unstable_by_key(|doubt| *doubt as u8);
    doubts.dedup();
    for doubt in doubts {
        let doubtful: Vec<_> = listed.iter().filter(|report| report.doubt == Some(doubt)).collect();
        let why = match doubt {
            Doubt::TooFewSegments => "most tick rates stay open: connections have too few segments",
            doubt => words::doubt(doubt),
        };
        // Whoever reads of an attack wants to know where.
        let is_attack = matches!(doubt, Doubt::Unanswered | Doubt::Contradicted | Doubt::Unrelated);
        let who = if is_attack {
            let names: Vec<String> =
                doubtful.iter().take(MOST_NAMED).map(|report| report.address.to_string()).collect();
            first_of(&names, doubtful.len())
        } else {
            count(doubtful.len() as u64, "address")
        };
        let text = fold(&format!("{who}: {why}\n"));
        write!(out, "{}", paint(styles.doubt, &text))?;
    }
    Ok(())
}

/// The most addresses that are named as attacked.
const MOST_NAMED: usize = 8;
