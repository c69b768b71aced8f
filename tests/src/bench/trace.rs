//! Captures to be read by programs: connections that begin at a steady rate, with handshakes, both directions
//! and time stamps.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Link, Record, Segment, Syn, record::Direction};

use crate::wire::{
    capture::{Order, Packet, pcap},
    frame::frame,
};

/// What a capture holds.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// How many connections there are.
    pub connections: u64,
    /// How many of them begin in a second.
    pub connections_per_s: u64,
    /// Segments of a connection, both directions.
    pub segments: u64,
    /// Clients, each behind an address of its own.
    pub clients: u64,
    /// Servers, likewise.
    pub servers: u64,
    /// By how many places a client moves on among the servers from one connection to the next.
    pub moves_on: u64,
    /// How the hosts choose their offsets.
    pub offsets: Offsets,
}

impl Traffic {
    /// So many connections of 100 segments between 500 clients, each of which has one of 20 servers.
    pub fn of_pairs(connections: u64, offsets: Offsets) -> Self {
        Self {
            connections,
            connections_per_s: 200,
            segments: 100,
            clients: 500,
            servers: 20,
            moves_on: 0,
            offsets,
        }
    }

    fn client(&self, number: u64) -> u64 {
        number % self.clients
    }

    fn server(&self, number: u64) -> u64 {
        (number + self.moves_on * (number / self.clients)) % self.servers
    }
}

/// The ports that clients use.
const PORTS: u64 = 60_000;

/// When the first connection begins, and when counters were zero, in nanoseconds since 1970.
const BEGIN_NS: u64 = 1_700_000_000_000_000_000;
const BOOT_NS: u64 = 1_600_000_000_000_000_000;

/// How the hosts of a capture choose the offsets of their time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// One for each host; segments are sent at even steps, over half a second to half a minute.
    Fixed,
    /// One for each connection; hosts have clocks of their own, clients are one to three machines each, and
    /// segments are sent in bursts over some ten seconds, with the delays of a LAN.
    Random,
}

/// Writes a capture; the number of its packets.
///
/// # Errors
/// Where the file can't be written.
pub fn write(path: &Path, traffic: Traffic) -> Result<usize> {
    let numbers = 0..traffic.connections;
    let mut records: Vec<Record> = match traffic.offsets {
        Offsets::Fixed => numbers.flat_map(|number| fixed(traffic, number)).collect(),
        Offsets::Random => numbers.flat_map(|number| random(traffic, number)).collect(),
    };
    records.sort_by_key(|record| record.time_ns);
    let mut out = BufWriter::new(fs::File::create(path).context("can't write the capture")?);
    let mut packets = 0;
    // The file's header once, then what each part has behind its own.
    for part in records.chunks(65_536) {
        let framed: Vec<Packet> = part
            .iter()
            .map(|record| Packet { time_ns: record.time_ns, bytes: frame(&record.segment, Link::Ethernet) })
            .collect();
        let bytes = pcap(&framed, 1, Order::Little, true);
        out.write_all(if packets == 0 { &bytes } else { &bytes[24..] })?;
        packets += framed.len();
    }
    out.flush()?;
    Ok(packets)
}

/// A segment of a connection, by its place from 0; it shows this TSval, and echoes the other.
fn record(traffic: Traffic, (number, at): (u64, u64), time_ns: u64, tsval: u32, tsecr: u32) -> Record {
    let (client, server) = (traffic.client(number), traffic.server(number));
    let place = |of: u64, all: u64| (of % all) as u8;
    let client = Address::from_ip4([
        10,
        place(client / 62_500, 250),
        place(client / 250, 250),
        place(client, 250) + 1,
    ]);
    let server = Address::from_ip4([
        198,
        51 + place(server / 25_000, 200),
        100 + place(server / 250, 100),
        place(server, 250) + 1,
    ]);
    // Another port for each connection of a client, however many clients there are.
    let port = 1024 + ((number + number / PORTS * 7) % PORTS) as u16;
    let from_client = is_from_client(at);
    let flags = match at {
        0 => Flags::SYN,
        1 => Flags::SYN | Flags::ACK,
        _ if at + 2 >= traffic.segments => Flags::FIN | Flags::ACK,
        _ => Flags::ACK,
    };
    let syn = Syn { window: 64_240, mss: 1_460, window_scale: 7, option_order: 0x3_1842, ..Syn::default() };
    Record {
        time_ns,
        direction: Direction::Ingress,
        suppressed: 0,
        segment: Segment {
            src: if from_client { client } else { server },
            dst: if from_client { server } else { client },
            src_port: if from_client { port } else { 443 },
            dst_port: if from_client { 443 } else { port },
            flags,
            has_payload: at > 2,
            payload_bytes: 0,
            hop_limit: 64,
            tsval,
            tsecr,
            syn: flags.intersects(Flags::SYN).then_some(syn),
            tunnel: None,
        },
    }
}

/// Both ends take turns.
fn is_from_client(at: u64) -> bool {
    at.is_multiple_of(2)
}

/// A connection of hosts whose offsets are fixed: handshake, data and acknowledgements, FINs.
fn fixed(traffic: Traffic, number: u64) -> impl Iterator<Item = Record> {
    let begin_ns = BEGIN_NS + number * 1_000_000_000 / traffic.connections_per_s;
    // From half a second in all, which shows no clock, to half a minute, which does; and a little that
    // differs from segment to segment.
    let step_ns = 5_000_000 << (number % 7);
    (0..traffic.segments).map(move |at| {
        let time_ns = begin_ns + at * step_ns + (number * 7_919 + at * 104_729) % 400_000;
        let from_client = is_from_client(at);
        let hz = if from_client { 1_000 } else { 250 };
        let machine = if from_client { traffic.client(number) } else { 1_000 + traffic.server(number) };
        let ticks = ((time_ns - BOOT_NS) / (1_000_000_000 / hz)) as u32;
        record(
            traffic,
            (number, at),
            time_ns,
            ticks.wrapping_add((machine as u32).wrapping_mul(2_654_435_761)),
            1,
        )
    })
}

/// The most machines of a client.
const MOST_MACHINES: u64 = 3;

/// The least delay on the way to the sensor in seconds, and the mean of what queues add.
const LEAST_DELAY_S: f64 = 1e-4;
const DELAY_S: f64 = 5e-5;

/// The mean time between two segments, in seconds, and how often it is that within a burst.
const PAUSE_S: f64 = 0.5;
const IN_BURST_S: f64 = 0.006;
const BURST_SHARE: f64 = 0.7;

/// A connection of hosts with random offsets: handshake, data and acknowledgements, FINs.
fn random(traffic: Traffic, number: u64) -> impl Iterator<Item = Record> {
    let mut draw = Pcg64::seed_from_u64(number);
    let (client, server) = (traffic.client(number), traffic.server(number));
    let of_client = draw.random_range(0..1 + client % MOST_MACHINES);
    let clocks = [Clock::of(MOST_MACHINES * client + of_client), Clock::of(1_000_000 + server)];
    let offsets: [u32; 2] = draw.random();
    let mut sent_s = number as f64 / traffic.connections_per_s as f64;
    let mut last = [0; 2];
    (0..traffic.segments).map(move |at| {
        let from = usize::from(!is_from_client(at));
        let tsval = clocks[from].ticks_at(sent_s).wrapping_add(offsets[from]);
        let late_s = LEAST_DELAY_S + exponential(DELAY_S, &mut draw);
        let time_ns = BEGIN_NS + ((sent_s + late_s) * 1e9) as u64;
        let segment = record(traffic, (number, at), time_ns, tsval, last[1 - from]);
        last[from] = tsval;
        let mean_s = if draw.random_bool(BURST_SHARE) { IN_BURST_S } else { PAUSE_S };
        // An answer can't be sent before what it answers has come.
        sent_s += 2.0 * late_s + exponential(mean_s, &mut draw);
        segment
    })
}

/// The clock of a machine, 1000 times a second.
struct Clock {
    /// Where in its tick it was when the first connection began.
    phase: f64,
    rate_hz: f64,
}

impl Clock {
    fn of(machine: u64) -> Self {
        let mut draw = Pcg64::seed_from_u64(0xc10c << 32 | machine);
        let skew_ppm = draw.random_range(-30.0..30.0);
        Self { phase: draw.random(), rate_hz: 1_000.0 * (1.0 + skew_ppm * 1e-6) }
    }

    fn ticks_at(&self, time_s: f64) -> u32 {
        (self.phase + self.rate_hz * time_s) as u32
    }
}

fn exponential(mean: f64, draw: &mut Pcg64) -> f64 {
    -mean * (1.0 - draw.random::<f64>()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(offsets: Offsets) -> Traffic {
        Traffic::of_pairs(1_000, offsets)
    }

    #[test]
    fn both_kinds_of_captures_have_the_same_connections() {
        let ends = |records: Vec<Record>| -> Vec<_> {
            records
                .iter()
                .map(|Record { segment, .. }| (segment.src, segment.src_port, segment.flags))
                .collect()
        };
        assert_eq!(
            ends(fixed(traffic(Offsets::Fixed), 7).collect()),
            ends(random(traffic(Offsets::Random), 7).collect())
        );
    }

    #[test]
    fn random_connections_last_for_seconds_and_never_go_back_in_time() {
        for number in 0..50 {
            let records: Vec<Record> = random(traffic(Offsets::Random), number).collect();
            let times = || records.iter().map(|record| record.time_ns);
            assert!(times().is_sorted(), "an answer comes after its question");
            let length_ns = times().next_back().unwrap_or(0) - times().next().unwrap_or(0);
            assert!((2_000_000_000..60_000_000_000).contains(&length_ns), "{length_ns}");
        }
    }

    #[test]
    fn offsets_of_the_random_kind_differ_between_connections_of_one_machine() {
        let offset = |number: u64| {
            let first = random(traffic(Offsets::Random), number).next().expect("a segment");
            let elapsed_s = (first.time_ns - BEGIN_NS) as f64 * 1e-9;
            first.segment.tsval.wrapping_sub((1_000.0 * elapsed_s) as u32)
        };
        // A client of one machine; two counters are this near each other once in a million times.
        assert!(offset(0).abs_diff(offset(500)) > 1_000);
    }
}
