//! Decapsulation: from a header that isn't TCP's to the next layer inside.
//!
//! | kind | recognised by | identified by |
//! |---|---|---|
//! | MPLS (RFC 3032, 4023) | EtherType 0x8847, 0x8848; IP protocol 137 | label at the bottom of the stack |
//! | PPPoE session (RFC 2516) | EtherType 0x8864 | session |
//! | IP in IP (RFC 2003, 2473, 4213) | IP protocol 4, 41 | |
//! | GRE, also with Ethernet inside (RFC 2784, 2890, 7637) | IP protocol 47, version 0 | key |
//! | VXLAN (RFC 7348) | UDP ports 4789, 8472 | VNI |
//! | Geneve (RFC 8926) | UDP port 6081 | VNI |
//! | GTP-U (3GPP TS 29.281) | UDP port 2152 | TEID |
//!
//! L2TPv3 over IP isn't supported: the length of its cookie is agreed elsewhere (RFC 3931), so nothing
//! in the packet says where the payload begins.

use crate::{
    Address, Packet, Skip,
    ip::{self, Network},
    link::{Layer, ethertype},
};

/// How many tunnels inside each other are followed before a packet is called too deep.
pub const MAX_TUNNELS: usize = 2;

/// The greatest offset at which a layer may begin, in bytes: it keeps cursors below
/// [`crate::packet::MAX_CURSOR`].
const MAX_LAYER_AT: usize = 2048;

/// How a segment was encapsulated: the innermost tunnel that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Which encapsulation.
    pub kind: Kind,
    /// What identifies the tunnel (label, session, key, VNI or TEID: the module's table); 0 where nothing
    /// does.
    pub id: u32,
    /// Outer address of the tunnel's sending end; unspecified (`::`) where it doesn't run over IP.
    pub src: Address,
    /// Outer address of the tunnel's receiving end; unspecified (`::`) where it doesn't run over IP.
    pub dst: Address,
}

impl Tunnel {
    /// Whether it runs over IP, so that `src` and `dst` are addresses.
    pub fn has_ends(&self) -> bool {
        self.src.octets() != [0; 16] || self.dst.octets() != [0; 16]
    }
}

/// An encapsulation: the number that records carry it by. The module's table names the standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Kind(pub u8);

impl Kind {
    /// MPLS label stack.
    pub const MPLS: Self = Self(1);
    /// PPP over Ethernet.
    pub const PPPOE: Self = Self(2);
    /// IPv4 or IPv6 directly in IPv4 or IPv6.
    pub const IP: Self = Self(3);
    /// Generic routing encapsulation.
    pub const GRE: Self = Self(4);
    /// Virtual extensible LAN.
    pub const VXLAN: Self = Self(5);
    /// Generic network virtualisation encapsulation.
    pub const GENEVE: Self = Self(6);
    /// GPRS tunnelling, user plane.
    pub const GTP_U: Self = Self(7);

    /// The encapsulation as reports name it: lower case; `unknown` for a number without a constant above.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MPLS => "mpls",
            Self::PPPOE => "pppoe",
            Self::IP => "ip",
            Self::GRE => "gre",
            Self::VXLAN => "vxlan",
            Self::GENEVE => "geneve",
            Self::GTP_U => "gtp-u",
            _ => "unknown",
        }
    }
}

/// The tunnel entered last, whose addresses aren't read yet. In words that are opaque to the verifier.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Outer {
    /// [`Kind`], 0 for none.
    kind: u64,
    /// [`Tunnel::id`].
    id: u64,
    /// Offset of the network header around it, in bytes.
    header_at: u64,
    /// IP version of that header; 0 where there is none.
    version: u64,
}

impl Outer {
    /// Reads the tunnel's outer addresses. Returns `None` where no tunnel was entered.
    #[inline(always)]
    pub(crate) fn tunnel<P: Packet + ?Sized>(&self, packet: &P) -> Option<Tunnel> {
        if self.kind == 0 {
            return None;
        }
        let nowhere = Address::from_ip6([0; 16]);
        let (src, dst) = if self.version == 0 {
            (nowhere, nowhere)
        } else {
            let fields =
                Network::outer(packet.opaque_cursor(self.header_at as usize), self.version).fields(packet)?;
            (fields.src, fields.dst)
        };
        Some(Tunnel { kind: Kind(self.kind as u8), id: self.id as u32, src, dst })
    }
}

/// Whether a layer is a tunnel below IP.
#[inline(always)]
pub(crate) const fn is_below_ip(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::MPLS | ethertype::MPLS_UPSTREAM | ethertype::PPPOE)
}

/// Whether the payload of `network` may be a tunnel: a cheap test, since most payloads are none.
#[inline(always)]
pub(crate) fn may_follow<P: Packet + ?Sized>(packet: &P, network: &Network) -> bool {
    may_begin(packet, network.protocol, packet.opaque_cursor(network.payload_at))
}

/// Whether a tunnel may begin at `at`, where a header of `protocol` does.
#[inline(always)]
pub(crate) fn may_begin<P: Packet + ?Sized>(packet: &P, protocol: u64, at: usize) -> bool {
    match protocol {
        protocol::UDP => {
            // One comparison for most of UDP: QUIC and DNS lie below, ephemeral ports above.
            let port = packet.read(at + 2).map_or(0, u16::from_be_bytes);
            (port::GTP_U..=port::VXLAN_OLD).contains(&port) && is_port(port)
        }
        protocol::IP4 | protocol::IP6 | protocol::GRE | protocol::MPLS => true,
        _ => false,
    }
}

/// What a tunnel's header says.
struct Header {
    kind: Kind,
    id: u32,
    inside: Layer,
}

/// IP protocol numbers (IANA).
mod protocol {
    pub(super) const IP4: u64 = 4;
    pub(super) const UDP: u64 = 17;
    pub(super) const IP6: u64 = 41;
    pub(super) const GRE: u64 = 47;
    pub(super) const MPLS: u64 = 137;
}

/// The innermost network header, which carries TCP, and the tunnel around it. All words, and no gaps: the
/// kernel programs pass it to subprograms by its address, and the verifier wants every byte of it written.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct InnerHeader {
    /// The fields of [`Network`] except the protocol, which is TCP.
    header_at: u64,
    version: u64,
    payload_at: u64,
    payload_end: u64,
    outer: Outer,
}

impl InnerHeader {
    /// Takes over the network header.
    #[inline(always)]
    pub(crate) fn set(&mut self, network: &Network) {
        self.header_at = network.header_at as u64;
        self.version = network.version;
        self.payload_at = network.payload_at as u64;
        self.payload_end = network.payload_end as u64;
    }

    /// The network header.
    #[inline(always)]
    pub(crate) fn network<P: Packet + ?Sized>(&self, packet: &P) -> Network {
        Network {
            header_at: packet.opaque_cursor(self.header_at as usize),
            version: self.version,
            protocol: ip::TCP,
            payload_at: packet.opaque_cursor(self.payload_at as usize),
            payload_end: self.payload_end as usize,
        }
    }

    /// A key that tells the tunnel around it from others: kind and id. 0 for none.
    #[inline(always)]
    pub fn tunnel_key(&self) -> u64 {
        self.outer.id << 8 | self.outer.kind
    }

    /// Reads the tunnel around it from `packet`; `None` where there is none.
    #[inline(always)]
    pub(crate) fn tunnel<P: Packet + ?Sized>(&self, packet: &P) -> Option<Tunnel> {
        self.outer.tunnel(packet)
    }
}

/// The decapsulation cursor: it goes down through layers and tunnels until it reaches TCP. In words as
/// [`InnerHeader`], and for the same reason.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct DecapCursor {
    /// EtherType of the next layer.
    ethertype: u64,
    /// Offset of the next layer in the frame, in bytes.
    at: u64,
    /// The innermost network header, once it is reached, and the tunnel entered last.
    pub inner: InnerHeader,
}

impl DecapCursor {
    /// Goes down from `layer` to TCP, through [`MAX_TUNNELS`] tunnels at most.
    ///
    /// # Errors
    /// The [`Skip`] reason of the first layer that holds nothing for tmap.
    #[inline(always)]
    pub(crate) fn follow<P: Packet + ?Sized>(&mut self, packet: &P, layer: Layer) -> Result<(), Skip> {
        let Layer { ethertype, at } = layer.opaque(packet);
        self.ethertype = ethertype.into();
        self.at = at as u64;
        for _ in 0..=MAX_TUNNELS {
            if packet.next_layer(self)? {
                return Ok(());
            }
        }
        Err(Skip::TunnelTooDeep)
    }

    /// Goes one layer down, past a network header. Returns `true` where it carries TCP; else the cursor has
    /// entered the tunnel that it carries.
    ///
    /// # Errors
    /// The [`Skip`] reason of the first header that holds nothing for tmap.
    #[inline(always)]
    pub fn next_layer<P: Packet + ?Sized>(&mut self, packet: &P) -> Result<bool, Skip> {
        let layer = Layer { ethertype: self.ethertype as u16, at: packet.opaque_cursor(self.at as usize) };
        let layer = self.below_ip(packet, layer)?;
        let network = ip::parse(packet, layer.network()?)?.opaque(packet);
        if network.is_tcp() {
            self.inner.set(&network);
            return Ok(true);
        }
        let mut layer = self.enter(packet, &network)?;
        if layer.ethertype == ethertype::ETHERNET {
            // A whole frame: its own EtherType follows the addresses.
            let inner = packet.read(layer.at + 12).ok_or(Skip::TunnelTruncated)?;
            layer = Layer { ethertype: u16::from_be_bytes(inner), at: packet.opaque_cursor(layer.at + 14) };
            layer = layer.behind_tags(packet)?;
        }
        self.ethertype = layer.ethertype.into();
        self.at = layer.at as u64;
        Ok(false)
    }

    /// Decapsulates MPLS or PPPoE. It is noted as the tunnel only where it isn't itself inside another.
    #[inline(always)]
    fn below_ip<P: Packet + ?Sized>(&mut self, packet: &P, layer: Layer) -> Result<Layer, Skip> {
        let (kind, (id, inside)) = match layer.ethertype {
            ethertype::MPLS | ethertype::MPLS_UPSTREAM => (Kind::MPLS, mpls(packet, layer.at)?),
            ethertype::PPPOE => (Kind::PPPOE, pppoe(packet, layer.at)?),
            _ => return Ok(layer),
        };
        let outer = &mut self.inner.outer;
        if outer.kind == 0 || outer.kind == u64::from(kind.0) {
            outer.kind = packet.opaque(u64::from(kind.0));
            outer.id = packet.opaque(u64::from(id));
        }
        Ok(inside.opaque(packet))
    }

    /// Enters the tunnel in `network`'s payload.
    ///
    /// # Errors
    /// [`Skip::NotTcp`] where there is none, [`Skip::TunnelTruncated`] or [`Skip::TunnelTooDeep`].
    #[inline(always)]
    fn enter<P: Packet + ?Sized>(&mut self, packet: &P, network: &Network) -> Result<Layer, Skip> {
        let at = packet.opaque_cursor(network.payload_at);
        if at > MAX_LAYER_AT {
            return Err(Skip::TunnelTooDeep);
        }
        let direct = |ethertype| Header { kind: Kind::IP, id: 0, inside: Layer { ethertype, at } };
        let header = match network.protocol {
            protocol::IP4 => direct(ethertype::IP4),
            protocol::IP6 => direct(ethertype::IP6),
            protocol::MPLS => Header { kind: Kind::MPLS, ..direct(ethertype::MPLS) },
            protocol::GRE => gre(packet, at)?,
            protocol::UDP => udp(packet, at)?,
            _ => return Err(Skip::NotTcp),
        };
        self.inner.outer = Outer {
            kind: packet.opaque(u64::from(header.kind.0)),
            id: packet.opaque(u64::from(header.id)),
            header_at: packet.opaque(network.header_at as u64),
            version: packet.opaque(network.version),
        };
        if header.inside.at > MAX_LAYER_AT {
            Err(Skip::TunnelTooDeep)
        } else {
            Ok(header.inside.opaque(packet))
        }
    }
}

/// GRE: checksum, key and sequence number are there or not, in this order.
#[inline(always)]
fn gre<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Header, Skip> {
    let [flags, version, high, low] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
    // Routing (RFC 1701) is obsolete; version 1 (PPTP) carries PPP.
    if flags & 0x40 != 0 || version & 0x07 != 0 {
        return Err(Skip::NotTcp);
    }
    let bit = |mask: u8| usize::from(flags & mask != 0);
    let key_at = packet.opaque_cursor(at + 4 + 4 * bit(0x80));
    let id = if bit(0x20) != 0 {
        u32::from_be_bytes(packet.read(key_at).ok_or(Skip::TunnelTruncated)?)
    } else {
        0
    };
    let at = packet.opaque_cursor(key_at + 4 * bit(0x20) + 4 * bit(0x10));
    Ok(Header { kind: Kind::GRE, id, inside: Layer { ethertype: u16::from_be_bytes([high, low]), at } })
}

/// UDP ports (IANA).
mod port {
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const VXLAN: u16 = 4789;
    /// Linux's own default for VXLAN, from before there was an assigned port; overlays of
    /// containers still use it.
    pub(super) const VXLAN_OLD: u16 = 8472;
    pub(super) const GENEVE: u16 = 6081;
}

#[inline(always)]
const fn is_port(port: u16) -> bool {
    matches!(port, port::GTP_U | port::VXLAN | port::VXLAN_OLD | port::GENEVE)
}

/// The tunnels over UDP, by destination port. All have a header of at least eight bytes.
#[inline(always)]
fn udp<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Header, Skip> {
    let [_, _, high, low] = packet.read(at).ok_or(Skip::NotTcp)?;
    let port = u16::from_be_bytes([high, low]);
    if !is_port(port) {
        return Err(Skip::NotTcp);
    }
    let at = at + 8;
    let header: [u8; 8] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
    let [first, second, high, low, i0, i1, i2, i3] = header;
    let id = u32::from_be_bytes([i0, i1, i2, i3]);
    match port {
        // The flag says that there is a VNI; without, it isn't VXLAN.
        port::VXLAN | port::VXLAN_OLD if first & 0x08 != 0 => {
            let inside = Layer { ethertype: ethertype::ETHERNET, at: at + 8 };
            Ok(Header { kind: Kind::VXLAN, id: id >> 8, inside })
        }
        port::GENEVE if first >> 6 == 0 => {
            let at = packet.opaque_cursor(at + 8 + usize::from(first & 0x3f) * 4);
            let inside = Layer { ethertype: u16::from_be_bytes([high, low]), at };
            Ok(Header { kind: Kind::GENEVE, id: id >> 8, inside })
        }
        // Version 1, GTP rather than GTP', a user's packet.
        port::GTP_U if first & 0xf0 == 0x30 && second == 0xff => {
            Ok(Header { kind: Kind::GTP_U, id, inside: gtp_u(packet, at, first)? })
        }
        _ => Err(Skip::NotTcp),
    }
}

/// GTP-U extension headers followed before a packet is called too deep.
const MAX_GTP_EXTENSIONS: usize = 4;

/// What follows the eight mandatory bytes of a GTP-U header at `at`.
#[inline(always)]
fn gtp_u<P: Packet + ?Sized>(packet: &P, at: usize, flags: u8) -> Result<Layer, Skip> {
    let mut at = at + 8;
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
        if flags & 0x04 == 0 {
            next = 0;
        }
        at = packet.opaque_cursor(at + 4);
        for _ in 0..MAX_GTP_EXTENSIONS {
            if next == 0 {
                break;
            }
            let [words] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
            if words == 0 {
                return Err(Skip::NotTcp);
            }
            let last_at = packet.opaque_cursor(at + usize::from(words) * 4 - 1);
            [next] = packet.read(last_at).ok_or(Skip::TunnelTruncated)?;
            at = packet.opaque_cursor(last_at + 1);
        }
        if next != 0 {
            return Err(Skip::TunnelTooDeep);
        }
    }
    Ok(Layer { ethertype: ethertype::ANY_IP, at })
}

/// MPLS labels followed before a packet is called too deep.
const MAX_LABELS: usize = 6;

/// Follows a label stack at `at`: the bottom label and what lies behind it.
///
/// The stack doesn't say what it carries; IP shows in the first four bits, as routers guess too
/// (RFC 4928). A pseudowire's control word begins with 0 and is [`Skip::NotIp`].
#[inline(always)]
pub(crate) fn mpls<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<(u32, Layer), Skip> {
    let mut at = at;
    for _ in 0..MAX_LABELS {
        let [high, middle, low, _] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
        at = packet.opaque_cursor(at + 4);
        if low & 1 != 0 {
            let label = u32::from_be_bytes([0, high, middle, low]) >> 4;
            return Ok((label, Layer { ethertype: ethertype::ANY_IP, at }));
        }
    }
    Err(Skip::TunnelTooDeep)
}

/// Reads the PPPoE session header and the PPP protocol at `at`: the session and what it carries.
#[inline(always)]
pub(crate) fn pppoe<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<(u32, Layer), Skip> {
    let [version, code, high, low, _, _, p0, p1] = packet.read(at).ok_or(Skip::TunnelTruncated)?;
    let ethertype = match (version, code, u16::from_be_bytes([p0, p1])) {
        (0x11, 0, 0x0021) => ethertype::IP4,
        (0x11, 0, 0x0057) => ethertype::IP6,
        _ => return Err(Skip::NotIp),
    };
    Ok((u32::from(u16::from_be_bytes([high, low])), Layer { ethertype, at: packet.opaque_cursor(at + 8) }))
}
