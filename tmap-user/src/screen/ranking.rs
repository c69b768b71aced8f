//! The order of addresses, and what changes from one snapshot to the next: how fast segments come.

use std::{cmp::Reverse, collections::HashMap};

use tmap_common::Address;

use crate::engine::{
    Snapshot,
    snapshot::{AddressReport, MachineReport},
};

/// By what addresses are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Most machines first, then most connections.
    #[default]
    Machines,
    /// Most connections first.
    Connections,
    /// By address.
    Address,
    /// Most segments a second first.
    Rate,
    /// The longest round trips first.
    RoundTrip,
    /// The longest up first.
    Uptime,
    /// The latest seen first.
    Seen,
    /// The latest news first.
    News,
}

impl Order {
    /// All of them, with their keys.
    const ALL: [(Self, char); 8] = [
        (Self::Machines, 'm'),
        (Self::Connections, 'c'),
        (Self::Rate, 't'),
        (Self::Address, 'a'),
        (Self::News, 'n'),
        (Self::Uptime, 'u'),
        (Self::Seen, 'l'),
        (Self::RoundTrip, 'o'),
    ];

    /// The order that a key stands for.
    pub(super) fn of_key(key: char) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == key).map(|(order, _)| *order)
    }
}

/// What each address sent between two snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// Engine time and segments of the snapshot before.
    before_ns: u64,
    segments: HashMap<Address, u64>,
    per_s: HashMap<Address, f64>,
}

/// Snapshots closer than this to each other show no rate, in nanoseconds.
const LEAST_NS: u64 = 400_000_000;

impl Rates {
    /// Takes in the next snapshot.
    pub(super) fn update(&mut self, snapshot: &Snapshot) {
        let passed_ns = snapshot.now_ns.saturating_sub(self.before_ns);
        if passed_ns < LEAST_NS {
            return;
        }
        let rate = |report: &AddressReport| {
            // Segments are those of the connections held, so they may fall.
            let more = report.segments.saturating_sub(*self.segments.get(&report.address)?);
            Some((report.address, more as f64 / (passed_ns as f64 / 1e9)))
        };
        self.per_s = snapshot.addresses.iter().filter_map(rate).collect();
        self.segments = snapshot.addresses.iter().map(|report| (report.address, report.segments)).collect();
        self.before_ns = snapshot.now_ns;
    }

    /// Segments a second: since the snapshot before or, `over_all`, since the address was first seen.
    pub(super) fn of(&self, report: &AddressReport, over_all: bool) -> Option<f64> {
        let mean = || {
            let seen_s = report.last_seen_ns.saturating_sub(report.first_seen_ns) as f64 / 1e9;
            (seen_s >= 1.0).then(|| report.segments as f64 / seen_s)
        };
        let recent = self.per_s.get(&report.address).copied().filter(|_| !over_all);
        recent.or_else(mean)
    }
}

/// The median round trip to each address in seconds, where round trips are measured: that of the machine with
/// most of them.
pub(super) fn round_trips(snapshot: &Snapshot) -> HashMap<Address, f64> {
    let mut most: HashMap<Address, (u64, f64)> = HashMap::new();
    for machine in snapshot.rtt.iter().flat_map(|rtt| &rtt.machines) {
        let entry = most.entry(machine.address).or_default();
        if machine.rtt.count > entry.0 {
            *entry = (machine.rtt.count, machine.rtt.median as f64 / 1e9);
        }
    }
    most.into_iter().map(|(address, (_, median_s))| (address, median_s)).collect()
}

/// What the ranking goes by, besides the reports.
pub(super) struct Figures<'a> {
    /// Segments a second.
    pub rates: &'a Rates,
    /// Whether rates are those since an address was first seen.
    pub over_all: bool,
    /// Round trips in seconds.
    pub round_trips: &'a HashMap<Address, f64>,
    /// When each address was last in the news, engine time in nanoseconds.
    pub news_ns: &'a HashMap<Address, u64>,
}

/// The positions of the addresses that match the filter, in this order.
pub(super) fn rank(snapshot: &Snapshot, filter: &str, order: Order, figures: &Figures<'_>) -> Vec<usize> {
    let all = &snapshot.addresses;
    let matches = |at: &usize| filter.is_empty() || all[*at].address.to_string().contains(filter);
    let mut listed: Vec<usize> = (0..all.len()).filter(matches).collect();
    let usual = |report: &AddressReport| (Reverse((machines(report), report.connections)), report.address);
    // What can be negative or has a fraction is compared as a whole number.
    let milli = |value: Option<f64>| value.map_or(-1, |value| (value * 1e6) as i64);
    listed.sort_by_cached_key(|&at| {
        let report = &all[at];
        let first = match order {
            Order::Machines | Order::Address => 0,
            Order::Connections => -(report.connections as i64),
            Order::Rate => -milli(figures.rates.of(report, figures.over_all)),
            Order::RoundTrip => -milli(figures.round_trips.get(&report.address).copied()),
            Order::Uptime => boot_ns(report),
            Order::Seen => -(report.last_seen_ns as i64),
            Order::News => -(figures.news_ns.get(&report.address).copied().unwrap_or(0) as i64),
        };
        let by_address = order == Order::Address;
        (first, by_address.then_some(report.address), usual(report))
    });
    listed
}

/// The machines of an address: the best count or, without one, the fewest that there can be.
fn machines(report: &AddressReport) -> u32 {
    report.machines.or(report.machines_low).unwrap_or(0)
}

/// The earliest boot of an address's machines, engine time in nanoseconds.
fn boot_ns(report: &AddressReport) -> i64 {
    let boots = report.machine_list.iter().filter_map(|machine: &MachineReport| machine.boot);
    let earliest_s = boots.map(|boot| boot.engine_s.value).min_by(f64::total_cmp);
    earliest_s.map_or(i64::MAX, |boot_s| (boot_s * 1e9) as i64)
}
