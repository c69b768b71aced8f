//! Phase against time: every connection is a point, every machine a line. The upper edge is the lower edge,
//! because a phase is known modulo one tick.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    axis::Time,
    chart::{Axis, Chart, Mark, Owner},
    cylinder,
    source::{
        MOST_CONNECTIONS, MOST_MACHINES, Source, drawn_of, name, owner, series, sources, thinned, words,
    },
};
use crate::{
    engine::snapshot::{ConnectionReport, Estimate, MachineReport, PhasePoint, Snapshot},
    report::number::{Calendar, hertz, signed, span},
};

/// A phase less certain than this, in ticks, says nothing and isn't drawn.
const WORST_SIGMA_TICKS: f64 = 0.2;

/// A phase of this standard error, in ticks, has a point of the largest size, whose radius falls with the
/// square root of the error.
const SHARP_SIGMA_TICKS: f64 = 0.01;

/// Charts of each address and tick rate, those with most points first.
pub(super) fn charts(
    snapshot: &Snapshot,
    address: Option<tmap_common::Address>,
    calendar: &Calendar<'_>,
) -> Vec<Chart> {
    let sources = sources(snapshot, address);
    let mut panels: Vec<Panel<'_>> = sources.iter().flat_map(panels).collect();
    panels.sort_by_key(|panel| Reverse(panel.total));
    panels.iter().map(|panel| panel.chart(calendar)).collect()
}

/// One address and one tick rate.
struct Panel<'a> {
    source: &'a Source<'a>,
    hz: f64,
    /// What is drawn, the best known last, on top.
    points: Vec<(PhasePoint, &'a ConnectionReport)>,
    /// Connections whose phase is known, drawn or not.
    total: usize,
    /// Connections whose phase is too uncertain.
    blurred: usize,
    time: Time,
}

fn panels<'a>(source: &'a Source<'a>) -> Vec<Panel<'a>> {
    let mut places: BTreeMap<u64, Vec<(PhasePoint, &ConnectionReport)>> = BTreeMap::new();
    for connection in &source.connections {
        if let Some(place) = connection.place {
            places.entry(place.tick_hz as u64).or_default().push((place, connection));
        }
    }
    let panel = |(hz, mut points): (u64, Vec<(PhasePoint, &'a ConnectionReport)>)| {
        let all = points.len();
        points.retain(|(place, _)| place.phase_ticks.sigma <= WORST_SIGMA_TICKS);
        let blurred = all - points.len();
        let (mut points, total) = thinned(points, MOST_CONNECTIONS);
        let first_ns = points.iter().map(|(place, _)| place.at_ns).min()?;
        let last_ns = points.iter().map(|(place, _)| place.at_ns).max()?;
        points.sort_by(|a, b| b.0.phase_ticks.sigma.total_cmp(&a.0.phase_ticks.sigma));
        let time = Time::new(first_ns, last_ns);
        Some(Panel { source, hz: hz as f64, points, total, blurred, time })
    };
    places.into_iter().filter_map(panel).collect()
}

impl Panel<'_> {
    fn chart(&self, calendar: &Calendar<'_>) -> Chart {
        let mut marks: BTreeMap<Owner, Vec<Mark>> = BTreeMap::new();
        let machines = self.machines();
        for machine in machines.iter().take(MOST_MACHINES) {
            marks.insert(Owner::Machine(machine.id), self.line(machine));
        }
        for (place, connection) in &self.points {
            marks.entry(owner(connection)).or_default().push(self.point(*place, connection));
        }
        Chart {
            title: self.source.title(),
            subtitle: self.subtitle(machines.len()),
            x: self.time.axis(calendar),
            y: Axis {
                label: format!("phase (of a tick of {})", span(1.0 / self.hz)),
                from: 0.0,
                to: 1.0,
                ticks: ["0", "0.25", "0.5", "0.75", "1"]
                    .into_iter()
                    .enumerate()
                    .map(|(quarter, text)| (quarter as f64 / 4.0, text.to_owned()))
                    .collect(),
            },
            series: series(marks, |owner| self.name(owner)),
        }
    }

    fn subtitle(&self, machines: usize) -> String {
        let drawn = drawn_of(self.points.len(), self.total, "connection");
        let mut text = format!("Phase of {drawn} at {}", hertz(self.hz));
        if self.blurred > 0 {
            text += &format!("; {} more too uncertain to draw", self.blurred);
        }
        if machines > MOST_MACHINES {
            text += &format!("; lines of {}", drawn_of(MOST_MACHINES, machines, "machine"));
        }
        text + "; small and pale points are uncertain"
    }

    /// Machines of this rate whose phase is known.
    fn machines(&self) -> Vec<&MachineReport> {
        let own = |m: &&MachineReport| m.tick_hz == self.hz && phase(m).is_some();
        self.source.report.machine_list.iter().filter(own).collect()
    }

    fn name(&self, owner: Owner) -> String {
        let skew = match owner {
            Owner::Machine(number) => self.source.machine(number).and_then(|machine| machine.skew_ppm),
            Owner::Nobody | Owner::All => None,
        };
        name(owner) + &skew.map(|skew| format!("  {} ppm", signed(skew))).unwrap_or_default()
    }

    fn line(&self, machine: &MachineReport) -> Vec<Mark> {
        let Some(start) = phase(machine) else { return Vec::new() };
        let drift = machine.skew_ppm.map_or(0.0, |skew| skew.value * 1e-6 * self.hz);
        let (from, to) = self.time.ends();
        let begin = start.value + drift * (from - self.time.x(machine.reference_ns));
        cylinder::pieces(from, to, begin, drift, 1.0)
    }

    fn point(&self, place: PhasePoint, connection: &ConnectionReport) -> Mark {
        let Estimate { value, sigma } = place.phase_ticks;
        let precision = (SHARP_SIGMA_TICKS / sigma.max(SHARP_SIGMA_TICKS)).sqrt();
        Mark::Point {
            at: (self.time.x(place.at_ns), value),
            weight: precision * (0.3 + 0.7 * connection.probability.unwrap_or(0.0)),
            text: format!("{}, phase {value:.3} ± {sigma:.3}", words(connection)),
        }
    }
}

/// A machine's phase at its reference time, a whole second: its own, or that of its offset.
fn phase(machine: &MachineReport) -> Option<Estimate> {
    machine.known_phase_ticks().or(machine.offset_ticks).filter(|phase| phase.sigma < WORST_SIGMA_TICKS)
}
