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

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            // If registration fails, the signal keeps its default action, which is to end the process.
            let _: io::Result<()> = runtime.block_on(shared.watch());
        })?;
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

    async fn watch(&self) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut user = signal(SignalKind::user_defined1())?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => self.ask_to_stop(),
                _ = terminate.recv() => self.ask_to_stop(),
                _ = user.recv() => self.summary.store(true, Ordering::Relaxed),
            }
            self.changed.notify_one();
        }
    }

    fn ask_to_stop(&self) {
        if self.stop.swap(true, Ordering::Relaxed) {
            exit(INTERRUPTED);
        }
    }
}
