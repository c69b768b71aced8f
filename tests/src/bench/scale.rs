//! Cost per record and memory against flows, addresses and cores.

use std::thread;

use anyhow::Result;

use super::{
    Figure, Report, Series, Settings,
    engine::Load,
    machine::Pinned,
    picture::{Axes, Curve},
    report::Limit,
    rounds::interleave,
    stream::Shares,
};

/// A size: flows, the addresses that they come from, and how they are drawn.
struct Size {
    name: &'static str,
    flows: u64,
    addresses: u64,
    shares: Shares,
    /// Whether it is one of the picture's points.
    drawn: bool,
}

const fn size(name: &'static str, flows: u64, addresses: u64, shares: Shares, drawn: bool) -> Size {
    Size { name, flows, addresses, shares, drawn }
}

const SIZES: [Size; 12] = [
    size("1k flows of 100 addresses, Zipf", 1_000, 100, Shares::Zipf, true),
    size("10k of 1k", 10_000, 1_000, Shares::Zipf, true),
    size("100k of 10k", 100_000, 10_000, Shares::Zipf, true),
    size("1M of 10k", 1_000_000, 10_000, Shares::Zipf, true),
    size("100k of 10", 100_000, 10, Shares::Zipf, false),
    size("100k of 60k", 100_000, 60_000, Shares::Zipf, false),
    size("1k flows of 100 addresses, uniform", 1_000, 100, Shares::Uniform, true),
    size("10k of 1k", 10_000, 1_000, Shares::Uniform, true),
    size("100k of 10k", 100_000, 10_000, Shares::Uniform, true),
    size("1M of 10k", 1_000_000, 10_000, Shares::Uniform, true),
    size("10M of 60k, uniform", 10_000_000, 60_000, Shares::Uniform, true),
    size("10M of 60k, Zipf", 10_000_000, 60_000, Shares::Zipf, true),
];

/// How many of them a quick run has.
const QUICK_SIZES: usize = 4;

/// Flows that a core has in the comparison of cores.
const FLOWS_PER_CORE: u64 = 500_000;

/// Runs the benchmark.
///
/// # Errors
/// Where a thread can't be pinned or its time not read.
pub fn run(settings: &Settings) -> Result<Report> {
    let batches = if settings.quick { 100 } else { 2_000 };
    let sizes = &SIZES[..if settings.quick { QUICK_SIZES } else { SIZES.len() }];
    let mut contestants: Vec<(Load, f64)> = sizes
        .iter()
        .map(|size| {
            let load = Load::new(size.flows, size.addresses, size.shares);
            let opened = load.bytes_per_flow();
            (load, opened)
        })
        .collect();
    let pinned = Pinned::to(0)?;
    let series = interleave(settings.rounds, &mut contestants, |(load, _)| load.run(batches))?;
    drop(pinned);
    let columns = ["ns per record", "bytes per flow, opened", "MB in all, opened"];
    let mut report = Report::new("scale", &columns, &series[0]);
    for ((size, (_, opened)), own) in sizes.iter().zip(&contestants).zip(&series) {
        let megabytes = opened * size.flows as f64 / 1e6;
        let figures = [Some(own.figure()), Some(Figure::exact(*opened)), Some(Figure::exact(megabytes))];
        report.row(size.name, &figures);
        if size.flows == 10_000_000 {
            report.bar_counted("10M flows, MB", Limit::AtMost(1_500.0), megabytes);
        }
    }
    for (shares, name) in [(Shares::Zipf, "drawn by Zipf's law"), (Shares::Uniform, "all alike")] {
        let own = sizes.iter().zip(&series).filter(|(size, _)| size.drawn && size.shares == shares);
        let point = |(size, own): (&Size, &Series)| {
            let figure = own.figure();
            (size.flows as f64, figure.median, figure.spread)
        };
        let mut points: Vec<(f64, f64, f64)> = own.map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        report.curves.push(Curve { name: name.to_owned(), points });
    }
    report.curves.retain(|curve| !curve.points.is_empty());
    report.axes = Some(Axes { title: "Flow table: cost of a record", x: "flows", y: "ns per record" });
    drop(contestants);
    cores(settings, batches, &mut report)?;
    Ok(report)
}

/// One engine per core, each with its own share of the addresses: nothing is shared between them.
fn cores(settings: &Settings, batches: usize, report: &mut Report) -> Result<()> {
    let cpus = thread::available_parallelism()?.get();
    let mut loads: Vec<Load> = (0..cpus).map(|_| Load::new(FLOWS_PER_CORE, 5_000, Shares::Zipf)).collect();
    let mut contestants: Vec<usize> = (1..=cpus).collect();
    let series = interleave(settings.rounds, &mut contestants, |&mut count| {
        let costs: Result<Vec<f64>> = thread::scope(|scope| {
            let threads: Vec<_> = loads[..count]
                .iter_mut()
                .enumerate()
                .map(|(cpu, load)| {
                    scope.spawn(move || {
                        let _pinned = Pinned::to(cpu)?;
                        load.run(batches)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a load runs")).collect()
        });
        // Millions of records per second of all together, each at its own pace.
        Ok(costs?.iter().map(|ns| 1e3 / ns).sum())
    })?;
    for (count, own) in contestants.iter().zip(&series) {
        let times = own.ratio(&series[0]);
        report.note(format!(
            "{count} cores: {:.1} M records/s of thread time, {:.2} times one core",
            own.figure().median,
            times.median
        ));
    }
    Ok(())
}
