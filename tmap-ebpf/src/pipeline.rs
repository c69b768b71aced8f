//! What happens to every frame, alike for all hooks: the fast path, and the counters of both paths.

use aya_log_ebpf::warn;
use tmap_common::{
    Link, Record, Skip,
    fast::{self, HeaderOffsets},
    record::Direction,
    suppress::{Decision, Digest},
};

use crate::{
    filter,
    frame::Frame,
    ring,
    slow_path::{self, EMITTED, RING_FULL, SUPPRESSED},
    state::ThisCpu,
    stop, suppress,
};

/// How many frames of a malformed kind each CPU logs; all are counted.
const LOGGED_PER_REASON: u64 = 3;

/// Counts the frame, and writes the record of its segment to the ring, if it has one that the filter accepts.
/// A shipped program passes [`stop::NEVER`] as `STOP`.
#[inline(always)]
pub fn observe<const STOP: u8>(frame: &Frame, link: Link, direction: Direction) {
    let Some(cpu) = ThisCpu::get() else { return };
    cpu.count_seen();
    if STOP == stop::AFTER_COUNT {
        return;
    }
    let is_bare =
        matches!((link, direction), (Link::Ethernet, Direction::Ingress)) && frame.lacks_link_header();
    let fast_path = FastPath::<STOP> { frame, cpu, direction };
    if !is_bare && fast::visit(frame, link, slow_path::decapsulates(), &fast_path).is_some() {
        return;
    }
    let link = if is_bare { Link::Ip } else { link };
    let frame = &frame.with_all_headers();
    match slow_path::observe::<STOP>(frame, link, direction, cpu) {
        EMITTED => cpu.count_emitted(),
        RING_FULL => cpu.count_ring_full(),
        SUPPRESSED => cpu.count_suppressed(),
        reason => {
            let is_early = cpu.count_skip_by_index(reason as usize) < LOGGED_PER_REASON;
            if is_early && Skip::ANOMALIES & 1 << (reason & 63) != 0 {
                log_skip(reason << 32 | frame.len() as u64);
            }
        }
    }
}

/// The visitor that takes a frame through the steps behind the parser.
struct FastPath<'a, const STOP: u8> {
    frame: &'a Frame,
    cpu: ThisCpu,
    direction: Direction,
}

impl<const STOP: u8> fast::Visitor for FastPath<'_, STOP> {
    type Outcome = ();

    #[inline(always)]
    fn segment(&self, offsets: &HeaderOffsets) {
        if STOP == stop::AFTER_PARSE {
            return self.cpu.count_emitted();
        }
        if filter::is_set() && !offsets.segment(self.frame).is_some_and(|segment| filter::accepts(&segment)) {
            return self.skip(Skip::Filtered);
        }
        let now = suppress::now();
        let Some(segment) = offsets.segment(self.frame) else { return self.skip(Skip::TcpTruncated) };
        let hash = suppress::flow_hash(&segment, self.direction);
        let digest = Digest::of(&segment).emitted_if(offsets.more_bytes);
        if STOP == stop::AFTER_HASH {
            stop::compute([hash.0, digest.stamps, digest.rest]);
            return self.cpu.count_emitted();
        }
        let Decision::Emit(count) = suppress::classify(self.cpu, hash, digest, now) else {
            return self.cpu.count_suppressed();
        };
        let suppressed = suppress::suppressed(self.cpu, hash, count);
        if STOP == stop::AFTER_CLASSIFY {
            stop::compute([suppressed.count.into(), suppressed.payload_bytes.into()]);
            return self.cpu.count_emitted();
        }
        let mut record = Record { time_ns: 0, direction: self.direction, suppressed: 0, segment };
        record.add_suppressed(suppressed);
        if ring::push_data::<STOP>(self.cpu, offsets.is_ip4, &record) {
            self.cpu.count_emitted();
        } else {
            // The segment is read and hashed again, because the stack has no room to keep the hash.
            if let Some(segment) = offsets.segment(self.frame) {
                suppress::reset(self.cpu, suppress::flow_hash(&segment, self.direction));
            }
            self.cpu.count_ring_full();
        }
    }

    /// Nothing is logged: on the fast path no reason means a malformed frame.
    #[inline(always)]
    fn skip(&self, skip: Skip) {
        self.cpu.count_skip(skip);
    }
}

/// Subprogram: logs a skipped frame. The upper half of the argument is the index of a [`Skip`], the lower one
/// the frame's length in bytes. It is one number because the verifier walks through the log's buffer once
/// more for each.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_skip(reason_and_bytes: u64) -> u64 {
    warn!((), "skip {}", reason_and_bytes);
    0
}
