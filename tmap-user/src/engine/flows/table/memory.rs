//! Hints to the processor and the kernel about memory: they change its speed, never its content.
//!
//! A large table misses the caches at nearly every record. Two things help: to prefetch the lines of a
//! whole batch before the first is needed, and to use large pages, so that address translation doesn't
//! miss as well.
#![allow(unsafe_code, reason = "prefetch and madvise have no safe form; neither reads nor writes")]

use rustix::mm::{Advice, madvise};

/// Prefetches the cache line of `values[index]`. An index beyond the end is a harmless hint about some other
/// address.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = values.as_ptr().wrapping_add(index);
        // SAFETY: a prefetch of any address, mapped or not, is allowed and does nothing visible.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, index);
}

/// The size below which large pages don't pay: a short run would clear megabytes for nothing.
pub(super) const SMALL_BYTES: usize = 1 << 20;

/// Asks the kernel for large pages under a vector's memory, all of which will be used: one translation then
/// covers 2 MiB. Where memory is short or large pages are disabled, pages stay small.
pub(super) fn use_large_pages<T>(values: &mut Vec<T>) {
    const PAGE: usize = 4096;
    const LARGE_PAGE: usize = 2 << 20;
    let start = values.as_mut_ptr() as usize;
    let end = (start + values.capacity() * size_of::<T>()) / PAGE * PAGE;
    let first = start.next_multiple_of(PAGE);
    if end < first + 2 * LARGE_PAGE {
        return;
    }
    // SAFETY: the range lies inside the vector's own allocation; the advice leaves its content
    // alone. A kernel without large pages refuses, and nothing is lost.
    let _ = unsafe { madvise(first as *mut _, end - first, Advice::LinuxHugepage) };
}
