//! Segments that are seen again: later, and on a longer or a shorter way, or sooner than anybody sends again.

use tmap_common::{Flags, Segment};

use super::notable::are_notable;

/// The least time in nanoseconds after which a segment that is repeated comes from another place. Sooner, it
/// is on its way out of the router that it was seen to enter, and round trips are the same.
const ELSEWHERE_NS: u64 = 1_000_000;

/// Segments seen again say something where they exceed this part of all, one in so many.
const LEAST_PART: u64 = 4;

/// The longest time in nanoseconds after which a SYN or SYN-ACK that is repeated comes from another place.
/// Later, its sender may have sent it again: Linux waits a second.
const RESENT_NS: u64 = 200_000_000;

/// The least number of SYNs and SYN-ACKs seen again that says something; more than half of all are, then.
const LEAST_OPENINGS: u64 = 2;

/// How many segments of a side were seen again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sights {
    /// The hop limit with which the newest TSval came, and when.
    newest: Option<(u8, u64)>,
    /// Segments seen.
    all: u64,
    /// Those with a TSval that had come before with another hop limit.
    again: u64,
    /// SYNs and SYN-ACKs seen, the first of each connection only.
    openings: u64,
    /// Those whose TSval came again.
    openings_again: u64,
}

impl Sights {
    /// Takes in a segment with a TSval that is new.
    pub(super) fn new_tsval(&mut self, segment: &Segment, time_ns: u64) {
        self.all += 1;
        self.openings += u64::from(segment.flags.intersects(Flags::SYN));
        self.newest = Some((segment.hop_limit, time_ns));
    }

    /// Takes in a segment with a TSval that came before; `is_newest` says whether none is newer.
    pub(super) fn old_tsval(&mut self, segment: &Segment, time_ns: u64, is_newest: bool) {
        self.all += 1;
        let Some((hop_limit, since_ns)) = self.newest else { return };
        let after_ns = time_ns.saturating_sub(since_ns);
        let is_later = !is_newest || after_ns > ELSEWHERE_NS;
        self.again += u64::from(hop_limit != segment.hop_limit && is_later);
        let is_copy = segment.flags.intersects(Flags::SYN) && is_later && after_ns < RESENT_NS;
        self.openings_again += u64::from(is_copy);
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            newest: None,
            all: self.all + other.all,
            again: self.again + other.again,
            openings: self.openings + other.openings,
            openings_again: self.openings_again + other.openings_again,
        }
    }

    /// Whether any segment was seen again.
    pub(super) fn has_any_again(self) -> bool {
        self.again + self.openings_again > 0
    }

    /// Whether so many were that they were captured at two places.
    pub(super) fn tell_two_places(self) -> bool {
        are_notable(self.again, self.all, LEAST_PART)
            || (self.openings_again >= LEAST_OPENINGS && 2 * self.openings_again > self.openings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rtt::testing::segment;

    const MS: u64 = 1_000_000;

    /// What is seen again if a segment of this hop limit and these flags comes so long after one of 64 hops.
    fn after(hop_limit: u8, after_ns: u64, is_newest: bool, flags: Flags) -> [u64; 2] {
        let mut one = segment(0, 1).record().segment;
        (one.hop_limit, one.flags) = (64, flags);
        let mut sights = Sights::default();
        sights.new_tsval(&one, MS);
        sights.old_tsval(&Segment { hop_limit, ..one }, MS + after_ns, is_newest);
        [sights.again, sights.openings_again]
    }

    #[test]
    fn only_later_segments_with_another_hop_limit_are_seen_again() {
        let again = |hop_limit, after_ns, is_newest| after(hop_limit, after_ns, is_newest, Flags::ACK)[0];
        assert_eq!((again(60, 5 * MS, true), again(64, 5 * MS, true), again(60, MS / 2, true)), (1, 0, 0));
        assert_eq!((again(60, MS / 2, false), again(64, MS / 2, false)), (1, 0));
    }

    #[test]
    fn a_syn_comes_again_sooner_than_it_is_resent() {
        let again = |after_ns| after(64, after_ns, true, Flags::SYN)[1];
        assert_eq!((again(MS / 2), again(10 * MS), again(1_000 * MS)), (0, 1, 0));
    }

    #[test]
    fn one_in_four_and_ten_tell_two_places_and_so_do_most_syns() {
        let tell = |again, all| Sights { all, again, ..Sights::default() }.tell_two_places();
        assert!(tell(10, 39) && !tell(10, 40) && !tell(9, 9));
        let syns = |openings_again, openings| {
            Sights { openings, openings_again, ..Sights::default() }.tell_two_places()
        };
        assert!(syns(2, 3) && !syns(2, 4) && !syns(1, 1));
    }
}
