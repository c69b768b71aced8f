//! Clocks and networks that make one machine look like several, or several like one.

use std::collections::HashMap;

use rand::RngExt;
use tmap::engine::{
    snapshot::{AddressReport, Regime},
    types::{Doubt, Estimate},
};
use tmap_common::{Address, Record};
use tmap_tests::simulate::{
    Offsets, SHARED, Scenario, Simulation,
    conversation::{START_NS, Side, conversation},
};

use crate::rewritten::{Client, SERVER, figures, reports};

const SECOND_NS: u64 = 1_000_000_000;

/// When a conversation begins in nanoseconds, how long it lasts in seconds, and the server's clock: its rate
/// in Hz, its counter when the traffic begins, and by how many nanoseconds it ticks later.
type Conversation = (u64, u64, u64, u32, u64);

/// The report on [`SERVER`] after these conversations with four clients.
fn server(seed: u64, conversations: &[Conversation]) -> AddressReport {
    server_of(seed, 4, conversations)
}

/// The report on [`SERVER`] after these conversations with so many clients in turn.
fn server_of(seed: u64, peers: u16, conversations: &[Conversation]) -> AddressReport {
    server_after(seed, peers, conversations, 0)
}

/// The report on [`SERVER`] where clients are silent from the handshake to this time after it began.
fn server_after(seed: u64, peers: u16, conversations: &[Conversation], silent_ns: u64) -> AddressReport {
    let mut clients = Client::new(seed);
    let mut records = Vec::new();
    for (number, &(begin_ns, seconds, tick_hz, ticks, phase_ns)) in (0_u16..).zip(conversations) {
        let address = [192, 0, 2, (number % peers) as u8];
        let client = Side { address, port: 40_000 + number, tick_hz: 1_000, ticks: clients.random.random() };
        let server = Side { address: SERVER, port: 80, tick_hz, ticks };
        let mut all = conversation(client, server, begin_ns, seconds);
        let is_seen = |record: &Record| {
            let since_ns = record.time_ns - START_NS - begin_ns;
            since_ns < 3_000_000 || since_ns >= silent_ns
        };
        all.retain(is_seen);
        all.iter_mut().for_each(|record| {
            record.time_ns += phase_ns + clients.random.random_range(0..60_000);
        });
        records.extend(all);
    }
    reports(records, 1).remove(&Address::from_ip4(SERVER)).expect("the server")
}

/// NetBSD counts from 1 in each connection, at 2 Hz.
#[test]
fn counters_that_begin_with_their_connections_are_no_machines() {
    for tick_hz in [2, 100, 1_000] {
        for count in [5_u64, 20, 60] {
            let conversation = |number: u64| {
                let begin_ns = 7 * number * SECOND_NS + 123_456_789 * (number % 7);
                let elapsed = u128::from(begin_ns) * u128::from(tick_hz) / u128::from(SECOND_NS);
                (begin_ns, 5, tick_hz, 1_u32.wrapping_sub(elapsed as u32), 0)
            };
            let report = server(count, &(0..count).map(conversation).collect::<Vec<_>>());
            let case = format!("{count} at {tick_hz} Hz: {}", figures(&report));
            assert!(report.machines.is_none_or(|machines| machines == 1), "{case}");
            assert_eq!((report.machines_low, report.regime), (Some(1), Regime::PerConnection), "{case}");
        }
    }
}

/// A counter of 0 in the handshake is no time stamp, and a request that comes late finds another one.
#[test]
fn counters_that_begin_with_their_connections_may_be_seen_late() {
    for (tick_hz, first) in [(2, 0_u32), (2, 1), (100, 0), (100, 1), (1_000, 0), (1_000, 1)] {
        let conversation = |number: u64| {
            let begin_ns = 7 * number * SECOND_NS + 123_456_789 * (number % 7);
            let elapsed = u128::from(begin_ns) * u128::from(tick_hz) / u128::from(SECOND_NS);
            (begin_ns, 8, tick_hz, first.wrapping_sub(elapsed as u32), 0)
        };
        let conversations: Vec<Conversation> = (0..40).map(conversation).collect();
        let report = server_after(1, 30, &conversations, 3 * SECOND_NS);
        let case = format!("from {first} at {tick_hz} Hz: {}", figures(&report));
        assert_eq!((report.machines_low, report.machines_proven), (Some(1), Some(1)), "{case}");
        assert_eq!(report.regime, Regime::PerConnection, "{case}");
    }
}

/// Where a route asks for it, Linux stamps in microseconds.
#[test]
fn another_rate_proves_no_second_machine() {
    let conversation = |number: u64| {
        let is_fine = number % 4 < 2;
        let (tick_hz, ticks) = if is_fine { (1_000_000, 5_000_000) } else { (1_000, 5_000) };
        (3 * number * SECOND_NS, 10, tick_hz, ticks, 0)
    };
    let report = server(1, &(0..40).map(conversation).collect::<Vec<_>>());
    assert_eq!((report.machines_low, report.machines_proven), (Some(1), Some(1)), "{}", figures(&report));
}

/// They wrap in 72 minutes, so of a hundred some are near each other. A fixed offset would be seen by many.
#[test]
fn fast_counters_of_pairs_meet_by_chance() {
    for seed in 0..10 {
        let mut random = Client::new(seed).random;
        let offsets: Vec<u32> = (0..120).map(|_| random.random()).collect();
        let conversation =
            |number: usize| (400_000_000 * number as u64, 1, 1_000_000, offsets[number % offsets.len()], 0);
        let report = server_of(seed, 120, &(0..360).map(conversation).collect::<Vec<_>>());
        let told = (report.machines_low, report.machines_high, report.machines_proven);
        assert_eq!(told, (Some(1), Some(1), Some(1)), "{seed}: {}", figures(&report));
    }
}

/// In an hour, short connections of one counter foretell each other to a second. Of two that were all its
/// counter had, each was another machine.
#[test]
fn fast_counters_that_are_seldom_seen_in_an_hour_are_no_further_machines() {
    for seed in 0..12 {
        let scenario = Scenario {
            machines: 4,
            offsets: Offsets::PerPair,
            tick_hz: 1e6,
            duration_s: 3600.0,
            connections: 40,
            peers: 6,
            skew_spread_ppm: 0.05,
            segments: (6.0, 20.0),
            length_s: Some(0.3),
            seed,
            ..Scenario::default()
        };
        let report = shared(scenario.run().records);
        assert!(report.machines_low <= Some(4), "{seed}: {}", figures(&report));
    }
}

/// Of so many random counters, some leave a part of the circle empty.
#[test]
fn random_counters_that_leave_a_gap_are_no_machines() {
    let mut random = Client::new(7).random;
    let conversations: Vec<_> = (0..180_u64)
        .map(|number| (SECOND_NS / 2 * number, 1, 1_000, random.random_range(0..4_000_000_000), 0))
        .collect();
    let report = server_of(7, 30, &conversations);
    assert_eq!(
        (report.machines_low, report.regime),
        (Some(1), Regime::PerConnection),
        "{}",
        figures(&report)
    );
}

/// A balancer with addresses of its own makes a counter of each. So short connections hardly show a phase.
#[test]
fn a_service_whose_phases_are_not_known_may_be_one_machine() {
    for (seed, counters) in [(1, 4), (2, 12), (3, 24)] {
        let mut random = Client::new(seed).random;
        let offsets: Vec<u32> = (0..counters).map(|_| random.random()).collect();
        let conversations: Vec<_> = (0..4 * counters)
            .map(|number| {
                let begin_ns = SECOND_NS * number as u64 + random.random_range(0..SECOND_NS);
                (begin_ns, 0, 1_000, offsets[number % counters], 0)
            })
            .collect();
        let report = server_of(seed, 30, &conversations);
        let told = (report.machines_low, report.machines_proven);
        assert_eq!(told, (Some(1), Some(1)), "{counters}: {}", figures(&report));
    }
}

/// After a power cut, counters begin within minutes of each other. One that began later looks like one that
/// slept.
#[test]
fn machines_that_were_switched_on_one_after_another_are_several() {
    for seed in 0..12 {
        let mut random = Client::new(seed).random;
        let conversations: Vec<_> = (0..60_u32)
            .map(|number| {
                let began_s = random.random_range(0..600_u64);
                // All machines serve all clients, or each serves three.
                let machine = if seed % 2 == 0 { number % 20 } else { number / 3 };
                let phase_ns = 37_000 * u64::from(machine);
                (began_s * SECOND_NS, 6, 1_000, 7_000_000 - 5_000 * machine, phase_ns)
            })
            .collect();
        let report = server(seed, &conversations);
        assert!(report.machines_high.is_none_or(|high| high >= 20), "{seed}: {}", figures(&report));
        assert!(report.machines_low >= Some(10), "{seed}: {}", figures(&report));
    }
}

#[test]
fn a_path_that_becomes_longer_may_be_one_machine_s() {
    let conversation = |number: u64| {
        let late_ticks = if number < 20 { 0 } else { 700 };
        (3 * number * SECOND_NS, 2, 1_000, 5_000_000 - late_ticks, 0)
    };
    let report = server(1, &(0..40).map(conversation).collect::<Vec<_>>());
    assert_eq!((report.machines_low, report.machines_proven), (Some(1), Some(1)), "{}", figures(&report));
}

/// Its offsets are drawn by pair, and all of them anew.
#[test]
fn a_machine_that_starts_anew_may_be_one() {
    for seed in 0..5 {
        let mut random = Client::new(seed).random;
        let offsets: Vec<u32> = (0..8).map(|_| random.random()).collect();
        let conversation = |number: usize| {
            let phase_ns = if number < 30 { 0 } else { 400_000 };
            let ticks = offsets[number % 4 + if number < 30 { 0 } else { 4 }];
            (3 * number as u64 * SECOND_NS, 2, 1_000, ticks, phase_ns)
        };
        let report = server(seed, &(0..60).map(conversation).collect::<Vec<_>>());
        let told = (report.machines_low, report.machines_proven);
        assert_eq!(told, (Some(1), Some(1)), "{seed}: {}", figures(&report));
    }
}

/// How often each client of a server connects, and the server's machines, whose offsets are drawn by pair.
struct Served {
    clients: u16,
    each: usize,
    machines: usize,
}

/// The report on [`SERVER`] after twenty minutes, in which its machines serve in turn, or all along.
fn served(seed: u64, Served { clients, each, machines }: &Served, are_in_turn: bool) -> AddressReport {
    const WHOLE_NS: u64 = 1_200 * SECOND_NS;
    const PAUSE_NS: u64 = 30 * SECOND_NS;
    let mut random = Client::new(seed).random;
    let clocks: Vec<(Vec<u32>, u64)> = (0..*machines)
        .map(|_| ((0..*clients).map(|_| random.random()).collect(), random.random_range(0..1_000_000)))
        .collect();
    let turns = if are_in_turn { *machines as u64 } else { 1 };
    let conversation = |number: usize| {
        let machine = random.random_range(0..*machines);
        let turn = if are_in_turn { machine as u64 } else { 0 };
        let begin_ns = WHOLE_NS / turns * turn + random.random_range(0..WHOLE_NS / turns - PAUSE_NS);
        let (offsets, phase_ns) = &clocks[machine];
        (begin_ns, 2, 1_000, offsets[number % usize::from(*clients)], *phase_ns)
    };
    let conversations: Vec<Conversation> = (0..each * usize::from(*clients)).map(conversation).collect();
    server_of(seed, *clients, &conversations)
}

/// Once or more often, also where each client connects a few times. What it is after each start shows as one
/// more machine that serves in turn.
#[test]
fn a_machine_that_starts_anew_again_and_again_may_be_one() {
    for (clients, each, machines) in
        [(8, 20, 3), (8, 20, 4), (20, 40, 6), (20, 3, 2), (8, 3, 2), (6, 4, 2), (8, 4, 3)]
    {
        for seed in 0..5 {
            let report = served(seed, &Served { clients, each, machines }, true);
            let case = format!("{clients} x {each}, {machines}, {seed}: {}", figures(&report));
            assert_eq!((report.machines_low, report.machines_proven), (Some(1), Some(1)), "{case}");
        }
    }
}

#[test]
fn machines_that_serve_all_along_are_not_fewer() {
    for (clients, each, machines) in [(8, 20, 2), (8, 20, 3), (20, 40, 6), (20, 3, 2)] {
        for seed in 0..5 {
            let report = served(seed, &Served { clients, each, machines }, false);
            let told = (report.machines, report.machines_low);
            let case = format!("{clients} x {each}, {machines}, {seed}: {}", figures(&report));
            assert_eq!(told, (Some(machines as u32), Some(machines as u32)), "{case}");
        }
    }
}

/// Five machines with random offsets behind a link that delivers in each millisecond once.
#[test]
fn a_link_that_keeps_step_hides_machines() {
    let mut clients = Client::new(1);
    for number in 0..60 {
        let ticks = clients.random.random();
        clients.connect(30_000 + number, (number % 6) as u8, u64::from(number), ticks);
    }
    let any_time = clients.records.clone();
    let in_step = |record: Record| Record {
        time_ns: START_NS + (record.time_ns - START_NS).next_multiple_of(1_000_000),
        ..record
    };
    let shared = Address::from_ip4(SHARED.octets());
    assert_eq!(reports(any_time.clone(), 1)[&shared].doubt, None);
    let report = &reports(any_time.into_iter().map(in_step).collect(), 1)[&shared];
    assert_eq!((report.machines, report.doubt), (None, Some(Doubt::InStep)), "{}", figures(report));
}

/// A machine with a fixed offset that opens connections to two servers at once shows both the same.
#[test]
fn connections_that_begin_together_are_two() {
    let mut clients = Client::new(1);
    for host in 0..10_u16 {
        let ticks = 1_000_000 * u32::from(host + 3);
        let begin_s = 6 * u64::from(host);
        let first = clients.records.len();
        clients.connect(30_000 + 2 * host, 1, begin_s, ticks);
        let of_first: Vec<Record> = clients.records[first..].to_vec();
        // The other one begins within the same tick, and then goes its own way.
        let shift_ns = clients.random.random_range(0..300_000_000);
        let other = of_first.into_iter().enumerate().map(|(place, mut record)| {
            let (segment, late_ns) = (&mut record.segment, if place < 3 { 0 } else { shift_ns });
            let from_client = segment.src == Address::from_ip4(SHARED.octets());
            let (ends, port) = if from_client {
                (&mut segment.dst, &mut segment.src_port)
            } else {
                (&mut segment.src, &mut segment.dst_port)
            };
            (*ends, *port) = (Address::from_ip4([203, 0, 113, 2]), *port + 1);
            record.time_ns += late_ns;
            record.segment.tsval += (late_ns / 1_000_000) as u32;
            record.segment.tsecr += if place < 3 { 0 } else { (late_ns / 1_000_000) as u32 };
            record
        });
        clients.records.extend(other.collect::<Vec<_>>());
    }
    let report = clients.told();
    assert_eq!((report.connections, report.connections_seen_twice), (20, 0), "{}", figures(&report));
}

/// The traffic of machines with random offsets in ten minutes, without those connections of which `is_there`
/// says that their machine was not there at this time, in seconds.
pub(crate) fn of_present(scenario: &Scenario, is_there: impl Fn(usize, f64) -> bool) -> Vec<Record> {
    let Simulation { mut records, truth } = scenario.run();
    let key = |record: &Record| (record.segment.src_port, record.segment.dst, record.segment.dst_port);
    let zero_ns = records[0].time_ns;
    let mut is_kept = HashMap::new();
    for record in &records {
        let at_s = (record.time_ns - zero_ns) as f64 * 1e-9;
        is_kept.entry(key(record)).or_insert_with(|| is_there(truth.machine_of[&key(record)], at_s));
    }
    records.retain(|record| is_kept[&key(record)]);
    records
}

pub(crate) fn shared(records: Vec<Record>) -> AddressReport {
    reports(records, 1).remove(&Address::from_ip4(SHARED.octets())).expect("the shared address")
}

/// A line may run through the short lives of several machines.
#[test]
fn machines_that_take_turns_are_told_as_such() {
    for seed in 0..3 {
        let scenario = Scenario { machines: 9, connections: 60, seed, ..Scenario::default() };
        let report = shared(of_present(&scenario, |machine, at_s| machine / 3 == (at_s / 200.0) as usize));
        let holds = report.machines_low <= Some(9) && report.machines_high.is_none_or(|high| high >= 9);
        assert!(holds && report.doubt == Some(Doubt::ComeAndGo), "{seed}: {}", figures(&report));
        let few = Scenario { machines: 3, ..scenario };
        let report = shared(of_present(&few, |_, _| true));
        assert_eq!((report.machines, report.doubt), (Some(3), None), "{seed}: {}", figures(&report));
    }
}

/// Five machines, while the clock of the sensor runs faster from half-time on.
#[test]
fn a_sensor_s_clock_that_changes_its_rate_is_told() {
    for seed in 0..3 {
        let scenario = Scenario { machines: 5, connections: 60, seed, ..Scenario::default() };
        let mut records = of_present(&scenario, |_, _| true);
        let half_ns = records[0].time_ns + 300 * SECOND_NS;
        records
            .iter_mut()
            .for_each(|record| record.time_ns += record.time_ns.saturating_sub(half_ns) / 30_000);
        let report = shared(records);
        let told = (report.machines_high, report.doubt);
        assert_eq!(told, (None, Some(Doubt::ComeAndGo)), "{seed}: {}", figures(&report));
    }
}

/// Records that arrive later by what `late_s` tells of their time, in seconds, and in the order in which they
/// were sent.
fn delayed(mut records: Vec<Record>, late_s: impl Fn(f64) -> f64) -> Vec<Record> {
    let (zero_ns, mut last_ns) = (records[0].time_ns, 0);
    for record in &mut records {
        let at_s = (record.time_ns - zero_ns) as f64 * 1e-9;
        record.time_ns = (record.time_ns + (late_s(at_s) * 1e9) as u64).max(last_ns);
        last_ns = record.time_ns;
    }
    records
}

/// Connections of three seconds within two minutes.
pub(crate) fn two_minutes(machines: usize, offsets: Offsets, seed: u64) -> Scenario {
    Scenario {
        machines,
        offsets,
        duration_s: 120.0,
        connections: 60,
        segments: (14.0, 14.0),
        length_s: Some(3.0),
        seed,
        ..Scenario::default()
    }
}

/// A queue that fills within 15 s, stays for 20 s and drains.
#[test]
fn a_full_queue_makes_no_machines_of_pairs() {
    for (seed, machines) in [(0, 1), (1, 2), (2, 5)] {
        let records = two_minutes(machines, Offsets::PerPair, seed).run().records;
        let queue_s = |at_s: f64| 0.2 * ((at_s - 40.0) / 15.0).min((90.0 - at_s) / 15.0).clamp(0.0, 1.0);
        let report = shared(delayed(records, queue_s));
        let told = (report.machines, report.machines_low, report.machines_high);
        let machines = Some(machines as u32);
        assert_eq!(told, (machines, machines, machines), "{}", figures(&report));
    }
}

/// A path that becomes 0.3 ms longer tilts the line through all connections: its skew was off by half a ppm.
#[test]
fn a_path_that_becomes_longer_tilts_no_skew() {
    let (mut told, mut wrong) = (0, 0);
    for seed in 0..12 {
        let scenario = Scenario { duration_s: 600.0, ..two_minutes(1, Offsets::PerConnection, seed) };
        let simulation = scenario.run();
        let late_s = |at_s: f64| if at_s > 270.0 { 0.3e-3 } else { 0.0 };
        let true_ppm = simulation.truth.clocks[0].skew_ppm;
        let report = shared(delayed(simulation.records, late_s));
        for skew in report.machine_list.iter().filter_map(|machine| machine.skew_ppm) {
            told += 1;
            wrong += usize::from((skew.value - true_ppm).abs() > 4.0 * skew.sigma);
        }
    }
    assert!(wrong <= 1, "{wrong} of {told}");
}

/// Bufferbloat: a queue of up to half a second that fills and drains every nine seconds. Connections that
/// were open meanwhile seem to tick at another rate.
#[test]
fn a_queue_that_comes_and_goes_proves_no_machine_of_another_rate() {
    let mut told = Vec::new();
    for seed in 0..8 {
        let scenario = Scenario { connections: 300, ..two_minutes(1, Offsets::PerConnection, seed) };
        let queue_s = |at_s: f64| (0.5 * (at_s * std::f64::consts::TAU / 9.0).sin()).max(0.0);
        let report = shared(delayed(scenario.run().records, queue_s));
        told.push((report.machines_low, report.machines_proven));
    }
    assert!(told.iter().all(|told| *told == (Some(1), Some(1))), "{told:?}");
}

/// Such a queue makes several counters of each pair's one, near each other: no wonder that all of them are.
#[test]
fn counters_that_a_queue_made_of_one_are_no_machines_that_were_switched_on_together() {
    let mut told = Vec::new();
    for seed in 0..8 {
        let scenario = Scenario {
            connections: 400,
            peers: 3,
            duration_s: 400.0,
            ..two_minutes(1, Offsets::PerPair, seed)
        };
        let queue_s = |at_s: f64| {
            let wave = |period_s: f64| (at_s * std::f64::consts::TAU / period_s).sin();
            (0.25 * wave(23.0) + 0.3 * wave(9.0) + 0.1 * wave(3.7)).max(0.0)
        };
        let report = shared(delayed(scenario.run().records, queue_s));
        told.push((report.machines, report.machines_low, report.machines_proven));
    }
    assert!(told.iter().all(|told| *told == (Some(1), Some(1), Some(1))), "{told:?}");
}

/// A failover to a satellite, and back.
#[test]
fn a_path_that_is_longer_for_a_while_proves_no_machine() {
    for (seed, longer_s) in [(0, 0.3), (1, 0.6), (2, 0.6), (3, 0.9)] {
        let records = two_minutes(1, Offsets::Global, seed).run().records;
        let path_s = |at_s: f64| if (45.0..80.0).contains(&at_s) { longer_s } else { 0.0 };
        let report = shared(delayed(records, path_s));
        assert_eq!((report.machines_low, report.machines_proven), (Some(1), Some(1)), "{}", figures(&report));
    }
}

/// A connection of three seconds shows 1024 Hz with an error of 12: 1000 Hz, far commoner, would do as well.
#[test]
fn a_rare_rate_is_told_by_all_connections_together() {
    for seed in 0..4 {
        let scenario = Scenario { tick_hz: 1024.0, ..two_minutes(1, Offsets::Global, seed) };
        let report = shared(scenario.run().records);
        let rates: Vec<f64> = report.machine_list.iter().map(|machine| machine.tick_hz).collect();
        assert_eq!((report.machines, &rates[..]), (Some(1), &[1024.0][..]), "{seed}: {}", figures(&report));
    }
}

/// Beside machines whose long connections show how far clocks are off, one whose short ones don't.
#[test]
fn a_clock_that_is_far_off_is_one() {
    for (seed, far_ppm) in [(0, 150.0), (1, -200.0), (2, 300.0)] {
        let mut records = two_minutes(2, Offsets::PerConnection, seed).run().records;
        // Every other connection is one machine's; the sensor sees it run fast.
        let zero_ns = records[0].time_ns;
        for record in records.iter_mut().filter(|record| record.segment.src_port % 2 == 0) {
            let since_ns = (record.time_ns - zero_ns) as f64;
            record.time_ns = zero_ns + (since_ns * (1.0 - far_ppm * 1e-6)) as u64;
        }
        let report = shared(records);
        assert_eq!(
            (report.machines, report.machines_low),
            (Some(2), Some(2)),
            "{seed}: {}",
            figures(&report)
        );
    }
}

/// Short connections of a rate that no stack uses leave it open, and would fit one that stacks do use.
#[test]
fn a_rate_that_is_on_no_list_is_told_as_none() {
    for (seed, tick_hz) in [(0, 96.0), (1, 240.0), (2, 800.0), (3, 1250.0), (4, 32_768.0)] {
        for offsets in [Offsets::Global, Offsets::PerPair, Offsets::PerConnection] {
            let few = Scenario { segments: (6.0, 6.0), length_s: Some(0.6), ..two_minutes(1, offsets, seed) };
            let report = shared(Scenario { tick_hz, ..few }.run().records);
            let case = format!("{tick_hz} Hz, {offsets:?}: {}", figures(&report));
            for machine in &report.machine_list {
                let told = (machine.tick_hz, machine.boot.is_some(), machine.skew_ppm.is_some());
                assert_eq!(told, (0.0, false, false), "{case}");
                let is_near = machine.rate_hz.may_equal(Estimate { value: tick_hz, sigma: 0.0 }, 0.0, 3.0);
                assert!(is_near, "{case}: {:?}", machine.rate_hz);
            }
            assert!(report.machines_low <= Some(1) && report.machines_high >= Some(1), "{case}");
            let is_one = report.machines == Some(1) || offsets != Offsets::Global;
            let is_told = report.doubt == Some(Doubt::Unsteady) || offsets == Offsets::PerConnection;
            assert!(is_one && is_told, "{case}");
        }
    }
}

/// Each of these is on the list, and clocks may be off it by 500 ppm.
#[test]
fn rates_that_are_on_the_list_are_told_as_such() {
    for (seed, tick_hz) in [(0, 10.0), (1, 100.0), (2, 250.0), (3, 1000.0), (4, 1e6)] {
        for off in [-500e-6, 500e-6] {
            let scenario = two_minutes(1, Offsets::Global, seed);
            let few = Scenario { tick_hz, segments: (6.0, 6.0), length_s: Some(0.6), ..scenario };
            let mut records = few.run().records;
            let zero_ns = records[0].time_ns;
            for record in &mut records {
                record.time_ns = zero_ns + ((record.time_ns - zero_ns) as f64 * (1.0 + off)) as u64;
            }
            let report = shared(records);
            let rates: Vec<f64> = report.machine_list.iter().map(|machine| machine.tick_hz).collect();
            let told = (report.machines, report.doubt, &rates[..]);
            assert_eq!(told, (Some(1), None, &[tick_hz][..]), "{off}: {}", figures(&report));
        }
    }
}
