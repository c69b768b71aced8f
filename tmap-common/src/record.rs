//! [`Record`]: what the kernel programs write to the ring for a segment. One to five slots of 32 bytes.
//!
//! | slot | present | holds |
//! |---|---|---|
//! | 0 | always | time, ports, flags, TTL, TSval, suppressed count, kind; TSecr or bytes; IPv4 addresses |
//! | 1 | IPv6 | both addresses |
//! | 2 | SYN, SYN-ACK | window, MSS, window scale, option order, quirks, bytes |
//! | 3, 4 | in a tunnel | kind and id; both outer addresses |
//!
//! The record of an IPv4 data segment, nearly all traffic, is one slot: half a cache line. Slots are written
//! and read word by word, in the machine's own byte order (both ends are the same machine). Nothing is
//! transmuted, so any bit pattern decodes to some record and none is undefined.

use crate::{Address, Flags, QuirkFields, Segment, Syn, Tunnel, tunnel::Kind};

/// A slot of the ring: 32 bytes, aligned so that none crosses a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Slot {
    /// Four words. Their meaning depends on the slot's place in its record: [`Record::first_slot`],
    /// [`Record::address_slot`], [`Record::syn_slot`] and [`Record::tunnel_slots`] write them.
    pub words: [u64; 4],
}

const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// When the segment was seen ([`Record::time_ns`]), of a record's first slot.
    #[inline(always)]
    pub const fn time_ns(&self) -> u64 {
        self.words[0]
    }
}

/// The most slots that one record takes.
pub const MAX_SLOTS: usize = 5;

/// Bits of the kind byte, slot 0, top byte of the last word.
mod kind {
    /// Slot 0 is followed by the IPv6 addresses.
    pub(super) const IP6: u8 = 1;
    /// The next slot is a handshake's fingerprint.
    pub(super) const SYN: u8 = 1 << 1;
    /// Seen on the way out (TC egress) rather than in (XDP).
    pub(super) const EGRESS: u8 = 1 << 2;
    /// Data follows the header.
    pub(super) const PAYLOAD: u8 = 1 << 3;
    /// The last two slots describe the tunnel.
    pub(super) const TUNNEL: u8 = 1 << 4;
    /// The record tells payload bytes in the place of TSecr.
    pub(super) const BYTES: u8 = 1 << 5;
}

/// The one of two fields that a record tells: its first slot has no room for both, and no reader needs both.
/// Handshakes, which have more slots, tell both. A record without bytes tells the echo in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// Bytes of data ([`Segment::payload_bytes`]), for lists of connections; the echo where there are none.
    PayloadBytes,
    /// The echo ([`Segment::tsecr`]), for round trips.
    Tsecr,
}

/// A segment with the time at which it was seen, as the engine takes it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the segment was seen, in nanoseconds: live, of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`); from a
    /// file, of the capture's own clock since the Unix epoch.
    pub time_ns: u64,
    /// The direction in which it passed the sensor.
    pub direction: Direction,
    /// How many segments of this flow were suppressed since its last record, at most 255. Their bytes are
    /// among those of `segment`.
    pub suppressed: u8,
    /// The segment as the parser read it, but for its bytes.
    pub segment: Segment,
}

/// The direction in which a segment passed the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received by the interface (XDP), or read from a file.
    Ingress,
    /// Sent by this machine (TC egress): the time of sending is known without any network delay.
    Egress,
}

/// The segments of a flow that were suppressed since its last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// Their number.
    pub count: u8,
    /// Their data, in bytes.
    pub payload_bytes: u32,
}

impl Suppressed {
    /// `count` segments. `sum_bytes` are theirs, unless there are none: then it is left from other segments.
    #[inline(always)]
    pub const fn new(count: u8, sum_bytes: u32) -> Self {
        Self { count, payload_bytes: if count == 0 { 0 } else { sum_bytes } }
    }
}

impl Record {
    /// Makes it tell of the segments that were suppressed before it.
    #[inline(always)]
    pub fn add_suppressed(&mut self, suppressed: Suppressed) {
        self.suppressed = suppressed.count;
        self.segment.payload_bytes = self.segment.payload_bytes.wrapping_add(suppressed.payload_bytes);
    }

    /// Whether addresses take a slot of their own: unless both are IPv4.
    #[inline(always)]
    const fn has_address_slot(&self) -> bool {
        !Address::are_ip4(&self.segment.src, &self.segment.dst)
    }

    /// How many slots this record takes.
    #[inline(always)]
    pub fn slot_count(&self) -> usize {
        1 + usize::from(self.has_address_slot())
            + usize::from(self.segment.syn.is_some())
            + 2 * usize::from(self.segment.tunnel.is_some())
    }

    /// Slot 0: time, IPv4 addresses, TSval, and TSecr or bytes; ports, flags, TTL, suppressed count and kind.
    #[inline(always)]
    pub fn first_slot(&self, tells: Tells) -> Slot {
        self.first_slot_with(self.has_address_slot(), tells)
    }

    /// Slot 0 as [`Record::first_slot`]; the caller says whether the addresses have a slot of their own. IPv4
    /// addresses may have one, IPv6 addresses must.
    #[inline(always)]
    pub fn first_slot_with(&self, has_address_slot: bool, tells: Tells) -> Slot {
        let segment = &self.segment;
        let (mut kind, addresses) = if has_address_slot {
            (kind::IP6, 0)
        } else {
            (0, join(segment.src.low_word(), segment.dst.low_word()))
        };
        let mut either = segment.tsecr;
        if segment.syn.is_some() {
            kind |= kind::SYN;
        } else if tells == Tells::PayloadBytes && segment.payload_bytes != 0 {
            kind |= kind::BYTES;
            either = segment.payload_bytes;
        }
        if self.direction == Direction::Egress {
            kind |= kind::EGRESS;
        }
        if segment.has_payload {
            kind |= kind::PAYLOAD;
        }
        if segment.tunnel.is_some() {
            kind |= kind::TUNNEL;
        }
        let last = u64::from(segment.src_port)
            | u64::from(segment.dst_port) << 16
            | u64::from(segment.flags.0) << 32
            | u64::from(segment.hop_limit) << 40
            | u64::from(self.suppressed) << 48
            | u64::from(kind) << 56;
        Slot { words: [self.time_ns, addresses, join(segment.tsval, either), last] }
    }

    /// The slot with both addresses; `None` where slot 0 holds them, which are IPv4.
    #[inline(always)]
    pub fn address_slot(&self) -> Option<Slot> {
        self.has_address_slot().then(|| self.addresses())
    }

    /// The slot with both addresses, whether the record needs one or not.
    #[inline(always)]
    pub fn addresses(&self) -> Slot {
        let [src_high, src_low] = self.segment.src.words();
        let [dst_high, dst_low] = self.segment.dst.words();
        Slot { words: [src_high, src_low, dst_high, dst_low] }
    }

    /// The slot with the handshake's fingerprint; `None` but for SYN and SYN-ACK.
    #[inline(always)]
    pub fn syn_slot(&self) -> Option<Slot> {
        let syn = self.segment.syn?;
        let sizes = u64::from(syn.window)
            | u64::from(syn.mss) << 16
            | u64::from(syn.window_scale) << 32
            | u64::from(syn.other_kind) << 40
            | u64::from(self.segment.payload_bytes.min(u16::MAX.into())) << 48;
        let [folded, lengths] = syn.quirk_fields.to_words();
        Some(Slot { words: [sizes, syn.option_order, folded, lengths] })
    }

    /// The two slots with the tunnel, its kind and id before its outer addresses; `None` outside of tunnels.
    #[inline(always)]
    pub fn tunnel_slots(&self) -> Option<[Slot; 2]> {
        let tunnel = self.segment.tunnel?;
        let [src_high, src_low] = tunnel.src.words();
        let [dst_high, dst_low] = tunnel.dst.words();
        let key = join(u32::from(tunnel.kind.0) | u32::from(tunnel.is_over_ip) << 8, tunnel.id);
        Some([Slot { words: [key, 0, 0, 0] }, Slot { words: [src_high, src_low, dst_high, dst_low] }])
    }

    /// The slots behind the first one, in their order.
    #[inline(always)]
    pub fn further_slots(&self) -> impl Iterator<Item = Slot> {
        let tunnel = self.tunnel_slots().into_iter().flatten();
        self.address_slot().into_iter().chain(self.syn_slot()).chain(tunnel)
    }

    /// How many slots the record that begins with `first` takes, 1 to [`MAX_SLOTS`].
    #[inline(always)]
    pub fn slots_of(first: &Slot) -> usize {
        let kind = first.words[3].to_le_bytes()[7];
        1 + usize::from(kind & kind::IP6 != 0)
            + usize::from(kind & kind::SYN != 0)
            + 2 * usize::from(kind & kind::TUNNEL != 0)
    }

    /// Rebuilds the record that begins with `first`. `next` returns the slots behind it one by one; it is
    /// called [`Record::slots_of`] - 1 times. Every bit pattern gives a record.
    #[inline(always)]
    pub fn from_slots(first: &Slot, mut next: impl FnMut() -> Slot) -> Self {
        let [time_ns, addresses, stamps, last] = first.words;
        let [p0, p1, p2, p3, flags, hop_limit, suppressed, kind] = last.to_le_bytes();
        let (src, dst) = if kind & kind::IP6 != 0 {
            let [src_high, src_low, dst_high, dst_low] = next().words;
            (Address::from_words([src_high, src_low]), Address::from_words([dst_high, dst_low]))
        } else {
            let (src, dst) = split(addresses);
            (Address::from_ip4(src.to_ne_bytes()), Address::from_ip4(dst.to_ne_bytes()))
        };
        let (tsval, either) = split(stamps);
        let (mut payload_bytes, tsecr) = if kind & kind::BYTES != 0 { (either, 0) } else { (0, either) };
        let syn = (kind & kind::SYN != 0).then(|| {
            let [sizes, option_order, folded, lengths] = next().words;
            let [w0, w1, m0, m1, window_scale, other_kind, b0, b1] = sizes.to_le_bytes();
            payload_bytes = u16::from_le_bytes([b0, b1]).into();
            Syn {
                window: u16::from_le_bytes([w0, w1]),
                mss: u16::from_le_bytes([m0, m1]),
                window_scale,
                option_order,
                other_kind,
                quirk_fields: QuirkFields::from_words([folded, lengths]),
            }
        });
        let tunnel = (kind & kind::TUNNEL != 0).then(|| {
            let (kind, id) = split(next().words[0]);
            let [src_high, src_low, dst_high, dst_low] = next().words;
            Tunnel {
                kind: Kind(kind as u8),
                id,
                is_over_ip: kind & 1 << 8 != 0,
                src: Address::from_words([src_high, src_low]),
                dst: Address::from_words([dst_high, dst_low]),
            }
        });
        Self {
            time_ns,
            direction: if kind & kind::EGRESS != 0 { Direction::Egress } else { Direction::Ingress },
            suppressed,
            segment: Segment {
                src,
                dst,
                src_port: u16::from_le_bytes([p0, p1]),
                dst_port: u16::from_le_bytes([p2, p3]),
                flags: Flags(flags),
                has_payload: kind & kind::PAYLOAD != 0,
                payload_bytes,
                hop_limit,
                tsval,
                tsecr,
                syn,
                tunnel,
            },
        }
    }
}

/// A record that takes one slot, as nearly every one: of an IPv4 data segment or acknowledgement. It has the
/// fields that the flow table needs, in the form in which it needs them.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// When the segment was seen, in nanoseconds ([`Record::time_ns`]).
    pub time_ns: u64,
    /// Both IPv4 addresses as [`Address::low_word`] has them, the sender's in the lower half.
    pub addresses: u64,
    /// Both ports, the sender's in the lower half.
    pub ports: u32,
    /// The sender's clock, in its ticks ([`Segment::tsval`]).
    pub tsval: u32,
    /// TCP flags.
    pub flags: Flags,
    /// IPv4 TTL, in hops.
    pub hop_limit: u8,
    /// Segments of the flow suppressed since its last record ([`Record::suppressed`]).
    pub suppressed: u8,
    /// Bytes of data of all these segments; 0 where the record tells TSecr instead.
    pub payload_bytes: u32,
}

impl Plain {
    /// Whether the record that begins with `slot` takes no other slot.
    #[inline(always)]
    pub fn is(slot: &Slot) -> bool {
        let [.., kind] = slot.words[3].to_le_bytes();
        kind & (kind::IP6 | kind::SYN | kind::TUNNEL) == 0
    }

    /// Reads the record in `slot`; `None` where it takes more slots.
    #[inline(always)]
    pub fn of(slot: &Slot) -> Option<Self> {
        let [time_ns, addresses, stamps, last] = slot.words;
        if !Self::is(slot) {
            return None;
        }
        let [.., flags, hop_limit, suppressed, kind] = last.to_le_bytes();
        let (tsval, either) = split(stamps);
        Some(Self {
            time_ns,
            addresses,
            ports: last as u32,
            tsval,
            flags: Flags(flags),
            hop_limit,
            suppressed,
            payload_bytes: if kind & kind::BYTES != 0 { either } else { 0 },
        })
    }
}

#[inline(always)]
const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[inline(always)]
const fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn address() -> impl Strategy<Value = (Address, Address)> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (Address::from_ip4(a), Address::from_ip4(b))),
            any::<([u8; 16], [u8; 16])>()
                .prop_map(|(a, b)| (Address::from_ip6(a), Address::from_ip6(b)))
                .prop_filter("not IPv4-mapped", |(a, b)| a.as_ip4().is_none() && b.as_ip4().is_none()),
            // A mapped address on the wire: not allowed, but possible.
            any::<([u8; 4], [u8; 16])>().prop_map(|(a, b)| (Address::from_ip4(a), Address::from_ip6(b))),
            any::<([u8; 4], [u8; 16])>().prop_map(|(a, b)| (Address::from_ip6(b), Address::from_ip4(a))),
        ]
    }

    prop_compose! {
        fn syn()(
            window: u16, mss: u16, window_scale: u8, option_order: u64, other_kind: u8, words: [u64; 2],
        ) -> Syn {
            let quirk_fields = QuirkFields::from_words(words);
            Syn { window, mss, window_scale, option_order, other_kind, quirk_fields }
        }
    }

    prop_compose! {
        fn tunnel()(kind: u8, id: u32, is_over_ip: bool, (src, dst) in address()) -> Tunnel {
            Tunnel { kind: Kind(kind), id, is_over_ip, src, dst }
        }
    }

    prop_compose! {
        fn record()(
            time_ns: u64, egress: bool, has_payload: bool,
            payload_bytes in prop_oneof![Just(0), any::<u32>()], suppressed: u8, (src, dst) in address(),
            src_port: u16, dst_port: u16, flags: u8, hop_limit: u8, tsval: u32, tsecr: u32,
            syn in proptest::option::of(syn()), tunnel in proptest::option::of(tunnel()),
        ) -> Record {
            Record {
                time_ns,
                direction: if egress { Direction::Egress } else { Direction::Ingress },
                suppressed,
                segment: Segment {
                    src, dst, src_port, dst_port, flags: Flags(flags), has_payload, payload_bytes, hop_limit,
                    tsval, tsecr, syn, tunnel,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn slots_round_trip(record in record(), for_round_trips: bool) {
            let tells = if for_round_trips { Tells::Tsecr } else { Tells::PayloadBytes };
            let first = record.first_slot(tells);
            prop_assert_eq!(first.time_ns(), record.time_ns);
            let slots: Vec<Slot> = std::iter::once(first).chain(record.further_slots()).collect();
            prop_assert_eq!(slots.len(), record.slot_count());
            prop_assert_eq!(slots.len(), Record::slots_of(&slots[0]));
            let mut rest = slots[1..].iter().copied();
            let Segment { payload_bytes, syn, .. } = record.segment;
            let told = match (syn, tells) {
                (Some(_), _) => Segment { payload_bytes: payload_bytes.min(65_535), ..record.segment },
                (None, Tells::Tsecr) => Segment { payload_bytes: 0, ..record.segment },
                (None, Tells::PayloadBytes) if payload_bytes != 0 => Segment { tsecr: 0, ..record.segment },
                (None, Tells::PayloadBytes) => record.segment,
            };
            let told = Record { segment: told, ..record };
            prop_assert_eq!(Record::from_slots(&slots[0], || rest.next().unwrap()), told);
            let plain = Plain::of(&slots[0]);
            prop_assert_eq!(plain.is_some(), slots.len() == 1);
            if let Some(plain) = plain {
                let Segment { src, dst, src_port, dst_port, tsval, flags, hop_limit, .. } = record.segment;
                prop_assert_eq!(plain.addresses, join(src.low_word(), dst.low_word()));
                prop_assert_eq!(plain.ports, u32::from(src_port) | u32::from(dst_port) << 16);
                prop_assert_eq!((plain.tsval, plain.flags, plain.hop_limit), (tsval, flags, hop_limit));
                prop_assert_eq!((plain.time_ns, plain.suppressed), (record.time_ns, record.suppressed));
                prop_assert_eq!(plain.payload_bytes, told.segment.payload_bytes);
            }
        }

        #[test]
        fn any_words_decode(words: [u64; 4], more: [u64; 4]) {
            let first = Slot { words };
            let mut calls = 0;
            let record = Record::from_slots(&first, || { calls += 1; Slot { words: more } });
            prop_assert_eq!(calls + 1, Record::slots_of(&first));
            prop_assert_eq!(record.time_ns, words[0]);
        }
    }
}
