//! Pipes, FIFOs and devices, opened, read and unpacked by a thread of their own: it may wait for ever, and
//! the caller has to notice signals meanwhile. Decompressors are on that thread because they can't be
//! interrupted: some fail, some lose bytes where a read says that nothing comes now.

use std::{
    fs::File,
    io::{self, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{Location, Packing, Room, Stop, input::Input, unpacked};
use crate::patient::Patient;

/// Chunks that wait to be taken.
const CHUNKS_WAITING: usize = 4;

/// Bytes unpacked at once. Some decompressors hand nothing out before they have so many, and lose them where
/// the stream is damaged.
const UNPACKED_BYTES: usize = 64 * 1024;

/// How long nothing comes before the caller gets its turn.
const TURN: Duration = Duration::from_millis(50);

/// The reader's end, which hands out what is unpacked. It ends when the pipe does. It fails with
/// [`io::ErrorKind::WouldBlock`] where nothing comes for a moment: reading can go on then.
pub(super) struct PipeReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// The first byte of the chunk that wasn't handed out.
    at: usize,
    /// Whether nothing more comes.
    is_over: bool,
}

impl PipeReader {
    /// Begins to open, read and unpack it. The thread ends with the pipe, or with the process. `watch` may
    /// wrap the reader of what isn't unpacked yet.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn start(
        location: Location,
        room: Room,
        watch: impl FnOnce(Box<dyn Read + Send>) -> Box<dyn Read + Send>,
    ) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        let packed = watch(Box::new(Source::Unopened(location)));
        thread::Builder::new().name("pipe".to_owned()).spawn(move || copy(packed, room, &sender))?;
        Ok(Self { chunks, chunk: Vec::new(), at: 0, is_over: false })
    }

    /// Takes the next chunk, or the end.
    fn next(&mut self) -> io::Result<()> {
        match self.chunks.recv_timeout(TURN) {
            Ok(Ok(chunk)) => (self.is_over, self.chunk, self.at) = (chunk.is_empty(), chunk, 0),
            Ok(Err(error)) => {
                self.is_over = true;
                return Err(error);
            }
            // A decompressor panicked, and the hook has told of it: half a capture must not pass for all.
            Err(RecvTimeoutError::Disconnected) => {
                self.is_over = true;
                return Err(io::Error::other("cannot be unpacked; unpack it first, and report this bug"));
            }
            // The caller then asks whether to stop.
            Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }
}

/// What is read, opened by the thread that reads it: to open a FIFO may take for ever.
enum Source {
    Unopened(Location),
    Open(Box<dyn Read + Send>),
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Self::Unopened(location) = self {
            *self = Self::Open(match location {
                // Where nothing comes, this thread waits: to the caller, an error of it is the end.
                Location::Stdin => Box::new(Patient(io::stdin())),
                Location::Path(path) => Box::new(File::open(path)?),
            });
        }
        match self {
            Self::Open(source) => source.read(into),
            Self::Unopened(_) => Ok(0),
        }
    }
}

/// Sends everything, unpacked, to an empty chunk at the end, or an error.
fn copy(packed: Box<dyn Read>, room: Room, sender: &SyncSender<io::Result<Vec<u8>>>) {
    // Whoever takes the chunks is the one to ask.
    let mut packed = Input::new(packed, room, Stop::never());
    let (mut source, chunk_bytes): (Box<dyn Read>, usize) = match Packing::of(packed.fill(4)) {
        None => (Box::new(packed), room.buffer_bytes),
        Some(packing) => match unpacked(packed, packing, room) {
            Ok(source) => (source, UNPACKED_BYTES.min(room.buffer_bytes)),
            Err(error) => return drop(sender.send(Err(error))),
        },
    };
    loop {
        let mut chunk = vec![0; chunk_bytes];
        let read = match source.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk)
            }
        };
        let is_last = read.as_ref().map_or(true, Vec::is_empty);
        if sender.send(read).is_err() || is_last {
            return;
        }
    }
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() && !self.is_over {
            self.next()?;
        }
        let count = (&self.chunk[self.at..]).read(into)?;
        self.at += count;
        Ok(count)
    }
}
