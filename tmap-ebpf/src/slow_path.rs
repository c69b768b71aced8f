//! The slow path, for frames that the fast path doesn't understand: handshakes, tunnels and everything
//! rare. It is cut into subprograms, which the verifier checks once each.

use aya_ebpf::{
    Global,
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use tmap_common::{
    Link, Packet as _, Skip, parse,
    record::Direction,
    suppress::{Decision, Digest},
    tcp::TimestampsLayout,
    tunnel::DecapCursor,
};

use crate::{
    filter,
    frame::{Context, Frame},
    ring,
    scratch::{self, Work},
    state::ThisCpu,
    stop, suppress,
};

/// Whether tunnels are decapsulated; the loader sets it. The verifier knows read-only data: with 0 all
/// that is dead code.
#[unsafe(no_mangle)]
static DECAP: Global<u8> = Global::new(1);

/// Whether tunnels are decapsulated: the fast path leaves them to this one.
#[inline(always)]
pub(crate) fn decapsulates() -> bool {
    DECAP.load() != 0
}

/// Outcome: the record is in the ring. Outcomes that aren't the index of a [`Skip`] begin here.
pub(crate) const EMITTED: u64 = 1 << 32;
/// Outcome: the ring had no room for the record.
pub(crate) const RING_FULL: u64 = EMITTED + 1;
/// Outcome: the segment is suppressed.
pub(crate) const SUPPRESSED: u64 = EMITTED + 2;
/// Outcome of `find_*`: the cursor is at TCP.
const FOUND: u64 = EMITTED + 3;
/// Outcome of `read_*`: the segment is read.
const READ: u64 = EMITTED + 4;

/// Takes a frame through all steps; returns [`EMITTED`], [`RING_FULL`], [`SUPPRESSED`] or the index of a
/// [`Skip`]. A program that stops early counts the segment as emitted.
#[inline(always)]
pub(crate) fn observe<const STOP: u8>(frame: &Frame, link: Link, direction: Direction, cpu: ThisCpu) -> u64 {
    let Some(work) = scratch::borrow(cpu.number) else { return RING_FULL };
    let outcome = observe_with::<STOP>(frame, link, direction, work);
    scratch::give_back(cpu.number);
    outcome
}

#[inline(always)]
fn observe_with<const STOP: u8>(frame: &Frame, link: Link, direction: Direction, work: &mut Work) -> u64 {
    let outcome = find(frame, link, &mut work.cursor);
    if outcome != FOUND {
        return outcome;
    }
    if STOP == stop::AFTER_PARSE {
        return EMITTED;
    }
    let outcome = read(frame, work);
    if outcome != READ {
        return outcome;
    }
    if STOP == stop::AFTER_HASH {
        return EMITTED;
    }
    pass_segment_on(work, direction as u64)
}

/// Moves `cursor` down to TCP; returns [`FOUND`] or the index of a [`Skip`].
#[inline(always)]
fn find(frame: &Frame, link: Link, cursor: &mut DecapCursor) -> u64 {
    match (frame.context(), link) {
        (Context::Xdp(context), Link::Ip) => find_xdp_ip(context, cursor),
        (Context::Xdp(context), _) => find_xdp_eth(context, cursor),
        (Context::Skb(context), Link::Ip) => find_skb_ip(context, cursor),
        (Context::Skb(context), _) => find_skb_eth(context, cursor),
    }
}

/// Subprogram: [`parse::find`] in a frame that an Ethernet interface receives.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_xdp_eth(context: *mut xdp_md, cursor: *mut DecapCursor) -> u64 {
    find_tcp(&Frame::of_xdp(&XdpContext::new(context)), Link::Ethernet, cursor)
}

/// Subprogram: [`parse::find`] in a packet that a tunnel without a link header receives.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_xdp_ip(context: *mut xdp_md, cursor: *mut DecapCursor) -> u64 {
    find_tcp(&Frame::of_xdp(&XdpContext::new(context)), Link::Ip, cursor)
}

/// Subprogram: [`parse::find`] in a frame that an Ethernet interface sends.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_skb_eth(context: *mut __sk_buff, cursor: *mut DecapCursor) -> u64 {
    find_tcp(&Frame::of_skb(&TcContext::new(context)), Link::Ethernet, cursor)
}

/// Subprogram: [`parse::find`] in a packet that a tunnel without a link header sends.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_skb_ip(context: *mut __sk_buff, cursor: *mut DecapCursor) -> u64 {
    find_tcp(&Frame::of_skb(&TcContext::new(context)), Link::Ip, cursor)
}

#[inline(always)]
fn find_tcp(frame: &Frame, link: Link, cursor: *mut DecapCursor) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(cursor) = (unsafe { cursor.as_mut() }) else { return Skip::TcpTruncated as u64 };
    match parse::find(frame, link, decapsulates(), cursor) {
        Ok(()) => FOUND,
        Err(skip) => skip as u64,
    }
}

/// Reads the segment at the cursor; returns [`READ`] or the index of a [`Skip`].
#[inline(always)]
fn read(frame: &Frame, work: &mut Work) -> u64 {
    match frame.context() {
        Context::Xdp(context) => read_xdp(context, work),
        Context::Skb(context) => read_skb(context, work),
    }
}

/// Subprogram: [`parse::segment_into`] from the frame of an XDP program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_xdp(context: *mut xdp_md, work: *mut Work) -> u64 {
    read_segment(&Frame::of_xdp(&XdpContext::new(context)), work)
}

/// Subprogram: [`parse::segment_into`] from the packet of a TC program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_skb(context: *mut __sk_buff, work: *mut Work) -> u64 {
    read_segment(&Frame::of_skb(&TcContext::new(context)), work)
}

#[inline(always)]
fn read_segment(frame: &Frame, work: *mut Work) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(work) = (unsafe { work.as_mut() }) else { return Skip::TcpTruncated as u64 };
    let Work { cursor, options, record } = work;
    if let Err(skip) = parse::segment_into(frame, &cursor.inner, options, &mut record.segment) {
        return frame.opaque(skip as u64);
    }
    READ
}

/// Subprogram: filters and classifies the segment that was read, and writes its record to the ring. Returns
/// [`SUPPRESSED`], [`EMITTED`], [`RING_FULL`] or the index of [`Skip::Filtered`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pass_segment_on(work: *mut Work, direction: u64) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(work) = (unsafe { work.as_mut() }) else { return Skip::TcpTruncated as u64 };
    let direction =
        if direction == Direction::Egress as u64 { Direction::Egress } else { Direction::Ingress };
    pass_on(work, direction)
}

/// Segments with options beside Timestamps, SACK for instance, are always emitted. Those in another layout
/// reset their flow's entry: what their time stamps say isn't known here.
#[inline(always)]
fn pass_on(work: &mut Work, direction: Direction) -> u64 {
    let Work { options, record, .. } = work;
    if !filter::accepts(&record.segment) {
        return Skip::Filtered as u64;
    }
    let now = suppress::now();
    let Some(cpu) = ThisCpu::get() else { return RING_FULL };
    let hash = suppress::flow_hash(&record.segment, direction);
    let decision = match options.timestamps_layout() {
        None => Decision::Emit(suppress::reset(cpu, hash)),
        Some(layout) => {
            let more = u64::from(layout == TimestampsLayout::Longer);
            suppress::classify(cpu, hash, Digest::of(&record.segment).emitted_if(more), now)
        }
    };
    let Decision::Emit(count) = decision else { return SUPPRESSED };
    record.direction = direction;
    record.add_suppressed(suppress::suppressed(cpu, hash, count));
    if ring::push(cpu, record) {
        EMITTED
    } else {
        suppress::reset(cpu, hash);
        RING_FULL
    }
}
