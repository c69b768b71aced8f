//! What the threads of the live sensor share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

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
    /// The room that it takes while it waits.
    pub load: Load,
}

/// What waits for a slow reader: one for an event, and one more for each of its samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

/// The part of it that one event is.
#[derive(Debug)]
pub(super) struct Load {
    backlog: Backlog,
    units: usize,
}

impl Backlog {
    /// Room for `units` more, if no more than `most` wait then.
    pub(super) fn take(&self, units: usize, most: usize) -> Option<Load> {
        let load = Load { backlog: self.clone(), units };
        let before = self.0.fetch_add(units, Ordering::Relaxed);
        (before + units <= most).then_some(load)
    }
}

impl Load {
    /// Its size: one, and one more for each sample.
    pub(super) fn units(&self) -> u64 {
        self.units as u64
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.backlog.0.fetch_sub(self.units, Ordering::Relaxed);
    }
}

/// What a snapshot takes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// What it lists beside addresses.
    pub wanted: Wanted,
    /// The one address that it is of; `None` for all.
    pub only: Option<Address>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_comes_back() {
        let backlog = Backlog::default();
        let first = backlog.take(60, 100).expect("room");
        assert!(backlog.take(60, 100).is_none());
        let second = backlog.take(40, 100).expect("what is refused takes no room");
        drop(first);
        assert!(backlog.take(60, 100).is_some());
        drop(second);
        assert_eq!(backlog.0.load(Ordering::Relaxed), 0);
    }
}
