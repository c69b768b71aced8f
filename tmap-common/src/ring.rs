//! Layout of the memory that kernel and user space share: the rings, and each CPU's state.
//!
//! There is one ring per possible CPU. All rings live in one array of [`Slot`](crate::record::Slot)s,
//! CPU `c` owning the slots `c * slots .. (c + 1) * slots`; everything else that a CPU's programs use for a
//! packet lies in one array of [`CpuState`]s. Positions count slots since the start and never wrap (64
//! bits), so `produced - consumed` is the fill and the slot of position `p` is `p & (slots - 1)`.

use crate::{
    counters::Counters,
    suppress::{self, CACHE_ENTRIES},
};

/// Distance in bytes between fields that different CPUs write: two cache lines, because x86 prefetches lines
/// in pairs and some arm64 cores have lines of 128 bytes.
pub const LINE_BYTES: usize = 128;

/// The state of one CPU's programs: found by one map look-up, and most of it in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuState {
    /// Slots written so far; only the kernel programs on this CPU write it.
    pub produced: u64,
    /// The value of `consumed` that the programs read last. They read it anew, from the consumer's cache
    /// line, only where the ring would seem full. A consumer that goes to sleep makes it seem full
    /// ([`seemingly_full`]), so that the next record takes this rare path, where the doorbell is.
    pub consumed_before: u64,
    /// 1 while a producer is at work. Used only where producers may interrupt each other.
    pub busy: u64,
    /// Counters of what became of frames. The first share a cache line with the fields above.
    pub counters: Counters,
    producer_lines: [u64; PRODUCER_WORDS],
    /// Slots read so far; only user space writes it.
    pub consumed: u64,
    /// 1 while the consumer sleeps, and has to be woken; only user space writes it.
    pub is_asleep: u64,
    consumer_line: [u64; LINE_BYTES / 8 - 2],
    /// The suppression cache ([`suppress`]): the last record of flows, by [`suppress::FlowHash::index`].
    pub flow_cache: [suppress::CacheEntry; CACHE_ENTRIES as usize],
    /// Beside each entry of the cache: bytes of data that were suppressed
    /// ([`Suppressed`](crate::record::Suppressed)).
    pub flow_sums: [u32; CACHE_ENTRIES as usize],
}

/// Words that fill the producer's lines up to the consumer's line.
const PRODUCER_WORDS: usize = 2 * LINE_BYTES / 8 - 3 - size_of::<Counters>() / 8;

const _: () = assert!(core::mem::offset_of!(CpuState, consumed).is_multiple_of(LINE_BYTES));
const _: () = assert!(core::mem::offset_of!(CpuState, flow_cache).is_multiple_of(LINE_BYTES));
const _: () = assert!(size_of::<CpuState>().is_multiple_of(LINE_BYTES));

/// The least number of slots per CPU's ring.
pub const MIN_SLOTS: u32 = 64;

/// The value of `consumed_before` with which a ring of so many slots seems full, whatever comes next.
pub fn seemingly_full(produced: u64, slots: u32) -> u64 {
    produced.wrapping_sub(u64::from(slots))
}
