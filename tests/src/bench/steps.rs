//! What each step of tmap's kernel program costs: the program stopped after each of them, over one that
//! only says `XDP_PASS`.
//!
//! The stopped programs (`tests/ebpf-bench/src/stops.rs`) are compiled from the shipped program's modules,
//! which pays nothing for it (`tmap-ebpf/src/stop.rs`). First by `BPF_PROG_TEST_RUN`, where all is in the
//! CPU's nearest caches, as in
//! `kernel`; then on a veth between the driver and the stack, as in
//! [`wire::live`](super::wire::live), where it isn't.

use std::{
    iter,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tmap::capture::xdp::{Config, Rings, Sensor};

use super::{
    Figure, Report, Series, Settings,
    kernel::{self, Subject},
    machine::Pinned,
    object::{self, Draw, Handshakes, Object},
    packets,
    rounds::interleave,
    sender::{Sender, WARM_UP, attach_there},
    watcher::{Watcher, Who},
};
use crate::net::root;

/// The object with the stopped programs.
static STOPS_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tmap-bench-stops"));

/// The stopped programs, each a step further than the one before.
const STOPS: [&str; 7] =
    ["stop_count", "stop_parse", "stop_hash", "stop_classify", "stop_reserve", "stop_write", "stop_never"];

/// Columns: the last step of each of [`STOPS`], and the whole of tmap.
const COLUMNS: [&str; 8] = ["count", "parse", "hash", "classify", "reserve", "write", "clock", "tmap live"];

/// Slots per ring: room for all records of a run.
const SLOTS: u32 = 1 << 18;

/// How often records are taken out of the rings on the veth.
const DRAIN_EVERY: Duration = Duration::from_millis(1);

/// Runs the benchmark.
///
/// # Errors
/// Where a program doesn't load, run or attach.
pub fn run(settings: &Settings) -> Result<Report> {
    root::require();
    let live = live(settings)?;
    let mut report = Report::new("ns over XDP_PASS, up to", &COLUMNS, &live[0]);
    let warm = warm(settings)?;
    for (name, figures) in warm {
        report.row(&name, &figures);
    }
    let over: Vec<Option<Figure>> = live[1..].iter().map(|series| Some(series.over(&live[0]))).collect();
    report.row("live, 1M flows by Zipf's law", &over);
    report.note(format!("on the veth, XDP_PASS took {:.0} ns a frame", live[0].figure().median));
    report.note("up to \"clock\", a thread takes records out of the rings and drops them");
    Ok(report)
}

/// A class of packets under all programs.
struct Class {
    name: &'static str,
    frame: Vec<u8>,
    /// Which traffic makes the frames, if it isn't this one over and over.
    traffic: Option<usize>,
    /// Whether segments may be suppressed.
    suppresses: bool,
}

/// One class under one program.
struct Contestant {
    class: usize,
    subject: Subject,
}

/// Loads the stopped programs.
fn load(config: &Config) -> Result<(Sensor, Rings)> {
    Sensor::load_programs(config, STOPS_OBJECT, &STOPS)
}

/// By `BPF_PROG_TEST_RUN`: each class with a figure for each step.
fn warm(settings: &Settings) -> Result<Vec<(String, Vec<Option<Figure>>)>> {
    let _pinned = Pinned::to(0)?;
    let config = Config { ring_slots: Some(SLOTS), decap: true, ..Config::default() };
    let mut sensors = [load(&config)?, load(&Config { every_packet: true, ..config.clone() })?];
    let mut traffic = [
        Object::load(Draw::Uniform(8), Handshakes::Never, 2_000)?,
        Object::load(Draw::Zipf(1 << 20), Handshakes::Never, 3_000)?,
    ];
    let classes = classes();
    let mut contestants = Vec::new();
    for class in 0..classes.len() {
        contestants.push(Contestant { class, subject: Subject::Bench("bench_pass") });
        contestants.extend(STOPS.map(|name| Contestant { class, subject: Subject::Sensor(name) }));
    }
    let repeat = if settings.quick { 10_000 } else { 100_000 };
    let series = interleave(settings.rounds, &mut contestants, |Contestant { class, subject }| {
        let Class { frame, traffic: index, suppresses, name } = &classes[*class];
        let sensor = &mut sensors[usize::from(!suppresses)];
        let value = kernel::round(*subject, sensor, &mut traffic, *index, frame, repeat);
        value.with_context(|| format!("{name} doesn't run"))
    })?;
    for (sensor, _) in &sensors {
        let full = sensor.statistics().total().ring_full;
        ensure!(full == 0, "{full} records found no room: the figures would flatter");
    }
    let of_class = |series: &[Series]| {
        let steps = series[1..].iter().map(|own| Some(own.over(&series[0])));
        steps.chain(iter::once(None)).collect()
    };
    let rows = classes.iter().zip(series.chunks(1 + STOPS.len()));
    Ok(rows.map(|(class, series)| (class.name.to_owned(), of_class(series))).collect())
}

/// The classes worth telling apart, of [`packets::classes`], and traffic of many flows.
fn classes() -> Vec<Class> {
    let apart = ["data", "data, VLAN", "data, IPv6", "data with SACK", "SYN of Linux"];
    let of_one = packets::classes().into_iter().filter(|class| apart.contains(&class.name));
    let of_one =
        of_one.map(|class| Class { name: class.name, frame: class.frame, traffic: None, suppresses: false });
    let of_many = [("8 bulk flows", 0), ("1M flows by Zipf's law", 1)];
    let of_many = of_many.map(|(name, index)| Class {
        name,
        frame: packets::data(),
        traffic: Some(index),
        suppresses: true,
    });
    of_one.chain(of_many).collect()
}

/// What receives the frames on the veth.
enum Receiver {
    Pass,
    Stop(&'static str),
    Tmap,
}

/// On a veth: `XDP_PASS`, each stopped program, and the command `tmap`.
fn live(settings: &Settings) -> Result<Vec<Series>> {
    let frames = if settings.quick { 300_000 } else { 2_000_000 };
    let mut sender = Sender::new(Draw::Zipf(1 << 20), Handshakes::Some)?;
    let mut sensor = load(&Config { decap: true, ..Config::default() })?;
    let mut receivers = vec![Receiver::Pass];
    receivers.extend(STOPS.map(Receiver::Stop));
    receivers.push(Receiver::Tmap);
    let series = interleave(settings.rounds, &mut receivers, |receiver| match receiver {
        Receiver::Pass => {
            let _link = sender.pass_there()?;
            cost(&mut sender, frames)
        }
        Receiver::Stop(name) => {
            let (sensor, rings) = &mut sensor;
            let _link = attach_there(&sender.wire, object::program_mut(sensor.ebpf_mut(), name)?)?;
            drained(rings, || cost(&mut sender, frames))
        }
        Receiver::Tmap => {
            let watcher = Watcher::start(Who::Tmap, &sender.wire)?;
            let cost = cost(&mut sender, frames)?;
            thread::sleep(Duration::from_millis(100));
            watcher.finish()?;
            Ok(cost)
        }
    })?;
    let full = sensor.0.statistics().total().ring_full;
    ensure!(full == 0, "{full} records found no room: the figures would flatter");
    Ok(series)
}

/// Sends as fast as it goes, and says what a frame cost on its way, in nanoseconds.
fn cost(sender: &mut Sender, frames: u32) -> Result<f64> {
    sender.send(WARM_UP, None)?;
    Ok(sender.send(frames, None)?.path_ns)
}

/// Does `what` while another CPU takes records out of the rings.
fn drained<T>(rings: &mut Rings, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let drain = scope.spawn(|| {
            while !done.load(Relaxed) {
                rings.drain_slots(usize::MAX, |_| ());
                thread::sleep(DRAIN_EVERY);
            }
            rings.drain_slots(usize::MAX, |_| ());
        });
        let result = what();
        done.store(true, Relaxed);
        drain.join().map_err(|_| anyhow::anyhow!("the drain panicked"))?;
        result
    })
}
