//! The analysis threads: from frozen sources to events and snapshots.
//!
//! A pass by phase can take seconds. On these threads it delays only the next pass. One reviews sources, and
//! its results can wait; the other takes snapshots, for which somebody waits, so it has another priority.
//! They work in turn, on the same state.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::mpsc as events;

use super::{
    common::{Backlog, Timed},
    priority, progress,
};
use crate::{
    engine::{
        Analysed, Analyst, ClockDirectory, Depth, Event, FrozenSource, PartialSnapshot, SnapshotBuilder,
        Wanted, failures::Failures,
    },
    sandbox,
};

/// A job from the shard's thread; jobs are done in order.
pub(super) enum Job {
    /// Analyse a source at this engine time, and report what is new.
    Review(FrozenSource, Depth, u64),
    /// Begin a snapshot at this engine time.
    Begin(u64, Wanted),
    /// Add a source to the snapshot.
    Add(FrozenSource),
    /// Finish the snapshot.
    Finish,
}

/// The answer to a job: one to each job except [`Job::Begin`], in order.
pub(super) enum Answer {
    /// A source was analysed.
    Analysed(Analysed),
    /// A partial snapshot is finished, except for the totals of the shard's own thread.
    Finished(Box<PartialSnapshot>, Option<ClockDirectory>),
}

/// The sink of events. Its reader may be slow, and events that don't fit into the queue are counted.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// The queue to the reader.
    pub sender: events::Sender<Timed>,
    /// What waits in it.
    pub backlog: Backlog,
    /// The number of events and samples that didn't fit.
    pub missed: Arc<AtomicU64>,
}

/// The most events and samples of round trips that wait: some megabytes.
const MOST_WAITING: usize = 1 << 16;

impl Events {
    /// Sends an event that was noticed at this engine time, or counts it as dropped.
    pub(super) fn send(&self, event: Event, time_ns: u64) {
        let samples = if let Event::Rtt(news) = &event { news.samples.len() } else { 0 };
        let load = self.backlog.take(1 + samples, MOST_WAITING);
        let sent = load.is_some_and(|load| self.sender.try_send(Timed { event, time_ns, load }).is_ok());
        if !sent {
            self.missed.fetch_add(1 + samples as u64, Ordering::Relaxed);
        }
    }
}

/// The shard's end of the analysis threads. Dropping it ends them.
pub(super) struct Analysis {
    jobs: mpsc::Sender<Job>,
    answers: mpsc::Receiver<Answer>,
    /// Memory that the analyst held at the last snapshot, in bytes.
    memory_bytes: Arc<AtomicUsize>,
    /// Whether somebody waits for a snapshot that is not begun.
    is_awaited: Arc<AtomicBool>,
}

impl Analysis {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(
        analyst: Analyst,
        events: Events,
        analysed: progress::Analysed,
        failures: Failures,
    ) -> io::Result<Self> {
        let (jobs, jobs_in) = mpsc::channel();
        let (answers_out, answers) = mpsc::channel();
        let memory_bytes = Arc::new(AtomicUsize::new(0));
        let is_awaited = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            analyst,
            events,
            answers: answers_out,
            jobs: jobs_in,
            builder: None,
            analysed,
            failures: failures.clone(),
            memory_bytes: memory_bytes.clone(),
            is_awaited: is_awaited.clone(),
        };
        let (give, given) = mpsc::sync_channel(1);
        let (give_back, given_back) = mpsc::sync_channel(1);
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let failures = failures.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || failures.guard("analysis", work))
        };
        start("answers", Box::new(move || answer(&given, &give_back)))?;
        start("analysis", Box::new(move || review(worker, &give, &given_back)))?;
        Ok(Self { jobs, answers, memory_bytes, is_awaited })
    }

    /// Sends a job; false where a thread failed. The caller bounds the number of jobs under way.
    pub(super) fn send(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// Somebody waits for a snapshot. No review begins from now on: the snapshot looks at all addresses.
    pub(super) fn hasten(&self) {
        self.is_awaited.store(true, Ordering::Relaxed);
    }

    /// The next answer; `None` where there is none yet.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Memory that the analyst holds, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }
}

/// The state of the thread whose turn it is.
struct Worker {
    analyst: Analyst,
    events: Events,
    jobs: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Answer>,
    /// The snapshot under way, and its engine time.
    builder: Option<(u64, SnapshotBuilder)>,
    /// Addresses that were added to snapshots.
    analysed: progress::Analysed,
    failures: Failures,
    memory_bytes: Arc<AtomicUsize>,
    is_awaited: Arc<AtomicBool>,
}

/// Someone's turn, which begins with this job.
type Turn = (Worker, Job);

/// The thread that reviews sources, until a channel ends. It gives snapshots to the other thread, and waits
/// until they are finished.
fn review(mut worker: Worker, give: &mpsc::SyncSender<Turn>, given_back: &mpsc::Receiver<Worker>) {
    priority::wait_patiently();
    sandbox::give_up();
    while let Ok(job) = worker.jobs.recv() {
        if let Job::Begin(..) = job {
            if give.send((worker, job)).is_err() {
                return;
            }
            let Ok(back) = given_back.recv() else { return };
            worker = back;
        } else if worker.work(job).is_err() {
            return;
        }
    }
}

/// The thread that takes snapshots.
fn answer(given: &mpsc::Receiver<Turn>, give_back: &mpsc::SyncSender<Worker>) {
    priority::hurry();
    sandbox::give_up();
    while let Ok((mut worker, begin)) = given.recv() {
        if worker.take_snapshot(begin).is_err() || give_back.send(worker).is_err() {
            return;
        }
    }
}

/// Nobody has jobs, or takes answers, any more.
struct Over;

impl Worker {
    /// Begins a snapshot, and does jobs until it is finished.
    fn take_snapshot(&mut self, begin: Job) -> Result<(), Over> {
        self.work(begin)?;
        while self.builder.is_some() {
            let job = self.jobs.recv().map_err(|_| Over)?;
            self.work(job)?;
        }
        Ok(())
    }

    /// Does a job, and answers.
    fn work(&mut self, job: Job) -> Result<(), Over> {
        match self.result(job) {
            Some(answer) => self.answers.send(answer).map_err(|_| Over),
            None => Ok(()),
        }
    }

    fn result(&mut self, job: Job) -> Option<Answer> {
        match job {
            Job::Review(FrozenSource { id, life, connections_total, .. }, ..)
                if self.is_awaited.load(Ordering::Relaxed) =>
            {
                let (depth, random_offsets) = (None, 0);
                Some(Answer::Analysed(Analysed { id, life, depth, random_offsets, connections_total }))
            }
            Job::Review(frozen, depth, time_ns) => {
                let mut events = Vec::new();
                let review = |frozen| self.analyst.review(frozen, depth, &mut events);
                let analysed = self.failures.analyse(frozen, review).unwrap_or_else(|given_up| given_up);
                events.into_iter().for_each(|event| self.events.send(event, time_ns));
                Some(Answer::Analysed(analysed))
            }
            Job::Begin(now_ns, wanted) => {
                self.is_awaited.store(false, Ordering::Relaxed);
                self.builder = Some((now_ns, self.analyst.begin_snapshot(now_ns, wanted)));
                None
            }
            Job::Add(frozen) => {
                let (time_ns, builder) = self.builder.as_mut()?;
                let mut events = Vec::new();
                let add = |frozen| self.analyst.add(frozen, builder, &mut events);
                let analysed = self.failures.analyse(frozen, add).unwrap_or_else(|given_up| given_up);
                self.analysed.add();
                events.into_iter().for_each(|event| self.events.send(event, *time_ns));
                Some(Answer::Analysed(analysed))
            }
            Job::Finish => {
                let (part, clocks) = self.builder.take()?.1.finish();
                self.memory_bytes.store(self.analyst.heap_bytes(), Ordering::Relaxed);
                Some(Answer::Finished(Box::new(part), clocks))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tmap_common::Segment;

    use super::*;
    use crate::engine::{
        rtt::{News, Sample},
        types::FlowKey,
    };

    /// A hundred events of ten thousand round trips each.
    #[test]
    fn samples_wait_within_bounds_and_all_others_are_counted() {
        let (sender, mut waiting) = events::channel(1_024);
        let events = Events { sender, backlog: Backlog::default(), missed: Arc::default() };
        let key = FlowKey::of(&Segment::default());
        let sample = Sample { time_ns: 0, key, tsval: 1, rtt_ns: 1, host_ticks: None, tick_hz: None };
        let send = || {
            let news = News { samples: vec![sample; 10_000], ..News::default() };
            events.send(Event::Rtt(Box::new(news)), 0);
        };
        (0..100).for_each(|_| send());
        assert_eq!(waiting.len(), 6);
        assert_eq!(events.missed.load(Ordering::Relaxed), 94 * 10_001);
        drop(waiting.try_recv());
        send();
        assert_eq!(waiting.len(), 6, "what was read makes room");
    }
}
