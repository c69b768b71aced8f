//! Machines told apart by phase: what must hold on any seed.

use tmap::engine::{
    envelope::Envelope,
    phase::{Lines, Settings, Track, fit, sample::Sample},
    snapshot::Doubt,
};
use tmap_tests::{
    simulate::{Law, Scenario},
    traces,
};

/// Small, so that a debug build takes a second: a busy LAN for two minutes.
fn small() -> Scenario {
    Scenario { machines: 1, connections: 24, duration_s: 120.0, jitter_s: 100e-6, ..Scenario::default() }
}

fn lines(scenario: &Scenario, settings: &Settings) -> Lines {
    let kept: Vec<(Envelope, Sample)> = traces::collect(&scenario.run().records)
        .iter()
        .map(|trace| {
            let mut pair = <(Envelope, Sample)>::default();
            for point in &trace.points {
                pair.0.add(*point);
                pair.1.add(*point);
            }
            pair
        })
        .collect();
    let tracks: Vec<Track<'_>> = kept
        .iter()
        .map(|(hull, sample)| Track { hull: hull.points(), sample: sample.points(), offered: hull.offered() })
        .collect();
    fit(&tracks, scenario.tick_hz, settings)
}

#[test]
fn one_machine_is_never_split() {
    for law in [Law::Exponential, Law::Pareto, Law::Bursts, Law::Congestion, Law::Stalls] {
        for seed in 0..2 {
            let found = lines(&Scenario { law, seed, loss: 0.01, ..small() }, &Settings::default());
            assert_eq!(found.count, 1, "{law:?}, seed {seed}: {:?}", found.evidences);
        }
    }
}

#[test]
fn a_wandering_clock_is_one_machine() {
    let scenario = Scenario { duration_s: 3000.0, wander_ppm: 0.15, connections: 40, ..small() };
    let found = lines(&scenario, &Settings::default());
    assert_eq!(found.count, 1, "{:?}", found.evidences);
}

#[test]
fn machines_of_different_skew_are_counted_and_measured() {
    let scenario = Scenario { machines: 3, seed: 7, ..small() };
    let truth = scenario.run().truth;
    let found = lines(&scenario, &Settings::default());
    assert_eq!(found.count, 3, "{:?}", found.evidences);
    assert!(found.low <= 3 && found.high.is_some_and(|high| high >= 3));
    for line in &found.lines {
        let error =
            truth.clocks.iter().map(|c| (c.skew_ppm - line.skew_ppm.value).abs()).fold(99.0, f64::min);
        assert!(error < 4.0 * line.skew_ppm.sigma + 0.1, "{line:?} is {error} ppm off");
    }
    for row in &found.posteriors {
        let sum: f32 = row.iter().sum();
        assert!((0.0..=1.001).contains(&sum), "{row:?}");
    }
}

#[test]
fn the_same_tracks_give_the_same_lines() {
    let scenario = Scenario { machines: 2, ..small() };
    let [a, b] = [(); 2].map(|()| lines(&scenario, &Settings::default()));
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

#[test]
fn what_can_t_be_told_isn_t() {
    let coarse = Settings { resolution_ns: 1_000_000, ..Settings::default() };
    assert_eq!(lines(&small(), &coarse).doubt, Some(Doubt::CaptureTooCoarse));
    let few = Scenario { connections: 3, ..small() };
    assert_eq!(lines(&few, &Settings::default()).doubt, Some(Doubt::TooFewConnections));
    let jittery = Scenario { jitter_s: 0.2, segments: (5.0, 20.0), ..small() };
    let found = lines(&jittery, &Settings::default());
    assert!(found.doubt.is_some() && found.high.is_none(), "{found:?}");
}
