//! The filter as both sides run it: a short decision program over a [`Segment`].
//!
//! User space compiles `src net 10/8 and not port 22` to a list of [`Test`]s; each test looks at
//! one thing and names the test to go to on yes and on no. Jumps only lead forwards, so a program
//! ends after at most [`MAX_TESTS`] steps: the verifier's proof, and ours.

use crate::{Address, Segment};

/// The longest program; a power of two.
pub const MAX_TESTS: usize = 32;

/// A jump target: the segment is wanted.
pub const ACCEPT: u8 = 0xff;

/// A jump target: the segment is not wanted.
pub const REJECT: u8 = 0xfe;

/// What a [`Test`] looks at.
pub mod field {
    /// The sender's address, under the mask.
    pub const SRC_NET: u8 = 0;
    /// The receiver's address, under the mask.
    pub const DST_NET: u8 = 1;
    /// The sender's port, from `port_low` to `port_high`.
    pub const SRC_PORT: u8 = 2;
    /// The receiver's port, from `port_low` to `port_high`.
    pub const DST_PORT: u8 = 3;
}

/// One step of a filter program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Test {
    /// The network's address, already masked; IPv4 in its mapped form.
    pub net: [u8; 16],
    /// Which bits of the address count; an IPv4 prefix of /n is a mask of /(96 + n).
    pub mask: [u8; 16],
    /// The lowest port that matches.
    pub port_low: u16,
    /// The highest port that matches.
    pub port_high: u16,
    /// One of [`field`].
    pub field: u8,
    /// Where to go if the test holds: a later index, [`ACCEPT`] or [`REJECT`].
    pub on_yes: u8,
    /// Where to go if it doesn't.
    pub on_no: u8,
    /// Explicit padding.
    pub reserved: u8,
}

const _: () = assert!(size_of::<Test>() == 40);

impl Test {
    /// A test that accepts everything, to fill unused places.
    pub const ANY: Self = Self {
        net: [0; 16],
        mask: [0; 16],
        port_low: 0,
        port_high: 0,
        field: field::SRC_NET,
        on_yes: ACCEPT,
        on_no: ACCEPT,
        reserved: 0,
    };

    /// The test as it lies in memory on this machine: how it is handed to the kernel.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.net);
        bytes[16..32].copy_from_slice(&self.mask);
        bytes[32..34].copy_from_slice(&self.port_low.to_ne_bytes());
        bytes[34..36].copy_from_slice(&self.port_high.to_ne_bytes());
        bytes[36..].copy_from_slice(&[self.field, self.on_yes, self.on_no, self.reserved]);
        bytes
    }

    /// Whether the test holds for a segment with these ends.
    #[inline(always)]
    fn holds(&self, ends: &Ends) -> bool {
        let [src_high, src_low, dst_high, dst_low, ports] = ends.words;
        let ports_allowed = self.port_low..=self.port_high;
        match self.field {
            field::SRC_NET => self.holds_net([src_high, src_low]),
            field::DST_NET => self.holds_net([dst_high, dst_low]),
            field::SRC_PORT => ports_allowed.contains(&(ports as u16)),
            _ => ports_allowed.contains(&((ports >> 16) as u16)),
        }
    }

    #[inline(always)]
    fn holds_net(&self, [high, low]: [u64; 2]) -> bool {
        let [net_high, net_low] = Address::from_ip6(self.net).words();
        let [mask_high, mask_low] = Address::from_ip6(self.mask).words();
        high & mask_high == net_high && low & mask_low == net_low
    }
}

/// What a filter looks at, as words: the kernel programs hand it to a function by its address.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ends {
    words: [u64; 5],
}

impl Ends {
    /// Those of a segment.
    #[inline(always)]
    pub const fn of(segment: &Segment) -> Self {
        Self::new(&segment.src, &segment.dst, [segment.src_port, segment.dst_port])
    }

    /// Those of a sender and a receiver.
    #[inline(always)]
    pub const fn new(src: &Address, dst: &Address, [src_port, dst_port]: [u16; 2]) -> Self {
        let [src_high, src_low] = src.words();
        let [dst_high, dst_low] = dst.words();
        let ports = src_port as u64 | (dst_port as u64) << 16;
        Self { words: [src_high, src_low, dst_high, dst_low, ports] }
    }
}

/// Runs the program that `test` hands out by index, from index 0; a missing test rejects.
#[inline(always)]
pub fn accepts<'a>(segment: &Segment, test: impl Fn(u8) -> Option<&'a Test>) -> bool {
    accepts_with(&Ends::of(segment), test, |word| word)
}

/// [`accepts`], with a function that returns its argument and leaves the kernel's verifier none the
/// wiser ([`Packet::unknown`](crate::Packet::unknown)).
///
/// First all tests, then the jumps over what came out. What came out passes through a table that is
/// written at places unknown to the verifier, so it can't tell which jump is taken: to it that is two
/// straight lines, where jumping from test to test would be a path per combination.
#[inline(always)]
pub fn accepts_with<'a>(
    ends: &Ends,
    test: impl Fn(u8) -> Option<&'a Test>,
    unknown: impl Fn(u64) -> u64,
) -> bool {
    let mut held = Held([0; MAX_TESTS]);
    for index in 0..MAX_TESTS as u8 {
        let Some(step) = test(index) else { break };
        held.0[unknown(u64::from(index)) as usize % MAX_TESTS] = u8::from(step.holds(ends));
    }
    let mut at = unknown(0) as u8;
    for _ in 0..MAX_TESTS {
        let Some(step) = test(at) else { return false };
        // All ones where the test held: arithmetic instead of a branch, for the same reason.
        let mask = unknown(u64::from(held.0[usize::from(at) % MAX_TESTS]).wrapping_neg()) as u8;
        at = step.on_no ^ (step.on_yes ^ step.on_no) & mask;
        if at >= REJECT {
            return at == ACCEPT;
        }
    }
    false
}

/// Which tests held. Aligned, so that it is cleared by words.
#[repr(align(8))]
struct Held([u8; MAX_TESTS]);
