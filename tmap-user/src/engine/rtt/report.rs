//! Round trips as plain data, which is all that reports read.

use std::{collections::BTreeMap, fmt};

use tmap_common::Address;

use super::{Counts, RttEngine, distribution::Distribution};
pub use super::{
    Sample,
    distribution::{Bucket, Summary},
};
use crate::engine::{flow::FlowKey, paws::Anomaly};

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Its address, host bits zero.
    pub network: Address,
    /// Its length, in the terms of its IP version.
    pub bits: u8,
}

impl Prefix {
    /// The prefix of `address`.
    pub fn of(address: Address, ip4_bits: u8, ip6_bits: u8) -> Self {
        let (bits, before) = match address.as_ip4() {
            Some(_) => (ip4_bits.min(32), 96),
            None => (ip6_bits.min(128), 0),
        };
        let mask = u128::MAX.checked_shl(128 - before - u32::from(bits)).unwrap_or(0);
        let network = u128::from_be_bytes(address.octets()) & mask;
        Self { network: Address::from_ip6(network.to_be_bytes()), bits }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// What is known of the machine on one side of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clockwork {
    /// Its number within its address.
    pub machine: Option<u32>,
    /// Its tick rate in Hz.
    pub tick_hz: Option<f64>,
}

/// Ticks as milliseconds, where the tick rate is known.
fn ticks_ms(ticks: Option<u64>, tick_hz: Option<f64>) -> Option<f64> {
    Some(ticks? as f64 / tick_hz? * 1e3)
}

impl Sample {
    /// What the host itself computes, in milliseconds.
    pub fn host_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(u64::from), self.tick_hz)
    }
}

impl Direction {
    /// The smallest of what the host itself computes, in milliseconds.
    pub fn host_min_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(|host| host.min), self.clockwork.tick_hz)
    }

    /// The median of what the host itself computes, in milliseconds.
    pub fn host_median_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(|host| host.median), self.clockwork.tick_hz)
    }
}

impl Machine {
    /// The smallest of what the machine itself computes, in milliseconds.
    pub fn host_min_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(|host| host.min), self.tick_hz)
    }

    /// The median of what the machine itself computes, in milliseconds.
    pub fn host_median_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(|host| host.median), self.tick_hz)
    }
}

/// One direction of a connection.
#[derive(Clone, Debug)]
pub struct Direction {
    /// `src` is the host that answers.
    pub key: FlowKey,
    /// First segment of the connection, engine time in nanoseconds.
    pub first_ns: u64,
    /// Time-stamped segments that the host sent.
    pub segments: u64,
    /// And its peer.
    pub peer_segments: u64,
    /// Round trips from the sensor to the host and back, in nanoseconds.
    pub rtt: Option<Summary>,
    /// What the host itself computes, in its ticks.
    pub host_ticks: Option<Summary>,
    /// Whose clock that is.
    pub clockwork: Clockwork,
    /// Anomalies in what the host sent.
    pub anomalies: u64,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its address.
    pub address: Address,
    /// Its number; `None` gathers the connections of the address that no machine is known for.
    pub machine: Option<u32>,
    /// Its tick rate in Hz.
    pub tick_hz: Option<f64>,
    /// Connections with round trips.
    pub connections: u64,
    /// Round trips from the sensor to the machine and back, in nanoseconds.
    pub rtt: Summary,
    /// The same, as bars.
    pub histogram: Vec<Bucket>,
    /// What it computes itself, in its ticks.
    pub host_ticks: Option<Summary>,
}

/// The round trips of an interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// When it began and ended, engine time in nanoseconds.
    pub began_ns: u64,
    /// See `began_ns`.
    pub ended_ns: u64,
    /// All round trips in it, in nanoseconds; `None` without any.
    pub rtt: Option<Summary>,
    /// The same, as bars.
    pub histogram: Vec<Bucket>,
}

/// Everything known.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All round trips, in nanoseconds; `None` without any.
    pub total: Option<Summary>,
    /// The same, as bars.
    pub histogram: Vec<Bucket>,
    /// Directions of connections, in the order of the host that answers.
    pub directions: Vec<Direction>,
    /// Machines, by address and number.
    pub machines: Vec<Machine>,
    /// Prefixes of the hosts that answer, with the round trips to them in nanoseconds.
    pub prefixes: Vec<(Prefix, Summary, Vec<Bucket>)>,
    /// Connections held.
    pub connections: u64,
    /// Connections of which only one direction was seen: no round trip can be told.
    pub one_way: u64,
    /// What no clock makes, the first of them in order of time.
    pub anomalies: Vec<Anomaly>,
    /// What became of everything.
    pub counts: Counts,
}

impl RttEngine {
    /// Everything known at `now_ns`. `clockwork` tells what is known of a connection side.
    pub fn report(&mut self, now_ns: u64, clockwork: impl Fn(&FlowKey) -> Clockwork) -> Report {
        self.settle(now_ns);
        let mut report = Report {
            total: self.total.summary(),
            histogram: self.total.buckets(),
            connections: self.connections.len() as u64,
            anomalies: self.listed.clone(),
            counts: self.counts,
            ..Report::default()
        };
        let mut machines: BTreeMap<(Address, Option<u32>), Gathering> = BTreeMap::new();
        for (_, connection) in &self.connections {
            let [a, b] = &connection.sides;
            report.one_way += u64::from(a.segments == 0 || b.segments == 0);
            for (own, peer, key) in [(a, b, connection.key), (b, a, connection.key.reversed())] {
                let clockwork = clockwork(&key);
                if own.rtt.count() > 0 {
                    machines.entry((key.src, clockwork.machine)).or_default().add(own, clockwork);
                }
                report.directions.push(Direction {
                    key,
                    first_ns: connection.first_ns,
                    segments: own.segments,
                    peer_segments: peer.segments,
                    rtt: own.rtt.summary(),
                    host_ticks: own.host.summary(),
                    clockwork,
                    anomalies: own.anomalies,
                });
            }
        }
        report.directions.sort_by_key(|direction| (direction.key, direction.first_ns));
        report.machines =
            machines.into_iter().filter_map(|(whose, gathering)| gathering.machine(whose)).collect();
        let prefixes = self.prefixes.iter();
        report.prefixes =
            prefixes.filter_map(|(prefix, rtt)| Some((*prefix, rtt.summary()?, rtt.buckets()))).collect();
        report.prefixes.sort_by_key(|(prefix, ..)| *prefix);
        report
    }
}

/// A machine's connections being added up.
#[derive(Default)]
struct Gathering {
    connections: u64,
    tick_hz: Option<f64>,
    rtt: Distribution,
    host: Distribution,
}

impl Gathering {
    fn add(&mut self, side: &super::Side, clockwork: Clockwork) {
        self.connections += 1;
        self.rtt.merge(&side.rtt);
        // Ticks of several clocks don't add up.
        if clockwork.machine.is_some() {
            self.tick_hz = self.tick_hz.or(clockwork.tick_hz);
            self.host.merge(&side.host);
        }
    }

    fn machine(self, (address, machine): (Address, Option<u32>)) -> Option<Machine> {
        Some(Machine {
            address,
            machine,
            tick_hz: self.tick_hz,
            connections: self.connections,
            rtt: self.rtt.summary()?,
            histogram: self.rtt.buckets(),
            host_ticks: self.host.summary(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_time_only_where_the_rate_is_known() {
        assert_eq!(ticks_ms(Some(100), Some(1000.0)), Some(100.0));
        assert_eq!(ticks_ms(Some(3), Some(10.0)), Some(300.0));
        assert_eq!(ticks_ms(Some(100), None), None);
        assert_eq!(ticks_ms(None, Some(1000.0)), None);
    }
}
