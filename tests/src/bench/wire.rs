//! What watching a veth costs per packet: tmap alone (`live`), beside others that watch the same traffic
//! (`versus`), and at one rate after the other (`sweep`).
//!
//! The baseline is an XDP program that counts and passes; it stays attached beside those that watch by
//! packet sockets. See [`sender`](super::sender) for the traffic and what is measured.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    Figure, Report, Series, Settings,
    object::{Draw, Handshakes},
    picture::{Axes, Curve},
    report::Limit,
    rounds::interleave,
    sender::{Sender, WARM_UP},
    watcher::{Saw, Watcher, Who},
};
use crate::net::root;

/// What one has to say on one's traffic.
struct Contestant {
    who: Who,
    /// Frames in a second; `None` for as fast as it goes.
    rate: Option<u32>,
    /// How many, in each round.
    frames: u32,
    wall_ns: Series,
    own_ns: Series,
    lost_percent: Series,
    said: String,
}

/// Runs `live`.
///
/// # Errors
/// Where something can't be started or attached.
pub fn live(settings: &Settings) -> Result<Report> {
    root::require();
    let frames = if settings.quick { 500_000 } else { 3_000_000 };
    let mut sender = Sender::new(Draw::Zipf(1 << 20), Handshakes::Some)?;
    let all = [Who::Count, Who::Tmap, Who::TmapEvery];
    let mut contestants: Vec<Contestant> = all.map(|who| Contestant::new(who, None, frames)).into();
    let series = interleave(settings.rounds, &mut contestants, |one| one.turn(&mut sender))?;
    let mut report = table("live", &contestants, &series, |_| 0);
    let ratio = series[1].ratio(&series[0]);
    let percent = Figure { median: 100.0 * (ratio.median - 1.0), spread: 100.0 * ratio.spread, ..ratio };
    report.bar("tmap over a program that only counts, %", Limit::AtMost(6.0), percent);
    let lost: f64 = contestants[1].lost_percent.values.iter().sum();
    report.bar_counted("frames lost, all rounds, %", Limit::AtMost(0.0), lost);
    let in_all = |index: usize| series[index].sum(&contestants[index].own_ns);
    let share = in_all(1).ratio(&in_all(2));
    report.bar("kernel and user space, of what they are without suppression", Limit::AtMost(1.0), share);
    Ok(report)
}

/// Frames per second at which all who are compared keep up, on the machine where this was written.
const SURVIVED_BY_ALL: u32 = 100_000;

/// Runs `versus`.
///
/// # Errors
/// As [`live`].
pub fn versus(settings: &Settings) -> Result<Report> {
    root::require();
    let frames = if settings.quick { 50_000 } else { 200_000 };
    let mut sender = Sender::new(Draw::Zipf(1 << 14), Handshakes::First)?;
    let (all, missing) = present();
    let mut contestants: Vec<Contestant> =
        all.into_iter().map(|who| Contestant::new(who, Some(SURVIVED_BY_ALL), frames)).collect();
    let series = interleave(settings.rounds, &mut contestants, |one| one.turn(&mut sender))?;
    let mut report = table("versus", &contestants, &series, |_| 0);
    let added = |index: usize| series[index].sum(&contestants[index].own_ns).minus(&series[0]);
    for (index, peer) in contestants.iter().enumerate().skip(2) {
        let name = peer.who.name();
        let path = series[1].minus(&series[0]).ratio(&series[index].minus(&series[0]));
        report.bar(&format!("added on the packet's path, of {name}'s"), Limit::AtMost(0.2), path);
        report.bar(&format!("added in all, of {name}'s"), Limit::AtMost(0.2), added(1).ratio(&added(index)));
    }
    report.note(format!(
        "{SURVIVED_BY_ALL} frames a second in bursts, 8,192 connections by Zipf's law, each with its handshake, \
         both directions"
    ));
    leave_out(&mut report, &missing);
    Ok(report)
}

/// The rates of `sweep`, in frames a second.
const RATES: [Option<u32>; 6] =
    [Some(50_000), Some(100_000), Some(200_000), Some(400_000), Some(800_000), None];

/// Runs `sweep`.
///
/// # Errors
/// As [`live`].
pub fn sweep(settings: &Settings) -> Result<Report> {
    root::require();
    let mut sender = Sender::new(Draw::Zipf(1 << 14), Handshakes::First)?;
    let (mut all, missing) = present();
    // It takes microseconds a frame, at any rate: beside it the others would be one line.
    all.retain(|who| *who != Who::Pping);
    let seconds = if settings.quick { 0.2 } else { 1.0 };
    let mut contestants = Vec::new();
    for rate in RATES {
        let frames = (f64::from(rate.unwrap_or(2_000_000)) * seconds) as u32;
        contestants.extend(all.iter().map(|&who| Contestant::new(who, rate, frames)));
    }
    let rounds = settings.rounds.div_ceil(3);
    let series = interleave(rounds, &mut contestants, |one| one.turn(&mut sender))?;
    let count = all.len();
    let mut report = table("sweep", &contestants, &series, |index| index / count * count);
    report.curves = curves(&all, &contestants, &series);
    report.axes = Some(AXES);
    report.note("the same traffic as in versus, and a third of its rounds");
    leave_out(&mut report, &missing);
    Ok(report)
}

/// What the picture of `sweep` shows.
const AXES: Axes = Axes {
    title: "CPU time added to a frame, kernel and user space",
    x: "frames per second",
    y: "ns per frame",
};

/// What each adds in all, against the rate; unpaced, the rate is what it came to.
fn curves(all: &[Who], contestants: &[Contestant], series: &[Series]) -> Vec<Curve> {
    let point = |block: usize, offset: usize| {
        let base = block * all.len();
        let one = &contestants[base + offset];
        let per_second = 1e9 / contestants[base].wall_ns.figure().median;
        let added = series[base + offset].minus(&series[base]).sum(&one.own_ns).figure();
        (one.rate.map_or(per_second, f64::from), added.median, added.spread)
    };
    let curve = |(offset, who): (usize, &Who)| Curve {
        name: who.name().to_owned(),
        points: (0..RATES.len()).map(|block| point(block, offset)).collect(),
    };
    all.iter().enumerate().skip(1).map(curve).collect()
}

/// Those of all who are compared that can be started, and the names of the others.
fn present() -> (Vec<Who>, Vec<&'static str>) {
    let all = [Who::Count, Who::Tmap, Who::Tcpdump, Who::P0f, Who::Huginn, Who::Epping, Who::Pping];
    let (here, missing): (Vec<Who>, Vec<Who>) = all.into_iter().partition(|who| who.is_here());
    (here, missing.into_iter().map(Who::name).collect())
}

fn leave_out(report: &mut Report, missing: &[&str]) {
    for name in missing {
        report.note(format!("left out, not installed: {name}"));
    }
    if !missing.is_empty() {
        report.note(
            "pping and ePPing come in no package: build them, put them on the PATH as pping and epping",
        );
    }
}

impl Contestant {
    fn new(who: Who, rate: Option<u32>, frames: u32) -> Self {
        let empty = Series::default;
        Self {
            who,
            rate,
            frames,
            wall_ns: empty(),
            own_ns: empty(),
            lost_percent: empty(),
            said: String::new(),
        }
    }

    /// Attaches or starts it, sends, and asks what it saw. Nanoseconds per packet on the packet's path.
    fn turn(&mut self, sender: &mut Sender) -> Result<f64> {
        let _counting = if self.who.is_in_driver() { None } else { Some(sender.count_there()?) };
        let watcher =
            if self.who == Who::Count { None } else { Some(Watcher::start(self.who, &sender.wire)?) };
        // So that every flow is known. As slowly as what is measured, or what is lost would be lost here.
        let warm_up = if self.rate.is_some() { self.frames / 4 } else { WARM_UP };
        sender.send(warm_up, self.rate)?;
        thread::sleep(Duration::from_millis(100));
        let before_ns = watcher.as_ref().map_or(0.0, Watcher::cpu_ns);
        let cost = sender.send(self.frames, self.rate)?;
        if let Some(watcher) = watcher {
            // It takes in what still waits.
            thread::sleep(Duration::from_millis(300));
            let frames = f64::from(self.frames);
            self.own_ns.values.push((watcher.cpu_ns() - before_ns) / frames);
            let Saw { taken, said } = watcher.finish()?;
            let sent = frames + f64::from(warm_up);
            self.lost_percent.values.push(taken.map_or(f64::NAN, |taken| 100.0 * (sent - taken) / sent));
            self.said = said;
        }
        self.wall_ns.values.push(cost.wall_ns);
        Ok(cost.path_ns)
    }

    fn name(&self) -> String {
        match self.rate {
            Some(rate) => format!("{}, {} k/s", self.who.name(), rate / 1_000),
            None => format!("{}, unpaced", self.who.name()),
        }
    }
}

/// All that was measured; `baseline` tells whom each is compared with.
fn table(
    name: &str,
    contestants: &[Contestant],
    series: &[Series],
    baseline: impl Fn(usize) -> usize,
) -> Report {
    let columns =
        ["path ns/packet", "over counting", "own CPU ns", "added in all", "lost %", "wall ns/packet"];
    let mut report = Report::new(name, &columns, &series[0]);
    for (index, (one, own)) in contestants.iter().zip(series).enumerate() {
        let base = &series[baseline(index)];
        let watches = one.who != Who::Count;
        let over = own.minus(base);
        report.row(
            &one.name(),
            &[
                Some(own.figure()),
                watches.then(|| over.figure()),
                watches.then(|| one.own_ns.figure()),
                watches.then(|| over.sum(&one.own_ns).figure()),
                watches.then(|| one.lost_percent.figure()).filter(|lost| !lost.median.is_nan()),
                Some(one.wall_ns.figure()),
            ],
        );
    }
    for one in contestants.iter().filter(|one| !one.said.is_empty()) {
        report.note(format!("{} said last: {}", one.name(), one.said));
    }
    report
}
