//! Traffic of the web: connections of a fraction of a second, from handshake to FIN, both directions.
//!
//! A [`Web`] says what to simulate. [`plan`] draws who opens which connection when; [`exchange`] sends its
//! segments. The sensor stands between [`SHARED`] and its peers, and sees either side.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Record};

use super::{
    ConnectionKey, Law, Offsets, Random, SHARED, Simulation, TrueClock, Truth,
    clock::Pace,
    delay::{self, Delays},
};
use exchange::{CLIENT, End, Exchange, SERVER};
use plan::{Opening, Script};
use ports::Ports;
use stack::Stack;

mod exchange;
pub mod grid;
mod plan;
pub mod ports;
pub mod stack;

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Browsers behind a NAT: pages of 1-8 parallel connections of 50-500 ms, think times of seconds.
    Clients,
    /// A balancer on layer 4: such pages, asked for by few or many clients, each connection served by any of
    /// its back ends.
    Balancer,
    /// An edge of a content delivery network: two pages or so for each of many clients.
    Edge,
    /// A crawler: one connection per peer, one after the other.
    Crawler,
    /// A mail server: SMTP of two seconds.
    Mail,
    /// A health checker or scanner: a SYN every 10 s, which a RST without time stamps answers, or nothing.
    Probes,
    /// Pools of connections that live for minutes, with a question every few seconds.
    KeepAlive,
    /// Browsers, pools, mail and probes behind one NAT.
    Mix,
}

impl Kind {
    /// Whether [`SHARED`] is the end that opens connections.
    pub fn opens(self) -> bool {
        !matches!(self, Self::Balancer | Self::Edge | Self::Mail)
    }
}

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Law of the delay above its minimum.
    pub law: Law,
    /// Its mean (of the calm part), in seconds.
    pub jitter_s: f64,
    /// Share of segments lost, half of them before the sensor; they are sent anew.
    pub loss: f64,
    /// Least delay between [`SHARED`] and the sensor, in seconds.
    pub near_s: f64,
    /// Mean of the least delay between the sensor and a peer, in seconds.
    pub far_s: f64,
    /// Mean of what the path from [`SHARED`] to a peer adds before the sensor, in seconds.
    pub path_s: f64,
}

impl Network {
    /// A quiet LAN.
    pub const LAN: Self = Self {
        law: Law::Exponential,
        jitter_s: 50e-6,
        loss: 0.0,
        near_s: 0.000_3,
        far_s: 0.000_5,
        path_s: 20e-6,
    };

    /// A wide area, by its jitter.
    pub const fn wan(jitter_s: f64) -> Self {
        Self { jitter_s, loss: 0.005, near_s: 0.005, far_s: 0.02, path_s: 0.000_5, ..Self::LAN }
    }
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Web {
    /// Which traffic.
    pub kind: Kind,
    /// The machines behind [`SHARED`].
    pub stacks: Vec<Stack>,
    /// Connections of each machine, on average.
    pub connections: usize,
    /// Addresses that it talks to. Behind each is one machine. A crawler has as many as connections.
    pub peers: usize,
    /// The peers' stack.
    pub peer_stack: Stack,
    /// Whether machines share the load by Zipf's law rather than evenly.
    pub is_uneven: bool,
    /// The network.
    pub network: Network,
    /// How source ports are chosen.
    pub ports: Ports,
    /// Within this time connections begin, in seconds; probes take as long as they do.
    pub duration_s: f64,
    /// Standard deviation of the machines' skews, in ppm.
    pub skew_spread_ppm: f64,
    /// Seed of everything random.
    pub seed: u64,
}

/// The true offset of a connection of [`SHARED`], and how its machine draws offsets.
pub type TrueOffset = (u32, Offsets);

/// One machine with an address of its own, or behind [`SHARED`].
#[derive(Clone, Debug)]
pub(super) struct Host {
    stack: Stack,
    clock: TrueClock,
    /// What random offsets are made of.
    secret: u64,
    stalls: Vec<(f64, f64)>,
}

impl Host {
    fn draw(web: &Web, stack: Stack, random: &mut Random) -> Self {
        let pace = Pace {
            tick_hz: stack.tick_hz,
            start_s: stack.start_s,
            wander_ppm: 0.0,
            duration_s: web.duration_s,
        };
        let skew_ppm = web.skew_spread_ppm * random.normal();
        let boot_s = -random.uniform(3600.0, 40.0 * 86_400.0);
        let clock = TrueClock::new(&pace, skew_ppm, boot_s, random);
        let stalls = delay::stalls(web.network.law, web.duration_s, random);
        Self { stack, clock, secret: random.0.random(), stalls }
    }

    /// The offset of a connection with a peer.
    fn offset(&self, peer: usize, random: &mut Random) -> u32 {
        let keyed = |seed: u64| Pcg64::seed_from_u64(seed).random();
        match self.stack.offsets {
            Offsets::Global if self.stack.is_shifted => keyed(self.secret),
            Offsets::Global => 0,
            Offsets::PerPair => keyed(self.secret ^ (peer as u64) << 32),
            Offsets::PerConnection => random.0.random(),
        }
    }
}

/// A peer, and the way to it.
#[derive(Clone, Debug)]
struct Peer {
    host: Host,
    /// Least delay between it and the sensor, in seconds.
    far_s: f64,
    /// What the way to it adds before the sensor, in seconds.
    path_s: f64,
}

/// Traffic, and its truth.
#[derive(Clone, Debug)]
pub struct WebTraffic {
    /// Records of both directions, and the machines behind [`SHARED`].
    pub simulation: Simulation,
    /// The true offset of each connection of [`SHARED`].
    pub offset_of: HashMap<ConnectionKey, TrueOffset>,
}

impl Web {
    /// Simulates.
    pub fn run(&self) -> WebTraffic {
        let mut random = Random(Pcg64::seed_from_u64(self.seed));
        let openings = plan::draw(self, &mut random);
        let machines: Vec<Host> =
            self.stacks.iter().map(|stack| Host::draw(self, *stack, &mut random)).collect();
        let count = openings.iter().map(|opening| opening.peer + 1).max().unwrap_or(0);
        let peers: Vec<Peer> = (0..count)
            .map(|_| Peer {
                host: Host::draw(self, self.peer_stack, &mut random),
                far_s: self.network.far_s * random.uniform(0.2, 1.8),
                path_s: random.exponential(self.network.path_s),
            })
            .collect();
        let episodes = delay::episodes(self.network.law, self.duration_s, &mut random);
        let mut records = Vec::new();
        let mut offset_of = HashMap::new();
        let mut machine_of = HashMap::new();
        let boundaries_s: Vec<f64> = machines.iter().map(|machine| machine.clock.boot_s).collect();
        let ports = ports::chosen(self.ports, &openings, &boundaries_s, self.seed);
        for (at, opening) in openings.into_iter().enumerate() {
            let port = ports.as_ref().map(|ports| ports[at]);
            let key = self.key(&opening, port, &mut random, &machine_of);
            let machine = &machines[opening.machine];
            let offset = machine.offset(opening.peer, &mut random);
            machine_of.insert(key, opening.machine);
            offset_of.insert(key, (offset, machine.stack.offsets));
            let ends = self.ends(key, (machine, offset), &peers[opening.peer], &episodes, &mut random);
            Exchange::new(ends, self.network.loss, &mut random, &mut records)
                .run(opening.begin_s, &opening.script);
        }
        records.sort_by_key(|record: &Record| record.time_ns);
        let clocks = machines.into_iter().map(|machine| machine.clock).collect();
        WebTraffic { simulation: Simulation { records, truth: Truth { clocks, machine_of } }, offset_of }
    }

    /// Ports and peer of a connection: ephemeral ports are drawn where none is chosen, and never used twice.
    fn key(
        &self,
        opening: &Opening,
        mut chosen: Option<u16>,
        random: &mut Random,
        taken: &HashMap<ConnectionKey, usize>,
    ) -> ConnectionKey {
        // The network of RFC 2544, which has room for many.
        let [_, high, middle, low] = (opening.peer as u32 + 1).to_be_bytes();
        let peer = Address::from_ip4([198, 18 + high, middle, low]);
        loop {
            let port = chosen.take().unwrap_or_else(|| random.0.random_range(32_768..61_000));
            let service = opening.script.port();
            let key = if self.kind.opens() { (port, peer, service) } else { (service, peer, port) };
            if !taken.contains_key(&key) {
                return key;
            }
        }
    }

    /// The client's end and the server's.
    fn ends<'a>(
        &self,
        (port, address, peer_port): ConnectionKey,
        (machine, offset): (&'a Host, u32),
        peer: &'a Peer,
        episodes: &'a [(f64, f64)],
        random: &mut Random,
    ) -> [End<'a>; 2] {
        let Network { law, jitter_s, near_s, .. } = self.network;
        let shared = End {
            host: machine,
            offset,
            address: Address::from_ip4(SHARED.octets()),
            port,
            to_sensor_s: near_s + peer.path_s,
            delays: Delays { law, mean_s: jitter_s, episodes, stalls: &machine.stalls },
        };
        let other = End {
            host: &peer.host,
            // All its connections here are with one address.
            offset: peer.host.offset(0, random),
            address,
            port: peer_port,
            to_sensor_s: peer.far_s,
            delays: Delays { law, mean_s: jitter_s, episodes, stalls: &peer.host.stalls },
        };
        let mut ends = [shared.clone(), shared];
        ends[if self.kind.opens() { SERVER } else { CLIENT }] = other;
        ends
    }
}

impl Script {
    /// The service's port.
    fn port(&self) -> u16 {
        match self {
            Self::Fetch { .. } => 443,
            Self::Mail => 25,
            Self::Probe { .. } => 80,
            Self::KeepAlive => 5432,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first row of the grid with this in its name.
    fn row(name: &str) -> Web {
        let row = grid::rows().into_iter().find(|row| row.name.contains(name));
        Web { seed: 3, ..row.expect("a row").web }
    }

    /// Records of each connection of the shared address, by its key.
    fn sides(records: &[Record]) -> HashMap<ConnectionKey, Vec<Record>> {
        let mut sides: HashMap<ConnectionKey, Vec<Record>> = HashMap::new();
        for record in records.iter().filter(|r| r.segment.src == Address::from_ip4(SHARED.octets())) {
            let segment = &record.segment;
            sides.entry((segment.src_port, segment.dst, segment.dst_port)).or_default().push(*record);
        }
        sides
    }

    #[test]
    fn a_seed_makes_the_same_traffic_again() {
        let web = row("mix 4x30 pair WAN");
        let records = web.run().simulation.records;
        assert_eq!(records, web.run().simulation.records);
        assert_ne!(records, Web { seed: 4, ..web }.run().simulation.records);
        assert!(records.is_sorted_by_key(|record| record.time_ns));
    }

    #[test]
    fn connections_are_as_short_as_those_of_the_web() {
        for name in ["clients 4x30 random LAN", "balancer 5x30 pair LAN"] {
            let web = row(name);
            let sides = sides(&web.run().simulation.records);
            assert_eq!(sides.len(), web.stacks.len() * web.connections, "{name}");
            let segments: Vec<usize> = sides.values().map(Vec::len).collect();
            assert!(segments.iter().all(|count| (3..=17).contains(count)), "{name}: {segments:?}");
            let length_s =
                |side: &Vec<Record>| (side[side.len() - 1].time_ns - side[0].time_ns) as f64 * 1e-9;
            let mut lengths: Vec<f64> = sides.values().map(length_s).collect();
            lengths.sort_by(f64::total_cmp);
            assert!(lengths[lengths.len() - 1] < 0.7, "{name}: {lengths:?}");
            assert!((0.1..0.25).contains(&lengths[lengths.len() / 2]), "{name}: {lengths:?}");
        }
    }

    #[test]
    fn every_tsval_is_the_machine_s_counter_and_the_connection_s_offset() {
        for name in ["clients 3x30 2 pair + Mac LAN", "mail 4x30 10 Hz WAN"] {
            let web = row(name);
            let WebTraffic { simulation, offset_of } = web.run();
            for (key, side) in sides(&simulation.records) {
                let machine = simulation.truth.machine_of[&key];
                let clock = &simulation.truth.clocks[machine];
                for record in side.iter().filter(|record| record.segment.tsval != 0) {
                    let counter = record.segment.tsval.wrapping_sub(offset_of[&key].0);
                    let seen = clock.ticks_at(record.time_ns as f64 * 1e-9).floor() as i64 as u32;
                    let late_s = f64::from(seen.wrapping_sub(counter)) / web.stacks[machine].tick_hz;
                    assert!(late_s < 0.5, "{name}: {key:?} {late_s}");
                }
            }
        }
    }

    #[test]
    fn a_balancer_spreads_one_client_over_its_back_ends() {
        let web = row("uneven balancer 20x30 pair LAN");
        let truth = web.run().simulation.truth;
        let mut loads = vec![0; 20];
        truth.machine_of.values().for_each(|machine| loads[*machine] += 1);
        assert!(loads.iter().all(|load| *load > 0), "{loads:?}");
        assert!(loads[0] > 5 * loads[19], "{loads:?}");
    }
}
