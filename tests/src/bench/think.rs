//! Cost of analysis: microseconds per connection against connections, addresses, spans and regimes.
//!
//! Analysis by phase may take long. So each case is measured by a process of its own, which is stopped where
//! it takes longer than [`LIMIT`]. Its CPU time counts, not what else the machine does.

use std::{env, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use tmap::engine::{Engine, Options, Wanted};
use tmap_common::{Address, Record};

use super::{
    Figure, Report, Series, Settings, child,
    picture::{Axes, Curve},
};
use crate::simulate::{Offsets, Scenario};

/// A case is stopped after this time, its traffic included.
const LIMIT: Duration = Duration::from_secs(20);

/// No further round begins after this time.
const ENOUGH: Duration = Duration::from_secs(2);

/// The regimes, in the order of the columns.
const REGIMES: [(&str, Offsets); 3] =
    [("fixed", Offsets::Global), ("by pair", Offsets::PerPair), ("random", Offsets::PerConnection)];

/// Traffic of addresses that are all alike.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    addresses: usize,
    /// Machines behind each.
    machines: usize,
    /// Connections of each address.
    connections: usize,
    duration_s: f64,
}

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 86_400.0;

/// Connections of one address, of four machines within ten minutes.
const CONNECTIONS: [usize; 7] = [4, 16, 100, 400, 2_000, 10_000, 100_000];

/// Addresses of two machines with a dozen connections within ten minutes.
const ADDRESSES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

/// How long the 240 connections of four machines are spread over.
const SPANS: [(&str, f64); 6] = [
    ("2 minutes", 2.0 * MINUTE_S),
    ("10 minutes", 10.0 * MINUTE_S),
    ("2 hours", 2.0 * HOUR_S),
    ("24 hours", DAY_S),
    ("7 days", 7.0 * DAY_S),
    ("30 days", 30.0 * DAY_S),
];

/// Machines that 240 connections of ten minutes are shared by: up to one for each.
const MACHINES: [usize; 5] = [1, 2, 10, 60, 240];

/// How many of each kind a quick run has.
const QUICK: usize = 3;

/// Segments of a connection, and its length in seconds.
const SEGMENTS: f64 = 12.0;
const LENGTH_S: f64 = 10.0;

/// Kinds of cases: what grows, and the cases.
fn kinds(quick: bool) -> Vec<(&'static str, Vec<Case>)> {
    let case = |name, addresses, machines, connections, duration_s| Case {
        name,
        addresses,
        machines,
        connections,
        duration_s,
    };
    let ten_minutes_s = 10.0 * MINUTE_S;
    let by_connections = CONNECTIONS
        .map(|count| case(format!("{count} connections of 4 machines"), 1, 4, count, ten_minutes_s));
    let by_addresses =
        ADDRESSES.map(|count| case(format!("addresses of 2 machines: {count}"), count, 2, 12, ten_minutes_s));
    let by_span = SPANS.map(|(span, seconds)| case(format!("240 connections in {span}"), 1, 4, 240, seconds));
    let by_machines = MACHINES
        .map(|count| case(format!("240 connections of {count} machines"), 1, count, 240, ten_minutes_s));
    let mut kinds = vec![
        ("connections", by_connections.to_vec()),
        ("addresses", by_addresses.to_vec()),
        ("span", by_span.to_vec()),
        ("machines", by_machines.to_vec()),
    ];
    if quick {
        kinds.iter_mut().for_each(|(_, cases)| cases.truncate(QUICK));
    }
    kinds
}

/// Runs the benchmark.
///
/// # Errors
/// Where a case fails.
pub fn run(settings: &Settings) -> Result<Report> {
    let columns = REGIMES.map(|(name, _)| format!("{name}, µs"));
    let mut report = Report::new("think", &columns.each_ref().map(String::as_str), &Series::default());
    let mut curves: Vec<Curve> = REGIMES.map(|(name, _)| curve(name)).to_vec();
    let mut number = 0;
    for (grows, cases) in kinds(settings.quick) {
        for case in cases {
            let mut figures = Vec::new();
            for ((regime, _), curve) in REGIMES.iter().zip(&mut curves) {
                let figure = measure(number, settings)?;
                number += 1;
                match figure {
                    None => report.note(format!(
                        "{}, offsets {regime}: not ended within {} s",
                        case.name,
                        LIMIT.as_secs()
                    )),
                    Some(Figure { median, spread, .. }) if grows == "connections" => {
                        curve.points.push((case.connections as f64, median, spread));
                    }
                    Some(_) => {}
                }
                figures.push(figure);
            }
            report.row(&case.name, &figures);
        }
    }
    report.axes = Some(Axes { title: "Analysis of one address", x: "connections", y: "µs per connection" });
    report.curves = curves;
    report.note(format!(
        "µs of CPU time per connection for a summary of all; connections of {LENGTH_S} s with {SEGMENTS} segments \
         and the delays of a LAN; the intake isn't timed. A summary assigns at most 16,384 random offsets by phase"
    ));
    Ok(report)
}

fn curve(name: &str) -> Curve {
    Curve { name: format!("offsets {name}"), points: Vec::new() }
}

/// The figure of one case, by a process of its own; `None` where that was stopped.
fn measure(number: usize, settings: &Settings) -> Result<Option<Figure>> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["think", "--case", &number.to_string(), "--rounds", &settings.rounds.to_string()]);
    if settings.quick {
        command.arg("--quick");
    }
    let Some(out) = child::output(&mut command, LIMIT)? else { return Ok(None) };
    let values: Result<Vec<f64>, _> = out.split_whitespace().map(str::parse).collect();
    Ok(Some(Figure::of(&values.context("a case printed no numbers")?)))
}

/// Measures the case of this number in this process, and prints the microseconds of each round.
///
/// # Errors
/// Where there is no such case.
pub fn one(number: usize, settings: &Settings) -> Result<()> {
    let cases: Vec<Case> = kinds(settings.quick).into_iter().flat_map(|(_, cases)| cases).collect();
    let case = cases.get(number / REGIMES.len()).context("no such case")?;
    let (_, offsets) = REGIMES[number % REGIMES.len()];
    let scenario = Scenario {
        machines: case.machines,
        offsets,
        connections: case.connections,
        pooled: true,
        duration_s: case.duration_s,
        segments: (SEGMENTS, SEGMENTS),
        length_s: Some(LENGTH_S),
        ..Scenario::default()
    };
    let began = cpu_time()?;
    let mut values = Vec::new();
    while values.len() <= settings.rounds && (values.is_empty() || cpu_time()? - began < ENOUGH) {
        values.push(round(case, &scenario)?);
    }
    // The first one also brings the program into memory.
    values.iter().skip(usize::from(values.len() > 1)).for_each(|value| println!("{value}"));
    Ok(())
}

/// The most kinds of addresses: others have the traffic of one of these.
const DIFFERENT: usize = 64;

/// Microseconds of CPU time per connection that a summary of all addresses takes.
fn round(case: &Case, scenario: &Scenario) -> Result<f64> {
    let all = case.connections * case.addresses;
    let mut engine = Engine::new(Options {
        max_connections_per_address: CONNECTIONS[CONNECTIONS.len() - 1],
        max_addresses: case.addresses,
        max_flows: all.max(Options::default().max_flows),
        // As if all had been seen at the same time, whatever the order here.
        idle_timeout_ns: u64::MAX / 2,
        ..Options::default()
    });
    let of_seed = |seed: usize| Scenario { seed: seed as u64, ..scenario.clone() }.run().records;
    let mut traffic: Vec<Vec<Record>> = (0..case.addresses.min(DIFFERENT)).map(of_seed).collect();
    let now_ns = traffic.iter().flatten().map(|record| record.time_ns).max().unwrap_or(0);
    for address in 0..case.addresses {
        let records = &mut traffic[address % DIFFERENT];
        let source = Address::from_ip4((0x0a00_0000 + address as u32).to_be_bytes());
        records.iter_mut().for_each(|record| record.segment.src = source);
        engine.observe_all(records);
    }
    let began = cpu_time()?;
    std::hint::black_box(engine.snapshot(now_ns, Wanted::default()));
    Ok((cpu_time()? - began).as_secs_f64() * 1e6 / all as f64)
}

/// The CPU time of this process so far.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_of_each_kind_is_measured() {
        for (grows, cases) in kinds(true) {
            let scenario = Scenario { machines: 1, connections: 4, pooled: true, ..Scenario::default() };
            let case = Case { addresses: cases[0].addresses, connections: 4, ..cases[0].clone() };
            assert!(round(&case, &scenario).unwrap() > 0.0, "{grows}");
        }
    }
}
