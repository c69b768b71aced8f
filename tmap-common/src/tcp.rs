//! Transport layer: the TCP header (RFC 9293) and its options down to Timestamps (RFC 7323).

use crate::{Address, Packet, QuirkFields, Skip, handshake, ip::Network, tunnel::Tunnel};

/// TCP flags: the octet 13 of the header (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field (and TSecr) is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether any flag of `other` is set.
    #[inline(always)]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether this is the first segment of a connection: SYN without ACK.
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0) == Self::SYN.0
    }

    /// Whether this is the answer to a SYN: SYN with ACK. Its TSval may carry SYN-cookie bits instead of
    /// time.
    pub const fn is_syn_ack(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0) == Self::SYN.0 | Self::ACK.0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The fields that tmap keeps of one TCP segment, which carries Timestamps or opens a connection without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Address of the sender, whose clock made `tsval`.
    pub src: Address,
    /// Address of the receiver.
    pub dst: Address,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// TCP flags.
    pub flags: Flags,
    /// Whether data follows the header. The receiver acknowledges such a segment, as it does SYN and FIN, so
    /// that its echo shows a round-trip time. It doesn't acknowledge a bare acknowledgement.
    pub has_payload: bool,
    /// Bytes of data behind the header; 0 also where the IP header leaves the length open, as in packets of
    /// more than 64 KiB (BIG TCP). Of a record from a ring, those of the segments suppressed before it are
    /// included; 0 where the record tells TSecr instead ([`Tells`](crate::record::Tells)).
    pub payload_bytes: u32,
    /// IPv4 TTL or IPv6 hop limit, as it arrived: in hops.
    pub hop_limit: u8,
    /// The sender's clock, in its ticks, modulo 2^32 (RFC 7323, section 3.2); 0 without Timestamps.
    pub tsval: u32,
    /// The last TSval that the sender saw from its peer, in the peer's ticks (RFC 7323, section 3.2);
    /// significant only with ACK.
    /// Of a record from a ring, 0 where it tells payload bytes instead ([`Tells`](crate::record::Tells)).
    pub tsecr: u32,
    /// The fingerprint of the sender's TCP/IP stack, on SYN and SYN-ACK; `None` on other segments.
    pub syn: Option<Syn>,
    /// The tunnel that it came in, if any. The addresses and ports above are those inside.
    pub tunnel: Option<Tunnel>,
}

impl Segment {
    /// Whether it carries Timestamps. Only a SYN may lack them: it shows a sender whose clock is invisible.
    #[inline(always)]
    pub fn is_stamped(&self) -> bool {
        self.syn.is_none_or(|syn| syn.offers_timestamps())
    }
}

/// The fingerprint of a handshake: what TCP/IP stacks choose differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Syn {
    /// Receive window in bytes, unscaled as always in a handshake (RFC 7323, section 2.2).
    pub window: u16,
    /// Maximum segment size in bytes (RFC 9293, section 3.7.1); 0 where the option is absent or malformed.
    pub mss: u16,
    /// Window scale as a shift in bits (RFC 7323); [`Syn::NO_SCALE`] where the option is absent or malformed.
    pub window_scale: u8,
    /// The order of the options, four bits each, the first in the lowest bits: the option's kind, or
    /// one of [`order`]; unused bits are zero.
    pub option_order: u64,
    /// Kind of the last option that `option_order` calls [`order::OTHER`]; 0 where there is none.
    pub other_kind: u8,
    /// Header fields that stacks fill in differently.
    pub quirk_fields: QuirkFields,
}

impl Syn {
    /// [`Syn::window_scale`] where there is none. Real shifts end at 14 (RFC 7323, section 2.3).
    pub const NO_SCALE: u8 = 0xff;

    /// How many options, NOPs included, are followed ([`Skip::OptionsTooMany`]): as many as `option_order`
    /// has room for. A header could hold 40 NOPs; real stacks send no more than a dozen options, and the
    /// verifier walks the loop this often.
    pub const MAX_OPTIONS: usize = 16;

    /// Whether Timestamps (RFC 7323) are among the options.
    pub fn offers_timestamps(&self) -> bool {
        (0..Self::MAX_OPTIONS).any(|index| self.option_order >> (4 * index) & 15 == kind::TIMESTAMPS.into())
    }
}

/// Codes in [`Syn::option_order`] for options whose kind doesn't fit four bits, or is that of no option.
pub mod order {
    /// End of the option list: kind 0, which would look like no option.
    pub const END: u8 = 14;
    /// Any kind from 14 on.
    pub const OTHER: u8 = 15;
}

/// Option kinds (IANA's registry of TCP parameters).
pub mod kind {
    /// End of the option list (RFC 9293).
    pub const END: u8 = 0;
    /// No operation (RFC 9293).
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323).
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted (RFC 2018).
    pub const SACK_PERMITTED: u8 = 4;
    /// Timestamps (RFC 7323).
    pub const TIMESTAMPS: u8 = 8;
}

/// Parses the TCP header behind `network` into `segment`, which may be half filled in after an error.
/// `options` is working memory. In the kernel both lie in a map, whose contents are opaque to the verifier.
///
/// All options are walked, also those behind Timestamps: a malformed list is worth a counter, and
/// a stack that writes one can't be trusted with a clock. Of several options of a kind the last
/// counts, as in Linux (`tcp_parse_options`).
///
/// # Errors
/// [`Skip::TcpTruncated`], [`Skip::TcpDataOffset`], [`Skip::OptionLength`],
/// [`Skip::OptionOverrun`], [`Skip::OptionsTooMany`] or [`Skip::NoTimestamps`]; the last not for a SYN.
#[inline(always)]
pub(crate) fn parse_into<P: Packet + ?Sized>(
    packet: &P,
    network: &Network,
    options: &mut OptionOffsets,
    segment: &mut Segment,
) -> Result<(), Skip> {
    let at = packet.opaque_cursor(network.payload_at);
    let header: [u8; 20] = packet.read(at).ok_or(Skip::TcpTruncated)?;
    let header_bytes = usize::from(header[12] >> 4) * 4;
    if header_bytes < 20 || at + header_bytes > network.payload_end {
        return Err(Skip::TcpDataOffset);
    }
    *options = OptionOffsets::default();
    packet.walk_options(at + 20, header_bytes - 20, options)?;
    let network = network.opaque(packet);
    let flags = Flags(header[13]);
    let (tsval, tsecr) = options.timestamps(packet, flags.is_syn())?;
    segment.syn = None;
    if flags.intersects(Flags::SYN) {
        let quirk_fields =
            handshake::quirk_fields(packet, &network, &header, at, options.padding_at as usize);
        let window = u16::from_be_bytes([header[14], header[15]]);
        segment.syn = Some(options.syn(packet, window, quirk_fields.ok_or(Skip::TcpTruncated)?));
    }
    let fields = network.fields(packet).ok_or(Skip::IpTruncated)?;
    segment.src = fields.src;
    segment.dst = fields.dst;
    segment.src_port = u16::from_be_bytes([header[0], header[1]]);
    segment.dst_port = u16::from_be_bytes([header[2], header[3]]);
    segment.flags = flags;
    let payload_at = at + header_bytes;
    segment.has_payload = payload_at < network.payload_end;
    segment.payload_bytes = network.bytes_from(payload_at);
    segment.hop_limit = fields.hop_limit;
    segment.tsval = tsval;
    segment.tsecr = tsecr;
    segment.tunnel = None;
    Ok(())
}

/// How the options of a segment continue that begin with NOP, NOP, Timestamps (RFC 7323, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampsLayout {
    /// No option follows: the recommended layout.
    Recommended,
    /// Other options follow, mostly SACK blocks.
    Longer,
}

/// [`Syn::option_order`] of NOP, NOP, Timestamps.
const RECOMMENDED: u64 = kind::NOP as u64 | (kind::NOP as u64) << 4 | (kind::TIMESTAMPS as u64) << 8;

/// Offsets of a segment's options, as a walk over them found them. Aligned, so that it is cleared by words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct OptionOffsets {
    /// Offset in the frame of the last option of each kind, 0 for none; kinds from 14 on share the
    /// last place. A table, because storing into it takes no branch, and branches in the walk
    /// multiply the states that the verifier has to check.
    at: [u16; 16],
    /// The order of the options, as in [`Syn::option_order`].
    order: u64,
    /// Offset in the frame just past the option list.
    padding_at: u64,
}

impl OptionOffsets {
    /// How the list continues behind NOP, NOP, Timestamps; `None` where it doesn't begin so.
    #[inline(always)]
    pub fn timestamps_layout(&self) -> Option<TimestampsLayout> {
        if self.order & 0xfff != RECOMMENDED {
            return None;
        }
        Some(if self.order == RECOMMENDED { TimestampsLayout::Recommended } else { TimestampsLayout::Longer })
    }

    /// Walks over `bytes` bytes of options that begin at the offset `at`, and notes them down. Call it on a
    /// default value.
    ///
    /// # Errors
    /// [`Skip::TcpTruncated`], [`Skip::OptionLength`], [`Skip::OptionOverrun`] or [`Skip::OptionsTooMany`].
    #[inline(always)]
    pub fn walk<P: Packet + ?Sized>(&mut self, packet: &P, at: usize, bytes: usize) -> Result<(), Skip> {
        if self.note_linux_syn(packet, at, bytes) { Ok(()) } else { walk(packet, at, bytes, self) }
    }

    /// Notes the options down if they are those of Linux's SYN: MSS, SACK permitted, Timestamps, NOP, window
    /// scale (`tcp_options_write`). Returns whether they are.
    #[inline(always)]
    fn note_linux_syn<P: Packet + ?Sized>(&mut self, packet: &P, at: usize, bytes: usize) -> bool {
        if bytes != LINUX_SYN.len() {
            return false;
        }
        let at = packet.opaque_cursor(at);
        let Some(options) = packet.read::<{ LINUX_SYN.len() }>(at) else { return false };
        let mut differs = 0;
        for (own, (wanted, mask)) in options.into_iter().zip(LINUX_SYN) {
            differs |= (own ^ wanted) & mask;
        }
        if differs != 0 {
            return false;
        }
        let mut at = at as u64;
        for (index, (kind, bytes)) in LINUX_SYN_KINDS.into_iter().enumerate() {
            self.note(index, kind);
            self.at[usize::from(kind)] = at as u16;
            at += bytes;
        }
        self.padding_at = at;
        true
    }

    /// Adds an option to the order.
    #[inline(always)]
    fn note(&mut self, index: usize, code: u8) {
        self.order |= u64::from(code) << (4 * index);
    }

    /// The first `N` bytes of the last option of `kind`; zeros if there was none. (An `Option` would
    /// leave bytes undefined, on which LLVM computes ahead of the test and the verifier trips.)
    #[inline(always)]
    fn read_or_zero<P: Packet + ?Sized, const N: usize>(&self, packet: &P, kind: u8) -> [u8; N] {
        let at = packet.opaque_cursor(usize::from(self.at[usize::from(kind)]));
        // All ones, or zero for `at` zero: in arithmetic, as each branch doubles what the verifier walks.
        let mask = packet.opaque(0_u64.wrapping_sub(at as u64)) as i64 >> 63;
        packet.read(at).unwrap_or([0; N]).map(|byte| byte & mask as u8)
    }

    #[inline(always)]
    fn timestamps<P: Packet + ?Sized>(&self, packet: &P, is_syn: bool) -> Result<(u32, u32), Skip> {
        let at = packet.opaque_cursor(usize::from(self.at[usize::from(kind::TIMESTAMPS)]));
        if at == 0 {
            let nothing = packet.opaque(0) as u32;
            return if is_syn { Ok((nothing, nothing)) } else { Err(Skip::NoTimestamps) };
        }
        let [_, length] = packet.read(at).ok_or(Skip::TcpTruncated)?;
        if length != 10 {
            return Err(Skip::OptionLength);
        }
        let [v0, v1, v2, v3, e0, e1, e2, e3] = packet.read(at + 2).ok_or(Skip::TcpTruncated)?;
        Ok((u32::from_be_bytes([v0, v1, v2, v3]), u32::from_be_bytes([e0, e1, e2, e3])))
    }

    #[inline(always)]
    fn syn<P: Packet + ?Sized>(&self, packet: &P, window: u16, quirk_fields: QuirkFields) -> Syn {
        let mss = match self.read_or_zero(packet, kind::MSS) {
            [_, 4, high, low] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let window_scale = match self.read_or_zero(packet, kind::WINDOW_SCALE) {
            [_, 3, shift] => shift,
            _ => Syn::NO_SCALE,
        };
        let [other_kind] = self.read_or_zero(packet, order::OTHER);
        Syn { window, mss, window_scale, option_order: self.order, other_kind, quirk_fields }
    }
}

/// The options of Linux's SYN byte by byte: the value, and a mask of the bits that always have it.
const LINUX_SYN: [(u8, u8); 20] = {
    let (fixed, any) = (0xff, (0, 0));
    [
        (kind::MSS, fixed),
        (4, fixed),
        any,
        any,
        (kind::SACK_PERMITTED, fixed),
        (2, fixed),
        (kind::TIMESTAMPS, fixed),
        (10, fixed),
        any,
        any,
        any,
        any,
        any,
        any,
        any,
        any,
        (kind::NOP, fixed),
        (kind::WINDOW_SCALE, fixed),
        (3, fixed),
        any,
    ]
};

/// The options of Linux's SYN option by option: the kind, and the length in bytes.
const LINUX_SYN_KINDS: [(u8, u64); 5] = [
    (kind::MSS, 4),
    (kind::SACK_PERMITTED, 2),
    (kind::TIMESTAMPS, 10),
    (kind::NOP, 1),
    (kind::WINDOW_SCALE, 3),
];

/// Walks over `bytes` bytes of options from `at`.
#[inline(always)]
fn walk<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    bytes: usize,
    offsets: &mut OptionOffsets,
) -> Result<(), Skip> {
    let mut cursor = packet.opaque_cursor(at);
    let mut left = packet.opaque(bytes as u64);
    // Written out: all iterations of a loop share one place, at which the verifier keeps few states.
    macro_rules! options {
        ($($index:literal)+) => {
            $(if !option(packet, $index, &mut cursor, &mut left, offsets)? {
                return Ok(());
            })+
            const _: () = assert!(Syn::MAX_OPTIONS == [$($index),+].len());
        };
    }
    options!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    if left != 0 {
        return Err(Skip::OptionsTooMany);
    }
    offsets.padding_at = cursor as u64;
    Ok(())
}

/// Notes the option at `cursor` down and moves `cursor` behind it; `left` bytes of the list are left.
/// Returns `false` at the end of the list.
#[inline(always)]
fn option<P: Packet + ?Sized>(
    packet: &P,
    index: usize,
    cursor: &mut usize,
    left: &mut u64,
    offsets: &mut OptionOffsets,
) -> Result<bool, Skip> {
    if *left == 0 {
        offsets.padding_at = *cursor as u64;
        return Ok(false);
    }
    let [kind] = packet.read(*cursor).ok_or(Skip::TcpTruncated)?;
    if kind == kind::END {
        offsets.note(index, order::END);
        offsets.padding_at = packet.opaque_cursor(*cursor + 1) as u64;
        return Ok(false);
    }
    let code = order_code(packet, kind);
    offsets.note(index, code as u8);
    offsets.at[code] = *cursor as u16;
    let bytes = if kind == kind::NOP { 1 } else { option_bytes(packet, *cursor, *left)? };
    *cursor = packet.opaque_cursor(*cursor + bytes as usize);
    *left = packet.opaque(*left - bytes);
    Ok(true)
}

/// The code of `kind` in the order, and its index in [`OptionOffsets::at`]: `kind` itself below 14, else
/// [`order::OTHER`]. In arithmetic, because a branch would leave the verifier with two cases from here on.
#[inline(always)]
fn order_code<P: Packet + ?Sized>(packet: &P, kind: u8) -> usize {
    let other = packet.opaque(u64::from(order::END - 1).wrapping_sub(u64::from(kind)));
    let mask = (other as i64 >> 63) as usize;
    (usize::from(kind) | mask) & 15
}

/// Reads the length in bytes of the option at `cursor`, which isn't of the two kinds that have none; `left`
/// bytes of the list are left.
#[inline(always)]
fn option_bytes<P: Packet + ?Sized>(packet: &P, cursor: usize, left: u64) -> Result<u64, Skip> {
    if left < 2 {
        return Err(Skip::OptionOverrun);
    }
    let [_, length] = packet.read(cursor).ok_or(Skip::TcpTruncated)?;
    if length < 2 {
        return Err(Skip::OptionLength);
    }
    let bytes = u64::from(length);
    if bytes > left { Err(Skip::OptionOverrun) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{ip, link::NetworkStart};
    use std::vec::Vec;

    /// A segment from 10.0.0.1:4660 to 10.0.0.2:22136 with these flags and options; the options
    /// must fill words, as the data offset will say.
    fn segment(flags: u8, options: &[u8], payload: usize) -> Vec<u8> {
        let header_bytes = 20 + options.len();
        let total = (20 + header_bytes + payload) as u16;
        let mut bytes: Vec<u8> = [0x45, 0].into_iter().chain(total.to_be_bytes()).collect();
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.extend([((header_bytes / 4) << 4) as u8, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        bytes.extend(options);
        bytes.resize(bytes.len() + payload, 0x55);
        bytes
    }

    fn parse_raw(bytes: &[u8]) -> Result<Segment, Skip> {
        let mut segment = Segment::default();
        let network = ip::parse(bytes, NetworkStart { at: 0, version: None })?;
        parse_into(bytes, &network, &mut OptionOffsets::default(), &mut segment)?;
        Ok(segment)
    }

    fn stamps(options: &[u8]) -> Result<(u32, u32), Skip> {
        parse_raw(&segment(0x10, options, 0)).map(|segment| (segment.tsval, segment.tsecr))
    }

    const STAMP: [u8; 10] = [8, 10, 0x01, 0x02, 0x03, 0x04, 0xf1, 0xf2, 0xf3, 0xf4];
    const STAMPED: Result<(u32, u32), Skip> = Ok((0x0102_0304, 0xf1f2_f3f4));

    /// `before`, the Timestamps option, `after`.
    fn around(before: &[u8], after: &[u8]) -> Vec<u8> {
        [before, &STAMP, after].concat()
    }

    /// The comparison with Linux's SYN and the walk have one result, whichever byte is changed.
    #[test]
    fn linux_syns_are_known() {
        let mut options: Vec<u8> = LINUX_SYN.iter().map(|(byte, mask)| byte & mask | 0x5a & !mask).collect();
        let glance = |options: &[u8]| {
            let mut found = OptionOffsets::default();
            found.note_linux_syn(options, 0, options.len()).then_some(found)
        };
        let walked = |options: &[u8]| {
            let mut found = OptionOffsets::default();
            walk(options, 0, options.len(), &mut found).map(|()| found)
        };
        assert!(glance(&options).is_some());
        for at in 0..options.len() {
            for byte in 0..=255 {
                let before = std::mem::replace(&mut options[at], byte);
                if let Some(found) = glance(&options) {
                    assert_eq!(walked(&options), Ok(found), "{options:?}");
                } else {
                    assert_eq!(LINUX_SYN[at].1, 0xff, "{options:?}");
                }
                options[at] = before;
            }
        }
    }

    #[test]
    fn the_recommended_layout() {
        let found = parse_raw(&segment(0x18, &around(&[1, 1], &[]), 3)).unwrap();
        assert_eq!((found.src_port, found.dst_port), (0x1234, 0x5678));
        assert_eq!(found.src, Address::from_ip4([10, 0, 0, 1]));
        assert_eq!(found.dst, Address::from_ip4([10, 0, 0, 2]));
        assert_eq!((found.tsval, found.tsecr), (0x0102_0304, 0xf1f2_f3f4));
        assert_eq!(found.flags, Flags::PSH | Flags::ACK);
        assert_eq!(found.hop_limit, 64);
        assert_eq!(found.syn, None);
        assert_eq!((found.has_payload, found.payload_bytes), (true, 3));
        let bare = parse_raw(&segment(0x10, &around(&[1, 1], &[]), 0)).unwrap();
        assert_eq!((bare.has_payload, bare.payload_bytes), (false, 0));
    }

    /// Behind the IP packet may be padding; and the length may be left open.
    #[test]
    fn bytes_of_data_are_what_the_ip_header_says() {
        let mut bytes = segment(0x10, &around(&[1, 1], &[]), 700);
        let count = |bytes: &[u8]| {
            let found = parse_raw(bytes).unwrap();
            (found.has_payload, found.payload_bytes)
        };
        bytes.extend([0; 6]);
        assert_eq!(count(&bytes), (true, 700));
        // What was captured of it doesn't matter.
        assert_eq!(count(&bytes[..52]), (true, 700));
        bytes[2..4].fill(0);
        assert_eq!(count(&bytes), (true, 0));
    }

    #[test]
    fn anywhere_among_other_options() {
        assert_eq!(stamps(&around(&[], &[1, 1])), STAMPED, "padded behind");
        assert_eq!(stamps(&around(&[1], &[1])), STAMPED);
        assert_eq!(stamps(&around(&[], &[0, 0])), STAMPED, "ended behind");
        assert_eq!(stamps(&around(&[2, 4, 5, 0xb4, 4, 2], &[])), STAMPED, "not padded at all");
        assert_eq!(stamps(&around(&[3, 3, 7, 1, 1, 1], &[])), STAMPED);
        let sack = [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(stamps(&around(&sack, &[1, 1])), STAMPED);
        assert_eq!(stamps(&around(&[1, 1], &sack)), STAMPED);
        assert_eq!(stamps(&around(&[34, 4, 1, 2, 30, 2], &[])), STAMPED, "kinds of two digits");
        assert_eq!(stamps(&around(&[24, 10, 9, 9, 9, 9, 9, 9, 9, 9], &[])), STAMPED, "24 is not 8");
    }

    #[test]
    fn the_last_of_several_counts() {
        let first = [8, 10, 9, 9, 9, 9, 9, 9, 9, 9];
        assert_eq!(stamps(&around(&first, &[])), STAMPED);
    }

    #[test]
    fn no_timestamps() {
        assert_eq!(stamps(&[]), Err(Skip::NoTimestamps));
        assert_eq!(stamps(&[1, 1, 1, 1]), Err(Skip::NoTimestamps));
        assert_eq!(stamps(&[1, 1, 5, 10, 8, 10, 0, 0, 0, 0, 0, 0]), Err(Skip::NoTimestamps), "8 inside");
        assert_eq!(stamps(&around(&[0, 0], &[])), Err(Skip::NoTimestamps), "behind the list's end");
    }

    #[test]
    fn malformed_option_lengths() {
        assert_eq!(stamps(&[2, 0, 0, 0]), Err(Skip::OptionLength));
        assert_eq!(stamps(&[2, 1, 0, 0]), Err(Skip::OptionLength));
        assert_eq!(stamps(&[8, 8, 0, 0, 0, 0, 0, 0]), Err(Skip::OptionLength));
        assert_eq!(stamps(&[8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), Err(Skip::OptionLength));
        assert_eq!(stamps(&around(&[1, 1], &[77, 1, 0, 0])), Err(Skip::OptionLength), "behind a good one");
    }

    #[test]
    fn options_past_the_header() {
        assert_eq!(stamps(&[1, 1, 1, 2]), Err(Skip::OptionOverrun), "no room for a length");
        assert_eq!(stamps(&[2, 5, 0, 0]), Err(Skip::OptionOverrun));
        assert_eq!(stamps(&[1, 8, 10, 0]), Err(Skip::OptionOverrun));
        assert_eq!(stamps(&around(&[1, 1], &[5, 255, 0, 0])), Err(Skip::OptionOverrun));
    }

    #[test]
    fn too_many_options() {
        let nops = |count| around(&[1].repeat(count), &[]);
        assert_eq!(stamps(&nops(Syn::MAX_OPTIONS - 2)), STAMPED);
        assert_eq!(stamps(&nops(Syn::MAX_OPTIONS + 2)), Err(Skip::OptionsTooMany));
    }

    #[test]
    fn data_offset() {
        let mut bytes = segment(0x10, &around(&[1, 1], &[]), 0);
        bytes[32] = 0x40;
        assert_eq!(parse_raw(&bytes), Err(Skip::TcpDataOffset), "below five words");
        bytes[32] = 0x90;
        bytes.extend([0; 4]);
        assert_eq!(parse_raw(&bytes), Err(Skip::TcpDataOffset), "past the IP payload");
    }

    #[test]
    fn truncated_segments() {
        let bytes = segment(0x10, &around(&[1, 1], &[]), 0);
        for length in 20..bytes.len() {
            assert_eq!(parse_raw(&bytes[..length]), Err(Skip::TcpTruncated), "{length} bytes");
        }
        assert!(parse_raw(&bytes).is_ok());
    }

    /// Window, MSS, window scale and option order of a segment with these flags and options.
    fn syn(flags: u8, options: &[u8]) -> Option<(u16, u16, u8, u64)> {
        let syn = parse_raw(&segment(flags, options, 0)).unwrap().syn?;
        Some((syn.window, syn.mss, syn.window_scale, syn.option_order))
    }

    #[test]
    fn what_a_syn_tells() {
        // A Linux client's: MSS, SACK permitted, Timestamps, NOP, window scale.
        let options = around(&[2, 4, 0x05, 0xb4, 4, 2], &[1, 3, 3, 7]);
        assert_eq!(syn(0x02, &options), Some((0xfaf0, 1460, 7, 0x31842)));
        assert_eq!(syn(0x12, &options), Some((0xfaf0, 1460, 7, 0x31842)));
        assert_eq!(syn(0x10, &options), None);
    }

    #[test]
    fn what_a_syn_may_lack() {
        let options = around(&[2, 6, 5, 0xb4, 0, 0], &[3, 4, 7, 7, 254, 2, 0, 0]);
        assert_eq!(syn(0x02, &options), Some((0xfaf0, 0, Syn::NO_SCALE, 0xe_f382)), "odd lengths");
        let options = around(&[1].repeat(14), &[]);
        assert_eq!(syn(0x02, &options), Some((0xfaf0, 0, Syn::NO_SCALE, 0x0811_1111_1111_1111)));
    }
}
