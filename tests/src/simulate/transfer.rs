//! Bulk transfers across paths whose delays are known, as a sensor on the way sees them.
//!
//! The sender stamps every transmission by its clock; the receiver echoes as RFC 7323, section 4.3,
//! has it (`TS.Recent` and `Last.ACK.sent`), holds acknowledgements back if it is to (RFC 9293), and
//! acknowledges at once what is out of order. Segments are lost and overtaken on either side of the
//! sensor; three repeated acknowledgements or 300 ms bring a retransmission.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::Record;

use crate::simulate::conversation::acknowledgement;

const MS: u64 = 1_000_000;

/// How long a sender waits for an acknowledgement.
const TIMEOUT_NS: u64 = 300 * MS;

/// By how much a segment that is overtaken comes later.
const OVERTAKEN_NS: u64 = 25 * MS;

/// The mean time between two segments that the application has to send.
const PACE_NS: f64 = 6e6;

/// Segments of a connection.
const SEGMENTS: u64 = 300;

/// What the path and the hosts do.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The row's name.
    pub name: &'static str,
    /// The senders' tick rate.
    pub tick_hz: u64,
    /// The senders' TSvals at the start.
    pub first_tsval: u32,
    /// One way between the sender and the sensor.
    pub near_ns: u64,
    /// One way between the sensor and the receiver.
    pub far_ns: u64,
    /// Up to so much comes to each half of the path, each time.
    pub jitter_ns: u64,
    /// Acknowledgements of every other segment, or after so long.
    pub held_ns: Option<u64>,
    /// The share of segments lost, on each side of the sensor.
    pub loss: f64,
    /// The share overtaken, on each side of the sensor.
    pub overtaken: f64,
    /// Acknowledgements pass elsewhere.
    pub one_way: bool,
    /// Connections, begun 300 ms apart.
    pub connections: u16,
}

/// All rows.
pub fn scenarios() -> Vec<Scenario> {
    let plain = Scenario {
        name: "round trips: plain",
        tick_hz: 1_000,
        first_tsval: 5_000_000,
        near_ns: 10 * MS,
        far_ns: 15 * MS,
        jitter_ns: MS / 2,
        held_ns: None,
        loss: 0.0,
        overtaken: 0.0,
        one_way: false,
        connections: 10,
    };
    // Wraps 700 ms into the first connection.
    let first_tsval = u32::MAX - 700;
    let held_ns = Some(40 * MS);
    vec![
        plain,
        Scenario { name: "jitter of 8 ms", jitter_ns: 8 * MS, ..plain },
        Scenario { name: "delayed ACKs", held_ns, ..plain },
        Scenario { name: "reordering, 3 %", overtaken: 0.03, ..plain },
        Scenario { name: "loss, 3 %", loss: 0.03, ..plain },
        Scenario { name: "wrap", first_tsval, ..plain },
        Scenario { name: "clock of 100 Hz", tick_hz: 100, ..plain },
        Scenario { name: "all of that", first_tsval, held_ns, loss: 0.03, overtaken: 0.03, ..plain },
        Scenario { name: "one direction", one_way: true, ..plain },
    ]
}

/// What is true of an acknowledgement that the sensor sees.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// When the transmission that it echoes passed the sensor, or would have, had it not been lost.
    pub echoed_ns: u64,
    /// Whether the sensor saw that one.
    pub is_seen: bool,
    /// The network's part of the round trip.
    pub path_ns: u64,
}

/// What the sensor sees of a transfer, not in order, and the truth about the acknowledgements.
pub type Sight = Vec<(Record, Option<Truth>)>;

/// One transfer from `port`, begun at `began_ns`.
pub fn run(scenario: &Scenario, port: u16, began_ns: u64) -> Sight {
    let mut transfer = Transfer {
        scenario: *scenario,
        rng: Pcg64::seed_from_u64(port.into()),
        port,
        agenda: BTreeMap::new(),
        copies: Vec::new(),
        acked: 0,
        repeated: 0,
        receiver: Receiver::default(),
        sight: Vec::new(),
    };
    let mut at_ns = began_ns as f64;
    for index in 0..SEGMENTS {
        transfer.plan(at_ns as u64, Event::Send(index));
        at_ns -= PACE_NS * (1.0 - transfer.rng.random::<f64>()).ln();
    }
    while let Some(((now_ns, _), event)) = transfer.agenda.pop_first() {
        transfer.happen(now_ns, event);
    }
    transfer.sight
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The application has this segment ready.
    Send(u64),
    /// This transmission arrives.
    Arrive(usize),
    /// The receiver has held its acknowledgement back for long enough, unless others went out since.
    Release(u64),
    /// The sender hears that everything before this segment arrived.
    Acknowledge(u64),
    /// This transmission has been under way for long.
    Timeout(usize),
}

/// A transmission.
#[derive(Clone, Copy, Debug)]
struct Copy {
    index: u64,
    tsval: u32,
    sensor_ns: u64,
    is_seen: bool,
    arrival_ns: u64,
}

#[derive(Debug, Default)]
struct Receiver {
    /// The segment that is due.
    next: u64,
    /// Segments that came before their turn.
    early: BTreeSet<u64>,
    /// The transmission whose TSval is echoed.
    recent: Option<usize>,
    last_acknowledged: u64,
    unacknowledged: u32,
    acknowledgements: u64,
}

/// A segment on its way: when it passes the sensor and arrives, unless it is lost before.
struct Way {
    sensor_ns: u64,
    is_seen: bool,
    arrival_ns: u64,
    arrives: bool,
}

struct Transfer {
    scenario: Scenario,
    rng: Pcg64,
    port: u16,
    agenda: BTreeMap<(u64, usize), Event>,
    copies: Vec<Copy>,
    /// The first segment that the sender hasn't heard of.
    acked: u64,
    repeated: u32,
    receiver: Receiver,
    sight: Sight,
}

impl Transfer {
    fn plan(&mut self, at_ns: u64, event: Event) {
        let mut turn = 0;
        while self.agenda.contains_key(&(at_ns, turn)) {
            turn += 1;
        }
        self.agenda.insert((at_ns, turn), event);
    }

    fn happen(&mut self, now_ns: u64, event: Event) {
        match event {
            Event::Send(index) => self.transmit(now_ns, index),
            Event::Arrive(copy) => self.arrive(now_ns, copy),
            Event::Release(acknowledgements) => {
                if self.receiver.acknowledgements == acknowledgements && self.receiver.unacknowledged > 0 {
                    self.acknowledge(now_ns);
                }
            }
            Event::Acknowledge(next) if next > self.acked => (self.acked, self.repeated) = (next, 0),
            Event::Acknowledge(next) => {
                self.repeated += u32::from(next == self.acked);
                if self.repeated == 3 && self.copies.iter().any(|copy| copy.index == next) {
                    self.transmit(now_ns, next);
                }
            }
            Event::Timeout(copy) => {
                let index = self.copies[copy].index;
                let is_latest = !self.copies[copy + 1..].iter().any(|later| later.index == index);
                if index >= self.acked && is_latest {
                    self.transmit(now_ns, index);
                }
            }
        }
    }

    /// Chances and delays of the two halves of a path, in the order in which it is passed.
    fn way(&mut self, now_ns: u64, halves_ns: [u64; 2]) -> Way {
        let Scenario { jitter_ns, loss, overtaken, .. } = self.scenario;
        let rng = &mut self.rng;
        let mut half = |base_ns: u64| {
            let late_ns = if rng.random_bool(overtaken) { OVERTAKEN_NS } else { 0 };
            (base_ns + late_ns + rng.random_range(0..=jitter_ns), !rng.random_bool(loss))
        };
        let [(before_ns, is_seen), (after_ns, survives)] = halves_ns.map(&mut half);
        let sensor_ns = now_ns + before_ns;
        Way { sensor_ns, is_seen, arrival_ns: sensor_ns + after_ns, arrives: is_seen && survives }
    }

    /// The sender sends a segment, for the first time or again.
    fn transmit(&mut self, now_ns: u64, index: u64) {
        let Scenario { near_ns, far_ns, tick_hz, first_tsval, .. } = self.scenario;
        let Way { sensor_ns, is_seen, arrival_ns, arrives } = self.way(now_ns, [near_ns, far_ns]);
        let tsval = first_tsval.wrapping_add((now_ns / (1_000 * MS / tick_hz)) as u32);
        let number = self.copies.len();
        self.copies.push(Copy { index, tsval, sensor_ns, is_seen, arrival_ns });
        self.plan(now_ns + TIMEOUT_NS, Event::Timeout(number));
        if arrives {
            self.plan(arrival_ns, Event::Arrive(number));
        }
        if is_seen {
            let record = self.record(sensor_ns, false, tsval, 1);
            self.sight.push((record, None));
        }
    }

    fn arrive(&mut self, now_ns: u64, number: usize) {
        let Copy { index, tsval, .. } = self.copies[number];
        let receiver = &mut self.receiver;
        let is_newer = receiver
            .recent
            .is_none_or(|recent| tsval.wrapping_sub(self.copies[recent].tsval).cast_signed() > 0);
        if is_newer && index <= receiver.last_acknowledged {
            receiver.recent = Some(number);
        }
        let is_in_order = index == receiver.next && receiver.early.is_empty();
        if index > receiver.next {
            receiver.early.insert(index);
        } else if index == receiver.next {
            receiver.next += 1;
            while receiver.early.remove(&receiver.next) {
                receiver.next += 1;
            }
        }
        receiver.unacknowledged += 1;
        match self.scenario.held_ns {
            Some(held_ns) if is_in_order && receiver.unacknowledged < 2 => {
                let release = Event::Release(receiver.acknowledgements);
                self.plan(now_ns + held_ns, release);
            }
            _ => self.acknowledge(now_ns),
        }
    }

    fn acknowledge(&mut self, now_ns: u64) {
        let Scenario { near_ns, far_ns, .. } = self.scenario;
        let receiver = &mut self.receiver;
        receiver.last_acknowledged = receiver.next;
        receiver.unacknowledged = 0;
        receiver.acknowledgements += 1;
        let next = receiver.next;
        // Before that, what the handshake said would be echoed: nobody saw it here.
        let Some(echoed) = receiver.recent.map(|number| self.copies[number]) else { return };
        let way = self.way(now_ns, [far_ns, near_ns]);
        if way.arrives {
            self.plan(way.arrival_ns, Event::Acknowledge(next));
        }
        if way.is_seen && !self.scenario.one_way {
            let truth = Truth {
                echoed_ns: echoed.sensor_ns,
                is_seen: echoed.is_seen,
                path_ns: echoed.arrival_ns - echoed.sensor_ns + way.sensor_ns - now_ns,
            };
            let record = self.record(way.sensor_ns, true, (now_ns / MS) as u32 + 77, echoed.tsval);
            self.sight.push((record, Some(truth)));
        }
    }

    fn record(&self, time_ns: u64, back: bool, tsval: u32, tsecr: u32) -> Record {
        let ends = [([192, 0, 2, 10], self.port), ([198, 51, 100, 1], 443)];
        let (from, to) = if back { (ends[1], ends[0]) } else { (ends[0], ends[1]) };
        let mut record = acknowledgement(time_ns, (from, to), tsval, tsecr);
        record.segment.has_payload = !back;
        record
    }
}
