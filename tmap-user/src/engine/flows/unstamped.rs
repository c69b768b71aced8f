//! Connections opened without time stamps: machines that are there, but show no clock.
//!
//! A SYN that offers no Timestamps makes a connection without any (RFC 7323, section 3.2). Such a
//! connection has no flow, clock or round trip. It is counted by source address. A repeated SYN isn't
//! counted again as long as a small table holds the first one.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use indexmap::IndexMap;
use tmap_common::{Address, Record};

use super::{
    bare_syns::{BareSyns, Held},
    turn::Turn,
};
use crate::engine::{os::signature::Fingerprint, types::FlowKey};

/// Connections that an address opened without time stamps. A machine sends time stamps on every connection
/// or on none, so these are of other machines than those known. Their number isn't known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstamped {
    /// The number of connections. A repeated SYN counts once while the first one is held.
    pub connections: u64,
    /// The handshake of the latest connection, in p0f's notation.
    pub signature: Option<String>,
}

/// Connections opened without time stamps, summed over all addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnstampedTotals {
    /// Records of SYNs without Timestamps.
    pub records: u64,
    /// Connections opened without time stamps.
    pub connections: u64,
    /// Addresses that never sent a time stamp.
    pub addresses_only: u64,
    /// Addresses that were forgotten to make room for others.
    pub forgotten: u64,
}

impl UnstampedTotals {
    /// The sum of two engines' totals.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            connections: self.connections + other.connections,
            addresses_only: self.addresses_only + other.addresses_only,
            forgotten: self.forgotten + other.forgotten,
        }
    }
}

/// The number of SYNs held to recognise repetitions, a power of two. The repetition of one that was
/// overwritten counts again.
const REMEMBERED: usize = 1 << 14;

/// How long after a SYN another one with the same addresses and ports is its repetition, in seconds: Linux
/// doubles the pause up to 32 s, Windows and the BSDs stay below.
const REPEATED_WITHIN_S: u32 = 70;

/// The connections that a source address opened without time stamps.
#[derive(Clone, Copy, Debug, Default)]
struct Openings {
    connections: u64,
    /// When the latest one came, engine time in nanoseconds.
    last_ns: u64,
    /// The latest SYN's fingerprint.
    fingerprint: Option<Fingerprint>,
}

/// Counts connections opened without time stamps.
#[derive(Debug, Default)]
pub struct Counts {
    addresses: IndexMap<Address, Openings, RandomState>,
    eviction: Turn,
    syns: Held,
    /// The upper half of each SYN's hash, and its time in seconds; empty before the first SYN.
    remembered: Vec<(u32, u32)>,
    records: u64,
    forgotten: u64,
}

impl Counts {
    /// Takes in a SYN without Timestamps. `is_fallback` says that its connection was tried with them before:
    /// some stacks omit options when nobody answers.
    pub fn observe(&mut self, record: &Record, is_fallback: bool, max_addresses: usize) {
        self.records += 1;
        let key = FlowKey::of(&record.segment);
        if is_fallback || self.is_repetition(&key, record.time_ns) {
            return;
        }
        if self.addresses.len() >= max_addresses.max(1) && !self.addresses.contains_key(&key.src) {
            self.forget_one();
        }
        let openings = self.addresses.entry(key.src).or_default();
        openings.connections += 1;
        openings.last_ns = openings.last_ns.max(record.time_ns);
        openings.fingerprint = Fingerprint::of(&record.segment);
        self.syns.note(record.time_ns, &record.segment);
    }

    /// Forgets an address: of some candidates in turn, that of the fewest connections; of these, the one that
    /// was silent for longest.
    fn forget_one(&mut self) {
        let ranked = |index: usize| {
            let (_, openings) = self.addresses.get_index(index)?;
            Some((openings.connections, openings.last_ns, index))
        };
        let count = self.addresses.len();
        if let Some((.., index)) = self.eviction.next(count).filter_map(ranked).min() {
            if let Some((address, _)) = self.addresses.swap_remove_index(index) {
                self.syns.forget(&address);
            }
            self.forgotten += 1;
        }
    }

    /// Whether a SYN with this key was seen shortly before; notes this one.
    fn is_repetition(&mut self, key: &FlowKey, time_ns: u64) -> bool {
        self.remembered.resize(REMEMBERED, (0, 0));
        let hash = self.addresses.hasher().hash_one(key);
        let (mark, second) = ((hash >> 32) as u32, (time_ns / 1_000_000_000) as u32);
        let place = &mut self.remembered[hash as usize % REMEMBERED];
        let (before, then) = std::mem::replace(place, (mark, second));
        before == mark && second.abs_diff(then) <= REPEATED_WITHIN_S
    }

    /// The connections that an address opened without time stamps; `None` where there are none.
    pub fn of(&self, address: Address) -> Option<Unstamped> {
        let openings = self.addresses.get(&address)?;
        Some(Unstamped {
            connections: openings.connections,
            signature: openings.fingerprint.map(|fingerprint| fingerprint.to_string()),
        })
    }

    /// SYNs of the addresses whose ports may tell something, or `only` of one, with what is known of these
    /// addresses.
    pub(super) fn telling(&self, only: Option<Address>) -> Vec<(Address, Unstamped, BareSyns)> {
        let syns = self.syns.telling(only).into_iter();
        syns.filter_map(|(address, syns)| Some((address, self.of(address)?, syns))).collect()
    }

    /// The sums over all addresses; `is_stamped` says which addresses sent time stamps as well.
    pub fn totals(&self, is_stamped: impl Fn(&Address) -> bool) -> UnstampedTotals {
        let mut totals = UnstampedTotals {
            records: self.records,
            forgotten: self.forgotten,
            ..UnstampedTotals::default()
        };
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
            + self.syns.heap_bytes()
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
                payload_bytes: 0,
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
        // The same ports are used again later.
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
        let expected = UnstampedTotals { records: 4, connections: 2, addresses_only: 2, forgotten: 1 };
        assert_eq!(totals, expected);
    }
}
