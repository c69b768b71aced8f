//! Cost per record and memory against flows, addresses and cores.

use std::thread;

use anyhow::Result;

use super::{
    Figure, Report, Settings, engine::Load, machine::Pinned, report::Limit, rounds::interleave,
    stream::Shares,
};

/// The sizes: flows, and addresses that they come from.
const SIZES: [(&str, u64, u64); 7] = [
    ("1k flows of 100 addresses", 1_000, 100),
    ("10k flows of 1k addresses", 10_000, 1_000),
    ("100k flows of 10 addresses", 100_000, 10),
    ("100k flows of 10k addresses", 100_000, 10_000),
    ("100k flows of 60k addresses", 100_000, 60_000),
    ("1M flows of 10k addresses", 1_000_000, 10_000),
    ("10M flows of 60k addresses", 10_000_000, 60_000),
];

/// Flows that a core has in the comparison of cores.
const FLOWS_PER_CORE: u64 = 500_000;

/// Runs the benchmark.
///
/// # Errors
/// Where a thread can't be pinned or its time not read.
pub fn run(settings: &Settings) -> Result<Report> {
    let batches = if settings.quick { 100 } else { 2_000 };
    let sizes = &SIZES[..if settings.quick { 4 } else { SIZES.len() }];
    let mut contestants: Vec<(Load, f64)> = sizes
        .iter()
        .map(|&(_, flows, addresses)| {
            let load = Load::new(flows, addresses, Shares::Zipf);
            let opened = load.bytes_per_flow();
            (load, opened)
        })
        .collect();
    let pinned = Pinned::to(0)?;
    let series = interleave(settings.rounds, &mut contestants, |(load, _)| load.run(batches))?;
    drop(pinned);
    let columns = ["ns per record", "bytes per flow, opened", "MB in all, opened"];
    let mut report = Report::new("scale", &columns, &series[0]);
    for ((&(name, flows, _), (_, opened)), own) in sizes.iter().zip(&contestants).zip(&series) {
        let megabytes = opened * flows as f64 / 1e6;
        report.row(name, &[Some(own.figure()), Some(Figure::exact(*opened)), Some(Figure::exact(megabytes))]);
        if flows == 10_000_000 {
            report.bar_counted("10M flows, MB", Limit::AtMost(1_500.0), megabytes);
        }
    }
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
