//! Packets put into tunnels: what `tmap_common::tunnel` takes off again.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand_pcg::Pcg64;
use tmap_common::{Address, Flags, QuirkFields, Segment, Syn, tunnel::Kind};

use crate::wire::frame::{self, IP4, IP6, Ip4, Ip6, LINUX_SYN, documentation_ip6, udp};

/// What follows a link header: an EtherType and the bytes.
pub type Layer = (u16, Vec<u8>);

/// All encapsulations.
pub const KINDS: [Kind; 17] = [
    Kind::MPLS,
    Kind::PPPOE,
    Kind::IP,
    Kind::GRE,
    Kind::VXLAN,
    Kind::GENEVE,
    Kind::GTP_U,
    Kind::ERSPAN,
    Kind::VXLAN_GPE,
    Kind::NSH,
    Kind::TEREDO,
    Kind::PPTP,
    Kind::L2TP,
    Kind::PBB,
    Kind::FABRICPATH,
    Kind::TRILL,
    Kind::CAPWAP,
];

/// The encapsulations below IP, whose ends have no IP addresses.
pub const BELOW_IP: [Kind; 6] =
    [Kind::MPLS, Kind::PPPOE, Kind::NSH, Kind::PBB, Kind::FABRICPATH, Kind::TRILL];

/// The identifiers that `kind` can have.
pub fn ids(kind: Kind) -> RangeInclusive<u32> {
    match kind {
        Kind::IP | Kind::TEREDO | Kind::FABRICPATH | Kind::TRILL | Kind::CAPWAP => 0..=0,
        Kind::ERSPAN => 0..=0x3ff,
        Kind::PPPOE | Kind::PPTP => 1..=0xffff,
        Kind::MPLS => 16..=0xf_ffff,
        Kind::VXLAN | Kind::GENEVE | Kind::VXLAN_GPE | Kind::NSH | Kind::PBB => 0..=0xff_ffff,
        _ => 0..=u32::MAX,
    }
}

/// A tag between addresses and EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// IEEE 802.1Q.
    Vlan,
    /// IEEE 802.1BR.
    E,
    /// Cisco's and VMware's forerunner of that.
    Vn,
    /// Cisco metadata with a security group tag.
    Group,
    /// IEC 62439-3.
    Hsr,
    /// MACsec that isn't encrypted (IEEE 802.1AE), with and without the port's identifier.
    Macsec,
    /// LLC and SNAP behind a length (RFC 1042).
    Snap,
}

impl Tag {
    /// All tags.
    pub const ALL: [Self; 7] =
        [Self::Vlan, Self::E, Self::Vn, Self::Group, Self::Hsr, Self::Macsec, Self::Snap];

    /// Puts the tag before `inside`.
    pub fn wrap(self, rng: &mut Pcg64, (ethertype, bytes): &Layer) -> Layer {
        let (own, header): (u16, Vec<u8>) = match self {
            Self::Vlan => ([0x8100, 0x88a8, 0x9100][rng.random_range(0..3)], vec![0x20, 7]),
            Self::E => (0x893f, vec![0, 0, 0x10, 7, 0, 0]),
            Self::Vn => (0x8926, vec![0, 1, 0, 2]),
            Self::Group => (0x8909, vec![1, 1, 0, 1, 0, rng.random_range(2..255)]),
            Self::Hsr => (0x892f, vec![0, 60, 0, 9]),
            Self::Macsec if rng.random() => (0x88e5, vec![0, 0, 0, 0, 0, 1]),
            Self::Macsec => (0x88e5, vec![0x20, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 1]),
            Self::Snap => (bytes.len() as u16 + 8, vec![0xaa, 0xaa, 3, 0, 0, 0]),
        };
        let trailer: &[u8] = if self == Self::Macsec { &[0x5a; 16] } else { &[] };
        (own, [&header, &ethertype.to_be_bytes()[..], bytes, trailer].concat())
    }
}

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
    let segment = Segment {
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
    };
    Segment { payload_bytes: segment.has_payload.into(), ..segment }
}

/// Encapsulations that carry IP only, not frames or labels.
fn wants_ip(kind: Kind) -> bool {
    matches!(kind, Kind::PPPOE | Kind::IP | Kind::GTP_U | Kind::TEREDO | Kind::PPTP | Kind::L2TP)
}

/// Puts `inside` into a tunnel of `kind` with this `id` (as far as the kind has one), over IP of
/// either version where it runs over IP; in one of the forms that the kind allows. `None` where it
/// can't carry that.
pub fn wrap(rng: &mut Pcg64, kind: Kind, id: u32, inside: &Layer) -> Option<Layer> {
    let (ethertype, bytes) = inside;
    if wants_ip(kind) && !matches!(*ethertype, IP4 | IP6) || kind == Kind::TEREDO && *ethertype != IP6 {
        return None;
    }
    Some(match kind {
        Kind::MPLS => {
            let packet = mpls(rng, id, inside);
            match rng.random_range(0..4) {
                // RFC 4023, RFC 7510.
                0 => ip(rng, 137, &packet),
                1 => ip_with_udp(rng, 6635, &packet),
                _ => (0x8847, packet),
            }
        }
        Kind::PPPOE => (0x8864, pppoe(rng, id, *ethertype, bytes)),
        Kind::NSH => (0x894f, nsh(rng, id, inside)),
        // tshark doesn't know of frames with a length in here.
        Kind::PBB => (0x88e7, [&(0x2000_0000 | id).to_be_bytes()[..], &ethernet(inside)].concat()),
        // tshark takes the last four bytes for a check sequence.
        Kind::FABRICPATH => (0x8903, [&[0x00, 0x60][..], &framed(rng, inside), &[0xfc; 4]].concat()),
        Kind::TRILL => {
            let options = rng.random_range(0..2_u16);
            let first = (options << 6 | 20).to_be_bytes();
            let header = [&first[..], &[0, 1, 0, 2], &vec![0; usize::from(options) * 4]].concat();
            (0x22f3, [header, framed(rng, inside)].concat())
        }
        Kind::IP => ip(rng, if *ethertype == IP4 { 4 } else { 41 }, bytes),
        Kind::GRE => {
            let packet = gre(rng, id, inside);
            if rng.random_ratio(1, 4) { ip_with_udp(rng, 4754, &packet) } else { ip(rng, 47, &packet) }
        }
        Kind::ERSPAN => {
            let packet = erspan(rng, id, inside);
            ip(rng, 47, &packet)
        }
        Kind::PPTP => {
            let packet = pptp(rng, id, inside);
            ip(rng, 47, &packet)
        }
        _ => {
            let (port, payload) = over_udp(rng, kind, id, inside);
            ip_with_udp(rng, port, &payload)
        }
    })
}

/// A datagram to `port`.
fn ip_with_udp(rng: &mut Pcg64, port: u16, payload: &[u8]) -> Layer {
    // Ports that nobody claims: tshark goes by either.
    let datagram = udp(rng.random_range(61_000..65_000), port, payload);
    ip(rng, 17, &datagram)
}

/// A frame around a layer, at times with a tag.
fn framed(rng: &mut Pcg64, inside: &Layer) -> Vec<u8> {
    if rng.random_ratio(3, 4) {
        return ethernet(inside);
    }
    let tag = Tag::ALL[rng.random_range(0..Tag::ALL.len())];
    ethernet(&tag.wrap(rng, inside))
}

/// An Ethernet frame around a layer.
pub fn ethernet(layer: &Layer) -> Vec<u8> {
    let (ethertype, bytes) = layer;
    frame::ethernet(&[], *ethertype, bytes)
}

fn mpls(rng: &mut Pcg64, label: u32, inside: &Layer) -> Vec<u8> {
    let (ethertype, bytes) = inside;
    let mut packet = Vec::new();
    for _ in 0..rng.random_range(0..3) {
        let above: u32 = rng.random_range(16..1 << 20);
        packet.extend((above << 12 | 64).to_be_bytes());
    }
    packet.extend((label << 12 | 1 << 8 | 64).to_be_bytes());
    if matches!(*ethertype, IP4 | IP6) && rng.random_ratio(3, 4) {
        packet.extend(bytes);
    } else {
        // A pseudowire. tmap sees a control word by what follows it, tshark the lack of one by known makers.
        let is_known = matches!(*ethertype, IP4 | IP6 | 0x8100 | 0x88a8 | 0x9100);
        if is_known && rng.random() {
            packet.extend([0, 0, 0, 0, 0x52, 0x54, 0xbe, 0xef, 0x12, 0x34, 2, 0, 0, 0, 0, 2]);
        } else {
            packet.extend([0, 0, 0x0c, 0x11, 0x22, 0x33, 0, 0, 0x0c, 0x44, 0x55, 0x66]);
        }
        packet.extend(&ethernet(inside)[12..]);
    }
    packet
}

/// The protocol of PPP, in one byte or two, and the packet.
fn ppp(rng: &mut Pcg64, ethertype: u16, bytes: &[u8]) -> Vec<u8> {
    let protocol = if ethertype == IP4 { 0x21 } else { 0x57 };
    let short: bool = rng.random();
    [if short { &[][..] } else { &[0] }, &[protocol], bytes].concat()
}

/// PPP's protocol and the packet, at times behind address and control.
fn ppp_framed(rng: &mut Pcg64, (ethertype, bytes): &Layer) -> Vec<u8> {
    let framing: &[u8] = if rng.random() { &[0xff, 3] } else { &[] };
    [framing, &ppp(rng, *ethertype, bytes)].concat()
}

fn pppoe(rng: &mut Pcg64, session: u32, ethertype: u16, bytes: &[u8]) -> Vec<u8> {
    let payload = ppp(rng, ethertype, bytes);
    let mut packet = vec![0x11, 0];
    packet.extend((session as u16).to_be_bytes());
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend(payload);
    packet
}

/// The number that NSH and VXLAN-GPE have for a layer, and its bytes: as it is or in a frame.
fn numbered(rng: &mut Pcg64, inside: &Layer) -> (u8, Vec<u8>) {
    let number = match inside.0 {
        IP4 => 1,
        IP6 => 2,
        0x894f => 4,
        _ => 3,
    };
    if number == 3 || rng.random() { (3, framed(rng, inside)) } else { (number, inside.1.clone()) }
}

fn nsh(rng: &mut Pcg64, path: u32, inside: &Layer) -> Vec<u8> {
    let (number, bytes) = numbered(rng, inside);
    // Metadata of a fixed length, or of none (RFC 8300).
    let (kind, words) = if rng.random() { (1, 6) } else { (2, 2) };
    let mut packet = vec![0x0f, 0xc0 | words, kind, number];
    packet.extend((path << 8 | 255).to_be_bytes());
    packet.resize(usize::from(words) * 4, 0);
    packet.extend(bytes);
    packet
}

fn erspan(rng: &mut Pcg64, session: u32, inside: &Layer) -> Vec<u8> {
    let frame = framed(rng, inside);
    let mut packet = vec![0x10, 0];
    let version: u32 = rng.random_range(1..3);
    packet.extend(if version == 1 { [0x88, 0xbe] } else { [0x22, 0xeb] });
    packet.extend([0, 0, 0, 1]);
    packet.extend((version << 28 | 1 << 16 | session).to_be_bytes());
    match (version, rng.random::<bool>()) {
        (1, _) => packet.extend([0; 4]),
        (_, false) => packet.extend([0; 8]),
        // With a platform's header behind.
        (_, true) => packet.extend([0, 0, 0, 0, 0, 0, 0, 1, 0x0c, 0, 0, 0, 0, 0, 0, 0]),
    }
    packet.extend(frame);
    packet
}

fn pptp(rng: &mut Pcg64, call: u32, inside: &Layer) -> Vec<u8> {
    let payload = ppp_framed(rng, inside);
    let acknowledges: bool = rng.random();
    let mut packet = vec![0x30, if acknowledges { 0x81 } else { 0x01 }, 0x88, 0x0b];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend((call as u16).to_be_bytes());
    packet.extend([0, 0, 0, 1]);
    packet.extend(if acknowledges { &[0; 4][..] } else { &[] });
    packet.extend(payload);
    packet
}

fn l2tp(rng: &mut Pcg64, id: u32, inside: &Layer) -> Vec<u8> {
    let payload = ppp_framed(rng, inside);
    let (length, sequence, offset): (bool, bool, bool) = (rng.random(), rng.random(), rng.random());
    let bits = [(length, 0x40), (sequence, 0x08), (offset, 0x02)];
    let mut packet = vec![bits.iter().map(|(is_set, bit)| u8::from(*is_set) * bit).sum(), 2];
    if length {
        let more = 4 * usize::from(sequence) + 4 * usize::from(offset);
        packet.extend((payload.len() as u16 + 8 + more as u16).to_be_bytes());
    }
    packet.extend(id.to_be_bytes());
    packet.extend(if sequence { &[0, 1, 0, 1][..] } else { &[] });
    packet.extend(if offset { &[0, 2, 0, 0][..] } else { &[] });
    packet.extend(payload);
    packet
}

/// The layer itself, or a whole frame around it: EtherType and bytes.
fn as_is_or_framed(rng: &mut Pcg64, inside: &Layer) -> Layer {
    if rng.random() { (0x6558, framed(rng, inside)) } else { inside.clone() }
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
            (4789, [header, framed(rng, inside)].concat())
        }
        Kind::VXLAN_GPE => {
            let (number, bytes) = numbered(rng, inside);
            let header = [&[0x0c, 0, 0, number][..], &(id << 8).to_be_bytes()].concat();
            (4790, [header, bytes].concat())
        }
        Kind::TEREDO => {
            let authentication = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
            let origin = [0, 0, 0x12, 0x34, 0xf3, 0xff, 0xff, 0xfe];
            let mut parts = Vec::new();
            parts.extend(if rng.random() { &authentication[..] } else { &[] });
            parts.extend(if rng.random() { &origin[..] } else { &[] });
            (3544, [&parts, &inside.1[..]].concat())
        }
        Kind::L2TP => (1701, l2tp(rng, id, inside)),
        Kind::CAPWAP => {
            // Two words, or three with the radio's address.
            let header: &[u8] = if rng.random() {
                &[0, 2 << 3, 0, 0, 0, 0, 0, 0]
            } else {
                &[0, 4 << 3, 0, 0x10, 0, 0, 0, 0, 6, 2, 0, 0, 0, 0, 1, 0]
            };
            (5247, [header, &framed(rng, inside)].concat())
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
