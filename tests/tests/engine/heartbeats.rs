//! Connections that are kept open for hours and say something now and then: mail, push services.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::{Engine, Options, Wanted, snapshot::AddressReport};
use tmap_common::{Address, Flags, Record, Segment};
use tmap_tests::{
    simulate::{Offsets, Scenario, received},
    wire::frame::LINUX_SYN,
};

use crate::{
    odd_clocks::{shared, two_minutes},
    rewritten::figures,
    visits::holds,
};

const HOURS_S: f64 = 6.0 * 3600.0;

/// Connections of the machine that keeps its own open, and of the one that browses.
const KEPT: u16 = 4;
const BROWSED: u16 = 40;

/// Two machines behind one address, whose counters tick at `hz`: one keeps its connections open with a
/// heartbeat every `every_s` seconds, the other browses. Returns what is told of them.
fn of_one_that_keeps_connections_open(hz: f64, every_s: f64, seed: u64) -> AddressReport {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut records = Vec::new();
    for (count, offset) in [(KEPT, 3e8), (BROWSED, 1e9)] {
        for number in 0..count {
            let is_kept = count == KEPT;
            let begin_s = random.random_range(1.0..if is_kept { 60.0 } else { HOURS_S - 60.0 });
            let mut times_s: Vec<f64> = (0..10).map(|i| begin_s + 0.5 * f64::from(i)).collect();
            let mut at_s = begin_s + every_s;
            while is_kept && at_s < HOURS_S {
                times_s.extend([at_s, at_s + 0.2]);
                at_s += every_s * random.random_range(0.98..1.0);
            }
            let port = 10_000 + 1_000 * count + number;
            records.extend(times_s.iter().enumerate().map(|(i, &sent_s)| {
                let delay_s = 3e-4 - 5e-5 * (1.0 - random.random::<f64>()).ln();
                sent(port, (offset + hz * sent_s) as u64 as u32, i == 0, sent_s + delay_s)
            }));
        }
    }
    records.sort_by_key(|record| record.time_ns);
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(1);
    engine.observe_all(&records);
    engine.snapshot((HOURS_S * 1e9) as u64, Wanted::default()).addresses.swap_remove(0)
}

/// A SYN, or a segment with data.
fn sent(src_port: u16, tsval: u32, is_syn: bool, at_s: f64) -> Record {
    let segment = Segment {
        src: Address::from_ip4([198, 51, 100, 1]),
        dst: Address::from_ip4([203, 0, 113, 1]),
        src_port,
        dst_port: 443,
        flags: if is_syn { Flags::SYN } else { Flags::ACK },
        has_payload: !is_syn,
        hop_limit: 63,
        tsval,
        tsecr: u32::from(!is_syn),
        syn: is_syn.then_some(LINUX_SYN),
        ..Segment::default()
    };
    received((at_s * 1e9) as u64, segment)
}

/// Silences of up to half an hour, at the fastest rate, too.
#[test]
fn a_connection_with_heartbeats_is_one_connection() {
    for (hz, every_s) in [(1e3, 540.0), (1e3, 1740.0), (1e6, 540.0), (1e6, 1740.0), (100.0, 1740.0)] {
        for seed in 0..3 {
            let report = of_one_that_keeps_connections_open(hz, every_s, seed);
            let told = format!("{hz} Hz, {every_s} s, {seed}: {}", figures(&report));
            assert_eq!(report.connections, u64::from(KEPT + BROWSED), "{told}");
            let mut loads: Vec<f64> = report.machine_list.iter().map(|one| one.load_percent).collect();
            loads.sort_by(f64::total_cmp);
            let truth = 100.0 * f64::from(KEPT) / f64::from(KEPT + BROWSED);
            let are_near = loads.len() == 2 && (loads[0] - truth).abs() < 0.1;
            assert!(are_near && (loads[1] + truth - 100.0).abs() < 0.1, "{told} {loads:?}");
        }
    }
}

/// Forty connections of each of two machines with random offsets, in an hour: of half an hour and of seconds.
#[test]
fn a_machine_with_long_connections_hides_none_with_short_ones() {
    let (mut held, mut exact) = (0, 0);
    for seed in 0..12 {
        let of = |length_s: f64, segments: f64, seed: u64| {
            let scenario = Scenario {
                connections: 40,
                duration_s: 3600.0,
                length_s: Some(length_s),
                segments: (segments, 2.0 * segments),
                ..two_minutes(1, Offsets::PerConnection, seed)
            };
            scenario.run().records
        };
        let (mut all, mut short) = (of(1800.0, 40.0, seed), of(4.0, 12.0, seed + 50));
        short.iter_mut().for_each(|record| record.segment.src_port += 20_000);
        all.extend(short);
        all.sort_by_key(|record| record.time_ns);
        let report = shared(all);
        held += usize::from(holds(&report, 2));
        exact += usize::from(report.machines == Some(2));
    }
    assert!(held >= 11 && exact >= 2, "held {held}, exact {exact} of 12");
}

/// Two machines that keep a hundred connections open each, with a heartbeat of 60 s and of 300 s, for an
/// hour. The address holds `room` connections.
fn of_two_that_keep_connections_open(room: usize, seed: u64) -> AddressReport {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut records = Vec::new();
    for (machine, offset, every_s) in [(1, 3e8, 60.0), (2, 1e9, 300.0)] {
        for number in 0..100 {
            let begin_s = random.random_range(1.0..60.0);
            let mut times_s: Vec<f64> = (0..10).map(|i| begin_s + 0.1 * f64::from(i)).collect();
            let mut at_s = begin_s + every_s;
            while at_s < 3600.0 {
                times_s.extend([at_s, at_s + 0.2]);
                at_s += every_s * random.random_range(0.95..1.05);
            }
            records.extend(times_s.iter().enumerate().map(|(i, &sent_s)| {
                let delay_s = 3e-4 - 5e-5 * (1.0 - random.random::<f64>()).ln();
                let tsval = (offset + 1e3 * sent_s) as u64 as u32;
                sent(10_000 * machine + number, tsval, i == 0, sent_s + delay_s)
            }));
        }
    }
    records.sort_by_key(|record| record.time_ns);
    let mut engine = Engine::new(Options { max_connections_per_address: room, ..Options::default() });
    engine.set_resolution_ns(1);
    let mut now_ns = 0;
    for record in &records {
        while record.time_ns > now_ns {
            engine.review(now_ns);
            now_ns += 1_000_000_000;
        }
        engine.observe(record);
    }
    engine.snapshot(now_ns, Wanted::default()).addresses.swap_remove(0)
}

/// Where connections make room for others, each heartbeat of one that did begins another one. Loads allow for
/// that.
#[test]
fn loads_allow_for_connections_that_begin_again() {
    for seed in 0..3 {
        let report = of_two_that_keep_connections_open(128, seed);
        let loads: Vec<[f64; 3]> = report
            .machine_list
            .iter()
            .map(|one| [one.load_low_percent, one.load_percent, one.load_high_percent])
            .collect();
        let told = format!("{seed}: {} {loads:?}", figures(&report));
        assert!(loads.len() == 2 && report.connections > 1_000, "{told}");
        assert!(loads.iter().all(|[low, _, high]| (*low..=*high).contains(&50.0)), "{told}");
        let whole = of_two_that_keep_connections_open(4_096, seed);
        let are_sure = whole.machine_list.iter().all(|one| {
            let ends = [one.load_low_percent, one.load_high_percent];
            ends == [one.load_percent; 2] && (one.load_percent - 50.0).abs() < 0.1
        });
        assert!(whole.connections == 200 && are_sure, "{seed}: {}", figures(&whole));
    }
}
