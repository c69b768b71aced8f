//! Frame builder: headers from their fields, and whole frames around a segment. Checksums are zero
//! unless given: tmap reads none.

use tmap_common::{
    Link, QuirkFields, Segment,
    tcp::{Syn, kind},
};

/// EtherType of IPv4.
pub const IP4: u16 = 0x0800;

/// EtherType of IPv6.
pub const IP6: u16 = 0x86dd;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;

/// An Ethernet frame. `tags` holds the bytes of its VLAN tags.
pub fn ethernet(tags: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], tags, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 header.
#[derive(Clone, Copy, Debug)]
pub struct Ip4<'a> {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The total length, where it isn't the true one.
    pub total_bytes: Option<u16>,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// TTL.
    pub hop_limit: u8,
    /// What the payload is.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: u16,
    /// Sender.
    pub src: [u8; 4],
    /// Receiver.
    pub dst: [u8; 4],
    /// Options: whole words, ten at most.
    pub options: &'a [u8],
}

impl Default for Ip4<'_> {
    fn default() -> Self {
        Self {
            traffic_class: 0,
            total_bytes: None,
            id: 0,
            fragment: 0,
            hop_limit: 64,
            protocol: TCP,
            checksum: 0,
            src: [192, 0, 2, 1],
            dst: [192, 0, 2, 2],
            options: &[],
        }
    }
}

impl Ip4<'_> {
    /// The packet.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_bytes = 20 + self.options.len();
        let total_bytes = self.total_bytes.unwrap_or((header_bytes + payload.len()) as u16);
        let mut packet = vec![0x40 | (header_bytes / 4) as u8, self.traffic_class];
        for field in [total_bytes, self.id, self.fragment] {
            packet.extend(field.to_be_bytes());
        }
        packet.extend([self.hop_limit, self.protocol]);
        packet.extend(self.checksum.to_be_bytes());
        [&packet, &self.src[..], &self.dst, self.options, payload].concat()
    }
}

/// An IPv6 header. Extension headers are a part of the payload.
#[derive(Clone, Copy, Debug)]
pub struct Ip6 {
    /// DSCP and ECN in the upper 8 of 28 bits, the flow label in the lower 20.
    pub class_and_label: u32,
    /// The payload length, where it isn't the true one.
    pub payload_bytes: Option<u16>,
    /// What the payload is, or its first extension header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Sender.
    pub src: [u8; 16],
    /// Receiver.
    pub dst: [u8; 16],
}

impl Default for Ip6 {
    fn default() -> Self {
        let [src, dst] = [1, 2].map(|host| documentation_ip6(0, host));
        Self { class_and_label: 0, payload_bytes: None, next_header: TCP, hop_limit: 64, src, dst }
    }
}

impl Ip6 {
    /// The packet.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let payload_bytes = self.payload_bytes.unwrap_or(payload.len() as u16);
        let mut packet = (6 << 28 | self.class_and_label & 0xfff_ffff).to_be_bytes().to_vec();
        packet.extend(payload_bytes.to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        [&packet, &self.src[..], &self.dst, payload].concat()
    }
}

/// The address 2001:db8:NET::HOST, which RFC 3849 keeps for documentation.
pub fn documentation_ip6(net: u16, host: u8) -> [u8; 16] {
    let [high, low] = net.to_be_bytes();
    [0x20, 0x01, 0x0d, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]
}

/// A TCP header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp<'a> {
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Words of header and options, where it isn't the true number.
    pub header_words: Option<u8>,
    /// The four bits after that.
    pub reserved: u8,
    /// The low eight flags.
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options: whole words, ten at most.
    pub options: &'a [u8],
}

impl Tcp<'_> {
    /// The segment.
    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_words = self.header_words.unwrap_or((5 + self.options.len() / 4) as u8);
        let mut segment = [self.src_port.to_be_bytes(), self.dst_port.to_be_bytes()].concat();
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.extend([header_words << 4 | self.reserved & 0xf, self.flags]);
        for field in [self.window, self.checksum, self.urgent] {
            segment.extend(field.to_be_bytes());
        }
        [&segment, self.options, payload].concat()
    }
}

/// A UDP datagram.
pub fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let fields = [src_port, dst_port, payload.len() as u16 + 8, 0].map(u16::to_be_bytes);
    [&fields.concat(), payload].concat()
}

/// The frame that carries a segment, with one byte of data if the segment has any.
pub fn frame(segment: &Segment, link: Link) -> Vec<u8> {
    let (ethertype, packet) = packet(segment);
    let family = if ethertype == IP4 { 2 } else { 10 };
    let header = match link {
        Link::Ethernet => return ethernet(&[], ethertype, &packet),
        Link::Ip => Vec::new(),
        Link::LinuxCooked => [&[0; 14], &ethertype.to_be_bytes()[..]].concat(),
        Link::LinuxCooked2 => [&ethertype.to_be_bytes()[..], &[0; 18]].concat(),
        Link::BsdLoopback => vec![family, 0, 0, 0],
    };
    [header, packet].concat()
}

/// The IP packet that carries a segment, and its EtherType.
pub fn packet(segment: &Segment) -> (u16, Vec<u8>) {
    let tcp = tcp(segment);
    let Segment { src, dst, hop_limit, syn, .. } = *segment;
    let (Some(src), Some(dst)) = (src.as_ip4(), dst.as_ip4()) else {
        let header = Ip6 { hop_limit, src: src.octets(), dst: dst.octets(), ..Ip6::default() };
        return (IP6, header.around(&tcp));
    };
    let QuirkFields { traffic_class, id, fragment_flags, .. } = syn.unwrap_or(LINUX_SYN).quirk_fields;
    let (id, fragment) = (id.into(), u16::from(fragment_flags) << 8);
    (IP4, Ip4 { traffic_class, id, fragment, hop_limit, src, dst, ..Ip4::default() }.around(&tcp))
}

fn tcp(segment: &Segment) -> Vec<u8> {
    let (sequence, acknowledgement) =
        segment.syn.map_or((1, 1), |syn| (syn.quirk_fields.sequence, syn.quirk_fields.acknowledgement));
    let header = Tcp {
        src_port: segment.src_port,
        dst_port: segment.dst_port,
        sequence: sequence.into(),
        acknowledgement: acknowledgement.into(),
        flags: segment.flags.0,
        window: segment.syn.map_or(501, |syn| syn.window),
        options: &options(segment),
        ..Tcp::default()
    };
    header.around(&vec![b'.'; segment.payload_bytes.max(segment.has_payload.into()) as usize])
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

/// A broadcast acknowledgement, with these bytes of VLAN tags and of TCP options.
pub fn acknowledgement(tags: &[u8], ip6: bool, options: &[u8]) -> Vec<u8> {
    segment(tags, ip6, options, &[])
}

/// As [`acknowledgement`], with data.
pub fn segment(tags: &[u8], ip6: bool, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = Tcp {
        src_port: 0x1234,
        dst_port: 80,
        sequence: 1,
        flags: 0x10,
        window: 0x100,
        options,
        ..Tcp::default()
    };
    let tcp = header.around(payload);
    let (ethertype, packet) = if ip6 {
        (IP6, Ip6 { src: documentation_ip6(0, 7), ..Ip6::default() }.around(&tcp))
    } else {
        (IP4, Ip4 { fragment: 0x4000, src: [192, 0, 2, 7], ..Ip4::default() }.around(&tcp))
    };
    let mut frame = ethernet(tags, ethertype, &packet);
    frame[..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9]);
    frame
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capture::LINK_TYPES;
    use tmap_common::{Address, Flags, parse};

    #[test]
    fn frames_parse_back_to_their_segments() {
        let plain = Segment {
            src: Address::from_ip4([192, 0, 2, 1]),
            dst: Address::from_ip4([198, 51, 100, 1]),
            src_port: 40_000,
            dst_port: 25,
            flags: Flags::ACK,
            hop_limit: 57,
            tsval: 0x0102_0304,
            tsecr: 7,
            ..Segment::default()
        };
        let six = Address::from_ip6(documentation_ip6(0, 1));
        let segments = [
            plain,
            Segment { src: six, dst: six, has_payload: true, payload_bytes: 1, ..plain },
            Segment { has_payload: true, payload_bytes: 700, ..plain },
            Segment { flags: Flags::SYN, syn: Some(LINUX_SYN), ..plain },
        ];
        for (link_type, link) in LINK_TYPES {
            for segment in &segments {
                let frame = frame(segment, link);
                assert_eq!(parse(&frame[..], link, true), Ok(*segment), "link type {link_type}");
            }
        }
    }
}
