//! Handshakes that are odd and honest: they cost no machine.

use tmap::engine::{Engine, Options, Wanted, snapshot::AddressReport};
use tmap_common::{Address, Record};
use tmap_tests::{
    captures::{self, THREE},
    judge::evaluate,
    simulate::SHARED,
};

fn shared(records: &[Record], resolution_ns: u64) -> AddressReport {
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(resolution_ns);
    engine.observe_all(records);
    let end_ns = records.last().expect("records").time_ns;
    let mut reports = engine.snapshot(end_ns, Wanted::default()).addresses.into_iter();
    reports.find(|report| report.address == Address::from_ip4(SHARED.octets())).expect("the shared address")
}

/// Some hosts begin to stamp after their SYN, whose TSval is 0.
#[test]
fn a_syn_without_a_tsval_is_answered_and_counts() {
    let (mut records, resolution_ns) = evaluate::read(&captures::path(THREE)).expect("a capture");
    let usual = shared(&records, resolution_ns);
    for Record { segment, .. } in &mut records {
        if segment.flags.is_syn() {
            segment.tsval = 0;
        } else if segment.flags.is_syn_ack() {
            segment.tsecr = 0;
        }
    }
    let late = shared(&records, resolution_ns);
    assert_eq!((late.machines, late.doubt), (usual.machines, usual.doubt));
    assert_eq!(late.unassigned.map_or(0, |rest| rest.unanswered), 0);
}
