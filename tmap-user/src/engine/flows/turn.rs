//! The turn in which connections are considered for eviction.

/// The number of connections that one choice considers.
pub(super) const CANDIDATES: usize = 16;

/// The position of the next candidates for eviction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    at: usize,
    /// The time of the last search in vain.
    pub(super) full_at_ns: Option<u64>,
}

impl Turn {
    /// The indices of the next candidates among `count` connections.
    pub(super) fn next(&mut self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let from = self.at;
        self.at = (from + CANDIDATES) % count.max(1);
        (from..from + CANDIDATES.min(count)).map(move |at| at % count)
    }

    /// Whether the last search in vain is less than `pause_ns` ago. The sensor's time may jump.
    pub(super) fn rests(&self, now_ns: u64, pause_ns: u64) -> bool {
        self.full_at_ns.is_some_and(|at| at.abs_diff(now_ns) < pause_ns)
    }
}
