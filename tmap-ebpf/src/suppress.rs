//! The cache that tells which segments can be left out of the ring: a slice of one array per CPU.
//! What is left out, and why that changes nothing, is told in [`tmap_common::suppress`].

use core::ptr;

use aya_ebpf::{Global, helpers::generated::bpf_jiffies64};
use tmap_common::{
    Segment,
    record::Direction,
    suppress::{Brief, DEFAULT_SLOTS, Name, Slot, Verdict},
};

use crate::{calls, counters::Row};

/// Whether anything is left out; the loader sets it. The verifier knows read-only data: with 0 all this
/// is dead code.
#[unsafe(no_mangle)]
static SUPPRESS: Global<u8> = Global::new(0);

/// A random number; the loader sets it.
#[unsafe(no_mangle)]
static SUPPRESS_SEED: Global<u64> = Global::new(0);

/// The time that [`judge`] wants. By itself, because a call takes the registers: it comes before
/// anything that is kept in them.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    if SUPPRESS.load() == 0 { 0 } else { unsafe { bpf_jiffies64() } }
}

/// The flow of `segment`, in the tunnel of this name.
#[inline(always)]
pub fn name(segment: &Segment, direction: Direction, tunnel: u64) -> Name {
    Name::of(segment, direction, tunnel, SUPPRESS_SEED.load())
}

/// Judges a segment; `now` as [`now`] told it.
#[inline(always)]
pub fn judge(row: Row, name: Name, brief: Brief, now: u64) -> Verdict {
    let Some(slot) = slot(row, name) else { return Verdict::Emit(0) };
    // SAFETY: the slot is in the map's value, which only this CPU's programs use, one at a time.
    let Some((verdict, next)) = unsafe { *slot }.check_quickly(name, brief, now) else {
        return Verdict::Emit(calls::judge_slowly(slot, name, brief, now));
    };
    // SAFETY: as above.
    unsafe { ptr::write(slot, next) };
    verdict
}

/// The rest of [`judge`].
#[inline(always)]
pub fn judge_slowly(slot: &mut Slot, name: Name, brief: Brief, now: u64) -> u8 {
    let (count, next) = slot.check_slowly(name, brief, now);
    *slot = next;
    count
}

/// Makes a flow start over: what comes next repeats nothing. Returns how many of its segments were left
/// out since its last record.
#[inline(always)]
pub fn forget(row: Row, name: Name) -> u8 {
    let Some(slot) = slot(row, name) else { return 0 };
    // SAFETY: as above.
    let count = unsafe { *slot }.count_of(name);
    // SAFETY: as above.
    unsafe { ptr::write(slot, Slot::default()) };
    count
}

#[inline(always)]
fn slot(row: Row, name: Name) -> Option<*mut Slot> {
    if SUPPRESS.load() == 0 {
        return None;
    }
    // SAFETY: the index is below the number of slots.
    Some(unsafe { (&raw mut (*row.at).flows).cast::<Slot>().add(name.index(DEFAULT_SLOTS) as usize) })
}
