//! The filter that kernel and user space run: a short program of tests over a [`Segment`].
//!
//! User space compiles `src net 10/8 and not port 22` to a list of [`Test`]s. Each test reads one field and
//! names the test to go to on yes and on no. Jumps only lead forwards, so a program ends after at most
//! [`MAX_TESTS`] steps: the verifier's proof, and ours.

use crate::{Address, Segment};

/// The most tests in a program; a power of two.
pub const MAX_TESTS: usize = 32;

/// The jump target that ends the program: the filter accepts the segment.
pub const ACCEPT: u8 = 0xff;

/// The jump target that ends the program: the filter rejects the segment.
pub const REJECT: u8 = 0xfe;

/// The numbers of the fields that a [`Test`] can read.
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

/// One test of a filter program, and the jumps behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Test {
    /// The network's address, already masked; IPv4 in its mapped form.
    pub net: [u8; 16],
    /// Which bits of the address are compared; an IPv4 prefix of /n is a mask of /(96 + n).
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
    /// Padding, always 0.
    pub reserved: u8,
}

const _: () = assert!(size_of::<Test>() == 40);

impl Test {
    /// A test that accepts every segment, to fill unused places.
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

    /// The test as it lies in memory on this machine: in this form the kernel programs get it.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.net);
        bytes[16..32].copy_from_slice(&self.mask);
        bytes[32..34].copy_from_slice(&self.port_low.to_ne_bytes());
        bytes[34..36].copy_from_slice(&self.port_high.to_ne_bytes());
        bytes[36..].copy_from_slice(&[self.field, self.on_yes, self.on_no, self.reserved]);
        bytes
    }

    /// Whether the test holds for a segment with these endpoints.
    #[inline(always)]
    fn holds(&self, endpoints: &Endpoints) -> bool {
        let [src_high, src_low, dst_high, dst_low, ports] = endpoints.words;
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

/// The addresses and ports that a filter reads, as words: the kernel programs pass them to a subprogram by
/// their address.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Endpoints {
    words: [u64; 5],
}

impl Endpoints {
    /// The addresses and ports of a segment.
    #[inline(always)]
    pub const fn of(segment: &Segment) -> Self {
        Self::new(&segment.src, &segment.dst, [segment.src_port, segment.dst_port])
    }

    /// These addresses and ports, of the sender and the receiver.
    #[inline(always)]
    pub const fn new(src: &Address, dst: &Address, [src_port, dst_port]: [u16; 2]) -> Self {
        let [src_high, src_low] = src.words();
        let [dst_high, dst_low] = dst.words();
        let ports = src_port as u64 | (dst_port as u64) << 16;
        Self { words: [src_high, src_low, dst_high, dst_low, ports] }
    }
}

/// Runs a program over `segment` and returns whether it accepts. `test` returns the program's test of an
/// index; the program begins at 0, and a missing test rejects.
#[inline(always)]
pub fn accepts<'a>(segment: &Segment, test: impl Fn(u8) -> Option<&'a Test>) -> bool {
    accepts_with(&Endpoints::of(segment), test, |word| word)
}

/// Runs a program as [`accepts`] does, in the form that the kernel's verifier checks quickly. `opaque` is
/// its barrier ([`Packet::opaque`](crate::Packet::opaque)).
///
/// It first makes all tests, then follows the jumps. The outcomes of the tests pass through a table that is
/// written at indices opaque to the verifier, so it can't tell which jump is taken: it checks two straight
/// lines, where jumping from test to test would be a path per combination.
#[inline(always)]
pub fn accepts_with<'a>(
    endpoints: &Endpoints,
    test: impl Fn(u8) -> Option<&'a Test>,
    opaque: impl Fn(u64) -> u64,
) -> bool {
    let mut held = Held([0; MAX_TESTS]);
    for index in 0..MAX_TESTS as u8 {
        let Some(test) = test(index) else { break };
        held.0[opaque(u64::from(index)) as usize % MAX_TESTS] = u8::from(test.holds(endpoints));
    }
    let mut at = opaque(0) as u8;
    for _ in 0..MAX_TESTS {
        let Some(test) = test(at) else { return false };
        // All ones where the test held: arithmetic instead of a branch, for the same reason.
        let mask = opaque(u64::from(held.0[usize::from(at) % MAX_TESTS]).wrapping_neg()) as u8;
        at = test.on_no ^ (test.on_yes ^ test.on_no) & mask;
        if at >= REJECT {
            return at == ACCEPT;
        }
    }
    false
}

/// Which tests held. Aligned, so that it is cleared by words.
#[repr(align(8))]
struct Held([u8; MAX_TESTS]);
