//! The frame as the parser reads it, with the bounds check that the verifier wants to see.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use tmap_common::{Packet, Skip, packet::MAX_CURSOR, tcp::OptionOffsets, tunnel::DecapCursor};

use crate::opaque;

/// How much of a packet must lie in its linear part for the parser to see all it needs, in bytes: link header
/// with tags, IP header with extensions of reasonable size, TCP header with all options.
const HEADER_BYTES: usize = 256;

/// A frame's linear part, from the first byte of its link header.
#[derive(Clone, Copy)]
pub struct Frame {
    start: usize,
    end: usize,
    context: Context,
}

/// The context with which the kernel called the program.
#[derive(Clone, Copy)]
pub enum Context {
    /// An XDP program's.
    Xdp(*mut xdp_md),
    /// A TC program's.
    Skb(*mut __sk_buff),
}

impl Frame {
    /// The frame that an XDP program was called for.
    #[inline(always)]
    pub fn of_xdp(ctx: &XdpContext) -> Self {
        let context = Context::Xdp(ctx.as_ptr().cast());
        Self { start: ctx.data(), end: ctx.data_end(), context }
    }

    /// The packet that a TC program was called for, as far as it lies in the linear part.
    #[inline(always)]
    pub fn of_skb(ctx: &TcContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end(), context: Context::Skb(ctx.skb.skb) }
    }

    /// The frame with all its headers. Forwarded and merged packets can have part of them outside the linear
    /// part; those are pulled in, which leaves the packet as it is. Only the slow path needs this: the fast
    /// path gives up where a header is missing. Pulling can copy the packet's head, so it isn't done before.
    #[inline(always)]
    pub fn with_all_headers(&self) -> Self {
        let Context::Skb(context) = self.context else { return *self };
        let ctx = TcContext::new(context);
        let linear = ctx.data_end() - ctx.data();
        if linear < HEADER_BYTES {
            let total = ctx.len() as usize;
            if linear < total {
                // A failure leaves the packet as it was, and the parser will count what it meets.
                let _ = ctx.pull_data(total.min(HEADER_BYTES) as u32);
            }
        }
        Self::of_skb(&ctx)
    }

    /// Whether a received packet begins with its IP header although its interface has Ethernet headers.
    /// Behind generic XDP the kernel forgets the link header's length where it had to copy the packet
    /// (`mac_len`, not copied by `skb_pp_cow_data` in Linux 6.9 to 6.18).
    #[inline(always)]
    pub fn lacks_link_header(&self) -> bool {
        let Context::Skb(context) = self.context else { return false };
        // SAFETY: the kernel's context is valid for this call of the program.
        let protocol = unsafe { (*context).protocol } as u16;
        let is_ip = protocol == 0x0800_u16.to_be() || protocol == 0x86dd_u16.to_be();
        is_ip && self.read(12).is_some_and(|ethertype| u16::from_ne_bytes(ethertype) != protocol)
    }

    /// The context with which the program was called. Known where everything is inlined, so it costs nothing.
    #[inline(always)]
    pub fn context(&self) -> Context {
        self.context
    }

    /// Length of the linear part, in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = self.start + offset;
        // Opaque, because LLVM would turn `at + 1 > end` into `at >= end`, from which the verifier
        // learns nothing.
        if opaque::to_compiler(at + N) > self.end {
            return None;
        }
        // SAFETY: start..end is the packet's linear part, valid for this call of the program, and
        // at..at + N lies inside it; any bytes make a [u8; N], which needs no alignment.
        Some(unsafe { ptr::read(at as *const [u8; N]) })
    }

    #[inline(always)]
    fn opaque_cursor(&self, cursor: usize) -> usize {
        self.opaque(cursor as u64) as usize & (MAX_CURSOR - 1)
    }

    #[inline(always)]
    fn opaque(&self, word: u64) -> u64 {
        // The length is a number of which the verifier knows nothing.
        opaque::to_verifier(word, self.len() as u64)
    }

    #[inline(always)]
    fn settle(&self, cursor: &mut DecapCursor) {
        opaque::memory(ptr::from_mut(cursor).cast());
    }

    #[inline(always)]
    fn walk_options(&self, at: usize, bytes: usize, offsets: &mut OptionOffsets) -> Result<(), Skip> {
        let outcome = match self.context() {
            Context::Xdp(context) => options_xdp(context, at as u64, bytes as u64, offsets),
            Context::Skb(context) => options_skb(context, at as u64, bytes as u64, offsets),
        };
        if outcome == WALKED {
            return Ok(());
        }
        Err(Skip::from_index(outcome).unwrap_or(Skip::TcpTruncated))
    }

    #[inline(always)]
    fn next_layer(&self, cursor: &mut DecapCursor) -> Result<bool, Skip> {
        let outcome = match self.context() {
            Context::Xdp(context) => layer_xdp(context, cursor),
            Context::Skb(context) => layer_skb(context, cursor),
        };
        match outcome {
            TUNNEL => Ok(false),
            TCP => Ok(true),
            reason => Err(Skip::from_index(reason).unwrap_or(Skip::TunnelTooDeep)),
        }
    }

    #[inline(always)]
    fn next_header(&self, cursor: &mut DecapCursor) -> Result<(), Skip> {
        let outcome = match self.context() {
            Context::Xdp(context) => header_xdp(context, cursor),
            Context::Skb(context) => header_skb(context, cursor),
        };
        if outcome == TUNNEL {
            return Ok(());
        }
        Err(Skip::from_index(outcome).unwrap_or(Skip::TunnelTooDeep))
    }
}

/// Outcome of `layer_*` and `header_*`: the cursor is at the next layer. Outcomes that aren't the index of a
/// [`Skip`] begin here.
const TUNNEL: u64 = 1 << 32;
/// Outcome of `layer_*`: the layer carries TCP.
const TCP: u64 = TUNNEL + 1;
/// Outcome of `options_*`: all options are noted down.
const WALKED: u64 = TUNNEL + 2;

/// Subprogram: [`OptionOffsets::walk`] over the frame of an XDP program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_xdp(context: *mut xdp_md, at: u64, bytes: u64, offsets: *mut OptionOffsets) -> u64 {
    walk_options(&Frame::of_xdp(&XdpContext::new(context)), at, bytes, offsets)
}

/// Subprogram: [`OptionOffsets::walk`] over the packet of a TC program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_skb(context: *mut __sk_buff, at: u64, bytes: u64, offsets: *mut OptionOffsets) -> u64 {
    walk_options(&Frame::of_skb(&TcContext::new(context)), at, bytes, offsets)
}

#[inline(always)]
fn walk_options(frame: &Frame, at: u64, bytes: u64, offsets: *mut OptionOffsets) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(offsets) = (unsafe { offsets.as_mut() }) else { return Skip::TcpTruncated as u64 };
    match offsets.walk(frame, at as usize, bytes as usize) {
        Ok(()) => WALKED,
        Err(skip) => skip as u64,
    }
}

/// Subprogram: [`DecapCursor::next_layer`] in the frame of an XDP program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn layer_xdp(context: *mut xdp_md, cursor: *mut DecapCursor) -> u64 {
    next_layer(&Frame::of_xdp(&XdpContext::new(context)), cursor)
}

/// Subprogram: [`DecapCursor::next_layer`] in the packet of a TC program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn layer_skb(context: *mut __sk_buff, cursor: *mut DecapCursor) -> u64 {
    next_layer(&Frame::of_skb(&TcContext::new(context)), cursor)
}

#[inline(always)]
fn next_layer(frame: &Frame, cursor: *mut DecapCursor) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(cursor) = (unsafe { cursor.as_mut() }) else { return Skip::TunnelTooDeep as u64 };
    match cursor.next_layer(frame) {
        Ok(false) => TUNNEL,
        Ok(true) => TCP,
        Err(skip) => skip as u64,
    }
}

/// Subprogram: [`DecapCursor::next_header`] in the frame of an XDP program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn header_xdp(context: *mut xdp_md, cursor: *mut DecapCursor) -> u64 {
    next_header(&Frame::of_xdp(&XdpContext::new(context)), cursor)
}

/// Subprogram: [`DecapCursor::next_header`] in the packet of a TC program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn header_skb(context: *mut __sk_buff, cursor: *mut DecapCursor) -> u64 {
    next_header(&Frame::of_skb(&TcContext::new(context)), cursor)
}

#[inline(always)]
fn next_header(frame: &Frame, cursor: *mut DecapCursor) -> u64 {
    // SAFETY: the caller lent it, and uses it no more. For all that the verifier knows it may be null.
    let Some(cursor) = (unsafe { cursor.as_mut() }) else { return Skip::TunnelTooDeep as u64 };
    match cursor.next_header(frame) {
        Ok(()) => TUNNEL,
        Err(skip) => skip as u64,
    }
}
