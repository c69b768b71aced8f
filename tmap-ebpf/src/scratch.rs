//! Working memory for the slow path: the stack of 512 bytes has no room for it beside what the subprograms
//! on that path need.

use aya_ebpf::{macros::map, maps::Array};
use tmap_common::{Record, tcp::OptionOffsets, tunnel::DecapCursor};

use crate::{atomic, state::preemptible};

/// One per CPU; the loader sets how many.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// A CPU's memory, in cache lines of its own.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Scratch {
    work: Work,
    /// 1 while in use. Used only where programs may interrupt each other.
    busy: u64,
}

/// What the subprograms of the slow path pass on to each other.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Work {
    /// The decapsulation cursor, which ends at the segment's headers.
    pub cursor: DecapCursor,
    /// The offsets of the segment's options.
    pub options: OptionOffsets,
    /// The segment, and the other fields of its record.
    pub record: Record,
}

/// Borrows this CPU's memory, with its cursor reset; `None` while another program uses it.
#[inline(always)]
pub(crate) fn borrow<'a>(cpu: u32) -> Option<&'a mut Work> {
    let scratch = SCRATCH.get_ptr_mut(cpu)?;
    // SAFETY: `busy` is an aligned u64 of this CPU's value.
    if preemptible() && unsafe { atomic::swap(&raw mut (*scratch).busy, 1) } != 0 {
        return None;
    }
    // SAFETY: the map's value outlives the program's run, and only this program uses it now. It began as
    // zeros, which are a record as well.
    let work = unsafe { &mut (*scratch).work };
    work.cursor = DecapCursor::default();
    Some(work)
}

/// Gives the memory back, so that other programs of this CPU can use it.
#[inline(always)]
pub(crate) fn give_back(cpu: u32) {
    if preemptible()
        && let Some(scratch) = SCRATCH.get_ptr_mut(cpu)
    {
        // SAFETY: `busy` is an aligned u64 of this CPU's value.
        unsafe { atomic::swap(&raw mut (*scratch).busy, 0) };
    }
}
