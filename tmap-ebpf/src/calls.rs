//! The program's parts that the verifier walks by themselves.
//!
//! It walks a global function once, knowing nothing of its arguments, where it would walk one of
//! Rust's own (and what is inlined) again for every way that leads there. Arguments are numbers, the
//! program's own context and addresses of plain words; packets are found again through the context.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use tmap_common::{
    Link, Skip,
    filter::Ends,
    record::Direction,
    suppress::{Brief, Name, Slot},
    tcp::Options,
    tunnel::Descent,
};

use crate::{
    filter,
    frame::{Context, Frame, unknown},
    pipeline,
    scratch::Work,
    suppress,
};

/// [`Descent::step`]'s outcomes other than a [`Skip`], as a number.
const FURTHER: u64 = 1 << 32;
/// See `FURTHER`.
const TCP: u64 = FURTHER + 1;

/// The outcome of [`Options::walk`] other than a [`Skip`].
const WALKED: u64 = FURTHER + 2;

/// [`Descent::step`].
///
/// # Errors
/// As there.
#[inline(always)]
pub fn step(frame: &Frame, descent: &mut Descent) -> Result<bool, Skip> {
    let outcome = match frame.context() {
        Context::Xdp(context) => step_xdp(context, descent),
        Context::Skb(context) => step_skb(context, descent),
    };
    match outcome {
        FURTHER => Ok(false),
        TCP => Ok(true),
        reason => Err(Skip::from_index(reason).unwrap_or(Skip::TunnelTooDeep)),
    }
}

/// [`Options::walk`].
///
/// # Errors
/// As there.
#[inline(always)]
pub fn options(frame: &Frame, at: usize, bytes: usize, found: &mut Options) -> Result<(), Skip> {
    let outcome = match frame.context() {
        Context::Xdp(context) => options_xdp(context, at as u64, bytes as u64, found),
        Context::Skb(context) => options_skb(context, at as u64, bytes as u64, found),
    };
    if outcome == WALKED {
        return Ok(());
    }
    Err(Skip::from_index(outcome).unwrap_or(Skip::TcpTruncated))
}

/// [`pipeline::find`].
#[inline(always)]
pub fn find(frame: &Frame, link: Link, way: &mut Descent) -> u64 {
    match (frame.context(), link) {
        (Context::Xdp(context), Link::Ip) => find_xdp_ip(context, way),
        (Context::Xdp(context), _) => find_xdp_eth(context, way),
        (Context::Skb(context), Link::Ip) => find_skb_ip(context, way),
        (Context::Skb(context), _) => find_skb_eth(context, way),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_xdp(context: *mut xdp_md, at: u64, bytes: u64, found: *mut Options) -> u64 {
    options_inside(&Frame::of_xdp(&XdpContext::new(context)), at, bytes, found)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_skb(context: *mut __sk_buff, at: u64, bytes: u64, found: *mut Options) -> u64 {
    options_inside(&Frame::of_pulled_skb(&TcContext::new(context)), at, bytes, found)
}

#[inline(always)]
fn options_inside(frame: &Frame, at: u64, bytes: u64, found: *mut Options) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let Some(found) = (unsafe { found.as_mut() }) else { return Skip::TcpTruncated as u64 };
    match found.walk(frame, at as usize, bytes as usize) {
        Ok(()) => WALKED,
        Err(skip) => skip as u64,
    }
}

/// [`pipeline::read`].
#[inline(always)]
pub fn read(frame: &Frame, work: &mut Work) -> u64 {
    match frame.context() {
        Context::Xdp(context) => read_xdp(context, work),
        Context::Skb(context) => read_skb(context, work),
    }
}

/// [`pipeline::pass_on`].
#[inline(always)]
pub fn pass_on(work: &mut Work, direction: Direction) -> u64 {
    pass_segment_on(work, direction as u64)
}

/// [`suppress::judge_slowly`].
#[inline(always)]
pub fn judge_slowly(slot: *mut Slot, name: Name, brief: Brief, now: u64) -> u8 {
    judge_slot(slot, name.0, brief.stamps, brief.rest, now) as u8
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_slot(slot: *mut Slot, name: u64, stamps: u64, rest: u64, now: u64) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let Some(slot) = (unsafe { slot.as_mut() }) else { return 0 };
    suppress::judge_slowly(slot, Name(name), Brief { stamps, rest }, now).into()
}

/// [`filter::accepts`].
#[inline(always)]
pub fn accepts(ends: &Ends) -> bool {
    // A word that the verifier can't see through, as it doesn't look at calls together.
    accepts_ends(ends, 0) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_xdp_eth(context: *mut xdp_md, way: *mut Descent) -> u64 {
    find_inside(&Frame::of_xdp(&XdpContext::new(context)), Link::Ethernet, way)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_xdp_ip(context: *mut xdp_md, way: *mut Descent) -> u64 {
    find_inside(&Frame::of_xdp(&XdpContext::new(context)), Link::Ip, way)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_skb_eth(context: *mut __sk_buff, way: *mut Descent) -> u64 {
    find_inside(&Frame::of_pulled_skb(&TcContext::new(context)), Link::Ethernet, way)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_skb_ip(context: *mut __sk_buff, way: *mut Descent) -> u64 {
    find_inside(&Frame::of_pulled_skb(&TcContext::new(context)), Link::Ip, way)
}

#[inline(always)]
fn find_inside(frame: &Frame, link: Link, way: *mut Descent) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let Some(way) = (unsafe { way.as_mut() }) else { return Skip::TcpTruncated as u64 };
    pipeline::find(frame, link, way)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn accepts_ends(ends: *const Ends, any: u64) -> u64 {
    // SAFETY: as in `step_inside`.
    let Some(ends) = (unsafe { ends.as_ref() }) else { return 0 };
    filter::accepts(ends, |word| unknown(word, any)).into()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_xdp(context: *mut xdp_md, descent: *mut Descent) -> u64 {
    step_inside(&Frame::of_xdp(&XdpContext::new(context)), descent)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_skb(context: *mut __sk_buff, descent: *mut Descent) -> u64 {
    step_inside(&Frame::of_pulled_skb(&TcContext::new(context)), descent)
}

#[inline(always)]
fn step_inside(frame: &Frame, descent: *mut Descent) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let Some(descent) = (unsafe { descent.as_mut() }) else { return Skip::TunnelTooDeep as u64 };
    match descent.step(frame) {
        Ok(false) => FURTHER,
        Ok(true) => TCP,
        Err(skip) => skip as u64,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_xdp(context: *mut xdp_md, work: *mut Work) -> u64 {
    read_inside(&Frame::of_xdp(&XdpContext::new(context)), work)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_skb(context: *mut __sk_buff, work: *mut Work) -> u64 {
    read_inside(&Frame::of_pulled_skb(&TcContext::new(context)), work)
}

#[inline(always)]
fn read_inside(frame: &Frame, work: *mut Work) -> u64 {
    // SAFETY: as above.
    let Some(work) = (unsafe { work.as_mut() }) else { return Skip::TcpTruncated as u64 };
    pipeline::read(frame, work)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pass_segment_on(work: *mut Work, direction: u64) -> u64 {
    // SAFETY: as above.
    let Some(work) = (unsafe { work.as_mut() }) else { return Skip::TcpTruncated as u64 };
    pipeline::pass_on(work, direction_of(direction))
}

#[inline(always)]
fn direction_of(number: u64) -> Direction {
    if number == Direction::Egress as u64 { Direction::Egress } else { Direction::Ingress }
}
