//! The control loop's handle of all threads that take records in.
//!
//! ```text
//! one shard:    rings -> shard (Flows) <-> analysis (Analyst)
//! several:      rings -> sharer -> N x (shard (Flows) <-> analysis (Analyst))
//! ```

use std::{
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use tokio::sync::{mpsc as events, oneshot};

use crate::{
    capture::xdp::Rings,
    engine::{
        Engine, Holdings, Options, PartialSnapshot, Snapshot, Wanted,
        failures::{Failed, Failures},
        shard,
    },
    time::now_ns,
};

use super::{
    analysis::{Analysis, Events},
    common::{Scope, Timed},
    intake::Intake,
    progress::Analysed,
    schedule::Schedule,
    shard::{Request, Shard},
    sharer::Sharer,
};

/// Cores per shard, unless the user sets the number of shards: the other cores receive packets.
const CORES_PER_SHARD: usize = 4;

/// The most events that wait for a slow reader. Further events are only counted; the summary contains what
/// they would have reported.
const EVENTS_WAITING: usize = 1_024;

/// The most requests that wait for a thread. The control loop has at most two open: a snapshot, for the
/// screen or the reporter, and another request.
const REQUESTS_WAITING: usize = 4;

/// The control loop's handle of the threads. Dropping it ends them.
pub(super) struct Drain {
    /// Events of all shards.
    pub events: events::Receiver<Timed>,
    /// Addresses that were added to snapshots.
    pub analysed: Analysed,
    failures: Failures,
    missed: Arc<AtomicU64>,
    shards: Vec<mpsc::SyncSender<Request>>,
    sharer: Option<mpsc::SyncSender<oneshot::Sender<()>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drain {
    /// Starts the threads, with the given number of shards or as many as this machine can use.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(rings: Rings, options: &Options, shards: Option<usize>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let count = shard::count(options, shards, (cores / CORES_PER_SHARD).max(1));
        let (sender, events) = events::channel(EVENTS_WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let events_out = Events { sender, missed: missed.clone() };
        let mut drain = Self {
            events,
            analysed: Analysed::default(),
            failures: Failures::default(),
            missed,
            shards: Vec::new(),
            sharer: None,
            threads: Vec::new(),
        };
        let options = shard::share(options, count);
        if count == 1 {
            drain.start_shard("drain".to_owned(), Intake::of_rings(rings), &options, events_out)?;
            return Ok(drain);
        }
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let (sharer, shares) = Sharer::new(rings, count, requested);
        let failures = drain.failures.clone();
        let share = move || {
            failures.guard("sharer", || sharer.run());
        };
        drain.sharer = Some(requests);
        for (number, share) in shares.into_iter().enumerate() {
            drain.start_shard(
                format!("shard {number}"),
                Intake::Share(share),
                &options,
                events_out.clone(),
            )?;
        }
        drain.threads.push(thread::Builder::new().name("drain".to_owned()).spawn(share)?);
        Ok(drain)
    }

    fn start_shard(
        &mut self,
        name: String,
        intake: Intake,
        options: &Options,
        events: Events,
    ) -> io::Result<()> {
        let mut engine = Engine::new(options.clone());
        engine.set_resolution_ns(1);
        let (flows, analyst) = engine.halves();
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let schedule = Schedule::new(Analysis::start(
            analyst,
            events.clone(),
            self.analysed.clone(),
            self.failures.clone(),
        )?);
        let shard = Shard::new(intake, flows, schedule, requested, events, self.failures.clone());
        self.threads.push(thread::Builder::new().name(name).spawn(move || shard.run())?);
        self.shards.push(requests);
        Ok(())
    }

    /// Whether something panicked.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed().is_nothing()
    }

    /// What panicked so far. While this handle lives, a thread ends only by a panic.
    pub(super) fn failed(&self) -> Failed {
        let mut failed = self.failures.so_far();
        if self.threads.iter().any(JoinHandle::is_finished) {
            failed.elsewhere = failed.elsewhere.max(1);
        }
        failed
    }

    /// What all engines hold together.
    pub(super) async fn holdings(&self) -> Holdings {
        let all = self.ask(Request::Holdings).await;
        all.iter().fold(Holdings::default(), Holdings::plus)
    }

    /// Everything known now.
    pub(super) async fn snapshot(&self, wanted: Wanted) -> (Snapshot, Holdings) {
        self.request_snapshot(Scope { wanted, only: None }).await
    }

    /// Asks for a snapshot now. It comes when the future that is returned is done, and the control loop may
    /// do other things until then. What a thread held that has ended is missing.
    pub(super) fn request_snapshot(
        &self,
        scope: Scope,
    ) -> impl Future<Output = (Snapshot, Holdings)> + use<> {
        let shards = match scope.only {
            Some(address) => std::slice::from_ref(&self.shards[shard::of(&address, self.shards.len())]),
            None => &self.shards[..],
        };
        let answers = request(shards, |answer| Request::Snapshot(scope, answer));
        async move {
            let all = gather(answers).await;
            let (mut parts, holdings): (Vec<PartialSnapshot>, Vec<Holdings>) = all.into_iter().unzip();
            if parts.is_empty() {
                parts.push(PartialSnapshot::new(now_ns(), scope.wanted.siblings));
            }
            (PartialSnapshot::join(parts), holdings.iter().fold(Holdings::default(), Holdings::plus))
        }
    }

    /// Takes in the records that are left in the rings. Call it when nothing fills them any more.
    pub(super) async fn take_in_the_rest(&self) {
        if let Some(sharer) = &self.sharer {
            let (answer, answered) = oneshot::channel();
            if sharer.send(answer).is_ok() {
                // A thread that ended meanwhile has no rest.
                let _ = answered.await;
            }
        }
        self.ask(Request::TakeInTheRest).await;
    }

    /// The number of events that didn't fit into the queue.
    pub(super) fn events_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Sends a request to all shards at once, and waits for all answers.
    async fn ask<T>(&self, request: impl Fn(oneshot::Sender<T>) -> Request) -> Vec<T> {
        gather(self::request(&self.shards, request)).await
    }
}

/// Sends a request to these shards at once. A thread that has ended gives no answer.
fn request<T>(
    shards: &[mpsc::SyncSender<Request>],
    request: impl Fn(oneshot::Sender<T>) -> Request,
) -> Vec<oneshot::Receiver<T>> {
    let send = |shard: &mpsc::SyncSender<Request>| {
        let (answer, answered) = oneshot::channel();
        // Blocks only with REQUESTS_WAITING requests that no shard has taken yet.
        shard.send(request(answer)).is_ok().then_some(answered)
    };
    shards.iter().filter_map(send).collect()
}

/// Waits for all answers; leaves out those of threads that ended meanwhile.
async fn gather<T>(answers: Vec<oneshot::Receiver<T>>) -> Vec<T> {
    let mut all = Vec::with_capacity(answers.len());
    for answered in answers {
        all.extend(answered.await);
    }
    all
}
