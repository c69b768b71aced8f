//! tmap's kernel side: the programs, one for each hook and kind of link. They turn passing segments into
//! records and change nothing.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use tmap_common::{Link, record::Direction};
use tmap_ebpf::{frame::Frame, pipeline::observe, stop};

/// Frames that an Ethernet interface receives.
#[xdp(frags)]
pub(crate) fn tmap_xdp_eth(ctx: XdpContext) -> u32 {
    observe::<{ stop::NEVER }>(&Frame::of_xdp(&ctx), Link::Ethernet, Direction::Ingress);
    XDP_PASS
}

/// Packets that a tunnel without a link header receives.
#[xdp(frags)]
pub(crate) fn tmap_xdp_ip(ctx: XdpContext) -> u32 {
    observe::<{ stop::NEVER }>(&Frame::of_xdp(&ctx), Link::Ip, Direction::Ingress);
    XDP_PASS
}

/// Frames that an Ethernet interface receives, beside another XDP program. The kernel has taken the outer
/// VLAN tag off, and may have merged segments with equal options.
#[classifier]
pub(crate) fn tmap_tcin_eth(ctx: TcContext) -> i32 {
    observe::<{ stop::NEVER }>(&Frame::of_skb(&ctx), Link::Ethernet, Direction::Ingress);
    TC_ACT_UNSPEC
}

/// Packets that a tunnel without a link header receives, beside another XDP program.
#[classifier]
pub(crate) fn tmap_tcin_ip(ctx: TcContext) -> i32 {
    observe::<{ stop::NEVER }>(&Frame::of_skb(&ctx), Link::Ip, Direction::Ingress);
    TC_ACT_UNSPEC
}

/// Frames that an Ethernet interface sends.
#[classifier]
pub(crate) fn tmap_tc_eth(ctx: TcContext) -> i32 {
    observe::<{ stop::NEVER }>(&Frame::of_skb(&ctx), Link::Ethernet, Direction::Egress);
    TC_ACT_UNSPEC
}

/// Packets that a tunnel without a link header sends.
#[classifier]
pub(crate) fn tmap_tc_ip(ctx: TcContext) -> i32 {
    observe::<{ stop::NEVER }>(&Frame::of_skb(&ctx), Link::Ip, Direction::Egress);
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
