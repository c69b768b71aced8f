//! The kernel programs and the user-space parser are twins: the same record or the same reason for
//! none, on a few hundred thousand frames, and every frame accounted for.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::programs::Program;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::capture::xdp::{Config, Rings, Sensor};
use tmap_common::{
    Counters, Link, Record, Segment, Skip,
    filter::{self, MAX_TESTS, Test},
    parse,
    parse::walk,
    record::Direction,
};
use tmap_tests::{
    net::root,
    test_run,
    wire::{
        frame::{self, Ip6, Tcp},
        random,
    },
};

/// XDP_PASS, and TC_ACT_UNSPEC as the system call returns it.
const XDP_PASS: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;

/// The loaded programs and what was counted so far.
struct Twins {
    sensor: Sensor,
    rings: Rings,
    filter: Vec<Test>,
    decap: bool,
    round_trips: bool,
    before: Counters,
}

/// One of the programs, and the kind of frame that it takes.
#[derive(Clone, Copy)]
struct Hook {
    program: &'static str,
    link: Link,
    direction: Direction,
}

const fn hook(program: &'static str, link: Link, direction: Direction) -> Hook {
    Hook { program, link, direction }
}

/// All programs.
const HOOKS: [Hook; 6] = [
    hook("tmap_xdp_eth", Link::Ethernet, Direction::Ingress),
    hook("tmap_xdp_ip", Link::Ip, Direction::Ingress),
    hook("tmap_tc_eth", Link::Ethernet, Direction::Egress),
    hook("tmap_tc_ip", Link::Ip, Direction::Egress),
    hook("tmap_tcin_eth", Link::Ethernet, Direction::Ingress),
    hook("tmap_tcin_ip", Link::Ip, Direction::Ingress),
];

/// A loaded program.
fn program<'a>(sensor: &'a Sensor, hook: &Hook) -> &'a Program {
    sensor.ebpf().program(hook.program).expect("in the object")
}

impl Twins {
    /// With a short ring, so that it wraps all the time.
    fn load(filter: &[Test], cautious: bool, decap: bool) -> Self {
        Self::load_with(Config { filter: filter.to_vec(), cautious, decap, ..Config::default() }, 64)
    }

    /// As [`Twins::load`], with records that tell TSecr.
    fn load_for_round_trips(cautious: bool, decap: bool) -> Self {
        Self::load_with(Config { cautious, decap, round_trips: true, ..Config::default() }, 64)
    }

    fn load_with(config: Config, slots: u32) -> Self {
        root::require();
        let config = Config { ring_slots: Some(slots), every_packet: true, ..config };
        let (sensor, rings) = Sensor::load(&config).expect("the programs load");
        let Config { filter, decap, round_trips, .. } = config;
        Self { sensor, rings, filter, decap, round_trips, before: Counters::default() }
    }

    /// What a record tells of a segment: TSecr or bytes, of handshakes both.
    fn told(&self, segment: Segment) -> Segment {
        match (segment.syn, self.round_trips) {
            (Some(_), _) => segment,
            (None, true) => Segment { payload_bytes: 0, ..segment },
            (None, false) if segment.payload_bytes > 0 => Segment { tsecr: 0, ..segment },
            (None, false) => segment,
        }
    }

    /// What user space makes of a frame.
    fn expected(&self, frame: &[u8], link: Link) -> Result<Segment, Skip> {
        let parsed = parse(frame, link, self.decap);
        assert_eq!(parsed, walk(frame, link, self.decap), "{frame:02x?}");
        let segment = parsed?;
        let wanted =
            self.filter.is_empty() || filter::accepts(&segment, |index| self.filter.get(usize::from(index)));
        if wanted { Ok(segment) } else { Err(Skip::Filtered) }
    }

    /// Gives a frame to a program and compares all that is to be seen of it.
    fn compare(&mut self, frame: &[u8], hook: usize) -> Result<Segment, Skip> {
        let hook = &HOOKS[hook];
        let Hook { link, direction, .. } = hook;
        let outcome = test_run::run(program(&self.sensor, hook), frame);
        let outcome = outcome.unwrap_or_else(|error| panic!("{error}: {frame:02x?}"));
        let pass = if hook.program.contains("xdp") { XDP_PASS } else { TC_ACT_UNSPEC };
        assert_eq!(outcome.code, pass, "{frame:02x?}");
        assert_eq!(outcome.frame, frame, "the frame was changed");
        let expected = self.expected(frame, *link);
        let mut records: Vec<Record> = Vec::new();
        self.rings.drain(8, |record| records.push(*record));
        match expected {
            Ok(segment) => {
                assert_eq!(records.len(), 1, "{frame:02x?}");
                assert_eq!(records[0].segment, self.told(segment), "{frame:02x?}");
                assert_eq!(records[0].direction, *direction);
                assert!(records[0].time_ns > 0);
            }
            Err(skip) => assert!(records.is_empty(), "{skip}: {records:?} of {frame:02x?}"),
        }
        let mut counters = self.before;
        counters.seen += 1;
        match expected {
            Ok(_) => counters.emitted += 1,
            Err(skip) => counters.skipped[skip as usize] += 1,
        }
        let counted = self.sensor.statistics().total();
        assert_eq!(counted, counters, "{expected:?} of {frame:02x?}");
        assert_eq!(counted.accounted(), counted.seen);
        self.before = counted;
        expected
    }

    /// Compares `count` frames; returns how often each outcome came.
    fn run(&mut self, rng: &mut Pcg64, count: usize) -> Counters {
        let before = self.before;
        for _ in 0..count {
            let frame = random::next(rng);
            // Most go to the program that most interfaces use.
            let hook = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5][rng.random_range(0..10)];
            let is_raw = HOOKS[hook].link == Link::Ip;
            // A frame without its link header, where that leaves what the system call demands.
            let start = if is_raw && frame.len() >= 2 * random::MIN_BYTES { random::MIN_BYTES } else { 0 };
            let frame = &frame[start..];
            let is_tc = !HOOKS[hook].program.contains("xdp");
            // The XDP programs for the same kinds of link come first.
            let hook = if is_tc && !test_run::suits_tc(frame) { hook % 2 } else { hook };
            let _ = self.compare(frame, hook);
        }
        let mut outcome = self.before;
        outcome.emitted -= before.emitted;
        outcome
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn agree_on_many_frames() {
    let mut rng = Pcg64::seed_from_u64(1);
    let mut twins = Twins::load(&[], false, true);
    let counters = twins.run(&mut rng, 200_000);
    assert_eq!(twins.sensor.statistics().received, counters.emitted);
    println!("{} records, and skipped:", counters.emitted);
    // What no filter rejects, and of which the whole was captured.
    for skip in Skip::ALL.iter().filter(|skip| !matches!(skip, Skip::Filtered | Skip::SnapCut)) {
        let count = counters.skipped[*skip as usize];
        println!("  {count:6} {skip}");
        assert!(count >= 20, "frames of too few kinds: {count} {skip}");
    }
    assert!(counters.emitted >= 30_000, "too few frames with timestamps: {}", counters.emitted);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn agree_with_barriers_and_atomics() {
    let mut rng = Pcg64::seed_from_u64(2);
    Twins::load(&[], true, false).run(&mut rng, 20_000);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn agree_on_filters() {
    let mut rng = Pcg64::seed_from_u64(3);
    let (mut wanted, mut unwanted) = (0, 0);
    for round in 0..12 {
        let length = if round == 0 { MAX_TESTS } else { rng.random_range(1..=MAX_TESTS) };
        let filter: Vec<Test> = (0..length).map(|index| random_test(&mut rng, index, length)).collect();
        let counters = Twins::load(&filter, false, round % 2 == 0).run(&mut rng, 2_000);
        wanted += counters.emitted;
        unwanted += counters.skipped[Skip::Filtered as usize];
    }
    println!("{wanted} wanted, {unwanted} not");
    assert!(wanted > 1_000 && unwanted > 1_000);
}

/// Programs that tell TSecr differ in nothing else.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn agree_on_round_trips() {
    let mut rng = Pcg64::seed_from_u64(5);
    for (cautious, decap) in [(false, true), (true, false)] {
        let counters = Twins::load_for_round_trips(cautious, decap).run(&mut rng, 20_000);
        assert!(counters.emitted >= 2_000, "{counters:?}");
    }
}

/// A test that some frames of the builder pass and some don't, with jumps as a compiler makes them.
fn random_test(rng: &mut Pcg64, index: usize, length: usize) -> Test {
    let mut jump = || match rng.random_range(0..5) {
        0 => filter::ACCEPT,
        1 => filter::REJECT,
        _ if index + 1 < length => rng.random_range(index + 1..length) as u8,
        _ => filter::ACCEPT,
    };
    let (on_yes, on_no) = (jump(), jump());
    let bits = [96 + 8, 96 + 16, 96 + 32, 32, 48, 128, 0][rng.random_range(0..7)];
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
    let ip4 = u128::from(u32::from_be_bytes([10, rng.random_range(0..4), 0, rng.random_range(0..8)]));
    let ip6 = 0x2001_0db8_u128 << 96 | u128::from(rng.random_range(0..4_u8)) << 80;
    let net = if bits > 90 && bits < 128 { 0xffff_0000_0000 | ip4 } else { ip6 } & mask;
    let low = [0, 22, 80, 400][rng.random_range(0..4)];
    Test {
        net: net.to_be_bytes(),
        mask: mask.to_be_bytes(),
        port_low: low,
        port_high: low + [0, 100, 2_000, 60_000][rng.random_range(0..4)],
        field: rng.random_range(0..4),
        on_yes,
        on_no,
        reserved: 0,
    }
}

/// A full ring loses records, counts them, and gives out the ones it holds in order.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_ring_is_counted() {
    let mut rng = Pcg64::seed_from_u64(4);
    let mut twins = Twins::load(&[], false, true);
    let mut sent = Vec::new();
    while sent.len() < 500 {
        let frame = random::next(&mut rng);
        if let Ok(segment) = parse(&frame[..], Link::Ethernet, true) {
            test_run::run(program(&twins.sensor, &HOOKS[0]), &frame).expect("runs");
            sent.push(twins.told(segment));
        }
    }
    let statistics = twins.sensor.statistics();
    let counters = statistics.total();
    assert_eq!(counters.seen, 500);
    assert_eq!(counters.emitted + counters.ring_full, 500);
    assert!(counters.ring_full > 0 && counters.emitted >= 64 / 3, "{counters:?}");
    let fill: u64 = statistics.cpus.iter().map(|cpu| cpu.ring_fill).sum();
    assert!(fill > 60 && fill <= 64 * statistics.cpus.len() as u64, "{fill} slots in use");
    let mut records: Vec<Record> = Vec::new();
    while twins.rings.drain(7, |record| records.push(*record)) > 0 {}
    assert_eq!(records.len() as u64, counters.emitted);
    assert!(records.is_sorted_by_key(|record| record.time_ns), "not in the order of time");
    let mut rest = sent.iter();
    for record in &records {
        assert!(rest.any(|segment| *segment == record.segment), "not in the order sent: {record:?}");
    }
    let after = twins.sensor.statistics();
    assert_eq!(after.received, counters.emitted);
    assert!(after.cpus.iter().all(|cpu| cpu.ring_fill == 0));
}

/// While one thread fills a short ring another drains it: whole records, each once.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn filled_and_drained_at_once() {
    const RECORDS: usize = 20_000;
    for cautious in [false, true] {
        let config = Config { cautious, decap: true, round_trips: true, ..Config::default() };
        let Twins { sensor, mut rings, .. } = Twins::load_with(config, 512);
        let program = program(&sensor, &HOOKS[0]);
        let enough = AtomicBool::new(false);
        let mut stamps = Vec::new();
        let frames = thread::scope(|scope| {
            let filling = scope.spawn(|| {
                // IPv6, so that records are longer than a slot.
                let mut frame = numbered_frame();
                let mut number = 0_u32;
                while !enough.load(Ordering::Relaxed) && number < 5_000_000 {
                    let at = frame.len() - 8;
                    frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
                    frame[at + 4..].copy_from_slice(&(!number).to_be_bytes());
                    test_run::run(program, &frame).expect("runs");
                    number += 1;
                }
                number
            });
            loop {
                let done = filling.is_finished();
                let each = |record: &Record| stamps.push((record.segment.tsval, record.segment.tsecr));
                let drained = rings.drain(100, each);
                enough.store(stamps.len() >= RECORDS, Ordering::Relaxed);
                if done && drained == 0 {
                    break filling.join().expect("filled");
                }
            }
        });
        let counters = sensor.statistics().total();
        assert_eq!((counters.seen, counters.accounted()), (u64::from(frames), u64::from(frames)));
        assert_eq!(counters.emitted, stamps.len() as u64);
        assert!(stamps.len() >= RECORDS, "{counters:?}");
        assert!(stamps.iter().all(|(tsval, tsecr)| *tsecr == !*tsval), "a record was torn");
        stamps.sort_unstable();
        assert!(stamps.windows(2).all(|pair| pair[0] != pair[1]), "a record came twice");
        println!("{} of {frames} fitted, {} lost and counted", stamps.len(), counters.ring_full);
    }
}

/// A consumer that sleeps is woken by the next record, and only sleeps where none waits.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_record_wakes_a_consumer_that_sleeps() {
    const LONG: Duration = Duration::from_secs(2);
    for cautious in [false, true] {
        let config = Config { cautious, decap: true, ..Config::default() };
        let Twins { sensor, mut rings, .. } = Twins::load_with(config, 64);
        let (program, frame) = (program(&sensor, &HOOKS[0]), numbered_frame());
        let mut overslept = 0;
        // More often than the ring and the bell hold records.
        for round in 0..300_u32 {
            let began = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| {
                    if round % 3 == 0 {
                        thread::sleep(Duration::from_millis(4));
                    }
                    test_run::run(program, &frame).expect("runs");
                });
                while rings.drain(8, |_| {}) == 0 {
                    rings.sleep(LONG);
                }
            });
            overslept += u32::from(began.elapsed() >= LONG);
        }
        rings.sleep(Duration::from_millis(1));
        assert_eq!(rings.drain(8, |_| {}), 0, "an empty ring stays empty");
        // A producer may be kept waiting just where it rings no bell.
        assert!(overslept <= 2, "{overslept} of 300 records waited until the time was over");
        let counters = sensor.statistics().total();
        assert_eq!((counters.seen, counters.emitted, counters.ring_full), (300, 300, 0));
    }
}

/// An IPv6 segment in the recommended layout, which ends in TSval and TSecr.
fn numbered_frame() -> Vec<u8> {
    let options = [&[1, 1, 8, 10][..], &[0; 8]].concat();
    let header = Tcp { src_port: 80, dst_port: 90, flags: 0x10, options: &options, ..Tcp::default() };
    frame::ethernet(&[], frame::IP6, &Ip6::default().around(&header.around(&[])))
}

/// Anomalies are logged, the first few of a kind on each CPU only.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_first_anomalies_are_logged() {
    let mut twins = Twins::load(&[], false, true);
    let truncated = [[2; 12].as_slice(), &[0x08, 0x00, 0x45, 0x00]].concat();
    for _ in 0..50 {
        assert_eq!(twins.compare(&truncated, 0), Err(Skip::IpTruncated));
    }
    let not_ip = [[2; 12].as_slice(), &[0x08, 0x06, 0, 1]].concat();
    for _ in 0..50 {
        assert_eq!(twins.compare(&not_ip, 0), Err(Skip::NotIp));
    }
    let lines = twins.sensor.anomalies();
    let cpus = twins.sensor.statistics().cpus.len();
    assert!((3..=3 * cpus).contains(&lines.len()), "{lines:?}");
    for line in &lines {
        assert_eq!(line, "skipped a malformed frame of 16 bytes (ip_truncated)");
    }
    assert!(twins.sensor.anomalies().is_empty());
}

/// A segment of IPv4 or IPv6 with these time stamps and so much data; in VLAN 7 if tagged, with SACK blocks
/// if `sack`.
fn data(ip6: bool, tagged: bool, sack: bool, (tsval, tsecr): (u32, u32), payload_bytes: usize) -> Vec<u8> {
    let mut options = vec![1, 1, 8, 10];
    options.extend(tsval.to_be_bytes());
    options.extend(tsecr.to_be_bytes());
    if sack {
        options.extend([1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    }
    let tag: &[u8] = if tagged { &[0x81, 0, 0, 7] } else { &[] };
    frame::segment(tag, ip6, &options, &vec![0; payload_bytes])
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn repeats_are_suppressed_and_told_of() {
    root::require();
    let config = Config { ring_slots: Some(64), decap: true, ..Config::default() };
    let (sensor, mut rings) = Sensor::load(&config).expect("the programs load");
    let program = program(&sensor, &HOOKS[0]);
    let mut tsval = 1_000;
    for (ip6, tagged) in [(false, false), (false, true), (true, false), (true, true)] {
        let before = sensor.statistics().total();
        let mut records = Vec::new();
        // A new TSval, five repeats; then one with a new TSecr, one with SACK (the slow path), a late one,
        // and the newest again: each of these goes in. All within a few milliseconds.
        let mut plan = vec![(false, 10, 5); 6];
        plan.extend([(false, 10, 6), (true, 10, 6), (false, 9, 6), (false, 10, 6), (false, 10, 6)]);
        let (mut sent_bytes, last_bytes) = (0, 100 + plan.len() - 1);
        for (number, (sack, ticks, tsecr)) in plan.into_iter().enumerate() {
            let frame = data(ip6, tagged, sack, (tsval + ticks, tsecr), 100 + number);
            sent_bytes += 100 + number as u64;
            test_run::run(program, &frame).expect("runs");
            rings.drain(8, |record| records.push(*record));
        }
        tsval += 100;
        let counted = sensor.statistics().total();
        assert_eq!(counted.accounted(), counted.seen);
        let (emitted, suppressed) =
            (counted.emitted - before.emitted, counted.suppressed - before.suppressed);
        assert_eq!(emitted, records.len() as u64);
        assert_eq!(emitted + suppressed, 11, "IPv6 {ip6}, tag {tagged}");
        // A stall of the machine makes more go in, never fewer.
        assert!(emitted >= 5, "{emitted}");
        let told: u64 = records.iter().map(|record| u64::from(record.suppressed)).sum();
        assert!(told >= suppressed.saturating_sub(1) && told <= suppressed, "{told} of {suppressed}");
        let untold_bytes = (suppressed - told) * last_bytes as u64;
        let bytes: u64 = records.iter().map(|record| u64::from(record.segment.payload_bytes)).sum();
        assert_eq!(bytes, sent_bytes - untold_bytes, "IPv6 {ip6}, tag {tagged}");
    }
    let counted = sensor.statistics().total();
    assert!(counted.suppressed >= 12, "{counted:?}");
}
