//! TSvals that no clock makes: steps back and leaps within a connection, and echoes of values that
//! were never sent, each with its likely cause.
//!
//! A receiver drops segments whose TSval lies before the last one it took (PAWS, "protection
//! against wrapped sequences", RFC 7323 section 5), so each of these costs somebody a
//! retransmission or a connection. Reordering makes small steps back and is no cause for alarm.
//! What is beyond it is told apart by what comes after (one segment, or a clock that stays), by
//! the TTL or hop limit, and by whether it comes with a handshake.
//!
//! RST segments are left out: they are often made by something else than the socket, without its
//! offset.

use tmap_common::{Flags, Record};

use crate::engine::types::{FlowKey, Point, seconds_between};

/// The fastest clock that is believed, in Hz: RFC 7323 allows ticks down to about 1 us.
const MAX_TICK_HZ: f64 = 1.1e6;

/// Steps of this many ticks are never implausible. SYN cookies set a SYN-ACK back by up to 63.
const SMALL_TICKS: f64 = 64.0;

/// How late a segment may come, in seconds, and still be a reordered or repeated one: longer than
/// the first retransmission timeouts (RFC 6298), since some stacks repeat the old TSval.
const LATE_S: f64 = 3.0;

/// A clock's pace is known after this long, in seconds.
const PACE_S: f64 = 0.5;

/// A second odd segment bears out the first if it comes this much later, in seconds, even when its
/// TSval is the same: an interface watched on both sides shows each segment twice.
const DUPLICATE_S: f64 = 0.1;

/// After half the range of TSval nothing can be said about a step. Seconds at the believed pace.
const HALF_RANGE_TICKS: f64 = (1u64 << 30) as f64;

/// A counter below this, in seconds of its own pace, was reset recently.
const YOUNG_S: f64 = 600.0;

/// What was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A TSval went back, further than reordering explains.
    Back,
    /// A TSval leapt ahead, further than any clock runs.
    Leap,
    /// A SYN on ports used just before, whose TSval lies before the earlier connection's: PAWS in
    /// TIME-WAIT may drop it (RFC 7323, section 5.8; RFC 6191).
    ReusedBack,
    /// An echo of a TSval that the peer can't have sent.
    NeverSent,
}

/// What most likely made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A lone segment with another TTL: somebody else sent it.
    Spoofed,
    /// A lone segment with the usual TTL: corrupted on the way, or spoofed with care.
    Corrupted,
    /// Two clocks take turns, or clock and TTL changed together: another machine behind the same
    /// addresses and ports.
    OtherMachine,
    /// The clock changed right after the handshake: a middlebox answered in the server's name.
    SynProxy,
    /// The clock changed for good under the same TTL: a middlebox rewrites time stamps, or the
    /// connection moved to another host (fail-over, migration).
    Middlebox,
    /// The counter began anew.
    Reboot,
    /// Ports used again under a random offset per connection, or by another machine behind a NAT.
    PortReuse,
}

/// Something that no clock makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// When the odd segment was seen, engine time.
    pub time_ns: u64,
    /// The side that sent it.
    pub key: FlowKey,
    /// What was odd.
    pub kind: Kind,
    /// What most likely made it.
    pub cause: Cause,
    /// The odd value: a TSval, or for [`Kind::NeverSent`] a TSecr.
    pub value: u32,
    /// The newest TSval before it, of the side that the value belongs to.
    pub newest: u32,
}

/// An oddity before its connection is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// When the odd segment was seen, engine time.
    pub time_ns: u64,
    /// See [`Anomaly`].
    pub kind: Kind,
    /// See [`Anomaly`].
    pub cause: Cause,
    /// See [`Anomaly`].
    pub value: u32,
    /// See [`Anomaly`].
    pub newest: u32,
}

impl Oddity {
    /// The oddity of the side that `key` names.
    pub fn of(self, key: FlowKey) -> Anomaly {
        let Self { time_ns, kind, cause, value, newest } = self;
        Anomaly { time_ns, key, kind, cause, value, newest }
    }
}

/// What a TSval means in the order of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Newer than all before: its first arrival. Unwrapped ticks.
    New(i64),
    /// The newest one again.
    Repeat(i64),
    /// An earlier one, within reordering.
    Late(i64),
    /// As [`Step::New`], of a clock that has nothing to do with what came before.
    Restart(i64),
    /// No value that this clock shows now; held against, until another one bears it out.
    Odd,
}

/// What an echo means, seen from the side whose TSval it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// A value that may have been sent. Unwrapped ticks.
    Possible(i64),
    /// A value that this clock hasn't shown: too new, or from before the connection began.
    NeverSent {
        /// The newest TSval that was sent.
        newest: u32,
    },
    /// Nothing is known of this side's clock.
    Unknown,
}

/// What is known of a segment that carries a TSval.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When.
    pub time_ns: u64,
    /// The value; not 0.
    pub tsval: u32,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Whether it is a SYN or SYN-ACK.
    pub handshake: bool,
}

impl Seen {
    /// What matters of a record.
    pub fn of(record: &Record) -> Self {
        let segment = &record.segment;
        Self {
            time_ns: record.time_ns,
            tsval: segment.tsval,
            hop_limit: segment.hop_limit,
            handshake: segment.flags.intersects(Flags::SYN),
        }
    }
}

/// The TSvals of one connection side, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tsvals {
    /// The first of this clock; for its pace.
    first: Option<Point>,
    newest: Option<Point>,
    /// Usual TTL.
    hop_limit: u8,
    /// Whether the newest value came with a SYN or SYN-ACK.
    from_handshake: bool,
    /// Whether nothing was sent before `first`.
    from_start: bool,
    suspect: Option<Suspect>,
    /// The clock that was left at the last restart.
    former: Option<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    point: Point,
    hop_limit: u8,
}

impl Suspect {
    /// Whether a segment says no more than the suspect did: the same one seen twice, or one of the same
    /// burst, of which the sensor may have left some out.
    fn is_seen_again(&self, seen: &Seen) -> bool {
        self.point.ticks == i64::from(seen.tsval)
            && seconds_between(self.point.time_ns, seen.time_ns) < DUPLICATE_S
    }
}

impl Tsvals {
    /// The newest TSval, unwrapped.
    pub fn newest(&self) -> Option<Point> {
        self.newest
    }

    /// Takes in a TSval; tells its place in the order, and what turned out to be odd, if anything.
    pub fn see(&mut self, seen: &Seen) -> (Step, Option<Oddity>) {
        let Some(newest) = self.newest else {
            self.from_start = seen.handshake;
            return (self.restart(seen, i64::from(seen.tsval)), None);
        };
        if seconds_between(newest.time_ns, seen.time_ns) * self.fastest_hz() > HALF_RANGE_TICKS {
            let step = self.restart(seen, i64::from(seen.tsval));
            (self.former, self.suspect, self.from_start) = (None, None, false);
            return (step, None);
        }
        if self.suspect.is_some_and(|suspect| suspect.is_seen_again(seen)) {
            return (Step::Odd, None);
        }
        let point = Point { time_ns: seen.time_ns, ticks: unwrap(newest, seen.tsval) };
        if self.explains(newest, point) {
            let oddity = self.suspect.take().map(|suspect| self.lone(newest, suspect));
            self.hop_limit = seen.hop_limit;
            return (self.advance(newest, point, seen.handshake), oddity);
        }
        self.doubt(newest, seen)
    }

    /// What became of a suspect when no segment came after it.
    pub fn close(&mut self) -> Option<Oddity> {
        let newest = self.newest?;
        self.suspect.take().map(|suspect| self.lone(newest, suspect))
    }

    /// Judges a value echoed at `time_ns`.
    pub fn judge_echo(&self, tsecr: u32, time_ns: u64) -> Echo {
        let (Some(newest), Some(first)) = (self.newest, self.first) else { return Echo::Unknown };
        let ticks = unwrap(newest, tsecr);
        let of_suspect = self.suspect.is_some_and(|suspect| suspect.point.ticks as u32 == tsecr);
        let of_former = self.former.is_some_and(|former| self.explains(former, point(former, tsecr)));
        if of_suspect || of_former {
            return Echo::Unknown;
        }
        let ahead = (ticks - newest.ticks) as f64;
        let elapsed_s = seconds_between(newest.time_ns, time_ns).abs();
        let too_new = ahead > SMALL_TICKS + (elapsed_s + 1.0) * self.fastest_hz();
        let too_old = self.from_start && ((first.ticks - ticks) as f64) > SMALL_TICKS;
        if too_new || too_old {
            Echo::NeverSent { newest: newest.ticks as u32 }
        } else {
            Echo::Possible(ticks)
        }
    }

    /// Whether a segment with this TTL came from where the side's others come from.
    pub fn is_usual(&self, hop_limit: u8) -> bool {
        self.newest.is_none() || self.hop_limit == hop_limit
    }

    /// What is odd about a SYN that opens these ports anew, if anything: a TSval that PAWS refuses.
    pub fn reopened_by(&self, seen: &Seen) -> Option<Oddity> {
        let newest = self.newest?;
        let back = (newest.ticks - unwrap(newest, seen.tsval)) as f64;
        if back <= SMALL_TICKS {
            return None;
        }
        let young = f64::from(seen.tsval) < YOUNG_S * self.pace_hz().unwrap_or(1000.0);
        let cause = if young {
            Cause::Reboot
        } else if !self.is_usual(seen.hop_limit) {
            Cause::OtherMachine
        } else {
            Cause::PortReuse
        };
        Some(self.oddity(Kind::ReusedBack, cause, seen.time_ns, seen.tsval, newest))
    }

    /// Whether `seen` could be this clock's, as far as a step can tell.
    pub fn could_show(&self, seen: &Seen) -> bool {
        self.newest.is_none_or(|newest| self.explains(newest, point_of(newest, seen)))
    }

    fn restart(&mut self, seen: &Seen, ticks: i64) -> Step {
        let point = Point { time_ns: seen.time_ns, ticks };
        (self.first, self.newest) = (Some(point), Some(point));
        self.hop_limit = seen.hop_limit;
        self.from_handshake = seen.handshake;
        Step::Restart(ticks)
    }

    fn advance(&mut self, newest: Point, point: Point, handshake: bool) -> Step {
        match point.ticks.cmp(&newest.ticks) {
            std::cmp::Ordering::Greater => {
                self.newest = Some(point);
                self.from_handshake = handshake;
                Step::New(point.ticks)
            }
            std::cmp::Ordering::Equal => Step::Repeat(point.ticks),
            std::cmp::Ordering::Less => Step::Late(point.ticks),
        }
    }

    /// A value that the clock doesn't explain: the second that agrees with the first restarts it.
    fn doubt(&mut self, newest: Point, seen: &Seen) -> (Step, Option<Oddity>) {
        let returns = self.former.is_some_and(|former| self.explains(former, point_of(former, seen)));
        let agreed = self.suspect.filter(|suspect| {
            let point = point_of(suspect.point, seen);
            let elapsed_s = seconds_between(suspect.point.time_ns, point.time_ns);
            self.explains(suspect.point, point)
                && point.ticks >= suspect.point.ticks
                && (point.ticks > suspect.point.ticks || elapsed_s >= DUPLICATE_S)
        });
        if !returns && agreed.is_none() {
            let point = Point { time_ns: seen.time_ns, ticks: i64::from(seen.tsval) };
            let replaced = self.suspect.replace(Suspect { point, hop_limit: seen.hop_limit });
            return (Step::Odd, replaced.map(|suspect| self.lone(newest, suspect)));
        }
        let odd = agreed.map_or(
            Suspect {
                point: Point { time_ns: seen.time_ns, ticks: seen.tsval.into() },
                hop_limit: seen.hop_limit,
            },
            |suspect| suspect,
        );
        let cause = if returns || odd.hop_limit != self.hop_limit {
            Cause::OtherMachine
        } else if self.from_handshake {
            Cause::SynProxy
        } else {
            Cause::Middlebox
        };
        let oddity = self.step_oddity(newest, odd, cause);
        self.former = Some(newest);
        self.suspect = None;
        self.from_start = false;
        (self.restart(seen, i64::from(seen.tsval)), Some(oddity))
    }

    fn lone(&self, newest: Point, suspect: Suspect) -> Oddity {
        let cause = if suspect.hop_limit == self.hop_limit { Cause::Corrupted } else { Cause::Spoofed };
        self.step_oddity(newest, suspect, cause)
    }

    fn step_oddity(&self, newest: Point, odd: Suspect, cause: Cause) -> Oddity {
        let value = odd.point.ticks as u32;
        let kind = if unwrap(newest, value) < newest.ticks { Kind::Back } else { Kind::Leap };
        self.oddity(kind, cause, odd.point.time_ns, value, newest)
    }

    fn oddity(&self, kind: Kind, cause: Cause, time_ns: u64, value: u32, newest: Point) -> Oddity {
        Oddity { time_ns, kind, cause, value, newest: newest.ticks as u32 }
    }

    /// Whether one clock can have shown `from` and then `to`: not faster (a second's delay allowed
    /// for), and not further back than segments come late.
    fn explains(&self, from: Point, to: Point) -> bool {
        let step = (to.ticks - from.ticks) as f64;
        let elapsed_s = seconds_between(from.time_ns, to.time_ns).abs();
        if step >= 0.0 {
            step <= SMALL_TICKS + (elapsed_s + 1.0) * self.fastest_hz()
        } else {
            -step <= SMALL_TICKS + LATE_S * self.pace_hz().map_or(MAX_TICK_HZ, |pace_hz| 1.5 * pace_hz)
        }
    }

    /// The fastest pace to believe: any until the pace is known, then four times that, since delays
    /// stretch and compress what arrives.
    fn fastest_hz(&self) -> f64 {
        self.pace_hz().map_or(MAX_TICK_HZ, |pace_hz| (4.0 * pace_hz).clamp(4.0, MAX_TICK_HZ))
    }

    fn pace_hz(&self) -> Option<f64> {
        let (first, newest) = (self.first?, self.newest?);
        let elapsed_s = seconds_between(first.time_ns, newest.time_ns);
        (elapsed_s >= PACE_S).then(|| (newest.ticks - first.ticks) as f64 / elapsed_s)
    }
}

/// Serial-number arithmetic (RFC 1982; RFC 7323, section 5.2): the unwrapped value nearest to
/// `newest`.
fn unwrap(newest: Point, tsval: u32) -> i64 {
    newest.ticks + i64::from(tsval.wrapping_sub(newest.ticks as u32).cast_signed())
}

/// `tsval` as if seen together with `newest`.
fn point(newest: Point, tsval: u32) -> Point {
    Point { time_ns: newest.time_ns, ticks: unwrap(newest, tsval) }
}

fn point_of(newest: Point, seen: &Seen) -> Point {
    Point { time_ns: seen.time_ns, ..point(newest, seen.tsval) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn seen(time_ms: u64, tsval: u32) -> Seen {
        Seen { time_ns: time_ms * MS, tsval, hop_limit: 64, handshake: false }
    }

    /// A side of 1 kHz that has run for a second.
    fn running() -> Tsvals {
        let mut tsvals = Tsvals::default();
        for i in 0..=10 {
            let (step, oddity) = tsvals.see(&seen(i * 100, 5_000_000 + 100 * i as u32));
            assert!(matches!(step, Step::New(_) | Step::Restart(_)) && oddity.is_none());
        }
        tsvals
    }

    fn found(tsvals: &mut Tsvals, segments: &[Seen]) -> Vec<(Kind, Cause)> {
        let mut found: Vec<Oddity> = segments.iter().filter_map(|seen| tsvals.see(seen).1).collect();
        found.extend(tsvals.close());
        found.iter().map(|oddity| (oddity.kind, oddity.cause)).collect()
    }

    #[test]
    fn reordering_and_the_wrap_are_no_oddities() {
        let mut tsvals = running();
        assert_eq!(tsvals.see(&seen(1_010, 5_000_990)), (Step::Late(5_000_990), None));
        assert_eq!(tsvals.see(&seen(1_020, 5_001_000)), (Step::Repeat(5_001_000), None));
        let mut wrapping = Tsvals::default();
        wrapping.see(&seen(0, u32::MAX - 500));
        wrapping.see(&seen(600, 99));
        assert_eq!(wrapping.newest().map(|newest| newest.ticks), Some((1 << 32) + 99));
        assert_eq!(wrapping.see(&seen(601, u32::MAX)).0, Step::Late(u32::MAX.into()));
    }

    #[test]
    fn a_lone_segment_is_spoofed_or_corrupted() {
        let spoofed = Seen { hop_limit: 250, ..seen(1_100, 77) };
        assert_eq!(found(&mut running(), &[spoofed, seen(1_200, 5_001_200)]), [(Kind::Back, Cause::Spoofed)]);
        let corrupted = seen(1_100, 5_001_100 ^ 1 << 30);
        assert_eq!(
            found(&mut running(), &[corrupted, seen(1_200, 5_001_200)]),
            [(Kind::Leap, Cause::Corrupted)]
        );
        assert_eq!(found(&mut running(), &[corrupted]), [(Kind::Leap, Cause::Corrupted)], "also at the end");
        assert_eq!(
            found(&mut running(), &[corrupted, corrupted, seen(1_200, 5_001_200)]),
            [(Kind::Leap, Cause::Corrupted)],
            "seen twice, on its way in and out"
        );
    }

    #[test]
    fn a_clock_that_stays_is_another_one() {
        let moved = [seen(1_100, 1_000_000), seen(1_150, 1_000_050), seen(1_200, 1_000_100)];
        assert_eq!(found(&mut running(), &moved), [(Kind::Back, Cause::Middlebox)]);
        let elsewhere = moved.map(|segment| Seen { hop_limit: 60, ..segment });
        assert_eq!(found(&mut running(), &elsewhere), [(Kind::Back, Cause::OtherMachine)]);
    }

    #[test]
    fn two_clocks_that_take_turns_are_two_machines() {
        let turns =
            [seen(1_100, 9_000_000), seen(1_150, 9_000_050), seen(1_200, 5_001_200), seen(1_250, 9_000_150)];
        assert_eq!(
            found(&mut running(), &turns),
            [
                (Kind::Leap, Cause::Middlebox),
                (Kind::Back, Cause::OtherMachine),
                (Kind::Leap, Cause::OtherMachine)
            ]
        );
    }

    #[test]
    fn a_change_after_the_handshake_is_a_syn_proxy() {
        let mut tsvals = Tsvals::default();
        tsvals.see(&Seen { handshake: true, ..seen(0, 4_000_000_000) });
        assert_eq!(
            found(&mut tsvals, &[seen(20, 70_000), seen(40, 70_020)]),
            [(Kind::Leap, Cause::SynProxy)]
        );
    }

    #[test]
    fn a_long_silence_says_nothing() {
        let mut tsvals = running();
        let month_ms = 30 * 86_400_000;
        assert_eq!(tsvals.see(&seen(month_ms, 123)), (Step::Restart(123), None));
    }

    #[test]
    fn ports_used_again_with_an_older_value_are_told() {
        let tsvals = running();
        let cause = |seen: &Seen| tsvals.reopened_by(seen).map(|oddity| oddity.cause);
        assert_eq!(cause(&seen(2_000, 5_002_000)), None);
        assert_eq!(cause(&seen(2_000, 4_000_000)), Some(Cause::PortReuse));
        assert_eq!(cause(&Seen { hop_limit: 61, ..seen(2_000, 4_000_000) }), Some(Cause::OtherMachine));
        assert_eq!(cause(&seen(2_000, 90_000)), Some(Cause::Reboot));
    }

    #[test]
    fn echoes_of_values_never_sent_are_known() {
        let mut tsvals = Tsvals::default();
        assert_eq!(tsvals.judge_echo(5, 0), Echo::Unknown);
        tsvals.see(&Seen { handshake: true, ..seen(0, 1_000_000) });
        tsvals.see(&seen(1_000, 1_001_000));
        assert_eq!(tsvals.judge_echo(1_001_000, 1_010 * MS), Echo::Possible(1_001_000));
        assert_eq!(
            tsvals.judge_echo(1_003_000, 1_010 * MS),
            Echo::Possible(1_003_000),
            "within a second's doubt"
        );
        let never = Echo::NeverSent { newest: 1_001_000 };
        assert_eq!(tsvals.judge_echo(1_050_000, 1_010 * MS), never);
        assert_eq!(tsvals.judge_echo(999_000, 1_010 * MS), never, "from before the connection");
    }
}
