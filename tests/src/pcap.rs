//! Captures made by the tests themselves: frames from segments, pcap and pcapng around them.

use tmap_common::{
    Link, QuirkFields, Record, Segment,
    tcp::{Syn, kind},
};

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Unix time in nanoseconds.
    pub time_ns: u64,
    /// The bytes on the wire.
    pub bytes: Vec<u8>,
}

/// The byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As x86 writes it.
    Little,
    /// As SPARC wrote it.
    Big,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// Link types by their registered numbers, with what they begin with.
pub const LINK_TYPES: [(u16, Link); 9] = [
    (0, Link::BsdLoopback),
    (1, Link::Ethernet),
    (12, Link::Ip),
    (101, Link::Ip),
    (108, Link::BsdLoopback),
    (113, Link::LinuxCooked),
    (228, Link::Ip),
    (229, Link::Ip),
    (276, Link::LinuxCooked2),
];

/// Records as packets.
pub fn packets(records: &[Record], link: Link) -> Vec<Packet> {
    let packet = |record: &Record| Packet { time_ns: record.time_ns, bytes: frame(&record.segment, link) };
    records.iter().map(packet).collect()
}

/// The frame that carries a segment, with a byte of payload if there is to be any. Checksums are zero: nobody looks at them.
pub fn frame(segment: &Segment, link: Link) -> Vec<u8> {
    let tcp = tcp(segment);
    let (ethertype, family, ip) = match (segment.src.as_ip4(), segment.dst.as_ip4()) {
        (Some(src), Some(dst)) => (0x0800u16, 2, ip4(segment, src, dst, &tcp)),
        _ => (0x86dd, 10, ip6(segment, &tcp)),
    };
    let mut bytes = match link {
        Link::Ethernet => [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &ethertype.to_be_bytes()[..]].concat(),
        Link::Ip => Vec::new(),
        Link::LinuxCooked => [&[0; 14], &ethertype.to_be_bytes()[..]].concat(),
        Link::LinuxCooked2 => [&ethertype.to_be_bytes()[..], &[0; 18]].concat(),
        Link::BsdLoopback => vec![family, 0, 0, 0],
    };
    bytes.extend(ip);
    bytes
}

fn ip4(segment: &Segment, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let quirk_fields = segment.syn.map_or(LINUX_SYN.quirk_fields, |syn| syn.quirk_fields);
    let total = (20 + payload.len() as u16).to_be_bytes();
    let QuirkFields { traffic_class, id, fragment_flags, .. } = quirk_fields;
    let mut bytes = vec![0x45, traffic_class, total[0], total[1], 0, id];
    bytes.extend([fragment_flags, 0, segment.hop_limit, 6, 0, 0]);
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(payload);
    bytes
}

fn ip6(segment: &Segment, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], 6, segment.hop_limit];
    bytes.extend(segment.src.octets());
    bytes.extend(segment.dst.octets());
    bytes.extend(payload);
    bytes
}

fn tcp(segment: &Segment) -> Vec<u8> {
    let options = options(segment);
    let window = segment.syn.map_or(501, |syn| syn.window);
    let words = (5 + options.len() / 4) as u8;
    let mut bytes = Vec::new();
    bytes.extend(segment.src_port.to_be_bytes());
    bytes.extend(segment.dst_port.to_be_bytes());
    let (sequence, acknowledgement) =
        segment.syn.map_or((1, 1), |syn| (syn.quirk_fields.sequence, syn.quirk_fields.acknowledgement));
    bytes.extend([0, 0, 0, sequence, 0, 0, 0, acknowledgement]);
    bytes.extend([words << 4, segment.flags.0]);
    bytes.extend(window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    if segment.has_payload {
        bytes.push(b'.');
    }
    bytes
}

/// The options: of a handshake in the order that the record tells, else padding and Timestamps.
fn options(segment: &Segment) -> Vec<u8> {
    let timestamps = [&[8, 10], &segment.tsval.to_be_bytes()[..], &segment.tsecr.to_be_bytes()[..]].concat();
    let Some(syn) = segment.syn else { return [&[1, 1], &timestamps[..]].concat() };
    let mut bytes = Vec::new();
    for shift in (0..u64::BITS).step_by(4) {
        let code = (syn.option_order >> shift & 0xf) as u8;
        match code {
            kind::NOP => bytes.push(kind::NOP),
            kind::MSS => {
                bytes.extend([kind::MSS, 4]);
                bytes.extend(syn.mss.to_be_bytes());
            }
            kind::WINDOW_SCALE => bytes.extend([kind::WINDOW_SCALE, 3, syn.window_scale]),
            kind::SACK_PERMITTED => bytes.extend([kind::SACK_PERMITTED, 2]),
            kind::TIMESTAMPS => bytes.extend(&timestamps),
            _ => {}
        }
    }
    assert!(bytes.len().is_multiple_of(4), "options must fill words");
    bytes
}

/// The handshake's fingerprint of a usual Linux client, as a record tells it.
pub const LINUX_SYN: Syn = Syn {
    window: 64_240,
    mss: 1_460,
    window_scale: 7,
    option_order: 0x3_1842,
    other_kind: 0,
    quirk_fields: QuirkFields {
        traffic_class: 0,
        fragment_flags: 0x40,
        id: 1,
        flow_label: 0,
        sequence: 1,
        acknowledgement: 0,
        urgent: 0,
        trailing: 0,
        eol_padding: 0,
        tcp_header_bytes: 40,
        ip_options_bytes: 0,
    },
};

/// A classic capture; stamps in microseconds, or in nanoseconds.
pub fn pcap(packets: &[Packet], link_type: u16, order: Order, nanoseconds: bool) -> Vec<u8> {
    let (magic, unit_ns) = if nanoseconds { (0xa1b2_3c4d, 1) } else { (0xa1b2_c3d4, 1_000) };
    let mut file = Vec::new();
    file.extend(order.u32(magic));
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    file.extend([0; 8]);
    file.extend(order.u32(262_144));
    file.extend(order.u32(link_type.into()));
    for packet in packets {
        let length = order.u32(packet.bytes.len() as u32);
        file.extend(order.u32((packet.time_ns / 1_000_000_000) as u32));
        file.extend(order.u32((packet.time_ns % 1_000_000_000 / unit_ns) as u32));
        file.extend(length);
        file.extend(length);
        file.extend(&packet.bytes);
    }
    file
}

/// A pcapng capture under way.
#[derive(Debug)]
pub struct PcapNg {
    order: Order,
    file: Vec<u8>,
}

impl PcapNg {
    /// Begins with a section header.
    pub fn new(order: Order) -> Self {
        let mut capture = Self { order, file: Vec::new() };
        capture.section(order);
        capture
    }

    /// Begins another section, perhaps in another byte order.
    pub fn section(&mut self, order: Order) {
        self.order = order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0a0d_0d0a, &body);
    }

    /// Describes the next interface; `resolution` as if_tsresol has it.
    pub fn interface(&mut self, link_type: u16, resolution: u8, offset_s: i64) {
        let order = self.order;
        let mut body = order.u16(link_type).to_vec();
        body.extend(order.u16(0));
        body.extend(order.u32(0));
        body.extend(order.u16(9));
        body.extend(order.u16(1));
        body.extend([resolution, 0, 0, 0]);
        body.extend(order.u16(14));
        body.extend(order.u16(8));
        body.extend(order.u64(offset_s as u64));
        body.extend([0; 4]);
        self.block(1, &body);
    }

    /// A packet of an interface; the stamp is in the interface's units.
    pub fn packet(&mut self, interface: u32, stamp: u64, bytes: &[u8]) {
        let order = self.order;
        let mut body = order.u32(interface).to_vec();
        body.extend(order.u32((stamp >> 32) as u32));
        body.extend(order.u32(stamp as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(bytes);
        self.block(6, &body);
    }

    /// A packet in the block of before 2009.
    pub fn obsolete_packet(&mut self, interface: u16, stamp: u64, bytes: &[u8]) {
        let order = self.order;
        let mut body = order.u16(interface).to_vec();
        body.extend(order.u16(0));
        body.extend(order.u32((stamp >> 32) as u32));
        body.extend(order.u32(stamp as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(bytes);
        self.block(2, &body);
    }

    /// A packet without a time.
    pub fn simple_packet(&mut self, bytes: &[u8]) {
        let body = [&self.order.u32(bytes.len() as u32), bytes].concat();
        self.block(3, &body);
    }

    /// Any block: type, length, body padded to words, length.
    pub fn block(&mut self, block_type: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = self.order.u32(padded as u32 + 12);
        self.file.extend(self.order.u32(block_type));
        self.file.extend(length);
        self.file.extend(body);
        self.file.resize(self.file.len() + padded - body.len(), 0);
        self.file.extend(length);
    }

    /// The capture.
    pub fn into_bytes(self) -> Vec<u8> {
        self.file
    }
}

/// Packets of one interface as a pcapng capture with nanosecond stamps.
pub fn pcapng(packets: &[Packet], link_type: u16, order: Order) -> Vec<u8> {
    let mut capture = PcapNg::new(order);
    capture.interface(link_type, 9, 0);
    for packet in packets {
        capture.packet(0, packet.time_ns, &packet.bytes);
    }
    capture.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Address, Flags, parse};

    #[test]
    fn frames_parse_back_to_their_segments() {
        let plain = Segment {
            src: Address::from_ip4([192, 0, 2, 1]),
            dst: Address::from_ip4([198, 51, 100, 1]),
            src_port: 40_000,
            dst_port: 25,
            flags: Flags::ACK,
            has_payload: false,
            hop_limit: 57,
            tsval: 0x0102_0304,
            tsecr: 7,
            syn: None,
            tunnel: None,
        };
        let six = Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let segments = [
            plain,
            Segment { src: six, dst: six, has_payload: true, ..plain },
            Segment { has_payload: true, ..plain },
            Segment { flags: Flags::SYN, syn: Some(LINUX_SYN), ..plain },
        ];
        for (link_type, link) in LINK_TYPES {
            for segment in &segments {
                assert_eq!(
                    parse(&frame(segment, link)[..], link, true),
                    Ok(*segment),
                    "link type {link_type}"
                );
            }
        }
    }
}
