//! The per-CPU state of the programs, and the counters in it: no CPU shares a cache line with another.

use aya_ebpf::{
    Global, bindings::BPF_F_MMAPABLE, helpers::bpf_get_smp_processor_id, macros::map, maps::Array,
};
use tmap_common::{Skip, record::Tells, ring::CpuState};

use crate::atomic;

/// The state of every possible CPU; the loader sets how many there are.
#[map]
static CPUS: Array<CpuState> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Set on PREEMPT_RT, in the cautious object: one producer may interrupt another on the same CPU.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u8> = Global::new(0);

/// Whether records tell TSecr, for round trips; the loader sets it. The verifier knows read-only data: one of
/// both cases is dead code.
#[unsafe(no_mangle)]
static ROUND_TRIPS: Global<u8> = Global::new(0);

/// Whether records tell payload bytes rather than TSecr.
#[inline(always)]
pub(crate) fn tells_bytes() -> bool {
    ROUND_TRIPS.load() == 0
}

/// What records tell.
#[inline(always)]
pub(crate) fn tells() -> Tells {
    if tells_bytes() { Tells::PayloadBytes } else { Tells::Tsecr }
}

/// Whether one producer may interrupt another on the same CPU.
#[inline(always)]
pub(crate) fn preemptible() -> bool {
    crate::CAUTIOUS && PREEMPTIBLE.load() != 0
}

/// The CPU that the program runs on.
#[derive(Clone, Copy)]
pub(crate) struct ThisCpu {
    /// Its state: a value of the map, which outlives the program's run.
    pub state: *mut CpuState,
    /// Its number.
    pub number: u32,
}

impl ThisCpu {
    /// Looks up this CPU's state. Never returns `None`; the test is for the verifier.
    #[inline(always)]
    pub(crate) fn get() -> Option<Self> {
        // SAFETY: the helper has no preconditions.
        let number = unsafe { bpf_get_smp_processor_id() };
        let state = CPUS.get_ptr_mut(number)?;
        Some(Self { state, number })
    }

    /// Counts a frame.
    #[inline(always)]
    pub(crate) fn count_seen(&self) {
        // SAFETY: the map's value outlives the program's run; only the address is taken.
        add_one(unsafe { &raw mut (*self.state).counters.seen });
    }

    /// Counts a record written to the ring.
    #[inline(always)]
    pub(crate) fn count_emitted(&self) {
        // SAFETY: the map's value outlives the program's run; only the address is taken.
        add_one(unsafe { &raw mut (*self.state).counters.emitted });
    }

    /// Counts a segment kept out of the ring.
    #[inline(always)]
    pub(crate) fn count_suppressed(&self) {
        // SAFETY: the map's value outlives the program's run; only the address is taken.
        add_one(unsafe { &raw mut (*self.state).counters.suppressed });
    }

    /// Counts a record lost because the ring was full.
    #[inline(always)]
    pub(crate) fn count_ring_full(&self) {
        // SAFETY: the map's value outlives the program's run; only the address is taken.
        add_one(unsafe { &raw mut (*self.state).counters.ring_full });
    }

    /// Counts a frame skipped.
    #[inline(always)]
    pub(crate) fn count_skip(&self, reason: Skip) {
        // SAFETY: the map's value outlives the program's run, and the reason is below `Skip::COUNT`, the
        // array's length.
        add_one(unsafe { (&raw mut (*self.state).counters.skipped).cast::<u64>().add(reason as usize) });
    }

    /// Counts a frame skipped for the reason of this index. Returns how many frames this CPU had skipped for
    /// it before, and `u64::MAX` where no reason has the index.
    #[inline(always)]
    pub(crate) fn count_skip_by_index(&self, index: usize) -> u64 {
        if index >= Skip::COUNT {
            return u64::MAX;
        }
        // SAFETY: the map's value outlives the program's run, and the index is below the array's length.
        add_one(unsafe { (&raw mut (*self.state).counters.skipped).cast::<u64>().add(index) })
    }
}

/// Adds one to a counter of this CPU; returns the value that it had before.
#[inline(always)]
fn add_one(counter: *mut u64) -> u64 {
    if preemptible() {
        // SAFETY: the counter is an aligned u64 of this CPU's state. User space only reads it.
        return unsafe { atomic::fetch_add(counter, 1) };
    }
    // SAFETY: the counter is an aligned u64 of this CPU's state, which has one writer at a time here: no
    // atomic is needed. User space only reads it.
    unsafe {
        let before = *counter;
        *counter = before + 1;
        before
    }
}
