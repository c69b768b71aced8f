//! Machines that draw their offsets in another way than the others of their address, in few connections.

use tmap::engine::snapshot::AddressReport;
use tmap_common::Record;
use tmap_tests::simulate::{Offsets, Scenario};

use crate::{
    odd_clocks::{shared, two_minutes},
    rewritten::figures,
    visits::holds,
};

/// Half an hour of some machines that draw their offsets in one way, with so many connections each.
fn drawn(machines: usize, offsets: Offsets, connections: usize, (peers, seed): (usize, u64)) -> Vec<Record> {
    let scenario =
        Scenario { connections, peers, duration_s: 1800.0, ..two_minutes(machines, offsets, seed) };
    scenario.run().records
}

/// What is told of an address behind which are these and those, with ports of their own.
fn behind_one(these: Vec<Record>, mut those: Vec<Record>) -> AddressReport {
    those.iter_mut().for_each(|record| record.segment.src_port += 20_000);
    let mut all = [these, those].concat();
    all.sort_by_key(|record| record.time_ns);
    shared(all)
}

/// A new phone among older devices, and a new server among older ones.
#[test]
fn a_few_random_offsets_beside_others_are_no_machine_each() {
    for (offsets, others, each, random, peers) in [
        (Offsets::Global, 6, 12, 8, 3),
        (Offsets::Global, 4, 8, 8, 1),
        (Offsets::Global, 10, 12, 9, 3),
        (Offsets::Global, 4, 8, 2, 4),
        (Offsets::PerPair, 20, 8, 8, 1),
    ] {
        let mut exact = 0;
        for seed in 0..8 {
            let new = drawn(1, Offsets::PerConnection, random, (peers, seed + 100));
            let report = behind_one(drawn(others, offsets, each, (peers, seed)), new);
            let truth = others as u32 + 1;
            let told = format!("{others} {offsets:?} x {each}, {random}, {seed}: {}", figures(&report));
            assert!(holds(&report, truth), "{told}");
            exact += usize::from(report.machines == Some(truth));
        }
        // Two connections are two machines' as likely.
        assert!(exact >= 3 || random == 2, "{others} {offsets:?} x {each}, {random}: {exact} of 8");
    }
}

/// Devices that are hardly used beside busy ones, all with fixed offsets.
#[test]
fn idle_machines_with_fixed_offsets_count() {
    const LOADS: [usize; 17] = [30, 15, 10, 8, 6, 5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1];
    for (seed, peers) in (0..8).zip([1, 5].into_iter().cycle()) {
        let machine = |(number, &connections): (u64, &usize)| {
            let mut records = drawn(1, Offsets::Global, connections, (peers, 100 * seed + number));
            records.iter_mut().for_each(|record| record.segment.src_port += 40 * number as u16);
            records
        };
        let report = behind_one((0..).zip(&LOADS).flat_map(machine).collect(), Vec::new());
        let count = LOADS.len() as u32;
        assert!(report.machines == Some(count) && holds(&report, count), "{seed}: {}", figures(&report));
    }
}

/// One draws its offsets by pair, and meets some servers twice: these counters are no fixed ones.
#[test]
fn a_counter_of_a_pair_beside_a_fixed_one_is_no_fixed_one() {
    let (mut missed, mut false_boots) = (0, 0);
    for (seed, (each, peers)) in (0..24).zip([(10, 40), (10, 20), (8, 20)].into_iter().cycle()) {
        let by_pair = drawn(1, Offsets::PerPair, each, (peers, seed + 100));
        let report = behind_one(drawn(1, Offsets::Global, each, (peers, seed)), by_pair);
        missed += usize::from(!holds(&report, 2));
        let booted = report.machine_list.iter().filter(|machine| machine.boot.is_some()).count();
        false_boots += booted.saturating_sub(1);
    }
    assert!(missed <= 1 && false_boots == 0, "{missed} missed, {false_boots} boot times that nobody had");
}

/// Days lie between the connections of a pair, of a clock whose skew isn't known yet.
#[test]
fn connections_of_a_pair_that_are_days_apart_share_a_counter() {
    for (machines, peers, connections) in [(2, 12, 40), (5, 10, 60), (1, 30, 60)] {
        for seed in 0..8 {
            let scenario = Scenario {
                connections,
                peers,
                duration_s: 7.0 * 86_400.0,
                ..two_minutes(machines, Offsets::PerPair, seed)
            };
            let report = shared(scenario.run().records);
            let truth = machines as u32;
            let is_told = report.machines == Some(truth) && holds(&report, truth);
            assert!(is_told, "{machines} of {peers} peers, {seed}: {}", figures(&report));
        }
    }
}
