//! The schedule of analysis: decides when addresses are analysed and snapshots taken.
//!
//! Freezing an address takes the drain thread about 1 µs per connection. So it is done in slices, between
//! batches of records, and only as fast as the analysis thread keeps up: at most [`MOST_UNDER_WAY`]
//! frozen connections (or those of one address) are held at a time.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::analysis::{Analysis, Answer, Job};
use crate::engine::{Depth, Flows, Holdings, HostId, Looked, Part, Wanted};

/// The most connections frozen between two batches of records; an address is always frozen whole.
const SLICE: usize = 512;

/// The most frozen connections that wait for analysis or are in it.
const MOST_UNDER_WAY: usize = 8_192;

/// The caller who waits for the shard's part of a snapshot.
pub type Asker = oneshot::Sender<(Part, Holdings)>;

/// The current pass.
enum Pass {
    /// Analysing addresses that changed; the caller who waits for the end, if any, gets an answer.
    Review(VecDeque<(HostId, Depth)>, Option<oneshot::Sender<()>>),
    /// Taking a snapshot of all addresses.
    Snapshot(VecDeque<HostId>, Asker),
}

/// The state of the schedule.
pub struct Schedule {
    analysis: Analysis,
    pass: Option<Pass>,
    now_ns: u64,
    /// Connections of the addresses under way, in the order of the jobs.
    under_way: VecDeque<usize>,
    connections_under_way: usize,
    finishing: bool,
    waiting: VecDeque<(Wanted, Asker)>,
}

impl Schedule {
    /// An idle schedule.
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

    /// Requests a snapshot. Snapshots come before reviews.
    pub fn snapshot(&mut self, wanted: Wanted, asker: Asker) {
        self.waiting.push_back((wanted, asker));
    }

    /// Begins a review, unless a pass is running: then changed addresses wait for the next review.
    pub fn review(&mut self, flows: &mut Flows, now_ns: u64) {
        if self.pass.is_none() && self.waiting.is_empty() {
            self.begin_review(flows, now_ns, None);
        }
    }

    /// Reviews once more and answers `asker` at the end.
    pub fn last_review(&mut self, flows: &mut Flows, now_ns: u64, asker: oneshot::Sender<()>) {
        self.begin_review(flows, now_ns, Some(asker));
    }

    fn begin_review(&mut self, flows: &mut Flows, now_ns: u64, asker: Option<oneshot::Sender<()>>) {
        self.now_ns = now_ns;
        self.pass = Some(Pass::Review(flows.due(now_ns).into(), asker));
    }

    /// Whether there is work that does not wait for analysis.
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

    /// Does a slice of work; false if analysis failed.
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

    /// Begins a snapshot. The rest of a running review is dropped, as its addresses will be due again.
    fn begin_snapshot(&mut self, flows: &Flows, now_ns: u64) {
        let Some((wanted, asker)) = self.waiting.pop_front() else { return };
        self.now_ns = now_ns;
        if self.analysis.send(Job::Begin(now_ns, wanted)) {
            self.pass = Some(Pass::Snapshot(flows.by_size().into(), asker));
        }
    }

    /// Freezes the next address of the pass, or ends the pass; returns the number of connections frozen.
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

    /// Ends a review. If a caller waits for it, it ends when its last address was analysed.
    fn end_review(&mut self) {
        if !self.under_way.is_empty() && matches!(self.pass, Some(Pass::Review(_, Some(_)))) {
            // Every further answer leads here again.
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
            Answer::Looked(looked) => self.take_look(looked, flows),
            Answer::Finished(mut part, clockworks) => {
                self.finishing = false;
                if let Some(Pass::Snapshot(_, asker)) = self.pass.take() {
                    flows.complete(&mut part, clockworks);
                    let mut holdings = flows.holdings();
                    holdings.memory_bytes += self.analysis.memory_bytes();
                    let _ = asker.send((*part, holdings));
                }
            }
        }
    }

    fn take_look(&mut self, looked: Looked, flows: &mut Flows) {
        self.connections_under_way -= self.under_way.pop_front().unwrap_or_default();
        flows.looked(looked, self.now_ns);
        if matches!(self.pass, Some(Pass::Review(..))) {
            self.finishing = false;
        }
    }
}

/// The analysis thread is gone.
struct Failed;
