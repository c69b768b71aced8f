//! The analysis thread: frozen source addresses in, events and snapshots out.
//!
//! An analysis pass by phase can take seconds. Here it delays nothing but the next pass.

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
use crate::engine::{Analyst, Clockworks, Depth, Draft, FrozenHost, Looked, Part, Wanted};

/// A job from the shard's thread; jobs are done in order.
pub enum Job {
    /// Analyse an address and report new events.
    Review(FrozenHost, Depth, u64),
    /// Begin a snapshot.
    Begin(u64, Wanted),
    /// Add an address to the snapshot.
    Add(FrozenHost),
    /// Finish the snapshot.
    Finish,
}

/// An answer to a job. Every job but [`Job::Begin`] has one, in order.
pub enum Answer {
    /// An address was analysed.
    Looked(Looked),
    /// A partial snapshot is finished, except for what only the shard's own thread knows.
    Finished(Box<Part>, Option<Clockworks>),
}

/// The channel for events. If the reader is slow and the channel full, events are dropped and counted.
#[derive(Clone, Debug)]
pub struct Events {
    /// The channel to the reader.
    pub sender: events::Sender<Timed>,
    /// How many events were dropped.
    pub missed: Arc<AtomicU64>,
}

impl Events {
    /// Sends an event, or counts it as dropped.
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
    /// Memory that the analyst holds, in bytes.
    memory_bytes: Arc<AtomicUsize>,
}

impl Analysis {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start(analyst: Analyst, events: Events) -> io::Result<Self> {
        let (jobs, jobs_in) = mpsc::channel();
        let (answers_out, answers) = mpsc::channel();
        let memory_bytes = Arc::new(AtomicUsize::new(0));
        let worker =
            Worker { analyst, events, answers: answers_out, draft: None, memory_bytes: memory_bytes.clone() };
        thread::Builder::new().name("analysis".to_owned()).spawn(move || worker.run(&jobs_in))?;
        Ok(Self { jobs, answers, memory_bytes })
    }

    /// Sends a job; false if the thread failed. The caller bounds the number of unanswered jobs.
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
    draft: Option<Draft>,
    memory_bytes: Arc<AtomicUsize>,
}

impl Worker {
    /// Works until one of the channels ends.
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        // Results may be a little late, and frozen copies do not change meanwhile.
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
                let looked = self.analyst.review(frozen, depth, &mut events);
                events.into_iter().for_each(|event| self.events.send(Timed { event, time_ns }));
                Some(Answer::Looked(looked))
            }
            Job::Begin(now_ns, wanted) => {
                self.draft = Some(self.analyst.draft(now_ns, wanted));
                None
            }
            Job::Add(frozen) => {
                let draft = self.draft.as_mut()?;
                Some(Answer::Looked(self.analyst.add(frozen, draft, None)))
            }
            Job::Finish => {
                let (part, clockworks) = self.draft.take()?.finish();
                self.memory_bytes.store(self.analyst.heap_bytes(), Ordering::Relaxed);
                Some(Answer::Finished(Box::new(part), clockworks))
            }
        }
    }
}
