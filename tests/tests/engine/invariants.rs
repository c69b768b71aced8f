//! What holds of every summary, whatever the traffic: the order of counts, and coverage that adds up.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Engine, Options, Wanted};
use tmap_common::{Address, Flags, Record, Segment};
use tmap_tests::{
    judge::summary::wrong,
    simulate::{Offsets, received},
    wire::frame::LINUX_SYN,
};

/// One machine behind an address that all share.
#[derive(Clone, Debug)]
struct Machine {
    hz: f64,
    skew_ppm: f64,
    offsets: Offsets,
    connections: usize,
    peers: u8,
    shape: Shape,
    zeros: Zeros,
    jitter_ms: f64,
}

/// What connections look like.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A SYN and nothing else.
    SynOnly,
    /// So many segments within so many seconds, from SYN to FIN.
    Whole { segments: usize, length_s: f64 },
    /// Segments of a connection whose handshake wasn't seen.
    Middle { segments: usize, length_s: f64 },
}

/// Which TSvals are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Zeros {
    None,
    InSyns,
    All,
}

fn machine() -> impl Strategy<Value = Machine> {
    let hz = prop::sample::select(vec![2.0, 10.0, 100.0, 250.0, 1000.0, 1000.0, 1000.0, 1_000_000.0]);
    let offsets = prop::sample::select(vec![Offsets::Global, Offsets::PerPair, Offsets::PerConnection]);
    let length_s = || prop::sample::select(vec![0.002, 0.05, 0.2, 1.0, 5.0, 60.0]);
    let shape = prop_oneof![
        1 => Just(Shape::SynOnly),
        4 => (2_usize..20, length_s()).prop_map(|(segments, length_s)| Shape::Whole { segments, length_s }),
        1 => (1_usize..20, length_s()).prop_map(|(segments, length_s)| Shape::Middle { segments, length_s }),
    ];
    let zeros = prop_oneof![6 => Just(Zeros::None), 1 => Just(Zeros::InSyns), 1 => Just(Zeros::All)];
    let jitter_ms = prop::sample::select(vec![0.05, 1.0, 20.0]);
    (hz, -200.0..200.0, offsets, 1_usize..30, 1_u8..6, shape, zeros, jitter_ms).prop_map(
        |(hz, skew_ppm, offsets, connections, peers, shape, zeros, jitter_ms)| Machine {
            hz,
            skew_ppm,
            offsets,
            connections,
            peers,
            shape,
            zeros,
            jitter_ms,
        },
    )
}

impl Machine {
    /// Its segments within `span_s` seconds. Ports tell its connections from those of other machines.
    fn send(&self, number: usize, span_s: f64, random: &mut Pcg64, records: &mut Vec<Record>) {
        let boot_ticks = 4e9 * random.random::<f64>();
        let of_pair: Vec<u32> = (0..self.peers).map(|_| random.random()).collect();
        for connection in 0..self.connections {
            let peer = random.random_range(0..self.peers);
            let offset = match self.offsets {
                Offsets::Global => 0,
                Offsets::PerPair => of_pair[usize::from(peer)],
                Offsets::PerConnection => random.random(),
            };
            let (segments, length_s, has_handshake) = match self.shape {
                Shape::SynOnly => (1, 0.0, true),
                Shape::Whole { segments, length_s } => (segments, length_s, true),
                Shape::Middle { segments, length_s } => (segments, length_s, false),
            };
            let begin_s = 1_000.0 + span_s * random.random::<f64>();
            for segment in 0..segments {
                let is_syn = has_handshake && segment == 0;
                let sent_s = begin_s + length_s * segment as f64 / segments as f64;
                let ticks = boot_ticks + self.hz * (1.0 + self.skew_ppm * 1e-6) * sent_s;
                let is_zero = self.zeros == Zeros::All || self.zeros == Zeros::InSyns && is_syn;
                let tsval = (ticks.floor() as u64 as u32).wrapping_add(offset);
                let late_s = -self.jitter_ms * 1e-3 * (1.0 - random.random::<f64>()).ln();
                let is_fin = has_handshake && segment > 0 && segment + 1 == segments;
                let flags = match (is_syn, is_fin) {
                    (true, _) => Flags::SYN,
                    (_, true) => Flags::FIN | Flags::ACK,
                    _ => Flags::ACK,
                };
                let segment = Segment {
                    src: Address::from_ip4([198, 51, 100, 1]),
                    dst: Address::from_ip4([203, 0, 113, peer + 1]),
                    src_port: (1_000 * (number + 1) + connection) as u16,
                    dst_port: 443,
                    flags,
                    hop_limit: 60,
                    tsval: if is_zero { 0 } else { tsval },
                    tsecr: u32::from(!is_syn),
                    has_payload: !is_syn,
                    syn: is_syn.then_some(LINUX_SYN),
                    ..Segment::default()
                };
                records.push(received(((sent_s + late_s) * 1e9) as u64, segment));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_in_order_and_coverage_adds_up(
        machines in prop::collection::vec(machine(), 1..7),
        span_s in prop::sample::select(vec![5.0, 60.0, 600.0, 86_400.0]),
        max_connections_per_address in prop::sample::select(vec![4096, 4096, 4096, 10]),
        seed: u64,
    ) {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut records = Vec::new();
        for (number, machine) in machines.iter().enumerate() {
            machine.send(number, span_s, &mut random, &mut records);
        }
        records.sort_by_key(|record| record.time_ns);
        let mut engine = Engine::new(Options { max_connections_per_address, ..Options::default() });
        engine.set_resolution_ns(1);
        // A second summary goes on from what the first one remembers.
        for part in [&records[..records.len() / 2], &records[records.len() / 2..]] {
            engine.observe_all(part);
            let now_ns = part.last().map_or(0, |record| record.time_ns);
            let snapshot = engine.snapshot(now_ns, Wanted { connections: true, siblings: true });
            prop_assert_eq!(wrong(&snapshot), Vec::<String>::new());
        }
    }
}
