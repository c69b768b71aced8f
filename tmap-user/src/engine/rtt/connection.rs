//! A connection, both directions: which segment answers which.

use tmap_common::{Flags, Record, Segment};

use super::{
    options::Options,
    paws::{Arrival, Cause, Echo, Kind, Oddity, Seen},
    sample::{Counts, Sample},
    side::{Answer, Side},
};
use crate::engine::types::FlowKey;

/// A connection, both directions.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Unique among all connections ever seen.
    pub serial: u64,
    /// Names side 0; side 1 is its reverse.
    pub key: FlowKey,
    /// Both ends.
    pub sides: [Side; 2],
    /// First segment, engine time.
    pub first_ns: u64,
    /// Latest segment.
    pub last_ns: u64,
    /// First FIN or RST.
    pub closed_ns: Option<u64>,
    /// Whether no more segments are expected.
    pub finished: bool,
    /// Whether a segment came since eviction last looked.
    pub active: bool,
    /// Whether the ports had been used just before: late segments may echo older values.
    pub reused: bool,
}

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    /// A round trip.
    pub sample: Option<Sample>,
    /// What is odd about it, or turned out to be about the one before.
    pub oddities: [Option<Oddity>; 2],
    /// Whether nothing was odd before on this side.
    pub first_anomaly: bool,
}

impl Connection {
    /// A connection that begins at `time_ns`.
    pub fn new(serial: u64, key: FlowKey, time_ns: u64) -> Self {
        Self {
            serial,
            key,
            sides: [Side::default(), Side::default()],
            first_ns: time_ns,
            last_ns: time_ns,
            closed_ns: None,
            finished: false,
            active: true,
            reused: false,
        }
    }

    /// Whether `record` opens a new connection on the same ports: a SYN after the end, or one that
    /// this side's clock doesn't explain.
    pub fn is_reopened_by(&self, side: usize, record: &Record) -> bool {
        record.segment.flags.is_syn()
            && (self.closed_ns.is_some() || !self.sides[side].tsvals.could_show(&Seen::of(record)))
    }

    /// Takes in a segment that `side` sent.
    pub fn take_in(
        &mut self,
        side: usize,
        record: &Record,
        options: &Options,
        counts: &mut Counts,
    ) -> Exchange {
        let segment = &record.segment;
        self.active = true;
        self.last_ns = self.last_ns.max(record.time_ns);
        if segment.flags.intersects(Flags::FIN | Flags::RST) && self.closed_ns.is_none() {
            self.closed_ns = Some(record.time_ns);
        }
        let [own, peer] = pair(&mut self.sides, side);
        own.segments += 1 + u64::from(record.suppressed);
        let mut exchange = Exchange { first_anomaly: own.anomalies == 0, ..Exchange::default() };
        if segment.flags.intersects(Flags::RST) {
            return exchange;
        }
        let echo = echo_of(segment, own, counts);
        let mut answer = None;
        if let Some(tsecr) = echo {
            let (answered, oddity) = echoed(record, tsecr, own, peer, options, counts);
            answer = answered;
            exchange.oddities[0] = oddity.filter(|_| !self.reused);
        }
        let mut shows_time = false;
        if segment.tsval != 0 {
            let was_answered = !peer.is_new_echo(segment.tsval);
            let (step, oddity) = own.send(record, echo, was_answered, options, counts);
            exchange.oddities[1] = oddity;
            shows_time = step != Arrival::Odd;
            if matches!(step, Arrival::Restart(_)) {
                peer.forget_echoes();
            }
        }
        own.anomalies += exchange.oddities.iter().flatten().count() as u64;
        exchange.sample = answer.map(|answer| sample(record, &answer, shows_time));
        exchange
    }
}

/// The connection of a segment, whichever end sent it, and which side that is.
pub fn canonical(segment: &Segment) -> (FlowKey, usize) {
    let key = FlowKey::of(segment);
    let reversed = key.reversed();
    if (key.src, key.src_port) <= (reversed.src, reversed.src_port) { (key, 0) } else { (reversed, 1) }
}

/// The sender's side and the receiver's.
fn pair(sides: &mut [Side; 2], sender: usize) -> [&mut Side; 2] {
    let [a, b] = sides;
    if sender == 0 { [a, b] } else { [b, a] }
}

/// TSecr where it means something and `own` sends it for the first time.
fn echo_of(segment: &Segment, own: &mut Side, counts: &mut Counts) -> Option<u32> {
    if !segment.flags.intersects(Flags::ACK) || segment.tsecr == 0 || !own.says_more(segment) {
        return None;
    }
    counts.late_echoes += u64::from(own.is_older_echo(segment.tsecr));
    Some(segment.tsecr).filter(|&tsecr| own.is_new_echo(tsecr))
}

/// `own` echoes `tsecr` for the first time.
fn echoed(
    record: &Record,
    tsecr: u32,
    own: &mut Side,
    peer: &mut Side,
    options: &Options,
    counts: &mut Counts,
) -> (Option<Answer>, Option<Oddity>) {
    match peer.tsvals.judge_echo(tsecr, record.time_ns) {
        Echo::Unknown => (None, None),
        Echo::NeverSent { newest } => (None, Some(never_sent(record, own, tsecr, newest))),
        Echo::Possible(ticks) => {
            own.sent_echo(tsecr);
            if peer.tsvals.newest().is_some_and(|newest| ticks > newest.ticks) {
                counts.unseen += 1;
                return (None, None);
            }
            (peer.answered(ticks, record.time_ns, options, counts), None)
        }
    }
}

/// An echo of a value never sent: somebody else's segment, or somebody else's time stamps.
fn never_sent(record: &Record, own: &Side, tsecr: u32, newest: u32) -> Oddity {
    let cause = if !own.tsvals.is_usual(record.segment.hop_limit) {
        Cause::Spoofed
    } else if own.tsvals.could_show(&Seen::of(record)) {
        Cause::Middlebox
    } else {
        Cause::Corrupted
    };
    Oddity { time_ns: record.time_ns, kind: Kind::NeverSent, cause, value: tsecr, newest }
}

fn sample(record: &Record, answer: &Answer, shows_time: bool) -> Sample {
    let segment = &record.segment;
    let host_ticks = answer.echoed.filter(|_| shows_time).map(|echoed| segment.tsval.wrapping_sub(echoed));
    Sample {
        time_ns: record.time_ns,
        key: FlowKey::of(segment),
        tsval: segment.tsecr,
        rtt_ns: answer.rtt_ns,
        host_ticks: host_ticks.filter(|ticks| ticks.cast_signed() >= 0),
        tick_hz: None,
    }
}
