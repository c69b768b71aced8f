//! Connections of the victim's address that no machine of it has, or that a machine behind it opens to do
//! harm.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Flags, Record, Segment};

use super::{Fake, MS, S, Scene, peer, segment};

/// How long a sensor has watched when connections of the victim's address become busy, in nanoseconds. It has
/// then seen some handshakes, so it knows that it sees both directions.
const WATCHED_NS: u64 = 20 * S;

/// What a scan sends to each port.
#[derive(Clone, Copy, Debug)]
pub enum Probe {
    /// A SYN.
    Syn,
    /// An acknowledgement out of nothing.
    Ack,
}

/// A scan from the victim's address: connections of one segment, so many a second.
pub fn scan(scene: &Scene, a_second: u64, probe: Probe, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut time_ns = scene.begin_ns() - S;
    let flags = match probe {
        Probe::Syn => Flags::SYN,
        Probe::Ack => Flags::ACK,
    };
    while time_ns < scene.end_ns() {
        let number = records.len();
        let ends = ((scene.victim, number as u16), (peer(number >> 16), 9));
        records.push(segment(time_ns, ends, flags, random.random_range(1..u32::MAX)));
        time_ns += S / a_second;
    }
    records
}

/// So many connections that stay busy: four segments at first, then one every 25 s.
pub fn busy(scene: &Scene, connections: usize, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for number in 0..connections {
        let tsval = random.random_range(1..u32::MAX - 1_000_000);
        let begin_ns = scene.begin_ns() + WATCHED_NS + number as u64 * 100_000;
        let ends = ((scene.victim, number as u16), (peer(number >> 16), 9));
        for after_ms in [0, 20, 40, 60].into_iter().chain((20_000..135_000).step_by(25_000)) {
            let time_ns = begin_ns + u64::from(after_ms) * MS;
            records.push(segment(time_ns, ends, Flags::ACK, tsval + after_ms));
        }
    }
    records
}

/// So many pairs of connections to two peers, each pair with an offset of its own that both show: what
/// machines with fixed offsets look like.
pub fn pairs(scene: &Scene, pairs: usize, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for pair in 0..pairs {
        let offset = random.random::<u32>();
        for number in 0..2 {
            let fake = Fake { length_ns: 4 * S, segments: 5, ..fake(scene, pair, random) };
            let to = (peer(number), 80);
            Fake { ends: (fake.ends.0, to), offset: offset.into(), ..fake }.send(random, &mut records);
        }
    }
    records
}

/// So many connections of 100 Hz, whose offsets all differ but for two.
pub fn slow_clocks(scene: &Scene, connections: usize, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for number in 0..connections {
        let fake = Fake { length_ns: 4 * S, segments: 5, hz: 100.0, ..fake(scene, number, random) };
        let offset = if number < 2 { 12_345.0 } else { fake.offset };
        Fake { offset, ..fake }.send(random, &mut records);
    }
    records
}

/// So many connections whose phases have nothing to do with each other.
pub fn random_phases(scene: &Scene, connections: usize, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for number in 0..connections {
        let hz = 1000.0 * (1.0 + 1e-6 * random.random_range(-100.0..100.0));
        let fake = Fake { length_ns: 5 * S, segments: 20, hz, ..fake(scene, number, random) };
        fake.send(random, &mut records);
    }
    records
}

/// The `number`-th invented connection: of 1000 Hz, any offset, at any time of the scene.
fn fake(scene: &Scene, number: usize, random: &mut Pcg64) -> Fake {
    let lasts_ns = scene.end_ns() - scene.begin_ns();
    Fake {
        ends: ((scene.victim, 40_000_u16.wrapping_add(number as u16)), (peer(number), 80)),
        begin_ns: scene.begin_ns() + random.random_range(0..lasts_ns.saturating_sub(5 * S).max(1)),
        length_ns: S,
        segments: 1,
        offset: 4_294_967_296.0 * random.random::<f64>(),
        epoch_ns: scene.begin_ns(),
        hz: 1000.0,
    }
}

/// Connections that share an offset in pairs, to a server that answers each SYN honestly. The forger doesn't
/// see the answer, and sweeps what it may have to echo.
pub fn swept(scene: &Scene, connections: usize, random: &mut Pcg64) -> Vec<Record> {
    const ECHOES: u32 = 1 << 12;
    let mut records = Vec::new();
    let mut offset = 0;
    for number in 0..connections {
        if number.is_multiple_of(2) {
            offset = random.random_range(1..u32::MAX / 2);
        }
        let begin_ns = scene.begin_ns() + WATCHED_NS + number as u64 * S;
        let (victim, server) = ((scene.victim, 50_000 + number as u16), (peer(number), 443));
        let tsval = |time_ns: u64| offset + ((time_ns - scene.begin_ns()) / MS) as u32;
        let echoing =
            |record: Record, tsecr: u32| Record { segment: Segment { tsecr, ..record.segment }, ..record };
        records.push(segment(begin_ns, (victim, server), Flags::SYN, tsval(begin_ns)));
        let answer = segment(begin_ns + MS, (server, victim), Flags(0x12), random.random());
        records.push(echoing(answer, tsval(begin_ns)));
        for guess in 0..ECHOES {
            let time_ns = begin_ns + 2 * MS + u64::from(guess) * 1_000;
            let ack = segment(time_ns, (victim, server), Flags::ACK, tsval(time_ns));
            records.push(echoing(ack, guess * (u32::MAX / ECHOES) + u32::MAX / ECHOES));
        }
    }
    records
}
