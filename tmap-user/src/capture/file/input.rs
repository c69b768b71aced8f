//! The bytes of a capture: a buffer over any reader, refilled again and again.

use std::io::{self, BufRead, ErrorKind, Read};

use super::{ReadError, Room, Stop};

/// Bytes between two turns of the caller. They are read within a tenth of a second, however they are packed.
const TURN_BYTES: u64 = 1 << 20;

/// Waiting bytes, from a reader that may hand out any number at a time.
pub(super) struct Input {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    /// Where the waiting bytes begin and end in `buffer`.
    start: usize,
    end: usize,
    /// Bytes taken so far.
    taken: u64,
    at_end: bool,
    failure: Option<io::Error>,
    stop: Stop,
    /// The offset from which on the caller has its turn.
    turn_at: u64,
    /// Whether it was the caller's turn last because nothing came.
    is_silent: bool,
}

impl Input {
    pub(super) fn new(source: Box<dyn Read>, room: Room, stop: Stop) -> Self {
        let buffer = vec![0; room.buffer_bytes];
        let (failure, turn_at) = (None, TURN_BYTES);
        let (start, end, taken, at_end, is_silent) = (0, 0, 0, false, false);
        Self { source, buffer, start, end, taken, at_end, failure, stop, turn_at, is_silent }
    }

    /// Fails with [`ReadError::is_idle`] where it is the caller's turn. Nothing is lost: reading can go on.
    ///
    /// # Errors
    /// Only that one.
    #[inline]
    pub(super) fn give_turn(&mut self) -> Result<(), ReadError> {
        if self.taken < self.turn_at { Ok(()) } else { self.give_due_turn() }
    }

    #[cold]
    fn give_due_turn(&mut self) -> Result<(), ReadError> {
        self.turn_at = self.taken + TURN_BYTES;
        self.is_silent = false;
        if self.stop.wants_turn() { Err(ReadError::idle()) } else { Ok(()) }
    }

    /// Whether it was the caller's turn last because nothing came, rather than much.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// The waiting bytes: at least `wanted` of them, unless the source ends or fails first.
    #[inline]
    pub(super) fn fill(&mut self, wanted: usize) -> &[u8] {
        if self.end - self.start < wanted {
            self.refill(wanted);
        }
        self.data()
    }

    /// The bytes waiting now.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Drops the first `count` waiting bytes, and returns them for as long as nothing else is read.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + count).min(self.end);
        self.taken += (self.start - from) as u64;
        &self.buffer[from..self.start]
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

    #[cold]
    fn refill(&mut self, wanted: usize) {
        let Self { source, buffer, .. } = self;
        buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        while self.end < wanted && !self.at_end {
            match source.read(&mut buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // More may come: the caller asks again.
                    self.is_silent = true;
                    self.failure = Some(error);
                    return;
                }
                Err(error) => {
                    self.at_end = true;
                    self.failure = Some(error);
                }
            }
        }
    }
}

/// An input is a reader too, because decompressors sit between two inputs.
impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A decompressor may take in any number of bytes and hand nothing out: empty members, frames to be
        // skipped. It can be ended then, but not interrupted, because some lose bytes where this fails.
        if self.stop.is_wanted() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.start == self.end {
            self.refill(1);
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
        }
        Ok(self.data())
    }

    fn consume(&mut self, count: usize) {
        self.take(count);
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
