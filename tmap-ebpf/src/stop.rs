//! Where a program ends on purpose, for measuring: `cargo xtask bench steps` tells what each step of the
//! pipeline costs by the difference between programs that stop one step apart.
//!
//! The stops are a constant parameter (`STOP`) of the fast path's own functions, because a step can't be
//! measured from outside: LLVM inlines all steps into one function and mixes their instructions. A shipped
//! program has [`NEVER`], with which every test of `STOP` is dead code and leaves no instruction behind.

use core::arch::asm;

/// Ends when the frame is counted.
pub const AFTER_COUNT: u8 = 1;
/// Ends when it is known what the frame is and where its headers lie.
pub const AFTER_PARSE: u8 = 2;
/// Ends when the fields are read and the flow is hashed.
pub const AFTER_HASH: u8 = 3;
/// Ends when the flow's cache entry has decided whether the segment is suppressed.
pub const AFTER_CLASSIFY: u8 = 4;
/// Ends when the ring is known to have room.
pub const AFTER_RESERVE: u8 = 5;
/// Ends when the record is written, except for its time.
pub const AFTER_WRITE: u8 = 6;
/// Doesn't end early: the clock is read last, and the record is published.
pub const NEVER: u8 = 7;

/// Has LLVM compute `words`, although the stopped program doesn't use them.
#[inline(always)]
pub fn compute<const N: usize>(words: [u64; N]) {
    for word in words {
        // SAFETY: the instruction changes nothing.
        unsafe { asm!("{0} = {0}", inout(reg) word => _, options(nomem, nostack, preserves_flags)) };
    }
}
