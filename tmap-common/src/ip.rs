//! Network layer: IPv4 with options (RFC 791), IPv6 with extension headers (RFC 8200), both with
//! authentication headers (RFC 4302).

use crate::{
    Address, Packet, Skip,
    link::{NetworkStart, Version},
};

/// IPv6 extension headers followed before a packet is called too deep. RFC 8200 lists each at most
/// once, destination options twice; real traffic has one or two.
const MAX_EXTENSIONS: usize = 6;

/// TCP's IP protocol number (IANA), in the type of [`Network::protocol`].
pub(crate) const TCP: u64 = protocol::TCP as u64;

/// IP protocol numbers (IANA).
mod protocol {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const TCP: u8 = 6;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const ESP: u64 = 50;
    pub(super) const L2TP: u64 = 115;
}

/// A network header: where it lies in the frame, and what it says of its payload. The addresses are read
/// later ([`Network::fields`]), and only from frames that hold a segment for tmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Offset of the IP header in the frame, in bytes.
    pub(crate) header_at: usize,
    /// IP version, 4 or 6.
    pub(crate) version: u64,
    /// What it carries: the IP protocol number (IANA) behind any extension headers.
    pub(crate) protocol: u64,
    /// Offset of the payload in the frame, in bytes: of the TCP header where it carries TCP.
    pub payload_at: usize,
    /// Offset just past the IP payload, in bytes; `usize::MAX` where the header leaves it open (a length of
    /// zero, as offloading NICs and jumbograms (RFC 2675) write it).
    pub payload_end: usize,
}

/// The fields of an IP header that a segment keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFields {
    /// Address of the sender.
    pub src: Address,
    /// Address of the receiver.
    pub dst: Address,
    /// IPv4 TTL or IPv6 hop limit, as it arrived: in hops.
    pub hop_limit: u8,
}

/// Parses the network header and any extension headers, down to whatever it carries.
///
/// # Errors
/// [`Skip::IpTruncated`], [`Skip::IpMalformed`], [`Skip::ExtensionsTooDeep`],
/// [`Skip::LaterFragment`] or [`Skip::NotIp`].
#[inline(always)]
pub(crate) fn parse<P: Packet + ?Sized>(packet: &P, start: NetworkStart) -> Result<Network, Skip> {
    let [first] = packet.read(start.at).ok_or(Skip::IpTruncated)?;
    match (start.version, first >> 4) {
        (Some(Version::V4) | None, 4) => ip4(packet, start.at),
        (Some(Version::V6) | None, 6) => ip6(packet, start.at),
        (Some(_), _) => Err(Skip::IpMalformed),
        (None, _) => Err(Skip::NotIp),
    }
}

/// IPv4 (RFC 791).
#[inline(always)]
fn ip4<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Network, Skip> {
    let header: [u8; 20] = packet.read(at).ok_or(Skip::IpTruncated)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_bytes < 20 || (total_bytes != 0 && total_bytes < header_bytes) {
        return Err(Skip::IpMalformed);
    }
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if fragment_offset != 0 {
        return Err(Skip::LaterFragment);
    }
    let (mut protocol, mut payload_at) = (header[9], at + header_bytes);
    if protocol == protocol::AUTHENTICATION {
        // RFC 4302, section 2.2: in 4-byte units, minus 2.
        let [next_header, words] = packet.read(payload_at).ok_or(Skip::IpTruncated)?;
        protocol = next_header;
        payload_at = packet.opaque_cursor(payload_at + (usize::from(words) + 2) * 4);
    }
    Ok(Network {
        header_at: at,
        version: packet.opaque(4),
        protocol: u64::from(protocol),
        payload_at,
        payload_end: if total_bytes == 0 { usize::MAX } else { at + total_bytes },
    })
}

/// IPv6 (RFC 8200).
#[inline(always)]
fn ip6<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Network, Skip> {
    let header: [u8; 40] = packet.read(at).ok_or(Skip::IpTruncated)?;
    let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (protocol, payload_at) = extensions(packet, header[6], at + 40)?;
    Ok(Network {
        header_at: at,
        version: packet.opaque(6),
        protocol: u64::from(protocol),
        payload_at,
        payload_end: if payload_bytes == 0 { usize::MAX } else { at + 40 + payload_bytes },
    })
}

impl Network {
    /// Whether it is IPv4.
    #[inline(always)]
    pub(crate) fn is_ip4(&self) -> bool {
        self.version == 4
    }

    /// Hides all values from the verifier ([`Packet::opaque`]), so that it walks on once for all headers.
    #[inline(always)]
    pub(crate) fn opaque<P: Packet + ?Sized>(&self, packet: &P) -> Self {
        Self {
            header_at: packet.opaque_cursor(self.header_at),
            version: packet.opaque(self.version),
            protocol: packet.opaque(self.protocol),
            payload_at: packet.opaque_cursor(self.payload_at),
            payload_end: packet.opaque(self.payload_end as u64) as usize,
        }
    }

    /// A header of which only the [`HeaderFields`] are needed: a tunnel's outer one.
    #[inline(always)]
    pub(crate) fn outer(header_at: usize, version: u64) -> Self {
        Self { header_at, version, protocol: 0, payload_at: 0, payload_end: 0 }
    }

    /// How many bytes of the IP payload lie behind the offset `at` in the frame; 0 where the header leaves
    /// the end open.
    #[inline(always)]
    pub(crate) fn bytes_from(&self, at: usize) -> u32 {
        let bytes = self.payload_end.wrapping_sub(at) as u64;
        // A packet holds less than 2^16, so more is an open end. No branch, which the verifier would follow.
        let if_known = ((bytes >> 16).wrapping_sub(1) as i64 >> 63) as u64;
        (bytes & if_known) as u32
    }

    /// Why a payload that is neither TCP nor a tunnel for tmap isn't read.
    #[inline(always)]
    pub(crate) fn skip(&self) -> Skip {
        match self.protocol {
            protocol::ESP => Skip::Esp,
            protocol::L2TP => Skip::L2tp3,
            _ => Skip::NotTcp,
        }
    }

    /// Whether TCP follows.
    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// Reads addresses and hop limit. Never returns `None` for a header of this `packet`: it was all there
    /// when it was parsed.
    #[inline(always)]
    pub fn fields<P: Packet + ?Sized>(&self, packet: &P) -> Option<HeaderFields> {
        if self.is_ip4() {
            let [hop_limit, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = packet.read(self.header_at + 8)?;
            let src = Address::from_ip4([s0, s1, s2, s3]);
            Some(HeaderFields { src, dst: Address::from_ip4([d0, d1, d2, d3]), hop_limit })
        } else {
            let header: [u8; 40] = packet.read(self.header_at)?;
            let address = |at: usize| Address::from_ip6(core::array::from_fn(|index| header[at + index]));
            Some(HeaderFields { src: address(8), dst: address(24), hop_limit: header[7] })
        }
    }
}

const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
    )
}

/// Follows extension headers from `at` and returns what follows them, and where.
#[inline(always)]
fn extensions<P: Packet + ?Sized>(
    packet: &P,
    mut next_header: u8,
    mut at: usize,
) -> Result<(u8, usize), Skip> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next_header) {
            return Ok((next_header, at));
        }
        let header: [u8; 4] = packet.read(at).ok_or(Skip::IpTruncated)?;
        let bytes = match next_header {
            protocol::FRAGMENT => {
                // RFC 8200, section 4.5; an atomic fragment (RFC 6946) has offset 0 as well.
                if u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 {
                    return Err(Skip::LaterFragment);
                }
                8
            }
            // RFC 4302, section 2.2: in 4-byte units, minus 2.
            protocol::AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        next_header = header[0];
        at = packet.opaque_cursor(at + bytes);
    }
    if is_extension(next_header) { Err(Skip::ExtensionsTooDeep) } else { Ok((next_header, at)) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    const RAW: NetworkStart = NetworkStart { at: 0, version: None };

    /// 10.1.2.3 to 192.0.2.4, TTL 57, 40 bytes in all, TCP.
    const IP4: [u8; 20] = [0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 57, 6, 0xab, 0xcd, 10, 1, 2, 3, 192, 0, 2, 4];

    /// 2001:db8::1 to 2001:db8::2, hop limit 63, 20 bytes of payload, then `next_header`.
    fn ip6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 20, next_header, 63];
        for last in [1, 2] {
            bytes.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        bytes.extend(payload);
        bytes
    }

    fn payload(bytes: &[u8]) -> Result<(usize, usize), Skip> {
        let network = parse(bytes, RAW)?;
        if network.is_tcp() { Ok((network.payload_at, network.payload_end)) } else { Err(Skip::NotTcp) }
    }

    /// `IP4` with one byte changed.
    fn ip4_with(at: usize, byte: u8) -> [u8; 20] {
        let mut bytes = IP4;
        bytes[at] = byte;
        bytes
    }

    #[test]
    fn ip4_header() {
        let network = parse(&IP4[..], RAW).unwrap();
        assert_eq!((network.payload_at, network.payload_end), (20, 40));
        let fields = network.fields(&IP4[..]).unwrap();
        assert_eq!(fields.src, Address::from_ip4([10, 1, 2, 3]));
        assert_eq!(fields.dst, Address::from_ip4([192, 0, 2, 4]));
        assert_eq!(fields.hop_limit, 57);
    }

    #[test]
    fn ip4_options_are_stepped_over() {
        assert_eq!(payload(&ip4_with(0, 0x47)), Ok((28, 40)));
        assert_eq!(payload(&ip4_with(0, 0x4a)), Ok((40, 40)));
    }

    #[test]
    fn ip4_contradictions() {
        assert_eq!(payload(&ip4_with(0, 0x44)), Err(Skip::IpMalformed), "header below 20 bytes");
        assert_eq!(payload(&ip4_with(3, 19)), Err(Skip::IpMalformed), "total below the header");
        assert_eq!(payload(&ip4_with(0, 0x4b)), Err(Skip::IpMalformed), "total below the header");
        assert_eq!(payload(&ip4_with(3, 0)), Ok((20, usize::MAX)), "left open by an offloading NIC");
        assert_eq!(payload(&ip4_with(0, 0x55)), Err(Skip::NotIp));
        let announced = |version| parse(&IP4[..], NetworkStart { at: 0, version: Some(version) });
        assert!(announced(Version::V4).is_ok());
        assert_eq!(announced(Version::V6), Err(Skip::IpMalformed));
    }

    #[test]
    fn ip4_fragments() {
        assert_eq!(payload(&ip4_with(6, 0x20)), Ok((20, 40)), "the first: more to come, offset 0");
        assert_eq!(payload(&ip4_with(7, 1)), Err(Skip::LaterFragment));
        assert_eq!(payload(&ip4_with(6, 0x10)), Err(Skip::LaterFragment));
    }

    #[test]
    fn ip4_truncated_or_not_tcp() {
        assert_eq!(payload(&[]), Err(Skip::IpTruncated));
        assert_eq!(payload(&IP4[..19]), Err(Skip::IpTruncated));
        assert_eq!(payload(&ip4_with(9, 17)), Err(Skip::NotTcp));
    }

    #[test]
    fn ip4_authentication_headers() {
        let bytes = |rest: &[u8]| [&ip4_with(9, 51), rest].concat();
        assert_eq!(payload(&bytes(&[6, 4])), Ok((44, 40)));
        assert_eq!(payload(&bytes(&[17, 4])), Err(Skip::NotTcp));
        assert_eq!(payload(&bytes(&[6])), Err(Skip::IpTruncated));
    }

    #[test]
    fn ip6_header() {
        let bytes = ip6(6, &[]);
        let network = parse(&bytes[..], RAW).unwrap();
        assert_eq!((network.payload_at, network.payload_end), (40, 60));
        let fields = network.fields(&bytes[..]).unwrap();
        assert_eq!(fields.src, Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(fields.dst, Address::from_ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]));
        assert_eq!(fields.hop_limit, 63);
        assert_eq!(payload(&bytes[..39]), Err(Skip::IpTruncated));
        assert_eq!(payload(&ip6(58, &[])), Err(Skip::NotTcp), "ICMPv6");
        assert_eq!(payload(&ip6(59, &[])), Err(Skip::NotTcp), "no next header");
    }

    #[test]
    fn ip6_without_a_length() {
        let mut bytes = ip6(6, &[]);
        bytes[5] = 0;
        assert_eq!(payload(&bytes), Ok((40, usize::MAX)));
    }

    #[test]
    fn each_extension_header() {
        // Hop-by-hop, routing, destination options: length in units of 8 bytes, less one.
        for kind in [0, 43, 60] {
            assert_eq!(payload(&ip6(kind, &[6, 0, 0, 0])), Ok((48, 60)));
            assert_eq!(payload(&ip6(kind, &[6, 2, 0, 0])), Ok((64, 60)));
            assert_eq!(payload(&ip6(kind, &[17, 0, 0, 0])), Err(Skip::NotTcp));
            assert_eq!(payload(&ip6(kind, &[6, 0, 0])), Err(Skip::IpTruncated));
        }
        // Authentication: length in units of 4 bytes, less two.
        assert_eq!(payload(&ip6(51, &[6, 4, 0, 0])), Ok((64, 60)));
    }

    #[test]
    fn ip6_fragments() {
        assert_eq!(payload(&ip6(44, &[6, 0, 0x00, 0x01])), Ok((48, 60)), "the first");
        assert_eq!(payload(&ip6(44, &[6, 0, 0x00, 0x00])), Ok((48, 60)), "an atomic one (RFC 6946)");
        assert_eq!(payload(&ip6(44, &[6, 0, 0x00, 0x08])), Err(Skip::LaterFragment));
        assert_eq!(payload(&ip6(44, &[6, 0, 0xff, 0xf9])), Err(Skip::LaterFragment));
        assert_eq!(payload(&ip6(44, &[6, 0, 0])), Err(Skip::IpTruncated));
    }

    #[test]
    fn chains_of_extension_headers() {
        let hop_by_hop_then_routing = [43, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0];
        assert_eq!(payload(&ip6(0, &hop_by_hop_then_routing)), Ok((56, 60)));
        let chain = |count: usize| {
            let mut bytes = Vec::new();
            for left in (0..count).rev() {
                bytes.extend([if left == 0 { 6 } else { 60 }, 0, 0, 0, 0, 0, 0, 0]);
            }
            payload(&ip6(60, &bytes))
        };
        assert_eq!(chain(MAX_EXTENSIONS), Ok((40 + 8 * MAX_EXTENSIONS, 60)));
        assert_eq!(chain(MAX_EXTENSIONS + 1), Err(Skip::ExtensionsTooDeep));
    }
}
