//! The filter program, which the loader sets before the programs are loaded.

use core::ptr;

use aya_ebpf::Global;
use tmap_common::{
    Segment,
    filter::{Endpoints, MAX_TESTS, Test, accepts_with},
};

use crate::opaque;

/// How many tests the filter has. The verifier knows read-only data: with 0 the whole walk is dead
/// code and vanishes at load time.
#[unsafe(no_mangle)]
static FILTER_LEN: Global<u32> = Global::new(0);

/// The tests; the first `FILTER_LEN` count. Not read-only data: if the verifier knew what each test says, it
/// would follow every path through them.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static FILTER: Global<[Test; MAX_TESTS]> = Global::new([Test::ANY; MAX_TESTS]);

/// Whether there is a filter.
#[inline(always)]
pub(crate) fn is_set() -> bool {
    FILTER_LEN.load() != 0
}

/// Whether the filter accepts `segment`; without a filter every segment is accepted.
#[inline(always)]
pub(crate) fn accepts(segment: &Segment) -> bool {
    // The second argument is opaque to the verifier, which checks the subprogram without its callers.
    !is_set() || accepts_endpoints(&Endpoints::of(segment), 0) != 0
}

/// Subprogram: whether the filter accepts a segment with these endpoints, 1 or 0. `any` is any number.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn accepts_endpoints(endpoints: *const Endpoints, any: u64) -> u64 {
    // SAFETY: the caller lent it, and nothing writes it meanwhile. For all that the verifier knows it may be
    // null.
    let Some(endpoints) = (unsafe { endpoints.as_ref() }) else { return 0 };
    run(endpoints, |word| opaque::to_verifier(word, any)).into()
}

/// Runs the tests; `barrier` hides its argument from the verifier.
#[inline(always)]
fn run(endpoints: &Endpoints, barrier: impl Fn(u64) -> u64) -> bool {
    let count = FILTER_LEN.load();
    // Opaque, so that the compiler doesn't take the initial contents for the final ones.
    let tests = opaque::to_compiler(ptr::from_ref(&FILTER) as usize) as *const Test;
    let test = |index: u8| {
        // Opaque, so that the number that is checked is the one that is used.
        let index = opaque::to_compiler(usize::from(index));
        if index >= count as usize || index >= MAX_TESTS {
            return None;
        }
        // SAFETY: Global<[Test; N]> is transparent over N tests, all initialised, never written
        // while the program runs; the index was checked.
        Some(unsafe { &*tests.add(index) })
    };
    accepts_with(endpoints, test, barrier)
}
