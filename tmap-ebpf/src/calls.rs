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
    tunnel::{Descent, Place},
};

use crate::{
    filter,
    frame::{Context, Frame, unknown},
    pipeline,
};

/// [`Descent::step`]'s outcomes other than a [`Skip`], as a number.
const FURTHER: u64 = 1 << 32;
/// See `FURTHER`.
const TCP: u64 = FURTHER + 1;

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

/// [`pipeline::screen`].
#[inline(always)]
pub fn screen(frame: &Frame, place: &Place, direction: Direction, forget: bool) -> u64 {
    match frame.context() {
        Context::Xdp(context) => screen_xdp(context, place, direction as u64, forget.into()),
        Context::Skb(context) => screen_skb(context, place, direction as u64, forget.into()),
    }
}

/// [`pipeline::wants`].
#[inline(always)]
pub fn wants(frame: &Frame, place: &Place) -> bool {
    let wanted = match frame.context() {
        Context::Xdp(context) => wants_xdp(context, place),
        Context::Skb(context) => wants_skb(context, place),
    };
    wanted != 0
}

/// [`pipeline::take`].
#[inline(always)]
pub fn take(frame: &Frame, place: &Place, direction: Direction, screened: u64) -> u64 {
    match frame.context() {
        Context::Xdp(context) => take_xdp(context, place, direction as u64, screened),
        Context::Skb(context) => take_skb(context, place, direction as u64, screened),
    }
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
extern "C" fn screen_xdp(context: *mut xdp_md, place: *const Place, direction: u64, forget: u64) -> u64 {
    screen_inside(&Frame::of_xdp(&XdpContext::new(context)), place, direction, forget)
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

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn screen_skb(context: *mut __sk_buff, place: *const Place, direction: u64, forget: u64) -> u64 {
    screen_inside(&Frame::of_pulled_skb(&TcContext::new(context)), place, direction, forget)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wants_xdp(context: *mut xdp_md, place: *const Place) -> u64 {
    wants_inside(&Frame::of_xdp(&XdpContext::new(context)), place)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wants_skb(context: *mut __sk_buff, place: *const Place) -> u64 {
    wants_inside(&Frame::of_pulled_skb(&TcContext::new(context)), place)
}

#[inline(always)]
fn wants_inside(frame: &Frame, place: *const Place) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let place = unsafe { place.as_ref() };
    place.is_some_and(|place| pipeline::wants(frame, place)).into()
}

#[inline(always)]
fn find_inside(frame: &Frame, link: Link, way: *mut Descent) -> u64 {
    // SAFETY: the caller lent it. For all that the verifier knows it may be null.
    let Some(way) = (unsafe { way.as_mut() }) else { return Skip::TcpTruncated as u64 };
    pipeline::find(frame, link, way)
}

#[inline(always)]
fn screen_inside(frame: &Frame, place: *const Place, direction: u64, forget: u64) -> u64 {
    // SAFETY: as above.
    let Some(place) = (unsafe { place.as_ref() }) else { return Skip::TcpTruncated as u64 };
    pipeline::screen(frame, place, direction_of(direction), forget != 0)
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
extern "C" fn take_xdp(context: *mut xdp_md, place: *const Place, direction: u64, screened: u64) -> u64 {
    take_inside(&Frame::of_xdp(&XdpContext::new(context)), place, direction, screened)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_skb(context: *mut __sk_buff, place: *const Place, direction: u64, screened: u64) -> u64 {
    take_inside(&Frame::of_pulled_skb(&TcContext::new(context)), place, direction, screened)
}

#[inline(always)]
fn take_inside(frame: &Frame, place: *const Place, direction: u64, screened: u64) -> u64 {
    // SAFETY: as above.
    let Some(place) = (unsafe { place.as_ref() }) else { return Skip::TcpTruncated as u64 };
    pipeline::take(frame, place, direction_of(direction), screened)
}

#[inline(always)]
fn direction_of(number: u64) -> Direction {
    if number == Direction::Egress as u64 { Direction::Egress } else { Direction::Ingress }
}
