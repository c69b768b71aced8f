//! The table that `tmap live --every` prints: what changed since the table before, the most first.

use std::{
    cmp::Reverse,
    collections::HashMap,
    io::{self, Write},
};

use tmap_common::Address;

use super::{
    number::{grouped, more_of},
    style::Styles,
    table::{self, Row},
    view::{View, machines},
    words,
};
use crate::engine::snapshot::{AddressReport, Snapshot};

/// The most addresses listed, where the user gives no other number: with the line above, half a screen.
const TOP: usize = 10;

/// What a table showed, for the next one to compare with.
#[derive(Debug, Default)]
pub(super) struct Watch {
    shown: HashMap<Address, Shown>,
}

/// An address as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    connections: u64,
    /// The count of machines, in words.
    machines: String,
    last_seen_ns: u64,
}

impl Shown {
    fn of(report: &AddressReport) -> Self {
        Self {
            connections: report.connections,
            machines: words::machines_in_short(report),
            last_seen_ns: report.last_seen_ns,
        }
    }
}

/// What became of an address since the table before. The most important last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// No segment.
    Silent,
    /// Segments of known connections.
    Busy,
    /// New connections: this many more.
    Connections(u64),
    /// Another count of machines, or another interval.
    Machines,
    /// It wasn't there.
    New,
}

impl Change {
    fn between(before: Option<&Shown>, now: &Shown) -> Self {
        let Some(before) = before else { return Self::New };
        if before.machines != now.machines {
            return Self::Machines;
        }
        match now.connections.saturating_sub(before.connections) {
            0 if before.last_seen_ns == now.last_seen_ns => Self::Silent,
            0 => Self::Busy,
            more => Self::Connections(more),
        }
    }
}

impl Watch {
    /// Writes the table, and remembers it. Addresses whose machines changed come first, unless the user asks
    /// for another order.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        snapshot: &Snapshot,
        view: &View,
        styles: &Styles,
    ) -> io::Result<()> {
        let now: HashMap<Address, Shown> =
            snapshot.addresses.iter().map(|report| (report.address, Shown::of(report))).collect();
        let change =
            |report: &AddressReport| Change::between(self.shown.get(&report.address), &now[&report.address]);
        let mut listed: Vec<&AddressReport> =
            snapshot.addresses.iter().filter(|report| machines(report) >= view.min_machines).collect();
        view.sort.unwrap_or_default().apply(&mut listed);
        if view.sort.is_none() {
            listed.sort_by_cached_key(|report| Reverse(change(report)));
        }
        let left_out = listed.split_off(view.top.unwrap_or(TOP).min(listed.len()));
        let row = |report: &&AddressReport| Row::of(report, self.since(report, change(report)));
        let rows: Vec<Row> = listed.iter().map(row).collect();
        if !rows.is_empty() {
            table::lines(out, &rows, "Changed", styles)?;
        }
        if !left_out.is_empty() {
            let more = more_of(left_out.len() as u64, "address");
            let changed = left_out.iter().filter(|report| change(report) > Change::Busy).count();
            let news =
                if changed > 0 { format!(", {} with news", grouped(changed as u64)) } else { String::new() };
            writeln!(out, "... and {more}{news} (--top {} lists all)", listed.len() + left_out.len())?;
        }
        self.shown = now;
        Ok(())
    }

    /// What changed at an address, in a few words.
    fn since(&self, report: &AddressReport, change: Change) -> String {
        match change {
            Change::New => "new".to_owned(),
            Change::Machines => {
                let before = self.shown.get(&report.address).map_or("?", |shown| &shown.machines);
                format!("machines were {before}")
            }
            Change::Connections(more) => format!("+{}", grouped(more)),
            Change::Busy => String::new(),
            Change::Silent => "silent".to_owned(),
        }
    }
}
