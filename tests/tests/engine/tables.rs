//! The tables of round trips, tunnels and operating systems hold what they held.

use std::collections::HashMap;

use tmap_tests::{
    judge::tables::{
        round_trips::{self, RoundTrips},
        systems::{self, Verdicts},
        tunnels::{self, Tunnels},
    },
    simulate::transfer,
};

/// The least part of the possible samples that has to be found. Jitter beyond the time between
/// segments and reordering make echoes ambiguous: those are left out on purpose.
const LEAST_FOUND: [(&str, f64); 8] = [
    ("round trips: plain", 0.99),
    ("jitter of 8 ms", 0.7),
    ("delayed ACKs", 0.98),
    ("reordering, 3 %", 0.93),
    ("loss, 3 %", 0.98),
    ("wrap", 0.99),
    ("clock of 100 Hz", 0.99),
    ("all of that", 0.93),
];

#[test]
fn round_trips_are_found_and_none_is_false() {
    let least: HashMap<&str, f64> = LEAST_FOUND.into();
    for scenario in transfer::scenarios() {
        let figures = round_trips::measure(&scenario);
        let RoundTrips { path, answered, found, samples, possible, false_samples, .. } = figures;
        assert_eq!(false_samples, 0, "{}: {figures:?}", scenario.name);
        if scenario.one_way {
            assert_eq!((samples, possible), (0, 0), "{}", scenario.name);
            continue;
        }
        assert!(possible > 500, "{}: {figures:?}", scenario.name);
        let share = samples as f64 / possible as f64;
        assert!((least[scenario.name]..=1.0).contains(&share), "{}: {share}, {figures:?}", scenario.name);
        let [path, answered, found] = [path, answered, found].map(|times| times.expect("samples"));
        assert!(found.0.abs_diff(answered.0) < 500_000, "{}: median of {figures:?}", scenario.name);
        assert!(found.1 < answered.1 + 500_000, "{}: p95 of {figures:?}", scenario.name);
        let is_held = scenario.held_ns.is_some();
        assert_eq!(is_held, answered.1 > path.1 + 10_000_000, "{}: holding shows", scenario.name);
    }
}

#[test]
fn every_encapsulation_gives_up_every_segment() {
    for (name, figures) in tunnels::measure() {
        let Tunnels { made, found, innermost, named } = figures;
        assert_eq!([found, innermost, named], [made; 3], "{name}: {figures:?}");
    }
}

/// The most that may be named wrongly, and the least named rightly, by family or to the version.
const SYSTEMS: [(&str, usize, f64); 10] = [
    ("system Linux", 16, 0.98),
    ("system macOS or iOS", 0, 0.99),
    ("system Windows", 0, 0.99),
    ("system FreeBSD", 0, 0.85),
    ("system OpenBSD", 0, 0.55),
    ("system NetBSD", 0, 0.99),
    ("system Solaris", 0, 0.99),
    ("systems, offsets not yet known", 0, 0.95),
    ("systems, no handshake seen", 260, 0.55),
    ("systems nobody wrote down", 0, 1.0),
];

#[test]
fn systems_are_named_rightly_or_not_at_all() {
    let rows = systems::measure();
    assert_eq!(rows.len(), SYSTEMS.len());
    for ((name, figures), (expected, most_wrong, least_right)) in rows.into_iter().zip(SYSTEMS) {
        let Verdicts { right, family, unknown, wrong } = figures;
        assert_eq!(name, expected);
        assert!(wrong <= most_wrong, "{name}: {figures:?}");
        let share = (right + family) as f64 / (right + family + unknown + wrong) as f64;
        assert!(share >= least_right, "{name}: {figures:?}");
    }
}
