//! The one place that decides when hosts are looked at and snapshots taken.
//!
//! Freezing a host takes the drain thread about a microsecond per connection, so it is done in
//! slices, between batches of records; and no faster than the analysis thread keeps up, so that no
//! more than [`MOST_UNDER_WAY`] frozen connections (or one host's) are held at a time.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::analysis::{Analysis, Answer, Job};
use crate::engine::{Analysed, Depth, Flows, Holdings, PartialSnapshot, SourceId, Wanted};

/// Connections frozen between two batches of records, at the most; one host's always.
const SLICE: usize = 512;

/// Frozen connections that wait for analysis or are in it.
const MOST_UNDER_WAY: usize = 8_192;

/// Somebody who waits for a snapshot: these addresses' part of it.
pub type Asker = oneshot::Sender<(PartialSnapshot, Holdings)>;

/// What is being done.
enum Pass {
    /// Looking at hosts that changed; whoever waits for the end of it is told.
    Review(VecDeque<(SourceId, Depth)>, Option<oneshot::Sender<()>>),
    /// Taking a snapshot of all hosts.
    Snapshot(VecDeque<SourceId>, Asker),
}

/// What is to be done, and how far it is.
pub struct Schedule {
    analysis: Analysis,
    pass: Option<Pass>,
    now_ns: u64,
    /// Sizes of the hosts under way, in the order of the jobs.
    under_way: VecDeque<usize>,
    connections_under_way: usize,
    finishing: bool,
    waiting: VecDeque<(Wanted, Asker)>,
}

impl Schedule {
    /// Nothing to do yet.
    pub fn new(analysis: Analysis) -> Self {
        Self {
            analysis,
            pass: None,
            now_ns: 0,
            under_way: VecDeque::new(),
            connections_under_way: 0,
            finishing: false,
            waiting: VecDeque::new(),
        }
    }

    /// Asks for a snapshot. It comes before anything else that isn't a snapshot.
    pub fn snapshot(&mut self, wanted: Wanted, asker: Asker) {
        self.waiting.push_back((wanted, asker));
    }

    /// Begins a review, unless something is going on: then what changed waits for the next one.
    pub fn review(&mut self, flows: &mut Flows, now_ns: u64) {
        if self.pass.is_none() && self.waiting.is_empty() {
            self.begin_review(flows, now_ns, None);
        }
    }

    /// Reviews once more and tells `asker` when that is done.
    pub fn last_review(&mut self, flows: &mut Flows, now_ns: u64, asker: oneshot::Sender<()>) {
        self.begin_review(flows, now_ns, Some(asker));
    }

    fn begin_review(&mut self, flows: &mut Flows, now_ns: u64, asker: Option<oneshot::Sender<()>>) {
        self.now_ns = now_ns;
        self.pass = Some(Pass::Review(flows.due(now_ns).into(), asker));
    }

    /// Whether there is something to do that doesn't wait for analysis.
    pub fn is_busy(&self) -> bool {
        (self.pass.is_some() || !self.waiting.is_empty()) && self.has_room()
    }

    /// Memory that analysis holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.analysis.memory_bytes()
    }

    fn has_room(&self) -> bool {
        self.connections_under_way < MOST_UNDER_WAY && !self.finishing
    }

    /// Does a slice of what there is to do; false where analysis failed.
    pub fn step(&mut self, flows: &mut Flows, now_ns: u64) -> bool {
        while let Some(answer) = self.analysis.answer() {
            self.take(answer, flows);
        }
        if !self.waiting.is_empty() && !matches!(self.pass, Some(Pass::Snapshot(..))) {
            self.begin_snapshot(flows, now_ns);
        }
        let mut frozen = 0;
        while frozen < SLICE && self.has_room() && self.pass.is_some() {
            match self.freeze_next(flows) {
                Ok(count) => frozen += count.max(1),
                Err(Failed) => return false,
            }
        }
        true
    }

    /// What is left of a review is let go of: it will be due again.
    fn begin_snapshot(&mut self, flows: &Flows, now_ns: u64) {
        let Some((wanted, asker)) = self.waiting.pop_front() else { return };
        self.now_ns = now_ns;
        if self.analysis.send(Job::Begin(now_ns, wanted)) {
            self.pass = Some(Pass::Snapshot(flows.by_size().into(), asker));
        }
    }

    /// Freezes the next host of the pass, or ends it; the number of connections frozen.
    fn freeze_next(&mut self, flows: &mut Flows) -> Result<usize, Failed> {
        let job = match &mut self.pass {
            None => return Ok(0),
            Some(Pass::Review(due, _)) => match due.pop_front() {
                Some((id, depth)) => Job::Review(flows.freeze(id), depth, self.now_ns),
                None => {
                    self.end_review();
                    return Ok(0);
                }
            },
            Some(Pass::Snapshot(hosts, _)) => match hosts.pop_front() {
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

    /// A review ends when its last host was looked at, if anybody waits for that.
    fn end_review(&mut self) {
        if !self.under_way.is_empty() && matches!(self.pass, Some(Pass::Review(_, Some(_)))) {
            // Comes here again with every answer.
            self.finishing = true;
            return;
        }
        if let Some(Pass::Review(_, Some(asker))) = self.pass.take() {
            // An answer that nobody waits for any more is dropped.
            let _ = asker.send(());
        }
    }

    fn take(&mut self, answer: Answer, flows: &mut Flows) {
        match answer {
            Answer::Analysed(analysed) => self.take_outcome(analysed, flows),
            Answer::Finished(mut part, clocks) => {
                self.finishing = false;
                if let Some(Pass::Snapshot(_, asker)) = self.pass.take() {
                    part.complete(flows.totals(part.now_ns(), clocks));
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
        if matches!(self.pass, Some(Pass::Review(..))) {
            self.finishing = false;
        }
    }
}

/// The analysis thread is gone.
struct Failed;
