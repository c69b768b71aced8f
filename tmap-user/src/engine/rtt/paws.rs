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

use crate::engine::{
    tsval::{self, Pace, Relation, SMALL_TICKS, Suspect},
    types::{FlowKey, Point, seconds_between},
};

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
pub struct Oddity {
    /// When the odd segment was seen, engine time.
    pub time_ns: u64,
    /// What was odd.
    pub kind: Kind,
    /// What most likely made it.
    pub cause: Cause,
    /// The odd value: a TSval, or for [`Kind::NeverSent`] a TSecr.
    pub value: u32,
    /// The newest TSval before it, of the side that the value belongs to.
    pub newest: u32,
}

/// An oddity, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// The side that sent the odd segment.
    pub key: FlowKey,
    /// What was odd about it.
    pub oddity: Oddity,
}

/// What a TSval means in the order of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Newer than all before: its first arrival. Unwrapped ticks.
    New(i64),
    /// The newest one again.
    Repeat(i64),
    /// An earlier one, within reordering.
    Late(i64),
    /// As [`Arrival::New`], of a clock that has nothing to do with what came before.
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
    odd: Option<OddSegment>,
    /// The clock that was left at the last restart.
    former: Option<Point>,
}

/// A TSval that the clock can't have shown, and the TTL or hop limit that it came with.
#[derive(Clone, Copy, Debug)]
struct OddSegment {
    suspect: Suspect,
    hop_limit: u8,
}

impl Tsvals {
    /// The newest TSval, unwrapped.
    pub fn newest(&self) -> Option<Point> {
        self.newest
    }

    /// The clock's rate in Hz; `None` where too little was seen of it.
    pub fn hz(&self) -> Option<f64> {
        self.pace().hz()
    }

    /// Takes in a TSval; tells its place in the order, and what turned out to be odd, if anything.
    pub fn see(&mut self, seen: &Seen) -> (Arrival, Option<Oddity>) {
        let Some(newest) = self.newest else {
            self.from_start = seen.handshake;
            return (self.restart(seen, i64::from(seen.tsval)), None);
        };
        if self.odd.is_some_and(|odd| odd.suspect.is_repeated_by(seen.time_ns, seen.tsval)) {
            return (Arrival::Odd, None);
        }
        let point = tsval::point(newest, seen.time_ns, seen.tsval);
        match self.pace().relate(newest, point) {
            Relation::Unknown => {
                let arrival = self.restart(seen, i64::from(seen.tsval));
                (self.former, self.odd, self.from_start) = (None, None, false);
                (arrival, None)
            }
            Relation::Continues => {
                let oddity = self.odd.take().map(|odd| self.lone(newest, odd));
                self.hop_limit = seen.hop_limit;
                (self.advance(newest, point, seen.handshake), oddity)
            }
            Relation::Contradicts => self.doubt(newest, seen),
        }
    }

    /// What became of a suspect when no segment came after it.
    pub fn close(&mut self) -> Option<Oddity> {
        let newest = self.newest?;
        self.odd.take().map(|odd| self.lone(newest, odd))
    }

    /// Judges a value echoed at `time_ns`.
    pub fn judge_echo(&self, tsecr: u32, time_ns: u64) -> Echo {
        let (Some(newest), Some(first)) = (self.newest, self.first) else { return Echo::Unknown };
        let ticks = tsval::unwrap(newest, tsecr);
        let of_odd = self.odd.is_some_and(|odd| odd.suspect.point.ticks as u32 == tsecr);
        let of_former = self.former.is_some_and(|former| self.continues(former, former.time_ns, tsecr));
        if of_odd || of_former {
            return Echo::Unknown;
        }
        let ahead = (ticks - newest.ticks) as f64;
        let elapsed_s = seconds_between(newest.time_ns, time_ns).abs();
        let too_new = ahead > self.pace().most_ticks(elapsed_s);
        let too_old = self.from_start && first.ticks - ticks > i64::from(SMALL_TICKS);
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
        let back = newest.ticks - tsval::unwrap(newest, seen.tsval);
        if back <= i64::from(SMALL_TICKS) {
            return None;
        }
        let young = f64::from(seen.tsval) < YOUNG_S * self.pace().hz().unwrap_or(1000.0);
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
        self.newest.is_none_or(|newest| {
            let point = tsval::point(newest, seen.time_ns, seen.tsval);
            self.pace().relate(newest, point) != Relation::Contradicts
        })
    }

    fn restart(&mut self, seen: &Seen, ticks: i64) -> Arrival {
        let point = Point { time_ns: seen.time_ns, ticks };
        (self.first, self.newest) = (Some(point), Some(point));
        self.hop_limit = seen.hop_limit;
        self.from_handshake = seen.handshake;
        Arrival::Restart(ticks)
    }

    fn advance(&mut self, newest: Point, point: Point, handshake: bool) -> Arrival {
        match point.ticks.cmp(&newest.ticks) {
            std::cmp::Ordering::Greater => {
                self.newest = Some(point);
                self.from_handshake = handshake;
                Arrival::New(point.ticks)
            }
            std::cmp::Ordering::Equal => Arrival::Repeat(point.ticks),
            std::cmp::Ordering::Less => Arrival::Late(point.ticks),
        }
    }

    /// A value that the clock can't have shown: the second one that agrees with the first restarts it, and
    /// so does the clock that was left before.
    fn doubt(&mut self, newest: Point, seen: &Seen) -> (Arrival, Option<Oddity>) {
        let this = OddSegment { suspect: Suspect::new(seen.time_ns, seen.tsval), hop_limit: seen.hop_limit };
        let returns = self.former.is_some_and(|former| self.continues(former, seen.time_ns, seen.tsval));
        let agreed = self.odd.filter(|odd| odd.suspect.is_borne_out_by(seen.time_ns, seen.tsval));
        if !returns && agreed.is_none() {
            let replaced = self.odd.replace(this);
            return (Arrival::Odd, replaced.map(|odd| self.lone(newest, odd)));
        }
        let odd = agreed.unwrap_or(this);
        let cause = if returns || odd.hop_limit != self.hop_limit {
            Cause::OtherMachine
        } else if self.from_handshake {
            Cause::SynProxy
        } else {
            Cause::Middlebox
        };
        let oddity = self.step_oddity(newest, odd, cause);
        self.former = Some(newest);
        self.odd = None;
        self.from_start = false;
        let from = odd.suspect.point;
        let next = tsval::point(from, seen.time_ns, seen.tsval);
        let arrival = self.restart(seen, next.ticks);
        self.first = Some(from);
        if next.ticks == from.ticks {
            // The newest value's time is that of its first arrival.
            self.newest = Some(from);
        }
        (arrival, Some(oddity))
    }

    fn lone(&self, newest: Point, odd: OddSegment) -> Oddity {
        let cause = if odd.hop_limit == self.hop_limit { Cause::Corrupted } else { Cause::Spoofed };
        self.step_oddity(newest, odd, cause)
    }

    fn step_oddity(&self, newest: Point, odd: OddSegment, cause: Cause) -> Oddity {
        let Point { time_ns, ticks } = odd.suspect.point;
        let value = ticks as u32;
        let kind = if tsval::unwrap(newest, value) < newest.ticks { Kind::Back } else { Kind::Leap };
        self.oddity(kind, cause, time_ns, value, newest)
    }

    fn oddity(&self, kind: Kind, cause: Cause, time_ns: u64, value: u32, newest: Point) -> Oddity {
        Oddity { time_ns, kind, cause, value, newest: newest.ticks as u32 }
    }

    /// Whether `tsval` at `time_ns` continues a clock of this side's pace whose newest point was `from`.
    fn continues(&self, from: Point, time_ns: u64, tsval: u32) -> bool {
        self.pace().relate(from, tsval::point(from, time_ns, tsval)) == Relation::Continues
    }

    fn pace(&self) -> Pace {
        let (Some(first), Some(newest)) = (self.first, self.newest) else { return Pace::UNKNOWN };
        Pace::between(first, newest)
    }
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
            assert!(matches!(step, Arrival::New(_) | Arrival::Restart(_)) && oddity.is_none());
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
        assert_eq!(tsvals.see(&seen(1_010, 5_000_990)), (Arrival::Late(5_000_990), None));
        assert_eq!(tsvals.see(&seen(1_020, 5_001_000)), (Arrival::Repeat(5_001_000), None));
        let mut wrapping = Tsvals::default();
        wrapping.see(&seen(0, u32::MAX - 500));
        wrapping.see(&seen(600, 99));
        assert_eq!(wrapping.newest().map(|newest| newest.ticks), Some((1 << 32) + 99));
        assert_eq!(wrapping.see(&seen(601, u32::MAX)).0, Arrival::Late(u32::MAX.into()));
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
        assert_eq!(tsvals.see(&seen(month_ms, 123)), (Arrival::Restart(123), None));
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
