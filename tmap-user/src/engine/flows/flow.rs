//! One connection side, streaming: from TSvals as they arrive to an envelope of first arrivals.

use tmap_common::{Flags, Record, Tunnel};

use crate::engine::{
    clock::envelope::Envelope,
    os::signature::Fingerprint,
    phase::sample::Sample,
    tsval::{self, Pace, Relation, SMALL_TICKS, Suspect},
    types::{Point, Side},
};

/// A connection side in the making.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Time of the first segment.
    pub first_ns: u64,
    /// Time of the latest segment.
    pub last_ns: u64,
    /// Time-stamped segments, suppressed ones included.
    pub segments: u64,
    /// Bytes of data in them; 0 where round trips are measured, or where IP headers leave the length open.
    pub payload_bytes: u64,
    /// Segments whose TSval was 0: no clock.
    pub zero_tsvals: u64,
    /// TSvals that went back, or jumped as no clock does, and stayed there: the clock was started
    /// anew from the jump.
    pub jumps: u32,
    /// When FIN or RST was first seen.
    pub closed_ns: Option<u64>,
    /// Which end opened the connection, if the handshake was seen.
    pub side: Option<Side>,
    /// The handshake's fingerprint, if it was seen.
    pub fingerprint: Option<Fingerprint>,
    /// TTL or hop limit of the first segment: those of later ones may be forged.
    pub hop_limit: u8,
    /// The tunnel that its first segment came in: later ones may be forged.
    pub tunnel: Option<Tunnel>,
    /// First arrivals of TSvals.
    pub envelope: Envelope,
    /// An unselected sample of them.
    pub sample: Sample,
    /// The newest TSval, unwrapped, and when it arrived.
    newest: Option<Point>,
    /// A TSval that this clock can't have shown, held until a second one bears it out.
    suspect: Option<Suspect>,
    /// A clock that contradicts this one, since when this one is silent.
    rival: Option<Box<Rival>>,
    /// What lies far behind the newest TSval.
    behind: Option<Behind>,
}

/// A clock that contradicts its connection's: it takes over once it has shown as much. So whoever forges
/// segments of a connection must send as many as the connection itself, before another one of it comes.
#[derive(Clone, Debug)]
struct Rival {
    envelope: Envelope,
    sample: Sample,
    newest: Point,
}

/// TSvals that lie further behind the newest one than segments come late, and go on among themselves.
#[derive(Clone, Copy, Debug)]
struct Behind {
    newest: u32,
    count: u8,
}

/// So many of them show that the newest TSval was no clock's, and are counted as a jump. Fewer may be late.
const MANY_BEHIND: u8 = 4;

impl Rival {
    fn new(first: Point) -> Self {
        let mut rival = Self { envelope: Envelope::default(), sample: Sample::default(), newest: first };
        rival.accept(first);
        rival
    }

    fn accept(&mut self, point: Point) {
        self.newest = point;
        self.envelope.add(point);
        self.sample.add(point);
    }

    /// Takes in a TSval of this clock; false where it is none.
    fn goes_on_with(&mut self, record: &Record) -> bool {
        let point = tsval::point(self.newest, record.time_ns, record.segment.tsval);
        let goes_on = pace(&self.envelope).relate(self.newest, point) == Relation::Continues;
        if goes_on && point.ticks > self.newest.ticks {
            self.accept(point);
        }
        goes_on
    }
}

fn pace(envelope: &Envelope) -> Pace {
    let [first, .., last] = envelope.points() else { return Pace::UNKNOWN };
    Pace::between(*first, *last)
}

impl Flow {
    /// An empty side that begins with `record`; the caller observes that record next.
    pub fn new(record: &Record) -> Self {
        Self { hop_limit: record.segment.hop_limit, ..Self::at(record.time_ns) }
    }

    /// A side of which nothing is known but the time of its first segment.
    pub(super) fn at(first_ns: u64) -> Self {
        Self {
            first_ns,
            last_ns: first_ns,
            segments: 0,
            payload_bytes: 0,
            zero_tsvals: 0,
            jumps: 0,
            closed_ns: None,
            side: None,
            fingerprint: None,
            hop_limit: 0,
            tunnel: None,
            envelope: Envelope::default(),
            sample: Sample::default(),
            newest: None,
            suspect: None,
            rival: None,
            behind: None,
        }
    }

    /// Takes in one segment of this side.
    pub fn observe(&mut self, record: &Record) {
        let segment = &record.segment;
        self.last_ns = self.last_ns.max(record.time_ns);
        if self.segments == 0 {
            self.tunnel = segment.tunnel;
        }
        self.segments += 1 + u64::from(record.suppressed);
        self.payload_bytes += u64::from(segment.payload_bytes);
        // A handshake has one beginning: another one may be forged.
        if segment.syn.is_some() && self.side.is_none() {
            self.fingerprint = Fingerprint::of(segment);
            self.side = Some(if segment.flags.is_syn_ack() { Side::Server } else { Side::Client });
        }
        if segment.flags.intersects(Flags::FIN | Flags::RST) && self.closed_ns.is_none() {
            self.closed_ns = Some(record.time_ns);
        }
        self.observe_clock(record);
    }

    /// Whether `record` opens a new connection on the same ports rather than going on with this
    /// one: a SYN after a FIN or RST, or a SYN whose TSval this clock doesn't explain.
    pub fn is_reopened_by(&self, record: &Record) -> bool {
        if !record.segment.flags.is_syn() {
            return false;
        }
        self.closed_ns.is_some() || !self.explains(record)
    }

    /// Whether this clock can have shown the TSval of `record`; any clock, where there is none yet.
    pub(super) fn explains(&self, record: &Record) -> bool {
        self.newest.is_none_or(|newest| self.relate(newest, record) != Relation::Contradicts)
    }

    /// Whether this clock surely goes on with the TSval of `record`.
    pub(super) fn continues(&self, record: &Record) -> bool {
        self.newest.is_some_and(|newest| {
            self.relate(newest, record) == Relation::Continues && !self.is_far_behind(newest, record)
        })
    }

    /// Whether a TSval lies further behind the newest one than segments come late, of a clock whose pace
    /// isn't known yet. Of such a clock nearly any step forward is believed, so the newest may be forged.
    fn is_far_behind(&self, newest: Point, record: &Record) -> bool {
        let behind = newest.ticks - tsval::unwrap(newest, record.segment.tsval);
        behind > i64::from(SMALL_TICKS) && pace(&self.envelope).hz().is_none()
    }

    fn relate(&self, newest: Point, record: &Record) -> Relation {
        pace(&self.envelope).relate(newest, tsval::point(newest, record.time_ns, record.segment.tsval))
    }

    /// Whether a TSval that this clock can't have shown waits to be borne out, or another clock to take over.
    pub(super) fn has_suspect(&self) -> bool {
        self.suspect.is_some() || self.rival.is_some() || self.behind.is_some()
    }

    /// TSval and time of the newest point, for jumps and for matching connections with too few
    /// points for a clock of their own.
    pub fn newest(&self) -> Option<Point> {
        self.newest
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let of_rival =
            |rival: &Rival| size_of::<Rival>() + rival.envelope.heap_bytes() + rival.sample.heap_bytes();
        self.envelope.heap_bytes() + self.sample.heap_bytes() + self.rival.as_deref().map_or(0, of_rival)
    }

    /// Takes in what `record` says of the clock.
    pub(super) fn observe_clock(&mut self, record: &Record) {
        let segment = &record.segment;
        if segment.tsval == 0 {
            self.zero_tsvals += 1;
            return;
        }
        // Under SYN cookies the low six bits of a SYN-ACK's TSval carry options, not time. A RST with a TSval
        // is often made by a middlebox instead of the socket, and no receiver checks it (RFC 7323, 5.2).
        if segment.flags.is_syn_ack() || segment.flags.intersects(Flags::RST) {
            return;
        }
        let Some(newest) = self.newest else {
            self.accept(Point { time_ns: record.time_ns, ticks: i64::from(segment.tsval) });
            return;
        };
        if self.suspect.is_some_and(|suspect| suspect.is_repeated_by(record.time_ns, segment.tsval)) {
            return;
        }
        // What the other clock showed last may be a repetition, which the sensor leaves out
        // ([`tmap_common::suppress`]), however plausible it becomes to this clock in the meantime.
        if self.rival.as_ref().is_some_and(|rival| rival.newest.ticks as u32 == segment.tsval) {
            return;
        }
        let point = tsval::point(newest, record.time_ns, segment.tsval);
        match pace(&self.envelope).relate(newest, point) {
            Relation::Continues if self.is_far_behind(newest, record) => self.fall_behind(segment.tsval),
            Relation::Continues => {
                // This clock goes on, so what contradicted it was none of this connection's.
                (self.suspect, self.rival) = (None, None);
                if point.ticks > newest.ticks {
                    self.behind = None;
                    self.accept(point);
                }
            }
            Relation::Unknown => {
                (self.suspect, self.rival) = (None, None);
                self.start_anew(Suspect::new(record.time_ns, segment.tsval).point);
            }
            Relation::Contradicts => self.doubt(record),
        }
    }

    /// A lone outlier (a spoofed or corrupted segment) is dropped; two that agree are another clock, which
    /// takes over once it has shown as much as this one.
    fn doubt(&mut self, record: &Record) {
        if let Some(rival) = &mut self.rival
            && rival.goes_on_with(record)
        {
            self.suspect = None;
            return self.change_clocks();
        }
        let tsval = record.segment.tsval;
        let borne_out = self.suspect.filter(|suspect| suspect.is_borne_out_by(record.time_ns, tsval));
        let Some(Suspect { point: first }) = borne_out else {
            self.suspect = Some(Suspect::new(record.time_ns, tsval));
            return;
        };
        self.suspect = None;
        self.jumps += 1;
        let mut rival = Rival::new(first);
        rival.goes_on_with(record);
        self.rival = Some(Box::new(rival));
        self.change_clocks();
    }

    /// Takes in a TSval that lies far behind. It changes no clock, since there is no telling which of the two
    /// is the connection's.
    fn fall_behind(&mut self, tsval: u32) {
        let Behind { newest, count } =
            self.behind.unwrap_or(Behind { newest: tsval.wrapping_sub(1), count: 0 });
        if tsval.wrapping_sub(newest).cast_signed() > 0 {
            let count = count.saturating_add(1);
            self.jumps += u32::from(count == MANY_BEHIND);
            self.behind = Some(Behind { newest: tsval, count });
        }
    }

    /// Goes on with the other clock, where that has shown as much.
    fn change_clocks(&mut self) {
        let has_more = |rival: &mut Box<Rival>| rival.envelope.offered() >= self.envelope.offered();
        if let Some(rival) = self.rival.take_if(has_more) {
            let Rival { envelope, sample, newest } = *rival;
            (self.envelope, self.sample, self.newest) = (envelope, sample, Some(newest));
            self.behind = None;
        }
    }

    /// Begins the clock again at `point`: what came before says nothing about what comes.
    fn start_anew(&mut self, point: Point) {
        self.envelope = Envelope::default();
        self.sample = Sample::default();
        self.behind = None;
        self.accept(point);
    }

    /// Takes in first arrivals of plausible TSvals, but for the sample.
    pub(super) fn extend_envelope(&mut self, points: impl Iterator<Item = Point>) {
        let mut newest = self.newest;
        self.envelope.extend(points.inspect(|&point| newest = Some(point)));
        self.newest = newest;
    }

    /// Takes in first arrivals of plausible TSvals: [`Flow::accept`] for each, at less cost.
    pub(super) fn accept_all(&mut self, points: impl Iterator<Item = Point>) {
        let (mut newest, sample) = (self.newest, &mut self.sample);
        self.envelope.extend(points.inspect(|&point| {
            newest = Some(point);
            sample.add(point);
        }));
        self.newest = newest;
    }

    /// Takes in the first arrival of a plausible TSval.
    pub(super) fn accept(&mut self, point: Point) {
        self.newest = Some(point);
        self.envelope.add(point);
        self.sample.add(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tmap_common::{Address, Segment, Syn, record::Direction};

    fn record(time_ns: u64, tsval: u32, flags: u8) -> Record {
        Record {
            time_ns,
            direction: Direction::Ingress,
            suppressed: 0,
            segment: Segment {
                src: Address::from_ip4([192, 0, 2, 1]),
                dst: Address::from_ip4([198, 51, 100, 1]),
                src_port: 40000,
                dst_port: 80,
                flags: Flags(flags),
                has_payload: false,
                payload_bytes: 0,
                hop_limit: 64,
                tsval,
                tsecr: 0,
                syn: None,
                tunnel: None,
            },
        }
    }

    fn flow(records: &[Record]) -> Flow {
        let mut flow = Flow::new(&records[0]);
        for record in records {
            flow.observe(record);
        }
        flow
    }

    #[test]
    fn tsvals_unwrap_across_the_wrap() {
        let flow = flow(&[record(0, u32::MAX - 5, 0x10), record(10_000_000, 4, 0x10)]);
        let points = flow.envelope.points();
        assert_eq!(points[1].ticks - points[0].ticks, 10);
    }

    #[test]
    fn only_the_first_arrival_of_a_tsval_counts() {
        let flow =
            flow(&[record(0, 100, 0x10), record(5, 101, 0x10), record(9, 101, 0x10), record(11, 100, 0x10)]);
        assert_eq!(flow.envelope.offered(), 2);
        assert_eq!(flow.segments, 4);
    }

    #[test]
    fn zeros_syn_acks_and_resets_are_no_clock() {
        let mut syn_ack = record(1, 77, 0x12);
        syn_ack.segment.syn = Some(Syn::default());
        let flow = flow(&[record(0, 0, 0x02), syn_ack, record(2, 99, 0x04)]);
        assert_eq!(flow.envelope.offered(), 0);
        assert_eq!((flow.zero_tsvals, flow.side, flow.closed_ns), (1, Some(Side::Server), Some(2)));
    }

    const MS: u64 = 1_000_000;

    /// With a handshake's options.
    fn shaking_hands(mut record: Record) -> Record {
        record.segment.syn = Some(Syn::default());
        record
    }

    #[test]
    fn a_syn_alone_tells_side_handshake_and_offset() {
        let flow = flow(&[shaking_hands(record(5, 1_000, 0x02))]);
        assert_eq!((flow.side, flow.fingerprint.is_some(), flow.closed_ns), (Some(Side::Client), true, None));
        assert_eq!(flow.envelope.points(), [Point { time_ns: 5, ticks: 1_000 }]);
    }

    /// Whoever forges a SYN, or a SYN-ACK, with another fingerprint.
    #[test]
    fn a_handshake_has_one_beginning() {
        let own = [shaking_hands(record(0, 1_000, 0x02)), record(MS, 1_001, 0x10)];
        let mut forged = shaking_hands(record(2 * MS, 1_002, 0x12));
        forged.segment.syn = Some(Syn { window: 7, ..Syn::default() });
        forged.segment.hop_limit = 200;
        let (alone, attacked) = (flow(&own), flow(&[own[0], own[1], forged]));
        assert_eq!((attacked.side, attacked.hop_limit), (Some(Side::Client), 64));
        assert_eq!(attacked.fingerprint, alone.fingerprint);
    }

    #[test]
    fn a_syn_sent_again_is_one_more_point() {
        let syns = [(0, 1_000), (1_000 * MS, 2_000), (3_000 * MS, 4_000)];
        let flow = flow(&syns.map(|(time_ns, tsval)| shaking_hands(record(time_ns, tsval, 0x02))));
        assert_eq!((flow.side, flow.segments, flow.jumps), (Some(Side::Client), 3, 0));
        assert_eq!(flow.envelope.offered(), 3);
        assert!(!flow.is_reopened_by(&record(7_000 * MS, 8_000, 0x02)));
    }

    /// Linux sets the TSval of a cookie back to what its options need, by up to 63 ticks.
    #[test]
    fn a_syn_cookie_is_no_point_and_hinders_none() {
        let cookie = shaking_hands(record(0, 1_000_063 - 63, 0x12));
        let flow = flow(&[cookie, record(MS, 1_000_064, 0x10), record(9 * MS, 1_000_072, 0x10)]);
        assert_eq!((flow.side, flow.fingerprint.is_some(), flow.jumps), (Some(Side::Server), true, 0));
        let ticks: Vec<i64> = flow.envelope.points().iter().map(|point| point.ticks).collect();
        assert_eq!(ticks, [1_000_064, 1_000_072]);
    }

    #[test]
    fn a_fin_is_a_point_and_the_end() {
        let flow = flow(&[record(0, 100, 0x10), record(10 * MS, 110, 0x11)]);
        assert_eq!((flow.envelope.offered(), flow.closed_ns), (2, Some(10 * MS)));
    }

    #[test]
    fn an_acknowledgement_in_time_wait_goes_on_with_the_clock() {
        let closed = flow(&[record(0, 100, 0x10), record(10 * MS, 110, 0x11), record(50 * MS, 150, 0x10)]);
        assert_eq!((closed.envelope.offered(), closed.jumps, closed.closed_ns), (3, 0, Some(10 * MS)));
    }

    /// A middlebox or another socket may have made it, with any TSval, twice.
    #[test]
    fn a_reset_ends_the_connection_and_leaves_its_clock() {
        let strange = [record(20 * MS, 3_000_000_000, 0x14), record(21 * MS, 3_000_000_001, 0x14)];
        let own = [record(0, 100, 0x10), record(10 * MS, 110, 0x10)];
        let flow = flow(&[own[0], own[1], strange[0], strange[1], record(30 * MS, 130, 0x10)]);
        assert_eq!((flow.envelope.offered(), flow.jumps, flow.closed_ns), (3, 0, Some(20 * MS)));
    }

    #[test]
    fn keep_alives_show_the_clock_for_as_long_as_they_come() {
        let minute = |count: u32| record(u64::from(count) * 60_000 * MS, 100 + count * 60_000, 0x10);
        let flow = flow(&[minute(0), minute(1), minute(2)]);
        assert_eq!((flow.envelope.offered(), flow.jumps, flow.closed_ns), (3, 0, None));
        assert_eq!(flow.last_ns, 120_000 * MS);
    }

    /// As Windows 2000 sends it: no clock in the handshake, one afterwards.
    #[test]
    fn a_handshake_of_zeros_tells_side_and_handshake_only() {
        let flow =
            flow(&[shaking_hands(record(0, 0, 0x02)), record(MS, 70, 0x10), record(101 * MS, 71, 0x10)]);
        assert_eq!((flow.side, flow.fingerprint.is_some()), (Some(Side::Client), true));
        assert_eq!((flow.zero_tsvals, flow.envelope.offered(), flow.jumps), (1, 2, 0));
    }

    #[test]
    fn a_lone_outlier_is_dropped_and_a_new_clock_is_followed() {
        let spoofed = record(3 * MS, 3_000_000_000, 0x10);
        let good = [record(0, 100, 0x10), record(MS, 101, 0x10)];
        let flow1 = flow(&[good[0], good[1], spoofed, record(4 * MS, 104, 0x10)]);
        assert_eq!((flow1.jumps, flow1.envelope.offered()), (0, 3));
        let flow2 = flow(&[good[0], good[1], spoofed, record(4 * MS, 3_000_000_001, 0x10)]);
        assert_eq!((flow2.jumps, flow2.envelope.offered()), (1, 2));
    }

    #[test]
    fn another_clock_takes_over_once_it_has_shown_as_much() {
        let own = (0..5).map(|i| record(i * MS, 100 + i as u32, 0x10));
        let other = |count: u64| (0..count).map(|i| record((10 + i) * MS, 3_000_000_000 + i as u32, 0x10));
        let with = |count| flow(&own.clone().chain(other(count)).collect::<Vec<_>>());
        let newest = |flow: &Flow| flow.newest().unwrap().ticks;
        assert_eq!((with(4).jumps, with(4).envelope.offered(), newest(&with(4))), (1, 5, 104));
        assert_eq!((with(5).jumps, with(5).envelope.offered(), newest(&with(5))), (1, 5, 3_000_000_004));
    }

    proptest! {
        /// Whoever sends fewer segments than a connection has shown changes nothing of its clock.
        #[test]
        fn fewer_forged_segments_change_no_clock(
            shown in 1_usize..40, more in 0_usize..40, forged in 0_usize..40,
            offset in 1_u32 << 30..3_u32 << 30,
        ) {
            let forged = forged.min(shown - 1);
            let own = |i: usize| record(i as u64 * 20 * MS, 100 + 20 * i as u32, 0x10);
            let alone: Vec<Record> = (0..shown + more).map(own).collect();
            let mut mixed = alone.clone();
            let at_ns = alone[shown - 1].time_ns;
            let stray = |i: usize| record(at_ns + (1 + i as u64) * 1_000, offset + i as u32, 0x10);
            mixed.splice(shown..shown, (0..forged).map(stray));
            let (alone, mixed) = (flow(&alone), flow(&mixed));
            prop_assert_eq!(alone.envelope.points(), mixed.envelope.points());
            prop_assert_eq!(alone.sample.points(), mixed.sample.points());
        }
    }

    #[test]
    fn a_syn_after_the_end_reopens() {
        let ended = flow(&[record(0, 100, 0x10), record(1, 101, 0x11)]);
        assert!(ended.is_reopened_by(&record(2, 102, 0x02)));
        let open = flow(&[record(0, 100, 0x02), record(1, 101, 0x10)]);
        assert!(!open.is_reopened_by(&record(2, 102, 0x02)), "a repeated SYN goes on");
        assert!(open.is_reopened_by(&record(2, 3_000_000_000, 0x02)), "another clock is another host");
    }
}
