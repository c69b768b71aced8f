//! The clock-fitting and machine-matching engine.
//!
//! Pure: no I/O, no clock of its own, no aya, no printing. Time is always an argument, so a day of
//! traffic replays in seconds and every test is deterministic.

pub mod clock;
pub mod envelope;
pub mod flow;
pub mod offset;
pub mod options;
pub mod phase;
pub mod snapshot;
pub mod tick;

use tmap_common::Record;

pub use options::Options;
pub use snapshot::{Event, Snapshot};

/// Turns records into machines.
#[derive(Debug)]
pub struct Engine {
    #[expect(dead_code, reason = "the engine is being written")]
    options: Options,
}

/// What the engine holds, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Records observed since the start.
    pub records: u64,
    /// Open flows.
    pub flows: usize,
    /// Source addresses.
    pub addresses: usize,
    /// Estimated heap memory, in bytes.
    pub memory_bytes: usize,
}

impl Engine {
    /// An empty engine.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Takes in one record. Records should come roughly in order of time; ones that come late by
    /// more than the reordering of a network lose precision, never soundness.
    pub fn observe(&mut self, _record: &Record) {}

    /// Looks again at the addresses that changed and says what is new. Meant to be called about
    /// once a second of engine time.
    pub fn review(&mut self, _now_ns: u64) -> Vec<Event> {
        Vec::new()
    }

    /// Everything known at `now_ns`, with every connection listed if `connections` is set.
    pub fn snapshot(&mut self, now_ns: u64, _connections: bool) -> Snapshot {
        Snapshot { now_ns, ..Snapshot::default() }
    }

    /// What the engine holds now.
    pub fn holdings(&self) -> Holdings {
        Holdings::default()
    }
}
