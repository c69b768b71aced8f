//! How far the last analysis is, on standard error, if that is a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::ProgressBar;

use crate::{is_said, progress_bar};

/// The time between two looks at the figure.
const EVERY: Duration = Duration::from_millis(100);

/// Addresses that were added to snapshots since the start, by all analysis threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysed(Arc<AtomicU64>);

impl Analysed {
    /// One more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a snapshot of so many addresses, and shows how many of them were added.
    pub(super) async fn show<T>(&self, addresses: usize, snapshot: impl Future<Output = T>) -> T {
        let before = self.0.load(Ordering::Relaxed);
        // A bar comes after the lines before it. Where nobody reads those, it would be stuck as they are.
        let bar = if is_said() { ProgressBar::new(addresses as u64) } else { ProgressBar::hidden() };
        progress_bar::set_template(&bar, progress_bar::ANALYSING);
        let mut ticks = super::ticks(EVERY);
        tokio::pin!(snapshot);
        let taken = loop {
            tokio::select! {
                taken = &mut snapshot => break taken,
                _ = ticks.tick() => bar.set_position(self.0.load(Ordering::Relaxed) - before),
            }
        };
        bar.finish_and_clear();
        taken
    }
}
