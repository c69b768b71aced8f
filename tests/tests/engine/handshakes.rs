//! Handshakes that are odd and honest cost no machine, and those that are missing describe none.

use tmap::engine::{Wanted, snapshot::AddressReport};
use tmap_common::{Address, Flags, Record};
use tmap_tests::{
    captures::{self, THREE},
    judge::evaluate,
    simulate::{
        SHARED,
        conversation::{START_NS, Side, acknowledgement, conversation},
    },
    wire::frame::LINUX_SYN,
};

fn shared(records: &[Record], resolution_ns: u64) -> AddressReport {
    let mut reports = evaluate::snapshot(records, resolution_ns, Wanted::default()).addresses.into_iter();
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

/// A machine whose offset is fixed can be asked for its clock. SYNs on that clock, which nobody answered, are
/// given to it, and say nothing of its system, its ports and its way.
#[test]
fn a_machine_is_not_described_by_what_nobody_answered() {
    let client = |port: u16| Side { address: SHARED.octets(), port, tick_hz: 1_000, ticks: 7_000_000 };
    let mut records = Vec::new();
    for number in 0..20_u8 {
        let server =
            Side { address: [203, 0, 113, number], port: 443, tick_hz: 1_000, ticks: 1 + u32::from(number) };
        let begin_ns = 1_000_000_000 * u64::from(number);
        records.extend(conversation(client(40_000 + u16::from(number)), server, begin_ns, 5));
    }
    let resolution_ns = 1_000;
    records.sort_by_key(|record| record.time_ns);
    let usual = shared(&records, resolution_ns);
    for number in 0..400_u16 {
        let after_ms = 50 * u64::from(number);
        let (time_ns, tsval) = (START_NS + after_ms * 1_000_000, 7_000_000 + after_ms as u32);
        let ends = ((SHARED.octets(), 1_024 + number), ([203, 0, 113, 200], 6_667));
        let mut syn = acknowledgement(time_ns + 150_000, ends, tsval, 0);
        syn.segment.flags = Flags::SYN;
        syn.segment.syn = Some(LINUX_SYN);
        syn.segment.hop_limit = 50;
        records.push(syn);
    }
    records.sort_by_key(|record| record.time_ns);
    let attacked = shared(&records, resolution_ns);
    assert_eq!((usual.machines, attacked.machines), (Some(1), Some(1)));
    let described = |report: &AddressReport| {
        let machine = &report.machine_list[0];
        let ports: Vec<u16> = machine.ports.iter().map(|share| share.port).collect();
        (machine.os.name.clone(), machine.os.hops, ports, machine.peers_total)
    };
    assert_eq!(described(&attacked), described(&usual));
    assert!(attacked.machine_list[0].connections > 100.0, "they are given to the machine");
}
