//! The picture of clocks, and the phases that it shows, against the truth.

use tmap::{
    engine::{Engine, Options, Snapshot, Wanted},
    picture::{self, Kind, svg::Theme},
    report::number::Calendar,
    time::WallClock,
};
use tmap_tests::simulate::{Offsets, Scenario, Simulation};

/// Least delay of every simulated segment, which phase includes.
const LEAST_DELAY_S: f64 = 0.000_3;

fn found(simulation: &Simulation) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    for record in &simulation.records {
        engine.observe(record);
    }
    let now_ns = simulation.records.last().expect("traffic").time_ns;
    engine.snapshot(now_ns, Wanted { connections: true, ..Wanted::default() })
}

/// How far each connection's phase is from its machine's true one, in ticks, and its standard error.
fn errors(scenario: &Scenario) -> Vec<(f64, f64)> {
    let simulation = scenario.run();
    let snapshot = found(&simulation);
    let truth = &simulation.truth;
    let placed = snapshot.connections.iter().filter_map(|c| Some((c, c.place?)));
    placed
        .map(|(connection, place)| {
            let key = (connection.src_port, connection.dst, connection.dst_port);
            let clock = &truth.clocks[truth.machine_of[&key]];
            let at_s = place.at_ns as f64 * 1e-9;
            let true_phase = clock.ticks_at(at_s) - scenario.tick_hz * (at_s + LEAST_DELAY_S);
            let off = place.phase_ticks.value - true_phase;
            (off - off.round(), place.phase_ticks.sigma)
        })
        .collect()
}

#[test]
fn phases_are_true_within_their_errors() {
    for offsets in [Offsets::Global, Offsets::PerPair, Offsets::PerConnection] {
        let scenario = Scenario { machines: 3, offsets, duration_s: 120.0, seed: 3, ..Scenario::default() };
        let errors = errors(&scenario);
        let within = errors.iter().filter(|(off, sigma)| off.abs() <= 2.0 * sigma).count();
        let sharp: Vec<f64> = errors.iter().filter(|(_, sigma)| *sigma < 0.05).map(|(off, _)| *off).collect();
        let mean = sharp.iter().sum::<f64>() / sharp.len() as f64;
        println!("{offsets:?}: {within} of {} within, {} sharp, mean {mean:.4}", errors.len(), sharp.len());
        assert!(errors.len() >= 50 && sharp.len() >= 20, "{offsets:?}: {errors:?}");
        assert!(within as f64 >= 0.9 * errors.len() as f64, "{offsets:?}: {errors:?}");
        assert!(mean.abs() < 0.03, "{offsets:?}: {mean}");
    }
}

#[test]
fn a_picture_shows_each_connection_and_machine() {
    let simulation = Scenario { machines: 3, duration_s: 120.0, seed: 3, ..Scenario::default() }.run();
    let snapshot = found(&simulation);
    let calendar = Calendar { wall: WallClock::default(), zone: &jiff::tz::TimeZone::UTC };
    let charts = picture::charts(Kind::Phases, &snapshot, None, &calendar);
    assert_eq!(charts.len(), 1);
    let drawn = picture::svg::svg(&charts[0], Theme::Light);
    let is_sharp = |sigma: f64| sigma <= 0.2;
    let shown =
        snapshot.connections.iter().filter(|c| c.place.is_some_and(|p| is_sharp(p.phase_ticks.sigma)));
    assert_eq!(drawn.matches("fill-opacity").count(), shown.count());
    for machine in &snapshot.addresses[0].machine_list {
        assert!(drawn.contains(&format!(">#{} ", machine.id)), "machine {} in {drawn}", machine.id);
    }
    assert!(picture::charts(Kind::Phases, &Snapshot::default(), None, &calendar).is_empty());
}
