//! Who takes part: machines behind a NAT, and servers that they talk to.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::Address;

use super::clock::Clock;
use crate::simulate::SHARED;

/// Machines behind the NAT: their skews in ppm, and their phases at the beginning in ticks.
const MACHINES: [(f64, f64); 5] = [(-19.0, 0.12), (-8.0, 0.71), (2.0, 0.35), (11.0, 0.93), (20.0, 0.54)];

/// The truth about the NAT.
pub const TRUE_MACHINES: u64 = MACHINES.len() as u64;

/// Servers: their skews in ppm, and how long their segments take to the sensor, in microseconds.
const SERVERS: [(f64, u64); 6] =
    [(5.0, 1_900), (-14.0, 3_100), (17.0, 4_700), (-3.0, 6_200), (9.0, 8_800), (-18.0, 11_500)];

/// How long segments of the NAT's machines take to the sensor, in microseconds.
const NEAR_US: u64 = 300;

/// The mean of what comes to that at random, for the NAT's machines and for servers, in microseconds.
const JITTER_US: (f64, f64) = (30.0, 150.0);

/// The port of all servers.
const PORT: u16 = 443;

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    /// Its address and port.
    pub(super) end: (Address, u16),
    /// The clock of the machine.
    pub(super) clock: Clock,
    /// What the connection adds to the clock's counter.
    pub(super) offset: u32,
    /// How long its segments take to the sensor at least, in nanoseconds.
    pub(super) delay_ns: u64,
    /// The mean of what comes to that at random, in nanoseconds.
    pub(super) jitter_ns: f64,
    /// TTL at the sensor.
    pub(super) hop_limit: u8,
}

impl Party {
    /// How long a segment takes to the sensor, in nanoseconds.
    pub(super) fn delay_ns(&self, random: &mut Pcg64) -> u64 {
        let jitter_ns = -self.jitter_ns * (1.0 - random.random::<f64>()).ln();
        self.delay_ns + jitter_ns as u64
    }
}

/// The NAT's address.
pub(super) fn nat() -> Address {
    Address::from_ip4(SHARED.octets())
}

/// The servers' addresses.
pub(super) fn servers() -> [Address; SERVERS.len()] {
    std::array::from_fn(|number| Address::from_ip4([203, 0, 113, 1 + number as u8]))
}

/// All machines, with clocks that have run for some days.
#[derive(Debug)]
pub(super) struct Cast {
    machines: Vec<Clock>,
    servers: Vec<Clock>,
}

impl Cast {
    /// Machines and servers that booted at random times.
    pub(super) fn new(random: &mut Pcg64) -> Self {
        let mut booted = || f64::from(random.random_range(100_000_000..900_000_000));
        let machines = MACHINES.map(|(skew_ppm, phase)| Clock { ticks: booted() + phase, skew_ppm });
        let servers = SERVERS.map(|(skew_ppm, _)| Clock { ticks: booted() + 0.5, skew_ppm });
        Self { machines: machines.into(), servers: servers.into() }
    }

    /// A connection from any machine to any server: a random offset here, and the server's own counter there.
    pub(super) fn pair(&self, port: u16, random: &mut Pcg64) -> (Party, Party) {
        let machine = random.random_range(0..self.machines.len());
        let server = random.random_range(0..self.servers.len());
        let client = Party {
            end: (nat(), port),
            clock: self.machines[machine],
            offset: random.random(),
            delay_ns: 1_000 * NEAR_US,
            jitter_ns: 1e3 * JITTER_US.0,
            hop_limit: 63,
        };
        let server = Party {
            end: (servers()[server], PORT),
            clock: self.servers[server],
            offset: 0,
            delay_ns: 1_000 * SERVERS[server].1,
            jitter_ns: 1e3 * JITTER_US.1,
            hop_limit: 55,
        };
        (client, server)
    }
}
