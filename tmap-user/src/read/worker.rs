//! The engine on threads of its own: N engines, each with a share of the source addresses.
//!
//! Tasks are done in the order in which they are given, so the result is that of one engine on one
//! thread.

use std::{
    collections::VecDeque,
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tmap_common::{
    Address,
    record::{MAX_SLOTS, Slot},
};

use super::{progress::Progress, window::Onward};
use crate::{
    engine::{
        Engine, Event, Holdings, Options, Pace, PartialSnapshot, Snapshot, Wanted,
        failures::{Failed, Failures},
        shard::{self, Route},
    },
    memory, sandbox, say,
    signals::Signals,
};

/// Slots handed over at once. They are packed as in the kernel's rings, a fifth of the size of records,
/// because moving them from core to core is expensive. The batch is so large that waking a thread is cheap.
const BATCH: usize = 8192;

/// Tasks that wait for a shard: enough to keep it busy while the reader does other things, few enough to
/// stay in the cache.
const TASKS_WAITING: usize = 4;

/// Some addresses are much busier than others; with two shards per core, the load is more even.
const SHARDS_PER_CORE: usize = 2;

/// How often the user is told of progress while the reader waits for the shards.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What the reader does while it waits for the shards.
pub(super) struct Waiting {
    progress: Progress,
    signals: Arc<Signals>,
    /// Whether the user waits for the end of the analysis once a stop was requested.
    is_to_tell: bool,
    /// Addresses analysed, and to be analysed, by all shards.
    analysed: Arc<[AtomicU64; 2]>,
}

impl Waiting {
    /// Shows progress. A request to stop is answered if the report comes at the end of the analysis only.
    pub(super) fn new(progress: Progress, signals: Arc<Signals>, takes_drafts: bool) -> Self {
        Self { progress, signals, is_to_tell: !takes_drafts, analysed: Arc::default() }
    }

    fn tell(&mut self) {
        let [analysed, all] = [0, 1].map(|index: usize| self.analysed[index].load(Ordering::Relaxed));
        self.progress.show_analysis(analysed, all);
        if self.is_to_tell && self.signals.stop() && !self.progress.is_hidden() {
            self.is_to_tell = false;
            let text = "analysing what was read; another ^C ends with what is known";
            self.progress.bar.suspend(|| say(text));
        }
    }
}

/// A task for a shard.
enum Task {
    Observe(Vec<Slot>),
    Resolution(u64),
    Review(u64),
    Holdings,
    Snapshot(u64, Wanted),
    SnapshotOf(u64, Address),
    Conclude(u64, Wanted),
}

/// The result of a task.
enum Done {
    /// The slots were taken in; the vector may be used again.
    Observed(Vec<Slot>),
    /// New events.
    Reviewed(Vec<Event>),
    Holdings(Holdings),
    Partial(Box<PartialSnapshot>),
}

/// The reader's end of all shards.
pub(super) struct Workers {
    shards: Vec<Shard>,
    /// Times of the reviews that not all shards have answered yet.
    reviews: VecDeque<u64>,
    waiting: Waiting,
    failures: Failures,
}

/// The reader's end of a shard's thread.
struct Shard {
    tasks: Option<mpsc::SyncSender<Task>>,
    done: mpsc::Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    batch: Vec<Slot>,
    spare: Vec<Vec<Slot>>,
    /// Answers to reviews that other shards haven't answered yet.
    reviewed: VecDeque<Vec<Event>>,
}

impl Workers {
    /// Starts `shards` threads, or as many as the machine can use.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn start(options: &Options, shards: Option<usize>, waiting: Waiting) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let count = shard::count(options, shards, SHARDS_PER_CORE * cores);
        let options = shard::share(options, count);
        let failures = Failures::default();
        let shards = (0..count)
            .map(|number| Shard::start((number, count), &options, &waiting.analysed, &failures))
            .collect::<io::Result<_>>()?;
        Ok(Self { shards, reviews: VecDeque::new(), waiting, failures })
    }

    /// How many shards there are.
    pub(super) fn count(&self) -> usize {
        self.shards.len()
    }

    /// What panicked so far.
    pub(super) fn failed(&self) -> Failed {
        self.failures.so_far()
    }

    /// Sets the resolution of the records' times from now on.
    pub(super) fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.shards.iter_mut().for_each(|shard| shard.give(Task::Resolution(resolution_ns)));
    }

    /// Reviews what changed; new events come with a later [`Workers::news`].
    pub(super) fn review(&mut self, now_ns: u64) {
        self.reviews.push_back(now_ns);
        self.shards.iter_mut().for_each(|shard| shard.give(Task::Review(now_ns)));
    }

    /// New events since the last call, in the order of reviews, then of addresses.
    pub(super) fn news(&mut self) -> Vec<(Event, u64)> {
        self.shards.iter_mut().for_each(Shard::take_what_is_done);
        let mut news = Vec::new();
        while self.shards.iter().all(|shard| !shard.reviewed.is_empty()) {
            let Some(now_ns) = self.reviews.pop_front() else { break };
            let answers = self.shards.iter_mut().filter_map(|shard| shard.reviewed.pop_front());
            let mut events: Vec<Event> = answers.flatten().collect();
            events.sort_by_key(Event::address);
            news.extend(events.into_iter().map(|event| (event, now_ns)));
        }
        news
    }

    /// What the engine holds.
    pub(super) fn holdings(&mut self) -> Holdings {
        let all = self.ask(|| Task::Holdings);
        let held = all.into_iter().map(|done| if let Done::Holdings(held) = done { held } else { unasked() });
        memory::told(held.fold(Holdings::default(), |sum, held| sum.plus(&held)))
    }

    /// Everything known.
    pub(super) fn snapshot(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        self.join(|| Task::Snapshot(now_ns, wanted))
    }

    /// One address and its connections: only the shard that has it works for it.
    pub(super) fn snapshot_of(&mut self, now_ns: u64, address: Address) -> Snapshot {
        let shard = shard::of(&address, self.shards.len());
        let Self { shards, waiting, .. } = self;
        shards[shard].give(Task::SnapshotOf(now_ns, address));
        let Done::Partial(partial) = shards[shard].wait(waiting) else { unasked() };
        PartialSnapshot::join([*partial])
    }

    /// Everything known at the end; new events come with [`Workers::news`].
    pub(super) fn conclude(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        self.reviews.push_back(now_ns);
        self.waiting.analysed.iter().for_each(|figure| figure.store(0, Ordering::Relaxed));
        self.join(|| Task::Conclude(now_ns, wanted))
    }

    fn join(&mut self, task: impl Fn() -> Task) -> Snapshot {
        let all = self.ask(task);
        PartialSnapshot::join(
            all.into_iter().map(|done| if let Done::Partial(partial) = done { *partial } else { unasked() }),
        )
    }

    /// Gives a task to all shards and waits for their results.
    fn ask(&mut self, task: impl Fn() -> Task) -> Vec<Done> {
        self.shards.iter_mut().for_each(|shard| shard.give(task()));
        let Self { shards, waiting, .. } = self;
        shards.iter_mut().map(|shard| shard.wait(waiting)).collect()
    }
}

impl Onward for Workers {
    /// Hands a record over, with the next batch.
    #[inline(always)]
    fn take(&mut self, route: Route, slots: &[Slot]) {
        self.shards[route.own as usize].observe(slots);
        if let Some(other) = route.also() {
            self.shards[other as usize].observe(slots);
        }
    }
}

/// Shards answer in the order of their tasks, so an answer of another kind is a bug.
fn unasked() -> ! {
    unreachable!("an answer to another question")
}

impl Shard {
    fn start(
        (number, count): (usize, usize),
        options: &Options,
        analysed: &Arc<[AtomicU64; 2]>,
        failures: &Failures,
    ) -> io::Result<Self> {
        let (tasks, tasks_in) = mpsc::sync_channel(TASKS_WAITING);
        let (done_out, done) = mpsc::channel();
        let options = options.clone();
        let (analysed, failures) = (Arc::clone(analysed), failures.clone());
        let thread = thread::Builder::new().name(format!("shard {number}")).spawn(move || {
            sandbox::give_up();
            let mut engine = Engine::new(options);
            engine.set_share(number, count);
            engine.set_pace(Pace::Sparse);
            engine.count_analysed(analysed);
            engine.note_failures(failures.clone());
            work(engine, &failures, &tasks_in, &done_out);
        })?;
        Ok(Self {
            tasks: Some(tasks),
            done,
            thread: Some(thread),
            batch: Vec::with_capacity(BATCH),
            spare: Vec::new(),
            reviewed: VecDeque::new(),
        })
    }

    #[inline(always)]
    fn observe(&mut self, slots: &[Slot]) {
        self.batch.extend_from_slice(slots);
        if self.batch.len() > BATCH - MAX_SLOTS {
            self.flush();
        }
    }

    #[inline(never)]
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.take_what_is_done();
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

    /// Stores the results that have arrived.
    fn take_what_is_done(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.take(done);
        }
    }

    /// Waits for the answer to the latest request.
    fn wait(&mut self, waiting: &mut Waiting) -> Done {
        loop {
            match self.done.recv_timeout(TELL_EVERY) {
                Ok(done) => {
                    if let Some(answer) = self.take(done) {
                        return answer;
                    }
                }
                Err(RecvTimeoutError::Timeout) => waiting.tell(),
                Err(RecvTimeoutError::Disconnected) => self.fail(),
            }
        }
    }

    /// Stores a result of a batch or a review; any other answer goes to the caller.
    fn take(&mut self, done: Done) -> Option<Done> {
        match done {
            Done::Observed(batch) => self.spare.push(batch),
            Done::Reviewed(events) => self.reviewed.push_back(events),
            answer => return Some(answer),
        }
        None
    }

    /// A thread ends early only by a panic outside of its tasks, which is resumed here.
    fn fail(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => panic!("the engine's thread ended early"),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported already.
            let _ = thread.join();
        }
    }
}

/// Works until the reader is gone. A task that panics has an empty result, and after that no more records are
/// taken in: what the engine holds may be half done, but most of it can be told.
fn work(mut engine: Engine, failures: &Failures, tasks: &mpsc::Receiver<Task>, done: &mpsc::Sender<Done>) {
    let mut is_sound = true;
    for task in tasks {
        let mut results = empty(&task);
        let is_intake = matches!(task, Task::Observe(_));
        if is_sound || !is_intake {
            let name = if is_intake { "intake" } else { "task" };
            match failures.guard(name, || do_task(&mut engine, task)) {
                Some(done) => results = done,
                None => is_sound = false,
            }
        }
        if results.into_iter().flatten().any(|result| done.send(result).is_err()) {
            return;
        }
    }
}

/// The results of a task: up to two.
type Results = [Option<Done>; 2];

fn do_task(engine: &mut Engine, task: Task) -> Results {
    let result = match task {
        Task::Observe(mut batch) => {
            engine.observe_slots(&batch);
            batch.clear();
            Done::Observed(batch)
        }
        Task::Resolution(resolution_ns) => {
            engine.set_resolution_ns(resolution_ns);
            return [None, None];
        }
        Task::Review(now_ns) => Done::Reviewed(engine.review(now_ns)),
        Task::Holdings => Done::Holdings(engine.holdings()),
        Task::Snapshot(now_ns, wanted) => Done::Partial(Box::new(engine.partial_snapshot(now_ns, wanted))),
        Task::SnapshotOf(now_ns, address) => Done::Partial(Box::new(engine.snapshot_of(now_ns, address))),
        Task::Conclude(now_ns, wanted) => {
            let (events, partial) = engine.conclude(now_ns, wanted);
            return [Some(Done::Reviewed(events)), Some(Done::Partial(Box::new(partial)))];
        }
    };
    [Some(result), None]
}

/// The results of a task that wasn't done.
fn empty(task: &Task) -> Results {
    let nothing = |now_ns, siblings| Some(Done::Partial(Box::new(PartialSnapshot::new(now_ns, siblings))));
    match task {
        Task::Observe(_) => [Some(Done::Observed(Vec::new())), None],
        Task::Resolution(_) => [None, None],
        Task::Review(_) => [Some(Done::Reviewed(Vec::new())), None],
        Task::Holdings => [Some(Done::Holdings(Holdings::default())), None],
        Task::Snapshot(now_ns, wanted) => [nothing(*now_ns, wanted.siblings), None],
        Task::SnapshotOf(now_ns, _) => [nothing(*now_ns, false), None],
        Task::Conclude(now_ns, wanted) => {
            [Some(Done::Reviewed(Vec::new())), nothing(*now_ns, wanted.siblings)]
        }
    }
}
