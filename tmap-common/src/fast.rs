//! The parser's fast path, for what nearly all frames are: Ethernet with at most one VLAN
//! tag, an IP header without options, and a TCP header whose options are NOP, NOP, Timestamps
//! (RFC 7323, appendix A), with or without NOP, NOP, SACK (RFC 2018) behind.
//!
//! It gives up at the first thing that is anything else, and the slow path ([`walk`](crate::parse::walk))
//! starts over. Where the fast path has a result, it is that of the slow path; a property test proves it.
//! No loops, few branches, and nothing read twice: a busy link pays for this code.

use crate::{
    Address, Flags, Link, Packet, Segment, Skip,
    link::{ethertype, is_vlan},
    tunnel,
};

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// NOP, NOP, Timestamps of ten bytes, as one word of this machine.
const RECOMMENDED: u32 = u32::from_ne_bytes([1, 1, 8, 10]);

/// TCP header with those options, in bytes.
const HEADER_BYTES: usize = 32;

/// Offsets of the headers of a segment that has time stamps and is in no tunnel and no handshake. Its fields
/// are read when they are needed, and again rather than kept across calls.
#[derive(Clone, Copy, Debug)]
pub struct HeaderOffsets {
    /// Offset of the IP header in the frame, in bytes.
    ip_at: usize,
    /// Offset of the TCP header in the frame, in bytes.
    tcp_at: usize,
    /// Whether it is IPv4.
    pub is_ip4: bool,
    /// Bytes of data behind the header, as [`Segment::payload_bytes`].
    payload_bytes: u32,
    /// How many bytes of options follow Timestamps: those of SACK.
    pub more_bytes: u64,
}

impl HeaderOffsets {
    /// Reads the segment. Never returns `None` for the packet in which the headers were found.
    #[inline(always)]
    pub fn segment<P: Packet + ?Sized>(&self, packet: &P) -> Option<Segment> {
        let (src, dst, hop_limit) = if self.is_ip4 {
            let header: [u8; 20] = packet.read(self.ip_at)?;
            let address = |at| Address::from_ip4(part(&header, at));
            (address(12), address(16), header[8])
        } else {
            let header: [u8; 40] = packet.read(self.ip_at)?;
            let word = |at| u64::from_ne_bytes(part(&header, at));
            let address = |at| Address::from_words([word(at), word(at + 8)]);
            (address(8), address(24), header[7])
        };
        let header: [u8; HEADER_BYTES] = packet.read(self.tcp_at)?;
        Some(Segment {
            src,
            dst,
            src_port: u16::from_be_bytes(part(&header, 0)),
            dst_port: u16::from_be_bytes(part(&header, 2)),
            flags: Flags(header[13]),
            has_payload: self.payload_bytes != 0,
            payload_bytes: self.payload_bytes,
            hop_limit,
            tsval: u32::from_be_bytes(part(&header, 24)),
            tsecr: u32::from_be_bytes(part(&header, 28)),
            syn: None,
            tunnel: None,
        })
    }
}

/// Takes the fast path's result. A visitor rather than a value to return: so each kind of frame has its own
/// copy of the code that follows, in which LLVM knows the kind, and nothing goes through memory.
pub trait Visitor {
    /// What the visitor makes of the result; [`visit`] returns it.
    type Outcome;

    /// The frame holds a segment with time stamps, whose headers lie at `offsets`.
    fn segment(&self, offsets: &HeaderOffsets) -> Self::Outcome;

    /// The frame holds no such segment, for the reason `skip`.
    fn skip(&self, skip: Skip) -> Self::Outcome;
}

/// The visitor that reads the segment and returns it.
struct ReadSegment<'a, P: ?Sized>(&'a P);

impl<P: Packet + ?Sized> Visitor for ReadSegment<'_, P> {
    type Outcome = Result<Segment, Skip>;

    #[inline(always)]
    fn segment(&self, offsets: &HeaderOffsets) -> Self::Outcome {
        offsets.segment(self.0).ok_or(Skip::TcpTruncated)
    }

    #[inline(always)]
    fn skip(&self, skip: Skip) -> Self::Outcome {
        Err(skip)
    }
}

/// Returns what [`parse`](crate::parse()) returns for `packet`; `None` where only the slow path can tell.
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link, decap: bool) -> Option<Result<Segment, Skip>> {
    visit(packet, link, decap, &ReadSegment(packet))
}

/// Parses `packet` and passes the result to `visitor`; `None` where only the slow path can tell.
#[inline(always)]
pub fn visit<P: Packet + ?Sized, V: Visitor>(
    packet: &P,
    link: Link,
    decap: bool,
    visitor: &V,
) -> Option<V::Outcome> {
    let (version, at) = match link {
        Link::Ethernet => {
            let outer: [u8; 2] = packet.read(12)?;
            let outer = u16::from_be_bytes(outer);
            // Tested first, because nearly all frames are one of the two.
            let is_ip = outer == ethertype::IP4 || outer == ethertype::IP6;
            let (version, at) = if is_ip { (outer, 14) } else { ethernet(packet, outer)? };
            // Opaque, so that the verifier walks on once for frames with and without a tag.
            (version, packet.opaque_cursor(at))
        }
        Link::Ip => {
            let [first] = packet.read(0)?;
            (if first >> 4 == 4 { ethertype::IP4 } else { ethertype::IP6 }, packet.opaque_cursor(0))
        }
        _ => return None,
    };
    match version {
        ethertype::IP4 => ip4(packet, at, decap, visitor),
        ethertype::IP6 => ip6(packet, at, decap, visitor),
        ethertype::ARP => Some(visitor.skip(Skip::NotIp)),
        _ => None,
    }
}

/// EtherType and network header behind at most one tag; `outer` is the EtherType before it.
#[inline(always)]
fn ethernet<P: Packet + ?Sized>(packet: &P, outer: u16) -> Option<(u16, usize)> {
    if !is_vlan(outer) {
        return Some((outer, 14));
    }
    let inner = u16::from_be_bytes(packet.read(16)?);
    if is_vlan(inner) { None } else { Some((inner, 18)) }
}

#[inline(always)]
fn ip4<P: Packet + ?Sized, V: Visitor>(
    packet: &P,
    at: usize,
    decap: bool,
    visitor: &V,
) -> Option<V::Outcome> {
    let header: [u8; 20] = packet.read(at)?;
    let total_bytes = usize::from(u16::from_be_bytes(part(&header, 2)));
    // All but "don't fragment" and "more fragments" (RFC 791).
    let fragment_offset = u16::from_ne_bytes(part(&header, 6)) & 0x1fff_u16.to_be();
    if header[0] != 0x45 || fragment_offset != 0 || total_bytes < 20 {
        return None;
    }
    if header[9] != TCP {
        return not_tcp(packet, header[9], at + 20, decap, visitor);
    }
    tcp(packet, at, true, total_bytes - 20, visitor)
}

#[inline(always)]
fn ip6<P: Packet + ?Sized, V: Visitor>(
    packet: &P,
    at: usize,
    decap: bool,
    visitor: &V,
) -> Option<V::Outcome> {
    let header: [u8; 40] = packet.read(at)?;
    let payload_bytes = usize::from(u16::from_be_bytes(part(&header, 4)));
    if header[0] >> 4 != 6 {
        return None;
    }
    if header[6] != TCP {
        return not_tcp(packet, header[6], at + 40, decap, visitor);
    }
    tcp(packet, at, false, payload_bytes, visitor)
}

/// Skips ICMP, and UDP that is no tunnel. Any other protocol may have TCP inside.
#[inline(always)]
fn not_tcp<P: Packet + ?Sized, V: Visitor>(
    packet: &P,
    protocol: u8,
    at: usize,
    decap: bool,
    visitor: &V,
) -> Option<V::Outcome> {
    match protocol {
        UDP => {
            if decap {
                let [s0, s1, d0, d1] = packet.read(at)?;
                let (src_port, dst_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
                if tunnel::may_begin(src_port, dst_port) {
                    return None;
                }
            }
            Some(visitor.skip(Skip::NotTcp))
        }
        ICMP | ICMP6 => Some(visitor.skip(Skip::NotTcp)),
        _ => None,
    }
}

/// The TCP header behind the IP header at `ip_at`, which says that `bytes` bytes follow it.
#[inline(always)]
fn tcp<P: Packet + ?Sized, V: Visitor>(
    packet: &P,
    ip_at: usize,
    is_ip4: bool,
    bytes: usize,
    visitor: &V,
) -> Option<V::Outcome> {
    let tcp_at = ip_at + if is_ip4 { 20 } else { 40 };
    let header: [u8; 20] = packet.read(tcp_at)?;
    let header_bytes = usize::from(header[12] >> 4) * 4;
    if Flags(header[13]).intersects(Flags::SYN) || bytes < header_bytes {
        return None;
    }
    if header_bytes == 20 {
        return Some(visitor.skip(Skip::NoTimestamps));
    }
    if header_bytes < HEADER_BYTES {
        return None;
    }
    let header: [u8; HEADER_BYTES] = packet.read(tcp_at)?;
    if u32::from_ne_bytes(part(&header, 20)) != RECOMMENDED {
        return None;
    }
    let more_bytes = header_bytes - HEADER_BYTES;
    if more_bytes != 0 {
        // NOP, NOP, SACK, to the end.
        let options = u32::from_ne_bytes(packet.read(tcp_at + HEADER_BYTES)?);
        if options != u32::from_ne_bytes([1, 1, 5, more_bytes as u8 - 2]) {
            return None;
        }
    }
    // Opaque, so that the verifier walks on once for segments with and without SACK.
    let more_bytes = packet.opaque(more_bytes as u64);
    Some(visitor.segment(&HeaderOffsets {
        ip_at,
        tcp_at,
        is_ip4,
        payload_bytes: (bytes - header_bytes) as u32,
        more_bytes,
    }))
}

/// The `N` bytes at `at` of a header, which must have them. As one piece rather than byte by byte, so
/// that LLVM makes one load of it.
#[inline(always)]
fn part<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    match header.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(part) => *part,
        None => [0; N],
    }
}
