//! The clock-fitting and machine-matching engine.
//!
//! Pure: no I/O, no clock of its own, no aya, no printing, and it starts no thread. Time is always an
//! argument, so a day of traffic replays in seconds and every test is deterministic. Callers may run it in
//! several threads. [`phase::room`] may then wait for another one, and [`failures`] for a mutex.

pub mod clock;
pub mod coverage;
pub mod failures;
pub mod flows;
pub mod hurry;
mod machines;
pub mod options;
pub mod os;
pub mod phase;
pub mod ports;
pub mod rtt;
pub mod shard;
pub mod snapshot;
mod tsval;
pub mod types;
mod union_find;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tmap_common::{Address, Record, record::Slot};

pub use flows::{Analysed, Flows, FrozenSource, Pace, SourceId};
pub use machines::{
    analyst::{Analyst, SnapshotBuilder},
    partial::PartialSnapshot,
};
pub use options::Options;
pub use rtt::clock_directory::ClockDirectory;
pub use snapshot::{Event, Snapshot};
pub use types::{Depth, Holdings, Wanted};

use failures::Failures;
use machines::analyst::Added;

/// Turns records into machines.
///
/// This is both halves in one, for callers that can wait for analysis: files and tests. The live
/// sensor separates the halves ([`Engine::halves`]) and runs them on threads of their own.
#[derive(Debug)]
pub struct Engine {
    flows: Flows,
    analyst: Analyst,
    /// Events that snapshots found, for the next review to return.
    unsaid: Vec<Event>,
    /// Addresses analysed, and to be analysed, for a caller that shows progress.
    analysed: Arc<[AtomicU64; 2]>,
    failures: Failures,
}

impl Engine {
    /// An empty engine.
    pub fn new(options: Options) -> Self {
        Self {
            flows: Flows::new(&options),
            analyst: Analyst::new(&options),
            unsaid: Vec::new(),
            analysed: Arc::default(),
            failures: Failures::default(),
        }
    }

    /// The two halves: one takes records in, the other analyses them.
    pub fn halves(self) -> (Flows, Analyst) {
        (self.flows, self.analyst)
    }

    /// Sets the resolution of the records' times: 1 ns live, the capture's own resolution for files.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.analyst.set_resolution_ns(resolution_ns);
    }

    /// Sets the share of the addresses whose records come: the `index`-th of `count`. Records of handshakes
    /// that go to these addresses must come, too.
    pub fn set_share(&mut self, index: usize, count: usize) {
        self.flows.set_share(index, count);
    }

    /// Sets how often [`Engine::review`] analyses an address.
    pub fn set_pace(&mut self, pace: Pace) {
        self.flows.set_pace(pace);
    }

    /// Counts the addresses that snapshots have analysed, and have to analyse, in `analysed`, which engines
    /// may share.
    pub fn count_analysed(&mut self, analysed: Arc<[AtomicU64; 2]>) {
        self.analysed = analysed;
    }

    /// Notes panics in `failures`, which engines may share.
    pub fn note_failures(&mut self, failures: Failures) {
        self.failures = failures;
    }

    /// Takes in one record. Many at once cost less each: [`Engine::observe_all`].
    pub fn observe(&mut self, record: &Record) {
        self.flows.observe(record);
    }

    /// Takes in records, which should come roughly in order of time. A record that comes later than a
    /// network reorders segments costs precision and is never misread.
    pub fn observe_all(&mut self, records: &[Record]) {
        self.flows.observe_all(records);
    }

    /// Takes in whole records in the form in which they cross a ring. This is the cheapest way.
    pub fn observe_slots(&mut self, slots: &[Slot]) {
        self.flows.observe_slots(slots);
    }

    /// Analyses the addresses that changed and returns what is new. Call it about once a second of
    /// engine time.
    pub fn review(&mut self, now_ns: u64) -> Vec<Event> {
        self.flows.sweep(now_ns);
        let mut events = self.news(now_ns);
        if !self.flows.announces_machines() {
            return events;
        }
        for (id, depth) in self.flows.due(now_ns) {
            let frozen = self.flows.freeze(id);
            let review = |frozen| self.analyst.review(frozen, depth, &mut events);
            let analysed = self.failures.analyse(frozen, review).unwrap_or_else(|given_up| given_up);
            self.flows.analysed(analysed, now_ns);
        }
        events
    }

    /// What snapshots found since the last review, and new round trips.
    fn news(&mut self, now_ns: u64) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.unsaid);
        events.extend(self.flows.review_round_trips(now_ns).map(|news| Event::Rtt(Box::new(news))));
        events
    }

    /// Everything known at `now_ns`, with the listings that `wanted` names.
    pub fn snapshot(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        PartialSnapshot::join([self.partial_snapshot(now_ns, wanted)])
    }

    /// Everything known at `now_ns`, of an engine that holds only a share of the addresses.
    /// [`PartialSnapshot::join`] makes one snapshot of all engines' partial snapshots.
    pub fn partial_snapshot(&mut self, now_ns: u64, wanted: Wanted) -> PartialSnapshot {
        let builder = self.analyst.begin_snapshot(now_ns, wanted);
        self.analyse(self.flows.by_size(), None, now_ns, builder)
    }

    /// One address and its connections at `now_ns`, which takes no longer than that address does.
    pub fn snapshot_of(&mut self, now_ns: u64, address: Address) -> PartialSnapshot {
        let wanted = Wanted { connections: true, siblings: false };
        let builder = self.analyst.begin_snapshot(now_ns, wanted);
        self.analyse(self.flows.within(Some(address)), Some(address), now_ns, builder)
    }

    /// The last review and the last partial snapshot, with one analysis pass per address for both. It looks
    /// at all addresses by phase, however many there are: nothing comes after it, and who waits can interrupt
    /// it.
    pub fn conclude(&mut self, now_ns: u64, wanted: Wanted) -> (Vec<Event>, PartialSnapshot) {
        self.flows.sweep_all(now_ns);
        let mut events = self.news(now_ns);
        let builder = self.analyst.begin_snapshot(now_ns, wanted).without_budget();
        let partial = self.analyse(self.flows.by_size(), None, now_ns, builder);
        events.append(&mut self.unsaid);
        (events, partial)
    }

    /// A partial snapshot of these sources: all, or that of `only` one address.
    fn analyse(
        &mut self,
        ids: Vec<SourceId>,
        only: Option<Address>,
        now_ns: u64,
        mut builder: SnapshotBuilder,
    ) -> PartialSnapshot {
        let [done, all] = &*self.analysed;
        all.fetch_add(ids.len() as u64, Ordering::Relaxed);
        let mut postponed = Vec::new();
        for id in ids {
            let frozen = self.flows.freeze(id);
            let add = |frozen| self.analyst.add_by_offset(frozen, &mut builder, &mut self.unsaid);
            match self.failures.analyse(frozen, add).unwrap_or_else(Added::Done) {
                Added::Done(analysed) => {
                    self.flows.analysed(analysed, now_ns);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                // Frozen copies take memory, so it is frozen again when its turn comes.
                Added::Postponed(source) => postponed.push((source.tracks, id)),
            }
        }
        // The fastest first: whoever interrupts this has as many as possible.
        postponed.sort_by_key(|&(tracks, _)| tracks);
        for (_, id) in postponed {
            let frozen = self.flows.freeze(id);
            let add = |frozen| self.analyst.add_by_phase(frozen, &mut builder, &mut self.unsaid);
            let analysed = self.failures.analyse(frozen, add).unwrap_or_else(|given_up| given_up);
            self.flows.analysed(analysed, now_ns);
            done.fetch_add(1, Ordering::Relaxed);
        }
        let (mut partial, clocks) = builder.finish();
        partial.complete(self.flows.totals(now_ns, only, clocks));
        partial
    }

    /// What the engine holds now.
    pub fn holdings(&self) -> Holdings {
        let mut holdings = self.flows.holdings();
        holdings.memory_bytes += self.analyst.heap_bytes();
        holdings
    }

    /// Whether the engine measures round trips.
    pub fn takes_round_trips(&self) -> bool {
        self.flows.takes_round_trips()
    }
}
