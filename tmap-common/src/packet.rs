//! [`Packet`]: how the parser reads a frame, wherever the frame lies in memory.

use crate::{Skip, tcp::OptionOffsets, tunnel::DecapCursor};

/// A frame (or the captured beginning of one) that can be read at any offset.
///
/// This is the parser's only access to bytes. User space implements it for slices; the kernel
/// programs implement it with the bounds check that the verifier wants to see.
///
/// The `opaque` methods are barriers for that verifier (libbpf calls its one `barrier_var`). They return
/// their argument unchanged, and hide from compiler and verifier what was known of it. Outside the kernel
/// they do nothing.
pub trait Packet {
    /// The `N` bytes at `offset`, or `None` where the frame ends before `offset + N`.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Returns `cursor`, an offset in the frame in bytes below [`MAX_CURSOR`], and hides its value: all
    /// that the verifier still knows is that limit.
    ///
    /// The parser passes its cursors through here at the end of each loop. The verifier tells states
    /// apart by the range of anything added to a packet pointer, so without this barrier it would walk
    /// every combination of header or option lengths. With it, all iterations look alike.
    #[inline(always)]
    fn opaque_cursor(&self, cursor: usize) -> usize {
        debug_assert!(cursor < MAX_CURSOR, "cursor {cursor}");
        cursor
    }

    /// Returns `word` and hides its value: the verifier would walk the code behind it once per value.
    #[inline(always)]
    fn opaque(&self, word: u64) -> u64 {
        word
    }

    /// Leaves `cursor` as it is, and hides what was written to it, as [`Packet::opaque`]. Unlike that, it
    /// also hides where the words came from: the verifier takes a value that ends up in an offset back to
    /// where it was made, and tells states apart by it all the way.
    #[inline(always)]
    fn settle(&self, _cursor: &mut DecapCursor) {}

    /// Calls [`OptionOffsets::walk`]. The kernel programs override this with a BPF subprogram that makes
    /// the call: the verifier checks a subprogram once, and inlined code again for every path to it.
    ///
    /// # Errors
    /// Those of [`OptionOffsets::walk`].
    #[inline(always)]
    fn walk_options(&self, at: usize, bytes: usize, offsets: &mut OptionOffsets) -> Result<(), Skip> {
        offsets.walk(self, at, bytes)
    }

    /// Calls [`DecapCursor::next_layer`]. The kernel programs override this as
    /// [`Packet::walk_options`].
    ///
    /// # Errors
    /// Those of [`DecapCursor::next_layer`].
    #[inline(always)]
    fn next_layer(&self, cursor: &mut DecapCursor) -> Result<bool, Skip> {
        cursor.next_layer(self)
    }

    /// Calls [`DecapCursor::next_header`]. The kernel programs override this as
    /// [`Packet::walk_options`].
    ///
    /// # Errors
    /// Those of [`DecapCursor::next_header`].
    #[inline(always)]
    fn next_header(&self, cursor: &mut DecapCursor) -> Result<(), Skip> {
        cursor.next_header(self)
    }
}

/// The limit of all cursors, in bytes, a power of two. A cursor is at most the sum of these: a layer
/// begins at most 2,048 bytes into the frame ([`crate::tunnel`]), an IPv6 header has 40 bytes, each of six
/// extension headers at most 2,048, a TCP header at most 60.
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
