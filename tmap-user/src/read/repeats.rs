//! The same traffic twice in what is read, with different times: two captures of one link by clocks that
//! differ, or a capture beside a shifted copy of itself.
//!
//! Such a copy looks like more machines, each with the clock of the original. Its handshakes give it away: a
//! repeated SYN or SYN-ACK carries a newer TSval, so the same one can't come again much later.

use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;
use tmap_common::{Flags, Segment};

use crate::engine::types::FlowKey;

/// Copies within this time are a link's own (a mirror port, a loop) or a late retransmission of a slow
/// clock's, in nanoseconds. It is below the 4.5 s up to which a segment may come late, so that each copy
/// either counts as late or is told.
const LEAST_NS: u64 = 4_000_000_000;

/// The number of handshakes held, a power of two. One that was overwritten isn't recognised.
const HELD: usize = 1 << 16;

/// Fewer copies may be chance, or somebody's experiment; and so may be fewer than one of so many handshakes.
const FEWEST: u64 = 3;
const ONE_OF: u64 = 50;

/// Recognises handshakes that come again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// The hash of a handshake, and when it came; empty before the first.
    held: Vec<(u64, u64)>,
    /// The key of the hashes: nobody chooses which handshakes share a place.
    key: RandomState,
    handshakes: u64,
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
        self.handshakes += 1;
        let hash = self.key.hash_one((FlowKey::of(segment), tsval, tsecr, segment.flags.0));
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
        let are_many = self.copies >= FEWEST && self.copies * ONE_OF >= self.handshakes;
        are_many.then_some((self.copies, self.later_ns as f64 * 1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Address, Syn};

    const S: u64 = 1_000_000_000;

    /// So many handshakes, a tenth of a second apart, of which the first ones come again so much later.
    fn repeats(handshakes: u32, copies: u32, later_ns: u64) -> Repeats {
        let syn = |number: u32| Segment {
            src: Address::from_ip4([198, 51, 100, 1]),
            flags: Flags::SYN,
            tsval: 1 + number,
            syn: Some(Syn { option_order: 0x3_1842, ..Syn::default() }),
            ..Segment::default()
        };
        let mut seen: Vec<(u64, u32)> =
            (0..handshakes).map(|number| (u64::from(number) * S / 10, number)).collect();
        seen.extend((0..copies).map(|number| (u64::from(number) * S / 10 + later_ns, number)));
        seen.sort_unstable();
        let mut repeats = Repeats::default();
        seen.into_iter().for_each(|(time_ns, number)| repeats.observe(&syn(number), time_ns));
        repeats
    }

    #[test]
    fn a_copy_is_told_from_four_seconds_on() {
        let (copies, later_s) = repeats(100, 100, 4_500_000_000).found().expect("copies");
        // Some share a place.
        assert!(copies > 80 && later_s == 4.5, "{copies} {later_s}");
        assert_eq!(repeats(100, 100, 3_500_000_000).found(), None);
    }

    /// Somebody's few SYNs don't speak for all traffic.
    #[test]
    fn few_copies_are_not() {
        assert_eq!(repeats(1_000, 3, 6 * S).found(), None);
        assert_eq!(repeats(2, 2, 6 * S).found(), None);
    }
}
