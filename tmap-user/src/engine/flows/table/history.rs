//! The history of a flow: the steps that don't fit into its entry, in a growing block or in a rich flow.
//!
//! A block begins with the first point (its time and raw TSval), and the steps follow. All steps are kept
//! until a block of the largest size is full. Then the flow gets a rich state, a [`Flow`], whose size is
//! bounded by hull and sample. From then on the block only collects steps until it is full again, because
//! a rich state spans a dozen cache lines or more, and is thus touched once for many steps.
//!
//! All histories share one budget. Once it is used up, a history is thinned: the flow keeps every other
//! point, then every fourth, and so on. That is a plain subsample, not chosen by delay, so its clock stays
//! unbiased, and its standard errors grow correctly.

use slab::Slab;

use super::{
    entry::{Entry, MAX_STRIDE_LOG2, NO_HISTORY, PENDING_UNITS, flag},
    pool::{Block, Pool, SIZES},
    steps::{MAX_STEP_NS, Step, Steps, UNIT_BYTES, put, steps, unit, walk},
};
use crate::engine::{flows::flow::Flow, types::Point};

/// Bytes before the steps in a block: time and TSval of the first point.
const HEADER_BYTES: usize = 12;

/// The size that a rich flow counts as, in bytes: itself, a full hull and a full sample.
pub(super) const RICH_BYTES: usize = 4_608;

/// The class of the block of a flow that becomes rich without a block, because its clock jumps.
const ODD_CLASS: usize = 2;

/// The span of a block, in nanoseconds, beyond which its TSvals could have wrapped at 1 MHz.
const NO_WRAP_NS: u64 = 2_000_000_000_000;

/// Points of a flow in packed form, copied from its history.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The start of the steps, and whether it is one of the points; `None` without points.
    from: Option<(Point, bool)>,
    units: Box<[u8]>,
}

impl Packed {
    /// The steps in a block (without its header) from unit `skip` on, and then the pending ones.
    fn new(from: Option<(Point, bool)>, block: &[u8], skip: usize, entry: &Entry) -> Self {
        let kept = &block[..usize::from(entry.units) * UNIT_BYTES];
        let pending = &entry.pending[..entry.pending_units() * UNIT_BYTES];
        // The skipped units are in the block, or without a block among the pending ones.
        let skip = skip * UNIT_BYTES;
        let (kept, pending) = if entry.history == NO_HISTORY {
            (kept, pending.get(skip..).unwrap_or(&[]))
        } else {
            (kept.get(skip..).unwrap_or(&[]), pending)
        };
        let mut units = Vec::with_capacity(kept.len() + pending.len());
        units.extend_from_slice(kept);
        units.extend_from_slice(pending);
        Self { from, units: units.into_boxed_slice() }
    }

    /// The points, in order of time.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let (from, counts) = self.from.unwrap_or((Point { time_ns: 0, ticks: 0 }, false));
        Points { at: from, is_due: counts, steps: Steps::new(&self.units) }
    }
}

/// The points that steps lead to.
struct Points<'a> {
    at: Point,
    /// Whether `at` itself comes next.
    is_due: bool,
    steps: Steps<'a>,
}

impl Iterator for Points<'_> {
    type Item = Point;

    #[inline(always)]
    fn next(&mut self) -> Option<Point> {
        if self.is_due {
            self.is_due = false;
            return Some(self.at);
        }
        let step = self.steps.next()?;
        self.at.time_ns += step.time_ns;
        self.at.ticks += i64::from(step.ticks);
        Some(self.at)
    }
}

/// All histories.
#[derive(Debug)]
pub(super) struct Histories {
    pool: Pool,
    rich: Slab<Flow>,
    budget_bytes: usize,
    /// Times that a history was thinned.
    pub thinned: u64,
}

const _: () = assert!(capacity(SIZES.len() - 1) <= u8::MAX as usize);

/// The number of units that fit into a block of a class.
const fn capacity(class: usize) -> usize {
    (SIZES[class] - HEADER_BYTES) / UNIT_BYTES
}

impl Histories {
    /// No histories yet, with room for `budget_bytes` together.
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self { pool: Pool::default(), rich: Slab::new(), budget_bytes, thinned: 0 }
    }

    /// Memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.pool.heap_bytes() + self.rich.len() * RICH_BYTES
    }

    /// The used part of the budget, in bytes.
    pub(super) fn used_bytes(&self) -> usize {
        self.pool.used_bytes() + self.rich.len() * RICH_BYTES
    }

    fn affords(&self, more_bytes: usize) -> bool {
        self.used_bytes() + more_bytes <= self.budget_bytes
    }

    /// Prefetches what the next step of `entry` will touch beside the entry.
    #[inline(always)]
    pub(super) fn prefetch(&self, entry: &Entry) {
        if entry.history == NO_HISTORY || entry.pending_units() < PENDING_UNITS {
            return;
        }
        let block = Block::from_word(entry.history);
        let tail = HEADER_BYTES + usize::from(entry.units) * UNIT_BYTES;
        self.pool.prefetch(block, tail.min(SIZES[block.class()] - 1));
    }

    /// Prefetches the whole block of `entry`, but not its rich flow.
    pub(super) fn prefetch_all(&self, entry: &Entry) {
        if entry.history == NO_HISTORY {
            return;
        }
        let block = Block::from_word(entry.history);
        let used = HEADER_BYTES + usize::from(entry.units) * UNIT_BYTES;
        (0..used).step_by(64).for_each(|at| self.pool.prefetch(block, at));
    }

    /// The rich flow of an entry, with all steps moved into it; `None` where there is none.
    pub(super) fn rich_of(&mut self, entry: &mut Entry) -> Option<&mut Flow> {
        self.settle(entry)?;
        Some(&mut self.rich[rich_number(&self.pool, entry)])
    }

    /// Moves a rich entry's steps from its block and from itself into its flow.
    fn settle(&mut self, entry: &mut Entry) -> Option<()> {
        if !entry.is(flag::RICH) {
            return None;
        }
        let block = self.pool.get(Block::from_word(entry.history));
        let flow = &mut self.rich[rich_number(&self.pool, entry)];
        if let Some(newest) = flow.newest() {
            let kept = steps(&block[HEADER_BYTES..], 0, usize::from(entry.units));
            flow.accept_all(walk(newest, kept.chain(entry.pending_steps())));
        }
        entry.units = 0;
        entry.clear_pending();
        spill_segments(flow, entry);
        set_rich_pace(flow, entry);
        Some(())
    }

    /// The first point of an entry, the time of its first record, and the steps from there. The entry must
    /// have a point and not be rich.
    fn read<'a>(&'a self, entry: &'a Entry) -> (Point, u64, impl Iterator<Item = Step> + 'a) {
        let (first, lead_ns, block) = self.first(entry);
        let kept = steps(block, usize::from(entry.is(flag::LEAD)), usize::from(entry.units));
        (first, first.time_ns.saturating_sub(lead_ns), kept.chain(entry.pending_steps()))
    }

    /// The first point of an entry, how long before it the first record came, and the units in the block.
    /// The entry must have a point and not be rich.
    fn first(&self, entry: &Entry) -> (Point, u64, &[u8]) {
        if entry.history == NO_HISTORY {
            return (first_of(entry), entry.pending_lead_ns(), &[]);
        }
        let block = self.pool.get(Block::from_word(entry.history));
        let units = &block[HEADER_BYTES..];
        let lead_ns = if entry.is(flag::LEAD) { unit(units, 0) } else { 0 };
        (first_in(block), lead_ns, units)
    }

    /// The history of an entry as a [`Flow`]. The caller adds what the entry itself holds.
    pub(super) fn thaw(&self, entry: &Entry) -> Flow {
        let (mut flow, packed) = self.copy(entry);
        flow.accept_all(packed.points());
        flow
    }

    /// The history of an entry as a [`Flow`], with the packed points beside it. This is cheaper than
    /// [`Histories::thaw`].
    pub(super) fn copy(&self, entry: &Entry) -> (Flow, Packed) {
        if entry.is(flag::RICH) {
            let flow = self.rich[rich_number(&self.pool, entry)].clone();
            let block = self.pool.get(Block::from_word(entry.history));
            let from = flow.newest().map(|newest| (newest, false));
            return (flow, Packed::new(from, &block[HEADER_BYTES..], 0, entry));
        }
        let mut flow = Flow::at(entry.newest_ns);
        if !entry.is(flag::POINT) {
            return (flow, Packed::default());
        }
        let lead = usize::from(entry.is(flag::LEAD));
        let (first, lead_ns, block) = self.first(entry);
        flow.first_ns = first.time_ns.saturating_sub(lead_ns);
        (flow, Packed::new(Some((first, true)), block, lead, entry))
    }

    /// Moves the pending steps of an entry into its history.
    pub(super) fn flush(&mut self, entry: &mut Entry) {
        let before = entry.history;
        if !self.make_room(entry) {
            return;
        }
        let bytes = self.pool.get_mut(Block::from_word(entry.history));
        let at = HEADER_BYTES + usize::from(entry.units) * UNIT_BYTES;
        let count = entry.pending_units() * UNIT_BYTES;
        match bytes[at..].first_chunk_mut() {
            // A constant length costs less; bytes beyond the end are overwritten later.
            Some(room) => *room = entry.pending,
            None => bytes[at..at + count].copy_from_slice(&entry.pending[..count]),
        }
        entry.units += entry.pending_units() as u8;
        // The block's header, from which the rate is computed, is a cache line of its own. It is read only
        // for a new block, or where the entry has lost its rate.
        if entry.is(flag::RICH) || (entry.history == before && entry.has_pace()) {
            entry.note_pending();
            entry.clear_pending();
            return;
        }
        entry.clear_pending();
        let first = first_in(bytes);
        let span_ns = entry.newest_ns.saturating_sub(first.time_ns);
        if span_ns < NO_WRAP_NS {
            entry.set_pace(f64::from(entry.tsval.wrapping_sub(first.ticks as u32)), span_ns);
        } else {
            let (_, _, steps) = self.read(entry);
            let ticks: u64 = steps.map(|step| u64::from(step.ticks)).sum();
            entry.set_pace(ticks as f64, span_ns);
        }
    }

    /// Makes sure that the pending steps fit into a block. False where the entry became rich or was thinned
    /// instead: nothing is left to be moved then.
    fn make_room(&mut self, entry: &mut Entry) -> bool {
        let wanted = usize::from(entry.units) + entry.pending_units();
        let class = match entry.history {
            NO_HISTORY => None,
            word => Some(Block::from_word(word).class()),
        };
        if class.is_some_and(|class| wanted <= capacity(class)) {
            return true;
        }
        if self.settle(entry).is_some() {
            return false;
        }
        let next = class.map_or(0, |class| class + 1);
        if next == SIZES.len() {
            if !self.enrich(entry) {
                self.thin(entry);
            }
            return false;
        }
        let more_bytes = SIZES[next] - class.map_or(0, |class| SIZES[class]);
        let block = if self.affords(more_bytes) { self.pool.take(next) } else { None };
        let Some(block) = block else {
            self.thin(entry);
            return false;
        };
        if let Some(class) = class {
            let old = Block::from_word(entry.history);
            let used = HEADER_BYTES + usize::from(entry.units) * UNIT_BYTES;
            debug_assert!(used <= SIZES[class]);
            self.pool.copy(old, block, used);
            self.pool.give(old);
        } else {
            put_first(self.pool.get_mut(block), first_of(entry));
        }
        entry.history = block.to_word();
        true
    }

    /// Turns the history of an entry into a rich flow; false where the budget doesn't allow it.
    pub(super) fn enrich(&mut self, entry: &mut Entry) -> bool {
        if entry.is(flag::RICH) {
            return true;
        }
        let wanted = if entry.history == NO_HISTORY { RICH_BYTES + SIZES[ODD_CLASS] } else { RICH_BYTES };
        if !self.affords(wanted) || self.rich.len() >= u32::MAX as usize {
            return false;
        }
        let flow = self.thaw(entry);
        if entry.history == NO_HISTORY {
            let Some(block) = self.pool.take(ODD_CLASS) else { return false };
            entry.history = block.to_word();
        }
        set_rich_pace(&flow, entry);
        let number = self.rich.insert(flow) as u32;
        let header = &mut self.pool.get_mut(Block::from_word(entry.history))[..HEADER_BYTES];
        header[..4].copy_from_slice(&number.to_le_bytes());
        entry.units = 0;
        entry.clear_pending();
        entry.set(flag::LEAD, false);
        entry.set(flag::RICH, true);
        entry.set_stride_log2(0);
        true
    }

    /// Thins a history: every other point is dropped, and each two steps become one.
    fn thin(&mut self, entry: &mut Entry) {
        self.thinned += 1;
        let (first, first_ns, all) = self.read(entry);
        let lead_ns = first.time_ns - first_ns;
        let mut kept: Vec<Step> = all.collect();
        let lead = usize::from(entry.is(flag::LEAD));
        let class = (entry.history != NO_HISTORY).then(|| Block::from_word(entry.history).class());
        let room = class.map_or(PENDING_UNITS, capacity);
        loop {
            let Some(fewer) = halved(&kept) else {
                self.restart(entry);
                return;
            };
            kept = fewer;
            if lead + kept.iter().map(units_of).sum::<usize>() < room || kept.len() <= 1 {
                break;
            }
        }
        entry.clear_pending();
        entry.units = 0;
        let mut units = Vec::with_capacity(room);
        units.extend((lead == 1).then_some(lead_ns));
        units.extend(kept.iter().flat_map(|step| step.pack()).filter(|&unit| unit != 0));
        match class {
            Some(_) => {
                let bytes = self.pool.get_mut(Block::from_word(entry.history));
                units.truncate(room);
                units.iter().enumerate().for_each(|(at, &unit)| put(&mut bytes[HEADER_BYTES..], at, unit));
                entry.units = units.len() as u8;
            }
            None => units.into_iter().take(room).for_each(|unit| entry.push_unit(unit)),
        }
        entry.set_stride_log2((entry.stride_log2() + 1).min(MAX_STRIDE_LOG2));
    }

    /// Clears the history: it begins again at the newest point.
    pub(super) fn restart(&mut self, entry: &mut Entry) {
        self.forget(entry);
        entry.clear_pending();
        entry.set(flag::LEAD, false);
    }

    /// Frees the history of an entry.
    pub(super) fn forget(&mut self, entry: &mut Entry) {
        if entry.is(flag::RICH) {
            self.rich.remove(rich_number(&self.pool, entry));
            entry.set(flag::RICH, false);
        }
        if entry.history != NO_HISTORY {
            self.pool.give(Block::from_word(entry.history));
            entry.history = NO_HISTORY;
        }
        entry.units = 0;
    }
}

/// The number of a rich entry's flow.
fn rich_number(pool: &Pool, entry: &Entry) -> usize {
    let header = pool.get(Block::from_word(entry.history)).first_chunk();
    u32::from_le_bytes(*header.expect("a block's header")) as usize
}

/// Each two steps joined to one; `None` where one would be longer than [`MAX_STEP_NS`].
fn halved(all: &[Step]) -> Option<Vec<Step>> {
    let joined = |pair: &[Step]| {
        let time_ns = pair.iter().map(|step| step.time_ns).sum();
        let ticks = pair.iter().try_fold(0_u32, |sum, step| sum.checked_add(step.ticks))?;
        (time_ns <= MAX_STEP_NS).then_some(Step { time_ns, ticks })
    };
    all.chunks(2).map(joined).collect()
}

fn units_of(step: &Step) -> usize {
    1 + usize::from(step.pack()[1] != 0)
}

/// The first point of an entry without a block, computed back from the newest.
fn first_of(entry: &Entry) -> Point {
    let (time_ns, ticks) = entry.pending_sum();
    Point {
        time_ns: entry.newest_ns.saturating_sub(time_ns),
        ticks: i64::from(entry.tsval.wrapping_sub(ticks as u32)),
    }
}

fn first_in(block: &[u8]) -> Point {
    let [t0, t1, t2, t3, t4, t5, t6, t7, v0, v1, v2, v3] =
        *block.first_chunk::<HEADER_BYTES>().expect("a block's header");
    Point {
        time_ns: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        ticks: i64::from(u32::from_le_bytes([v0, v1, v2, v3])),
    }
}

fn put_first(block: &mut [u8], first: Point) {
    block[..8].copy_from_slice(&first.time_ns.to_le_bytes());
    block[8..HEADER_BYTES].copy_from_slice(&(first.ticks as u32).to_le_bytes());
}

/// Moves the entry's count of segments to the flow before it overflows.
fn spill_segments(flow: &mut Flow, entry: &mut Entry) {
    if entry.segments > 1 << 30 {
        flow.segments += u64::from(entry.segments);
        entry.segments = 0;
    }
}

/// Sets the entry's rate to that of its rich flow.
pub(super) fn set_rich_pace(flow: &Flow, entry: &mut Entry) {
    if let [first, .., last] = flow.envelope.points() {
        entry.set_pace((last.ticks - first.ticks) as f64, last.time_ns.saturating_sub(first.time_ns));
    }
}
