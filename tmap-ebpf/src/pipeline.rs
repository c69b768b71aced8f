//! What happens to every frame, the same for all hooks.

use aya_ebpf::{Global, helpers::bpf_get_smp_processor_id};
use aya_log_ebpf::warn;
use tmap_common::{
    Link, Packet as _, Record, Skip,
    fast::{self, Found},
    parse,
    record::Direction,
    suppress::{Brief, Verdict},
    tcp::Layout,
    tunnel::Descent,
};

use crate::{
    calls,
    counters::Row,
    filter,
    frame::{Frame, needed},
    ring,
    scratch::{self, Work},
    suppress,
};

/// Whether to look into tunnels; the loader sets it. The verifier knows read-only data: with 0 all
/// that is dead code.
#[unsafe(no_mangle)]
static DECAP: Global<u8> = Global::new(1);

/// Where a frame's way ends. The shipped programs go on to the last step; those of `cargo xtask bench
/// steps` stop after each of the others.
pub mod step {
    /// The frame is counted.
    pub const COUNT: u8 = 1;
    /// It is known what it is and where it lies.
    pub const PARSE: u8 = 2;
    /// Its fields are read, and its flow is named.
    pub const NAME: u8 = 3;
    /// Its flow's slot says whether it is left out.
    pub const JUDGE: u8 = 4;
    /// The ring has room.
    pub const ROOM: u8 = 5;
    /// The record is written, but for its time.
    pub const WRITE: u8 = 6;
    /// The clock is read, and the record can be seen.
    pub const ALL: u8 = 7;
}

/// What came of a segment, beside being skipped: numbers above those of [`Skip`].
const EMITTED: u64 = 1 << 32;
/// See `EMITTED`.
const RING_FULL: u64 = EMITTED + 1;
/// See `EMITTED`.
const SUPPRESSED: u64 = EMITTED + 2;
/// TCP was found.
const FOUND: u64 = EMITTED + 3;
/// The segment was read.
const READ: u64 = EMITTED + 4;

/// How many frames of a malformed kind each CPU logs; all are counted.
const LOGGED_PER_REASON: u64 = 3;

/// Counts the frame, and puts the segment in it, if it has one that is wanted, into the ring.
/// Ends after the step `LAST`.
#[inline(always)]
pub fn observe<const LAST: u8>(frame: &Frame, link: Link, direction: Direction) {
    let Some(row) = own_row() else { return };
    row.seen();
    if LAST == step::COUNT {
        return;
    }
    let short_way = ShortWay::<LAST> { frame, row, direction };
    if fast::parse_to(frame, link, DECAP.load() != 0, &short_way).is_some() {
        return;
    }
    let outcome = match scratch::borrow(row.cpu) {
        Some(work) => {
            let outcome = long_way::<LAST>(frame, link, direction, work);
            scratch::give_back(row.cpu);
            outcome
        }
        None => RING_FULL,
    };
    match outcome {
        EMITTED => row.emitted(),
        RING_FULL => row.ring_full(),
        SUPPRESSED => row.suppressed(),
        reason => {
            let is_early = row.skipped(reason as usize) < LOGGED_PER_REASON;
            if is_early && Skip::ANOMALIES & 1 << (reason & 63) != 0 {
                log_skip(reason << 32 | frame.len() as u64);
            }
        }
    }
}

/// The row of the CPU that this runs on.
#[inline(always)]
fn own_row() -> Option<Row> {
    // SAFETY: the helper has no preconditions.
    Row::of(unsafe { bpf_get_smp_processor_id() })
}

/// What becomes of frames that the short way doesn't understand.
#[inline(always)]
fn long_way<const LAST: u8>(frame: &Frame, link: Link, direction: Direction, work: &mut Work) -> u64 {
    let outcome = calls::find(frame, link, &mut work.way);
    if outcome != FOUND {
        return outcome;
    }
    if LAST == step::PARSE {
        return EMITTED;
    }
    let outcome = calls::read(frame, work);
    if outcome != READ {
        return outcome;
    }
    if LAST == step::NAME {
        return EMITTED;
    }
    calls::pass_on(work, direction)
}

/// Looks for TCP on the long way; returns [`FOUND`] or a [`Skip`].
#[inline(always)]
pub fn find(frame: &Frame, link: Link, way: &mut Descent) -> u64 {
    match parse::find(frame, link, DECAP.load() != 0, way) {
        Ok(()) => FOUND,
        Err(skip) => skip as u64,
    }
}

/// Reads the segment that was found; returns [`READ`] or a [`Skip`].
#[inline(always)]
pub fn read(frame: &Frame, work: &mut Work) -> u64 {
    let Work { way, options, record } = work;
    if let Err(skip) = parse::segment_into(frame, &way.place, options, &mut record.segment) {
        return frame.unknown(skip as u64);
    }
    READ
}

/// Filters and judges the segment that was read, and puts it into the ring: [`SUPPRESSED`], [`EMITTED`],
/// [`RING_FULL`] or [`Skip::Filtered`].
///
/// Segments with more options, SACK for instance, are always emitted. Those with others make their
/// flow start over: what their time stamps say isn't known here.
#[inline(always)]
pub fn pass_on(work: &mut Work, direction: Direction) -> u64 {
    let Work { way, options, record } = work;
    if !filter::wants(&record.segment) {
        return Skip::Filtered as u64;
    }
    let now = suppress::now();
    let Some(row) = own_row() else { return RING_FULL };
    let name = suppress::name(&record.segment, direction, way.place.tunnel_name());
    let verdict = match options.layout() {
        None => Verdict::Emit(suppress::forget(row, name)),
        Some(layout) => {
            let more = u64::from(layout == Layout::Longer);
            suppress::judge(row, name, Brief::of(&record.segment).emitted_if(more), now)
        }
    };
    let Verdict::Emit(suppressed) = verdict else { return SUPPRESSED };
    record.direction = direction;
    record.suppressed = suppressed;
    if ring::push(row, record) {
        EMITTED
    } else {
        suppress::forget(row, name);
        RING_FULL
    }
}

/// What becomes of frames that the short way understands.
struct ShortWay<'a, const LAST: u8> {
    frame: &'a Frame,
    row: Row,
    direction: Direction,
}

impl<const LAST: u8> fast::Taker for ShortWay<'_, LAST> {
    type Outcome = ();

    #[inline(always)]
    fn segment(&self, found: &Found) {
        if LAST == step::PARSE {
            return self.row.emitted();
        }
        if filter::is_there() && !found.segment(self.frame).is_some_and(|segment| filter::wants(&segment)) {
            return self.skip(Skip::Filtered);
        }
        let now = suppress::now();
        let Some(segment) = found.segment(self.frame) else { return self.skip(Skip::TcpTruncated) };
        let name = suppress::name(&segment, self.direction, 0);
        let brief = Brief::of(&segment).emitted_if(found.more_bytes);
        if LAST == step::NAME {
            needed([name.0, brief.stamps, brief.rest]);
            return self.row.emitted();
        }
        let Verdict::Emit(suppressed) = suppress::judge(self.row, name, brief, now) else {
            return self.row.suppressed();
        };
        if LAST == step::JUDGE {
            needed([suppressed.into()]);
            return self.row.emitted();
        }
        let record = Record { time_ns: 0, direction: self.direction, suppressed, segment };
        if ring::push_short::<LAST>(self.row, found.is_ip4, &record) {
            self.row.emitted();
        } else {
            // Read and named again, for the sake of the stack.
            if let Some(segment) = found.segment(self.frame) {
                suppress::forget(self.row, suppress::name(&segment, self.direction, 0));
            }
            self.row.ring_full();
        }
    }

    /// None of the reasons that come this way means a malformed frame.
    #[inline(always)]
    fn skip(&self, skip: Skip) {
        self.row.skip(skip);
    }
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
