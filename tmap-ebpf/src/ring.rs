//! The way out: a single-producer, single-consumer ring per CPU, in memory that user space maps.
//!
//! This module is the seam: whatever the design behind it, the pipeline only calls [`push`].
//!
//! Ordering. The producer writes the slots, then publishes `produced`; the consumer reads
//! `produced` (acquire), copies the slots, then publishes `consumed` (release). The producer's read
//! of `consumed` and its writes into freed slots are ordered by the branch between them. Its slot
//! writes and its publishing are ordered on CPUs that keep stores in order (x86, s390); elsewhere
//! publishing must be a full barrier, which in BPF a fetching atomic is. The loader says which.

use core::ptr;

use aya_ebpf::{Global, bindings::BPF_F_MMAPABLE, helpers::bpf_ktime_get_ns, macros::map, maps::Array};
use tmap_common::{
    Record,
    record::Slot,
    ring::{MIN_SLOTS, Positions},
};

use crate::{atomic, counters::preemptible};

/// All rings, one after another; the loader sets the size: CPUs x slots.
#[map]
static RING: Array<Slot> = Array::with_max_entries(MIN_SLOTS, BPF_F_MMAPABLE);

/// A row per CPU.
#[map]
static POSITIONS: Array<Positions> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Slots per CPU, a power of two; the loader sets it.
#[unsafe(no_mangle)]
static SLOTS: Global<u32> = Global::new(MIN_SLOTS);

/// Whether stores can be seen out of order, so that publishing needs a barrier; the loader sets it.
#[unsafe(no_mangle)]
static WEAK_ORDER: Global<u8> = Global::new(0);

/// Stamps `record` and writes it to the ring of `cpu`; `false` if there is no room. The clock, the
/// dearest step, is read only when there is.
#[inline(always)]
pub fn push(cpu: u32, record: &mut Record) -> bool {
    let Some(row) = POSITIONS.get_ptr_mut(cpu) else { return false };
    if preemptible() {
        // SAFETY: `busy` is an aligned u64 of this CPU's row.
        let busy = unsafe { &raw mut (*row).busy };
        // SAFETY: as above.
        if unsafe { atomic::swap(busy, 1) } != 0 {
            return false;
        }
        let pushed = push_alone(cpu, row, record);
        // SAFETY: as above.
        unsafe { atomic::swap(busy, 0) };
        return pushed;
    }
    push_alone(cpu, row, record)
}

/// [`push`], when nobody else is at work on this CPU's ring.
#[inline(always)]
fn push_alone(cpu: u32, row: *mut Positions, record: &mut Record) -> bool {
    let slots = u64::from(SLOTS.load());
    // SAFETY: the row is a value of the map; the accesses are volatile because user space shares
    // it, and aligned words aren't torn.
    let (produced, consumed) = unsafe {
        (ptr::read_volatile(&raw const (*row).produced), ptr::read_volatile(&raw const (*row).consumed))
    };
    let end = produced + record.slot_count() as u64;
    if end - consumed > slots {
        return false;
    }
    // SAFETY: the helper has no preconditions.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    let ring = Ring { base: cpu * slots as u32, mask: slots as u32 - 1 };
    let mut at = produced as u32;
    ring.write(at, record.first_slot());
    if let Some(slot) = record.address_slot() {
        at += 1;
        ring.write(at, slot);
    }
    if let Some(slot) = record.syn_slot() {
        at += 1;
        ring.write(at, slot);
    }
    if let Some([name, ends]) = record.tunnel_slots() {
        ring.write(at + 1, name);
        ring.write(at + 2, ends);
    }
    if WEAK_ORDER.load() == 0 {
        // SAFETY: as above; volatile accesses stay in order, in the compiler and on these CPUs.
        unsafe { ptr::write_volatile(&raw mut (*row).produced, end) };
    } else {
        // SAFETY: `produced` is an aligned u64 of this CPU's row.
        unsafe { atomic::swap(&raw mut (*row).produced, end) };
    }
    true
}

/// One CPU's slots.
struct Ring {
    base: u32,
    mask: u32,
}

impl Ring {
    #[inline(always)]
    fn write(&self, position: u32, slot: Slot) {
        // The map has a slot for every index of this form; the check is the verifier's.
        let Some(place) = RING.get_ptr_mut(self.base + (position & self.mask)) else { return };
        let place = place.cast::<u64>();
        for (index, word) in slot.words.into_iter().enumerate() {
            // SAFETY: a slot is four words. Volatile keeps these writes before the publishing one.
            unsafe { ptr::write_volatile(place.add(index), word) };
        }
    }
}
