//! What happens to every frame, the same for all hooks.

use aya_ebpf::{Global, helpers::bpf_get_smp_processor_id};
use aya_log_ebpf::warn;
use tmap_common::{
    Link, Packet as _, Record, Skip,
    fast::{self, Found, Layout},
    parse::{self, segment},
    record::Direction,
    suppress::{Brief, Verdict},
    tunnel::{Descent, Place},
};

use crate::{calls, counters::Row, filter, frame::Frame, ring, scratch, suppress};

/// Whether to look into tunnels; the loader sets it. The verifier knows read-only data: with 0 all
/// that is dead code.
#[unsafe(no_mangle)]
static DECAP: Global<u8> = Global::new(1);

/// What came of a segment, beside being skipped: numbers above those of [`Skip`].
const EMITTED: u64 = 1 << 32;
/// See `EMITTED`.
const RING_FULL: u64 = EMITTED + 1;
/// See `EMITTED`.
const SUPPRESSED: u64 = EMITTED + 2;
/// TCP was found.
const FOUND: u64 = EMITTED + 3;
/// Not wanted by the filter; but if it is malformed, that is why it is skipped.
const UNWANTED: u64 = EMITTED + 4;
/// To be emitted; up to 255 more say how many segments were suppressed before.
const EMIT: u64 = EMITTED + 0x100;

/// How many frames of a malformed kind each CPU logs; all are counted.
const LOGGED_PER_REASON: u64 = 3;

/// Counts the frame, and puts the segment in it, if it has one that is wanted, into the ring.
#[inline(always)]
pub fn observe(frame: &Frame, link: Link, direction: Direction) {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(counters) = Row::of(cpu) else { return };
    counters.seen();
    let short_way = ShortWay { frame, cpu, counters: &counters, direction };
    if fast::parse_to(frame, link, DECAP.load() != 0, &short_way).is_some() {
        return;
    }
    let outcome = match scratch::borrow(cpu) {
        Some(way) => {
            let outcome = long_way(frame, link, direction, way);
            scratch::give_back(cpu);
            outcome
        }
        None => RING_FULL,
    };
    // Looked up again, for the sake of the stack.
    let Some(counters) = Row::of(cpu) else { return };
    match outcome {
        EMITTED => counters.emitted(),
        RING_FULL => counters.ring_full(),
        SUPPRESSED => counters.suppressed(),
        reason => {
            let is_early = counters.skipped(reason as usize) < LOGGED_PER_REASON;
            if is_early && Skip::ANOMALIES & 1 << (reason & 63) != 0 {
                log_skip(reason << 32 | frame.len() as u64);
            }
        }
    }
}

/// What becomes of frames that the short way doesn't understand.
#[inline(always)]
fn long_way(frame: &Frame, link: Link, direction: Direction, way: &mut Descent) -> u64 {
    let mut outcome = calls::find(frame, link, way);
    if outcome == FOUND {
        let is_wanted = !filter::is_there() || calls::wants(frame, &way.place);
        outcome = if is_wanted { calls::screen(frame, &way.place, direction, false) } else { UNWANTED };
    }
    if outcome >= UNWANTED {
        outcome = calls::take(frame, &way.place, direction, outcome);
        if outcome != EMITTED {
            calls::screen(frame, &way.place, direction, true);
        }
    }
    outcome
}

/// Looks for TCP on the long way; returns [`FOUND`] or a [`Skip`].
#[inline(always)]
pub fn find(frame: &Frame, link: Link, way: &mut Descent) -> u64 {
    match parse::find(frame, link, DECAP.load() != 0, way) {
        Ok(()) => FOUND,
        Err(skip) => skip as u64,
    }
}

/// Judges the segment at `place`: [`SUPPRESSED`], [`EMIT`] plus the number of those suppressed before
/// it, or a [`Skip`]. With `forget`, makes its flow start over: it didn't come into the ring.
///
/// Segments with more options, SACK for instance, are always emitted. Those with others make their
/// flow start over: what their time stamps say isn't known here.
#[inline(always)]
pub fn screen(frame: &Frame, place: &Place, direction: Direction, forget: bool) -> u64 {
    let Some(found) = place.found(frame) else { return EMIT };
    let Some(segment) = found.segment(frame) else { return EMIT };
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let name = suppress::name(&segment, direction, place.tunnel_name());
    let mut brief = Brief::of(&segment);
    match found.layout(frame) {
        Some(layout) if !forget => {
            if layout == Layout::Longer {
                brief = brief.emitted_always();
            }
            match suppress::judge(cpu, name, brief) {
                Verdict::Suppress => SUPPRESSED,
                Verdict::Emit(count) => EMIT + u64::from(count),
            }
        }
        _ => EMIT + u64::from(suppress::forget(cpu, name)),
    }
}

/// What becomes of frames that the short way understands.
struct ShortWay<'a> {
    frame: &'a Frame,
    cpu: u32,
    counters: &'a Row,
    direction: Direction,
}

impl fast::Taker for ShortWay<'_> {
    type Outcome = ();

    #[inline(always)]
    fn segment(&self, found: &Found) {
        let Some(segment) = found.segment(self.frame) else { return self.skip(Skip::TcpTruncated) };
        if !filter::wants(&segment) {
            return self.skip(Skip::Filtered);
        }
        let name = suppress::name(&segment, self.direction, 0);
        let Verdict::Emit(suppressed) = suppress::judge(self.cpu, name, Brief::of(&segment)) else {
            return self.counters.suppressed();
        };
        let record = |time_ns| {
            let segment = found.segment(self.frame)?;
            Some(Record { time_ns, direction: self.direction, suppressed, segment })
        };
        if ring::push_short(self.cpu, found.is_ip4, record) {
            self.counters.emitted();
        } else {
            // Read and named again, for the sake of the stack.
            if let Some(segment) = found.segment(self.frame) {
                suppress::forget(self.cpu, suppress::name(&segment, self.direction, 0));
            }
            self.counters.ring_full();
        }
    }

    /// None of the reasons that come this way means a malformed frame.
    #[inline(always)]
    fn skip(&self, skip: Skip) {
        self.counters.skip(skip);
    }
}

/// Whether the filter wants the segment at `place`.
#[inline(always)]
pub fn wants(frame: &Frame, place: &Place) -> bool {
    place.ends(frame).is_none_or(|ends| calls::accepts(&ends))
}

/// Puts the segment at `place` into the ring. `screened` is [`EMIT`] plus how many of its flow were
/// suppressed before it, or [`UNWANTED`]. Returns [`EMITTED`], [`RING_FULL`] or a [`Skip`].
#[inline(always)]
pub fn take(frame: &Frame, place: &Place, direction: Direction, screened: u64) -> u64 {
    let segment = match segment(frame, place) {
        Ok(segment) => segment,
        Err(skip) => return frame.unknown(skip as u64),
    };
    if screened < EMIT {
        return Skip::Filtered as u64;
    }
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut record = Record { time_ns: 0, direction, suppressed: screened as u8, segment };
    if ring::push(cpu, &mut record) { EMITTED } else { RING_FULL }
}

/// Logs a skipped frame. A global function: the verifier walks it once by itself, where it would
/// walk one of Rust's own again for every way that leads to the call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_skip(reason_and_bytes: u64) -> u64 {
    // One number, because the verifier walks through the log's buffer once more for each.
    warn!((), "skip {}", reason_and_bytes);
    0
}
