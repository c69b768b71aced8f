//! Random Ethernet frames of every shape that the parser knows: whole, cut short, and damaged. The same
//! seed gives the same frames.

use rand::RngExt;
use rand_pcg::Pcg64;

use crate::wire::{
    frame::{IP4, IP6, Ip4, Ip6, Tcp, documentation_ip6, udp},
    tunnel::{self, Layer, Tag},
};

/// The longest frame that is made: `BPF_PROG_TEST_RUN` gives XDP one page, less headroom.
pub const MAX_BYTES: usize = 1500;

/// The shortest frame that `BPF_PROG_TEST_RUN` takes: an Ethernet header.
pub const MIN_BYTES: usize = 14;

/// The next frame: one in three whole, one cut short, one with a few bytes changed; now and then
/// both.
pub fn next(rng: &mut Pcg64) -> Vec<u8> {
    let mut frame = whole(rng);
    let damage = rng.random_range(0..12);
    if damage < 5 {
        // Near the end more often than not: most headers lie early.
        let keep = rng.random_range(MIN_BYTES..=frame.len());
        frame.truncate(keep);
    }
    if damage > 7 || damage == 0 {
        for _ in 0..rng.random_range(1..4) {
            // Past the MAC addresses, where every byte means something.
            let at = rng.random_range(12..frame.len().max(13)).min(frame.len() - 1);
            frame[at] =
                if rng.random_bool(0.5) { rng.random() } else { frame[at] ^ 1 << rng.random_range(0..8) };
        }
    }
    frame.resize(frame.len().clamp(MIN_BYTES, MAX_BYTES), 0);
    frame
}

/// A frame in which lengths agree, though its options need not make sense.
fn whole(rng: &mut Pcg64) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..12).map(|_| rng.random()).collect();
    // No tag more often than one, one more often than two, now and then too many.
    for _ in 0..pick(
        rng,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 20],
    ) {
        let tag: u16 = pick(rng, &[0x8100, 0x88a8, 0x9100]);
        frame.extend(tag.to_be_bytes());
        frame.extend(rng.random::<[u8; 2]>());
    }
    let is_ip4 = rng.random_bool(0.5);
    let other = rng.random_bool(0.03);
    let ethertype: u16 = match (other, is_ip4) {
        (true, _) => rng.random(),
        (false, true) => IP4,
        (false, false) => IP6,
    };
    frame.extend(ethertype.to_be_bytes());
    let tcp = tcp(rng);
    let ip = if is_ip4 { ip4(rng, &tcp) } else { ip6(rng, &tcp) };
    if !other && rng.random_bool(0.3) {
        let (ethertype, bytes) = tunnelled(rng, (ethertype, ip));
        let type_at = frame.len() - 2;
        frame[type_at..].copy_from_slice(&ethertype.to_be_bytes());
        frame.extend(bytes);
    } else {
        frame.extend(ip);
    }
    frame
}

/// The packet in one to three tunnels.
fn tunnelled(rng: &mut Pcg64, mut packet: Layer) -> Layer {
    for _ in 0..pick(rng, &[1, 1, 1, 2, 2, 3]) {
        let kind = pick(rng, &tunnel::KINDS);
        let id = rng.random_range(tunnel::ids(kind));
        packet = tunnel::wrap(rng, kind, id, &packet).unwrap_or(packet);
    }
    if rng.random_bool(0.2) {
        let tag = pick(rng, &Tag::ALL);
        packet = tag.wrap(rng, &packet);
    }
    if rng.random_bool(0.05) { unreadable(rng, &packet) } else { packet }
}

/// Something that tmap has no more than a name for.
fn unreadable(rng: &mut Pcg64, (ethertype, bytes): &Layer) -> Layer {
    let around = |protocol, payload: &[u8]| (IP4, Ip4 { protocol, ..Ip4::default() }.around(payload));
    let to_port = |port, header: &[u8]| around(17, &udp(4_000, port, &[header, bytes].concat()));
    match rng.random_range(0..8) {
        0 => around(50, bytes),
        1 => around(115, bytes),
        2 => to_port(4500, &[0, 0, 0, 9]),
        3 => to_port(1701, &[0, 3, 0, 0]),
        4 => to_port(5247, &[pick(rng, &[0, 1]), 2 << 3, 1, 0, 0, 0, 0, 0]),
        5 => (0x8864, [&[0x11, 0, 0, 7, 0, 60, 0, 0xfd][..], bytes].concat()),
        6 => (0x88e5, [&[0x0c, 0, 0, 0, 0, 1][..], &ethertype.to_be_bytes(), bytes].concat()),
        _ => (0x8864, [&[0x11, 0, 0, 7, 0, 60, 0xfd][..], bytes].concat()),
    }
}

fn ip4(rng: &mut Pcg64, payload: &[u8]) -> Vec<u8> {
    let words = if rng.random_bool(0.8) { 5 } else { rng.random_range(5..16) };
    let options: Vec<u8> = (20..words * 4).map(|_| rng.random()).collect();
    // Few enough hosts that filters find some and miss some.
    let mut host = || [10, rng.random_range(0..4), 0, rng.random_range(0..8)];
    let (src, dst) = (host(), host());
    let (mut protocol, mut authentication) = (protocol(rng), Vec::new());
    if rng.random_bool(0.05) {
        authentication = extension(rng, 51, protocol);
        protocol = 51;
    }
    let header = Ip4 {
        traffic_class: rng.random(),
        total_bytes: rng.random_bool(0.02).then_some(0),
        id: rng.random(),
        fragment: if rng.random_bool(0.05) { rng.random() } else { pick(rng, &[0, 0x4000, 0x2000]) },
        hop_limit: rng.random(),
        protocol,
        checksum: rng.random(),
        src,
        dst,
        options: &options,
    };
    header.around(&[&authentication, payload].concat())
}

fn protocol(rng: &mut Pcg64) -> u8 {
    if rng.random_bool(0.03) { rng.random() } else { 6 }
}

fn ip6(rng: &mut Pcg64, payload: &[u8]) -> Vec<u8> {
    let mut chain = Vec::new();
    let count = pick(rng, &[0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7]);
    let kinds: Vec<u8> = (0..count).map(|_| pick(rng, &[0, 43, 44, 51, 60])).collect();
    let last = protocol(rng);
    for (index, kind) in kinds.iter().enumerate() {
        let next = kinds.get(index + 1).copied().unwrap_or(last);
        chain.extend(extension(rng, *kind, next));
    }
    chain.extend(payload);
    let [src, dst] = [0, 1].map(|_| ip6_host(rng));
    let header = Ip6 {
        class_and_label: rng.random(),
        payload_bytes: rng.random_bool(0.02).then_some(0),
        next_header: kinds.first().copied().unwrap_or(last),
        hop_limit: rng.random(),
        src,
        dst,
    };
    header.around(&chain)
}

fn ip6_host(rng: &mut Pcg64) -> [u8; 16] {
    if rng.random_bool(0.02) {
        // An IPv4-mapped address has no business on the wire, but nothing keeps it off.
        return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, rng.random_range(0..8)];
    }
    documentation_ip6(rng.random_range(0..4), rng.random_range(0..8))
}

/// An extension header of `kind`, mostly empty inside.
fn extension(rng: &mut Pcg64, kind: u8, next: u8) -> Vec<u8> {
    match kind {
        44 => {
            // The first fragment, an atomic one, or a later one.
            let offset: u16 = pick(rng, &[0, 0, 1, 1, 8, 0x0ff9]);
            let [high, low] = offset.to_be_bytes();
            vec![next, rng.random(), high, low, 0, 0, 0, 1]
        }
        51 => {
            let words = rng.random_range(1..6);
            [vec![next, words], vec![0; usize::from(words) * 4 + 6]].concat()
        }
        _ => {
            let units = pick(rng, &[0, 0, 0, 1, 2, 20]);
            [vec![next, units], vec![0; usize::from(units) * 8 + 6]].concat()
        }
    }
}

fn tcp(rng: &mut Pcg64) -> Vec<u8> {
    let mut options = match rng.random_range(0..10) {
        0..3 => recommended(rng),
        3 => linux_syn(rng),
        _ => options(rng),
    };
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), pick(rng, &[0, 1]));
    let any = rng.random();
    let header = Tcp {
        src_port: pick(rng, &PORTS),
        dst_port: pick(rng, &PORTS),
        sequence: rng.random(),
        acknowledgement: rng.random(),
        header_words: rng.random_bool(0.03).then(|| rng.random_range(0..16)),
        reserved: rng.random_range(0..16),
        flags: pick(rng, &[0x02, 0x12, 0x10, 0x18, 0x11, 0x04, any]),
        window: rng.random(),
        checksum: rng.random(),
        urgent: rng.random(),
        options: &options,
    };
    let payload: Vec<u8> = (0..pick(rng, &[0, 0, 1, 40])).map(|_| rng.random()).collect();
    header.around(&payload)
}

const PORTS: [u16; 6] = [22, 80, 443, 1024, 40_000, 65_535];

/// The layout of RFC 7323, appendix A, at times with SACK behind.
fn recommended(rng: &mut Pcg64) -> Vec<u8> {
    let bytes = [&[1, 1, 8, 10], &rng.random::<[u8; 8]>()[..]].concat();
    match rng.random_range(0..12) {
        blocks @ 1..=3 => [bytes, vec![1, 1, 5, 2 + 8 * blocks], vec![7; 8 * usize::from(blocks)]].concat(),
        _ => bytes,
    }
}

/// What Linux's SYN has, at times a little damaged.
fn linux_syn(rng: &mut Pcg64) -> Vec<u8> {
    let stamps = rng.random::<[u8; 8]>();
    let mut bytes = [&[2, 4, 5, 180, 4, 2, 8, 10], &stamps[..], &[1, 3, 3, rng.random_range(0..15)]].concat();
    if rng.random_bool(0.2) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    bytes
}

/// Options of any kind, in any order, some of them wrong.
fn options(rng: &mut Pcg64) -> Vec<u8> {
    if rng.random_bool(0.02) {
        return vec![1; rng.random_range(16..=40)];
    }
    let mut bytes = Vec::new();
    for _ in 0..pick(rng, &[0, 1, 2, 3, 4, 5, 6, 8, 12, 40]) {
        match rng.random_range(0..16) {
            0..=4 => bytes.push(1),
            5..=7 => bytes.extend([&[8, 10], &rng.random::<[u8; 8]>()[..]].concat()),
            8 => bytes.extend([2, 4, rng.random(), rng.random()]),
            9 => bytes.extend([3, 3, rng.random_range(0..15)]),
            10 => bytes.extend([4, 2]),
            11 => bytes.extend([&[5, 10], &[0; 8][..]].concat()),
            12 => bytes.extend([rng.random_range(9..=255), 2 + rng.random_range(0..3), 0, 0, 0]),
            13 => bytes.extend([rng.random_range(2..=8), rng.random_range(0..12)]),
            14 => bytes.extend([8, rng.random_range(0..14), 0, 0, 0, 0, 0, 0]),
            _ => bytes.push(pick(rng, &[0, 1, 1, 1])),
        }
    }
    bytes
}

fn pick<T: Copy>(rng: &mut Pcg64, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}
