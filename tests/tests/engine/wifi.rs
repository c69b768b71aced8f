//! A home behind a radio: machines with offsets by pair, whose delays hide the phases that tell them apart.

use tmap::engine::{Engine, Options, Snapshot, Wanted, snapshot::AddressReport, types::Estimate};
use tmap_common::Address;
use tmap_tests::simulate::{Offsets, SHARED, Scenario, Truth};

/// Machines that NTP disciplines, with thirty connections each to ten servers in ten minutes, whose delays
/// vary by so much, in seconds.
fn told(machines: usize, jitter_s: f64, seed: u64) -> (Snapshot, Truth) {
    let scenario = Scenario {
        machines,
        offsets: Offsets::PerPair,
        connections: 30,
        peers: 10,
        jitter_s,
        skew_spread_ppm: 0.3,
        segments: (8.0, 30.0),
        seed,
        ..Scenario::default()
    };
    let simulation = scenario.run();
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(1);
    engine.observe_all(&simulation.records);
    let now_ns = simulation.records.last().expect("records").time_ns;
    let snapshot = engine.snapshot(now_ns, Wanted { connections: true, siblings: false });
    (snapshot, simulation.truth)
}

/// The report on the machines' address.
fn shared(snapshot: &Snapshot) -> &AddressReport {
    let shared = Address::from_ip4(SHARED.octets());
    snapshot.addresses.iter().find(|report| report.address == shared).expect("the address")
}

/// The skews that are told of the machines' address, and how many of them no machine has.
fn skews((snapshot, truth): &(Snapshot, Truth)) -> (usize, usize) {
    let report = shared(snapshot);
    let told: Vec<Estimate> = report.machine_list.iter().filter_map(|machine| machine.skew_ppm).collect();
    let is_wrong = |told: &&Estimate| {
        let off = |true_ppm: f64| (told.value - true_ppm).abs() - 4.0 * told.sigma;
        truth.clocks.iter().all(|clock| off(clock.skew_ppm) > 0.5)
    };
    (told.len(), told.iter().filter(is_wrong).count())
}

/// Pairs demand as many lines as there are machines, also where phases show fewer. The others then passed
/// through whatever was left: one skew in six was off, by up to 500 errors.
#[test]
fn lines_that_only_pairs_demand_have_no_skew() {
    let (mut all, mut wrong, mut counted) = (0, 0, 0);
    for (machines, jitter_s) in [(2, 0.7e-3), (2, 1e-3), (3, 0.7e-3), (3, 1e-3)] {
        for seed in 0..6 {
            let told = told(machines, jitter_s, seed);
            counted += usize::from(shared(&told.0).machines == Some(machines as u32));
            let (skews, off) = skews(&told);
            (all, wrong) = (all + skews, wrong + off);
        }
    }
    assert!(counted >= 22, "{counted} of 24 are counted right");
    assert!(wrong <= 1, "{wrong} of {all}");
}

/// Where phases show the machines, their skews are told.
#[test]
fn lines_that_phases_show_have_their_skew() {
    for seed in 0..4 {
        let told = told(2, 0.05e-3, seed);
        assert_eq!(skews(&told), (2, 0), "seed {seed}");
    }
}
