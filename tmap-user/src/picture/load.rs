//! Each machine's share of the connections that begin, over time.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    axis::{Time, numbers},
    chart::{Chart, Mark, Owner, Series},
    source::{MOST_MACHINES, Source, name, owner, series, sources},
};
use crate::{
    engine::snapshot::{ConnectionReport, Snapshot},
    report::number::{Calendar, count, more_of, span},
};

/// The most intervals of time.
const MOST_BINS: usize = 60;

/// Connections that an interval has on average at least: fewer tell no share.
const LEAST_PER_BIN: usize = 8;

/// A chart of each address, those with most connections first.
pub(super) fn charts(snapshot: &Snapshot, address: Option<Address>, calendar: &Calendar<'_>) -> Vec<Chart> {
    sources(snapshot, address).iter().filter_map(|source| chart(source, calendar)).collect()
}

fn chart(source: &Source<'_>, calendar: &Calendar<'_>) -> Option<Chart> {
    let first_ns = source.connections.iter().map(|c| c.first_seen_ns).min()?;
    let last_ns = source.connections.iter().map(|c| c.first_seen_ns).max()?;
    let time = Time::new(first_ns, last_ns);
    let (from, to) = (time.x(first_ns), time.x(last_ns));
    let bins = (source.connections.len() / LEAST_PER_BIN).clamp(1, MOST_BINS);
    let width = (to - from).max(1e-3) / bins as f64;
    let shown = busiest(&source.connections);
    // Connections of each owner in each interval.
    let mut counts: BTreeMap<Owner, Vec<u64>> = BTreeMap::new();
    let mut totals = vec![0; bins];
    for connection in &source.connections {
        let bin = (((time.x(connection.first_seen_ns) - from) / width) as usize).min(bins - 1);
        let owner = Some(owner(connection)).filter(|owner| shown.contains(owner)).unwrap_or(Owner::All);
        counts.entry(owner).or_insert_with(|| vec![0; bins])[bin] += 1;
        totals[bin] += 1;
    }
    let more = machines(&source.connections) - shown.iter().filter(|owner| **owner != Owner::Nobody).count();
    let named = |owner| if owner == Owner::All { more_of(more as u64, "machine") } else { name(owner) };
    let bin_of = |bin: usize| (from + bin as f64 * width, from + (bin + 1) as f64 * width);
    let connections = count(source.connections.len() as u64, "connection");
    Some(Chart {
        title: source.title(),
        subtitle: format!("Share of {connections}, by the {} in which they begin", span(width)),
        x: time.axis(calendar),
        y: numbers("share of connections (%)".to_owned(), 0.0, 100.0),
        series: stacked(counts, &totals, bin_of, named),
    })
}

/// How many machines have connections.
fn machines(connections: &[&ConnectionReport]) -> usize {
    let mut numbers: Vec<u32> = connections.iter().filter_map(|c| c.machine).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// The owners with most connections, which get a colour of their own.
fn busiest(connections: &[&ConnectionReport]) -> Vec<Owner> {
    let mut counts: BTreeMap<Owner, usize> = BTreeMap::new();
    for connection in connections {
        *counts.entry(owner(connection)).or_default() += 1;
    }
    let mut owners: Vec<Owner> = counts.keys().copied().collect();
    // Nobody's are always shown.
    owners.sort_by_key(|owner| (*owner != Owner::Nobody, std::cmp::Reverse(counts[owner])));
    owners.truncate(MOST_MACHINES);
    owners
}

/// Bars that lie on each other and fill every interval that has connections.
fn stacked(
    counts: BTreeMap<Owner, Vec<u64>>,
    totals: &[u64],
    bin_of: impl Fn(usize) -> (f64, f64),
    named: impl Fn(Owner) -> String,
) -> Vec<Series> {
    let mut base = vec![0.0; totals.len()];
    let mut bars = |owner: Owner, counts: &[u64]| -> Vec<Mark> {
        let mut marks = Vec::new();
        for (bin, (&own, &all)) in counts.iter().zip(totals).enumerate().filter(|(_, (own, _))| **own > 0) {
            let share = 100.0 * own as f64 / all as f64;
            let y = (base[bin], base[bin] + share);
            base[bin] = y.1;
            let text = format!("{}: {own} of {}, {share:.0} %", named(owner), count(all, "connection"));
            marks.push(Mark::Bar { x: bin_of(bin), y, text });
        }
        marks
    };
    let marks: BTreeMap<Owner, Vec<Mark>> =
        counts.iter().map(|(&owner, counts)| (owner, bars(owner, counts))).collect();
    series(marks, &named)
}
