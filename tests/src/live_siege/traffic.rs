//! All that is sent at its time: the victims' connections with what is forged into them, and a scan from the
//! NAT's own address. The flood is not part of it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap_common::{Flags, Segment};

use super::{
    MS, S,
    cast::{Cast, nat},
    connection::Connection,
};
use crate::siege;

/// From one new connection to the next, in nanoseconds.
const OPENS_NS: std::ops::Range<u64> = 400 * MS..500 * MS;

/// From one SYN of the scan to the next, in nanoseconds.
const SCANS_NS: u64 = S / 40;

/// The ports that the NAT gives to connections, in turn.
const PORTS: std::ops::Range<u16> = 20_000..60_000;

/// The port that is scanned.
const SCANNED_PORT: u16 = 9;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A connection begins.
    Open,
    /// The scan goes on.
    Scan,
    /// A connection of this number goes on.
    GoOn(u64),
}

/// What is under way, and what comes next.
#[derive(Debug)]
pub(super) struct Traffic {
    random: Pcg64,
    cast: Cast,
    agenda: BinaryHeap<Reverse<(u64, Event)>>,
    connections: HashMap<u64, Connection>,
    opened: u64,
    scanned: u64,
}

impl Traffic {
    /// Traffic that begins at zero. The same seed gives the same plan.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed);
        let cast = Cast::new(&mut random);
        let agenda = BinaryHeap::from([Reverse((0, Event::Open)), Reverse((0, Event::Scan))]);
        Self { random, cast, agenda, connections: HashMap::new(), opened: 0, scanned: 0 }
    }

    /// How many connections have begun.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// When the next segment is due.
    pub(super) fn due_ns(&self) -> u64 {
        self.agenda.peek().map_or(0, |Reverse((due_ns, _))| *due_ns)
    }

    /// The next segment, as it passes the sensor now; `None` where there was only something to plan.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Segment> {
        let Reverse((due_ns, event)) = self.agenda.pop()?;
        match event {
            Event::Open => {
                self.open(due_ns);
                None
            }
            Event::Scan => {
                self.agenda.push(Reverse((due_ns + SCANS_NS, Event::Scan)));
                Some(self.scan(now_ns))
            }
            Event::GoOn(number) => {
                let connection = self.connections.get_mut(&number)?;
                let segment = connection.next(now_ns, &mut self.random);
                self.plan(number);
                segment
            }
        }
    }

    fn open(&mut self, begin_ns: u64) {
        let next_ns = begin_ns + self.random.random_range(OPENS_NS);
        self.agenda.push(Reverse((next_ns, Event::Open)));
        let port = PORTS.start + (self.opened % PORTS.len() as u64) as u16;
        let pair = self.cast.pair(port, &mut self.random);
        self.connections.insert(self.opened, Connection::new(pair, begin_ns, &mut self.random));
        self.plan(self.opened);
        self.opened += 1;
    }

    fn plan(&mut self, number: u64) {
        match self.connections.get(&number).and_then(Connection::due_ns) {
            Some(due_ns) => self.agenda.push(Reverse((due_ns, Event::GoOn(number)))),
            None => drop(self.connections.remove(&number)),
        }
    }

    fn scan(&mut self, now_ns: u64) -> Segment {
        let number = self.scanned as usize;
        self.scanned += 1;
        let ends = ((nat(), number as u16), (siege::peer(number >> 16), SCANNED_PORT));
        siege::segment(now_ns, ends, Flags::SYN, self.random.random_range(1..u32::MAX)).segment
    }
}

#[cfg(test)]
mod tests {
    use tmap::engine::{Engine, Options, Wanted};
    use tmap_common::Record;

    use super::*;
    use crate::{live_siege::cast, simulate::received};

    /// What passes in so many seconds, each segment at its time.
    fn records(seconds: u64) -> Vec<Record> {
        let mut traffic = Traffic::new(1);
        let mut records = Vec::new();
        while traffic.due_ns() < seconds * S {
            let now_ns = traffic.due_ns();
            records.extend(traffic.next(now_ns).map(|segment| received(S + now_ns, segment)));
        }
        records
    }

    #[test]
    fn the_engine_finds_the_truth_when_nothing_is_late() {
        let records = records(240);
        let mut engine = Engine::new(Options::default());
        engine.set_resolution_ns(1);
        engine.observe_all(&records);
        let snapshot = engine.snapshot(records[records.len() - 1].time_ns, Wanted::default());
        let count = |address| {
            let found = snapshot.addresses.iter().find(|report| report.address == address);
            found.and_then(|report| report.machines)
        };
        assert_eq!(count(nat()).map(u64::from), Some(cast::TRUE_MACHINES));
        assert_eq!(cast::servers().map(count), [Some(1); 6]);
    }

    #[test]
    fn rates_are_those_of_the_documents() {
        let records = records(100);
        let of_nat = |flags: Flags| {
            let is = |record: &&Record| record.segment.src == nat() && record.segment.flags == flags;
            records.iter().filter(is).count()
        };
        let scans = records.iter().filter(|record| record.segment.dst_port == SCANNED_PORT).count();
        assert_eq!(scans, 4_000);
        let opened = of_nat(Flags::SYN) - scans;
        assert!((200..=250).contains(&opened), "{opened} connections");
        // All but those that have not come to that point.
        assert!((opened - 75..=opened).contains(&of_nat(Flags::RST)), "{} resets", of_nat(Flags::RST));
    }
}
