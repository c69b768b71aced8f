//! The cache that tells which segments can be left out of the ring: a slice of one array per CPU.
//! What is left out, and why that changes nothing, is told in [`tmap_common::suppress`].

use core::ptr;

use aya_ebpf::{Global, helpers::generated::bpf_jiffies64, macros::map, maps::Array};
use tmap_common::{
    Segment,
    record::Direction,
    suppress::{Brief, Name, Slot, Verdict},
};

/// All slices, one after another; the loader sets the size: CPUs x slots.
#[map]
static SUPPRESS: Array<Slot> = Array::with_max_entries(1, 0);

/// Slots per CPU, a power of two; 0 for no suppression. The loader sets it. The verifier knows
/// read-only data: with 0 all this is dead code.
#[unsafe(no_mangle)]
static SUPPRESS_SLOTS: Global<u32> = Global::new(0);

/// A random number; the loader sets it.
#[unsafe(no_mangle)]
static SUPPRESS_SEED: Global<u64> = Global::new(0);

/// The flow of `segment`, in the tunnel of this name.
#[inline(always)]
pub fn name(segment: &Segment, direction: Direction, tunnel: u64) -> Name {
    Name::of(segment, direction, tunnel, SUPPRESS_SEED.load())
}

/// Judges a segment.
#[inline(always)]
pub fn judge(cpu: u32, name: Name, brief: Brief) -> Verdict {
    let Some(slot) = slot(cpu, name) else { return Verdict::Emit(0) };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_jiffies64() };
    // SAFETY: the slot is a value of the map, which only this CPU's programs use, one at a time.
    let (verdict, next) = unsafe { *slot }.check(name, brief, now);
    // SAFETY: as above.
    unsafe { ptr::write(slot, next) };
    verdict
}

/// Makes a flow start over: what comes next repeats nothing. Returns how many of its segments were left
/// out since its last record.
#[inline(always)]
pub fn forget(cpu: u32, name: Name) -> u8 {
    let Some(slot) = slot(cpu, name) else { return 0 };
    // SAFETY: as above.
    let count = unsafe { *slot }.count_of(name);
    // SAFETY: as above.
    unsafe { ptr::write(slot, Slot::default()) };
    count
}

#[inline(always)]
fn slot(cpu: u32, name: Name) -> Option<*mut Slot> {
    let slots = SUPPRESS_SLOTS.load();
    // The map has a slot for every index of this form; the check is the verifier's.
    if slots == 0 { None } else { SUPPRESS.get_ptr_mut(cpu * slots + name.index(slots)) }
}
