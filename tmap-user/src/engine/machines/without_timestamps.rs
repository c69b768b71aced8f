//! Machines without timestamps: they show no clock, but their source ports may tell how many they are.

use std::collections::HashMap;

use tmap_common::Address;

use super::source_ports;
use crate::engine::{
    flows::{BareSyns, unstamped::Unstamped},
    ports::Ports,
    snapshot::{AddressReport, PortCount},
};

/// Adds to the reports what ports tell of machines without timestamps. An address that never sent a timestamp
/// gets a report where its ports tell of machines.
pub(super) fn add(reports: &mut Vec<AddressReport>, bare: Vec<(Address, Unstamped, BareSyns)>) {
    let places: HashMap<Address, usize> =
        reports.iter().enumerate().map(|(place, report)| (report.address, place)).collect();
    for (address, unstamped, syns) in bare {
        let Some(machines) = count(&syns) else { continue };
        match places.get(&address) {
            Some(&place) => reports[place].unstamped_machines = Some(machines),
            None => reports.push(only_unstamped(address, unstamped, &syns, machines)),
        }
    }
}

/// The machines that sent these SYNs; `None` where ports tell nothing of them.
fn count(syns: &BareSyns) -> Option<PortCount> {
    let ports = Ports::read(syns.openings.iter().copied().collect());
    let told = source_ports::told(&ports);
    if told.hosts_at_once == 0 {
        return None;
    }
    let low = (ports.fewest_machines() as u32).max(1);
    let linked = (0..ports.openings.len()).filter(|&at| ports.link(at).is_some()).count();
    let walks = (ports.openings.len() - linked) as u32;
    Some(PortCount { low, high: (!syns.is_cut).then_some(walks.max(low)), ports: told })
}

/// The report on an address that never sent a timestamp.
fn only_unstamped(
    address: Address,
    unstamped: Unstamped,
    syns: &BareSyns,
    machines: PortCount,
) -> AddressReport {
    let times = || syns.openings.iter().map(|opening| opening.time_ns);
    AddressReport {
        unstamped: Some(unstamped),
        unstamped_machines: Some(machines),
        first_seen_ns: times().min().unwrap_or_default(),
        last_seen_ns: times().max().unwrap_or_default(),
        ..AddressReport::nothing(address)
    }
}
