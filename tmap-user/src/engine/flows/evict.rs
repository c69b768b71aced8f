//! Eviction: which connection makes room for a new one, or whether the new one is refused.
//!
//! [`CANDIDATES`] places, taken in turn, are considered. The first of these classes that has a candidate
//! is evicted from:
//! 1. connections that are over: closed, or silent for the idle time-out;
//! 2. connections of fewer than [`PROVEN_SEGMENTS`] segments that were silent for [`TRIAL_NS`]: most are
//!    scans or forged, and show nothing;
//! 3. connections of more segments that were silent for [`IDLE_NS`].
//!
//! Within a class, the connection that was silent for longest is evicted. Without a candidate the new
//! connection is refused, and its records are counted. A clock needs a connection's segments over time, so
//! some connections watched well show more than all connections watched for a moment each. The choice costs
//! the same for any size of table. After a search in vain, no room is searched for a short time.

use super::{source::SourceId, state::Flows, table::flag, turn::CANDIDATES};

/// A connection with at least this many segments is proven: it is kept while it is active.
const PROVEN_SEGMENTS: u32 = 4;

/// How long an unproven connection may be silent, in nanoseconds.
const TRIAL_NS: u64 = 2_000_000_000;

/// How long a proven connection may be silent before it is idle, in nanoseconds.
const IDLE_NS: u64 = 30_000_000_000;

/// How long no room is searched for after a search in vain, in nanoseconds. A million places of the table
/// are then considered within 7 s, and 4,096 connections of an address within 1.3 s.
const FULL_TABLE_NS: u64 = 100_000;
const FULL_ADDRESS_NS: u64 = 5_000_000;

impl Flows {
    /// Makes room for one more connection of this address; false where none can be evicted.
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
        // The oldest connections come first, and mostly one of them is over.
        let count = source.connections.len();
        let in_turn = source.eviction.next(count);
        let source = &self.sources[id as usize];
        let ranked = |index: usize| Some((self.rank(source.connections[index].place, now_ns)?, index));
        let first = (0..count.min(CANDIDATES)).filter_map(ranked).min();
        let best = first
            .filter(|((class, _), _)| *class == 0)
            .or_else(|| in_turn.filter_map(ranked).chain(first).min());
        match best {
            Some((_, index)) => self.evict(id, index),
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
            Some((id, index)) => self.evict(id, index),
            None => self.eviction.full_at_ns = Some(now_ns),
        }
        of_best.is_some()
    }

    /// The rank of the connection at `place`: the lowest is evicted first. `None` where it must stay.
    fn rank(&self, place: u32, now_ns: u64) -> Option<(u8, u64)> {
        let last_ns = self.table.last_ns(place);
        // The sensor's time may jump.
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

    /// Evicts a connection of an address. If it was assigned to a machine, the machine still counts it.
    fn evict(&mut self, id: SourceId, index: usize) {
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
