//! What happens where there is no room for a connection: which one goes, or that it stays out.
//!
//! Of [`CANDIDATES`] places in turn goes, in this order,
//! 1. one that is over: closed, or silent for the idle time-out;
//! 2. one of fewer than [`PROVEN_SEGMENTS`] segments that was silent for [`TRIAL_NS`]: most of them are
//!    scans or forged, and nothing can be told from them;
//! 3. one of more segments that was silent for [`IDLE_NS`];
//!
//! and within each the one that was silent for longest. Where there is none, the new one stays out, and its
//! records are counted. A clock takes a connection's segments over time, so a part of the connections
//! watched well tells more than all of them watched in turns, each for a moment. The choice costs the
//! same however large the table is, and after a vain search nobody searches again for a moment.

use super::{source::SourceId, state::Flows, table::flag, turn::CANDIDATES};

/// A connection with so many segments is worth keeping while it lasts.
const PROVEN_SEGMENTS: u32 = 4;

/// A connection of fewer has so long to show another, in nanoseconds.
const TRIAL_NS: u64 = 2_000_000_000;

/// One of more that was silent for this long is idle, in nanoseconds.
const IDLE_NS: u64 = 30_000_000_000;

/// How long no room is looked for after a vain search, in nanoseconds: in the table, a million places
/// then take 7 s to go through, in an address 4,096 take 1.3 s.
const FULL_TABLE_NS: u64 = 100_000;
const FULL_ADDRESS_NS: u64 = 5_000_000;

impl Flows {
    /// Makes room for one more connection of this address; false where none can go.
    pub(super) fn make_room(&mut self, id: SourceId, now_ns: u64) -> bool {
        let source = &self.sources[id as usize];
        let has_room = source.connections.len() < self.options.max_connections_per_address;
        (has_room || self.make_room_at(id, now_ns))
            && (!self.table.is_full() || self.make_room_in_table(now_ns))
    }

    /// Makes room among an address's connections.
    fn make_room_at(&mut self, id: SourceId, now_ns: u64) -> bool {
        let source = &mut self.sources[id as usize];
        if source.eviction.rests(now_ns, FULL_ADDRESS_NS) {
            return false;
        }
        // Old connections stand in front: mostly one of the first is over.
        let count = source.connections.len();
        let in_turn = source.eviction.next(count);
        let source = &self.sources[id as usize];
        let ranked = |index: usize| Some((self.rank(source.connections[index].place, now_ns)?, index));
        let first = (0..count.min(CANDIDATES)).filter_map(ranked).min();
        let best = first
            .filter(|((class, _), _)| *class == 0)
            .or_else(|| in_turn.filter_map(ranked).chain(first).min());
        match best {
            Some((_, index)) => self.discard(id, index),
            None => self.sources[id as usize].eviction.full_at_ns = Some(now_ns),
        }
        best.is_some()
    }

    /// Makes room in the table.
    fn make_room_in_table(&mut self, now_ns: u64) -> bool {
        if self.eviction.rests(now_ns, FULL_TABLE_NS) {
            return false;
        }
        let in_turn = self.eviction.next(self.table.places() as usize).map(|place| place as u32);
        let live = in_turn.filter(|&place| self.table.is(place, flag::LIVE));
        let best = live.filter_map(|place| Some((self.rank(place, now_ns)?, place))).min();
        let of_best = best.and_then(|(_, place)| {
            let id = *self.ids.get(&self.table.key(place).src)?;
            let index =
                self.sources[id as usize].connections.iter().position(|member| member.place == place)?;
            Some((id, index))
        });
        match of_best {
            Some((id, index)) => self.discard(id, index),
            None => self.eviction.full_at_ns = Some(now_ns),
        }
        of_best.is_some()
    }

    /// How soon the connection at `place` goes, the least first; `None` where it stays.
    fn rank(&self, place: u32, now_ns: u64) -> Option<(u8, u64)> {
        let last_ns = self.table.last_ns(place);
        // Times may leap.
        let silent_ns = last_ns.abs_diff(now_ns);
        let is_proven = self.table.segments(place) >= PROVEN_SEGMENTS;
        let class = if self.table.is(place, flag::FINISHED | flag::CLOSED) || self.is_over(place, now_ns) {
            0
        } else if !is_proven && silent_ns > TRIAL_NS {
            1
        } else if is_proven && silent_ns > IDLE_NS {
            2
        } else {
            return None;
        };
        Some((class, last_ns))
    }

    /// Drops an address's connection altogether; its machine keeps the count.
    fn discard(&mut self, id: SourceId, index: usize) {
        let source = &mut self.sources[id as usize];
        let Some(member) = source.connections.remove(index) else { return };
        source.pressed |= u64::from(member.serial) > source.frozen_at;
        source.void = true;
        source.random_offsets = 0;
        self.losses.flows_evicted += u64::from(!self.table.is(member.place, flag::FINISHED));
        self.losses.connections_forgotten += 1;
        self.table.remove(member.place);
        self.mark(id);
    }
}
