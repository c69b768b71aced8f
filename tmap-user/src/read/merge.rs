//! Several captures as one: packets in the order of their times, from whichever file has the next one.
//!
//! Files are opened when the time of their first packet has come, so that a thousand rotated captures need no
//! more than those that overlap. Pipes are opened first, because their writers wait for that.

use crate::{
    capture::file::{Capture, Frame, LinkType, Location, ReadError, Told},
    report::number::count,
};
use tmap_common::Link;

use super::{
    silence::Awaited,
    source::{Frames, Opener},
};

/// A capture among others.
struct Part {
    source: Location,
    /// Whether it is no regular file, and may keep the others waiting.
    is_pipe: bool,
    /// The time of its first packet, once it was looked at; 0 where it can't be told.
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
    /// Whether a finished capture had begun.
    has_any_begun: bool,
    /// The pipe without whose next packet nothing can be read, if that is why it was the caller's turn.
    awaited: Option<usize>,
    /// Whether it was the caller's turn because a pipe had ended, for which others may have waited.
    has_pipe_ended: bool,
    /// Whether captures are read without a pipe because a stop was requested.
    reads_rest: bool,
    /// What is wrong with pipes that were given up, as soon as packets come after theirs.
    given_up: Vec<String>,
}

impl<'a> Merge<'a> {
    /// Reads nothing yet.
    pub(super) fn new(sources: &[Location], opener: &'a Opener) -> Self {
        let part = |source: &Location| {
            let (source, is_pipe) = (source.clone(), !source.is_regular());
            Part { source, is_pipe, first_ns: 0, state: State::Unopened }
        };
        let parts = sources.iter().map(part).collect();
        Self {
            parts,
            known: 0,
            looking: None,
            opener,
            resolution_ns: 0,
            told: Told::default(),
            faults: Vec::new(),
            has_any_begun: false,
            awaited: None,
            has_pipe_ended: false,
            reads_rest: false,
            given_up: Vec::new(),
        }
    }

    /// Looks at the first packet of the next capture, or opens a pipe; then it is the caller's turn. A
    /// capture that can't be read is told of later.
    #[cold]
    fn look_at_next(&mut self) -> Result<(), ReadError> {
        if self.parts[self.known].is_pipe {
            self.open(self.known)?;
        } else {
            match self.first_ns() {
                Err(error) if error.is_idle() => return Err(error),
                first => self.parts[self.known].first_ns = first.unwrap_or(0),
            }
        }
        self.looking = None;
        self.known += 1;
        Err(ReadError::idle())
    }

    /// The time of the first packet of the next capture.
    fn first_ns(&mut self) -> Result<u64, ReadError> {
        let Self { parts, known, looking, opener, .. } = self;
        let source = &parts[*known].source;
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
            Err(error) if error.is_idle() => {
                let is_silent = part.is_pipe && capture.is_silent();
                (self.awaited, self.has_pipe_ended) = (is_silent.then_some(index), false);
                return Err(error);
            }
            Ok(None) => None,
            Err(error) => Some(super::fault(&part.source, &error, capture.has_begun())),
        };
        self.has_pipe_ended = part.is_pipe;
        self.faults.extend(fault);
        self.finish(index);
        Err(ReadError::idle())
    }

    /// Closes an open capture, and keeps what it tells.
    fn finish(&mut self, index: usize) {
        self.awaited = None;
        let part = &mut self.parts[index];
        let State::Open(open) = std::mem::replace(&mut part.state, State::Finished) else { return };
        self.resolution_ns = self.resolution_ns.max(open.capture.resolution_ns());
        self.told = self.told.and(open.capture.told());
        self.faults.extend(super::lacks(&part.source, &open.capture));
        self.has_any_begun |= open.capture.has_begun();
    }

    /// Gives up the pipe that is awaited, if there is one. Returns whether there was.
    fn give_up_awaited(&mut self) -> bool {
        let Some(Awaited { source, has_begun, index, .. }) = self.awaited() else { return false };
        let what = if has_begun {
            "was still open when reading was stopped; the other captures are reported beyond its last packet"
        } else {
            "had not begun when reading was stopped; the other captures are reported without it"
        };
        self.given_up.push(format!("{source}: {what}"));
        self.finish(index);
        true
    }

    /// Captures that may have more packets.
    fn unfinished(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !matches!(part.state, State::Finished))
    }

    fn open(&mut self, index: usize) -> Result<(), ReadError> {
        let others = self.parts.iter().filter(|part| matches!(part.state, State::Open(_))).count();
        let part = &mut self.parts[index];
        match self.opener.open(&part.source, others) {
            Ok(capture) => {
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
        self.faults.append(&mut self.given_up);
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
        let mut faults = std::mem::take(&mut self.faults);
        let cut = self.unfinished().filter(|part| !part.is_pipe).count();
        if self.reads_rest && cut > 0 {
            faults.push(format!(
                "reading was stopped before the end of {} that had waited for a pipe; read them without it",
                count(cut as u64, "capture")
            ));
        }
        faults
    }

    fn has_any_begun(&self) -> bool {
        let has_begun = |part: &Part| matches!(&part.state, State::Open(open) if open.capture.has_begun());
        self.has_any_begun || self.parts.iter().any(has_begun)
    }

    fn awaited(&self) -> Option<Awaited<'_>> {
        let index = self.awaited?;
        let Part { source, state: State::Open(open), .. } = &self.parts[index] else { return None };
        Some(Awaited::of(source, index, &open.capture, self.unfinished().nth(1).is_some()))
    }

    fn give_up(&mut self) -> bool {
        let has_pipe_ended = std::mem::take(&mut self.has_pipe_ended);
        let can_go_on = (self.give_up_awaited() || has_pipe_ended) && self.unfinished().next().is_some();
        self.reads_rest |= can_go_on;
        can_go_on
    }
}
