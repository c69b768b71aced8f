//! The half of the engine that keeps up with the wire: connections and addresses, as they come.
//!
//! Every record costs a bounded and small amount of work here. What takes longer, the analysis of
//! an address, works on a frozen copy of that address's connections ([`FrozenHost`]), wherever and
//! whenever the caller has time for it; [`Flows::looked`] then tells what it found, as far as that
//! decides when the next look is due.
//!
//! What happens where there is no room for a connection is told in [`evict`].

mod evict;

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use foldhash::fast::RandomState;
use tmap_common::{
    Address, Flags, Record,
    record::{Plain, Slot},
};

use super::{
    Holdings,
    analysis::Depth,
    connection::Connection,
    options::Options,
    part::Part,
    round_trips::Clockworks,
    rtt,
    snapshot::{Losses, Unstamped},
    table::{NOWHERE, Table, flag, prefetch},
    unstamped,
};

/// How long a closed connection stays open for its last segments (the other side's FIN,
/// retransmissions), in nanoseconds: as long as Linux and Windows wait before they let go of it.
const LINGER_NS: u64 = 60_000_000_000;

/// One review looks at this part of all connections for idle ones, so that its cost stays flat; and
/// at no more than so many.
const SWEEP_PARTS: u32 = 8;
const SWEEP_MOST: u32 = 1 << 18;

/// How many tracks one review sorts by phase at the most (one host's always): the looks of many
/// hosts are spread over many reviews.
const REVIEW_TRACKS: usize = 512;

/// How many connections one review has looked at, at the most (one host's always): analysing one
/// takes some microseconds.
const REVIEW_CONNECTIONS: usize = 1 << 16;

/// Looks at an address are this far apart at least, and further the more connections it has: a
/// look's cost grows with their number, so its share of time doesn't.
const LOOK_INTERVAL_NS: u64 = 1_000_000_000;
const LOOK_INTERVAL_PER_CONNECTION_NS: u64 = 2_000_000;

/// An address is first looked at when it was watched for this long, where looks are few.
const FIRST_LOOK_NS: u64 = 4_000_000_000;

/// Where looks are few, one is due when an address was watched for so many times as long as at the
/// last one: all looks on the way together cost less than the last one.
const SPARSE_GROWTH: u64 = 8;

/// How far ahead connections are fetched that are about to be copied.
const FREEZE_AHEAD: usize = 6;

/// How often addresses are looked at before anybody asks for a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As soon as there may be news: somebody is waiting for them.
    #[default]
    Prompt,
    /// Seldom: the end is near anyway, as it is for files. No look is left out that counts
    /// connections which are about to be forgotten.
    Sparse,
}

/// Records of which [`Flows::observe_slots`] notes where they begin, at once.
const SLOTS_AT_ONCE: usize = 256;

/// How far ahead slots are fetched.
const SLOTS_AHEAD: usize = 32;

/// The stages of taking in a record: hash, find, fetch, update.
const STAGES: usize = 4;

/// Records that a stage handles at once: enough that what it asked of memory is there when the next
/// stage needs it.
const GROUP: usize = 32;

/// The first group of these items.
fn group_of<T>(items: &[T]) -> &[T] {
    &items[..items.len().min(GROUP)]
}

/// What is known of a record under way.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    hash: u32,
    place: u32,
}

/// The number of a source address: its place in the order of appearance.
pub type HostId = u32;

/// Connections and addresses.
#[derive(Debug)]
pub struct Flows {
    options: Options,
    pace: Pace,
    table: Table,
    ids: HashMap<Address, HostId, RandomState>,
    hosts: Vec<Host>,
    /// Hosts of which something changed since they were last frozen, each once, and perhaps some that
    /// were frozen since.
    changed: Vec<HostId>,
    sweep_at: u32,
    eviction: evict::Turn,
    records: u64,
    losses: Losses,
    /// Connections opened without time stamps.
    unstamped: unstamped::Counts,
    /// Round trips, where they are asked for.
    pub(super) rtt: Option<rtt::RttEngine>,
    /// What the last snapshot knew of the clocks behind them.
    pub(super) clockworks: Option<Clockworks>,
}

/// What is held about a source address here.
#[derive(Debug)]
struct Host {
    address: Address,
    /// Connections remembered, open and finished, the oldest first.
    connections: VecDeque<Member>,
    eviction: evict::Turn,
    connections_total: u64,
    zero_tsvals: u64,
    /// Whether something changed since it was last frozen; it is in `changed` then.
    dirty: bool,
    /// Whether it is in `changed`.
    listed: bool,
    /// Whether a connection was forgotten since the last look: that look is void.
    void: bool,
    /// Whether connections are about to be forgotten that no look has seen: one is due at once.
    pressed: bool,
    /// When it appeared.
    born_ns: u64,
    next_look_ns: u64,
    /// Connections ever seen when the host was last frozen.
    frozen_at: u64,
    /// Offsets that only phase can sort, as of the last look.
    loose: u32,
    /// Connections ever seen when the host was last looked at by phase.
    phased_at: Option<u64>,
}

/// A host's connection.
#[derive(Clone, Copy, Debug)]
struct Member {
    place: u32,
    /// The how-manieth connection of its host: what names it in looks.
    serial: u32,
}

/// A copy of all that analysis needs to know of an address.
#[derive(Debug)]
pub struct FrozenHost {
    /// Which one.
    pub id: HostId,
    /// The address.
    pub address: Address,
    /// Connections ever seen.
    pub connections_total: u64,
    /// Segments with TSval 0.
    pub zero_tsvals: u64,
    /// What was opened without time stamps, if anything.
    pub unstamped: Option<Unstamped>,
    /// Whether a look now could tell more than the last one did.
    pub stale: bool,
    /// Connections remembered, open and finished, the oldest first.
    pub connections: Vec<Connection>,
}

/// What a look found, as far as it decides about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// At which host.
    pub id: HostId,
    /// How deep the look was; `None` if there was none.
    pub depth: Option<Depth>,
    /// Offsets that only phase can sort.
    pub loose: usize,
    /// The host's `connections_total` at the time.
    pub connections_total: u64,
}

impl Flows {
    /// Nothing known yet.
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            pace: Pace::default(),
            table: Table::new(options.max_flows, options.max_history_bytes),
            ids: HashMap::default(),
            hosts: Vec::new(),
            changed: Vec::new(),
            sweep_at: 0,
            eviction: evict::Turn::default(),
            records: 0,
            losses: Losses::default(),
            unstamped: unstamped::Counts::default(),
            rtt: options.rtt.clone().map(rtt::RttEngine::new),
            clockworks: None,
        }
    }

    /// Says how often to look at addresses.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Takes in one record. Many at once are cheaper: [`Flows::observe_all`].
    pub fn observe(&mut self, record: &Record) {
        self.observe_all(std::slice::from_ref(record));
    }

    /// Takes in records. They should come roughly in order of time; ones that come late by more than
    /// the reordering of a network lose precision, never soundness.
    pub fn observe_all(&mut self, records: &[Record]) {
        self.records += records.len() as u64;
        if let Some(rtt) = &mut self.rtt {
            records
                .iter()
                .filter(|record| record.segment.is_stamped())
                .for_each(|record| rtt.observe(record));
        }
        self.in_stages(
            records,
            |table, record| table.prepare(&record.segment),
            |flows, record, ahead| flows.observe_one(record, ahead),
        );
    }

    /// Takes in records as they cross a ring, whole ones: the way that costs least.
    pub fn observe_slots(&mut self, slots: &[Slot]) {
        let mut starts = [0_u32; SLOTS_AT_ONCE];
        let mut at = 0;
        while at < slots.len() {
            let mut count = 0;
            while at < slots.len() && count < SLOTS_AT_ONCE {
                // They come from another core's cache.
                prefetch(slots, at + SLOTS_AHEAD);
                starts[count] = at as u32;
                count += 1;
                // A branch that is foreseen: where the next one begins needn't wait for this one.
                at += if Plain::is(&slots[at]) { 1 } else { Record::slots_of(&slots[at]) };
            }
            self.observe_slots_at(slots, &starts[..count]);
        }
    }

    fn observe_slots_at(&mut self, slots: &[Slot], starts: &[u32]) {
        let whole = |start: u32| {
            let mut rest = slots[start as usize..].iter().copied();
            let first = rest.next().unwrap_or_default();
            Record::from_slots(&first, || rest.next().unwrap_or_default())
        };
        if self.rtt.is_some() {
            return starts.iter().for_each(|&start| self.observe(&whole(start)));
        }
        self.records += starts.len() as u64;
        self.in_stages(
            starts,
            |table, &start| match Plain::of(&slots[start as usize]) {
                Some(plain) => table.prepare_plain(&plain),
                None => table.prepare(&whole(start).segment),
            },
            |flows, &start, ahead| match Plain::of(&slots[start as usize]) {
                Some(plain) => flows.observe_plain(&plain, ahead, || whole(start)),
                None => flows.observe_one(&whole(start), ahead),
            },
        );
    }

    /// Takes in items in stages, each of which asks for what the next one needs, for a group of items
    /// at a time: short loops, so that the processor has many requests under way at once.
    #[inline(always)]
    fn in_stages<T>(
        &mut self,
        items: &[T],
        prepare: impl Fn(&Table, &T) -> u32,
        observe: impl Fn(&mut Self, &T, Ahead),
    ) {
        let mut ahead = [[Ahead::default(); GROUP]; STAGES];
        let groups = items.chunks(GROUP);
        for turn in 0..groups.len() + STAGES - 1 {
            let group = |stage: usize| items.get(turn.checked_sub(stage)? * GROUP..).map(group_of);
            if let Some(items) = group(0) {
                for (ahead, item) in ahead[turn % STAGES].iter_mut().zip(items) {
                    ahead.hash = prepare(&self.table, item);
                }
            }
            if let Some(items) = group(1) {
                for ahead in &mut ahead[(turn - 1) % STAGES][..items.len()] {
                    ahead.place = self.table.guess(ahead.hash);
                }
            }
            if let Some(items) = group(2) {
                for ahead in &ahead[(turn - 2) % STAGES][..items.len()] {
                    self.table.prefetch_history(ahead.place);
                }
            }
            if let Some(items) = group(3) {
                for (item, &ahead) in items.iter().zip(&ahead[(turn - 3) % STAGES]) {
                    observe(self, item, ahead);
                }
            }
        }
    }

    /// A plain record; `record` is it as a whole, for when that is needed.
    #[inline(always)]
    fn observe_plain(&mut self, plain: &Plain, ahead: Ahead, record: impl Fn() -> Record) {
        let place = self.table.find_plain(ahead.hash, plain, ahead.place);
        let is_ordinary = place != NOWHERE
            && plain.tsval != 0
            && !plain.flags.intersects(Flags::SYN)
            && self.table.is(place, flag::TOLD)
            && !self.is_over(place, plain.time_ns);
        if is_ordinary {
            self.table.observe_plain(place, plain, record);
        } else {
            self.observe_one(&record(), Ahead { place, ..ahead });
        }
    }

    #[inline(always)]
    fn observe_one(&mut self, record: &Record, Ahead { hash, place: guess }: Ahead) {
        let mut place = self.table.find(hash, &record.segment, guess);
        if place != NOWHERE && self.is_over(place, record.time_ns) {
            // Whether a sweep came by in time must not matter.
            self.table.finish(place);
            place = NOWHERE;
        }
        if !record.segment.is_stamped() {
            return self.unstamped.observe(record, place != NOWHERE, self.options.max_addresses);
        }
        if place == NOWHERE || record.segment.flags.is_syn() {
            place = self.open(place, hash, record);
            if place == NOWHERE {
                return;
            }
        }
        self.table.observe(place, record);
        if record.segment.tsval == 0 || !self.table.is(place, flag::TOLD) {
            self.tell(place, record);
        }
    }

    /// Whether no more segments of a connection are expected at `now_ns`.
    #[inline(always)]
    fn is_over(&self, place: u32, now_ns: u64) -> bool {
        let silent_ns = now_ns.saturating_sub(self.table.last_ns(place));
        silent_ns > LINGER_NS
            && (self.table.is(place, flag::CLOSED) || silent_ns > self.options.idle_timeout_ns)
    }

    /// Tells the host that something changed, once between two looks.
    #[inline(never)]
    fn tell(&mut self, place: u32, record: &Record) {
        self.table.set(place, flag::TOLD, true);
        let Some(&id) = self.ids.get(&record.segment.src) else { return };
        self.hosts[id as usize].zero_tsvals += u64::from(record.segment.tsval == 0);
        self.mark(id);
    }

    /// Lists a host as changed.
    fn mark(&mut self, id: HostId) {
        let host = &mut self.hosts[id as usize];
        host.dirty = true;
        if !host.listed {
            host.listed = true;
            self.changed.push(id);
        }
    }

    /// The place of a connection that `record` opens, or of the known one that it goes on with;
    /// [`NOWHERE`] if it or its address doesn't fit.
    #[inline(never)]
    fn open(&mut self, place: u32, hash: u32, record: &Record) -> u32 {
        if place != NOWHERE {
            if !self.table.is_reopened_by(place, record) {
                return place;
            }
            self.table.finish(place);
        }
        let Some(id) = self.host_of(record) else {
            self.losses.records_unplaced += 1;
            return NOWHERE;
        };
        if !self.make_room(id, record.time_ns) {
            self.losses.records_refused += 1;
            return NOWHERE;
        }
        let most = self.options.max_connections_per_address;
        let host = &mut self.hosts[id as usize];
        host.connections_total += 1;
        host.pressed |= 2 * (host.connections_total - host.frozen_at) > most as u64;
        let place = self.table.insert(hash, record);
        let host = &mut self.hosts[id as usize];
        host.connections.push_back(Member { place, serial: host.connections_total as u32 });
        place
    }

    /// The number of a record's source, given now if need be; `None` where no more fit.
    fn host_of(&mut self, record: &Record) -> Option<HostId> {
        let known = self.hosts.len();
        let address = record.segment.src;
        match self.ids.entry(address) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) if known < self.options.max_addresses => {
                self.hosts.push(Host::new(address, record.time_ns, self.pace));
                Some(*entry.insert(known as HostId))
            }
            Entry::Vacant(_) => None,
        }
    }

    /// Finishes connections that closed or fell silent, a part of them at each call. Meant to be
    /// called about once a second of engine time.
    pub fn sweep(&mut self, now_ns: u64) {
        self.sweep_next(self.table.places().div_ceil(SWEEP_PARTS).min(SWEEP_MOST), now_ns);
    }

    /// The same for all of them.
    pub fn sweep_all(&mut self, now_ns: u64) {
        self.sweep_next(self.table.places(), now_ns);
    }

    fn sweep_next(&mut self, count: u32, now_ns: u64) {
        let places = self.table.places();
        for _ in 0..count {
            let place = self.sweep_at + 1;
            let place = if place < places { place } else { 0 };
            self.sweep_at = place;
            if !self.table.is(place, flag::LIVE) || self.table.is(place, flag::FINISHED) {
                continue;
            }
            if self.is_over(place, now_ns) {
                self.table.finish(place);
            }
        }
    }

    /// The hosts to be looked at now, and how deep: those that changed, the longest waiting first, as
    /// many as one review may take.
    pub fn due(&mut self, now_ns: u64) -> Vec<(HostId, Depth)> {
        let (hosts, pace) = (&mut self.hosts, self.pace);
        let mut due = Vec::new();
        self.changed.retain(|&id| {
            let host = &mut hosts[id as usize];
            host.listed = host.dirty;
            due.extend(host.due(now_ns, pace).map(|(depth, tracks)| (id, depth, tracks)));
            host.dirty
        });
        due.sort_unstable_by_key(|&(id, ..)| (hosts[id as usize].next_look_ns, hosts[id as usize].address));
        if pace == Pace::Sparse {
            // Nobody waits: the few looks that there are may take what they take.
            return due.into_iter().map(|(id, depth, _)| (id, depth)).collect();
        }
        let (mut tracks_left, mut connections_left) = (REVIEW_TRACKS, REVIEW_CONNECTIONS);
        due.retain(|&(id, _, tracks)| {
            if connections_left == 0 || (tracks > tracks_left && tracks_left < REVIEW_TRACKS) {
                return false;
            }
            tracks_left = tracks_left.saturating_sub(tracks);
            connections_left = connections_left.saturating_sub(hosts[id as usize].connections.len());
            true
        });
        due.into_iter().map(|(id, depth, _)| (id, depth)).collect()
    }

    /// All hosts, the ones with most connections first.
    pub fn by_size(&self) -> Vec<HostId> {
        let mut ids: Vec<HostId> = (0..self.hosts.len() as HostId).collect();
        ids.sort_unstable_by_key(|&id| {
            let host = &self.hosts[id as usize];
            (std::cmp::Reverse(host.connections_total), host.address)
        });
        ids
    }

    /// A copy of a host for analysis; what changes from now on makes the host due again.
    pub fn freeze(&mut self, id: HostId) -> FrozenHost {
        let host = &mut self.hosts[id as usize];
        let stale = host.dirty || (host.loose > 0 && host.phased_at.is_none());
        host.dirty = false;
        host.void = false;
        host.pressed = false;
        host.frozen_at = host.connections_total;
        // What is asked for here is there when the connection's turn comes.
        let ahead = host.connections.iter().skip(FREEZE_AHEAD);
        let ahead = ahead.map(Some).chain(std::iter::repeat(None));
        let far_ahead = host.connections.iter().skip(2 * FREEZE_AHEAD);
        let far_ahead = far_ahead.map(Some).chain(std::iter::repeat(None));
        let connections = host.connections.iter().zip(ahead.zip(far_ahead)).map(|(member, (next, later))| {
            if let Some(member) = later {
                self.table.prefetch(member.place);
            }
            if let Some(member) = next {
                self.table.prefetch_all(member.place);
            }
            self.table.set(member.place, flag::TOLD, false);
            Connection::new(self.table.key(member.place), self.table.copy(member.place), member.serial)
        });
        FrozenHost {
            id,
            address: host.address,
            connections_total: host.connections_total,
            zero_tsvals: host.zero_tsvals,
            unstamped: self.unstamped.of(host.address),
            stale,
            connections: connections.collect(),
        }
    }

    /// Takes note of what a look found.
    pub fn looked(&mut self, looked: Looked, now_ns: u64) {
        let Some(depth) = looked.depth else {
            self.mark(looked.id);
            return;
        };
        let host = &mut self.hosts[looked.id as usize];
        if !host.void {
            host.loose = looked.loose as u32;
        }
        if depth == Depth::Phases {
            host.phased_at = Some(looked.connections_total);
        }
        let remembered = host.connections.len() as u64;
        let interval_ns = LOOK_INTERVAL_NS + remembered * LOOK_INTERVAL_PER_CONNECTION_NS;
        // Times of a damaged file can be anything.
        let watched_ns = now_ns.saturating_sub(host.born_ns);
        host.next_look_ns = now_ns.saturating_add(match self.pace {
            Pace::Prompt => interval_ns,
            Pace::Sparse => interval_ns.max(watched_ns.saturating_mul(SPARSE_GROWTH - 1)),
        });
    }

    /// Adds to a snapshot what only this half knows: totals, losses and round trips.
    pub fn complete(&mut self, part: &mut Part, clockworks: Option<Clockworks>) {
        let snapshot = &mut part.snapshot;
        snapshot.losses = Losses {
            flows_thinned: self.table.thinned(),
            machines_uncompared: snapshot.losses.machines_uncompared,
            ..self.losses
        };
        snapshot.unstamped = self.unstamped.totals(|address| self.ids.contains_key(address));
        snapshot.rtt = self.round_trips(snapshot.now_ns, clockworks);
    }

    /// What is held here.
    pub fn holdings(&self) -> Holdings {
        let per_host = size_of::<Host>() + size_of::<(Address, HostId)>() + size_of::<HostId>();
        Holdings {
            records: self.records,
            flows: self.table.open(),
            connections: self.table.len(),
            addresses: self.hosts.len(),
            memory_bytes: self.table.heap_bytes()
                + self.table.len() * size_of::<Member>()
                + self.hosts.len() * per_host
                + self.unstamped.heap_bytes()
                + self.rtt.as_ref().map_or(0, rtt::RttEngine::heap_bytes),
        }
    }
}

impl Host {
    fn new(address: Address, born_ns: u64, pace: Pace) -> Self {
        let next_look_ns = if pace == Pace::Sparse { born_ns.saturating_add(FIRST_LOOK_NS) } else { 0 };
        Self {
            address,
            connections: VecDeque::new(),
            eviction: evict::Turn::default(),
            connections_total: 0,
            zero_tsvals: 0,
            dirty: false,
            listed: false,
            void: false,
            pressed: false,
            born_ns,
            next_look_ns,
            frozen_at: 0,
            loose: 0,
            phased_at: None,
        }
    }

    /// How deep a look is due at `now_ns`, if any, and what it costs in tracks to be sorted.
    ///
    /// A look by phase is due when the connections have grown by half since the last one: so the
    /// looks of a host's whole life together cost no more than three of the last one's size. Where
    /// looks are few and nothing was forgotten yet, they have to have grown [`SPARSE_GROWTH`] times.
    fn due(&self, now_ns: u64, pace: Pace) -> Option<(Depth, usize)> {
        if !self.dirty || (now_ns < self.next_look_ns && !self.pressed) {
            return None;
        }
        if self.loose == 0 {
            return Some((Depth::Offsets, 0));
        }
        let remembers_all = self.connections.len() as u64 == self.connections_total;
        let has_grown = |before: u64| match pace {
            Pace::Sparse if remembers_all => self.connections_total >= SPARSE_GROWTH * before,
            _ => 2 * self.connections_total >= 3 * before,
        };
        self.phased_at.is_none_or(has_grown).then_some((Depth::Phases, self.loose as usize))
    }
}
