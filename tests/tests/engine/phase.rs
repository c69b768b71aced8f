//! Machines told apart by phase: what must hold on any seed.

use tmap::engine::{
    clock::envelope::Envelope,
    os::likeness::{Evidence, Switches},
    phase::{Lines, Point, Settings, Track, fit, limits::Limits, sample::Sample},
    snapshot::Doubt,
};
use tmap_tests::{
    judge::{score::agreement, traces},
    simulate::{Law, Scenario},
};

/// Small, so that a debug build takes a second: a busy LAN for two minutes.
fn small() -> Scenario {
    Scenario { machines: 1, connections: 24, duration_s: 120.0, jitter_s: 100e-6, ..Scenario::default() }
}

fn lines(scenario: &Scenario, settings: &Settings) -> Lines {
    lines_of(scenario, settings, |_| Evidence::default()).0
}

/// The lines, where connection `c` shows `shown(its machine)`, and the machines.
fn lines_of(
    scenario: &Scenario,
    settings: &Settings,
    shown: impl FnMut(usize) -> Evidence,
) -> (Lines, Vec<usize>) {
    lines_along(scenario, settings, shown, &[0])
}

/// The lines and machines, where each connection takes the next of these paths, which are later by so many
/// nanoseconds.
fn lines_along(
    scenario: &Scenario,
    settings: &Settings,
    mut shown: impl FnMut(usize) -> Evidence,
    later_ns: &[u64],
) -> (Lines, Vec<usize>) {
    let run = scenario.run();
    let traces = traces::collect(&run.records);
    let machines: Vec<usize> = traces.iter().map(|trace| run.truth.machine_of[&trace.key]).collect();
    let kept: Vec<(Envelope, Sample)> = traces
        .iter()
        .zip(later_ns.iter().cycle())
        .map(|(trace, later_ns)| {
            let mut pair = <(Envelope, Sample)>::default();
            for point in &trace.points {
                let point = Point { time_ns: point.time_ns + later_ns, ..*point };
                pair.0.add(point);
                pair.1.add(point);
            }
            pair
        })
        .collect();
    let tracks: Vec<Track<'_>> = kept
        .iter()
        .zip(&machines)
        .zip((0..later_ns.len()).cycle())
        .map(|(((hull, sample), machine), path)| Track {
            hull: hull.points(),
            sample: sample.points(),
            offered: hull.offered(),
            shown: shown(*machine),
            path,
        })
        .collect();
    (fit(&tracks, scenario.tick_hz, settings), machines)
}

/// What a connection shows that passed so many routers.
fn hops(count: usize) -> Evidence {
    Evidence::new(Some(1000.0), Some(true), None, 64 - count as u8)
}

#[test]
fn other_evidence_never_splits_a_line_by_itself() {
    for seed in 0..3 {
        let mut turn = 0;
        let alternating = |_| {
            turn += 1;
            hops(turn % 2)
        };
        let (found, _) = lines_of(&Scenario { seed, ..small() }, &Settings::default(), alternating);
        assert_eq!(found.count(), 1, "seed {seed}: {:?}", found.evidences);
    }
}

#[test]
fn other_evidence_tells_machines_apart_that_clocks_hardly_do() {
    // Over a WAN, clocks alone sort most connections wrongly.
    let scenario = Scenario { machines: 3, jitter_s: 1e-3, connections: 20, seed: 1, ..Scenario::default() };
    let right = |settings: &Settings| {
        let (found, machines) = lines_of(&scenario, settings, hops);
        let likeliest = |row: &Vec<f32>| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map(|(line, _)| line as u32)
        };
        let pairings: Vec<_> = machines.into_iter().zip(found.posteriors.iter().map(likeliest)).collect();
        (found.count(), agreement(&pairings).accuracy)
    };
    let (_, without) = right(&Settings { switches: Switches::NONE, ..Settings::default() });
    let (count, with) = right(&Settings::default());
    assert!(count == 3 && with > 0.9 && without < 0.8, "{count} machines, {with} against {without}");
}

#[test]
fn one_machine_is_never_split() {
    for law in [Law::Exponential, Law::Pareto, Law::Bursts, Law::Congestion, Law::Stalls] {
        for seed in 0..2 {
            let found = lines(&Scenario { law, seed, loss: 0.01, ..small() }, &Settings::default());
            assert_eq!(found.count(), 1, "{law:?}, seed {seed}: {:?}", found.evidences);
        }
    }
}

/// Tables of some of the tracks tell the machines, and no upper end of their number.
#[test]
fn short_memory_leaves_out_tracks_and_says_so() {
    let scenario = Scenario { machines: 3, connections: 60, seed: 1, ..Scenario::default() };
    let limits = |table_bytes| Limits { table_bytes, ..Limits::default() };
    let [whole, part] = [Limits::TABLE_BYTES, 1 << 20]
        .map(|bytes| lines(&scenario, &Settings { limits: limits(bytes), ..Settings::default() }));
    assert_eq!((whole.count(), whole.doubt), (3, None));
    assert_eq!((part.count(), part.high, part.doubt), (3, None, Some(Doubt::BudgetSpent)));
    assert_eq!(part.posteriors.len(), whole.posteriors.len());
}

/// Paths that differ by part of a tick of a millisecond.
const LATER_NS: [u64; 4] = [0, 310_000, 620_000, 4_850_000];

#[test]
fn one_machine_along_several_paths_is_one() {
    for seed in 0..4 {
        let scenario = Scenario { seed, ..small() };
        let (found, _) = lines_along(&scenario, &Settings::default(), |_| Evidence::default(), &LATER_NS);
        assert_eq!((found.count(), found.low), (1, 1), "seed {seed}: {:?}", found.evidences);
    }
}

#[test]
fn machines_that_share_their_peers_are_several() {
    for seed in 7..10 {
        let scenario = Scenario { machines: 3, seed, ..small() };
        let (found, _) = lines_along(&scenario, &Settings::default(), |_| Evidence::default(), &[0; 4]);
        assert_eq!(found.count(), 3, "seed {seed}: {:?}", found.evidences);
    }
}

#[test]
fn a_wandering_clock_is_one_machine() {
    let scenario = Scenario { duration_s: 3000.0, wander_ppm: 0.15, connections: 40, ..small() };
    let found = lines(&scenario, &Settings::default());
    assert_eq!(found.count(), 1, "{:?}", found.evidences);
}

#[test]
fn machines_of_different_skew_are_counted_and_measured() {
    let scenario = Scenario { machines: 3, seed: 7, ..small() };
    let truth = scenario.run().truth;
    let found = lines(&scenario, &Settings::default());
    assert_eq!(found.count(), 3, "{:?}", found.evidences);
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
