//! Loads and ports where some connections show no phase, so that they may be any machine's.

use tmap::engine::snapshot::{AddressReport, MachineReport};
use tmap_tests::simulate::{Offsets, Scenario};

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
