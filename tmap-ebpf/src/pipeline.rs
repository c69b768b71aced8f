//! What happens to every frame, the same for all hooks.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_log_ebpf::warn;
use tmap_common::{Link, Packet as _, Record, Segment, Skip, parse, record::Direction};

use crate::{counters::Row, filter, frame::Frame, ring};

/// How many frames of a malformed kind each CPU logs; all are counted.
const LOGGED_PER_REASON: u64 = 3;

/// Counts the frame, and puts the segment in it, if it has one that is wanted, into the ring.
#[inline(always)]
pub fn observe(frame: &Frame, link: Link, direction: Direction) {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(counters) = Row::of(cpu) else { return };
    counters.seen();
    match wanted(frame, link) {
        Ok(segment) => {
            let mut record = Record { time_ns: 0, direction, suppressed: 0, segment };
            if ring::push(cpu, &mut record) {
                counters.emitted();
            } else {
                counters.ring_full();
            }
        }
        Err(skip) => {
            // Unknown, so that the verifier walks this once and not once per reason.
            let reason = frame.unknown(skip as u64);
            let is_early = counters.skipped(reason as usize) < LOGGED_PER_REASON;
            if is_early && Skip::ANOMALIES & 1 << (reason & 63) != 0 {
                log_skip(reason, frame.len() as u64);
            }
        }
    }
}

/// The segment in the frame, if the filter wants it.
///
/// Suppression of segments that can't move an estimate belongs here, behind the filter.
#[inline(always)]
fn wanted(frame: &Frame, link: Link) -> Result<Segment, Skip> {
    let segment = parse(frame, link)?;
    if filter::wants(frame, &segment) { Ok(segment) } else { Err(Skip::Filtered) }
}

/// Logs a skipped frame. A global function: the verifier walks it once by itself, where it would
/// walk one of Rust's own again for every way that leads to the call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_skip(reason: u64, bytes: u64) -> u64 {
    warn!((), "skip={} bytes={}", reason, bytes);
    0
}
