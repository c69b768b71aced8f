//! Signals, received by a thread of their own, so that they work while other threads are busy or stuck.

use std::{
    io,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator,
};
use tokio::sync::Notify;

/// Requests that came by signal.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    summary: AtomicBool,
    changed: Notify,
}

/// The shell's exit code for a process that SIGINT ended.
pub const INTERRUPTED: i32 = 130;

impl Signals {
    /// Starts listening. SIGINT and SIGTERM request a stop, and a second one ends the process at once;
    /// SIGUSR1 requests a summary.
    ///
    /// # Errors
    /// If the system grants no thread or signal handler.
    pub fn listen() -> io::Result<Arc<Self>> {
        let signals = Arc::new(Self::default());
        let shared = Arc::clone(&signals);
        let mut received = iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || received.forever().for_each(|signal| shared.take_in(signal)))?;
        Ok(signals)
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
        } else if self.stop.swap(true, Ordering::Relaxed) {
            exit(INTERRUPTED);
        }
        self.changed.notify_one();
    }
}
