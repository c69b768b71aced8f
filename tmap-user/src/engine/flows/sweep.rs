//! Finishing connections that closed or fell silent.

use super::{state::Flows, table::flag};

/// One sweep visits this part of all connections, so that its cost stays flat, and at most
/// [`SWEEP_MOST`] of them.
const SWEEP_PARTS: u32 = 8;
const SWEEP_MOST: u32 = 1 << 18;

impl Flows {
    /// Finishes connections that closed or fell silent, a part of them at each call. Call it about once a
    /// second of engine time.
    pub fn sweep(&mut self, now_ns: u64) {
        self.sweep_next(self.table.places().div_ceil(SWEEP_PARTS).min(SWEEP_MOST), now_ns);
    }

    /// Finishes all connections that closed or fell silent.
    pub fn sweep_all(&mut self, now_ns: u64) {
        self.sweep_next(self.table.places(), now_ns);
    }

    fn sweep_next(&mut self, count: u32, now_ns: u64) {
        let places = self.table.places();
        for _ in 0..count {
            let place = self.sweep_at + 1;
            let place = if place < places { place } else { 0 };
            self.sweep_at = place;
            if !self.table.is(place, flag::LIVE) || self.table.is(place, flag::FINISHED) {
                continue;
            }
            if self.is_over(place, now_ns) {
                self.table.finish(place);
            }
        }
    }
}
