//! Signals, received by a thread of their own, so that they work while other threads are busy or stuck.

use std::{
    fmt, fs, io,
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

use crate::sandbox;

/// Requests that came by signal.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    summary: AtomicBool,
    changed: Notify,
    /// Whether a stop was requested again.
    stop_now: AtomicBool,
    /// Whether all that is known was reported.
    has_reported: AtomicBool,
    /// What hears of requests as they come.
    listener: OnceLock<Listener>,
    /// What is done as soon as a signal requests a stop.
    at_stop: OnceLock<fn()>,
}

/// A request, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A summary.
    Summary,
    /// To stop, for the first time.
    Stop,
    /// To stop, again.
    StopNow,
}

/// Signals that are caught, and that nobody has heard of yet.
#[derive(Debug)]
pub struct Caught(iterator::Signals);

struct Listener(Box<dyn Fn(Asked) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Listener")
    }
}

/// The shell's exit code for a process that SIGINT ended.
pub const INTERRUPTED: u8 = 130;

impl Caught {
    /// Catches signals from now on, for a listener to come: a thread must not start before the process gave
    /// up what it doesn't need, and until then no signal may end it.
    ///
    /// SIGHUP stays ignored where it was (`nohup`).
    ///
    /// # Errors
    /// If the system grants no signal handler.
    pub fn new() -> io::Result<Self> {
        let mut wanted = vec![SIGINT, SIGTERM, SIGUSR1];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        iterator::Signals::new(wanted).map(Self)
    }

    /// Starts listening. SIGINT and SIGTERM request a stop. A second one requests it at once, and ends the
    /// process where all that is known was reported; a third one ends it anyway. SIGHUP requests a stop, too:
    /// its terminal is gone, and what was found must not go with it. SIGUSR1 requests a summary.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn listen(mut self) -> io::Result<Arc<Signals>> {
        let signals = Arc::new(Signals::default());
        let shared = Arc::clone(&signals);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            sandbox::give_up();
            self.0.forever().for_each(|signal| shared.take_in(signal));
        })?;
        Ok(signals)
    }
}

impl Signals {
    /// Sets what is done when a signal requests a stop, however busy other threads are. It may be done twice.
    pub fn at_stop(&self, tidy_up: fn()) {
        // The first one stays.
        let _ = self.at_stop.set(tidy_up);
    }

    /// Sets what hears of requests as they come, however busy other threads are.
    pub fn heed(&self, listener: impl Fn(Asked) + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.listener.set(Listener(Box::new(listener)));
    }

    /// Requests a stop, as a signal does.
    pub fn request_stop(&self) {
        if !self.stop.swap(true, Ordering::Relaxed) {
            self.tell(Asked::Stop);
        }
        self.changed.notify_one();
    }

    /// Whether a stop was requested again, before all that is known was reported.
    pub fn stop_now(&self) -> bool {
        self.stop_now.load(Ordering::SeqCst)
    }

    /// All that is known was reported: from now on, a second request to stop ends the process.
    pub fn has_reported(&self) {
        self.has_reported.store(true, Ordering::SeqCst);
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
            self.tell(Asked::Summary);
        } else {
            let is_second = self.stop.swap(true, Ordering::Relaxed);
            if let Some(tidy_up) = self.at_stop.get() {
                tidy_up();
            }
            // SIGHUP comes twice where a connection drops: from the kernel and from the shell.
            if !is_second {
                self.tell(Asked::Stop);
            } else if signal != SIGHUP {
                if self.stop_now.swap(true, Ordering::SeqCst) || self.has_reported.load(Ordering::SeqCst) {
                    exit(i32::from(INTERRUPTED));
                }
                self.tell(Asked::StopNow);
            }
        }
        self.changed.notify_one();
    }

    fn tell(&self, asked: Asked) {
        if let Some(Listener(listener)) = self.listener.get() {
            listener(asked);
        }
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
