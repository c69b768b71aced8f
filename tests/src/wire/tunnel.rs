//! Packets put into tunnels: what `tmap_common::tunnel` takes off again.

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, QuirkFields, Segment, Syn, tunnel::Kind};

use crate::wire::frame::{self, IP4, IP6, Ip4, Ip6, LINUX_SYN, documentation_ip6, udp};

/// What follows a link header: an EtherType and the bytes.
pub type Layer = (u16, Vec<u8>);

/// All encapsulations.
pub const KINDS: [Kind; 7] =
    [Kind::MPLS, Kind::PPPOE, Kind::IP, Kind::GRE, Kind::VXLAN, Kind::GENEVE, Kind::GTP_U];

/// A segment between two addresses of the same IP version; one in four is a SYN.
pub fn segment(rng: &mut Pcg64) -> Segment {
    let ip4 = |last| Address::from_ip4([192, 0, 2, last]);
    let ip6 = |last| Address::from_ip6(documentation_ip6(0, last));
    let (src, dst) = if rng.random() { (ip4(1), ip4(2)) } else { (ip6(1), ip6(2)) };
    let is_syn = rng.random_ratio(1, 4);
    // IPv6 has neither flags nor an identification.
    let quirk_fields = match src.as_ip4() {
        Some(_) => LINUX_SYN.quirk_fields,
        None => QuirkFields { fragment_flags: 0, id: 0, ..LINUX_SYN.quirk_fields },
    };
    let syn = Syn { quirk_fields, ..LINUX_SYN };
    Segment {
        src,
        dst,
        src_port: rng.random_range(1024..60_000),
        dst_port: 80,
        flags: if is_syn { Flags::SYN } else { Flags::ACK },
        has_payload: !is_syn && rng.random(),
        hop_limit: 57,
        tsval: rng.random(),
        tsecr: if is_syn { 0 } else { rng.random() },
        syn: is_syn.then_some(syn),
        ..Segment::default()
    }
}

/// Encapsulations that carry IP only, not frames or labels.
fn wants_ip(kind: Kind) -> bool {
    matches!(kind, Kind::MPLS | Kind::PPPOE | Kind::IP | Kind::GTP_U)
}

/// Puts `inside` into a tunnel of `kind` with this `id` (as far as the kind has one), over IP of
/// either version where it runs over IP; in one of the forms that the kind allows. `None` where it
/// can't carry that.
pub fn wrap(rng: &mut Pcg64, kind: Kind, id: u32, inside: &Layer) -> Option<Layer> {
    let (ethertype, bytes) = inside;
    if wants_ip(kind) && !matches!(*ethertype, IP4 | IP6) {
        return None;
    }
    Some(match kind {
        Kind::MPLS => (0x8847, mpls(rng, id, bytes)),
        Kind::PPPOE => (0x8864, pppoe(id, *ethertype, bytes)),
        Kind::IP => ip(rng, if *ethertype == IP4 { 4 } else { 41 }, bytes),
        Kind::GRE => {
            let header = gre(rng, id, inside);
            ip(rng, 47, &header)
        }
        _ => {
            let (port, payload) = over_udp(rng, kind, id, inside);
            // Ports that nobody claims: tshark goes by either.
            let datagram = udp(rng.random_range(61_000..65_000), port, &payload);
            ip(rng, 17, &datagram)
        }
    })
}

/// An Ethernet frame around a layer.
pub fn ethernet(layer: &Layer) -> Vec<u8> {
    let (ethertype, bytes) = layer;
    frame::ethernet(&[], *ethertype, bytes)
}

fn mpls(rng: &mut Pcg64, label: u32, bytes: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    for _ in 0..rng.random_range(0..3) {
        let above: u32 = rng.random_range(16..1 << 20);
        packet.extend((above << 12 | 64).to_be_bytes());
    }
    packet.extend((label << 12 | 1 << 8 | 64).to_be_bytes());
    packet.extend(bytes);
    packet
}

fn pppoe(session: u32, ethertype: u16, bytes: &[u8]) -> Vec<u8> {
    let protocol: u16 = if ethertype == IP4 { 0x0021 } else { 0x0057 };
    let length = bytes.len() as u16 + 2;
    let mut packet = vec![0x11, 0];
    packet.extend((session as u16).to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend(protocol.to_be_bytes());
    packet.extend(bytes);
    packet
}

/// The layer itself, or a whole frame around it: EtherType and bytes.
fn as_is_or_framed(rng: &mut Pcg64, inside: &Layer) -> Layer {
    if rng.random() { (0x6558, ethernet(inside)) } else { inside.clone() }
}

fn gre(rng: &mut Pcg64, key: u32, inside: &Layer) -> Vec<u8> {
    let (protocol, bytes) = as_is_or_framed(rng, inside);
    let (checksum, sequence): (bool, bool) = (rng.random(), rng.random());
    let flags = 0x20 | if checksum { 0x80 } else { 0 } | if sequence { 0x10 } else { 0 };
    let mut packet = vec![flags, 0];
    packet.extend(protocol.to_be_bytes());
    packet.extend(if checksum { &[0; 4][..] } else { &[] });
    packet.extend(key.to_be_bytes());
    packet.extend(if sequence { &[0, 0, 0, 9][..] } else { &[] });
    packet.extend(bytes);
    packet
}

fn over_udp(rng: &mut Pcg64, kind: Kind, id: u32, inside: &Layer) -> (u16, Vec<u8>) {
    match kind {
        Kind::VXLAN => {
            let header = [&[8, 0, 0, 0][..], &(id << 8).to_be_bytes()].concat();
            (4789, [header, ethernet(inside)].concat())
        }
        Kind::GENEVE => {
            let (protocol, bytes) = as_is_or_framed(rng, inside);
            // One option of four bytes of data, or none.
            let options: &[u8] = if rng.random() { &[] } else { &[0x01, 0x02, 0x03, 1, 9, 9, 9, 9] };
            let header =
                [&[options.len() as u8 / 4, 0][..], &protocol.to_be_bytes(), &(id << 8).to_be_bytes()];
            (6081, [&header.concat()[..], options, &bytes].concat())
        }
        _ => {
            let (_, bytes) = inside;
            // Nothing more, a sequence number, or that and a PDU session container.
            let more: &[u8] = match rng.random_range(0..3) {
                0 => &[],
                1 => &[0, 7, 0, 0],
                _ => &[0, 7, 0, 0x85, 1, 0x10, 0x05, 0],
            };
            let flags = [0x30, 0x32, 0x36][more.len().div_ceil(4)];
            let length = (more.len() + bytes.len()) as u16;
            let header = [&[flags, 0xff][..], &length.to_be_bytes(), &id.to_be_bytes(), more].concat();
            (2152, [header, bytes.clone()].concat())
        }
    }
}

/// IP of either version around a payload, the ends of the tunnel in 10.9.0.0/16 or 2001:db8:9::/48.
fn ip(rng: &mut Pcg64, protocol: u8, payload: &[u8]) -> Layer {
    let ends: [u8; 2] = [rng.random_range(1..9), rng.random_range(1..9)];
    if rng.random() {
        let [src, dst] = ends.map(|end| [10, 9, 0, end]);
        let header = Ip4 { id: 1, hop_limit: 60, protocol, src, dst, ..Ip4::default() };
        return (IP4, header.around(payload));
    }
    let [src, dst] = ends.map(|end| documentation_ip6(9, end));
    (IP6, Ip6 { next_header: protocol, hop_limit: 60, src, dst, ..Ip6::default() }.around(payload))
}
