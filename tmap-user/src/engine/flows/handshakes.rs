//! Handshakes: which connection sides have echoed a time stamp of the other side's handshake.
//!
//! Whoever forges segments of others and doesn't see the answers can't know the other side's TSval (RFC 7323,
//! section 3.2: TSecr echoes it), as little as its sequence number. So a side that echoes the TSval of the other
//! side's SYN or SYN-ACK took part in the connection, and one that never does may be a scan, forged, or
//! answered on a path that the sensor doesn't see.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher as _,
};

use foldhash::quality::RandomState;
use tmap_common::Record;

use super::{
    state::Flows,
    table::{NOWHERE, Table},
};
use crate::engine::{shard, types::FlowKey};

/// The most SYNs whose answers are awaited. Where so many came after a SYN before its answer, the answering side
/// counts as one that never echoed.
const MOST_AWAITED: usize = 1 << 16;

/// The SYNs that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Openings {
    /// By the hash of the side that must answer: the TSval that it must echo. The hash has 64 bits and random
    /// keys, so no two sides share one.
    awaited: HashMap<u64, u32, RandomState>,
    /// The hashes, the oldest first; some were answered since.
    in_turn: VecDeque<u64>,
}

impl Openings {
    fn note(&mut self, answerer: &FlowKey, tsval: u32) {
        let hash = self.awaited.hasher().hash_one(answerer);
        if self.awaited.insert(hash, tsval).is_some() {
            return;
        }
        self.in_turn.push_back(hash);
        if self.in_turn.len() > MOST_AWAITED
            && let Some(oldest) = self.in_turn.pop_front()
        {
            self.awaited.remove(&oldest);
        }
    }

    /// Whether a side echoes the SYN that it answers.
    fn is_echoed(&self, answerer: &FlowKey, tsecr: u32) -> bool {
        self.awaited.get(&self.awaited.hasher().hash_one(answerer)) == Some(&tsecr)
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        // A place of the map takes a byte more.
        self.awaited.capacity() * (size_of::<(u64, u32)>() + 1) + self.in_turn.capacity() * size_of::<u64>()
    }
}

/// The share of the addresses that these flows hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Flows {
    /// Sets the share of the addresses whose records come: the `index`-th of `count`. Records of handshakes
    /// that go to these addresses must come, too.
    pub fn set_share(&mut self, index: usize, count: usize) {
        self.share = Share { index, count };
    }

    /// Whether `record` is of an address that another shard holds.
    pub(super) fn is_foreign(&self, record: &Record) -> bool {
        self.share.count > 1 && shard::of(&record.segment.src, self.share.count) != self.share.index
    }

    /// Takes in what a SYN says of the side that must answer it.
    pub(super) fn await_answer(&mut self, record: &Record) {
        self.openings.note(&FlowKey::of(&record.segment).reversed(), record.segment.tsval);
    }

    /// Takes in what a SYN-ACK says of the side that it answers.
    pub(super) fn await_echo(&mut self, record: &Record) {
        self.answers += u64::from(self.is_answer(record));
        let asker = self.table.find_key(&FlowKey::of(&record.segment).reversed());
        let asker = if asker == NOWHERE { asker } else { self.reopen_answered(asker, record) };
        if asker != NOWHERE {
            self.table.await_echo(asker, record.segment.tsval, record.segment.tsecr);
        }
    }

    /// Whether a SYN-ACK echoes the SYN that it answers.
    pub(super) fn is_answer(&self, record: &Record) -> bool {
        self.openings.is_echoed(&FlowKey::of(&record.segment), record.segment.tsecr)
    }

    /// Looks whether `record` of the side at `place` echoes the other side's handshake.
    #[inline(never)]
    pub(super) fn look_for_echo(&mut self, place: u32, record: &Record) {
        let segment = &record.segment;
        let echoes = if segment.flags.is_syn_ack() {
            self.is_answer(record)
        } else {
            // Where a record tells bytes instead of the echo, that is 0.
            self.table.awaits_echo(place) && segment.tsecr != 0 && self.table.take_echo(place, segment.tsecr)
        };
        if echoes {
            self.table.note_echo(place);
        }
    }
}

/// How far a connection side's handshake came, as far as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The side echoed the other side's part.
    Complete,
    /// The side began, and never echoed an answer.
    Unanswered,
    /// The side's own part was not seen: the connection is older, or forged.
    Unseen,
}

impl Handshake {
    /// Of the side at `place`.
    pub(super) fn of(table: &Table, place: u32) -> Self {
        if table.has_echoed(place) {
            Self::Complete
        } else if table.is(place, super::table::flag::CLIENT | super::table::flag::SERVER) {
            Self::Unanswered
        } else {
            Self::Unseen
        }
    }
}
