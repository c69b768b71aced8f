//! Least privilege: what this process can't do any more, once it has opened what it works on.
//!
//! ```text
//! open -> enter: user, capabilities, no_new_privs, files (Landlock), system calls (seccomp)
//!           '-> threads start -> each gives up what is left -> settle
//! ```
//!
//! Landlock, capabilities and seccomp belong to threads, and a new thread has those of the one that starts
//! it. So a process enters before it starts its first thread. Capabilities that attaching takes stay with the
//! control loop's thread alone: those that take in what strangers send give everything up.
//!
//! Nothing here ends a run. What a system can't do is told in a line.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;
mod files;
mod rights;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

pub use files::folder_of;

/// Other machines have other system calls, which nobody has listed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod calls {
    pub(super) fn limit(_: super::Role) -> Option<String> {
        Some(format!("system calls are not limited on {}", std::env::consts::ARCH))
    }

    pub(super) fn give_up() {}
}

/// What a process does after it has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It watches interfaces, and attaches programs again.
    Sensor,
    /// It reads captures.
    Reader,
}

/// What a process needs after it has entered.
#[derive(Clone, Debug)]
pub struct Needs {
    /// What it does.
    pub role: Role,
    /// Files that it opens for reading.
    pub reads: Vec<PathBuf>,
    /// Folders in which it makes and replaces files.
    pub writes: Vec<PathBuf>,
}

/// Whether this process has entered.
static IS_INSIDE: AtomicBool = AtomicBool::new(false);

/// Leaves this process what it needs, and takes the rest, for ever. Call it before the first thread starts.
/// Returns what this system can't do, a line each.
pub fn enter(needs: &Needs) -> Vec<String> {
    // Its rules hold open files, which only the first user may be able to open.
    let fence = files::Fence::new(needs);
    let mut notes = rights::reduce(needs);
    // Landlock and seccomp ask for no_new_privs, which they set themselves.
    notes.extend(fence.close());
    notes.extend(calls::limit(needs.role));
    IS_INSIDE.store(true, Ordering::Relaxed);
    notes
}

/// Takes all capabilities from the calling thread, and the system calls that attaching takes. Each thread
/// that meets what strangers send begins with this. Outside a sandbox it does nothing.
pub fn give_up() {
    if IS_INSIDE.load(Ordering::Relaxed) {
        rights::give_up();
        calls::give_up();
    }
}

/// Takes from the calling thread what only the start of other threads took: their priority.
pub fn settle() {
    if IS_INSIDE.load(Ordering::Relaxed) {
        rights::settle();
    }
}
