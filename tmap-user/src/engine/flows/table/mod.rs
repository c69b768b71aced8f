//! The flow table: connection sides by addresses and ports, built for many and fast ones.
//!
//! ```text
//! hash -> Index (8 B a slot) -> Entry (64 B, one line) -> block of steps | rich Flow
//! ```
//!
//! Nearly every record touches one line of the index and one entry; every third or fourth first
//! arrival also touches the flow's history. What a flow shows is exactly what [`Flow`] would show of
//! the same records, except where the budget for histories is used up (see [`history`]).

mod entry;
mod features;
mod hash;
mod history;
mod index;
mod memory;
mod pool;
mod steps;
#[cfg(test)]
mod tests;

use slab::Slab;
use tmap_common::{Address, Flags, Record, Segment, Tunnel, record::Plain};

use crate::engine::{
    flows::{
        flow::Flow,
        side_key::{Passage, SideKey},
    },
    os::signature::Fingerprint,
    tsval::SMALL_TICKS,
    types::{FlowKey, Side},
};
use entry::Entry;
pub(super) use entry::flag;
use features::{FeatureTable, Features};
use hash::{Hasher, ports};
pub(super) use history::Packed;
use history::{Histories, set_rich_pace};
use index::Index;
pub(super) use memory::prefetch;
use steps::{MAX_STEP_NS, Step};

/// No place.
pub(super) const NOWHERE: u32 = u32::MAX;

/// How far a side's handshake came.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The TSval of the other side's SYN or SYN-ACK, which this side echoes or owes an echo of.
    tsval: u32,
    /// Echoes of other values since.
    wrong: u8,
    stage: Stage,
}

/// How far a side's handshake came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The side has echoed nothing, and owes nothing.
    #[default]
    Unknown,
    /// The other side answered its SYN: it owes an echo of that answer.
    Asked,
    /// It answered the other side's SYN, and has sent nothing else: the other side may be a scanner.
    HalfOpen,
    /// The side echoed what only the other side's handshake showed, and went on.
    Complete,
}

/// After so many wrong echoes, no other one counts: whoever took part knows what to echo.
const MOST_WRONG: u8 = 4;

/// An echo may be of a segment sent this many ticks after the handshake: the first segments of a connection
/// may be lost or unseen. A guess hits one time in 65,000, and there are [`MOST_WRONG`] guesses.
const ECHO_TICKS: u32 = 1 << 16;

/// How late a handshake's segment may come after a later one of its connection, in nanoseconds. Whoever
/// forged that one didn't know when the connection would begin, nor its TSval.
const OVERTAKEN_NS: u64 = 1_000_000_000;

/// The most entries: places are 32-bit words, and so is what the index holds of them.
const MAX_ENTRIES: usize = u32::MAX as usize - 1;

/// What names a side beside its ports, where that isn't just two IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wide {
    ends: [Address; 2],
    passage: Passage,
}

impl Wide {
    fn of(segment: &Segment) -> Self {
        Self { ends: [segment.src, segment.dst], passage: Passage::of(segment) }
    }
}

/// Whether two IPv4 addresses and the ports name the side of `segment`.
#[inline(always)]
fn is_narrow(segment: &Segment) -> bool {
    Address::are_ip4(&segment.src, &segment.dst) && segment.tunnel.is_none_or(|tunnel| !tunnel.is_over_ip)
}

/// A table of connection sides.
#[derive(Debug)]
pub(super) struct Table {
    hasher: Hasher,
    index: Index,
    entries: Vec<Entry>,
    /// Bytes of data of each entry's side, which would be too much for its cache line.
    payload_bytes: Vec<u64>,
    /// How far the handshake of each entry's side came.
    handshakes: Vec<Progress>,
    /// Unused entries, a list through the first word of their keys.
    free: u32,
    live: usize,
    most: usize,
    /// Addresses and tunnels of sides that aren't plain IPv4.
    wide: Slab<Wide>,
    features: FeatureTable,
    histories: Histories,
}

impl Table {
    /// A table for up to `most` sides, with `history_bytes` for what is remembered beyond the
    /// entries.
    pub(super) fn new(most: usize, history_bytes: usize) -> Self {
        let most = most.clamp(1, MAX_ENTRIES);
        // Address space only: memory is taken page by page. Where even that is refused, the vector
        // grows as it must.
        let mut entries = Vec::new();
        let _ = entries.try_reserve_exact(most);
        let mut payload_bytes = Vec::new();
        let _ = payload_bytes.try_reserve_exact(most);
        let mut handshakes = Vec::new();
        let _ = handshakes.try_reserve_exact(most);
        Self {
            hasher: Hasher::new(),
            index: Index::new(most),
            entries,
            payload_bytes,
            handshakes,
            free: NOWHERE,
            live: 0,
            most,
            wide: Slab::new(),
            features: FeatureTable::default(),
            histories: Histories::new(history_bytes),
        }
    }

    /// Sides held, open and finished.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Sides that are open.
    pub(super) fn open(&self) -> usize {
        self.index.len()
    }

    /// Whether another side needs another one to go first.
    pub(super) fn is_full(&self) -> bool {
        self.live >= self.most
    }

    /// Places ever used: all sides are at places below this.
    pub(super) fn places(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Times that a flow had to halve its points to stay within the budget.
    pub(super) fn thinned(&self) -> u64 {
        self.histories.thinned
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.index.heap_bytes()
            + self.entries.len() * (size_of::<Entry>() + size_of::<u64>() + size_of::<Progress>())
            + self.wide.capacity() * size_of::<Wide>()
            + self.features.heap_bytes()
            + self.histories.heap_bytes()
    }

    /// The hash of a segment's side, and a hint that it will be looked up soon.
    #[inline(always)]
    pub(super) fn prepare(&self, segment: &Segment) -> u32 {
        let hash = self.hasher.hash(segment);
        self.index.prefetch(hash);
        hash
    }

    /// The hash of a plain record's side, and a hint that it will be looked up soon.
    #[inline(always)]
    pub(super) fn prepare_plain(&self, plain: &Plain) -> u32 {
        let hash = self.hasher.hash_plain(plain);
        self.index.prefetch(hash);
        hash
    }

    /// Where a side with this hash probably is, and a hint that it will be updated soon.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u32) -> u32 {
        let place = self.index.guess(hash);
        prefetch(&self.entries, place as usize);
        prefetch(&self.payload_bytes, place as usize);
        place
    }

    /// A hint that an entry will be needed.
    pub(super) fn prefetch(&self, place: u32) {
        prefetch(&self.entries, place as usize);
    }

    /// A hint that all that lies behind the entry will be needed.
    pub(super) fn prefetch_all(&self, place: u32) {
        if let Some(entry) = self.entries.get(place as usize) {
            self.histories.prefetch_all(entry);
        }
    }

    /// A hint that what lies behind the entry will be needed, if it looks so.
    #[inline(always)]
    pub(super) fn prefetch_history(&self, place: u32) {
        if let Some(entry) = self.entries.get(place as usize) {
            self.histories.prefetch(entry);
        }
    }

    /// Where the open side of `segment` is; `guess` is tried first.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, segment: &Segment, guess: u32) -> u32 {
        if guess != NOWHERE && self.is_open_side(guess, segment) {
            return guess;
        }
        self.index.find(hash, |place| self.is_open_side(place, segment)).unwrap_or(NOWHERE)
    }

    /// Where the open side of a plain record is; `guess` is tried first.
    #[inline(always)]
    pub(super) fn find_plain(&self, hash: u32, plain: &Plain, guess: u32) -> u32 {
        let wanted = [plain.addresses as u32, (plain.addresses >> 32) as u32, plain.ports];
        let is_it = |place: u32| {
            let entry = &self.entries[place as usize];
            let flags = entry.flags & (flag::LIVE | flag::FINISHED | flag::WIDE);
            flags == flag::LIVE && entry.key == wanted
        };
        if guess != NOWHERE && is_it(guess) {
            return guess;
        }
        self.index.find(hash, is_it).unwrap_or(NOWHERE)
    }

    #[inline(always)]
    fn is_open_side(&self, place: u32, segment: &Segment) -> bool {
        let entry = &self.entries[place as usize];
        if entry.flags & (flag::LIVE | flag::FINISHED) != flag::LIVE || entry.key[2] != ports(segment) {
            return false;
        }
        if entry.is(flag::WIDE) {
            return self.wide[entry.key[0] as usize] == Wide::of(segment);
        }
        entry.key[0] == segment.src.low_word() && entry.key[1] == segment.dst.low_word() && is_narrow(segment)
    }

    /// Adds the side of `record`, which isn't there and for which there is room; the caller
    /// observes that record next.
    pub(super) fn insert(&mut self, hash: u32, record: &Record) -> u32 {
        debug_assert!(!self.is_full());
        let segment = &record.segment;
        let (addresses, flags) = if is_narrow(segment) {
            ([segment.src.low_word(), segment.dst.low_word()], 0)
        } else {
            ([self.wide.insert(Wide::of(segment)) as u32, 0], flag::WIDE)
        };
        let mut entry = Entry::new([addresses[0], addresses[1], ports(segment)], flags, record.time_ns);
        entry.hop_limit = segment.hop_limit;
        let place = if self.free == NOWHERE {
            if self.entries.len() == memory::SMALL_BYTES / size_of::<Entry>() {
                memory::use_large_pages(&mut self.entries);
            }
            self.entries.push(entry);
            self.payload_bytes.push(0);
            self.handshakes.push(Progress::default());
            self.entries.len() as u32 - 1
        } else {
            let place = self.free;
            self.free = self.entries[place as usize].key[0];
            self.entries[place as usize] = entry;
            self.payload_bytes[place as usize] = 0;
            self.handshakes[place as usize] = Progress::default();
            place
        };
        self.live += 1;
        self.index.insert(hash, place);
        place
    }

    /// Finishes an open side: it stays, but is found no more.
    pub(super) fn finish(&mut self, place: u32) {
        let hash = self.hasher.hash_key(&self.side_key(place));
        self.index.remove(hash, place);
        self.entries[place as usize].set(flag::FINISHED, true);
    }

    /// Drops a side altogether.
    pub(super) fn remove(&mut self, place: u32) {
        if !self.is(place, flag::FINISHED) {
            self.finish(place);
        }
        let entry = &mut self.entries[place as usize];
        self.histories.forget(entry);
        self.features.give(entry.features());
        if entry.is(flag::WIDE) {
            self.wide.remove(entry.key[0] as usize);
        }
        *entry = Entry::new([self.free, 0, 0], 0, 0);
        entry.set(flag::LIVE, false);
        self.free = place;
        self.live -= 1;
    }

    /// Whether the side at `place` has any of `flags`; places without a side have none.
    #[inline(always)]
    pub(super) fn is(&self, place: u32, flags: u16) -> bool {
        self.entries[place as usize].is(flags)
    }

    /// Sets or clears flags of a side.
    #[inline(always)]
    pub(super) fn set(&mut self, place: u32, flags: u16, on: bool) {
        self.entries[place as usize].set(flags, on);
    }

    /// When the last record of a side came; see [`Entry::last_ns`].
    pub(super) fn last_ns(&self, place: u32) -> u64 {
        self.entries[place as usize].last_ns()
    }

    /// Segments of a side, suppressed ones included, as far as its entry counts them.
    pub(super) fn segments(&self, place: u32) -> u32 {
        self.entries[place as usize].segments
    }

    /// Where the open side of this key is.
    pub(super) fn find_key(&self, key: &SideKey) -> u32 {
        let is_it = |place: u32| !self.is(place, flag::FINISHED) && self.side_key(place) == *key;
        self.index.find(self.hasher.hash_key(key), is_it).unwrap_or(NOWHERE)
    }

    /// The other side's handshake answered the side at `place`, and showed `tsval`: a later segment must
    /// echo it. `echo` is the answer's own echo of this side's SYN.
    pub(super) fn await_echo(&mut self, place: u32, tsval: u32, echo: u32) {
        let entry = &mut self.entries[place as usize];
        let progress = &mut self.handshakes[place as usize];
        let echoes = if entry.is(flag::POINT) {
            entry.tsval.wrapping_sub(echo) <= ECHO_TICKS
        } else {
            // Some hosts begin to stamp after their SYN.
            entry.is(flag::CLIENT) && echo == 0
        };
        if progress.stage != Stage::Complete && echoes {
            (progress.tsval, progress.stage) = (tsval, Stage::Asked);
            entry.set_in_handshake(true);
        }
    }

    /// Whether the handshake of the side at `place` waits for a segment of it.
    #[inline(always)]
    pub(super) fn is_in_handshake(&self, place: u32) -> bool {
        self.entries[place as usize].is_in_handshake()
    }

    /// Judges whether `tsecr` is the echo that the side at `place` owes. Wrong ones are counted.
    pub(super) fn judge_echo(&mut self, place: u32, tsecr: u32) -> bool {
        let progress = &mut self.handshakes[place as usize];
        let owes = progress.stage == Stage::Asked;
        let is_right =
            owes && progress.wrong < MOST_WRONG && tsecr.wrapping_sub(progress.tsval) <= ECHO_TICKS;
        progress.wrong = progress.wrong.saturating_add(u8::from(!is_right));
        is_right
    }

    /// The side at `place` has answered the other side's SYN, of TSval `echo`.
    pub(super) fn note_answer(&mut self, place: u32, echo: u32) {
        let progress = &mut self.handshakes[place as usize];
        if progress.stage != Stage::Complete {
            (progress.tsval, progress.stage) = (echo, Stage::HalfOpen);
            self.entries[place as usize].set_in_handshake(true);
        }
    }

    /// The side at `place` has completed its handshake.
    pub(super) fn note_complete(&mut self, place: u32) {
        self.entries[place as usize].set_in_handshake(false);
        self.handshakes[place as usize].stage = Stage::Complete;
    }

    /// The TSval of the other side's SYN or SYN-ACK; `None` where the side at `place` didn't echo it.
    pub(super) fn peers_opening(&self, place: u32) -> Option<u32> {
        let progress = self.handshakes[place as usize];
        (progress.stage == Stage::Complete && progress.tsval != 0).then_some(progress.tsval)
    }

    /// How far the handshake of the side at `place` came.
    #[inline(always)]
    pub(super) fn stage(&self, place: u32) -> Stage {
        self.handshakes[place as usize].stage
    }

    /// Addresses and ports of the side at `place`.
    pub(super) fn key(&self, place: u32) -> FlowKey {
        self.side_key(place).flow
    }

    /// What names the side at `place`.
    fn side_key(&self, place: u32) -> SideKey {
        let entry = &self.entries[place as usize];
        let Wide { ends: [src, dst], passage } = if entry.is(flag::WIDE) {
            self.wide[entry.key[0] as usize]
        } else {
            let ends = [entry.key[0], entry.key[1]].map(|word| Address::from_ip4(word.to_ne_bytes()));
            Wide { ends, passage: Passage::NONE }
        };
        let (src_port, dst_port) = (entry.key[2] as u16, (entry.key[2] >> 16) as u16);
        SideKey { flow: FlowKey { src, dst, src_port, dst_port }, passage }
    }

    /// Whether a SYN opens a new connection on the ports of the side at `place`.
    pub(super) fn is_reopened_by(&self, place: u32, syn: &Record) -> bool {
        let is_known = if self.is(place, flag::CLIENT) {
            // An earlier SYN without a TSval may be forged.
            self.is(place, flag::POINT) || syn.segment.tsval == 0
        } else {
            self.is_overtaken(place, syn)
        };
        !is_known || self.is(place, flag::CLOSED) || self.thaw(place).is_reopened_by(syn)
    }

    /// Whether a handshake's segment comes right after another one of its connection: networks reorder
    /// segments, and so do several CPUs that handle them.
    pub(super) fn is_overtaken(&self, place: u32, begins: &Record) -> bool {
        let entry = &self.entries[place as usize];
        entry.is(flag::POINT)
            && entry.tsval.wrapping_sub(begins.segment.tsval).cast_signed().unsigned_abs() <= SMALL_TICKS
            && entry.newest_ns.abs_diff(begins.time_ns) <= OVERTAKEN_NS
    }

    /// Whether the clock of the side at `place` can have shown the TSval of `record`.
    pub(super) fn explains(&self, place: u32, record: &Record) -> bool {
        self.thaw(place).explains(record)
    }

    /// Takes in one segment of the side at `place`.
    #[inline(always)]
    pub(super) fn observe(&mut self, place: u32, record: &Record) {
        let segment = &record.segment;
        if segment.tunnel.is_some() && self.segments(place) == 0 {
            self.note_tunnel(place, segment.tunnel);
        }
        let seen = Plain {
            time_ns: record.time_ns,
            addresses: 0,
            ports: 0,
            tsval: segment.tsval,
            flags: segment.flags,
            hop_limit: segment.hop_limit,
            suppressed: record.suppressed,
            payload_bytes: segment.payload_bytes,
        };
        self.take_in(place, &seen, segment.syn.is_some(), || *record);
    }

    /// Takes in one plain record of the side at `place`; `record` makes the whole one, which is rarely
    /// needed.
    #[inline(always)]
    pub(super) fn observe_plain(&mut self, place: u32, plain: &Plain, record: impl FnOnce() -> Record) {
        self.take_in(place, plain, false, record);
    }

    #[inline(always)]
    fn take_in(&mut self, place: u32, seen: &Plain, has_syn: bool, record: impl FnOnce() -> Record) {
        let entry = &mut self.entries[place as usize];
        entry.segments = entry.segments.saturating_add(1 + u32::from(seen.suppressed));
        if seen.payload_bytes != 0 {
            self.payload_bytes[place as usize] += u64::from(seen.payload_bytes);
        }
        if seen.flags.intersects(Flags::FIN | Flags::RST) {
            entry.flags |= flag::CLOSED;
        }
        let ticks = seen.tsval.wrapping_sub(entry.tsval).cast_signed();
        let last_ns = entry.last_ns().max(seen.time_ns);
        let odd = has_syn
            || seen.flags.intersects(Flags::SYN | Flags::RST)
            || seen.tsval == 0
            || entry.flags & (flag::POINT | flag::SUSPECT) != flag::POINT;
        if !odd && ticks <= 0 && entry.is_surely_late(ticks.unsigned_abs()) {
            entry.set_last_ns(last_ns);
            return;
        }
        let time_ns = seen.time_ns.wrapping_sub(entry.newest_ns);
        if odd || ticks < 0 || time_ns > LONGEST_NS || !entry.surely_continues(ticks.cast_unsigned(), time_ns)
        {
            self.observe_odd(place, &record(), last_ns);
            return;
        }
        let step = Step { time_ns, ticks: ticks.cast_unsigned() };
        entry.note_step(step);
        if entry.stride_log2() != 0 || !entry.push(step) {
            self.append(place, step);
        }
        let entry = &mut self.entries[place as usize];
        entry.newest_ns = seen.time_ns;
        entry.tsval = seen.tsval;
        entry.set_last_ns(last_ns);
    }

    /// Appends a step that doesn't simply fit into the entry.
    #[inline(never)]
    fn append(&mut self, place: u32, step: Step) {
        let entry = &mut self.entries[place as usize];
        if entry.stride_log2() != 0 && entry.swallow(step) || entry.push(step) {
            return;
        }
        // Once to make room; and where that meant thinning, which may not have been enough, again.
        for _ in 0..2 {
            self.histories.flush(entry);
            // The pace that this found doesn't know of the step.
            entry.note_step(step);
            if entry.push(step) {
                return;
            }
        }
        self.histories.restart(entry);
        entry.push(step);
    }

    /// The records that are rare: handshakes, resets, first points, and what isn't surely plausible.
    #[inline(never)]
    fn observe_odd(&mut self, place: u32, record: &Record, last_ns: u64) {
        let segment = &record.segment;
        // A handshake has one beginning: another one may be forged.
        let is_first = !self.is(place, flag::CLIENT | flag::SERVER);
        if let Some(fingerprint) = Fingerprint::of(segment).filter(|_| is_first) {
            self.shake_hands(place, fingerprint, segment.flags.is_syn_ack());
        }
        let shows_no_clock =
            segment.tsval == 0 || segment.flags.is_syn_ack() || segment.flags.intersects(Flags::RST);
        if !shows_no_clock {
            if self.is(place, flag::POINT) {
                self.observe_clock(place, record);
            } else {
                self.first_point(place, record);
            }
        }
        self.entries[place as usize].set_last_ns(last_ns);
    }

    fn shake_hands(&mut self, place: u32, fingerprint: Fingerprint, is_answer: bool) {
        let entry = &mut self.entries[place as usize];
        entry.set(if is_answer { flag::SERVER } else { flag::CLIENT }, true);
        let features = self.features.get(entry.features());
        self.set_features(place, Features { fingerprint: Some(fingerprint), ..features });
    }

    /// Notes the tunnel of the first segment.
    #[inline(never)]
    fn note_tunnel(&mut self, place: u32, tunnel: Option<Tunnel>) {
        let features = self.features.get(self.entries[place as usize].features());
        self.set_features(place, Features { tunnel, ..features });
    }

    fn set_features(&mut self, place: u32, features: Features) {
        let entry = &mut self.entries[place as usize];
        let before = entry.features();
        entry.set_features(self.features.take(features));
        entry.set(flag::TUNNEL, features.tunnel.is_some());
        self.features.give(before);
    }

    fn first_point(&mut self, place: u32, record: &Record) {
        const MAX_LEAD_NS: u64 = (1 << 48) - 1;
        let entry = &mut self.entries[place as usize];
        let lead_ns = record.time_ns.saturating_sub(entry.newest_ns).min(MAX_LEAD_NS);
        entry.newest_ns = record.time_ns;
        entry.tsval = record.segment.tsval;
        entry.set(flag::POINT, true);
        if lead_ns > 0 {
            entry.set(flag::LEAD, true);
            entry.push_unit(lead_ns);
        }
    }

    /// A clock reading whose plausibility takes the whole history to tell.
    fn observe_clock(&mut self, place: u32, record: &Record) {
        let entry = &mut self.entries[place as usize];
        if !entry.is(flag::RICH) {
            let flow = self.histories.thaw(entry);
            let ticks = record.segment.tsval.wrapping_sub(entry.tsval).cast_signed();
            let time_ns = record.time_ns.wrapping_sub(entry.newest_ns);
            if flow.continues(record) {
                if ticks <= 0 {
                    return;
                }
                if time_ns <= MAX_STEP_NS {
                    let step = Step { time_ns, ticks: ticks.cast_unsigned() };
                    entry.note_step(step);
                    self.append(place, step);
                    let entry = &mut self.entries[place as usize];
                    entry.newest_ns = record.time_ns;
                    entry.tsval = record.segment.tsval;
                    return;
                }
            }
            // Jumps and points that come before the newest are the rich flow's business; where there
            // is no room for one, they are left out.
            if !self.histories.enrich(entry) {
                return;
            }
        }
        if let Some(flow) = self.histories.rich_of(entry) {
            flow.observe_clock(record);
            entry.set(flag::SUSPECT, flow.has_suspect());
            if let Some(newest) = flow.newest() {
                entry.newest_ns = newest.time_ns;
                entry.tsval = newest.ticks as u32;
            }
            set_rich_pace(flow, entry);
        }
    }

    /// The flow at `place`, as if it had been a [`Flow`] all along.
    pub(super) fn thaw(&self, place: u32) -> Flow {
        let (mut flow, packed) = self.copy(place);
        flow.accept_all(packed.points());
        flow
    }

    /// The flow at `place`, and its points that are still packed: cheaper than to unpack them.
    pub(super) fn copy(&self, place: u32) -> (Flow, Packed) {
        let entry = &self.entries[place as usize];
        let (mut flow, packed) = self.histories.copy(entry);
        let side = match (entry.is(flag::CLIENT), entry.is(flag::SERVER)) {
            (true, _) => Some(Side::Client),
            (_, true) => Some(Side::Server),
            _ => None,
        };
        let last_ns = entry.last_ns();
        flow.segments += u64::from(entry.segments);
        flow.payload_bytes = self.payload_bytes[place as usize];
        flow.last_ns = last_ns;
        flow.closed_ns = entry.is(flag::CLOSED).then_some(last_ns);
        flow.side = side;
        Features { fingerprint: flow.fingerprint, tunnel: flow.tunnel } = self.features.get(entry.features());
        flow.hop_limit = entry.hop_limit;
        (flow, packed)
    }
}

/// A silence longer than this, in nanoseconds, may be one after which nothing can be said about a step
/// ([`Relation::Unknown`](crate::engine::tsval::Relation::Unknown)): 2^30 ticks take the fastest clock 976 s.
const LONGEST_NS: u64 = 900_000_000_000;
