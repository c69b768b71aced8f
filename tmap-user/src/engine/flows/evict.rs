//! Eviction: which connection makes room for a new one, or whether the new one is refused.
//!
//! What a connection shows decides ([`Worth`]). Most connections of scans and floods show next to nothing, so
//! they never displace those that show something. [`CANDIDATES`] places, taken in turn, are considered, and
//! the first of these classes that has a candidate is evicted from:
//!
//! | class | worth | and |
//! |---|---|---|
//! | 0 | nothing, or an answer | over (closed, or silent for the idle time-out), or silent for [`TRIAL_NS`] |
//! | 1 | an answer | any, where the table is full |
//! | 2 | some | over |
//! | 3 | some | silent for [`IDLE_NS`] |
//! | 4 | some | any, where the sensor sees both directions |
//! | 5 | much | over |
//! | 6 | much | silent for [`IDLE_NS`] |
//!
//! Within a class, the connection that was silent for longest is evicted. Without a candidate the new
//! connection is refused, and its records are counted. A clock needs a connection's segments over time, so
//! some connections watched well show more than all connections watched for a moment each.
//!
//! A flood's connections are all young. So the newest ones, which are on trial, have at most half of an
//! address's places. Where the sensor sees both directions, the oldest of more that is worth nothing goes at
//! any age: what completes its handshake is worth much at once. Where it sees one direction only, the
//! newcomer is refused unless one of class 0 goes. The same holds for the table as a whole, by its
//! candidates.
//!
//! An address beyond the bound on addresses takes the place of another one: one that never showed anything
//! goes before one that did, and of these one that is silent. An address that answers exists, so it goes
//! after those that may be invented.
//!
//! The choice costs the same for any size of table. After a search in vain, no room is searched for a short
//! time.

use super::{
    source::{Source, SourceId},
    state::Flows,
    table::{Stage, flag},
    turn::CANDIDATES,
};

/// What a connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Next to nothing.
    Nothing,
    /// A server's answer to somebody who may be a scanner, or who goes on soon.
    Answer,
    /// At least [`SOME_SEGMENTS`] segments, which may be forged.
    Some,
    /// The side completed its handshake, so it took part in the connection.
    Much,
}

impl Worth {
    /// Whether scans and floods leave such connections.
    fn is_unproven(self) -> bool {
        self <= Self::Answer
    }
}

/// A connection with at least this many segments shows something.
const SOME_SEGMENTS: u32 = 4;

/// How long a connection that is worth nothing, or an answer, may be silent, in nanoseconds.
const TRIAL_NS: u64 = 2_000_000_000;

/// How many of a source's oldest and of its newest connections are looked at to judge it.
const JUDGED: usize = 4;

/// Of how many of an address's places the connections on trial may have one.
const TRIAL_SHARE: usize = 2;

/// The fewest answers to SYNs that show that the sensor sees both directions.
const FEWEST_ANSWERS: u64 = 3;

/// How long a connection may be silent before it is idle, in nanoseconds.
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
        let is_flooded = self.has_many_on_trial(id);
        if is_flooded && self.sees_both_directions() {
            let source = &self.sources[id as usize];
            self.evict(id, source.connections.len() - source.trial);
            return true;
        }
        let source = &mut self.sources[id as usize];
        if source.eviction.rests(now_ns, FULL_ADDRESS_NS) {
            return false;
        }
        // The oldest connections come first, and mostly one of them is over.
        let count = source.connections.len();
        let in_turn = source.eviction.next(count);
        let source = &self.sources[id as usize];
        let ranked = |index: usize| Some((self.rank(source.connections[index].place, now_ns, false)?, index));
        let first = (0..count.min(CANDIDATES)).filter_map(ranked).min();
        let best = first
            .filter(|((class, _), _)| *class == 0)
            .or_else(|| in_turn.filter_map(ranked).chain(first).min())
            .filter(|((class, _), _)| *class == 0 || !is_flooded);
        match best {
            Some((_, index)) => self.evict(id, index),
            None => self.sources[id as usize].eviction.full_at_ns = Some(now_ns),
        }
        best.is_some()
    }

    /// Whether those on trial have more than their share of an address's places. Then the oldest of them is
    /// worth nothing; others that are worth something are on trial no more.
    fn has_many_on_trial(&mut self, id: SourceId) -> bool {
        let most = (self.options.max_connections_per_address / TRIAL_SHARE).max(1);
        loop {
            let source = &self.sources[id as usize];
            if source.trial <= most {
                return false;
            }
            let oldest = source.connections[source.connections.len() - source.trial];
            if self.worth(oldest.place).is_unproven() {
                return true;
            }
            self.sources[id as usize].trial -= 1;
        }
    }

    /// Whether answers to SYNs are seen.
    pub(super) fn sees_both_directions(&self) -> bool {
        self.answers >= FEWEST_ANSWERS
    }

    /// Makes room in the table.
    fn make_room_in_table(&mut self, now_ns: u64) -> bool {
        if self.eviction.rests(now_ns, FULL_TABLE_NS) {
            return false;
        }
        let in_turn = self.eviction.next(self.table.places() as usize).map(|place| place as u32);
        let (mut best, mut unproven) = (None, 0);
        for place in in_turn.filter(|&place| self.table.is(place, flag::LIVE)) {
            unproven += usize::from(self.worth(place).is_unproven());
            let rank = self.rank(place, now_ns, self.sees_both_directions());
            best = best.into_iter().chain(rank.map(|rank| (rank, place))).min();
        }
        let is_flooded = unproven > CANDIDATES / TRIAL_SHARE;
        let best = best.filter(|((class, _), _)| *class <= 1 || !is_flooded);
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

    /// Evicts an address with all its connections, and gives `source` its number. One is always found.
    pub(super) fn replace_a_source(&mut self, source: Source, now_ns: u64) -> SourceId {
        let in_turn = self.source_eviction.next(self.sources.len());
        let best = in_turn.map(|id| (self.rank_of_source(id as SourceId, now_ns), id as SourceId)).min();
        let ((class, _), id) = best.unwrap_or_default();
        while !self.sources[id as usize].connections.is_empty() {
            self.evict(id, 0);
        }
        self.losses.addresses_forgotten += 1;
        self.losses.unproven_addresses_forgotten += u64::from(class <= 1);
        let old = &mut self.sources[id as usize];
        self.ids.remove(&old.address);
        // Its number may be in the list of changed ones.
        let (listed, life) = (old.listed, old.life.wrapping_add(1));
        *old = Source { listed, life, ..source };
        id
    }

    /// The rank of a source: the lowest is evicted first. One that completed a handshake showed much, also if
    /// its connections since are a scanner's. Others are judged by their oldest and newest connections.
    fn rank_of_source(&self, id: SourceId, now_ns: u64) -> (u8, u64) {
        let Source { connections, completed, .. } = &self.sources[id as usize];
        let showed = if *completed > 0 { Worth::Much } else { Worth::Nothing };
        let newest = connections.iter().rev().take(JUDGED);
        let looked_at = connections.iter().take(JUDGED).chain(newest);
        let (worth, last_ns) = looked_at
            .map(|member| (self.worth(member.place), self.table.last_ns(member.place)))
            .fold((showed, 0), |(worth, last_ns), one| (worth.max(one.0), last_ns.max(one.1)));
        let is_idle = last_ns.abs_diff(now_ns) > IDLE_NS;
        let class = match (worth, is_idle) {
            (Worth::Nothing, _) | (Worth::Answer, true) => 0,
            (Worth::Answer, false) => 1,
            (Worth::Some, true) => 2,
            (Worth::Much, true) => 3,
            (Worth::Some, false) => 4,
            (Worth::Much, false) => 5,
        };
        (class, last_ns)
    }

    /// The rank of the connection at `place`: the lowest is evicted first. `None` where it must stay. What is
    /// worth nothing may go at `any_age`, or else after a trial.
    fn rank(&self, place: u32, now_ns: u64, any_age: bool) -> Option<(u8, u64)> {
        let last_ns = self.table.last_ns(place);
        // The sensor's time may jump.
        let silent_ns = last_ns.abs_diff(now_ns);
        let is_over = self.table.is(place, flag::FINISHED | flag::CLOSED) || self.is_over(place, now_ns);
        let class = match self.worth(place) {
            Worth::Nothing if any_age => 0,
            Worth::Nothing | Worth::Answer if is_over || silent_ns > TRIAL_NS => 0,
            Worth::Answer if any_age => 1,
            Worth::Some if is_over => 2,
            Worth::Some if silent_ns > IDLE_NS => 3,
            Worth::Some if self.sees_both_directions() => 4,
            Worth::Much if is_over => 5,
            Worth::Much if silent_ns > IDLE_NS => 6,
            _ => return None,
        };
        Some((class, last_ns))
    }

    fn worth(&self, place: u32) -> Worth {
        match self.table.stage(place) {
            Stage::Complete => Worth::Much,
            // It may have repeated its SYN-ACK many times.
            Stage::HalfOpen => Worth::Answer,
            _ if self.table.segments(place) >= SOME_SEGMENTS => Worth::Some,
            _ => Worth::Nothing,
        }
    }

    /// Evicts a connection of an address. If a pass told whose it is, that machine still counts it.
    fn evict(&mut self, id: SourceId, index: usize) {
        let source = &mut self.sources[id as usize];
        let is_on_trial = index + source.trial >= source.connections.len();
        let Some(member) = source.connections.remove(index) else { return };
        source.trial -= usize::from(is_on_trial);
        source.pressed |= u64::from(member.serial) > source.frozen_at;
        source.void = true;
        source.random_offsets = 0;
        let is_unseen = u64::from(member.serial) > source.analysed_at;
        let is_unproven = self.worth(member.place).is_unproven();
        self.sources[id as usize].unseen += u64::from(is_unseen && !is_unproven);
        let is_open = !self.table.is(member.place, flag::FINISHED);
        self.sources[id as usize].evicted_open += u64::from(is_open);
        self.losses.flows_evicted += u64::from(is_open && !is_unproven);
        self.losses.unproven_evicted += u64::from(is_unproven);
        self.losses.connections_forgotten += 1;
        self.table.remove(member.place);
        self.mark(id);
    }
}
