//! Nanoseconds per packet in the kernel, by `BPF_PROG_TEST_RUN`: one frame many times, by the
//! kernel's own clock, over a program that only says `XDP_PASS`.
//!
//! The kernel tells whole nanoseconds; means over several short runs resolve them further.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramInfo, Xdp};
use tmap::capture::xdp::{Config, Rings, Sensor};

use super::{
    Figure, Report, Series, Settings,
    machine::Pinned,
    object::{self, Draw, Handshakes, Object},
    packets,
    report::Limit,
    rounds::{interleave, quantile},
};
use crate::{net::root, test_run};

/// Runs of a round. Its value is the mean of the faster half: the slower half met other work.
const RUNS: usize = 6;

/// The program for Ethernet.
const PROGRAM: &str = "tmap_xdp_eth";

/// Slots per ring: room for all records of a run.
const SLOTS: u32 = 1 << 18;

/// One class of packet under one program.
struct Contestant {
    name: String,
    kind: Kind,
    subject: Subject,
    frame: Vec<u8>,
    /// Which traffic hands the program its frames; `None` for one frame over and over.
    traffic: Option<usize>,
}

/// The program that a contestant runs, by its name.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// One of the benchmarks' own.
    Bench(&'static str),
    /// One of the sensor's.
    Sensor(&'static str),
}

impl Subject {
    fn program<'a>(self, sensor: &'a Sensor, bench: &'a Object) -> Result<&'a Xdp> {
        match self {
            Self::Bench(name) => bench.program(name),
            Self::Sensor(name) => object::program(sensor.ebpf(), name),
        }
    }
}

/// What is measured, and whose rings a run fills.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// A program of the benchmarks' own.
    Bare,
    /// Frames without TCP.
    NotTcp,
    /// TCP without time stamps.
    Unstamped,
    /// Data segments, all emitted.
    Emitted,
    /// Segments that take the slow path or more than a record of data, all emitted.
    Rare,
    /// Nearly all suppressed.
    Suppressed,
    /// Some suppressed, some emitted.
    Mixed,
}

/// Traffic of a few bulk transfers: many segments to a tick.
const BULK: usize = 0;
/// A million flows by Zipf's law, three million segments a second of clocks of 1 kHz.
const ZIPF: usize = 1;
/// A million flows, all equally often, at the same rates: nothing repeats.
const UNIFORM: usize = 2;

/// Which contestant only reads the clock: as steady a piece of work as there is.
const CLOCK: usize = 4;

/// Runs the benchmark.
///
/// # Errors
/// Where a program doesn't load or run.
pub fn run(settings: &Settings) -> Result<Report> {
    root::require();
    let _pinned = Pinned::to(0)?;
    let config = Config { ring_slots: Some(SLOTS), decap: true, ..Config::default() };
    let mut sensors =
        [Sensor::load(&config.clone())?, Sensor::load(&Config { every_packet: true, ..config })?];
    let mut traffic = [
        Object::load(Draw::Uniform(8), Handshakes::Never, 2_000)?,
        Object::load(Draw::Zipf(1 << 20), Handshakes::Never, 3_000)?,
        Object::load(Draw::Uniform(1 << 20), Handshakes::Never, 3_000)?,
    ];
    let mut contestants = contestants();
    let repeat = if settings.quick { 10_000 } else { 100_000 };
    let series = interleave(settings.rounds, &mut contestants, |contestant| {
        let Contestant { name, subject, frame, traffic: index, kind } = &*contestant;
        let sensor = &mut sensors[usize::from(!matches!(kind, Kind::Suppressed | Kind::Mixed))];
        let value = round(*subject, sensor, &mut traffic, *index, frame, repeat);
        value.with_context(|| format!("{name} doesn't run"))
    })?;
    let mut report = table(&contestants, &series);
    verified(&mut report, &sensors[0].0)?;
    for (sensor, _) in &sensors {
        let counters = sensor.statistics().total();
        let full = counters.ring_full;
        ensure!(full == 0, "{full} records found no room: the figures would flatter");
        ensure!(counters.accounted() == counters.seen, "the counters don't add up: {counters:?}");
    }
    let counters = sensors[0].0.statistics().total();
    let share = counters.suppressed as f64 / (counters.suppressed + counters.emitted) as f64;
    report.note(format!("suppressed of what suppression was offered: {:.1} %", 100.0 * share));
    Ok(report)
}

/// The baselines first: a bare program for one frame, then one for each traffic.
fn contestants() -> Vec<Contestant> {
    let (pass, tmap) = (Subject::Bench("bench_pass"), Subject::Sensor(PROGRAM));
    let mut all = Vec::new();
    let mut add = |name: &str, kind, subject, frame: Vec<u8>, traffic| {
        all.push(Contestant { name: name.to_owned(), kind, subject, frame, traffic });
    };
    add("XDP_PASS", Kind::Bare, pass, packets::data(), None);
    for (index, name) in ["bulk", "Zipf", "uniform"].into_iter().enumerate() {
        add(&format!("XDP_PASS, {name}"), Kind::Bare, pass, packets::data(), Some(index));
    }
    add("clock alone", Kind::Bare, Subject::Bench("bench_clock"), packets::data(), None);
    for class in packets::classes() {
        add(class.name, class.kind(), tmap, class.frame, None);
    }
    for (name, kind, traffic) in [
        ("8 bulk flows: suppressed", Kind::Suppressed, BULK),
        ("8 bulk flows: all emitted", Kind::Emitted, BULK),
        ("1M flows, Zipf", Kind::Mixed, ZIPF),
        ("1M flows, Zipf: all emitted", Kind::Emitted, ZIPF),
        ("1M flows, uniform", Kind::Mixed, UNIFORM),
    ] {
        add(name, kind, tmap, packets::data(), Some(traffic));
    }
    all
}

impl packets::Class {
    fn kind(&self) -> Kind {
        match (self.stamped, self.name) {
            (true, name) if name.starts_with("SYN") || name.ends_with("SACK") => Kind::Rare,
            (true, _) => Kind::Emitted,
            (false, name) if name.starts_with("TCP") => Kind::Unstamped,
            (false, _) => Kind::NotTcp,
        }
    }
}

/// One round's value for a program and a frame: the mean of the faster half of its runs, in nanoseconds per
/// packet. The sensor's rings are emptied after each. Where `index` names one of `traffic`, that makes the
/// frames and calls the program.
///
/// # Errors
/// What the kernel says.
pub fn round(
    subject: Subject,
    (sensor, rings): &mut (Sensor, Rings),
    traffic: &mut [Object],
    index: Option<usize>,
    frame: &[u8],
    repeat: u32,
) -> Result<f64> {
    if let Some(index) = index {
        let target = subject.program(sensor, &traffic[0])?.fd()?.try_clone()?;
        traffic[index].set_target(&target)?;
    }
    let program = match index {
        Some(index) => traffic[index].program("bench_step")?,
        None => subject.program(sensor, &traffic[0])?,
    };
    let mut values = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        values.push(test_run::time(program, frame, repeat)?);
        while rings.drain(usize::MAX, |_| ()) > 0 {}
    }
    let middle = quantile(&values, 0.5);
    let fast: Vec<f64> = values.into_iter().filter(|value| *value <= middle).collect();
    Ok(fast.iter().sum::<f64>() / fast.len() as f64)
}

/// Every contestant over its baseline.
fn table(contestants: &[Contestant], series: &[Series]) -> Report {
    // A bare program's few nanoseconds, known to one only, would seem to drift by themselves.
    let mut report = Report::new("kernel", &["ns", "ns over PASS"], &series[CLOCK]);
    let mut dearest: Vec<(Kind, Figure)> = Vec::new();
    for (contestant, own) in contestants.iter().zip(series) {
        let baseline = &series[contestant.traffic.map_or(0, |traffic| 1 + traffic)];
        let is_baseline = std::ptr::eq(own, baseline);
        let over = (!is_baseline).then(|| own.over(baseline));
        report.row(&contestant.name, &[Some(own.figure()), over]);
        let Some(over) = over else { continue };
        match dearest.iter_mut().find(|(kind, _)| *kind == contestant.kind) {
            Some((_, figure)) if figure.median >= over.median => {}
            Some((_, figure)) => *figure = over,
            None => dearest.push((contestant.kind, over)),
        }
    }
    for (kind, what, limit) in [
        (Kind::NotTcp, "not TCP, dearest class, ns over PASS", 2.0),
        (Kind::Suppressed, "suppressed, ns over PASS", 8.0),
        (Kind::Emitted, "emitted data segment, dearest class, ns over PASS", 38.0),
    ] {
        if let Some((_, figure)) = dearest.iter().find(|(found, _)| *found == kind) {
            report.bar(what, Limit::AtMost(limit), *figure);
        }
    }
    report
}

/// Notes how many instructions the verifier walked for each program.
fn verified(report: &mut Report, sensor: &Sensor) -> Result<()> {
    let mut most = 0;
    for (name, program) in sensor.ebpf().programs() {
        let info: ProgramInfo = program.info()?;
        let count =
            info.verified_instruction_count().context("the kernel doesn't tell verified instructions")?;
        report.note(format!("{name}: {count} instructions verified"));
        most = most.max(count);
    }
    report.bar_counted("instructions verified, any program", Limit::AtMost(10_500.0), most.into());
    Ok(())
}
