//! What tmap reports, read from its JSON lines.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

/// A value with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    /// The best estimate.
    pub value: f64,
    /// One standard error.
    pub sigma: f64,
}

/// One machine that tmap found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FoundMachine {
    /// Its number in tmap's report.
    pub id: u64,
    /// Nominal ticks per second.
    pub tick_hz: Option<f64>,
    /// Skew in ppm.
    pub skew: Option<Measured>,
    /// Boot time as Unix time, in seconds.
    pub boot: Option<Measured>,
}

/// One address in tmap's report.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FoundAddress {
    /// The number of machines; `None` if tmap reports that it can't tell.
    pub machines: Option<u64>,
    /// The interval of that number.
    pub interval: (Option<u64>, Option<u64>),
    /// The regime of the offsets, as tmap prints it.
    pub regime: String,
    /// What limits the result, as tmap prints it.
    pub doubt: Option<String>,
    /// The machines.
    pub list: Vec<FoundMachine>,
}

/// tmap's final summary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// The addresses.
    pub addresses: HashMap<IpAddr, FoundAddress>,
    /// The connections, each once for each of its sides that showed timestamps.
    pub connections: Vec<FoundConnection>,
}

/// One side of a connection in tmap's report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FoundConnection {
    /// The side's address and port.
    pub source: (IpAddr, u16),
    /// Its peer's address and port.
    pub peer: (IpAddr, u16),
    /// The number of the machine that tmap assigned, if any.
    pub machine: Option<u64>,
}

impl Findings {
    /// Reads the summary from tmap's lines.
    ///
    /// # Errors
    /// When a line has no type, a connection is incomplete, or the summary has no address.
    pub(crate) fn parse(lines: &[Value]) -> Result<Self> {
        let mut findings = Self::default();
        for line in lines {
            match line["type"].as_str() {
                Some("address") => {
                    let Some(address) = ip(&line["address"]) else { continue };
                    findings.addresses.insert(address, found_address(line));
                }
                Some("connection") => findings.connections.push(FoundConnection {
                    source: end(line, "src", "sport")?,
                    peer: end(line, "dst", "dport")?,
                    machine: line["machine"].as_u64(),
                }),
                Some(_) => {}
                None => bail!("tmap printed a line without a type: {line}"),
            }
        }
        if findings.addresses.is_empty() {
            bail!("tmap's summary has no address: no traffic reached the sensor");
        }
        Ok(findings)
    }
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// One end of a connection, from the fields of these names.
fn end(line: &Value, address: &str, port: &str) -> Result<(IpAddr, u16)> {
    let number = line[port].as_u64().and_then(|port| u16::try_from(port).ok());
    ip(&line[address])
        .zip(number)
        .with_context(|| format!("tmap printed a connection without {address} and {port}: {line}"))
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
    let time: Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_times_and_leaves_missing_values_out() {
        let machine = json!({"id": 1, "tick_hz": 100.0, "skew_ppm": null, "skew_ppm_sigma": null,
            "up_since": "1970-01-02T00:00:00.500Z", "up_since_sigma_s": 0.25});
        let line =
            json!({"type": "address", "address": "192.0.2.1", "machines": null, "machine_list": [machine]});
        let findings = Findings::parse(&[line]).unwrap();
        let found = &findings.addresses[&IpAddr::from([192, 0, 2, 1])];
        assert_eq!((found.machines, found.list[0].skew), (None, None));
        assert_eq!(found.list[0].boot, Some(Measured { value: 86_400.5, sigma: 0.25 }));
        assert!(Findings::parse(&[json!("a line of text")]).is_err());
    }
}
