//! A shard's thread: feeds records to the flows and takes requests.
//!
//! Slow work is done elsewhere: see `schedule` and `analysis`.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    analysis::Events,
    drain::{BATCH, Timed, now_ns},
    intake::{Intake, Pause},
    schedule::{Asker, Schedule},
};
use crate::engine::{Flows, Holdings, Wanted};

/// How often the engine reviews what changed.
const REVIEW_EVERY: Duration = Duration::from_secs(1);

/// How often it reviews round trips, which are printed as they come.
const REVIEW_ROUND_TRIPS_EVERY: Duration = Duration::from_millis(100);

/// A request of the control loop.
pub enum Request {
    /// What the engine holds.
    Holdings(oneshot::Sender<Holdings>),
    /// Everything known, with what is wanted in addition to addresses.
    Snapshot(Wanted, Asker),
    /// Take in the remaining records, as no more will come, and review once more.
    TakeInTheRest(oneshot::Sender<()>),
}

/// The thread's state.
pub struct Shard {
    intake: Intake,
    flows: Flows,
    schedule: Schedule,
    requested: mpsc::Receiver<Request>,
    events: Events,
    review_at: Instant,
}

impl Shard {
    /// A shard that takes in records from `intake` and requests from `requested`.
    pub fn new(
        intake: Intake,
        flows: Flows,
        schedule: Schedule,
        requested: mpsc::Receiver<Request>,
        events: Events,
    ) -> Self {
        Self { intake, flows, schedule, requested, events, review_at: Instant::now() }
    }

    /// Works until the control loop or a thread that it needs has ended.
    pub fn run(mut self) {
        super::hurry();
        let mut pause = Pause::default();
        loop {
            let Ok(count) = self.intake.feed(&mut self.flows, BATCH) else { return };
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
            if count < BATCH && !self.schedule.is_busy() {
                self.intake.wait(pause.after(count));
            }
        }
    }

    fn review(&mut self) {
        let every = if self.flows.takes_round_trips() { REVIEW_ROUND_TRIPS_EVERY } else { REVIEW_EVERY };
        self.review_at = Instant::now() + every;
        let time_ns = now_ns();
        self.flows.sweep(time_ns);
        if self.flows.takes_round_trips() {
            // `tmap rtt` does not report machines as they appear, only in the summary.
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

    /// Takes a request. The answer comes now or, if it needs analysis, from the schedule.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Holdings(answer) => {
                let mut holdings = self.flows.holdings();
                holdings.memory_bytes += self.schedule.memory_bytes();
                // An answer that nobody waits for any more is dropped.
                let _ = answer.send(holdings);
            }
            Request::Snapshot(wanted, asker) => self.schedule.snapshot(wanted, asker),
            Request::TakeInTheRest(answer) => self.take_in_the_rest(answer),
        }
    }

    fn take_in_the_rest(&mut self, answer: oneshot::Sender<()>) {
        while let Ok(1..) = self.intake.feed(&mut self.flows, BATCH) {}
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
