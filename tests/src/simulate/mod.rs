//! Traffic whose truth is known: several machines behind one address, by a [`Scenario`]. The rooms
//! inside make other traffic: plain conversations, the experiments of 2006, transfers with losses.
//!
//! A [`Scenario`] says what to simulate; [`Scenario::run`] returns the records that a sensor would
//! have seen, in order of arrival, and who sent what. Same scenario, same records, on any machine.

use std::{collections::HashMap, net::Ipv4Addr};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Link, Record, Segment, record::Direction};

use crate::wire::{
    capture::{self, Order},
    frame::LINUX_SYN,
};

mod clock;
pub mod containers;
pub mod conversation;
mod delay;
pub mod device;
pub mod grid;
pub mod published;
pub mod transfer;
pub mod web;

use clock::Pace;
pub use clock::TrueClock;
use delay::Delays;

/// The address that all machines share.
pub const SHARED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// How TSval offsets are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// None: ticks since boot.
    Global,
    /// One per machine and peer.
    PerPair,
    /// One per connection.
    PerConnection,
}

/// The law of the network's delay above its minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Exponential: one queue.
    Exponential,
    /// Pareto with shape 2: heavy tail, infinite variance.
    Pareto,
    /// Exponential, ten times longer during one tenth of the time, for each connection on its own.
    Bursts,
    /// Exponential, five times longer in episodes of 5-20 s that all machines share.
    Congestion,
    /// Exponential, but machines are descheduled now and then for 0.5-10 ms, as on a busy host.
    Stalls,
}

/// The record of a segment that an interface received.
pub fn received(time_ns: u64, segment: Segment) -> Record {
    Record { time_ns, direction: Direction::Ingress, suppressed: 0, segment }
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Machines behind [`SHARED`].
    pub machines: usize,
    /// How they draw offsets.
    pub offsets: Offsets,
    /// Nominal tick rate.
    pub tick_hz: f64,
    /// Law of the delay.
    pub law: Law,
    /// Its mean (of the calm part), in seconds.
    pub jitter_s: f64,
    /// Share of segments lost before the sensor.
    pub loss: f64,
    /// Length of the capture, in seconds.
    pub duration_s: f64,
    /// Connections of each machine; of all together, each to a machine at random, if `pooled`.
    pub connections: usize,
    /// Whether machines share the connections as behind a balancer.
    pub pooled: bool,
    /// Peers that connections go to.
    pub peers: usize,
    /// Standard deviation of the machines' skews, in ppm.
    pub skew_spread_ppm: f64,
    /// Standard deviation of how far a skew walks in 600 s, in ppm.
    pub wander_ppm: f64,
    /// Segments per connection: log-uniform between these.
    pub segments: (f64, f64),
    /// The length of every connection in seconds, in which its segments are spread at random; `None` for
    /// connections as long as their segments take, in bursts.
    pub length_s: Option<f64>,
    /// Whether the last segment of each connection is a FIN.
    pub closes: bool,
    /// Share of segments sent by a timer, hence just after a tick.
    pub timer_share: f64,
    /// Resolution of the sensor's time stamps.
    pub resolution_ns: u64,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Scenario {
    /// A quiet LAN for ten minutes.
    fn default() -> Self {
        Self {
            machines: 4,
            offsets: Offsets::PerConnection,
            tick_hz: 1000.0,
            law: Law::Exponential,
            jitter_s: 50e-6,
            loss: 0.0,
            duration_s: 600.0,
            connections: 20,
            pooled: false,
            peers: 8,
            skew_spread_ppm: 10.0,
            wander_ppm: 0.0,
            segments: (5.0, 500.0),
            length_s: None,
            closes: false,
            timer_share: 0.1,
            resolution_ns: 1,
            seed: 1,
        }
    }
}

/// What names a connection here: source port, peer, peer's port.
pub type ConnectionKey = (u16, Address, u16);

/// What really happened.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The machines' clocks.
    pub clocks: Vec<TrueClock>,
    /// The machine of each connection.
    pub machine_of: HashMap<ConnectionKey, usize>,
}

/// Records and truth.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// In order of arrival.
    pub records: Vec<Record>,
    /// Who sent what.
    pub truth: Truth,
}

impl Scenario {
    /// Few packets of so many machines with random offsets that their analysis takes long. A review, which
    /// comes after four seconds, would take long, too.
    pub fn slow_to_analyse() -> Self {
        Self {
            machines: 20,
            connections: 200,
            offsets: Offsets::PerConnection,
            duration_s: 3.5,
            segments: (6.0, 12.0),
            skew_spread_ppm: 60.0,
            ..Self::default()
        }
    }

    /// Simulates.
    pub fn run(&self) -> Simulation {
        let mut random = Random(Pcg64::seed_from_u64(self.seed));
        // Slow clocks are Linux's jiffies, which start at -300 s.
        let start_s = if self.tick_hz < 1000.0 { -300.0 } else { 0.0 };
        let pace =
            Pace { tick_hz: self.tick_hz, start_s, wander_ppm: self.wander_ppm, duration_s: self.duration_s };
        let clocks: Vec<TrueClock> = (0..self.machines)
            .map(|_| {
                let skew_ppm = self.skew_spread_ppm * random.normal();
                let boot_s = -random.uniform(3600.0, 40.0 * 86400.0);
                TrueClock::new(&pace, skew_ppm, boot_s, &mut random)
            })
            .collect();
        let episodes = delay::episodes(self.law, self.duration_s, &mut random);
        let stalls: Vec<Vec<(f64, f64)>> =
            (0..self.machines).map(|_| delay::stalls(self.law, self.duration_s, &mut random)).collect();
        let pair_offsets: Vec<u32> = (0..self.machines * self.peers).map(|_| random.0.random()).collect();
        let mut truth = Truth { clocks, machine_of: HashMap::new() };
        let mut records = Vec::new();
        let connections = if self.pooled { self.connections } else { self.machines * self.connections };
        for c in 0..connections {
            let machine =
                if self.pooled { random.0.random_range(0..self.machines) } else { c % self.machines };
            let peer = random.0.random_range(0..self.peers);
            let key = (
                10_000 + (c % 50_000) as u16,
                Address::from_ip4([203, 0, 113, (peer % 250) as u8 + 1]),
                [80, 443][random.0.random_range(0..2)] + (c / 50_000) as u16,
            );
            let offset = match self.offsets {
                Offsets::Global => 0,
                Offsets::PerPair => pair_offsets[machine * self.peers + peer],
                Offsets::PerConnection => random.0.random(),
            };
            truth.machine_of.insert(key, machine);
            let delays = Delays {
                law: self.law,
                mean_s: self.jitter_s,
                episodes: &episodes,
                stalls: &stalls[machine],
            };
            Path { scenario: self, delays }.connection(
                key,
                &truth.clocks[machine],
                offset,
                &mut random,
                &mut records,
            );
        }
        records.sort_by_key(|r: &Record| r.time_ns);
        Simulation { records, truth }
    }

    /// The traffic as a capture of the year 2026: p0f counts time from 1970.
    pub fn capture(&self) -> Vec<u8> {
        const BEGIN_NS: u64 = 1_780_000_000_000_000_000;
        let mut packets = capture::packets(&self.run().records, Link::Ethernet);
        packets.iter_mut().for_each(|packet| packet.time_ns += BEGIN_NS);
        capture::pcap(&packets, 1, Order::Little, true)
    }
}

/// The way from one machine to the sensor.
struct Path<'a> {
    scenario: &'a Scenario,
    delays: Delays<'a>,
}

/// Propagation, which no passive sensor can know.
const MIN_DELAY_S: f64 = 0.000_3;

impl Path<'_> {
    fn connection(
        &self,
        key: ConnectionKey,
        clock: &TrueClock,
        offset: u32,
        random: &mut Random,
        records: &mut Vec<Record>,
    ) {
        let scenario = self.scenario;
        let (least, most) = scenario.segments;
        let first = records.len();
        let segments = random.uniform(least.ln(), most.ln()).exp().round() as usize;
        let times = match scenario.length_s {
            Some(length_s) => spread(segments, length_s, scenario.duration_s, random),
            None => Vec::new(),
        };
        let mut t = if times.is_empty() { random.uniform(0.0, scenario.duration_s) } else { times[0] };
        let mut slow_until = 0.0;
        for i in 0..segments {
            if let Some(time_s) = times.get(i) {
                t = *time_s;
            } else if i > 0 {
                t += if random.0.random_bool(0.7) {
                    random.exponential(0.006)
                } else {
                    random.exponential(0.2)
                };
            }
            let mut sent = t;
            if random.0.random_bool(scenario.timer_share) {
                let ticks = clock.ticks_at(t);
                sent += (ticks.ceil() - ticks) / scenario.tick_hz + random.exponential(20e-6);
            }
            if sent >= scenario.duration_s {
                break;
            }
            let arrival = sent + MIN_DELAY_S + self.delays.draw(sent, &mut slow_until, random);
            if random.0.random_bool(scenario.loss) {
                continue;
            }
            let time_ns = (arrival * 1e9) as u64 / scenario.resolution_ns * scenario.resolution_ns;
            let tsval = (clock.ticks_at(sent).floor() as i64 as u32).wrapping_add(offset);
            records.push(record(time_ns, key, tsval, i == 0));
        }
        if let Some(last) = records[first..].last_mut().filter(|_| scenario.closes) {
            last.segment.flags = last.segment.flags | Flags::FIN;
        }
    }
}

/// When the segments of a connection of this length are sent, in seconds, at any time up to `until_s`: one at
/// each end, the others anywhere between.
fn spread(segments: usize, length_s: f64, until_s: f64, random: &mut Random) -> Vec<f64> {
    let begin_s = random.uniform(0.0, (until_s - length_s).max(0.0));
    let mut times: Vec<f64> = (2..segments).map(|_| begin_s + random.uniform(0.0, length_s)).collect();
    times.extend([begin_s, begin_s + length_s]);
    times.sort_by(f64::total_cmp);
    times.truncate(segments);
    times
}

fn record(time_ns: u64, (port, peer, peer_port): ConnectionKey, tsval: u32, first: bool) -> Record {
    let segment = Segment {
        src: Address::from_ip4(SHARED.octets()),
        dst: peer,
        src_port: port,
        dst_port: peer_port,
        flags: if first { Flags::SYN } else { Flags::ACK },
        hop_limit: 63,
        tsval,
        tsecr: u32::from(!first),
        has_payload: !first,
        syn: first.then_some(LINUX_SYN),
        ..Segment::default()
    };
    received(time_ns, segment)
}

/// Draws, by inversion.
struct Random(Pcg64);

impl Random {
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.0.random::<f64>()).ln()
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }
}
