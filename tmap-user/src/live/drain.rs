//! The control loop's handle on the threads that take in records: how they start, and requests to them.
//!
//! ```text
//! one shard:    rings -> shard (Flows) <-> analysis (Analyst)
//! N shards:     rings -> sharer -> N times: shard (Flows) <-> analysis (Analyst)
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
use nix::time::ClockId;
use tokio::sync::{mpsc as events, oneshot};

use crate::{
    capture::xdp::Rings,
    engine::{Engine, Event, Holdings, Options, Part, Snapshot, Wanted, shard},
};

use super::{
    analysis::{Analysis, Events},
    intake::Intake,
    schedule::Schedule,
    shard::{Request, Shard},
    sharer::Sharer,
};

/// Records taken in between two checks of requests and time.
pub const BATCH: usize = 16_384;

/// Cores per shard, unless the user sets the number of shards: the other cores receive packets.
const CORES_PER_SHARD: usize = 4;

/// Events that wait for a slow reader; further ones are dropped and counted, but the summary has them.
const EVENTS_WAITING: usize = 1_024;

/// Requests that wait for a thread; the control loop waits for each answer, so one would be enough.
const REQUESTS_WAITING: usize = 4;

/// An event and the engine time at which it was noticed.
#[derive(Debug)]
pub struct Timed {
    /// What happened.
    pub event: Event,
    /// When.
    pub time_ns: u64,
}

/// The control loop's handle. Dropping it ends the threads.
pub struct Drain {
    /// Events, as they happen.
    pub events: events::Receiver<Timed>,
    missed: Arc<AtomicU64>,
    shards: Vec<mpsc::SyncSender<Request>>,
    sharer: Option<mpsc::SyncSender<oneshot::Sender<()>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drain {
    /// Starts the threads, with `shards` shards or as many as this machine can use.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn start(rings: Rings, options: &Options, shards: Option<usize>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let count = shard::count(options, shards, (cores / CORES_PER_SHARD).max(1));
        let (sender, events) = events::channel(EVENTS_WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let events_out = Events { sender, missed: missed.clone() };
        let mut drain = Self { events, missed, shards: Vec::new(), sharer: None, threads: Vec::new() };
        let options = shard::share(options, count);
        if count == 1 {
            drain.start_shard("drain".to_owned(), Intake::of_rings(rings), &options, events_out)?;
            return Ok(drain);
        }
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let (sharer, shares) = Sharer::new(rings, count, requested);
        drain.sharer = Some(requests);
        for (number, share) in shares.into_iter().enumerate() {
            drain.start_shard(
                format!("shard {number}"),
                Intake::Share(share),
                &options,
                events_out.clone(),
            )?;
        }
        drain.threads.push(thread::Builder::new().name("drain".to_owned()).spawn(move || sharer.run())?);
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
        let schedule = Schedule::new(Analysis::start(analyst, events.clone())?);
        let shard = Shard::new(intake, flows, schedule, requested, events);
        self.threads.push(thread::Builder::new().name(name).spawn(move || shard.run())?);
        self.shards.push(requests);
        Ok(())
    }

    /// Whether a thread ended. While this handle exists, a thread ends only by a panic.
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// What the engine holds.
    pub async fn holdings(&self) -> anyhow::Result<Holdings> {
        let all = self.ask(Request::Holdings).await?;
        Ok(all.iter().fold(Holdings::default(), Holdings::plus))
    }

    /// Everything known now.
    pub async fn snapshot(&self, wanted: Wanted) -> anyhow::Result<(Snapshot, Holdings)> {
        let all = self.ask(|answer| Request::Snapshot(wanted, answer)).await?;
        let (parts, holdings): (Vec<Part>, Vec<Holdings>) = all.into_iter().unzip();
        Ok((Part::join(parts), holdings.iter().fold(Holdings::default(), Holdings::plus)))
    }

    /// Takes in the records left in the rings; call it once nothing fills them any more.
    pub async fn take_in_the_rest(&self) -> anyhow::Result<()> {
        if let Some(sharer) = &self.sharer {
            let (answer, answered) = oneshot::channel();
            sharer.send(answer).ok().context(FAILED)?;
            answered.await.context(FAILED)?;
        }
        self.ask(Request::TakeInTheRest).await?;
        Ok(())
    }

    /// How many events were dropped.
    pub fn events_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Sends a request to all shards and waits for all answers.
    async fn ask<T>(&self, request: impl Fn(oneshot::Sender<T>) -> Request) -> anyhow::Result<Vec<T>> {
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (answer, answered) = oneshot::channel();
            // Blocks only with REQUESTS_WAITING requests open, and each is awaited.
            shard.send(request(answer)).ok().context(FAILED)?;
            answers.push(answered);
        }
        let mut all = Vec::with_capacity(answers.len());
        for answered in answers {
            all.push(answered.await.context(FAILED)?);
        }
        Ok(all)
    }
}

/// The error when a thread has panicked.
pub const FAILED: &str = "an engine thread failed and its data is lost; please report this";

/// The sensor's clock, `CLOCK_MONOTONIC`: the time of live records.
pub fn now_ns() -> u64 {
    // This clock exists everywhere, so reading it can't fail; it begins at boot and is never
    // negative.
    let now = ClockId::CLOCK_MONOTONIC.now();
    now.map_or(0, |time| (time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unsigned_abs())
}
