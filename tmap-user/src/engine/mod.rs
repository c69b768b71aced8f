//! The clock-fitting and machine-matching engine.
//!
//! Pure: no I/O, no clock of its own, no aya, no printing. Time is always an argument, so a day of
//! traffic replays in seconds and every test is deterministic.

pub mod analysis;
mod analyst;
mod assemble;
pub mod boot;
pub mod clock;
pub mod connection;
pub mod envelope;
pub mod flow;
mod flows;
pub mod host;
pub mod identity;
mod loose;
pub mod offset;
pub mod options;
pub mod os;
mod part;
pub mod paws;
pub mod phase;
pub mod place;
mod readings;
pub mod reboot;
pub mod regime;
mod round_trips;
pub mod rtt;
pub mod shard;
pub mod sibling;
pub mod slew;
pub mod snapshot;
pub mod step;
mod table;
pub mod tick;
pub mod unstamped;
pub mod unsteady;

use tmap_common::{Record, record::Slot};

pub use analysis::Depth;
pub use analyst::{Analyst, Draft};
pub use flows::{Flows, FrozenHost, HostId, Looked, Pace};
pub use options::Options;
pub use part::Part;
pub use round_trips::Clockworks;
pub use snapshot::{Event, Snapshot};

/// Turns records into machines.
///
/// Both halves in one, for whoever may wait for analysis: files, tests. The live sensor takes the
/// halves apart ([`Engine::halves`]) and runs them on threads of their own.
#[derive(Debug)]
pub struct Engine {
    flows: Flows,
    analyst: Analyst,
}

/// Listings that a snapshot may carry beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every connection side.
    pub connections: bool,
    /// Machines that appear behind several addresses.
    pub siblings: bool,
}

/// What the engine holds, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Records observed since the start.
    pub records: u64,
    /// Open flows.
    pub flows: usize,
    /// Connections remembered, open and finished.
    pub connections: usize,
    /// Source addresses.
    pub addresses: usize,
    /// Heap memory in use, in bytes.
    pub memory_bytes: usize,
}

impl Holdings {
    /// What two engines hold together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            flows: self.flows + other.flows,
            connections: self.connections + other.connections,
            addresses: self.addresses + other.addresses,
            memory_bytes: self.memory_bytes + other.memory_bytes,
        }
    }
}

impl Engine {
    /// An empty engine.
    pub fn new(options: Options) -> Self {
        Self { flows: Flows::new(&options), analyst: Analyst::new(&options) }
    }

    /// The half that takes records in, and the half that thinks about them.
    pub fn halves(self) -> (Flows, Analyst) {
        (self.flows, self.analyst)
    }

    /// Tells how coarse the records' times are: 1 ns live, the capture's own resolution for files.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.analyst.set_resolution_ns(resolution_ns);
    }

    /// Says how often to look at addresses before a snapshot is asked for.
    pub fn set_pace(&mut self, pace: Pace) {
        self.flows.set_pace(pace);
    }

    /// Takes in one record; see [`Flows::observe_all`].
    pub fn observe(&mut self, record: &Record) {
        self.flows.observe(record);
    }

    /// Takes in records; see [`Flows::observe_all`].
    pub fn observe_all(&mut self, records: &[Record]) {
        self.flows.observe_all(records);
    }

    /// Takes in records as they cross a ring; see [`Flows::observe_slots`].
    pub fn observe_slots(&mut self, slots: &[Slot]) {
        self.flows.observe_slots(slots);
    }

    /// Looks again at the addresses that changed and says what is new. Meant to be called about
    /// once a second of engine time.
    pub fn review(&mut self, now_ns: u64) -> Vec<Event> {
        self.flows.sweep(now_ns);
        if self.flows.takes_round_trips() {
            // Who asks for round trips isn't told of machines as they appear; the summary looks.
            return self.flows.review_round_trips(now_ns).into_iter().collect();
        }
        let mut events = Vec::new();
        for (id, depth) in self.flows.due(now_ns) {
            let frozen = self.flows.freeze(id);
            let looked = self.analyst.review(frozen, depth, &mut events);
            self.flows.looked(looked, now_ns);
        }
        events
    }

    /// Everything known at `now_ns`, with the listings that `wanted` names.
    pub fn snapshot(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        Part::join([self.part(now_ns, wanted)])
    }

    /// The same, where this engine has only a part of the addresses: [`Part::join`] makes a snapshot of
    /// all parts.
    pub fn part(&mut self, now_ns: u64, wanted: Wanted) -> Part {
        self.look_at_all(now_ns, wanted, None)
    }

    /// The last review and the last part, with one look at each address for both.
    pub fn conclude(&mut self, now_ns: u64, wanted: Wanted) -> (Vec<Event>, Part) {
        self.flows.sweep_all(now_ns);
        if self.flows.takes_round_trips() {
            let news = self.flows.review_round_trips(now_ns);
            return (news.into_iter().collect(), self.look_at_all(now_ns, wanted, None));
        }
        let mut events = Vec::new();
        let part = self.look_at_all(now_ns, wanted, Some(&mut events));
        (events, part)
    }

    fn look_at_all(&mut self, now_ns: u64, wanted: Wanted, mut events: Option<&mut Vec<Event>>) -> Part {
        let mut draft = self.analyst.draft(now_ns, wanted);
        for id in self.flows.by_size() {
            let frozen = self.flows.freeze(id);
            let looked = self.analyst.add(frozen, &mut draft, events.as_deref_mut());
            self.flows.looked(looked, now_ns);
        }
        let (mut part, clockworks) = draft.finish();
        self.flows.complete(&mut part, clockworks);
        part
    }

    /// What the engine holds now.
    pub fn holdings(&self) -> Holdings {
        let mut holdings = self.flows.holdings();
        holdings.memory_bytes += self.analyst.heap_bytes();
        holdings
    }

    /// Whether round trips are taken.
    pub fn takes_round_trips(&self) -> bool {
        self.flows.takes_round_trips()
    }
}
