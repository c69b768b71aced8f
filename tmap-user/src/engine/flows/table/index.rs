//! Open addressing: from a hash to the place of an entry.
//!
//! A slot holds 32 bits of hash and 32 bits of place. So a look-up reads one line here and then the
//! right entry, and slots can be moved without reading entries. A slot's home is its hash scaled to the
//! number of slots, which therefore needn't be a power of two. Apart from collisions, slots lie in the
//! order of their hashes: when the index grows they move sequentially, some nanoseconds each.

use super::memory;

/// Slots per thousand entries: at most two thirds of the slots are taken, so a run of taken slots stays
/// within a line or two.
const SLOTS_PER_1000: usize = 1500;

/// Slots that a guess reads: more than nine in ten entries are found within them.
const GUESSED_SLOTS: usize = 4;

/// Slots to begin with.
const FIRST_SLOTS: usize = 1 << 10;

/// The index of a table.
#[derive(Debug)]
pub(super) struct Index {
    /// Hash in the upper half, place + 1 in the lower half; 0 is an empty slot.
    slots: Vec<u64>,
    len: usize,
    /// The most slots.
    most: usize,
}

impl Index {
    /// An index for up to `entries` entries.
    pub(super) fn new(entries: usize) -> Self {
        let most = entries * SLOTS_PER_1000 / 1000 + 16;
        Self { slots: vec![0; most.min(FIRST_SLOTS)], len: 0, most }
    }

    /// Doubles the number of slots, as far as that is allowed.
    #[cold]
    fn grow(&mut self) {
        let count = (2 * self.slots.len()).min(self.most);
        // The kernel zeroes the pages when they are touched.
        let mut slots = vec![0; count];
        if count * size_of::<u64>() > memory::SMALL_BYTES {
            memory::use_large_pages(&mut slots);
        } else {
            // A page that is read before it is written costs the kernel two faults, so it is written now.
            slots.fill(0);
        }
        let old = std::mem::replace(&mut self.slots, slots);
        for word in old.into_iter().filter(|word| *word != 0) {
            self.put(word);
        }
    }

    /// Entries in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// Asks for the line where a look-up of `hash` begins.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u32) {
        memory::prefetch(&self.slots, self.home(hash));
    }

    /// The place where an entry with this hash probably is, found without a branch that depends on the hash.
    /// `u32::MAX` where no slot among the first ones has this hash.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u32) -> u32 {
        let home = self.home(hash);
        let Some(slots) = self.slots[home..].first_chunk::<GUESSED_SLOTS>() else { return u32::MAX };
        // Backwards, so that the first one wins. An empty slot's place is `u32::MAX`.
        slots.iter().rev().fold(u32::MAX, |guess, &word| {
            if (word >> 32) as u32 == hash { (word as u32).wrapping_sub(1) } else { guess }
        })
    }

    /// The first place under `hash` that `accept` accepts; `None` where there is none.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut slot = self.home(hash);
        loop {
            let word = self.slots[slot];
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == hash && accept(word as u32 - 1) {
                return Some(word as u32 - 1);
            }
            slot = self.after(slot);
        }
    }

    /// Adds an entry that isn't there yet.
    ///
    /// # Panics
    /// If there are more entries than the index was made for.
    pub(super) fn insert(&mut self, hash: u32, place: u32) {
        if (self.len + 1) * SLOTS_PER_1000 / 1000 >= self.slots.len() && self.slots.len() < self.most {
            self.grow();
        }
        assert!(self.len + 1 < self.slots.len(), "the index is full");
        self.put(u64::from(hash) << 32 | (u64::from(place) + 1));
        self.len += 1;
    }

    fn put(&mut self, word: u64) {
        let mut slot = self.home((word >> 32) as u32);
        while self.slots[slot] != 0 {
            slot = self.after(slot);
        }
        self.slots[slot] = word;
    }

    /// Removes an entry, and moves entries behind it closer to their homes (Knuth 6.4, algorithm R).
    pub(super) fn remove(&mut self, hash: u32, place: u32) {
        let wanted = u64::from(hash) << 32 | (u64::from(place) + 1);
        let mut hole = self.home(hash);
        while self.slots[hole] != wanted {
            if self.slots[hole] == 0 {
                return;
            }
            hole = self.after(hole);
        }
        self.len -= 1;
        let mut slot = hole;
        loop {
            slot = self.after(slot);
            let word = self.slots[slot];
            if word == 0 {
                break;
            }
            let home = self.home((word >> 32) as u32);
            if self.distance(home, slot) >= self.distance(hole, slot) {
                self.slots[hole] = word;
                hole = slot;
            }
        }
        self.slots[hole] = 0;
    }

    /// How far `to` lies behind `from`, around the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Against a plain map, with few distinct hashes so that runs are long and wrap around.
        #[test]
        fn agrees_with_a_map(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..40, 0_u32..8), 0..400),
        ) {
            let mut index = Index::new(40);
            index.slots.truncate(16);
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (add, place, kind) in steps {
                let hash = u32::MAX - kind * 3_000_000;
                if add {
                    model.entry(place).or_insert_with(|| {
                        index.insert(hash, place);
                        hash
                    });
                } else if let Some(hash) = model.remove(&place) {
                    index.remove(hash, place);
                } else {
                    index.remove(hash, place);
                }
                prop_assert_eq!(index.len(), model.len());
                for place in 0..40 {
                    let found = (0..8).map(|kind| u32::MAX - kind * 3_000_000)
                        .find(|&hash| index.find(hash, |candidate| candidate == place).is_some());
                    prop_assert_eq!(found, model.get(&place).copied());
                }
            }
        }
    }
}
