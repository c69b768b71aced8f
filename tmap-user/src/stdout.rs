//! Whether there is a standard output, and a standard input.
#![allow(unsafe_code, reason = "before main, nothing safe asks for a descriptor or is run at all")]

use std::{
    os::fd::{BorrowedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{OFlags, fcntl_getfl};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);
static HAS_NO_INPUT: AtomicBool = AtomicBool::new(false);

/// Whether standard output was closed to this process when it began, altogether (`tmap >&-`) or for writing
/// (`tmap 1<FILE`), so that every report would be lost.
pub fn was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

/// Whether standard input was closed when the process began, altogether (`tmap <&-`) or for reading
/// (`tmap 0>FILE`). The standard library takes that for an input without a byte.
pub fn has_no_input() -> bool {
    HAS_NO_INPUT.load(Ordering::Relaxed)
}

/// Asks before `main`: the standard library then opens /dev/null in place of a closed descriptor, and nothing
/// tells that from what the user may have wanted.
extern "C" fn ask() {
    WAS_CLOSED.store(!is_open_for(1, OFlags::WRONLY), Ordering::Relaxed);
    HAS_NO_INPUT.store(!is_open_for(0, OFlags::RDONLY), Ordering::Relaxed);
}

/// Whether a descriptor is open for this, or for reading and writing. A write where only reading
/// is granted gives an error that the standard library takes for success.
fn is_open_for(descriptor: RawFd, access: OFlags) -> bool {
    // SAFETY: the descriptor isn't closed here, and how it is open is all that is asked.
    let flags = fcntl_getfl(unsafe { BorrowedFd::borrow_raw(descriptor) });
    flags.is_ok_and(|flags| {
        let granted = flags & OFlags::RWMODE;
        // A path (open(2), O_PATH) has the mode of reading, and can't be read.
        !flags.contains(OFlags::PATH) && (granted == access || granted == OFlags::RDWR)
    })
}

// SAFETY: the loader calls the functions in this section, once and on one thread; this one needs nothing that
// `main` would have to set up.
#[unsafe(link_section = ".init_array")]
#[used]
static ASK: extern "C" fn() = ask;
