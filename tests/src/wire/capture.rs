//! Capture files made by the tests themselves: pcap and pcapng around frames.

use tmap_common::{Link, Record};

use crate::wire::frame::frame;

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

/// Records in the plainest capture: classic, Ethernet, little-endian, stamps in nanoseconds.
pub fn plain(records: &[Record]) -> Vec<u8> {
    pcap(&packets(records, Link::Ethernet), 1, Order::Little, true)
}

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

/// A classic capture of which no frame has more than `snap_bytes` bytes.
pub fn snapped(packets: &[Packet], link_type: u16, order: Order, snap_bytes: usize) -> Vec<u8> {
    let mut file = pcap(&[], link_type, order, true);
    for packet in packets {
        let captured = &packet.bytes[..packet.bytes.len().min(snap_bytes)];
        file.extend(order.u32((packet.time_ns / 1_000_000_000) as u32));
        file.extend(order.u32((packet.time_ns % 1_000_000_000) as u32));
        file.extend(order.u32(captured.len() as u32));
        file.extend(order.u32(packet.bytes.len() as u32));
        file.extend(captured);
    }
    file
}

/// A capture in the modified format of Alexey Kuznetsov's patch of libpcap: microseconds, and eight more
/// bytes before each packet (interface, protocol, kind of packet).
pub fn modified(packets: &[Packet], link_type: u16, order: Order) -> Vec<u8> {
    let mut file = pcap(&[], link_type, order, false);
    file[..4].copy_from_slice(&order.u32(0xa1b2_cd34));
    for packet in packets {
        let length = order.u32(packet.bytes.len() as u32);
        file.extend(order.u32((packet.time_ns / 1_000_000_000) as u32));
        file.extend(order.u32((packet.time_ns % 1_000_000_000 / 1_000) as u32));
        file.extend(length);
        file.extend(length);
        file.extend([&order.u32(2)[..], &order.u16(0x0800), &[0, 0]].concat());
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
        self.packet_with(interface, stamp, bytes, &[]);
    }

    /// A packet before which others were dropped, as an option tells.
    pub fn packet_after_dropped(&mut self, interface: u32, stamp: u64, bytes: &[u8], dropped: u64) {
        let order = self.order;
        let mut options = [order.u16(4), order.u16(8)].concat();
        options.extend(order.u64(dropped));
        options.extend([0; 4]);
        self.packet_with(interface, stamp, bytes, &options);
    }

    fn packet_with(&mut self, interface: u32, stamp: u64, bytes: &[u8], options: &[u8]) {
        let order = self.order;
        let mut body = order.u32(interface).to_vec();
        body.extend(order.u32((stamp >> 32) as u32));
        body.extend(order.u32(stamp as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body);
    }

    /// A packet in the block of before 2009, before which others were dropped.
    pub fn obsolete_packet(&mut self, interface: u16, stamp: u64, bytes: &[u8], dropped: u16) {
        let order = self.order;
        let mut body = order.u16(interface).to_vec();
        body.extend(order.u16(dropped));
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

    /// Statistics of an interface: codes of options, and the packets that they count.
    pub fn statistics(&mut self, interface: u32, counts: &[(u16, u64)]) {
        let order = self.order;
        let mut body = order.u32(interface).to_vec();
        body.extend([0; 8]);
        for &(code, packets) in counts {
            body.extend(order.u16(code));
            body.extend(order.u16(8));
            body.extend(order.u64(packets));
        }
        body.extend([0; 4]);
        self.block(5, &body);
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

/// Ethernet packets in every format that isn't packed: classic captures (microseconds, nanoseconds, modified)
/// and pcapng with every kind of packet block, in both byte orders.
pub fn in_every_format(packets: &[Packet]) -> Vec<Vec<u8>> {
    let blocks = |order| {
        let mut capture = PcapNg::new(order);
        capture.interface(1, 9, 0);
        capture.interface(113, 0x80 | 20, -5);
        for (index, packet) in packets.iter().enumerate() {
            match index % 4 {
                0 => capture.obsolete_packet(1, packet.time_ns >> 10, &packet.bytes, 0),
                1 => capture.simple_packet(&packet.bytes),
                _ => capture.packet(index as u32 % 2, packet.time_ns, &packet.bytes),
            }
        }
        capture.into_bytes()
    };
    vec![
        pcap(packets, 1, Order::Little, true),
        pcap(packets, 1, Order::Big, false),
        modified(packets, 1, Order::Big),
        blocks(Order::Little),
        blocks(Order::Big),
    ]
}
