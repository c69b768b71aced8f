//! Segments of the victim's own connections, from somebody who knows their addresses and ports but sees none
//! of what they carry.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, Record, Tunnel, tunnel::Kind};

use super::{MS, Scene, segment};

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
