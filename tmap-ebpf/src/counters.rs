//! What each CPU's programs work with, and the counters in it: no CPU shares a cache line with another.

use aya_ebpf::{Global, bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use tmap_common::{Skip, ring::Cpu};

use crate::atomic;

/// One row per possible CPU; the loader sets how many.
#[map]
static CPUS: Array<Cpu> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Set on PREEMPT_RT, in the cautious object: one producer may interrupt another on the same CPU.
#[unsafe(no_mangle)]
pub static PREEMPTIBLE: Global<u8> = Global::new(0);

/// Whether one producer may interrupt another on the same CPU.
#[inline(always)]
pub fn preemptible() -> bool {
    crate::CAUTIOUS && PREEMPTIBLE.load() != 0
}

/// This CPU's row.
#[derive(Clone, Copy)]
pub struct Row {
    /// A value of the map, which outlives the program's run.
    pub at: *mut Cpu,
    /// Whose it is.
    pub cpu: u32,
}

impl Row {
    /// The row of `cpu`.
    #[inline(always)]
    pub fn of(cpu: u32) -> Option<Self> {
        let at = CPUS.get_ptr_mut(cpu)?;
        Some(Self { at, cpu })
    }

    /// Counts a frame.
    #[inline(always)]
    pub fn seen(&self) {
        // SAFETY: the map's value outlives the program's run.
        add_one(unsafe { &raw mut (*self.at).counters.seen });
    }

    /// Counts a record written.
    #[inline(always)]
    pub fn emitted(&self) {
        // SAFETY: as above.
        add_one(unsafe { &raw mut (*self.at).counters.emitted });
    }

    /// Counts a segment left out of the ring.
    #[inline(always)]
    pub fn suppressed(&self) {
        // SAFETY: as above.
        add_one(unsafe { &raw mut (*self.at).counters.suppressed });
    }

    /// Counts a record lost.
    #[inline(always)]
    pub fn ring_full(&self) {
        // SAFETY: as above.
        add_one(unsafe { &raw mut (*self.at).counters.ring_full });
    }

    /// Counts a frame skipped.
    #[inline(always)]
    pub fn skip(&self, reason: Skip) {
        // SAFETY: as above, and the enum is the index.
        add_one(unsafe { (&raw mut (*self.at).counters.skipped).cast::<u64>().add(reason as usize) });
    }

    /// Counts a frame skipped for the reason of this index; returns how many were skipped on this CPU for the same reason before.
    #[inline(always)]
    pub fn skipped(&self, index: usize) -> u64 {
        if index >= Skip::COUNT {
            return u64::MAX;
        }
        // SAFETY: as above, and the index was checked.
        add_one(unsafe { (&raw mut (*self.at).counters.skipped).cast::<u64>().add(index) })
    }
}

/// Adds one to a counter of this CPU; returns what it was before.
#[inline(always)]
fn add_one(counter: *mut u64) -> u64 {
    if preemptible() {
        // SAFETY: the counter is an aligned u64 of this CPU's row. User space only reads it.
        return unsafe { atomic::fetch_add(counter, 1) };
    }
    // SAFETY: as above, and this CPU has one writer at a time: no atomic needed.
    unsafe {
        let before = *counter;
        *counter = before + 1;
        before
    }
}
