//! Runs the engine on records whose truth is known, and scores it.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result};
use tmap::{
    capture::file::{Location, Room, Stop},
    engine::{
        Engine, Options, Wanted, phase,
        snapshot::{Boot, MachineReport, Snapshot},
    },
};
use tmap_common::{Address, Record};

use crate::{
    judge::{
        oracle,
        score::{Agreement, Pairing, agreement, holds},
        traces::{self, Trace},
        truth_list,
    },
    simulate::{ConnectionKey, Offsets, SHARED, Scenario, TrueClock, received},
};

/// One run, scored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Machines that there are.
    pub machines: usize,
    /// Machines found; `None` where the engine said that it can't tell.
    pub found: Option<u32>,
    /// The interval given.
    pub interval: (u32, Option<u32>),
    /// Agreement of assignments.
    pub agreement: Agreement,
    /// The oracle's accuracy; `None` where phase isn't what decides.
    pub oracle: Option<f64>,
    /// Largest error of a skew, in ppm; a machine found is the true one that most of its connections
    /// are of.
    pub skew_error_ppm: Option<f64>,
    /// Largest error of a boot time that is given to the second ([`TO_THE_SECOND_S`]), likewise.
    pub boot_error_s: Option<f64>,
    /// Largest error of any boot time, in its standard errors, likewise.
    pub boot_error_sigmas: Option<f64>,
    /// Records.
    pub records: usize,
    /// Time taken for all of them, in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Whether the interval holds the truth.
    pub fn covers(&self) -> bool {
        holds(self.interval, self.machines)
    }
}

/// A boot time of at most this standard error, in seconds, is given to the second.
const TO_THE_SECOND_S: f64 = 0.5;

/// What the engine made of one source address.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) found: Option<u32>,
    pub(super) interval: (u32, Option<u32>),
    pub(super) proven: Option<u32>,
    machines: Vec<MachineReport>,
    assigned: HashMap<ConnectionKey, u32>,
    seconds: f64,
}

/// Largest errors among an address's machines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    /// Of skews, in ppm.
    pub(super) skew_ppm: Option<f64>,
    /// Of boot times given to the second, in seconds.
    pub(super) boot_s: Option<f64>,
    /// Of all boot times, in their standard errors.
    pub(super) boot_sigmas: Option<f64>,
    /// Boot times given for machines whose counters tell none.
    pub(super) false_boots: usize,
}

/// A machine's clock, and whether its counter tells when it booted.
pub(super) type Witness<'a> = (&'a TrueClock, bool);

impl Verdict {
    /// What a snapshot says of `source`.
    pub(super) fn of(snapshot: &Snapshot, source: Address, seconds: f64) -> Self {
        let assigned = snapshot.connections.iter().filter(|c| c.src == source);
        let assigned = assigned.filter_map(|c| Some(((c.src_port, c.dst, c.dst_port), c.machine?))).collect();
        let report = snapshot.addresses.iter().find(|a| a.address == source);
        let Some(report) = report else { return Self { assigned, seconds, ..Self::default() } };
        Self {
            found: report.machines,
            interval: (report.machines_low.unwrap_or(0), report.machines_high),
            proven: report.machines_proven,
            machines: report.machine_list.clone(),
            assigned,
            seconds,
        }
    }

    /// The machine that a connection was given to.
    pub(super) fn given(&self, connection: &ConnectionKey) -> Option<u32> {
        self.assigned.get(connection).copied()
    }

    /// Each connection's true machine with the one that it was given to.
    pub(super) fn pairings(&self, traces: &[Trace], machine_of: &[usize]) -> Vec<Pairing> {
        traces.iter().zip(machine_of).map(|(trace, machine)| (*machine, self.given(&trace.key))).collect()
    }

    /// The largest errors; a machine found is the true one that most of its connections are of.
    pub(super) fn errors(&self, traces: &[Trace], machine_of: &[usize], clocks: &[Witness<'_>]) -> Errors {
        let own = |m: &MachineReport| self.true_machine(m, traces, machine_of).map(|truth| clocks[truth]);
        let is_told = |m: &MachineReport| own(m).is_some_and(|(_, tells_boot)| tells_boot);
        let largest = |error: &dyn Fn(&MachineReport) -> Option<f64>| {
            self.machines.iter().filter_map(error).reduce(f64::max)
        };
        let boot = |m: &MachineReport| {
            let (boot, true_s) = (m.boot.filter(|_| is_told(m))?, own(m)?.0.boot_s);
            let nearest_s = boot_errors_s(&boot, true_s).map(f64::abs).reduce(f64::min)?;
            Some((nearest_s, boot.engine_s.sigma))
        };
        Errors {
            skew_ppm: largest(&|m| Some((m.skew_ppm?.value - own(m)?.0.skew_ppm).abs())),
            boot_s: largest(&|m| boot(m).filter(|(_, sigma)| *sigma <= TO_THE_SECOND_S).map(|(off, _)| off)),
            boot_sigmas: largest(&|m| boot(m).map(|(off, sigma)| off / sigma)),
            false_boots: self.machines.iter().filter(|m| m.boot.is_some() && !is_told(m)).count(),
        }
    }

    /// The true machine of most of the connections given to `machine`.
    fn true_machine(&self, machine: &MachineReport, traces: &[Trace], machine_of: &[usize]) -> Option<usize> {
        let mut votes = vec![0; machine_of.iter().max()? + 1];
        for (trace, &truth) in traces.iter().zip(machine_of) {
            votes[truth] += usize::from(self.assigned.get(&trace.key) == Some(&machine.id));
        }
        let most = *votes.iter().max().filter(|most| **most > 0)?;
        votes.iter().position(|count| *count == most)
    }
}

/// How far the boot times that a report names are off, in seconds. There are two where the system leaves
/// the time open.
pub(super) fn boot_errors_s(boot: &Boot, true_s: f64) -> impl Iterator<Item = f64> {
    let error_s = boot.engine_s.value - true_s;
    let other_s = (boot.or_earlier_s > 0.0).then_some(error_s - boot.or_earlier_s);
    std::iter::once(error_s).chain(other_s)
}

/// What a new engine makes of records, at the time of the last of them.
pub fn snapshot(records: &[Record], resolution_ns: u64, wanted: Wanted) -> Snapshot {
    let mut engine = Engine::new(Options::default());
    engine.set_resolution_ns(resolution_ns);
    for record in records {
        engine.observe(record);
    }
    let now_ns = records.last().map_or(0, |r| r.time_ns);
    engine.snapshot(now_ns, wanted)
}

fn judge(records: &[Record], source: Address, resolution_ns: u64) -> Verdict {
    let start = Instant::now();
    let snapshot = snapshot(records, resolution_ns, Wanted { connections: true, ..Wanted::default() });
    Verdict::of(&snapshot, source, start.elapsed().as_secs_f64())
}

/// Simulates and scores.
pub fn simulated(scenario: &Scenario) -> Outcome {
    let simulation = scenario.run();
    let truth = &simulation.truth;
    let verdict = judge(&simulation.records, shared(), scenario.resolution_ns);
    let traces = traces::collect(&simulation.records);
    let machine_of: Vec<usize> = traces.iter().map(|t| truth.machine_of[&t.key]).collect();
    let mut seen = machine_of.clone();
    seen.sort_unstable();
    seen.dedup();
    let clocks: Vec<Witness<'_>> = truth.clocks.iter().map(|clock| (clock, true)).collect();
    let errors = verdict.errors(&traces, &machine_of, &clocks);
    Outcome {
        machines: seen.len(),
        oracle: (scenario.offsets == Offsets::PerConnection).then(|| {
            oracle::accuracy(&traces, &machine_of, truth.clocks.len(), |m, t| truth.clocks[m].ticks_at(t))
        }),
        skew_error_ppm: errors.skew_ppm,
        boot_error_s: errors.boot_s,
        boot_error_sigmas: errors.boot_sigmas,
        ..scored(&verdict, &traces, &machine_of, simulation.records.len())
    }
}

fn scored(verdict: &Verdict, traces: &[Trace], machine_of: &[usize], records: usize) -> Outcome {
    Outcome {
        found: verdict.found,
        interval: verdict.interval,
        agreement: agreement(&verdict.pairings(traces, machine_of)),
        records,
        seconds: verdict.seconds,
        ..Outcome::default()
    }
}

/// Scores a laboratory capture: all machines behind [`SHARED`]. Without a list of connections beside it
/// ([`truth_list`]), it is an old one: machine k has the source ports from 20000 + 1000 k.
///
/// # Errors
/// Where the file can't be read.
pub fn laboratory(path: &Path) -> Result<Outcome> {
    let (records, resolution_ns) = read(path)?;
    let mine: Vec<Record> = records.iter().filter(|r| r.segment.src == shared()).copied().collect();
    let verdict = judge(&records, shared(), resolution_ns);
    let mut traces = traces::collect(&mine);
    let machine_of: Vec<usize> = match truth_list::beside(path, &truth_list::stem(path))? {
        Some(list) => {
            // The list has no connection whose SYN was not captured.
            traces.retain(|trace| list.contains_key(&trace.key));
            traces.iter().map(|trace| list[&trace.key]).collect()
        }
        None => traces.iter().map(|trace| (usize::from(trace.key.0) - 20_000) / 1000).collect(),
    };
    let machines = machine_of.iter().max().map_or(0, |m| m + 1);
    let lines: Vec<Option<phase::Lines>> =
        (0..machines).map(|m| own_line(&traces, &machine_of, m, resolution_ns)).collect();
    let clock = |m: usize, t: f64| match &lines[m] {
        Some(l) => {
            let since_s = t - l.reference_ns as f64 * 1e-9;
            let line = &l.lines[0];
            (since_s * 1000.0) * (1.0 + line.skew_ppm.value * 1e-6) + line.phase_ticks.value
        }
        None => 0.0,
    };
    let mut seen = machine_of.clone();
    seen.sort_unstable();
    seen.dedup();
    Ok(Outcome {
        machines: seen.len(),
        oracle: lines
            .iter()
            .all(Option::is_some)
            .then(|| oracle::accuracy(&traces, &machine_of, machines, clock)),
        ..scored(&verdict, &traces, &machine_of, records.len())
    })
}

/// Scores a capture of one client among its servers, by the address that opened most connections.
/// Returns that address too; `None` where nobody opened any.
///
/// # Errors
/// Where the file can't be read.
pub fn single_client(path: &Path) -> Result<Option<(Address, Outcome)>> {
    let (records, resolution_ns) = read(path)?;
    let mut opened: HashMap<Address, HashSet<ConnectionKey>> = HashMap::new();
    for segment in records.iter().map(|r| &r.segment).filter(|s| s.src_port > s.dst_port) {
        let key = (segment.src_port, segment.dst, segment.dst_port);
        opened.entry(segment.src).or_default().insert(key);
    }
    let busiest = opened.iter().max_by_key(|(address, keys)| (keys.len(), **address));
    let Some((&client, _)) = busiest else { return Ok(None) };
    let mine: Vec<Record> = records.iter().filter(|r| r.segment.src == client).copied().collect();
    let verdict = judge(&records, client, resolution_ns);
    let traces = traces::collect(&mine);
    let outcome = scored(&verdict, &traces, &vec![0; traces.len()], records.len());
    Ok(Some((client, Outcome { machines: 1, ..outcome })))
}

/// A machine's line, fitted to its own connections alone.
fn own_line(
    traces: &[Trace],
    machine_of: &[usize],
    machine: usize,
    resolution_ns: u64,
) -> Option<phase::Lines> {
    let samples: Vec<(tmap::engine::clock::envelope::Envelope, phase::sample::Sample)> = traces
        .iter()
        .zip(machine_of)
        .filter(|(_, m)| **m == machine)
        .map(|(trace, _)| {
            let mut pair = <(tmap::engine::clock::envelope::Envelope, phase::sample::Sample)>::default();
            for point in &trace.points {
                pair.0.add(*point);
                pair.1.add(*point);
            }
            pair
        })
        .collect();
    let tracks: Vec<phase::Track<'_>> = samples
        .iter()
        .map(|(hull, sample)| phase::Track {
            hull: hull.points(),
            sample: sample.points(),
            offered: hull.offered(),
            ..phase::Track::default()
        })
        .collect();
    let lines = phase::fit(
        &tracks,
        1000.0,
        &phase::Settings { resolution_ns, max_lines: 1, ..phase::Settings::default() },
    );
    (!lines.lines.is_empty()).then_some(lines)
}

pub(super) fn shared() -> Address {
    Address::from_ip4(SHARED.octets())
}

/// All time-stamped segments of a capture, and the resolution of its stamps.
///
/// # Errors
/// Where the file can't be read.
pub fn read(path: &Path) -> Result<(Vec<Record>, u64)> {
    let name = path.display();
    let opened = Location::new(path).open(&Stop::new(|| false), Room::default(), |reader, _| reader);
    let mut capture = opened.with_context(|| format!("can't read {name}"))?;
    let mut records = Vec::new();
    while let Some(frame) =
        capture.next_frame().with_context(|| format!("{name}, after {} records", records.len()))?
    {
        let Ok(link) = frame.link else { continue };
        if let Ok(segment) = tmap_common::parse(frame.bytes, link, true) {
            records.push(received(frame.time_ns, segment));
        }
    }
    let resolution_ns = capture.resolution_ns();
    Ok((records, resolution_ns))
}
