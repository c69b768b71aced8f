//! The shared-memory side of the rings: what kernel and user space both know of their layout.
//!
//! There is one ring per possible CPU. All rings live in one array of [`Slot`](crate::record::Slot)s,
//! CPU `c` owning the slots `c * slots .. (c + 1) * slots`; their positions live in one array of
//! [`Positions`], a row per CPU. Positions count slots since the start and never wrap (64 bits), so
//! `produced - consumed` is the fill and the slot of position `p` is `p & (slots - 1)`.

/// Bytes between things that different CPUs write: two cache lines, because x86 prefetches lines in
/// pairs and some arm64 cores have lines of 128 bytes.
pub const LINE_BYTES: usize = 128;

/// One CPU's positions: the producer's and the consumer's, in lines of their own.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Positions {
    /// Slots written so far; only the kernel program on this CPU writes it.
    pub produced: u64,
    /// 1 while a producer is at work. Used only where producers may interrupt each other.
    pub busy: u64,
    producer_line: [u64; 14],
    /// Slots read so far; only user space writes it.
    pub consumed: u64,
    consumer_line: [u64; 15],
}

const _: () = assert!(size_of::<Positions>() == 2 * LINE_BYTES);
const _: () = assert!(core::mem::offset_of!(Positions, consumed) == LINE_BYTES);

/// The fewest slots per CPU that make a ring.
pub const MIN_SLOTS: u32 = 64;
