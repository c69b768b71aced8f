//! tmap's program for frames that an Ethernet interface receives, stopped after each of its steps: for
//! `cargo xtask bench steps`, which tells what each step costs. The modules are the shipped program's.
#![no_std]
#![no_main]

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use tmap_common::{Link, record::Direction};
use tmap_ebpf::{frame::Frame, pipeline, stop};

/// Stops when the frame is counted.
#[xdp(frags)]
pub(crate) fn stop_count(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_COUNT }>(&ctx)
}

/// Stops when the headers are found.
#[xdp(frags)]
pub(crate) fn stop_parse(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_PARSE }>(&ctx)
}

/// Stops when the flow is hashed.
#[xdp(frags)]
pub(crate) fn stop_hash(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_HASH }>(&ctx)
}

/// Stops when the segment is classified.
#[xdp(frags)]
pub(crate) fn stop_classify(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_CLASSIFY }>(&ctx)
}

/// Stops when the ring has room.
#[xdp(frags)]
pub(crate) fn stop_reserve(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_RESERVE }>(&ctx)
}

/// Stops when the record is written, except for its time.
#[xdp(frags)]
pub(crate) fn stop_write(ctx: XdpContext) -> u32 {
    observe::<{ stop::AFTER_WRITE }>(&ctx)
}

/// Takes all steps, as the shipped program does.
#[xdp(frags)]
pub(crate) fn stop_never(ctx: XdpContext) -> u32 {
    observe::<{ stop::NEVER }>(&ctx)
}

#[inline(always)]
fn observe<const STOP: u8>(ctx: &XdpContext) -> u32 {
    pipeline::observe::<STOP>(&Frame::of_xdp(ctx), Link::Ethernet, Direction::Ingress);
    XDP_PASS
}

/// Some helpers are only for programs that are compatible with the kernel's licence; MIT is.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
