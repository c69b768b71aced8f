//! Where packets come from: one capture, or several as one.

use std::io::Read;

use indicatif::ProgressBar;

use super::silence::Awaited;
use crate::{
    capture::file::{Capture, Frame, Location, ReadError, Room, Stop, Told},
    progress_bar,
};

/// A stream of packets.
pub(super) trait Frames {
    /// The next packet; `None` at the end.
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError>;

    /// The coarsest resolution of capture times so far, in nanoseconds.
    fn resolution_ns(&self) -> u64;

    /// What the captures tell so far of packets that their writers dropped.
    fn told(&self) -> Told;

    /// What was wrong with captures so far, in words; each is told once.
    fn take_faults(&mut self) -> Vec<String>;

    /// Whether any capture could be opened, and has begun.
    fn has_any_begun(&self) -> bool;

    /// The pipe for whose next packet reading waits, if that is why it is the caller's turn.
    fn awaited(&self) -> Option<Awaited<'_>>;

    /// Takes the pipe that is awaited for ended, because a stop was requested. Returns whether others had
    /// waited for a pipe, and can be read now.
    fn give_up(&mut self) -> bool;
}

/// Opens captures, and shows the progress of reading them.
pub(super) struct Opener {
    pub bar: ProgressBar,
    pub stop: Stop,
    pub room: Room,
}

impl Opener {
    pub(super) fn new(bar: ProgressBar, stop: Stop, room: Room) -> Self {
        Self { bar, stop, room }
    }

    /// Opens a capture while so many others are open.
    pub(super) fn open(&self, source: &Location, others: usize) -> Result<Capture, ReadError> {
        source.open(&self.stop, self.room.beside(others), |reader, bytes| {
            self.begin(source, bytes);
            Box::new(self.bar.wrap_read(reader)) as Box<dyn Read + Send>
        })
    }

    /// Shows the progress of a file.
    fn begin(&self, source: &Location, bytes: Option<u64>) {
        self.bar.reset();
        let template = match bytes {
            Some(bytes) => {
                self.bar.set_length(bytes);
                "{msg} [{bar:20}] {percent} %, {eta} left{prefix}"
            }
            None => "{msg} {binary_bytes}, {binary_bytes_per_sec}{prefix}",
        };
        progress_bar::set_template(&self.bar, template);
        self.bar.set_message(source.to_string());
    }
}

/// One capture.
pub(super) struct Single<'a> {
    source: &'a Location,
    capture: Option<Capture>,
    faults: Vec<String>,
}

impl<'a> Single<'a> {
    /// Opens a capture. One that can't be read has no packets, and a fault.
    pub(super) fn open(source: &'a Location, opener: &Opener) -> Self {
        match opener.open(source, 0) {
            Ok(capture) => Self { source, capture: Some(capture), faults: Vec::new() },
            // The user wants to end.
            Err(error) if error.is_idle() => Self { source, capture: None, faults: Vec::new() },
            Err(error) => Self { source, capture: None, faults: vec![format!("{source}: {error}")] },
        }
    }
}

impl Frames for Single<'_> {
    #[inline(always)]
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        match &mut self.capture {
            Some(capture) => capture.next_frame(),
            None => Ok(None),
        }
    }

    fn resolution_ns(&self) -> u64 {
        self.capture.as_ref().map_or(0, Capture::resolution_ns)
    }

    fn told(&self) -> Told {
        self.capture.as_ref().map_or(Told::NOTHING, Capture::told)
    }

    fn take_faults(&mut self) -> Vec<String> {
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend(self.capture.iter().flat_map(|capture| super::lacks(self.source, capture)));
        faults
    }

    fn has_any_begun(&self) -> bool {
        self.capture.as_ref().is_some_and(Capture::has_begun)
    }

    fn awaited(&self) -> Option<Awaited<'_>> {
        let (source, capture) = (self.source, self.capture.as_ref()?);
        let is_awaited = capture.is_silent() && !source.is_regular();
        is_awaited.then(|| Awaited::of(source, 0, capture, false))
    }

    fn give_up(&mut self) -> bool {
        false
    }
}
