//! Files as memory.
#![allow(unsafe_code, reason = "mapping a file has no safe form: others may change it")]

use std::{fs::File, io};

use memmap2::{Advice, Mmap};

/// The file's content, as memory.
///
/// A file that shrinks while it is read ends the process (SIGBUS), so whoever rotates captures has
/// to move them, not cut them; writers only ever append. What is appended after this isn't seen.
///
/// # Errors
/// Where the system can't map it: an empty file, or no regular one.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes are only read, as bytes; any change by others gives other bytes, which are
    // checked as they are parsed.
    let map = unsafe { Mmap::map(file) }?;
    // Only a hint: it is read once, from the beginning to the end.
    let _ = map.advise(Advice::Sequential);
    Ok(map)
}
