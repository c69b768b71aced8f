//! What the loops of `live` and `read` tell the screen, and what it asks of them.

use tmap_common::Address;

use crate::{
    engine::{Event, Snapshot},
    report::{Stats, Summary},
    time::WallClock,
};

/// What is new.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Everything known of all addresses, without their connections.
    Summary(Box<Summary>),
    /// One address with its connections.
    Detail(Address, Box<Snapshot>),
    /// The sensor's own health.
    Health(Box<Health>),
    /// Something happened, noticed at this engine time in nanoseconds.
    Event(Box<Event>, u64),
    /// A line for the user, as standard error would have it, with the engine time in nanoseconds.
    Notice(String, u64),
    /// How far a capture was read.
    Progress(Progress),
    /// The outcome of writing a report, in words.
    Saved(String),
}

/// The sensor's health: its counters, and what it costs.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Counters over the last interval.
    pub stats: Stats,
    /// How engine time maps to wall-clock time now.
    pub wall: WallClock,
    /// CPU time of the whole process over the interval, in percent of a core.
    pub cpu_percent: f64,
    /// Part of it that the screen's own thread took.
    pub screen_percent: f64,
    /// How long the last snapshot of all addresses took, in seconds, and how many were taken.
    pub snapshot_s: f64,
    /// The number of snapshots so far.
    pub snapshots: u64,
    /// Whether one is under way.
    pub is_taking: bool,
}

/// How far a capture was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The part that was read, 0 to 1; `None` where the length isn't known.
    pub share: Option<f64>,
    /// Whether all of it was read.
    pub is_over: bool,
}

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The connections of this address from now on; `None` for no address.
    Detail(Option<Address>),
    /// A snapshot of all addresses now.
    Refresh,
    /// Stop reading a capture, or go on.
    Hold(bool),
    /// Write a report into a file.
    Save,
    /// End.
    Quit,
}
