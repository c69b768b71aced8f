//! Captures of hours and days. Clocks with random offsets wander, so they can't be followed for that long.

use tmap::engine::{
    snapshot::AddressReport,
    types::{Doubt, Estimate},
};
use tmap_tests::simulate::{Scenario, Truth};

use crate::{odd_clocks::shared, rewritten::figures};

const HOUR_S: f64 = 3_600.0;

/// How far clocks wander from their mean within a capture of a week, in ppm.
const WANDER_PPM: f64 = 1.5;

/// Machines with free clocks in a room, and connections of some seconds.
fn scenario(hours: f64, machines: usize, connections: usize, seed: u64) -> Scenario {
    Scenario {
        machines,
        connections,
        duration_s: hours * HOUR_S,
        wander_ppm: 0.03,
        segments: (12.0, 16.0),
        length_s: Some(8.0),
        seed,
        ..Scenario::default()
    }
}

/// What is told of the machines' address, and the truth.
fn told(scenario: &Scenario) -> (AddressReport, Truth) {
    let simulation = scenario.run();
    (shared(simulation.records), simulation.truth)
}

/// The skews that are told, and those of them that no machine has.
fn skews(report: &AddressReport, truth: &Truth) -> (usize, Vec<Estimate>) {
    let all: Vec<Estimate> = report.machine_list.iter().filter_map(|machine| machine.skew_ppm).collect();
    let is_wrong = |told: &&Estimate| {
        let off = |true_ppm: f64| (told.value - true_ppm).abs() - 4.0 * told.sigma;
        truth.clocks.iter().all(|clock| off(clock.skew_ppm) > WANDER_PPM)
    };
    (all.len(), all.iter().filter(is_wrong).copied().collect())
}

/// A line over a day can't bend as often as a clock does: two machines were told as four, 4 to 4.
#[test]
fn a_busy_day_is_counted_by_its_busiest_hours() {
    for seed in 0..4 {
        let (report, truth) = told(&scenario(24.0, 2, 1_000, seed));
        let count = (report.machines, report.machines_low, report.machines_high, report.doubt);
        let said = figures(&report);
        assert_eq!(count, (Some(2), Some(2), None, Some(Doubt::BusiestHours)), "{seed}: {said}");
        let (told, wrong) = skews(&report, &truth);
        assert!(told == 2 && wrong.is_empty(), "{seed}: {wrong:?}; {said}");
    }
}

/// Lines found a way between phases that had nothing to do with each other: skews were off by up to 30 ppm,
/// with errors of 0.001 ppm.
#[test]
fn in_sparse_days_no_skew_is_told_that_no_clock_has() {
    let (mut all, mut missed) = (0, 0);
    for (hours, machines, connections) in
        [(3.0, 5, 50), (6.0, 3, 60), (12.0, 2, 100), (24.0, 1, 200), (24.0, 2, 200), (168.0, 1, 800)]
    {
        for seed in 0..4 {
            let (report, truth) = told(&scenario(hours, machines, connections, seed));
            let (told, wrong) = skews(&report, &truth);
            let said = format!("{hours} h, seed {seed}: {}", figures(&report));
            assert!(wrong.is_empty(), "{wrong:?}; {said}");
            let machines = machines as u32;
            let holds = report.machines_low.is_none_or(|low| low <= machines)
                && report.machines_high.is_none_or(|high| high >= machines);
            missed += usize::from(!holds);
            all += told;
        }
    }
    assert!(all > 0, "something is told");
    assert!(missed <= 2, "{missed} of 24 intervals, which are 90 % intervals");
}

/// Where connections are dense enough, hours are followed whole.
#[test]
fn hours_of_many_connections_are_followed() {
    for seed in 0..3 {
        let (report, truth) = told(&scenario(3.0, 3, 110, seed));
        let said = figures(&report);
        assert_eq!((report.machines, report.doubt), (Some(3), None), "{seed}: {said}");
        let (told, wrong) = skews(&report, &truth);
        assert!(told == 3 && wrong.is_empty(), "{seed}: {wrong:?}; {said}");
    }
}

/// Some line takes most of a dozen connections, whoever they are of: one skew in two was no clock's.
#[test]
fn a_dozen_connections_of_several_machines_show_no_skew() {
    let (mut all, mut wrong) = (0, Vec::new());
    for seed in 0..60 {
        let few = Scenario { duration_s: 600.0, wander_ppm: 0.0, ..scenario(0.1, 3, 4, seed) };
        let (report, truth) = told(&few);
        let skews = report.machine_list.iter().filter_map(|machine| machine.skew_ppm);
        let is_off = |skew: &Estimate| {
            truth.clocks.iter().all(|clock| (skew.value - clock.skew_ppm).abs() > 5.0 * skew.sigma)
        };
        let told: Vec<Estimate> = skews.collect();
        all += told.len();
        wrong.extend(
            told.into_iter().filter(is_off).map(|skew| format!("{seed}: {skew:?}, {}", figures(&report))),
        );
    }
    assert!(wrong.len() <= 2, "{} of {all}: {wrong:#?}", wrong.len());
}

/// With as few connections, one line may be several machines: a rate between those of two machines was told.
#[test]
fn where_machines_may_be_fewer_no_skew_is_told_that_no_clock_has() {
    for seed in 0..8 {
        let crowded = Scenario { duration_s: 360.0, wander_ppm: 0.0, ..scenario(0.1, 6, 15, seed) };
        let (report, truth) = told(&crowded);
        let wrong: Vec<Estimate> = skews(&report, &truth).1;
        assert!(wrong.is_empty(), "{seed}: {wrong:?}; {}", figures(&report));
    }
}
