//! Machines that connect at regular times or in a few visits: the times at which connections begin leave
//! rates open, and a line may be laid through the phases of several machines.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tmap::engine::snapshot::AddressReport;
use tmap_common::Address;
use tmap_tests::simulate::{Offsets, SHARED, Scenario};

use crate::{
    odd_clocks::{of_present, shared, two_minutes},
    rewritten::{Client, figures, reports},
};

/// Machines that NTP disciplines, with a connection or two in each second.
fn disciplined(machines: usize, duration_s: f64, seed: u64) -> Scenario {
    Scenario {
        machines,
        duration_s,
        connections: (1.5 * duration_s) as usize,
        skew_spread_ppm: 0.05,
        segments: (10.0, 10.0),
        length_s: Some(0.6),
        jitter_s: 30e-6,
        seed,
        ..Scenario::default()
    }
}

/// The first four seeds for which no two of five machines' phases are near each other.
fn seeds(duration_s: f64) -> impl Iterator<Item = u64> {
    all_seeds(duration_s).take(4)
}

/// All such seeds.
fn all_seeds(duration_s: f64) -> impl Iterator<Item = u64> {
    let are_apart = move |seed: &u64| {
        let clocks = Scenario { connections: 1, ..disciplined(5, duration_s, *seed) }.run().truth.clocks;
        let mut phases: Vec<f64> = clocks.iter().map(|clock| clock.phase_ticks).collect();
        phases.sort_by(f64::total_cmp);
        phases.push(phases[0] + 1.0);
        phases.windows(2).all(|pair| pair[1] - pair[0] > 0.09)
    };
    (0..).filter(are_apart)
}

/// Whether the interval of the number of machines is told, and holds this one.
pub(crate) fn holds(report: &AddressReport, machines: u32) -> bool {
    let is_below = report.machines_high.is_some_and(|high| high < machines);
    report.machines_low.is_some_and(|low| low <= machines) && !is_below
}

/// How many machines' skews are clearly wrong where all are near zero.
fn wrong_skews(report: &AddressReport) -> usize {
    let skews = report.machine_list.iter().filter_map(|machine| machine.skew_ppm);
    skews.filter(|skew| skew.value.abs() > 0.5 + 5.0 * skew.sigma).count()
}

/// Each once a minute at a second of its own: an agent that reports, a job, a check. Their phases are far
/// apart; even so, eight of the first forty seeds miss.
#[test]
fn machines_that_connect_once_a_minute_are_mostly_not_fewer() {
    let mut missed = Vec::new();
    for seed in all_seeds(3000.0).take(12) {
        let at_its_second =
            |machine: usize, at_s: f64| (at_s - 11.0 * machine as f64 - seed as f64).rem_euclid(60.0) < 0.8;
        let report = shared(of_present(&disciplined(5, 3000.0, seed), at_its_second));
        assert_eq!(wrong_skews(&report), 0, "{seed}: {}", figures(&report));
        if !holds(&report, 5) {
            missed.push(format!("{seed}: {}", figures(&report)));
        }
    }
    assert!(missed.len() <= 2, "{missed:#?}");
}

/// Its rate is known modulo a tick in five minutes, which is 3.3 ppm.
#[test]
fn a_machine_that_connects_every_five_minutes_has_no_skew() {
    let scenario = Scenario { connections: 30_000, ..disciplined(1, 9000.0, 1) };
    let report = shared(of_present(&scenario, |_, at_s| at_s.rem_euclid(300.0) < 0.4));
    let [machine] = &report.machine_list[..] else { panic!("{}", figures(&report)) };
    assert!(machine.skew_ppm.is_none_or(|skew| skew.sigma > 10.0), "{:?}", machine.skew_ppm);
    assert_eq!(report.machines, Some(1), "{}", figures(&report));
}

/// Pages of several connections each, a few of them in an hour: each shows one phase.
#[test]
fn machines_that_load_a_few_pages_are_as_many_or_more() {
    for seed in seeds(3600.0) {
        let mut random = Pcg64::seed_from_u64(seed);
        let visits: Vec<Vec<f64>> =
            (0..5).map(|_| (0..10).map(|_| random.random_range(0.0..3600.0)).collect()).collect();
        let visits_then = |machine: usize, at_s: f64| {
            visits[machine].iter().any(|begin_s| (0.0..2.0).contains(&(at_s - begin_s)))
        };
        let report = shared(of_present(&disciplined(5, 3600.0, seed), visits_then));
        assert!(holds(&report, 5) && wrong_skews(&report) == 0, "{seed}: {}", figures(&report));
    }
}

/// One machine that makes a dozen visits of a minute in an hour, or thirty in six hours. The visits seemed to
/// keep a period, so there was no upper end but the number of connections; and skews were those of lines that
/// no visit told where to go on, off by hundreds of errors.
#[test]
fn a_machine_that_makes_long_visits_is_one_with_its_own_skew() {
    // A dozen visits that mostly fall together may be several machines' as well.
    for (hours, visits, most_open) in [(1.0, 12, 1), (1.0, 25, 0), (6.0, 30, 0)] {
        let mut open = 0;
        for seed in 0..8 {
            let duration_s = hours * 3600.0;
            let mut random = Pcg64::seed_from_u64(seed);
            let begins_s: Vec<f64> = (0..visits).map(|_| random.random_range(0.0..duration_s)).collect();
            let visits_then =
                |_: usize, at_s: f64| begins_s.iter().any(|begin_s| (0.0..60.0).contains(&(at_s - begin_s)));
            let scenario = Scenario {
                connections: (0.2 * duration_s) as usize,
                skew_spread_ppm: 15.0,
                jitter_s: 50e-6,
                segments: (6.0, 6.0),
                length_s: Some(3.0),
                ..disciplined(1, duration_s, seed)
            };
            let true_ppm = scenario.run().truth.clocks[0].skew_ppm;
            let report = shared(of_present(&scenario, visits_then));
            let said = format!("{hours} h, {visits} visits, {seed}: {}", figures(&report));
            let [machine] = &report.machine_list[..] else { panic!("{said}") };
            assert!(report.machines_high.is_none_or(|high| high <= 2), "{said}");
            let Some(skew) = machine.skew_ppm else {
                open += 1;
                continue;
            };
            assert!((skew.value - true_ppm).abs() < 6.0 * skew.sigma, "{skew:?}, not {true_ppm}: {said}");
            assert!(skew.sigma < 1.0, "{skew:?}: {said}");
        }
        assert!(open <= most_open, "{hours} h, {visits} visits: {open} without a skew");
    }
}

/// Users of a NAT make one visit each at a server, of 20 s with some 15 connections. One line through several
/// visits had a skew that none of them has, all of the load, and connections that were surely its own.
#[test]
fn a_line_through_single_visits_of_several_machines_is_no_sure_one() {
    for seed in 0..12 {
        let mut random = Pcg64::seed_from_u64(seed);
        let begins_s: Vec<f64> =
            (0..3).map(|k| 90.0 * f64::from(k) + random.random_range(0.0..40.0)).collect();
        let scenario = Scenario { connections: 225, jitter_s: 500e-6, ..disciplined(3, 300.0, seed) };
        let in_visit = |machine: usize, at_s: f64| (0.0..20.0).contains(&(at_s - begins_s[machine]));
        let report = shared(of_present(&scenario, in_visit));
        let said = format!("{seed}: {}", figures(&report));
        assert!(holds(&report, 3) && wrong_skews(&report) == 0, "{said}");
        for machine in &report.machine_list {
            let ends = (machine.load_low_percent, machine.load_high_percent);
            assert!(ends.0 < 45.0 && ends.1 > 25.0, "{ends:?}: {said}");
        }
    }
}

/// One with offsets by pair and one or two with random offsets, and twenty peers that each see few
/// connections: one that is alone with its counter may be of either kind.
#[test]
fn machines_that_draw_offsets_in_two_ways_count_once() {
    let mut exact = 0;
    for seed in 0..8 {
        let random = 1 + seed as usize % 2;
        let drawn = |machines, offsets, seed| Scenario {
            peers: 20,
            connections: 40,
            jitter_s: 30e-6,
            ..two_minutes(machines, offsets, seed)
        };
        let mut records = drawn(1, Offsets::PerPair, seed).run().records;
        let mut others = drawn(random, Offsets::PerConnection, seed + 100).run().records;
        others.iter_mut().for_each(|record| record.segment.src_port += 20_000);
        records.extend(others);
        records.sort_by_key(|record| record.time_ns);
        let report = shared(records);
        let truth = random as u32 + 1;
        assert!(holds(&report, truth), "{seed}: {}", figures(&report));
        exact += usize::from(report.machines == Some(truth));
    }
    assert!(exact >= 6, "{exact} of 8");
}

/// The report on fifteen machines with offsets by pair that load eighty pages in turn: one to three servers
/// of thirty, each with one to three connections at once.
fn pages_by_pair(seed: u64) -> AddressReport {
    let mut random = Pcg64::seed_from_u64(seed);
    let (mut records, mut port) = (Vec::new(), 20_000);
    for machine in 0..15_u64 {
        let mut client = Client::new(100 * seed + machine);
        let offsets: Vec<u32> = (0..30).map(|_| client.random.random()).collect();
        for page in (machine..80).step_by(15) {
            for _ in 0..random.random_range(1..=3) {
                let peer: usize = random.random_range(0..30);
                for _ in 0..random.random_range(1..=3) {
                    port += 1;
                    client.connect(port, peer as u8, 20 * page, offsets[peer]);
                }
            }
        }
        client.records.iter_mut().for_each(|record| record.time_ns += 617_034 * machine % 1_000_000);
        records.extend(client.records);
    }
    reports(records, 1).remove(&Address::from_ip4(SHARED.octets())).expect("the shared address")
}

/// Connections of one visit share a counter in any case, and don't show that the server meets few machines.
#[test]
fn connections_of_one_visit_count_once() {
    let told: Vec<String> =
        (1..=10).map(pages_by_pair).filter(|report| !holds(report, 15)).map(|r| figures(&r)).collect();
    assert!(told.len() <= 2, "{told:?}");
}
