//! What pictures show, against the truth.

use tmap::{
    engine::{Engine, Event, Options, Snapshot, Wanted, snapshot::Estimate},
    picture::{
        Kind,
        chart::{Chart, Mark, Owner},
        charts,
        svg::{self, Theme},
        timeline,
    },
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

/// The charts of a kind in UTC.
fn drawn(kind: Kind, snapshot: &Snapshot) -> Vec<Chart> {
    let zone = jiff::tz::TimeZone::UTC;
    charts(kind, snapshot, None, &Calendar { wall: WallClock::default(), zone: &zone })
}

fn three_machines(offsets: Offsets) -> Snapshot {
    found(&Scenario { machines: 3, offsets, duration_s: 120.0, seed: 3, ..Scenario::default() }.run())
}

/// The marks of a machine.
fn marks_of(chart: &Chart, machine: u32) -> &[Mark] {
    let series = chart.series.iter().find(|series| series.owner == Owner::Machine(machine));
    &series.unwrap_or_else(|| panic!("no machine {machine} in {chart:?}")).marks
}

#[test]
fn a_picture_shows_each_connection_and_machine() {
    let snapshot = three_machines(Offsets::PerConnection);
    let charts = drawn(Kind::Phases, &snapshot);
    assert_eq!(charts.len(), 1);
    let svg = svg::svg(&charts[0], Theme::Light);
    let is_sharp = |sigma: f64| sigma <= 0.2;
    let shown =
        snapshot.connections.iter().filter(|c| c.place.is_some_and(|p| is_sharp(p.phase_ticks.sigma)));
    assert_eq!(svg.matches("fill-opacity").count(), shown.count());
    for machine in &snapshot.addresses[0].machine_list {
        assert!(svg.contains(&format!(">#{} ", machine.id)), "machine {} in {svg}", machine.id);
        assert!(marks_of(&charts[0], machine.id).iter().any(|mark| matches!(mark, Mark::Line { .. })));
    }
    for kind in [Kind::Offsets, Kind::Phases, Kind::Ports, Kind::Rtt, Kind::Load, Kind::Timeline] {
        assert!(drawn(kind, &Snapshot::default()).is_empty(), "{kind:?}");
    }
}

#[test]
fn fixed_offsets_are_parallel_lines_through_their_connections() {
    let snapshot = three_machines(Offsets::Global);
    let [chart] = &drawn(Kind::Offsets, &snapshot)[..] else { panic!("one chart") };
    assert!(chart.subtitle.contains("offsets are fixed"), "{}", chart.subtitle);
    // The unit is one of these, so that lines rise by one second a second.
    let unit_s = [("(s)", 1.0), ("(min)", 60.0), ("(h)", 3600.0), ("(days)", 86_400.0)]
        .into_iter()
        .find_map(|(unit, seconds)| chart.y.label.ends_with(unit).then_some(seconds))
        .expect("a unit");
    for machine in 1..=3 {
        let marks = marks_of(chart, machine);
        let Mark::Line { from, to } = marks[0] else { panic!("{:?}", marks[0]) };
        let slope = (to.1 - from.1) * unit_s / (to.0 - from.0);
        assert!((slope - 1.0).abs() < 1e-4, "machine {machine}: {slope}");
        let points = marks.iter().filter_map(|mark| match mark {
            Mark::Point { at, .. } => Some(*at),
            _ => None,
        });
        let mut connections = 0;
        for (x, y) in points {
            let off_s = (y - from.1) * unit_s - slope * (x - from.0);
            assert!(off_s.abs() < 0.05, "machine {machine}: {off_s} s from its line");
            connections += 1;
        }
        assert!(connections >= 10, "machine {machine}: {connections}");
    }
}

#[test]
fn random_offsets_are_scattered_and_the_picture_says_so() {
    for (offsets, says) in [
        (Offsets::PerConnection, "offsets are random per connection: see phases"),
        (Offsets::PerPair, "offsets are random per pair of addresses: see phases"),
    ] {
        let snapshot = three_machines(offsets);
        let [chart] = &drawn(Kind::Offsets, &snapshot)[..] else { panic!("one chart") };
        assert!(chart.subtitle.ends_with(says), "{}", chart.subtitle);
        // The counter wraps after 49.7 days: they are all over that.
        assert!(chart.y.label.ends_with("(days)") && chart.y.to - chart.y.from > 40.0, "{:?}", chart.y);
    }
}

#[test]
fn shares_of_the_load_sum_to_all_connections() {
    let snapshot = three_machines(Offsets::PerConnection);
    let [chart] = &drawn(Kind::Load, &snapshot)[..] else { panic!("one chart") };
    let mut heights = std::collections::BTreeMap::new();
    for mark in chart.series.iter().flat_map(|series| &series.marks) {
        let Mark::Bar { x, y, .. } = mark else { panic!("{mark:?}") };
        *heights.entry((x.0 * 1e3) as i64).or_insert(0.0) += y.1 - y.0;
    }
    assert!(heights.len() >= 3, "{heights:?}");
    assert!(heights.values().all(|sum: &f64| (sum - 100.0).abs() < 1e-9), "{heights:?}");
}

#[test]
fn ports_and_lives_are_those_of_the_connections() {
    let snapshot = three_machines(Offsets::Global);
    let [ports] = &drawn(Kind::Ports, &snapshot)[..] else { panic!("one chart") };
    let points: usize = ports.series.iter().map(|series| series.marks.len()).sum();
    assert_eq!(points, snapshot.connections.len());
    let [lives] = &drawn(Kind::Timeline, &snapshot)[..] else { panic!("one chart") };
    for machine in &snapshot.addresses[0].machine_list {
        let Mark::Bar { x, .. } = marks_of(lives, machine.id)[0] else { panic!("{lives:?}") };
        let seen_s = (machine.last_seen_ns - machine.first_seen_ns) as f64 * 1e-9;
        assert!((x.1 - x.0 - seen_s).abs() < 1e-6, "{x:?} {seen_s}");
    }
}

#[test]
fn a_reboot_is_an_event_of_the_machine_since() {
    let snapshot = three_machines(Offsets::Global);
    let report = &snapshot.addresses[0];
    let at_s = Estimate { value: report.first_seen_ns as f64 * 1e-9 + 30.0, sigma: 0.5 };
    let events = [Event::Reboot { address: report.address, before: 1, after: 2, at_s }];
    let zone = jiff::tz::TimeZone::UTC;
    let calendar = Calendar { wall: WallClock::default(), zone: &zone };
    let [chart] = &timeline(&snapshot, None, &calendar, &events)[..] else { panic!("one chart") };
    let is_event = |mark: &&Mark| matches!(mark, Mark::Event { .. });
    assert_eq!(marks_of(chart, 1).iter().filter(is_event).count(), 0);
    let Some(Mark::Event { x, text }) = marks_of(chart, 2).iter().find(is_event) else { panic!("{chart:?}") };
    assert!(*x > chart.x.from && *x < chart.x.to && text.contains("it is #2 now"), "{x} {text}");
    assert!(svg::svg(chart, Theme::Page).contains("var(--m2,"), "the page's colours");
}
