//! The drain thread: rings in, engine fed, requests answered.

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
    engine::{Engine, Event, Holdings, Snapshot, Wanted},
};

/// Records taken in between two looks at requests and time.
const BATCH: usize = 16_384;

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
    Snapshot(Wanted, oneshot::Sender<(Snapshot, Holdings)>),
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
        let worker = Worker {
            rings,
            engine,
            requested,
            events: sender,
            missed: missed.clone(),
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
    engine: Engine,
    requested: mpsc::Receiver<Request>,
    events: events::Sender<Timed>,
    missed: Arc<AtomicU64>,
    review_at: Instant,
}

impl Worker {
    fn run(mut self) {
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
            if count == BATCH {
                continue;
            }
            pause = if count > BUSY { pause / 2 } else { pause * 2 }.clamp(PAUSE_MIN, PAUSE_MAX);
            thread::sleep(pause);
        }
    }

    fn take_in(&mut self) -> usize {
        let engine = &mut self.engine;
        self.rings.drain(BATCH, |record| engine.observe(record))
    }

    fn review(&mut self) {
        let every = if self.engine.takes_round_trips() { REVIEW_ROUND_TRIPS_EVERY } else { REVIEW_EVERY };
        self.review_at = Instant::now() + every;
        let time_ns = now_ns();
        for event in self.engine.review(time_ns) {
            if self.events.try_send(Timed { event, time_ns }).is_err() {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Answers a request. An answer that nobody waits for any more is dropped.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Holdings(answer) => {
                let _ = answer.send(self.engine.holdings());
            }
            // The one place where analysis runs on the drain thread's time: while it does, the
            // rings fill. Analysis that outlasts them belongs on a thread of its own, with a copy
            // of the connections' clocks, behind this same request.
            Request::Snapshot(wanted, answer) => {
                let snapshot = self.engine.snapshot(now_ns(), wanted);
                let _ = answer.send((snapshot, self.engine.holdings()));
            }
            Request::TakeInTheRest(answer) => {
                while self.take_in() > 0 {}
                self.review();
                let _ = answer.send(());
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
