//! Counters against time: each machine with a fixed offset is a line, and all lines are parallel.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    axis::{Time, numbers, unit},
    chart::{Chart, Mark, Owner},
    cylinder,
    source::{
        MOST_CONNECTIONS, MOST_MACHINES, Source, drawn_of, name, owner, series, sources, thinned, weight,
        words,
    },
};
use crate::{
    engine::{
        snapshot::{ConnectionReport, CounterSpan, Estimate, MachineReport, Regime, Snapshot},
        types::WRAP_TICKS,
    },
    report::number::{Calendar, span},
};

/// A connection shorter than this share of the picture is a point without a line.
const SHORTEST_LINE: f64 = 0.004;

/// A unit is chosen so that the largest value is at most this many times the range shown.
const LARGEST_BY_RANGE: f64 = 1_000.0;

/// A chart of each address whose connections show counters, those with most connections first.
pub(super) fn charts(snapshot: &Snapshot, address: Option<Address>, calendar: &Calendar<'_>) -> Vec<Chart> {
    sources(snapshot, address).iter().filter_map(|source| chart(source, calendar)).collect()
}

/// What is drawn of an address, with `y` in seconds.
struct Panel<'a> {
    time: Time,
    counters: Vec<(CounterSpan, &'a ConnectionReport)>,
    /// Connections with a counter, drawn or not.
    total: usize,
    /// Connections without one.
    without: usize,
}

fn chart(source: &Source<'_>, calendar: &Calendar<'_>) -> Option<Chart> {
    let with = |c: &&ConnectionReport| c.counter.is_some();
    let counted: Vec<&ConnectionReport> = source.connections.iter().copied().filter(with).collect();
    let without = source.connections.len() - counted.len();
    let (counted, total) = thinned(counted, MOST_CONNECTIONS);
    let counters: Vec<_> = counted.into_iter().filter_map(|c| Some((c.counter?, c))).collect();
    let first_ns = counters.iter().map(|(span, _)| span.first.time_ns).min()?;
    let last_ns = counters.iter().map(|(span, _)| span.last.time_ns).max()?;
    let panel = Panel { time: Time::new(first_ns, last_ns), counters, total, without };
    let mut marks: BTreeMap<Owner, Vec<Mark>> = BTreeMap::new();
    let lines = |machine: &&MachineReport| machine.offset_ticks.is_some() && machine.tick_hz > 0.0;
    let machines: Vec<&MachineReport> = source.report.machine_list.iter().filter(lines).collect();
    for machine in machines.iter().take(MOST_MACHINES) {
        marks.insert(Owner::Machine(machine.id), panel.line(machine));
    }
    for (counter, connection) in &panel.counters {
        marks.entry(owner(connection)).or_default().extend(panel.connection(counter, connection));
    }
    let (low_s, high_s) = range(marks.values().flatten())?;
    let (unit_s, unit) = unit((high_s - low_s).max(high_s / LARGEST_BY_RANGE));
    marks.values_mut().flatten().for_each(|mark| scale(mark, unit_s));
    let room_s = (0.06 * (high_s - low_s)).max(0.02 * panel.time.span_s());
    Some(Chart {
        title: source.title(),
        subtitle: subtitle(source, &panel, machines.len()),
        x: panel.time.axis(calendar),
        y: numbers(
            format!("counter: TSval / tick rate ({unit})"),
            (low_s - room_s).max(0.0) / unit_s,
            (high_s + room_s) / unit_s,
        ),
        series: series(marks, |owner| named(source, owner)),
    })
}

impl Panel<'_> {
    /// A machine's line through all its connections, round the wrap of its counter.
    fn line(&self, machine: &MachineReport) -> Vec<Mark> {
        let Some(Estimate { value: offset_ticks, .. }) = machine.offset_ticks else { return Vec::new() };
        let (hz, (from, to)) = (machine.tick_hz, self.time.ends());
        let slope = machine.rate_hz.value / hz;
        let begin_s = offset_ticks / hz + slope * (from - self.time.x(machine.reference_ns));
        cylinder::pieces(from, to, begin_s, slope, WRAP_TICKS / hz)
    }

    /// A connection: a point where it begins, and a line to its end.
    fn connection(&self, counter: &CounterSpan, connection: &ConnectionReport) -> Vec<Mark> {
        let CounterSpan { first, last, tick_hz } = *counter;
        let (from, to) = (self.time.x(first.time_ns), self.time.x(last.time_ns));
        let wrap_s = WRAP_TICKS / tick_hz;
        let start_s = (first.ticks as f64 / tick_hz).rem_euclid(wrap_s);
        let mut marks = Vec::new();
        if to - from > SHORTEST_LINE * self.time.span_s() {
            let slope = (last.ticks - first.ticks) as f64 / tick_hz / (to - from);
            marks = cylinder::pieces(from, to, start_s, slope, wrap_s);
        }
        let raw = first.ticks.rem_euclid(WRAP_TICKS as i64);
        let text = format!("{}, TSval {raw} ({})", words(connection), span(start_s));
        marks.push(Mark::Point { at: (from, start_s), weight: weight(connection), text });
        marks
    }
}

fn subtitle(source: &Source<'_>, panel: &Panel<'_>, machines: usize) -> String {
    let mut text = format!("Counters of {}", drawn_of(panel.counters.len(), panel.total, "connection"));
    if panel.without > 0 {
        text += &format!("; {} more show no tick rate", panel.without);
    }
    if machines > MOST_MACHINES {
        text += &format!("; lines of {}", drawn_of(MOST_MACHINES, machines, "machine"));
    }
    text + match source.report.regime {
        Regime::Global => "; offsets are fixed: one line per machine",
        Regime::PerPair => "; offsets are random per pair of addresses: see phases",
        Regime::PerConnection => "; offsets are random per connection: see phases",
        Regime::Mixed => "; some machines have random offsets: see phases",
        Regime::Undetermined => "; too few connections to tell whether offsets are fixed",
    }
}

fn named(source: &Source<'_>, owner: Owner) -> String {
    let machine = match owner {
        Owner::Machine(number) => source.machine(number),
        Owner::Nobody | Owner::All => None,
    };
    let rate = machine.filter(|machine| machine.tick_hz > 0.0);
    name(owner) + &rate.map(|m| format!("  {}", crate::report::number::hertz(m.tick_hz))).unwrap_or_default()
}

/// The least and the greatest `y` of marks.
fn range<'a>(marks: impl Iterator<Item = &'a Mark>) -> Option<(f64, f64)> {
    let ys = marks.flat_map(|mark| match *mark {
        Mark::Point { at, .. } => [at.1, at.1],
        Mark::Line { from, to } => [from.1, to.1],
        Mark::Bar { y, .. } => [y.0, y.1],
        Mark::Event { .. } => [f64::NAN, f64::NAN],
    });
    let (low, high) = ys.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    (low <= high).then_some((low, high))
}

/// Brings a mark from seconds to a unit.
fn scale(mark: &mut Mark, unit_s: f64) {
    match mark {
        Mark::Point { at, .. } => at.1 /= unit_s,
        Mark::Line { from, to } => {
            from.1 /= unit_s;
            to.1 /= unit_s;
        }
        Mark::Bar { .. } | Mark::Event { .. } => {}
    }
}
