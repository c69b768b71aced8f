//! Nanoseconds per packet in the kernel, by `BPF_PROG_TEST_RUN`: one frame many times, by the
//! kernel's own clock, over a program that only says `XDP_PASS`.
//!
//! The kernel tells whole nanoseconds; means over several short runs resolve them further.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramFd, ProgramInfo};
use tmap::capture::xdp::{Config, Rings, Sensor};

use super::{
    Figure, Report, Series, Settings,
    machine::Pinned,
    object::{Draw, Object, program_fd},
    packets,
    report::Limit,
    rounds::{interleave, quantile},
};
use crate::{root, test_run};

/// Runs whose mean makes one round's value; the slower half is left out: it met other work.
const RUNS: usize = 6;

/// The program for Ethernet.
const PROGRAM: &str = "tmap_xdp_eth";

/// Slots per ring: room for all records of a run.
const SLOTS: u32 = 1 << 18;

/// One class of packet under one program.
struct Contestant {
    name: String,
    program: ProgramFd,
    frame: Vec<u8>,
    /// What `bench_step` goes on to, where that is the program.
    target: Option<ProgramFd>,
    runs: Runs,
}

/// Whose rings a run fills.
#[derive(Clone, Copy, PartialEq)]
enum Runs {
    /// Nobody's.
    Bare,
    /// The sensor's that emits every packet.
    Every,
}

/// Runs the benchmark.
///
/// # Errors
/// Where a program doesn't load or run.
pub fn run(settings: &Settings) -> Result<Report> {
    root::require();
    let _pinned = Pinned::to(0)?;
    let config = Config { ring_slots: Some(SLOTS), decap: true, ..Config::default() };
    let (mut every, mut rings) = Sensor::load(&config)?;
    let every_fd = program_fd(every.ebpf(), PROGRAM)?;
    let mut traffic = Object::load(Draw::Zipf(1 << 20), 1)?;
    let mut contestants = contestants(&mut traffic, &every_fd)?;
    let repeat = if settings.quick { 10_000 } else { 100_000 };
    let series = interleave(settings.rounds, &mut contestants, |contestant| {
        if let Some(target) = &contestant.target {
            traffic.set_target(target)?;
        }
        round(contestant, repeat, &mut rings)
    })?;
    let mut report = table(&contestants, &series);
    verified(&mut report, every.ebpf())?;
    let counters = every.statistics().total();
    ensure!(
        counters.ring_full == 0,
        "{} records found no room: the figures would flatter",
        counters.ring_full
    );
    ensure!(counters.accounted() == counters.seen, "the counters don't add up: {counters:?}");
    Ok(report)
}

/// The baselines first: a bare program for one frame, and one for changing frames.
fn contestants(traffic: &mut Object, every: &ProgramFd) -> Result<Vec<Contestant>> {
    let pass = traffic.fd("bench_pass")?;
    let step = traffic.fd("bench_step")?;
    let mut all = vec![
        contestant("XDP_PASS", &pass, packets::data(), None, Runs::Bare)?,
        contestant("XDP_PASS, changing", &step, packets::data(), Some(&pass), Runs::Bare)?,
    ];
    for class in packets::classes() {
        let name = if class.stamped { format!("{}: emitted", class.name) } else { class.name.to_owned() };
        all.push(contestant(&name, every, class.frame, None, Runs::Every)?);
    }
    let name = "1M flows (Zipf): all emitted";
    all.push(contestant(name, &step, packets::data(), Some(every), Runs::Every)?);
    Ok(all)
}

fn contestant(
    name: &str,
    program: &ProgramFd,
    frame: Vec<u8>,
    target: Option<&ProgramFd>,
    runs: Runs,
) -> Result<Contestant> {
    let target = target.map(ProgramFd::try_clone).transpose()?;
    Ok(Contestant { name: name.to_owned(), program: program.try_clone()?, frame, target, runs })
}

/// One round's value: the mean of the faster half of its runs, in nanoseconds per packet.
fn round(contestant: &Contestant, repeat: u32, rings: &mut Rings) -> Result<f64> {
    let mut values = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let ns = test_run::time(&contestant.program, &contestant.frame, repeat)
            .with_context(|| format!("{} doesn't run", contestant.name))?;
        values.push(f64::from(ns));
        if contestant.runs == Runs::Every {
            while rings.drain(usize::MAX, |_| ()) > 0 {}
        }
    }
    let middle = quantile(&values, 0.5);
    let fast: Vec<f64> = values.into_iter().filter(|value| *value <= middle).collect();
    Ok(fast.iter().sum::<f64>() / fast.len() as f64)
}

/// Every contestant over its baseline.
fn table(contestants: &[Contestant], series: &[Series]) -> Report {
    let mut report = Report::new("kernel", &["ns", "ns over PASS"], &series[0]);
    let mut worst: [Option<Figure>; 2] = [None, None];
    for (contestant, own) in contestants.iter().zip(series) {
        let baseline = if contestant.target.is_some() { &series[1] } else { &series[0] };
        let over = (contestant.runs != Runs::Bare).then(|| own.over(baseline));
        report.row(&contestant.name, &[Some(own.figure()), over]);
        let Some(over) = over else { continue };
        let place = &mut worst[usize::from(contestant.name.ends_with("emitted"))];
        if place.is_none_or(|worst| over.median > worst.median) {
            *place = Some(over);
        }
    }
    let [skipped, emitted] = worst;
    if let (Some(skipped), Some(emitted)) = (skipped, emitted) {
        report.bar("a packet without Timestamps, dearest class, ns", Limit::AtMost(2.0), skipped);
        report.bar("an emitted packet, dearest class, ns", Limit::AtMost(38.0), emitted);
    }
    report
}

/// What the verifier walked.
fn verified(report: &mut Report, ebpf: &mut aya::Ebpf) -> Result<()> {
    let mut most = 0;
    for (name, program) in ebpf.programs() {
        let info: ProgramInfo = program.info()?;
        let count =
            info.verified_instruction_count().context("the kernel doesn't tell verified instructions")?;
        report.note(format!("{name}: {count} instructions verified"));
        most = most.max(count);
    }
    report.bar_counted("instructions verified, any program", Limit::AtMost(10_000.0), most.into());
    Ok(())
}
