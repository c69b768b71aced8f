//! Cost of analysis by phase: microseconds per connection against connections, machines and spans.

use std::time::Instant;

use anyhow::Result;
use tmap::engine::{Engine, Options, Wanted};
use tmap_common::Record;

use super::{Report, Settings, rounds::interleave};
use crate::simulate::Scenario;

/// Traffic of one address whose offsets are random per connection.
struct Case {
    name: &'static str,
    machines: usize,
    connections: usize,
    duration_s: f64,
}

const fn case(name: &'static str, machines: usize, connections: usize, duration_s: f64) -> Case {
    Case { name, machines, connections, duration_s }
}

const DAY_S: f64 = 86_400.0;

/// The longest are last, and a quick run leaves them out.
const CASES: [Case; 9] = [
    case("4 connections of 1 machine", 1, 4, 60.0),
    case("12 connections of 1 machine", 1, 12, 60.0),
    case("24 connections of 2 machines", 2, 12, 120.0),
    case("36 connections of 3 machines", 3, 12, 120.0),
    case("100 connections of 4 machines", 4, 25, 600.0),
    case("1,000 connections of 4 machines", 4, 250, 600.0),
    case("8 connections over 4 years", 1, 8, 1461.0 * DAY_S),
    case("2,000 connections over 30 days", 1, 2_000, 30.0 * DAY_S),
    case("4,000 connections, no two of one machine", 4_000, 1, 600.0),
];

/// How many of them a quick run has.
const QUICK_CASES: usize = 5;

/// Segments of each connection: enough for a clock of its own.
const SEGMENTS: (f64, f64) = (30.0, 100.0);

/// Runs the benchmark.
///
/// # Errors
/// Where a contestant fails, which none does.
pub fn run(settings: &Settings) -> Result<Report> {
    let cases = &CASES[..if settings.quick { QUICK_CASES } else { CASES.len() }];
    let mut contestants: Vec<(Vec<Record>, f64)> = cases
        .iter()
        .map(|case| {
            let Case { machines, connections, duration_s, .. } = *case;
            let scenario =
                Scenario { machines, connections, duration_s, segments: SEGMENTS, ..Scenario::default() };
            (scenario.run().records, (machines * connections) as f64)
        })
        .collect();
    let series = interleave(settings.rounds, &mut contestants, |(records, connections)| {
        let start = Instant::now();
        let mut engine = Engine::new(Options::default());
        engine.observe_all(records);
        let now_ns = records.last().map_or(0, |record| record.time_ns);
        std::hint::black_box(engine.snapshot(now_ns, Wanted::default()));
        Ok(start.elapsed().as_secs_f64() * 1e6 / *connections)
    })?;
    let mut report = Report::new("think", &["µs per connection"], &series[0]);
    for (case, own) in cases.iter().zip(&series) {
        report.row(case.name, &[Some(own.figure())]);
    }
    Ok(report)
}
