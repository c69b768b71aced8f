//! A few offsets that repeat among many that don't: they take no count away.

use tmap::engine::{
    Wanted,
    snapshot::{AddressReport, Regime},
};
use tmap_common::{Flags, Record, Segment};
use tmap_tests::{
    judge::evaluate,
    simulate::{Scenario, Simulation},
};

/// Five machines whose connections have an offset each.
fn crowd() -> Simulation {
    let crowd = Scenario { machines: 5, connections: 50, duration_s: 120.0, seed: 11, ..Scenario::default() };
    crowd.run()
}

/// Ends the connection that `begin` opened, and repeats it seven seconds later as its clock of this skew goes
/// on, on its own port or on `port`.
fn repeat(records: &mut Vec<Record>, begin: &Record, skew_ppm: f64, port: Option<u16>) {
    let of_side = |record: &&Record| {
        record.segment.src_port == begin.segment.src_port && record.segment.dst == begin.segment.dst
    };
    let last_ns = records.iter().rfind(of_side).map_or(begin.time_ns, |record| record.time_ns);
    let pause_ms = (last_ns - begin.time_ns) / 1_000_000 + 7_000;
    let later = |record: &Record, later_ms: u64| {
        let mut later = *record;
        later.time_ns += (later_ms as f64 * 1e6 / (1.0 + skew_ppm * 1e-6)) as u64;
        later.segment.tsval = later.segment.tsval.wrapping_add(later_ms as u32);
        later
    };
    let mut again: Vec<Record> =
        records.iter().filter(of_side).take(20).map(|record| later(record, pause_ms)).collect();
    again.iter_mut().for_each(|record| record.segment.src_port = port.unwrap_or(begin.segment.src_port));
    let mut end = later(begin, pause_ms - 3_000);
    end.segment.flags = Flags::FIN | Flags::ACK;
    end.segment.syn = None;
    records.push(end);
    records.extend(again);
}

/// What the crowd is told as with its first connections repeated, on ports from this one.
fn repeated(connections: usize, first_port: Option<u16>) -> AddressReport {
    let Simulation { mut records, truth } = crowd();
    let begins: Vec<Record> = records.iter().filter(|r| r.segment.flags.is_syn()).copied().collect();
    for (number, begin) in begins.iter().take(connections).enumerate() {
        let Segment { src_port, dst, dst_port, .. } = begin.segment;
        let machine = truth.machine_of[&(src_port, dst, dst_port)];
        let skew_ppm = truth.clocks[machine].skew_ppm;
        repeat(&mut records, begin, skew_ppm, first_port.map(|port| port + number as u16));
    }
    records.sort_by_key(|record| record.time_ns);
    let mut snapshot = evaluate::snapshot(&records, 1, Wanted::default());
    snapshot.addresses.pop().expect("one address")
}

/// Linux hashes addresses and ports into the offset: the same ones have the same offset, also where each
/// connection has its own.
#[test]
fn a_port_that_is_used_again_says_nothing_of_offsets() {
    let report = repeated(3, None);
    assert_eq!((report.connections, report.machines), (253, Some(5)), "{report:?}");
    assert_eq!(report.regime, Regime::PerConnection);
}

/// Nor do many: as many counters that two connections show each, all at once, were as many proven machines.
#[test]
fn ports_that_are_used_again_prove_no_machine() {
    let report = repeated(40, None);
    assert_eq!(report.machines_proven, Some(1), "{:?}", report.machines);
}

/// Hundreds of machines with offsets by pair would repeat as few; but their phases would be unrelated.
#[test]
fn phases_count_where_few_offsets_repeat_within_pairs() {
    for connections in [1, 3, 6] {
        let report = repeated(connections, Some(60_000));
        let told = (report.machines, report.machines_low, report.doubt);
        assert_eq!(told, (Some(5), Some(5), None), "{connections}: {report:?}");
    }
}

/// A host behind a NAT that draws ports may use its own ones again: what repeats one after the other proves
/// nothing, and sets no lower bound.
#[test]
fn what_repeats_one_after_the_other_behind_a_nat_proves_no_machine() {
    for connections in [10, 40] {
        let AddressReport { machines_low, machines_high, machines_proven, .. } =
            repeated(connections, Some(50_000));
        assert_eq!(machines_proven, Some(1), "{connections}");
        assert!(machines_low.is_some_and(|low| low <= 5), "{connections}: {machines_low:?}");
        assert!(machines_high.is_none_or(|high| high >= 5), "{connections}: {machines_high:?}");
    }
}
