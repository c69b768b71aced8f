//! How often round trips took how long, for each machine.

use std::{cmp::Reverse, collections::BTreeMap};

use tmap_common::Address;

use super::{
    axis::{log_time, numbers},
    chart::{Chart, Mark, Owner, Series},
    source::{MOST_MACHINES, drawn_of, name, sources},
};
use crate::{
    engine::{
        rtt::report::{Bucket, Machine},
        snapshot::Snapshot,
    },
    report::number::{Calendar, count, span},
};

/// The smallest round trip that a logarithmic axis shows, in seconds.
const SMALLEST_S: f64 = 1e-6;

/// A chart of each address with round trips, those with most of them first; none where the engine doesn't
/// measure them.
pub(super) fn charts(snapshot: &Snapshot, address: Option<Address>, _calendar: &Calendar<'_>) -> Vec<Chart> {
    let Some(report) = &snapshot.rtt else { return Vec::new() };
    let mut machines: BTreeMap<Address, Vec<&Machine>> = BTreeMap::new();
    for machine in report.machines.iter().filter(|m| address.is_none_or(|address| address == m.address)) {
        machines.entry(machine.address).or_default().push(machine);
    }
    let mut charts: Vec<(u64, Chart)> = machines
        .into_iter()
        .filter_map(|(address, machines)| {
            let total = machines.iter().map(|machine| machine.rtt.count).sum();
            Some((total, chart(snapshot, address, &machines)?))
        })
        .collect();
    charts.sort_by_key(|(total, _)| Reverse(*total));
    charts.into_iter().map(|(_, chart)| chart).collect()
}

fn chart(snapshot: &Snapshot, address: Address, machines: &[&Machine]) -> Option<Chart> {
    let title = sources(snapshot, Some(address)).first().map_or(address.to_string(), |source| source.title());
    let shown = &machines[..machines.len().min(MOST_MACHINES)];
    let steps: Vec<(&Machine, Vec<Step>)> = shown.iter().map(|m| (*m, steps(&m.histogram))).collect();
    let all = || steps.iter().flat_map(|(_, steps)| steps);
    let from_s = all().map(|step| step.from_s).reduce(f64::min)?;
    let to_s = all().map(|step| step.to_s).reduce(f64::max)?;
    let highest = all().map(|step| step.share).reduce(f64::max)?;
    let only = steps.len() == 1;
    let series = steps.iter().map(|(machine, steps)| {
        let owner = machine.machine.map_or(Owner::Nobody, Owner::Machine);
        let median = span(machine.rtt.median as f64 * 1e-9);
        let name = format!("{}, median {median}", name(owner));
        Series { name, owner, marks: if only { bars(steps) } else { outline(steps) } }
    });
    let trips = machines.iter().map(|machine| machine.rtt.count).sum();
    let known = |machines: &[&Machine]| machines.iter().filter(|m| m.machine.is_some()).count();
    let of = match known(machines) {
        0 => "connections of no known machine".to_owned(),
        known_here => drawn_of(known(shown), known_here, "machine"),
    };
    Some(Chart {
        title,
        subtitle: format!(
            "{} from the sensor to {of} and back; each sums to 100 %",
            count(trips, "round trip")
        ),
        x: log_time("round-trip time (logarithmic)".to_owned(), from_s, to_s),
        y: numbers("share of the machine's round trips (%)".to_owned(), 0.0, 1.05 * highest),
        series: series.collect(),
    })
}

/// A step of a histogram.
struct Step {
    from_s: f64,
    to_s: f64,
    /// In percent.
    share: f64,
    count: u64,
}

/// The steps of a histogram. Its edges grow by one factor, which also gives the first bucket its beginning.
fn steps(histogram: &[Bucket]) -> Vec<Step> {
    let total: u64 = histogram.iter().map(|bucket| bucket.count).sum();
    let seconds = |ns: u64| (ns as f64 * 1e-9).max(SMALLEST_S);
    let growth = match histogram {
        // The last two: the first bar may be that of values of 0.
        [.., before, last] => seconds(last.to) / seconds(before.to),
        _ => 1.25,
    };
    let mut from_s = histogram.first().map_or(SMALLEST_S, |first| seconds(first.to) / growth.max(1.01));
    let mut steps = Vec::with_capacity(histogram.len());
    for bucket in histogram {
        let to_s = seconds(bucket.to).max(from_s * 1.001);
        let share = 100.0 * bucket.count as f64 / total.max(1) as f64;
        steps.push(Step { from_s, to_s, share, count: bucket.count });
        from_s = to_s;
    }
    steps
}

fn bars(steps: &[Step]) -> Vec<Mark> {
    let bar = |step: &Step| Mark::Bar {
        x: (step.from_s.log10(), step.to_s.log10()),
        y: (0.0, step.share),
        text: format!("{} to {}: {}", span(step.from_s), span(step.to_s), count(step.count, "round trip")),
    };
    steps.iter().filter(|step| step.count > 0).map(bar).collect()
}

/// The outline of a histogram, so that several can lie on each other.
fn outline(steps: &[Step]) -> Vec<Mark> {
    let mut marks = Vec::with_capacity(2 * steps.len() + 1);
    let mut before = (steps.first().map_or(0.0, |step| step.from_s.log10()), 0.0);
    for step in steps {
        let (up, along) = ((before.0, step.share), (step.to_s.log10(), step.share));
        marks.push(Mark::Line { from: before, to: up });
        marks.push(Mark::Line { from: up, to: along });
        before = along;
    }
    marks.push(Mark::Line { from: before, to: (before.0, 0.0) });
    marks
}
