//! Segments of the victim's own connections, from somebody who knows their addresses and ports. Most see none
//! of what they carry; an eavesdropper sees what the victim sends.

use std::collections::HashMap;

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Tunnel, tunnel::Kind};

use super::{MS, S, Scene, segment};

/// When an attack hits each connection.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// In the middle of it.
    Middle,
    /// After its last segment.
    End,
}

/// Two segments of another clock in each connection, enough to bear each other out.
pub fn other_clock(scene: &Scene, when: When, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for side in &scene.sides {
        let at_ns = match when {
            When::Middle => side.first_ns.midpoint(side.open_until_ns),
            When::End => side.last_ns + MS,
        };
        let tsval = random.random_range(1..u32::MAX - 10);
        for number in 0..2 {
            let time_ns = at_ns + 2 * MS * u64::from(number);
            records.push(segment(time_ns, (side.from, side.to), Flags::ACK, tsval + number));
        }
    }
    records
}

/// These segments inside VXLAN, as anybody's UDP socket can send them.
pub fn in_vxlan(mut records: Vec<Record>) -> Vec<Record> {
    let tunnel = Tunnel {
        kind: Kind::VXLAN,
        id: 1,
        is_over_ip: true,
        src: Address::from_ip4([192, 0, 2, 66]),
        dst: Address::from_ip4([192, 0, 2, 99]),
    };
    records.iter_mut().for_each(|record| record.segment.tunnel = Some(tunnel));
    records
}

/// A RST in each connection every half second, with any TSval.
pub fn resets(scene: &Scene, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for side in &scene.sides {
        let mut time_ns = side.first_ns + MS;
        while time_ns < side.last_ns {
            records.push(segment(time_ns, (side.from, side.to), Flags::RST, random.random()));
            time_ns += 500 * MS;
        }
    }
    records
}

/// A RST and a SYN with any TSval, five times in each connection.
pub fn reopened(scene: &Scene, random: &mut Pcg64) -> Vec<Record> {
    let mut records = Vec::new();
    for side in &scene.sides {
        for part in 1..=5 {
            let time_ns = side.first_ns + (side.open_until_ns - side.first_ns) * part / 6;
            let ends = (side.from, side.to);
            records.push(segment(time_ns, ends, Flags::RST, 1));
            records.push(segment(time_ns + 1_000, ends, Flags::SYN, random.random()));
        }
    }
    records
}

/// Two segments in the middle of each connection, `ticks` ahead of the last one: an eavesdropper's.
pub fn ahead(scene: &Scene, ticks: u32) -> Vec<Record> {
    let mut forged = Vec::new();
    for segments in heard(scene) {
        let Record { time_ns, segment: heard, .. } = segments[segments.len() / 2];
        let ends = ((heard.src, heard.src_port), (heard.dst, heard.dst_port));
        for number in 0..2 {
            let tsval = heard.tsval.wrapping_add(ticks + number);
            forged.push(segment(time_ns + 1_000 + u64::from(number) * MS, ends, Flags::ACK, tsval));
        }
    }
    forged
}

/// A segment of another clock behind each segment: an eavesdropper's, who shifts the clock that it hears.
pub fn interleaved(scene: &Scene, random: &mut Pcg64) -> Vec<Record> {
    let mut forged = Vec::new();
    for segments in heard(scene) {
        let shift: u32 = random.random();
        for Record { time_ns, segment: heard, .. } in segments {
            let ends = ((heard.src, heard.src_port), (heard.dst, heard.dst_port));
            forged.push(segment(time_ns + 100_000, ends, Flags::ACK, heard.tsval.wrapping_add(shift)));
        }
    }
    forged
}

/// The victim's SYN-ACKs once more, after each connection, with six segments of one of eight other clocks:
/// whoever heard them, or is the client, opens connections that only the victim seems to take part in.
pub fn answered_again(scene: &Scene, random: &mut Pcg64) -> Vec<Record> {
    let offsets: Vec<u32> = (0..8).map(|_| random.random()).collect();
    let is_answer =
        |record: &&Record| record.segment.src == scene.victim && record.segment.flags.is_syn_ack();
    let mut forged = Vec::new();
    for (number, answer) in scene.records.iter().filter(is_answer).enumerate() {
        let ends = |record: &Record| (record.segment.src_port, record.segment.dst, record.segment.dst_port);
        let side = scene.sides.iter().find(|side| (side.from.1, side.to.0, side.to.1) == ends(answer));
        let Some(side) = side else { continue };
        let begin_ns = side.last_ns + 2 * S;
        let offset = offsets[number % offsets.len()];
        for part in 0..7 {
            let time_ns = begin_ns + part * 200 * MS;
            let mut again = *answer;
            again.time_ns = time_ns;
            again.segment.tsval = offset.wrapping_add((time_ns / MS) as u32);
            if part > 0 {
                again.segment.flags = Flags::ACK;
                again.segment.syn = None;
            }
            forged.push(again);
        }
    }
    forged
}

/// The segments of each of the victim's sides, but for handshakes and ends.
fn heard(scene: &Scene) -> Vec<Vec<Record>> {
    let mut places = HashMap::new();
    let mut sides: Vec<Vec<Record>> = Vec::new();
    for record in &scene.records {
        let segment = &record.segment;
        let is_plain = !segment.flags.intersects(Flags::SYN | Flags::FIN | Flags::RST);
        if segment.src == scene.victim && segment.is_stamped() && is_plain {
            let place =
                *places.entry((segment.dst, segment.src_port, segment.dst_port)).or_insert_with(|| {
                    sides.push(Vec::new());
                    sides.len() - 1
                });
            sides[place].push(*record);
        }
    }
    sides
}

/// A segment with these flags before each connection, within a minute. Every second one has TSval 0.
pub fn planted(scene: &Scene, flags: Flags, random: &mut Pcg64) -> Vec<Record> {
    let plant = |(number, side): (usize, &super::Side)| {
        let at_ns = side.first_ns.saturating_sub(random.random_range(MS..60 * S));
        let tsval = if number % 2 == 0 { random.random() } else { 0 };
        let mut record = segment(at_ns, (side.from, side.to), flags, tsval);
        record.segment.hop_limit = 240;
        record
    };
    scene.sides.iter().enumerate().map(plant).collect()
}

/// An acknowledgement in the middle of each connection, with any TSval.
pub fn acknowledgements(scene: &Scene, random: &mut Pcg64) -> Vec<Record> {
    let ack = |side: &super::Side| {
        let at_ns = side.first_ns.midpoint(side.open_until_ns);
        segment(at_ns, (side.from, side.to), Flags::ACK, random.random())
    };
    scene.sides.iter().map(ack).collect()
}
