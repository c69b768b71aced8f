//! The analysis thread: frozen hosts in, events and snapshots out.
//!
//! A look by phase can take seconds. Here it delays nothing but the next look.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::mpsc as events;

use super::drain::Timed;
use crate::engine::{
    Analysed, Analyst, ClockDirectory, Depth, FrozenSource, PartialSnapshot, SnapshotBuilder, Wanted,
};

/// What the shard's thread asks for, in order.
pub enum Job {
    /// Look at a host, and say what is new.
    Review(FrozenSource, Depth, u64),
    /// Begin a snapshot.
    Begin(u64, Wanted),
    /// Add a host to it.
    Add(FrozenSource),
    /// Finish it.
    Finish,
}

/// What comes back: one answer to each job but [`Job::Begin`], in order.
pub enum Answer {
    /// A host was looked at.
    Analysed(Analysed),
    /// A part of a snapshot is finished, but for what only the shard's own thread knows.
    Finished(Box<PartialSnapshot>, Option<ClockDirectory>),
}

/// Where events go: to a reader who may be slow, so they may have to be left out.
#[derive(Clone, Debug)]
pub struct Events {
    /// The way to the reader.
    pub sender: events::Sender<Timed>,
    /// How many were left out.
    pub missed: Arc<AtomicU64>,
}

impl Events {
    /// Passes an event on, or counts it.
    pub fn send(&self, event: Timed) {
        if self.sender.try_send(event).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The shard's end of the analysis thread. Dropping it ends the thread.
pub struct Analysis {
    jobs: mpsc::Sender<Job>,
    answers: mpsc::Receiver<Answer>,
    /// Connections that were sent and not yet answered for, host by host.
    memory_bytes: Arc<AtomicUsize>,
}

impl Analysis {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system grants no thread.
    pub fn start(analyst: Analyst, events: Events) -> io::Result<Self> {
        let (jobs, jobs_in) = mpsc::channel();
        let (answers_out, answers) = mpsc::channel();
        let memory_bytes = Arc::new(AtomicUsize::new(0));
        let worker =
            Worker { analyst, events, answers: answers_out, draft: None, memory_bytes: memory_bytes.clone() };
        thread::Builder::new().name("analysis".to_owned()).spawn(move || worker.run(&jobs_in))?;
        Ok(Self { jobs, answers, memory_bytes })
    }

    /// Hands a job over; false where the thread failed. The caller bounds what is under way.
    pub fn send(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }

    /// The next answer, if there is one.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Memory that the analyst holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }
}

/// The thread's own state.
struct Worker {
    analyst: Analyst,
    events: Events,
    answers: mpsc::Sender<Answer>,
    draft: Option<SnapshotBuilder>,
    memory_bytes: Arc<AtomicUsize>,
}

impl Worker {
    /// Works until one of the channels ends.
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        // What it finds can wait a little; what it looks at keeps.
        let _ = rustix::process::nice(5);
        while let Ok(job) = jobs.recv() {
            let Some(answer) = self.work(job) else { continue };
            if self.answers.send(answer).is_err() {
                return;
            }
        }
    }

    fn work(&mut self, job: Job) -> Option<Answer> {
        match job {
            Job::Review(frozen, depth, time_ns) => {
                let mut events = Vec::new();
                let analysed = self.analyst.review(frozen, depth, &mut events);
                events.into_iter().for_each(|event| self.events.send(Timed { event, time_ns }));
                Some(Answer::Analysed(analysed))
            }
            Job::Begin(now_ns, wanted) => {
                self.draft = Some(self.analyst.draft(now_ns, wanted));
                None
            }
            Job::Add(frozen) => {
                let draft = self.draft.as_mut()?;
                Some(Answer::Analysed(self.analyst.add(frozen, draft, None)))
            }
            Job::Finish => {
                let (part, clocks) = self.draft.take()?.finish();
                self.memory_bytes.store(self.analyst.heap_bytes(), Ordering::Relaxed);
                Some(Answer::Finished(Box::new(part), clocks))
            }
        }
    }
}
