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

/// The SYNs that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Openings {
    /// By the hash of the side that must answer: the TSvals that it may echo, the latest first. The hash has
    /// 64 bits and random keys, so no two sides share one.
    awaited: HashMap<u64, [u32; SYNS], RandomState>,
    /// The hashes, the oldest first; some were answered since.
    in_turn: VecDeque<u64>,
}

impl Openings {
    /// Notes a SYN of this TSval, which `answerer` must echo.
    pub(super) fn note(&mut self, answerer: &SideKey, tsval: u32) {
        let hash = self.awaited.hasher().hash_one(answerer);
        if let Some(awaited) = self.awaited.get_mut(&hash) {
            if awaited[0] != tsval {
                awaited.rotate_right(1);
                awaited[0] = tsval;
            }
            return;
        }
        self.awaited.insert(hash, [tsval; SYNS]);
        self.in_turn.push_back(hash);
        if self.in_turn.len() > MOST_AWAITED
            && let Some(oldest) = self.in_turn.pop_front()
        {
            self.awaited.remove(&oldest);
        }
    }

    /// Whether a side echoes the SYN that it answers.
    pub(super) fn is_echoed(&self, answerer: &SideKey, tsecr: u32) -> bool {
        let awaited = self.awaited.get(&self.awaited.hasher().hash_one(answerer));
        awaited.is_some_and(|awaited| awaited.contains(&tsecr))
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        // A place of the map takes a byte more.
        self.awaited.capacity() * (size_of::<(u64, [u32; SYNS])>() + 1)
            + self.in_turn.capacity() * size_of::<u64>()
    }
}
