//! Round-trip times from TSval and TSecr, passively (RFC 7323, section 4; Nichols' `pping`).
//!
//! The first segment that carries a TSval in one direction is matched to the first that echoes it
//! in the other. The time between them is the round trip from the sensor to the answering host and
//! back: with the sensor in the middle, each direction gives its own half, and the halves add up to
//! the whole path. On an end host one half is nothing but the host itself.
//!
//! # What counts, and what doesn't
//!
//! Every doubt is decided so that a sample is never below the true round trip, and is left out
//! where it could be far above it. Each case has a counter in [`Counts`].
//!
//! - Only segments that *ask for an answer* start a measurement: data, SYN, FIN. A bare
//!   acknowledgement is echoed whenever the peer next has something to say, which may be minutes
//!   later ([`Counts::unasked`]; [`Options::quiet`] takes these, too). A keep-alive probe without
//!   data looks like a bare acknowledgement, and so starts none.
//! - TSecr counts only with ACK, and not in a RST; TSval 0 is no clock and TSecr 0 no echo.
//! - An acknowledgement may cover several segments: RFC 7323 echoes the earliest of them, and the
//!   TSvals passed over are never echoed ([`Counts::passed_over`]). The time that a receiver holds an
//!   acknowledgement back (RFC 9293: up to 0.5 s, usually 40 to 200 ms) is in the sample. The
//!   smallest and the lower quantiles are free of it.
//! - *Retransmission*: a repeated segment carries a new TSval, so its echo is as good as any
//!   (this is why the option exists: Karn's problem doesn't arise). It is ambiguous where the TSval
//!   didn't change: repeated after a newer one was seen (a stack that resends the old stamp), or
//!   after a timeout's length (a clock of some Hz). Such a TSval gives no sample
//!   ([`Counts::ambiguous`]).
//! - A repeated echo is not a sample, nor is one that comes after a newer one
//!   ([`Counts::late_echoes`]).
//! - A TSval that isn't echoed within [`Options::expire_ns`] is forgotten: later echoes are the
//!   application's time.
//! - A direction that the sensor doesn't see gives no samples; [`Report::one_way`] says so.
//! - Clocks coarser than the round trip: all segments of a tick share its TSval, the first counts.
//!
//! # What the host itself computes
//!
//! TCP on the answering host measures, too: its TSval now, less the TSval of its own that the
//! segment just answered had echoed. tmap shows it beside the network's round trip, in the host's
//! ticks, and in time once it knows the host's tick rate. Example: a server's segment at 1.282 s
//! (TSval 1965828, TSecr 1957100) is answered at 1.313 s by the client (TSval 1957200, TSecr
//! 1965828). From the sensor to the client and back took 31 ms. But the client last heard its own
//! TSval 1957100, 100 ticks ago: at 1 kHz its TCP takes the round trip for 100 ms. The difference is
//! the way to the server and back, the time that the server's application took to answer, the
//! time that either end held an acknowledgement back, and up to a tick at each end. So the host's
//! figure is the one that sets its retransmission timeout, and the network's is the one to judge a
//! path by.
//!
//! # Cost
//!
//! One look-up per record in a table of its own: both directions of a connection stand in one
//! entry, whereas the clock engine keeps each direction by itself. `tmap live` and `tmap read` don't
//! make the table and pay nothing. All memory is bounded by [`Options`].

mod connection;
pub mod distribution;
mod order;
pub mod report;
pub mod side;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use slab::Slab;
use tmap_common::Record;

use super::{
    flow::FlowKey,
    paws::{Anomaly, Kind, Seen},
};
use connection::{Connection, canonical};
use distribution::Distribution;
use order::Order;
pub use report::{Interval, Prefix, Report};
use side::Side;

/// Settings, all of them bounds or choices that the user may make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Take echoes of bare acknowledgements as samples, too.
    pub quiet: bool,
    /// An echo later than this after its TSval is no round trip, in nanoseconds.
    pub expire_ns: u64,
    /// A connection silent for this long is finished, in nanoseconds.
    pub idle_timeout_ns: u64,
    /// The most connections held.
    pub max_connections: usize,
    /// The most TSvals waiting for their echo, per direction.
    pub max_waiting: usize,
    /// The most histograms held for connections; others keep a selection of values.
    pub max_histograms: usize,
    /// The most prefixes held.
    pub max_prefixes: usize,
    /// Length of an IPv4 prefix.
    pub prefix_ip4: u8,
    /// Length of an IPv6 prefix.
    pub prefix_ip6: u8,
    /// Whether single samples are handed out at reviews.
    pub stream: bool,
    /// How often the round trips of an interval are handed out, in nanoseconds; `None`: never.
    pub interval_ns: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quiet: false,
            expire_ns: 10_000_000_000,
            idle_timeout_ns: 300_000_000_000,
            max_connections: 1 << 16,
            max_waiting: 128,
            max_histograms: 4_096,
            max_prefixes: 1 << 14,
            prefix_ip4: 24,
            prefix_ip6: 48,
            stream: true,
            interval_ns: None,
        }
    }
}

/// One round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When the echo was seen, engine time.
    pub time_ns: u64,
    /// The echo's direction: `src` is the host that answered.
    pub key: FlowKey,
    /// The TSval that was echoed.
    pub tsval: u32,
    /// From the sensor to the host and back, in nanoseconds.
    pub rtt_ns: u64,
    /// What the host itself computes, in its ticks, where that can be told.
    pub host_ticks: Option<u32>,
    /// The host's tick rate in Hz, where it is known by now.
    pub tick_hz: Option<f64>,
}

/// What became of segments and echoes. Nothing that isn't a sample is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Time-stamped segments, suppressed ones included.
    pub segments: u64,
    /// Round trips.
    pub samples: u64,
    /// First echoes of values that no segment asking for an answer had carried.
    pub unasked: u64,
    /// TSvals that an acknowledgement of a later one covered.
    pub passed_over: u64,
    /// First echoes that may be of more than one segment.
    pub ambiguous: u64,
    /// TSvals echoed too late or not at all.
    pub expired: u64,
    /// Echoes that came after a newer one.
    pub late_echoes: u64,
    /// Echoes of values that may have been sent but weren't seen.
    pub unseen: u64,
    /// TSvals beyond the bound on waiting ones.
    pub untracked: u64,
    /// Segments that came after one with a newer TSval.
    pub reordered: u64,
    /// Echoes stamped earlier than what they echo: the capture is out of order.
    pub disordered: u64,
    /// TSvals that went back beyond reordering.
    pub back: u64,
    /// TSvals that leapt ahead.
    pub leaps: u64,
    /// SYNs on used ports whose TSval lies before the earlier connection's.
    pub reused_back: u64,
    /// Echoes of values that can't have been sent.
    pub never_sent: u64,
    /// Connections let go of to stay within the bound.
    pub connections_forgotten: u64,
    /// Samples whose prefix didn't fit.
    pub prefixes_unplaced: u64,
    /// Samples not handed out one by one, since there were too many.
    pub samples_unshown: u64,
    /// Anomalies not handed out or listed one by one.
    pub anomalies_unlisted: u64,
}

/// The most samples and anomalies that wait to be handed out, and anomalies that are listed.
const MAX_PENDING: usize = 16_384;
const MAX_LISTED: usize = 1_000;

/// A closed connection takes in its last segments for this long, in nanoseconds.
const LINGER_NS: u64 = 5_000_000_000;

/// One review looks at this part of all connections.
const SWEEP_PARTS: usize = 8;

/// How many connections an eviction passes over because they were active.
const EVICTION_TRIES: usize = 8;

/// Turns records into round trips.
#[derive(Debug)]
pub struct RttEngine {
    options: Options,
    order: Order,
    open: HashMap<FlowKey, usize, RandomState>,
    connections: Slab<Connection>,
    /// All connections with their serials: finished ones in one queue, open ones in the other.
    eviction: VecDeque<(usize, u64)>,
    finished: VecDeque<(usize, u64)>,
    prefixes: HashMap<Prefix, Distribution, RandomState>,
    total: Distribution,
    interval: Distribution,
    interval_began_ns: Option<u64>,
    histograms_left: usize,
    samples: Vec<Sample>,
    anomalies: Vec<Anomaly>,
    listed: Vec<Anomaly>,
    counts: Counts,
    next_serial: u64,
    sweep_at: usize,
}

/// What is new since the last review.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Round trips, in order of time.
    pub samples: Vec<Sample>,
    /// Anomalies.
    pub anomalies: Vec<Anomaly>,
    /// The interval that has ended, if one has.
    pub interval: Option<Interval>,
}

impl RttEngine {
    /// An empty engine.
    pub fn new(options: Options) -> Self {
        Self {
            histograms_left: options.max_histograms,
            options,
            order: Order::default(),
            open: HashMap::default(),
            connections: Slab::new(),
            eviction: VecDeque::new(),
            finished: VecDeque::new(),
            prefixes: HashMap::default(),
            total: Distribution::default(),
            interval: Distribution::default(),
            interval_began_ns: None,
            samples: Vec::new(),
            anomalies: Vec::new(),
            listed: Vec::new(),
            counts: Counts::default(),
            next_serial: 0,
            sweep_at: 0,
        }
    }

    /// Takes in one record; records should come nearly in order of time.
    pub fn observe(&mut self, record: &Record) {
        self.order.push(record);
        while let Some(record) = self.order.pop_due() {
            self.take_in(&record);
        }
    }

    /// What is new at `now_ns`; meant to be called about once a second of engine time.
    pub fn review(&mut self, now_ns: u64) -> News {
        self.settle(now_ns);
        self.sweep(now_ns);
        News {
            samples: std::mem::take(&mut self.samples),
            anomalies: std::mem::take(&mut self.anomalies),
            interval: self.end_interval(now_ns),
        }
    }

    /// Takes in what is held back for order, up to `now_ns`.
    pub fn settle(&mut self, now_ns: u64) {
        while let Some(record) = self.order.pop_until(now_ns) {
            self.take_in(&record);
        }
    }

    /// Heap memory held, in bytes, estimated.
    pub fn heap_bytes(&self) -> usize {
        let sides = |connection: &Connection| connection.sides.iter().map(Side::heap_bytes).sum::<usize>();
        self.order.heap_bytes()
            + self.connections.capacity() * (size_of::<Connection>() + size_of::<(FlowKey, usize)>())
            + self.connections.iter().map(|(_, connection)| sides(connection)).sum::<usize>()
            + self.prefixes.values().map(Distribution::heap_bytes).sum::<usize>()
            + self.samples.capacity() * size_of::<Sample>()
            + (self.anomalies.capacity() + self.listed.capacity()) * size_of::<Anomaly>()
    }

    /// TSvals that wait for their echo, over all connections.
    pub fn waiting(&self) -> usize {
        self.connections.iter().flat_map(|(_, connection)| &connection.sides).map(Side::waiting).sum()
    }

    fn take_in(&mut self, record: &Record) {
        let segment = &record.segment;
        self.counts.segments += 1 + u64::from(record.suppressed);
        let (key, side) = canonical(segment);
        let place = match self.open.get(&key) {
            Some(&place) if !self.connections[place].is_reopened_by(side, record) => place,
            Some(&place) => self.reopen(place, key, side, record),
            None => self.open_connection(key, record),
        };
        let exchange = self.connections[place].take_in(side, record, &self.options, &mut self.counts);
        if let Some(sample) = exchange.sample {
            self.sample(place, side, sample);
        }
        for oddity in exchange.oddities.into_iter().flatten() {
            let listed = oddity.kind != Kind::NeverSent || exchange.first_anomaly;
            self.anomaly(oddity.of(FlowKey::of(segment)), listed);
        }
    }

    /// Books a round trip everywhere it belongs.
    fn sample(&mut self, place: usize, side: usize, sample: Sample) {
        self.counts.samples += 1;
        let side = &mut self.connections[place].sides[side];
        let previous = side.rtt.last();
        side.rtt.record(sample.rtt_ns, previous, &mut self.histograms_left);
        if let Some(ticks) = sample.host_ticks {
            side.host.record(ticks.into(), side.host.last(), &mut self.histograms_left);
        }
        // These two have histograms of their own, whatever connections took.
        self.total.record(sample.rtt_ns, previous, &mut 1);
        if self.options.interval_ns.is_some() {
            self.interval.record(sample.rtt_ns, previous, &mut 1);
        }
        self.prefix(&sample, previous);
        if self.options.stream {
            if self.samples.len() < MAX_PENDING {
                self.samples.push(sample);
            } else {
                self.counts.samples_unshown += 1;
            }
        }
    }

    fn prefix(&mut self, sample: &Sample, previous: Option<u64>) {
        let prefix = Prefix::of(sample.key.src, self.options.prefix_ip4, self.options.prefix_ip6);
        if self.prefixes.len() >= self.options.max_prefixes && !self.prefixes.contains_key(&prefix) {
            self.counts.prefixes_unplaced += 1;
            return;
        }
        let distribution = self.prefixes.entry(prefix).or_default();
        distribution.record(sample.rtt_ns, previous, &mut self.histograms_left);
    }

    /// Books an anomaly, and lists it if there is room.
    fn anomaly(&mut self, anomaly: Anomaly, listed: bool) {
        *match anomaly.kind {
            Kind::Back => &mut self.counts.back,
            Kind::Leap => &mut self.counts.leaps,
            Kind::ReusedBack => &mut self.counts.reused_back,
            Kind::NeverSent => &mut self.counts.never_sent,
        } += 1;
        if !listed || self.listed.len() >= MAX_LISTED || self.anomalies.len() >= MAX_LISTED {
            self.counts.anomalies_unlisted += 1;
            return;
        }
        self.listed.push(anomaly);
        self.anomalies.push(anomaly);
    }

    fn open_connection(&mut self, key: FlowKey, record: &Record) -> usize {
        self.make_room();
        let serial = self.next_serial;
        self.next_serial += 1;
        let place = self.connections.insert(Connection::new(serial, key, record.time_ns));
        self.open.insert(key, place);
        self.eviction.push_back((place, serial));
        place
    }

    /// The same ports opened anew: the earlier connection is finished.
    fn reopen(&mut self, place: usize, key: FlowKey, side: usize, record: &Record) -> usize {
        let oddity = self.connections[place].sides[side].tsvals.reopened_by(&Seen::of(record));
        if let Some(oddity) = oddity {
            self.anomaly(oddity.of(FlowKey::of(&record.segment)), true);
        }
        self.finish(place);
        let place = self.open_connection(key, record);
        self.connections[place].reused = true;
        place
    }

    fn finish(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        connection.finished = true;
        self.open.remove(&connection.key);
        self.finished.push_back((place, connection.serial));
        for side in 0..2 {
            let connection = &mut self.connections[place];
            connection.sides[side].expire(u64::MAX, &self.options, &mut self.counts);
            if let Some(oddity) = connection.sides[side].tsvals.close() {
                connection.sides[side].anomalies += 1;
                let key = if side == 0 { connection.key } else { connection.key.reversed() };
                self.anomaly(oddity.of(key), true);
            }
        }
    }

    /// Keeps the number of connections within its bound: finished ones go first, then idle ones.
    fn make_room(&mut self) {
        while self.connections.len() >= self.options.max_connections.max(1) {
            let Some((place, serial)) = self.finished.pop_front() else {
                self.evict();
                continue;
            };
            if self.is_current(place, serial) {
                let connection = self.connections.remove(place);
                self.counts.connections_forgotten += 1;
                for side in &connection.sides {
                    self.histograms_left += usize::from(side.rtt.has_histogram());
                    self.histograms_left += usize::from(side.host.has_histogram());
                }
            }
        }
    }

    /// Finishes an open connection: the first in turn that was idle since it was last passed over.
    fn evict(&mut self) {
        for attempt in 1.. {
            let Some((place, serial)) = self.eviction.pop_front() else { return };
            if !self.is_current(place, serial) || self.connections[place].finished {
                continue;
            }
            if self.connections[place].active && attempt < EVICTION_TRIES {
                self.connections[place].active = false;
                self.eviction.push_back((place, serial));
                continue;
            }
            self.finish(place);
            return;
        }
    }

    fn is_current(&self, place: usize, serial: u64) -> bool {
        self.connections.get(place).is_some_and(|connection| connection.serial == serial)
    }

    /// Expires waiting TSvals and finishes silent connections, a part of them at each call.
    fn sweep(&mut self, now_ns: u64) {
        // Queues keep the places of forgotten connections until eviction meets them.
        if self.eviction.len() > 2 * self.connections.len() + SWEEP_PARTS {
            let (eviction, connections) = (&mut self.eviction, &self.connections);
            eviction.retain(|&(place, serial)| {
                connections.get(place).is_some_and(|c| c.serial == serial && !c.finished)
            });
        }
        let slots = self.connections.capacity();
        for _ in 0..slots.div_ceil(SWEEP_PARTS) {
            self.sweep_at = (self.sweep_at + 1) % slots.max(1);
            let Some(connection) = self.connections.get_mut(self.sweep_at) else { continue };
            for side in &mut connection.sides {
                side.expire(now_ns, &self.options, &mut self.counts);
            }
            let silent_ns = now_ns.saturating_sub(connection.last_ns);
            let closed = connection.closed_ns.is_some() && silent_ns > LINGER_NS;
            if !connection.finished && (closed || silent_ns > self.options.idle_timeout_ns) {
                self.finish(self.sweep_at);
            }
        }
    }

    fn end_interval(&mut self, now_ns: u64) -> Option<Interval> {
        let length_ns = self.options.interval_ns?;
        let began_ns = *self.interval_began_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(began_ns) < length_ns {
            return None;
        }
        self.interval_began_ns = Some(now_ns);
        let ended = std::mem::take(&mut self.interval);
        Some(Interval { began_ns, ended_ns: now_ns, rtt: ended.summary(), histogram: ended.buckets() })
    }
}
