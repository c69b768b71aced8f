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

/// What the TCP layer needs to know of the network header, whichever its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Sender.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
    /// IPv4 TTL or IPv6 hop limit, as it arrived.
    pub hop_limit: u8,
    /// Offset of the TCP header in the frame, in bytes.
    pub payload_at: usize,
    /// Offset just past the IP payload; `usize::MAX` where the header leaves it open (a length of
    /// zero, as offloading NICs and jumbograms write it).
    pub payload_end: usize,
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
        src: Address::from_ip4([header[12], header[13], header[14], header[15]]),
        dst: Address::from_ip4([header[16], header[17], header[18], header[19]]),
        hop_limit: header[8],
        payload_at: at + header_bytes,
        payload_end: if total_bytes == 0 { usize::MAX } else { at + total_bytes },
    })
}

/// IPv6 (RFC 8200).
#[inline(always)]
fn ip6<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Network, Skip> {
    let [_, _, _, _, high, low, next_header, hop_limit] = packet.read(at).ok_or(Skip::IpTruncated)?;
    let src = packet.read(at + 8).ok_or(Skip::IpTruncated)?;
    let dst = packet.read(at + 24).ok_or(Skip::IpTruncated)?;
    let payload_bytes = usize::from(u16::from_be_bytes([high, low]));
    let payload_at = extensions(packet, next_header, at + 40)?;
    Ok(Network {
        src: Address::from_ip6(src),
        dst: Address::from_ip6(dst),
        hop_limit,
        payload_at,
        payload_end: if payload_bytes == 0 { usize::MAX } else { at + 40 + payload_bytes },
    })
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
