//! Programs for `cargo xtask bench`: those that tmap's own are measured against, and those that make the
//! traffic.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    Global,
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX},
    helpers::bpf_ktime_get_ns,
    macros::{map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::XdpContext,
};

/// Frames counted by [`bench_count`].
#[map]
static COUNT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The program that [`bench_step`] calls.
#[map]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The flows of the next frames, drawn beforehand; the loader sets how many, a power of two. Bit 0
/// is the direction, bit 31 marks a handshake's, the other bits are the connection.
#[map]
static DRAWS: Array<u32> = Array::with_max_entries(1, 0);

/// The generator's state.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// The number of draws minus one.
#[unsafe(no_mangle)]
static DRAWS_MASK: Global<u32> = Global::new(0);

/// Where the generator is in the traffic. One CPU runs it. User space sets it up, as three words.
#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    /// Frames made.
    position: u64,
    /// The time that all clocks show, in ticks.
    tick: u32,
    /// Frames until the next tick.
    left: u32,
    /// Frames per tick.
    per_tick: u32,
    /// Padding.
    unused: u32,
}

/// The least that an XDP program can do.
#[xdp(frags)]
pub(crate) fn bench_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Reads the clock once, as every emitted record does.
#[xdp(frags)]
pub(crate) fn bench_clock(_: XdpContext) -> u32 {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if now == 0 { XDP_ABORTED } else { XDP_PASS }
}

/// Counts the frame.
#[xdp(frags)]
pub(crate) fn bench_count(_: XdpContext) -> u32 {
    if let Some(count) = COUNT.get_ptr_mut(0) {
        // SAFETY: the value is this CPU's own.
        unsafe { *count += 1 };
    }
    XDP_PASS
}

/// Makes the frame the next one of the traffic and calls the program in [`TARGET`] with it.
#[xdp(frags)]
pub(crate) fn bench_step(ctx: XdpContext) -> u32 {
    next_frame(&ctx, false);
    // SAFETY: both programs are of one type. The call returns only where TARGET holds no program.
    unsafe { TARGET.tail_call(&ctx, 0) };
    XDP_ABORTED
}

/// Makes the frame the next one of the traffic and sends it.
#[xdp(frags)]
pub(crate) fn bench_send(ctx: XdpContext) -> u32 {
    next_frame(&ctx, true);
    XDP_TX
}

/// Offsets in an untagged frame of IPv4 and TCP with NOP, NOP, Timestamps.
mod at {
    pub(crate) const ADDRESSES: usize = 26;
    pub(crate) const PORTS: usize = 34;
    pub(crate) const FLAGS: usize = 47;
    pub(crate) const STAMPS: usize = 58;
    pub(crate) const END: usize = 66;
}

/// Marks a draw as a handshake's: a SYN of the client, a SYN-ACK of the server.
const HANDSHAKE: u32 = 1 << 31;

/// Writes flow, TSval and TSecr of the next frame over a frame that is laid out as [`at`] says.
#[inline(always)]
fn next_frame(ctx: &XdpContext, handshakes: bool) {
    let Some(state) = STATE.get_ptr_mut(0) else { return };
    // SAFETY: one CPU runs the generator.
    let state = unsafe { &mut *state };
    let Some(draw) = DRAWS.get(state.position as u32 & DRAWS_MASK.load()).copied() else { return };
    let flow = draw & !HANDSHAKE;
    state.position += 1;
    let per_tick = state.per_tick;
    if state.left == 0 {
        state.left = per_tick.max(1);
        state.tick = state.tick.wrapping_add(1);
    }
    state.left -= 1;
    // Echoes advance half a tick after the clocks.
    let echo = state.tick - u32::from(state.left > per_tick / 2);
    let start = ctx.data();
    if start + at::END > ctx.data_end() {
        return;
    }
    let connection = flow >> 1;
    // Sixteen connections for each of the clients in 10.0.0.0/8, all with one server.
    let client = 0x0a00_0000 | (connection >> 4 & 0x00ff_ffff);
    let server = 0xc000_0201;
    let port = 0x8000 | (connection & 0xf);
    let clocks = [connection.wrapping_mul(0x9e37_79b1), connection.wrapping_mul(0x85eb_ca77)];
    let (addresses, ports, stamps) = if flow & 1 == 0 {
        (
            [client, server],
            port << 16 | 443,
            [clocks[0].wrapping_add(state.tick), clocks[1].wrapping_add(echo)],
        )
    } else {
        (
            [server, client],
            443 << 16 | port,
            [clocks[1].wrapping_add(state.tick), clocks[0].wrapping_add(echo)],
        )
    };
    // SAFETY: all offsets lie before END, which was compared with the frame's end.
    unsafe {
        write_both(start + at::ADDRESSES, addresses);
        write(start + at::PORTS, ports);
        write_both(start + at::STAMPS, stamps);
        if handshakes {
            // ACK; SYN from the client, SYN and ACK from the server.
            let flags = if draw & HANDSHAKE == 0 { 0x10 } else { 0x02 | (flow as u8 & 1) << 4 };
            ptr::write((start + at::FLAGS) as *mut u8, flags);
        }
    }
}

/// Writes a word in network order.
///
/// # Safety
/// The four bytes at `address` are inside the frame.
#[inline(always)]
unsafe fn write(address: usize, word: u32) {
    // SAFETY: the caller vouches for the address.
    unsafe { ptr::write_unaligned(address as *mut u32, word.to_be()) };
}

/// Writes two words in network order at once. A program that loads both as one word would have to wait until
/// two stores are in the cache, which never happens with frames from a network card.
///
/// # Safety
/// The eight bytes at `address` are inside the frame.
#[inline(always)]
unsafe fn write_both(address: usize, words: [u32; 2]) {
    let both = u64::from(words[0]) << 32 | u64::from(words[1]);
    // SAFETY: the caller vouches for the address.
    unsafe { ptr::write_unaligned(address as *mut u64, both.to_be()) };
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
