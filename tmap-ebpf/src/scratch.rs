//! Memory for the long way through the parser: the stack of 512 bytes has no room for it beside what the
//! functions on that way need.

use aya_ebpf::{macros::map, maps::Array};
use tmap_common::{Record, tcp::Options, tunnel::Descent};

use crate::{atomic, counters::preemptible};

/// One per CPU; the loader sets how many.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// A CPU's memory, in lines of its own.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Scratch {
    work: Work,
    /// 1 while in use. Looked at only where programs may interrupt each other.
    busy: u64,
}

/// What the functions on the long way hand on to each other.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Work {
    /// Where the segment lies.
    pub way: Descent,
    /// Its options.
    pub options: Options,
    /// The segment, and what else its record says.
    pub record: Record,
}

/// This CPU's memory, its way cleared; `None` while another program uses it.
#[inline(always)]
pub fn borrow<'a>(cpu: u32) -> Option<&'a mut Work> {
    let scratch = SCRATCH.get_ptr_mut(cpu)?;
    // SAFETY: `busy` is an aligned u64 of this CPU's value.
    if preemptible() && unsafe { atomic::swap(&raw mut (*scratch).busy, 1) } != 0 {
        return None;
    }
    // SAFETY: the map's value outlives the program's run, and only this program uses it now. It began as
    // zeros, which are a record as well.
    let work = unsafe { &mut (*scratch).work };
    work.way = Descent::default();
    Some(work)
}

/// Lets other programs of this CPU use it.
#[inline(always)]
pub fn give_back(cpu: u32) {
    if preemptible()
        && let Some(scratch) = SCRATCH.get_ptr_mut(cpu)
    {
        // SAFETY: as above.
        unsafe { atomic::swap(&raw mut (*scratch).busy, 0) };
    }
}
