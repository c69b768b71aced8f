//! The time of what is read: it only runs forward, and packets that come far too late are left out.

/// A larger step in time is believed only when the next packet confirms it, in nanoseconds.
const LEAP_NS: u64 = 3_600 * 1_000_000_000;

/// Packets that come later than this after a later one are left out, in nanoseconds. Networks and capture
/// programs reorder by milliseconds to seconds. Beyond that, a file was joined or written out of order, or
/// the clock of the capture was set back; what comes again would look like more machines.
const LATE_NS: u64 = 10_000_000_000;

/// A leap forward by more than this is a clock that was set, rather than a pause, in nanoseconds.
const SET_NS: u64 = 30 * 86_400 * 1_000_000_000;

/// So many successive packets must confirm that a clock was set: a few absurd times may stand together.
const SET_CONFIRMATIONS: u32 = 8;

/// The time so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// The time of the first packet, unless it was an outlier; 0 before it.
    began_ns: u64,
    /// The latest time that is believed; 0 before the first packet.
    now_ns: u64,
    /// The time of the last packet, even where it was an outlier.
    last_ns: u64,
    /// Whether two successive packets have agreed on the time.
    is_settled: bool,
    /// How many packets in a row have confirmed the one before them, since time was last in step.
    confirmations: u32,
    /// Packets left out, and the longest that one was late by, in nanoseconds.
    late: u64,
    latest_ns: u64,
    /// From when to when the clock leapt.
    leap: Option<(u64, u64)>,
}

impl Order {
    /// Engine time.
    #[inline(always)]
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Engine time of the first packet, in nanoseconds; 0 before it.
    pub(super) fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// Advances the time to that of a packet; false where it comes too late to be used. One absurd time must
    /// not carry engine time off into the future, so a leap is believed only when the next packet confirms
    /// it, or the next ones.
    #[inline(always)]
    pub(super) fn advance(&mut self, time_ns: u64) -> bool {
        if time_ns >= self.now_ns && time_ns - self.now_ns <= LEAP_NS {
            if self.now_ns == 0 {
                self.began_ns = time_ns;
            }
            self.now_ns = time_ns;
            self.last_ns = time_ns;
            self.is_settled = true;
            return true;
        }
        self.out_of_step(time_ns)
    }

    #[cold]
    fn out_of_step(&mut self, time_ns: u64) -> bool {
        let is_confirmed = time_ns.abs_diff(self.last_ns) <= LEAP_NS && self.last_ns != 0;
        self.confirmations = if is_confirmed { self.confirmations + 1 } else { 0 };
        self.last_ns = time_ns;
        if self.now_ns == 0 {
            (self.began_ns, self.now_ns) = (time_ns, time_ns);
            return true;
        }
        if time_ns > self.now_ns {
            let is_set = time_ns - self.now_ns > SET_NS;
            if self.confirmations >= if is_set { SET_CONFIRMATIONS } else { 1 } {
                if is_set {
                    self.leap = Some((self.now_ns, time_ns));
                }
                (self.now_ns, self.is_settled) = (time_ns, true);
            }
            return true;
        }
        if !self.is_settled && self.now_ns - time_ns > LEAP_NS {
            // The first packet was the absurd one.
            (self.began_ns, self.now_ns) = (time_ns, time_ns);
            return true;
        }
        let late_ns = self.now_ns - time_ns;
        if late_ns <= LATE_NS {
            // The first packet may be a little late.
            self.began_ns = self.began_ns.min(time_ns);
            self.is_settled = true;
            return true;
        }
        self.late += 1;
        self.latest_ns = self.latest_ns.max(late_ns);
        false
    }

    /// The number of packets left out, and the longest that one was late by, in seconds; `None` without any.
    pub(super) fn late(&self) -> Option<(u64, f64)> {
        (self.late > 0).then_some((self.late, self.latest_ns as f64 * 1e-9))
    }

    /// From when to when the clock of the capture leapt, engine time in nanoseconds.
    pub(super) fn leap(&self) -> Option<(u64, u64)> {
        self.leap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * S;

    fn order(times_s: &[u64]) -> (Order, Vec<bool>) {
        let mut order = Order::default();
        let used = times_s.iter().map(|time_s| order.advance(START + time_s * S)).collect();
        (order, used)
    }

    #[test]
    fn time_runs_forward_and_little_disorder_is_taken() {
        let (order, used) = order(&[0, 5, 3, 8, 1, 9]);
        assert_eq!((order.now_ns(), order.late()), (START + 9 * S, None));
        assert_eq!(used, [true; 6]);
    }

    #[test]
    fn what_comes_minutes_late_is_left_out() {
        let (order, used) = order(&[0, 60, 120, 1, 61, 121]);
        assert_eq!(used, [true, true, true, false, false, true]);
        assert!(order.late().is_some_and(|(late, late_s)| late == 2 && (late_s - 119.0).abs() < 1e-6));
    }

    #[test]
    fn one_absurd_time_changes_nothing() {
        let year = 31_536_000;
        let (late, used) = order(&[0, 1, 10 * year, 2, 3]);
        assert_eq!((late.now_ns(), used), (START + 3 * S, vec![true; 5]));
        let (first, used) = order(&[10 * year, 1, 2, 3]);
        assert_eq!((first.now_ns(), used, first.late()), (START + 3 * S, vec![true; 4], None));
        assert_eq!((late.began_ns(), first.began_ns()), (START, START + S));
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let year = 31_536_000;
        let times_s: Vec<u64> = [0, 1].into_iter().chain(year..year + 10).collect();
        let (order, used) = order(&times_s);
        assert_eq!((order.now_ns(), used), (START + (year + 9) * S, vec![true; 12]));
        assert!(order.leap().is_some());
    }

    #[test]
    fn a_few_absurd_times_together_change_nothing() {
        let year = 31_536_000;
        let (order, used) = order(&[0, 1, year, year, year + 1, 2, 3, 4]);
        assert_eq!((order.now_ns(), order.leap(), order.late()), (START + 4 * S, None, None));
        assert_eq!(used, [true; 8]);
    }
}
