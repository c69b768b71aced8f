//! Round trips as plain data, which is all that reports read.

use std::fmt;

use tmap_common::Address;

pub use super::{
    distribution::{Bucket, Summary},
    sample::Sample,
};
use super::{paws::Anomaly, sample::Counts};
use crate::engine::types::FlowKey;

/// A network, as an address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Its address, with host bits zero.
    pub network: Address,
    /// Its length in bits: up to 32 for IPv4, up to 128 for IPv6.
    pub bits: u8,
}

impl Prefix {
    /// The prefix of `address`, with `ip4_bits` or `ip6_bits` by its IP version.
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

/// The machine and the clock behind one side of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SideClock {
    /// The machine's number within its address; `None` where the connection isn't assigned.
    pub machine: Option<u32>,
    /// The clock's tick rate in Hz; `None` where it isn't known.
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
        ticks_ms(self.host_ticks.map(|host| host.min), self.clock.tick_hz)
    }

    /// The median of what the host itself computes, in milliseconds.
    pub fn host_median_ms(&self) -> Option<f64> {
        ticks_ms(self.host_ticks.map(|host| host.median), self.clock.tick_hz)
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
    /// Its addresses and ports; `src` is the host that answers.
    pub key: FlowKey,
    /// Engine time of the connection's first segment, in nanoseconds.
    pub first_ns: u64,
    /// Time-stamped segments that the host sent.
    pub segments: u64,
    /// Time-stamped segments that the host's peer sent.
    pub peer_segments: u64,
    /// Round trips from the sensor to the host and back, in nanoseconds; `None` without any, or where two
    /// clocks stamped the connection.
    pub rtt: Option<Summary>,
    /// Round trips that the host itself computes, in its ticks; `None` as `rtt`.
    pub host_ticks: Option<Summary>,
    /// The host's machine and clock.
    pub clock: SideClock,
    /// Anomalies of the segments that the host sent.
    pub anomalies: u64,
}

/// The round trips to one machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its address.
    pub address: Address,
    /// Its number; `None` for all connections of the address that aren't assigned to a machine.
    pub machine: Option<u32>,
    /// Its tick rate in Hz; `None` where it isn't known.
    pub tick_hz: Option<f64>,
    /// Connections with round trips.
    pub connections: u64,
    /// Round trips from the sensor to the machine and back, in nanoseconds.
    pub rtt: Summary,
    /// Histogram of the round trips, in nanoseconds.
    pub histogram: Vec<Bucket>,
    /// Round trips that the machine itself computes, in its ticks; `None` without any.
    pub host_ticks: Option<Summary>,
}

/// Connections whose directions were stamped by two clocks, as echoes tell that come before what they echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoClocks {
    /// How many connections.
    pub connections: u64,
    /// The longest time by which an echo came early, in nanoseconds. The clocks differ by more than that.
    pub ahead_ns: u64,
}

/// The round trips of an interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Engine time of its beginning, in nanoseconds.
    pub began_ns: u64,
    /// Engine time of its end, in nanoseconds.
    pub ended_ns: u64,
    /// All round trips in the interval, in nanoseconds; `None` without any.
    pub rtt: Option<Summary>,
    /// Histogram of these round trips, in nanoseconds.
    pub histogram: Vec<Bucket>,
}

/// Everything known about round trips.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All round trips, in nanoseconds; `None` without any. Where some are left out, those of the other
    /// connections held.
    pub total: Option<Summary>,
    /// Histogram of all round trips, in nanoseconds.
    pub histogram: Vec<Bucket>,
    /// Both directions of each connection, in the order of the host that answers.
    pub directions: Vec<Direction>,
    /// Machines, by address and number.
    pub machines: Vec<Machine>,
    /// Prefixes of the hosts that answer, with the round trips to them in nanoseconds.
    pub prefixes: Vec<(Prefix, Summary, Vec<Bucket>)>,
    /// Connections held.
    pub connections: u64,
    /// Connections of which only one direction was seen, so that they have no round trips.
    pub one_way: u64,
    /// Connections that two clocks stamped, whose round trips are left out; `None` without any.
    pub two_clocks: Option<TwoClocks>,
    /// Connections beside these that were captured at two places, whose round trips are left out.
    pub two_places: u64,
    /// The first anomalies (time stamps that no clock makes), in order of time.
    pub anomalies: Vec<Anomaly>,
    /// What became of segments and echoes.
    pub counts: Counts,
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
