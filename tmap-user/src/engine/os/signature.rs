//! Handshake fingerprints in p0f's notation.
//!
//! `version:ttl:ip_options:mss:window,scale:options:quirks:payload`, for instance
//! `4:63+1:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0`. The notation is documented in section 5 of
//! the README of p0f 3; observations and database entries share it.

use std::fmt;

use tmap_common::{QuirkFields, Segment, Syn, tcp::order};

use super::quirks::Quirks;
use crate::engine::types::Side;

/// The fingerprint of one SYN or SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The sender's role: a client sends a SYN, a server a SYN-ACK.
    pub side: Side,
    /// Whether it came over IPv6.
    pub ip6: bool,
    /// TTL or hop limit, as it arrived.
    pub hop_limit: u8,
    /// Whether the segment carries data (RFC 7413, for one).
    pub has_payload: bool,
    /// Peculiarities of the headers.
    pub quirks: Quirks,
    /// Window, MSS, window scale and option order.
    pub syn: Syn,
}

/// The initial TTLs in use. A packet's initial TTL is assumed to be the smallest that isn't below its TTL.
const INITIAL_TTLS: [u8; 4] = [32, 64, 128, 255];

/// The longest path assumed, as in p0f: with more hops, the initial TTL isn't known.
pub const MAX_HOPS: u8 = 35;

/// Length of the Timestamps option with its padding. Some stacks subtract it from the MSS when they
/// compute a window.
const TIMESTAMPS_BYTES: u16 = 12;

/// Header bytes without options: IPv4 and TCP, IPv6 and TCP.
const HEADERS_IP4: u16 = 40;
const HEADERS_IP6: u16 = 60;

/// A TCP header without options, in bytes.
const TCP_HEADER: u16 = 20;

/// The usual MTU, which some stacks compute with whatever the interface's MTU is.
const USUAL_MTU: u16 = 1500;

/// The smallest MSS that a window can be a multiple of.
const MIN_MSS: u16 = 100;

/// A window as a multiple of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiple {
    /// Of the maximum segment size, with or without Timestamps taken off.
    Mss(u16),
    /// Of the MTU.
    Mtu(u16),
}

impl Fingerprint {
    /// The fingerprint of `segment`; `None` where it is no SYN or SYN-ACK.
    pub fn of(segment: &Segment) -> Option<Self> {
        let side = if segment.flags.is_syn_ack() { Side::Server } else { Side::Client };
        let ip6 = segment.src.as_ip4().is_none();
        segment.syn.map(|syn| Self {
            side,
            ip6,
            hop_limit: segment.hop_limit,
            has_payload: segment.has_payload,
            quirks: Quirks::of(segment, &syn),
            // The first word's fields differ from connection to connection; the quirks hold all they say.
            syn: Syn { quirk_fields: QuirkFields::from_words([0, syn.quirk_fields.to_words()[1]]), ..syn },
        })
    }

    /// What the window is a multiple of, the most common unit tried first; `None` where it is no multiple.
    pub fn window_multiple(&self) -> Option<Multiple> {
        let Syn { window, mss, .. } = self.syn;
        if window == 0 || mss < MIN_MSS {
            return None;
        }
        let usual = USUAL_MTU - HEADERS_IP4;
        let usual_ip6 = if self.ip6 { USUAL_MTU - HEADERS_IP6 } else { usual };
        let zero = self.quirks.contains(Quirks::OWN_STAMP_ZERO);
        let stamped = if zero || !self.syn.offers_timestamps() { 0 } else { TIMESTAMPS_BYTES };
        let segments =
            [mss, mss - stamped, usual, usual - TIMESTAMPS_BYTES, usual_ip6, usual_ip6 - TIMESTAMPS_BYTES];
        if let Some(unit) = segments.into_iter().find(|unit| window % unit == 0) {
            return Some(Multiple::Mss(window / unit));
        }
        let headers = if self.ip6 { HEADERS_IP6 } else { HEADERS_IP4 };
        // The length of the headers in this very packet.
        let actual = headers - TCP_HEADER
            + self.syn.quirk_fields.ip_options_bytes
            + u16::from(self.syn.quirk_fields.tcp_header_bytes);
        let packets = [HEADERS_IP4, actual, headers].map(|headers| mss.saturating_add(headers));
        let packets = packets.into_iter().chain([USUAL_MTU]);
        let mut packets = packets;
        packets.find(|unit| window % unit == 0).map(|unit| Multiple::Mtu(window / unit))
    }

    /// The window scale as p0f writes it: 0 where the option is absent.
    pub fn scale(&self) -> u8 {
        if self.syn.window_scale == Syn::NO_SCALE { 0 } else { self.syn.window_scale }
    }

    /// Which options came in which order.
    pub fn layout(&self) -> Layout {
        let Syn { option_order, other_kind, quirk_fields, .. } = self.syn;
        Layout { order: option_order, eol_padding: quirk_fields.eol_padding, other_kind }
    }
}

/// The initial TTL behind one that arrived: the smallest usual one that isn't below it.
pub fn initial_ttl(hop_limit: u8) -> u8 {
    INITIAL_TTLS.into_iter().find(|initial| *initial >= hop_limit).unwrap_or(u8::MAX)
}

/// The number of routers that a packet passed; `None` where its TTL doesn't show it. A TTL of 32 or less
/// doesn't: few systems start at 32, and few paths from 64 are that long.
pub fn hops(hop_limit: u8) -> Option<u8> {
    let hops = initial_ttl(hop_limit) - hop_limit;
    (hop_limit > INITIAL_TTLS[0] && hops <= MAX_HOPS).then_some(hops)
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Syn { window, mss, quirk_fields, .. } = self.syn;
        let version = if self.ip6 { 6 } else { 4 };
        let distance = initial_ttl(self.hop_limit) - self.hop_limit;
        if distance > MAX_HOPS {
            write!(f, "{version}:{}+?", self.hop_limit)?;
        } else {
            write!(f, "{version}:{}+{distance}", self.hop_limit)?;
        }
        write!(f, ":{}:{mss}:", quirk_fields.ip_options_bytes)?;
        match self.window_multiple() {
            Some(Multiple::Mss(factor)) => write!(f, "mss*{factor}")?,
            Some(Multiple::Mtu(factor)) => write!(f, "mtu*{factor}")?,
            None => write!(f, "{window}")?,
        }
        let payload = if self.has_payload { '+' } else { '0' };
        write!(f, ",{}:{}:{}:{payload}", self.scale(), self.layout(), QuirkNames(self.quirks))
    }
}

/// The order of the TCP options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Option codes, four bits each, in the form of [`Syn::option_order`].
    pub order: u64,
    /// Bytes behind the end of the list.
    pub eol_padding: u8,
    /// The kind of the option whose code is [`order::OTHER`], in the form of [`Syn::other_kind`].
    pub other_kind: u8,
}

/// The names of options, by code. Others are `?` with their kind, the end is `eol` with its padding.
const OPTIONS: [(&str, u8); 6] = [("nop", 1), ("mss", 2), ("ws", 3), ("sok", 4), ("sack", 5), ("ts", 8)];

impl Layout {
    /// Reads a comma-separated list; `None` where a word isn't an option.
    pub fn parse(text: &str) -> Option<Self> {
        let mut layout = Self::default();
        for (index, word) in text.split(',').filter(|word| !word.is_empty()).enumerate() {
            let code = if let Some(padding) = word.strip_prefix("eol+") {
                layout.eol_padding = padding.parse().ok()?;
                order::END
            } else if let Some(kind) = word.strip_prefix('?') {
                layout.code_of_other(kind.parse().ok()?)
            } else {
                OPTIONS.iter().find(|(name, _)| *name == word)?.1
            };
            if index < Syn::MAX_OPTIONS {
                layout.order |= u64::from(code) << (4 * index);
            }
        }
        Some(layout)
    }

    fn code_of_other(&mut self, kind: u8) -> u8 {
        if kind < order::END {
            return kind;
        }
        self.other_kind = kind;
        order::OTHER
    }

    fn codes(&self) -> impl Iterator<Item = u8> {
        let order = self.order;
        let code = move |index| (order >> (4 * index)) as u8 & 0x0f;
        (0..Syn::MAX_OPTIONS).map(code).take_while(|code| *code != 0)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, code) in self.codes().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match (code, OPTIONS.iter().find(|(_, known)| *known == code)) {
                (_, Some((name, _))) => f.write_str(name)?,
                (order::END, _) => write!(f, "eol+{}", self.eol_padding)?,
                (order::OTHER, _) => write!(f, "?{}", self.other_kind)?,
                _ => write!(f, "?{code}")?,
            }
        }
        Ok(())
    }
}

/// Quirks by p0f's names, in its order.
const QUIRKS: [(&str, Quirks); 16] = [
    ("df", Quirks::DONT_FRAGMENT),
    ("id+", Quirks::ID_WITH_DF),
    ("id-", Quirks::NO_ID_WITHOUT_DF),
    ("ecn", Quirks::ECN),
    ("0+", Quirks::RESERVED),
    ("flow", Quirks::FLOW_LABEL),
    ("seq-", Quirks::SEQUENCE_ZERO),
    ("ack+", Quirks::ACK_WITHOUT_FLAG),
    ("ack-", Quirks::ACK_ZERO),
    ("uptr+", Quirks::URGENT_WITHOUT_FLAG),
    ("urgf+", Quirks::URG),
    ("pushf+", Quirks::PSH),
    ("ts1-", Quirks::OWN_STAMP_ZERO),
    ("ts2+", Quirks::PEER_STAMP),
    ("opt+", Quirks::TRAILING),
    ("exws", Quirks::EXCESSIVE_SCALE),
];

/// Quirks, printed.
struct QuirkNames(Quirks);

impl fmt::Display for QuirkNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = QUIRKS.iter().filter(|(_, quirk)| self.0.contains(*quirk));
        for (index, (name, _)) in present.enumerate() {
            write!(f, "{}{name}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// Reads a comma-separated list of quirks. `None` where a word isn't a quirk; `Some(None)` for a list with
/// p0f's `bad` (malformed options), because tmap counts and skips such segments.
pub fn parse_quirks(text: &str) -> Option<Option<Quirks>> {
    let mut quirks = Quirks::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if word == "bad" {
            return Some(None);
        }
        quirks = quirks | QUIRKS.iter().find(|(name, _)| *name == word)?.1;
    }
    Some(Some(quirks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux() -> Fingerprint {
        Fingerprint {
            side: Side::Client,
            ip6: false,
            hop_limit: 63,
            has_payload: false,
            quirks: Quirks::DONT_FRAGMENT | Quirks::ID_WITH_DF,
            syn: Syn {
                window: 64240,
                mss: 1460,
                window_scale: 7,
                option_order: Layout::parse("mss,sok,ts,nop,ws").unwrap().order,
                ..Syn::default()
            },
        }
    }

    #[test]
    fn fingerprints_are_written_as_p0f_writes_them() {
        assert_eq!(linux().to_string(), "4:63+1:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0");
        let mut odd = linux();
        odd.hop_limit = 200;
        odd.has_payload = true;
        odd.quirks = Quirks::PEER_STAMP | Quirks::TRAILING;
        odd.syn = Syn {
            window: 31337,
            mss: 0,
            window_scale: Syn::NO_SCALE,
            quirk_fields: QuirkFields { eol_padding: 2, ..QuirkFields::default() },
            option_order: Layout::parse("?6,ts,?253,eol+2").unwrap().order,
            other_kind: 253,
        };
        assert_eq!(odd.to_string(), "4:200+?:0:0:31337,0:?6,ts,?253,eol+2:ts2+,opt+:+");
    }

    #[test]
    fn windows_are_multiples_with_and_without_timestamps() {
        let mut server = linux();
        server.syn.window = 65160;
        assert_eq!(server.window_multiple(), Some(Multiple::Mss(45)), "45 segments of 1448");
        server.syn.window = 1500 * 3;
        assert_eq!(server.window_multiple(), Some(Multiple::Mtu(3)));
        server.syn.window = 65535;
        assert_eq!(server.window_multiple(), None);
        server.syn.mss = 12;
        assert_eq!(server.window_multiple(), None);
    }

    #[test]
    fn ttls_tell_hops_where_they_can() {
        let cases = [(64, Some(0)), (63, Some(1)), (29, None), (30, None), (33, Some(31)), (64 - 36, None)];
        for (hop_limit, expected) in
            cases.into_iter().chain([(128, Some(0)), (115, Some(13)), (243, Some(12))])
        {
            assert_eq!(hops(hop_limit), expected, "{hop_limit}");
        }
        assert_eq!(hops(90), None, "38 hops from 128");
        assert_eq!(initial_ttl(0), 32);
    }

    #[test]
    fn layouts_round_trip() {
        for text in ["mss,sok,ts,nop,ws", "mss,nop,ws,nop,nop,ts,sok,eol+1", "?34,sack,?6", ""] {
            assert_eq!(Layout::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Layout::parse("mss,what"), None);
        assert_eq!(parse_quirks("df,id+"), Some(Some(Quirks::DONT_FRAGMENT | Quirks::ID_WITH_DF)));
        assert_eq!(parse_quirks("bad"), Some(None));
        assert_eq!(parse_quirks("dff"), None);
    }
}
