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

/// Connections of one address, of several kinds of machines.
struct Traffic {
    name: &'static str,
    parts: &'static [Part],
}

/// An equal part of an address's connections.
struct Part {
    offsets: Offsets,
    tick_hz: f64,
    machines: Machines,
    peers: usize,
    segments: f64,
}

/// How many machines there are.
enum Machines {
    /// So many, however many connections there are.
    Few(usize),
    /// One for so many connections.
    OneFor(usize),
}

/// Fifty machines with eight peers.
const fn part(offsets: Offsets) -> Part {
    Part { offsets, tick_hz: 1000.0, machines: Machines::Few(50), peers: 8, segments: SEGMENTS }
}

const FIXED: Part = part(Offsets::Global);
const BY_PAIR: Part = part(Offsets::PerPair);
const RANDOM: Part = part(Offsets::PerConnection);

const TRAFFIC: [Traffic; 9] = [
    Traffic { name: "fixed offsets", parts: &[FIXED] },
    Traffic {
        name: "fixed offsets, 5 connections each",
        parts: &[Part { machines: Machines::OneFor(5), ..FIXED }],
    },
    Traffic { name: "offsets by pair, one peer", parts: &[Part { peers: 1, ..BY_PAIR }] },
    Traffic { name: "offsets by pair, 250 peers", parts: &[Part { peers: 250, ..BY_PAIR }] },
    // Each of 250 peers meets each machine once or twice.
    Traffic {
        name: "offsets by pair, pairs met once or twice",
        parts: &[Part { peers: 250, machines: Machines::OneFor(375), ..BY_PAIR }],
    },
    Traffic { name: "random offsets", parts: &[RANDOM] },
    Traffic { name: "random offsets, 4 machines", parts: &[Part { machines: Machines::Few(4), ..RANDOM }] },
    Traffic { name: "half fixed, half random", parts: &[FIXED, RANDOM] },
    // Nothing tells the rate of a SYN alone where there are two.
    Traffic {
        name: "fixed at two rates, a third lone SYNs",
        parts: &[
            Part { machines: Machines::OneFor(10), ..FIXED },
            Part { machines: Machines::OneFor(10), tick_hz: 250.0, ..FIXED },
            Part { segments: 1.0, ..RANDOM },
        ],
    },
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
    // The largest of the first traffic is measured best.
    let mut report = Report::new("curve", &["µs per connection"], &series[sizes.len() - 1]);
    for (contestant, own) in contestants.iter().zip(&series) {
        report.row(&contestant.name, &[Some(own.figure())]);
    }
    for (traffic, own) in TRAFFIC.iter().zip(series.chunks(sizes.len())) {
        draw(traffic, sizes, own, &mut report);
    }
    report.axes = Some(Axes { title: "Analysis of one address", x: "connections", y: "µs per connection" });
    report.note(format!(
        "50 machines behind one address where nothing else is said; connections of {LENGTH_S} s with \
         {SEGMENTS} segments; the intake isn't timed. A summary assigns at most 16,384 random offsets by phase"
    ));
    Ok(report)
}

/// The segments that one address sends.
fn records(traffic: &Traffic, connections: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for (number, part) in traffic.parts.iter().enumerate() {
        let connections = connections / traffic.parts.len();
        let machines = match part.machines {
            Machines::Few(machines) => machines,
            Machines::OneFor(each) => (connections / each).max(1),
        };
        let scenario = Scenario {
            machines,
            offsets: part.offsets,
            tick_hz: part.tick_hz,
            connections,
            pooled: true,
            peers: part.peers,
            segments: (part.segments, part.segments),
            length_s: Some(LENGTH_S),
            ..Scenario::default()
        };
        records.extend(scenario.run().records.into_iter().map(|mut record| {
            record.segment.dst_port += PORTS * number as u16;
            record
        }));
    }
    records.sort_by_key(|record| record.time_ns);
    records
}

/// Ports of a part's services: they tell its connections from those of other parts.
const PORTS: u16 = 8_000;

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
