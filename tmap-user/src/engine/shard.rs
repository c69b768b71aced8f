//! Shards: several engines, each with a share of the source addresses.
//!
//! An address and all that it sends belong to one shard, so shards know nothing of each other.
//! [`PartialSnapshot::join`](crate::engine::PartialSnapshot::join) joins what they find.

use std::{hash::BuildHasher as _, sync::LazyLock};

use foldhash::quality::RandomState;
use tmap_common::{Address, Segment};

use crate::engine::options::Options;

/// The most shards that are useful: one thread fetches records for all of them.
const MOST: usize = 8;

/// With lower bounds than these, shares would be too small to be fair, so there is one shard.
const LEAST_FLOWS: usize = 1 << 16;
const LEAST_ADDRESSES: usize = 1 << 12;

/// The number of shards: as many as the user wants, or else as many as are useful on `cores` cores.
pub fn count(options: &Options, wanted: Option<usize>, cores: usize) -> usize {
    if options.rtt.is_some() {
        // A round trip needs both directions, and they belong to two addresses.
        return 1;
    }
    let is_small = options.max_flows < LEAST_FLOWS || options.max_addresses < LEAST_ADDRESSES;
    let useful = if is_small { 1 } else { cores.min(MOST) };
    wanted.unwrap_or(useful).max(1)
}

/// The settings of one of `count` shards: its share of the bounds.
pub fn share(options: &Options, count: usize) -> Options {
    Options {
        max_flows: options.max_flows.div_ceil(count),
        max_history_bytes: options.max_history_bytes.div_ceil(count),
        max_addresses: options.max_addresses.div_ceil(count),
        ..options.clone()
    }
}

/// Random for each process, so that nobody outside can choose addresses of one shard and fill its share of
/// the bounds.
static KEYS: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = RandomState::default();
    [random.hash_one(0), random.hash_one(1) | 1]
});

/// The shard of an address, 0 to `count - 1`, which is another one in each process: from the upper bits of a
/// folded product that all address bits enter.
#[inline(always)]
pub fn of(address: &Address, count: usize) -> usize {
    if count == 1 {
        return 0;
    }
    let [high, low] = address.words();
    let [first, second] = *KEYS;
    let product = u128::from(high.rotate_left(32) ^ low ^ first) * u128::from(second);
    let mixed = (product as u64) ^ (product >> 64) as u64;
    (((mixed >> 32) * count as u64) >> 32) as usize
}

/// The shards that hear of a segment: that of its sender, and the other one that must hear of it, or the same
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The sender's shard.
    pub own: u32,
    /// The receiver's of a handshake, who must echo its timestamp; else the sender's.
    pub other: u32,
}

impl Route {
    /// The other shard that must hear of the segment.
    #[inline(always)]
    pub fn also(self) -> Option<u32> {
        (self.other != self.own).then_some(self.other)
    }
}

/// The shards, of `count`, that hear of a segment.
#[inline(always)]
pub fn route(segment: &Segment, count: usize) -> Route {
    let own = of(&segment.src, count) as u32;
    let is_handshake = segment.syn.is_some() && segment.is_stamped();
    Route { own, other: if is_handshake { of(&segment.dst, count) as u32 } else { own } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rtt;

    #[test]
    fn neighbours_are_spread_evenly() {
        for count in [1, 2, 3, 8] {
            let mut addresses = vec![0_usize; count];
            for host in 0..=u16::MAX {
                let [third, fourth] = host.to_be_bytes();
                addresses[of(&Address::from_ip4([10, 1, third, fourth]), count)] += 1;
                let mut ip6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                ip6[14..].copy_from_slice(&[third, fourth]);
                addresses[of(&Address::from_ip6(ip6), count)] += 1;
            }
            let fair = (1 << 17) / count;
            assert!(addresses.iter().all(|&held| held.abs_diff(fair) < fair / 8), "{addresses:?}");
        }
    }

    #[test]
    fn there_are_as_many_as_make_sense() {
        let options = Options::default();
        assert_eq!([1, 4, 64].map(|cores| count(&options, None, cores)), [1, 4, MOST]);
        assert_eq!(count(&options, Some(20), 4), 20);
        assert_eq!(count(&Options { max_flows: 1000, ..options.clone() }, None, 4), 1);
        assert_eq!(count(&Options { rtt: Some(rtt::Options::default()), ..options }, Some(4), 4), 1);
    }

    #[test]
    fn shares_together_hold_what_one_engine_may() {
        let whole = Options { max_flows: 100_001, ..Options::default() };
        let part = share(&whole, 3);
        assert!((whole.max_flows..whole.max_flows + 3).contains(&(part.max_flows * 3)));
        assert_eq!(part.max_connections_per_address, whole.max_connections_per_address);
    }
}
