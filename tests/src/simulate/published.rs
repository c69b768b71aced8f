//! The two experiments published with the first tmap in 2006, as tables, and a deterministic
//! generator that turns such a table into traffic.
//!
//! The published figures are the clusters' compositions: how many machines, at which tick rate,
//! each counter's reading, and how many connections each machine answered. Addresses are replaced
//! by documentation addresses (RFC 5737).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Segment};

use crate::{simulate::received, wire::frame::LINUX_SYN};

/// One machine of a published table.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The counter's reading when the measurement began, in ticks.
    pub ticks: u32,
    /// Connections that it answered.
    pub connections: u32,
}

const fn machine(ticks: u32, connections: u32) -> Machine {
    Machine { ticks, connections }
}

/// One address of a published experiment.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// The address, its host part kept, its network a documentation one.
    pub address: [u8; 4],
    /// The service's port.
    pub port: u16,
    /// Tick rate of all its machines, in Hz.
    pub tick_hz: f64,
    /// The machines.
    pub machines: &'static [Machine],
}

/// 17 machines and 206 connections at 100 Hz behind one SMTP address.
pub const SMTP: Cluster = Cluster {
    address: [198, 51, 100, 1],
    port: 25,
    tick_hz: 100.0,
    machines: &[
        machine(559_871_915, 15),
        machine(1_833_462_073, 23),
        machine(21_253_557, 9),
        machine(1_782_762_098, 17),
        machine(1_833_463_671, 1),
        machine(10_844_904, 26),
        machine(1_797_067_020, 2),
        machine(96_987_592, 15),
        machine(490_163_791, 19),
        machine(9_718_810, 11),
        machine(3_117_204_804, 8),
        machine(1_727_381_154, 5),
        machine(430_710_998, 10),
        machine(1_645_198_107, 22),
        machine(1_366_272_796, 5),
        machine(1_150_288_348, 12),
        machine(1_082_681_850, 6),
    ],
};

/// 5 machines and 41 connections, and 4 machines and 10 connections, at 10 Hz behind two HTTP
/// addresses.
pub const HTTP: [Cluster; 2] = [
    Cluster {
        address: [198, 51, 100, 30],
        port: 80,
        tick_hz: 10.0,
        machines: &[
            machine(4_876_826, 12),
            machine(4_851_163, 6),
            machine(4_848_816, 7),
            machine(4_848_221, 9),
            machine(4_846_435, 7),
        ],
    },
    Cluster {
        address: [198, 51, 100, 60],
        port: 80,
        tick_hz: 10.0,
        machines: &[
            machine(28_298_704, 5),
            machine(28_298_658, 2),
            machine(28_271_102, 2),
            machine(28_243_677, 1),
        ],
    },
];

/// How the network treats the segments.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Fixed one-way delay, in seconds.
    pub delay_s: f64,
    /// Mean of the exponential jitter on top, in seconds: large enough to reorder segments.
    pub jitter_s: f64,
    /// Share of segments lost before the sensor.
    pub loss: f64,
    /// How long the measurement lasts, in seconds.
    pub duration_s: f64,
    /// How many client addresses ask.
    pub clients: u8,
    /// The generator's seed.
    pub seed: u64,
}

/// When the measurement began, Unix time in seconds: Saturday 22 April 2006, 17:00 UTC.
pub const START_S: u64 = 1_145_725_200;

impl Machine {
    /// True boot time, Unix time in seconds.
    pub fn boot_s(&self, tick_hz: f64) -> f64 {
        START_S as f64 - f64::from(self.ticks) / tick_hz
    }
}

/// How long a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Ten seconds to two minutes: the mail and the web of 2006.
    Minutes,
    /// A fifth of a second and eight segments a side: today's web.
    Short,
}

/// The conversation of today: exchanges, and their time in seconds.
const SHORT_EXCHANGES: u32 = 6;
const SHORT_S: f64 = 0.2;

/// The traffic of `clusters`, in order of arrival: handshakes, both directions, FINs.
///
/// The machines' clocks are disciplined: they have ticked at the nominal rate since boot, and
/// still do. That is the only way in which a counter that has run for a year can tell its boot
/// time to a second at all.
pub fn traffic(clusters: &[Cluster], network: &Network, length: Length) -> Vec<Record> {
    let mut generator =
        Generator { rng: Pcg64::seed_from_u64(network.seed), network: *network, length, records: Vec::new() };
    let mut client_port = 30_000;
    for cluster in clusters {
        for machine in cluster.machines {
            for _ in 0..machine.connections {
                client_port += 1;
                generator.connection(cluster, machine, client_port);
            }
        }
    }
    let mut records = generator.records;
    records.sort_by_key(|record| record.time_ns);
    records
}

struct Generator {
    rng: Pcg64,
    network: Network,
    length: Length,
    records: Vec<Record>,
}

impl Generator {
    /// One conversation: handshake, exchanges, FINs.
    fn connection(&mut self, cluster: &Cluster, machine: &Machine, client_port: u16) {
        let client = Address::from_ip4([203, 0, 113, 1 + self.rng.random_range(0..self.network.clients)]);
        let server = Address::from_ip4(cluster.address);
        let (ports, tick_hz) = ((client_port, cluster.port), cluster.tick_hz);
        let (exchanges, pause_s) = match self.length {
            Length::Minutes => (self.rng.random_range(15..45), self.rng.random_range(0.3..1.5)),
            Length::Short => (SHORT_EXCHANGES, SHORT_S / f64::from(2 * SHORT_EXCHANGES)),
        };
        let answer_s = match self.length {
            Length::Minutes => 0.001..0.2,
            Length::Short => 0.2 * pause_s..1.8 * pause_s,
        };
        let lasts_s = f64::from(exchanges) * pause_s * 2.0;
        let mut t = self.rng.random_range(0.0..(self.network.duration_s - lasts_s).max(1.0));
        let server_ticks = |t: f64| (f64::from(machine.ticks) + tick_hz * t) as u64 as u32;
        let client_ticks = |t: f64| (7_000_000.0 + 1000.0 * t) as u32;
        let to_server = |this: &mut Self, t: f64, flags: u8| {
            this.send(t, (client, server), ports, flags, client_ticks(t), server_ticks(t));
        };
        let to_client = |this: &mut Self, t: f64, flags: u8| {
            this.send(t, (server, client), (ports.1, ports.0), flags, server_ticks(t), client_ticks(t));
        };
        to_server(self, t, Flags::SYN.0);
        to_client(self, t + 0.001, (Flags::SYN | Flags::ACK).0);
        for _ in 0..exchanges {
            t += self.rng.random_range(0.2..1.8) * pause_s;
            to_server(self, t, (Flags::PSH | Flags::ACK).0);
            t += self.rng.random_range(answer_s.clone());
            to_client(self, t, (Flags::PSH | Flags::ACK).0);
        }
        to_client(self, t + 0.01, (Flags::FIN | Flags::ACK).0);
        to_server(self, t + 0.02, (Flags::FIN | Flags::ACK).0);
    }

    fn send(
        &mut self,
        t: f64,
        (src, dst): (Address, Address),
        ports: (u16, u16),
        flags: u8,
        tsval: u32,
        tsecr: u32,
    ) {
        let flags = Flags(flags);
        // A lost SYN would be sent again, and this generator doesn't: spare the handshake.
        if !flags.intersects(Flags::SYN) && self.rng.random::<f64>() < self.network.loss {
            return;
        }
        let jitter_s = -self.network.jitter_s * (1.0 - self.rng.random::<f64>()).ln();
        let arrival_ns = ((t + self.network.delay_s + jitter_s) * 1e9) as u64;
        let segment = Segment {
            src,
            dst,
            src_port: ports.0,
            dst_port: ports.1,
            flags,
            has_payload: flags.intersects(Flags::PSH),
            hop_limit: 64,
            tsval,
            tsecr: if flags.is_syn() { 0 } else { tsecr },
            syn: flags.intersects(Flags::SYN).then_some(LINUX_SYN),
            ..Segment::default()
        };
        self.records.push(received(START_S * 1_000_000_000 + arrival_ns, segment));
    }
}
