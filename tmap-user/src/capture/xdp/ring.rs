//! The user side of the rings and counters: memory shared with the kernel programs.
//!
//! The only module of the live capture with `unsafe`: it reads and writes mapped memory. Layout and ordering
//! are described in `tmap_common::ring` and on the kernel side (`tmap-ebpf/src/ring.rs`). Another design
//! needs to replace only this file and that one.
#![allow(unsafe_code, reason = "memory shared with the kernel is reached by raw pointers")]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fmt,
    mem::offset_of,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    ptr,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
            fence,
        },
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use memmap2::{MmapOptions, MmapRaw};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tmap_common::{
    Counters, Record, Skip,
    record::{MAX_SLOTS, Slot},
    ring::{CpuState, seemingly_full},
};

/// Records handed on before their slots are given back to the kernel. Small enough that a slow
/// consumer gives room back early, large enough that the shared line is rarely written.
const RELEASE_EVERY: usize = 256;

/// How long a record may be under way from its reservation to its publication: a program takes a microsecond.
const UNDER_WAY: Duration = Duration::from_millis(2);

/// How many CPUs, and how many slots each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Possible CPUs.
    pub cpus: usize,
    /// Slots per CPU, a power of two.
    pub slots: u32,
}

/// Shared memory: an array of `T`, mapped.
#[derive(Debug)]
struct Shared<T> {
    map: MmapRaw,
    len: usize,
    item: std::marker::PhantomData<T>,
}

impl<T> Shared<T> {
    /// Maps the first `len` values of the BPF array behind `fd`.
    fn map(fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len * size_of::<T>());
        let fd = fd.as_raw_fd();
        let map = if writable { options.map_raw(fd) } else { options.map_raw_read_only(fd) };
        Ok(Self {
            map: map.context("cannot map a BPF array into memory")?,
            len,
            item: std::marker::PhantomData,
        })
    }

    /// Where value `index` lies. Pages are aligned for any `T` here.
    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.len, "index {index} of {}", self.len);
        // SAFETY: the mapping holds `len` values and the index was checked.
        unsafe { self.map.as_mut_ptr().cast::<T>().add(index) }
    }

    /// The word at `offset` bytes into value `index`, as an atomic: the kernel writes it meanwhile.
    fn word(&self, index: usize, offset: usize) -> &AtomicU64 {
        assert!(offset + size_of::<u64>() <= size_of::<T>() && offset.is_multiple_of(8));
        // SAFETY: inside value `index` and aligned; mapped as long as `self` lives; both sides
        // access it as one aligned word.
        unsafe { AtomicU64::from_ptr(self.at(index).byte_add(offset).cast()) }
    }
}

impl Shared<CpuState> {
    /// Up to which position the ring of `cpu` is published.
    fn produced(&self, cpu: usize) -> u64 {
        // Acquire: the slots before this position were written before it was published.
        self.word(cpu, offset_of!(CpuState, produced)).load(Acquire)
    }
}

/// The consumer of all rings.
pub struct Rings {
    slots: Shared<Slot>,
    cpus: Arc<Shared<CpuState>>,
    shape: Shape,
    /// One cursor per CPU.
    cursors: Vec<Cursor>,
    /// Rings with records left in this round, by the time of their next record.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    received: Arc<AtomicU64>,
    /// What the kernel rings to wake a consumer that sleeps.
    bell: RingBuf<MapData>,
    /// What others ring.
    waker: Waker,
}

/// Wakes a consumer that sleeps, or keeps it from the next sleep.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(eventfd(0, flags).context("cannot make a descriptor to wake the drain")?)))
    }

    /// Wakes it.
    pub fn wake(&self) {
        // It fails where it was rung more often than anybody can count, which wakes as well.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Takes what was rung so far.
    fn take(&self) {
        // It fails where nobody rang.
        let _ = rustix::io::read(&*self.0, &mut [0; size_of::<u64>()]);
    }
}

/// One ring as its consumer sees it: positions in slots since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    read: u64,
    /// What the kernel had published when the round began.
    end: u64,
}

impl fmt::Debug for Rings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Rings")
            .field("shape", &self.shape)
            .field("cursors", &self.cursors)
            .finish_non_exhaustive()
    }
}

impl Rings {
    /// Maps the rings behind the two BPF arrays; `bell` is their doorbell.
    pub(super) fn map(
        ring: BorrowedFd<'_>,
        cpus: BorrowedFd<'_>,
        bell: RingBuf<MapData>,
        shape: Shape,
    ) -> Result<(Self, RingGauge)> {
        ensure!(shape.slots.is_power_of_two(), "a ring has a power of two of slots, not {}", shape.slots);
        let cpus = Arc::new(Shared::map(cpus, shape.cpus, true)?);
        let received = Arc::new(AtomicU64::new(0));
        let rings = Self {
            slots: Shared::map(ring, shape.cpus * shape.slots as usize, false)?,
            cpus: cpus.clone(),
            shape,
            cursors: vec![Cursor::default(); shape.cpus],
            order: BinaryHeap::with_capacity(shape.cpus),
            received: received.clone(),
            bell,
            waker: Waker::new()?,
        };
        Ok((rings, RingGauge { cpus, received, shape }))
    }

    /// Hands up to `max` waiting records to `each`, and returns how many; never blocks.
    ///
    /// Records that wait when the call begins come out merged by time over all CPUs. Between calls
    /// order can be off by the time that one pass over all rings takes, some microseconds.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(&Record)) -> usize {
        self.drain_slots(max, |slots| {
            let mut rest = slots[1..].iter().copied();
            each(&Record::from_slots(&slots[0], || rest.next().unwrap_or_default()));
        })
    }

    /// Passes up to `max` waiting records to `each` as [`Rings::drain`] does, but as they are in the ring:
    /// each is as many slots as [`Record::slots_of`] says of its first one.
    pub fn drain_slots(&mut self, max: usize, mut each: impl FnMut(&[Slot])) -> usize {
        self.begin_round();
        let mut count = 0;
        while count < max
            && let Some((slots, taken)) = self.next_in_time()
        {
            each(&slots[..taken]);
            count += 1;
            if count % RELEASE_EVERY == 0 {
                self.release();
            }
        }
        self.release();
        self.received.fetch_add(count as u64, Relaxed);
        count
    }

    /// What ends [`Rings::sleep`].
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until a record comes or somebody wakes it, but no longer than this.
    ///
    /// A record that is under way while the bell is set may ring none, so the rings are looked at once more
    /// when it must have come. A producer that is kept waiting for longer right then has its record found at
    /// the end of the sleep.
    pub fn sleep(&mut self, most: Duration) {
        self.set_asleep(1);
        // Whoever sees a ring that seems full must also see that somebody sleeps.
        fence(SeqCst);
        for cpu in 0..self.shape.cpus {
            let full = seemingly_full(self.cpus.produced(cpu), self.shape.slots);
            self.consumed_before(cpu).store(full, Relaxed);
        }
        fence(SeqCst);
        for nap in [UNDER_WAY.min(most), most.saturating_sub(UNDER_WAY)] {
            if !self.is_set() || self.wait_for_bell(nap) {
                break;
            }
        }
        self.set_asleep(0);
        while self.bell.next().is_some() {}
        self.waker.take();
    }

    /// Whether all rings are empty, and the next record of each rings.
    fn is_set(&self) -> bool {
        self.cursors.iter().enumerate().all(|(cpu, cursor)| {
            let full = seemingly_full(cursor.read, self.shape.slots);
            self.cpus.produced(cpu) == cursor.read && self.consumed_before(cpu).load(Relaxed) == full
        })
    }

    /// Waits until somebody rings, but no longer than this; whether somebody did.
    fn wait_for_bell(&self, most: Duration) -> bool {
        let Ok(within) = most.try_into() else {
            thread::sleep(most);
            return false;
        };
        let rung: [&dyn AsFd; 2] = [&self.bell, &*self.waker.0];
        let mut rung = rung.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        // A signal may end it early, which does no harm.
        poll(&mut rung, Some(&within)) != Ok(0)
    }

    fn set_asleep(&self, is_asleep: u64) {
        for cpu in 0..self.shape.cpus {
            self.cpus.word(cpu, offset_of!(CpuState, is_asleep)).store(is_asleep, Relaxed);
        }
    }

    fn consumed_before(&self, cpu: usize) -> &AtomicU64 {
        self.cpus.word(cpu, offset_of!(CpuState, consumed_before))
    }

    /// Takes the earliest of the records that this round found waiting.
    #[inline]
    fn next_in_time(&mut self) -> Option<([Slot; MAX_SLOTS], usize)> {
        loop {
            let mut next = self.order.peek_mut()?;
            let Reverse((_, cpu)) = *next;
            let cursor = &mut self.cursors[cpu];
            let record = take(&self.slots, self.shape, cpu, cursor);
            if record.is_none() {
                // The kernel publishes whole records, so this ring is corrupt: skip what it holds.
                cursor.read = cursor.end;
            }
            if cursor.read < cursor.end {
                *next = Reverse((time_at(&self.slots, self.shape, cpu, cursor.read), cpu));
            } else {
                PeekMut::pop(next);
            }
            if record.is_some() {
                return record;
            }
        }
    }

    /// Reads how far every ring is filled.
    fn begin_round(&mut self) {
        self.order.clear();
        for (cpu, cursor) in self.cursors.iter_mut().enumerate() {
            let produced = self.cpus.produced(cpu);
            // The kernel never gets further ahead than a ring's length; anything else isn't real.
            cursor.end = produced.min(cursor.read + u64::from(self.shape.slots));
            if cursor.read < cursor.end {
                self.order.push(Reverse((time_at(&self.slots, self.shape, cpu, cursor.read), cpu)));
            }
        }
    }

    /// Gives all slots read so far back to the kernel.
    fn release(&self) {
        for (cpu, cursor) in self.cursors.iter().enumerate() {
            let consumed = self.cpus.word(cpu, offset_of!(CpuState, consumed));
            if consumed.load(Relaxed) != cursor.read {
                // Release: the slots were copied before the kernel may reuse them.
                consumed.store(cursor.read, Release);
            }
        }
    }
}

/// Copies out the slots of the record at the cursor and moves the cursor behind it.
#[inline]
fn take(
    slots: &Shared<Slot>,
    shape: Shape,
    cpu: usize,
    cursor: &mut Cursor,
) -> Option<([Slot; MAX_SLOTS], usize)> {
    let mut taken = [Slot::default(); MAX_SLOTS];
    taken[0] = slot_at(slots, shape, cpu, cursor.read);
    let count = Record::slots_of(&taken[0]);
    if cursor.read + count as u64 > cursor.end {
        return None;
    }
    for (further, slot) in (1..).zip(&mut taken[1..count]) {
        *slot = slot_at(slots, shape, cpu, cursor.read + further);
    }
    cursor.read += count as u64;
    Some((taken, count))
}

/// A copy of the slot at a position.
fn slot_at(slots: &Shared<Slot>, shape: Shape, cpu: usize, position: u64) -> Slot {
    // SAFETY: `at` checks the index. The kernel doesn't write slots between its publishing them and
    // our giving them back, and any words make a slot. Volatile: the memory is shared.
    unsafe { ptr::read_volatile(slots.at(index_of(shape, cpu, position))) }
}

/// The time in the first slot of the record at a position.
fn time_at(slots: &Shared<Slot>, shape: Shape, cpu: usize, position: u64) -> u64 {
    slots.word(index_of(shape, cpu, position), 0).load(Relaxed)
}

/// Where the slot of a position lies in the array.
fn index_of(shape: Shape, cpu: usize, position: u64) -> usize {
    let within = position & u64::from(shape.slots - 1);
    cpu * shape.slots as usize + within as usize
}

/// How full the rings are, for the half that doesn't drain them.
#[derive(Debug)]
pub(super) struct RingGauge {
    cpus: Arc<Shared<CpuState>>,
    received: Arc<AtomicU64>,
    shape: Shape,
}

impl RingGauge {
    /// Slots waiting in the ring of `cpu`.
    pub(super) fn fill(&self, cpu: usize) -> u64 {
        // In this order the difference can't be negative.
        let consumed = self.cpus.word(cpu, offset_of!(CpuState, consumed)).load(Acquire);
        let produced = self.cpus.produced(cpu);
        produced.saturating_sub(consumed)
    }

    /// Records that all drains have handed on.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// CPUs and slots.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }
}

/// The counters of all CPUs, as the kernel programs write them.
#[derive(Debug)]
pub(super) struct CounterReader(Shared<CpuState>);

impl CounterReader {
    /// Maps the BPF array that the counters are in.
    pub(super) fn map(fd: BorrowedFd<'_>, cpus: usize) -> Result<Self> {
        Shared::map(fd, cpus, false).map(Self)
    }

    /// The counters of `cpu`. What became of frames is read before how many were seen, so that
    /// frames under way show as seen and not yet accounted for, never the other way round.
    pub(super) fn read(&self, cpu: usize) -> Counters {
        let word = |offset| self.0.word(cpu, offset_of!(CpuState, counters) + offset).load(Acquire);
        let mut counters = Counters::default();
        for (index, count) in counters.skipped.iter_mut().enumerate() {
            *count = word(offset_of!(Counters, skipped) + index * size_of::<u64>());
        }
        debug_assert_eq!(counters.skipped.len(), Skip::COUNT);
        counters.emitted = word(offset_of!(Counters, emitted));
        counters.ring_full = word(offset_of!(Counters, ring_full));
        counters.suppressed = word(offset_of!(Counters, suppressed));
        counters.seen = word(offset_of!(Counters, seen));
        counters
    }
}
