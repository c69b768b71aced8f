//! How the parser reads a frame, wherever the frame lives.

use crate::{Skip, tcp::Options, tunnel::Descent};

/// A frame (or the captured beginning of one) that can be read at any offset.
///
/// This is the parser's only access to bytes. User space implements it for slices; the kernel
/// programs implement it with the bounds check that the verifier wants to see.
pub trait Packet {
    /// The `N` bytes at `offset`, or `None` where the frame ends before `offset + N`.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// `cursor`, below [`MAX_CURSOR`], of whose value compiler and verifier must forget all else.
    ///
    /// The parser passes its cursors through here at the end of each loop. The verifier tells states
    /// apart by the range of anything added to a packet pointer, so without this it would walk every
    /// combination of header or option lengths; with it, all iterations look alike. Outside the
    /// kernel it does nothing.
    #[inline(always)]
    fn forget(&self, cursor: usize) -> usize {
        debug_assert!(cursor < MAX_CURSOR, "cursor {cursor}");
        cursor
    }

    /// `word`, whose value the verifier must forget: it would walk what follows once per value.
    #[inline(always)]
    fn unknown(&self, word: u64) -> u64 {
        word
    }

    /// [`Options::walk`], overridden in the same way as [`Packet::step`].
    ///
    /// # Errors
    /// Those of [`Options::walk`].
    #[inline(always)]
    fn options(&self, at: usize, bytes: usize, found: &mut Options) -> Result<(), Skip> {
        found.walk(self, at, bytes)
    }

    /// One layer further down. The kernel programs override this with a call of a function that the
    /// verifier walks by itself, once, which then does the same.
    ///
    /// # Errors
    /// Those of [`Descent::step`].
    #[inline(always)]
    fn step(&self, descent: &mut Descent) -> Result<bool, Skip> {
        descent.step(self)
    }
}

/// Cursors stay below this: a layer that begins at most 2,048 bytes into the frame
/// ([`crate::tunnel`]), IPv6 header (40), six extension headers of at most 2,048 bytes, TCP header (60).
pub const MAX_CURSOR: usize = 1 << 14;

impl Packet for [u8] {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let frame: &[u8] = &[1, 2, 3, 4];
        assert_eq!(frame.read::<2>(2), Some([3, 4]));
        assert_eq!(frame.read::<2>(3), None);
        assert_eq!(frame.read::<1>(usize::MAX), None);
        assert_eq!(frame.read::<0>(4), Some([]));
    }
}
