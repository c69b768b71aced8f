//! Transport layer: the TCP header (RFC 9293) and its options down to Timestamps (RFC 7323).

use crate::{Address, Packet, Skip, ip::Network};

/// TCP flags, the low eight of RFC 9293.
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

    /// Whether any flag of `other` is set.
    #[inline(always)]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The first segment of a connection: SYN without ACK.
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0) == Self::SYN.0
    }

    /// The answer to it: SYN with ACK. Its TSval may carry SYN-cookie bits instead of time.
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

/// One TCP segment that carries Timestamps: all that tmap wants to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender: the host whose clock made `tsval`.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// TCP flags.
    pub flags: Flags,
    /// Whether data follows the header. Such a segment asks for an answer, as do SYN and FIN: its
    /// echo tells a round-trip time. A bare acknowledgement doesn't.
    pub has_payload: bool,
    /// TTL or hop limit, as it arrived.
    pub hop_limit: u8,
    /// The sender's clock, in its ticks, modulo 2^32 (RFC 7323, section 3.2).
    pub tsval: u32,
    /// The last TSval that the sender saw from its peer; significant only with ACK.
    pub tsecr: u32,
    /// What a SYN or SYN-ACK tells of the stack that made it; `None` on other segments.
    pub syn: Option<Syn>,
}

/// The handshake's fingerprint: what stacks choose differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syn {
    /// Receive window, unscaled.
    pub window: u16,
    /// Maximum segment size; 0 where the option is absent.
    pub mss: u16,
    /// Window scale shift; [`Syn::NO_SCALE`] where the option is absent.
    pub window_scale: u8,
    /// The order of the options, four bits each, the first in the lowest bits, as
    /// [`OptionCode`]; the rest is zero. The seventeenth and later options are left out.
    pub option_order: u64,
}

impl Syn {
    /// `window_scale` where the option is absent: shifts end at 14 (RFC 7323, section 2.2).
    pub const NO_SCALE: u8 = 0xff;

    /// How many options `option_order` has room for.
    pub const MAX_OPTIONS: usize = 16;
}

/// How [`Syn::option_order`] writes an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OptionCode {
    /// No-operation, kind 1.
    Nop = 1,
    /// Maximum segment size, kind 2.
    Mss = 2,
    /// Window scale, kind 3.
    WindowScale = 3,
    /// SACK permitted, kind 4.
    SackPermitted = 4,
    /// SACK blocks, kind 5.
    Sack = 5,
    /// Timestamps, kind 8.
    Timestamps = 8,
    /// End of the list, kind 0.
    End = 14,
    /// Any other kind.
    Other = 15,
}

/// The longest TCP header: a data offset of 15 words.
const MAX_OPTION_BYTES: usize = 40;

/// Parses the TCP header behind `network`.
///
/// All options are walked, also those behind Timestamps: a malformed list is worth a counter, and
/// a stack that writes one can't be trusted with a clock. Of several Timestamps options the last
/// counts, as in Linux (`tcp_parse_options`).
///
/// # Errors
/// [`Skip::TcpTruncated`], [`Skip::TcpDataOffset`], [`Skip::OptionLength`],
/// [`Skip::OptionOverrun`] or [`Skip::NoTimestamps`].
#[inline(always)]
pub fn parse<P: Packet + ?Sized>(packet: &P, network: &Network) -> Result<Segment, Skip> {
    let at = packet.forget(network.payload_at);
    let header: [u8; 16] = packet.read(at).ok_or(Skip::TcpTruncated)?;
    let header_bytes = usize::from(header[12] >> 4) * 4;
    if header_bytes < 20 || at + header_bytes > network.payload_end {
        return Err(Skip::TcpDataOffset);
    }
    let flags = Flags(header[13]);
    let options = options(packet, at + 20, at + header_bytes)?;
    let (tsval, tsecr) = options.timestamps.ok_or(Skip::NoTimestamps)?;
    Ok(Segment {
        src: network.src,
        dst: network.dst,
        src_port: u16::from_be_bytes([header[0], header[1]]),
        dst_port: u16::from_be_bytes([header[2], header[3]]),
        flags,
        has_payload: at + header_bytes < network.payload_end,
        hop_limit: network.hop_limit,
        tsval,
        tsecr,
        syn: flags
            .intersects(Flags::SYN)
            .then(|| Syn { window: u16::from_be_bytes([header[14], header[15]]), ..options.syn }),
    })
}

/// What a walk over the options found.
struct Options {
    timestamps: Option<(u32, u32)>,
    syn: Syn,
}

/// Walks the options from `at` to `end`.
#[inline(always)]
fn options<P: Packet + ?Sized>(packet: &P, at: usize, end: usize) -> Result<Options, Skip> {
    let mut found = Options { timestamps: None, syn: Syn { window_scale: Syn::NO_SCALE, ..Syn::default() } };
    // The layout that RFC 7323, appendix A recommends and nearly every data segment has.
    if end == at + 12
        && let Some([1, 1, 8, 10, v0, v1, v2, v3, e0, e1, e2, e3]) = packet.read(at)
    {
        found.timestamps = Some((u32::from_be_bytes([v0, v1, v2, v3]), u32::from_be_bytes([e0, e1, e2, e3])));
        found.syn.option_order = 0x811;
        return Ok(found);
    }
    let mut cursor = at;
    for index in 0..MAX_OPTION_BYTES {
        if cursor >= end {
            break;
        }
        let [kind] = packet.read(cursor).ok_or(Skip::TcpTruncated)?;
        let (code, bytes) = match kind {
            0 => (OptionCode::End, 0),
            1 => (OptionCode::Nop, 1),
            _ => option(packet, cursor, end, kind, &mut found)?,
        };
        if index < Syn::MAX_OPTIONS {
            found.syn.option_order |= (code as u64) << (4 * index);
        }
        if kind == 0 {
            break;
        }
        cursor = packet.forget(cursor + bytes);
    }
    Ok(found)
}

/// Reads the option of `kind` at `cursor`, which has a length byte; returns its code and length.
#[inline(always)]
fn option<P: Packet + ?Sized>(
    packet: &P,
    cursor: usize,
    end: usize,
    kind: u8,
    found: &mut Options,
) -> Result<(OptionCode, usize), Skip> {
    if cursor + 2 > end {
        return Err(Skip::OptionOverrun);
    }
    let [_, length] = packet.read(cursor).ok_or(Skip::TcpTruncated)?;
    let bytes = usize::from(length);
    if bytes < 2 {
        return Err(Skip::OptionLength);
    }
    if cursor + bytes > end {
        return Err(Skip::OptionOverrun);
    }
    let code = match (kind, bytes) {
        (2, 4) => {
            found.syn.mss = u16::from_be_bytes(packet.read(cursor + 2).ok_or(Skip::TcpTruncated)?);
            OptionCode::Mss
        }
        (3, 3) => {
            [found.syn.window_scale] = packet.read(cursor + 2).ok_or(Skip::TcpTruncated)?;
            OptionCode::WindowScale
        }
        (4, 2) => OptionCode::SackPermitted,
        (5, _) => OptionCode::Sack,
        (8, 10) => {
            let [v0, v1, v2, v3, e0, e1, e2, e3] = packet.read(cursor + 2).ok_or(Skip::TcpTruncated)?;
            let tsval = u32::from_be_bytes([v0, v1, v2, v3]);
            let tsecr = u32::from_be_bytes([e0, e1, e2, e3]);
            found.timestamps = Some((tsval, tsecr));
            OptionCode::Timestamps
        }
        (8, _) => return Err(Skip::OptionLength),
        _ => OptionCode::Other,
    };
    Ok((code, bytes))
}
