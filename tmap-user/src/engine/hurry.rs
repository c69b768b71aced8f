//! Hurry: somebody waits for an answer, so analysis ends early with what it has.
//!
//! The engine doesn't look at a clock. Its caller decides when there is hurry, and threads share it. A search
//! that waits for memory ([`crate::engine::phase::room`]) looks every 50 ms whether there is.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

/// A request to end analysis early, which threads share. Without one, it changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Hurry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How much hurry there is: one of the figures below.
    level: AtomicU8,
    /// How often the level was raised.
    raised: AtomicU64,
}

/// No hurry, searches for lines end early, and no pass begins at all.
const NONE: u8 = 0;
const SEARCHES_END: u8 = 1;
const PASSES_END: u8 = 2;

impl Hurry {
    /// From now on, a search for lines ends with the lines that it has, and none begins.
    pub fn end_searches(&self) {
        self.raise(SEARCHES_END);
    }

    /// From now on, no analysis pass begins either: addresses are reported as they were last analysed.
    pub fn end_passes(&self) {
        self.raise(PASSES_END);
    }

    /// The answer has come: analysis may take its time again.
    pub fn over(&self) {
        self.0.level.store(NONE, Ordering::Relaxed);
    }

    /// Whether searches for lines are to end.
    #[inline(always)]
    pub fn ends_searches(&self) -> bool {
        self.0.level.load(Ordering::Relaxed) >= SEARCHES_END
    }

    /// Whether no analysis pass is to begin.
    #[inline(always)]
    pub fn ends_passes(&self) -> bool {
        self.0.level.load(Ordering::Relaxed) >= PASSES_END
    }

    /// How often there was hurry so far. If the number has changed during a search, the search may have ended
    /// early, even if the hurry is over.
    pub fn times(&self) -> u64 {
        self.0.raised.load(Ordering::SeqCst)
    }

    fn raise(&self, level: u8) {
        // First the number: who sees the level sees the number, too.
        self.0.raised.fetch_add(1, Ordering::SeqCst);
        self.0.level.fetch_max(level, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hurry_grows_until_it_is_over() {
        let hurry = Hurry::default();
        let other_thread = hurry.clone();
        let levels = || (other_thread.ends_searches(), other_thread.ends_passes());
        assert_eq!((levels(), hurry.times()), ((false, false), 0));
        hurry.end_searches();
        assert_eq!((levels(), hurry.times()), ((true, false), 1));
        hurry.end_passes();
        hurry.end_searches();
        assert_eq!((levels(), hurry.times()), ((true, true), 3));
        hurry.over();
        assert_eq!((levels(), hurry.times()), ((false, false), 3), "a search knows that there was hurry");
    }
}
