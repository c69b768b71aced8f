//! Which segments can be left out of the ring without anybody being the wiser.
//!
//! On a busy link most segments repeat the one before: a bulk transfer sends eighty segments in a
//! tick of its clock, all with one TSval and one TSecr. Such a repeat lies above and left of a point
//! that is kept, so no line of positive slope can rest on it: the lower envelope doesn't change
//! ([`crate`]'s users: envelope, phase). Nor does a round trip, which runs from the first segment
//! with a TSval to the first with its echo, nor what PAWS would say.
//!
//! # What is left out
//!
//! A segment whose TSval, TSecr and TTL are those of the segment that its flow last had in the ring,
//! and which brings nothing else. These always go in, because something depends on each:
//!
//! - SYN, FIN and RST; segments without ACK; TSval 0;
//! - the first segment *with data* of a TSval: a round trip is measured from what asks for an answer;
//! - segments that come late, that is with a TSval older than the newest, each of them; and the next
//!   one after them, which tells that the clock goes on as before;
//! - whatever comes [`MAX_AGE`] or more after the first segment with its TSval: it may be a
//!   retransmission with its old stamp, or the second witness for a new clock;
//! - one segment in 256, so that the count fits its byte.
//!
//! # The cache
//!
//! A direct-mapped table of 16-byte slots for each CPU, one flow to a slot. It forgets: a flow that
//! finds its slot taken goes into the ring once more than it had to, which costs a record and loses
//! none. The hull never depends on it, but two fine points need a flow's slot to last. Ages are
//! counted from when the slot was taken: of a TSval that stands still for longer than 100 ms (a clock
//! below 10 Hz, or a stopped one) segments may be left out that would have shown a retransmission. And
//! of segments that come late to a slot just taken, repeats are left out, which round trips would have
//! counted as reordered; so it is with a clock that goes back by more than [`LATEST_TICKS`] and then
//! forth again. A flow's direction must be
//! received by one CPU, as RSS has it; and a SYN must be answered by a SYN-ACK or RST, as TCP has it.
//!
//! How many segments were left out is told by the next record of the flow. What a slot had counted
//! when another flow took it is in the CPU's counter only, which is always exact.

use crate::{Address, Flags, Segment, record::Direction};

/// Bytes per slot.
pub const SLOT_BYTES: usize = 16;

/// Slots per CPU. The entries needed are about the flows that have more
/// than one segment within a tick, not all flows, and 64 KiB stay in a CPU's own caches: of a million
/// flows by Zipf's law at three million segments a second, a table sixteen times as large would leave out
/// 3 % more of what this one does, and at ten million 8 %.
pub const DEFAULT_SLOTS: u32 = 1 << 12;

/// From this age on, in the caller's units (the kernel's jiffies: 80 ms at 100 Hz, 8 ms at 1000 Hz;
/// elsewhere [`UNIT_NS`]), a TSval's segments all go in. Less than the 100 ms that make a repeat
/// mean something to PAWS, and than the 200 ms after which TCP retransmits.
pub const MAX_AGE: u32 = 8;

/// The unit of age where there are no jiffies, in nanoseconds.
pub const UNIT_NS: u64 = 10_000_000;

/// Segments further back than this, in ticks, aren't late but of another clock: more than three
/// seconds at the fastest rate that is believed.
const LATEST_TICKS: u32 = 1 << 22;

/// One flow's last record. All zeros: nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// TSval in the low half, TSecr in the high one. TSval 0: the next segment is taken as the first.
    stamps: u64,
    /// See [`bits`].
    state: u64,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// What [`Slot::state`] holds, from the lowest bit.
mod bits {
    /// 24 bits: the flow's tag, odd.
    pub const TAG: u64 = (1 << 24) - 1;
    /// 8 bits: TTL or hop limit.
    pub const HOP_LIMIT_AT: u32 = 24;
    /// 8 bits: segments left out since.
    pub const COUNT_AT: u32 = 32;
    /// Whether a segment with data had this TSval.
    pub const ASKED: u64 = 1 << 40;
    /// Whether another segment of the flow went into the ring since.
    pub const INTERRUPTED: u64 = 1 << 41;
    /// 22 bits: when the TSval came first.
    pub const BORN_AT: u32 = 42;
    pub const BORN: u64 = (1 << 22) - 1;
}

/// What is to be done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it out.
    Suppress,
    /// Put it into the ring, and say that so many of its flow were left out since the last one.
    Emit(u8),
}

/// Which slot a flow has, and how the slot knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub u64);

impl Name {
    /// Of the flow and direction of `segment`, and of what names the tunnel around it (0 for none).
    /// `seed` keeps strangers from making flows collide.
    #[inline(always)]
    pub fn of(segment: &Segment, direction: Direction, tunnel: u64, seed: u64) -> Self {
        let [src_high, src_low] = segment.src.words();
        let [dst_high, dst_low] = segment.dst.words();
        // IPv4 is told at compile time on the path that matters, and then costs two multiplications.
        let addresses = if Address::are_ip4(&segment.src, &segment.dst) {
            u64::from(segment.src.low_word()) | u64::from(segment.dst.low_word()) << 32
        } else {
            mix(mix(src_high ^ seed) ^ dst_high) ^ mix(src_low ^ seed) ^ dst_low.rotate_left(32)
        };
        let ports = u64::from(segment.src_port) | u64::from(segment.dst_port) << 16;
        let rest = ports | (direction as u64) << 32 ^ tunnel << 23;
        Self(mix(mix(addresses ^ seed) ^ rest))
    }

    /// The slot's index in a table of `slots`, a power of two of at most 2^24.
    #[inline(always)]
    pub const fn index(self, slots: u32) -> u32 {
        (self.0 >> 40) as u32 & (slots - 1)
    }

    #[inline(always)]
    const fn tag(self) -> u64 {
        (self.0 >> 8) & bits::TAG | 1
    }
}

/// Spreads what differs over all bits (the finish of a multiplicative hash).
#[inline(always)]
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ word >> 32
}

/// What a slot has to know of a segment, as words: they can be handed to a function of the kernel
/// programs.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    /// TSval in the low half, TSecr in the high one.
    pub stamps: u64,
    /// TTL or hop limit, TCP flags, whether there is data, and whether it is emitted in any case (then
    /// not 0): a byte each, from the lowest.
    pub rest: u64,
}

impl Brief {
    /// Of a segment.
    #[inline(always)]
    pub fn of(segment: &Segment) -> Self {
        Self {
            stamps: u64::from(segment.tsval) | u64::from(segment.tsecr) << 32,
            rest: u64::from(segment.hop_limit)
                | u64::from(segment.flags.0) << 8
                | u64::from(segment.has_payload) << 16,
        }
    }

    /// The same, of a segment that is never left out if `reason`, below 256, isn't 0.
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

    /// Whether it is one of those that may be left out.
    #[inline(always)]
    const fn is_plain(self) -> bool {
        let special = (Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0 | Flags::ACK.0) as u64;
        self.rest & (special << 8 | 0xff << 24) == (Flags::ACK.0 as u64) << 8 && self.tsval() != 0
    }

    /// Whether anybody reads the sender's clock from it: round trips do from all but these.
    #[inline(always)]
    const fn shows_clock(self) -> bool {
        !self.flags().intersects(Flags::RST) && self.tsval() != 0
    }

    /// Whether everybody does, so that another like it repeats it.
    #[inline(always)]
    const fn is_reference(self) -> bool {
        let special = Flags::SYN.0 | Flags::RST.0 | Flags::ACK.0;
        self.flags().0 & special == Flags::ACK.0
    }
}

impl Slot {
    /// Judges a segment, and says what the slot holds from now on. A caller that then can't put the
    /// segment into the ring empties the slot, since what comes next repeats nothing. `now` is the
    /// time in units of which [`MAX_AGE`] are between 8 and 90 ms.
    #[inline(always)]
    pub fn check(&self, name: Name, brief: Brief, now: u64) -> (Verdict, Self) {
        self.check_quickly(name, brief, now).unwrap_or_else(|| {
            let (count, next) = self.check_slowly(name, brief, now);
            (Verdict::Emit(count), next)
        })
    }

    /// [`Slot::check`] of what most segments are; `None` for the others.
    #[inline(always)]
    pub fn check_quickly(&self, name: Name, brief: Brief, now: u64) -> Option<(Verdict, Self)> {
        if !brief.is_plain() {
            return None;
        }
        let own = name.tag() | brief.hop_limit() << bits::HOP_LIMIT_AT;
        // Tag, TTL and "not interrupted" at once.
        let differs = (self.state ^ own) & (0xffff_ffff | bits::INTERRUPTED) | (self.stamps ^ brief.stamps);
        if differs == 0 {
            let age = (now.wrapping_sub(self.state >> bits::BORN_AT)) & bits::BORN;
            let asks_first = brief.has_payload() && self.state & bits::ASKED == 0;
            if !asks_first && age < u64::from(MAX_AGE) && self.count() < u8::MAX {
                return Some((
                    Verdict::Suppress,
                    Self { state: self.state + (1 << bits::COUNT_AT), ..*self },
                ));
            }
        }
        // Nearly all the others are newer, or find the slot taken. Which of the two nobody can foresee,
        // a CPU's branch predictor least: so one comparison for both, and no branch for the count.
        let stranger = (self.state ^ name.tag()) & bits::TAG;
        let behind = u64::from((self.stamps as u32).wrapping_sub(brief.tsval())) | stranger << 32;
        (behind > u64::from(LATEST_TICKS)).then(|| {
            let if_own = (stranger.wrapping_sub(1) as i64 >> 63) as u8;
            let asked = u64::from(brief.has_payload()) * bits::ASKED;
            let born = now << bits::BORN_AT;
            let next = Self { stamps: brief.stamps, state: own | asked | born };
            (Verdict::Emit(self.count() & if_own), next)
        })
    }

    /// Segments left out since the last record of whichever flow this is.
    #[inline(always)]
    pub const fn count(&self) -> u8 {
        (self.state >> bits::COUNT_AT) as u8
    }

    /// Segments of this flow left out since its last record.
    #[inline(always)]
    pub const fn count_of(&self, name: Name) -> u8 {
        if (self.state ^ name.tag()) & bits::TAG == 0 { self.count() } else { 0 }
    }

    /// [`Slot::check`] of what goes into the ring in any case: how many were left out before, and what
    /// the slot holds from now on. In the kernel a function by itself.
    #[inline(always)]
    pub fn check_slowly(&self, name: Name, brief: Brief, now: u64) -> (u8, Self) {
        let is_own = (self.state ^ name.tag()) & bits::TAG == 0;
        // What an earlier connection on these ports left out isn't the new one's.
        let count = if is_own && !brief.flags().is_syn() { self.count() } else { 0 };
        let own = name.tag() | brief.hop_limit() << bits::HOP_LIMIT_AT;
        let asked = if brief.has_payload() && brief.is_reference() { bits::ASKED } else { 0 };
        let born = (now & bits::BORN) << bits::BORN_AT;
        let interrupted = if brief.is_reference() { 0 } else { bits::INTERRUPTED };
        let fresh = Self { stamps: brief.stamps, state: own | asked | interrupted | born };
        let ahead = brief.tsval().wrapping_sub(self.stamps as u32);
        let is_late = ahead != 0 && ahead.wrapping_neg() <= LATEST_TICKS;
        let next = if !is_own || self.stamps as u32 == 0 {
            if brief.shows_clock() { fresh } else { Self { stamps: 0, state: own | interrupted } }
        } else if is_late || !brief.shows_clock() {
            // The newest stays the newest.
            Self { state: self.state & !(0xff << bits::COUNT_AT) | bits::INTERRUPTED, ..*self }
        } else if ahead == 0 {
            // The TSval is as old as it was; TSecr, TTL or what else is new.
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
