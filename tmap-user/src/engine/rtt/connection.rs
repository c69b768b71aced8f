//! A connection with both directions: which segment answers which.

use tmap_common::{Flags, Record, Segment};

use super::{
    half_connection::{Answer, HalfConnection},
    options::Options,
    paws::{Arrival, Cause, Echo, Kind, Oddity, Seen},
    sample::{Counts, Sample},
};
use crate::engine::types::FlowKey;

/// A connection with both directions.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Unique among all connections ever seen.
    pub serial: u64,
    /// The key of side 0; that of side 1 is its reverse.
    pub key: FlowKey,
    /// The state of both sides.
    pub halves: [HalfConnection; 2],
    /// The side of the first segment.
    pub opener: usize,
    /// Engine time of the first segment.
    pub first_ns: u64,
    /// Engine time of the latest segment.
    pub last_ns: u64,
    /// Engine time of the first FIN or RST.
    pub closed_ns: Option<u64>,
    /// Whether no more segments are expected.
    pub finished: bool,
    /// Whether a segment came since eviction last passed the connection over.
    pub active: bool,
    /// Whether it showed a round trip that isn't that of a SYN-ACK: whoever forges a SYN gets that one.
    pub is_proven: bool,
    /// Whether it was finished to make room while it was active and not closed.
    pub is_cut_off: bool,
    /// The canonical key of the direction that was seen under other addresses, behind a NAT, and whether its
    /// side 0 is this connection's side 1; `None` where both directions have the same.
    pub translated: Option<(FlowKey, bool)>,
    /// Whether an earlier connection had the same ports: late segments may then echo older values.
    pub reused: bool,
}

/// The result of taking in a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    /// The round trip that it completes.
    pub sample: Option<Sample>,
    /// The oddities of its echo and of its TSval; the latter may be that of the segment before.
    pub oddities: [Option<Oddity>; 2],
    /// Whether this side had no anomaly before.
    pub first_anomaly: bool,
}

impl Connection {
    /// A connection that `opener` begins at `time_ns`.
    pub(super) fn new(serial: u64, key: FlowKey, opener: usize, time_ns: u64) -> Self {
        Self {
            serial,
            key,
            halves: [HalfConnection::default(), HalfConnection::default()],
            opener,
            first_ns: time_ns,
            last_ns: time_ns,
            closed_ns: None,
            finished: false,
            active: true,
            is_proven: false,
            is_cut_off: false,
            reused: false,
            translated: None,
        }
    }

    /// The side that sent a segment of this canonical key from its side `side`.
    pub(super) fn side_of(&self, key: &FlowKey, side: usize) -> usize {
        match &self.translated {
            Some((translated, is_swapped)) if translated == key && *key != self.key => {
                side ^ usize::from(*is_swapped)
            }
            _ => side,
        }
    }

    /// The addresses and ports under which the segments of a side were seen; `src` is that side.
    pub(super) fn key_of(&self, side: usize) -> FlowKey {
        let oriented = |key: &FlowKey, side| if side == 0 { *key } else { key.reversed() };
        // With a NAT between, the side that was seen under this connection's own key opened it.
        match &self.translated {
            Some((key, is_swapped)) if side != self.opener => oriented(key, side ^ usize::from(*is_swapped)),
            _ => oriented(&self.key, side),
        }
    }

    /// Takes in that `answer`, a SYN-ACK of another canonical key from its side `side`, is of the side that
    /// didn't open this connection.
    pub(super) fn translate(&mut self, key: FlowKey, side: usize) {
        self.translated = Some((key, side == self.opener));
    }

    /// Whether `record` opens a new connection on the same ports: a SYN after the end, or a SYN whose TSval
    /// this side's clock doesn't explain.
    pub(super) fn is_reopened_by(&self, side: usize, record: &Record) -> bool {
        record.segment.flags.is_syn()
            && (self.closed_ns.is_some() || !self.halves[side].tsvals.could_show(&Seen::of(record)))
    }

    /// Takes in a segment that `side` sent.
    pub(super) fn take_in(
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
        let [own, peer] = pair(&mut self.halves, side);
        own.segments += 1 + u64::from(record.suppressed);
        let mut exchange = Exchange { first_anomaly: own.anomalies == 0, ..Exchange::default() };
        if segment.flags.intersects(Flags::RST) {
            return exchange;
        }
        let echo = echo_of(record, own, counts);
        let mut answer = None;
        if let Some(tsecr) = echo {
            let (answered, oddity) = echoed(record, tsecr, own, peer, options, counts);
            answer = answered;
            exchange.oddities[0] = oddity.filter(|_| !self.reused);
        }
        let mut shows_time = false;
        if segment.tsval != 0 {
            let was_answered = !peer.is_new_echo(segment.tsval);
            let (arrival, oddity) = own.send(record, echo, was_answered, options, counts);
            exchange.oddities[1] = oddity;
            shows_time = arrival != Arrival::Odd;
            if matches!(arrival, Arrival::Restart(_)) {
                peer.reset_echoes();
            }
        }
        own.anomalies += exchange.oddities.iter().flatten().count() as u64;
        exchange.sample = answer.map(|answer| sample(record, &answer, shows_time));
        self.is_proven |= exchange.sample.is_some() && !segment.flags.is_syn_ack();
        exchange
    }
}

/// The key of a segment's connection, which is the same for both directions, and the sender's side.
pub(super) fn canonical(segment: &Segment) -> (FlowKey, usize) {
    let key = FlowKey::of(segment);
    let reversed = key.reversed();
    if (key.src, key.src_port) <= (reversed.src, reversed.src_port) { (key, 0) } else { (reversed, 1) }
}

/// The states of the sender's side and the receiver's side.
fn pair(halves: &mut [HalfConnection; 2], sender: usize) -> [&mut HalfConnection; 2] {
    let [a, b] = halves;
    if sender == 0 { [a, b] } else { [b, a] }
}

/// The TSecr of a segment, where it is valid and `own` sends it for the first time.
fn echo_of(record: &Record, own: &mut HalfConnection, counts: &mut Counts) -> Option<u32> {
    let segment = &record.segment;
    if !segment.flags.intersects(Flags::ACK) || segment.tsecr == 0 || !own.says_more(record) {
        return None;
    }
    counts.late_echoes += u64::from(own.is_older_echo(segment.tsecr));
    Some(segment.tsecr).filter(|&tsecr| own.is_new_echo(tsecr))
}

/// Takes in that `own` echoes `tsecr` for the first time.
fn echoed(
    record: &Record,
    tsecr: u32,
    own: &mut HalfConnection,
    peer: &mut HalfConnection,
    options: &Options,
    counts: &mut Counts,
) -> (Option<Answer>, Option<Oddity>) {
    match peer.tsvals.judge_echo(tsecr, record.time_ns) {
        Echo::Unknown => (None, None),
        Echo::NeverSent { newest } => (None, Some(never_sent(record, own, tsecr, newest))),
        Echo::Possible(ticks) => {
            own.sent_echo(tsecr);
            if peer.is_echoed_ahead(ticks, record.time_ns, options) {
                counts.unseen += 1;
                return (None, None);
            }
            let answer = peer.answered(ticks, &own.response(record), options, counts);
            if let Some(answer) = answer {
                own.answered_after(answer.rtt_ns, answer.is_certain);
            }
            (answer, None)
        }
    }
}

/// The oddity of an echo of a value that was never sent, with its likely cause.
fn never_sent(record: &Record, own: &HalfConnection, tsecr: u32, newest: u32) -> Oddity {
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
