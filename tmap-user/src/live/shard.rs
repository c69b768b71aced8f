//! A shard's thread: it feeds records to the flow table and answers requests.
//!
//! Analysis, which takes long, runs on other threads (`schedule` and `analysis`).

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    analysis::Events,
    common::{BATCH, Scope},
    intake::{Ended, Intake},
    priority,
    schedule::{Asker, Schedule},
};
use crate::{
    engine::{Event, Flows, Holdings, failures::Failures},
    sandbox,
    time::now_ns,
};

/// The time between two reviews.
const REVIEW_EVERY: Duration = Duration::from_secs(1);

/// The time between two reviews where round trips are measured, which may be shown one by one.
const REVIEW_ROUND_TRIPS_EVERY: Duration = Duration::from_millis(100);

/// A request of the control loop.
pub(super) enum Request {
    /// What the engine holds.
    Holdings(oneshot::Sender<Holdings>),
    /// A partial snapshot of all addresses or of one, with the wanted listings.
    Snapshot(Scope, Asker),
    /// Take in the last records, and do the last review.
    TakeInTheRest(oneshot::Sender<()>),
}

/// The thread's state.
pub(super) struct Shard {
    intake: Intake,
    flows: Flows,
    schedule: Schedule,
    requested: mpsc::Receiver<Request>,
    events: Events,
    review_at: Instant,
    failures: Failures,
    /// Whether records are taken in: not after a panic, nor where the thread that shares them out is gone.
    takes_records: bool,
}

/// The panics after which a thread gives up answering.
const MOST_PANICS: usize = 3;

impl Shard {
    /// A shard that takes in records from `intake` and requests from `requested`.
    pub(super) fn new(
        intake: Intake,
        flows: Flows,
        schedule: Schedule,
        requested: mpsc::Receiver<Request>,
        events: Events,
        failures: Failures,
    ) -> Self {
        Self {
            intake,
            flows,
            schedule,
            requested,
            events,
            review_at: Instant::now(),
            failures,
            takes_records: true,
        }
    }

    /// Works until the control loop is gone, or an analysis thread. After a panic it goes on to answer, with
    /// what it holds.
    pub(super) fn run(mut self) {
        priority::never_be_late();
        sandbox::give_up();
        for _ in 0..MOST_PANICS {
            let failures = self.failures.clone();
            if failures.guard("shard", || self.work()).is_some() {
                return;
            }
            self.takes_records = false;
        }
    }

    fn work(&mut self) {
        let mut pause = self.intake.pause();
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
            if count < BATCH && !self.schedule.is_busy() {
                self.intake.wait(pause.after(count, self.schedule.has_task()));
            }
        }
    }

    /// Takes in a batch of records; returns their number.
    fn take_in(&mut self) -> usize {
        if !self.takes_records {
            return self.intake.discard(BATCH);
        }
        self.intake.feed(&mut self.flows, BATCH).unwrap_or_else(|Ended| {
            self.takes_records = false;
            0
        })
    }

    fn review(&mut self) {
        let every = if self.flows.takes_round_trips() { REVIEW_ROUND_TRIPS_EVERY } else { REVIEW_EVERY };
        self.review_at = Instant::now() + every;
        let time_ns = now_ns();
        self.flows.sweep(time_ns);
        self.review_round_trips(time_ns);
        if self.flows.announces_machines() {
            self.schedule.review(&mut self.flows, time_ns);
        }
    }

    fn review_round_trips(&mut self, time_ns: u64) {
        if let Some(news) = self.flows.review_round_trips(time_ns) {
            self.events.send(Event::Rtt(Box::new(news)), time_ns);
        }
    }

    /// Answers a request: at once, or through the schedule where it needs analysis.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Holdings(answer) => {
                let mut holdings = self.flows.holdings();
                holdings.memory_bytes += self.schedule.memory_bytes();
                // If the caller has stopped waiting, the answer is dropped.
                let _ = answer.send(holdings);
            }
            Request::Snapshot(scope, asker) => self.schedule.snapshot(scope, asker),
            Request::TakeInTheRest(answer) => self.take_in_the_rest(answer),
        }
    }

    fn take_in_the_rest(&mut self, answer: oneshot::Sender<()>) {
        while self.take_in() > 0 {}
        let time_ns = now_ns();
        self.flows.sweep(time_ns);
        self.review_round_trips(time_ns);
        if self.flows.announces_machines() {
            self.schedule.last_review(&mut self.flows, time_ns, answer);
        } else {
            let _ = answer.send(());
        }
    }
}
