//! One kernel behind several addresses: containers on one host, or a host with several addresses.

use tmap::engine::{
    Engine, Options, Snapshot, Wanted,
    snapshot::{Basis, Regime, Sibling},
};
use tmap_common::{Address, Record, Segment};
use tmap_tests::simulate::{
    Offsets, Scenario, Simulation,
    containers::{CONTAINERS, OTHER, address, records},
};

fn snapshot(records: &[Record]) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    records.iter().for_each(|record| engine.observe(record));
    let wanted = Wanted { siblings: true, ..Wanted::default() };
    engine.snapshot(records.last().expect("traffic").time_ns, wanted)
}

#[test]
fn containers_of_one_kernel_are_one_clock() {
    let basis = [(Offsets::Global, Basis::Offset), (Offsets::PerConnection, Basis::Phase)];
    for (offsets, basis) in basis {
        let found = snapshot(&records(offsets));
        for host in (1..=CONTAINERS).chain([OTHER]) {
            let report = found.addresses.iter().find(|report| report.address == address(host));
            let machines = report.map(|report| (report.machines, report.regime == Regime::Global));
            assert_eq!(machines, Some((Some(1), offsets == Offsets::Global)), "{offsets:?} {host}");
        }
        let [only] = &found.siblings[..] else { panic!("{offsets:?}: {:?}", found.siblings) };
        let expected: Vec<(Address, u32)> = (1..=CONTAINERS).map(|host| (address(host), 1)).collect();
        assert_eq!((&only.members, only.basis), (&expected, basis), "{offsets:?}");
        assert!(only.probability > 0.9, "{offsets:?}: {only:?}");
    }
}

/// Machines with random offsets, each at an address of its own, or at two where `has_two` says so.
fn at_own_addresses(scenario: &Scenario, has_two: impl Fn(usize) -> bool) -> Vec<Sibling> {
    let Simulation { mut records, truth } = scenario.run();
    for record in &mut records {
        let Segment { src_port, dst, dst_port, .. } = record.segment;
        let machine = truth.machine_of[&(src_port, dst, dst_port)];
        let second =
            if has_two(machine) { 100 * (src_port / scenario.machines as u16 % 2) as usize } else { 0 };
        record.segment.src = address((machine + second) as u8);
    }
    snapshot(&records).siblings
}

fn unrelated(machines: usize, skew_spread_ppm: f64, seed: u64) -> Scenario {
    Scenario { machines, connections: 20, duration_s: 300.0, skew_spread_ppm, seed, ..Scenario::default() }
}

/// Among many machines some agree by chance, whether their clocks run free or NTP disciplines them: sixty and
/// seven machines.
#[test]
fn unrelated_machines_are_seldom_siblings() {
    for (machines, seeds, most) in [(60, 6, 8), (7, 30, 15)] {
        for skew_spread_ppm in [10.0, 0.05] {
            let of = |seed| at_own_addresses(&unrelated(machines, skew_spread_ppm, seed), |_| false);
            let found: Vec<f64> = (0..seeds).flat_map(of).map(|sibling| sibling.probability).collect();
            assert!(found.len() <= most, "{machines}, {skew_spread_ppm} ppm: {found:?}");
        }
    }
}

/// Where many have two addresses, these are found beside others that have one.
#[test]
fn machines_with_two_addresses_are_found_among_others() {
    let found = at_own_addresses(&unrelated(30, 10.0, 5), |machine| machine < 15);
    let is_true = |sibling: &&Sibling| {
        let [(first, _), (second, _)] = sibling.members[..] else { return false };
        second.octets()[15] == first.octets()[15] + 100
    };
    let (right, all) = (found.iter().filter(is_true).count(), found.len());
    assert!(right >= 14 && all - right <= 1, "{right} of {all}: {found:?}");
}
