//! Atomics that `core` doesn't offer on BPF. Both fetch, which makes them full barriers (the
//! kernel's `Documentation/bpf/standardization/instruction-set.rst` and its memory model).

use core::arch::asm;

/// Stores `value`, returns what was there.
///
/// # Safety
/// `place` is valid for writes and aligned.
#[inline(always)]
pub unsafe fn swap(place: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the caller vouches for the place.
    unsafe { asm!("{1} = xchg_64({0} + 0, {1})", in(reg) place, inout(reg) value, options(nostack)) };
    value
}

/// Adds `value`, returns what was there.
///
/// # Safety
/// As for [`swap`].
#[inline(always)]
pub unsafe fn fetch_add(place: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the caller vouches for the place.
    unsafe {
        asm!("{1} = atomic_fetch_add((u64 *)({0} + 0), {1})", in(reg) place, inout(reg) value, options(nostack));
    };
    value
}
