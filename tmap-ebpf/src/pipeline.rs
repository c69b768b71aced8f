//! What happens to every frame, the same for all hooks.

use aya_ebpf::{Global, helpers::bpf_get_smp_processor_id};
use aya_log_ebpf::warn;
use tmap_common::{
    Link, Packet as _, Record, Skip,
    parse::{find, segment},
    record::Direction,
    tunnel::{Descent, Place},
};

use crate::{calls, counters::Row, filter, frame::Frame, ring};

/// Whether to look into tunnels; the loader sets it. The verifier knows read-only data: with 0 all
/// that is dead code.
#[unsafe(no_mangle)]
static DECAP: Global<u8> = Global::new(1);

/// What came of a segment, beside being skipped: numbers above those of [`Skip`].
const EMITTED: u64 = 1 << 32;
/// See `EMITTED`.
const RING_FULL: u64 = EMITTED + 1;

/// How many frames of a malformed kind each CPU logs; all are counted.
const LOGGED_PER_REASON: u64 = 3;

/// Counts the frame, and puts the segment in it, if it has one that is wanted, into the ring.
#[inline(always)]
pub fn observe(frame: &Frame, link: Link, direction: Direction) {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(counters) = Row::of(cpu) else { return };
    counters.seen();
    let mut way = Descent::default();
    let outcome = match find(frame, link, DECAP.load() != 0, &mut way) {
        Ok(()) => calls::take(frame, &way.place, direction),
        Err(skip) => skip as u64,
    };
    // Unknown, so that the verifier walks this once and not once per reason.
    let outcome = frame.unknown(outcome);
    match outcome {
        EMITTED => counters.emitted(),
        RING_FULL => counters.ring_full(),
        reason => {
            let is_early = counters.skipped(reason as usize) < LOGGED_PER_REASON;
            if is_early && Skip::ANOMALIES & 1 << (reason & 63) != 0 {
                log_skip(reason, frame.len() as u64);
            }
        }
    }
}

/// Puts the segment at `place`, if the filter wants it, into the ring. Returns [`EMITTED`],
/// [`RING_FULL`] or a [`Skip`].
///
/// Suppression of segments that can't move an estimate belongs here, behind the filter.
#[inline(always)]
pub fn take(frame: &Frame, place: &Place, direction: Direction) -> u64 {
    let segment = match segment(frame, place) {
        Ok(segment) => segment,
        Err(skip) => return frame.unknown(skip as u64),
    };
    if !filter::wants(&segment) {
        return Skip::Filtered as u64;
    }
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut record = Record { time_ns: 0, direction, suppressed: 0, segment };
    if ring::push(cpu, &mut record) { EMITTED } else { RING_FULL }
}

/// Logs a skipped frame. A global function: the verifier walks it once by itself, where it would
/// walk one of Rust's own again for every way that leads to the call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_skip(reason: u64, bytes: u64) -> u64 {
    warn!((), "skip={} bytes={}", reason, bytes);
    0
}
