//! The drain thread: rings in, flows fed, requests taken.
//!
//! What takes long is done elsewhere: see `schedule` and `analysis`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::time::ClockId;
use tokio::sync::{mpsc as events, oneshot};

use crate::{
    capture::xdp::Rings,
    engine::{Engine, Event, Flows, Holdings, Snapshot, Wanted},
};
use tmap_common::record::{MAX_SLOTS, Slot};

use super::{
    analysis::{Analysis, Events},
    schedule::{Asker, Schedule},
};

/// Records taken in between two looks at requests and time.
const BATCH: usize = 16_384;

/// Slots of records handed to the flow table at once: enough to fetch ahead, few enough to stay in the cache.
const AT_ONCE: usize = 256;

/// The bounds of the pause between two drains: short under load, so that rings stay empty; long
/// when idle, so that an idle sensor costs nothing.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// More records than this in one go and the pause was too long.
const BUSY: usize = 1_024;

/// How often the engine looks for news.
const REVIEW_EVERY: Duration = Duration::from_secs(1);

/// The same where single round trips are to be shown as they come.
const REVIEW_ROUND_TRIPS_EVERY: Duration = Duration::from_millis(100);

/// Events that wait for a slow reader; more are counted and left out, the summary has them anyway.
const EVENTS_WAITING: usize = 1_024;

/// Requests that wait for the drain thread; the control loop waits for each answer, so one would do.
const REQUESTS_WAITING: usize = 4;

/// An event and when it was noticed, in engine time.
#[derive(Debug)]
pub struct Timed {
    /// What happened.
    pub event: Event,
    /// When.
    pub time_ns: u64,
}

/// What the control loop may ask for.
enum Request {
    /// What the engine holds.
    Holdings(oneshot::Sender<Holdings>),
    /// Everything known, with what is wanted beside the addresses.
    Snapshot(Wanted, Asker),
    /// Empty the rings, which nobody fills any more, and look at the news once more.
    TakeInTheRest(oneshot::Sender<()>),
}

/// The control loop's end of the drain thread. Dropping it ends the thread.
pub struct Drain {
    /// What happened, as it happens; ends when the thread does.
    pub events: events::Receiver<Timed>,
    requests: mpsc::SyncSender<Request>,
    missed: Arc<AtomicU64>,
}

impl Drain {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system grants no thread.
    pub fn start(rings: Rings, engine: Engine) -> io::Result<Self> {
        let (requests, requested) = mpsc::sync_channel(REQUESTS_WAITING);
        let (sender, events) = events::channel(EVENTS_WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let events_out = Events { sender, missed: missed.clone() };
        let (flows, analyst) = engine.halves();
        let worker = Worker {
            rings,
            flows,
            schedule: Schedule::new(Analysis::start(analyst, events_out.clone())?),
            requested,
            events: events_out,
            batch: Vec::with_capacity(AT_ONCE),
            review_at: Instant::now(),
        };
        thread::Builder::new().name("drain".to_owned()).spawn(move || worker.run())?;
        Ok(Self { events, requests, missed })
    }

    /// What the engine holds.
    pub async fn holdings(&self) -> anyhow::Result<Holdings> {
        self.ask(Request::Holdings).await
    }

    /// Everything known now.
    pub async fn snapshot(&self, wanted: Wanted) -> anyhow::Result<(Snapshot, Holdings)> {
        self.ask(|answer| Request::Snapshot(wanted, answer)).await
    }

    /// Takes in what is left in the rings; call it once nothing fills them any more.
    pub async fn take_in_the_rest(&self) -> anyhow::Result<()> {
        self.ask(Request::TakeInTheRest).await
    }

    /// Events that nobody took in time.
    pub fn events_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> anyhow::Result<T> {
        let (answer, answered) = oneshot::channel();
        // Blocks only with REQUESTS_WAITING requests open, and each is awaited.
        self.requests.send(request(answer)).ok().context(FAILED)?;
        answered.await.context(FAILED)
    }
}

const FAILED: &str = "the drain thread failed; what it held is lost";

/// The thread's own state.
struct Worker {
    rings: Rings,
    flows: Flows,
    schedule: Schedule,
    requested: mpsc::Receiver<Request>,
    events: Events,
    batch: Vec<Slot>,
    review_at: Instant,
}

impl Worker {
    fn run(mut self) {
        // Of everything on this machine it alone can't be late: rings overflow. It takes what time records
        // need, no more. Where the system refuses, it runs as anybody else.
        let _ = rustix::process::nice(-10);
        let mut pause = PAUSE_MIN;
        loop {
            let count = self.take_in();
            match self.requested.try_recv() {
                Ok(request) => self.answer(request),
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => return,
            }
            if Instant::now() >= self.review_at {
                self.review();
            }
            if !self.schedule.step(&mut self.flows, now_ns()) {
                return;
            }
            if count == BATCH || self.schedule.is_busy() {
                continue;
            }
            pause = if count > BUSY { pause / 2 } else { pause * 2 }.clamp(PAUSE_MIN, PAUSE_MAX);
            thread::sleep(pause);
        }
    }

    fn take_in(&mut self) -> usize {
        let Self { rings, flows, batch, .. } = self;
        let count = rings.drain_slots(BATCH, |slots| {
            batch.extend_from_slice(slots);
            if batch.len() > AT_ONCE - MAX_SLOTS {
                flows.observe_slots(batch);
                batch.clear();
            }
        });
        flows.observe_slots(batch);
        batch.clear();
        count
    }

    fn review(&mut self) {
        let every = if self.flows.takes_round_trips() { REVIEW_ROUND_TRIPS_EVERY } else { REVIEW_EVERY };
        self.review_at = Instant::now() + every;
        let time_ns = now_ns();
        self.flows.sweep(time_ns);
        if self.flows.takes_round_trips() {
            // Who asks for round trips isn't told of machines as they appear; the summary looks.
            self.review_round_trips(time_ns);
        } else {
            self.schedule.review(&mut self.flows, time_ns);
        }
    }

    fn review_round_trips(&mut self, time_ns: u64) {
        if let Some(event) = self.flows.review_round_trips(time_ns) {
            self.events.send(Timed { event, time_ns });
        }
    }

    /// Takes a request; answers come now or, where analysis has a part in them, from the schedule.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Holdings(answer) => {
                let mut holdings = self.flows.holdings();
                holdings.memory_bytes += self.schedule.memory_bytes();
                // An answer that nobody waits for any more is dropped.
                let _ = answer.send(holdings);
            }
            Request::Snapshot(wanted, asker) => self.schedule.snapshot(wanted, asker),
            Request::TakeInTheRest(answer) => {
                while self.take_in() > 0 {}
                let time_ns = now_ns();
                self.flows.sweep(time_ns);
                if self.flows.takes_round_trips() {
                    self.review_round_trips(time_ns);
                    let _ = answer.send(());
                } else {
                    self.schedule.last_review(&mut self.flows, time_ns, answer);
                }
            }
        }
    }
}

/// The sensor's clock, `CLOCK_MONOTONIC`: the time of live records.
pub fn now_ns() -> u64 {
    // This clock exists everywhere, so reading it can't fail; it begins at boot and is never
    // negative.
    let now = ClockId::CLOCK_MONOTONIC.now();
    now.map_or(0, |time| (time.tv_sec() * 1_000_000_000 + time.tv_nsec()).unsigned_abs())
}
