//! A thread that runs when its time has come, whatever else there is to do.

use nix::libc;

/// Real-time priority of such a thread: above everything that has none.
const PRIORITY: i32 = 50;

/// Gives the calling thread real-time priority; returns whether the kernel allowed it.
pub(super) fn raise() -> bool {
    let priority = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: the kernel only reads the structure, which lives until the call returns. 0 is this thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) == 0 }
}
