//! Records of machines and of an attacker.
//!
//! The machines' part is drawn by a seed, so that analysis gets far enough to tell clocks apart whatever the
//! rest is: some connections in both directions, of clocks with random or fixed offsets. The attacker forges
//! segments of them, invents others, and bends time.

use arbitrary::{Arbitrary, Unstructured};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Engine, Options, Wanted, rtt};
use tmap_common::{Address, Flags, Record, Segment, Syn, Tunnel, tunnel::Kind};

use crate::{
    judge::summary::{beyond, wrong},
    simulate::{conversation::START_NS, received},
    wire::frame::LINUX_SYN,
};

/// The most that an attacker does, and the most snapshots in between.
const MOST_ACTS: usize = 256;
const MOST_SNAPSHOTS: usize = 3;

/// The budget of one search, in look-ups: a run takes milliseconds.
const LOOK_UPS: u64 = 200_000;

const MS: u64 = 1_000_000;

/// What an input says.
#[derive(Arbitrary, Debug)]
struct Story {
    seed: u32,
    traffic: Traffic,
    bounds: Bounds,
    acts: Vec<Act>,
}

/// What machines there are. Each figure is one of a few.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Traffic {
    machines: u8,
    connections: u8,
    segments: u8,
    hz: u8,
    length: u8,
    span: u8,
    jitter: u8,
    has_random_offsets: bool,
    shows_answers: bool,
}

/// The engine's bounds. Each is one of a few.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Bounds {
    flows: u8,
    addresses: u8,
    of_address: u8,
    bytes: u8,
    measures_round_trips: bool,
}

/// What an attacker does, or what happens meanwhile.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Act {
    /// Segments of a machine's connection.
    Forge { connection: u8, is_back: bool, shape: Shape },
    /// Segments of connections of the machines' address that aren't theirs.
    Invent { port: u8, peer: u8, shape: Shape },
    /// Segments of other addresses.
    Flood { source: u8, shape: Shape },
    /// The machines send for a while.
    GoOn { records: u8 },
    /// The attacker's time runs on.
    Wait { ms: u16 },
    /// The attacker's time leaps, or goes back.
    Leap { s: i32 },
    /// The attacker's time is anything.
    Set { ns: u64 },
    /// The engine looks for news.
    Review,
    /// The engine sums up.
    Sum { has_connections: bool },
}

/// What forged segments look like.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Shape {
    flags: u8,
    tsval: Value,
    tsecr: Value,
    count: u8,
    is_tunnelled: bool,
    is_unstamped: bool,
}

/// A TSval.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Zero,
    Exactly(u32),
    /// So much more than the machine's own latest one.
    Near(i8),
}

/// A side of a connection, and the latest TSval that it showed.
#[derive(Clone, Copy, Debug)]
struct Side {
    from: (Address, u16),
    to: (Address, u16),
    tsval: u32,
}

/// A segment of a machine's connection, or of its server's that goes back.
#[derive(Clone, Copy, Debug)]
struct Sent {
    connection: usize,
    is_back: bool,
    record: Record,
}

/// Counts are in order and bounds are kept, whatever comes.
pub fn run(bytes: &[u8]) {
    let Ok(story) = Story::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let mut play = Play::new(&story);
    for act in story.acts.iter().take(MOST_ACTS) {
        play.act(act);
    }
    play.go_on(usize::MAX);
    play.sum_up(true);
}

/// One of these.
fn pick<T: Copy>(from: &[T], choice: u8) -> T {
    from[usize::from(choice) % from.len()]
}

impl Bounds {
    fn options(self) -> Options {
        Options {
            max_flows: pick(&[1 << 16, 64, 9], self.flows),
            max_addresses: pick(&[1 << 12, 12, 2], self.addresses),
            max_connections_per_address: pick(&[4_096, 40, 5], self.of_address),
            max_history_bytes: pick(&[1 << 26, 1 << 14], self.bytes),
            search_bytes: pick(&[1 << 26, 1 << 16, 1 << 10], self.bytes),
            search_look_ups: LOOK_UPS,
            rtt: self.measures_round_trips.then(rtt::Options::default),
            ..Options::default()
        }
    }
}

impl Traffic {
    /// The connections' sides, the clients' before the servers', and their segments in order of time.
    fn draw(self, random: &mut Pcg64) -> (Vec<[Side; 2]>, Vec<Sent>) {
        let hz = pick(&[1000.0, 1000.0, 100.0, 250.0, 1e6], self.hz);
        let machines = usize::from(self.machines % 4) + 1;
        let clocks: Vec<(f64, f64)> = (0..machines)
            .map(|_| (4e9 * random.random::<f64>(), hz * (1.0 + 1e-4 * (random.random::<f64>() - 0.5))))
            .collect();
        let (mut sides, mut records) = (Vec::new(), Vec::new());
        for number in 0..usize::from(self.connections % 24) + 4 {
            let client = (Address::from_ip4([198, 51, 100, 1]), 20_000 + number as u16);
            let server = (Address::from_ip4([203, 0, 113, 1 + number as u8 % 3]), 443);
            sides.push([client, server].map(|from| Side {
                from,
                to: if from == client { server } else { client },
                tsval: 0,
            }));
            let (ticks, hz) = clocks[number % machines];
            let offset = if self.has_random_offsets { f64::from(random.random::<u32>()) } else { 0.0 };
            self.converse(number, (ticks + offset, hz), &sides[number], random, &mut records);
        }
        records.sort_by_key(|sent: &Sent| sent.record.time_ns);
        (sides, records)
    }

    /// One connection, its client's counter at the beginning and its rate in Hz given.
    fn converse(
        self,
        number: usize,
        (ticks, hz): (f64, f64),
        [client, server]: &[Side; 2],
        random: &mut Pcg64,
        records: &mut Vec<Sent>,
    ) {
        let segments = usize::from(self.segments % 16) + 8;
        let length_s = pick(&[2.0, 0.1, 20.0, 300.0], self.length);
        let begin_s = pick(&[30.0, 1.0, 600.0, 1e6], self.span) * random.random::<f64>();
        let jitter_s = pick(&[1e-4, 1e-6, 5e-3], self.jitter);
        let mut echo = [0; 2];
        for segment in 0..segments {
            let sent_s = begin_s + length_s * (segment as f64 + random.random::<f64>()) / segments as f64;
            let tsval = (ticks + hz * sent_s) as u64 as u32;
            let time_ns = START_NS + ((sent_s + jitter_s * random.random::<f64>()) * 1e9) as u64;
            let flags = match segment {
                0 => Flags::SYN,
                last if last + 1 == segments => Flags::FIN | Flags::ACK,
                _ => Flags::PSH | Flags::ACK,
            };
            let record = client.send(time_ns, flags, tsval, echo[0]);
            records.push(Sent { connection: number, is_back: false, record });
            echo[1] = tsval;
            if self.shows_answers {
                let flags = if segment == 0 { Flags::SYN | Flags::ACK } else { Flags::ACK };
                let tsval = (sent_s * 1000.0) as u64 as u32 + 77_777;
                let record = server.send(time_ns + MS, flags, tsval, echo[1]);
                records.push(Sent { connection: number, is_back: true, record });
                echo[0] = tsval;
            }
        }
    }
}

impl Side {
    fn send(&self, time_ns: u64, flags: Flags, tsval: u32, tsecr: u32) -> Record {
        let segment = Segment {
            src: self.from.0,
            dst: self.to.0,
            src_port: self.from.1,
            dst_port: self.to.1,
            flags,
            has_payload: flags.intersects(Flags::PSH),
            hop_limit: 60,
            tsval,
            tsecr,
            syn: flags.intersects(Flags::SYN).then_some(LINUX_SYN),
            ..Segment::default()
        };
        received(time_ns, segment)
    }
}

/// A story being played.
struct Play {
    options: Options,
    engine: Engine,
    sides: Vec<[Side; 2]>,
    /// The machines' segments.
    records: Vec<Sent>,
    /// How many of them were sent.
    sent: usize,
    /// The attacker's time, and the engine's.
    time_ns: u64,
    now_ns: u64,
    snapshots: usize,
}

impl Play {
    fn new(story: &Story) -> Self {
        let (sides, records) = story.traffic.draw(&mut Pcg64::seed_from_u64(story.seed.into()));
        let options = story.bounds.options();
        let engine = Engine::new(options.clone());
        Self { options, engine, sides, records, sent: 0, time_ns: START_NS, now_ns: START_NS, snapshots: 0 }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Forge { connection, is_back, shape } => {
                let [client, server] = self.sides[usize::from(connection) % self.sides.len()];
                let (own, other) = if is_back { (server, client) } else { (client, server) };
                self.forge(own, other.tsval, shape, |side, _| side);
            }
            Act::Invent { port, peer, shape } => {
                let from = (Address::from_ip4([198, 51, 100, 1]), u16::from(port));
                let to = (Address::from_ip4([203, 0, 113, peer % 4]), 80);
                self.forge(Side { from, to, tsval: 1 }, 1, shape, |mut side, number| {
                    side.from.1 = side.from.1.wrapping_add(256 * u16::from(number));
                    side
                });
            }
            Act::Flood { source, shape } => {
                let from = (Address::from_ip4([11, 0, 0, source]), 1024);
                let to = (Address::from_ip4([203, 0, 113, 1]), 80);
                self.forge(Side { from, to, tsval: 1 }, 1, shape, |mut side, number| {
                    side.from.0 = Address::from_ip4([11, 0, number, source]);
                    side
                });
            }
            Act::GoOn { records } => self.go_on(records.into()),
            Act::Wait { ms } => self.time_ns = self.time_ns.saturating_add(u64::from(ms) * MS),
            Act::Leap { s } => {
                self.time_ns = self.time_ns.saturating_add_signed(i64::from(s) * 1_000_000_000);
            }
            Act::Set { ns } => self.time_ns = ns,
            Act::Review => drop(self.engine.review(self.now_ns)),
            Act::Sum { has_connections } if self.snapshots < MOST_SNAPSHOTS => {
                self.snapshots += 1;
                self.sum_up(has_connections);
            }
            Act::Sum { .. } => {}
        }
    }

    /// Sends segments of a side, or of others like it.
    fn forge(&mut self, side: Side, heard: u32, shape: Shape, next: impl Fn(Side, u8) -> Side) {
        let value = |value: Value, known: u32| match value {
            Value::Zero => 0,
            Value::Exactly(value) => value,
            Value::Near(more) => known.wrapping_add_signed(more.into()),
        };
        for number in 0..shape.count % 16 + 1 {
            let tsval = value(shape.tsval, side.tsval).wrapping_add(number.into());
            let tsecr = value(shape.tsecr, heard);
            let mut record = next(side, number).send(self.time_ns, Flags(shape.flags), tsval, tsecr);
            let outer = |last| Address::from_ip4([192, 0, 2, last]);
            let tunnel = Tunnel { kind: Kind::VXLAN, id: 1, is_over_ip: true, src: outer(1), dst: outer(2) };
            record.segment.tunnel = shape.is_tunnelled.then_some(tunnel);
            if shape.is_unstamped && record.segment.syn.is_some() {
                (record.segment.tsval, record.segment.tsecr) = (0, 0);
                record.segment.syn = Some(Syn::default());
            }
            self.engine.observe(&record);
            self.time_ns = self.time_ns.saturating_add(MS);
        }
        self.now_ns = self.now_ns.max(self.time_ns);
    }

    /// The machines send some of their segments.
    fn go_on(&mut self, most: usize) {
        let until = self.sent.saturating_add(most).min(self.records.len());
        for Sent { connection, is_back, record } in &self.records[self.sent..until] {
            self.sides[*connection][usize::from(*is_back)].tsval = record.segment.tsval;
            self.engine.observe(record);
            (self.time_ns, self.now_ns) = (record.time_ns, self.now_ns.max(record.time_ns));
        }
        self.sent = until;
    }

    fn sum_up(&mut self, has_connections: bool) {
        let wanted = Wanted { connections: has_connections, siblings: true };
        let snapshot = self.engine.snapshot(self.now_ns, wanted);
        assert_eq!(wrong(&snapshot), Vec::<String>::new());
        assert_eq!(beyond(&self.engine.holdings(), &self.options), Vec::<String>::new());
    }
}

/// Stories of any bytes.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut random = Pcg64::seed_from_u64(1);
    (0..16_usize).map(|number| (0..64 + 64 * number).map(|_| random.random()).collect()).collect()
}
