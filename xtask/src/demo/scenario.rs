//! The truth of the demonstration: the machines, their clocks and their addresses.

use std::net::Ipv4Addr;

use super::clock::Clock;
use crate::testbed::nat::Mapping;

/// The addresses of the kernel's TCP server. There are two, because a machine may have chosen an offset
/// that tmap sees at one peer only for that peer alone.
pub(super) const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 20)];
/// The ports of the server.
pub(super) const PORTS: [u16; 2] = [80, 443];
/// The address that several machines share.
pub(super) const SHARED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ALONE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const RANDOM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

/// How a machine chooses the offset of TSval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offsets {
    /// One clock for all connections, zero at boot.
    Boot,
    /// A random number of ticks for each connection, as in current Linux.
    Random,
}

/// One simulated machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct MachineSpec {
    /// Its name in the table.
    pub name: &'static str,
    /// Its address behind the NAT.
    pub public: Ipv4Addr,
    /// Nominal ticks per second.
    pub tick_hz: f64,
    /// How much faster than nominal its clock runs.
    pub skew_ppm: f64,
    /// The time since its boot, at the start of the demonstration.
    pub uptime_s: f64,
    /// How it chooses offsets.
    pub offsets: Offsets,
}

const DAY_S: f64 = 86_400.0;

/// All machines, with rates of common systems and skews of uncompensated crystals.
pub(super) const MACHINES: [MachineSpec; 7] = [
    machine("desk", SHARED, 1000.0, 40.0, 6.31 * DAY_S, Offsets::Boot),
    machine("laptop", SHARED, 1000.0, -25.0, 0.42 * DAY_S, Offsets::Boot),
    machine("printer", SHARED, 250.0, 12.0, 19.18 * DAY_S, Offsets::Boot),
    machine("camera", SHARED, 100.0, -60.0, 88.04 * DAY_S, Offsets::Boot),
    machine("mail", ALONE, 300.0, 18.0, 3.57 * DAY_S, Offsets::Boot),
    machine("phone", RANDOM, 1000.0, 31.0, 2.25 * DAY_S, Offsets::Random),
    machine("tablet", RANDOM, 1000.0, -14.0, 1.83 * DAY_S, Offsets::Random),
];

const fn machine(
    name: &'static str,
    public: Ipv4Addr,
    tick_hz: f64,
    skew_ppm: f64,
    uptime_s: f64,
    offsets: Offsets,
) -> MachineSpec {
    MachineSpec { name, public, tick_hz, skew_ppm, uptime_s, offsets }
}

impl MachineSpec {
    /// Its clock, if the demonstration starts at `start_ns` on CLOCK_MONOTONIC.
    pub(super) fn clock(&self, start_ns: i64) -> Clock {
        let zero_ns = start_ns - (self.uptime_s * 1e9) as i64;
        Clock { tick_hz: self.tick_hz, skew_ppm: self.skew_ppm, zero_ns }
    }
}

/// The own address of machine `index`.
pub(super) fn private(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 11 + index as u8)
}

/// The addresses of all machines before and behind the NAT.
pub(super) fn mappings() -> [Mapping; MACHINES.len()] {
    std::array::from_fn(|machine| Mapping {
        machine,
        private: private(machine).into(),
        public: MACHINES[machine].public.into(),
    })
}

/// The TUN device of machine `index`.
pub(super) fn device(index: usize) -> String {
    format!("machine{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a counter had wrapped, its boot time would be ambiguous.
    #[test]
    fn no_counter_has_wrapped() {
        for machine in MACHINES {
            assert!(machine.clock(0).ticks(0) < 1 << 32, "{}", machine.name);
        }
    }
}
