//! Loads and ports where some connections show no phase, so that they may be any machine's.

use std::cell::Cell;

use tmap::engine::{
    Engine, Options, Pace, Snapshot, Wanted,
    coverage::{Coverage, Reason},
    snapshot::{AddressReport, MachineReport},
};
use tmap_common::Address;
use tmap_tests::{
    judge::summary::wrong,
    simulate::{Offsets, SHARED, Scenario},
};

use crate::{
    odd_clocks::{of_present, shared, two_minutes},
    rewritten::figures,
};

/// Port of the mails.
const MAIL: u16 = 25;

/// Two machines with random offsets that browse, and the first one's mails, which take 50 µs each.
fn browsers_of_which_one_mails(seed: u64) -> AddressReport {
    let browse = Scenario { connections: 40, ..two_minutes(2, Offsets::PerConnection, seed) };
    let mail = Scenario { connections: 100, segments: (2.0, 2.0), length_s: Some(50e-6), ..browse.clone() };
    let mut records = browse.run().records;
    let mut mails = of_present(&mail, |machine, _| machine == 0);
    for record in &mut mails {
        record.segment.src_port += 20_000;
        record.segment.dst_port = MAIL;
    }
    records.extend(mails);
    records.sort_by_key(|record| record.time_ns);
    shared(records)
}

fn may_have(machine: &MachineReport, percent: f64) -> bool {
    machine.load_low_percent <= percent && percent <= machine.load_high_percent
}

#[test]
fn loads_allow_for_connections_that_show_nothing() {
    // 140 of 180 connections.
    let truth = 100.0 * 140.0 / 180.0;
    let mut counted = 0;
    for seed in 0..8 {
        let report = browsers_of_which_one_mails(seed);
        let [first, second] = &report.machine_list[..] else { continue };
        counted += 1;
        let fits = |busy, other| may_have(busy, truth) && may_have(other, 100.0 - truth);
        let ends = [first, second].map(|one| (one.load_low_percent, one.load_percent, one.load_high_percent));
        assert!(fits(first, second) || fits(second, first), "{seed}: {ends:?} {}", figures(&report));
        let mailers = report.machine_list.iter().filter(|one| one.ports.iter().any(|port| port.port == MAIL));
        assert!(mailers.count() < 2, "{seed}: {:?}", report.machine_list);
    }
    assert!(counted >= 6, "{counted} of 8");
}

/// Where each connection is surely one machine's, the ends are the load.
#[test]
fn loads_of_sure_connections_have_no_ends() {
    let report = shared(two_minutes(3, Offsets::Global, 1).run().records);
    for machine in &report.machine_list {
        let MachineReport { load_percent, load_low_percent, load_high_percent, .. } = *machine;
        assert_eq!((load_low_percent, load_high_percent), (load_percent, load_percent));
        assert!((load_percent - 100.0 / 3.0).abs() < 0.1 && !machine.ports.is_empty(), "{machine:?}");
    }
    assert_eq!(report.machine_list.len(), 3, "{}", figures(&report));
}

/// The most connections that an address holds where machines' connections make room for others.
const ROOM: usize = 256;

/// Two machines of which the first one is busy in the first half, and the second one in the second. Returns
/// what is known in the end, and the first one's share of all connections, in percent.
fn busy_in_turns(offsets: Offsets, pace: Pace, seed: u64) -> (Snapshot, f64) {
    let scenario = Scenario {
        connections: 500,
        peers: 4,
        duration_s: 600.0,
        skew_spread_ppm: 30.0,
        ..two_minutes(2, offsets, seed)
    };
    let counts = [Cell::new(0.0), Cell::new(0.0)];
    let records = of_present(&scenario, |machine, at_s| {
        let is_busy = (machine == 0) == (at_s < 300.0);
        let is_there = is_busy || ((at_s * 1e3) as u64).is_multiple_of([3, 12][machine]);
        counts[machine].update(|count| count + f64::from(u8::from(is_there)));
        is_there
    });
    let mut engine = Engine::new(Options { max_connections_per_address: ROOM, ..Options::default() });
    engine.set_pace(pace);
    engine.set_resolution_ns(1);
    let mut now_ns = records[0].time_ns;
    for record in &records {
        if record.time_ns > now_ns {
            engine.review(now_ns);
            now_ns += 100_000_000;
        }
        engine.observe(record);
    }
    let snapshot = engine.snapshot(now_ns, Wanted::default());
    (snapshot, 100.0 * counts[0].get() / (counts[0].get() + counts[1].get()))
}

/// The report on the address of the two machines.
fn of_shared(snapshot: &Snapshot) -> &AddressReport {
    let shared = Address::from_ip4(SHARED.octets());
    snapshot.addresses.iter().find(|report| report.address == shared).expect("the shared address")
}

/// Counters tell whose the connections were that made room for others.
#[test]
fn loads_count_what_made_room_for_others() {
    let paces = |offsets| [(offsets, Pace::Sparse), (offsets, Pace::Prompt)];
    for (offsets, pace) in [Offsets::Global, Offsets::PerPair].into_iter().flat_map(paces) {
        for seed in 0..3 {
            let (snapshot, truth) = busy_in_turns(offsets, pace, seed);
            let report = of_shared(&snapshot);
            let [one, other] = &report.machine_list[..] else { panic!("{offsets:?}: {}", figures(report)) };
            let is_near =
                |machine: &MachineReport, percent: f64| (machine.load_percent - percent).abs() < 1.0;
            let are_near = |one: &MachineReport, other: &MachineReport| {
                is_near(one, truth) && is_near(other, 100.0 - truth)
            };
            let loads = [one, other].map(|machine| machine.load_percent);
            let is_told = are_near(one, other) || are_near(other, one);
            assert!(is_told, "{offsets:?} {pace:?} {seed}: {loads:?}, {truth}");
            let [all, told] = [report.connections_forgotten, report.connections_forgotten_told];
            assert!(all > 300 && told > all * 19 / 20, "{offsets:?} {pace:?} {seed}: {told} of {all}");
            assert_eq!(wrong(&snapshot), Vec::<String>::new());
        }
    }
}

/// Where connections share no counter, those that made room for others may be any machine's.
#[test]
fn loads_allow_for_what_made_room_for_others() {
    let mut counted = 0;
    for (seed, pace) in (0..4).flat_map(|seed| [(seed, Pace::Sparse), (seed, Pace::Prompt)]) {
        let (snapshot, truth) = busy_in_turns(Offsets::PerConnection, pace, seed);
        let report = of_shared(&snapshot);
        assert_eq!(wrong(&snapshot), Vec::<String>::new());
        let [one, other] = &report.machine_list[..] else { continue };
        counted += 1;
        let ends = [one, other].map(|m| (m.load_low_percent, m.load_percent, m.load_high_percent));
        let fits = |one: &MachineReport, other| may_have(one, truth) && may_have(other, 100.0 - truth);
        assert!(fits(one, other) || fits(other, one), "{seed} {pace:?}: {ends:?}, {truth}");
        let Coverage { left_out, .. } = Coverage::of(&snapshot.addresses);
        let of_none = report.connections_forgotten - report.connections_forgotten_told;
        assert_eq!(left_out.get(&Reason::Forgotten).copied().unwrap_or_default(), of_none);
    }
    assert!(counted >= 4, "{counted} of 8");
}
