//! The analysing half of the engine: from frozen connections to machines.
//!
//! It doesn't take part in the intake of records, so it may run for long, on another thread.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::{
    analysis::{self, Circumstances},
    assemble,
    history::{
        clock_moved, reboot,
        source_history::{Before, SourceHistory},
    },
    partial::PartialSnapshot,
};
use crate::engine::{
    flows::{Analysed, FrozenSource, SourceId, connection::Connection},
    hurry::Hurry,
    options::Options,
    rtt::clock_directory::{ClockDirectory, Owner},
    snapshot::{AddressReport, Event, MachineReport},
    types::{Depth, Doubt, Wanted},
};

/// The most tracks that one snapshot analyses by phase.
const SNAPSHOT_TRACKS: usize = 16_384;

/// Turns frozen connections into machines.
#[derive(Debug)]
pub struct Analyst {
    options: Options,
    resolution_ns: u64,
    histories: Histories,
    /// The engine time of the last snapshot, in nanoseconds, and the sources that got a pass by phase in it.
    phased: (u64, HashSet<SourceId, RandomState>),
}

type Histories = HashMap<SourceId, SourceHistory, RandomState>;

/// What became of a source address that was to be added to a snapshot.
pub(in crate::engine) enum Added {
    /// It was added.
    Done(Analysed),
    /// It needs a pass by phase.
    Postponed(Postponed),
}

/// A source address that needs a pass by phase.
pub(in crate::engine) struct Postponed {
    /// Its random offsets, by which the pass takes long.
    pub tracks: usize,
    /// Its frozen copy, which may be made anew.
    pub frozen: FrozenSource,
}

/// Builds a partial snapshot, source by source.
#[derive(Debug)]
pub struct SnapshotBuilder {
    partial: PartialSnapshot,
    wanted: Wanted,
    clocks: Option<ClockDirectory>,
    tracks_left: usize,
}

impl Analyst {
    /// An analyst without any history.
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            resolution_ns: 1,
            histories: HashMap::default(),
            phased: Default::default(),
        }
    }

    /// Sets the resolution of the records' times, in nanoseconds.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.resolution_ns = resolution_ns.max(1);
    }

    /// Analyses a source address and adds what is new to `events`. Where somebody waits, a pass by phase ends
    /// at once, and the source stays due.
    pub fn review(&mut self, mut frozen: FrozenSource, depth: Depth, events: &mut Vec<Event>) -> Analysed {
        let history = recalled(&mut self.histories, &mut frozen);
        history.is_open = is_refused(depth, &self.options.hurry);
        if history.is_open {
            return analysed(history, &frozen, None);
        }
        frozen.connections.iter_mut().for_each(Connection::unpack);
        let (before, is_cut) = analyse(history, &mut frozen, &self.options, self.resolution_ns, depth);
        if is_cut {
            history.is_open = true;
            history.restore(before);
            return analysed(history, &frozen, None);
        }
        if let Some(last_pass) = history.last_pass.as_ref().filter(|last_pass| history.has_news(last_pass)) {
            let machines = assemble::machines(history, last_pass, &frozen, &self.options);
            announce(history, &frozen, &machines, events);
        }
        analysed(history, &frozen, Some(depth))
    }

    /// Begins a snapshot at `now_ns`. The caller then adds all sources, those with most connections first.
    pub fn begin_snapshot(&mut self, now_ns: u64, wanted: Wanted) -> SnapshotBuilder {
        if self.phased.0 != now_ns {
            self.phased = (now_ns, HashSet::default());
        }
        SnapshotBuilder {
            partial: PartialSnapshot::new(now_ns, wanted.siblings),
            wanted,
            clocks: self.options.rtt.is_some().then(ClockDirectory::default),
            tracks_left: SNAPSHOT_TRACKS,
        }
    }

    /// Adds a source address to a snapshot. A source that changed is analysed anew. A pass by phase is
    /// done only within the snapshot's budget of tracks; beyond the budget the last pass stays. Where
    /// somebody waits, the last pass stays, too, or the part of a pass that was done. News go to `events`,
    /// where machines are announced: no later review would find them.
    pub fn add(
        &mut self,
        frozen: FrozenSource,
        builder: &mut SnapshotBuilder,
        events: &mut Vec<Event>,
    ) -> Analysed {
        match self.add_by_offset(frozen, builder, events) {
            Added::Done(analysed) => analysed,
            Added::Postponed(postponed) => self.add_by_phase(postponed.frozen, builder, events),
        }
    }

    /// Adds a source address to a snapshot, as [`Self::add`] does, unless that needs a pass by phase, which
    /// takes long.
    pub(in crate::engine) fn add_by_offset(
        &mut self,
        mut frozen: FrozenSource,
        builder: &mut SnapshotBuilder,
        events: &mut Vec<Event>,
    ) -> Added {
        let hurry = &self.options.hurry;
        let history = recalled(&mut self.histories, &mut frozen);
        frozen.stale |= history.is_open || history.awaits_phases();
        let is_left_out = frozen.stale && hurry.ends_passes();
        if (frozen.stale && !is_left_out) || builder.needs_connections() {
            frozen.connections.iter_mut().for_each(Connection::unpack);
        }
        let mut depth = None;
        if frozen.stale && !is_left_out && history.random_offsets() == 0 {
            depth = Some(Depth::Offsets);
            analyse(history, &mut frozen, &self.options, self.resolution_ns, Depth::Offsets);
        }
        let needs_phases = builder.grants_phases(history, frozen.stale, self.phased.1.contains(&frozen.id));
        if needs_phases && !is_left_out && !hurry.ends_searches() {
            return Added::Postponed(Postponed { tracks: history.random_offsets(), frozen });
        }
        let is_unfinished = is_left_out || needs_phases;
        // An address that changed, and for which the budget of tracks has nothing left, shows an old look.
        let is_old = !is_unfinished && frozen.stale && history.has_machines() && history.random_offsets() > 0;
        let unchanged = (!frozen.stale).then_some(Depth::Offsets);
        let depth = depth.or(unchanged).filter(|_| !is_unfinished);
        let analysed = self.report(&frozen, builder, events, depth, is_unfinished);
        if is_old {
            builder.mark_as_old();
        }
        Added::Done(analysed)
    }

    /// Adds a source address that [`Self::add_by_offset`] postponed.
    pub(in crate::engine) fn add_by_phase(
        &mut self,
        mut frozen: FrozenSource,
        builder: &mut SnapshotBuilder,
        events: &mut Vec<Event>,
    ) -> Analysed {
        let history = recalled(&mut self.histories, &mut frozen);
        frozen.connections.iter_mut().for_each(Connection::unpack);
        if is_refused(Depth::Phases, &self.options.hurry) {
            return self.report(&frozen, builder, events, None, true);
        }
        let (before, is_cut) =
            analyse(history, &mut frozen, &self.options, self.resolution_ns, Depth::Phases);
        if !is_cut {
            self.phased.1.insert(frozen.id);
            return self.report(&frozen, builder, events, Some(Depth::Phases), false);
        }
        if history.has_machines() && !before.has_machines() {
            let (id, analysed) = (frozen.id, self.report(&frozen, builder, events, None, true));
            if let Some(history) = self.histories.get_mut(&id) {
                history.restore(before);
            }
            return analysed;
        }
        // What was found before is more than nothing.
        history.restore(before);
        self.report(&frozen, builder, events, None, true)
    }

    /// Adds the report on a source address, after a pass of this depth; an unfinished one announces nothing.
    fn report(
        &mut self,
        frozen: &FrozenSource,
        builder: &mut SnapshotBuilder,
        events: &mut Vec<Event>,
        depth: Option<Depth>,
        is_unfinished: bool,
    ) -> Analysed {
        let history = self
            .histories
            .entry(frozen.id)
            .or_insert_with(|| SourceHistory::new(frozen.address, frozen.life));
        history.is_open = is_unfinished;
        let is_older = is_unfinished && history.exchange_older();
        let mut report = assemble::address(history, frozen, &self.options);
        if is_unfinished {
            (report.doubt, report.machines_high) = (Some(Doubt::Interrupted), None);
        } else if self.options.announces_machines() {
            announce(history, frozen, &report.machine_list, events);
        }
        builder.add(history, frozen, report, self.resolution_ns);
        if is_older {
            history.exchange_back();
        }
        analysed(history, frozen, depth)
    }

    /// Memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.histories.values().map(SourceHistory::heap_bytes).sum()
    }
}

/// The history of a source, which recognises its connections.
fn recalled<'a>(histories: &'a mut Histories, frozen: &mut FrozenSource) -> &'a mut SourceHistory {
    let history =
        histories.entry(frozen.id).or_insert_with(|| SourceHistory::new(frozen.address, frozen.life));
    if history.life != frozen.life {
        // Its source made room for this one, maybe for the same address that came back.
        *history = SourceHistory::new(frozen.address, frozen.life);
    }
    history.recall(&mut frozen.connections);
    history
}

/// Whether a pass of this depth doesn't begin, because somebody waits.
fn is_refused(depth: Depth, hurry: &Hurry) -> bool {
    match depth {
        Depth::Offsets => hurry.ends_passes(),
        Depth::Phases => hurry.ends_searches(),
    }
}

/// Does a pass. Returns what was known before, and whether the pass ended early, because somebody waits.
fn analyse(
    history: &mut SourceHistory,
    frozen: &mut FrozenSource,
    options: &Options,
    resolution_ns: u64,
    depth: Depth,
) -> (Before, bool) {
    let times = options.hurry.times();
    let circumstances = Circumstances { resolution_ns, began_ns: frozen.began_ns, depth };
    let before = history.analyse(&mut frozen.connections, options, circumstances);
    (before, depth == Depth::Phases && options.hurry.times() != times)
}

fn analysed(history: &SourceHistory, frozen: &FrozenSource, depth: Option<Depth>) -> Analysed {
    let FrozenSource { id, life, connections_total, .. } = *frozen;
    Analysed { id, life, depth, random_offsets: history.random_offsets(), connections_total }
}

impl SnapshotBuilder {
    /// Grants all addresses a pass by phase, but for one with more tracks than a snapshot analyses.
    pub fn without_budget(self) -> Self {
        Self { tracks_left: usize::MAX, ..self }
    }

    /// Whether a source gets a pass by phase within the snapshot's budget of tracks. One that had it in a
    /// snapshot of the same time uses the same part of the budget again, so that a snapshot that is taken
    /// again because it was interrupted analyses the same sources.
    fn grants_phases(&mut self, history: &SourceHistory, is_stale: bool, had_it: bool) -> bool {
        let tracks = history.random_offsets();
        let most = self.tracks_left.min(SNAPSHOT_TRACKS);
        let is_granted = (is_stale || had_it) && tracks > 0 && tracks <= most;
        if is_granted {
            self.tracks_left -= tracks;
        }
        is_granted && is_stale
    }

    /// The report that was added last shows an old look: machines may be missing.
    fn mark_as_old(&mut self) {
        if let Some(report) = self.partial.snapshot.addresses.last_mut() {
            (report.doubt, report.machines_high) = (report.doubt.or(Some(Doubt::BudgetSpent)), None);
        }
    }

    /// Whether the snapshot needs every connection's own clock.
    fn needs_connections(&self) -> bool {
        self.wanted.connections || self.clocks.is_some()
    }

    fn add(
        &mut self,
        history: &SourceHistory,
        frozen: &FrozenSource,
        report: AddressReport,
        resolution_ns: u64,
    ) {
        self.partial.snapshot.addresses.push(report);
        if self.needs_connections() {
            for connection in &frozen.connections {
                // The listing shows every connection's rate, and a pass doesn't fit all of them.
                connection.clock(resolution_ns);
            }
        }
        if self.wanted.connections {
            self.partial.snapshot.connections.extend(assemble::connections(history, &frozen.connections));
        }
        if self.wanted.siblings {
            self.partial.candidates.extend(assemble::candidates(history));
        }
        if let Some(clocks) = &mut self.clocks {
            add_clocks(clocks, history, &frozen.connections);
        }
    }

    /// The partial snapshot of the sources added. The clocks behind their connections come with it where
    /// round trips are measured.
    pub fn finish(self) -> (PartialSnapshot, Option<ClockDirectory>) {
        (self.partial, self.clocks)
    }
}

/// Adds the connections and machines of a source to the clock directory.
fn add_clocks(clocks: &mut ClockDirectory, history: &SourceHistory, connections: &[Connection]) {
    let last_pass = history.last_pass.as_ref();
    let unsure = last_pass.map(|last_pass| assemble::unsure(&last_pass.analysis)).unwrap_or_default();
    for (position, connection) in connections.iter().enumerate() {
        let Connection { key, serial, machine: number, .. } = *connection;
        let owner = Owner { number, is_sure: !unsure.contains(&position) };
        clocks.add_connection(key, serial, owner, connection.tick_hz());
    }
    let Some(last_pass) = &history.last_pass else { return };
    for (group, &number) in last_pass.analysis.groups.iter().zip(&last_pass.numbers) {
        clocks.add_machine(history.address, number, group.rate_hz.value, group.hz);
    }
}

/// A machine is announced after it was seen for this time, in nanoseconds: in its first seconds, a busy
/// address has more guesses than machines.
const SETTLING_NS: u64 = 3_000_000_000;

/// A machine that was found by its phase or by pages is announced once it holds this many connections, and
/// only if there are no more machines than the lower end of the count's interval: early lines come and go.
const SETTLED_CONNECTIONS: f64 = 5.0;

fn is_settled(machine: &MachineReport, analysis: &analysis::Analysis) -> bool {
    let certain = !machine.is_weighed
        || (machine.connections >= SETTLED_CONNECTIONS
            && analysis.groups.len() <= analysis.count.low as usize);
    certain && machine.last_seen_ns.saturating_sub(machine.first_seen_ns) >= SETTLING_NS
}

/// Adds what the last pass found for the first time to `events`; `machines` are all that it found.
fn announce(
    history: &mut SourceHistory,
    frozen: &FrozenSource,
    machines: &[MachineReport],
    events: &mut Vec<Event>,
) {
    let Some(last_pass) = &history.last_pass else { return };
    let is_known = |m: &&MachineReport| history.announced.contains(&m.id);
    let known_before = machines.iter().filter(is_known).count();
    let mut announced = Vec::new();
    for machine in machines {
        if !history.announced.contains(&machine.id) && is_settled(machine, &last_pass.analysis) {
            let address = history.address;
            if let Some((before, at_s)) = reboot::predecessor(machine, machines) {
                events.push(Event::Reboot { address, before, after: machine.id, at_s });
            } else if let Some((before, by_s)) = clock_moved::predecessor(machine, machines) {
                events.push(Event::ClockMoved { address, before, after: machine.id, by_s });
            }
            announced.push(machine.id);
            let known = (known_before + announced.len()) as u32;
            events.push(Event::NewMachine { address, known, machine: Box::new(machine.clone()) });
        }
    }
    let is_random = last_pass.awaits_phases();
    announced.into_iter().for_each(|number| history.announce(number));
    let Some(last_pass) = &history.last_pass else { return };
    let moves: Vec<_> = history.moves(last_pass).collect();
    for &(id, moved) in &moves {
        let address = history.address;
        events.push(Event::ClockMoved { address, before: id, after: id, by_s: moved.by_s });
    }
    history.moves_announced.extend(moves.iter().map(|(id, moved)| (*id, moved.at_ns)));
    if is_random && !history.random_announced {
        history.random_announced = true;
        let connections = frozen.connections_total;
        events.push(Event::OffsetsRandom { address: history.address, connections });
    }
}
