//! What the threads of the live sensor share.

use tmap_common::Address;

use crate::engine::{Event, Wanted};

/// Records taken in between two checks of requests and time.
pub(super) const BATCH: usize = 16_384;

/// An event with its time.
#[derive(Debug)]
pub(super) struct Timed {
    /// The event.
    pub event: Event,
    /// Engine time at which it was noticed, in nanoseconds.
    pub time_ns: u64,
}

/// What a snapshot takes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// What it lists beside addresses.
    pub wanted: Wanted,
    /// The one address that it is of; `None` for all.
    pub only: Option<Address>,
}
