//! The way to user space: a single-producer, single-consumer ring per CPU, in memory that user space maps.
//!
//! The pipeline only calls [`push`] and [`push_data`], whatever the design behind them.
//!
//! Ordering. The producer writes the slots, then publishes `produced`; the consumer reads
//! `produced` (acquire), copies the slots, then publishes `consumed` (release). The producer's read
//! of `consumed` and its writes into freed slots are ordered by the branch between them. It may use a value
//! of `consumed` that it read before, since slots that were free then still are. Its slot writes and its
//! publishing are ordered on CPUs that keep stores in order (x86, s390). Elsewhere publishing must be a full
//! barrier, which in BPF a fetching atomic is; the loader says so.

use core::ptr;

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_RB_FORCE_WAKEUP},
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, RingBuf},
};
use tmap_common::{Record, record::Slot, ring::MIN_SLOTS};

use crate::{
    atomic,
    state::{ThisCpu, preemptible, tells},
    stop,
};

/// All rings, one after another; the loader sets the size: CPUs x slots.
#[map]
static RING: Array<Slot> = Array::with_max_entries(MIN_SLOTS, BPF_F_MMAPABLE);

/// The doorbell: what is written here wakes the consumer. It holds nothing that anybody reads.
#[map]
static BELL: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Slots per CPU, a power of two; the loader sets it.
#[unsafe(no_mangle)]
static SLOTS: Global<u32> = Global::new(MIN_SLOTS);

/// Whether stores can be seen out of order, so that publishing needs a barrier; the loader sets it in the
/// cautious object.
#[unsafe(no_mangle)]
static WEAK_ORDER: Global<u8> = Global::new(0);

/// Writes the time into `record`, and the record to the ring of `cpu`; `false` if there is no room.
#[inline(always)]
pub(crate) fn push(cpu: ThisCpu, record: &mut Record) -> bool {
    let Some(reserved) = Reservation::make(cpu, record.slot_count() as u64) else { return false };
    record.time_ns = now();
    let mut at = reserved.at;
    reserved.ring.write(at, record.first_slot(tells()));
    if let Some(slot) = record.address_slot() {
        at += 1;
        reserved.ring.write(at, slot);
    }
    if let Some(slot) = record.syn_slot() {
        at += 1;
        reserved.ring.write(at, slot);
    }
    if let Some([key, addresses]) = record.tunnel_slots() {
        reserved.ring.write(at + 1, key);
        reserved.ring.write(at + 2, addresses);
    }
    reserved.publish();
    true
}

/// Writes a data segment's record, which has neither handshake nor tunnel, to the ring of `cpu`; `false` if
/// there is no room. The caller knows the IP version at compile time.
///
/// The clock, the most expensive step, is read when everything else is written: reading it waits for the
/// instructions begun before, and nothing has to be kept across the call.
#[inline(always)]
pub(crate) fn push_data<const STOP: u8>(cpu: ThisCpu, is_ip4: bool, record: &Record) -> bool {
    let Some(reserved) = Reservation::make(cpu, if is_ip4 { 1 } else { 2 }) else { return false };
    if STOP == stop::AFTER_RESERVE {
        stop::compute([reserved.end]);
        release(cpu);
        return true;
    }
    let Some(slot) = reserved.ring.slot(reserved.at) else { return false };
    let words = slot.cast::<u64>();
    let Slot { words: [_, rest @ ..] } = record.first_slot_with(!is_ip4, tells());
    for (index, word) in (1..).zip(rest) {
        // SAFETY: a slot is four words. Volatile keeps these writes before the publishing one.
        unsafe { ptr::write_volatile(words.add(index), word) };
    }
    if !is_ip4 {
        reserved.ring.write(reserved.at + 1, record.addresses());
    }
    if STOP == stop::AFTER_WRITE {
        release(cpu);
        return true;
    }
    // SAFETY: the time is the slot's first word. Volatile keeps this write before the publishing one.
    unsafe { ptr::write_volatile(words, now()) };
    reserved.publish();
    true
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Wakes the consumer. It finds the record once that is published; the wake-up takes longer than that.
#[inline(never)]
fn ring_bell() {
    // Where the bell's ring is full, the consumer is being woken already.
    let _ = BELL.output::<u64>(0_u64, u64::from(BPF_RB_FORCE_WAKEUP));
}

/// Free slots, to be filled and published.
struct Reservation {
    cpu: ThisCpu,
    ring: Ring,
    /// Position of the first slot.
    at: u32,
    /// Position behind the last slot.
    end: u64,
}

impl Reservation {
    /// Finds `count` free slots; `None` if there are fewer, or another producer of this CPU is at work.
    #[inline(always)]
    fn make(cpu: ThisCpu, count: u64) -> Option<Self> {
        // SAFETY: `busy` is an aligned u64 of this CPU's state.
        if preemptible() && unsafe { atomic::swap(&raw mut (*cpu.state).busy, 1) } != 0 {
            return None;
        }
        let slots = u64::from(SLOTS.load());
        // SAFETY: the state is a value of the map. `produced` is read volatile because user space shares it;
        // aligned words aren't torn.
        let (produced, before) =
            unsafe { (ptr::read_volatile(&raw const (*cpu.state).produced), (*cpu.state).consumed_before) };
        let end = produced + count;
        // Wrapping: what a sleeping consumer put there may lie below zero.
        if end.wrapping_sub(before) > slots {
            // SAFETY: the state is a value of the map. User space writes both words, so they are read
            // volatile; aligned words aren't torn.
            let (consumed, is_asleep) = unsafe {
                let state = &raw const *cpu.state;
                (
                    ptr::read_volatile(&raw const (*state).consumed),
                    ptr::read_volatile(&raw const (*state).is_asleep),
                )
            };
            if is_asleep != 0 {
                ring_bell();
            }
            if end - consumed > slots {
                release(cpu);
                return None;
            }
            // SAFETY: the state is a value of the map. Whichever value a consumer that goes to sleep at this
            // moment leaves here is a right one.
            unsafe { (*cpu.state).consumed_before = consumed };
        }
        Some(Self { cpu, ring: Ring::of(cpu.number), at: produced as u32, end })
    }

    /// Publishes the slots to user space.
    #[inline(always)]
    fn publish(self) {
        if !crate::CAUTIOUS || WEAK_ORDER.load() == 0 {
            // SAFETY: `produced` is an aligned u64 of this CPU's state. Volatile accesses stay in order, for
            // the compiler and on these CPUs.
            unsafe { ptr::write_volatile(&raw mut (*self.cpu.state).produced, self.end) };
        } else {
            // SAFETY: `produced` is an aligned u64 of this CPU's state.
            unsafe { atomic::swap(&raw mut (*self.cpu.state).produced, self.end) };
        }
        release(self.cpu);
    }
}

/// Lets other producers of this CPU use the ring again.
#[inline(always)]
fn release(cpu: ThisCpu) {
    if preemptible() {
        // SAFETY: `busy` is an aligned u64 of this CPU's state.
        unsafe { atomic::swap(&raw mut (*cpu.state).busy, 0) };
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
    /// is for the verifier.
    #[inline(always)]
    fn slot(&self, position: u32) -> Option<*mut Slot> {
        RING.get_ptr_mut(self.base + (position & self.mask))
    }

    #[inline(always)]
    fn write(&self, position: u32, slot: Slot) {
        if let Some(to) = self.slot(position) {
            write(to, slot);
        }
    }
}

#[inline(always)]
fn write(to: *mut Slot, slot: Slot) {
    let words = to.cast::<u64>();
    for (index, word) in slot.words.into_iter().enumerate() {
        // SAFETY: a slot is four words. Volatile keeps these writes before the publishing one.
        unsafe { ptr::write_volatile(words.add(index), word) };
    }
}
