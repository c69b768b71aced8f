//! A capture that can't be mapped, read and unpacked on a thread of its own.
//!
//! The thread hands over blocks of bytes. They aren't copied on the way to the parser, and a frame may
//! hold on to its block for as long as it likes. A block that nobody holds any more is filled again.

use std::{
    collections::VecDeque,
    io::{self, BufReader, ErrorKind, Read},
    panic,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
};

use bytes::{Bytes, BytesMut};

/// How much is read at once, in bytes.
const BLOCK_BYTES: usize = 256 * 1024;

/// Blocks that wait for the parser: enough to keep it busy, few enough to stay in the cache.
const BLOCKS_WAITING: usize = 2;

/// Blocks in use at once: those waiting, and one with the parser.
const BLOCKS_IN_USE: usize = BLOCKS_WAITING + 1;

/// The blocks of a capture in order. An error is the last item.
///
/// Dropping it doesn't wait for the thread, which may wait for a silent pipe; the thread ends when it has
/// read something that nobody takes.
pub(super) struct Blocks {
    blocks: Receiver<io::Result<Bytes>>,
    thread: Option<JoinHandle<()>>,
}

impl Blocks {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system grants no thread.
    pub(super) fn read(source: Box<dyn Read + Send>) -> io::Result<Self> {
        let (out, blocks) = mpsc::sync_channel(BLOCKS_WAITING);
        let thread = thread::Builder::new().name("unpack".to_owned()).spawn(move || {
            if let Err(error) = unpack(source, &out) {
                // Fails where nobody reads on, who needs no error either.
                let _ = out.send(Err(error));
            }
        })?;
        Ok(Self { blocks, thread: Some(thread) })
    }
}

impl Iterator for Blocks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(block) = self.blocks.recv() {
            return Some(block);
        }
        // The thread has ended; if by a panic, that goes on here.
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            panic::resume_unwind(panic);
        }
        None
    }
}

/// How a file is packed.
pub(super) enum Packing {
    Gzip,
    Zstd,
}

/// How what begins with `bytes` is packed, if it is.
pub(super) fn packing(bytes: &[u8]) -> Option<Packing> {
    match bytes {
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        // RFC 8878: a frame, or a skippable one (as pzstd writes) before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
        _ => None,
    }
}

/// Sends the content of `packed`: decompressed where its magic says so.
fn unpack(mut packed: impl Read, out: &SyncSender<io::Result<Bytes>>) -> io::Result<()> {
    let mut magic = Vec::with_capacity(4);
    packed.by_ref().take(4).read_to_end(&mut magic)?;
    let packing = packing(&magic);
    let whole = io::Cursor::new(magic).chain(BufReader::with_capacity(BLOCK_BYTES, packed));
    match packing {
        Some(Packing::Gzip) => send(flate2::bufread::MultiGzDecoder::new(whole), out),
        Some(Packing::Zstd) => send(zstd::stream::read::Decoder::with_buffer(whole)?, out),
        // Reads into blocks as large as its buffer go past the buffer.
        None => send(whole, out),
    }
}

/// Sends what `source` gives as it gives it: a pipe's writer may be slow, and its packets are wanted now.
fn send(mut source: impl Read, out: &SyncSender<io::Result<Bytes>>) -> io::Result<()> {
    let mut used = VecDeque::new();
    loop {
        let mut block = vacant(&mut used);
        let count = loop {
            match source.read(&mut block) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let block = block.freeze();
        if count == 0 || out.send(Ok(block.slice(..count))).is_err() {
            return Ok(());
        }
        used.push_back(block);
    }
}

/// A block to be filled: the oldest one, if nobody holds it any more, or a new one.
fn vacant(used: &mut VecDeque<Bytes>) -> BytesMut {
    let oldest = if used.len() > BLOCKS_IN_USE { used.pop_front() } else { None };
    oldest.and_then(|block| block.try_into_mut().ok()).unwrap_or_else(|| BytesMut::zeroed(BLOCK_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_filled_again_once_nobody_holds_it() {
        let blocks = || (0..=BLOCKS_IN_USE).map(|_| BytesMut::zeroed(BLOCK_BYTES).freeze());
        let mut used: VecDeque<Bytes> = blocks().collect();
        let (oldest, frame) = (used[0].as_ptr(), used[1].slice(10..20));
        let block = vacant(&mut used);
        assert_eq!((block.as_ptr(), block.len()), (oldest, BLOCK_BYTES));
        used.push_back(block.freeze());
        let mut block = vacant(&mut used);
        block.fill(1);
        assert_eq!(frame, [0; 10][..], "a block that a frame holds was filled again");
    }

    #[test]
    fn few_blocks_waiting_are_left_alone() {
        let mut used = VecDeque::from([BytesMut::zeroed(BLOCK_BYTES).freeze()]);
        vacant(&mut used);
        assert_eq!(used.len(), 1);
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("as the test wants it");
        }
    }

    #[test]
    fn a_panic_of_the_thread_goes_on_here() {
        let mut blocks = Blocks::read(Box::new(Broken)).expect("a thread");
        let result = panic::catch_unwind(panic::AssertUnwindSafe(|| blocks.next().is_none()));
        assert_eq!(result.expect_err("a panic").downcast_ref(), Some(&"as the test wants it"));
    }

    #[test]
    fn dropping_does_not_wait_for_a_silent_pipe() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(Blocks::read(Box::new(reader)).expect("a thread"));
        drop(writer);
    }
}
