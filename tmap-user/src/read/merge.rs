//! Several captures as one: packets in the order of their times, from whichever file has the next one.
//!
//! Files are opened when the time of their first packet has come, so that a thousand rotated captures need no
//! more than those that overlap.

use crate::capture::file::{Capture, Frame, LinkType, Location, ReadError, Told};
use tmap_common::Link;

use super::source::{Frames, Opener};

/// A capture among others.
struct Part {
    source: Location,
    /// The time of its first packet, once it was looked at; 0 where it can't be told before: a pipe.
    first_ns: u64,
    state: State,
}

/// How far a capture was read.
enum State {
    Unopened,
    Open(Box<Open>),
    Finished,
}

/// A capture that is being read, and its next packet.
struct Open {
    capture: Capture,
    /// Whether the fields below hold a packet that wasn't handed out yet.
    has_next: bool,
    time_ns: u64,
    link: Result<Link, LinkType>,
    is_cut: bool,
    bytes: Vec<u8>,
}

/// All captures.
pub(super) struct Merge<'a> {
    parts: Vec<Part>,
    /// How many parts' first packets are known, and the part after them while its first one is looked for.
    known: usize,
    looking: Option<Box<Capture>>,
    opener: &'a Opener,
    resolution_ns: u64,
    /// What finished captures tell of dropped packets.
    told: Told,
    /// What was wrong with captures that can't be read any further, in words.
    faults: Vec<String>,
    is_any_open: bool,
}

impl<'a> Merge<'a> {
    /// Reads nothing yet.
    pub(super) fn new(sources: &[Location], opener: &'a Opener) -> Self {
        let part = |source: &Location| Part { source: source.clone(), first_ns: 0, state: State::Unopened };
        let parts = sources.iter().map(part).collect();
        Self {
            parts,
            known: 0,
            looking: None,
            opener,
            resolution_ns: 0,
            told: Told::default(),
            faults: Vec::new(),
            is_any_open: false,
        }
    }

    /// Looks at the first packet of the next capture; then it is the caller's turn. A capture that can't be
    /// read is told of later.
    #[cold]
    fn look_at_next(&mut self) -> Result<(), ReadError> {
        match self.first_ns() {
            Err(error) if error.is_idle() => return Err(error),
            first => self.parts[self.known].first_ns = first.unwrap_or(0),
        }
        self.looking = None;
        self.known += 1;
        Err(ReadError::idle())
    }

    /// The time of the first packet of the next capture.
    fn first_ns(&mut self) -> Result<u64, ReadError> {
        let Self { parts, known, looking, opener, .. } = self;
        let source = &parts[*known].source;
        if !source.is_regular() {
            return Ok(0);
        }
        let capture = match looking {
            Some(capture) => capture,
            None => {
                let room = opener.room.beside(parts.len());
                looking.insert(Box::new(source.open(&opener.stop, room, |reader, _| reader)?))
            }
        };
        Ok(capture.next_frame()?.map_or(u64::MAX, |frame| frame.time_ns))
    }

    /// Reads the next packet of an open capture. Where there is none, it is the caller's turn: there may be
    /// thousands of empty captures.
    fn advance(&mut self, index: usize) -> Result<(), ReadError> {
        let part = &mut self.parts[index];
        let State::Open(open) = &mut part.state else { return Ok(()) };
        let Open { capture, has_next, time_ns, link, is_cut, bytes } = &mut **open;
        let fault = match capture.next_frame() {
            Ok(Some(frame)) => {
                (*time_ns, *link, *is_cut) = (frame.time_ns, frame.link, frame.is_cut);
                *has_next = true;
                bytes.clear();
                bytes.extend_from_slice(frame.bytes);
                return Ok(());
            }
            Err(error) if error.is_idle() => return Err(error),
            Ok(None) => None,
            Err(error) => Some(format!("{}: {error}; the packets before it are reported", part.source)),
        };
        self.resolution_ns = self.resolution_ns.max(capture.resolution_ns());
        self.faults.extend(fault);
        self.told = self.told.and(capture.told());
        self.faults.extend(super::lacks(&part.source, capture));
        part.state = State::Finished;
        Err(ReadError::idle())
    }

    fn open(&mut self, index: usize) -> Result<(), ReadError> {
        let others = self.parts.iter().filter(|part| matches!(part.state, State::Open(_))).count();
        let part = &mut self.parts[index];
        match self.opener.open(&part.source, others) {
            Ok(capture) => {
                self.is_any_open = true;
                let bytes = Vec::new();
                let link = Ok(Link::Ethernet);
                let open = Open { capture, has_next: false, time_ns: 0, link, is_cut: false, bytes };
                part.state = State::Open(Box::new(open));
            }
            Err(error) if error.is_idle() => return Err(error),
            Err(error) => {
                self.faults.push(format!("{}: {error}", part.source));
                self.told = self.told.and(Told::NOTHING);
                part.state = State::Finished;
            }
        }
        Ok(())
    }

    /// The part whose next packet is the earliest.
    fn earliest(&mut self) -> Result<Option<usize>, ReadError> {
        if self.known < self.parts.len() {
            self.look_at_next()?;
        }
        loop {
            // A capture whose next packet isn't known comes first, then the earliest packet.
            let time = |part: &Part| match &part.state {
                State::Unopened => Some(part.first_ns),
                State::Open(open) => Some(if open.has_next { open.time_ns } else { 0 }),
                State::Finished => None,
            };
            let times = self.parts.iter().enumerate().filter_map(|(index, part)| Some((time(part)?, index)));
            let Some((_, index)) = times.min() else { return Ok(None) };
            match &self.parts[index].state {
                State::Unopened => self.open(index)?,
                State::Open(open) if open.has_next => return Ok(Some(index)),
                _ => self.advance(index)?,
            }
        }
    }
}

impl Frames for Merge<'_> {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        let Some(index) = self.earliest()? else { return Ok(None) };
        let State::Open(open) = &mut self.parts[index].state else { return Ok(None) };
        open.has_next = false;
        Ok(Some(Frame { time_ns: open.time_ns, link: open.link, bytes: &open.bytes, is_cut: open.is_cut }))
    }

    fn resolution_ns(&self) -> u64 {
        let open = self.parts.iter().filter_map(|part| match &part.state {
            State::Open(open) => Some(open.capture.resolution_ns()),
            _ => None,
        });
        open.fold(self.resolution_ns, u64::max)
    }

    fn told(&self) -> Told {
        let unfinished = self.parts.iter().filter_map(|part| match &part.state {
            State::Unopened => Some(Told::NOTHING),
            State::Open(open) => Some(open.capture.told()),
            State::Finished => None,
        });
        unfinished.fold(self.told, Told::and)
    }

    fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    fn is_any_open(&self) -> bool {
        self.is_any_open
    }
}
