//! Counters of what happened to each frame. Their sum is exact: every frame is in one of them.

use core::fmt;

/// Declares [`Skip`] with its labels, so that enum, table and count can't drift apart.
macro_rules! skips {
    ($($(#[doc = $doc:literal])+ $name:ident => $label:literal,)+) => {
        /// Why a frame yielded no record.
        ///
        /// One enum serves as the parser's error, the counter's index and the metric's label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Skip { $($(#[doc = $doc])+ $name,)+ }

        impl Skip {
            /// Every reason, in the order of its index.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
            /// The reason with this index; `None` from [`Skip::COUNT`] on.
            #[inline(always)]
            pub const fn from_index(index: u64) -> Option<Self> {
                // A table: compiled, a chain of comparisons is another branch for each reason.
                if index < Self::COUNT as u64 { Some(Self::ALL[index as usize]) } else { None }
            }
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason as statistics and metrics name it: lower case, underscores.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

skips! {
    /// The link layer carries something that is neither IPv4 nor IPv6.
    NotIp => "not_ip",
    /// The frame ends inside the link header or a VLAN tag.
    LinkTruncated => "link_truncated",
    /// More VLAN tags than are followed.
    VlanTooDeep => "vlan_too_deep",
    /// The frame ends inside the IP header or an extension header.
    IpTruncated => "ip_truncated",
    /// Version, header length or total length contradict each other.
    IpMalformed => "ip_malformed",
    /// More IPv6 extension headers than are followed.
    ExtensionsTooDeep => "extensions_too_deep",
    /// A fragment other than the first: it has no TCP header.
    LaterFragment => "later_fragment",
    /// IP carries something other than TCP.
    NotTcp => "not_tcp",
    /// The frame ends inside a tunnel's header.
    TunnelTruncated => "tunnel_truncated",
    /// More tunnels inside each other, labels or tunnel extensions than are followed.
    TunnelTooDeep => "tunnel_too_deep",
    /// MACsec (IEEE 802.1AE) that is encrypted.
    MacsecEncrypted => "macsec_encrypted",
    /// IPsec's encapsulating security payload (RFC 4303), over IP or UDP: encrypted.
    Esp => "esp",
    /// PPP that is compressed or encrypted (RFC 1962, 3078).
    PppCompressed => "ppp_compressed",
    /// L2TP version 3 (RFC 3931): its packets don't tell how long its header is.
    L2tp3 => "l2tpv3",
    /// CAPWAP (RFC 5415) that carries radio frames (IEEE 802.11) or fragments, or is encrypted.
    Capwap => "capwap",
    /// The frame ends inside the TCP header or its options.
    TcpTruncated => "tcp_truncated",
    /// The data offset is below 5 words, or the header runs past the IP payload (RFC 9293).
    TcpDataOffset => "tcp_data_offset",
    /// An option's length is 0 or 1, or Timestamps' length isn't 10 (RFC 7323).
    OptionLength => "option_length",
    /// An option runs past the end of the TCP header.
    OptionOverrun => "option_overrun",
    /// More TCP options than are followed.
    OptionsTooMany => "options_too_many",
    /// A sound segment without the Timestamps option, other than a SYN.
    NoTimestamps => "no_timestamps",
    /// Only the beginning of the frame was captured, and it ends before Timestamps: the snap length is too
    /// short. In files only; the kernel programs see whole frames.
    SnapCut => "snap_cut",
    /// The filter rejects it.
    Filtered => "filtered",
}

impl Skip {
    /// The reasons that mean a malformed frame, rather than one without a segment for tmap: bit
    /// `reason as u32` is set for each.
    pub const ANOMALIES: u64 = 1 << Self::LinkTruncated as u32
        | 1 << Self::IpTruncated as u32
        | 1 << Self::IpMalformed as u32
        | 1 << Self::TunnelTruncated as u32
        | 1 << Self::TcpTruncated as u32
        | 1 << Self::TcpDataOffset as u32
        | 1 << Self::OptionLength as u32
        | 1 << Self::OptionOverrun as u32;
}

const _: () = assert!(Skip::COUNT <= 64);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// One CPU's counters; also the sum over CPUs.
///
/// The invariant, once packets are at rest: `seen = skipped + suppressed + emitted + ring_full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Frames that the program was called for.
    pub seen: u64,
    /// Segments whose record was written to the ring.
    pub emitted: u64,
    /// Segments whose record was lost because the ring was full.
    pub ring_full: u64,
    /// Segments suppressed: kept out of the ring, because they can't change any estimate
    /// ([`crate::suppress`]).
    pub suppressed: u64,
    /// Frames that hold no usable segment, by [`Skip`].
    pub skipped: [u64; Skip::COUNT],
}

impl Counters {
    /// Frames skipped for any reason.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.iter().sum()
    }

    /// Frames of which the outcome is counted: as many as `seen` when no packet is in flight.
    pub fn accounted(&self) -> u64 {
        self.skipped_total() + self.suppressed + self.emitted + self.ring_full
    }

    /// Adds the counters of another CPU, or of another source, to these.
    pub fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.emitted += other.emitted;
        self.ring_full += other.ring_full;
        self.suppressed += other.suppressed;
        for (sum, count) in self.skipped.iter_mut().zip(&other.skipped) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_table() {
        for (index, skip) in Skip::ALL.iter().enumerate() {
            assert_eq!(*skip as usize, index);
        }
    }

    #[test]
    fn sums_are_complete() {
        let mut one = Counters { seen: 10, emitted: 4, ring_full: 1, suppressed: 2, ..Counters::default() };
        one.skipped[Skip::NotTcp as usize] = 3;
        assert_eq!(one.accounted(), one.seen);
        let mut sum = one;
        sum.add(&one);
        assert_eq!(sum.accounted(), 20);
        assert_eq!(sum.seen, 20);
    }
}
