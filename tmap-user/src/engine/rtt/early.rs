//! Echoes that come before what they echo. No single clock stamps them so: the two directions were stamped
//! by two clocks, as at a tap with two ports.

use std::collections::VecDeque;

use super::notable::are_notable;

/// The tick of a clock whose rate isn't known yet, in nanoseconds: the longest of a usual one (100 Hz).
const UNKNOWN_TICK_NS: f64 = 10e6;

/// A time beyond this many ticks is longer than a tick, however well the rate is known.
const TOLERANCE: f64 = 1.1;

/// Early echoes say something where they exceed this part of all, one in so many.
const LEAST_PART: u64 = 5;

/// How many first echoes came before what they echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Echoes of which it is certain whether they came early.
    judged: u64,
    /// Those that did.
    early: u64,
    /// The longest time by which one did, in nanoseconds.
    ahead_ns: u64,
}

impl Tally {
    /// Whether any echo came early.
    pub(super) fn has_early(self) -> bool {
        self.early > 0
    }

    /// The longest time by which an echo came early, in nanoseconds.
    pub(super) fn ahead_ns(self) -> u64 {
        self.ahead_ns
    }

    /// Whether so many echoes came early that two clocks must have stamped them.
    pub(super) fn tells_two_clocks(self) -> bool {
        are_notable(self.early, self.judged, LEAST_PART)
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            judged: self.judged + other.judged,
            early: self.early + other.early,
            ahead_ns: self.ahead_ns.max(other.ahead_ns),
        }
    }
}

/// The echoes of one side's TSvals that are ahead of what the side was seen to send.
#[derive(Clone, Debug, Default)]
pub(super) struct EarlyEchoes {
    /// TSvals in unwrapped ticks and the engine times of their echoes, in the order of both.
    waiting: VecDeque<(i64, u64)>,
    tally: Tally,
}

impl EarlyEchoes {
    /// What came of the echoes so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes in the first echo of a TSval, which `is_ahead` of all TSvals seen. At most `most` wait for
    /// theirs.
    pub(super) fn echoed(&mut self, ticks: i64, time_ns: u64, is_ahead: bool, most: usize) {
        if !is_ahead {
            self.tally.judged += 1;
        } else if self.waiting.len() < most && self.waiting.back().is_none_or(|(newest, _)| *newest < ticks) {
            self.waiting.push_back((ticks, time_ns));
        }
    }

    /// Takes in that a TSval is seen for the first time, and tells whether its echo came before it. `hz` is
    /// the clock's rate, where it is known.
    ///
    /// An echo that is ahead by a tick or less may be of an earlier segment of the same tick, which wasn't
    /// captured.
    pub(super) fn sent(&mut self, ticks: i64, time_ns: u64, hz: Option<f64>) -> bool {
        while self.waiting.pop_front_if(|(echoed, _)| *echoed < ticks).is_some() {
            self.tally.judged += 1;
        }
        let Some((_, echoed_ns)) = self.waiting.pop_front_if(|(echoed, _)| *echoed == ticks) else {
            return false;
        };
        let ahead_ns = time_ns.saturating_sub(echoed_ns);
        let is_early = ahead_ns as f64 > TOLERANCE * hz.map_or(UNKNOWN_TICK_NS, |hz| 1e9 / hz);
        if is_early {
            self.tally = self.tally.and(Tally { judged: 1, early: 1, ahead_ns });
        }
        is_early
    }

    /// Forgets the echoes whose TSvals didn't come within `expire_ns`, and frees their memory.
    pub(super) fn expire(&mut self, now_ns: u64, expire_ns: u64) {
        while self.waiting.pop_front_if(|(_, time_ns)| now_ns.saturating_sub(*time_ns) > expire_ns).is_some()
        {
        }
        if self.waiting.is_empty() {
            self.clear();
        }
    }

    /// Forgets the echoes whose TSvals didn't come, because the clock began anew.
    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
    }

    /// Heap memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<(i64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn an_echo_is_early_by_more_than_a_tick() {
        let ahead = |ahead_ns, hz| {
            let mut echoes = EarlyEchoes::default();
            echoes.echoed(100, MS, true, 8);
            echoes.sent(100, MS + ahead_ns, hz)
        };
        assert!(ahead(2 * MS, Some(1000.0)) && !ahead(MS, Some(1000.0)) && !ahead(2 * MS, Some(100.0)));
        assert!(ahead(12 * MS, None) && !ahead(10 * MS, None));
        assert!(!ahead(u64::MAX / 2, Some(0.0)), "a clock that stands still");
    }

    #[test]
    fn only_certain_echoes_are_judged_and_the_table_is_bounded() {
        let mut echoes = EarlyEchoes::default();
        (0..20).for_each(|i| echoes.echoed(100 + 10 * i, i as u64, true, 4));
        assert_eq!(echoes.waiting.len(), 4);
        echoes.echoed(90, 30, false, 4);
        // The second one passes the first over, whose TSval may be lost.
        assert!(echoes.sent(110, 5 * MS, Some(1000.0)) && !echoes.sent(115, 5 * MS, Some(1000.0)));
        assert_eq!(echoes.tally(), Tally { judged: 3, early: 1, ahead_ns: 5 * MS - 1 });
        echoes.expire(u64::MAX, MS);
        assert_eq!((echoes.waiting.len(), echoes.heap_bytes()), (0, 0));
    }

    #[test]
    fn one_in_five_and_ten_tell_two_clocks() {
        let tells = |early, judged| Tally { judged, early, ahead_ns: 1 }.tells_two_clocks();
        assert!(tells(10, 49) && !tells(10, 50) && !tells(9, 9));
    }
}
