//! Whether there is a standard output.
#![allow(unsafe_code, reason = "before main, nothing safe asks for a descriptor or is run at all")]

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{AtomicBool, Ordering},
};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard output was closed when the process began (`tmap >&-`), so that every report would be
/// lost.
pub fn was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

/// Asks before `main`: the standard library then opens /dev/null in place of a closed descriptor, and nothing
/// tells that from what the user may have wanted.
extern "C" fn ask() {
    // SAFETY: the descriptor isn't closed here, and whether it is open is all that is asked.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    WAS_CLOSED.store(rustix::io::fcntl_getfd(stdout).is_err(), Ordering::Relaxed);
}

// SAFETY: the loader calls the functions in this section, once and on one thread; this one needs nothing that
// `main` would have to set up.
#[unsafe(link_section = ".init_array")]
#[used]
static ASK: extern "C" fn() = ask;
