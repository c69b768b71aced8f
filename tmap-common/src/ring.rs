//! The shared-memory side of the rings: what kernel and user space both know of their layout.
//!
//! There is one ring per possible CPU. All rings live in one array of [`Slot`](crate::record::Slot)s,
//! CPU `c` owning the slots `c * slots .. (c + 1) * slots`; all else that a CPU's programs touch for a
//! packet lives in one array of [`Cpu`]s. Positions count slots since the start and never wrap (64
//! bits), so `produced - consumed` is the fill and the slot of position `p` is `p & (slots - 1)`.

use crate::{
    counters::Counters,
    suppress::{self, DEFAULT_SLOTS},
};

/// Bytes between things that different CPUs write: two cache lines, because x86 prefetches lines in
/// pairs and some arm64 cores have lines of 128 bytes.
pub const LINE_BYTES: usize = 128;

/// What one CPU's programs work with: found by one look-up, and most of it in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Cpu {
    /// Slots written so far; only the kernel programs on this CPU write it.
    pub produced: u64,
    /// What the programs last saw of `consumed`: they look at the consumer's line only where there
    /// wouldn't be room.
    pub consumed_before: u64,
    /// 1 while a producer is at work. Used only where producers may interrupt each other.
    pub busy: u64,
    /// What became of frames. The first share the line with all of the above.
    pub counters: Counters,
    producer_lines: [u64; PRODUCER_WORDS],
    /// Slots read so far; only user space writes it.
    pub consumed: u64,
    consumer_line: [u64; LINE_BYTES / 8 - 1],
    /// Which flows were in the ring last, by [`suppress::Name::index`].
    pub flows: [suppress::Slot; DEFAULT_SLOTS as usize],
}

/// Up to the consumer's line.
const PRODUCER_WORDS: usize = 2 * LINE_BYTES / 8 - 3 - size_of::<Counters>() / 8;

const _: () = assert!(core::mem::offset_of!(Cpu, consumed).is_multiple_of(LINE_BYTES));
const _: () = assert!(core::mem::offset_of!(Cpu, flows).is_multiple_of(LINE_BYTES));
const _: () = assert!(size_of::<Cpu>().is_multiple_of(LINE_BYTES));

/// The fewest slots per CPU that make a ring.
pub const MIN_SLOTS: u32 = 64;
