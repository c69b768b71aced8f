//! Cost of analysis against the number of an address's short connections: does it grow as n log n?

use std::time::Instant;

use anyhow::Result;
use tmap::engine::{Engine, Options, Wanted};
use tmap_common::Record;

use super::{
    Report, Settings,
    picture::{Axes, Curve},
    report::Limit,
    rounds::{Series, interleave},
};
use crate::simulate::{Offsets, Scenario};

/// Connections of one address.
struct Traffic {
    name: &'static str,
    offsets: Offsets,
    peers: usize,
    machines: Machines,
    /// Whether every other connection is one of other machines, whose offsets are random.
    is_mixed: bool,
}

/// How many machines there are.
enum Machines {
    /// So many, however many connections there are.
    Few(usize),
    /// One for so many connections.
    OneFor(usize),
}

const fn traffic(name: &'static str, offsets: Offsets, peers: usize) -> Traffic {
    Traffic { name, offsets, peers, machines: Machines::Few(50), is_mixed: false }
}

const TRAFFIC: [Traffic; 6] = [
    traffic("fixed offsets", Offsets::Global, 8),
    Traffic { machines: Machines::OneFor(5), ..traffic("fixed offsets, 5 each", Offsets::Global, 8) },
    traffic("offsets by pair, one peer", Offsets::PerPair, 1),
    traffic("offsets by pair, 250 peers", Offsets::PerPair, 250),
    traffic("random offsets", Offsets::PerConnection, 8),
    Traffic { is_mixed: true, ..traffic("half fixed, half random", Offsets::Global, 8) },
];

/// Connections of the address; a quick run leaves the last one out.
const CONNECTIONS: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// Segments of a connection, and its length in seconds: a page of the web.
const SEGMENTS: f64 = 8.0;
const LENGTH_S: f64 = 0.2;

/// A connection of 100,000 may cost so many times one of 1,000: n log n makes it 1.7, and what no cache
/// holds the rest.
const MOST_GROWTH: f64 = 2.5;

struct Contestant {
    name: String,
    connections: usize,
    records: Vec<Record>,
}

/// Runs the benchmark.
///
/// # Errors
/// Where a contestant fails, which none does.
pub fn run(settings: &Settings) -> Result<Report> {
    let sizes = &CONNECTIONS[..CONNECTIONS.len() - usize::from(settings.quick)];
    let made = |traffic: &Traffic, connections: usize| Contestant {
        name: format!("{connections} connections, {}", traffic.name),
        connections,
        records: records(traffic, connections),
    };
    let mut contestants: Vec<Contestant> = TRAFFIC
        .iter()
        .flat_map(|traffic| sizes.iter().map(move |&connections| made(traffic, connections)))
        .collect();
    let series = interleave(settings.rounds, &mut contestants, |contestant| Ok(analyse(contestant)))?;
    let mut report = Report::new("curve", &["µs per connection"], &series[0]);
    for (contestant, own) in contestants.iter().zip(&series) {
        report.row(&contestant.name, &[Some(own.figure())]);
    }
    for (traffic, own) in TRAFFIC.iter().zip(series.chunks(sizes.len())) {
        draw(traffic, sizes, own, &mut report);
    }
    report.axes = Some(Axes { title: "Analysis of one address", x: "connections", y: "µs per connection" });
    report.note(format!(
        "50 machines behind one address, but for \"5 each\"; connections of {LENGTH_S} s with {SEGMENTS} \
         segments; the intake isn't timed. A summary assigns at most 16,384 random offsets by phase"
    ));
    Ok(report)
}

/// The segments that one address sends.
fn records(traffic: &Traffic, connections: usize) -> Vec<Record> {
    let own = if traffic.is_mixed { connections / 2 } else { connections };
    let mut records = simulated(traffic, traffic.offsets, own);
    if traffic.is_mixed {
        let mut others = simulated(traffic, Offsets::PerConnection, connections - own);
        others.iter_mut().for_each(|record| record.segment.dst_port += OTHER_PORTS);
        records.extend(others);
        records.sort_by_key(|record| record.time_ns);
    }
    records
}

/// What tells connections of other machines apart from those of the first.
const OTHER_PORTS: u16 = 8_000;

fn simulated(traffic: &Traffic, offsets: Offsets, connections: usize) -> Vec<Record> {
    let machines = match traffic.machines {
        Machines::Few(machines) => machines,
        Machines::OneFor(connections_each) => connections / connections_each,
    };
    let scenario = Scenario {
        machines,
        offsets,
        connections: connections / machines,
        peers: traffic.peers,
        segments: (SEGMENTS, SEGMENTS),
        length_s: Some(LENGTH_S),
        ..Scenario::default()
    };
    scenario.run().records
}

/// Microseconds per connection that a summary of all takes, after the intake.
fn analyse(contestant: &Contestant) -> f64 {
    let Contestant { connections, records, .. } = contestant;
    let most = CONNECTIONS[CONNECTIONS.len() - 1];
    let mut engine = Engine::new(Options { max_connections_per_address: most, ..Options::default() });
    engine.observe_all(records);
    let now_ns = records.last().map_or(0, |record| record.time_ns);
    let start = Instant::now();
    std::hint::black_box(engine.snapshot(now_ns, Wanted::default()));
    start.elapsed().as_secs_f64() * 1e6 / *connections as f64
}

/// The curve of one kind of traffic, and what it grows by from the second size to the last.
fn draw(traffic: &Traffic, sizes: &[usize], series: &[Series], report: &mut Report) {
    let points = sizes.iter().zip(series).map(|(&connections, own)| {
        let figure = own.figure();
        (connections as f64, figure.median, figure.spread)
    });
    report.curves.push(Curve { name: traffic.name.to_owned(), points: points.collect() });
    if let ([_, _, .., most], [_, few, .., many]) = (sizes, series) {
        let what = format!("{}: one of {most} connections, times one of 1000", traffic.name);
        report.bar(&what, Limit::AtMost(MOST_GROWTH), many.ratio(few));
    }
}
