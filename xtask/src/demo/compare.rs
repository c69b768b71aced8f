//! What tmap found beside what is true: pure, from tmap's JSON lines.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::clock::monotonic_ns;
use super::world::{HOSTS, Offsets, SERVER, owner};

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
pub fn truths(start_ns: i64, opened: &[u64]) -> Vec<Truth> {
    let unix_ns = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as i64);
    let unix_minus_monotonic_ns = unix_ns - monotonic_ns();
    let boot_unix_s = |zero_ns: i64| (zero_ns + unix_minus_monotonic_ns) as f64 * 1e-9;
    let mut truths: Vec<_> = HOSTS
        .iter()
        .zip(opened)
        .map(|(host, &connections)| Truth {
            name: host.name,
            address: host.public,
            tick_hz: host.tick_hz,
            skew_ppm: host.skew_ppm,
            boot_unix_s: (host.offsets == Offsets::Boot).then(|| boot_unix_s(host.clock(start_ns).zero_ns)),
            connections,
        })
        .collect();
    // Linux ticks at 1 kHz whatever its HZ (since 4.13), from CLOCK_MONOTONIC: the sensor's own.
    truths.push(Truth {
        name: "this kernel",
        address: SERVER,
        tick_hz: 1000.0,
        skew_ppm: 0.0,
        boot_unix_s: Some(boot_unix_s(0)),
        connections: opened.iter().sum(),
    });
    truths
}

/// A value with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The best value.
    pub value: f64,
    /// One standard error.
    pub sigma: f64,
}

/// One machine as tmap has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundMachine {
    /// tmap's number for it.
    pub id: u64,
    /// Nominal ticks per second.
    pub tick_hz: Option<f64>,
    /// In ppm.
    pub skew: Option<Measured>,
    /// Unix time, in seconds.
    pub boot: Option<Measured>,
}

/// One address as tmap has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundAddress {
    /// The best count; `None` where tmap says that it can't tell.
    pub machines: Option<u64>,
    /// The interval of that count.
    pub interval: (Option<u64>, Option<u64>),
    /// tmap's word for how offsets behave.
    pub regime: String,
    /// tmap's word for what limits the answer.
    pub doubt: Option<String>,
    /// The machines.
    pub list: Vec<FoundMachine>,
}

/// Everything that tmap's final summary says.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    addresses: HashMap<Ipv4Addr, FoundAddress>,
    /// Source address and port, and the machine's number.
    connections: Vec<(Ipv4Addr, u16, Option<u64>)>,
}

impl Findings {
    /// Reads the summary from tmap's lines.
    ///
    /// # Errors
    /// When a line is no JSON, or there is no summary.
    pub fn parse(lines: &[Value]) -> Result<Self> {
        let mut findings = Self::default();
        for line in lines {
            match line["type"].as_str() {
                Some("address") => {
                    let Some(address) = ip(&line["address"]) else { continue };
                    findings.addresses.insert(address, found_address(line));
                }
                Some("connection") => {
                    let port = line["sport"].as_u64().and_then(|port| u16::try_from(port).ok());
                    let address = ip(&line["src"]).context("a connection without its IPv4 source")?;
                    let port = port.context("a connection without its source port")?;
                    findings.connections.push((address, port, line["machine"].as_u64()));
                }
                Some(_) => {}
                None => bail!("tmap printed a line without a type: {line}"),
            }
        }
        if findings.addresses.is_empty() {
            bail!("tmap's summary names no address: nothing reached the sensor");
        }
        Ok(findings)
    }
}

fn ip(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}

fn found_address(line: &Value) -> FoundAddress {
    let machine = |machine: &Value| FoundMachine {
        id: machine["id"].as_u64().unwrap_or_default(),
        tick_hz: machine["tick_hz"].as_f64(),
        skew: measured(machine, "skew_ppm", "skew_sigma_ppm"),
        boot: measured(machine, "up_since_unix_s", "up_since_sigma_s"),
    };
    FoundAddress {
        machines: line["machines"].as_u64(),
        interval: (line["machines_low"].as_u64(), line["machines_high"].as_u64()),
        regime: line["regime"].as_str().unwrap_or_default().to_owned(),
        doubt: line["doubt"].as_str().map(str::to_owned),
        list: line["machine_list"].as_array().into_iter().flatten().map(machine).collect(),
    }
}

fn measured(machine: &Value, value: &str, sigma: &str) -> Option<Measured> {
    Some(Measured { value: machine[value].as_f64()?, sigma: machine[sigma].as_f64()? })
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
        let mut seen: HashMap<usize, u64> = HashMap::new();
        let mut shared: HashMap<(usize, u64), u64> = HashMap::new();
        for &(source, port, machine) in findings.connections.iter().filter(|c| c.0 == address) {
            let Some(index) = (if source == SERVER { Some(HOSTS.len()) } else { owner(source, port) }) else {
                continue;
            };
            *seen.entry(index).or_default() += 1;
            if let Some(machine) = machine {
                *shared.entry((index, machine)).or_default() += 1;
            }
        }
        let matches = matching(&shared);
        let row = |&index: &usize| {
            let machine = matches.get(&index).copied();
            Row {
                truth: truths[index].clone(),
                found: found.list.iter().find(|one| Some(one.id) == machine).cloned(),
                seen: seen.get(&index).copied().unwrap_or(0),
                assigned: machine.map_or(0, |machine| shared[&(index, machine)]),
            }
        };
        let rows: Vec<Row> = members.iter().map(row).collect();
        let taken: Vec<u64> = matches.values().copied().collect();
        let surplus = found.list.iter().filter(|one| !taken.contains(&one.id)).cloned().collect();
        Verdict { address, found, rows, surplus }
    };
    by_address.into_iter().map(one).collect()
}

/// Pairs true machines with found ones, the largest number of shared connections first.
fn matching(shared: &HashMap<(usize, u64), u64>) -> HashMap<usize, u64> {
    let mut pairs: Vec<_> = shared.iter().map(|(&pair, &count)| (count, pair)).collect();
    // The larger count first; ties by number, so that the table is the same every time.
    pairs.sort_by_key(|&(count, pair)| (std::cmp::Reverse(count), pair));
    let mut matches: HashMap<usize, u64> = HashMap::new();
    for (_, (index, machine)) in pairs {
        if !matches.contains_key(&index) && !matches.values().any(|&taken| taken == machine) {
            matches.insert(index, machine);
        }
    }
    matches
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
    use serde_json::json;

    use super::*;

    fn findings(machines: Value, list: &[(u16, Option<u64>)]) -> Findings {
        let mut lines = vec![json!({
            "type": "address", "address": "198.51.100.3", "regime": "per-connection", "machines": machines,
            "machines_low": 1, "machines_high": 3,
            "machine_list": [{"id": 7, "tick_hz": 1000.0, "skew_ppm": 30.0, "skew_sigma_ppm": 2.0}],
        })];
        for (port, machine) in list {
            lines.push(json!({"type": "connection", "src": "198.51.100.3", "sport": port,
                "dst": "203.0.113.10", "dport": 80, "machine": machine}));
        }
        Findings::parse(&lines).unwrap()
    }

    fn verdict(findings: &Findings) -> Verdict {
        let verdicts = compare(&truths(0, &[0; HOSTS.len()]), findings);
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
        let all = compare(&truths(0, &[0; HOSTS.len()]), &findings(Value::Null, &[]));
        let error = check(&all).unwrap_err().to_string();
        assert!(error.contains("198.51.100.1: 4 machines are there, tmap says no count"), "{error}");
    }
}
