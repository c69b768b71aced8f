//! The hash of a connection side, by which the table looks it up.

use foldhash::quality::RandomState;
use std::hash::BuildHasher as _;
use tmap_common::{Address, Segment, record::Plain};

use crate::engine::flows::side_key::{Passage, SideKey};

/// Folded multiplication (as in wyhash and foldhash): the exclusive or of the product's two halves.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// Hashes connection sides. Each table has random keys, so nobody outside can choose flows that collide.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    keys: [u64; 4],
}

impl Hasher {
    /// A hasher with random keys.
    pub(super) fn new() -> Self {
        let random = RandomState::default();
        Self { keys: std::array::from_fn(|index| random.hash_one(index) | 1) }
    }

    /// The hash of the side that `segment` belongs to.
    #[inline(always)]
    pub(super) fn hash(&self, segment: &Segment) -> u32 {
        self.hash_parts(&segment.src, &segment.dst, ports(segment), Passage::of(segment))
    }

    /// The hash of the side that a plain record belongs to. It equals the hash of its segment.
    #[inline(always)]
    pub(super) fn hash_plain(&self, plain: &Plain) -> u32 {
        self.hash_words(plain.addresses, plain.ports)
    }

    /// The hash of the side that `key` names.
    pub(super) fn hash_key(&self, key: &SideKey) -> u32 {
        let ports = u32::from(key.flow.src_port) | u32::from(key.flow.dst_port) << 16;
        self.hash_parts(&key.flow.src, &key.flow.dst, ports, key.passage)
    }

    #[inline(always)]
    fn hash_parts(&self, src: &Address, dst: &Address, ports: u32, passage: Passage) -> u32 {
        let [k0, k1, k2, k3] = self.keys;
        let ends = if Address::are_ip4(src, dst) {
            u64::from(src.low_word()) | u64::from(dst.low_word()) << 32
        } else {
            let [s0, s1] = src.words();
            let [d0, d1] = dst.words();
            fold(s0 ^ k0, s1 ^ k2) ^ fold(d0 ^ k1, d1 ^ k3).rotate_left(17)
        };
        self.hash_words(ends ^ passage.number(), ports)
    }

    #[inline(always)]
    fn hash_words(&self, ends: u64, ports: u32) -> u32 {
        let [k0, k1, k2, _] = self.keys;
        let hash = fold(fold(ends ^ k0, k1) ^ u64::from(ports), k2);
        (hash >> 32) as u32 ^ hash as u32
    }
}

/// Both ports in a word, the sender's low.
#[inline(always)]
pub(super) fn ports(segment: &Segment) -> u32 {
    u32::from(segment.src_port) | u32::from(segment.dst_port) << 16
}
