//! The clock-fitting and machine-matching engine.
//!
//! Pure: no I/O, no clock of its own, no aya, no printing. Time is always an argument, so a day of
//! traffic replays in seconds and every test is deterministic.

pub mod analysis;
mod assemble;
pub mod boot;
pub mod clock;
pub mod connection;
pub mod envelope;
pub mod flow;
pub mod host;
pub mod identity;
mod loose;
pub mod offset;
pub mod options;
pub mod os;
pub mod paws;
pub mod phase;
pub mod reboot;
pub mod regime;
mod round_trips;
pub mod rtt;
pub mod sibling;
pub mod snapshot;
pub mod tick;
pub mod unstamped;
pub mod unsteady;

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use foldhash::fast::RandomState;
use slab::Slab;
use tmap_common::{Address, Record};

use analysis::Depth;
use connection::Connection;
use flow::{Flow, FlowKey};
use host::Host;
pub use options::Options;
use sibling::MAX_CANDIDATES;
use snapshot::{AddressReport, Losses};
pub use snapshot::{Event, Snapshot};

/// How long a closed connection stays open for its last segments (the other side's FIN,
/// retransmissions), in nanoseconds.
const LINGER_NS: u64 = 5_000_000_000;

/// One review looks at this part of all connections for idle ones, so that its cost stays flat.
const SWEEP_PARTS: usize = 8;

/// How many flows an eviction looks at for an idle one before it takes the last it saw.
const EVICTION_TRIES: usize = 8;

/// How many tracks one review sorts by phase at the most (one host's always): the looks of many
/// hosts are spread over many reviews.
const REVIEW_TRACKS: usize = 512;

/// How many tracks a snapshot sorts by phase at the most.
const SNAPSHOT_TRACKS: usize = 16_384;

/// Turns records into machines.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    resolution_ns: u64,
    /// Open connections by what names them.
    open: HashMap<FlowKey, usize, RandomState>,
    /// All connections remembered.
    connections: Slab<Connection>,
    /// Open connections in the order in which eviction considers them, with their serials.
    eviction: VecDeque<(usize, u64)>,
    /// Finished connections, the oldest first, with their serials.
    finished: VecDeque<(usize, u64)>,
    hosts: HashMap<Address, Host, RandomState>,
    sweep_at: usize,
    next_serial: u64,
    records: u64,
    losses: Losses,
    /// Connections opened without time stamps.
    unstamped: unstamped::Counts,
    /// Round trips, where they are asked for.
    rtt: Option<rtt::RttEngine>,
}

/// Listings that a snapshot may carry beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every connection side.
    pub connections: bool,
    /// Machines that appear behind several addresses.
    pub siblings: bool,
}

/// What the engine holds, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Records observed since the start.
    pub records: u64,
    /// Open flows.
    pub flows: usize,
    /// Connections remembered, open and finished.
    pub connections: usize,
    /// Source addresses.
    pub addresses: usize,
    /// Estimated heap memory, in bytes.
    pub memory_bytes: usize,
}

impl Engine {
    /// An empty engine.
    pub fn new(options: Options) -> Self {
        Self {
            rtt: options.rtt.clone().map(rtt::RttEngine::new),
            options,
            resolution_ns: 1,
            open: HashMap::default(),
            connections: Slab::new(),
            eviction: VecDeque::new(),
            finished: VecDeque::new(),
            hosts: HashMap::default(),
            sweep_at: 0,
            next_serial: 0,
            records: 0,
            losses: Losses::default(),
            unstamped: unstamped::Counts::default(),
        }
    }

    /// Tells how coarse the records' times are: 1 ns live, the capture's own resolution for files.
    pub fn set_resolution_ns(&mut self, resolution_ns: u64) {
        self.resolution_ns = resolution_ns.max(1);
    }

    /// Takes in one record. Records should come roughly in order of time; ones that come late by
    /// more than the reordering of a network lose precision, never soundness.
    pub fn observe(&mut self, record: &Record) {
        self.records += 1;
        if !record.segment.is_stamped() {
            let is_fallback = self.open.contains_key(&FlowKey::of(&record.segment));
            return self.unstamped.observe(record, is_fallback, self.options.max_addresses);
        }
        if let Some(rtt) = &mut self.rtt {
            rtt.observe(record);
        }
        let key = FlowKey::of(&record.segment);
        let place = match self.open.get(&key) {
            Some(&place) if !self.connections[place].flow.is_reopened_by(record) => place,
            Some(&place) => {
                self.finish(place);
                match self.open_connection(key, record) {
                    Some(place) => place,
                    None => return,
                }
            }
            None => match self.open_connection(key, record) {
                Some(place) => place,
                None => return,
            },
        };
        self.connections[place].flow.observe(record);
        if let Some(host) = self.hosts.get_mut(&key.src) {
            host.dirty = true;
            host.zero_tsvals += u64::from(record.segment.tsval == 0);
        }
    }

    /// Looks again at the addresses that changed and says what is new. Meant to be called about
    /// once a second of engine time.
    pub fn review(&mut self, now_ns: u64) -> Vec<Event> {
        self.sweep(now_ns);
        if self.rtt.is_some() {
            // Who asks for round trips isn't told of machines as they appear; the summary looks.
            return self.review_round_trips(now_ns).into_iter().collect();
        }
        let mut due: Vec<(Depth, usize, &mut Host)> = self
            .hosts
            .values_mut()
            .filter_map(|host| host.due(now_ns).map(|(depth, tracks)| (depth, tracks, host)))
            .collect();
        // The longest waiting first; the table's own order differs from run to run.
        due.sort_unstable_by_key(|(_, _, host)| (host.next_look_ns, host.address));
        let mut budget = REVIEW_TRACKS;
        let mut events = Vec::new();
        for (depth, tracks, host) in due {
            if tracks > budget && budget < REVIEW_TRACKS {
                continue;
            }
            budget = budget.saturating_sub(tracks);
            host.look(&mut self.connections, &self.options, self.resolution_ns, now_ns, depth);
            announce(host, &self.connections, &self.options, &mut events);
        }
        events
    }

    /// Looks once more at every host whose last look is out of date, the largest first, within a
    /// budget for those that need phases; what is beyond it keeps its last look.
    fn look_all(&mut self, now_ns: u64) {
        let mut hosts: Vec<&mut Host> = self.hosts.values_mut().filter(|host| host.is_stale()).collect();
        hosts.sort_unstable_by_key(|host| (std::cmp::Reverse(host.connections_total), host.address));
        let mut budget = SNAPSHOT_TRACKS;
        for host in hosts {
            if host.loose() == 0 {
                host.look(&mut self.connections, &self.options, self.resolution_ns, now_ns, Depth::Offsets);
            }
            let tracks = host.loose();
            if tracks > 0 && tracks <= budget {
                budget -= tracks;
                host.look(&mut self.connections, &self.options, self.resolution_ns, now_ns, Depth::Phases);
            }
        }
    }

    /// Everything known at `now_ns`, with the listings that `wanted` names.
    pub fn snapshot(&mut self, now_ns: u64, wanted: Wanted) -> Snapshot {
        let mut snapshot = Snapshot { now_ns, losses: self.losses, ..Snapshot::default() };
        self.look_all(now_ns);
        for host in self.hosts.values() {
            let unstamped = self.unstamped.of(host.address);
            snapshot.addresses.push(AddressReport {
                unstamped,
                ..assemble::address(host, &self.connections, &self.options)
            });
            if wanted.connections {
                snapshot.connections.extend(assemble::connections(host, &self.connections));
            }
        }
        snapshot.addresses.sort_by_key(|report| report.address);
        snapshot.connections.sort_by_key(|c| (c.src, c.dst, c.src_port, c.dst_port));
        if wanted.siblings {
            let mut candidates: Vec<_> = self.hosts.values().flat_map(assemble::candidates).collect();
            candidates.sort_by_key(|candidate| (candidate.address, candidate.machine));
            snapshot.losses.machines_uncompared = candidates.len().saturating_sub(MAX_CANDIDATES) as u64;
            snapshot.siblings = sibling::find(&candidates);
        }
        snapshot.unstamped = self.unstamped.totals(|address| self.hosts.contains_key(address));
        snapshot.rtt = self.round_trips(now_ns);
        snapshot
    }

    /// What the engine holds now.
    pub fn holdings(&self) -> Holdings {
        let per_connection = size_of::<Connection>() + size_of::<FlowKey>() + 2 * size_of::<(usize, u64)>();
        let points: usize = self.connections.iter().map(|(_, c)| c.flow.heap_bytes()).sum();
        Holdings {
            records: self.records,
            flows: self.open.len(),
            connections: self.connections.len(),
            addresses: self.hosts.len(),
            memory_bytes: self.connections.capacity() * per_connection
                + points
                + self.hosts.capacity() * size_of::<Host>()
                + self.unstamped.heap_bytes()
                + self.rtt.as_ref().map_or(0, rtt::RttEngine::heap_bytes),
        }
    }

    /// Makes a place for a new connection; `None` if its address doesn't fit.
    fn open_connection(&mut self, key: FlowKey, record: &Record) -> Option<usize> {
        let hosts = self.hosts.len();
        let host = match self.hosts.entry(key.src) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if hosts < self.options.max_addresses => entry.insert(Host::new(key.src)),
            Entry::Vacant(_) => {
                self.losses.records_unplaced += 1;
                return None;
            }
        };
        host.connections_total += 1;
        let crowded = host.connections.len() >= self.options.max_connections_per_address;
        if crowded {
            self.forget_oldest_of(key.src);
        }
        self.make_room();
        let serial = self.next_serial;
        self.next_serial += 1;
        let place = self.connections.insert(Connection::new(key, Flow::new(record), serial));
        self.open.insert(key, place);
        self.eviction.push_back((place, serial));
        if let Some(host) = self.hosts.get_mut(&key.src) {
            host.connections.push_back(place);
        }
        Some(place)
    }

    /// Keeps the number of connections within its bound: the oldest finished one goes first, then
    /// an open one that has been idle.
    fn make_room(&mut self) {
        while self.connections.len() >= self.options.max_flows {
            match self.finished.pop_front() {
                Some((place, serial)) => {
                    if self.is_current(place, serial) {
                        self.forget(place);
                    }
                }
                None => self.evict(),
            }
        }
    }

    /// Evicts an open flow: the first in turn that has had no segment since it was last passed
    /// over, or the last one tried.
    fn evict(&mut self) {
        for attempt in 1.. {
            let Some((place, serial)) = self.eviction.pop_front() else { return };
            if !self.is_current(place, serial) || self.connections[place].finished {
                continue;
            }
            let flow = &mut self.connections[place].flow;
            if flow.active && attempt < EVICTION_TRIES {
                flow.active = false;
                self.eviction.push_back((place, serial));
                continue;
            }
            self.losses.flows_evicted += 1;
            self.finish(place);
            return;
        }
    }

    fn is_current(&self, place: usize, serial: u64) -> bool {
        self.connections.get(place).is_some_and(|connection| connection.serial == serial)
    }

    /// Closes an open connection; it stays remembered.
    fn finish(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        connection.finished = true;
        self.open.remove(&connection.key);
        self.finished.push_back((place, connection.serial));
    }

    /// Drops a connection altogether; its machine keeps the count.
    fn forget(&mut self, place: usize) {
        let connection = self.connections.remove(place);
        if !connection.finished {
            self.open.remove(&connection.key);
            self.losses.flows_evicted += 1;
        }
        self.losses.connections_forgotten += 1;
        let Some(host) = self.hosts.get_mut(&connection.key.src) else { return };
        // Old connections stand in front, so this looks at few.
        if let Some(position) = host.connections.iter().position(|&key| key == place) {
            host.connections.remove(position);
        }
        host.dirty = true;
        host.found = None;
        if connection.machine != 0 {
            *host.forgotten.entry(connection.machine).or_default() += 1;
        }
    }

    /// Forgets the oldest finished connection of an address, or its oldest if none is finished.
    fn forget_oldest_of(&mut self, address: Address) {
        let Some(host) = self.hosts.get(&address) else { return };
        let oldest = host.connections.iter().copied().find(|&place| self.connections[place].finished);
        if let Some(place) = oldest.or_else(|| host.connections.front().copied()) {
            self.forget(place);
        }
    }

    /// Finishes connections that closed or fell silent, a part of them at each call.
    fn sweep(&mut self, now_ns: u64) {
        let slots = self.connections.capacity();
        let part = slots.div_ceil(SWEEP_PARTS);
        for _ in 0..part {
            self.sweep_at = (self.sweep_at + 1) % slots.max(1);
            let Some(connection) = self.connections.get(self.sweep_at) else { continue };
            let silent_ns = now_ns.saturating_sub(connection.flow.last_ns);
            let closed = connection.flow.closed_ns.is_some() && silent_ns > LINGER_NS;
            if !connection.finished && (closed || silent_ns > self.options.idle_timeout_ns) {
                self.finish(self.sweep_at);
            }
        }
    }
}

/// A machine is announced once it was watched for this long, in nanoseconds: the first second of a
/// busy address has more guesses than machines.
const SETTLING_NS: u64 = 3_000_000_000;

/// A machine told by its phase is announced once it holds this many connections, and if the lower
/// end of the interval has a place for it: early lines come and go.
const SETTLED_CONNECTIONS: f64 = 5.0;

fn is_settled(machine: &snapshot::MachineReport, analysis: &analysis::Analysis) -> bool {
    let by_phase = machine.phase_ticks.is_some();
    let certain = !by_phase
        || (machine.connections >= SETTLED_CONNECTIONS
            && analysis.groups.len() <= analysis.count.low as usize);
    certain && machine.last_seen_ns.saturating_sub(machine.first_seen_ns) >= SETTLING_NS
}

/// Says what a look found for the first time.
fn announce(host: &mut Host, connections: &Slab<Connection>, options: &Options, events: &mut Vec<Event>) {
    let Some(found) = &host.found else { return };
    let machines = assemble::machines(host, found, connections, options);
    for machine in &machines {
        if !host.announced.contains(&machine.id) && is_settled(machine, &found.analysis) {
            let address = host.address;
            if let Some((before, at_s)) = reboot::predecessor(machine, &machines) {
                events.push(Event::Reboot { address, before, after: machine.id, at_s });
            }
            host.announced.push(machine.id);
            let known = machines.iter().filter(|m| host.announced.contains(&m.id)).count() as u32;
            events.push(Event::NewMachine { address, known, machine: Box::new(machine.clone()) });
        }
    }
    if found.analysis.doubt == Some(snapshot::Doubt::OffsetsRandom) && !host.random_announced {
        host.random_announced = true;
        events.push(Event::OffsetsRandom { address: host.address, connections: host.connections_total });
    }
}
