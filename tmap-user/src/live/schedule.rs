//! The schedule of a shard: when sources are analysed and snapshots are taken.
//!
//! Freezing a source takes the shard's thread about a microsecond per connection, so it is done in slices,
//! between batches of records. It is done no faster than analysis keeps up, so that at most
//! [`MOST_UNDER_WAY`] frozen connections (or one source's) are held at a time.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{
    analysis::{Analysis, Answer, Job},
    common::Scope,
};
use crate::engine::{Analysed, Depth, Flows, Holdings, PartialSnapshot, SourceId};

/// The most connections frozen between two batches of records (one source's always).
const SLICE: usize = 512;

/// The most frozen connections that wait for analysis or are analysed.
const MOST_UNDER_WAY: usize = 8_192;

/// The channel to the caller that waits for this shard's partial snapshot.
pub(super) type Asker = oneshot::Sender<(PartialSnapshot, Holdings)>;

/// The task under way.
enum Task {
    /// A review of sources that changed, and the channel to a caller that waits for its end.
    Review(VecDeque<(SourceId, Depth)>, Option<oneshot::Sender<()>>),
    /// A snapshot of the sources left, what it is of, and the channel to the caller that waits for it.
    Snapshot(VecDeque<SourceId>, Scope, Asker),
}

/// The tasks of a shard, and the state of the present one.
pub(super) struct Schedule {
    analysis: Analysis,
    task: Option<Task>,
    now_ns: u64,
    /// Connections of each source under way, in the order of the jobs.
    under_way: VecDeque<usize>,
    connections_under_way: usize,
    /// Whether an answer must come before the next job is sent.
    finishing: bool,
    /// Snapshots asked for and not begun.
    waiting: VecDeque<(Scope, Asker)>,
}

impl Schedule {
    /// A schedule without tasks.
    pub(super) fn new(analysis: Analysis) -> Self {
        Self {
            analysis,
            task: None,
            now_ns: 0,
            under_way: VecDeque::new(),
            connections_under_way: 0,
            finishing: false,
            waiting: VecDeque::new(),
        }
    }

    /// Adds a snapshot, which comes before a review.
    pub(super) fn snapshot(&mut self, scope: Scope, asker: Asker) {
        self.analysis.hasten();
        self.waiting.push_back((scope, asker));
    }

    /// Begins a review. During another task it does nothing: the sources stay due.
    pub(super) fn review(&mut self, flows: &mut Flows, now_ns: u64) {
        if self.task.is_none() && self.waiting.is_empty() {
            self.begin_review(flows, now_ns, None);
        }
    }

    /// Begins the last review, and answers `asker` at its end.
    pub(super) fn last_review(&mut self, flows: &mut Flows, now_ns: u64, asker: oneshot::Sender<()>) {
        self.begin_review(flows, now_ns, Some(asker));
    }

    fn begin_review(&mut self, flows: &mut Flows, now_ns: u64, asker: Option<oneshot::Sender<()>>) {
        self.now_ns = now_ns;
        self.task = Some(Task::Review(flows.due(now_ns).into(), asker));
    }

    /// Whether there is work that doesn't wait for analysis.
    pub(super) fn is_busy(&self) -> bool {
        self.has_task() && self.has_room()
    }

    /// Whether something is under way, or waits.
    pub(super) fn has_task(&self) -> bool {
        self.task.is_some() || !self.waiting.is_empty()
    }

    /// Memory that analysis holds, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.analysis.memory_bytes()
    }

    fn has_room(&self) -> bool {
        self.connections_under_way < MOST_UNDER_WAY && !self.finishing
    }

    /// Does a slice of the work; false where analysis failed.
    pub(super) fn step(&mut self, flows: &mut Flows, now_ns: u64) -> bool {
        while let Some(answer) = self.analysis.answer() {
            self.take(answer, flows);
        }
        if !self.waiting.is_empty() && !matches!(self.task, Some(Task::Snapshot(..))) {
            self.begin_snapshot(flows, now_ns);
        }
        let mut frozen = 0;
        while frozen < SLICE && self.has_room() && self.task.is_some() {
            match self.freeze_next(flows) {
                Ok(count) => frozen += count.max(1),
                Err(Failed) => return false,
            }
        }
        true
    }

    /// Begins the next snapshot. A review under way is dropped: its sources stay due.
    fn begin_snapshot(&mut self, flows: &Flows, now_ns: u64) {
        let Some((scope, asker)) = self.waiting.pop_front() else { return };
        self.now_ns = now_ns;
        // The last review may have waited for an answer. Nobody waits for its end any more.
        self.finishing = false;
        if self.analysis.send(Job::Begin(now_ns, scope.wanted)) {
            self.task = Some(Task::Snapshot(flows.within(scope.only).into(), scope, asker));
        }
    }

    /// Freezes the next source of the task, or ends the task. Returns the number of connections frozen.
    fn freeze_next(&mut self, flows: &mut Flows) -> Result<usize, Failed> {
        let job = match &mut self.task {
            None => return Ok(0),
            Some(Task::Review(due, _)) => match due.pop_front() {
                Some((id, depth)) => Job::Review(flows.freeze(id), depth, self.now_ns),
                None => {
                    self.end_review();
                    return Ok(0);
                }
            },
            Some(Task::Snapshot(sources, ..)) => match sources.pop_front() {
                Some(id) => Job::Add(flows.freeze(id)),
                None => Job::Finish,
            },
        };
        let count = match &job {
            Job::Review(frozen, ..) | Job::Add(frozen) => {
                self.under_way.push_back(frozen.connections.len());
                frozen.connections.len()
            }
            Job::Begin(..) | Job::Finish => {
                self.finishing = true;
                0
            }
        };
        self.connections_under_way += count;
        if self.analysis.send(job) { Ok(count) } else { Err(Failed) }
    }

    /// Ends a review. If a caller waits for it, it ends only after its last source was analysed.
    fn end_review(&mut self) {
        if !self.under_way.is_empty() && matches!(self.task, Some(Task::Review(_, Some(_)))) {
            // Each answer leads here again.
            self.finishing = true;
            return;
        }
        if let Some(Task::Review(_, Some(asker))) = self.task.take() {
            // If the caller has stopped waiting, the answer is dropped.
            let _ = asker.send(());
        }
    }

    fn take(&mut self, answer: Answer, flows: &mut Flows) {
        match answer {
            Answer::Analysed(analysed) => self.take_outcome(analysed, flows),
            Answer::Finished(mut part, clocks) => {
                self.finishing = false;
                if let Some(Task::Snapshot(_, scope, asker)) = self.task.take() {
                    part.complete(flows.totals(part.now_ns(), scope.only, clocks));
                    let mut holdings = flows.holdings();
                    holdings.memory_bytes += self.analysis.memory_bytes();
                    let _ = asker.send((*part, holdings));
                }
            }
        }
    }

    fn take_outcome(&mut self, analysed: Analysed, flows: &mut Flows) {
        self.connections_under_way -= self.under_way.pop_front().unwrap_or_default();
        flows.analysed(analysed, self.now_ns);
        if matches!(self.task, Some(Task::Review(..))) {
            self.finishing = false;
        }
    }
}

/// An analysis thread is gone.
struct Failed;

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use tmap_common::{Address, Record, Segment, record::Direction};

    use super::*;
    use crate::{
        engine::{Engine, Options, Wanted, failures::Failures},
        live::{analysis::Events, common::Backlog, progress::Analysed as Progress},
    };

    const S: u64 = 1_000_000_000;

    /// A schedule, and flows of one address that is due.
    fn busy() -> (Schedule, Flows) {
        let mut engine = Engine::new(Options::default());
        for second in 1..=3 {
            let segment = Segment {
                src: Address::from_ip4([192, 0, 2, 1]),
                dst: Address::from_ip4([198, 51, 100, 1]),
                src_port: 40_000,
                dst_port: 443,
                tsval: 1_000 * second,
                ..Segment::default()
            };
            let time_ns = u64::from(second) * S;
            engine.observe(&Record { time_ns, direction: Direction::Ingress, suppressed: 0, segment });
        }
        let (flows, analyst) = engine.halves();
        let (sender, _) = tokio::sync::mpsc::channel(16);
        let events = Events { sender, backlog: Backlog::default(), missed: Arc::default() };
        let analysis = Analysis::start(analyst, events, Progress::default(), Failures::default());
        (Schedule::new(analysis.expect("threads")), flows)
    }

    /// Somebody doesn't wait for the last review, and wants what is known.
    #[test]
    fn a_snapshot_comes_while_the_last_review_waits_for_an_answer() {
        let (mut schedule, mut flows) = busy();
        let (end, _ended) = oneshot::channel();
        schedule.last_review(&mut flows, 10 * S, end);
        assert!(schedule.step(&mut flows, 10 * S));
        assert!(schedule.finishing, "the review waits for its source");
        let (asker, mut answer) = oneshot::channel();
        let wanted = Wanted { connections: false, siblings: false };
        schedule.snapshot(Scope { wanted, only: None }, asker);
        // Before the answer is taken, as where an analysis pass takes long.
        schedule.begin_snapshot(&flows, 10 * S);
        let until = Instant::now() + Duration::from_secs(10);
        let found = loop {
            assert!(schedule.step(&mut flows, 10 * S));
            if let Ok(found) = answer.try_recv() {
                break found;
            }
            assert!(Instant::now() < until, "the snapshot doesn't come");
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(PartialSnapshot::join(vec![found.0]).addresses.len(), 1);
        assert!(!schedule.has_task());
    }
}
