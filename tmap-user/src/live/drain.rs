//! The control loop's handle of all threads that take records in.
//!
//! ```text
//! one shard:    rings -> shard (Flows) <-> analysis (Analyst)
//! several:      rings -> sharer -> N x (shard (Flows) <-> analysis (Analyst))
//! ```

use std::{
    future::pending,
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::{mpsc as events, oneshot},
    time::sleep,
};

use crate::{
    capture::xdp::{Rings, Waker},
    engine::{
        Engine, Holdings, Options, PartialSnapshot, Snapshot, Wanted,
        failures::{Failed, Failures},
        shard,
    },
    memory,
    time::now_ns,
};

use super::{
    analysis::{Analysis, Events},
    common::{Backlog, Scope, Timed},
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

/// What a thread holds it tells between two batches of records; longer than this it takes only where it is
/// stuck.
const HOLDINGS_WITHIN: Duration = Duration::from_secs(1);

/// The control loop's handle of the threads. Dropping it ends them.
pub(super) struct Drain {
    /// Events of all shards.
    pub events: events::Receiver<Timed>,
    /// Addresses that were added to snapshots.
    pub analysed: Analysed,
    failures: Failures,
    /// Answers that were given up.
    given_up: AtomicU64,
    missed: Arc<AtomicU64>,
    shards: Vec<mpsc::SyncSender<Request>>,
    sharer: Option<mpsc::SyncSender<oneshot::Sender<()>>>,
    /// Wakes the thread that empties the rings.
    waker: Waker,
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
        let events_out = Events { sender, backlog: Backlog::default(), missed: missed.clone() };
        let mut drain = Self {
            events,
            analysed: Analysed::default(),
            failures: Failures::default(),
            given_up: AtomicU64::new(0),
            missed,
            shards: Vec::new(),
            sharer: None,
            waker: rings.waker(),
            threads: Vec::new(),
        };
        let options = shard::share(options, count);
        if count == 1 {
            drain.start_shard((0, 1), Intake::of_rings(rings), &options, events_out)?;
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
            drain.start_shard((number, count), Intake::Share(share), &options, events_out.clone())?;
        }
        drain.threads.push(thread::Builder::new().name("drain".to_owned()).spawn(share)?);
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
        let schedule = Schedule::new(Analysis::start(
            analyst,
            events.clone(),
            self.analysed.clone(),
            self.failures.clone(),
        )?);
        let shard = Shard::new(intake, flows, schedule, requested, events, self.failures.clone());
        let name = if count == 1 { "drain".to_owned() } else { format!("shard {number}") };
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

    /// Whether a thread gave no answer, although it was waited for as long as somebody wanted.
    pub(super) fn gave_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) > 0
    }

    /// What all engines hold together. A thread that is stuck is left out.
    pub(super) async fn holdings(&self) -> Holdings {
        let (answers, _) = self.request(&self.shards, Request::Holdings);
        let (all, _) = gather(answers, sleep(HOLDINGS_WITHIN)).await;
        memory::told(all.iter().fold(Holdings::default(), Holdings::plus))
    }

    /// Everything known now; after `patience`, what is known without the threads that haven't answered.
    pub(super) async fn snapshot(
        &self,
        wanted: Wanted,
        patience: impl Future<Output = ()>,
    ) -> (Snapshot, Holdings) {
        let scope = Scope { wanted, only: None };
        let (answers, stuck) = self.ask_for_snapshot(scope);
        let (all, missing) = gather(answers, patience).await;
        self.given_up.fetch_add(stuck + missing, Ordering::Relaxed);
        join(all, wanted)
    }

    /// Asks for a snapshot now. It comes when the future that is returned is done, and the control loop may
    /// do other things until then. What a thread held that has ended is missing.
    pub(super) fn request_snapshot(
        &self,
        scope: Scope,
    ) -> impl Future<Output = (Snapshot, Holdings)> + use<> {
        let (answers, _) = self.ask_for_snapshot(scope);
        async move { join(gather(answers, pending()).await.0, scope.wanted) }
    }

    fn ask_for_snapshot(&self, scope: Scope) -> Asked<(PartialSnapshot, Holdings)> {
        let shards = match scope.only {
            Some(address) => std::slice::from_ref(&self.shards[shard::of(&address, self.shards.len())]),
            None => &self.shards[..],
        };
        self.request(shards, |answer| Request::Snapshot(scope, answer))
    }

    /// Sends a request to these shards at once. A thread that has ended gives no answer.
    fn request<T>(
        &self,
        shards: &[mpsc::SyncSender<Request>],
        request: impl Fn(oneshot::Sender<T>) -> Request,
    ) -> Asked<T> {
        let (mut answers, mut stuck) = (Vec::with_capacity(shards.len()), 0);
        for shard in shards {
            let (answer, answered) = oneshot::channel();
            match shard.try_send(request(answer)) {
                Ok(()) => answers.push(answered),
                // The thread hasn't taken REQUESTS_WAITING requests.
                Err(mpsc::TrySendError::Full(_)) => stuck += 1,
                Err(mpsc::TrySendError::Disconnected(_)) => {}
            }
        }
        self.waker.wake();
        (answers, stuck)
    }

    /// Takes in the records that are left in the rings, as far as that is done within `patience`. Call it
    /// when nothing fills them any more.
    pub(super) async fn take_in_the_rest(&self, patience: impl Future<Output = ()>) {
        let rest = async {
            if let Some(sharer) = &self.sharer {
                let (answer, answered) = oneshot::channel();
                if sharer.try_send(answer).is_ok() {
                    self.waker.wake();
                    // A thread that ended meanwhile has no rest.
                    let _ = answered.await;
                }
            }
            let (answers, stuck) = self.request(&self.shards, Request::TakeInTheRest);
            self.given_up.fetch_add(stuck, Ordering::Relaxed);
            gather(answers, pending()).await;
        };
        tokio::select! {
            () = rest => {}
            () = patience => {
                self.given_up.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Gives up this event and all that wait.
    pub(super) fn leave_out(&mut self, event: &Timed) {
        let mut units = event.load.units();
        while let Ok(waiting) = self.events.try_recv() {
            units += waiting.load.units();
        }
        self.missed.fetch_add(units, Ordering::Relaxed);
    }

    /// The number of events that didn't fit into the queue, or were given up.
    pub(super) fn events_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Answers to wait for, and how many threads are too far behind to be asked.
type Asked<T> = (Vec<oneshot::Receiver<T>>, u64);

/// Waits for all answers, but no longer than `patience`. Leaves out threads that ended meanwhile. Also
/// returns how many answers were given up.
async fn gather<T>(answers: Vec<oneshot::Receiver<T>>, patience: impl Future<Output = ()>) -> (Vec<T>, u64) {
    tokio::pin!(patience);
    let (mut all, mut missing, mut is_over) = (Vec::with_capacity(answers.len()), 0, false);
    for mut answered in answers {
        if !is_over {
            tokio::select! {
                biased;
                answer = &mut answered => {
                    all.extend(answer);
                    continue;
                }
                () = &mut patience => is_over = true,
            }
        }
        match answered.try_recv() {
            Ok(answer) => all.push(answer),
            Err(_) => missing += 1,
        }
    }
    (all, missing)
}

/// One snapshot of all shards' answers.
fn join(answers: Vec<(PartialSnapshot, Holdings)>, wanted: Wanted) -> (Snapshot, Holdings) {
    let (mut parts, holdings): (Vec<PartialSnapshot>, Vec<Holdings>) = answers.into_iter().unzip();
    if parts.is_empty() {
        parts.push(PartialSnapshot::new(now_ns(), wanted.siblings));
    }
    let held = holdings.iter().fold(Holdings::default(), Holdings::plus);
    (PartialSnapshot::join(parts), memory::told(held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_answer_is_given_up_and_the_others_are_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (senders, answers): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel()).unzip();
        let mut senders = senders.into_iter();
        let stuck = senders.next();
        drop(senders.next());
        senders.enumerate().for_each(|(number, sender)| sender.send(number).unwrap());
        let (all, missing) = runtime.block_on(gather(answers, async {}));
        assert_eq!((all, missing), (vec![0, 1], 2), "one is stuck, and one ended while it was waited for");
        drop(stuck);
    }
}
