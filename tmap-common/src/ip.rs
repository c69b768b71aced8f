//! Network layer: IPv4 with options, IPv6 with extension headers.

use crate::{
    Address, Packet, Skip,
    link::{NetworkStart, Version},
};

/// IPv6 extension headers followed before a packet is called too deep. RFC 8200 lists each at most
/// once, destination options twice; real traffic has one or two.
const MAX_EXTENSIONS: usize = 6;

/// IP protocol numbers (IANA).
mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const TCP: u8 = 6;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const DESTINATION: u8 = 60;
}

/// Where the TCP segment lies, and where to find the rest once it turns out to be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Offset of the IP header in the frame, in bytes.
    pub(crate) header_at: usize,
    /// 4 or 6.
    version: u64,
    /// Offset of the TCP header in the frame, in bytes.
    pub payload_at: usize,
    /// Offset just past the IP payload; `usize::MAX` where the header leaves it open (a length of
    /// zero, as offloading NICs and jumbograms write it).
    pub payload_end: usize,
}

/// What a record says of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Sender.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
    /// IPv4 TTL or IPv6 hop limit, as it arrived.
    pub hop_limit: u8,
}

/// Parses the network header and any extension headers, down to TCP.
///
/// # Errors
/// [`Skip::IpTruncated`], [`Skip::IpMalformed`], [`Skip::ExtensionsTooDeep`],
/// [`Skip::LaterFragment`], [`Skip::NotTcp`] or [`Skip::NotIp`].
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, start: NetworkStart) -> Result<Network, Skip> {
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
    if header[9] != protocol::TCP {
        return Err(Skip::NotTcp);
    }
    Ok(Network {
        header_at: at,
        version: packet.unknown(4),
        payload_at: at + header_bytes,
        payload_end: if total_bytes == 0 { usize::MAX } else { at + total_bytes },
    })
}

/// IPv6 (RFC 8200).
#[inline(always)]
fn ip6<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Network, Skip> {
    let header: [u8; 40] = packet.read(at).ok_or(Skip::IpTruncated)?;
    let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let payload_at = extensions(packet, header[6], at + 40)?;
    Ok(Network {
        header_at: at,
        version: packet.unknown(6),
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

    /// The same; the verifier forgets where the header lies.
    #[inline(always)]
    pub(crate) fn forgotten<P: Packet + ?Sized>(&self, packet: &P) -> Self {
        Self { header_at: packet.forget(self.header_at), ..*self }
    }

    /// Reads the addresses, which only segments that are wanted need. `None` can't come back: the
    /// header was there when it was parsed.
    #[inline(always)]
    pub fn ends<P: Packet + ?Sized>(&self, packet: &P) -> Option<Ends> {
        if self.is_ip4() {
            let [hop_limit, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = packet.read(self.header_at + 8)?;
            let src = Address::from_ip4([s0, s1, s2, s3]);
            Some(Ends { src, dst: Address::from_ip4([d0, d1, d2, d3]), hop_limit })
        } else {
            let header: [u8; 40] = packet.read(self.header_at)?;
            let address = |at: usize| Address::from_ip6(core::array::from_fn(|index| header[at + index]));
            Some(Ends { src: address(8), dst: address(24), hop_limit: header[7] })
        }
    }
}

/// Follows extension headers from `at` and returns where the TCP header starts.
#[inline(always)]
fn extensions<P: Packet + ?Sized>(packet: &P, mut next_header: u8, mut at: usize) -> Result<usize, Skip> {
    for _ in 0..MAX_EXTENSIONS {
        if next_header == protocol::TCP {
            return Ok(at);
        }
        if !matches!(
            next_header,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::DESTINATION
                | protocol::FRAGMENT
                | protocol::AUTHENTICATION
        ) {
            return Err(Skip::NotTcp);
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
        at = packet.forget(at + bytes);
    }
    if next_header == protocol::TCP { Ok(at) } else { Err(Skip::ExtensionsTooDeep) }
}
