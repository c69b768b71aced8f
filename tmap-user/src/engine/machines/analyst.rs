//! The half of the engine that thinks: what frozen connections say about machines.
//!
//! It has no part in what arrives meanwhile, so it may run on another thread and take its time.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{analysis, assemble, clock_moved, history::SourceHistory, part::PartialSnapshot, reboot};
use crate::engine::{
    flows::{Analysed, FrozenSource, SourceId, connection::Connection},
    options::Options,
    rtt::clock_directory::ClockDirectory,
    snapshot::{AddressReport, Event, MachineReport},
    types::{Depth, Doubt, Wanted},
};

/// How many tracks a snapshot sorts by phase at the most.
const SNAPSHOT_TRACKS: usize = 16_384;

/// Turns frozen connections into machines.
#[derive(Debug)]
pub struct Analyst {
    options: Options,
    resolution_ns: u64,
    histories: HashMap<SourceId, SourceHistory, RandomState>,
}

/// A snapshot in the making.
#[derive(Debug)]
pub struct SnapshotBuilder {
    part: PartialSnapshot,
    wanted: Wanted,
    clocks: Option<ClockDirectory>,
    tracks_left: usize,
}

impl Analyst {
    /// An analyst who has seen nothing yet.
    pub fn new(options: &Options) -> Self {
        Self { options: options.clone(), resolution_ns: 1, histories: HashMap::default() }
    }

    /// Tells how coarse the records' times are.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.resolution_ns = resolution_ns.max(1);
    }

    /// Looks at a history and says what is new.
    pub fn review(&mut self, mut frozen: FrozenSource, depth: Depth, events: &mut Vec<Event>) -> Analysed {
        let history = self.histories.entry(frozen.id).or_insert_with(|| SourceHistory::new(frozen.address));
        history.recall(&mut frozen.connections);
        frozen.connections.iter_mut().for_each(Connection::unpack);
        history.analyse(&mut frozen.connections, &self.options, self.resolution_ns, depth);
        if let Some(found) = history.found.as_ref().filter(|found| history.has_news(found)) {
            let machines = assemble::machines(history, found, &frozen.connections, &self.options);
            announce(history, &frozen, &machines, events);
        }
        analysed(history, &frozen, Some(depth))
    }

    /// Begins a snapshot; all histories are to be added next, the ones with most connections first.
    pub fn draft(&self, now_ns: u64, wanted: Wanted) -> SnapshotBuilder {
        SnapshotBuilder {
            part: PartialSnapshot::new(now_ns, wanted.siblings),
            wanted,
            clocks: self.options.rtt.is_some().then(ClockDirectory::default),
            tracks_left: SNAPSHOT_TRACKS,
        }
    }

    /// Adds a history to a snapshot, looking at it once more where that could tell more; within a budget
    /// for histories that need phases: beyond it they keep their last look.
    /// What is new goes to `events`, where they are wanted.
    pub fn add(
        &mut self,
        mut frozen: FrozenSource,
        draft: &mut SnapshotBuilder,
        events: Option<&mut Vec<Event>>,
    ) -> Analysed {
        let history = self.histories.entry(frozen.id).or_insert_with(|| SourceHistory::new(frozen.address));
        history.recall(&mut frozen.connections);
        if frozen.stale || draft.takes_connections() {
            frozen.connections.iter_mut().for_each(Connection::unpack);
        }
        let mut depth = None;
        if frozen.stale && history.random_offsets() == 0 {
            depth = Some(Depth::Offsets);
            history.analyse(&mut frozen.connections, &self.options, self.resolution_ns, Depth::Offsets);
        }
        let tracks = history.random_offsets();
        if frozen.stale && tracks > 0 && tracks <= draft.tracks_left {
            draft.tracks_left -= tracks;
            depth = Some(Depth::Phases);
            history.analyse(&mut frozen.connections, &self.options, self.resolution_ns, Depth::Phases);
        }
        let report = assemble::address(history, &frozen, &self.options);
        if let Some(events) = events {
            announce(history, &frozen, &report.machine_list, events);
        }
        draft.add(history, &frozen, report, self.resolution_ns);
        let unchanged = (!frozen.stale).then_some(Depth::Offsets);
        analysed(history, &frozen, depth.or(unchanged))
    }

    /// Memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.histories.values().map(SourceHistory::heap_bytes).sum()
    }
}

fn analysed(history: &SourceHistory, frozen: &FrozenSource, depth: Option<Depth>) -> Analysed {
    let FrozenSource { id, connections_total, .. } = *frozen;
    Analysed { id, depth, random_offsets: history.random_offsets(), connections_total }
}

impl SnapshotBuilder {
    /// Whether it takes more than a look to fill it: every connection's own clock.
    fn takes_connections(&self) -> bool {
        self.wanted.connections || self.clocks.is_some()
    }

    fn add(
        &mut self,
        history: &SourceHistory,
        frozen: &FrozenSource,
        report: AddressReport,
        resolution_ns: u64,
    ) {
        self.part.snapshot.addresses.push(report);
        if self.takes_connections() {
            for connection in &frozen.connections {
                // Its rate is wanted, whether or not a look asked for it.
                connection.clock(resolution_ns);
            }
        }
        if self.wanted.connections {
            self.part.snapshot.connections.extend(assemble::connections(history, &frozen.connections));
        }
        if self.wanted.siblings {
            self.part.candidates.extend(assemble::candidates(history));
        }
        if let Some(clocks) = &mut self.clocks {
            add_clocks(clocks, history, &frozen.connections);
        }
    }

    /// The part of a snapshot that is these histories', and the clocks behind connections for round trips, where they are
    /// taken.
    pub fn finish(self) -> (PartialSnapshot, Option<ClockDirectory>) {
        (self.part, self.clocks)
    }
}

/// Tells the directory what a history's last look told.
fn add_clocks(clocks: &mut ClockDirectory, history: &SourceHistory, connections: &[Connection]) {
    for connection in connections {
        let Connection { key, serial, machine, .. } = *connection;
        clocks.add_connection(key, serial, machine, connection.tick_hz());
    }
    let Some(found) = &history.found else { return };
    for (group, &number) in found.analysis.groups.iter().zip(&found.numbers) {
        clocks.add_machine(history.address, number, group.rate_hz.value, group.hz);
    }
}

/// A machine is announced once it was watched for this long, in nanoseconds: the first second of a
/// busy address has more guesses than machines.
const SETTLING_NS: u64 = 3_000_000_000;

/// A machine told by its phase is announced once it holds this many connections, and if the lower
/// end of the interval has a place for it: early lines come and go.
const SETTLED_CONNECTIONS: f64 = 5.0;

fn is_settled(machine: &MachineReport, analysis: &analysis::Analysis) -> bool {
    let by_phase = machine.phase_ticks.is_some();
    let certain = !by_phase
        || (machine.connections >= SETTLED_CONNECTIONS
            && analysis.groups.len() <= analysis.count.low as usize);
    certain && machine.last_seen_ns.saturating_sub(machine.first_seen_ns) >= SETTLING_NS
}

/// Says what a look found for the first time; `machines` are all that it found.
fn announce(
    history: &mut SourceHistory,
    frozen: &FrozenSource,
    machines: &[MachineReport],
    events: &mut Vec<Event>,
) {
    let Some(found) = &history.found else { return };
    for machine in machines {
        if !history.announced.contains(&machine.id) && is_settled(machine, &found.analysis) {
            let address = history.address;
            if let Some((before, at_s)) = reboot::predecessor(machine, machines) {
                events.push(Event::Reboot { address, before, after: machine.id, at_s });
            } else if let Some((before, by_s)) = clock_moved::predecessor(machine, machines) {
                events.push(Event::ClockMoved { address, before, after: machine.id, by_s });
            }
            history.announced.push(machine.id);
            let known = machines.iter().filter(|m| history.announced.contains(&m.id)).count() as u32;
            events.push(Event::NewMachine { address, known, machine: Box::new(machine.clone()) });
        }
    }
    if found.analysis.doubt == Some(Doubt::OffsetsRandom) && !history.random_announced {
        history.random_announced = true;
        let connections = frozen.connections_total;
        events.push(Event::OffsetsRandom { address: history.address, connections });
    }
}
