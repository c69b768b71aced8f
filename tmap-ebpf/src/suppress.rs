//! The suppression cache, a part of each CPU's state: it knows which segments repeat the one before.
//! [`tmap_common::suppress`] explains which segments are suppressed, and why that changes no result.

use core::ptr;

use aya_ebpf::{Global, helpers::generated::bpf_jiffies64};
use tmap_common::{
    Segment,
    record::{Direction, Suppressed},
    suppress::{CACHE_ENTRIES, CacheEntry, Decision, Digest, FlowHash},
};

use crate::state::{self, ThisCpu};

/// Whether anything is suppressed; the loader sets it. The verifier knows read-only data: with 0 all this
/// is dead code.
#[unsafe(no_mangle)]
static SUPPRESS: Global<u8> = Global::new(0);

/// A random number; the loader sets it.
#[unsafe(no_mangle)]
static SUPPRESS_SEED: Global<u64> = Global::new(0);

/// Whether anything is suppressed.
#[inline(always)]
fn is_on() -> bool {
    SUPPRESS.load() != 0
}

/// The time for [`classify`]. A function of its own, because a call takes the registers: it comes before
/// anything that is kept in them.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    if is_on() { unsafe { bpf_jiffies64() } } else { 0 }
}

/// Hashes the flow of `segment`.
#[inline(always)]
pub(crate) fn flow_hash(segment: &Segment, direction: Direction) -> FlowHash {
    FlowHash::of(segment, direction, SUPPRESS_SEED.load())
}

/// Decides what becomes of a segment; `now` is the time as [`now`] returned it.
#[inline(always)]
pub(crate) fn classify(cpu: ThisCpu, hash: FlowHash, digest: Digest, now: u64) -> Decision {
    let Some(entry) = entry(cpu, hash) else { return Decision::Emit(0) };
    // SAFETY: the entry is in the map's value, which only this CPU's programs use, one at a time.
    let before = unsafe { *entry };
    let Some((decision, next)) = before.classify_fast(hash, digest, now) else {
        return Decision::Emit(classify_entry(entry, hash.0, digest.stamps, digest.rest, now) as u8);
    };
    // SAFETY: the entry is in the map's value, which only this CPU's programs use, one at a time.
    unsafe { ptr::write(entry, next) };
    if decision == Decision::Suppress && state::tells_bytes() {
        let sum = sum(cpu, hash);
        // SAFETY: the sum is in the map's value, which only this CPU's programs use, one at a time.
        unsafe { *sum = before.sum_with(*sum, digest) };
    }
    decision
}

/// `count` segments of a flow, suppressed since its last record, and their bytes.
#[inline(always)]
pub(crate) fn suppressed(cpu: ThisCpu, hash: FlowHash, count: u8) -> Suppressed {
    // Nothing was suppressed of most flows: their sums stay out of the CPU's caches.
    if count == 0 || !state::tells_bytes() {
        return Suppressed { count, payload_bytes: 0 };
    }
    // SAFETY: the sum is in the map's value, which only this CPU's programs use, one at a time.
    Suppressed::new(count, unsafe { *sum(cpu, hash) })
}

/// Where the sum of a flow's suppressed bytes lies.
#[inline(always)]
fn sum(cpu: ThisCpu, hash: FlowHash) -> *mut u32 {
    let index = hash.index(CACHE_ENTRIES) as usize;
    // SAFETY: the map's value outlives the program's run, and the index is below the number of entries.
    unsafe { (&raw mut (*cpu.state).flow_sums).cast::<u32>().add(index) }
}

/// Subprogram: classifies a segment that is emitted in any case, and updates the entry. Returns how many
/// segments of its flow were suppressed before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn classify_entry(entry: *mut CacheEntry, hash: u64, stamps: u64, rest: u64, now: u64) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return 0 };
    let (count, next) = entry.classify_slow(FlowHash(hash), Digest { stamps, rest }, now);
    *entry = next;
    count.into()
}

/// Empties a flow's entry, so that its next segment repeats nothing. Returns how many of its segments were
/// suppressed since its last record.
#[inline(always)]
pub(crate) fn reset(cpu: ThisCpu, hash: FlowHash) -> u8 {
    let Some(entry) = entry(cpu, hash) else { return 0 };
    // SAFETY: the entry is in the map's value, which only this CPU's programs use, one at a time.
    let count = unsafe { *entry }.count_of(hash);
    // SAFETY: the entry is in the map's value, which only this CPU's programs use, one at a time.
    unsafe { ptr::write(entry, CacheEntry::default()) };
    count
}

/// Where a flow's entry lies; `None` if nothing is suppressed.
#[inline(always)]
fn entry(cpu: ThisCpu, hash: FlowHash) -> Option<*mut CacheEntry> {
    if !is_on() {
        return None;
    }
    let index = hash.index(CACHE_ENTRIES) as usize;
    // SAFETY: the map's value outlives the program's run, and the index is below the number of entries.
    Some(unsafe { (&raw mut (*cpu.state).flow_cache).cast::<CacheEntry>().add(index) })
}
