//! SYNs without time stamps, as far as source ports go: they may tell machines that show no clock.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use indexmap::IndexMap;
use tmap_common::{Address, Segment};

use super::turn::Turn;
use crate::engine::ports::Opening;

/// The most SYNs that are held of an address, the newest ones.
const MOST_OF_ADDRESS: usize = 512;

/// The most SYNs that are held in all.
const MOST: usize = 1 << 15;

/// The fewest SYNs of an address whose ports may tell anything.
const FEWEST_TELLING: usize = 8;

/// The SYNs of one address.
#[derive(Clone, Debug, Default)]
pub struct BareSyns {
    /// In order of time.
    pub openings: VecDeque<Opening>,
    /// Whether older ones were dropped.
    pub is_cut: bool,
}

/// The newest SYNs without time stamps of each address, within bounds.
#[derive(Debug, Default)]
pub(super) struct Held {
    addresses: IndexMap<Address, BareSyns, RandomState>,
    count: usize,
    turn: Turn,
}

impl Held {
    /// Takes in a SYN that is no repetition.
    pub(super) fn note(&mut self, time_ns: u64, segment: &Segment) {
        if self.count >= MOST {
            self.drop_one();
        }
        let held = self.addresses.entry(segment.src).or_default();
        if held.openings.len() >= MOST_OF_ADDRESS {
            held.openings.pop_front();
            held.is_cut = true;
            self.count -= 1;
        }
        self.count += 1;
        held.openings.push_back(Opening {
            time_ns,
            peer: segment.dst,
            peer_port: segment.dst_port,
            port: segment.src_port,
        });
    }

    /// Drops a SYN: of some candidates in turn, one of an address with too few to tell anything, or else the
    /// oldest of the address with most.
    fn drop_one(&mut self) {
        let count = self.addresses.len();
        let ranked = |index: usize| {
            let held = self.addresses.get_index(index)?.1.openings.len();
            Some((held >= FEWEST_TELLING, usize::MAX - held, index))
        };
        let Some((.., index)) = self.turn.next(count).filter_map(ranked).min() else { return };
        let Some((_, held)) = self.addresses.get_index_mut(index) else { return };
        self.count -= usize::from(held.openings.pop_front().is_some());
        held.is_cut = true;
        if held.openings.is_empty() {
            self.addresses.swap_remove_index(index);
        }
    }

    /// Forgets an address.
    pub(super) fn forget(&mut self, address: &Address) {
        let held = self.addresses.swap_remove(address);
        self.count -= held.map_or(0, |held| held.openings.len());
    }

    /// A copy of what is held of the addresses whose ports may tell something, or `only` of one.
    pub(super) fn telling(&self, only: Option<Address>) -> Vec<(Address, BareSyns)> {
        let tells = |(address, held): &(&Address, &BareSyns)| {
            held.openings.len() >= FEWEST_TELLING && only.is_none_or(|only| only == **address)
        };
        let telling = self.addresses.iter().filter(tells);
        telling.map(|(&address, held)| (address, held.clone())).collect()
    }

    /// Estimated heap memory, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let of_syns: usize = self.addresses.values().map(|held| held.openings.capacity()).sum();
        self.addresses.capacity() * size_of::<(Address, BareSyns, u64)>() + of_syns * size_of::<Opening>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(src: u32, src_port: u16) -> Segment {
        let src = Address::from_ip4(src.to_be_bytes());
        Segment { src, src_port, dst_port: 443, ..Segment::default() }
    }

    #[test]
    fn an_address_holds_its_newest() {
        let mut held = Held::default();
        (0..600).for_each(|port| held.note(port.into(), &syn(1, port)));
        let all = held.telling(None);
        let [(_, of_one)] = &all[..] else { panic!("one address: {all:?}") };
        assert_eq!((of_one.openings.len(), of_one.is_cut), (MOST_OF_ADDRESS, true));
        assert_eq!(of_one.openings.back().map(|opening| opening.port), Some(599));
    }

    #[test]
    fn a_flood_takes_no_other_addresss_syns() {
        let mut held = Held::default();
        (0..100).for_each(|port| held.note(0, &syn(1, port)));
        // As many addresses as there are SYNs held, and a flood by one of them.
        (0..200_000).for_each(|src| held.note(1, &syn(1_000 + src, 1)));
        (0..60_000).for_each(|port| held.note(2, &syn(2, port)));
        assert!(held.count <= MOST, "{}", held.count);
        let of_victim = held.addresses.get(&syn(1, 0).src).map_or(0, |held| held.openings.len());
        assert_eq!(of_victim, 100);
        held.forget(&syn(2, 0).src);
        let sum: usize = held.addresses.values().map(|held| held.openings.len()).sum();
        assert_eq!(held.count, sum);
    }
}
