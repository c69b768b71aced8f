//! The same traffic twice in what is read, with different times: two captures of one link by clocks that
//! differ, or a capture beside a shifted copy of itself.
//!
//! Such a copy looks like more machines, each with the clock of the original. Its handshakes give it away: a
//! repeated SYN or SYN-ACK carries a newer TSval, so the same one can't come again much later.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use tmap_common::{Flags, Segment};

use crate::engine::types::FlowKey;

/// Copies within this time are a link's own (a mirror port, a loop) or a late retransmission of a slow
/// clock's, in nanoseconds.
const LEAST_NS: u64 = 5_000_000_000;

/// The number of handshakes held, a power of two. One that was overwritten isn't recognised.
const HELD: usize = 1 << 16;

/// Fewer copies may be chance, or somebody's experiment.
const FEWEST: u64 = 3;

/// Recognises handshakes that come again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// The hash of a handshake, and when it came; empty before the first.
    held: Vec<(u64, u64)>,
    copies: u64,
    /// How much later the latest copy came, in nanoseconds.
    later_ns: u64,
}

impl Repeats {
    /// Takes in a segment of a handshake.
    pub(super) fn observe(&mut self, segment: &Segment, time_ns: u64) {
        if !segment.flags.intersects(Flags::SYN) || segment.tsval == 0 || !segment.is_stamped() {
            return;
        }
        if self.held.is_empty() {
            self.held = vec![(0, 0); HELD];
        }
        let Segment { tsval, tsecr, .. } = *segment;
        let hash = FixedState::default().hash_one((FlowKey::of(segment), tsval, tsecr, segment.flags.0));
        let held = &mut self.held[hash as usize % HELD];
        if held.0 != hash {
            *held = (hash, time_ns);
        } else if time_ns.abs_diff(held.1) >= LEAST_NS {
            self.copies += 1;
            self.later_ns = time_ns.abs_diff(held.1);
        }
    }

    /// The number of copies and by how many seconds the latest was off; `None` where there are too few to
    /// tell.
    pub(super) fn found(&self) -> Option<(u64, f64)> {
        (self.copies >= FEWEST).then_some((self.copies, self.later_ns as f64 * 1e-9))
    }
}
