//! The engine on a thread of its own: parsing and observing share the work between two cores.
//!
//! Tasks are done in the order in which they are given, so the result is that of one thread.

use std::{
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tmap_common::Record;

use crate::engine::{Engine, Event, Holdings, Snapshot, Wanted};

/// Records handed over at once.
const BATCH: usize = 512;

/// Tasks that wait for the engine: enough to keep it busy while the reader looks around, few enough
/// to stay in the cache.
const TASKS_WAITING: usize = 8;

/// What the engine is to do.
enum Task {
    Observe(Vec<Record>),
    Resolution(u64),
    Review(u64),
    Holdings,
    Snapshot(u64, Wanted),
}

/// What it did.
enum Done {
    /// Records taken in: the vector may be used again.
    Observed(Vec<Record>),
    /// What is new, and when that was noticed.
    Reviewed(Vec<Event>, u64),
    Holdings(Holdings),
    Snapshot(Box<Snapshot>),
}

/// The reader's end of the engine's thread.
pub struct Worker {
    tasks: Option<mpsc::SyncSender<Task>>,
    done: mpsc::Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    batch: Vec<Record>,
    spare: Vec<Vec<Record>>,
    news: Vec<(Event, u64)>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system grants no thread.
    pub fn start(engine: Engine) -> io::Result<Self> {
        let (tasks, tasks_in) = mpsc::sync_channel(TASKS_WAITING);
        let (done_out, done) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || work(engine, &tasks_in, &done_out))?;
        Ok(Self {
            tasks: Some(tasks),
            done,
            thread: Some(thread),
            batch: Vec::with_capacity(BATCH),
            spare: Vec::new(),
            news: Vec::new(),
        })
    }

    /// Hands a record over, sooner or later.
    #[inline]
    pub fn observe(&mut self, record: Record) {
        self.batch.push(record);
        if self.batch.len() == BATCH {
            self.flush();
        }
    }

    /// Tells how coarse the records' times are, from here on.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.give(Task::Resolution(resolution_ns));
    }

    /// Looks at what changed; what is new comes with a later [`Worker::news`].
    pub fn review(&mut self, now_ns: u64) {
        self.give(Task::Review(now_ns));
    }

    /// What came to be known since the last call.
    pub fn news(&mut self) -> Vec<(Event, u64)> {
        while let Ok(done) = self.done.try_recv() {
            self.take(done);
        }
        std::mem::take(&mut self.news)
    }

    /// What the engine holds.
    pub fn holdings(&mut self) -> Holdings {
        self.give(Task::Holdings);
        loop {
            match self.wait() {
                Done::Holdings(holdings) => return holdings,
                other => self.take(other),
            }
        }
    }

    /// Everything known.
    pub fn snapshot(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        self.give(Task::Snapshot(now_ns, wanted));
        loop {
            match self.wait() {
                Done::Snapshot(snapshot) => return *snapshot,
                other => self.take(other),
            }
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        while let Ok(done) = self.done.try_recv() {
            self.take(done);
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        let batch = std::mem::replace(&mut self.batch, next);
        self.send(Task::Observe(batch));
    }

    fn give(&mut self, task: Task) {
        self.flush();
        self.send(task);
    }

    fn send(&mut self, task: Task) {
        let sent = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        if !sent {
            self.fail();
        }
    }

    fn wait(&mut self) -> Done {
        match self.done.recv() {
            Ok(done) => done,
            Err(_) => self.fail(),
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Observed(mut batch) => {
                batch.clear();
                self.spare.push(batch);
            }
            Done::Reviewed(events, now_ns) => {
                self.news.extend(events.into_iter().map(|event| (event, now_ns)));
            }
            // Whoever asks for these waits for them.
            Done::Holdings(_) | Done::Snapshot(_) => {}
        }
    }

    /// The thread ends early only by a panic, which goes on here.
    fn fail(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => panic!("the engine's thread ended early"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported already.
            let _ = thread.join();
        }
    }
}

fn work(mut engine: Engine, tasks: &mpsc::Receiver<Task>, done: &mpsc::Sender<Done>) {
    for task in tasks {
        let result = match task {
            Task::Observe(batch) => {
                engine.observe_all(&batch);
                Done::Observed(batch)
            }
            Task::Resolution(resolution_ns) => {
                engine.set_resolution_ns(resolution_ns);
                continue;
            }
            Task::Review(now_ns) => Done::Reviewed(engine.review(now_ns), now_ns),
            Task::Holdings => Done::Holdings(engine.holdings()),
            Task::Snapshot(now_ns, wanted) => Done::Snapshot(Box::new(engine.snapshot(now_ns, wanted))),
        };
        if done.send(result).is_err() {
            return;
        }
    }
}
