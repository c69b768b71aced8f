//! Can one clock have shown these two TSvals?
//!
//! The one rule, for every part of the engine: the flow table, a connection's clock and the round
//! trips. A TSval that a connection's clock can't have shown is held as a [`Suspect`]. A second one
//! that agrees with it bears it out, and the clock starts anew from there: a virtual machine was
//! restored, another machine took over, or a middlebox rewrites time stamps. A lone one was spoofed or
//! corrupted, and changes nothing.

use super::types::{Point, seconds_between};

/// The fastest clock that is believed, in Hz: RFC 7323 (section 5.4) allows ticks down to about 1 µs,
/// and Linux has them (`tcp_usec_ts`); with a margin.
pub(super) const MAX_TICK_HZ: f64 = 1.1e6;

/// A step of this many ticks is never implausible, in either direction: reordering and idle hosts make
/// such steps, and SYN cookies set a SYN-ACK back by up to 63 (`cookie_init_timestamp` in Linux).
pub(super) const SMALL_TICKS: u32 = 64;

/// A clock's pace is known after this long, in nanoseconds.
pub(super) const PACE_NS: u64 = 500_000_000;

/// No clock is believed to run faster than this many times its pace so far: delays compress and
/// stretch what arrives.
const FASTER: f64 = 4.0;

/// A pace is never taken to be slower than one tick a second.
const SLOWEST_HZ: f64 = 1.0;

/// A step forward may come this much early, in seconds: what came before it was delayed.
const EARLY_S: f64 = 1.0;

/// How late a segment may come, in seconds, and still be a reordered or repeated one: longer than the
/// first retransmission timeouts (RFC 6298), since some stacks repeat the old TSval.
const LATE_S: f64 = 3.0;

/// How far a late segment may lie back, in seconds of the clock's pace so far: [`LATE_S`], and half as
/// much again for a pace that delays stretched.
pub(super) const LATE_PACES_S: f64 = 1.5 * LATE_S;

/// The furthest that any late segment lies back, in ticks, while the pace isn't known.
pub(super) const LATEST_TICKS: f64 = SMALL_TICKS as f64 + LATE_S * MAX_TICK_HZ;

/// A TSval seen again within this time, in nanoseconds, is the same segment seen twice or one of the
/// same burst, and no second witness: an interface watched on both sides shows each segment twice, and
/// the sensor leaves repeats out ([`tmap_common::suppress`]).
pub(super) const DUPLICATE_NS: u64 = 100_000_000;

/// After a silence in which the fastest believable clock ticks this often, nothing can be said about a
/// step: a quarter of the 2^32 TSvals.
const SILENT_TICKS: f64 = (1_u64 << 30) as f64;

/// After this long without a segment, a connection is finished, in nanoseconds. Connections that are kept
/// open say something more often: mail every 29 minutes (RFC 2177), push services every 9 to 28. Over so
/// long, the TSvals of a clock of 1 MHz still can be told from earlier ones: half of them pass in 35.8
/// minutes.
pub(super) const IDLE_TIMEOUT_NS: u64 = 30 * 60 * 1_000_000_000;

/// The unwrapped value of `tsval` nearest to `newest` (serial-number arithmetic: RFC 1982, and RFC 7323,
/// section 5.2).
#[inline(always)]
pub(super) fn unwrap(newest: Point, tsval: u32) -> i64 {
    newest.ticks + i64::from(tsval.wrapping_sub(newest.ticks as u32).cast_signed())
}

/// `tsval` as seen at `time_ns`, unwrapped near `newest`.
#[inline(always)]
pub(super) fn point(newest: Point, time_ns: u64, tsval: u32) -> Point {
    Point { time_ns, ticks: unwrap(newest, tsval) }
}

/// What a TSval means to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The clock can have shown it: now, or a little earlier.
    Continues,
    /// The clock can't have shown it.
    Contradicts,
    /// The clock was silent for so long that it can have shown anything.
    Unknown,
}

/// How fast a clock runs, as far as its points tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace(Option<f64>);

impl Pace {
    /// Of a clock of which too little was seen.
    pub(super) const UNKNOWN: Self = Self(None);

    /// Of a clock's first and newest points; unknown until they are [`PACE_NS`] apart.
    pub(super) fn between(first: Point, newest: Point) -> Self {
        let elapsed_s = seconds_between(first.time_ns, newest.time_ns);
        let is_known = elapsed_s >= PACE_NS as f64 * 1e-9;
        Self(is_known.then(|| (newest.ticks - first.ticks) as f64 / elapsed_s))
    }

    /// Ticks per second, where it is known.
    pub(super) fn hz(self) -> Option<f64> {
        self.0
    }

    /// The fastest rate to believe of this clock, in Hz.
    pub(super) fn fastest_hz(self) -> f64 {
        self.0.map_or(MAX_TICK_HZ, |hz| (FASTER * hz.max(SLOWEST_HZ)).min(MAX_TICK_HZ))
    }

    /// The furthest step forward to believe after `elapsed_s` seconds, in ticks.
    pub(super) fn most_ticks(self, elapsed_s: f64) -> f64 {
        f64::from(SMALL_TICKS) + (elapsed_s + EARLY_S) * self.fastest_hz()
    }

    /// The furthest that a late segment may lie back, in ticks.
    pub(super) fn latest_ticks(self) -> f64 {
        self.0.map_or(LATEST_TICKS, |hz| f64::from(SMALL_TICKS) + LATE_PACES_S * hz.min(MAX_TICK_HZ))
    }

    /// What `next` means to a clock of this pace whose newest point is `newest`.
    pub(super) fn relate(self, newest: Point, next: Point) -> Relation {
        let elapsed_s = seconds_between(newest.time_ns, next.time_ns);
        if elapsed_s * self.fastest_hz() > SILENT_TICKS {
            return Relation::Unknown;
        }
        let step = (next.ticks - newest.ticks) as f64;
        let plausible =
            if step >= 0.0 { step <= self.most_ticks(elapsed_s.abs()) } else { -step <= self.latest_ticks() };
        if plausible { Relation::Continues } else { Relation::Contradicts }
    }
}

/// A TSval that its connection's clock can't have shown, held until a second one agrees with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// The TSval, not unwrapped: it belongs to no known clock.
    pub point: Point,
}

impl Suspect {
    /// A suspect TSval, seen at `time_ns`.
    pub(super) fn new(time_ns: u64, tsval: u32) -> Self {
        Self { point: Point { time_ns, ticks: i64::from(tsval) } }
    }

    /// Whether `tsval` at `time_ns` says no more than the suspect did.
    pub(super) fn is_repeated_by(&self, time_ns: u64, tsval: u32) -> bool {
        self.point.ticks as u32 == tsval && time_ns.saturating_sub(self.point.time_ns) < DUPLICATE_NS
    }

    /// Whether `tsval` at `time_ns` agrees with the suspect: one clock, of unknown pace, has shown both.
    pub(super) fn is_borne_out_by(&self, time_ns: u64, tsval: u32) -> bool {
        let next = point(self.point, time_ns, tsval);
        next.ticks >= self.point.ticks
            && !self.is_repeated_by(time_ns, tsval)
            && Pace::UNKNOWN.relate(self.point, next) == Relation::Continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn at(time_ns: u64, ticks: i64) -> Point {
        Point { time_ns, ticks }
    }

    #[test]
    fn values_unwrap_to_the_nearest() {
        let newest = at(0, (1 << 32) + 5);
        assert_eq!(unwrap(newest, u32::MAX), (1 << 32) - 1);
        assert_eq!(unwrap(newest, 9), (1 << 32) + 9);
    }

    #[test]
    fn a_pace_takes_half_a_second() {
        assert_eq!(Pace::between(at(0, 0), at(S / 2 - 1, 499)), Pace::UNKNOWN);
        assert_eq!(Pace::between(at(0, 0), at(S / 2, 500)).hz(), Some(1000.0));
    }

    #[test]
    fn a_clock_goes_on_and_segments_come_late() {
        let (first, newest) = (at(0, 7_000), at(10 * S, 17_000));
        let pace = Pace::between(first, newest);
        let relation = |time_ns, ticks| pace.relate(newest, at(time_ns, ticks));
        assert_eq!(relation(11 * S, 18_000), Relation::Continues);
        assert_eq!(
            relation(11 * S, 17_064 + 8_000),
            Relation::Continues,
            "four times as fast, a second early"
        );
        assert_eq!(relation(11 * S, 17_065 + 8_000), Relation::Contradicts);
        assert_eq!(relation(11 * S, 17_000 - 4_564), Relation::Continues, "4.5 s and 64 ticks late");
        assert_eq!(relation(11 * S, 17_000 - 4_565), Relation::Contradicts);
        assert_eq!(relation(4 * 86_400 * S, 3), Relation::Unknown, "silent for days");
    }

    #[test]
    fn two_that_agree_bear_each_other_out() {
        let suspect = Suspect::new(S, 3_000_000_000);
        assert!(suspect.is_repeated_by(S + DUPLICATE_NS - 1, 3_000_000_000));
        assert!(!suspect.is_borne_out_by(S + DUPLICATE_NS - 1, 3_000_000_000), "seen twice is one witness");
        assert!(suspect.is_borne_out_by(S + DUPLICATE_NS, 3_000_000_000), "repeated later is another one");
        assert!(suspect.is_borne_out_by(S + 1, 3_000_000_001));
        assert!(!suspect.is_borne_out_by(S + 1, 2_999_999_999), "clocks don't run backwards");
        assert!(!suspect.is_borne_out_by(S + 1, 7), "nor is every second oddity the same clock");
    }
}
