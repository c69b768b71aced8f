//! Pipes, FIFOs and devices, opened and read by a thread of their own: both may wait for ever, and the caller
//! has to notice signals meanwhile.

use std::{
    fs::File,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{Location, READ_BYTES};

/// Chunks that wait to be taken.
const CHUNKS_WAITING: usize = 4;

/// How long nothing comes before the caller gets its turn.
const TURN: Duration = Duration::from_millis(50);

/// Whether reading shall end.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Stop {
    /// Asks `stop`.
    pub fn new(stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(stop))
    }
}

/// The reader's end. It ends when the pipe does, or when asked to stop while nothing comes.
pub(super) struct PipeReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// The first byte of the chunk that wasn't handed out.
    at: usize,
    stop: Stop,
    tells_idle: Arc<AtomicBool>,
}

impl PipeReader {
    /// Begins to open and read it. The thread ends with the pipe, or with the process.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn start(location: Location, stop: Stop) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        thread::Builder::new().name("pipe".to_owned()).spawn(move || match location {
            Location::Stdin => copy(io::stdin(), &sender),
            Location::Path(path) => match File::open(path) {
                Ok(file) => copy(file, &sender),
                Err(error) => drop(sender.send(Err(error))),
            },
        })?;
        Ok(Self { chunks, chunk: Vec::new(), at: 0, stop, tells_idle: Arc::default() })
    }

    /// The switch that makes reading fail with [`io::ErrorKind::WouldBlock`] where nothing comes for a
    /// moment.
    pub(super) fn idle_switch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.tells_idle)
    }
}

/// Sends everything, to an empty chunk at the end.
fn copy(mut source: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; READ_BYTES];
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
        while self.at == self.chunk.len() {
            match self.chunks.recv_timeout(TURN) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(0),
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) if (self.stop.0)() => return Ok(0),
                Err(RecvTimeoutError::Timeout) if self.tells_idle.load(Ordering::Relaxed) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let count = (&self.chunk[self.at..]).read(into)?;
        self.at += count;
        Ok(count)
    }
}
