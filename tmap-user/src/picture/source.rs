//! What a picture shows of one address: its report, its connections, and the words for both.

use std::{cmp::Reverse, collections::BTreeMap};

use tmap_common::Address;

use super::chart::{Mark, Owner, Series};
use crate::{
    engine::snapshot::{AddressReport, ConnectionReport, MachineReport, Snapshot},
    report::number::{count, grouped},
};

/// The most connections drawn one by one in a picture.
pub(super) const MOST_CONNECTIONS: usize = 3_000;

/// The most machines drawn by a line or a row of their own.
pub(super) const MOST_MACHINES: usize = 40;

/// One address, and its connections in the snapshot.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) report: &'a AddressReport,
    pub(super) connections: Vec<&'a ConnectionReport>,
}

/// The addresses that a picture is about, those with most connections first.
pub(super) fn sources(snapshot: &Snapshot, address: Option<Address>) -> Vec<Source<'_>> {
    let is_wanted = |other: Address| address.is_none_or(|address| address == other);
    let mut connections: BTreeMap<Address, Vec<&ConnectionReport>> = BTreeMap::new();
    for connection in snapshot.connections.iter().filter(|connection| is_wanted(connection.src)) {
        connections.entry(connection.src).or_default().push(connection);
    }
    let mut sources: Vec<Source<'_>> = snapshot
        .addresses
        .iter()
        .filter(|report| is_wanted(report.address))
        .map(|report| Source { report, connections: connections.remove(&report.address).unwrap_or_default() })
        .collect();
    sources.sort_by_key(|source| Reverse((source.connections.len(), source.report.connections)));
    sources
}

impl Source<'_> {
    /// The address, and how many machines it has.
    pub(super) fn title(&self) -> String {
        let report = self.report;
        let machines = match (report.machines, report.machines_low, report.machines_high) {
            (Some(best), Some(low), Some(high)) if low != high => {
                format!("{} (90 % sure: {low} to {high})", count(best.into(), "machine"))
            }
            (Some(best), ..) => count(best.into(), "machine"),
            (None, Some(low), None) if low > 0 => format!("machines unknown, at least {low}"),
            (None, ..) => "machines unknown".to_owned(),
        };
        format!("{}: {machines}", report.address)
    }

    /// The machine of a number.
    pub(super) fn machine(&self, number: u32) -> Option<&MachineReport> {
        self.report.machine_list.iter().find(|machine| machine.id == number)
    }
}

/// Whose a connection is.
pub(super) fn owner(connection: &ConnectionReport) -> Owner {
    connection.machine.map_or(Owner::Nobody, Owner::Machine)
}

/// How sure a connection's machine is, as the weight of its mark.
pub(super) fn weight(connection: &ConnectionReport) -> f64 {
    0.3 + 0.5 * connection.probability.unwrap_or(0.0)
}

/// A connection in words.
pub(super) fn words(connection: &ConnectionReport) -> String {
    let whose = match (connection.machine, connection.probability) {
        (Some(machine), Some(sure)) if sure < 0.995 => format!("#{machine} ({:.0} % sure), ", 100.0 * sure),
        (Some(machine), _) => format!("#{machine}, "),
        (None, _) => String::new(),
    };
    let (port, dst, dst_port) = (connection.src_port, connection.dst, connection.dst_port);
    format!("{whose}port {port} to {dst} port {dst_port}, {}", count(connection.segments, "segment"))
}

/// The name of an owner in a legend.
pub(super) fn name(owner: Owner) -> String {
    match owner {
        Owner::Machine(number) => format!("#{number}"),
        Owner::Nobody => "no machine".to_owned(),
        Owner::All => "all".to_owned(),
    }
}

/// Marks by owner, as series: what is no machine's lies below all others.
pub(super) fn series(
    marks: BTreeMap<Owner, Vec<Mark>>,
    mut named: impl FnMut(Owner) -> String,
) -> Vec<Series> {
    let make = |(owner, marks)| Series { name: named(owner), owner, marks };
    let mut series: Vec<Series> = marks.into_iter().map(make).collect();
    // The sort is stable, so machines keep the order of their numbers.
    series.sort_by_key(|series| series.owner != Owner::Nobody);
    series
}

/// Some of many, evenly chosen, and how many there were.
pub(super) fn thinned<T>(all: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let total = all.len();
    let stride = total.div_ceil(most).max(1);
    (all.into_iter().step_by(stride).collect(), total)
}

/// `1,234 connections`, or `1,000 of 5,000 connections` where the rest isn't drawn.
pub(super) fn drawn_of(drawn: usize, total: usize, one: &str) -> String {
    if drawn == total {
        count(total as u64, one)
    } else {
        format!("{} of {}", grouped(drawn as u64), count(total as u64, one))
    }
}
