//! The filter program, handed over at load time as read-only data.

use core::ptr;

use aya_ebpf::Global;
use tmap_common::{
    Segment,
    filter::{Ends, MAX_TESTS, Test, accepts_with},
};

use crate::{calls, frame::opaque};

/// How many tests the filter has. The verifier knows read-only data: with 0 the whole walk is dead
/// code and vanishes at load time.
#[unsafe(no_mangle)]
static FILTER_LEN: Global<u32> = Global::new(0);

/// The tests; the first `FILTER_LEN` count. Not read-only data: knowing what each test says, the
/// verifier would follow every way through them.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static FILTER: Global<[Test; MAX_TESTS]> = Global::new([Test::ANY; MAX_TESTS]);

/// Whether there is a filter.
#[inline(always)]
pub fn is_there() -> bool {
    FILTER_LEN.load() != 0
}

/// Whether the filter wants `segment`.
#[inline(always)]
pub fn wants(segment: &Segment) -> bool {
    !is_there() || calls::accepts(&Ends::of(segment))
}

/// Whether the tests accept a segment with these ends; `unknown` as in
/// [`Packet::unknown`](tmap_common::Packet::unknown).
#[inline(always)]
pub fn accepts(ends: &Ends, unknown: impl Fn(u64) -> u64) -> bool {
    let count = FILTER_LEN.load();
    // Opaque, so that the compiler doesn't take the initial contents for the final ones.
    let tests = opaque(ptr::from_ref(&FILTER) as usize) as *const Test;
    let test = |index: u8| {
        // Opaque, so that the number that is checked is the one that is used.
        let index = opaque(usize::from(index));
        if index >= count as usize || index >= MAX_TESTS {
            return None;
        }
        // SAFETY: Global<[Test; N]> is transparent over N tests, all initialised, never written
        // while the program runs; the index was checked.
        Some(unsafe { &*tests.add(index) })
    };
    accepts_with(ends, test, unknown)
}
