//! Signals, received by a thread of their own: they work however busy or stuck the others are.

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

/// What the user asked for by signal.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    summary: AtomicBool,
    changed: Notify,
}

/// The shell's exit code for a process that SIGINT ended.
pub const INTERRUPTED: i32 = 130;

impl Signals {
    /// Starts listening: SIGINT or SIGTERM asks to stop (the second one ends the process at once),
    /// SIGUSR1 for a summary.
    ///
    /// # Errors
    /// Where the system grants no thread or signal handler.
    pub fn listen() -> io::Result<Arc<Self>> {
        let signals = Arc::new(Self::default());
        let shared = Arc::clone(&signals);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            // A failure to register leaves the signal's default action, which is to end: sane.
            let _: io::Result<()> = runtime.block_on(shared.watch());
        })?;
        Ok(signals)
    }

    /// Whether to stop.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a summary was asked for since the last call.
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
