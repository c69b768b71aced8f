//! Barriers that hide values (libbpf calls its one `barrier_var`): LLVM must not compute with what it knows
//! of them, or the verifier must not tell states apart by them.

use core::arch::asm;

/// Returns `value`, of which LLVM then knows nothing; the verifier knows as much as before. Unlike
/// `black_box` it stays in a register.
///
/// It costs a move to itself. An empty assembly text would be free, but Rust wants the operand
/// used, and a comment gives two line entries at one instruction, which the kernel refuses.
#[inline(always)]
pub(crate) fn to_compiler(mut value: usize) -> usize {
    // SAFETY: the instruction changes nothing.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Returns `word`, of which LLVM and the verifier then know nothing, given `any` number of which the verifier
/// knows nothing.
#[inline(always)]
pub(crate) fn to_verifier(mut word: u64, any: u64) -> u64 {
    // Not `pure`: the compiler would make one of two calls with the same word, and the verifier,
    // which sees where values come from, would tell states apart by which of them are still one.
    // SAFETY: exclusive-or with the same number twice changes nothing.
    unsafe {
        asm!(
            "{0} ^= {1}", "{0} ^= {1}",
            inout(reg) word, in(reg) any, options(nomem, nostack, preserves_flags)
        );
    };
    word
}

/// Has LLVM write all values to memory that it has not written yet, and read those at `address` again. The
/// verifier then knows nothing of them, unless they are on the stack.
#[inline(always)]
pub(crate) fn memory(address: *mut u8) {
    // SAFETY: the instruction changes nothing. Not `nomem`, which is the point.
    unsafe { asm!("{0} = {0}", inout(reg) address => _, options(nostack, preserves_flags)) };
}
