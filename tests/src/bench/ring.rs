//! The way out of the kernel alone: what a record costs its producer and its consumer, and what is lost.
//!
//! The producer is tmap's own program on frames that all give a record (`BPF_PROG_TEST_RUN`, one CPU);
//! the consumer drains on another CPU meanwhile, if there is one, and counts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use aya::programs::Xdp;
use nix::time::ClockId;
use tmap::capture::xdp::{Config, Rings, Sensor};

use super::{Report, Series, Settings, machine::Pinned, object, packets, report::Limit, rounds::interleave};
use crate::{net::root, test_run};

/// One way of draining.
struct Contestant {
    name: &'static str,
    /// Between two drains of the ring; `None`: one drain when the producer has finished.
    pause: Option<Duration>,
    consumer_ns: Series,
    lost: Series,
}

/// Slots of the ring: tmap's own number.
const SLOTS: u32 = 1 << 18;

/// Runs the benchmark.
///
/// # Errors
/// Where the program doesn't load or run.
pub fn run(settings: &Settings) -> Result<Report> {
    root::require();
    let config = Config { ring_slots: Some(SLOTS), every_packet: true, ..Config::default() };
    let (sensor, mut rings) = Sensor::load(&config)?;
    let program = object::program(sensor.ebpf(), "tmap_xdp_eth")?;
    let own =
        |name, pause| Contestant { name, pause, consumer_ns: Series::default(), lost: Series::default() };
    let mut contestants = vec![own("drained afterwards", None)];
    let cpus = thread::available_parallelism()?.get();
    if cpus > 1 {
        contestants.push(own("drained all the time", Some(Duration::ZERO)));
        contestants.push(own("drained every 100 us", Some(Duration::from_micros(100))));
        contestants.push(own("drained every 5 ms", Some(Duration::from_millis(5))));
    }
    let runs = if settings.quick { 2 } else { 10 };
    let series = interleave(settings.rounds, &mut contestants, |one| {
        let full = || sensor.statistics().total().ring_full;
        let before = full();
        let mut values = Vec::new();
        let (mut taken, mut spent_ns) = (0, 0.0);
        for _ in 0..runs {
            let (producer_ns, count, consumer_ns) = one.race(program, &mut rings)?;
            values.push(producer_ns);
            taken += count;
            spent_ns += consumer_ns;
        }
        one.consumer_ns.values.push(spent_ns / taken.max(1) as f64);
        one.lost.values.push((full() - before) as f64);
        Ok(values.iter().sum::<f64>() / f64::from(runs))
    })?;
    let columns = ["producer ns", "consumer ns", "records lost"];
    let mut report = Report::new("ring", &columns, &series[0]);
    for (one, own) in contestants.iter().zip(&series) {
        let figures = [own.figure(), one.consumer_ns.figure(), one.lost.figure()];
        report.row(one.name, &figures.map(Some));
    }
    let lost: f64 = contestants.iter().flat_map(|one| &one.lost.values).sum();
    report.bar_counted("records lost, all ways of draining", Limit::AtMost(0.0), lost);
    report.note("producer: the whole program on a data segment, with its clock");
    report.note("consumer: slots into records, which are counted");
    if cpus == 1 {
        report.note("a single CPU: the rings are drained only after the run");
    }
    Ok(report)
}

impl Contestant {
    /// One run: nanoseconds per record of the producer, records taken, and the consumer's CPU time.
    fn race(&self, program: &Xdp, rings: &mut Rings) -> Result<(f64, usize, f64)> {
        let produce = || {
            let _pinned = Pinned::to(0)?;
            test_run::time(program, &packets::data(), SLOTS * 3 / 4)
        };
        let Some(pause) = self.pause else {
            let producer_ns = produce()?;
            let (count, consumer_ns) = consume(rings, Duration::ZERO, &AtomicBool::new(true))?;
            return Ok((producer_ns, count, consumer_ns));
        };
        let finished = AtomicBool::new(false);
        thread::scope(|scope| {
            let consumer = scope.spawn(|| {
                let _pinned = Pinned::to(1)?;
                consume(rings, pause, &finished)
            });
            let producer_ns = produce();
            finished.store(true, Ordering::Release);
            let consumed = consumer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (count, consumer_ns) = consumed?;
            Ok((producer_ns?, count, consumer_ns))
        })
    }
}

/// Drains until the producer has finished and the ring is empty; only draining that found something is
/// timed.
fn consume(rings: &mut Rings, pause: Duration, finished: &AtomicBool) -> Result<(usize, f64)> {
    let (mut taken, mut spent_ns, mut sum) = (0, 0.0, 0_u64);
    loop {
        let last = finished.load(Ordering::Acquire);
        let began = cpu_ns()?;
        let count = rings.drain(1 << 14, |record| sum = sum.wrapping_add(record.time_ns));
        if count > 0 {
            taken += count;
            spent_ns += cpu_ns()? - began;
        } else if last {
            std::hint::black_box(sum);
            return Ok((taken, spent_ns));
        } else if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> Result<f64> {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now()?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}
