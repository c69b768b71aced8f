//! Connections that last some milliseconds, as those between servers do.

use tmap::engine::snapshot::AddressReport;
use tmap_tests::simulate::{Offsets, Scenario};

use crate::{
    odd_clocks::{shared, two_minutes},
    rewritten::figures,
};

/// A hundred connections of each of some machines with random offsets.
fn brief(machines: usize, hz: f64, (length_s, jitter_s): (f64, f64), seed: u64) -> AddressReport {
    let scenario = Scenario {
        tick_hz: hz,
        jitter_s,
        connections: 100,
        segments: (5.0, 7.0),
        length_s: Some(length_s),
        closes: true,
        ..two_minutes(machines, Offsets::PerConnection, seed)
    };
    shared(scenario.run().records)
}

/// One tick in a millisecond is no slow clock's, where delays are steady.
#[test]
fn connections_of_milliseconds_tell_their_rate_and_their_machines() {
    for (machines, length_s, jitter_s) in
        [(1, 1e-3, 30e-6), (1, 2e-3, 100e-6), (3, 1e-3, 10e-6), (3, 1.5e-3, 30e-6), (3, 2e-3, 30e-6)]
    {
        let mut exact = 0;
        for seed in 0..8 {
            let report = brief(machines, 1000.0, (length_s, jitter_s), seed);
            let truth = machines as u32;
            let is_held = report.machines_low.is_none_or(|low| low <= truth)
                && report.machines_high.is_none_or(|high| high == 0 || truth <= high);
            assert!(is_held, "{machines} in {length_s} s, {seed}: {}", figures(&report));
            exact += usize::from(report.machines == Some(truth));
        }
        assert!(exact >= 7, "{machines} in {length_s} s, jitter {jitter_s} s: {exact} of 8");
    }
}

/// Whatever the delays and the rate: one machine is never told as several, nor at a rate that it hasn't.
#[test]
fn connections_of_milliseconds_make_no_machines() {
    for hz in [100.0, 250.0, 1000.0] {
        for length_s in [1e-3, 2e-3] {
            for jitter_s in [10e-6, 0.1e-3, 0.3e-3, 1e-3, 4e-3] {
                let report = brief(1, hz, (length_s, jitter_s), (length_s * 1e4) as u64);
                let told = format!("{hz} Hz, {length_s} s, {jitter_s} s: {}", figures(&report));
                assert!(report.machines_low.is_none_or(|low| low <= 1), "{told}");
                assert!(report.machine_list.iter().all(|machine| machine.tick_hz == hz), "{told}");
            }
        }
    }
}
