//! Atomics that `core` doesn't offer on BPF. Both fetch, which makes them full barriers (the
//! kernel's `Documentation/bpf/standardization/instruction-set.rst` and its memory model).

use core::arch::asm;

/// Stores `value` at `address` and returns the value that was there before.
///
/// # Safety
/// `address` is valid for reads and writes, and aligned.
#[inline(always)]
pub(crate) unsafe fn swap(address: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the caller vouches for the address; the instruction accesses the eight bytes there.
    unsafe { asm!("{1} = xchg_64({0} + 0, {1})", in(reg) address, inout(reg) value, options(nostack)) };
    value
}

/// Adds `value` to the word at `address` and returns the word that was there before.
///
/// # Safety
/// `address` is valid for reads and writes, and aligned.
#[inline(always)]
pub(crate) unsafe fn fetch_add(address: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the caller vouches for the address; the instruction accesses the eight bytes there.
    unsafe {
        asm!(
            "{1} = atomic_fetch_add((u64 *)({0} + 0), {1})",
            in(reg) address, inout(reg) value, options(nostack)
        );
    };
    value
}
