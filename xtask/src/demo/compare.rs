//! What tmap found beside what is true: pure, from tmap's JSON lines.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use super::clock::monotonic_ns;
use super::world::{HOSTS, Offsets, SERVERS, owner};
use crate::findings::{Findings, FoundAddress, FoundMachine, Table};

/// One machine as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What the table calls it.
    pub name: &'static str,
    /// The address beyond the NAT.
    pub address: Ipv4Addr,
    /// Nominal ticks per second.
    pub tick_hz: f64,
    /// Against the sensor's clock.
    pub skew_ppm: f64,
    /// When its counter was zero, in Unix time, where the offset tells it.
    pub boot_unix_s: Option<f64>,
    /// Connections that it opened, or accepted.
    pub connections: u64,
}

/// All machines: the hosts, and the kernel that runs all this, which serves them.
///
/// `opened` has the connections of each host to each of the server's addresses.
pub fn truths(start_ns: i64, opened: &[[u64; SERVERS.len()]]) -> Vec<Truth> {
    let unix_ns = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as i64);
    let unix_minus_monotonic_ns = unix_ns - monotonic_ns();
    let boot_unix_s = |zero_ns: i64| (zero_ns + unix_minus_monotonic_ns) as f64 * 1e-9;
    let mut truths: Vec<_> = HOSTS
        .iter()
        .zip(opened)
        .map(|(host, opened)| Truth {
            name: host.name,
            address: host.public,
            tick_hz: host.tick_hz,
            skew_ppm: host.skew_ppm,
            boot_unix_s: (host.offsets == Offsets::Boot).then(|| boot_unix_s(host.clock(start_ns).zero_ns)),
            connections: opened.iter().sum(),
        })
        .collect();
    // Linux ticks at 1 kHz whatever its HZ (since 4.13), from CLOCK_MONOTONIC: the sensor's own.
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

/// One true machine and the found one that has most of its connections.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is true.
    pub truth: Truth,
    /// What was found for it.
    pub found: Option<FoundMachine>,
    /// How many of its connections tmap saw.
    pub seen: u64,
    /// How many of those it gave to the found machine.
    pub assigned: u64,
}

/// One address: the count and its machines.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The address.
    pub address: Ipv4Addr,
    /// What tmap says of it.
    pub found: FoundAddress,
    /// The true machines.
    pub rows: Vec<Row>,
    /// Found machines that match no true one.
    pub surplus: Vec<FoundMachine>,
}

/// How a count compares with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Equal.
    Right,
    /// Not equal, but the truth is inside the stated interval.
    WithinInterval,
    /// Neither.
    Wrong,
    /// tmap says that it can't tell.
    Untold,
}

impl Verdict {
    /// The count beside the truth.
    pub fn count(&self) -> Count {
        let truth = self.rows.len() as u64;
        let (low, high) = self.found.interval;
        match self.found.machines {
            None => Count::Untold,
            Some(machines) if machines == truth => Count::Right,
            Some(_) if low.is_some_and(|low| low <= truth) && high.is_none_or(|high| truth <= high) => {
                Count::WithinInterval
            }
            Some(_) => Count::Wrong,
        }
    }

    /// Whether offsets tell these machines apart, so that the count must be exact.
    pub fn is_plain(&self) -> bool {
        self.rows.iter().all(|row| row.truth.boot_unix_s.is_some())
    }
}

/// Lays the findings beside the truth, one verdict for each true address.
pub fn compare(truths: &[Truth], findings: &Findings) -> Vec<Verdict> {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<usize>> = BTreeMap::new();
    for (index, truth) in truths.iter().enumerate() {
        by_address.entry(truth.address).or_default().push(index);
    }
    let one = |(address, members): (Ipv4Addr, Vec<usize>)| {
        let found = findings.addresses.get(&address).cloned().unwrap_or_default();
        let truth_of = |&(source, port, machine): &(Ipv4Addr, u16, Option<u64>)| {
            let server = SERVERS.iter().position(|&server| server == source);
            let index = server.map(|server| HOSTS.len() + server).or_else(|| owner(source, port));
            (source == address).then_some((index?, machine))
        };
        let table = Table::new(findings.connections.iter().filter_map(truth_of));
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
        Verdict { address, found, rows, surplus }
    };
    by_address.into_iter().map(one).collect()
}

/// The regression check.
///
/// # Errors
/// When a count is wrong, or untold where offsets tell the machines apart.
pub fn check(verdicts: &[Verdict]) -> Result<()> {
    let wrong: Vec<String> = verdicts
        .iter()
        .filter(|verdict| match verdict.count() {
            Count::Right => false,
            Count::WithinInterval | Count::Untold => verdict.is_plain(),
            Count::Wrong => true,
        })
        .map(|verdict| {
            let found = verdict.found.machines.map_or("no count".to_owned(), |count| count.to_string());
            format!("{}: {} machines are there, tmap says {found}", verdict.address, verdict.rows.len())
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::Measured;

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

    fn verdict(findings: &Findings) -> Verdict {
        let verdicts = compare(&truths(0, &[[0; 2]; HOSTS.len()]), findings);
        verdicts.into_iter().find(|one| one.address == Ipv4Addr::new(198, 51, 100, 3)).unwrap()
    }

    #[test]
    fn connections_decide_which_machine_is_which() {
        let list = [(25_001, Some(7)), (26_001, Some(7)), (26_002, Some(7)), (26_003, None)];
        let verdict = verdict(&findings(json!(1), &list));
        let [phone, tablet] = &verdict.rows[..] else { panic!("two machines are true") };
        assert_eq!((phone.seen, phone.assigned, phone.found.is_none()), (1, 0, true));
        assert_eq!((tablet.seen, tablet.assigned), (3, 2));
        assert_eq!(tablet.found.as_ref().unwrap().skew, Some(Measured { value: 30.0, sigma: 2.0 }));
        assert_eq!(verdict.count(), Count::WithinInterval);
    }

    #[test]
    fn no_count_passes_only_where_offsets_are_random() {
        let verdict = verdict(&findings(Value::Null, &[]));
        assert_eq!(verdict.count(), Count::Untold);
        assert!(check(std::slice::from_ref(&verdict)).is_ok());
        let wrong = Verdict {
            found: FoundAddress { machines: Some(9), interval: (Some(4), None), ..verdict.found.clone() },
            ..verdict
        };
        assert!(check(&[wrong]).is_err());
        let all = compare(&truths(0, &[[0; 2]; HOSTS.len()]), &findings(Value::Null, &[]));
        let error = check(&all).unwrap_err().to_string();
        assert!(error.contains("198.51.100.1: 4 machines are there, tmap says no count"), "{error}");
    }
}
