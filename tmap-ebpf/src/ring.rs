//! The way out: a single-producer, single-consumer ring per CPU, in memory that user space maps.
//!
//! This module is the seam: whatever the design behind it, the pipeline only calls [`push`].
//!
//! Ordering. The producer writes the slots, then publishes `produced`; the consumer reads
//! `produced` (acquire), copies the slots, then publishes `consumed` (release). The producer's read
//! of `consumed` and its writes into freed slots are ordered by the branch between them; what it saw of
//! `consumed` it keeps, since what was free then still is. Its slot writes and its publishing are ordered on CPUs that keep stores in order (x86, s390); elsewhere
//! publishing must be a full barrier, which in BPF a fetching atomic is. The loader says which.

use core::ptr;

use aya_ebpf::{Global, bindings::BPF_F_MMAPABLE, helpers::bpf_ktime_get_ns, macros::map, maps::Array};
use tmap_common::{Record, record::Slot, ring::MIN_SLOTS};

use crate::{
    atomic,
    counters::{Row, preemptible},
    frame::needed,
    pipeline::step,
};

/// All rings, one after another; the loader sets the size: CPUs x slots.
#[map]
static RING: Array<Slot> = Array::with_max_entries(MIN_SLOTS, BPF_F_MMAPABLE);

/// Slots per CPU, a power of two; the loader sets it.
#[unsafe(no_mangle)]
static SLOTS: Global<u32> = Global::new(MIN_SLOTS);

/// Whether stores can be seen out of order, so that publishing needs a barrier; the loader sets it in the
/// cautious object.
#[unsafe(no_mangle)]
static WEAK_ORDER: Global<u8> = Global::new(0);

/// Stamps `record` and writes it to the ring of the CPU with this row; `false` if there is no room.
#[inline(always)]
pub fn push(row: Row, record: &mut Record) -> bool {
    let Some(room) = Room::make(row, record.slot_count() as u64) else { return false };
    record.time_ns = now();
    let mut at = room.at;
    room.ring.write(at, record.first_slot());
    if let Some(slot) = record.address_slot() {
        at += 1;
        room.ring.write(at, slot);
    }
    if let Some(slot) = record.syn_slot() {
        at += 1;
        room.ring.write(at, slot);
    }
    if let Some([name, ends]) = record.tunnel_slots() {
        room.ring.write(at + 1, name);
        room.ring.write(at + 2, ends);
    }
    room.publish();
    true
}

/// The same for a record without handshake and tunnel, of which the caller knows the IP version. Ends
/// after the step `LAST`.
///
/// The clock, the dearest step, is read when all else is written: reading it waits for what was begun
/// before, and nothing has to be kept across the call.
#[inline(always)]
pub fn push_short<const LAST: u8>(row: Row, is_ip4: bool, record: &Record) -> bool {
    let Some(room) = Room::make(row, if is_ip4 { 1 } else { 2 }) else { return false };
    if LAST == step::ROOM {
        needed([room.end]);
        release(row);
        return true;
    }
    let Some(place) = room.ring.place(room.at) else { return false };
    let place = place.cast::<u64>();
    let Slot { words: [_, rest @ ..] } = record.first_slot_with(!is_ip4);
    for (index, word) in (1..).zip(rest) {
        // SAFETY: a slot is four words. Volatile keeps these writes before the publishing one.
        unsafe { ptr::write_volatile(place.add(index), word) };
    }
    if !is_ip4 {
        room.ring.write(room.at + 1, record.addresses());
    }
    if LAST == step::WRITE {
        release(row);
        return true;
    }
    // SAFETY: as above.
    unsafe { ptr::write_volatile(place, now()) };
    room.publish();
    true
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Slots to be filled and published.
struct Room {
    row: Row,
    ring: Ring,
    /// Position of the first slot, and the one behind the last.
    at: u32,
    end: u64,
}

impl Room {
    /// Finds `count` free slots.
    #[inline(always)]
    fn make(row: Row, count: u64) -> Option<Self> {
        // SAFETY: `busy` is an aligned u64 of this CPU's row.
        if preemptible() && unsafe { atomic::swap(&raw mut (*row.at).busy, 1) } != 0 {
            return None;
        }
        let slots = u64::from(SLOTS.load());
        // SAFETY: the row is a value of the map; the accesses are volatile because user space shares
        // it, and aligned words aren't torn.
        let (produced, before) =
            unsafe { (ptr::read_volatile(&raw const (*row.at).produced), (*row.at).consumed_before) };
        let end = produced + count;
        if end - before > slots {
            // SAFETY: as above.
            let consumed = unsafe { ptr::read_volatile(&raw const (*row.at).consumed) };
            if end - consumed > slots {
                release(row);
                return None;
            }
            // SAFETY: as above.
            unsafe { (*row.at).consumed_before = consumed };
        }
        Some(Self { row, ring: Ring::of(row.cpu), at: produced as u32, end })
    }

    /// Shows the slots to user space.
    #[inline(always)]
    fn publish(self) {
        if !crate::CAUTIOUS || WEAK_ORDER.load() == 0 {
            // SAFETY: as above; volatile accesses stay in order, in the compiler and on these CPUs.
            unsafe { ptr::write_volatile(&raw mut (*self.row.at).produced, self.end) };
        } else {
            // SAFETY: `produced` is an aligned u64 of this CPU's row.
            unsafe { atomic::swap(&raw mut (*self.row.at).produced, self.end) };
        }
        release(self.row);
    }
}

/// Lets other producers of this CPU at the ring again.
#[inline(always)]
fn release(row: Row) {
    if preemptible() {
        // SAFETY: `busy` is an aligned u64 of this CPU's row.
        unsafe { atomic::swap(&raw mut (*row.at).busy, 0) };
    }
}

/// One CPU's slots.
struct Ring {
    base: u32,
    mask: u32,
}

impl Ring {
    #[inline(always)]
    fn of(cpu: u32) -> Self {
        let slots = SLOTS.load();
        Self { base: cpu * slots, mask: slots - 1 }
    }

    /// Where the slot of a position lies. The map has a slot for every index of this form; the check
    /// is the verifier's.
    #[inline(always)]
    fn place(&self, position: u32) -> Option<*mut Slot> {
        RING.get_ptr_mut(self.base + (position & self.mask))
    }

    #[inline(always)]
    fn write(&self, position: u32, slot: Slot) {
        if let Some(place) = self.place(position) {
            write(place, slot);
        }
    }
}

#[inline(always)]
fn write(place: *mut Slot, slot: Slot) {
    let place = place.cast::<u64>();
    for (index, word) in slot.words.into_iter().enumerate() {
        // SAFETY: a slot is four words. Volatile keeps these writes before the publishing one.
        unsafe { ptr::write_volatile(place.add(index), word) };
    }
}
