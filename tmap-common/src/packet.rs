//! How the parser reads a frame, wherever the frame lives.

/// A frame (or the captured beginning of one) that can be read at any offset.
///
/// This is the parser's only access to bytes. User space implements it for slices; the kernel
/// programs implement it with the bounds check that the verifier wants to see.
pub trait Packet {
    /// The `N` bytes at `offset`, or `None` where the frame ends before `offset + N`.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// `value`, whose origin the compiler must forget. The parser passes its cursors through here at
    /// the end of each loop: the kernel's implementation makes the compiler keep the loop in a form
    /// that the verifier walks in few steps. Elsewhere it does nothing.
    #[inline(always)]
    fn opaque(value: usize) -> usize {
        value
    }
}

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
