//! Suppression: segments that can't change any estimate are kept out of the ring.
//!
//! On a busy link most segments repeat the one before: a bulk transfer sends eighty segments in a
//! tick of its clock, all with one TSval and one TSecr. Such a repeat lies above and left of a point
//! that is kept, so no line of positive slope can rest on it: the lower envelope doesn't change. Nor
//! do round-trip times, which run from the first segment with a TSval to the first with its echo, nor
//! the segments that PAWS (RFC 7323, section 5) would reject.
//!
//! # What is suppressed
//!
//! A segment is suppressed if its TSval, TSecr and TTL are those of the segment that its flow last had
//! in the ring, and it brings nothing else. These are always emitted, because something depends on each:
//!
//! - SYN, FIN and RST; segments without ACK; TSval 0;
//! - the first segment *with data* of a TSval: a round trip is measured from a segment that is answered;
//! - every late segment, that is one with a TSval older than the newest; and the next one after it, which
//!   shows that the clock goes on as before;
//! - every segment that comes [`MAX_AGE`] or more after the first segment with its TSval: it may be a
//!   retransmission with its old stamp, or the second witness for a new clock;
//! - one segment in 256, so that the count fits its byte.
//!
//! # The cache
//!
//! A direct-mapped table of 16-byte entries for each CPU, one flow to an entry. A flow that finds its
//! entry taken by another flow is emitted once more than needed, which costs a record and loses none.
//! The hull never depends on the cache, but two fine points need a flow's entry to last:
//!
//! - Ages are counted from when the entry was taken. If a TSval stands still for longer than 100 ms (a
//!   clock below 10 Hz, or a stopped one), segments may be suppressed that would have shown a
//!   retransmission.
//! - Late segments that find their entry just taken have their repeats suppressed, which the round-trip
//!   engine would have counted as reordered. The same holds for a clock that steps back by more than
//!   2^22 ticks and later forward.
//!
//! One CPU must receive all segments of a flow's direction, as RSS arranges it; and a SYN must be answered
//! by a SYN-ACK or RST, as TCP does it.
//!
//! The next record of a flow says how many of its segments were suppressed, and how many bytes of data they
//! had. Where another flow took the entry before, its count is only in the CPU's counter, which is always
//! exact, and its bytes are in none. The same holds for segments behind the last record of all.
//!
//! The sums of bytes lie beside the cache rather than in it: only flows with suppressed segments need
//! theirs, and the entries stay small.

use crate::{
    Address, Flags, Segment, Tunnel,
    record::{Direction, Suppressed},
};

/// Bytes per entry of the cache.
pub const ENTRY_BYTES: usize = 16;

/// Entries per CPU, a power of two. A flow needs one only while it has more than one segment within a tick,
/// and 64 KiB stay in a CPU's own caches. Of a million flows by Zipf's law at three million segments a
/// second, a table sixteen times as large would suppress 3 % more than this one; at ten million 8 % more.
pub const CACHE_ENTRIES: u32 = 1 << 12;

/// The age of a TSval from which on all its segments are emitted, in the caller's units: the kernel's
/// jiffies (80 ms at 100 Hz, 8 ms at 1000 Hz), elsewhere [`UNIT_NS`]. It is below the 100 ms from which on
/// a repeat matters to PAWS, and below the 200 ms after which TCP retransmits (Linux' `TCP_RTO_MIN`).
pub const MAX_AGE: u32 = 8;

/// The unit of [`MAX_AGE`] where there are no jiffies, in nanoseconds.
pub const UNIT_NS: u64 = 10_000_000;

/// The most ticks by which a late segment's TSval lies behind the newest; a segment further back is of
/// another clock. More than three seconds at the fastest rate that is accepted.
const LATEST_TICKS: u32 = 1 << 22;

/// An entry of the cache: the last record of one flow. All zeros: an unused entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CacheEntry {
    /// TSval in the low half, TSecr in the high one. TSval 0: the next segment counts as the first.
    stamps: u64,
    /// Several fields, as [`bits`] lays them out.
    state: u64,
}

const _: () = assert!(size_of::<CacheEntry>() == ENTRY_BYTES);

/// The fields of [`CacheEntry::state`], from the lowest bit.
mod bits {
    /// 24 bits: the flow's tag, odd.
    pub(super) const TAG: u64 = (1 << 24) - 1;
    /// 8 bits: TTL or hop limit.
    pub(super) const HOP_LIMIT_AT: u32 = 24;
    /// 8 bits: segments suppressed since the record.
    pub(super) const COUNT_AT: u32 = 32;
    /// Whether a segment with data had this TSval.
    pub(super) const ASKED: u64 = 1 << 40;
    /// Whether another segment of the flow was emitted since the record.
    pub(super) const INTERRUPTED: u64 = 1 << 41;
    /// 22 bits: when the TSval came first, in units of [`MAX_AGE`](super::MAX_AGE), modulo 2^22.
    pub(super) const BORN_AT: u32 = 42;
    pub(super) const BORN: u64 = (1 << 22) - 1;
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is suppressed: counted, and kept out of the ring.
    Suppress,
    /// It is emitted: written to the ring, with this count of segments of its flow suppressed since the last
    /// record.
    Emit(u8),
}

/// The hash of a flow: it selects the flow's entry and tags it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(pub u64);

impl FlowHash {
    /// Hashes addresses, ports, direction and tunnel of `segment`. `seed` is random, so that an attacker
    /// can't make flows collide.
    #[inline(always)]
    pub fn of(segment: &Segment, direction: Direction, seed: u64) -> Self {
        let [src_high, src_low] = segment.src.words();
        let [dst_high, dst_low] = segment.dst.words();
        // On the fast path IPv4 is known at compile time, and then costs two multiplications.
        let addresses = if Address::are_ip4(&segment.src, &segment.dst) {
            u64::from(segment.src.low_word()) | u64::from(segment.dst.low_word()) << 32
        } else {
            mix(mix(src_high ^ seed) ^ dst_high) ^ mix(src_low ^ seed) ^ dst_low.rotate_left(32)
        };
        let ports = u64::from(segment.src_port) | u64::from(segment.dst_port) << 16;
        let rest = ports | (direction as u64) << 32;
        let hash = mix(mix(addresses ^ seed) ^ rest);
        match &segment.tunnel {
            None => Self(hash),
            Some(tunnel) => Self(mix(hash ^ of_tunnel(tunnel, seed))),
        }
    }

    /// The index of the flow's entry in a cache of `entries`, a power of two of at most 2^24.
    #[inline(always)]
    pub const fn index(self, entries: u32) -> u32 {
        (self.0 >> 40) as u32 & (entries - 1)
    }

    /// The tag by which an entry knows its flow: odd, so that no flow has the tag of an unused entry.
    #[inline(always)]
    const fn tag(self) -> u64 {
        (self.0 >> 8) & bits::TAG | 1
    }
}

/// The hash of a tunnel: kind, id and ends.
#[inline(always)]
fn of_tunnel(tunnel: &Tunnel, seed: u64) -> u64 {
    let [src_high, src_low] = tunnel.src.words();
    let [dst_high, dst_low] = tunnel.dst.words();
    let key = u64::from(tunnel.id) << 8 | u64::from(tunnel.kind.0);
    let ends = mix(mix(src_high ^ seed) ^ src_low) ^ mix(mix(dst_high ^ !seed) ^ dst_low).rotate_left(32);
    mix(mix(key ^ seed) ^ ends)
}

/// Spreads every bit over all bits (the finish of a multiplicative hash).
#[inline(always)]
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ word >> 32
}

/// The digest of a segment: the fields that the rule reads, as words, in which form the kernel programs pass
/// them to a subprogram.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    /// TSval in the low half, TSecr in the high one.
    pub stamps: u64,
    /// A byte each, from the lowest: TTL or hop limit, TCP flags, whether there is data, and whether the
    /// segment is emitted in any case (if not 0). The upper half: bytes of data.
    pub rest: u64,
}

impl Digest {
    /// The digest of `segment`.
    #[inline(always)]
    pub fn of(segment: &Segment) -> Self {
        Self {
            stamps: u64::from(segment.tsval) | u64::from(segment.tsecr) << 32,
            rest: u64::from(segment.hop_limit)
                | u64::from(segment.flags.0) << 8
                | u64::from(segment.has_payload) << 16
                | u64::from(segment.payload_bytes) << 32,
        }
    }

    /// The digest of a segment that is always emitted if `reason`, below 256, isn't 0.
    #[inline(always)]
    pub const fn emitted_if(self, reason: u64) -> Self {
        Self { rest: self.rest | reason << 24, ..self }
    }

    #[inline(always)]
    const fn tsval(self) -> u32 {
        self.stamps as u32
    }

    #[inline(always)]
    const fn hop_limit(self) -> u64 {
        self.rest & 0xff
    }

    #[inline(always)]
    const fn flags(self) -> Flags {
        Flags((self.rest >> 8) as u8)
    }

    #[inline(always)]
    const fn has_payload(self) -> bool {
        self.rest >> 16 & 1 != 0
    }

    #[inline(always)]
    const fn payload_bytes(self) -> u32 {
        (self.rest >> 32) as u32
    }

    /// Whether a segment of this kind may be suppressed at all.
    #[inline(always)]
    const fn is_suppressible(self) -> bool {
        let special = (Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0 | Flags::ACK.0) as u64;
        self.rest & (special << 8 | 0xff << 24) == (Flags::ACK.0 as u64) << 8 && self.tsval() != 0
    }

    /// Whether the engine reads the sender's clock from the segment for any purpose.
    #[inline(always)]
    const fn shows_clock(self) -> bool {
        !self.flags().intersects(Flags::RST) && self.tsval() != 0
    }

    /// Whether the engine reads the clock from it for all purposes, so that another one like it is a repeat.
    #[inline(always)]
    const fn is_reference(self) -> bool {
        let special = Flags::SYN.0 | Flags::RST.0 | Flags::ACK.0;
        self.flags().0 & special == Flags::ACK.0
    }
}

impl CacheEntry {
    /// Decides what becomes of a segment, and returns with it what the entry holds from now on.
    ///
    /// A caller that then can't write the segment to the ring empties the entry, since the next segment
    /// repeats nothing. `now` is the time, in units of which [`MAX_AGE`] are between 8 and 90 ms.
    #[inline(always)]
    pub fn classify(&self, hash: FlowHash, digest: Digest, now: u64) -> (Decision, Self) {
        self.classify_fast(hash, digest, now).unwrap_or_else(|| {
            let (count, next) = self.classify_slow(hash, digest, now);
            (Decision::Emit(count), next)
        })
    }

    /// Does what [`CacheEntry::classify`] does for most segments; `None` for the others.
    #[inline(always)]
    pub fn classify_fast(&self, hash: FlowHash, digest: Digest, now: u64) -> Option<(Decision, Self)> {
        if !digest.is_suppressible() {
            return None;
        }
        let own = hash.tag() | digest.hop_limit() << bits::HOP_LIMIT_AT;
        // Tag, TTL and "not interrupted" at once.
        let differs = (self.state ^ own) & (0xffff_ffff | bits::INTERRUPTED) | (self.stamps ^ digest.stamps);
        if differs == 0 {
            let age = (now.wrapping_sub(self.state >> bits::BORN_AT)) & bits::BORN;
            let asks_first = digest.has_payload() && self.state & bits::ASKED == 0;
            if !asks_first && age < u64::from(MAX_AGE) && self.count() < u8::MAX {
                return Some((
                    Decision::Suppress,
                    Self { state: self.state + (1 << bits::COUNT_AT), ..*self },
                ));
            }
        }
        // Nearly all the others are newer, or find the entry taken. No branch predictor can tell which of
        // the two: so one comparison for both, and no branch for the count.
        let stranger = (self.state ^ hash.tag()) & bits::TAG;
        let behind = u64::from((self.stamps as u32).wrapping_sub(digest.tsval())) | stranger << 32;
        (behind > u64::from(LATEST_TICKS)).then(|| {
            let if_own = (stranger.wrapping_sub(1) as i64 >> 63) as u8;
            let asked = u64::from(digest.has_payload()) * bits::ASKED;
            let born = now << bits::BORN_AT;
            let next = Self { stamps: digest.stamps, state: own | asked | born };
            (Decision::Emit(self.count() & if_own), next)
        })
    }

    /// The sum of bytes beside the entry, once the segment of this digest is suppressed. `sum_bytes` is the
    /// sum before, and `self` the entry before. At most 255 times 65,535.
    #[inline(always)]
    pub const fn sum_with(&self, sum_bytes: u32, digest: Digest) -> u32 {
        Suppressed::new(self.count(), sum_bytes).payload_bytes.wrapping_add(digest.payload_bytes())
    }

    /// Segments suppressed since the last record of the flow that holds the entry.
    #[inline(always)]
    pub const fn count(&self) -> u8 {
        (self.state >> bits::COUNT_AT) as u8
    }

    /// Segments suppressed since the last record of the flow with this hash; 0 where another flow holds the
    /// entry.
    #[inline(always)]
    pub const fn count_of(&self, hash: FlowHash) -> u8 {
        if (self.state ^ hash.tag()) & bits::TAG == 0 { self.count() } else { 0 }
    }

    /// Does what [`CacheEntry::classify`] does for the segments that [`Self::classify_fast`] leaves: all
    /// are emitted. Returns how many were suppressed before, and what the entry holds from now on.
    /// In the kernel a subprogram.
    #[inline(always)]
    pub fn classify_slow(&self, hash: FlowHash, digest: Digest, now: u64) -> (u8, Self) {
        let is_own = (self.state ^ hash.tag()) & bits::TAG == 0;
        // What was suppressed of an earlier connection on these ports isn't the new one's.
        let count = if is_own && !digest.flags().is_syn() { self.count() } else { 0 };
        let own = hash.tag() | digest.hop_limit() << bits::HOP_LIMIT_AT;
        let asked = if digest.has_payload() && digest.is_reference() { bits::ASKED } else { 0 };
        let born = (now & bits::BORN) << bits::BORN_AT;
        let interrupted = if digest.is_reference() { 0 } else { bits::INTERRUPTED };
        let fresh = Self { stamps: digest.stamps, state: own | asked | interrupted | born };
        let ahead = digest.tsval().wrapping_sub(self.stamps as u32);
        let is_late = ahead != 0 && ahead.wrapping_neg() <= LATEST_TICKS;
        let next = if !is_own || self.stamps as u32 == 0 {
            if digest.shows_clock() { fresh } else { Self { stamps: 0, state: own | interrupted } }
        } else if is_late || !digest.shows_clock() {
            // The newest stays the newest.
            Self { state: self.state & !(0xff << bits::COUNT_AT) | bits::INTERRUPTED, ..*self }
        } else if ahead == 0 {
            // The TSval is as old as it was; TSecr, TTL or something else is new.
            // After an interruption the engine may see it for the first time.
            let was_interrupted = self.state & bits::INTERRUPTED != 0;
            let old = if was_interrupted { 0 } else { bits::ASKED } | bits::BORN << bits::BORN_AT;
            Self { state: own | asked | interrupted | self.state & old, ..fresh }
        } else {
            fresh
        };
        (count, next)
    }
}
