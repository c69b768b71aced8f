//! Decapsulation: from a header that isn't TCP's to the next layer inside.
//!
//! | kind | recognised by | identified by |
//! |---|---|---|
//! | MPLS, also with Ethernet inside (RFC 3032, 4023, 4448, 7510) | EtherType 0x8847, 0x8848; IP protocol 137; UDP port 6635 | label at the bottom of the stack |
//! | PPPoE session (RFC 2516) | EtherType 0x8864 | session |
//! | NSH (RFC 8300) | EtherType 0x894f | service path |
//! | MAC-in-MAC (IEEE 802.1ah) | EtherType 0x88e7 | service instance |
//! | FabricPath (Cisco), TRILL (RFC 6325) | EtherType 0x8903, 0x22f3 | |
//! | IP in IP (RFC 2003, 2473, 4213) | IP protocol 4, 41 | |
//! | GRE, also with Ethernet inside (RFC 2784, 2890, 7637, 8086) | IP protocol 47, version 0; UDP port 4754 | key |
//! | ERSPAN I, II and III (draft-foschiano-erspan) | GRE protocol 0x88be, 0x22eb | session |
//! | PPTP (RFC 2637) | IP protocol 47, version 1 | call |
//! | VXLAN (RFC 7348) | UDP ports 4789, 8472 | VNI |
//! | VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe) | UDP port 4790 | VNI |
//! | Geneve (RFC 8926) | UDP port 6081 | VNI |
//! | GTP-U (3GPP TS 29.281) | UDP port 2152 | TEID |
//! | Teredo (RFC 4380) | UDP port 3544, either end | |
//! | L2TP version 2 (RFC 2661) | UDP port 1701, either end | tunnel, session |
//! | CAPWAP with Ethernet inside (RFC 5415) | UDP port 5247, either end | |
//!
//! Tags between Ethernet addresses and EtherType are stepped over, and are no tunnels: VLAN tags, E-tags
//! (IEEE 802.1BR), VN-tags and security group tags (Cisco), HSR's tags (IEC 62439-3), MACsec that isn't
//! encrypted (IEEE 802.1AE), and LLC/SNAP (RFC 1042).
//!
//! What can't be read has a [`Skip`] reason of its own: ESP, encrypted MACsec, compressed or encrypted PPP,
//! CAPWAP with radio frames, and L2TPv3. The length of L2TPv3's cookie is agreed elsewhere (RFC 3931), so
//! nothing in the packet says where the payload begins.

use crate::{
    Address, Packet, Skip,
    ip::{self, Network},
    link::{Layer, ethertype, is_vlan},
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
    /// does. L2TP's is the tunnel in the upper 16 bits and the session in the lower ones.
    pub id: u32,
    /// Whether it runs over IP, so that `src` and `dst` are addresses.
    pub is_over_ip: bool,
    /// Outer address of the tunnel's sending end; unspecified (`::`) where it doesn't run over IP.
    pub src: Address,
    /// Outer address of the tunnel's receiving end; unspecified (`::`) where it doesn't run over IP.
    pub dst: Address,
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
    /// Encapsulated remote switch port analyser: mirrored frames.
    pub const ERSPAN: Self = Self(8);
    /// VXLAN's generic protocol extension.
    pub const VXLAN_GPE: Self = Self(9);
    /// Network service header.
    pub const NSH: Self = Self(10);
    /// IPv6 through NATs.
    pub const TEREDO: Self = Self(11);
    /// Point-to-point tunnelling protocol.
    pub const PPTP: Self = Self(12);
    /// Layer 2 tunnelling protocol, version 2.
    pub const L2TP: Self = Self(13);
    /// Provider backbone bridges: MAC-in-MAC.
    pub const PBB: Self = Self(14);
    /// Cisco FabricPath.
    pub const FABRICPATH: Self = Self(15);
    /// Transparent interconnection of lots of links.
    pub const TRILL: Self = Self(16);
    /// Control and provisioning of wireless access points.
    pub const CAPWAP: Self = Self(17);

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
            Self::ERSPAN => "erspan",
            Self::VXLAN_GPE => "vxlan-gpe",
            Self::NSH => "nsh",
            Self::TEREDO => "teredo",
            Self::PPTP => "pptp",
            Self::L2TP => "l2tp",
            Self::PBB => "pbb",
            Self::FABRICPATH => "fabricpath",
            Self::TRILL => "trill",
            Self::CAPWAP => "capwap",
            _ => "unknown",
        }
    }

    /// Whether a UDP datagram to this port is taken for an overlay's of this kind, or for GRE. Of other
    /// kinds nobody asks.
    pub const fn has_udp_port(self, port: u16) -> bool {
        match self {
            Self::VXLAN => matches!(port, port::VXLAN | port::VXLAN_OLD),
            Self::VXLAN_GPE => port == port::VXLAN_GPE,
            Self::GENEVE => port == port::GENEVE,
            Self::GRE => port == port::GRE,
            _ => false,
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
        let is_over_ip = self.version != 0;
        Some(Tunnel { kind: Kind(self.kind as u8), id: self.id as u32, is_over_ip, src, dst })
    }
}

/// Whether a UDP datagram between these ports may be a tunnel: a cheap test, since most are none. It says yes
/// to some ports that no tunnel has.
#[inline(always)]
pub(crate) const fn may_begin(src_port: u16, dst_port: u16) -> bool {
    may_be_port(src_port) || may_be_port(dst_port)
}

/// Whether `port` may be a tunnel's: the ports of tunnels lie in a range above QUIC and DNS and below
/// ephemeral ports, and are told apart from most others there by their lowest six bits.
#[inline(always)]
const fn may_be_port(port: u16) -> bool {
    const BITS: u64 = {
        let (mut bits, mut index) = (0, 0);
        while index < port::ALL.len() {
            bits |= 1 << (port::ALL[index] & 63);
            index += 1;
        }
        bits
    };
    port.wrapping_sub(port::L2TP) <= port::VXLAN_OLD - port::L2TP && BITS >> (port & 63) & 1 != 0
}

/// IP protocol numbers (IANA).
mod protocol {
    pub(super) const IP4: u64 = 4;
    pub(super) const UDP: u64 = 17;
    pub(super) const IP6: u64 = 41;
    pub(super) const GRE: u64 = 47;
    pub(super) const MPLS: u64 = 137;
}

/// Numbers for layers that have no EtherType, above all EtherTypes. In [`DecapCursor::layer`] only.
mod layer {
    /// Ethernet's type field, wherever it is: what it says is the layer behind.
    pub(super) const TYPE_FIELD: u64 = 1 << 16;
    /// GRE's header.
    pub(super) const GRE: u64 = 2 << 16;
    /// An extension header of GTP-U.
    pub(super) const GTP_EXTENSION: u64 = 3 << 16;
    /// What a UDP datagram to or from a port carries: plus the port.
    pub(super) const UDP: u64 = 4 << 16;
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

    /// Reads the tunnel around it from `packet`; `None` where there is none.
    #[inline(always)]
    pub(crate) fn tunnel<P: Packet + ?Sized>(&self, packet: &P) -> Option<Tunnel> {
        self.outer.tunnel(packet)
    }
}

/// Headers below IP that are followed in each layer before it is called too deep: tags, labels, and headers
/// of tunnels.
pub const MAX_HEADERS: usize = 16;

/// The decapsulation cursor: it goes down through layers and tunnels until it reaches TCP. In words as
/// [`InnerHeader`], and for the same reason.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct DecapCursor {
    /// EtherType of the next layer, or one of the numbers in [`layer`].
    layer: u64,
    /// Offset of the next layer in the frame, in bytes.
    at: u64,
    /// The header read last.
    header: Header,
    /// The innermost network header, once it is reached, and the tunnel entered last.
    pub inner: InnerHeader,
}

impl DecapCursor {
    /// Goes down from `first` to TCP, through [`MAX_TUNNELS`] tunnels at most.
    ///
    /// # Errors
    /// The [`Skip`] reason of the first layer that holds nothing for tmap.
    #[inline(always)]
    pub(crate) fn follow<P: Packet + ?Sized>(&mut self, packet: &P, first: Layer) -> Result<(), Skip> {
        self.layer = packet.opaque(first.ethertype.into());
        self.at = first.at as u64;
        for _ in 0..=MAX_TUNNELS {
            if packet.next_layer(self)? {
                return Ok(());
            }
        }
        Err(Skip::TunnelTooDeep)
    }

    /// Goes one layer down, past headers below IP and a network header. Returns `true` where that carries
    /// TCP; else the cursor is at the tunnel that it carries.
    ///
    /// # Errors
    /// The [`Skip`] reason of the first header that holds nothing for tmap.
    #[inline(always)]
    pub fn next_layer<P: Packet + ?Sized>(&mut self, packet: &P) -> Result<bool, Skip> {
        for _ in 0..MAX_HEADERS {
            if is_network(self.layer) {
                break;
            }
            packet.next_header(self)?;
        }
        if !is_network(self.layer) {
            return Err(if is_vlan(self.layer as u16) { Skip::VlanTooDeep } else { Skip::TunnelTooDeep });
        }
        let layer = Layer { ethertype: self.layer as u16, at: packet.opaque_cursor(self.at as usize) };
        let network = ip::parse(packet, layer.network()?)?.opaque(packet);
        if network.is_tcp() {
            self.inner.set(&network);
            return Ok(true);
        }
        self.enter(packet, &network)?;
        Ok(false)
    }

    /// Moves to the tunnel in `network`'s payload.
    ///
    /// # Errors
    /// [`Skip::NotTcp`] or another name of what there is instead, or [`Skip::TunnelTooDeep`].
    #[inline(always)]
    fn enter<P: Packet + ?Sized>(&mut self, packet: &P, network: &Network) -> Result<(), Skip> {
        let at = packet.opaque_cursor(network.payload_at);
        let (mut kind, mut behind) = (0, 0);
        self.layer = match network.protocol {
            protocol::IP4 => {
                kind = Kind::IP.0;
                ethertype::IP4.into()
            }
            protocol::IP6 => {
                kind = Kind::IP.0;
                ethertype::IP6.into()
            }
            protocol::MPLS => ethertype::MPLS.into(),
            protocol::GRE => layer::GRE,
            protocol::UDP => {
                behind = 8;
                udp(packet, at)?
            }
            _ => return Err(network.skip()),
        };
        let at = packet.opaque_cursor(at + behind);
        if at > MAX_LAYER_AT {
            return Err(Skip::TunnelTooDeep);
        }
        self.at = at as u64;
        self.inner.outer = Outer {
            kind: packet.opaque(kind.into()),
            id: packet.opaque(0),
            header_at: packet.opaque(network.header_at as u64),
            version: packet.opaque(network.version),
        };
        Ok(())
    }

    /// Moves past one header below IP: a tag, a label, or the header of a tunnel.
    ///
    /// # Errors
    /// [`Skip::NotIp`] where the layer is none of these; another reason where the header says that there is
    /// nothing for tmap.
    #[inline(always)]
    pub fn next_header<P: Packet + ?Sized>(&mut self, packet: &P) -> Result<(), Skip> {
        let at = packet.opaque_cursor(self.at as usize);
        let Some(head) = packet.read(at) else { return Err(without_header(self.layer)) };
        self.header = Header::read(packet, self.layer, at, head)?;
        packet.settle(self);
        let Header { kind, id, layer, bytes } = self.header;
        let outer = &mut self.inner.outer;
        // A tunnel below IP is noted only where it isn't itself inside another; of labels the innermost.
        if kind != 0 && (outer.kind == 0 || outer.kind == kind) {
            outer.kind = kind;
            outer.id = id;
        }
        let mut at = packet.opaque_cursor(self.at as usize) + bytes as usize;
        let mut layer = layer;
        if layer == layer::TYPE_FIELD {
            let Some(ethertype) = packet.read(packet.opaque_cursor(at)) else {
                return Err(without_header(self.layer));
            };
            layer = u16::from_be_bytes(ethertype).into();
            at += 2;
        }
        if at > MAX_LAYER_AT {
            return Err(Skip::TunnelTooDeep);
        }
        self.layer = layer;
        self.at = at as u64;
        Ok(())
    }
}

/// Whether a layer is IP's.
#[inline(always)]
const fn is_network(layer: u64) -> bool {
    const IP4: u64 = ethertype::IP4 as u64;
    const IP6: u64 = ethertype::IP6 as u64;
    const ANY_IP: u64 = ethertype::ANY_IP as u64;
    matches!(layer, IP4 | IP6 | ANY_IP)
}

/// The reason to skip a frame that ends inside the header of `layer`.
#[inline(always)]
const fn without_header(layer: u64) -> Skip {
    const NAT_TRAVERSAL: u64 = layer::UDP | port::NAT_TRAVERSAL as u64;
    if layer == NAT_TRAVERSAL {
        // A keepalive of one byte (RFC 3948).
        Skip::NotTcp
    } else if layer >> 16 != 0 || is_tunnel(layer as u16) {
        Skip::TunnelTruncated
    } else if is_vlan(layer as u16) || is_tag(layer as u16) {
        Skip::LinkTruncated
    } else {
        Skip::NotIp
    }
}

/// Whether an EtherType is a tunnel's.
#[inline(always)]
const fn is_tunnel(ethertype: u16) -> bool {
    matches!(
        ethertype,
        ethertype::MPLS
            | ethertype::MPLS_UPSTREAM
            | ethertype::PPPOE
            | ethertype::PPP
            | ethertype::NSH
            | ethertype::PBB
            | ethertype::FABRICPATH
            | ethertype::TRILL
            | ethertype::ERSPAN
            | ethertype::ERSPAN3
            | ethertype::ETHERNET
    )
}

/// Whether an EtherType is that of a tag other than VLAN's.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(
        ethertype,
        ethertype::CMD | ethertype::ETAG | ethertype::VN_TAG | ethertype::HSR | ethertype::MACSEC
    )
}

/// What a header below IP says. In words as [`InnerHeader`].
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Header {
    /// The tunnel's [`Kind`]; 0 for a tag.
    kind: u64,
    /// [`Tunnel::id`].
    id: u64,
    /// The layer behind.
    layer: u64,
    /// How far behind the header's first byte that begins, in bytes.
    bytes: u64,
}

/// Numbers of layers that headers are told apart by, in the type of [`DecapCursor::layer`].
macro_rules! layers {
    ($($name:ident)+) => { $(const $name: u64 = ethertype::$name as u64;)+ };
}

layers!(IP4 IP6 ANY_IP VLAN QINQ QINQ_OLD MPLS MPLS_UPSTREAM PPPOE ETHERNET PPP CMD ETAG VN_TAG HSR MACSEC PBB
    FABRICPATH TRILL NSH ERSPAN ERSPAN3 MAX_LENGTH);

/// Bytes of Ethernet addresses before the type field.
const ADDRESSES: usize = 12;

impl Header {
    /// The header of a tunnel.
    #[inline(always)]
    const fn new(kind: Kind, id: u32, layer: u64, bytes: usize) -> Self {
        Self { kind: kind.0 as u64, id: id as u64, layer, bytes: bytes as u64 }
    }

    /// A tunnel's header before Ethernet's type field.
    #[inline(always)]
    const fn typed(kind: Kind, id: u32, bytes: usize) -> Self {
        Self::new(kind, id, layer::TYPE_FIELD, bytes)
    }

    /// A header that isn't a tunnel's.
    #[inline(always)]
    const fn plain(layer: u64, bytes: usize) -> Self {
        Self::new(Kind(0), 0, layer, bytes)
    }

    /// A tag before Ethernet's type field.
    #[inline(always)]
    const fn tag(bytes: usize) -> Self {
        Self::plain(layer::TYPE_FIELD, bytes)
    }

    /// Reads the header of `layer` at `at`, which begins with `head`.
    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &P, layer: u64, at: usize, head: [u8; 4]) -> Result<Self, Skip> {
        let [b0, b1, _, b3] = head;
        let word = u32::from_be_bytes(head);
        Ok(match layer {
            VLAN | QINQ | QINQ_OLD => Self::tag(2),
            VN_TAG | HSR => Self::tag(4),
            CMD | ETAG => Self::tag(6),
            ETHERNET => Self::tag(ADDRESSES),
            // Encrypted, or changed in another way (IEEE 802.1AE, 9.5); 8 bytes more where the port is named.
            MACSEC if b0 & 0x0c != 0 => return Err(Skip::MacsecEncrypted),
            MACSEC => Self::tag(6 + usize::from(b0 & 0x20) / 4),
            PBB => Self::typed(Kind::PBB, word & 0xff_ffff, 4 + ADDRESSES),
            FABRICPATH => Self::typed(Kind::FABRICPATH, 0, 2 + ADDRESSES),
            // Options in words of 4 bytes (RFC 6325, section 3.5).
            TRILL => Self::typed(Kind::TRILL, 0, 6 + (word >> 22 & 31) as usize * 4 + ADDRESSES),
            ERSPAN => Self::typed(Kind::ERSPAN, word & 0x3ff, 8 + ADDRESSES),
            ERSPAN3 => {
                let [flags] = packet.read(at + 11).ok_or(Skip::TunnelTruncated)?;
                Self::typed(Kind::ERSPAN, word & 0x3ff, 12 + usize::from(flags & 1) * 8 + ADDRESSES)
            }
            MPLS | MPLS_UPSTREAM => return mpls(packet, at, word),
            PPPOE if word >> 16 == 0x1100 => Self::new(Kind::PPPOE, word & 0xffff, PPP, 6),
            PPP => return ppp(head),
            NSH if b0 >> 6 == 0 => {
                let path = u32::from_be_bytes(packet.read(at + 4).ok_or(Skip::TunnelTruncated)?) >> 8;
                Self::new(Kind::NSH, path, next_protocol(b3)?, usize::from(b1 & 63) * 4)
            }
            // LLC with SNAP, and an organisation that stands for EtherTypes (RFC 1042, IEEE 802.1H).
            ..=MAX_LENGTH if word == 0xaaaa_0300 => match packet.read(at + 4).ok_or(Skip::LinkTruncated)? {
                [0, 0 | 0xf8] => Self::tag(6),
                _ => return Err(Skip::NotIp),
            },
            layer::GRE => return gre(packet, at, head),
            layer::GTP_EXTENSION => {
                if b0 == 0 {
                    return Err(Skip::NotTcp);
                }
                let bytes = usize::from(b0) * 4;
                let last_at = packet.opaque_cursor(at + bytes - 1);
                let [next] = packet.read(last_at).ok_or(Skip::TunnelTruncated)?;
                Self::plain(behind_gtp(next), bytes)
            }
            _ if layer >= layer::UDP => return over_udp(packet, layer as u16, at, head),
            _ => return Err(Skip::NotIp),
        })
    }
}

/// The layer that VXLAN-GPE and NSH call by this number (RFC 8300, section 2.2).
#[inline(always)]
const fn next_protocol(number: u8) -> Result<u64, Skip> {
    Ok(match number {
        1 => IP4,
        2 => IP6,
        3 => ETHERNET,
        4 => NSH,
        5 => MPLS,
        _ => return Err(Skip::NotIp),
    })
}

/// One label of MPLS, and what follows it.
///
/// The stack doesn't say what it carries. IP shows in the first four bits, as routers guess too (RFC 4928);
/// anything else is Ethernet, with or without a control word (RFC 4448, section 4.6), which begins with four
/// zeros. So can an address, hence the control word is believed where a known type follows behind it.
#[inline(always)]
fn mpls<P: Packet + ?Sized>(packet: &P, at: usize, entry: u32) -> Result<Header, Skip> {
    if entry & 0x100 == 0 {
        return Ok(Header::plain(MPLS, 4));
    }
    let [first] = packet.read(at + 4).ok_or(Skip::TunnelTruncated)?;
    let (layer, bytes) = match first >> 4 {
        4 | 6 => (ANY_IP, 4),
        0 => {
            let behind = packet.read(at + 8 + ADDRESSES).map_or(0, u16::from_be_bytes);
            let is_known = matches!(behind, ethertype::IP4 | ethertype::IP6) || is_vlan(behind);
            (ETHERNET, if is_known { 8 } else { 4 })
        }
        _ => (ETHERNET, 4),
    };
    Ok(Header::new(Kind::MPLS, entry >> 12, layer, bytes))
}

/// PPP: address and control, unless they are left out, and the protocol, in one byte or two (RFC 1661,
/// sections 6.5 and 6.6).
#[inline(always)]
fn ppp(head: [u8; 4]) -> Result<Header, Skip> {
    let (number, skipped) = match head {
        [0xff, 0x03, high, low] => ([high, low], 2),
        [high, low, _, _] => ([high, low], 0),
    };
    let (number, bytes) =
        if number[0] & 1 == 1 { (number[0].into(), 1) } else { (u16::from_be_bytes(number), 2) };
    let layer = match number {
        0x0021 => IP4,
        0x0057 => IP6,
        0x0281 => MPLS,
        // Compressed or encrypted, on one link of several or all (RFC 1962, 3078).
        0x00fb | 0x00fd => return Err(Skip::PppCompressed),
        _ => return Err(Skip::NotIp),
    };
    Ok(Header::plain(layer, skipped + bytes))
}

/// GRE: checksum, key and sequence number are there or not, in this order. Version 1 is PPTP.
#[inline(always)]
fn gre<P: Packet + ?Sized>(packet: &P, at: usize, head: [u8; 4]) -> Result<Header, Skip> {
    let [flags, version, high, low] = head;
    let protocol = u16::from_be_bytes([high, low]).into();
    let words = |byte: u8, mask: u8| usize::from(byte & mask != 0) * 4;
    if version & 7 == 1 {
        // Without a sequence number there is no payload (RFC 2637, section 4.1).
        if flags & 0x10 == 0 || protocol != PPP {
            return Err(Skip::NotTcp);
        }
        let call = u16::from_be_bytes(packet.read(at + 6).ok_or(Skip::TunnelTruncated)?);
        return Ok(Header::new(Kind::PPTP, call.into(), PPP, 12 + words(version, 0x80)));
    }
    // Routing (RFC 1701) is obsolete.
    if flags & 0x40 != 0 || version & 7 != 0 {
        return Err(Skip::NotTcp);
    }
    let key_at = packet.opaque_cursor(4 + words(flags, 0x80));
    let id = if flags & 0x20 != 0 {
        u32::from_be_bytes(packet.read(at + key_at).ok_or(Skip::TunnelTruncated)?)
    } else {
        0
    };
    let bytes = key_at + words(flags, 0x20) + words(flags, 0x10);
    let kind = if protocol == ERSPAN || protocol == ERSPAN3 { Kind::ERSPAN } else { Kind::GRE };
    // ERSPAN of type I has neither a sequence number nor a header.
    let layer = if protocol == ERSPAN && flags & 0x10 == 0 { ETHERNET } else { protocol };
    Ok(Header::new(kind, id, layer, bytes))
}

/// UDP ports (IANA).
mod port {
    pub(super) const L2TP: u16 = 1701;
    pub(super) const GTP_U: u16 = 2152;
    pub(super) const TEREDO: u16 = 3544;
    /// IKE and ESP behind NATs.
    pub(super) const NAT_TRAVERSAL: u16 = 4500;
    pub(super) const GRE: u16 = 4754;
    pub(super) const VXLAN: u16 = 4789;
    pub(super) const VXLAN_GPE: u16 = 4790;
    pub(super) const CAPWAP: u16 = 5247;
    pub(super) const GENEVE: u16 = 6081;
    pub(super) const MPLS: u16 = 6635;
    /// Linux's own default for VXLAN, from before there was an assigned port; overlays of
    /// containers still use it.
    pub(super) const VXLAN_OLD: u16 = 8472;

    /// All of them.
    pub(super) const ALL: [u16; 11] =
        [L2TP, GTP_U, TEREDO, NAT_TRAVERSAL, GRE, VXLAN, VXLAN_GPE, CAPWAP, GENEVE, MPLS, VXLAN_OLD];
}

/// Returns the layer in the UDP datagram at `at`, by its destination port. Of tunnels between two ends with
/// different ports the source port counts as well.
///
/// # Errors
/// [`Skip::NotTcp`].
#[inline(always)]
fn udp<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<u64, Skip> {
    let [s0, s1, d0, d1] = packet.read(at).ok_or(Skip::NotTcp)?;
    let (src_port, dst_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let is_either = matches!(src_port, port::L2TP | port::TEREDO | port::NAT_TRAVERSAL | port::CAPWAP);
    Ok(match dst_port {
        port::GRE => layer::GRE,
        port::MPLS => MPLS,
        port if is_port(port) => layer::UDP | u64::from(port),
        _ if is_either => layer::UDP | u64::from(src_port),
        _ => return Err(Skip::NotTcp),
    })
}

/// Whether a tunnel with a header of its own has this port.
#[inline(always)]
const fn is_port(port: u16) -> bool {
    matches!(
        port,
        port::L2TP
            | port::GTP_U
            | port::TEREDO
            | port::NAT_TRAVERSAL
            | port::VXLAN
            | port::VXLAN_GPE
            | port::CAPWAP
            | port::GENEVE
            | port::VXLAN_OLD
    )
}

/// The header of a tunnel over UDP at `at`, which begins with `head`.
#[inline(always)]
fn over_udp<P: Packet + ?Sized>(packet: &P, port: u16, at: usize, head: [u8; 4]) -> Result<Header, Skip> {
    let [b0, b1, b2, b3] = head;
    let word = || packet.read(at + 4).map(u32::from_be_bytes).ok_or(Skip::TunnelTruncated);
    Ok(match port {
        // The flag says that there is a VNI; without, it isn't VXLAN.
        port::VXLAN | port::VXLAN_OLD if b0 & 0x08 != 0 => {
            Header::new(Kind::VXLAN, word()? >> 8, ETHERNET, 8)
        }
        // The flag says that there is a next protocol; without, it is a frame as in VXLAN.
        port::VXLAN_GPE => {
            let layer = if b0 & 0x04 != 0 { next_protocol(b3)? } else { ETHERNET };
            Header::new(Kind::VXLAN_GPE, word()? >> 8, layer, 8)
        }
        port::GENEVE if b0 >> 6 == 0 => {
            let layer = u16::from_be_bytes([b2, b3]).into();
            Header::new(Kind::GENEVE, word()? >> 8, layer, 8 + usize::from(b0 & 63) * 4)
        }
        // Version 1, GTP rather than GTP', a user's packet.
        port::GTP_U if b0 & 0xf0 == 0x30 && b1 == 0xff => {
            let teid = word()?;
            // Sequence number, N-PDU number and the kind of the next extension header come together.
            if b0 & 0x07 == 0 {
                return Ok(Header::new(Kind::GTP_U, teid, ANY_IP, 8));
            }
            let [next] = packet.read(at + 11).ok_or(Skip::TunnelTruncated)?;
            Header::new(Kind::GTP_U, teid, behind_gtp(if b0 & 0x04 != 0 { next } else { 0 }), 12)
        }
        port::TEREDO => return teredo(head),
        port::L2TP => return l2tp(packet, at, head),
        // An Ethernet frame, whole, not encrypted, and no keepalive (RFC 5415, section 4.3).
        port::CAPWAP if b0 == 0 && b2 & 0x01 == 0 && b3 & 0x88 == 0 => {
            Header::new(Kind::CAPWAP, 0, ETHERNET, usize::from(b1 >> 3) * 4)
        }
        port::CAPWAP => return Err(Skip::Capwap),
        // Four zeros mark IKE (RFC 3948).
        port::NAT_TRAVERSAL if head != [0; 4] => return Err(Skip::Esp),
        _ => return Err(Skip::NotTcp),
    })
}

/// Teredo: authentication and origin, which either end may put before the packet (RFC 4380, section 5.1.1).
#[inline(always)]
fn teredo(head: [u8; 4]) -> Result<Header, Skip> {
    const AGAIN: u64 = layer::UDP | port::TEREDO as u64;
    let (layer, bytes) = match head {
        [0, 0, _, _] => (IP6, 8),
        [0, 1, client_bytes, value_bytes] => {
            (AGAIN, 13 + usize::from(client_bytes) + usize::from(value_bytes))
        }
        [0x60..=0x6f, ..] => (IP6, 0),
        _ => return Err(Skip::NotTcp),
    };
    Ok(Header::new(Kind::TEREDO, 0, layer, bytes))
}

/// L2TP: a length, sequence numbers and an offset are there or not (RFC 2661, section 3.1).
#[inline(always)]
fn l2tp<P: Packet + ?Sized>(packet: &P, at: usize, head: [u8; 4]) -> Result<Header, Skip> {
    let [flags, version, _, _] = head;
    match (flags & 0x80, version & 0x0f) {
        (0, 2) => {}
        (0, 3) => return Err(Skip::L2tp3),
        _ => return Err(Skip::NotTcp),
    }
    let ids_at = packet.opaque_cursor(at + 2 + usize::from(flags & 0x40) / 32);
    let id = u32::from_be_bytes(packet.read(ids_at).ok_or(Skip::TunnelTruncated)?);
    let mut end = packet.opaque_cursor(ids_at + 4 + usize::from(flags & 0x08) / 2);
    if flags & 0x02 != 0 {
        let offset = usize::from(u16::from_be_bytes(packet.read(end).ok_or(Skip::TunnelTruncated)?));
        if offset > MAX_LAYER_AT {
            return Err(Skip::TunnelTooDeep);
        }
        end = packet.opaque_cursor(end + 2 + offset);
    }
    Ok(Header::new(Kind::L2TP, id, PPP, end - at))
}

/// The layer behind a header of GTP-U that says what kind of extension header is `next`; 0 for none.
#[inline(always)]
const fn behind_gtp(next: u8) -> u64 {
    if next == 0 { ANY_IP } else { layer::GTP_EXTENSION }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{Link, parse};
    use std::{vec, vec::Vec};

    /// An acknowledgement from 192.0.2.1 to 192.0.2.2 with TSval 7, over IPv4.
    fn packet() -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 52, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
        bytes.extend([1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9]);
        bytes
    }

    /// A frame whose addresses begin with `first`.
    fn frame(first: u8, bytes: &[&[u8]]) -> Vec<u8> {
        [&[first, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &bytes.concat()].concat()
    }

    fn read(frame: &[u8]) -> Result<(Kind, u32), Skip> {
        let segment = parse(frame, Link::Ethernet, true)?;
        assert_eq!(segment.tsval, 7);
        Ok(segment.tunnel.map_or((Kind(0), 0), |tunnel| (tunnel.kind, tunnel.id)))
    }

    /// IPv4 with UDP from and to these ports.
    fn datagram(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
        let ip = [0x45, 0, 0, 200, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let udp = [src_port.to_be_bytes(), dst_port.to_be_bytes(), [0, 180], [0, 0]].concat();
        frame(2, &[&[8, 0], &ip, &udp, payload])
    }

    #[test]
    fn pseudowires_with_and_without_a_control_word() {
        for first in [0x00, 0x02, 0x0a, 0x10, 0x52, 0xfe] {
            for control_word in [&[][..], &[0; 4], &[0, 0, 0x12, 0x34]] {
                let inside = frame(first, &[&[8, 0], &packet()]);
                let bytes = frame(2, &[&[0x88, 0x47, 0, 6, 0x41, 0x40], control_word, &inside]);
                assert_eq!(read(&bytes), Ok((Kind::MPLS, 100)), "{first:#x}, {control_word:?}");
            }
        }
    }

    #[test]
    fn mirrored_frames_of_type_i_have_no_header() {
        let inside = frame(2, &[&[8, 0], &packet()]);
        let ip = [0x45, 0, 0, 200, 0, 1, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let bytes = frame(2, &[&[8, 0], &ip, &[0, 0, 0x88, 0xbe], &inside]);
        assert_eq!(read(&bytes), Ok((Kind::ERSPAN, 0)));
    }

    #[test]
    fn either_port_of_a_tunnel_between_different_ports_counts() {
        let l2tp = [&[0, 2, 0, 1, 0, 2, 0xff, 3, 0x21][..], &packet()].concat();
        for (src_port, dst_port) in [(1701, 50_000), (50_000, 1701), (1701, 1701)] {
            assert_eq!(read(&datagram(src_port, dst_port, &l2tp)), Ok((Kind::L2TP, 0x1_0002)));
        }
        let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame(2, &[&[8, 0], &packet()])].concat();
        assert_eq!(read(&datagram(50_000, 4789, &vxlan)), Ok((Kind::VXLAN, 7)));
        assert_eq!(read(&datagram(4789, 50_000, &vxlan)), Err(Skip::NotTcp));
    }

    /// What is asked about ports before any frame comes holds for the frames.
    #[test]
    fn overlays_are_read_on_their_ports_only() {
        let inside = frame(2, &[&[8, 0], &packet()]);
        let over = |header: &[u8]| [header, &inside].concat();
        for (kind, payload) in [
            (Kind::VXLAN, over(&[8, 0, 0, 0, 0, 0, 7, 0])),
            (Kind::VXLAN_GPE, over(&[0x0c, 0, 0, 3, 0, 0, 7, 0])),
            (Kind::GENEVE, over(&[0, 0, 0x65, 0x58, 0, 0, 7, 0])),
            (Kind::GRE, over(&[0, 0, 0x65, 0x58])),
        ] {
            for port in 0..=u16::MAX {
                let is_read = read(&datagram(50_000, port, &payload)).is_ok_and(|(read, _)| read == kind);
                assert_eq!(kind.has_udp_port(port), is_read, "{} on port {port}", kind.name());
            }
        }
    }

    #[test]
    fn what_is_not_read_has_a_name() {
        let udp = |port, payload: &[u8]| read(&datagram(50_000, port, &[payload, &[0; 60]].concat()));
        assert_eq!(udp(4500, &[0, 0, 0, 1]), Err(Skip::Esp));
        assert_eq!(udp(4500, &[0, 0, 0, 0]), Err(Skip::NotTcp), "IKE");
        assert_eq!(read(&datagram(50_000, 4500, &[0xff])), Err(Skip::NotTcp), "a keepalive");
        assert_eq!(udp(1701, &[0, 3, 0, 0]), Err(Skip::L2tp3));
        assert_eq!(udp(1701, &[0xc8, 2, 0, 12]), Err(Skip::NotTcp), "L2TP's control messages");
        assert_eq!(udp(5247, &[0, 0x10, 0x03, 0]), Err(Skip::Capwap), "a radio frame");
        assert_eq!(udp(5247, &[1, 0, 0, 0]), Err(Skip::Capwap), "DTLS");
        assert_eq!(udp(1701, &[0, 2, 0, 1, 0, 2, 0xff, 3, 0xfd]), Err(Skip::PppCompressed));
        let ip = |protocol: u8| {
            let ip = [0x45, 0, 0, 60, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            read(&frame(2, &[&[8, 0], &ip, &[0; 40]]))
        };
        assert_eq!((ip(50), ip(115), ip(89)), (Err(Skip::Esp), Err(Skip::L2tp3), Err(Skip::NotTcp)));
        let macsec = |flags| read(&frame(2, &[&[0x88, 0xe5, flags, 0, 0, 0, 0, 1, 8, 0], &packet()]));
        assert_eq!(macsec(0x00), Ok((Kind(0), 0)));
        assert_eq!(macsec(0x0c), Err(Skip::MacsecEncrypted));
    }

    #[test]
    fn headers_end_at_a_bound() {
        let tags = |count| frame(2, &[&[0x81, 0, 0, 7].repeat(count), &[8, 0], &packet()]);
        assert_eq!(read(&tags(MAX_HEADERS)), Ok((Kind(0), 0)));
        assert_eq!(read(&tags(MAX_HEADERS + 1)), Err(Skip::VlanTooDeep));
        let labels = |count: usize| {
            let above = [0, 1, 0, 64].repeat(count - 1);
            read(&frame(2, &[&[0x88, 0x47], &above, &[0, 6, 0x41, 64], &packet()]))
        };
        assert_eq!(labels(MAX_HEADERS), Ok((Kind::MPLS, 100)));
        assert_eq!(labels(MAX_HEADERS + 1), Err(Skip::TunnelTooDeep));
    }

    /// Whatever is left of a frame that is cut off: it never parses, and never as something else.
    #[test]
    fn cut_frames_are_truncated() {
        let ends = [Skip::LinkTruncated, Skip::IpTruncated, Skip::TunnelTruncated, Skip::TcpTruncated];
        let gre =
            [&[0x30, 0x81, 0x88, 0x0b, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0x21][..], &packet()];
        let ip = [0x45, 0, 0, 200, 0, 1, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let etag = [0x89, 0x3f, 0, 0, 0, 0, 0, 0, 8, 0];
        let whole = frame(2, &[&etag, &ip, &gre.concat()]);
        assert_eq!(read(&whole), Ok((Kind::PPTP, 1)));
        for length in 0..whole.len() {
            let parsed = read(&whole[..length]);
            assert!(parsed.is_err_and(|skip| ends.contains(&skip)), "{length} bytes: {parsed:?}");
        }
    }
}
