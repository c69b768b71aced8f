//! Link layer: from the first byte of a frame to the network header.

use crate::{Packet, Skip};

/// EtherTypes (IEEE 802; 0x9100 is the pre-standard QinQ tag that switches still send).
pub(crate) mod ethertype {
    /// Not assigned; here for IP of a version that the layer doesn't announce.
    pub(crate) const ANY_IP: u16 = 0;
    pub(crate) const IP4: u16 = 0x0800;
    pub(crate) const IP6: u16 = 0x86dd;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const QINQ: u16 = 0x88a8;
    pub(crate) const QINQ_OLD: u16 = 0x9100;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_UPSTREAM: u16 = 0x8848;
    pub(crate) const PPPOE: u16 = 0x8864;
    /// Transparent Ethernet bridging: a whole frame, in GRE and Geneve.
    pub(crate) const ETHERNET: u16 = 0x6558;
    pub(crate) const ARP: u16 = 0x0806;
    /// PPP (RFC 1661), in GRE: protocol and payload.
    pub(crate) const PPP: u16 = 0x880b;
    /// Cisco metadata: the security group tag.
    pub(crate) const CMD: u16 = 0x8909;
    pub(crate) const ETAG: u16 = 0x893f;
    pub(crate) const VN_TAG: u16 = 0x8926;
    /// HSR's tag, which PRP uses as a suffix.
    pub(crate) const HSR: u16 = 0x892f;
    pub(crate) const MACSEC: u16 = 0x88e5;
    pub(crate) const PBB: u16 = 0x88e7;
    pub(crate) const FABRICPATH: u16 = 0x8903;
    pub(crate) const TRILL: u16 = 0x22f3;
    pub(crate) const NSH: u16 = 0x894f;
    /// ERSPAN types I and II, in GRE.
    pub(crate) const ERSPAN: u16 = 0x88be;
    pub(crate) const ERSPAN3: u16 = 0x22eb;
    /// The greatest number that is no EtherType but the length of an 802.3 frame with LLC, in bytes.
    pub(crate) const MAX_LENGTH: u16 = 1500;
}

/// VLAN tags followed before a frame is called too deep: 802.1ad's two, and one for networks that stack
/// three. Where tunnels are decapsulated, tags count among the headers of a layer instead.
const MAX_VLAN_TAGS: usize = 3;

/// How a frame begins. The `LINKTYPE_` names are those of the pcap registry (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II, with or without VLAN tags (LINKTYPE_ETHERNET; IEEE 802.3, 802.1Q).
    Ethernet,
    /// The network header itself (tun devices; LINKTYPE_RAW, _IPV4 and _IPV6).
    Ip,
    /// Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL): 16 bytes, protocol at 14.
    LinuxCooked,
    /// Linux cooked capture, version 2 (LINKTYPE_LINUX_SLL2): 20 bytes, protocol at 0.
    LinuxCooked2,
    /// BSD loopback (LINKTYPE_NULL and _LOOP): a 4-byte address family, in either byte order.
    BsdLoopback,
}

/// Where the network header starts, and which version it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkStart {
    /// Offset of the network header from the start of the frame, in bytes.
    pub at: usize,
    /// The IP version that the link layer announces; `None` where it announces none.
    pub version: Option<Version>,
}

/// The two IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4 (RFC 791).
    V4,
    /// IPv6 (RFC 8200).
    V6,
}

/// Walks the link header and up to three VLAN tags, and returns where the network header starts.
///
/// # Errors
/// [`Skip::LinkTruncated`], [`Skip::VlanTooDeep`] or [`Skip::NotIp`].
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<NetworkStart, Skip> {
    Layer::first(packet, link)?.behind_tags(packet)?.network()
}

/// A layer of headers: its EtherType and where it begins, in bytes from the frame's start.
#[derive(Clone, Copy)]
pub(crate) struct Layer {
    pub(crate) ethertype: u16,
    pub(crate) at: usize,
}

impl Layer {
    /// Returns the layer behind the link header, which may be a VLAN tag.
    ///
    /// # Errors
    /// [`Skip::LinkTruncated`]; [`Skip::NotIp`] only for BSD loopback.
    #[inline(always)]
    pub(crate) fn first<P: Packet + ?Sized>(packet: &P, link: Link) -> Result<Self, Skip> {
        let (type_at, at) = match link {
            Link::Ethernet => (12, 14),
            Link::LinuxCooked => (14, 16),
            Link::LinuxCooked2 => (0, 20),
            Link::Ip => return Ok(Self { ethertype: ethertype::ANY_IP, at: 0 }),
            Link::BsdLoopback => return bsd_loopback(packet),
        };
        let ethertype = packet.read(type_at).ok_or(Skip::LinkTruncated)?;
        Ok(Self { ethertype: u16::from_be_bytes(ethertype), at })
    }

    /// Returns the layer behind VLAN tags, or itself where it has none.
    ///
    /// # Errors
    /// [`Skip::LinkTruncated`] or [`Skip::VlanTooDeep`].
    #[inline(always)]
    pub(crate) fn behind_tags<P: Packet + ?Sized>(self, packet: &P) -> Result<Self, Skip> {
        let Self { mut ethertype, mut at } = self;
        for _ in 0..MAX_VLAN_TAGS {
            if !is_vlan(ethertype) {
                break;
            }
            let [_, _, high, low] = packet.read(at).ok_or(Skip::LinkTruncated)?;
            ethertype = u16::from_be_bytes([high, low]);
            at = packet.opaque_cursor(at + 4);
        }
        if is_vlan(ethertype) { Err(Skip::VlanTooDeep) } else { Ok(Self { ethertype, at }) }
    }

    /// Takes the layer for a network header.
    ///
    /// # Errors
    /// [`Skip::NotIp`].
    #[inline(always)]
    pub(crate) fn network(self) -> Result<NetworkStart, Skip> {
        let version = match self.ethertype {
            ethertype::IP4 => Some(Version::V4),
            ethertype::IP6 => Some(Version::V6),
            ethertype::ANY_IP => None,
            _ => return Err(Skip::NotIp),
        };
        Ok(NetworkStart { at: self.at, version })
    }
}

#[inline(always)]
pub(crate) const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD)
}

/// The address family is written in the byte order of the capturing host (LINKTYPE_NULL) or in
/// network order (LINKTYPE_LOOP); families are small, so one byte of the four is non-zero. IPv6 is
/// 24, 28 or 30 on the BSDs and macOS, 10 on Linux.
fn bsd_loopback<P: Packet + ?Sized>(packet: &P) -> Result<Layer, Skip> {
    let family: [u8; 4] = packet.read(0).ok_or(Skip::LinkTruncated)?;
    let ethertype = match family {
        [2, 0, 0, 0] | [0, 0, 0, 2] => ethertype::IP4,
        [10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 10 | 24 | 28 | 30] => ethertype::IP6,
        _ => return Err(Skip::NotIp),
    };
    Ok(Layer { ethertype, at: 4 })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const MACS: [u8; 12] = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];

    /// A frame of two MAC addresses and then `bytes`.
    fn ethernet(bytes: &[u8]) -> Result<NetworkStart, Skip> {
        let frame: Vec<u8> = MACS.iter().chain(bytes).copied().collect();
        parse(&frame[..], Link::Ethernet)
    }

    const fn found(at: usize, version: Version) -> Result<NetworkStart, Skip> {
        Ok(NetworkStart { at, version: Some(version) })
    }

    #[test]
    fn ethernet_without_tags() {
        assert_eq!(ethernet(&[0x08, 0x00]), found(14, Version::V4));
        assert_eq!(ethernet(&[0x86, 0xdd]), found(14, Version::V6));
        assert_eq!(ethernet(&[0x08, 0x06]), Err(Skip::NotIp), "ARP");
        assert_eq!(ethernet(&[0x00, 0x26, 0x42, 0x42]), Err(Skip::NotIp), "an 802.3 length");
    }

    #[test]
    fn one_tag_of_each_kind() {
        for [high, low] in [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]] {
            assert_eq!(ethernet(&[high, low, 0x20, 0x07, 0x08, 0x00]), found(18, Version::V4));
            assert_eq!(ethernet(&[high, low, 0x20, 0x07, 0x86, 0xdd]), found(18, Version::V6));
            assert_eq!(ethernet(&[high, low, 0x20, 0x07, 0x08, 0x06]), Err(Skip::NotIp));
        }
    }

    #[test]
    fn two_or_three_tags_of_all_kinds() {
        let tags = [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]];
        for [outer_high, outer_low] in tags {
            for [high, low] in tags {
                let bytes = [outer_high, outer_low, 0, 7, high, low, 0, 8, 0x86, 0xdd];
                assert_eq!(ethernet(&bytes), found(22, Version::V6));
                let third = [outer_high, outer_low, 0, 7, high, low, 0, 8, 0x81, 0x00, 0, 9, 0x08, 0x00];
                assert_eq!(ethernet(&third), found(26, Version::V4));
                let fourth = [&third[..12], &[0x88, 0xa8, 0, 4, 0x08, 0x00]].concat();
                assert_eq!(ethernet(&fourth), Err(Skip::VlanTooDeep));
            }
        }
    }

    #[test]
    fn truncated_link_headers() {
        assert_eq!(parse(&[][..], Link::Ethernet), Err(Skip::LinkTruncated));
        assert_eq!(parse(&MACS[..], Link::Ethernet), Err(Skip::LinkTruncated));
        assert_eq!(ethernet(&[0x08]), Err(Skip::LinkTruncated));
        assert_eq!(ethernet(&[0x81, 0x00, 0, 7, 0x08]), Err(Skip::LinkTruncated));
        assert_eq!(ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x08]), Err(Skip::LinkTruncated));
        assert_eq!(parse(&[0; 15][..], Link::LinuxCooked), Err(Skip::LinkTruncated));
        assert_eq!(parse(&[8][..], Link::LinuxCooked2), Err(Skip::LinkTruncated));
        assert_eq!(parse(&[2, 0, 0][..], Link::BsdLoopback), Err(Skip::LinkTruncated));
    }

    #[test]
    fn other_link_types() {
        let cooked = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00];
        assert_eq!(parse(&cooked[..], Link::LinuxCooked), found(16, Version::V4));
        let cooked2 = [0x86, 0xdd, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(parse(&cooked2[..], Link::LinuxCooked2), found(20, Version::V6));
        assert_eq!(parse(&[2, 0, 0, 0][..], Link::BsdLoopback), found(4, Version::V4));
        assert_eq!(parse(&[0, 0, 0, 2][..], Link::BsdLoopback), found(4, Version::V4));
        for family in [10, 24, 28, 30] {
            assert_eq!(parse(&[family, 0, 0, 0][..], Link::BsdLoopback), found(4, Version::V6));
            assert_eq!(parse(&[0, 0, 0, family][..], Link::BsdLoopback), found(4, Version::V6));
        }
        assert_eq!(parse(&[7, 0, 0, 0][..], Link::BsdLoopback), Err(Skip::NotIp));
        assert_eq!(parse(&[][..], Link::Ip), Ok(NetworkStart { at: 0, version: None }));
    }
}
