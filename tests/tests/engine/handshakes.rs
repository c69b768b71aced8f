//! Handshakes that are odd and honest: they cost no machine.

use tmap::engine::{
    Engine, Options, Wanted,
    snapshot::{AddressReport, Regime},
};
use tmap_common::{Address, Flags, Record};
use tmap_tests::{
    captures::{self, THREE},
    judge::evaluate,
    simulate::{SHARED, Scenario},
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

/// Linux hashes addresses and ports into the offset: the same ones have the same offset, also where each
/// connection has its own.
#[test]
fn a_port_that_is_used_again_says_nothing_of_offsets() {
    let crowd = Scenario { machines: 5, connections: 50, duration_s: 120.0, seed: 11, ..Scenario::default() };
    let mut records = crowd.run().records;
    let begins: Vec<Record> = records.iter().filter(|r| r.segment.flags.is_syn()).copied().collect();
    // Seven seconds after the last segment, as the clock goes on.
    for Record { time_ns, segment, .. } in begins.iter().take(3) {
        let of_side = |record: &&Record| {
            record.segment.src_port == segment.src_port && record.segment.dst == segment.dst
        };
        let last = records.iter().rfind(of_side).map_or(*time_ns, |record| record.time_ns);
        let pause_ms = (last - time_ns) / 1_000_000 + 7_000;
        let again: Vec<Record> = records
            .iter()
            .filter(of_side)
            .take(6)
            .map(|record| {
                let mut again = *record;
                again.time_ns += pause_ms * 1_000_000;
                again.segment.tsval = again.segment.tsval.wrapping_add(pause_ms as u32);
                again
            })
            .collect();
        // The first connection ends.
        let mut end = again[0];
        end.time_ns -= 3_000_000_000;
        end.segment.tsval = end.segment.tsval.wrapping_sub(3_000);
        end.segment.flags = Flags::FIN | Flags::ACK;
        end.segment.syn = None;
        records.push(end);
        records.extend(again);
    }
    records.sort_by_key(|record| record.time_ns);
    let report = shared(&records, 1);
    assert_eq!((report.connections, report.machines), (253, Some(5)), "{report:?}");
    assert_eq!(report.regime, Regime::PerConnection);
}
