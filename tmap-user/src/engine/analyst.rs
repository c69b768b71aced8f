//! The half of the engine that thinks: what frozen connections say about machines.
//!
//! It has no part in what arrives meanwhile, so it may run on another thread and take its time.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    Event, Wanted,
    analysis::{self, Depth},
    assemble,
    connection::Connection,
    flows::{FrozenHost, HostId, Looked},
    host::Host,
    options::Options,
    part::Part,
    reboot,
    round_trips::Clockworks,
    snapshot::{AddressReport, Doubt, MachineReport},
    step,
};

/// How many tracks a snapshot sorts by phase at the most.
const SNAPSHOT_TRACKS: usize = 16_384;

/// Turns frozen connections into machines.
#[derive(Debug)]
pub struct Analyst {
    options: Options,
    resolution_ns: u64,
    hosts: HashMap<HostId, Host, RandomState>,
}

/// A snapshot in the making.
#[derive(Debug)]
pub struct Draft {
    part: Part,
    wanted: Wanted,
    clockworks: Option<Clockworks>,
    tracks_left: usize,
}

impl Analyst {
    /// An analyst who has seen nothing yet.
    pub fn new(options: &Options) -> Self {
        Self { options: options.clone(), resolution_ns: 1, hosts: HashMap::default() }
    }

    /// Tells how coarse the records' times are.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.resolution_ns = resolution_ns.max(1);
    }

    /// Looks at a host and says what is new.
    pub fn review(&mut self, mut frozen: FrozenHost, depth: Depth, events: &mut Vec<Event>) -> Looked {
        let host = self.hosts.entry(frozen.id).or_insert_with(|| Host::new(frozen.address));
        host.recall(&mut frozen.connections);
        frozen.connections.iter_mut().for_each(Connection::unpack);
        host.look(&mut frozen.connections, &self.options, self.resolution_ns, depth);
        if let Some(found) = host.found.as_ref().filter(|found| host.has_news(found)) {
            let machines = assemble::machines(host, found, &frozen.connections, &self.options);
            announce(host, &frozen, &machines, events);
        }
        looked(host, &frozen, Some(depth))
    }

    /// Begins a snapshot; all hosts are to be added next, the ones with most connections first.
    pub fn draft(&self, now_ns: u64, wanted: Wanted) -> Draft {
        Draft {
            part: Part::new(now_ns, wanted.siblings),
            wanted,
            clockworks: self.options.rtt.is_some().then(Clockworks::default),
            tracks_left: SNAPSHOT_TRACKS,
        }
    }

    /// Adds a host to a snapshot, looking at it once more where that could tell more; within a budget
    /// for hosts that need phases: beyond it they keep their last look.
    /// What is new goes to `events`, where they are wanted.
    pub fn add(
        &mut self,
        mut frozen: FrozenHost,
        draft: &mut Draft,
        events: Option<&mut Vec<Event>>,
    ) -> Looked {
        let host = self.hosts.entry(frozen.id).or_insert_with(|| Host::new(frozen.address));
        host.recall(&mut frozen.connections);
        if frozen.stale || draft.takes_connections() {
            frozen.connections.iter_mut().for_each(Connection::unpack);
        }
        let mut depth = None;
        if frozen.stale && host.loose() == 0 {
            depth = Some(Depth::Offsets);
            host.look(&mut frozen.connections, &self.options, self.resolution_ns, Depth::Offsets);
        }
        let tracks = host.loose();
        if frozen.stale && tracks > 0 && tracks <= draft.tracks_left {
            draft.tracks_left -= tracks;
            depth = Some(Depth::Phases);
            host.look(&mut frozen.connections, &self.options, self.resolution_ns, Depth::Phases);
        }
        let report = assemble::address(host, &frozen, &self.options);
        if let Some(events) = events {
            announce(host, &frozen, &report.machine_list, events);
        }
        draft.add(host, &frozen, report, self.resolution_ns);
        let unchanged = (!frozen.stale).then_some(Depth::Offsets);
        looked(host, &frozen, depth.or(unchanged))
    }

    /// Memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.hosts.values().map(Host::heap_bytes).sum()
    }
}

fn looked(host: &Host, frozen: &FrozenHost, depth: Option<Depth>) -> Looked {
    let FrozenHost { id, connections_total, .. } = *frozen;
    Looked { id, depth, loose: host.loose(), connections_total }
}

impl Draft {
    /// Whether it takes more than a look to fill it: every connection's own clock.
    fn takes_connections(&self) -> bool {
        self.wanted.connections || self.clockworks.is_some()
    }

    fn add(&mut self, host: &Host, frozen: &FrozenHost, report: AddressReport, resolution_ns: u64) {
        self.part.snapshot.addresses.push(report);
        if self.takes_connections() {
            for connection in &frozen.connections {
                // Its rate is wanted, whether or not a look asked for it.
                connection.clock(resolution_ns);
            }
        }
        if self.wanted.connections {
            self.part.snapshot.connections.extend(assemble::connections(host, &frozen.connections));
        }
        if self.wanted.siblings {
            self.part.candidates.extend(assemble::candidates(host));
        }
        if let Some(clockworks) = &mut self.clockworks {
            clockworks.add(host, &frozen.connections);
        }
    }

    /// The part of a snapshot that is these hosts', and the clockworks for round trips, where they are
    /// taken.
    pub fn finish(self) -> (Part, Option<Clockworks>) {
        (self.part, self.clockworks)
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
fn announce(host: &mut Host, frozen: &FrozenHost, machines: &[MachineReport], events: &mut Vec<Event>) {
    let Some(found) = &host.found else { return };
    for machine in machines {
        if !host.announced.contains(&machine.id) && is_settled(machine, &found.analysis) {
            let address = host.address;
            if let Some((before, at_s)) = reboot::predecessor(machine, machines) {
                events.push(Event::Reboot { address, before, after: machine.id, at_s });
            } else if let Some((before, by_s)) = step::predecessor(machine, machines) {
                events.push(Event::ClockMoved { address, before, after: machine.id, by_s });
            }
            host.announced.push(machine.id);
            let known = machines.iter().filter(|m| host.announced.contains(&m.id)).count() as u32;
            events.push(Event::NewMachine { address, known, machine: Box::new(machine.clone()) });
        }
    }
    if found.analysis.doubt == Some(Doubt::OffsetsRandom) && !host.random_announced {
        host.random_announced = true;
        let connections = frozen.connections_total;
        events.push(Event::OffsetsRandom { address: host.address, connections });
    }
}
