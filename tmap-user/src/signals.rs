//! Signals, received by a thread of their own, so that they work while other threads are busy or stuck.

use std::{
    fs, io,
    process::exit,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator,
};
use tokio::sync::Notify;

/// Requests that came by signal.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    summary: AtomicBool,
    changed: Notify,
    /// What is done as soon as a signal requests a stop.
    at_stop: OnceLock<fn()>,
}

/// The shell's exit code for a process that SIGINT ended.
pub const INTERRUPTED: i32 = 130;

impl Signals {
    /// Starts listening. SIGINT and SIGTERM request a stop, and a second one ends the process at once. SIGHUP
    /// requests a stop, too: its terminal is gone, and what was found must not go with it. SIGUSR1 requests a
    /// summary.
    ///
    /// SIGHUP stays ignored where it was (`nohup`).
    ///
    /// # Errors
    /// If the system grants no thread or signal handler.
    pub fn listen() -> io::Result<Arc<Self>> {
        let signals = Arc::new(Self::default());
        let shared = Arc::clone(&signals);
        let mut wanted = vec![SIGINT, SIGTERM, SIGUSR1];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let mut received = iterator::Signals::new(wanted)?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || received.forever().for_each(|signal| shared.take_in(signal)))?;
        Ok(signals)
    }

    /// Sets what is done when a signal requests a stop, however busy other threads are. It may be done twice.
    pub fn at_stop(&self, tidy_up: fn()) {
        // The first one stays.
        let _ = self.at_stop.set(tidy_up);
    }

    /// Requests a stop, as a signal does.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether a stop was requested.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a summary was requested since the last call.
    pub fn take_summary(&self) -> bool {
        self.summary.load(Ordering::Relaxed) && self.summary.swap(false, Ordering::Relaxed)
    }

    /// Waits until a signal has come since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn take_in(&self, signal: i32) {
        if signal == SIGUSR1 {
            self.summary.store(true, Ordering::Relaxed);
        } else {
            let is_second = self.stop.swap(true, Ordering::Relaxed);
            if let Some(tidy_up) = self.at_stop.get() {
                tidy_up();
            }
            // SIGHUP comes twice where a connection drops: from the kernel and from the shell.
            if is_second && signal != SIGHUP {
                exit(INTERRUPTED);
            }
        }
        self.changed.notify_one();
    }
}

/// What requests a stop, for a thread that has no signal to send.
pub fn quit(signals: &Arc<Signals>) -> impl FnOnce() + Send + use<> {
    let signals = Arc::clone(signals);
    move || signals.request_stop()
}

/// Whether the process was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// Whether the mask `SigIgn` of a `/proc/PID/status` has the signal: bit 0 is signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_off_the_mask() {
        let status = "Name:\ttmap\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n";
        assert!(ignores(status, 13) && !ignores(status, SIGHUP));
        assert!(ignores("SigIgn:\t0000000000000001\n", SIGHUP));
        assert!(!ignores("Name:\ttmap\n", SIGHUP));
    }
}
