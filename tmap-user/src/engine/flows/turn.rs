//! Whose turn it is to be considered for eviction.

/// How many connections a choice is made from.
pub const CANDIDATES: usize = 16;

/// Whose turn it is to be looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    at: usize,
    /// When a search was last in vain.
    pub(super) full_at_ns: Option<u64>,
}

impl Turn {
    /// The next candidates of `count`.
    pub(super) fn next(&mut self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let from = self.at;
        self.at = (from + CANDIDATES) % count.max(1);
        (from..from + CANDIDATES.min(count)).map(move |at| at % count)
    }

    /// Whether a search is too recent to be done again. Times may leap.
    pub(super) fn rests(&self, now_ns: u64, pause_ns: u64) -> bool {
        self.full_at_ns.is_some_and(|at| at.abs_diff(now_ns) < pause_ns)
    }
}
