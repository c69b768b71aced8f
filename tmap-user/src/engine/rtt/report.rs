//! Round trips as plain data: the only thing that reports read.

use std::fmt;

use tmap_common::Address;

pub use super::{
    distribution::{Bucket, Summary},
    sample::Sample,
};
use super::{paws::Anomaly, sample::Counts};
use crate::engine::types::FlowKey;

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
