//! The addresses as rows of a table.

use crate::{
    engine::{Snapshot, snapshot::AddressReport},
    report::{
        number::{Calendar, grouped},
        table,
        view::machines,
        words::{self, Shortage},
    },
};

/// An address in the table. Numbers beside texts are what the columns are sorted by.
pub(super) struct Row {
    pub address: String,
    /// The address as a number, so that 10.0.0.9 comes before 10.0.0.10.
    pub key: String,
    /// The anchor of its section; empty where it has none.
    pub anchor: String,
    pub machines: u32,
    pub machines_text: String,
    pub system: String,
    pub offsets: &'static str,
    pub connections: u64,
    pub connections_text: String,
    pub segments: u64,
    pub segments_text: String,
    /// The latest boot, as a number.
    pub boot: Option<f64>,
    pub boot_text: String,
    pub last: u64,
    pub last_text: String,
    pub limit: String,
    /// Whether its machines were not counted.
    pub is_open: bool,
}

impl Row {
    pub(super) fn of(report: &AddressReport, snapshot: &Snapshot, calendar: &Calendar<'_>) -> Self {
        let boots = report.machine_list.iter().filter_map(|machine| Some(machine.boot?.engine_s.value));
        Self {
            address: report.address.to_string(),
            key: hex(&report.address.octets()),
            anchor: String::new(),
            machines: machines(report),
            machines_text: words::machines_in_short(report),
            system: table::systems(report),
            offsets: words::regime_in_short(report.regime),
            connections: report.connections,
            connections_text: grouped(report.connections),
            segments: report.segments,
            segments_text: grouped(report.segments),
            boot: boots.max_by(f64::total_cmp),
            boot_text: table::boots(report, calendar),
            last: report.last_seen_ns,
            last_text: calendar.day_and_second(report.last_seen_ns),
            limit: words::doubt_here(report, Shortage::of(snapshot)).unwrap_or_default(),
            is_open: report.machines.is_none(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
