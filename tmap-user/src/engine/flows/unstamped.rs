//! Connections opened without time stamps: machines whose clock can't be seen, but that they are
//! there can.
//!
//! A SYN that offers no Timestamps makes a connection without any (RFC 7323, section 3.2). It takes
//! no place among flows, clocks and round trips; it is counted by source address, repetitions left
//! out as far as a small table remembers them.

use std::collections::{HashMap, hash_map::Entry};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use tmap_common::{Address, Record};

use crate::engine::{os::signature::Fingerprint, types::FlowKey};

/// Connections that an address opened without time stamps. A host sends them on every connection or
/// on none, so it was none of the machines known; whether one did it or many can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstamped {
    /// How many; repeated SYNs count once as far as they are remembered.
    pub connections: u64,
    /// The latest one's handshake, in p0f's notation.
    pub signature: Option<String>,
}

/// [`Unstamped`] over all addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnstampedTotals {
    /// Records that were SYNs without Timestamps.
    pub records: u64,
    /// Connections opened so.
    pub connections: u64,
    /// Addresses that never sent a time stamp.
    pub addresses_only: u64,
    /// Connections of addresses beyond the address table's bound.
    pub unplaced: u64,
}

impl UnstampedTotals {
    /// The totals of two engines together.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            connections: self.connections + other.connections,
            addresses_only: self.addresses_only + other.addresses_only,
            unplaced: self.unplaced + other.unplaced,
        }
    }
}

/// SYNs remembered to tell repetitions; a power of two. One that was overwritten counts again.
const REMEMBERED: usize = 1 << 14;

/// A SYN with the ends of an earlier one is its repetition for this long after, in seconds: Linux
/// doubles the pause up to 32 s, Windows and the BSDs stay below.
const REPEATED_WITHIN_S: u32 = 70;

/// What is held of a source address.
#[derive(Clone, Copy, Debug)]
struct Openings {
    connections: u64,
    /// The latest SYN's.
    fingerprint: Option<Fingerprint>,
}

/// Counts connections opened without time stamps.
#[derive(Debug, Default)]
pub struct Counts {
    addresses: HashMap<Address, Openings, FixedState>,
    /// The upper half of a SYN's hash, and when it was seen, in seconds; nothing until the first SYN.
    remembered: Vec<(u32, u32)>,
    records: u64,
    unplaced: u64,
}

impl Counts {
    /// Takes in a SYN without Timestamps. `is_fallback` says that its connection was tried with them
    /// before: some stacks leave options away when nobody answers.
    pub fn observe(&mut self, record: &Record, is_fallback: bool, max_addresses: usize) {
        self.records += 1;
        let key = FlowKey::of(&record.segment);
        if is_fallback || self.is_repetition(&key, record.time_ns) {
            return;
        }
        let known = self.addresses.len();
        let openings = match self.addresses.entry(key.src) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if known < max_addresses => {
                entry.insert(Openings { connections: 0, fingerprint: None })
            }
            Entry::Vacant(_) => {
                self.unplaced += 1;
                return;
            }
        };
        openings.connections += 1;
        openings.fingerprint = Fingerprint::of(&record.segment);
    }

    /// Whether these ends were seen a short while ago; remembers them.
    fn is_repetition(&mut self, key: &FlowKey, time_ns: u64) -> bool {
        self.remembered.resize(REMEMBERED, (0, 0));
        let hash = self.addresses.hasher().hash_one(key);
        let (mark, second) = ((hash >> 32) as u32, (time_ns / 1_000_000_000) as u32);
        let place = &mut self.remembered[hash as usize % REMEMBERED];
        let (before, then) = std::mem::replace(place, (mark, second));
        before == mark && second.abs_diff(then) <= REPEATED_WITHIN_S
    }

    /// What an address opened without time stamps; `None` where nothing.
    pub fn of(&self, address: Address) -> Option<Unstamped> {
        let openings = self.addresses.get(&address)?;
        Some(Unstamped {
            connections: openings.connections,
            signature: openings.fingerprint.map(|fingerprint| fingerprint.to_string()),
        })
    }

    /// Sums; `is_stamped` says which addresses sent time stamps as well.
    pub fn totals(&self, is_stamped: impl Fn(&Address) -> bool) -> UnstampedTotals {
        let mut totals =
            UnstampedTotals { records: self.records, unplaced: self.unplaced, ..UnstampedTotals::default() };
        for (address, openings) in &self.addresses {
            totals.connections += openings.connections;
            totals.addresses_only += u64::from(!is_stamped(address));
        }
        totals
    }

    /// Estimated heap memory, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.addresses.capacity() * size_of::<(Address, Openings)>()
            + self.remembered.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Flags, Segment, Syn, record::Direction};

    fn syn(src: u8, src_port: u16, time_s: u64) -> Record {
        Record {
            time_ns: time_s * 1_000_000_000,
            direction: Direction::Ingress,
            suppressed: 0,
            segment: Segment {
                src: Address::from_ip4([192, 0, 2, src]),
                dst: Address::from_ip4([203, 0, 113, 1]),
                src_port,
                dst_port: 443,
                flags: Flags::SYN,
                has_payload: false,
                hop_limit: 127,
                tsval: 0,
                tsecr: 0,
                syn: Some(Syn {
                    window: 64_240,
                    mss: 1460,
                    window_scale: 8,
                    option_order: 0x411312,
                    ..Syn::default()
                }),
                tunnel: None,
            },
        }
    }

    #[test]
    fn repetitions_count_once() {
        let mut counts = Counts::default();
        for time_s in [1, 2, 4, 8, 16, 32, 64] {
            counts.observe(&syn(1, 1000, time_s), false, 10);
        }
        counts.observe(&syn(1, 1001, 64), false, 10);
        let found = counts.of(Address::from_ip4([192, 0, 2, 1])).unwrap();
        assert_eq!(found.connections, 2);
        assert_eq!(found.signature.unwrap(), "4:127+1:0:1460:mss*44,8:mss,nop,ws,nop,nop,sok:id-,seq-:0");
        // Ports come round again.
        counts.observe(&syn(1, 1000, 64 + 71), false, 10);
        assert_eq!(counts.of(Address::from_ip4([192, 0, 2, 1])).unwrap().connections, 3);
    }

    #[test]
    fn fallbacks_and_addresses_beyond_the_bound_do_not_count() {
        let mut counts = Counts::default();
        counts.observe(&syn(1, 1, 1), true, 2);
        assert!(counts.of(Address::from_ip4([192, 0, 2, 1])).is_none());
        for src in 1..=3 {
            counts.observe(&syn(src, 1, 1), false, 2);
        }
        let totals = counts.totals(|address| *address == Address::from_ip4([192, 0, 2, 1]));
        let expected = UnstampedTotals { records: 4, connections: 2, addresses_only: 1, unplaced: 1 };
        assert_eq!(totals, expected);
    }
}
