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

use anyhow::Context;
use tokio::sync::{mpsc as events, oneshot};

use crate::{
    capture::xdp::Rings,
    engine::{Engine, Holdings, Options, PartialSnapshot, Snapshot, Wanted, shard},
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

/// The most requests that wait for a thread. The control loop has at most two open: a snapshot for the
/// screen, and another request.
const REQUESTS_WAITING: usize = 4;

/// The control loop's handle of the threads. Dropping it ends them.
pub(super) struct Drain {
    /// Events of all shards.
    pub events: events::Receiver<Timed>,
    /// Addresses that were added to snapshots.
    pub analysed: Analysed,
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
            missed,
            shards: Vec::new(),
            sharer: None,
            threads: Vec::new(),
        };
        let options = shard::share(options, count);
        if count == 1 {
            drain.start_shard((0, 1), Intake::of_rings(rings), &options, events_out)?;
            return Ok(drain);
        }
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let (sharer, shares) = Sharer::new(rings, count, requested);
        drain.sharer = Some(requests);
        for (number, share) in shares.into_iter().enumerate() {
            drain.start_shard((number, count), Intake::Share(share), &options, events_out.clone())?;
        }
        drain.threads.push(thread::Builder::new().name("drain".to_owned()).spawn(move || sharer.run())?);
        Ok(drain)
    }

    fn start_shard(
        &mut self,
        (number, count): (usize, usize),
        intake: Intake,
        options: &Options,
        events: Events,
    ) -> io::Result<()> {
        let mut engine = Engine::new(options.clone());
        engine.set_resolution_ns(1);
        engine.set_share(number, count);
        let (flows, analyst) = engine.halves();
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let schedule = Schedule::new(Analysis::start(analyst, events.clone(), self.analysed.clone())?);
        let shard = Shard::new(intake, flows, schedule, requested, events);
        let name = if count == 1 { "drain".to_owned() } else { format!("shard {number}") };
        self.threads.push(thread::Builder::new().name(name).spawn(move || shard.run())?);
        self.shards.push(requests);
        Ok(())
    }

    /// Whether a thread ended. While this handle lives, that happens only by a panic.
    pub(super) fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// What all engines hold together.
    pub(super) async fn holdings(&self) -> anyhow::Result<Holdings> {
        let all = self.ask(Request::Holdings).await?;
        Ok(all.iter().fold(Holdings::default(), Holdings::plus))
    }

    /// Everything known now.
    pub(super) async fn snapshot(&self, wanted: Wanted) -> anyhow::Result<(Snapshot, Holdings)> {
        self.request_snapshot(Scope { wanted, only: None })?.await
    }

    /// Asks for a snapshot now. It comes when the future that is returned is done, and the control loop may
    /// do other things until then.
    pub(super) fn request_snapshot(
        &self,
        scope: Scope,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<(Snapshot, Holdings)>> + use<>> {
        let shards = match scope.only {
            Some(address) => std::slice::from_ref(&self.shards[shard::of(&address, self.shards.len())]),
            None => &self.shards[..],
        };
        let answers = request(shards, |answer| Request::Snapshot(scope, answer))?;
        Ok(async move {
            let all = gather(answers).await?;
            let (parts, holdings): (Vec<PartialSnapshot>, Vec<Holdings>) = all.into_iter().unzip();
            Ok((PartialSnapshot::join(parts), holdings.iter().fold(Holdings::default(), Holdings::plus)))
        })
    }

    /// Takes in the records that are left in the rings. Call it when nothing fills them any more.
    pub(super) async fn take_in_the_rest(&self) -> anyhow::Result<()> {
        if let Some(sharer) = &self.sharer {
            let (answer, answered) = oneshot::channel();
            sharer.send(answer).ok().context(FAILED)?;
            answered.await.context(FAILED)?;
        }
        self.ask(Request::TakeInTheRest).await?;
        Ok(())
    }

    /// The number of events that didn't fit into the queue.
    pub(super) fn events_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Sends a request to all shards at once, and waits for all answers.
    async fn ask<T>(&self, request: impl Fn(oneshot::Sender<T>) -> Request) -> anyhow::Result<Vec<T>> {
        gather(self::request(&self.shards, request)?).await
    }
}

/// Sends a request to these shards at once.
fn request<T>(
    shards: &[mpsc::SyncSender<Request>],
    request: impl Fn(oneshot::Sender<T>) -> Request,
) -> anyhow::Result<Vec<oneshot::Receiver<T>>> {
    let send = |shard: &mpsc::SyncSender<Request>| {
        let (answer, answered) = oneshot::channel();
        // Blocks only with REQUESTS_WAITING requests that no shard has taken yet.
        shard.send(request(answer)).ok().context(FAILED)?;
        Ok(answered)
    };
    shards.iter().map(send).collect()
}

/// Waits for all answers.
async fn gather<T>(answers: Vec<oneshot::Receiver<T>>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::with_capacity(answers.len());
    for answered in answers {
        all.push(answered.await.context(FAILED)?);
    }
    Ok(all)
}

/// The error when a thread has panicked.
pub(super) const FAILED: &str = "an engine thread failed and its data is lost; please report this";
