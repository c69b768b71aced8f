//! Reports on their way to whoever reads them.
//!
//! A thread of their own writes them, because a reader may stop reading: then reports that come at regular
//! times are left out, and counted, and the control loop goes on. Only a summary waits for its reader.

use std::{
    error::Error,
    fmt, io,
    thread::{Scope, ScopedJoinHandle},
};

use anyhow::anyhow;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::common::{Backlog, Load, Timed};
use crate::{
    engine::Snapshot,
    report::{
        Sink, Stats, Summary,
        sensor::{Heartbeat, Notice},
    },
    sandbox,
    time::WallClock,
};

/// The most reports that wait for a reader.
const MOST_WAITING: usize = 64;

/// The most reports that come at regular times among them. Each may have a snapshot, so they are few.
const MOST_REGULAR: usize = 2;

/// What is written.
enum Report {
    /// An event.
    Event(Timed, WallClock),
    /// A change of an interface.
    Notice(Notice, WallClock),
    /// A sign of life, with a snapshot where it says what changed.
    Heartbeat(Box<(Heartbeat, Option<Snapshot>)>, WallClock, Load),
    /// The sensor's own counters.
    Stats(Box<Stats>, WallClock, Load),
    /// A summary, and who waits until it is written.
    Summary(Box<Summary>, oneshot::Sender<()>),
}

/// The control loop's end of the thread. Dropping it ends the thread, when all is written.
pub(super) struct Reports {
    queue: mpsc::Sender<Report>,
    regular: Backlog,
    left_out: u64,
    /// Whether a sign of life comes with what changed.
    pub wants_changes: bool,
    /// Whether a summary may come before the final one although nobody asked for one.
    pub takes_drafts: bool,
}

/// The thread. Its end tells why a report couldn't be written.
pub(super) type Writer<'scope> = ScopedJoinHandle<'scope, io::Result<()>>;

impl Reports {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        sink: &'env mut (dyn Sink + Send),
    ) -> io::Result<(Self, Writer<'scope>)> {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let (wants_changes, takes_drafts) = (sink.wants_changes(), sink.takes_drafts());
        let thread = std::thread::Builder::new().name("reports".to_owned());
        let writer = thread.spawn_scoped(scope, move || write_all(sink, waiting))?;
        Ok((Self { queue, regular: Backlog::default(), left_out: 0, wants_changes, takes_drafts }, writer))
    }

    /// Waits until a report can be taken, or none will be written any more.
    pub(super) async fn have_room(&self) {
        let _ = self.queue.reserve().await;
    }

    /// Waits until no report will be written any more.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Writes an event. Wait for room first.
    ///
    /// # Errors
    /// As all others, if no report can be written any more: [`joined`] tells why.
    pub(super) fn event(&mut self, event: Timed) -> anyhow::Result<()> {
        self.pass_on(Report::Event(event, WallClock::of_live()))
    }

    /// Writes a change of an interface.
    pub(super) fn notice(&mut self, notice: Notice) -> anyhow::Result<()> {
        self.pass_on(Report::Notice(notice, WallClock::of_live()))
    }

    /// Writes a sign of life, and a snapshot where that changed.
    pub(super) fn heartbeat(&mut self, beat: Heartbeat, snapshot: Option<Snapshot>) -> anyhow::Result<()> {
        let beat = Box::new((beat, snapshot));
        self.pass_on_regularly(|load| Report::Heartbeat(beat, WallClock::of_live(), load))
    }

    /// Writes the sensor's own counters.
    pub(super) fn stats(&mut self, stats: Stats) -> anyhow::Result<()> {
        self.pass_on_regularly(|load| Report::Stats(Box::new(stats), WallClock::of_live(), load))
    }

    /// Writes a summary, and waits until that is done.
    pub(super) fn summary(&self, summary: Summary) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let queue = self.queue.clone();
        async move {
            let (done, written) = oneshot::channel();
            let sent = queue.send(Report::Summary(Box::new(summary), done)).await;
            sent.map_err(|_| over())?;
            written.await.map_err(|_| over())
        }
    }

    /// Reports that were left out because nobody read those before them.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn pass_on_regularly(&mut self, report: impl FnOnce(Load) -> Report) -> anyhow::Result<()> {
        match self.regular.take(1, MOST_REGULAR) {
            Some(load) => self.pass_on(report(load)),
            None => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    fn pass_on(&mut self, report: Report) -> anyhow::Result<()> {
        match self.queue.try_send(report) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.left_out += 1;
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(over()),
        }
    }
}

/// The thread has ended, and its end tells why.
#[derive(Debug)]
struct Over;

impl fmt::Display for Over {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("reports are not written any more")
    }
}

impl Error for Over {}

/// The error of a report that can't be written because the thread has ended.
pub(super) fn over() -> anyhow::Error {
    Over.into()
}

/// Waits for the end of the thread, of which this is the outcome unless the thread knows better: not where
/// something else failed before.
///
/// # Errors
/// If a report couldn't be written, or the thread panicked.
pub(super) fn joined<T>(writer: Writer<'_>, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    match writer.join() {
        Ok(Err(error)) if outcome.as_ref().err().is_none_or(|failed| failed.is::<Over>()) => {
            Err(error.into())
        }
        Ok(_) => outcome,
        // Also where all else went well: reports may be missing.
        Err(_) => Err(outcome.err().map_or_else(|| anyhow!(FAILED), |error| error.context(FAILED))),
    }
}

/// What is said where the thread panicked.
const FAILED: &str = "the thread that writes reports failed; please report this";

/// Writes reports until nobody has more.
fn write_all(sink: &mut (dyn Sink + Send), mut waiting: mpsc::Receiver<Report>) -> io::Result<()> {
    sandbox::give_up();
    while let Some(report) = waiting.blocking_recv() {
        match report {
            Report::Event(Timed { event, time_ns, load: _load }, wall) => {
                sink.event(&event, time_ns, wall)?;
            }
            Report::Notice(notice, wall) => sink.notice(&notice, wall)?,
            Report::Heartbeat(beat, wall, _load) => sink.heartbeat(&beat.0, beat.1.as_ref(), wall)?,
            Report::Stats(stats, wall, _load) => sink.stats(&stats, wall)?,
            Report::Summary(summary, done) => {
                sink.summary(&summary)?;
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_thread_is_no_success() {
        let joined_after = |outcome: anyhow::Result<()>| {
            std::thread::scope(|scope| joined(scope.spawn(|| panic!("on purpose")), outcome))
        };
        for outcome in [Ok(()), Err(over())] {
            let error = joined_after(outcome).expect_err("it panicked");
            assert!(error.to_string().contains("please report this"), "{error:#}");
        }
    }
}
