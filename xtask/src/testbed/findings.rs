//! What tmap says, read from its JSON lines, and how its machines pair with true ones.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

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
    /// The addresses.
    pub addresses: HashMap<Ipv4Addr, FoundAddress>,
    /// Source address and port, and the machine's number.
    pub connections: Vec<(Ipv4Addr, u16, Option<u64>)>,
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
        skew: measured(machine["skew_ppm"].as_f64(), &machine["skew_ppm_sigma"]),
        boot: measured(unix_s(&machine["up_since"]), &machine["up_since_sigma_s"]),
    };
    FoundAddress {
        machines: line["machines"].as_u64(),
        interval: (line["machines_low"].as_u64(), line["machines_high"].as_u64()),
        regime: line["regime"].as_str().unwrap_or_default().to_owned(),
        doubt: line["doubt"].as_str().map(str::to_owned),
        list: line["machine_list"].as_array().into_iter().flatten().map(machine).collect(),
    }
}

fn measured(value: Option<f64>, sigma: &Value) -> Option<Measured> {
    Some(Measured { value: value?, sigma: sigma.as_f64()? })
}

/// An RFC 3339 time as Unix time, in seconds.
fn unix_s(time: &Value) -> Option<f64> {
    let time = humantime::parse_rfc3339(time.as_str()?).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64())
}

/// Connections by true and by found machine: what the comparison rests on.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Connections of each true machine that tmap saw.
    pub seen: HashMap<usize, u64>,
    /// Connections by true machine and found machine's number.
    pub shared: HashMap<(usize, u64), u64>,
}

impl Table {
    /// Counts connections, given as the true machine and the number of the found one, if any.
    pub fn new(connections: impl IntoIterator<Item = (usize, Option<u64>)>) -> Self {
        let mut table = Self::default();
        for (truth, found) in connections {
            *table.seen.entry(truth).or_default() += 1;
            if let Some(found) = found {
                *table.shared.entry((truth, found)).or_default() += 1;
            }
        }
        table
    }

    /// Pairs true machines with found ones, the largest number of shared connections first.
    pub fn matching(&self) -> HashMap<usize, u64> {
        let mut pairs: Vec<_> = self.shared.iter().map(|(&pair, &count)| (count, pair)).collect();
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

    /// The adjusted Rand index (Hubert and Arabie 1985) of the connections that were assigned: 1 for
    /// a perfect partition, 0 for what chance gives. `None` when there is nothing to compare.
    pub fn adjusted_rand(&self) -> Option<f64> {
        let pairs = |count: u64| (count * count.saturating_sub(1)) as f64 / 2.0;
        let (mut by_truth, mut by_found) = (HashMap::<usize, u64>::new(), HashMap::<u64, u64>::new());
        for (&(truth, found), &count) in &self.shared {
            *by_truth.entry(truth).or_default() += count;
            *by_found.entry(found).or_default() += count;
        }
        let together: f64 = self.shared.values().map(|&count| pairs(count)).sum();
        let truth: f64 = by_truth.values().map(|&count| pairs(count)).sum();
        let found: f64 = by_found.values().map(|&count| pairs(count)).sum();
        let all = pairs(by_truth.values().sum());
        if all == 0.0 {
            return None;
        }
        let (chance, most) = (truth * found / all, f64::midpoint(truth, found));
        // Both partitions have one class, or only classes of one: they agree.
        Some(if most == chance { 1.0 } else { (together - chance) / (most - chance) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Four and four against a split of the second class in two halves: worked out by hand.
    /// together = 6 + 1 + 1, truth = 12, found = 8, all = 28, chance = 12 * 8 / 28.
    #[test]
    fn rand_index_by_hand() {
        let labels = [(0, 1), (0, 1), (0, 1), (0, 1), (1, 2), (1, 2), (1, 3), (1, 3)];
        let table = |labels: &[(usize, u64)]| Table::new(labels.iter().map(|&(t, f)| (t, Some(f))));
        let expected = (8.0 - 96.0 / 28.0) / (10.0 - 96.0 / 28.0);
        assert!((table(&labels).adjusted_rand().unwrap() - expected).abs() < 1e-12);
        assert_eq!(table(&[(0, 4), (0, 4), (1, 9)]).adjusted_rand(), Some(1.0));
        assert_eq!(table(&[(0, 1), (0, 1)]).adjusted_rand(), Some(1.0));
        assert_eq!(table(&[]).adjusted_rand(), None);
    }

    #[test]
    fn unassigned_connections_are_seen_and_match_nothing() {
        let table = Table::new([(0, Some(2)), (0, None), (1, Some(2)), (1, Some(2))]);
        assert_eq!((table.seen[&0], table.seen[&1]), (2, 2));
        assert_eq!(table.matching(), HashMap::from([(1, 2)]));
    }

    #[test]
    fn reads_times_and_keeps_what_is_unknown_unknown() {
        let machine = json!({"id": 1, "tick_hz": 100.0, "skew_ppm": null, "skew_ppm_sigma": null,
            "up_since": "1970-01-02T00:00:00.500Z", "up_since_sigma_s": 0.25});
        let line =
            json!({"type": "address", "address": "192.0.2.1", "machines": null, "machine_list": [machine]});
        let findings = Findings::parse(&[line]).unwrap();
        let found = &findings.addresses[&Ipv4Addr::new(192, 0, 2, 1)];
        assert_eq!((found.machines, found.list[0].skew), (None, None));
        assert_eq!(found.list[0].boot, Some(Measured { value: 86_400.5, sigma: 0.25 }));
        assert!(Findings::parse(&[json!("a line of text")]).is_err());
    }
}
