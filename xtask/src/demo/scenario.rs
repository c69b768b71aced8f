//! What is true in the demonstration: the hosts, their clocks and their addresses.

use std::net::Ipv4Addr;

use super::clock::Clock;
use crate::stage::{self, Mapping};

/// The addresses of the kernel's own TCP server. Two, because an offset seen at one peer only may be
/// one that its host chose for that peer.
pub const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 20)];
/// The ports it listens on.
pub const PORTS: [u16; 2] = [80, 443];
/// The address that several machines share: what the demonstration is about.
pub const SHARED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ALONE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const RANDOM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

/// How a host chooses the offset of TSval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// One clock for all connections, zero at boot.
    Boot,
    /// A random number of ticks for each connection, as current Linux has it.
    Random,
}

/// One host and its truth.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// What the table calls it.
    pub name: &'static str,
    /// The address that the NAT gives it.
    pub public: Ipv4Addr,
    /// Nominal ticks per second.
    pub tick_hz: f64,
    /// How much faster than nominal.
    pub skew_ppm: f64,
    /// Since its boot, at the start of the demonstration.
    pub uptime_s: f64,
    /// How its offsets come about.
    pub offsets: Offsets,
}

const DAY_S: f64 = 86_400.0;

/// All hosts. Rates are those of common systems; skews are what uncompensated crystals have.
pub const HOSTS: [Host; 7] = [
    host("desk", SHARED, 1000.0, 40.0, 6.31 * DAY_S, Offsets::Boot),
    host("laptop", SHARED, 1000.0, -25.0, 0.42 * DAY_S, Offsets::Boot),
    host("printer", SHARED, 250.0, 12.0, 19.18 * DAY_S, Offsets::Boot),
    host("camera", SHARED, 100.0, -60.0, 88.04 * DAY_S, Offsets::Boot),
    host("mail", ALONE, 300.0, 18.0, 3.57 * DAY_S, Offsets::Boot),
    host("phone", RANDOM, 1000.0, 31.0, 2.25 * DAY_S, Offsets::Random),
    host("tablet", RANDOM, 1000.0, -14.0, 1.83 * DAY_S, Offsets::Random),
];

const fn host(
    name: &'static str,
    public: Ipv4Addr,
    tick_hz: f64,
    skew_ppm: f64,
    uptime_s: f64,
    offsets: Offsets,
) -> Host {
    Host { name, public, tick_hz, skew_ppm, uptime_s, offsets }
}

impl Host {
    /// The clock, for a demonstration that starts at `start_ns` on CLOCK_MONOTONIC.
    pub fn clock(&self, start_ns: i64) -> Clock {
        let zero_ns = start_ns - (self.uptime_s * 1e9) as i64;
        Clock { tick_hz: self.tick_hz, skew_ppm: self.skew_ppm, zero_ns }
    }
}

/// The private address of host `index`.
pub fn private(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 11 + index as u8)
}

/// What the NAT does.
pub fn mappings() -> [Mapping; HOSTS.len()] {
    std::array::from_fn(|index| Mapping { private: private(index), public: HOSTS[index].public })
}

/// The TUN device of host `index`.
pub fn device(index: usize) -> String {
    format!("host{index}")
}

/// The host that a connection belongs to, by its address and port beyond the NAT.
pub fn owner(address: Ipv4Addr, port: u16) -> Option<usize> {
    stage::owner(port, HOSTS.len()).filter(|&index| HOSTS[index].public == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_name_their_host() {
        assert_eq!(owner(SHARED, 20_000), Some(0));
        assert_eq!(owner(SHARED, 23_999), Some(3));
        assert_eq!(owner(RANDOM, 26_500), Some(6));
        assert_eq!(owner(SHARED, 26_500), None, "another address's range");
        assert_eq!(owner(SERVERS[0], 80), None);
    }

    /// The counter must not have wrapped, or boot times would be true only up to the modulus.
    #[test]
    fn no_counter_has_wrapped() {
        for host in HOSTS {
            assert!(host.clock(0).ticks(0) < 1 << 32, "{}", host.name);
        }
    }
}
