//! The intake of records: every record costs a bounded and small amount of work.

use tmap_common::{
    Flags, Record,
    record::{Plain, Slot},
};

use super::{
    reopening::Reopening,
    source::{Member, Source, SourceId},
    state::Flows,
    table::{NOWHERE, Table, flag, prefetch},
};

/// How long a closed connection takes in its last segments (the other side's FIN, retransmissions), in
/// nanoseconds: as long as Linux and Windows stay in TIME-WAIT.
const LINGER_NS: u64 = 60_000_000_000;

/// The number of records whose first slots [`Flows::observe_slots`] collects at once.
const SLOTS_AT_ONCE: usize = 256;

/// How many slots ahead are prefetched.
const SLOTS_AHEAD: usize = 32;

/// The stages of taking in a record: hash, find, fetch, update.
const STAGES: usize = 4;

/// Records that a stage handles at once: enough that what it prefetched has arrived when the next stage
/// needs it.
const GROUP: usize = 32;

/// The first group of these items.
fn group_of<T>(items: &[T]) -> &[T] {
    &items[..items.len().min(GROUP)]
}

/// What earlier stages found out about a record.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    hash: u32,
    place: u32,
}

impl Flows {
    /// Takes in one record. Many at once cost less each: [`Flows::observe_all`].
    pub fn observe(&mut self, record: &Record) {
        self.observe_all(std::slice::from_ref(record));
    }

    /// Takes in records, which should come roughly in order of time. A record that comes later than a
    /// network reorders segments costs precision and is never misread.
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

    /// Takes in whole records in the form in which they cross a ring. This is the cheapest way.
    pub fn observe_slots(&mut self, slots: &[Slot]) {
        let mut starts = [0_u32; SLOTS_AT_ONCE];
        let mut at = 0;
        while at < slots.len() {
            let mut count = 0;
            while at < slots.len() && count < SLOTS_AT_ONCE {
                // The slots come from another core's cache.
                prefetch(slots, at + SLOTS_AHEAD);
                starts[count] = at as u32;
                count += 1;
                // The branch is predicted, so the next record's start needn't wait for this one's slots.
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

    /// Takes in items in stages, a group of items at a time. Each stage prefetches what the next one needs,
    /// in a short loop, so that the processor has many memory requests under way at once.
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

    /// Takes in a plain record; `record` makes the whole record where that is needed.
    #[inline(always)]
    fn observe_plain(&mut self, plain: &Plain, ahead: Ahead, record: impl Fn() -> Record) {
        let place = self.table.find_plain(ahead.hash, plain, ahead.place);
        let is_ordinary = place != NOWHERE
            && plain.tsval != 0
            && !plain.flags.intersects(Flags::SYN)
            && self.table.is(place, flag::TOLD)
            && !self.table.is_in_handshake(place)
            && !self.is_over(place, plain.time_ns);
        if is_ordinary {
            self.table.observe_plain(place, plain, record);
        } else {
            self.observe_one(&record(), Ahead { place, ..ahead });
        }
    }

    #[inline(always)]
    fn observe_one(&mut self, record: &Record, ahead: Ahead) {
        let flags = record.segment.flags;
        // What a host sends to itself is its own answer, and shows nothing of who else there is.
        let is_to_itself = record.segment.src == record.segment.dst;
        if flags.intersects(Flags::SYN) && record.segment.is_stamped() && !is_to_itself {
            self.observe_handshake(record, ahead);
        } else {
            self.observe_own(record, ahead);
        }
    }

    /// Takes in a SYN or SYN-ACK, for both of its sides.
    #[inline(never)]
    fn observe_handshake(&mut self, record: &Record, ahead: Ahead) {
        let is_answer = !record.segment.flags.is_syn();
        if is_answer {
            self.await_echo(record);
        } else {
            self.await_answer(record);
        }
        if self.is_foreign(record) {
            // It is here only for the side that it goes to.
            self.records -= 1;
        } else {
            self.observe_own(record, ahead);
        }
        if is_answer {
            self.note_answered(record);
        }
    }

    #[inline(always)]
    fn observe_own(&mut self, record: &Record, Ahead { hash, place: guess }: Ahead) {
        let mut place = self.table.find(hash, &record.segment, guess);
        if place != NOWHERE && self.is_over(place, record.time_ns) {
            // A connection is finished here as well, so that the result doesn't depend on when sweeps run.
            self.table.finish(place);
            place = NOWHERE;
        }
        if !record.segment.is_stamped() {
            return self.unstamped.observe(record, place != NOWHERE, self.options.max_addresses);
        }
        if record.segment.flags.intersects(Flags::SYN) && place != NOWHERE {
            let Some(known) = self.known_place(place, record) else { return };
            place = known;
        }
        if place == NOWHERE {
            place = self.open(hash, record);
            if place == NOWHERE {
                return;
            }
        }
        self.take_in(place, record);
    }

    /// Takes in a record of the side at `place`.
    #[inline(always)]
    pub(super) fn take_in(&mut self, place: u32, record: &Record) {
        if self.table.is_in_handshake(place) || record.segment.flags.is_syn_ack() {
            self.look_for_completion(place, record);
        }
        self.table.observe(place, record);
        if record.segment.tsval == 0 || !self.table.is(place, flag::TOLD) {
            self.tell(place, record);
        }
    }

    /// Whether a connection is over at `now_ns`: no more of its segments are expected.
    #[inline(always)]
    pub(super) fn is_over(&self, place: u32, now_ns: u64) -> bool {
        let silent_ns = now_ns.saturating_sub(self.table.last_ns(place));
        silent_ns > LINGER_NS
            && (self.table.is(place, flag::CLOSED) || silent_ns > self.options.idle_timeout_ns)
    }

    /// Marks a connection's source as changed, once between two passes.
    #[inline(never)]
    fn tell(&mut self, place: u32, record: &Record) {
        self.table.set(place, flag::TOLD, true);
        let Some(&id) = self.ids.get(&record.segment.src) else { return };
        self.sources[id as usize].zero_tsvals += u64::from(record.segment.tsval == 0);
        self.mark(id);
    }

    /// Marks a source as changed.
    pub(super) fn mark(&mut self, id: SourceId) {
        let source = &mut self.sources[id as usize];
        source.dirty = true;
        if !source.listed {
            source.listed = true;
            self.changed.push(id);
        }
    }

    /// The place of the open side with the ports of a handshake's `record`, if that belongs to it;
    /// [`NOWHERE`] where it opens a new connection. Then the old one is finished. `None` where it waits.
    #[inline(never)]
    fn known_place(&mut self, place: u32, record: &Record) -> Option<u32> {
        let meaning = match record.segment.flags.is_syn() {
            true => self.reopening(place, record),
            false if self.answers_anew(place, record) => Reopening::Yes,
            false => Reopening::No,
        };
        match meaning {
            Reopening::No => Some(place),
            Reopening::Waits => None,
            Reopening::Yes => {
                self.table.finish(place);
                Some(NOWHERE)
            }
        }
    }

    /// The place of the connection that `record` opens. [`NOWHERE`] where there is no room for the connection
    /// or its address.
    #[inline(never)]
    pub(super) fn open(&mut self, hash: u32, record: &Record) -> u32 {
        self.began_ns.get_or_insert(record.time_ns);
        let id = self.source_of(record);
        if !self.make_room(id, record.time_ns) {
            self.losses.records_refused += 1;
            return NOWHERE;
        }
        let most = self.options.max_connections_per_address;
        let source = &mut self.sources[id as usize];
        source.connections_total += 1;
        source.pressed |= 2 * (source.connections_total - source.frozen_at) > most as u64;
        let may_go_on = !record.segment.flags.intersects(Flags::SYN);
        source.begun_again += u64::from(may_go_on && source.begun_again < source.evicted_open);
        let place = self.table.insert(hash, record);
        let source = &mut self.sources[id as usize];
        source.trial += 1;
        source.connections.push_back(Member { place, serial: source.connections_total as u32 });
        place
    }

    /// The number of a record's source. A new address gets that of another one where there are as many as
    /// there may be.
    fn source_of(&mut self, record: &Record) -> SourceId {
        let address = record.segment.src;
        if let Some(&id) = self.ids.get(&address) {
            return id;
        }
        let source = Source::new(address, record.time_ns, self.pace);
        let id = if self.sources.len() < self.options.max_addresses.max(1) {
            self.sources.push(source);
            self.sources.len() as SourceId - 1
        } else {
            self.replace_a_source(source, record.time_ns)
        };
        self.ids.insert(address, id);
        id
    }
}
