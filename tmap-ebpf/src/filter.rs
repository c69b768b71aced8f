//! The filter program, handed over at load time as read-only data.

use core::ptr;

use aya_ebpf::Global;
use tmap_common::{
    Segment,
    filter::{MAX_TESTS, Test, accepts},
};

use crate::frame::opaque;

/// How many tests the filter has. The verifier knows read-only data: with 0 the whole walk is dead
/// code and vanishes at load time.
#[unsafe(no_mangle)]
static FILTER_LEN: Global<u32> = Global::new(0);

/// The tests; the first `FILTER_LEN` count.
#[unsafe(no_mangle)]
static FILTER: Global<[Test; MAX_TESTS]> = Global::new([Test::ANY; MAX_TESTS]);

/// Whether the filter wants `segment`.
#[inline(always)]
pub fn wants(segment: &Segment) -> bool {
    let count = FILTER_LEN.load();
    if count == 0 {
        return true;
    }
    // Opaque, so that the compiler doesn't take the initial contents for the final ones.
    let tests = opaque(ptr::from_ref(&FILTER) as usize) as *const Test;
    accepts(segment, |index| {
        if u32::from(index) >= count || usize::from(index) >= MAX_TESTS {
            return None;
        }
        // SAFETY: Global<[Test; N]> is transparent over N tests, all initialised, never written
        // while the program runs; the index was checked.
        Some(unsafe { &*tests.add(usize::from(index)) })
    })
}
