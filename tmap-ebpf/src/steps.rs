//! tmap's program for frames that an Ethernet interface receives, stopped after each of its steps: for
//! `cargo xtask bench steps`, which tells what each step costs. The modules are the shipped program's.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(dead_code, reason = "what is sent takes another way, which isn't stopped")]
#![expect(missing_docs, reason = "the entry macros lose the docs of what they wrap")]

mod atomic;
mod calls;
mod counters;
mod filter;
mod frame;
mod pipeline;
mod ring;
mod scratch;
mod suppress;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use tmap_common::{Link, record::Direction};

use crate::{frame::Frame, pipeline::step};

/// See `cautious.rs`.
const CAUTIOUS: bool = false;

#[xdp(frags)]
pub fn step_count(ctx: XdpContext) -> u32 {
    observe::<{ step::COUNT }>(&ctx)
}

#[xdp(frags)]
pub fn step_parse(ctx: XdpContext) -> u32 {
    observe::<{ step::PARSE }>(&ctx)
}

#[xdp(frags)]
pub fn step_name(ctx: XdpContext) -> u32 {
    observe::<{ step::NAME }>(&ctx)
}

#[xdp(frags)]
pub fn step_judge(ctx: XdpContext) -> u32 {
    observe::<{ step::JUDGE }>(&ctx)
}

#[xdp(frags)]
pub fn step_room(ctx: XdpContext) -> u32 {
    observe::<{ step::ROOM }>(&ctx)
}

#[xdp(frags)]
pub fn step_write(ctx: XdpContext) -> u32 {
    observe::<{ step::WRITE }>(&ctx)
}

/// All steps: what ships.
#[xdp(frags)]
pub fn step_all(ctx: XdpContext) -> u32 {
    observe::<{ step::ALL }>(&ctx)
}

#[inline(always)]
fn observe<const LAST: u8>(ctx: &XdpContext) -> u32 {
    pipeline::observe::<LAST>(&Frame::of_xdp(ctx), Link::Ethernet, Direction::Ingress);
    XDP_PASS
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
