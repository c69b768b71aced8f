//! Several captures as one: packets in the order of their times, from whichever file has the next one.
//!
//! Files are opened when the time of their first packet has come, so that a thousand rotated captures need no
//! more than those that overlap. Pipes are opened first, because their writers wait for that.

use std::{cmp::Reverse, collections::BinaryHeap};

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
    /// The known parts that may have more packets, by the time of the next one, then by their place. Only the
    /// first entry can be out of date.
    order: BinaryHeap<Reverse<(u64, usize)>>,
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
            order: BinaryHeap::with_capacity(sources.len()),
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
        // Of an open pipe, the next packet isn't known, which comes first.
        self.order.push(Reverse((self.parts[self.known].first_ns, self.known)));
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
        while let Some(&Reverse((_, index))) = self.order.peek() {
            match &self.parts[index].state {
                State::Unopened => self.open(index)?,
                State::Open(open) if open.has_next => return Ok(Some(index)),
                State::Open(_) => {
                    self.advance(index)?;
                    self.put_in_order(index);
                }
                State::Finished => drop(self.order.pop()),
            }
        }
        Ok(None)
    }

    /// Puts the part that comes first where its next packet belongs.
    fn put_in_order(&mut self, first: usize) {
        if let (State::Open(open), Some(mut entry)) = (&self.parts[first].state, self.order.peek_mut()) {
            *entry = Reverse((open.time_ns, first));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use indicatif::ProgressBar;

    use super::*;
    use crate::capture::file::{Room, Stop};

    /// A capture in nanoseconds: of each packet its time, and its one byte.
    fn capture(packets: &[(u32, u8)]) -> Vec<u8> {
        let mut bytes = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
        for &(time_ns, byte) in packets {
            bytes.extend([1_700_000_000, time_ns, 1, 1].map(u32::to_le_bytes).concat());
            bytes.push(byte);
        }
        bytes
    }

    /// The packets of these captures, in the order in which they are handed out.
    fn merged(captures: &[Vec<(u32, u8)>]) -> Vec<(u32, u8)> {
        let folder = std::env::temp_dir().join(format!("tmap-merge-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let write = |(number, packets): (usize, &Vec<(u32, u8)>)| {
            let path = folder.join(format!("{number}.pcap"));
            fs::write(&path, capture(packets)).expect("written");
            Location::new(&path)
        };
        let sources: Vec<Location> = captures.iter().enumerate().map(write).collect();
        let room = Room::within(1 << 30);
        let opener = Opener::new(ProgressBar::hidden(), Stop::new(|| false).with_turns(), room);
        let mut merge = Merge::new(&sources, &opener);
        let mut packets = Vec::new();
        loop {
            match merge.next_frame() {
                Ok(Some(frame)) => {
                    packets.push(((frame.time_ns % 1_000_000_000) as u32, frame.bytes[0]));
                }
                Ok(None) => break,
                Err(error) => assert!(error.is_idle(), "{error}"),
            }
        }
        fs::remove_dir_all(&folder).expect("removed");
        packets
    }

    /// Captures that begin and end at different times, and share many times.
    #[test]
    fn packets_come_by_time_and_those_of_one_time_by_the_place_of_their_capture() {
        let capture = |number: u32| {
            let times = (number..40 + 3 * number).filter(|time| (time * 7 + number) % 5 < 3);
            times.map(|time| (time / 2, number as u8)).collect::<Vec<_>>()
        };
        let captures: Vec<_> = [4, 0, 9, 2, 2, 30].map(capture).into_iter().chain([Vec::new()]).collect();
        let mut expected = captures.concat();
        expected.sort_by_key(|&(time_ns, _)| time_ns);
        assert!(expected.len() > 100);
        assert_eq!(merged(&captures), expected);
    }

    /// A packet that comes late in its capture comes next.
    #[test]
    fn a_late_packet_comes_as_soon_as_its_capture_hands_it_out() {
        let captures = [vec![(10, 0), (5, 0), (20, 0)], vec![(9, 1), (11, 1), (21, 1)]];
        assert_eq!(merged(&captures), [(9, 1), (10, 0), (5, 0), (11, 1), (20, 0), (21, 1)]);
    }
}
