//! Compares what tmap found with the truth. Pure: from tmap's findings alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, bail};

use super::clock::monotonic_ns;
use super::owners::Owners;
use super::scenario::{MACHINES, Offsets, SERVERS};
use crate::testbed::findings::{Findings, FoundAddress, FoundConnection, FoundMachine};
use crate::testbed::matching::ContingencyTable;

/// The truth about one machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Truth {
    /// Its name in the table.
    pub name: &'static str,
    /// Its address behind the NAT.
    pub address: Ipv4Addr,
    /// Nominal ticks per second.
    pub tick_hz: f64,
    /// Skew relative to the sensor's clock.
    pub skew_ppm: f64,
    /// Unix time at which its counter was zero; `None` if offsets are random.
    pub boot_unix_s: Option<f64>,
    /// Number of connections that it opened or accepted.
    pub connections: u64,
}

/// All machines: the simulated ones, and the kernel that runs the demonstration, which is their server.
///
/// `opened` has the number of connections of each machine to each of the server's addresses.
pub(super) fn truths(start_ns: i64, opened: &[[u64; SERVERS.len()]]) -> Vec<Truth> {
    let unix_ns = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as i64);
    let unix_minus_monotonic_ns = unix_ns - monotonic_ns();
    let boot_unix_s = |zero_ns: i64| (zero_ns + unix_minus_monotonic_ns) as f64 * 1e-9;
    let mut truths: Vec<_> = MACHINES
        .iter()
        .zip(opened)
        .map(|(machine, opened)| Truth {
            name: machine.name,
            address: machine.public,
            tick_hz: machine.tick_hz,
            skew_ppm: machine.skew_ppm,
            boot_unix_s: (machine.offsets == Offsets::Boot)
                .then(|| boot_unix_s(machine.clock(start_ns).zero_ns)),
            connections: opened.iter().sum(),
        })
        .collect();
    // Since Linux 4.13, TSval ticks at 1 kHz for every HZ, from CLOCK_MONOTONIC, the sensor's clock.
    truths.extend(SERVERS.iter().enumerate().map(|(server, &address)| Truth {
        name: "this kernel",
        address,
        tick_hz: 1000.0,
        skew_ppm: 0.0,
        boot_unix_s: Some(boot_unix_s(0)),
        connections: opened.iter().map(|opened| opened[server]).sum(),
    }));
    truths
}

/// One true machine, and the found machine that has most of its connections.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The truth.
    pub truth: Truth,
    /// The machine that tmap found for it.
    pub found: Option<FoundMachine>,
    /// The number of its connections that tmap saw.
    pub seen: u64,
    /// The number of those that tmap assigned to the found machine.
    pub assigned: u64,
}

/// The comparison for one address.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// The address.
    pub address: Ipv4Addr,
    /// What tmap found.
    pub found: FoundAddress,
    /// The true machines.
    pub rows: Vec<Row>,
    /// Found machines that match no true one.
    pub surplus: Vec<FoundMachine>,
}

/// How tmap's count compares with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// It is equal.
    Right,
    /// It is not equal, but its interval contains the truth.
    WithinInterval,
    /// It is not equal, and its interval does not contain the truth.
    Wrong,
    /// tmap gives no count.
    None,
}

impl Comparison {
    /// Compares the count with the truth.
    pub(super) fn count(&self) -> Count {
        let truth = self.rows.len() as u64;
        let (low, high) = self.found.interval;
        match self.found.machines {
            None => Count::None,
            Some(machines) if machines == truth => Count::Right,
            Some(_) if low.is_some_and(|low| low <= truth) && high.is_none_or(|high| truth <= high) => {
                Count::WithinInterval
            }
            Some(_) => Count::Wrong,
        }
    }

    /// Whether the offsets distinguish these machines, so that the count must be exact.
    pub(super) fn must_be_exact(&self) -> bool {
        self.rows.iter().all(|row| row.truth.boot_unix_s.is_some())
    }
}

/// The machine of a connection's side: one of the server's addresses, or the machine that opened it.
fn owner(found: &FoundConnection, owners: &Owners) -> Option<usize> {
    let server = SERVERS.iter().position(|&server| found.source.0 == IpAddr::from(server));
    server.map(|server| MACHINES.len() + server).or_else(|| owners.of(found.source, found.peer))
}

/// Compares the findings with the truth, for each true address.
pub(super) fn compare(truths: &[Truth], findings: &Findings, owners: &Owners) -> Vec<Comparison> {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<usize>> = BTreeMap::new();
    for (index, truth) in truths.iter().enumerate() {
        by_address.entry(truth.address).or_default().push(index);
    }
    let one = |(address, members): (Ipv4Addr, Vec<usize>)| {
        let found = findings.addresses.get(&address.into()).cloned().unwrap_or_default();
        let truth_of = |connection: &FoundConnection| {
            let is_ours = connection.source.0 == IpAddr::from(address);
            is_ours.then_some((owner(connection, owners)?, connection.machine))
        };
        let table = ContingencyTable::new(findings.connections.iter().filter_map(truth_of));
        let matches = table.matching();
        let row = |&index: &usize| {
            let machine = matches.get(&index).copied();
            Row {
                truth: truths[index].clone(),
                found: found.list.iter().find(|one| Some(one.id) == machine).cloned(),
                seen: table.seen.get(&index).copied().unwrap_or(0),
                assigned: machine.map_or(0, |machine| table.shared[&(index, machine)]),
            }
        };
        let rows: Vec<Row> = members.iter().map(row).collect();
        let taken: Vec<u64> = matches.values().copied().collect();
        let surplus = found.list.iter().filter(|one| !taken.contains(&one.id)).cloned().collect();
        Comparison { address, found, rows, surplus }
    };
    by_address.into_iter().map(one).collect()
}

/// Checks every count.
///
/// # Errors
/// When a count is wrong, or when it is not exact although the offsets distinguish the machines.
pub(super) fn check(results: &[Comparison]) -> Result<()> {
    let wrong: Vec<String> = results
        .iter()
        .filter(|result| match result.count() {
            Count::Right => false,
            Count::WithinInterval | Count::None => result.must_be_exact(),
            Count::Wrong => true,
        })
        .map(|result| {
            let found = result.found.machines.map_or("none".to_owned(), |count| count.to_string());
            let truth = result.rows.len();
            format!("{}: tmap should count {truth} machines, but its count is {found}", result.address)
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testbed::findings::Measured;

    fn findings(machines: Value, list: &[(u16, Option<u64>)]) -> Findings {
        let mut lines = vec![json!({
            "type": "address", "address": "198.51.100.3", "regime": "per-connection", "machines": machines,
            "machines_low": 1, "machines_high": 3,
            "machine_list": [{"id": 7, "tick_hz": 1000.0, "skew_ppm": 30.0, "skew_ppm_sigma": 2.0}],
        })];
        for (port, machine) in list {
            lines.push(json!({"type": "connection", "src": "198.51.100.3", "sport": port,
                "dst": "203.0.113.10", "dport": 80, "machine": machine}));
        }
        Findings::parse(&lines).unwrap()
    }

    /// The phone and the tablet have opened the connections that the tests speak of.
    fn owners() -> Owners {
        let owners = Owners::default();
        let server = (IpAddr::from([203, 0, 113, 10]), 80);
        for (port, machine) in [(33_001, 5), (33_011, 6), (33_012, 6), (33_013, 6)] {
            assert!(owners.take((IpAddr::from([198, 51, 100, 3]), port), server, machine));
        }
        owners
    }

    fn third_address(findings: &Findings) -> Comparison {
        let results = compare(&truths(0, &[[0; 2]; MACHINES.len()]), findings, &owners());
        results.into_iter().find(|one| one.address == Ipv4Addr::new(198, 51, 100, 3)).unwrap()
    }

    #[test]
    fn connections_decide_which_machine_is_which() {
        let list = [(33_001, Some(7)), (33_011, Some(7)), (33_012, Some(7)), (33_013, None)];
        let result = third_address(&findings(json!(1), &list));
        let [phone, tablet] = &result.rows[..] else { panic!("the scenario has two machines there") };
        assert_eq!((phone.seen, phone.assigned, phone.found.is_none()), (1, 0, true));
        assert_eq!((tablet.seen, tablet.assigned), (3, 2));
        assert_eq!(tablet.found.as_ref().unwrap().skew, Some(Measured { value: 30.0, sigma: 2.0 }));
        assert_eq!(result.count(), Count::WithinInterval);
    }

    #[test]
    fn no_count_passes_only_where_offsets_are_random() {
        let result = third_address(&findings(Value::Null, &[]));
        assert_eq!(result.count(), Count::None);
        assert!(check(std::slice::from_ref(&result)).is_ok());
        let wrong = Comparison {
            found: FoundAddress { machines: Some(9), interval: (Some(4), None), ..result.found.clone() },
            ..result
        };
        assert!(check(&[wrong]).is_err());
        let all = compare(&truths(0, &[[0; 2]; MACHINES.len()]), &findings(Value::Null, &[]), &owners());
        let error = check(&all).unwrap_err().to_string();
        assert!(
            error.contains("198.51.100.1: tmap should count 4 machines, but its count is none"),
            "{error}"
        );
    }
}
