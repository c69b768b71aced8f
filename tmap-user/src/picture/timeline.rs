//! The life of each machine, as far as it was seen: from its first segment to its last.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    axis::{Time, rows},
    chart::{Chart, Mark, Owner},
    source::{MOST_MACHINES, Source, drawn_of, series, sources},
};
use crate::{
    engine::snapshot::{Boot, MachineReport, Snapshot},
    report::number::{Calendar, count, span},
};

/// Half the height of a machine's bar, and of what is known of its boot, in rows.
const HALF_BAR: f64 = 0.28;
const HALF_BOOT: f64 = 0.12;

/// A chart of each address with machines, those with most connections first.
pub(super) fn charts(snapshot: &Snapshot, address: Option<Address>, calendar: &Calendar<'_>) -> Vec<Chart> {
    sources(snapshot, address).iter().filter_map(|source| chart(source, calendar)).collect()
}

fn chart(source: &Source<'_>, calendar: &Calendar<'_>) -> Option<Chart> {
    let all = &source.report.machine_list;
    let machines = &all[..all.len().min(MOST_MACHINES)];
    let time = Time::new(
        machines.iter().map(|machine| machine.first_seen_ns).min()?,
        machines.iter().map(|machine| machine.last_seen_ns).max()?,
    );
    let names: Vec<String> = machines.iter().map(|machine| format!("#{}", machine.id)).collect();
    let place = |row: usize| (machines.len() - row) as f64;
    let marks: BTreeMap<Owner, Vec<Mark>> = machines
        .iter()
        .enumerate()
        .map(|(row, machine)| (Owner::Machine(machine.id), life(machine, place(row), &time, calendar)))
        .collect();
    let mut subtitle =
        format!("When {} were first and last seen", drawn_of(machines.len(), all.len(), "machine"));
    if let Some(unassigned) = &source.report.unassigned {
        subtitle += &format!("; {} of no machine", count(unassigned.connections, "connection"));
    }
    Some(Chart {
        title: source.title(),
        subtitle,
        x: time.axis(calendar),
        y: rows("machine".to_owned(), names),
        series: series(marks, |owner| named(source, owner, calendar)),
    })
}

/// A machine's row: its bar, and its boot if that lies within the picture.
fn life(machine: &MachineReport, row: f64, time: &Time, calendar: &Calendar<'_>) -> Vec<Mark> {
    let (from, to) = (time.x(machine.first_seen_ns), time.x(machine.last_seen_ns));
    // A machine that was seen for a moment is visible, too.
    let to = to.max(from + 0.003 * time.span_s());
    let connections = count(machine.connections.round() as u64, "connection");
    let text = format!("#{}: seen for {}, {connections}", machine.id, span(to - from));
    let mut marks = vec![Mark::Bar { x: (from, to), y: (row - HALF_BAR, row + HALF_BAR), text }];
    if let Some(boot) = &machine.boot {
        let (at, sigma) = (time.x_of_s(boot.engine_s.value), boot.engine_s.sigma);
        let (least, most) = time.ends();
        if (least..=most).contains(&at) {
            let text = format!("#{}: {}", machine.id, up_since(boot, calendar));
            let x = ((at - 2.0 * sigma - boot.or_earlier_s).max(least), (at + 2.0 * sigma).min(most));
            marks.push(Mark::Bar { x, y: (row - HALF_BOOT, row + HALF_BOOT), text: text.clone() });
            marks.push(Mark::Point { at: (at, row), weight: 0.8, text });
        }
    }
    marks
}

fn named(source: &Source<'_>, owner: Owner, calendar: &Calendar<'_>) -> String {
    let Owner::Machine(number) = owner else { return super::source::name(owner) };
    let boot = source.machine(number).and_then(|machine| machine.boot.as_ref());
    let since = boot.map(|boot| format!("  {}", up_since(boot, calendar))).unwrap_or_default();
    format!("#{number}{since}")
}

/// When a machine booted, no finer than known.
fn up_since(boot: &Boot, calendar: &Calendar<'_>) -> String {
    let sigma_s = boot.engine_s.sigma.max(boot.or_earlier_s);
    format!("up since {}", calendar.minute(boot.engine_s.value, sigma_s))
}
