//! Files as memory.
#![allow(
    unsafe_code,
    reason = "neither mapping a file, which others may change, nor asking ahead has a safe form"
)]

use std::{fs::File, io};

use memmap2::{Advice, Mmap};

/// The file's content, as memory.
///
/// A file that shrinks while it is read ends the process (SIGBUS), so captures have to be rotated by moving
/// them, not by truncating them. Bytes appended after this call are not seen.
///
/// # Errors
/// If the system cannot map it: an empty file, or one that is not regular.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes are only read, as bytes; any change by others gives other bytes, which are
    // checked as they are parsed.
    let map = unsafe { Mmap::map(file) }?;
    // Only a hint: it is read once, from the beginning to the end.
    let _ = map.advise(Advice::Sequential);
    Ok(map)
}

/// Prefetches memory some packets ahead of `at`: bytes that are read once are in no cache, and the
/// hardware prefetcher stops at each page. Beyond the end it is a harmless hint.
#[inline(always)]
pub(super) fn ask_ahead(bytes: &[u8], at: usize) {
    const AHEAD_BYTES: usize = 1024;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let ahead = bytes.as_ptr().wrapping_add(at + AHEAD_BYTES);
        // SAFETY: a prefetch of any address, mapped or not, is allowed and does nothing visible.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at, AHEAD_BYTES);
}
