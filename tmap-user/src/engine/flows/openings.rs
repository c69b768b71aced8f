//! SYNs that wait for an answer: what the answering side must echo.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher as _,
};

use foldhash::quality::RandomState;

use super::side_key::SideKey;

/// The most SYNs whose answers are awaited. Where so many came after a SYN before its answer, the answering
/// side counts as one that never echoed.
const MOST_AWAITED: usize = 1 << 16;

/// The SYNs of a side that are remembered: some may be forged, or sent again.
const SYNS: usize = 4;

/// The SYNs of one side.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// The TSvals that their answer may echo, the latest first.
    tsvals: [u32; SYNS],
    /// Whether they were answered: a second answer opens no other connection, whoever sends it.
    is_answered: bool,
}

/// The SYNs that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Openings {
    /// By the hash of the side that must answer. The hash has 64 bits and random keys, so no two sides share
    /// one.
    awaited: HashMap<u64, Awaited, RandomState>,
    /// The hashes, the oldest first; some were answered since.
    in_turn: VecDeque<u64>,
}

impl Openings {
    /// Notes a SYN of this TSval, which `answerer` must echo.
    pub(super) fn note(&mut self, answerer: &SideKey, tsval: u32) {
        let hash = self.awaited.hasher().hash_one(answerer);
        let fresh = Awaited { tsvals: [tsval; SYNS], is_answered: false };
        if let Some(awaited) = self.awaited.get_mut(&hash) {
            if awaited.is_answered {
                // One that was answered, and is sent again, opens nothing.
                if !awaited.tsvals.contains(&tsval) {
                    *awaited = fresh;
                }
            } else if awaited.tsvals[0] != tsval {
                awaited.tsvals.rotate_right(1);
                awaited.tsvals[0] = tsval;
            }
            return;
        }
        self.awaited.insert(hash, fresh);
        self.in_turn.push_back(hash);
        if self.in_turn.len() > MOST_AWAITED
            && let Some(oldest) = self.in_turn.pop_front()
        {
            self.awaited.remove(&oldest);
        }
    }

    /// Whether a side echoes the SYN that it answers, for the first time.
    pub(super) fn is_echoed(&self, answerer: &SideKey, tsecr: u32) -> bool {
        let awaited = self.awaited.get(&self.awaited.hasher().hash_one(answerer));
        awaited.is_some_and(|awaited| !awaited.is_answered && awaited.tsvals.contains(&tsecr))
    }

    /// Notes that a side has answered, if it echoes a SYN.
    pub(super) fn answer(&mut self, answerer: &SideKey, tsecr: u32) {
        let hash = self.awaited.hasher().hash_one(answerer);
        if let Some(awaited) = self.awaited.get_mut(&hash) {
            awaited.is_answered |= awaited.tsvals.contains(&tsecr);
        }
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        // A place of the map takes a byte more.
        self.awaited.capacity() * (size_of::<(u64, Awaited)>() + 1)
            + self.in_turn.capacity() * size_of::<u64>()
    }
}
