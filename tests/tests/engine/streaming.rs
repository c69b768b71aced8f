//! Hours of traffic in bounded memory: machines keep their numbers while connections come and go, a
//! clock is slewed, and one machine reboots.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Engine, Event, Options, Pace, PartialSnapshot, Snapshot, Wanted, rtt};
use tmap_common::{Address, Flags, Record, Segment};
use tmap_tests::{
    simulate::{
        received,
        web::{Web, grid},
    },
    wire::frame::LINUX_SYN,
};

const S: u64 = 1_000_000_000;

/// Length of the traffic, and time between snapshots, in seconds.
const HOURS_S: u64 = 2 * 3600;
const SNAPSHOT_S: u64 = 600;

/// Connections remembered: a quarter of an hour's.
const MAX_CONNECTIONS: usize = 128;

/// A machine: what its counter shows, with its fraction, or `None` while it is off.
struct Machine {
    name: char,
    ticks: fn(f64) -> Option<f64>,
}

fn address() -> Address {
    Address::from_ip4([198, 51, 100, 1])
}

/// A connection every 20 s from each machine, half a minute long at most; `random` offsets or none.
/// Returns records in order of time and who opened which port when.
fn traffic(machines: &[Machine], random: bool) -> (Vec<Record>, HashMap<(u16, Address), char>) {
    let mut rng = Pcg64::seed_from_u64(5);
    let (mut records, mut owner) = (Vec::new(), HashMap::new());
    for round in 0..HOURS_S / 20 {
        for (index, machine) in machines.iter().enumerate() {
            let number = round * machines.len() as u64 + index as u64;
            let src_port = 10_000 + number as u16;
            let dst = Address::from_ip4([203, 0, 113, 1 + rng.random_range(0..5)]);
            let offset: u32 = if random { rng.random() } else { 0 };
            let begin_s = round as f64 * 20.0 + rng.random::<f64>() * 15.0;
            owner.insert((src_port, dst), machine.name);
            for i in 0..60 {
                let sent_s = begin_s + f64::from(i) * 0.4 * rng.random::<f64>();
                let Some(ticks) = (machine.ticks)(sent_s) else { continue };
                let delay_s = 0.000_3 - 50e-6 * (1.0 - rng.random::<f64>()).ln();
                let segment = Segment {
                    src: address(),
                    dst,
                    src_port,
                    dst_port: 443,
                    flags: if i == 0 { Flags::SYN } else { Flags::ACK },
                    has_payload: i > 0,
                    hop_limit: 63,
                    tsval: (ticks.floor() as i64 as u32).wrapping_add(offset),
                    tsecr: u32::from(i > 0),
                    syn: (i == 0).then_some(LINUX_SYN),
                    ..Segment::default()
                };
                records.push(received(((sent_s + delay_s) * 1e9) as u64, segment));
            }
        }
    }
    records.sort_by_key(|record| record.time_ns);
    (records, owner)
}

/// What was said in the course of time.
struct Watched {
    events: Vec<Event>,
    snapshots: Vec<Snapshot>,
}

/// Streams, as the sensor does: a review each second, a snapshot every ten minutes.
fn watch(records: &[Record]) -> Watched {
    let options = Options {
        max_connections_per_address: MAX_CONNECTIONS,
        max_flows: 2 * MAX_CONNECTIONS,
        idle_timeout_ns: 60 * S,
        ..Options::default()
    };
    let mut engine = Engine::new(options);
    let mut watched = Watched { events: Vec::new(), snapshots: Vec::new() };
    let mut at = 0;
    let mut most_bytes = 0;
    for second in 1..=HOURS_S {
        let until = at + records[at..].partition_point(|record| record.time_ns < second * S);
        engine.observe_all(&records[at..until]);
        at = until;
        watched.events.extend(engine.review(second * S));
        if second % SNAPSHOT_S == 0 {
            let wanted = Wanted { connections: true, siblings: false };
            watched.snapshots.push(engine.snapshot(second * S, wanted));
            let holdings = engine.holdings();
            assert!(holdings.connections <= MAX_CONNECTIONS, "{holdings:?}");
            assert!(holdings.addresses == 1 && holdings.flows <= MAX_CONNECTIONS, "{holdings:?}");
            if second <= HOURS_S / 3 {
                most_bytes = most_bytes.max(holdings.memory_bytes);
            } else {
                assert!(holdings.memory_bytes <= 2 * most_bytes, "{holdings:?}, at first {most_bytes}");
            }
        }
    }
    watched
}

/// The number that most connections of a machine have in a snapshot.
fn number_of(snapshot: &Snapshot, owner: &HashMap<(u16, Address), char>, name: char) -> Option<u32> {
    let mut votes: HashMap<u32, usize> = HashMap::new();
    for connection in &snapshot.connections {
        if let Some(number) = connection.machine
            && owner.get(&(connection.src_port, connection.dst)) == Some(&name)
        {
            *votes.entry(number).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|&(number, count)| (count, number)).map(|(number, _)| number)
}

/// The numbers that a machine had, snapshot by snapshot.
fn numbers(watched: &Watched, owner: &HashMap<(u16, Address), char>, name: char) -> Vec<Option<u32>> {
    watched.snapshots.iter().map(|snapshot| number_of(snapshot, owner, name)).collect()
}

fn new_machines(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::NewMachine { .. })).count()
}

/// Seconds of a clock that is `ppm` fast, and `more` ppm faster between two times.
fn slewed(t: f64, ppm: f64, more: f64, from: f64, to: f64) -> f64 {
    t * (1.0 + ppm * 1e-6) + more * 1e-6 * (t.clamp(from, to) - from)
}

/// When the second machine goes down, and when its counter begins anew.
const DOWN_S: f64 = 4000.0;
const BOOTED_S: f64 = 4060.0;

#[test]
fn a_reboot_and_a_slew_leave_the_other_machines_their_numbers() {
    let machines = [
        Machine { name: 'a', ticks: |t| Some(1000.0 * slewed(t, 12.0, 0.0, 0.0, 0.0) + 5e8) },
        Machine {
            name: 'b',
            ticks: |t| match t {
                t if t < DOWN_S => Some(1000.0 * slewed(t, -9.0, 0.0, 0.0, 0.0) + 9e8),
                t if t < BOOTED_S + 10.0 => None,
                t => Some(1000.0 * slewed(t - BOOTED_S, -9.2, 0.0, 0.0, 0.0)),
            },
        },
        // A correction of 6 ms, within five minutes.
        Machine { name: 'c', ticks: |t| Some(1000.0 * slewed(t, 3.0, 20.0, 5000.0, 5300.0) + 7e8) },
    ];
    let (records, owner) = traffic(&machines, false);
    let watched = watch(&records);
    for name in ['a', 'c'] {
        let numbers = numbers(&watched, &owner, name);
        assert!(numbers[0].is_some() && numbers.iter().all(|n| *n == numbers[0]), "{name}: {numbers:?}");
    }
    let of_b = numbers(&watched, &owner, 'b');
    let before = of_b[0].expect("told apart in ten minutes");
    let after = of_b[of_b.len() - 1].expect("still told apart");
    assert_ne!(before, after);
    let reboots: Vec<&Event> = watched.events.iter().filter(|e| matches!(e, Event::Reboot { .. })).collect();
    let [Event::Reboot { before: was, after: is, at_s, .. }] = reboots[..] else { panic!("{reboots:?}") };
    assert_eq!((*was, *is), (before, after));
    assert!((at_s.value - BOOTED_S).abs() < 1.0 + 3.0 * at_s.sigma, "{at_s:?}");
    assert_eq!(new_machines(&watched.events), 4, "{:?}", watched.events);
    let last = &watched.snapshots[watched.snapshots.len() - 1];
    assert_eq!(last.addresses[0].machines, Some(3));
    assert!(last.losses.connections_forgotten > 700, "memory is bounded: {:?}", last.losses);
}

/// When the third machine is suspended, and for how long.
const ASLEEP_S: (f64, f64) = (3000.0, 600.0);

#[test]
fn a_clock_that_is_slewed_or_stands_still_is_the_same_machine() {
    let machines = [
        Machine { name: 'a', ticks: |t| Some(1000.0 * slewed(t, 12.0, 0.0, 0.0, 0.0) + 5e8) },
        // A correction of 150 ms as fast as the kernel allows, in five minutes.
        Machine { name: 'b', ticks: |t| Some(1000.0 * slewed(t, -9.0, 500.0, 5000.0, 5300.0) + 9e8) },
        // What was sent just before it slept isn't sent.
        Machine {
            name: 'c',
            ticks: |t| match t - ASLEEP_S.0 {
                since if since < 0.0 => Some(1000.0 * slewed(t, 3.0, 0.0, 0.0, 0.0) + 7e8),
                since if since < ASLEEP_S.1 + 1.0 => None,
                _ => Some(1000.0 * slewed(t - ASLEEP_S.1, 3.0, 0.0, 0.0, 0.0) + 7e8),
            },
        },
    ];
    let (records, owner) = traffic(&machines, false);
    let watched = watch(&records);
    for name in ['a', 'b'] {
        let numbers = numbers(&watched, &owner, name);
        assert!(numbers[0].is_some() && numbers.iter().all(|n| *n == numbers[0]), "{name}: {numbers:?}");
    }
    let of_c = numbers(&watched, &owner, 'c');
    let moves: Vec<&Event> =
        watched.events.iter().filter(|event| matches!(event, Event::ClockMoved { .. })).collect();
    let [Event::ClockMoved { before, after, by_s, .. }] = moves[..] else { panic!("{moves:?}") };
    assert_eq!((Some(*before), Some(*after)), (of_c[0], of_c[of_c.len() - 1]));
    assert_eq!(before, after, "known by its first connections since");
    assert!((by_s.value + ASLEEP_S.1).abs() < 3.0 * by_s.sigma, "{by_s:?}");
    assert_eq!(new_machines(&watched.events), 3, "{:?}", watched.events);
    let last = &watched.snapshots[watched.snapshots.len() - 1];
    assert_eq!(last.addresses[0].machines, Some(3));
}

#[test]
fn machines_told_by_phase_keep_their_numbers_for_hours() {
    let machines = [
        Machine { name: 'a', ticks: |t| Some(1000.0 * slewed(t, 12.0, 0.0, 0.0, 0.0) + 0.3) },
        Machine { name: 'b', ticks: |t| Some(1000.0 * slewed(t, -9.0, 0.0, 0.0, 0.0) + 0.8) },
        // As chronyd does it at its calmest: half a ppm for twenty minutes.
        Machine { name: 'c', ticks: |t| Some(1000.0 * slewed(t, 3.0, 0.5, 3600.0, 4800.0) + 0.1) },
    ];
    let (records, owner) = traffic(&machines, true);
    let watched = watch(&records);
    for snapshot in &watched.snapshots {
        let report = &snapshot.addresses[0];
        assert_eq!(report.machines, Some(3), "at {} s: {report:?}", snapshot.now_ns / S);
    }
    for name in ['a', 'b', 'c'] {
        let numbers = numbers(&watched, &owner, name);
        assert!(numbers[0].is_some() && numbers.iter().all(|n| *n == numbers[0]), "{name}: {numbers:?}");
    }
    let reboots = watched.events.iter().filter(|e| matches!(e, Event::Reboot { .. })).count();
    assert_eq!((new_machines(&watched.events), reboots), (3, 0), "{:?}", watched.events);
}

/// From a file, an address is analysed seldom: connections that are discarded in between are counted all
/// the same, and the final report is that of many analysis passes.
#[test]
fn few_analysis_passes_count_the_connections_that_are_discarded() {
    let machines = [
        Machine { name: 'a', ticks: |t| Some(1000.0 * slewed(t, 12.0, 0.0, 0.0, 0.0) + 5e8) },
        Machine { name: 'b', ticks: |t| Some(1000.0 * slewed(t, -9.0, 0.0, 0.0, 0.0) + 9e8) },
    ];
    let (records, _) = traffic(&machines, false);
    let [many, few] = [Pace::Prompt, Pace::Sparse].map(|pace| {
        let options = Options { max_connections_per_address: MAX_CONNECTIONS, ..Options::default() };
        let mut engine = Engine::new(options);
        engine.set_pace(pace);
        let (mut at, mut events) = (0, Vec::new());
        for second in 1..=HOURS_S {
            let until = at + records[at..].partition_point(|record| record.time_ns < second * S);
            engine.observe_all(&records[at..until]);
            at = until;
            events.extend(engine.review(second * S));
        }
        let (last, part) = engine.conclude(HOURS_S * S, Wanted::default());
        let mut snapshot = PartialSnapshot::join([part]);
        events.extend(last);
        (new_machines(&events), snapshot.addresses.remove(0))
    });
    assert_eq!((many.0, few.0), (2, 2), "two machines are announced, once each");
    let (many, few) = (many.1, few.1);
    assert_eq!((many.connections, few.connections), (720, 720));
    assert_eq!((many.machines, few.machines), (Some(2), Some(2)));
    for (machine, same) in many.machine_list.iter().zip(&few.machine_list) {
        assert_eq!(machine.id, same.id);
        assert!((machine.connections - 360.0).abs() < 8.0, "{machine:?}");
        assert!((same.connections - 360.0).abs() < 8.0, "{same:?}");
    }
}

/// A damaged file has any times: years ahead, and back again.
#[test]
fn times_that_leap_by_centuries_end_in_a_report() {
    let machines = [Machine { name: 'a', ticks: |t| Some(1000.0 * t + 5e8) }];
    let (mut records, _) = traffic(&machines, false);
    records.truncate(2000);
    for (index, record) in records.iter_mut().enumerate() {
        if index % 7 == 3 {
            record.time_ns = u64::MAX - record.time_ns % 1000;
        }
    }
    for pace in [Pace::Prompt, Pace::Sparse] {
        let mut engine = Engine::new(Options::default());
        engine.set_pace(pace);
        for record in &records {
            engine.observe(record);
            engine.review(record.time_ns);
        }
        let (_, part) = engine.conclude(u64::MAX, Wanted::default());
        assert_eq!(PartialSnapshot::join([part]).addresses.len(), 1, "{pace:?}");
    }
}

/// A snapshot of what was analysed already says the same as the one before, word for word.
#[test]
fn a_second_look_says_the_same() {
    let rows = [
        "clients 4x10 random LAN",
        "few: clients pair",
        "one connection: mail random",
        "probes 3x30 pair LAN",
    ];
    for name in rows {
        let row = grid::rows().into_iter().find(|row| row.name == name).expect("a row");
        let records = Web { seed: 3, ..row.web }.run().simulation.records;
        let mut engine = Engine::new(Options::default());
        engine.set_resolution_ns(1);
        engine.observe_all(&records);
        let now_ns = records.last().expect("records").time_ns;
        let wanted = Wanted::default();
        let said = |snapshot: &Snapshot| format!("{:#?}", snapshot.addresses);
        let first = engine.snapshot(now_ns, wanted);
        let open = first.addresses.iter().filter_map(|report| report.unassigned.as_ref());
        assert!(open.clone().all(|rest| rest.most_tsvals > 0 || rest.segments == 0), "{name}: {open:#?}");
        let again = engine.snapshot(now_ns, wanted);
        assert!(said(&first) == said(&again), "{name}");
    }
}

/// A snapshot may be the first to find a machine. The next review announces it all the same, once.
#[test]
fn what_a_snapshot_finds_is_announced_at_the_next_review() {
    let machines = [Machine { name: 'a', ticks: |t| Some(1000.0 * t + 5e8) }];
    let (mut records, _) = traffic(&machines, false);
    records.truncate(2000);
    let now_ns = records.last().expect("records").time_ns;
    let rtt = rtt::Options { stream: false, machines: true, ..rtt::Options::default() };
    for rtt in [None, Some(rtt)] {
        let mut engine = Engine::new(Options { rtt, ..Options::default() });
        engine.observe_all(&records);
        assert_eq!(engine.snapshot(now_ns, Wanted::default()).addresses[0].machines, Some(1));
        assert_eq!(new_machines(&engine.review(now_ns)), 1);
        assert_eq!(new_machines(&engine.review(now_ns + S)), 0);
    }
}

#[test]
fn random_offsets_are_told_beside_clocks_without_a_constant_rate() {
    let machines = [
        // It comes when the other one's clocks are known.
        Machine { name: 'a', ticks: |t| (t > 200.0).then_some(1000.0 * t + 5e8) },
        Machine { name: 'b', ticks: |t| Some(1000.0 * t + 2000.0 * (t / 7.0).sin() + 9e8) },
    ];
    let (records, _) = traffic(&machines, true);
    let mut engine = Engine::new(Options::default());
    let (mut at, mut events) = (0, Vec::new());
    for second in 1..=HOURS_S / 12 {
        let until = at + records[at..].partition_point(|record| record.time_ns < second * S);
        engine.observe_all(&records[at..until]);
        at = until;
        events.extend(engine.review(second * S));
    }
    let random = events.iter().filter(|event| matches!(event, Event::OffsetsRandom { .. })).count();
    assert_eq!(random, 1, "{events:?}");
}
