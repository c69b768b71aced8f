//! tmap's kernel side: programs that turn passing segments into records and change nothing.
//!
//! ```text
//! frame -> parse -> filter -> (suppress) -> ring        every way out has its counter
//! ```
//!
//! Invariants:
//! - The verdict never depends on the packet: XDP always passes, TC always says "go on".
//! - Packet bytes are only read.
//! - Nothing that two CPUs write shares a cache line.
//! - All producers of a CPU run with bottom halves disabled: XDP in the driver's softirq, TC egress
//!   under `rcu_read_lock_bh`. So a CPU's ring and counters have one writer at a time, except on
//!   PREEMPT_RT, where the loader sets `PREEMPTIBLE`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
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

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use tmap_common::{Link, record::Direction};

use crate::frame::Frame;

/// Frames that an Ethernet interface receives.
#[xdp(frags)]
pub fn tmap_xdp_eth(ctx: XdpContext) -> u32 {
    pipeline::observe(&Frame::of_xdp(&ctx), Link::Ethernet, Direction::Ingress);
    XDP_PASS
}

/// Packets that a tunnel without a link header receives.
#[xdp(frags)]
pub fn tmap_xdp_ip(ctx: XdpContext) -> u32 {
    pipeline::observe(&Frame::of_xdp(&ctx), Link::Ip, Direction::Ingress);
    XDP_PASS
}

/// Frames that an Ethernet interface sends.
#[classifier]
pub fn tmap_tc_eth(ctx: TcContext) -> i32 {
    pipeline::observe(&Frame::of_skb(&ctx), Link::Ethernet, Direction::Egress);
    TC_ACT_UNSPEC
}

/// Packets that a tunnel without a link header sends.
#[classifier]
pub fn tmap_tc_ip(ctx: TcContext) -> i32 {
    pipeline::observe(&Frame::of_skb(&ctx), Link::Ip, Direction::Egress);
    TC_ACT_UNSPEC
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
