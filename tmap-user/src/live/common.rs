//! What the threads of the live sensor share.

use crate::engine::Event;

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
