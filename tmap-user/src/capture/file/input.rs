//! The bytes of a capture in order, whatever blocks they come in.

use std::io;

use bytes::{Bytes, BytesMut};
use memmap2::Mmap;

use super::{ReadError, blocks::Blocks, map::ask_ahead};

/// Bytes that wait to be taken: of a mapped file, or of blocks that a thread hands over.
///
/// Bytes stay where they are: a block is used as it comes. Only a packet that lies across the end of a
/// block is copied, into a small block of its own.
pub(super) struct Input {
    /// The bytes waiting now are those from `start` on.
    block: Bytes,
    start: usize,
    /// The rest of the block that gave `block` its end; empty in most cases.
    next: Bytes,
    /// Where more comes from; `None` at the end, and for a mapped file.
    blocks: Option<Blocks>,
    is_mapped: bool,
    /// Bytes taken so far.
    taken: u64,
    failure: Option<io::Error>,
}

impl Input {
    pub(super) fn of_blocks(blocks: Blocks) -> Self {
        Self { blocks: Some(blocks), is_mapped: false, ..Self::of_block(Bytes::new()) }
    }

    pub(super) fn mapped(map: Mmap) -> Self {
        Self::of_block(Bytes::from_owner(map))
    }

    fn of_block(block: Bytes) -> Self {
        Self { block, start: 0, next: Bytes::new(), blocks: None, is_mapped: true, taken: 0, failure: None }
    }

    /// Whether the file is mapped.
    pub(super) fn is_mapped(&self) -> bool {
        self.is_mapped
    }

    /// The waiting bytes: at least `wanted` of them, unless the source ends or fails first.
    #[inline]
    pub(super) fn fill(&mut self, wanted: usize) -> &[u8] {
        if self.data().len() < wanted {
            self.refill(wanted);
        }
        self.data()
    }

    /// The bytes waiting now.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.block[self.start..]
    }

    /// The block that the waiting bytes are in.
    #[inline]
    pub(super) fn block(&self) -> &Bytes {
        &self.block
    }

    /// Drops the first `count` waiting bytes, and returns where in [`Input::block`] they are. They stay
    /// there until more is asked for.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> std::ops::Range<usize> {
        let from = self.start;
        self.start = (from + count).min(self.block.len());
        self.taken += (self.start - from) as u64;
        ask_ahead(&self.block, from);
        from..self.start
    }

    /// The number of bytes taken, which is the offset of the next one.
    pub(super) fn offset(&self) -> u64 {
        self.taken
    }

    /// The error of the source, if it failed; returned once.
    pub(super) fn failure(&mut self) -> Option<ReadError> {
        self.failure.take().map(ReadError::Io)
    }

    /// The reason for too few bytes: the source failed, or the capture is truncated.
    pub(super) fn shortage(&mut self) -> ReadError {
        let at = self.offset();
        self.failure().unwrap_or(ReadError::Truncated(at))
    }

    /// Goes on to the next block. Where a packet lies across its beginning, the packet gets a block of
    /// its own first, with as many bytes as are wanted.
    #[cold]
    fn refill(&mut self, wanted: usize) {
        if self.data().is_empty() && self.advance() {
            self.block = std::mem::take(&mut self.next);
            self.start = 0;
        }
        if self.data().len() >= wanted {
            return;
        }
        let mut joined = BytesMut::from(self.data());
        while joined.len() < wanted && self.advance() {
            let piece = self.next.split_to(self.next.len().min(wanted - joined.len()));
            joined.extend_from_slice(&piece);
        }
        self.block = joined.freeze();
        self.start = 0;
    }

    /// Sees to it that `next` holds something; false at the end.
    fn advance(&mut self) -> bool {
        while self.next.is_empty() {
            match self.blocks.as_mut().and_then(Iterator::next) {
                Some(Ok(block)) => self.next = block,
                end => {
                    self.blocks = None;
                    self.failure = end.and_then(Result::err).or(self.failure.take());
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Gives so many bytes at a time.
    struct Dribble(io::Cursor<Vec<u8>>, usize);

    impl Read for Dribble {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len().min(self.1);
            self.0.read(&mut into[..count])
        }
    }

    #[test]
    fn what_lies_across_the_ends_of_blocks_is_whole() {
        let content: Vec<u8> = (0..20_000u32).map(|at| (at / 7) as u8).collect();
        for piece in [1, 2, 3, 7, 100, 50_000] {
            let source = Dribble(io::Cursor::new(content.clone()), piece);
            let mut input = Input::of_blocks(Blocks::read(Box::new(source)).expect("a thread"));
            let mut all = Vec::new();
            for wanted in [1, 16, 33, 150, 999].into_iter().cycle() {
                let waiting = input.fill(wanted).len();
                assert!(waiting >= wanted || all.len() + waiting == content.len(), "{piece} at a time");
                let taken = input.take(wanted);
                if taken.is_empty() {
                    break;
                }
                all.extend_from_slice(&input.block()[taken]);
                assert_eq!(input.offset(), all.len() as u64);
            }
            assert!(all == content, "{piece} at a time");
        }
    }

    #[test]
    fn a_failure_is_said_once_and_after_what_came_before_it() {
        let source = io::Cursor::new([7; 10]).chain(Failing);
        let mut input = Input::of_blocks(Blocks::read(Box::new(source)).expect("a thread"));
        assert_eq!(input.fill(20), [7; 10]);
        assert!(matches!(input.shortage(), ReadError::Io(_)));
        assert!(matches!(input.shortage(), ReadError::Truncated(0)));
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("as the test wants it"))
        }
    }
}
