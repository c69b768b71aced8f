//! The frame as the parser reads it, with the bounds check that the verifier wants to see.

use core::{arch::asm, ptr};

use crate::calls;
use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use tmap_common::{Packet, Skip, packet::MAX_CURSOR, tcp::Options, tunnel::Descent};

/// How much of a packet must lie in its linear part for the parser to see all it wants: link header
/// with tags, IP header with extensions of reasonable size, TCP header with all options.
const HEADER_BYTES: usize = 256;

/// A frame's linear part, from the first byte of its link header.
pub struct Frame {
    start: usize,
    end: usize,
    context: Context,
}

/// What the program was called with.
#[derive(Clone, Copy)]
pub enum Context {
    Xdp(*mut xdp_md),
    Skb(*mut __sk_buff),
}

impl Frame {
    /// The frame that an XDP program was called for.
    #[inline(always)]
    pub fn of_xdp(ctx: &XdpContext) -> Self {
        let context = Context::Xdp(ctx.as_ptr().cast());
        Self { start: ctx.data(), end: ctx.data_end(), context }
    }

    /// The packet that a TC program was called for. Forwarded packets can have part of their
    /// headers outside the linear part; those are pulled in, which leaves the packet as it is.
    #[inline(always)]
    pub fn of_skb(ctx: &TcContext) -> Self {
        let linear = ctx.data_end() - ctx.data();
        if linear < HEADER_BYTES {
            let total = ctx.len() as usize;
            if linear < total {
                // A failure leaves the packet as it was, and the parser will count what it meets.
                let _ = ctx.pull_data(total.min(HEADER_BYTES) as u32);
            }
        }
        Self::of_pulled_skb(ctx)
    }

    /// The same packet again, where [`Frame::of_skb`] has been called before.
    #[inline(always)]
    pub fn of_pulled_skb(ctx: &TcContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end(), context: Context::Skb(ctx.skb.skb) }
    }

    /// What the program was called with. Known where everything is inlined, so it costs nothing.
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
        if opaque(at + N) > self.end {
            return None;
        }
        // SAFETY: start..end is the packet's linear part, valid for this call of the program, and
        // at..at + N lies inside it; any bytes make a [u8; N], which needs no alignment.
        Some(unsafe { ptr::read(at as *const [u8; N]) })
    }

    #[inline(always)]
    fn forget(&self, cursor: usize) -> usize {
        self.unknown(cursor as u64) as usize & (MAX_CURSOR - 1)
    }

    #[inline(always)]
    fn unknown(&self, word: u64) -> u64 {
        // The length is a number of which the verifier knows nothing.
        unknown(word, self.len() as u64)
    }

    #[inline(always)]
    fn options(&self, at: usize, bytes: usize, found: &mut Options) -> Result<(), Skip> {
        calls::options(self, at, bytes, found)
    }

    #[inline(always)]
    fn step(&self, descent: &mut Descent) -> Result<bool, Skip> {
        calls::step(self, descent)
    }
}

/// `word`, of which the verifier forgets what it knows, given `any` number of which it knows nothing.
#[inline(always)]
pub fn unknown(mut word: u64, any: u64) -> u64 {
    // Not `pure`: the compiler would make one of two calls with the same word, and the verifier,
    // which sees where values come from, would tell states apart by which of them are still one.
    // SAFETY: exclusive-or with the same number twice changes nothing.
    unsafe {
        asm!(
            "{0} ^= {1}", "{0} ^= {1}",
            inout(reg) word, in(reg) any, options(nomem, nostack, preserves_flags)
        );
    };
    word
}

/// `value`, with the compiler kept from knowing so. Unlike `black_box` it stays in a register.
///
/// The price is a move to itself. An empty assembly text would be free, but Rust wants the operand
/// used, and a comment gives two line entries at one instruction, which the kernel refuses.
#[inline(always)]
pub fn opaque(mut value: usize) -> usize {
    // SAFETY: the instruction changes nothing.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Has the compiler work out `words` where a program ends before it uses them.
#[inline(always)]
pub fn needed<const N: usize>(words: [u64; N]) {
    for word in words {
        // SAFETY: the instruction changes nothing.
        unsafe { asm!("{0} = {0}", inout(reg) word => _, options(nomem, nostack, preserves_flags)) };
    }
}
