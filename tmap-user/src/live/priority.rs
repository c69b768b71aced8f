//! Priorities of the threads of a live run. See setpriority(2) and sched(7).
//!
//! Each thread takes its own when it begins: raising it later takes rights that are given up by then. They
//! count from the priority that tmap was started with. Where the system refuses, a thread keeps that.

use rustix::process::nice;

/// The results can wait.
const PATIENT: i32 = 5;

/// Somebody waits for the results.
const AWAITED: i32 = -5;

/// Rings overflow where this is late.
const NEVER_LATE: i32 = -10;

/// The calling thread's results can wait.
pub(super) fn wait_patiently() {
    take(PATIENT);
}

/// Somebody waits for the calling thread. A flood keeps all cores busy, and it must not take these results.
pub(super) fn hurry() {
    take(AWAITED);
}

/// The calling thread is never to be late: it empties rings, which overflow. It uses no more time than the
/// records need.
pub(super) fn never_be_late() {
    take(NEVER_LATE);
}

fn take(nice_value: i32) {
    let _ = nice(nice_value);
}
