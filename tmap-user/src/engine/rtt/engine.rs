//! From records to round trips and anomalies: a bounded table of connections with both directions.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use slab::Slab;
use tmap_common::Record;

use super::{
    connection::{Connection, canonical},
    distribution::Distribution,
    half_connection::HalfConnection,
    nat::OpenSyns,
    options::Options,
    order::Order,
    paws::{Anomaly, Kind, Seen},
    queues::Queues,
    report::{Interval, Prefix},
    sample::{Counts, Sample},
};
use crate::engine::types::FlowKey;

/// The most samples that wait for a review.
const MAX_PENDING: usize = 16_384;

/// The most anomalies that wait for a review. Reviews come about once a second, and nobody reads more lines
/// in one; whoever forges segments mustn't fill a log faster.
const MAX_ANOMALIES_WAITING: usize = 1_000;

/// The most anomalies that a report lists: the first ones, which show what began. They are kept until the
/// end, so they may not grow with what strangers send.
const MAX_LISTED: usize = 1_000;

// An anomaly that finds no room in the queue finds none in the list, so one count tells of both.
const _: () = assert!(MAX_ANOMALIES_WAITING >= MAX_LISTED);

/// How long a closed connection takes in its last segments, in nanoseconds. Linux repeats a lost FIN after
/// 0.2, 0.6, 1.4 and 3 s, and each repetition starts the time anew. The flow table waits for a minute, as
/// hosts do; this table is smaller, and a connection gives up its place sooner once it is closed.
const LINGER_NS: u64 = 5_000_000_000;

/// One review sweeps this part of all connections.
const SWEEP_PARTS: usize = 8;

/// Turns records into round trips.
#[derive(Debug)]
pub struct RttEngine {
    pub(super) options: Options,
    pub(super) order: Order,
    pub(super) open: HashMap<FlowKey, usize, RandomState>,
    pub(super) connections: Slab<Connection>,
    /// SYNs whose answer may come under other addresses.
    pub(super) syns: OpenSyns,
    /// All connections in the order in which they make room for new ones.
    pub(super) queues: Queues,
    pub(super) prefixes: HashMap<Prefix, Distribution, RandomState>,
    pub(super) total: Distribution,
    pub(super) interval: Distribution,
    pub(super) interval_began_ns: Option<u64>,
    pub(super) histograms_left: usize,
    pub(super) samples: Vec<Sample>,
    /// Anomalies since the last review.
    pub(super) anomalies: Vec<Anomaly>,
    /// The first anomalies of all, for reports.
    pub(super) listed: Vec<Anomaly>,
    pub(super) counts: Counts,
    pub(super) next_serial: u64,
    pub(super) sweep_at: usize,
}

/// Round trips and anomalies since the last review.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Round trips, in order of time.
    pub samples: Vec<Sample>,
    /// Anomalies, in order of time.
    pub anomalies: Vec<Anomaly>,
    /// The interval that has ended; `None` where none has.
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
            syns: OpenSyns::default(),
            queues: Queues::default(),
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

    /// Takes in one record. Records should come nearly in order of time.
    pub fn observe(&mut self, record: &Record) {
        self.order.push(record);
        while let Some(record) = self.order.pop_due() {
            self.take_in(&record);
        }
    }

    /// What is new at `now_ns`. Call it about once a second of engine time.
    pub fn review(&mut self, now_ns: u64) -> News {
        self.settle(now_ns);
        self.sweep(now_ns);
        News {
            samples: std::mem::take(&mut self.samples),
            anomalies: std::mem::take(&mut self.anomalies),
            interval: self.end_interval(now_ns),
        }
    }

    /// Takes in the records up to `now_ns` that are held back for their order.
    pub fn settle(&mut self, now_ns: u64) {
        while let Some(record) = self.order.pop_until(now_ns) {
            self.take_in(&record);
        }
    }

    /// Estimated heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let halves = |(_, connection): (usize, &Connection)| -> usize {
            connection.halves.iter().map(HalfConnection::heap_bytes).sum()
        };
        self.order.heap_bytes()
            + self.syns.heap_bytes()
            + self.connections.capacity() * (size_of::<Connection>() + size_of::<(FlowKey, usize)>())
            + self.connections.iter().map(halves).sum::<usize>()
            + self.queues.heap_bytes()
            + self.prefixes.values().map(Distribution::heap_bytes).sum::<usize>()
            + self.samples.capacity() * size_of::<Sample>()
            + (self.anomalies.capacity() + self.listed.capacity()) * size_of::<Anomaly>()
    }

    /// TSvals that wait for their echo, over all connections.
    pub fn waiting(&self) -> usize {
        self.connections
            .iter()
            .flat_map(|(_, connection)| &connection.halves)
            .map(HalfConnection::waiting)
            .sum()
    }

    fn take_in(&mut self, record: &Record) {
        let segment = &record.segment;
        self.counts.segments += 1 + u64::from(record.suppressed);
        let (key, side) = canonical(segment);
        let open = self.open.get(&key).map(|&place| (place, self.connections[place].side_of(&key, side)));
        let (place, side) = match open {
            Some((place, side)) if !self.connections[place].is_reopened_by(side, record) => (place, side),
            Some((place, own)) => (self.reopen(place, key, own, side, record), side),
            None => match self.join_translated(key, side, record) {
                Some(joined) => joined,
                None => (self.open_connection(key, side, record), side),
            },
        };
        let connection = &mut self.connections[place];
        let was_proven = connection.is_proven;
        let exchange = connection.take_in(side, record, &self.options, &mut self.counts);
        if connection.is_proven && !was_proven {
            self.queues.prove(place, &self.connections);
        }
        if let Some(sample) = exchange.sample {
            self.sample(place, side, sample);
        }
        for oddity in exchange.oddities.into_iter().flatten() {
            let is_worth_a_line = oddity.kind != Kind::NeverSent || exchange.first_anomaly;
            self.anomaly(Anomaly { key: FlowKey::of(segment), oddity }, is_worth_a_line);
        }
    }

    /// Counts a round trip for its connection, its prefix, the interval and the total.
    fn sample(&mut self, place: usize, side: usize, sample: Sample) {
        self.counts.samples += 1;
        let side = &mut self.connections[place].halves[side];
        let previous = side.rtt.last();
        side.rtt.record(sample.rtt_ns, previous, &mut self.histograms_left);
        if let Some(ticks) = sample.host_ticks {
            side.host.record(ticks.into(), side.host.last(), &mut self.histograms_left);
        }
        // These two always have a histogram, however many connections have one.
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

    /// Counts an anomaly. One that is worth a line is handed out at the next review and listed in reports,
    /// each if there is room.
    fn anomaly(&mut self, anomaly: Anomaly, is_worth_a_line: bool) {
        *match anomaly.oddity.kind {
            Kind::Back => &mut self.counts.back,
            Kind::Leap => &mut self.counts.leaps,
            Kind::ReusedBack => &mut self.counts.reused_back,
            Kind::NeverSent => &mut self.counts.never_sent,
        } += 1;
        if is_worth_a_line && self.anomalies.len() < MAX_ANOMALIES_WAITING {
            self.anomalies.push(anomaly);
        }
        if is_worth_a_line && self.listed.len() < MAX_LISTED {
            self.listed.push(anomaly);
        } else {
            self.counts.anomalies_unlisted += 1;
        }
    }

    /// The place and side of a SYN-ACK that answers the SYN of another key, across a NAT.
    fn join_translated(&mut self, key: FlowKey, side: usize, record: &Record) -> Option<(usize, usize)> {
        if !record.segment.flags.is_syn_ack() {
            return None;
        }
        let (place, serial) = self.syns.answered_by(&record.segment, record.time_ns)?;
        if !self.is_current(place, serial) {
            return None;
        }
        let connection = &mut self.connections[place];
        let answering = 1 - connection.opener;
        let is_free = !connection.finished && connection.halves[answering].segments == 0;
        if !is_free || connection.translated.is_some() {
            return None;
        }
        connection.translate(key, side);
        self.open.insert(key, place);
        self.counts.translated += 1;
        Some((place, answering))
    }

    fn open_connection(&mut self, key: FlowKey, side: usize, record: &Record) -> usize {
        self.make_room(record.time_ns);
        let serial = self.next_serial;
        self.next_serial += 1;
        let place = self.connections.insert(Connection::new(serial, key, side, record.time_ns));
        self.open.insert(key, place);
        if record.segment.flags.is_syn() {
            self.syns.push(&record.segment, record.time_ns, place, serial);
        }
        self.queues.open(place, &self.connections);
        place
    }

    /// Opens a new connection on the ports of an earlier one, which is finished.
    /// The segment came from side `side` of `key`, which is side `own` of the earlier one.
    fn reopen(&mut self, place: usize, key: FlowKey, own: usize, side: usize, record: &Record) -> usize {
        let oddity = self.connections[place].halves[own].tsvals.reopened_by(&Seen::of(record));
        if let Some(oddity) = oddity {
            self.anomaly(Anomaly { key: FlowKey::of(&record.segment), oddity }, true);
        }
        self.finish(place);
        let place = self.open_connection(key, side, record);
        self.connections[place].reused = true;
        place
    }

    /// Expects no more segments of a connection. It is held until it makes room.
    pub(super) fn finish(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        connection.finished = true;
        self.open.remove(&connection.key);
        if let Some((key, _)) = connection.translated {
            self.open.remove(&key);
        }
        self.queues.finish(place, connection);
        for side in 0..2 {
            let connection = &mut self.connections[place];
            connection.halves[side].expire(u64::MAX, &self.options, &mut self.counts);
            if let Some(oddity) = connection.halves[side].tsvals.close() {
                connection.halves[side].anomalies += 1;
                let key = connection.key_of(side);
                self.anomaly(Anomaly { key, oddity }, true);
            }
        }
    }

    /// Whether the connection with this serial is still held at this place.
    fn is_current(&self, place: usize, serial: u64) -> bool {
        self.connections.get(place).is_some_and(|connection| connection.serial == serial)
    }

    /// Expires waiting TSvals and finishes silent connections, a part of them at each call.
    fn sweep(&mut self, now_ns: u64) {
        let slots = self.connections.capacity();
        for _ in 0..slots.div_ceil(SWEEP_PARTS) {
            self.sweep_at = (self.sweep_at + 1) % slots.max(1);
            let Some(connection) = self.connections.get_mut(self.sweep_at) else { continue };
            for side in &mut connection.halves {
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
